//! Long runs of tests of the relay, of which `cargo verify` runs short ones.

use anyhow::Result;

use crate::command::cargo;
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::tests;

const FLAPS: u32 = 100;
const MDNS_SECONDS: u32 = 600;

pub(super) fn step() -> Step {
    let about = format!(
        "a forwarder that ends {FLAPS} times is replaced, and avahi renames nothing in {MDNS_SECONDS} s"
    );
    Step::new("relay", about, run)
}

fn run(options: &RunOptions) -> Result<Outcome> {
    let head = ["test", "--quiet", "--package", "mcast-cli", "--test", "relay", "--", "--nocapture"];
    let mut command = cargo(head.iter().chain(&["takeover::", "avahi::"]));
    command.env("MCAST_RELAY_FLAPS", FLAPS.to_string());
    command.env("MCAST_RELAY_MDNS_SECONDS", MDNS_SECONDS.to_string());
    tests::outcome(command, "cargo test", options)
}
