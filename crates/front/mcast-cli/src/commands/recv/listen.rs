//! Receives what is available, prints it or runs a process per datagram (`--exec`).

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Arrival, Batch, Datagram, Drops, ErrorKind, MembershipStatus, Receiver, Statistics};
use mcast_terminal::{Console, Output};

use super::ReceiveOutput;
use super::format::{DatagramPrinter, time_of};
use super::platform::AmtInput;
use crate::arguments::{Goal, Limits};
use crate::execute::Call;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{InterfaceNames, count_of, rfc3339, write_record};
use crate::receiving::{SilentInterfaces, Tally};
use crate::session::{Control, End, SessionSteps, Step};

/// Buffers of a batch, each for the largest datagram.
const BUFFERS: usize = 64;
const BUFFER: usize = 65_536;
/// The time between checks of the interfaces while nothing comes.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of `mcast recv`.
pub(super) struct Listener<'a> {
    limits: &'a Limits,
    show: &'a ReceiveOutput,
    console: &'a Console,
    input: Input<'a>,
    batch: Batch,
    handler: DatagramHandler,
    silent_interfaces: SilentInterfaces,
}

/// Counts and prints datagrams, and runs a command for each.
struct DatagramHandler {
    tally: Tally,
    names: InterfaceNames,
    printer: DatagramPrinter,
    executor: Option<Executor>,
    out: Output,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        limits: &'a Limits,
        show: &'a ReceiveOutput,
        input: Input<'a>,
        console: &'a Console,
    ) -> Self {
        let executor = show.exec.as_ref().map(|command| {
            Executor::new(command, show.exec_limit, input.receiver().filter(|_| show.exec_reply))
        });
        let mut names = InterfaceNames::new();
        names.insert(AmtInput::INTERFACE, "amt");
        let handler = DatagramHandler {
            tally: Tally::default(),
            names,
            printer: DatagramPrinter::new(show, console),
            executor,
            out: console.output(),
        };
        Self {
            limits,
            show,
            console,
            input,
            batch: Batch::new(BUFFERS, BUFFER),
            handler,
            silent_interfaces: SilentInterfaces::default(),
        }
    }

    /// Receives until the goal is reached, the time is over, or an interrupt arrives.
    pub(super) fn run(mut self, interrupt: Interrupt) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let mut control = Control::new(interrupt, Goal::new(self.limits, start), self.console);
        self.silent_interfaces.warn(&self.input.memberships(), self.console);
        let end = control.run(&mut self);
        self.input.stop();
        let time = start.elapsed();
        // Even after a failure, so that earlier data is printed.
        let DatagramHandler { printer, out, executor, .. } = &mut self.handler;
        let printed = printer.end(out).and_then(|()| out.flush());
        if let Some(executor) = executor {
            executor.finish();
        }
        let end = end?;
        printed?;
        self.summarize(time)?;
        self.silent_interfaces.warn(&self.input.memberships(), self.console);
        Ok(control.judge(end, true, self.handler.tally.datagrams(), self.input.statistics().dropped))
    }

    fn summarize(&mut self, time: Duration) -> anyhow::Result<()> {
        let statistics = self.input.statistics();
        let DatagramHandler { tally, names, out, executor, .. } = &mut self.handler;
        if self.show.discard && self.show.json {
            let wire = self.input.receiver().map(|receiver| receiver.wire_status()).unwrap_or_default();
            write_record(out, "summary", &tally.summary(&statistics, time, &wire, names))?;
            out.flush()?;
        }
        tally.print(&statistics, time, names, self.console);
        if let Some(executor) = executor {
            executor.print_summary(self.console);
        }
        if self.limits.max_loss.is_some() && statistics.dropped == Drops::Unknown {
            self.console.warn("this system does not count dropped datagrams: cannot check --max-loss");
        }
        Ok(())
    }
}

impl SessionSteps for Listener<'_> {
    /// Receives available datagrams, or waits for one. While nothing comes, it looks whether the interfaces are still there.
    fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        let there = match self.input.fill(&mut self.batch, wait) {
            Err(error) if is_woken(&error) => return Ok(Step::Idle),
            there => there?,
        };
        if there == 0 {
            if !wait.is_zero() {
                self.silent_interfaces.warn_regularly(|| self.input.memberships(), self.console);
            }
            return Ok(Step::Idle);
        }
        control.goal.record_arrival();
        let mut datagrams = self.batch.iter();
        while let Some(datagram) = datagrams.next() {
            if !self.handler.handle(&datagram, control)? {
                // The rest of the batch was received as well, but no command is run for it.
                self.handler.count_not_run(1 + datagrams.count());
                break;
            }
            if control.goal.is_reached(self.handler.tally.datagrams()) {
                return Ok(Step::Over(End::Enough));
            }
        }
        Ok(Step::Handled)
    }

    fn longest_wait(&mut self) -> Duration {
        CHECK_INTERVAL
    }

    /// Where nothing must be printed before a wait, looking first would only cost a system call.
    fn is_unflushed(&self) -> bool {
        !self.handler.out.is_empty()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.handler.out.flush()?)
    }
}

impl DatagramHandler {
    /// Prints a datagram or runs the command for it; returns `false` if the command could not be started in time.
    fn handle(&mut self, datagram: &Datagram<'_>, control: &Control<'_>) -> anyhow::Result<bool> {
        self.tally.add(datagram.arrival());
        self.printer.print(&mut self.out, datagram, &mut self.names)?;
        let Some(executor) = &self.executor else {
            return Ok(true);
        };
        // Flushed first, because the command may print as well.
        self.out.flush()?;
        let interface = self.names.of(datagram.interface);
        Ok(executor.run(datagram, &interface, control.goal.deadline(), &control.interrupt))
    }

    fn count_not_run(&self, datagrams: usize) {
        if let Some(executor) = &self.executor {
            executor.count_not_run(datagrams);
        }
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
    fn fill(&mut self, batch: &mut Batch, wait: Duration) -> anyhow::Result<usize> {
        match self {
            Self::Amt(amt) => amt.fill(batch, Some(wait)),
            Self::Groups(receiver) => Ok(receiver.recv_batch(batch, Some(wait))?),
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

/// One byte more than the longest answer that fits in a datagram, to detect answers that are too long.
const ANSWER_LIMIT: u64 = 65_528;
/// The interval of checks for the end while waiting for a free slot.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs a shell command for each datagram, with a limit on concurrent commands.
#[derive(Debug)]
pub(super) struct Executor {
    command: Arc<str>,
    limit: usize,
    answers: Option<Arc<Receiver>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: Mutex<Counts>,
    ended: Condvar,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    running: usize,
    run: u64,
    failed: u64,
    answered: u64,
    not_run: u64,
    /// The first problem other than a failed command.
    first_error: Option<String>,
}

impl Executor {
    /// Creates an executor. With a receiver, the output of a command is sent back to the datagram's source.
    pub(super) fn new(command: &str, limit: u16, answers: Option<Arc<Receiver>>) -> Self {
        Self { command: command.into(), limit: limit.into(), answers, state: Arc::default() }
    }

    /// Starts the command for a datagram, after waiting for a free slot. If the deadline passes or an interrupt arrives
    /// first, counts the datagram as not run and returns `false`.
    pub(super) fn run(
        &self,
        datagram: &Datagram<'_>,
        interface: &str,
        deadline: Option<Instant>,
        interrupt: &Interrupt,
    ) -> bool {
        let Some(slot) = self.take_slot(deadline, interrupt) else { return false };
        let (arrival, answers) = (*datagram.arrival(), self.answers.clone());
        let (command, input) = (Arc::clone(&self.command), datagram.payload().to_vec());
        let call = Call { command, input, variables: fields(&arrival, interface) };
        let job = Job { call, arrival, answers };
        // The thread owns the slot, so that it is freed however the thread ends, or if none can be started.
        let run = move || job.run(&slot.0);
        if let Err(error) = thread::Builder::new().name("exec".into()).spawn(run) {
            self.state.counts().not_run(format!("cannot start a thread for the command: {error}"));
        }
        true
    }

    /// Counts datagrams for which no command was run.
    pub(super) fn count_not_run(&self, datagrams: usize) {
        self.state.counts().not_run += datagrams as u64;
    }

    /// Waits for the commands that still run.
    pub(super) fn finish(&self) {
        let counts = self.state.counts();
        drop(self.state.ended.wait_while(counts, |counts| counts.running > 0));
    }

    pub(super) fn print_summary(&self, console: &Console) {
        let counts = self.state.counts().clone();
        let mut text = format!("ran {}", count_of(counts.run, "command"));
        if self.answers.is_some() {
            text += &format!(", sent {}", count_of(counts.answered, "answer"));
        }
        if counts.failed > 0 {
            text += &format!(", of which {} failed", counts.failed);
        }
        console.note(text);
        if counts.not_run > 0 {
            console.warn(format_args!("no command was run for {}", count_of(counts.not_run, "datagram")));
        }
        if let Some(first_error) = counts.first_error {
            console.warn(first_error);
        }
    }

    fn take_slot(&self, deadline: Option<Instant>, interrupt: &Interrupt) -> Option<Slot> {
        let is_over =
            || interrupt.has_arrived() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut counts = self.state.counts();
        while counts.running >= self.limit {
            if is_over() {
                return None;
            }
            let woken = self.state.ended.wait_timeout(counts, POLL_INTERVAL);
            counts = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        counts.running += 1;
        Some(Slot(Arc::clone(&self.state)))
    }
}

impl State {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to run one command, until it is dropped.
#[derive(Debug)]
struct Slot(Arc<State>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.counts().running -= 1;
        self.0.ended.notify_all();
    }
}

impl Counts {
    fn not_run(&mut self, first_error: String) {
        self.not_run += 1;
        self.note(first_error);
    }

    fn note(&mut self, first_error: String) {
        self.first_error.get_or_insert(first_error);
    }
}

/// A command and the datagram that it answers.
#[derive(Debug)]
struct Job {
    call: Call,
    arrival: Arrival,
    answers: Option<Arc<Receiver>>,
}

impl Job {
    /// Runs the command to its end, sends its answer, and counts the result.
    fn run(mut self, state: &State) {
        let set_up = |command: &mut Command| {
            if self.answers.is_some() {
                command.stdout(Stdio::piped());
            }
        };
        let mut child = match self.call.start(set_up) {
            Ok(child) => child,
            Err(error) => return state.counts().not_run(format!("cannot start the command: {error}")),
        };
        let output = exchange(self.call, &mut child);
        let status = child.wait();
        let answered = match (&output, &self.answers) {
            (Ok(answer), Some(receiver)) if !answer.is_empty() => Some(receiver.reply(&self.arrival, answer)),
            _ => None,
        };
        let mut counts = state.counts();
        counts.run += 1;
        counts.answered += u64::from(matches!(answered, Some(Ok(()))));
        let is_success = output.is_ok() && status.as_ref().is_ok_and(ExitStatus::success);
        counts.failed += u64::from(!is_success);
        if let Err(error) = output {
            counts.note(format!("cannot write to the command: {error}"));
        }
        if let Err(error) = status {
            counts.note(format!("cannot wait for the command: {error}"));
        }
        if let Some(Err(error)) = answered {
            counts.note(format!("cannot send an answer: {error}"));
        }
    }
}

/// Writes the input of a command, and returns its output if that is the answer.
fn exchange(call: Call, child: &mut Child) -> io::Result<Vec<u8>> {
    // The command is killed, because a partial input could have unwanted effects.
    call.feed(child).inspect_err(|_| drop(child.kill()))?;
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    }
    Ok(answer)
}

/// Returns the environment variables of a command.
fn fields(arrival: &Arrival, interface: &str) -> Vec<(&'static str, String)> {
    let known = |fact: Option<String>| fact.unwrap_or_default();
    vec![
        ("MCAST_GROUP", arrival.destination.ip().to_string()),
        ("MCAST_PORT", arrival.destination.port().to_string()),
        ("MCAST_INTERFACE", interface.to_owned()),
        ("MCAST_SOURCE", arrival.source.ip().to_string()),
        ("MCAST_SOURCE_PORT", arrival.source.port().to_string()),
        ("MCAST_TTL", known(arrival.hop_limit.map(|hops| hops.to_string()))),
        ("MCAST_DSCP", known(arrival.dscp().map(|dscp| dscp.to_string()))),
        ("MCAST_TIME", rfc3339(time_of(arrival))),
        ("MCAST_LENGTH", arrival.length.to_string()),
        ("MCAST_LOST", known(arrival.lost.map(|lost| lost.to_string()))),
        ("MCAST_TRUNCATED", arrival.truncated.to_string()),
    ]
}
