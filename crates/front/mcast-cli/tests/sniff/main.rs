//! `mcast sniff` on hosts of a lab, with real packets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;
mod description;
mod files;
mod frames;
mod help;
mod joining;
mod live;
mod refusals;
#[path = "../command/schemas.rs"]
mod schemas;
mod streams;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;

use mcast_lab::Host;
use support::{Running, start};

const GROUP: &str = "239.255.1.2:5000";

/// `mcast sniff` with these arguments on a host, once it captures.
fn sniff(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["sniff"], arguments].concat());
    running.stderr.wait_for("capturing on");
    running
}
