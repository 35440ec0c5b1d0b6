//! The main loop: receives what is available, prints it, and flushes before it blocks.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{Batch, Datagram, Drops, ErrorKind, MembershipStatus, Receiver, Statistics};
use mcast_terminal::{Console, Output};

use super::OutputOptions;
use super::execute::Executor;
use super::format::Printer;
use super::platform::AmtInput;
use crate::arguments::{Goal, Limits};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{InterfaceNames, write_record};
use crate::receiving::{Tally, UnreachableInterfaces};

/// Buffers of a batch, each for the largest datagram.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;

/// The state of `mcast recv`.
pub(super) struct Listener<'a> {
    limits: &'a Limits,
    show: &'a OutputOptions,
    console: &'a Console,
    input: Input<'a>,
    interrupt: Interrupt,
    start: Instant,
    goal: Goal<'a>,
    tally: Tally,
    names: InterfaceNames,
    printer: Printer,
    executor: Option<Executor>,
    out: Output,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        limits: &'a Limits,
        show: &'a OutputOptions,
        input: Input<'a>,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> Self {
        let start = Instant::now();
        let executor = show.exec.as_ref().map(|command| {
            Executor::new(command, show.exec_limit, input.receiver().filter(|_| show.exec_reply))
        });
        let mut names = InterfaceNames::new();
        names.insert(AmtInput::INTERFACE, "amt");
        Self {
            goal: Goal::new(limits, start),
            printer: Printer::new(show, console),
            out: console.output(),
            names,
            tally: Tally::default(),
            limits,
            show,
            console,
            input,
            interrupt,
            start,
            executor,
        }
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let mut unreachable_interfaces = UnreachableInterfaces::default();
        unreachable_interfaces.warn(&self.input.memberships(), self.console);
        let end = self.listen();
        self.input.stop();
        let time = self.start.elapsed();
        // Even after a failure, so that earlier data is printed.
        let printed = self.printer.end(&mut self.out).and_then(|()| self.out.flush());
        if let Some(executor) = &self.executor {
            executor.finish();
        }
        let is_interrupted = end?;
        printed?;
        self.summarize(time)?;
        unreachable_interfaces.warn(&self.input.memberships(), self.console);
        if is_interrupted {
            return Ok(self.interrupt.outcome().unwrap_or(Outcome::Yes));
        }
        Ok(self.judge())
    }

    /// Receives until the goal is reached, the time is over, or an interrupt arrives; returns whether it was that.
    fn listen(&mut self) -> anyhow::Result<bool> {
        let mut batch = Batch::new(BUFFERS, BUFFER);
        loop {
            if self.interrupt.has_arrived() {
                return Ok(true);
            }
            match self.fill(&mut batch) {
                Err(error) if is_woken(&error) => continue,
                Err(error) => return Err(error),
                Ok(0) => return Ok(self.interrupt.has_arrived()),
                Ok(_) => self.goal.record_arrival(),
            }
            let mut datagrams = batch.iter();
            while let Some(datagram) = datagrams.next() {
                if !self.handle(&datagram)? {
                    // The rest of the batch was received as well, but no command is run for it.
                    self.count_not_run(1 + datagrams.count());
                    break;
                }
                if self.goal.is_reached(self.tally.datagrams()) {
                    return Ok(false);
                }
            }
        }
    }

    /// Receives available datagrams, or waits for one; returns 0 after the deadline.
    fn fill(&mut self, batch: &mut Batch) -> anyhow::Result<usize> {
        if self.goal.is_past_deadline() {
            return Ok(0);
        }
        self.input.fill(batch, self.goal.time_left(), &mut self.out)
    }

    /// Prints a datagram or runs the command for it; returns `false` if the command could not be started in time.
    fn handle(&mut self, datagram: &Datagram<'_>) -> anyhow::Result<bool> {
        self.tally.add(datagram.arrival());
        self.printer.print(&mut self.out, datagram, &mut self.names)?;
        let Some(executor) = &self.executor else {
            return Ok(true);
        };
        // Flushed first, because the command may print as well.
        self.out.flush()?;
        let interface = self.names.of(datagram.interface);
        Ok(executor.run(datagram, &interface, self.goal.deadline(), &self.interrupt))
    }

    fn count_not_run(&self, datagrams: usize) {
        if let Some(executor) = &self.executor {
            executor.count_not_run(datagrams);
        }
    }

    fn summarize(&mut self, time: Duration) -> anyhow::Result<()> {
        let statistics = self.input.statistics();
        if self.show.discard && self.show.json {
            write_record(&mut self.out, "summary", &self.tally.summary(&statistics, time, &mut self.names))?;
            self.out.flush()?;
        }
        self.tally.print(&statistics, time, &mut self.names, self.console);
        if let Some(executor) = &self.executor {
            executor.print_summary(self.console);
        }
        if self.limits.max_loss.is_some() && statistics.dropped == Drops::Unknown {
            self.console.warn("this system does not count dropped datagrams: cannot check --max-loss");
        }
        Ok(())
    }

    fn judge(&self) -> Outcome {
        let misses = self.goal.misses(self.tally.datagrams(), self.input.statistics().dropped);
        misses.iter().for_each(|miss| self.console.note(miss));
        Outcome::of(misses.is_empty())
    }
}

fn is_woken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<mcast::Error>().is_some_and(|error| error.kind() == ErrorKind::Woken)
}

/// What `mcast recv` receives from.
pub(super) enum Input<'a> {
    Groups(Arc<Receiver>),
    Amt(Box<AmtInput<'a>>),
}

impl Input<'_> {
    /// Receives available datagrams, or waits for one for at most this time. Returns 0 after it, and with a relay of AMT
    /// also after an interrupt.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch,
        left: Option<Duration>,
        out: &mut Output,
    ) -> anyhow::Result<usize> {
        use std::io::Write;

        match self {
            Self::Amt(amt) => {
                let there = amt.fill(batch, Some(Duration::ZERO))?;
                if there > 0 || left == Some(Duration::ZERO) {
                    return Ok(there);
                }
                out.flush()?;
                amt.fill(batch, left)
            }
            Self::Groups(receiver) => {
                let there = receiver.try_recv_batch(batch)?;
                if there > 0 || left == Some(Duration::ZERO) {
                    return Ok(there);
                }
                out.flush()?;
                Ok(match left {
                    None => receiver.recv_batch(batch)?,
                    Some(left) => receiver.recv_batch_timeout(batch, left)?,
                })
            }
        }
    }

    /// Returns the memberships on interfaces.
    pub(super) fn memberships(&self) -> Vec<MembershipStatus> {
        match self {
            Self::Groups(receiver) => receiver.memberships(),
            Self::Amt(_) => Vec::new(),
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        match self {
            Self::Groups(receiver) => receiver.statistics(),
            Self::Amt(amt) => amt.statistics(),
        }
    }

    /// Returns the receiver, which can send answers.
    pub(super) fn receiver(&self) -> Option<Arc<Receiver>> {
        match self {
            Self::Groups(receiver) => Some(Arc::clone(receiver)),
            Self::Amt(_) => None,
        }
    }

    /// Stops to receive.
    pub(super) fn stop(&mut self) {
        if let Self::Amt(amt) = self {
            amt.stop();
        }
    }
}
