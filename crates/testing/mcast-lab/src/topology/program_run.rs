//! Runs the programs of a topology in their order.

use std::{
    collections::VecDeque,
    fmt,
    io::{BufRead, BufReader, Read},
    process::{ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{LabNetwork, Program, ReadyWhen, build};
use crate::{Child, Command, LabError, error::ErrorContext};

/// How long programs have to end after a signal, before they are killed.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// The interval at which memberships are checked.
const MEMBERSHIP_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The maximum length of a line. Longer lines are split, so that a program without newlines cannot fill the memory.
const MAX_LINE: u64 = 64 * 1024;

/// The running programs of a [`LabNetwork`]. Programs that are still running are killed when the network is dropped.
///
/// All work is done in [`next`](Self::next), which must be called until [`is_over`](Self::is_over) returns true.
pub struct ProgramRun<'a> {
    network: &'a LabNetwork,
    prepare: Prepare<'a>,
    states: Vec<ProgramState>,
    events: VecDeque<ProgramEvent>,
    sender: mpsc::Sender<WatcherMessage>,
    receiver: mpsc::Receiver<WatcherMessage>,
    deadline: Option<Instant>,
    /// When the programs that have received a signal and are still running are killed.
    kill_at: Option<Instant>,
    stopped: bool,
}

impl LabNetwork {
    /// Runs all programs in their order. `prepare` may change each command before it starts.
    pub fn run<'a>(&'a self, prepare: impl FnMut(&Program, &mut Command) + 'a) -> ProgramRun<'a> {
        ProgramRun::new(self, prepare, self.topology().time_limit)
    }
}

/// Changes a command before it starts.
type Prepare<'a> = Box<dyn FnMut(&Program, &mut Command) + 'a>;

/// An event while the programs of a topology run. Programs are given by their index in
/// [`Topology::programs`](super::Topology::programs).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramEvent {
    /// A program has started.
    Started {
        /// The index of the program.
        program: usize,
    },
    /// A program is ready, so that programs that wait for it may start.
    Ready {
        /// The index of the program.
        program: usize,
    },
    /// A program has written a line.
    Line {
        /// The index of the program.
        program: usize,
        /// The stream that it was written to.
        stream: OutputStream,
        /// The line, without the newline. Lines longer than 64 KiB are split.
        line: Vec<u8>,
    },
    /// A program has ended. All its lines have been reported before.
    Ended {
        /// The index of the program.
        program: usize,
        /// Its exit status.
        status: ExitStatus,
        /// Whether it ended with the expected status, or was stopped in the background because the other programs had
        /// ended.
        as_expected: bool,
    },
    /// A program was not started, because a program that it waits for ended without having been ready or was skipped
    /// itself, or because all programs were stopped before.
    Skipped {
        /// The index of the program.
        program: usize,
    },
    /// The time limit of the topology has passed, and all programs are being stopped.
    TimeLimit,
}

/// An output stream of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A message from one of the threads that watch a program.
enum WatcherMessage {
    Line { program: usize, stream: OutputStream, line: Vec<u8> },
    Closed { program: usize },
    Exited { program: usize, status: Result<ExitStatus, LabError> },
}

enum ProgramState {
    Waiting,
    Running(RunningProgram),
    Ended { was_ready: bool },
    Skipped,
}

struct RunningProgram {
    child: Child,
    is_ready: bool,
    was_asked_to_end: bool,
    status: Option<ExitStatus>,
    open_pipes: u8,
}

impl<'a> ProgramRun<'a> {
    pub(super) fn new(
        network: &'a LabNetwork,
        prepare: impl FnMut(&Program, &mut Command) + 'a,
        time_limit: Option<Duration>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self {
            network,
            prepare: Box::new(prepare),
            states: network.topology().programs().iter().map(|_| ProgramState::Waiting).collect(),
            events: VecDeque::new(),
            sender,
            receiver,
            deadline: time_limit.and_then(deadline_after),
            kill_at: None,
            stopped: false,
        }
    }

    /// Replaces the time limit of the topology. It starts now.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.deadline = deadline_after(limit);
        self
    }

    /// Returns the next event, or `None` if there is none within `timeout` or the run is over.
    ///
    /// # Errors
    ///
    /// The error of a program that cannot be started, and other errors of the system.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ProgramEvent>, LabError> {
        let until = Instant::now() + timeout;
        loop {
            self.advance()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let now = Instant::now();
            if self.is_over() || now >= until {
                return Ok(None);
            }
            if let Ok(message) = self.receiver.recv_timeout((until - now).min(self.max_wait(now))) {
                self.handle(message)?;
            }
        }
    }

    /// Returns whether every program has ended or been skipped, and [`next`](Self::next) has returned all events.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let done = |state: &ProgramState| matches!(state, ProgramState::Ended { .. } | ProgramState::Skipped);
        self.events.is_empty() && self.states.iter().all(done)
    }

    /// Starts no more programs, and sends a signal such as `SIGINT` to the running ones. Programs that are still
    /// running two seconds later are killed.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn stop(&mut self, signal: i32) -> Result<(), LabError> {
        self.stopped = true;
        self.ask_to_end(signal, |_| true)
    }

    fn advance(&mut self) -> Result<(), LabError> {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.deadline = None;
            self.events.push_back(ProgramEvent::TimeLimit);
            self.stop(libc::SIGINT)?;
        }
        (0..self.states.len()).try_for_each(|program| self.update(program))?;
        if self.foreground_is_done() {
            self.ask_to_end(libc::SIGINT, |program| program.background)?;
        }
        if self.kill_at.is_some_and(|kill_at| kill_at <= Instant::now()) {
            self.kill_at = None;
            self.running().try_for_each(|running| running.child.kill())?;
        }
        Ok(())
    }

    /// Starts a program that may start, skips one that cannot, or checks whether a running one is ready.
    fn update(&mut self, program: usize) -> Result<(), LabError> {
        let plan = &self.network.topology().programs()[program];
        match &self.states[program] {
            ProgramState::Waiting if self.stopped || self.can_never_start(plan) => {
                self.states[program] = ProgramState::Skipped;
                self.events.push_back(ProgramEvent::Skipped { program });
            }
            ProgramState::Waiting if self.may_start(plan) => self.start(program, plan)?,
            ProgramState::Running(running) if !running.is_ready => {
                if let ReadyWhen::Joined(group) = plan.ready
                    && build::has_joined(self.network, &plan.host, group)?
                {
                    self.set_ready(program);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn may_start(&self, plan: &Program) -> bool {
        let is_ready = |other: &usize| match &self.states[*other] {
            ProgramState::Running(running) => running.is_ready,
            ProgramState::Ended { was_ready } => *was_ready,
            ProgramState::Waiting | ProgramState::Skipped => false,
        };
        let has_ended = |other: &usize| matches!(self.states[*other], ProgramState::Ended { .. });
        plan.wait_for.iter().all(is_ready) && plan.after.iter().all(has_ended)
    }

    fn can_never_start(&self, plan: &Program) -> bool {
        let skipped = |other: &usize| matches!(self.states[*other], ProgramState::Skipped);
        let never_ready =
            |other: &usize| matches!(self.states[*other], ProgramState::Ended { was_ready: false });
        plan.wait_for.iter().any(|other| skipped(other) || never_ready(other))
            || plan.after.iter().any(skipped)
    }

    fn start(&mut self, program: usize, plan: &Program) -> Result<(), LabError> {
        let mut command = self.network.command(plan)?;
        command.stdin(Stdio::null());
        (self.prepare)(plan, &mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let operation = || format!("watch '{}'", plan.name);
        self.read_lines(program, OutputStream::Stdout, child.stdout.take()).context(operation)?;
        self.read_lines(program, OutputStream::Stderr, child.stderr.take()).context(operation)?;
        let (sender, wait) = (self.sender.clone(), child.waiter());
        let wait = move || drop(sender.send(WatcherMessage::Exited { program, status: wait() }));
        thread::Builder::new().spawn(wait).context(operation)?;
        let running =
            RunningProgram { child, is_ready: false, was_asked_to_end: false, status: None, open_pipes: 2 };
        self.states[program] = ProgramState::Running(running);
        self.events.push_back(ProgramEvent::Started { program });
        if plan.ready == ReadyWhen::Started {
            self.set_ready(program);
        }
        Ok(())
    }

    /// Starts a thread that reads the lines of a pipe.
    fn read_lines(
        &self,
        program: usize,
        stream: OutputStream,
        pipe: Option<impl Read + Send + 'static>,
    ) -> std::io::Result<()> {
        let sender = self.sender.clone();
        let read = move || {
            for line in pipe.into_iter().flat_map(lines) {
                let _ = sender.send(WatcherMessage::Line { program, stream, line });
            }
            let _ = sender.send(WatcherMessage::Closed { program });
        };
        thread::Builder::new().spawn(read).map(drop)
    }

    fn handle(&mut self, message: WatcherMessage) -> Result<(), LabError> {
        match message {
            WatcherMessage::Line { program, stream, line } => {
                let shows_ready = match &self.network.topology().programs()[program].ready {
                    ReadyWhen::Writes(text) => contains(&line, text.as_bytes()),
                    ReadyWhen::Started | ReadyWhen::Joined(_) => false,
                };
                self.events.push_back(ProgramEvent::Line { program, stream, line });
                if shows_ready {
                    self.set_ready(program);
                }
            }
            WatcherMessage::Closed { program } => {
                if let ProgramState::Running(running) = &mut self.states[program] {
                    running.open_pipes -= 1;
                }
                self.end_if_done(program);
            }
            WatcherMessage::Exited { program, status } => {
                let status = status?;
                if let ProgramState::Running(running) = &mut self.states[program] {
                    running.status = Some(status);
                }
                self.end_if_done(program);
            }
        }
        Ok(())
    }

    fn set_ready(&mut self, program: usize) {
        if let ProgramState::Running(running) = &mut self.states[program]
            && !running.is_ready
        {
            running.is_ready = true;
            self.events.push_back(ProgramEvent::Ready { program });
        }
    }

    /// Ends a program when its process has ended and all its output has been read.
    fn end_if_done(&mut self, program: usize) {
        let ProgramState::Running(RunningProgram {
            is_ready,
            was_asked_to_end,
            status: Some(status),
            open_pipes: 0,
            ..
        }) = self.states[program]
        else {
            return;
        };
        let plan = &self.network.topology().programs()[program];
        let was_stopped_in_background = plan.background && was_asked_to_end && !self.stopped;
        let as_expected = was_stopped_in_background || status.code() == Some(plan.expect);
        self.states[program] = ProgramState::Ended { was_ready: is_ready };
        self.events.push_back(ProgramEvent::Ended { program, status, as_expected });
    }

    fn foreground_is_done(&self) -> bool {
        let programs = self.network.topology().programs().iter().zip(&self.states);
        let mut foreground = programs.filter(|(program, _)| !program.background);
        foreground.all(|(_, state)| matches!(state, ProgramState::Ended { .. } | ProgramState::Skipped))
    }

    /// Sends a signal to the running programs that match and have not received one before.
    fn ask_to_end(&mut self, signal: i32, which: impl Fn(&Program) -> bool) -> Result<(), LabError> {
        for (program, state) in self.network.topology().programs().iter().zip(&mut self.states) {
            if let ProgramState::Running(running) = state
                && which(program)
                && !running.was_asked_to_end
            {
                running.was_asked_to_end = true;
                running.child.signal(signal)?;
                self.kill_at = Some(Instant::now() + GRACE_PERIOD);
            }
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = &RunningProgram> {
        self.states.iter().filter_map(|state| match state {
            ProgramState::Running(running) => Some(running),
            _ => None,
        })
    }

    /// Returns how long to wait for a message at most.
    fn max_wait(&self, now: Instant) -> Duration {
        let due = self.deadline.into_iter().chain(self.kill_at).min();
        let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(now));
        if self.running().all(|running| running.is_ready) { left } else { left.min(MEMBERSHIP_POLL_INTERVAL) }
    }
}

impl fmt::Debug for ProgramRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramRun").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// Returns the end of a time limit, or `None` if the clock cannot represent it.
fn deadline_after(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

fn lines(pipe: impl Read) -> impl Iterator<Item = Vec<u8>> {
    let mut pipe = BufReader::new(pipe);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = pipe.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let line = read.is_ok_and(|length| length > 0).then_some(line);
        line.map(|mut line| {
            line.pop_if(|last| *last == b'\n');
            line
        })
    })
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|window| window == text)
}
