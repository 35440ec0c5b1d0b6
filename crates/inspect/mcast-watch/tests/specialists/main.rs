//! What is discovered in networks of a lab, beside the program that is made for each protocol: both must list the same.
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod clocks;
mod conversation;
mod dds;
mod networks;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use conversation::Conversation;
use mcast_lab::Host;
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::DiscoveryOptions;

/// Starts to look on a host.
fn discover(host: &Host, ask: bool) -> Discovery {
    let options = DiscoveryOptions { interfaces: vec!["eth0".parse().unwrap()], ask, ..Default::default() };
    host.run(move || Discovery::open(&options).unwrap()).unwrap()
}

/// Returns the entries of a protocol.
fn entries(discovery: &Discovery, protocol: DiscoveryProtocol) -> Vec<Discovered> {
    discovery.entries().into_iter().filter(|entry| entry.key.protocol == protocol).collect()
}

fn field(entry: &Discovered, name: &str) -> String {
    entry.field(name).map(ToString::to_string).unwrap_or_default()
}

/// Waits until both list the same and it is what is expected of them, and returns how long that took.
fn agree<T: Ord + Debug>(
    what: &str,
    discovery: &Discovery,
    limit: Duration,
    mut specialist: impl FnMut() -> BTreeSet<T>,
    mut found: impl FnMut() -> BTreeSet<T>,
    is_expected: impl Fn(&BTreeSet<T>) -> bool,
) -> Duration {
    let start = Instant::now();
    loop {
        let (theirs, ours) = (specialist(), found());
        if theirs == ours && is_expected(&ours) {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "{what}: the specialist lists {theirs:#?}, discovery {ours:#?}");
        // Woken by the next change.
        drop(discovery.next_event(Some(Duration::from_millis(200))));
    }
}
