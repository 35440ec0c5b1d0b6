//! Several bridges in a file.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::engine::{Engine, Setup};
use crate::network::{Network, close, write};
use crate::redis::Redis;
use crate::schemas::assert_valid;
use crate::support::{eventually, mcast, start};

const GROUP: &str = "239.1.2.3%eth0:7000";

/// Returns the number of records that a key has.
fn length(redis: &Redis, key: &str) -> u64 {
    redis.cli(&["XLEN", key]).trim().parse().unwrap()
}

fn of_bridge<'a>(events: &'a [Value], name: &str, event: &str) -> Vec<&'a Value> {
    events.iter().filter(|it| it["bridge"] == name && it["event"] == event).collect()
}

#[test]
fn the_bridges_of_a_file_run_and_are_replaced_on_a_hangup() {
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let host = &network.bridges[0];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridges");
    let socket = redis.socket();
    let line = |name: &str, key: &str| {
        format!("{name}: {GROUP} to 'redis+unix://{}?key={key}' --name prices --stay\n", socket.display())
    };
    let replace = |text: &str| std::fs::write(&file, text).unwrap();
    replace(&format!("# Two\n{}{}", line("one", "one"), line("two", "two")));
    let path = file.to_str().unwrap();
    let running = start(host, &["bridge", "--config", path, "--json", "--metrics", "127.0.0.1:9480"]);
    let get = |path: &str| {
        let mut client = host.run(|| TcpStream::connect("127.0.0.1:9480")).unwrap().unwrap();
        client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    eventually("bridges that are ready", || {
        let text = running.stdout.text();
        text.matches(r#""event":"connected""#).count() == 2 && get("/ready").ends_with("\r\n\r\nready\n")
    });
    let mut publisher = network.publish(&[]);
    write(&mut publisher, 0..500);
    eventually("500 messages in both", || length(&redis, "one") == 500 && length(&redis, "two") == 500);
    eventually("figures of both", || {
        let text = get("/metrics");
        text.contains("mcast_bridge_appended_records_total{bridge=\"one\"} 500")
            && text.contains("mcast_bridge_appended_records_total{bridge=\"two\"} 500")
            && text.matches("# TYPE mcast_bridge_engine_connected gauge").count() == 1
    });

    replace(&format!("{}two: {GROUP} to nowhere\n", line("one", "one")));
    running.child.signal(libc::SIGHUP).unwrap();
    running.stdout.wait_for(r#""event":"not-reloaded""#);
    write(&mut publisher, 500..600);
    eventually("both continue", || length(&redis, "one") == 600 && length(&redis, "two") == 600);

    // One stays, one moves, one is new.
    replace(&format!("{}{}{}", line("one", "one"), line("two", "moved"), line("three", "three")));
    running.child.signal(libc::SIGHUP).unwrap();
    running.stdout.wait_for(r#""event":"reloaded""#);
    write(&mut publisher, 600..700);
    eventually("what the publisher retains in the new ones", || {
        length(&redis, "one") == 700 && length(&redis, "moved") == 700 && length(&redis, "three") == 700
    });
    assert!(length(&redis, "two") <= 700);
    close(&mut publisher);
    publisher.end();
    running.child.signal(libc::SIGTERM).unwrap();
    let ended = running.end();
    assert_eq!(ended.status, Some(143), "{ended:?}");
    let events = ended.json();
    for event in &events {
        let schema = match event["event"].as_str().unwrap() {
            "joined" | "ended" | "publisher-silent" => "stream-event",
            "summary" => "bridge-summary",
            _ => "bridge-event",
        };
        assert_valid(schema, event);
    }
    let connected: BTreeMap<_, _> =
        ["one", "two", "three"].map(|name| (name, of_bridge(&events, name, "connected").len())).into();
    assert_eq!(connected, [("one", 1), ("two", 2), ("three", 1)].into(), "{events:?}");
    let summaries = of_bridge(&events, "one", "summary");
    assert_eq!((summaries.len(), summaries[0]["missing"].as_u64()), (1, Some(0)), "{summaries:?}");
    assert!(ended.stderr.contains("one: keeping the stream in"), "{ended:?}");
}

/// A bridge whose line is the same continues, with the keys that its file has now.
#[test]
fn a_hangup_rereads_the_keys_of_bridges_that_are_unchanged() {
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [file, own, of_publisher] =
        ["bridges", "own", "of-publisher"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    mcast(&network.publisher, &["keys", "make", &own]).succeeded();
    std::fs::copy(&own, &of_publisher).unwrap();
    let socket = redis.socket();
    let line = format!(
        "sealed: {GROUP} to redis+unix://{}?key=sealed --name prices --key {own}\n",
        socket.display()
    );
    std::fs::write(&file, line).unwrap();
    let running = start(&network.bridges[0], &["bridge", "--config", &file, "--json"]);
    running.stdout.wait_for(r#""event":"connected""#);
    let mut publisher = network.publish(&["--key", &of_publisher, "--wait-for", "1"]);
    write(&mut publisher, 0..100);
    eventually("100 messages", || length(&redis, "sealed") == 100);

    mcast(&network.publisher, &["keys", "rotate", &own]).succeeded();
    std::fs::copy(&own, &of_publisher).unwrap();
    running.child.signal(libc::SIGHUP).unwrap();
    running.stderr.wait_for("sealed: read the key file again: its latest epoch is 2");
    publisher.child.signal(libc::SIGHUP).unwrap();
    publisher.stderr.wait_for("sealing with epoch 2");
    write(&mut publisher, 100..200);
    close(&mut publisher);
    publisher.end();
    let ended = running.end().succeeded();
    // With the end of the stream.
    assert_eq!(length(&redis, "sealed"), 201, "{ended:?}");
    assert_eq!(of_bridge(&ended.json(), "sealed", "connected").len(), 1);
}

#[test]
fn a_bridge_of_a_file_that_fails_is_started_again_and_disturbs_no_other() {
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridges");
    let late = folder.path().join("late.sock");
    let line = |name: &str, socket: &std::path::Path| {
        format!("{name}: {GROUP} to redis+unix://{}?key=prices --name prices\n", socket.display())
    };
    std::fs::write(&file, line("late", &late) + &line("there", &redis.socket())).unwrap();
    let path = file.to_str().unwrap();
    let checked = mcast(&network.bridges[0], &["bridge", "--config", path, "--check"]);
    assert_eq!(checked.status, Some(1), "{checked:?}");
    assert!(checked.stderr.contains("late: error: "), "{checked:?}");
    assert!(checked.text().contains("nothing is stored there"), "{checked:?}");

    let running = start(&network.bridges[0], &["bridge", "--config", path, "--json"]);
    running.stdout.wait_for(r#""event":"failed""#);
    running.stdout.wait_for(r#""bridge":"there""#);
    std::os::unix::fs::symlink(redis.socket(), &late).unwrap();
    eventually("both are connected", || running.stdout.text().matches(r#""event":"connected""#).count() == 2);
    let mut publisher = network.publish(&[]);
    write(&mut publisher, 0..100);
    close(&mut publisher);
    publisher.end();
    let ended = running.end();
    assert_eq!((ended.status, redis.length()), (Some(1), 101), "a failure shows in the status: {ended:?}");
    let events = ended.json();
    assert!(!of_bridge(&events, "late", "failed").is_empty(), "{events:?}");
    assert!(of_bridge(&events, "there", "failed").is_empty(), "{events:?}");
}

#[test]
fn a_file_of_bridges_that_is_not_valid_is_refused_with_its_lines() {
    let network = Network::new([0.0; 2]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridges");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "a: prices to redis://10.9.0.9\nb: prices to redis://user:pass@/x y\n").unwrap();
    for options in [&["--check"][..], &[]] {
        let ended = mcast(&network.bridges[0], &[&["bridge", "--config", path], options].concat());
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(&format!("{path}: line 2: ")), "{ended:?}");
        assert!(!ended.stderr.contains("pass@"), "{ended:?}");
    }
    for option in [&["--stay"][..], &["--hole-wait", "1s"], &["-i", "eth0"], &["--tls", "ca=x"]] {
        let ended = mcast(&network.bridges[0], &[&["bridge", "--config", path], option].concat());
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("cannot be used with"), "{ended:?}");
    }
}
