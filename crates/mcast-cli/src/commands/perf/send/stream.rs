//! `--stream`: sends messages through the message layer, and measures it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mcast::{Destination, InterfaceSelector, Rate};
use mcast_doctor::clock_id;
use mcast_measure::wire::{STREAM_MESSAGE_LENGTH, SessionId, StreamMessage, UnixNanos};
use mcast_stream::publisher::{PublisherEvent, PublisherStatistics, Refusal};
use mcast_stream::{Closing, Publisher, PublisherBuilder, StreamError};
use serde::Serialize;

use super::Arguments;
use crate::arguments::{parse_size, read_keys, select_destinations};
use crate::commands::perf::figures::{as_seconds, share};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::message_layer::Repairs;
use crate::output::{count, count_of, per_second, rates, seconds, write_record};
use crate::sending::MessagePacer;

/// Options for the message layer.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Message layer")]
pub(super) struct StreamOptions {
    /// Publish messages, with repair, to `mcast perf recv --stream`
    #[arg(long, conflicts_with_all = ["sweep", "latency", "streams", "dscp", "no_gso", "max_loss"])]
    pub(super) stream: bool,

    /// Seal messages with the secrets in this file
    #[arg(long, value_name = "FILE", requires = "stream")]
    key: Option<PathBuf>,

    /// Size of the retransmission buffer
    #[arg(long, value_name = "SIZE", requires = "stream", value_parser = parse_size)]
    history: Option<usize>,
}

/// The longest wait before checking for events.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long to wait at the end until all subscribers have everything.
const LINGER: Duration = Duration::from_secs(10);
/// Messages between two checks of the clock.
const AT_ONCE: u64 = 64;

/// What to publish, and where: the arguments, resolved.
struct Plan {
    builder: PublisherBuilder,
    /// The group as typed.
    group: String,
    hop_limit: u8,
    size: usize,
    /// Messages per second.
    rate: Option<f64>,
    /// The number of messages; `None` to publish for `duration`.
    count: Option<u64>,
    duration: Duration,
    /// The number of receivers to wait for.
    required: u64,
    sealed: bool,
    json: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = plan(arguments, console)?;
    measure(plan, &Interrupt::catch(|| {})?, console)
}

fn plan(arguments: &Arguments, console: &Console) -> anyhow::Result<Plan> {
    let Arguments { egress, messages, .. } = arguments;
    let size = checked_size(arguments)?;
    let chosen = select_destinations(&arguments.groups, egress.families, console)?;
    let destination = destination(&chosen.items, &egress.interfaces)?;
    let hop_limit = egress.hop_limit(chosen.hop_limit);
    let mut builder =
        Publisher::builder().to(destination).hop_limit(hop_limit).loopback(!arguments.no_loopback);
    if let Some(path) = &messages.key {
        builder = builder.keys(read_keys(path, console)?);
    }
    if let Some(bytes) = messages.history {
        builder = builder.history(bytes);
    }
    Ok(Plan {
        builder,
        group: arguments.groups.join(", "),
        hop_limit,
        size,
        rate: arguments.rate.map(|rate| rate.datagrams_per_second(size)),
        count: arguments.count,
        duration: arguments.duration.unwrap_or(Duration::from_secs(10)),
        required: arguments.criteria.expect.unwrap_or(1),
        sealed: messages.key.is_some(),
        json: arguments.json,
    })
}

/// Returns the one group to send to, on the interface given for it.
fn destination(groups: &[Destination], interfaces: &[InterfaceSelector]) -> Result<Destination, Failure> {
    let [group] = groups else {
        return Err(Failure::usage("--stream sends to one group").remedy("name one, without a range"));
    };
    let interface = match interfaces {
        [] => group.interface.clone(),
        [interface] => Some(interface.clone()),
        _ => return Err(Failure::usage("--stream sends on one interface")),
    };
    Ok(Destination { interface, ..group.clone() })
}

fn measure(plan: Plan, interrupt: &Interrupt, console: &Console) -> anyhow::Result<Outcome> {
    let Plan { size, required, sealed, json, .. } = plan;
    let publisher = plan.builder.build()?;
    let stream = publisher.stream();
    console.note(format_args!("stream {stream}, to {}, hop limit {}", plan.group, plan.hop_limit));
    console.note(format_args!("waiting for {} with --stream", count_of(required, "receiver")));
    let required = usize::try_from(required).unwrap_or(usize::MAX);
    while !publisher.wait_for(required, POLL_INTERVAL) {
        if interrupt.has_arrived() {
            return Ok(interrupt.outcome().unwrap_or(Outcome::Yes));
        }
    }
    let metadata = StreamMessage { session: SessionId::random(), time: UnixNanos::now(), clock: clock_id() };
    let publish_loop = PublishLoop {
        rate: plan.rate,
        count: plan.count,
        duration: plan.duration,
        shows_progress: !json,
        console,
        interrupt,
        publisher: &publisher,
        buffer: vec![0; size],
        metadata,
        back_pressure: BackPressure::default(),
        published: 0,
    };
    let begun = Instant::now();
    let back_pressure = publish_loop.run(begun)?;
    let published = Instant::now();
    while !publisher.wait_complete(POLL_INTERVAL) && published.elapsed() < LINGER && !interrupt.has_arrived()
    {
    }
    let complete_time = begun.elapsed();
    let Closing { statistics, complete, behind, .. } = publisher.close(Duration::from_secs(2));
    let time = published - begun;
    let report = Report {
        stream: stream.to_string(),
        size,
        sealed,
        messages: statistics.messages,
        bytes: statistics.message_bytes,
        time,
        messages_per_second: per_second(statistics.messages as f64, time),
        bits_per_second: per_second(statistics.message_bytes as f64 * 8.0, time),
        datagrams: statistics.datagrams,
        repairs: Repairs::of(&statistics),
        back_pressure,
        complete,
        behind: behind.len(),
        complete_time,
    };
    report.print(json, console)?;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(report.behind == 0 && report.complete >= required)))
}

fn checked_size(arguments: &Arguments) -> Result<usize, Failure> {
    const MOST: usize = 16 << 20;

    match arguments.size.unwrap_or(1_344) {
        size if (STREAM_MESSAGE_LENGTH..=MOST).contains(&size) => Ok(size),
        size => Err(Failure::usage(format!("a message of {size} bytes cannot be measured")).remedy(format!(
            "use a size from {STREAM_MESSAGE_LENGTH} (room for number, time and clock) to {MOST}"
        ))),
    }
}

struct PublishLoop<'a> {
    /// Messages per second.
    rate: Option<f64>,
    count: Option<u64>,
    duration: Duration,
    shows_progress: bool,
    console: &'a Console,
    interrupt: &'a Interrupt,
    publisher: &'a Publisher,
    buffer: Vec<u8>,
    metadata: StreamMessage,
    back_pressure: BackPressure,
    published: u64,
}

impl PublishLoop<'_> {
    fn run(mut self, begun: Instant) -> anyhow::Result<BackPressure> {
        let end = match self.count {
            Some(_) => None,
            None => begun.checked_add(self.duration),
        };
        let most = self.count.unwrap_or(u64::MAX);
        let mut due = MessagePacer::new(self.rate.map(Rate::Datagrams));
        let mut last_line = (begun, self.publisher.statistics());
        while self.published < most && !self.interrupt.has_arrived() {
            if self.published.is_multiple_of(AT_ONCE) || self.rate.is_some() {
                let now = Instant::now();
                if end.is_some_and(|end| now >= end) {
                    break;
                }
                self.report_progress(begun, now, &mut last_line);
            }
            if !due.wait(self.interrupt, || self.publisher.flush()) {
                break;
            }
            self.publish()?;
        }
        self.publisher.flush();
        Ok(self.back_pressure)
    }

    /// Publishes the next message, and waits for room if necessary.
    fn publish(&mut self) -> anyhow::Result<()> {
        let mut waiting: Option<Instant> = None;
        loop {
            // The timestamp is that of the first attempt, so that a wait for room is part of the delay.
            if waiting.is_none() {
                self.metadata.time = UnixNanos::now();
                self.metadata.write(self.published, &mut self.buffer);
            }
            match self.publisher.try_queue(&self.buffer) {
                Ok(_) => break,
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    match (waiting, refusal) {
                        (Some(_), _) => {}
                        (None, Refusal::WaitingFor { .. }) => self.back_pressure.for_subscribers += 1,
                        (None, _) => self.back_pressure.for_sending += 1,
                    }
                    waiting.get_or_insert_with(Instant::now);
                    if self.interrupt.has_arrived() {
                        return Ok(());
                    }
                    self.publisher.wait_for_room(POLL_INTERVAL);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.back_pressure.time += waiting.map_or(Duration::ZERO, |since| since.elapsed());
        self.published += 1;
        Ok(())
    }

    /// Reports events, and prints an interim line every second.
    fn report_progress(&self, begun: Instant, now: Instant, last_line: &mut (Instant, PublisherStatistics)) {
        const LINE: Duration = Duration::from_secs(1);

        while let Some(event) = self.publisher.event() {
            match event {
                PublisherEvent::SubscriberEvicted(receiver, _) => {
                    self.console.warn(format_args!("evicted receiver {receiver}: too slow"));
                }
                PublisherEvent::SubscriberSilent(receiver) => {
                    self.console.warn(format_args!("receiver {receiver} has gone silent"));
                }
                _ => {}
            }
        }
        if now - last_line.0 < LINE || !self.shows_progress {
            return;
        }
        let (statistics, before) = (self.publisher.statistics(), last_line.1);
        let rates = rates(
            statistics.messages - before.messages,
            "message",
            statistics.message_bytes - before.message_bytes,
            now - last_line.0,
        );
        self.console.note(format_args!(
            "{:>6.1} s  {rates}  repaired {}",
            (now - begun).as_secs_f64(),
            count(repairs(&statistics) - repairs(&before)),
        ));
        *last_line = (now, statistics);
    }
}

const fn repairs(statistics: &PublisherStatistics) -> u64 {
    statistics.group_repairs + statistics.single_repairs
}

/// `schemas/perf-stream-send.json`.
#[derive(Debug, Serialize)]
struct Report {
    stream: String,
    size: usize,
    sealed: bool,
    messages: u64,
    bytes: u64,
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    time: Duration,
    messages_per_second: Option<f64>,
    bits_per_second: Option<f64>,
    datagrams: u64,
    repairs: Repairs,
    back_pressure: BackPressure,
    complete: usize,
    behind: usize,
    /// The time until all receivers had everything.
    #[serde(skip)]
    complete_time: Duration,
}

/// How often messages had to wait for room, for how long in total, and why.
#[derive(Debug, Default, Serialize)]
struct BackPressure {
    for_subscribers: u64,
    for_sending: u64,
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    time: Duration,
}

impl Report {
    fn print(&self, json: bool, console: &Console) -> anyhow::Result<()> {
        use std::io::Write;

        let mut out = console.output();
        if json {
            write_record(&mut out, "result", self)?;
            return Ok(out.flush()?);
        }
        let Repairs { multicast, unicast, naks, unavailable, .. } = self.repairs;
        let pressure = &self.back_pressure;
        writeln!(
            out,
            "published   {} of {} bytes in {}: {}",
            count_of(self.messages, "message"),
            count(self.size as u64),
            seconds(self.time),
            rates(self.messages, "message", self.bytes, self.time)
        )?;
        writeln!(
            out,
            "complete    {} after {}",
            count_of(self.complete as u64, "receiver"),
            seconds(self.complete_time)
        )?;
        writeln!(
            out,
            "repaired    {} of {}; {} to all, {} to one; requested {}, no longer available {}",
            share(self.repairs.count(), self.datagrams),
            count_of(self.datagrams, "datagram"),
            count(multicast),
            count(unicast),
            count_of(naks, "time"),
            count(unavailable)
        )?;
        writeln!(
            out,
            "delayed     {}: {} by receivers, {} by the network",
            seconds(pressure.time),
            count_of(pressure.for_subscribers, "time"),
            count_of(pressure.for_sending, "time")
        )?;
        if self.behind > 0 {
            writeln!(out, "incomplete  {} without everything", count_of(self.behind as u64, "receiver"))?;
        }
        Ok(out.flush()?)
    }
}
