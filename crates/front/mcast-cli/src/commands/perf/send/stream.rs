//! `--stream`: sends messages through the message layer, and measures it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use mcast::{Destination, InterfaceSelector};
use mcast_measure::wire::STREAM_MESSAGE_LENGTH;
use mcast_path::clock_id;
use mcast_stream::publisher::PublisherEvent;
use mcast_stream::wire::StreamId;
use mcast_stream::{Publisher, PublisherBuilder};
use mcast_terminal::Console;
use mcast_traffic::{
    BackPressure, MessagePublisher, PublishEvent, PublishPlan, PublishReport, PublishSecond,
};
use serde::Serialize;

use super::Arguments;
use crate::arguments::{parse_size, read_keys, select_destinations};
use crate::commands::perf::share;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::message_layer::Repairs;
use crate::output::{count, count_of, per_second, print_record, rates, record, seconds, write_line};
use crate::sending;

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

/// What to publish, and where: the arguments, resolved.
struct StreamSendPlan {
    builder: PublisherBuilder,
    /// The group as typed.
    group: String,
    hop_limit: u8,
    publish: PublishPlan,
    /// The number of receivers to wait for.
    required: u64,
    sealed: bool,
    json: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = plan(arguments, console)?;
    measure(plan, &Interrupt::catch(|| {})?, console)
}

fn plan(arguments: &Arguments, console: &Console) -> anyhow::Result<StreamSendPlan> {
    let Arguments { egress, messages, .. } = arguments;
    let size = checked_size(arguments)?;
    let chosen = select_destinations(&arguments.groups, egress.families, console)?;
    sending::print_scope(chosen.items.iter().map(|to| to.address.group), console);
    let destination = destination(&chosen.items, &egress.interfaces)?;
    let hop_limit = egress.hop_limit(chosen.hop_limit);
    let mut builder =
        Publisher::builder().to(destination).hop_limit(hop_limit).loopback(!arguments.no_loopback);
    if let Some(path) = &messages.key {
        builder = builder.keys(read_keys(path, console)?);
    }
    builder = messages.history.into_iter().fold(builder, PublisherBuilder::retransmission_buffer);
    Ok(StreamSendPlan {
        builder,
        group: arguments.groups.join(", "),
        hop_limit,
        publish: PublishPlan {
            size,
            rate: arguments.rate.map(|rate| rate.datagrams_per_second(size)),
            count: arguments.count,
            duration: arguments.duration.unwrap_or(Duration::from_secs(10)),
            clock: clock_id(),
        },
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

fn measure(plan: StreamSendPlan, interrupt: &Interrupt, console: &Console) -> anyhow::Result<Outcome> {
    let StreamSendPlan { publish, required, sealed, json, .. } = plan;
    let publisher = plan.builder.build()?;
    let stream = publisher.stream();
    console.note(format_args!("stream {stream}, to {}, hop limit {}", plan.group, plan.hop_limit));
    console.note(format_args!("waiting for {} with --stream", count_of(required, "receiver")));
    let required = usize::try_from(required).unwrap_or(usize::MAX);
    let messages = MessagePublisher::new(&publisher, &publish, interrupt);
    if !messages.wait_for_subscribers(required) {
        return Ok(interrupt.outcome().unwrap_or(Outcome::Yes));
    }
    let report = messages.run(|event| print_event(&event, json, console))?;
    let summary = StreamSendSummary::new(stream, publish.size, sealed, &report);
    match json {
        true => print_record(console, "result", &summary)?,
        false => write_text(&summary, &report, console)?,
    }
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

/// Prints events, and an interim line every second.
fn print_event(event: &PublishEvent, json: bool, console: &Console) {
    match *event {
        PublishEvent::Publisher(PublisherEvent::SubscriberEvicted(receiver, _)) => {
            console.warn(format_args!("evicted receiver {receiver}: too slow"));
        }
        PublishEvent::Publisher(PublisherEvent::SubscriberSilent(receiver)) => {
            console.warn(format_args!("receiver {receiver} has gone silent"));
        }
        PublishEvent::Second(PublishSecond { elapsed, time, messages, bytes, repairs }) if !json => {
            console.note(format_args!(
                "{:>6.1} s  {}  repaired {}",
                elapsed.as_secs_f64(),
                rates(messages, "message", bytes, time),
                count(repairs),
            ));
        }
        _ => {}
    }
}

record! {
    fn new(stream: StreamId, size: usize, sealed: bool, report: &PublishReport) {
        let PublishReport { statistics, time, back_pressure, complete, behind, .. } = report;
        let BackPressure { for_subscribers, for_sending, time: waited } = *back_pressure;
    }

    /// One object at the end.
    pub(super) struct StreamSendSummary {
        /// Stream ID, 16 hexadecimal digits
        stream: String = stream.to_string(),
        /// Length of each message in bytes
        size: usize = size,
        /// Whether the stream was sealed
        sealed: bool = sealed,
        /// Messages published
        messages: u64 = statistics.messages,
        /// Bytes in the messages
        bytes: u64 = statistics.message_bytes,
        /// Duration of publishing, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Messages per second; null if the time is zero
        messages_per_second: Option<f64> = per_second(statistics.messages as f64, *time),
        /// Message bits per second; null if the time is zero
        bits_per_second: Option<f64> = per_second(statistics.message_bytes as f64 * 8.0, *time),
        /// Data datagrams sent, excluding repairs
        datagrams: u64 = statistics.datagrams,
        /// Repairs sent
        repairs: Repairs = Repairs::of(statistics),
        /// Messages that had to wait before they could be published
        back_pressure: BackPressureFigures = BackPressureFigures {
            for_subscribers,
            for_sending,
            seconds: waited.as_secs_f64(),
        },
        /// Subscribers that received everything
        complete: usize = *complete,
        /// Subscribers that have not confirmed everything
        behind: usize = *behind,
    }
}

/// How often messages had to wait for room, for how long in total, and why.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct BackPressureFigures {
    /// Messages that waited for confirmations from subscribers
    for_subscribers: u64,
    /// Messages that waited for earlier data to be sent
    for_sending: u64,
    /// Total waiting time, in seconds
    seconds: f64,
}

fn write_text(summary: &StreamSendSummary, report: &PublishReport, console: &Console) -> io::Result<()> {
    let Repairs { multicast, unicast, naks, unavailable, .. } = summary.repairs;
    let pressure = &report.back_pressure;
    let mut out = console.output();
    let line = format!(
        "published   {} of {} bytes in {}: {}",
        count_of(summary.messages, "message"),
        count(summary.size as u64),
        seconds(report.time),
        rates(summary.messages, "message", summary.bytes, report.time)
    );
    write_line(&mut out, line)?;
    let line = format!(
        "complete    {} after {}",
        count_of(summary.complete as u64, "receiver"),
        seconds(report.complete_time)
    );
    write_line(&mut out, line)?;
    let line = format!(
        "repaired    {} of {}; {} to all, {} to one; requested {}, no longer available {}",
        share(summary.repairs.count(), summary.datagrams),
        count_of(summary.datagrams, "datagram"),
        count(multicast),
        count(unicast),
        count_of(naks, "time"),
        count(unavailable)
    );
    write_line(&mut out, line)?;
    let line = format!(
        "delayed     {}: {} by receivers, {} by the network",
        seconds(pressure.time),
        count_of(pressure.for_subscribers, "time"),
        count_of(pressure.for_sending, "time")
    );
    write_line(&mut out, line)?;
    if summary.behind > 0 {
        writeln!(out, "incomplete  {} without everything", count_of(summary.behind as u64, "receiver"))?;
    }
    out.flush()
}
