//! A sender and several receivers on one segment, which loses what it is told to.
//!
//! Frames are dropped where they come in, at both ends, before any part of the stack sees them: data as
//! well as what receivers answer. On links without offloads a frame is a datagram (or a segment of TCP),
//! so that each is drawn for itself, whoever sent it.

use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use mcast_lab::{Host, Lab, Offload, Switch};
use serde::Deserialize;

use crate::network::{INTERFACE, Link, SENDER};

/// The network of all of them.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
/// What draws are out of.
const DRAWS: u32 = 100_000;

/// The hosts.
#[derive(Debug)]
pub struct Segment {
    /// Who sends.
    pub sender: Host,
    /// Who receive.
    pub receivers: Vec<Host>,
    /// Holds them up.
    _lab: Lab,
}

/// What came in at a host, and what of it was dropped on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Frames of UDP and TCP.
    pub seen: u64,
    /// Those that were dropped.
    pub dropped: u64,
}

impl Segment {
    /// Builds the hosts: two joined by a cable, or more on a switch that floods.
    ///
    /// # Errors
    /// Where namespaces are refused, and what else the kernel says.
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
            // Some peers know no other way to choose an interface.
            host.add_route("224.0.0.0/4", INTERFACE)?;
            if link != Link::Whole {
                let cut = Offload { tx_udp_segmentation: false, tso: false, ..Offload::default() };
                host.offload(INTERFACE, Offload { gro: link == Link::Merged, ..cut })?;
            }
        }
        Ok(segment)
    }

    /// The address of a receiver, by number.
    #[must_use]
    pub fn address(number: usize) -> Ipv4Addr {
        Ipv4Addr::from_bits(NETWORK.to_bits() + 2 + number as u32)
    }

    /// From now on, so many percent of what comes in at any of the hosts is dropped; what was drawn before
    /// is forgotten. Nothing is drawn differently at 0: it costs as much.
    ///
    /// # Errors
    /// When `nft` fails.
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

    /// What all receivers together were spared.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn drawn(&self) -> Result<Drawn> {
        let mut all = Drawn::default();
        for host in &self.receivers {
            let text = nft(host, &["list counters netdev"])?;
            let Listing { nftables } = serde_json::from_str(&text).context("reading what nft said")?;
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

impl Drawn {
    /// Percent dropped.
    #[must_use]
    pub fn percent(self) -> f64 {
        self.dropped as f64 * 100.0 / self.seen.max(1) as f64
    }
}

/// What `nft --json list counters` says.
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

/// Has a host's `nft` do this; what it says.
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
        assert_eq!(Drawn { seen: 200, dropped: 3 }.percent(), 1.5);
    }
}
