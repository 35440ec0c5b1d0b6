//! `mcast ask`: sends one datagram to a group and collects the answers.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Reply, Sender, SenderBuilder};
use mcast_terminal::{Console, Output};

use crate::arguments::{Egress, parse_count, parse_duration, select_destination};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{
    InterfaceNames, Palette, Payload, SafeText, count_of, record, rfc3339, seconds, too_few, write_record,
};

/// Send one datagram and collect the answers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to send: `GROUP[%INTERFACE]:PORT`, or a name
    #[arg(value_name = "GROUP:PORT")]
    group: String,

    /// The message to send
    #[arg(value_name = "MESSAGE")]
    message: OsString,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    timeout: Duration,

    /// Stop after N answers
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,

    /// Exit status 1 if fewer than N answers arrive [default: 1]
    #[arg(long, value_name = "N")]
    expect: Option<u64>,

    #[command(flatten)]
    egress: Egress,

    /// Send from this port
    #[arg(long, value_name = "PORT", default_value = "0", hide_default_value = true)]
    source_port: u16,

    /// Print one JSON object per answer
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Prints one line per answer: the sender, the interface, the time it took, and the payload. Exit
status 1 if no host answers.

Examples:
  mcast ask 239.255.1.2:5000 'who is there?'           all answers within one second
  mcast ask 239.255.1.2:5000 ping -W 200ms -c 1        the first answer
  mcast ask 239.255.1.2:5000 roll-call --expect 3      exit status 1 if fewer than three answer
  mcast recv 239.255.1.2:5000 --exec hostname --exec-reply  answer such messages";

/// More than the longest datagram.
const BUFFER: usize = 65_536;

/// How long a wait for an answer ignores an interrupt.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { egress, timeout, .. } = arguments;
    let (destination, implied) =
        select_destination(&arguments.group, egress.families, "ask one at a time", console)?;
    let hop_limit = egress.hop_limit(implied);
    let builder =
        Sender::builder().to(destination.clone()).hop_limit(hop_limit).source_port(arguments.source_port);
    let sender = egress.interfaces.iter().cloned().fold(builder, SenderBuilder::interface).build()?;
    let interrupt = Interrupt::catch(|| {})?;
    let start = Start { instant: Instant::now(), time: SystemTime::now() };
    sender.send(arguments.message.as_encoded_bytes())?;
    console.note(format_args!(
        "asked {destination}, hop limit {hop_limit}; waiting {} for answers",
        seconds(*timeout)
    ));
    let family = destination.address.group.family();
    let mut printer = AnswerPrinter::new(arguments.json, console);
    let mut buffer = vec![0; BUFFER];
    let mut answers = 0;
    while arguments.count.is_none_or(|count| answers < count) && !interrupt.has_arrived() {
        let left = timeout.saturating_sub(start.instant.elapsed());
        let answer = sender.recv_answer(family, &mut buffer, left.min(INTERRUPT_INTERVAL))?;
        let Some(answer) = answer else {
            if left.is_zero() {
                break;
            }
            continue;
        };
        answers += 1;
        printer.print(&answer, start.time_of(&answer))?;
    }
    console.note(format_args!("{} in {}", count_of(answers, "answer"), seconds(start.instant.elapsed())));
    let required = arguments.expect.unwrap_or(1);
    if answers < required && !interrupt.has_arrived() {
        console.note(too_few(&count_of(answers, "answer"), required));
    }
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(answers >= required)))
}

/// When the datagram was sent.
struct Start {
    instant: Instant,
    time: SystemTime,
}

impl Start {
    /// Returns how long an answer that has just been received took. The kernel's timestamp is more precise, unless the
    /// clock was set meanwhile.
    fn time_of(&self, answer: &Reply<'_>) -> Duration {
        let by_kernel = answer.time.and_then(|time| time.duration_since(self.time).ok());
        let by_us = self.instant.elapsed();
        by_kernel.filter(|after| *after <= by_us).unwrap_or(by_us)
    }
}

/// Prints each answer when it arrives.
struct AnswerPrinter {
    json: bool,
    palette: Palette,
    names: InterfaceNames,
    out: Output,
    source_width: usize,
    interface_width: usize,
}

impl AnswerPrinter {
    fn new(json: bool, console: &Console) -> Self {
        let (palette, out) = (*console.palette(), console.output());
        Self { json, palette, names: InterfaceNames::new(), out, source_width: 0, interface_width: 0 }
    }

    fn print(&mut self, answer: &Reply<'_>, after: Duration) -> io::Result<()> {
        let interface = answer.interface.map(|index| self.names.of(index));
        if self.json {
            write_record(&mut self.out, "answer", &Record::new(answer, after, interface.as_deref()))?;
            return self.out.flush();
        }
        let Palette { address, interface: by, dim, warning, .. } = self.palette;
        let source = answer.source.to_string();
        let interface = interface.as_deref().unwrap_or("?");
        self.source_width = self.source_width.max(source.len());
        self.interface_width = self.interface_width.max(interface.chars().count());
        let (source_width, interface_width) = (self.source_width, self.interface_width);
        let cut = if answer.truncated { format!(" {warning}truncated{warning:#}") } else { String::new() };
        writeln!(
            self.out,
            "{address}{source:source_width$}{address:#}  {by}{interface:interface_width$}{by:#}  {dim}{:>9}{dim:#}{cut}  {}",
            seconds(after),
            SafeText::new(answer.payload.trim_ascii_end())
        )?;
        self.out.flush()
    }
}

record! {
    fn new(answer: &Reply<'a>, after: Duration, interface: Option<&'a str>) {}

    /// One object per answer. Either `text` or `base64` is present.
    struct Record<'a> {
        /// Time at which the kernel received the answer (RFC 3339, UTC, with nanoseconds); on systems without
        /// receive timestamps (Windows), time at which the command received it
        time: String = rfc3339(answer.time.unwrap_or_else(SystemTime::now)),
        /// Address of the host that answered
        source: IpAddr = answer.source.ip(),
        /// UDP source port of the answer
        source_port: u16 = answer.source.port(),
        /// Interface on which the answer arrived; null if the system does not report it
        interface: Option<&'a str> = interface,
        /// Time from the question to the answer, in seconds
        seconds: f64 = after.as_secs_f64(),
        /// Length of the payload in bytes
        length: usize = answer.payload.len(),
        /// Whether the payload was truncated
        truncated: bool = answer.truncated,
        #[serde(flatten)]
        payload: Payload<'a> = Payload::new(answer.payload),
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<Record<'_>>("answer", "Answer (`mcast ask --json`)").event("answer"),
}
