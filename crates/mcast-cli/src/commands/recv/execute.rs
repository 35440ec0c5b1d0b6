//! `--exec`: one process per datagram.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Arrival, Datagram, OwnedDatagram, Receiver};

use super::format::time_of;
use crate::console::Console;
use crate::interrupt::Interrupt;
use crate::output::{count_of, rfc3339};
use crate::sys;

/// One byte more than the longest answer that fits in a datagram, to detect answers that are too long.
const ANSWER_LIMIT: u64 = 65_528;
/// The interval of checks for the end while waiting for a free slot.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs a shell command for each datagram, with a limit on concurrent commands.
#[derive(Debug)]
pub(super) struct Executor {
    command: String,
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
    trouble: Option<String>,
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
        let job = Job {
            command: self.command.clone(),
            datagram: datagram.keep(),
            interface: interface.to_owned(),
            answers: self.answers.clone(),
        };
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

    /// Prints a summary.
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
        if let Some(trouble) = counts.trouble {
            console.warn(trouble);
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
    fn add(&mut self, outcome: CommandResult) {
        self.run += 1;
        self.failed += u64::from(!outcome.success);
        self.answered += u64::from(outcome.answered);
        if let Some(trouble) = outcome.trouble {
            self.note(trouble);
        }
    }

    fn not_run(&mut self, trouble: String) {
        self.not_run += 1;
        self.note(trouble);
    }

    fn note(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }
}

/// A command and its datagram.
#[derive(Debug)]
struct Job {
    command: String,
    datagram: OwnedDatagram,
    interface: String,
    answers: Option<Arc<Receiver>>,
}

/// The result of a command.
#[derive(Debug, Default)]
struct CommandResult {
    success: bool,
    answered: bool,
    trouble: Option<String>,
}

impl Job {
    /// Runs the command to its end, and counts the result.
    fn run(&self, state: &State) {
        match self.start() {
            Ok(child) => {
                let outcome = self.complete(child);
                state.counts().add(outcome);
            }
            Err(error) => state.counts().not_run(format!("cannot start the command: {error}")),
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = sys::shell(&self.command);
        command.stdin(Stdio::piped()).envs(facts(self.datagram.arrival(), &self.interface));
        if self.answers.is_some() {
            command.stdout(Stdio::piped());
        }
        command.spawn()
    }

    /// Writes the input of the command, waits for its end and sends its answer.
    fn complete(&self, mut child: Child) -> CommandResult {
        let mut result = CommandResult::default();
        let answer = self.exchange(&mut child);
        match child.wait() {
            Ok(status) => result.success = status.success() && answer.is_ok(),
            Err(error) => result.trouble = Some(format!("cannot wait for the command: {error}")),
        }
        match (answer, &self.answers) {
            (Err(error), _) => result.trouble = Some(format!("cannot write to the command: {error}")),
            (Ok(answer), Some(receiver)) if !answer.is_empty() => {
                match receiver.reply(self.datagram.arrival(), &answer) {
                    Ok(()) => result.answered = true,
                    Err(error) => result.trouble = Some(format!("cannot send an answer: {error}")),
                }
            }
            _ => {}
        }
        result
    }

    /// Writes the input of the command, and returns its output if that is the answer.
    fn exchange(&self, child: &mut Child) -> io::Result<Vec<u8>> {
        let stdin = child.stdin.take();
        // A command need not read its input.
        let write = move || stdin.map(|mut stdin| stdin.write_all(self.datagram.payload()));
        let Some(stdout) = child.stdout.take() else {
            write();
            return Ok(Vec::new());
        };
        // Written on another thread: a command that reads late or never must not block reading its output.
        thread::scope(|scope| {
            let writer = thread::Builder::new().name("exec input".into()).spawn_scoped(scope, write);
            // The command is killed, because a partial input could have unwanted effects.
            if let Err(error) = writer {
                child.kill()?;
                return Err(error);
            }
            read_answer(stdout)
        })
    }
}

fn read_answer(stdout: ChildStdout) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stdout.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Returns the environment variables of a command.
fn facts(arrival: &Arrival, interface: &str) -> Vec<(&'static str, String)> {
    let known = |fact: Option<String>| fact.unwrap_or_default();
    vec![
        ("MCAST_GROUP", arrival.group.group.to_string()),
        ("MCAST_PORT", arrival.group.port.to_string()),
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
