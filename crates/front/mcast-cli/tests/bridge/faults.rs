//! Engines that stand still, lose records, run out of space, or reject a bridge.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::audit::{audit, records};
use crate::engine::{Engine, Setup, scenarios};
use crate::network::{Network, close, text, write};
use crate::support::eventually;

scenarios! {
    while_the_engine_stands_still_memory_is_bounded_and_nothing_is_lost
    what_the_engine_loses_is_stored_again
    what_is_no_longer_buffered_is_recorded_as_lost_by_the_engine
    what_cannot_work_ends_with_its_cause_and_a_remedy
    a_key_of_another_stream_is_refused
    while_there_is_no_engine_nothing_is_said_to_be_stored_again
    a_message_that_the_engine_never_takes_is_a_gap
    a_bridge_that_stops_before_such_a_message_has_stored_what_precedes_it;
    without kafka:
    an_engine_without_room_is_waited_for
}

/// Returns the memory of a process in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn while_the_engine_stands_still_memory_is_bounded_and_nothing_is_lost<T: Engine>() {
    let still = std::env::var("MCAST_BRIDGE_STILL").map_or(3, |text| text.parse().unwrap());
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &["--buffer", "1M"]);
    let mut publisher = network.publish(&["--wait-for", "1", "--history", "1M", "--evict-after", "60s"]);
    write(&mut publisher, 0..1_000);
    eventually("1,000 messages", || engine.length() == 1_000);
    let before = memory(bridge.child.id());
    engine.signal(libc::SIGSTOP);
    let since = Instant::now();
    let writer = std::thread::spawn(move || {
        write(&mut publisher, 1_000..60_000);
        close(&mut publisher);
        publisher
    });
    let mut most = 0;
    while since.elapsed() < Duration::from_secs(still) {
        most = most.max(memory(bridge.child.id()));
        std::thread::yield_now();
    }
    engine.signal(libc::SIGCONT);
    eventually("the end", || engine.length() == 60_001);
    writer.join().unwrap().end();
    let (_, summary) = records(&bridge.end().succeeded());
    assert_eq!(summary["gaps"], 0);
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    eprintln!(
        "{}: memory of the bridge after {still} s: {:.1} MiB, before {:.1} MiB",
        engine.url().split(':').next().unwrap_or_default(),
        megabytes(most),
        megabytes(before)
    );
    // The buffer, what is in flight, the windows of the subscriber and what the allocator keeps.
    assert!(most < before + (24 << 20), "{before} bytes before, {most} bytes then");
    assert_eq!(audit(&engine.entries(), |_, number| Some(text(number))).messages, 60_000);
}

fn what_the_engine_loses_is_stored_again<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(mut engine) = T::start(&network, Setup::Restorable) else { return };
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..1_000);
    eventually("1,000 messages", || engine.length() == 1_000);
    // A server that restarts from an older state.
    engine.save();
    write(&mut publisher, 1_000..2_000);
    eventually("2,000 messages", || engine.length() == 2_000);
    // Before the server stores another one, it has confirmed those: what it never confirmed would not be lost.
    write(&mut publisher, 2_000..2_001);
    eventually("one more", || engine.length() == 2_001);
    engine.roll_back();
    eventually("2,001 messages again", || engine.length() == 2_001);
    // The stream is deleted, and nothing is published meanwhile.
    engine.delete_stream();
    eventually("2,001 messages a second time", || engine.length() == 2_001);
    write(&mut publisher, 2_001..2_100);
    close(&mut publisher);
    publisher.end();
    let ended = bridge.end().succeeded();
    assert!(ended.stderr.contains("no longer has the stream"), "{ended:?}");
    let (events, summary) = records(&ended);
    assert_eq!(summary["engine_losses"], 2, "{events:?}");
    let stored = audit(&engine.entries(), |_, number| Some(text(number)));
    assert_eq!((stored.messages, stored.gaps.len()), (2_100, 0));
}

fn what_is_no_longer_buffered_is_recorded_as_lost_by_the_engine<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &["--buffer", "100K", "--hole-wait", "300ms"]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..5_000);
    eventually("5,000 messages", || engine.length() == 5_000);
    engine.delete_stream();
    eventually("a gap", || engine.length() > 0);
    close(&mut publisher);
    publisher.end();
    assert_eq!(bridge.end().status, Some(1));
    let stored = audit(&engine.entries(), |_, number| Some(text(number)));
    let [(0, Some(end), cause)] = &stored.gaps[..] else { panic!("{:?}", stored.gaps) };
    assert_eq!((stored.messages + end, cause.as_str()), (5_000, "engine-lost"));
}

fn an_engine_without_room_is_waited_for<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Small) else { return };
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..60_000);
    close(&mut publisher);
    bridge.stderr.wait_for(T::NO_ROOM);
    engine.make_room();
    publisher.end();
    bridge.end().succeeded();
    assert_eq!(audit(&engine.entries(), |_, number| Some(text(number))).messages, 60_000);
}

fn what_cannot_work_ends_with_its_cause_and_a_remedy<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Password) else { return };
    let attempt = |url: &str, options: &[&str]| {
        let ended = network.start_bridge(0, url, options).end();
        (ended.status, ended.stderr)
    };
    let (status, stderr) = attempt(&engine.url(), &[]);
    assert_eq!(status, Some(4), "{stderr}");
    assert!(T::REJECTED.iter().all(|text| stderr.contains(text)), "{stderr}");
    let (status, stderr) = attempt(T::UNREACHABLE, &[]);
    assert_eq!(status, Some(4), "{stderr}");
    assert!(stderr.contains("127.0.0.1:9 cannot be reached") && stderr.contains("remedy: check"), "{stderr}");
    let (status, stderr) = attempt("ftp://127.0.0.1", &[]);
    assert_eq!(status, Some(2), "{stderr}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let (status, stderr) = attempt(&engine.url(), &["--password-file", file.to_str().unwrap(), "-W", "1s"]);
    assert_eq!(status, Some(0), "{stderr}");
}

fn a_key_of_another_stream_is_refused<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    engine.add_other_stream();
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..10);
    let ended = bridge.end();
    // It may wait for another subscriber.
    publisher.child.kill().unwrap();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(
        ended.stderr.contains("belongs to stream 00000000000000ff")
            && ended.stderr.contains("?key=KEY in Redis, ?stream=STREAM in NATS and RabbitMQ")
    );
    assert_eq!(engine.length(), 1);
}

fn while_there_is_no_engine_nothing_is_said_to_be_stored_again<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(mut engine) = T::start(&network, Setup::Durable) else { return };
    let bridge = network.bridge(0, &engine, &[]);
    engine.kill();
    // The bridge has nothing that is not stored. It tries to connect several times, and looks each second.
    bridge.stderr.wait_for("buffered until the broker can be used");
    let since = Instant::now();
    eventually("two seconds", || {
        assert!(!bridge.stderr.text().contains("stored again"), "{}", bridge.stderr.text());
        since.elapsed() > Duration::from_secs(2)
    });
    engine.restart();
    bridge.stderr.wait_for("everything is stored again");
    let text = bridge.signalled(libc::SIGINT).stderr;
    let warnings: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(text.lines().filter(|line| line.starts_with("warning: ")).count(), warnings.len(), "{text}");
}

/// Publishes messages of which the third is larger than any engine allows, however it is compressed.
fn publish_large(publisher: &mut crate::support::Running) {
    use std::io::Write;
    write(publisher, 0..2);
    let mut state = 1_u64;
    let digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(33 + (state >> 56) as u8 % 90)
    };
    let large: String = std::iter::repeat_with(digit).take(2_000_000).collect();
    publisher.child.stdin.as_mut().unwrap().write_all((large + "\n").as_bytes()).unwrap();
    write(publisher, 3..50);
    close(publisher);
}

fn a_message_that_the_engine_never_takes_is_a_gap<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridges = [0, 1].map(|index| network.bridge(index, &engine, &[]));
    let mut publisher = network.publish(&["--wait-for", "2"]);
    publish_large(&mut publisher);
    publisher.end();
    for bridge in bridges {
        // The one that another bridge was faster than has recorded nothing.
        bridge.end();
    }
    let stored = audit(&engine.entries(), |_, number| Some(text(number)));
    assert_eq!(stored.messages, 49);
    assert_eq!(stored.gaps, [(2, Some(3), "too-large".to_owned())]);
}

fn a_bridge_that_stops_before_such_a_message_has_stored_what_precedes_it<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &["--oversize", "stop"]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    publish_large(&mut publisher);
    let ended = bridge.end();
    publisher.child.kill().unwrap();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(
        ended.stderr.contains("does not take message 2") && ended.stderr.contains("remedy: raise"),
        "{ended:?}"
    );
    assert_eq!(audit(&engine.entries(), |_, number| Some(text(number))).messages, 2);
}

#[test]
fn what_a_redis_that_evicts_receives_is_bounded_and_what_it_evicts_is_named() {
    use crate::redis::Redis;
    const MESSAGES: u64 = 60_000;
    let network = Network::new([0.0, 0.0]);
    let options = &["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(redis) = Redis::with(options, &[]) else { return };
    let bridge = network.bridge(0, &redis, &[]);
    bridge.stderr.wait_for("maxmemory-policy allkeys-lru");
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..MESSAGES);
    close(&mut publisher);
    publisher.end();
    let ended = bridge.end();
    let info = redis.cli(&["INFO", "stats"]);
    let counter = |name: &str| {
        let value = info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().parse::<u64>().unwrap()
    };
    assert!(counter("evicted_keys") > 0, "{info}");
    // What is around each message in the protocol of Redis is as long as the message.
    let published: u64 = (0..MESSAGES).map(|number| text(number).len() as u64 + 100).sum();
    let input = counter("total_net_input_bytes");
    assert!(input < 6 * published, "{input} bytes for {published}");
    assert!(ended.stderr.contains("evicts what it stores") && !ended.stderr.contains("deleted"), "{ended:?}");
}
