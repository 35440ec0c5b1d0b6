//! Prints packets and the summary.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_capture::{Direction, Frame};
use mcast_packet::payload::{Dns, DnsSection};
use mcast_packet::{Enclosing, Packet, hexdump, protocol};
use mcast_stream::dissect::opened;
use mcast_stream::seal::Keys;
use mcast_terminal::Console;
use mcast_watch::live::{PacketRecord, RecognizedPayload};
use mcast_watch::{PacketCounts, PacketFlow, PacketTally, RtpFlows, TrafficVolume};

use super::{OutputFormat, SniffPlan};
use crate::output::{Palette, SafeText, clock_time, count, fit_line, traffic_in, write_record};
use crate::receiving::flow_table;

/// The maximum number of bytes of text in a line.
const LINE_TEXT: usize = 400;

/// Prints packets.
#[derive(Debug)]
pub(super) struct PacketLines {
    format: Option<OutputFormat>,
    palette: Palette,
    is_verbose: bool,
    /// The keys of sealed streams.
    keys: Keys,
    /// The flows that may be RTP.
    rtp: RtpFlows,
    /// The maximum length of a line; `None` means unlimited.
    columns: Option<usize>,
    /// The current width of interface names.
    width: usize,
}

impl PacketLines {
    pub(super) fn new(plan: &SniffPlan<'_>, console: &Console) -> Self {
        Self {
            format: plan.format,
            palette: *console.palette(),
            is_verbose: console.is_verbose(),
            keys: plan.keys.clone(),
            rtp: RtpFlows::default(),
            columns: mcast_terminal::width(),
            width: 0,
        }
    }

    pub(super) fn print(
        &mut self,
        out: &mut impl Write,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        enclosing: Option<&Enclosing<'_>>,
        interface: &str,
    ) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        let opened = packet.udp().and_then(|udp| opened(udp.payload, &self.keys));
        let carried = RecognizedPayload::of_flow(packet, opened.as_deref(), &mut self.rtp);
        match format {
            OutputFormat::Json => {
                let record = PacketRecord::new(frame, packet, enclosing, carried.as_ref(), interface);
                write_record(out, "packet", &record)
            }
            OutputFormat::Line => self.line(out, frame, packet, enclosing, carried.as_ref(), interface),
            OutputFormat::Hex => {
                self.line(out, frame, packet, enclosing, carried.as_ref(), interface)?;
                writeln!(out, "{}", hexdump(frame.bytes))
            }
        }
    }

    fn line(
        &mut self,
        out: &mut impl Write,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        enclosing: Option<&Enclosing<'_>>,
        carried: Option<&RecognizedPayload<'_>>,
        interface: &str,
    ) -> io::Result<()> {
        let Palette { dim, interface: by, warning, .. } = self.palette;
        self.width = self.width.max(interface.chars().count());
        let width = self.width;
        let mut line = Vec::new();
        let buffer = &mut line;
        write!(buffer, "{dim}{}{dim:#} {by}{interface:width$}{by:#} ", clock_time(frame.time))?;
        write!(buffer, "{dim}{:3}{dim:#} ", direction(frame.direction))?;
        let is_broken = packet.malformed.is_some() || carried.is_some_and(RecognizedPayload::is_broken);
        let style = if is_broken { warning } else { anstyle::Style::new() };
        let payload = carried.map(|carried| carried as &dyn fmt::Display);
        write!(buffer, "{style}{}{style:#}", packet.summary_within(enclosing, payload))?;
        if let Some(ip) = packet.ip_layer() {
            write!(buffer, "  {dim}ttl{dim:#} {}", ip.hop_limit)?;
        }
        write!(buffer, "  {dim}len{dim:#} {}", frame.original_length)?;
        if self.is_verbose {
            self.details(buffer, packet, carried.is_none())?;
        }
        writeln!(out, "{}", fit_line(&String::from_utf8_lossy(&line), self.columns))?;
        match carried.and_then(RecognizedPayload::dns) {
            Some(dns) if self.is_verbose => self.records(out, dns),
            _ => Ok(()),
        }
    }

    /// Prints all questions and records of an mDNS message, one line each.
    fn records(&self, out: &mut impl Write, dns: &Dns<'_>) -> io::Result<()> {
        let dim = self.palette.dim;
        for question in dns.questions() {
            writeln!(out, "    {dim}question{dim:#} {question}")?;
        }
        for (section, record) in dns.records() {
            let title = match section {
                DnsSection::Answer if dns.is_response => "answer",
                DnsSection::Answer => "known",
                DnsSection::Authority if dns.is_response => "authority",
                DnsSection::Authority => "claims",
                DnsSection::Additional => "additional",
            };
            writeln!(out, "    {dim}{title}{dim:#} {record}")?;
        }
        Ok(())
    }

    /// Prints the Ethernet addresses, and the text of payloads that are not recognized.
    fn details(&self, out: &mut impl Write, packet: &Packet<'_>, has_text: bool) -> io::Result<()> {
        let Palette { address, dim, .. } = self.palette;
        if let Some((destination, source)) = packet.hardware_addresses() {
            write!(out, "  {address}{source}{address:#} {dim}>{dim:#} {destination}")?;
        }
        match packet.udp() {
            Some(udp) if has_text && !udp.payload.is_empty() => {
                write!(out, "  {}", SafeText::new(udp.payload).at_most(LINE_TEXT))
            }
            _ => Ok(()),
        }
    }
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Unknown => "-",
        Direction::Outgoing => "out",
        _ => "in",
    }
}

/// What the summary contains besides the counts.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) time: Duration,
    /// The number of packets that this machine dropped; `None` if it is unknown.
    pub(super) lost: Option<u64>,
}

/// Prints the summary on standard error.
pub(super) fn print_summary(
    tally: &PacketTally,
    ending: Ending,
    name: impl Fn(InterfaceIndex) -> String,
    console: &Console,
) {
    if console.is_quiet() {
        return;
    }
    let flows = tally.flows();
    let TrafficVolume { count: packets, bytes: volume } = flows.total();
    console.note(format_args!(
        "saw {}; dropped by this machine: {}{}{}",
        traffic_in(packets, "packet", volume, ending.time, 1),
        ending.lost.map_or_else(|| "unknown".to_owned(), count),
        remarks(tally.counts()),
        link_protocols(tally)
    ));
    if !flows.is_empty() {
        let cells = |flow: &PacketFlow| [target(flow), name(flow.interface), flow.source.to_string()];
        console.note(flow_table(flows, "packet", console, cells));
    }
}

/// Returns the protocols of the frames to groups of Ethernet, which end the remarks.
fn link_protocols(tally: &PacketTally) -> String {
    let all: Vec<_> = tally
        .link_protocols()
        .into_iter()
        .filter(|(name, _)| *name != "other")
        .map(|(name, frames)| format!("{} {name}", count(frames)))
        .collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

fn remarks(counts: PacketCounts) -> String {
    let part = |number: u64, what: &str| (number > 0).then(|| format!("{what}: {}", count(number)));
    let other = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", count(number)));
    let others =
        [other(counts.broadcast, "broadcast"), other(counts.link_multicast, "to groups of Ethernet")];
    let others: Vec<String> = others.into_iter().flatten().collect();
    let parts = [
        part(counts.igmp, "IGMP"),
        part(counts.mld, "MLD"),
        part(counts.pim, "PIM"),
        part(counts.bad_checksums, "bad checksums"),
        part(counts.malformed, "malformed"),
        part(counts.incomplete, "datagrams with missing fragments"),
        (!others.is_empty()).then(|| format!("also {}", others.join(", "))),
    ];
    parts.into_iter().flatten().map(|part| format!("; {part}")).collect()
}

/// Returns `239.255.1.3:5000`, or without a port the protocol in its place.
fn target(flow: &PacketFlow) -> String {
    let group = flow.destination;
    match (flow.port, flow.protocol) {
        (Some(port), _) => SocketAddr::new(group, port).to_string(),
        (None, protocol::IGMP) => format!("{group} IGMP"),
        (None, protocol::PIM) => format!("{group} PIM"),
        (None, protocol::ICMP) => format!("{group} ICMP"),
        (None, protocol::ICMPV6) => format!("{group} ICMPv6"),
        (None, protocol::UDP) => format!("{group} UDP"),
        (None, other) => format!("{group} protocol {other}"),
    }
}
