//! A bridge behind a relay.

use mcast_lab::{Host, Lab};

use crate::audit::{audit, records};
use crate::engine::{Engine, Setup};
use crate::network::{close, text, write};
use crate::redis::Redis;
use crate::support::{MCAST, Running, eventually, program, start};

const GROUP: &str = "239.1.2.3%eth0:7000";
/// What the publisher retains when the bridge starts.
const STORED: u64 = 30_000;
/// What it publishes while the relay is gone, and after.
const LIVE: u64 = 1_000;

fn relay(host: &Host) -> Running {
    let relay = start(host, &["relay", "--json", "239.1.2.3:7000 from eth0 to eth1"]);
    relay.stdout.wait_for(r#""event":"forwarding""#);
    relay
}

/// The relay also carries the bridge's requests, from ports of its own that are others after a restart.
#[test]
fn a_relay_that_restarts_while_a_bridge_catches_up_costs_no_message() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let lab = Lab::new().unwrap();
    let [near, far] = ["near", "far"].map(|name| lab.switch(name).unwrap());
    let [publishing, relaying, keeping] = ["p", "r", "b"].map(|name| lab.host(name).unwrap());
    publishing.connect("eth0", &near, &["10.0.1.1/24"]).unwrap();
    relaying.connect("eth0", &near, &["10.0.1.9/24"]).unwrap();
    relaying.connect("eth1", &far, &["10.0.2.9/24"]).unwrap();
    keeping.connect("eth0", &far, &["10.0.2.2/24"]).unwrap();

    // The rate makes the bridge need seconds to catch up.
    let arguments = ["publish", GROUP, "--name", "prices", "--ttl", "4", "--history", "64M", "--json"];
    let slow = ["--rate", "8Mbit", "--linger", "1m"];
    let mut publisher = program(&publishing, MCAST, &[&arguments[..], &slow].concat(), true);
    write(&mut publisher, 0..STORED);
    let mut first = relay(&relaying);
    let url = redis.url();
    let bridge = start(&keeping, &["bridge", GROUP, "to", &url, "--name", "prices", "--json"]);
    eventually("the first messages", || redis.length() >= 1_000);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let before = redis.length();
    assert!(before < STORED, "the bridge had caught up before the relay was killed");
    write(&mut publisher, STORED..STORED + LIVE);
    let second = relay(&relaying);
    write(&mut publisher, STORED + LIVE..STORED + 2 * LIVE);
    close(&mut publisher);

    let published = publisher.end().succeeded();
    let ended = bridge.end().succeeded();
    let stored = audit(&redis.entries(), |_, number| Some(text(number)));
    let all = STORED + 2 * LIVE;
    assert_eq!((stored.messages, stored.gaps, stored.ends), (all, Vec::new(), 1), "{before}: {ended:?}");
    let (_, kept) = records(&ended);
    assert_eq!((&kept["messages"], &kept["gaps"], &kept["missing"]), (&all.into(), &0.into(), &0.into()));
    let report = published.json().pop().unwrap();
    assert_eq!(report["messages"], all, "{report}");
    assert_eq!(report["subscribers"][0]["lost_messages"], 0, "{report}");
    second.signalled(libc::SIGINT);
}
