//! `mcast doctor --fleet --watch`: repeats the examination of a fleet and reports each change.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use mcast_doctor::{FleetReport, History};

use super::super::history::write_onset;
use super::super::watch::{Next, wait};
use super::{Fleet, text};
use crate::exit::Outcome;
use crate::output::clock_time;
use crate::service::Service;

pub(super) fn run(
    fleet: &Fleet<'_>,
    every: Duration,
    mut history: Option<History>,
) -> anyhow::Result<Outcome> {
    let (console, service) = (fleet.console, Service::begin());
    let hangup = service.hangups()?;
    console.note("repeating the examination until Ctrl-C");
    let status = format!("Examines every {} s", every.as_secs_f64());
    service.ready(&status);
    let mut last: Option<FleetReport> = None;
    let outcome = loop {
        let start = Instant::now();
        let report = fleet.examine();
        if let Some(outcome) = fleet.interrupt.outcome() {
            // What an interrupted examination has not tested is not broken.
            break outcome;
        }
        if let Some(Err(error)) = history.as_mut().map(|history| history.record_fleet(&report)) {
            console.warn(format_args!("the history ends: {error}"));
            history = None;
        }
        if last.as_ref().is_none_or(|last| !report.has_same_outcome(last)) {
            write(fleet, &report, history.as_ref())?;
        } else {
            console.detail(format_args!(
                "{} unchanged: {}",
                clock_time(SystemTime::now()),
                text::summary(&report)
            ));
        }
        last = Some(report);
        match wait(&fleet.interrupt, &service, hangup.as_ref(), start + every) {
            Next::Examine => {}
            Next::Reload => {
                console.note("received SIGHUP: examining now and reporting everything");
                service.reloading();
                last = None;
                service.ready(&status);
            }
            Next::End => break fleet.interrupt.outcome().unwrap_or(Outcome::Yes),
        }
    };
    service.stopping();
    Ok(outcome)
}

/// Writes a report that differs from the last one, and since when something is wrong.
fn write(fleet: &Fleet<'_>, report: &FleetReport, history: Option<&History>) -> anyhow::Result<()> {
    let mut out = fleet.console.output();
    if !fleet.is_json {
        let dim = fleet.console.palette().dim;
        writeln!(out, "{dim}{}{dim:#}", clock_time(SystemTime::now()))?;
    }
    fleet.write(report, &mut out)?;
    if let Some(onset) = history.and_then(History::onset) {
        write_onset(&onset, fleet.is_json, &mut out)?;
    }
    out.flush()?;
    Ok(())
}
