//! `mcast publish` and `mcast subscribe` on hosts of a lab, with real packets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acknowledged;
mod addresses;
mod audit;
mod confirmed;
mod hosts;
mod leaving;
mod local;
mod logged;
mod lossy;
mod metrics;
mod named;
mod outages;
mod paths;
mod rate;
mod refused;
#[path = "../command/schemas.rs"]
mod schemas;
mod sealed;
mod signed;
mod slow;
mod snapshots;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod whole;
mod wire;

use std::io::Write;

use mcast_lab::Host;
use support::{Lan, MCAST, Running, mcast, program, start};

const GROUP: &str = "239.1.2.3:7000";
const GROUPS: [&str; 2] = [GROUP, "[ff15::1:3]:7000"];

/// `mcast subscribe` with these arguments on a host, once it has joined.
fn subscriber(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["subscribe", "-i", "eth0"], arguments].concat());
    running.stderr.wait_for("joined");
    running
}

/// `mcast publish` with these arguments on a host.
fn publisher(host: &Host, arguments: &[&str]) -> Running {
    start(host, &[&["publish", "-i", "eth0"], arguments].concat())
}

/// Changes the keys of a publisher and two subscribers that run, with `mcast keys`: makes a file with these arguments, adds a
/// key to it, and removes the first one. `give` is passed what the command prints, and gives the subscribers theirs.
fn rotate_while_messages_arrive(
    lan: &Lan,
    make: &[&str],
    [publishes_with, ours]: [&str; 2],
    subscribes_with: [&str; 2],
    give: impl Fn(&str),
    [publisher_notes, subscriber_notes]: [&str; 2],
) {
    let keys = |arguments: &[&str]| give(mcast(&lan.a, &[&["keys"], arguments].concat()).succeeded().text());
    keys(make);
    let subscribers =
        [&lan.b, &lan.c].map(|host| subscriber(host, &[&[GROUP][..], &subscribes_with].concat()));
    let arguments = ["publish", "-i", "eth0", GROUP, publishes_with, ours, "--wait-for", "2"];
    let mut publishing = program(&lan.a, MCAST, &arguments, true);
    let mut input = publishing.child.stdin.take().unwrap();
    let mut publish = |line: &str| {
        writeln!(input, "{line}").unwrap();
        subscribers.iter().for_each(|subscriber| subscriber.stdout.wait_for(&format!("{line}\n")));
    };
    publish("with the first key");

    keys(&["rotate", ours]);
    for subscriber in &subscribers {
        subscriber.child.signal(libc::SIGHUP).unwrap();
        subscriber.stderr.wait_for(subscriber_notes);
    }
    publish("still with the first key");
    publishing.child.signal(libc::SIGHUP).unwrap();
    publishing.stderr.wait_for(publisher_notes);
    publish("with the second key");

    keys(&["drop", ours]);
    for process in subscribers.iter().chain([&publishing]) {
        process.child.signal(libc::SIGHUP).unwrap();
    }
    publish("with the second key alone");
    drop(input);
    let ended = publishing.end().succeeded();
    assert!(ended.stderr.contains("2 of 2"), "{ended:?}");
    for subscriber in subscribers {
        let ended = subscriber.end().succeeded();
        assert_eq!(ended.lines().len(), 4, "{ended:?}");
        assert!(ended.stderr.contains("lost 0 messages"), "{ended:?}");
    }
}
