//! Prints packets.

use std::io::{self, Write};

use mcast_capture::Frame;
use mcast_packet::payload::{Dns, DnsSection};
use mcast_packet::{Packet, hexdump};
use mcast_stream::seal::Keys;

use super::OutputOptions;
use super::object::Record;
use super::payload::Carried;
use crate::console::{self, Console};
use crate::message_layer::opened;
use crate::output::{Palette, SafeText, clock_time, fit_line, write_record};

/// The maximum number of bytes of text in a line.
const LINE_TEXT: usize = 400;

/// Prints packets.
#[derive(Debug)]
pub(super) struct Printer {
    format: Option<OutputFormat>,
    palette: Palette,
    is_verbose: bool,
    /// The keys of sealed streams.
    keys: Keys,
    /// The maximum length of a line; `None` means unlimited.
    columns: Option<usize>,
    /// The current width of interface names.
    width: usize,
}

#[derive(Clone, Copy, Debug)]
enum OutputFormat {
    Line,
    Hex,
    Json,
}

impl Printer {
    pub(super) fn new(show: &OutputOptions, keys: Keys, console: &Console) -> Self {
        let format = match show {
            _ if !show.prints() => None,
            OutputOptions { json: true, .. } => Some(OutputFormat::Json),
            OutputOptions { hexdump: true, .. } => Some(OutputFormat::Hex),
            _ => Some(OutputFormat::Line),
        };
        Self {
            format,
            palette: *console.palette(),
            is_verbose: console.is_verbose(),
            keys,
            columns: console::width(),
            width: 0,
        }
    }

    pub(super) fn print(
        &mut self,
        out: &mut impl Write,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        interface: &str,
    ) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        let opened = packet.udp().and_then(|udp| opened(udp.payload, &self.keys));
        let carried = Carried::by(packet, opened.as_deref());
        match format {
            OutputFormat::Json => {
                write_record(out, "packet", &Record::new(frame, packet, carried.as_ref(), interface))
            }
            OutputFormat::Line => self.line(out, frame, packet, carried.as_ref(), interface),
            OutputFormat::Hex => {
                self.line(out, frame, packet, carried.as_ref(), interface)?;
                writeln!(out, "{}", hexdump(frame.bytes))
            }
        }
    }

    fn line(
        &mut self,
        out: &mut impl Write,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        carried: Option<&Carried<'_>>,
        interface: &str,
    ) -> io::Result<()> {
        let Palette { dim, interface: by, warning, .. } = self.palette;
        self.width = self.width.max(interface.chars().count());
        let width = self.width;
        let mut line = Vec::new();
        let buffer = &mut line;
        write!(buffer, "{dim}{}{dim:#} {by}{interface:width$}{by:#} ", clock_time(frame.time))?;
        write!(buffer, "{dim}{}{dim:#} ", direction(frame))?;
        let is_broken = packet.malformed.is_some() || carried.is_some_and(Carried::is_broken);
        let style = if is_broken { warning } else { anstyle::Style::new() };
        match carried {
            Some(carried) => write!(buffer, "{style}{}{style:#}", packet.summary_with(carried))?,
            None => write!(buffer, "{style}{packet}{style:#}")?,
        }
        if let Some(ip) = packet.ip_layer() {
            write!(buffer, "  {dim}ttl{dim:#} {}", ip.hop_limit)?;
        }
        write!(buffer, "  {dim}len{dim:#} {}", frame.original_length)?;
        if self.is_verbose {
            self.details(buffer, packet, carried.is_none())?;
        }
        writeln!(out, "{}", fit_line(&String::from_utf8_lossy(&line), self.columns))?;
        match carried.and_then(Carried::dns) {
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
        if let Some(ethernet) = &packet.ethernet {
            let (source, destination) = (ethernet.source, ethernet.destination);
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

/// Returns `out` for packets that this machine sent, otherwise `in`.
pub(super) fn direction(frame: &Frame<'_>) -> &'static str {
    match frame.direction {
        mcast_capture::Direction::Outgoing => "out",
        mcast_capture::Direction::Unknown => "-  ",
        _ => "in ",
    }
}
