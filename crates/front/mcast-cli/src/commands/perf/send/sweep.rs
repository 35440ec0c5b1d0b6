//! `--sweep`: runs faster and faster sessions until datagrams are lost.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::Rate;
use mcast_doctor::{PerfSendPlan, PerfSendResult};
use mcast_measure::{DropCounts, DropPoint, Knee, Sweep, SweepStep};
use mcast_terminal::Console;
use serde::Serialize;

use super::Plan;
use crate::commands::perf::figures::share;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{Palette, bits_per_second, count, per_second, rates, record, write_record};

/// The default first rate.
const START: f64 = 1_000.0;
/// More than any sender reaches.
const MAX_RATE: f64 = 1e8;
const EACH: Duration = Duration::from_secs(1);

pub(super) fn run(plan: &Plan<'_>, interrupt: &Interrupt, console: &Console) -> anyhow::Result<Outcome> {
    let Plan { size, criteria, .. } = plan;
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
        true => {
            let mut out = console.output();
            write_record(&mut out, "sweep", &Summary::new(&sweep, &counters, *size, receivers))?;
            out.flush()?;
        }
        false => write_text(&sweep, &counters, *size, console)?,
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

#[derive(Debug, Serialize)]
struct LossCounter {
    /// The receiver that counts it; `None` for the sender.
    host: Option<IpAddr>,
    counter: &'static str,
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

fn write_text(sweep: &Sweep, counters: &LossCounters, size: usize, console: &Console) -> io::Result<()> {
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

    /// A sweep as JSON: `schemas/perf-sweep.json`.
    struct Summary<'a> {
        clean_datagrams_per_second: Option<f64> = clean,
        clean_bits_per_second: Option<f64> = bits(clean),
        lossy_datagrams_per_second: Option<f64> = lossy,
        lossy_bits_per_second: Option<f64> = bits(lossy),
        sender_limit: bool = sender_limit,
        size: usize = size,
        receivers: usize = receivers,
        counters: &'a [LossCounter] = if lossy.is_some() { &loss.counters } else { &[] },
        steps: Vec<StepFigures> = sweep.steps().iter().map(StepFigures::new).collect(),
    }
}

record! {
    fn new(step: &SweepStep) {}

    struct StepFigures {
        requested_datagrams_per_second: f64 = step.requested,
        datagrams_per_second: f64 = step.achieved,
        lost_percent: f64 = step.lost_percent,
    }
}
