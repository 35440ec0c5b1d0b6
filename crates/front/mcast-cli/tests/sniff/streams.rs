//! Datagrams of `mcast publish` and its subscribers.

use mcast_lab::{Host, Impairment, Lab};
use serde_json::Value;
use tempfile::tempdir;

use crate::schemas::assert_valid;
use crate::sniff;
use crate::support::{Lan, Running, mcast, mcast_with_input, start};

const GROUP: &str = "239.1.2.3:6000";

fn published(a: &Host, b: &Host, sniffer: &Running, arguments: &[&str]) {
    let lines = "message\n".repeat(200);
    let options = ["publish", GROUP, "-i", "eth0", "--wait-for", "1", "--rate", "1kpps"];
    let arguments = [&options, arguments].concat();
    let receiver = start(b, &[&["subscribe", GROUP, "-i", "eth0", "-q"], key_of(&arguments)].concat());
    let publishes = mcast_with_input(a, &arguments, lines.as_bytes());
    publishes.succeeded();
    receiver.end().succeeded();
    sniffer.child.signal(libc::SIGINT).unwrap();
}

/// `--key FILE` among arguments.
fn key_of<'a>(arguments: &'a [&'a str]) -> &'a [&'a str] {
    let place = arguments.iter().position(|argument| *argument == "--key");
    place.map_or(&[], |place| &arguments[place..place + 2])
}

fn kinds(objects: &[Value], kind: &str) -> Vec<Value> {
    objects.iter().map(|object| object["stream"].clone()).filter(|stream| stream["kind"] == kind).collect()
}

#[test]
fn stream_datagrams_show_kind_number_and_range() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let loses = Impairment { loss: 0.2, ..Impairment::default() };
    let _link = lab.bad_link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"], loses).unwrap();
    let sniffer = sniff(&a, &["--messages", GROUP, "--json"]);
    published(&a, &b, &sniffer, &["--announce", "prices"]);
    let ended = sniffer.end();
    let objects = ended.json();
    objects.iter().for_each(|object| {
        assert_valid("packet", object);
        assert_eq!(
            (&object["payload_format"], &object["stream"]["malformed"]),
            (&"mcast stream".into(), &Value::Null)
        );
    });
    let data = kinds(&objects, "data");
    let numbers: Vec<u64> = data
        .iter()
        .filter(|each| each["repair"] == false)
        .map(|each| each["number"].as_u64().unwrap())
        .collect();
    assert!(numbers.is_sorted() && numbers.first() == Some(&1), "{numbers:?}");
    assert!(data.iter().any(|each| each["repair"] == true), "a fifth was lost, and none was sent again");
    let naks = kinds(&objects, "nak");
    assert!(
        naks.iter()
            .all(|nak| nak["subscriber"].is_string() && !nak["missing"].as_array().unwrap().is_empty())
    );
    assert!(!naks.is_empty());
    let beats = kinds(&objects, "heartbeat");
    let last = beats.last().unwrap();
    assert_eq!((&last["heartbeat"]["next_message"], &last["end_of_stream"]), (&200.into(), &true.into()));
    assert!(!kinds(&objects, "status").is_empty() && !kinds(&objects, "echo").is_empty());
    // The group of announcements was not named.
    assert!(kinds(&objects, "announcement").is_empty());
}

#[test]
fn an_announcement_is_shown_with_its_name() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.c, &["239.255.251.67", "-c", "1"]);
    let publishes = start(&lan.a, &["publish", GROUP, "--announce", "prices", "--wait-for", "1", "one"]);
    let ended = sniffer.end().succeeded();
    assert!(ended.text().contains("/ mcast stream announcement, stream "), "{ended:?}");
    assert!(ended.text().contains("\"prices\" at 239.1.2.3:6000  ttl 1"), "{ended:?}");
    publishes.signalled(libc::SIGINT);
}

#[test]
fn sealed_datagrams_are_opened_with_a_key() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, other, file) = (path("key"), path("other"), path("all.pcapng"));
    for path in [&key, &other] {
        mcast(&lan.a, &["keys", "make", path]).succeeded();
    }
    let sniffer = sniff(&lan.a, &["--messages", "-w", &file]);
    published(&lan.a, &lan.b, &sniffer, &["--key", &key]);
    sniffer.end();
    let read = |arguments: &[&str]| {
        mcast(&lan.a, &[&["sniff", "-r", &file, "--messages", "--json"], arguments].concat()).json()
    };
    for hidden in [read(&[]), read(&["--key", &other])] {
        assert!(
            hidden.iter().all(|object| object["stream"]["sealed"] == true && object["stream"]["epoch"] == 1)
        );
        assert!(kinds(&hidden, "data").iter().all(|data| data["messages"].is_null()));
        assert!(!kinds(&hidden, "status").is_empty(), "unicast is in the file");
    }
    let open = read(&["--key", &key]);
    open.iter().for_each(|object| assert_valid("packet", object));
    let messages: u64 = kinds(&open, "data")
        .iter()
        .filter(|each| each["repair"] == false)
        .map(|each| each["messages"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!(messages, 200);
    assert!(kinds(&open, "status").iter().all(|each| each["status"]["next"].is_u64()));
    assert_eq!(mcast(&lan.a, &["sniff", "-r", &file, "--key", "/nowhere"]).status, Some(4));
}

#[test]
fn broken_datagrams_are_marked_and_others_ignored() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &["239.1.2.3:6000", "-c", "3", "--json"]);
    let broken = "4d43100108040000010203040506070811223344000000070000000000000005";
    let send = |arguments: &[&str]| crate::support::send(&lan.a, arguments);
    send(&[GROUP, "MC is my name"]);
    send(&[GROUP, "--hex", broken]);
    send(&[GROUP, "--hex", &broken[..40]]);
    let objects = sniffer.end().succeeded().json();
    assert_eq!((&objects[0]["stream"], &objects[0]["payload_format"]), (&Value::Null, &Value::Null));
    assert_eq!(objects[1]["stream"]["malformed"], "the reserved flag is set");
    assert_eq!(objects[2]["stream"]["malformed"], "the datagram is truncated");
    objects.iter().for_each(|object| assert_valid("packet", object));
}
