//! `mcast publish` and `mcast subscribe` on hosts of a lab, with real packets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acknowledged;
mod hosts;
mod logged;
mod lossy;
mod named;
mod paths;
mod rate;
mod refused;
#[path = "../command/schemas.rs"]
mod schemas;
mod sealed;
mod slow;
mod snapshots;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod whole;

use mcast_lab::Host;
use support::{Running, start};

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
