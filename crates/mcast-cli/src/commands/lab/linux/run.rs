//! Runs the programs of a network, and prints their output and exit statuses.

use std::time::{Duration, Instant};

use mcast_lab::topology::ProgramEvent;
use mcast_lab::{Command, LabNetwork, Program};

use super::failure::failed;
use super::printer::Printer;
use super::{Run, path, source};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;

/// How long at most until Ctrl-C is noticed.
const LOOK: Duration = Duration::from_millis(50);

pub(in super::super) fn run(run: &Run, console: &Console) -> anyhow::Result<Outcome> {
    let topology = source::topology(&run.topology)?;
    let network = topology.build().map_err(failed)?;
    let interrupt = Interrupt::catch(|| ())?;
    let mut printer = Printer::new(&topology, run.json, console);
    printer.begin(&run.topology)?;
    let as_expected = Playing::new(&network, run.timeout, &interrupt)?.play(&mut printer)?;
    printer.end(network.bad_links())?;
    let links_kept_up = printer.links_kept_up(network.bad_links());
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(as_expected && links_kept_up)))
}

/// The programs while they run.
struct Playing<'a> {
    run: mcast_lab::topology::ProgramRun<'a>,
    interrupt: &'a Interrupt,
    deadline: Option<Instant>,
    stopping: bool,
}

impl<'a> Playing<'a> {
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

    /// Plays until all is over. Whether everything ended as it should.
    fn play(mut self, printer: &mut Printer<'_>) -> anyhow::Result<bool> {
        let mut as_expected = true;
        while !self.run.is_over() {
            self.stop_in_time(printer)?;
            let Some(event) = self.run.next(LOOK).map_err(failed)? else { continue };
            as_expected &= is_expected(&event);
            if event == ProgramEvent::TimeLimit {
                printer.stopping();
            }
            printer.tell(&event)?;
        }
        Ok(as_expected)
    }

    /// Asks everything to end when Ctrl-C came or the time is over.
    fn stop_in_time(&mut self, printer: &mut Printer<'_>) -> anyhow::Result<()> {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if self.stopping || !(is_late || self.interrupt.has_come()) {
            return Ok(());
        }
        self.stopping = true;
        printer.stopping();
        if is_late {
            printer.tell(&ProgramEvent::TimeLimit)?;
        }
        self.run.stop(libc::SIGINT).map_err(failed)
    }
}

fn is_expected(event: &ProgramEvent) -> bool {
    match event {
        ProgramEvent::Ended { as_expected, .. } => *as_expected,
        ProgramEvent::Skipped { .. } | ProgramEvent::TimeLimit => false,
        _ => true,
    }
}
