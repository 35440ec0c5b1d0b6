//! Clocks that are set while a sealed stream is published and stored.

use std::time::UNIX_EPOCH;

use crate::audit::records;
use crate::engine::{Engine, Setup};
use crate::network::{Network, close, write};
use crate::redis::Redis;
use crate::set_clock::{HOUR, SettableClock};
use crate::support::{eventually, mcast};

/// What the clock of all programs is ahead of the right time, one after the other.
const AHEAD: [i64; 4] = [0, HOUR, -HOUR, 0];

#[test]
fn a_clock_that_is_set_by_an_hour_neither_delays_nor_loses_messages_of_a_sealed_stream() {
    let Some(clock) = SettableClock::new() else { return };
    let network = Network::new([0.0; 2]);
    let Some(redis) = Redis::start(&network, Setup::Plain) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key").into_os_string().into_string().unwrap();
    mcast(&network.publisher, &["keys", "make", &key]).succeeded();
    let groups = ["239.1.2.3%eth0:7000", "239.1.2.4%eth0:7000"];
    let common = ["--name", "prices", "--key", &key];
    let url = redis.url();
    let store = [&["bridge", groups[0], "to", &url, "--json"], &common[..]].concat();
    let bridge = clock.start(&network.bridges[0], &store, false);
    bridge.stdout.wait_for(r#""event":"connected""#);
    let subscribe = [&["subscribe", groups[1]], &common[..]].concat();
    let subscriber = clock.start(&network.bridges[1], &subscribe, false);
    let paths = ["publish", groups[0], "--path", "239.1.2.4%eth1:7000", "--wait-for", "2"];
    let mut publisher = clock.start(&network.publisher, &[&paths[..], &common].concat(), true);
    for (round, ahead) in (0..).zip(AHEAD) {
        clock.set(ahead);
        write(&mut publisher, 100 * round..100 * (round + 1));
        eventually("messages in the broker", || redis.length() == 100 * (round + 1));
        subscriber.stdout.wait_for(&format!("message {} ", 100 * round + 99));
        // The bridge reads the clock that was set.
        let stored: i64 = redis.entries().last().unwrap().field("t").unwrap().parse().unwrap();
        let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        assert!(
            (stored - now - 1_000 * ahead).abs() < 1_000 * HOUR / 2,
            "{stored} at {now}, {ahead} s ahead"
        );
    }
    close(&mut publisher);
    publisher.end().succeeded();
    let ended = subscriber.end().succeeded();
    assert!(ended.stderr.contains("lost 0 messages"), "{ended:?}");
    let (events, summary) = records(&bridge.end().succeeded());
    assert_eq!((&summary["gaps"], &summary["superseded"]), (&0.into(), &0.into()), "{events:?}");
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["connected", "joined", "ended"]);
}
