//! Runs the programs of a network, and prints their output and exit statuses.

use std::time::{Duration, Instant};

use mcast_lab::topology::ProgramEvent;
use mcast_lab::{Command, LabNetwork, Program};

use super::printer::Printer;
use super::{RunArguments, failed, path, source};
use crate::console::Console;
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
    let as_expected = Runner::new(&network, run.timeout, &interrupt)?.run_to_end(&mut printer)?;
    printer.end(network.bad_links())?;
    let links_kept_up = printer.check_links(network.bad_links());
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(as_expected && links_kept_up)))
}

/// The programs while they run.
struct Runner<'a> {
    run: mcast_lab::topology::ProgramRun<'a>,
    interrupt: &'a Interrupt,
    deadline: Option<Instant>,
    stopping: bool,
}

impl<'a> Runner<'a> {
    fn new(
        network: &'a LabNetwork,
        timeout: Option<Duration>,
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Self> {
        let path = path()?;
        let prepare = move |_: &Program, command: &mut Command| {
            command.env("PATH", &path);
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(Self { run: network.run(prepare), interrupt, deadline, stopping: false })
    }

    /// Runs all programs to their end. Returns whether all ended as expected.
    fn run_to_end(mut self, printer: &mut Printer<'_>) -> anyhow::Result<bool> {
        let mut as_expected = true;
        while !self.run.is_over() {
            self.stop_in_time(printer)?;
            let Some(event) = self.run.next(POLL_INTERVAL).map_err(failed)? else { continue };
            as_expected &= is_expected(&event);
            if event == ProgramEvent::TimeLimit {
                printer.stopping();
            }
            printer.print(&event)?;
        }
        Ok(as_expected)
    }

    /// Asks all programs to end after Ctrl-C or the time limit.
    fn stop_in_time(&mut self, printer: &mut Printer<'_>) -> anyhow::Result<()> {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if self.stopping || !(is_late || self.interrupt.has_arrived()) {
            return Ok(());
        }
        self.stopping = true;
        printer.stopping();
        if is_late {
            printer.print(&ProgramEvent::TimeLimit)?;
        }
        self.run.stop(signal_hook::consts::SIGINT).map_err(failed)
    }
}

fn is_expected(event: &ProgramEvent) -> bool {
    match event {
        ProgramEvent::Ended { as_expected, .. } => *as_expected,
        ProgramEvent::Skipped { .. } | ProgramEvent::TimeLimit => false,
        _ => true,
    }
}
