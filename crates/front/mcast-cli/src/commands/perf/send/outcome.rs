//! A single session and its output: one line per second, a table of the receivers, or JSON.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_doctor::{PerfSendPlan, PerfSendProgress, PerfSendResult};
use mcast_measure::wire::SessionSettings;
use mcast_measure::{ClockRelation, ReceiverReports, ReportingReceiver};
use mcast_terminal::Console;

use super::{Plan, SuccessCriteria};
use crate::commands::perf::figures::{Figures, Micros, per_call, share, short_time};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{
    Cell, Palette, Table, bits_per_second, bytes, count, count_of, excess_loss, per_second, rates, record,
    seconds, write_record,
};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn run(plan: &Plan<'_>, interrupt: &Interrupt, console: &Console) -> anyhow::Result<Outcome> {
    let duration = || plan.duration.unwrap_or(Duration::from_secs(10));
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
        true => {
            let mut out = console.output();
            write_record(&mut out, "result", &Summary::new(&result))?;
            out.flush()?;
        }
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
    let required = criteria.expect.unwrap_or_else(|| u64::from(criteria.max_loss.is_some()));
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
    writeln!(
        out,
        "sent {} of {} in {} ({}){per_call}, {gso}",
        count_of(*sent, "datagram"),
        bytes(settings.size.into()),
        seconds(*elapsed),
        rates(*sent, "datagram", sent * u64::from(settings.size), *elapsed),
    )?;
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
            writeln!(out, "{address} dropped: {} {}: {}", place.counter(), count(number), place.remedy())?;
        }
        if report.lost > 0 && !report.drops.explain_loss() {
            writeln!(out, "{address} counts no drops of its own: its loss happened on the path")?;
        }
        if report.before_first > 0 {
            writeln!(
                out,
                "{address} started late: {} were sent before it received the first",
                count(report.before_first)
            )?;
        }
        match report.clocks {
            ClockRelation::Same => {}
            ClockRelation::Unknown => {
                writeln!(
                    out,
                    "{address} has a different clock: delays are as accurate as the two clocks \
                    agree"
                )?;
            }
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

    /// A session as JSON: `schemas/perf-send.json`. The receiver's counts are those of the one with the highest loss, or
    /// null if none reported.
    struct Summary {
        sent: u64 = *sent,
        received: Option<u64> = worst.map(|report| report.received),
        lost: Option<u64> = worst.map(|report| report.lost),
        duplicated: Option<u64> = worst.map(|report| report.duplicated),
        reordered: Option<u64> = worst.map(|report| report.reordered),
        seconds: f64 = elapsed.as_secs_f64(),
        datagrams_per_second: Option<f64> = per_second(*sent as f64, *elapsed),
        bits_per_second: Option<f64> = per_second((sent * u64::from(settings.size) * 8) as f64, *elapsed),
        latency_us: Option<Micros> = worst.and_then(|report| report.delays).map(Into::into),
        gso: bool = settings.gso,
        gro: Option<bool> = worst.map(|report| report.gro),
        size: u32 = settings.size,
        streams: u16 = settings.streams,
        refused: u64 = result.refused,
        datagrams_per_call: Option<f64> = per_call(*sent, result.calls),
        receivers: Vec<ReceiverFigures> =
            reports.sorted().into_iter().map(|receiver| ReceiverFigures::new(receiver, settings)).collect(),
    }
}

record! {
    fn new(receiver: &ReportingReceiver, settings: &SessionSettings) {}

    struct ReceiverFigures {
        address: IpAddr = receiver.address,
        receiver: String = format!("{:016x}", receiver.report.receiver),
        #[serde(flatten)]
        figures: Figures = Figures::new(&receiver.report, Some(settings)),
    }
}
