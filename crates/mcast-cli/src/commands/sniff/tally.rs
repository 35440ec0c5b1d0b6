//! Counts of packets by group, interface and source.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_capture::Frame;
use mcast_packet::{ChecksumStatus, Packet, Transport};
use serde::Serialize;

use super::other_frames::OtherFrames;
use crate::console::Console;
use crate::output::{Cell, Palette, Table, bits_per_second, bytes, count, count_of, protocol_name, seconds};

/// The maximum number of flows, because sources can be forged; further ones are counted as one.
const MAX_FLOWS: usize = 10_000;
/// Flows shown in a summary without `-v`.
const SHOWN: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flow {
    destination: IpAddr,
    port: Option<u16>,
    protocol: u8,
    interface: InterfaceIndex,
    source: IpAddr,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Volume {
    packets: u64,
    bytes: u64,
}

/// Counts of control messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Messages {
    igmp: u64,
    mld: u64,
    pim: u64,
}

/// Counts selected packets.
#[derive(Debug, Default)]
pub(super) struct Tally {
    total: Volume,
    messages: Messages,
    bad_checksums: u64,
    malformed: u64,
    flows: HashMap<Flow, Volume>,
    /// The counts of flows beyond the maximum.
    others: Volume,
    /// The times of the earliest and the latest packet.
    span: Option<(SystemTime, SystemTime)>,
}

impl Volume {
    fn add(&mut self, length: usize) {
        self.packets += 1;
        self.bytes += length as u64;
    }
}

impl Tally {
    pub(super) fn add(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, port: Option<u16>) {
        let length = frame.original_length;
        self.total.add(length);
        let (earliest, latest) = self.span.unwrap_or((frame.time, frame.time));
        self.span = Some((earliest.min(frame.time), latest.max(frame.time)));
        self.count_faults(packet);
        let Some(ip) = packet.ip_layer() else { return };
        let flow = Flow {
            destination: ip.destination,
            port,
            protocol: ip.protocol,
            interface: frame.interface,
            source: ip.source,
        };
        let has_room = self.flows.len() < MAX_FLOWS;
        match self.flows.get_mut(&flow) {
            Some(volume) => volume.add(length),
            None if has_room => self.flows.entry(flow).or_default().add(length),
            None => self.others.add(length),
        }
    }

    fn count_faults(&mut self, packet: &Packet<'_>) {
        let checksum = match &packet.transport {
            Some(Transport::Udp(udp)) => udp.checksum,
            Some(Transport::Igmp(control)) => {
                self.messages.igmp += 1;
                control.checksum
            }
            Some(Transport::Mld(control)) => {
                self.messages.mld += 1;
                control.checksum
            }
            Some(Transport::Pim(pim)) => {
                self.messages.pim += 1;
                pim.checksum
            }
            _ => ChecksumStatus::Absent,
        };
        self.bad_checksums += u64::from(checksum.is_invalid());
        self.malformed += u64::from(packet.malformed.is_some());
    }

    /// Returns the time from the earliest to the latest packet.
    pub(super) fn span(&self) -> Duration {
        let span = self.span.and_then(|(earliest, latest)| latest.duration_since(earliest).ok());
        span.unwrap_or_default()
    }

    pub(super) const fn packets(&self) -> u64 {
        self.total.packets
    }

    /// Prints the summary on standard error.
    pub(super) fn print(&self, end: &Ending<'_>, console: &Console) {
        if console.is_quiet() {
            return;
        }
        let Volume { packets, bytes: volume } = self.total;
        let rates = match packets {
            0 => String::new(),
            _ => rates(packets, volume, end.time).map(|rates| format!(" ({rates})")).unwrap_or_default(),
        };
        let lost = end.lost.map_or_else(|| "unknown".to_owned(), count);
        console.note(format_args!(
            "saw {}, {} in {}{rates}; dropped by this machine: {lost}{}",
            count_of(packets, "packet"),
            bytes(volume),
            seconds(end.time),
            self.remarks(end.other_frames)
        ));
        if !self.flows.is_empty() {
            console.note(self.table(end.name, console));
        }
    }

    fn remarks(&self, other_frames: &OtherFrames) -> String {
        let part = |number: u64, what: &str| (number > 0).then(|| format!("{what}: {}", count(number)));
        let Messages { igmp, mld, pim } = self.messages;
        let parts = [
            part(igmp, "IGMP"),
            part(mld, "MLD"),
            part(pim, "PIM"),
            part(self.bad_checksums, "bad checksums"),
            part(self.malformed, "malformed"),
            other_frames.description().map(|part| format!("also {part}")),
        ];
        parts.into_iter().flatten().map(|part| format!("; {part}")).collect()
    }

    fn table(&self, name: &dyn Fn(InterfaceIndex) -> String, console: &Console) -> String {
        let Palette { heading, group, interface, address, .. } = *console.palette_for_notes();
        let mut table = Table::new(&["  group", "interface", "source", "packets", "bytes"], heading);
        let flows = self.sorted();
        let shown = if console.is_verbose() { flows.len() } else { SHOWN };
        for (flow, volume) in flows.iter().take(shown) {
            table.row([
                Cell::new(format!("  {}", flow.target())).style(group),
                Cell::new(name(flow.interface)).style(interface),
                Cell::new(flow.source.to_string()).style(address),
                Cell::new(count(volume.packets)).right(),
                Cell::new(count(volume.bytes)).right(),
            ]);
        }
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = table.write(&mut text);
        let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
        if flows.len() > shown {
            text += &format!("\n  and {} more (-v shows them)", count((flows.len() - shown) as u64));
        }
        if self.others.packets > 0 {
            text += &format!("\n  and {} from further sources", count_of(self.others.packets, "packet"));
        }
        text
    }

    /// Returns the flows, the busiest first.
    fn sorted(&self) -> Vec<(Flow, Volume)> {
        let mut flows: Vec<_> = self.flows.iter().map(|(flow, volume)| (*flow, *volume)).collect();
        flows.sort_by_key(|(flow, volume)| (Reverse(volume.packets), *flow));
        flows
    }

    /// Returns the summary for JSON.
    pub(super) fn summary(&self, end: &Ending<'_>) -> Summary {
        let flows = self.sorted().into_iter().map(|(flow, volume)| FlowSummary {
            group: flow.destination,
            port: flow.port,
            protocol: protocol_name(flow.protocol),
            interface: (end.name)(flow.interface),
            source: flow.source,
            packets: volume.packets,
            bytes: volume.bytes,
        });
        Summary {
            packets: self.total.packets,
            bytes: self.total.bytes,
            seconds: end.time.as_secs_f64(),
            dropped: end.lost,
            messages: self.messages,
            bad_checksums: self.bad_checksums,
            malformed: self.malformed,
            other_frames: *end.other_frames,
            flows: flows.collect(),
            other_packets: self.others.packets,
        }
    }
}

impl Flow {
    /// Returns `239.1.2.3:5000`, or without a port the protocol in its place.
    fn target(&self) -> String {
        use mcast_packet::protocol as number;

        match (self.port, self.destination) {
            (Some(port), IpAddr::V4(group)) => format!("{group}:{port}"),
            (Some(port), IpAddr::V6(group)) => format!("[{group}]:{port}"),
            (None, group) => match self.protocol {
                number::IGMP => format!("{group} IGMP"),
                number::PIM => format!("{group} PIM"),
                number::ICMP => format!("{group} ICMP"),
                number::ICMPV6 => format!("{group} ICMPv6"),
                number::UDP => format!("{group} UDP"),
                other => format!("{group} protocol {other}"),
            },
        }
    }
}

fn rates(packets: u64, volume: u64, time: Duration) -> Option<String> {
    let bits = bits_per_second(volume, time)?;
    let rate = packets as f64 / time.as_secs_f64();
    Some(match rate {
        _ if rate < 100.0 => format!("{rate:.1} packets/s, {bits}"),
        _ => format!("{} packets/s, {bits}", count(rate as u64)),
    })
}

/// Further data of the summary.
pub(super) struct Ending<'a> {
    pub(super) time: Duration,
    /// `None` if the number is unknown.
    pub(super) lost: Option<u64>,
    pub(super) other_frames: &'a OtherFrames,
    pub(super) name: &'a dyn Fn(InterfaceIndex) -> String,
}

/// A summary as JSON: `schemas/sniff-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    packets: u64,
    bytes: u64,
    seconds: f64,
    dropped: Option<u64>,
    #[serde(flatten)]
    messages: Messages,
    bad_checksums: u64,
    malformed: u64,
    #[serde(flatten)]
    other_frames: OtherFrames,
    flows: Vec<FlowSummary>,
    other_packets: u64,
}

#[derive(Debug, Serialize)]
struct FlowSummary {
    group: IpAddr,
    port: Option<u16>,
    protocol: Cow<'static, str>,
    interface: String,
    source: IpAddr,
    packets: u64,
    bytes: u64,
}
