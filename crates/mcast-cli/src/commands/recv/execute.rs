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

/// An answer longer than this cannot be sent as one datagram; one byte more shows that.
const LONGEST_ANSWER: u64 = 65_528;
/// How often a wait for a free slot looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

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
    /// The first thing that went wrong, other than a command's own failure.
    trouble: Option<String>,
}

impl Executor {
    /// With a receiver, what a command prints is sent back to the datagram's source.
    pub(super) fn new(command: &str, limit: u16, answers: Option<Arc<Receiver>>) -> Self {
        Self { command: command.into(), limit: limit.into(), answers, state: Arc::default() }
    }

    /// Starts the command for a datagram; waits while as many as may run do. `false`, and the
    /// datagram is counted as not run, when the time is over or an interrupt comes before.
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
        // The slot goes with the thread, however that ends, and also if there is none to be had.
        let run = move || job.run(&slot.0);
        if let Err(error) = thread::Builder::new().name("exec".into()).spawn(run) {
            self.state.counts().not_run(format!("cannot start a thread for the command: {error}"));
        }
        true
    }

    /// Counts datagrams for which no command was run.
    pub(super) fn leave(&self, datagrams: usize) {
        self.state.counts().not_run += datagrams as u64;
    }

    /// Waits for the commands that still run.
    pub(super) fn finish(&self) {
        let counts = self.state.counts();
        drop(self.state.ended.wait_while(counts, |counts| counts.running > 0));
    }

    /// Tells how it went.
    pub(super) fn tell(&self, console: &Console) {
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
            let woken = self.state.ended.wait_timeout(counts, GLANCE);
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
    fn add(&mut self, outcome: Attended) {
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

/// A command to be run for a datagram.
#[derive(Debug)]
struct Job {
    command: String,
    datagram: OwnedDatagram,
    interface: String,
    answers: Option<Arc<Receiver>>,
}

/// How a command went.
#[derive(Debug, Default)]
struct Attended {
    success: bool,
    answered: bool,
    trouble: Option<String>,
}

impl Job {
    /// Runs the command to its end, and counts how it went.
    fn run(&self, state: &State) {
        match self.start() {
            Ok(child) => {
                let outcome = self.attend(child);
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

    /// Feeds the command, waits for it and sends its answer.
    fn attend(&self, mut child: Child) -> Attended {
        let mut attended = Attended::default();
        let answer = self.feed(&mut child);
        match child.wait() {
            Ok(status) => attended.success = status.success() && answer.is_ok(),
            Err(error) => attended.trouble = Some(format!("cannot wait for the command: {error}")),
        }
        match (answer, &self.answers) {
            (Err(error), _) => attended.trouble = Some(format!("cannot write to the command: {error}")),
            (Ok(answer), Some(receiver)) if !answer.is_empty() => {
                match receiver.reply(self.datagram.arrival(), &answer) {
                    Ok(()) => attended.answered = true,
                    Err(error) => attended.trouble = Some(format!("cannot send an answer: {error}")),
                }
            }
            _ => {}
        }
        attended
    }

    /// Gives the command its input, and returns what it prints if that is the answer.
    fn feed(&self, child: &mut Child) -> io::Result<Vec<u8>> {
        let stdin = child.stdin.take();
        // That a command does not read its input is its own business.
        let write = move || stdin.map(|mut stdin| stdin.write_all(self.datagram.payload()));
        let Some(stdout) = child.stdout.take() else {
            write();
            return Ok(Vec::new());
        };
        // A command that reads late or never must not keep us from reading what it prints.
        thread::scope(|scope| {
            let writer = thread::Builder::new().name("exec input".into()).spawn_scoped(scope, write);
            // Half an input is worse than none: what it might do with that nobody has asked for.
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
    stdout.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// What a command finds in its environment.
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
