//! `--exec`: a process a datagram.

use std::io::{self, Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Arrival, Datagram, KeptDatagram, Receiver};

use super::format::time_of;
use crate::console::Console;
use crate::interrupt::Interrupt;
use crate::output::{count_of, rfc3339};
use crate::sys;

/// An answer longer than this cannot be sent as one datagram; one byte more shows that.
const LONGEST_ANSWER: u64 = 65_528;
/// How often a wait for a free place looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs a shell command for each datagram, so many at once and no more.
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
        if !self.take_place(deadline, interrupt) {
            return false;
        }
        match self.start(datagram.arrival(), interface) {
            Ok(child) => self.attend(child, datagram.keep()),
            Err(error) => {
                self.state.end(|counts| {
                    counts.run -= 1;
                    counts.not_run += 1;
                    counts.note(format!("cannot start the command: {error}"));
                });
            }
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
            console.warn(format_args!("for {} no command was run", count_of(counts.not_run, "datagram")));
        }
        if let Some(trouble) = counts.trouble {
            console.warn(trouble);
        }
    }

    fn take_place(&self, deadline: Option<Instant>, interrupt: &Interrupt) -> bool {
        let is_over = || interrupt.has_come() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut counts = self.state.counts();
        while counts.running >= self.limit {
            if is_over() {
                return false;
            }
            let woken = self.state.ended.wait_timeout(counts, GLANCE);
            counts = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        counts.running += 1;
        counts.run += 1;
        true
    }

    fn start(&self, arrival: &Arrival, interface: &str) -> io::Result<Child> {
        let mut command = sys::shell(&self.command);
        command.stdin(Stdio::piped()).envs(facts(arrival, interface));
        if self.answers.is_some() {
            command.stdout(Stdio::piped());
        }
        command.spawn()
    }

    /// Feeds the command, waits for it and sends its answer, on a thread of its own.
    fn attend(&self, child: Child, datagram: KeptDatagram) {
        let state = Arc::clone(&self.state);
        let answers = self.answers.clone();
        let attend = move || {
            let outcome = attend(child, &datagram, answers.as_deref());
            state.end(|counts| counts.add(outcome));
        };
        if let Err(error) = thread::Builder::new().name("exec".into()).spawn(attend) {
            // The child goes on without its input; nobody waits for it.
            self.state.end(|counts| {
                counts.failed += 1;
                counts.note(format!("cannot attend to the command: {error}"));
            });
        }
    }
}

impl State {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place is free again.
    fn end(&self, note: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts();
        counts.running -= 1;
        note(&mut counts);
        drop(counts);
        self.ended.notify_all();
    }
}

impl Counts {
    fn add(&mut self, outcome: Attended) {
        self.failed += u64::from(!outcome.success);
        self.answered += u64::from(outcome.answered);
        if let Some(trouble) = outcome.trouble {
            self.note(trouble);
        }
    }

    fn note(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }
}

/// How a command went.
#[derive(Debug, Default)]
struct Attended {
    success: bool,
    answered: bool,
    trouble: Option<String>,
}

fn attend(mut child: Child, datagram: &KeptDatagram, answers: Option<&Receiver>) -> Attended {
    let stdin = child.stdin.take();
    let answer = thread::scope(|scope| {
        // A command that reads late or never must not keep us from reading what it prints. That
        // it does not read is its own business.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(datagram.payload())));
        read_answer(&mut child)
    });
    let mut attended = Attended::default();
    match child.wait() {
        Ok(status) => attended.success = status.success(),
        Err(error) => attended.trouble = Some(format!("cannot wait for the command: {error}")),
    }
    match (answer, answers) {
        (Err(error), _) => attended.trouble = Some(format!("cannot read what the command prints: {error}")),
        (Ok(answer), Some(receiver)) if !answer.is_empty() => {
            match receiver.reply(datagram.arrival(), &answer) {
                Ok(()) => attended.answered = true,
                Err(error) => attended.trouble = Some(format!("an answer was not sent: {error}")),
            }
        }
        _ => {}
    }
    attended
}

fn read_answer(child: &mut Child) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    }
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
