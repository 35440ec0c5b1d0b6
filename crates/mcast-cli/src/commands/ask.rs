//! `mcast ask`: sends one datagram to a group and collects the answers.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Family, InterfaceIndex, Reply, Sender};
use serde::Serialize;

use crate::arguments::{Egress, parse_duration, select_destinations};
use crate::console::{Console, Output};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{
    InterfaceNames, Palette, Payload, SafeText, count_of, rfc3339, seconds, too_few, write_record,
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
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Exit status 1 if fewer than N answer [default: 1]
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
Prints one line per answer: the sender, the interface, the time it took, and the payload. Exit status 1 if nobody
answers.

Examples:
  mcast ask 239.255.1.2:5000 'who is there?'           all answers within one second
  mcast ask 239.255.1.2:5000 ping -W 200ms -c 1        the first answer
  mcast ask 239.255.1.2:5000 roll-call --expect 3      exit status 1 if fewer than three answer
  mcast recv 239.255.1.2:5000 --exec hostname --exec-reply  answer such messages";

/// More than the longest datagram.
const BUFFER: usize = 65_536;

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let chosen =
        select_destinations(std::slice::from_ref(&arguments.group), arguments.egress.families, console)?;
    let [destination] = chosen.items.as_slice() else {
        return Err(Failure::usage(format!("\"{}\" is more than one group and port", arguments.group))
            .remedy("ask one at a time")
            .into());
    };
    let hop_limit = arguments.egress.hop_limit(&chosen);
    let mut builder =
        Sender::builder().to(destination.clone()).hop_limit(hop_limit).source_port(arguments.source_port);
    for interface in &arguments.egress.interfaces {
        builder = builder.interface(interface.clone());
    }
    let sender = Arc::new(builder.build()?);
    let (event_sender, events) = mpsc::channel();
    let interrupted = event_sender.clone();
    let interrupt = Interrupt::catch(move || drop(interrupted.send(Event::Interrupted)))?;
    let start = Start { instant: Instant::now(), time: SystemTime::now() };
    sender.send(arguments.message.as_encoded_bytes())?;
    console.note(format_args!(
        "asked {destination}, hop limit {hop_limit}; waiting {} for answers",
        seconds(arguments.timeout)
    ));
    let family = destination.address.group.family();
    let timeout = arguments.timeout;
    thread::Builder::new()
        .name("answers".into())
        .spawn(move || listen(&sender, family, start, timeout, |event| event_sender.send(event).is_ok()))?;
    let answers = Collector::new(arguments, console).collect(&events)?;
    console.note(format_args!("{} in {}", count_of(answers, "answer"), seconds(start.instant.elapsed())));
    let wanted = arguments.expect.unwrap_or(1);
    if answers < wanted && interrupt.outcome().is_none() {
        console.note(too_few(&count_of(answers, "answer"), wanted));
    }
    let outcome = Outcome::of(answers >= wanted);
    Ok(interrupt.outcome().unwrap_or(outcome))
}

/// When the datagram was sent.
#[derive(Clone, Copy)]
struct Start {
    instant: Instant,
    time: SystemTime,
}

/// An event that ends a wait.
enum Event {
    Answer(ReceivedAnswer),
    Failed(mcast::Error),
    TimeOver,
    Interrupted,
}

/// An answer, and how long it took.
struct ReceivedAnswer {
    payload: Vec<u8>,
    source: SocketAddr,
    interface: Option<InterfaceIndex>,
    time: SystemTime,
    after: Duration,
    truncated: bool,
}

impl ReceivedAnswer {
    fn new(answer: &Reply<'_>, start: Start) -> Self {
        // The kernel's timestamp is more precise, unless the clock was set meanwhile.
        let by_kernel = answer.time.and_then(|time| time.duration_since(start.time).ok());
        let by_us = start.instant.elapsed();
        Self {
            payload: answer.payload.to_vec(),
            source: answer.source,
            interface: answer.interface,
            time: answer.time.unwrap_or_else(SystemTime::now),
            after: by_kernel.filter(|after| *after <= by_us).unwrap_or(by_us),
            truncated: answer.truncated,
        }
    }
}

/// Reports every answer until the timeout, or until `report` returns `false`.
fn listen(sender: &Sender, family: Family, start: Start, timeout: Duration, report: impl Fn(Event) -> bool) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let left = timeout.saturating_sub(start.instant.elapsed());
        let event = match sender.recv_answer(family, &mut buffer, left) {
            Ok(Some(answer)) => Event::Answer(ReceivedAnswer::new(&answer, start)),
            Ok(None) => Event::TimeOver,
            Err(error) => Event::Failed(error),
        };
        let is_last = !matches!(event, Event::Answer(_));
        if !report(event) || is_last {
            return;
        }
    }
}

/// Prints the answers.
struct Collector<'a> {
    arguments: &'a Arguments,
    palette: Palette,
    names: InterfaceNames,
    out: Output,
    source_width: usize,
    interface_width: usize,
}

impl<'a> Collector<'a> {
    fn new(arguments: &'a Arguments, console: &Console) -> Self {
        Self {
            arguments,
            palette: *console.palette(),
            names: InterfaceNames::new(),
            out: console.output(),
            source_width: 0,
            interface_width: 0,
        }
    }

    /// Prints each answer when it arrives, and returns the number of answers.
    fn collect(&mut self, events: &Receiver<Event>) -> anyhow::Result<u64> {
        let mut answers = 0;
        while self.arguments.count.is_none_or(|count| answers < count) {
            match events.recv() {
                Ok(Event::Answer(answer)) => {
                    answers += 1;
                    self.print(&answer)?;
                    self.out.flush()?;
                }
                Ok(Event::Failed(error)) => return Err(error.into()),
                Ok(Event::TimeOver | Event::Interrupted) | Err(mpsc::RecvError) => break,
            }
        }
        Ok(answers)
    }

    fn print(&mut self, answer: &ReceivedAnswer) -> io::Result<()> {
        let interface = answer.interface.map(|index| self.names.of(index));
        if self.arguments.json {
            return write_record(&mut self.out, "answer", &Record::new(answer, interface.as_deref()));
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
            seconds(answer.after),
            SafeText::new(answer.payload.trim_ascii_end())
        )
    }
}

/// An answer as JSON: `schemas/answer.json`.
#[derive(Serialize)]
struct Record<'a> {
    time: String,
    source: IpAddr,
    source_port: u16,
    interface: Option<&'a str>,
    seconds: f64,
    length: usize,
    truncated: bool,
    #[serde(flatten)]
    payload: Payload<'a>,
}

impl<'a> Record<'a> {
    fn new(answer: &'a ReceivedAnswer, interface: Option<&'a str>) -> Self {
        Self {
            time: rfc3339(answer.time),
            source: answer.source.ip(),
            source_port: answer.source.port(),
            interface,
            seconds: answer.after.as_secs_f64(),
            length: answer.payload.len(),
            truncated: answer.truncated,
            payload: Payload::new(&answer.payload),
        }
    }
}
