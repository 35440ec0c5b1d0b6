//! A network segment with a sender and several receivers, and configurable loss.
//!
//! Frames are dropped at random on ingress at all hosts, before the network stack processes them: data as well as
//! feedback. On links without offloads, a frame is a datagram (or a TCP segment), so that losses are independent.

use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use mcast_lab::{Host, Lab, Offload, Switch};
use serde::Deserialize;

use crate::network::{INTERFACE, Link, SENDER};

/// The network of all hosts.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
/// The denominator of the drop probability.
const DRAWS: u32 = 100_000;

/// The hosts.
#[derive(Debug)]
pub struct Segment {
    /// The sender.
    pub sender: Host,
    /// The receivers.
    pub receivers: Vec<Host>,
    /// Keeps the hosts alive.
    _lab: Lab,
}

/// Counts of frames that arrived at hosts, and of those that were dropped on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounters {
    /// Frames of UDP and TCP.
    pub seen: u64,
    /// How many of those were dropped.
    pub dropped: u64,
}

impl Segment {
    /// Creates the hosts: two on one link, or more on a switch that floods.
    ///
    /// # Errors
    /// If namespaces are not allowed, or the kernel reports another error.
    pub fn new(link: Link, receivers: usize) -> Result<Self> {
        let lab = Lab::new().context("the lab to compare in")?;
        let sender = lab.host("sender")?;
        let hosts = (1..=receivers).map(|number| lab.host(&format!("receiver-{number}")));
        let receivers = hosts.collect::<mcast_lab::Result<Vec<_>>>()?;
        match &receivers[..] {
            [receiver] => {
                lab.link(
                    &sender,
                    INTERFACE,
                    &[&with_prefix(SENDER)],
                    receiver,
                    INTERFACE,
                    &[&address_and_prefix(0)],
                )?;
            }
            several => {
                let switch = lab.switch("lan")?;
                plug(&sender, &switch, &with_prefix(SENDER))?;
                for (number, receiver) in several.iter().enumerate() {
                    plug(receiver, &switch, &address_and_prefix(number))?;
                }
            }
        }
        let segment = Self { sender, receivers, _lab: lab };
        for host in segment.hosts() {
            // Some peers have no other way to choose an interface.
            host.add_route("224.0.0.0/4", INTERFACE)?;
            if link != Link::Whole {
                let cut = Offload { tx_udp_segmentation: false, tso: false, ..Offload::default() };
                host.offload(INTERFACE, Offload { gro: link == Link::Merged, ..cut })?;
            }
        }
        Ok(segment)
    }

    /// Returns the address of a receiver, by number.
    #[must_use]
    pub fn address(number: usize) -> Ipv4Addr {
        Ipv4Addr::from_bits(NETWORK.to_bits() + 2 + number as u32)
    }

    /// Sets the loss at all hosts in percent, and resets the counters. A loss of 0 uses the same rules, so that the
    /// overhead is the same.
    ///
    /// # Errors
    /// If `nft` fails.
    pub fn lose(&self, percent: f64) -> Result<()> {
        let (below, verdict) = match (percent / 100.0 * f64::from(DRAWS)).round() as u32 {
            0 => (1, "accept"),
            below => (below, "counter name dropped drop"),
        };
        let rules = format!(
            "table netdev loss\ndelete table netdev loss\n\
             table netdev loss {{\n\
               counter seen {{ }}\n\
               counter dropped {{ }}\n\
               chain arriving {{\n\
                 type filter hook ingress device {INTERFACE} priority 0\n\
                 meta l4proto {{ udp, tcp }} counter name seen numgen random mod {DRAWS} < {below} {verdict}\n\
               }}\n\
             }}\n"
        );
        self.hosts().try_for_each(|host| nft(host, &[&rules]).map(drop))
    }

    /// Returns the counts of all receivers together.
    ///
    /// # Errors
    /// If `nft` fails.
    pub fn drop_counters(&self) -> Result<DropCounters> {
        let mut all = DropCounters::default();
        for host in &self.receivers {
            let text = nft(host, &["list counters netdev"])?;
            let Listing { nftables } = serde_json::from_str(&text).context("reading the output of nft")?;
            for counter in nftables.into_iter().filter_map(|entry| entry.counter) {
                match counter.name.as_str() {
                    "seen" => all.seen += counter.packets,
                    _ => all.dropped += counter.packets,
                }
            }
        }
        Ok(all)
    }

    fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.sender).chain(&self.receivers)
    }
}

impl DropCounters {
    /// Returns the percentage dropped.
    #[must_use]
    pub fn percent(self) -> f64 {
        self.dropped as f64 * 100.0 / self.seen.max(1) as f64
    }
}

/// The output of `nft --json list counters`.
#[derive(Deserialize, Debug)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Deserialize, Debug)]
struct Entry {
    counter: Option<Counter>,
}

#[derive(Deserialize, Debug)]
struct Counter {
    name: String,
    packets: u64,
}

fn plug(host: &Host, switch: &Switch, address: &str) -> Result<()> {
    host.connect(INTERFACE, switch, &[address])?;
    Ok(())
}

fn with_prefix(address: &str) -> String {
    format!("{address}/24")
}

fn address_and_prefix(number: usize) -> String {
    with_prefix(&Segment::address(number).to_string())
}

/// Runs `nft` on a host and returns its output.
fn nft(host: &Host, commands: &[&str]) -> Result<String> {
    let mut command = host.command("nft")?;
    command.arg("--json").args(commands).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft on '{}' failed ({}): {said}", host.name(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_counted_is_read() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "netdev", "name": "seen", "table": "loss", "packets": 200, "bytes": 1}},
            {"counter": {"family": "netdev", "name": "dropped", "table": "loss", "packets": 3, "bytes": 1}}]}"#;
        let Listing { nftables } = serde_json::from_str(text).unwrap();
        let packets: Vec<_> =
            nftables.into_iter().filter_map(|entry| entry.counter).map(|each| each.packets).collect();
        assert_eq!(packets, [200, 3]);
        assert_eq!(DropCounters { seen: 200, dropped: 3 }.percent(), 1.5);
    }
}
