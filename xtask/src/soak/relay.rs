//! Long runs of tests of the relay, of which `cargo verify` runs short ones.

use anyhow::Result;

use crate::command::cargo;
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::tests;

const FLAPS: u32 = 100;
const MDNS_SECONDS: u32 = 600;

pub(super) fn step(minutes: u32, seed: u32) -> Step {
    let about = format!(
        "a forwarder that ends {FLAPS} times is replaced, avahi renames nothing in {MDNS_SECONDS} s, and there are at most two \
         copies of each original in {minutes} minutes beside relays without a guard"
    );
    Step::new("relay", about, move |options| run(minutes, seed, options))
}

fn run(minutes: u32, seed: u32, options: &RunOptions) -> Result<Outcome> {
    let head = ["test", "--quiet", "--package", "mcast-cli", "--test", "relay", "--", "--nocapture"];
    let mut command = cargo(head.iter().chain(&["takeover::", "avahi::", "bound::"]));
    command.env("MCAST_RELAY_FLAPS", FLAPS.to_string());
    command.env("MCAST_RELAY_MDNS_SECONDS", MDNS_SECONDS.to_string());
    command.env("MCAST_RELAY_SECONDS", (60 * minutes).to_string()).env("MCAST_RELAY_SEED", seed.to_string());
    tests::outcome(command, "cargo test", options)
}
