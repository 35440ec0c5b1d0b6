//! Streams of `mcast publish`: sequences, repairs and names.

use std::time::Duration;

use mcast_lab::{Impairment, Lab, SwitchOptions};
use mcast_stream::ClockTime;
use mcast_stream::publisher::{PublisherConfig, Transmit};
use mcast_stream::seal::Keys;
use mcast_stream::wire::{Incarnation, StreamId};
use serde_json::Value;
use tempfile::tempdir;

use crate::streams::{objects, top};
use crate::support::{Ended, Lan, eventually, mcast, mcast_with_input, start};

const GROUP: &str = "239.1.2.3:6000";

/// The header of a datagram of stream 0102030405060708, in hexadecimal.
fn header(kind: u8, flags: u8, incarnation: u32, number: u64) -> String {
    format!("4d4310{kind:02x}08{flags:02x}00000102030405060708{incarnation:08x}00000000{number:016x}")
}

fn data(number: u64) -> String {
    header(1, 8, 1, number) + "000168"
}

fn stream(ended: &Ended) -> Value {
    objects(ended, "stream").into_iter().find(|stream| stream["group"] == "239.1.2.3").unwrap()
}

#[test]
fn header_numbers_show_loss_duplicates_repairs_reordering_and_the_end() {
    let lan = Lan::new();
    let watching = top(&lan.b, &["--once", "--json", "-W", "5", "239.1.2.3"]);
    let beat = header(3, 0, 1, 1)
        + &[12_u64, 0, 1, 0, 0, 0, 0].map(|number| format!("{number:016x}")).concat()
        + &"00".repeat(24);
    let again = header(1, 0x28, 1, 3) + "000168";
    let sent = [data(1), data(2), data(5), data(5), data(4), again.clone(), again, data(7), beat, data(10)];
    let sent: Vec<&str> =
        ["send", "-q", GROUP, "--hex"].into_iter().chain(sent.iter().map(String::as_str)).collect();
    mcast(&lan.a, &sent).succeeded();

    let stream = stream(&watching.end().succeeded());

    assert_eq!((&stream["payload_format"], &stream["unit"]), (&"mcast stream".into(), &"datagrams".into()));
    // 1, 2, 5 twice, 4, 3 as a repair (and once in vain), 7, 10; 6, 8, 9 and 11 are missing.
    assert_eq!((&stream["received"], &stream["lost"]), (&8.into(), &4.into()));
    assert_eq!((&stream["duplicated"], &stream["reordered"]), (&1.into(), &2.into()));
    assert_eq!((&stream["repairs"], &stream["restarts"]), (&2.into(), &0.into()));
    assert_eq!((&stream["stream"], &stream["incarnation"]), (&"0102030405060708".into(), &1.into()));
    assert_eq!((&stream["sealed"], &stream["announced"]), (&false.into(), &Value::Null));
}

#[test]
fn datagrams_lost_on_a_link_are_counted_exactly() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let loses = Impairment { loss: 0.1, ..Impairment::default() };
    let _link = lab.bad_link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"], loses).unwrap();
    let before = top(&a, &["--json", "-i", "eth0", "--interval", "100", "239.1.2.3"]);
    let behind = top(&b, &["--json", "-i", "eth0", "--interval", "100", "239.1.2.3"]);
    let subscriber = start(&b, &["subscribe", "-q", "-i", "eth0", GROUP]);
    let words = format!("{}\n", "x".repeat(700)).repeat(1_000);
    let arguments = [
        "publish",
        "-i",
        "eth0",
        GROUP,
        "--wait-for",
        "1",
        "--rate",
        "4000pps",
        "--announce",
        "prices",
        "--json",
    ];
    let published = mcast_with_input(&a, &arguments, words.as_bytes()).succeeded();
    subscriber.end().succeeded();
    let (before, behind) = (stream(&before.signalled(2)), stream(&behind.signalled(2)));

    let datagrams = &published.json()[0]["datagrams"];
    assert_eq!((&before["received"], &before["lost"]), (datagrams, &0.into()), "{before}");
    assert_eq!(before["announced"], "prices");
    let number = |field: &str| behind[field].as_u64().unwrap();
    // Datagrams before the first one received are not counted.
    let seen = number("received") - number("duplicated") + number("lost");
    assert!(datagrams.as_u64().unwrap() - seen < 20, "{behind} of {datagrams}");
    assert!(number("lost") > 20, "{behind}");
    assert_eq!((&behind["duplicated"], &behind["reordered"]), (&0.into(), &0.into()), "{behind}");
}

/// A sealed stream of three datagrams, two of them lost, and a heartbeat that shows that there were three.
fn sealed_with_a_loss(keys: Keys) -> Vec<String> {
    let config = PublisherConfig::new(StreamId(7), Incarnation(1)).with(|config| config.keys = keys);
    let mut sender = mcast_stream::publisher::PublisherMachine::new(config, ClockTime(1)).unwrap();
    for _ in 0..3 {
        sender.publish(ClockTime(1), b"x").unwrap();
        sender.flush(ClockTime(1));
    }
    let mut sent = Vec::new();
    for now in (1..50_000_000).step_by(100_000).map(ClockTime) {
        while let Some(transmit) = sender.poll_transmit(now) {
            match transmit {
                Transmit::Control(control) => sent.push(control.bytes().to_vec()),
                Transmit::Data { first, .. } if sent.len() == 1 => sent.push(sender.datagram(first).to_vec()),
                _ => {}
            }
        }
    }
    sent.iter().map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

#[test]
fn losses_at_the_end_of_a_sealed_stream_are_known_only_with_its_key() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let key = folder.path().join("key").to_str().unwrap().to_owned();
    mcast(&lan.a, &["keys", "make", &key]).succeeded();
    let keys = Keys::read(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let watching = [&[][..], &["--key", &key]]
        .map(|more| top(&lan.b, &[&["--once", "--json", "-W", "5", "239.1.2.3"], more].concat()));
    let sent = sealed_with_a_loss(keys);
    let sent: Vec<&str> =
        ["send", "-q", GROUP, "--hex"].into_iter().chain(sent.iter().map(String::as_str)).collect();
    mcast(&lan.a, &sent).succeeded();

    let seen = watching.map(|watching| stream(&watching.end().succeeded()));

    let counts = seen.each_ref().map(|stream| (stream["received"].as_u64(), stream["lost"].as_u64()));
    assert_eq!(counts, [(Some(1), Some(0)), (Some(1), Some(2))]);
}

#[test]
fn datagrams_that_may_have_been_repaired_are_not_called_lost() {
    let lan = Lan::new();
    for (numbers, is_said) in [([1, 2, 3], false), ([1, 2, 4], true)] {
        let watching = top(&lan.b, &["--once", "-W", "5", "239.1.2.3"]);
        let sent = numbers.map(data);
        let sent: Vec<&str> =
            ["send", "-q", GROUP, "--hex"].into_iter().chain(sent.iter().map(String::as_str)).collect();
        mcast(&lan.a, &sent).succeeded();
        let ended = watching.end().succeeded();
        assert_eq!(ended.stderr.contains("repairs for a single receiver"), is_said, "{ended:?}");
    }
}

#[test]
fn announced_streams_are_listed_with_their_content() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let key = folder.path().join("key").to_str().unwrap().to_owned();
    mcast(&lan.a, &["keys", "make", &key]).succeeded();
    let publish = |announced: &str, more: &[&str]| {
        let arguments = ["publish", GROUP, "--announce", announced, "--wait-for", "1", "one"];
        start(&lan.a, &[&arguments[..], more].concat())
    };
    let running = [
        publish("prices", &["--snapshot", "/dev/null", "--rate", "8Mbit"]),
        publish("hidden", &["--key", &key]),
    ];
    let listed = |more: &[&str]| {
        let arguments = ["--once", "--json", "-W", "6", "--announced", "239.9.9.9"];
        objects(&top(&lan.b, &[&arguments, more].concat()).end(), "announced")
    };

    let without = listed(&[]);
    let with = listed(&["--key", &key]);

    let prices = &without[0];
    assert_eq!((&prices["name"], &prices["paths"]), (&"prices".into(), &serde_json::json!([GROUP])));
    assert_eq!((&prices["source"], &prices["interface"]), (&"10.0.0.1".into(), &"eth0".into()));
    assert_eq!((&prices["sealed"], &prices["bytes_per_second"]), (&false.into(), &1_000_000.into()));
    assert!(prices["snapshot"].as_str().unwrap().starts_with("10.0.0.1:"), "{prices}");
    assert_eq!((&without[1]["name"], &without[1]["sealed"]), (&Value::Null, &true.into()));
    let names: Vec<&Value> = with.iter().map(|each| &each["name"]).collect();
    assert_eq!(names, ["hidden", "prices"]);
    let ended = top(&lan.b, &["--once", "-W", "5", "--announced"]).end().succeeded();
    let line = ended.lines().into_iter().find(|line| line.starts_with("prices ")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((cells[1..4].to_vec(), cells[5]), (vec![GROUP, "10.0.0.1", "eth0"], "no"));
    for publishing in running {
        publishing.signalled(libc::SIGINT);
    }
}

#[test]
fn a_snooping_switch_forwards_announcements_and_joined_groups() {
    let lab = Lab::new().unwrap();
    // After a querier starts, the switch floods during the response interval.
    let brisk = SwitchOptions::managed().query_response_interval(Duration::from_millis(200));
    let switch = lab.switch_with("lan", brisk.query_interval(Duration::from_secs(1))).unwrap();
    let host = |name: &str, number: u8| {
        let host = lab.host(name).unwrap();
        host.connect("eth0", &switch, &[&format!("10.0.0.{number}/24")]).unwrap();
        host.add_route("224.0.0.0/4", "eth0").unwrap();
        host
    };
    let (a, b, c) = (host("a", 1), host("b", 2), host("c", 3));
    // A member elsewhere: without any, the switch would flood.
    let member = crate::support::recv(&a, &["239.1.2.3:5000", "239.255.251.67:7767", "--discard"]);
    let watching = top(&b, &["--json", "--interval", "200ms", "--announced", "--join=239.1.2.3"]);
    let publishes =
        start(&a, &["publish", "239.9.9.9:6000", "--announce", "prices", "--wait-for", "1", "one"]);
    eventually("the group and the announcement", || {
        crate::support::send(&a, &["239.1.2.3:5000", "x"]);
        let text = watching.stdout.text();
        text.contains(r#""group":"239.1.2.3""#) && text.contains(r#""name":"prices""#)
    });
    // By now the switch no longer floods: a host receives the groups that it has joined. Announcements are sent every
    // second.
    let seen = |host| {
        let seeing = top(host, &["--json", "--once", "-W", "5"]);
        crate::support::send(&a, &["239.1.2.3:5000", "x"]);
        let ended = seeing.end().succeeded();
        let of_group = objects(&ended, "stream").iter().any(|stream| stream["group"] == "239.1.2.3");
        (of_group, !objects(&ended, "announced").is_empty())
    };
    assert_eq!(seen(&b), (true, true), "joined");
    assert_eq!(seen(&c), (false, false), "not joined");
    for running in [watching, publishes, member] {
        running.signalled(libc::SIGINT);
    }
}
