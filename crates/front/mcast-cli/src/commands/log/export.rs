//! `mcast log export`: the messages of a log as JSON, or as datagrams in a capture file.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use mcast::InterfaceIndex;
use mcast_capture::{CaptureWriter, Direction, Frame, WriteFormat};
use mcast_log::{LogItem, LogReader, LogRecord, LogTime};
use mcast_packet::{Checksums, LinkType, UdpPacket};
use mcast_stream::history::{HistoryContent, RequestedStart};
use mcast_stream::wire::{MessageNumber, StreamId};
use mcast_terminal::Console;

use super::LogArguments;
use super::verify::{DamageRecord, EventRecord};
use crate::arguments::parse_moment;
use crate::exit::{Failure, Outcome};
use crate::message_layer::MessageRecord;
use crate::output::{count_of, write_record};
use crate::sys::standard_output;

/// The source addresses of exported datagrams, from the blocks for documentation: a log has none.
const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// What a capture file says about itself.
const COMMENT: &str =
    "Exported by mcast log: payloads and times are those of the log, all headers are made up";
/// The length of the longest packet: that of the longest datagram, with headers.
const LONGEST_PACKET: usize = 65_600;

/// Export the messages of a log, as JSON or as datagrams in a capture file
///
/// With --write, each message is the payload of a UDP datagram to GROUP:PORT, with the time at which it was appended, so
/// that Wireshark shows it and `mcast replay` sends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: LogArguments,

    /// The destination of the datagrams in a capture file
    #[arg(value_name = "GROUP:PORT", value_parser = parse_destination, requires = "write")]
    destination: Option<SocketAddr>,

    /// Where to start: at the `oldest` message, with message NUMBER of the latest incarnation, or at a TIME (`2026-11-22T09:30:00Z`, or `24h`
    /// ago)
    #[arg(long, value_name = "WHERE", default_value = "oldest", value_parser = parse_start)]
    from: Start,

    /// Stop after N messages
    #[arg(short = 'c', long, value_name = "N")]
    count: Option<u64>,

    /// Write datagrams to this file, in pcapng; `-` for standard output
    #[arg(short, long, value_name = "FILE", requires = "destination")]
    write: Option<PathBuf>,

    /// Overwrite an existing file
    #[arg(long, requires = "write")]
    force: bool,
}

const EXAMPLES: &str = "\
Without --write, each record is printed as one JSON object: messages with the keys of `mcast
subscribe --json`, gaps, the end of the stream, and what is damaged. `incarnation` and `sequence` are
those of the stream; numbers begin again at 0 after its end. Exit status 1 if something is damaged
or missing, or if a message is too long for a datagram. What a publisher removes meanwhile
(--max-size, --max-age) is reported, and is not damage.

Examples:
  mcast log export prices-log                                 everything, as JSON
  mcast log export prices-log --from 2026-11-22T09:30 -c 100
  mcast log export prices-log 239.255.1.2:5000 -w prices.pcapng
  mcast replay prices.pcapng -i lo                            send them again";

/// The value of `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start(RequestedStart);

fn parse_start(text: &str) -> Result<Start, String> {
    let start = match (text, text.parse(), parse_moment(text)) {
        ("oldest", _, _) => RequestedStart::Oldest,
        (_, Ok(number), _) => RequestedStart::Latest(MessageNumber(number)),
        (_, Err(_), Some(time)) => RequestedStart::Time(time),
        (_, Err(_), None) => {
            return Err(
                "write oldest, a message number, a time such as 2026-11-22T09:30:00Z, or an age such as \
                        24h"
                .into(),
            );
        }
    };
    Ok(Start(start))
}

fn parse_destination(text: &str) -> Result<SocketAddr, String> {
    let destination: Option<SocketAddr> = text.parse().ok();
    destination
        .filter(|destination| destination.ip().is_multicast())
        .ok_or_else(|| "write a group and a port such as 239.255.1.2:5000".to_owned())
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let keys = arguments.log.keys(console)?;
    let mut reader = LogReader::open_files(arguments.log.files()?, keys)?;
    let stream = reader.stream();
    let mut out = console.output();
    let mut capture = match (&arguments.write, arguments.destination) {
        (Some(path), Some(destination)) => Some(Capture::create(path, arguments.force, destination)?),
        _ => None,
    };
    let (mut messages, mut missing, mut damaged, mut unopened, mut removed) = (0, 0, 0_u64, 0, 0);
    reader.seek(arguments.from.0)?;
    while arguments.count.is_none_or(|count| messages < count) {
        match reader.next()? {
            None => break,
            Some(LogItem::Damage(damage)) if damage.is_removed => {
                removed += damage.end.0 - damage.first.number.0;
                if capture.is_none() {
                    write_record(&mut out, "pruned", &EventRecord::pruned(stream, &damage))?;
                }
            }
            Some(LogItem::Damage(damage)) => {
                let lost = damage.end.0 - damage.first.number.0;
                match damage.sealed {
                    Some(_) => unopened += lost,
                    None => (damaged, missing) = (damaged + 1, missing + lost),
                }
                if capture.is_none() {
                    write_record(&mut out, "damage", &DamageRecord::new(&damage))?;
                }
            }
            Some(LogItem::Record(record)) => {
                let message = match record.record.content {
                    HistoryContent::Message { key, bytes } => Some((key, bytes)),
                    _ => None,
                };
                messages += u64::from(message.is_some());
                match (&mut capture, message) {
                    (Some(capture), Some((_, bytes))) => capture.write(record.time, bytes)?,
                    (Some(_), None) => {}
                    (None, Some((key, bytes))) => {
                        let (first, time) = (record.record.first, record.time.system_time());
                        let origin = (stream, Some(first.incarnation));
                        let fields = MessageRecord::new(origin, first.number, key, time, bytes);
                        write_record(&mut out, "message", &fields)?;
                    }
                    (None, None) => write_event(&mut out, stream, &record)?,
                }
            }
        }
    }
    out.flush()?;
    let too_long = capture.map_or(Ok(0), Capture::finish)?;
    console.note(format_args!("{} exported", count_of(messages - too_long, "message")));
    if too_long > 0 {
        console.warn(format_args!("{} too long for a datagram", count_of(too_long, "message")));
    }
    if removed > 0 {
        let messages = count_of(removed, "message");
        console
            .warn(format_args!("{messages} not exported: they were removed from the log while it was read"));
    }
    if damaged > 0 {
        let (places, messages) = (count_of(damaged, "place"), count_of(missing, "message"));
        console.warn(format_args!("{places} of the log damaged, {messages} missing"));
        console.help("run `mcast log verify` for details");
    }
    if unopened > 0 {
        let messages = count_of(unopened, "message");
        console.warn(format_args!("{messages} not exported: their secret is not in the file of --key"));
        console.help("run `mcast log verify` for details");
    }
    Ok(Outcome::of(too_long == 0 && damaged == 0 && unopened == 0))
}

fn write_event(out: &mut impl Write, stream: StreamId, record: &LogRecord<&[u8]>) -> anyhow::Result<()> {
    if let Some((event, fields)) = EventRecord::new(stream, record) {
        write_record(out, event, &fields)?;
    }
    Ok(())
}

/// A capture file with the messages as datagrams.
struct Capture {
    writer: CaptureWriter,
    source: SocketAddr,
    destination: SocketAddr,
    packet: Vec<u8>,
    too_long: u64,
}

impl Capture {
    fn create(path: &Path, force: bool, destination: SocketAddr) -> anyhow::Result<Self> {
        let (file, name) = match path.as_os_str() == "-" {
            true => (standard_output()?, Path::new("standard output")),
            false if force => (File::create(path).with_context(|| cannot_create(path))?, path),
            false => (File::create_new(path).map_err(|error| refuse(path, &error))?, path),
        };
        let writer = CaptureWriter::with_comment(file, name, WriteFormat::PcapNg, Some(COMMENT))?;
        let source = if destination.is_ipv4() { SOURCE_V4 } else { SOURCE_V6 };
        let source = SocketAddr::new(source, destination.port());
        Ok(Self { writer, source, destination, packet: vec![0; LONGEST_PACKET], too_long: 0 })
    }

    /// Writes a message, or counts it if it is too long for a datagram.
    fn write(&mut self, time: LogTime, payload: &[u8]) -> anyhow::Result<()> {
        let (source, destination) = (self.source, self.destination);
        let packet = UdpPacket { source, destination, hop_limit: 1, traffic_class: 0, payload };
        let Ok(length) = packet.emit(&mut self.packet) else {
            self.too_long += 1;
            return Ok(());
        };
        let bytes = self.packet.get(..length).unwrap_or_default();
        Ok(self.writer.write(&Frame {
            bytes,
            original_length: length,
            link_type: LinkType::Ip,
            interface: InterfaceIndex::new(1).with_context(|| "an interface has a number")?,
            interface_name: Some("log"),
            direction: Direction::Multicast,
            time: time.system_time(),
            checksums: Checksums::Computed,
            resegmented: false,
        })?)
    }

    /// Returns the number of messages that were too long.
    fn finish(mut self) -> anyhow::Result<u64> {
        self.writer.flush()?;
        Ok(self.too_long)
    }
}

fn cannot_create(path: &Path) -> String {
    format!("cannot create {}", path.display())
}

fn refuse(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::environment(format!("{}: {error}", cannot_create(path)));
    if error.kind() == io::ErrorKind::AlreadyExists {
        failure.remedy("use --force to overwrite it, or another name")
    } else {
        failure
    }
}
