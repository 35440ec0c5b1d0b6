//! A session and its output: one line per second, a table of the receivers, or JSON; and sweeps of sessions.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::Rate;
use mcast_measure::wire::SessionSettings;
use mcast_measure::{
    ClockRelation, DropCounts, DropPoint, Knee, ReceiverReports, ReportingReceiver, Sweep, SweepStep,
};
use mcast_path::{PerfSendPlan, PerfSendProgress, PerfSendResult};
use mcast_terminal::Console;
use serde::Serialize;

use super::{DURATION, MeasuringPlan, SuccessCriteria};
use crate::commands::perf::{Figures, Micros, per_call, share, short_time};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{
    Cell, Palette, Table, bits_per_second, bytes, count, count_of, excess_loss, per_second, print_record,
    rates, record, seconds, write_line,
};

const SECOND: Duration = Duration::from_secs(1);
/// The default first rate.
const START: f64 = 1_000.0;
/// More than any sender reaches.
const MAX_RATE: f64 = 1e8;
const EACH: Duration = Duration::from_secs(1);

/// Runs one session, and prints a line per second and a table of the receivers.
pub(super) fn measure(
    plan: &MeasuringPlan<'_>,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let duration = || plan.duration.unwrap_or(DURATION);
    let session = PerfSendPlan {
        rate: plan.rate,
        duration: plan.count.is_none().then(duration),
        count: plan.count,
        more_follows: false,
    };
    let mut last_sent = 0;
    let each_second = |progress: &PerfSendProgress| {
        if !plan.json {
            let new = progress.sent - std::mem::replace(&mut last_sent, progress.sent);
            print_progress(progress, &rates(new, "datagram", new * plan.size as u64, SECOND), console)?;
        }
        anyhow::Ok(())
    };
    let result = plan.sender()?.run(&session, &|| !interrupt.has_arrived(), each_second)?;
    match plan.json {
        true => print_record(console, "result", &SessionSummary::new(&result))?,
        false => write_text(&result, console)?,
    }
    let foreign = result.reports.foreign();
    if foreign > 0 {
        let foreign = count_of(foreign, "datagram");
        console.note(format_args!("ignored {foreign} to the sender's port that were not reports"));
    }
    let outcome = judge(plan.criteria, &result.reports, console);
    Ok(interrupt.outcome().unwrap_or(outcome))
}

fn print_progress(progress: &PerfSendProgress, rates: &str, console: &Console) -> io::Result<()> {
    let refused = match progress.refused {
        0 => String::new(),
        refused => format!("  refused {}", count(refused)),
    };
    let mut out = console.output();
    writeln!(out, "{:>6.1} s  {rates}{refused}", progress.elapsed.as_secs_f64())?;
    out.flush()
}

fn judge(criteria: &SuccessCriteria, reports: &ReceiverReports, console: &Console) -> Outcome {
    let required = criteria.expect.unwrap_or(1);
    let reported = reports.len() as u64;
    let miss = match reports.worst_loss() {
        _ if reported < required => Some(format!("{reported} reported, expected at least {required}")),
        worst => excess_loss(worst.unwrap_or(0.0), criteria.max_loss),
    };
    miss.iter().for_each(|miss| console.note(miss));
    Outcome::of(miss.is_none())
}

fn write_text(result: &PerfSendResult, console: &Console) -> io::Result<()> {
    let PerfSendResult { settings, sent, refused, elapsed, calls, reports, drops, .. } = result;
    let mut out = console.output();
    let per_call =
        per_call(*sent, *calls).map(|number| format!(", {number:.1} per call")).unwrap_or_default();
    let gso = if settings.gso { "GSO" } else { "no GSO" };
    let sent = format!(
        "sent {} of {} in {} ({}){per_call}, {gso}",
        count_of(*sent, "datagram"),
        bytes(settings.size.into()),
        seconds(*elapsed),
        rates(*sent, "datagram", sent * u64::from(settings.size), *elapsed),
    );
    write_line(&mut out, sent)?;
    if *refused > 0 {
        writeln!(out, "{} refused by the interface's own queue", count(*refused))?;
    }
    for (place, number) in drops.nonzero() {
        writeln!(out, "dropped by this host: {} {}", place.counter(), count(number))?;
    }
    if reports.is_empty() {
        console.note("no receiver has reported (run `mcast perf recv` on another host)");
    } else {
        table(reports, console.palette()).write(&mut out)?;
        explain(reports, &mut out)?;
    }
    out.flush()
}

fn table(reports: &ReceiverReports, palette: &Palette) -> Table {
    let titles =
        ["receiver", "received", "lost", "dup", "reordered", "rate", "jitter", "delay p50", "p99", "GRO"];
    let mut table = Table::new(&titles, palette.heading);
    for receiver in reports.sorted() {
        let report = &receiver.report;
        let lost = if report.lost > 0 { palette.bad } else { palette.good };
        let delay = |pick: fn(&mcast_measure::Percentiles) -> Duration| {
            report.delays.as_ref().map_or_else(|| "?".into(), |delays| short_time(pick(delays)))
        };
        table.row([
            Cell::new(receiver.address.to_string()).style(palette.address),
            Cell::new(count(report.received)).right(),
            Cell::new(share(report.lost, report.sent)).style(lost).right(),
            Cell::new(count(report.duplicated)).right(),
            Cell::new(count(report.reordered)).right(),
            Cell::new(bits_per_second(report.bytes, report.elapsed).unwrap_or_default()).right(),
            Cell::new(short_time(report.jitter)).right(),
            Cell::new(delay(|delays| delays.p50)).right(),
            Cell::new(delay(|delays| delays.p99)).right(),
            Cell::new(if report.gro { "yes" } else { "no" }),
        ]);
    }
    table
}

/// Prints what does not fit in the table.
fn explain(reports: &ReceiverReports, out: &mut impl Write) -> io::Result<()> {
    for receiver in reports.sorted() {
        let (address, report) = (receiver.address, &receiver.report);
        for (place, number) in report.drops.nonzero() {
            let (counter, number) = (place.counter(), count(number));
            write_line(out, format_args!("{address} dropped: {counter} {number}: {}", place.remedy()))?;
        }
        if report.lost > 0 && !report.drops.explain_loss() {
            write_line(
                out,
                format_args!("{address} counts no drops of its own: its loss happened on the path"),
            )?;
        }
        if report.before_first > 0 {
            let before = count(report.before_first);
            write_line(
                out,
                format_args!("{address} started late: {before} were sent before it received the first"),
            )?;
        }
        match report.clocks {
            ClockRelation::Same => {}
            ClockRelation::Unknown => write_line(
                out,
                format_args!(
                    "{address} has a different clock: delays are as accurate as the two clocks agree"
                ),
            )?,
            ClockRelation::Apart => writeln!(out, "{address} has a clock that differs: delays are unknown")?,
        }
    }
    Ok(())
}

record! {
    fn new(result: &PerfSendResult) {
        let PerfSendResult { settings, sent, elapsed, reports, .. } = result;
        let worst = reports.worst().map(|receiver| &receiver.report);
    }

    /// One object at the end. Some fields describe the worst receiver: the one with the highest loss. They are null
    /// if no receiver reported.
    pub(super) struct SessionSummary {
        /// Datagrams sent
        sent: u64 = *sent,
        /// Datagrams received by the worst receiver, excluding duplicates; null if no receiver reported
        received: Option<u64> = worst.map(|report| report.received),
        /// Datagrams lost by the worst receiver; null if no receiver reported
        lost: Option<u64> = worst.map(|report| report.lost),
        /// Duplicates received by the worst receiver; null if no receiver reported
        duplicated: Option<u64> = worst.map(|report| report.duplicated),
        /// Datagrams that the worst receiver received after one that was sent later; null if no receiver reported
        reordered: Option<u64> = worst.map(|report| report.reordered),
        /// Duration of sending, in seconds
        seconds: f64 = elapsed.as_secs_f64(),
        /// Send rate in datagrams per second; null if the time is zero
        datagrams_per_second: Option<f64> = per_second(*sent as f64, *elapsed),
        /// Send rate in payload bits per second; null if the time is zero
        bits_per_second: Option<f64> = per_second((sent * u64::from(settings.size) * 8) as f64, *elapsed),
        /// One-way delay from sending to arrival at the worst receiver, in microseconds; null if the clocks differ
        /// or no receiver reported
        latency_us: Option<Micros> = worst.and_then(|report| report.delays).map(Into::into),
        /// Whether the system segmented datagrams (UDP GSO)
        gso: bool = settings.gso,
        /// Whether the system of the worst receiver delivered coalesced datagrams (UDP GRO); null if no receiver
        /// reported
        gro: Option<bool> = worst.map(|report| report.gro),
        /// Payload bytes per datagram
        size: u32 = settings.size,
        /// Number of streams sent
        streams: u16 = settings.streams,
        /// Datagrams refused by the interface's own queue
        refused: u64 = result.refused,
        /// Datagrams per send call; null without calls
        datagrams_per_call: Option<f64> = per_call(*sent, result.calls),
        /// Reports of the receivers
        receivers: Vec<ReceiverFigures> =
            reports.sorted().into_iter().map(|receiver| ReceiverFigures::new(receiver, settings)).collect(),
    }
}

record! {
    fn new(receiver: &ReportingReceiver, settings: &SessionSettings) {}

    /// Report of a receiver
    struct ReceiverFigures {
        /// Address that the report was sent from
        address: IpAddr = receiver.address,
        /// Random receiver ID, in hexadecimal
        receiver: String = format!("{:016x}", receiver.report.receiver),
        #[serde(flatten)]
        figures: Figures = Figures::new(&receiver.report, Some(settings)),
    }
}

/// `--sweep`: runs faster and faster sessions until datagrams are lost.
pub(super) fn sweep(
    plan: &MeasuringPlan<'_>,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let MeasuringPlan { size, criteria, .. } = plan;
    let start = plan.rate.map_or(START, |rate| rate.datagrams_per_second(*size));
    let allowed = criteria.max_loss.unwrap_or(0.0);
    let mut sender = plan.sender()?;
    let mut sweep = Sweep::new(start, MAX_RATE, allowed);
    let mut counters = LossCounters::default();
    let mut receivers = 0;
    while let (Some(rate), false) = (sweep.next_rate(), interrupt.has_arrived()) {
        let step = PerfSendPlan {
            rate: Some(Rate::Datagrams(rate)),
            duration: Some(plan.duration.unwrap_or(EACH)),
            count: None,
            more_follows: true,
        };
        let result = sender.run(&step, &|| !interrupt.has_arrived(), |_| anyhow::Ok(()))?;
        if interrupt.has_arrived() {
            break;
        }
        receivers = result.reports.len();
        let Some(step) = evaluate(rate, &result) else {
            console.error("no receiver reports: a sweep needs one (`mcast perf recv` on another host)");
            sender.finish()?;
            return Ok(Outcome::No);
        };
        if step.lost_percent > allowed {
            counters = LossCounters::of(&result);
        }
        sweep.record(step);
        if !plan.json {
            print_step(&result, &step, console)?;
        }
    }
    sender.finish()?;
    match plan.json {
        true => print_record(console, "sweep", &SweepSummary::new(&sweep, &counters, *size, receivers))?,
        false => write_sweep(&sweep, &counters, *size, console)?,
    }
    let required = criteria.expect.unwrap_or(0);
    let outcome = Outcome::of(sweep.knee() != Knee::Unknown && receivers as u64 >= required);
    Ok(interrupt.outcome().unwrap_or(outcome))
}

/// Evaluates a rate by the loss of the worst receiver and by datagrams that were not sent.
fn evaluate(requested: f64, result: &PerfSendResult) -> Option<SweepStep> {
    let lost_percent = result.reports.worst_loss()?;
    let achieved = per_second((result.sent + result.refused) as f64, result.elapsed).unwrap_or(0.0);
    Some(SweepStep { requested, achieved, lost_percent })
}

/// The counters that showed the latest loss.
#[derive(Debug, Default)]
struct LossCounters {
    counters: Vec<LossCounter>,
    /// Whether one of them counts only this traffic.
    explain_loss: bool,
}

/// Counter that increased
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct LossCounter {
    /// Address of the receiver that counted; null for the sender
    host: Option<IpAddr>,
    /// Name of the counter
    counter: &'static str,
    /// Increase of the counter
    count: u64,
    #[serde(skip)]
    remedy: &'static str,
}

impl LossCounters {
    fn of(result: &PerfSendResult) -> Self {
        let lossy = || result.reports.sorted().into_iter().filter(|receiver| receiver.report.lost > 0);
        let explain_loss = result.refused > 0
            || result.drops.explain_loss()
            || lossy().any(|receiver| receiver.report.drops.explain_loss());
        let receivers = lossy().map(|receiver| (Some(receiver.address), &receiver.report.drops));
        let drops = receivers.chain([(None, &result.drops)]);
        let counters_of = |(host, drops): (Option<IpAddr>, &DropCounts)| {
            let counter = move |(place, count): (DropPoint, u64)| LossCounter {
                host,
                counter: place.counter(),
                count,
                remedy: place.remedy(),
            };
            drops.nonzero().map(counter).collect::<Vec<_>>()
        };
        let mut counters: Vec<_> = drops.flat_map(counters_of).collect();
        if result.refused > 0 {
            let (counter, remedy) =
                ("refused by the queue", "the interface's queue was full: it cannot send faster");
            counters.push(LossCounter { host: None, counter, count: result.refused, remedy });
        }
        Self { counters, explain_loss }
    }
}

fn print_step(result: &PerfSendResult, step: &SweepStep, console: &Console) -> io::Result<()> {
    let Palette { good, bad, dim, .. } = *console.palette();
    let worst = result.reports.worst().map(|receiver| &receiver.report);
    let (lost, sent) = worst.map_or((0, 0), |report| (report.lost, report.sent));
    let style = if lost == 0 { good } else { bad };
    let size = u64::from(result.settings.size);
    let mut out = console.output();
    writeln!(
        out,
        "  {}  {style}lost {}{style:#}  {dim}(target {} per second){dim:#}",
        rates(result.sent, "datagram", result.sent * size, result.elapsed),
        share(lost, sent),
        count(step.requested as u64),
    )?;
    out.flush()
}

fn write_sweep(sweep: &Sweep, counters: &LossCounters, size: usize, console: &Console) -> io::Result<()> {
    let Palette { heading, .. } = *console.palette();
    let mut out = console.output();
    writeln!(out, "{heading}knee{heading:#}  {}", describe(sweep.knee(), size))?;
    if matches!(sweep.knee(), Knee::Between { .. }) {
        for counter in &counters.counters {
            let host = counter.host.map_or_else(|| "this host".into(), |host| host.to_string());
            writeln!(out, "      {host}: {} {}: {}", counter.counter, count(counter.count), counter.remedy)?;
        }
        if !counters.explain_loss {
            writeln!(
                out,
                "      no counter of the sender or a receiver shows it: the loss happened between them"
            )?;
        }
    }
    out.flush()
}

fn describe(knee: Knee, size: usize) -> String {
    let rate = |rate: f64| {
        let bits = bits_per_second((rate * size as f64) as u64, Duration::from_secs(1));
        format!("{} datagrams/s ({})", count(rate as u64), bits.unwrap_or_default())
    };
    match knee {
        Knee::Between { clean: Some(clean), lossy } => {
            format!("no loss up to {}, loss from {}", rate(clean), rate(lossy))
        }
        Knee::Between { clean: None, lossy } => format!("loss at every rate, down to {}", rate(lossy)),
        Knee::Above { clean, sender_limit: true } => {
            format!("no loss up to {}, the most that the sender can do", rate(clean))
        }
        Knee::Above { clean, sender_limit: false } => format!("no loss up to {}", rate(clean)),
        Knee::Unknown => "not found: too few rates were tried".into(),
    }
}

record! {
    fn new(sweep: &Sweep, loss: &'a LossCounters, size: usize, receivers: usize) {
        let (clean, lossy, sender_limit) = match sweep.knee() {
            Knee::Between { clean, lossy } => (clean, Some(lossy), false),
            Knee::Above { clean, sender_limit } => (Some(clean), None, sender_limit),
            Knee::Unknown => (None, None, false),
        };
        let bits = |rate: Option<f64>| rate.map(|rate| rate * size as f64 * 8.0);
    }

    /// One object at the end.
    pub(super) struct SweepSummary<'a> {
        /// Highest rate without loss beyond `--max-loss`, in datagrams per second; null if there was loss at every
        /// rate
        clean_datagrams_per_second: Option<f64> = clean,
        /// The same rate in payload bits per second; null if there was loss at every rate
        clean_bits_per_second: Option<f64> = bits(clean),
        /// Lowest rate with loss beyond `--max-loss`, in datagrams per second; null if there was no such loss
        lossy_datagrams_per_second: Option<f64> = lossy,
        /// The same rate in payload bits per second; null if there was no such loss
        lossy_bits_per_second: Option<f64> = bits(lossy),
        /// Whether the highest rate is the most that the sender can do
        sender_limit: bool = sender_limit,
        /// Payload bytes per datagram
        size: usize = size,
        /// Number of receivers that reported
        receivers: usize = receivers,
        /// Counters that showed the loss; empty if the loss happened between sender and receivers
        counters: &'a [LossCounter] = if lossy.is_some() { &loss.counters } else { &[] },
        /// Rates tried, in order
        steps: Vec<StepFigures> = sweep.steps().iter().map(StepFigures::new).collect(),
    }
}

record! {
    fn new(step: &SweepStep) {}

    /// Rate
    struct StepFigures {
        /// Requested rate, in datagrams per second
        requested_datagrams_per_second: f64 = step.requested,
        /// Achieved send rate, in datagrams per second
        datagrams_per_second: f64 = step.achieved,
        /// Loss at the worst receiver, in percent
        lost_percent: f64 = step.lost_percent,
    }
}
