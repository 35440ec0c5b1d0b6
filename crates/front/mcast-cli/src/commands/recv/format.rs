//! Formats of printed datagrams.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::SystemTime;

use mcast::{Arrival, Datagram};
use mcast_terminal::{Console, is_terminal};

use super::ReceiveOutput;
use crate::output::{
    InterfaceNames, Palette, Payload, SafeText, clock_time, columns, record, rfc3339, write_record,
};

/// The maximum number of bytes of text in a line.
const LINE_TEXT: usize = 400;
/// The minimum width of text in a line; with less room it is placed below.
const MIN_TEXT: usize = 30;
/// The columns that a length takes before text.
const LENGTH_WIDTH: usize = 4;

/// The values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One tidy line a datagram
    Line,
    /// The payload alone, a line each
    Text,
    /// A line, and the payload in hexadecimal
    Hex,
    /// The payload's bytes and nothing else
    Raw,
    /// One JSON object a datagram
    Json,
}

/// Prints datagrams.
#[derive(Debug)]
pub(super) struct DatagramPrinter {
    format: OutputFormat,
    palette: Palette,
    widths: Widths,
    is_terminal: bool,
    /// The maximum length of a line; `None` means unlimited.
    columns: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum OutputFormat {
    As(Format),
    /// An asterisk for every `size` bytes; `bytes` wait for the next one.
    Meter {
        size: usize,
        bytes: usize,
    },
    Nothing,
}

impl DatagramPrinter {
    pub(super) fn new(show: &ReceiveOutput, console: &Console) -> Self {
        let format = match (show.format, show.meter) {
            (Some(format), _) => OutputFormat::As(format),
            (None, Some(size)) => OutputFormat::Meter { size, bytes: 0 },
            (None, None) if show.discard => OutputFormat::Nothing,
            (None, None) if show.json => OutputFormat::As(Format::Json),
            // With --exec, only the output of the command is printed.
            (None, None) if show.exec.is_some() => OutputFormat::Nothing,
            (None, None) => OutputFormat::As(Format::Line),
        };
        Self {
            format,
            palette: *console.palette(),
            widths: Widths::default(),
            is_terminal: is_terminal(),
            columns: mcast_terminal::width(),
        }
    }

    pub(super) fn print(
        &mut self,
        out: &mut impl Write,
        datagram: &Datagram<'_>,
        names: &mut InterfaceNames,
    ) -> io::Result<()> {
        let payload = datagram.payload();
        match &mut self.format {
            OutputFormat::Nothing => Ok(()),
            OutputFormat::Meter { size, bytes } => {
                *bytes += payload.len();
                let stars = *bytes / *size;
                *bytes %= *size;
                (0..stars).try_for_each(|_| out.write_all(b"*"))
            }
            OutputFormat::As(Format::Raw) => out.write_all(payload),
            OutputFormat::As(Format::Text) => self.text(out, payload),
            OutputFormat::As(Format::Json) => {
                write_record(out, "datagram", &Record::new(datagram, &names.of(datagram.interface)))
            }
            OutputFormat::As(Format::Line) => {
                let width = if payload.is_empty() { 0 } else { LENGTH_WIDTH };
                let mut fields = Vec::new();
                self.fields(&mut fields, datagram, &names.of(datagram.interface), width)?;
                out.write_all(&fields)?;
                match payload {
                    [] => writeln!(out),
                    _ => writeln!(out, "{}", self.shown(payload, &fields)),
                }
            }
            OutputFormat::As(Format::Hex) => {
                self.fields(out, datagram, &names.of(datagram.interface), 0)?;
                writeln!(out)?;
                match payload {
                    [] => Ok(()),
                    _ => writeln!(out, "{}", mcast_packet::hexdump(payload)),
                }
            }
        }
    }

    /// Returns as much of the payload as fits in the line after these facts, or below if there is hardly any room.
    fn shown(&self, payload: &[u8], fields: &[u8]) -> String {
        let text = SafeText::new(payload).at_most(LINE_TEXT);
        let Some(width) = self.columns else { return format!("  {text}") };
        let room = width.saturating_sub(columns(&String::from_utf8_lossy(fields)) + 2);
        let beside = text.fitting(room);
        match room >= MIN_TEXT || beside == text.to_string() {
            true => format!("  {beside}"),
            false => format!("\n    {}", text.fitting(width.saturating_sub(4).max(MIN_TEXT))),
        }
    }

    /// Completes the output.
    pub(super) fn end(&self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            OutputFormat::Meter { .. } if self.is_terminal => writeln!(out),
            _ => Ok(()),
        }
    }

    /// Prints the payload with one line end. On a terminal, control characters are escaped.
    fn text(&self, out: &mut impl Write, payload: &[u8]) -> io::Result<()> {
        let body = payload.strip_suffix(b"\n").unwrap_or(payload);
        if !self.is_terminal {
            out.write_all(body)?;
            return out.write_all(b"\n");
        }
        body.split(|byte| *byte == b'\n').try_for_each(|line| writeln!(out, "{}", SafeText::new(line)))
    }

    /// Prints everything but the payload, in columns that grow as necessary. The length is padded only if text follows.
    fn fields(
        &mut self,
        out: &mut impl Write,
        arrival: &Arrival,
        interface: &str,
        length_width: usize,
    ) -> io::Result<()> {
        let Palette { dim, address, group, interface: by, bad, warning, .. } = self.palette;
        let (source, to) = (arrival.source.to_string(), arrival.destination.to_string());
        let Widths { source: source_width, group: to_width, interface: by_width } =
            self.widths.grow(&source, &to, interface);
        write!(
            out,
            "{dim}{}{dim:#} {address}{source:source_width$}{address:#} {dim}>{dim:#} {group}{to:to_width$}{group:#} \
             {by}{interface:by_width$}{by:#}",
            clock_time(time_of(arrival)),
        )?;
        match arrival.hop_limit {
            Some(hops) => write!(out, " {dim}ttl{dim:#} {hops:<3}")?,
            None => write!(out, " {dim}ttl{dim:#} ?  ")?,
        }
        write!(out, " {dim}len{dim:#} {:<length_width$}", arrival.length)?;
        if let Some(lost) = arrival.lost.filter(|lost| *lost > 0) {
            write!(out, " {bad}lost {lost}{bad:#}")?;
        }
        if arrival.truncated {
            write!(out, " {warning}truncated{warning:#}")?;
        }
        Ok(())
    }
}

/// The current widths of columns.
#[derive(Clone, Copy, Debug, Default)]
struct Widths {
    source: usize,
    group: usize,
    interface: usize,
}

impl Widths {
    fn grow(&mut self, source: &str, group: &str, interface: &str) -> Self {
        self.source = self.source.max(source.len());
        self.group = self.group.max(group.len());
        self.interface = self.interface.max(interface.chars().count());
        *self
    }
}

/// Returns the kernel's time of the arrival, or the current time if there is none.
pub(super) fn time_of(arrival: &Arrival) -> SystemTime {
    arrival.time.unwrap_or_else(SystemTime::now)
}

record! {
    fn new(datagram: &Datagram<'a>, interface: &'a str) {
        let arrival = datagram.arrival();
    }

    /// One object per datagram. Either `text` or `base64` is present.
    struct Record<'a> {
        /// Time at which the kernel received the datagram (RFC 3339, UTC, with nanoseconds); on systems without receive
        /// timestamps (Windows), time at which the command received it
        time: String = rfc3339(time_of(arrival)),
        /// Destination group; with unicast or broadcast, the destination address
        group: IpAddr = arrival.destination.ip(),
        /// UDP destination port
        port: u16 = arrival.destination.port(),
        /// Name of the interface on which the datagram arrived, or its index if it no longer has a name
        interface: &'a str = interface,
        /// Source address
        // Without its scope, because the interface is a separate field.
        source: IpAddr = arrival.source.ip(),
        /// UDP source port
        source_port: u16 = arrival.source.port(),
        /// Hop limit (IPv4: TTL) on arrival; null if the system does not report it
        ttl: Option<u8> = arrival.hop_limit,
        /// Differentiated services code point, 0 to 63; null if the system does not report it
        dscp: Option<u8> = arrival.dscp(),
        /// Length of the payload as sent, in bytes
        length: usize = arrival.length,
        /// Datagrams that this machine dropped on the same socket since the previous record because the receive buffer
        /// was full; null if the system does not count them
        lost: Option<u64> = arrival.lost,
        /// Whether the payload was truncated
        truncated: bool = arrival.truncated,
        #[serde(flatten)]
        payload: Payload<'a> = Payload::new(datagram.payload()),
    }
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<Record<'_>>("datagram", "Datagram (`mcast recv --json`)").event("datagram"),
}
