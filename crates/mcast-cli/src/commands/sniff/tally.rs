//! Counts of packets by group, interface and source.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_capture::Frame;
use mcast_packet::{ChecksumStatus, Packet, Transport};
use serde::Serialize;

use super::other_frames::OtherFrames;
use crate::console::Console;
use crate::output::{bits_per_second, bytes, count, count_of, protocol_name, seconds};
use crate::receiving::{Flows, Volume};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flow {
    destination: IpAddr,
    port: Option<u16>,
    protocol: u8,
    interface: InterfaceIndex,
    source: IpAddr,
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
    flows: Flows<Flow>,
    messages: Messages,
    bad_checksums: u64,
    malformed: u64,
    /// The times of the earliest and the latest packet.
    span: Option<(SystemTime, SystemTime)>,
}

impl Tally {
    pub(super) fn add(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, port: Option<u16>) {
        let length = frame.original_length;
        let (earliest, latest) = self.span.unwrap_or((frame.time, frame.time));
        self.span = Some((earliest.min(frame.time), latest.max(frame.time)));
        self.count_faults(packet);
        let Some(ip) = packet.ip_layer() else { return self.flows.add_without_flow(length) };
        let flow = Flow {
            destination: ip.destination,
            port,
            protocol: ip.protocol,
            interface: frame.interface,
            source: ip.source,
        };
        self.flows.add(flow, length);
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

    pub(super) fn packets(&self) -> u64 {
        self.flows.total().count
    }

    /// Prints the summary on standard error.
    pub(super) fn print(&self, end: &Ending<'_>, console: &Console) {
        if console.is_quiet() {
            return;
        }
        let Volume { count: packets, bytes: volume } = self.flows.total();
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
        self.flows
            .table("packet", console, |flow| [flow.target(), name(flow.interface), flow.source.to_string()])
    }

    /// Returns the summary for JSON.
    pub(super) fn summary(&self, end: &Ending<'_>) -> Summary {
        let flows = self.flows.sorted().into_iter().map(|(flow, volume)| FlowSummary {
            group: flow.destination,
            port: flow.port,
            protocol: protocol_name(flow.protocol),
            interface: (end.name)(flow.interface),
            source: flow.source,
            packets: volume.count,
            bytes: volume.bytes,
        });
        Summary {
            packets: self.flows.total().count,
            bytes: self.flows.total().bytes,
            seconds: end.time.as_secs_f64(),
            dropped: end.lost,
            messages: self.messages,
            bad_checksums: self.bad_checksums,
            malformed: self.malformed,
            other_frames: *end.other_frames,
            flows: flows.collect(),
            other_packets: self.flows.others().count,
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
