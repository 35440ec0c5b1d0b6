//! `mcast perf recv`: counts the datagrams of `mcast perf send`, and reports the counts.

mod stream;

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::{InterfaceIndex, Receiver, ReceiverBuilder};
use mcast_measure::{EndedSession, Session, SessionInterval, SessionKey, SessionProgress, SessionTotals};
use mcast_path::Listener;
use mcast_terminal::{Console, Output};

use super::{Figures, lines, share, short_time};
use crate::arguments::{
    MembershipArguments, WireOption, parse_count, parse_duration, parse_percent, parse_size,
};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{
    InterfaceNames, bytes, count, count_of, excess_loss, rates, record, too_few, write_line, write_record,
};
use crate::receiving::{SilentInterfaces, WireNotes};

/// Receive what `mcast perf send` sends, and report rates and loss
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    joining: MembershipArguments,

    /// Request a receive buffer of SIZE per socket [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    #[command(flatten)]
    wire: WireOption,

    /// Receive single datagrams, not coalesced by the kernel (UDP GRO)
    #[arg(long)]
    no_gro: bool,

    /// Answer the pings of `mcast perf send --latency`
    #[arg(long)]
    reply: bool,

    /// Busy-poll: shorter delays, but uses a whole processor
    #[arg(long)]
    spin: bool,

    /// Print one JSON object per run, and no interim lines
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    messages: stream::StreamOptions,
}

/// Limits on time and count, and the conditions of success.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "When to stop")]
struct Limits {
    /// Stop after N runs
    #[arg(short, long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = parse_count)]
    count: u64,

    /// Measure run after run, until Ctrl-C
    #[arg(long = "repeat", conflicts_with = "count")]
    keep: bool,

    /// Stop after TIME; exit status 1 if no run has ended by then
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// End a run when its sender has been silent for TIME
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "3s")]
    idle: Duration,

    /// Exit status 1 if fewer than N datagrams arrived
    #[arg(long, value_name = "N")]
    expect: Option<u64>,

    /// Exit status 1 if more than PERCENT was lost, such as 0.1%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_loss: Option<f64>,
}

const EXAMPLES: &str = "\
At the end of a run, the report shows the datagrams sent, received, lost, duplicated and reordered,
receive rates, jitter (RFC 3550), delays if the clocks allow it, datagrams per system call, and
where this host dropped datagrams. The number sent comes from sequence numbers and the sender's
closing message. The sender receives and prints the report, too.

Examples:
  mcast perf recv 239.255.1.2:5000                    one run
  mcast perf recv 239.255.1.2:5000 --repeat           run after run
  mcast perf recv 239.255.1.2:5000 --json -W 60       for programs
  mcast perf recv 239.255.1.2:5000 --max-loss 0.1%    exit status 1 if more is lost
  mcast perf recv 239.255.1.2:5000 --reply --spin     answer a latency measurement
  mcast perf recv 239.255.1.2:5000 --stream           messages of `mcast perf send --stream`";

const SECOND: Duration = Duration::from_secs(1);

/// What to receive, and how: the arguments, resolved.
struct PerfReceivePlan<'a> {
    builder: ReceiverBuilder,
    /// The memberships as typed.
    memberships: String,
    answers_pings: bool,
    json: bool,
    limits: &'a Limits,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.messages.stream {
        return stream::run(arguments, console);
    }
    measure(plan(arguments, console)?, console)
}

fn plan<'a>(arguments: &'a Arguments, console: &Console) -> anyhow::Result<PerfReceivePlan<'a>> {
    /// Longer than any wait between two checks.
    const AWAKE: Duration = Duration::from_secs(1);

    let Arguments { joining, reply, limits, json, .. } = arguments;
    let mut builder = Receiver::builder()
        .join_all(joining.selected(console)?.items)
        .allow_any_source(joining.any_source)
        // Pings arrive one at a time, so there is nothing to coalesce.
        .gro(!arguments.no_gro && !reply)
        .wire(arguments.wire.policy())
        // Metadata from the kernel would lengthen the measured round trips.
        .details(!reply);
    builder = arguments.buffer.into_iter().fold(builder, ReceiverBuilder::receive_buffer);
    if arguments.spin {
        builder = builder.spin(AWAKE);
    }
    let memberships = joining.memberships.join(", ");
    Ok(PerfReceivePlan { builder, memberships, answers_pings: *reply, json: *json, limits })
}

fn measure(plan: PerfReceivePlan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let receiver = plan.builder.build()?;
    let interrupt = Interrupt::waking(receiver.waker())?;
    receiver.memberships().iter().for_each(|status| console.detail(status));
    let mut silent_interfaces = SilentInterfaces::default();
    silent_interfaces.warn(&receiver.memberships(), console);
    let mut wire = WireNotes::print(receiver.wire_status(), console);
    // Created before the note that invites senders, because it reads the system's counters.
    let listener = Listener::perf(receiver, plan.limits.idle, plan.answers_pings);
    console.note(format_args!(
        "waiting for mcast perf send on {} (receive buffer: {})",
        plan.memberships,
        bytes(listener.receiver().receive_buffer() as u64)
    ));
    let mut printer = RunPrinter::new(console, plan.json);
    listen(&listener, &mut printer, plan.limits, &interrupt)?;
    printer.summaries(&listener.take_all())?;
    wire.update(listener.receiver().wire_status(), console);
    silent_interfaces.warn(&listener.receiver().memberships(), console);
    record_strays(&listener, console);
    Ok(interrupt.outcome().unwrap_or_else(|| judge(&listener, plan.limits, console)))
}

/// Receives until enough runs have ended, the time is over, or an interrupt arrives.
fn listen(
    listener: &Listener,
    printer: &mut RunPrinter<'_>,
    limits: &Limits,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let keep_going = |_| -> anyhow::Result<bool> {
        if interrupt.has_arrived() {
            return Ok(false);
        }
        listener.progress(SECOND, |SessionProgress { key, session, interval, .. }| {
            printer.line(&key, session, interval, "")
        })?;
        printer.summaries(&listener.take_ended())?;
        let is_enough = !limits.keep && listener.tally().runs >= limits.count && listener.is_idle();
        Ok(!is_enough)
    };
    listener.run(limits.timeout, keep_going, |_| ())
}

/// Notes counts of datagrams that belong to no run, and of answers that were not sent.
fn record_strays(listener: &Listener, console: &Console) {
    let counts = listener.counts();
    for (number, what) in [
        (counts.foreign, "ignored: not from mcast perf send"),
        (counts.rejected, "ignored: too many sessions or streams at once"),
        (counts.refused, "requests not answered (rate limit)"),
        (counts.failed, "answers could not be sent"),
    ] {
        if number > 0 {
            console.note(format_args!("{} {what}", count(number)));
        }
    }
}

fn judge(listener: &Listener, limits: &Limits, console: &Console) -> Outcome {
    let tally = listener.tally();
    let mut misses = Vec::new();
    if let Some(required) = limits.expect.filter(|required| tally.datagrams < *required) {
        misses.push(too_few(&count(tally.datagrams), required));
    }
    misses.extend(excess_loss(tally.worst_loss, limits.max_loss));
    if tally.runs == 0 {
        misses.push("no run has ended".into());
    }
    misses.iter().for_each(|miss| console.note(miss));
    Outcome::of(misses.is_empty())
}

/// Prints runs on standard output.
struct RunPrinter<'a> {
    console: &'a Console,
    out: Output,
    names: InterfaceNames,
    json: bool,
}

record! {
    fn new(EndedSession { key, session, report, .. }: &EndedSession, interface: String) {
        let settings = session.settings();
    }

    /// One object for each session of a sender, after its end.
    struct PerfReceiveSummary {
        /// Source address
        source: IpAddr = key.source,
        /// Interface on which the session arrived
        interface: String = interface,
        /// Random session ID, in hexadecimal
        session: String = format!("{:016x}", key.session.0),
        /// Payload bytes per datagram; null if unknown because the sender's settings were not received
        size: Option<u32> = settings.map(|settings| settings.size),
        /// Number of streams received
        streams: usize = session.streams(),
        #[serde(flatten)]
        figures: Figures = Figures::new(report, settings),
        /// Datagrams that arrived too late to be recognized as duplicates or not; counted as lost
        too_late: u64 = session.totals().too_late,
    }
}

impl<'a> RunPrinter<'a> {
    fn new(console: &'a Console, json: bool) -> Self {
        Self { console, out: console.output(), names: InterfaceNames::new(), json }
    }

    /// Prints what a session has received in an interval.
    fn line(
        &mut self,
        key: &SessionKey,
        session: &Session,
        interval: SessionInterval,
        mark: &str,
    ) -> io::Result<()> {
        /// The shortest time for which a rate is meaningful.
        const SHORTEST: Duration = Duration::from_millis(50);

        let SessionInterval { from, to, totals } = interval;
        let SessionTotals { received, sent, lost, duplicated, reordered, bytes, .. } = totals;
        if self.json {
            return Ok(());
        }
        let arrivals = match rates(received, "datagram", bytes, to - from) {
            rates if to - from >= SHORTEST => rates,
            _ => count_of(received, "datagram"),
        };
        let delay = session.delays().and_then(|delays| delays.quantile(0.5));
        let delay = delay.map(|delay| format!("  delay {}", short_time(delay))).unwrap_or_default();
        writeln!(
            self.out,
            "{:>5.1} to {:.1} s  {}  {}  lost {}  duplicated {}  reordered {}  jitter {}{delay}{mark}",
            from.as_secs_f64(),
            to.as_secs_f64(),
            key.source,
            arrivals,
            share(lost, sent),
            count(duplicated),
            count(reordered),
            short_time(session.jitter()),
        )
    }

    /// Prints the summaries of runs that have ended.
    fn summaries(&mut self, ended: &[EndedSession]) -> io::Result<()> {
        for ended in ended {
            self.end(ended)?;
            self.summary(ended)?;
        }
        self.out.flush()
    }

    /// Prints what a session has received since its last line, so that its intervals add up.
    fn end(&mut self, EndedSession { key, session, rest, .. }: &EndedSession) -> io::Result<()> {
        /// An interval may end early by the time between two checks.
        const NEARLY: Duration = Duration::from_millis(900);

        // A run of less than a second is what the summary describes.
        if rest.from.is_zero() || rest.totals.received == 0 {
            return Ok(());
        }
        self.line(key, session, *rest, if rest.to - rest.from < NEARLY { "  (partial)" } else { "" })
    }

    fn summary(&mut self, ended: &EndedSession) -> io::Result<()> {
        let EndedSession { key, session, report, .. } = ended;
        let interface = InterfaceIndex::new(key.interface).map(|index| self.names.of(index).to_string());
        let interface = interface.unwrap_or_default();
        if self.json {
            return write_record(&mut self.out, "result", &PerfReceiveSummary::new(ended, interface));
        }
        let palette = *self.console.palette();
        let (heading, address) = (palette.heading, palette.address);
        let (source, streams) = (key.source, describe(session));
        let line =
            format_args!("{heading}from{heading:#} {address}{source}{address:#} on {interface}: {streams}");
        write_line(&mut self.out, line)?;
        for line in lines(report, session.settings(), &palette) {
            write_line(&mut self.out, format_args!("  {line}"))?;
        }
        Ok(())
    }
}

/// Describes the streams that the sender announced and those received.
fn describe(session: &Session) -> String {
    let received = session.streams() as u64;
    let Some(settings) = session.settings() else { return count_of(received, "stream") };
    let kind = if settings.ping_pong { "pings" } else { "datagrams" };
    let streams = match u64::from(settings.streams) {
        sent if sent == received => count_of(sent, "stream"),
        sent => format!("{} of {}", count(received), count_of(sent, "stream")),
    };
    let rate = settings.rate.map(|rate| format!(", target {}/s", count(rate.round() as u64)));
    format!("{kind} of {}, {streams}{}", bytes(settings.size.into()), rate.unwrap_or_default())
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<PerfReceiveSummary>("perf-recv", "Received session (`mcast perf recv --json`)")
        .event("result"),
    RecordSchema::new::<stream::StreamReceiveSummary>(
        "perf-stream-recv",
        "Received stream (`mcast perf recv --stream --json`)",
    )
    .event("result"),
}
