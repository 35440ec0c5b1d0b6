//! Runs the programs of a network, and prints their output and exit statuses.

use std::time::Duration;

use mcast_lab::topology::ProgramEvent;
use mcast_lab::{Command, LabNetwork, Program};
use mcast_terminal::Console;

use super::printer::Printer;
use super::{RunArguments, failed, path, source};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;

/// The longest wait before checking for Ctrl-C.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn run(run: &RunArguments, console: &Console) -> anyhow::Result<Outcome> {
    let topology = source::topology(&run.topology)?;
    let network = topology.build().map_err(failed)?;
    let interrupt = Interrupt::catch(|| ())?;
    let mut printer = Printer::new(&topology, run.json, console);
    printer.begin(&run.topology)?;
    let as_expected = run_to_end(&network, run.timeout, &interrupt, &mut printer)?;
    printer.end(network.bad_links())?;
    let links_kept_up = printer.check_links(network.bad_links());
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(as_expected && links_kept_up)))
}

/// Runs all programs to their end, and asks them to end after Ctrl-C or the time limit. Returns whether all ended as
/// expected.
fn run_to_end(
    network: &LabNetwork,
    timeout: Option<Duration>,
    interrupt: &Interrupt,
    printer: &mut Printer<'_>,
) -> anyhow::Result<bool> {
    let path = path()?;
    let mut run = network.run(move |_: &Program, command: &mut Command| {
        command.env("PATH", &path);
    });
    if let Some(timeout) = timeout {
        run = run.time_limit(timeout);
    }
    let mut as_expected = true;
    while !run.is_over() {
        if !printer.is_stopping() && interrupt.has_arrived() {
            printer.stopping();
            run.stop(signal_hook::consts::SIGINT).map_err(failed)?;
        }
        let Some(event) = run.next(POLL_INTERVAL).map_err(failed)? else { continue };
        as_expected &= is_expected(&event);
        if event == ProgramEvent::TimeLimit {
            printer.stopping();
        }
        printer.print(&event)?;
    }
    Ok(as_expected)
}

fn is_expected(event: &ProgramEvent) -> bool {
    match event {
        ProgramEvent::Ended { as_expected, .. } => *as_expected,
        ProgramEvent::Skipped { .. } | ProgramEvent::TimeLimit => false,
        _ => true,
    }
}
