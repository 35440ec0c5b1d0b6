//! `--sweep`: runs faster and faster sessions until datagrams are lost.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::Rate;
use mcast_probe::{Knee, Sweep, SweepStep};
use serde::Serialize;

use super::Arguments;
use super::course::{Course, Finding, Plan};
use crate::commands::perf::figures::{per_second, rates, share};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{Palette, bits_per_second, count, write_record};

/// Where it begins unless told.
const START: f64 = 1_000.0;
/// No sender reaches this.
const MOST: f64 = 1e8;
const EACH: Duration = Duration::from_secs(1);

pub(super) fn run(
    arguments: &Arguments,
    mut course: Course,
    size: usize,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let start = arguments.rate.map_or(START, |rate| 1.0 / rate.time_for(size).as_secs_f64());
    let allowed = arguments.demand.max_loss.unwrap_or(0.0) / 100.0;
    let mut sweep = Sweep::new(start, MOST, allowed);
    let mut culprits = Culprits::default();
    let mut heard = 0;
    while let (Some(rate), false) = (sweep.next_rate(), interrupt.has_come()) {
        let plan = Plan {
            rate: Some(Rate::Datagrams(rate)),
            duration: Some(arguments.duration.unwrap_or(EACH)),
            count: None,
            progress: false,
        };
        let finding = course.run(&plan, true, interrupt, console)?;
        if interrupt.has_come() {
            break;
        }
        heard = finding.reports.len();
        let Some(step) = step(rate, &finding) else {
            console.error("no receiver reports: a sweep needs one (`mcast perf recv` on another host)");
            course.finish()?;
            return Ok(Outcome::No);
        };
        if step.lost > allowed {
            culprits = Culprits::of(&finding);
        }
        sweep.record(step);
        if !arguments.json {
            tell_step(&finding, &step, console)?;
        }
    }
    course.finish()?;
    match arguments.json {
        true => tell_json(&sweep, &culprits, size, heard, console)?,
        false => tell(&sweep, &culprits, size, console)?,
    }
    let wanted = arguments.demand.expect.unwrap_or(0);
    let outcome = Outcome::of(sweep.knee() != Knee::Unknown && heard as u64 >= wanted);
    Ok(interrupt.outcome().unwrap_or(outcome))
}

/// Judges a rate by the loss of the worst receiver and by datagrams that were not sent.
fn step(asked: f64, finding: &Finding) -> Option<SweepStep> {
    let lost = finding.reports.worst_loss()?;
    let achieved = per_second(finding.sent + finding.refused, finding.elapsed).unwrap_or(0.0);
    Some(SweepStep { requested: asked, achieved, lost })
}

/// Which counters showed the loss when it last showed.
#[derive(Debug, Default)]
struct Culprits {
    counters: Vec<Culprit>,
    /// Whether one of them counts nothing but this traffic.
    explain_loss: bool,
}

#[derive(Debug, Serialize)]
struct Culprit {
    /// The receiver that counts it; `None` for the sender.
    host: Option<IpAddr>,
    counter: &'static str,
    count: u64,
    #[serde(skip)]
    remedy: &'static str,
}

impl Culprits {
    fn of(finding: &Finding) -> Self {
        let lossy = || finding.reports.sorted().into_iter().filter(|receiver| receiver.report.lost > 0);
        let explain_loss = finding.refused > 0
            || finding.drops.explain_loss()
            || lossy().any(|receiver| receiver.report.drops.explain_loss());
        let mut counters = Vec::new();
        for receiver in lossy() {
            counters.extend(receiver.report.drops.nonzero().map(|(place, count)| Culprit {
                host: Some(receiver.address),
                counter: place.counter(),
                count,
                remedy: place.remedy(),
            }));
        }
        counters.extend(finding.drops.nonzero().map(|(place, count)| Culprit {
            host: None,
            counter: place.counter(),
            count,
            remedy: place.remedy(),
        }));
        if finding.refused > 0 {
            let remedy = "the interface's queue was full: it cannot send faster";
            counters.push(Culprit {
                host: None,
                counter: "refused by the queue",
                count: finding.refused,
                remedy,
            });
        }
        Self { counters, explain_loss }
    }
}

fn tell_step(finding: &Finding, step: &SweepStep, console: &Console) -> io::Result<()> {
    let Palette { good, bad, dim, .. } = *console.palette();
    let worst = finding.reports.worst().map(|receiver| &receiver.report);
    let (lost, sent) = worst.map_or((0, 0), |report| (report.lost, report.sent));
    let style = if lost == 0 { good } else { bad };
    let size = u64::from(finding.settings.size);
    let mut out = console.output();
    writeln!(
        out,
        "  {}  {style}lost {}{style:#}  {dim}(target {} per second){dim:#}",
        rates(finding.sent, finding.sent * size, finding.elapsed),
        share(lost, sent),
        count(step.requested as u64),
    )?;
    out.flush()
}

fn tell(sweep: &Sweep, culprits: &Culprits, size: usize, console: &Console) -> io::Result<()> {
    let Palette { heading, .. } = *console.palette();
    let mut out = console.output();
    writeln!(out, "{heading}knee{heading:#}  {}", describe(sweep.knee(), size))?;
    if matches!(sweep.knee(), Knee::Between { .. }) {
        for culprit in &culprits.counters {
            let host = culprit.host.map_or_else(|| "this host".into(), |host| host.to_string());
            writeln!(out, "      {host}: {} {}: {}", culprit.counter, count(culprit.count), culprit.remedy)?;
        }
        if !culprits.explain_loss {
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

/// A sweep as JSON: `schemas/perf-sweep.json`.
#[derive(Serialize)]
struct Summary<'a> {
    clean_datagrams_per_second: Option<f64>,
    clean_bits_per_second: Option<f64>,
    lossy_datagrams_per_second: Option<f64>,
    lossy_bits_per_second: Option<f64>,
    sender_limit: bool,
    size: usize,
    receivers: usize,
    counters: &'a [Culprit],
    steps: Vec<StepFigures>,
}

#[derive(Serialize)]
struct StepFigures {
    asked_datagrams_per_second: f64,
    datagrams_per_second: f64,
    lost_percent: f64,
}

fn tell_json(
    sweep: &Sweep,
    culprits: &Culprits,
    size: usize,
    receivers: usize,
    console: &Console,
) -> io::Result<()> {
    let (clean, lossy, sender_limit) = match sweep.knee() {
        Knee::Between { clean, lossy } => (clean, Some(lossy), false),
        Knee::Above { clean, sender_limit } => (Some(clean), None, sender_limit),
        Knee::Unknown => (None, None, false),
    };
    let bits = |rate: Option<f64>| rate.map(|rate| rate * size as f64 * 8.0);
    let figures = |step: &SweepStep| StepFigures {
        asked_datagrams_per_second: step.requested,
        datagrams_per_second: step.achieved,
        lost_percent: step.lost * 100.0,
    };
    let summary = Summary {
        clean_datagrams_per_second: clean,
        clean_bits_per_second: bits(clean),
        lossy_datagrams_per_second: lossy,
        lossy_bits_per_second: bits(lossy),
        sender_limit,
        size,
        receivers,
        counters: if lossy.is_some() { &culprits.counters } else { &[] },
        steps: sweep.steps().iter().map(figures).collect(),
    };
    let mut out = console.output();
    write_record(&mut out, "sweep", &summary)?;
    out.flush()
}
