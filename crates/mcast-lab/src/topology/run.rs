//! Running the programs of a topology, each when its turn has come.

use std::{
    collections::VecDeque,
    fmt,
    io::{BufRead, BufReader, Read},
    process::{ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{Network, Program, Ready, joined};
use crate::{Child, Command, LabError, error::Doing};

/// How long programs have to end when asked to, before they are killed.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether a group has been joined.
const LOOK: Duration = Duration::from_millis(5);
/// A line is cut here; programs that write no newline at all must not fill the memory.
const LONGEST_LINE: u64 = 64 * 1024;

/// The programs of a [`Network`] while they run. Whatever still runs is killed when the network is dropped.
///
/// It does its work inside [`next`](Self::next), which must be called until [`is_over`](Self::is_over).
pub struct Run<'a> {
    network: &'a Network,
    prepare: Prepare<'a>,
    states: Vec<State>,
    events: VecDeque<Event>,
    tell: mpsc::Sender<News>,
    hear: mpsc::Receiver<News>,
    deadline: Option<Instant>,
    /// When the programs that still run are killed, because they have been asked to end.
    kill_at: Option<Instant>,
    stopped: bool,
}

/// Changes a command before it starts.
type Prepare<'a> = Box<dyn FnMut(&Program, &mut Command) + 'a>;

/// What happens while the programs of a topology run. Programs are told by their place in
/// [`Topology::programs`](super::Topology::programs).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A program has started.
    Started {
        /// Which.
        program: usize,
    },
    /// A program is ready, so that those that wait for it may start.
    Ready {
        /// Which.
        program: usize,
    },
    /// A program has written a line.
    Line {
        /// Which.
        program: usize,
        /// Where to.
        stream: Stream,
        /// The line, without the newline. A longer one than 64 KiB comes in pieces.
        line: Vec<u8>,
    },
    /// A program has ended; all its lines have been told before.
    Ended {
        /// Which.
        program: usize,
        /// How.
        status: ExitStatus,
        /// Whether it ended as the topology expects, or was stopped when its time in the background was over.
        as_expected: bool,
    },
    /// A program was never started, because one that it waits for ended without having been ready, or everything
    /// was stopped before.
    Skipped {
        /// Which.
        program: usize,
    },
    /// The time limit of the topology is over; everything is being stopped.
    TimeLimit,
}

/// An output of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What the threads that watch a program tell.
enum News {
    Line { program: usize, stream: Stream, line: Vec<u8> },
    Closed { program: usize },
    Exited { program: usize, status: Result<ExitStatus, LabError> },
}

enum State {
    Waiting,
    Running(Running),
    Ended { was_ready: bool },
    Skipped,
}

struct Running {
    child: Child,
    is_ready: bool,
    was_asked_to_end: bool,
    status: Option<ExitStatus>,
    open_pipes: u8,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        network: &'a Network,
        prepare: impl FnMut(&Program, &mut Command) + 'a,
        time_limit: Option<Duration>,
    ) -> Self {
        let (tell, hear) = mpsc::channel();
        Self {
            network,
            prepare: Box::new(prepare),
            states: network.topology().programs().iter().map(|_| State::Waiting).collect(),
            events: VecDeque::new(),
            tell,
            hear,
            deadline: time_limit.map(|limit| Instant::now() + limit),
            kill_at: None,
            stopped: false,
        }
    }

    /// The next event; `None` when nothing happens for so long, or all is over.
    ///
    /// # Errors
    ///
    /// A program that cannot be started, and the system's errors.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Event>, LabError> {
        let until = Instant::now() + patience;
        loop {
            self.advance()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let now = Instant::now();
            if self.is_over() || now >= until {
                return Ok(None);
            }
            if let Ok(news) = self.hear.recv_timeout((until - now).min(self.longest_wait(now))) {
                self.take(news)?;
            }
        }
    }

    /// Whether every program has ended or been skipped, and that has been told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let done = |state: &State| matches!(state, State::Ended { .. } | State::Skipped);
        self.events.is_empty() && self.states.iter().all(done)
    }

    /// Starts nothing more, and asks all that run to end, by a signal such as `SIGINT`; two seconds later they are
    /// killed.
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
            self.events.push_back(Event::TimeLimit);
            self.stop(libc::SIGINT)?;
        }
        (0..self.states.len()).try_for_each(|program| self.look_at(program))?;
        if self.foreground_is_done() {
            self.ask_to_end(libc::SIGINT, |program| program.background)?;
        }
        if self.kill_at.is_some_and(|kill_at| kill_at <= Instant::now()) {
            self.kill_at = None;
            self.running().try_for_each(|running| running.child.kill())?;
        }
        Ok(())
    }

    /// Starts a program whose turn has come, or notices that it is ready.
    fn look_at(&mut self, program: usize) -> Result<(), LabError> {
        let plan = &self.network.topology().programs()[program];
        match &self.states[program] {
            State::Waiting if self.stopped || self.waits_in_vain(plan) => {
                self.states[program] = State::Skipped;
                self.events.push_back(Event::Skipped { program });
            }
            State::Waiting if self.may_start(plan) => self.start(program, plan)?,
            State::Running(running) if !running.is_ready => {
                if let Ready::Joined(group) = plan.ready
                    && joined::has_joined(self.network, &plan.host, group)?
                {
                    self.make_ready(program);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn may_start(&self, plan: &Program) -> bool {
        let is_ready = |other: &usize| match &self.states[*other] {
            State::Running(running) => running.is_ready,
            State::Ended { was_ready } => *was_ready,
            State::Waiting | State::Skipped => false,
        };
        let has_ended = |other: &usize| matches!(self.states[*other], State::Ended { .. });
        plan.wait_for.iter().all(is_ready) && plan.after.iter().all(has_ended)
    }

    fn waits_in_vain(&self, plan: &Program) -> bool {
        let skipped = |other: &usize| matches!(self.states[*other], State::Skipped);
        let never_ready = |other: &usize| matches!(self.states[*other], State::Ended { was_ready: false });
        plan.wait_for.iter().any(|other| skipped(other) || never_ready(other))
            || plan.after.iter().any(skipped)
    }

    fn start(&mut self, program: usize, plan: &Program) -> Result<(), LabError> {
        let mut command = self.network.command(plan)?;
        command.stdin(Stdio::null());
        (self.prepare)(plan, &mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let watching = || format!("watch '{}'", plan.name);
        self.read(program, Stream::Output, child.stdout.take()).doing(watching)?;
        self.read(program, Stream::Error, child.stderr.take()).doing(watching)?;
        let (tell, wait) = (self.tell.clone(), child.waiter());
        let waiting = move || drop(tell.send(News::Exited { program, status: wait() }));
        thread::Builder::new().spawn(waiting).doing(watching)?;
        let running =
            Running { child, is_ready: false, was_asked_to_end: false, status: None, open_pipes: 2 };
        self.states[program] = State::Running(running);
        self.events.push_back(Event::Started { program });
        if plan.ready == Ready::Started {
            self.make_ready(program);
        }
        Ok(())
    }

    fn read(
        &self,
        program: usize,
        stream: Stream,
        pipe: Option<impl Read + Send + 'static>,
    ) -> std::io::Result<()> {
        let tell = self.tell.clone();
        let reading = move || {
            for line in pipe.into_iter().flat_map(lines) {
                let _ = tell.send(News::Line { program, stream, line });
            }
            let _ = tell.send(News::Closed { program });
        };
        thread::Builder::new().spawn(reading).map(drop)
    }

    fn take(&mut self, news: News) -> Result<(), LabError> {
        match news {
            News::Line { program, stream, line } => {
                let awaited = match &self.network.topology().programs()[program].ready {
                    Ready::Writes(text) => contains(&line, text.as_bytes()),
                    Ready::Started | Ready::Joined(_) => false,
                };
                self.events.push_back(Event::Line { program, stream, line });
                if awaited {
                    self.make_ready(program);
                }
            }
            News::Closed { program } => {
                if let State::Running(running) = &mut self.states[program] {
                    running.open_pipes -= 1;
                }
                self.end_if_done(program);
            }
            News::Exited { program, status } => {
                let status = status?;
                if let State::Running(running) = &mut self.states[program] {
                    running.status = Some(status);
                }
                self.end_if_done(program);
            }
        }
        Ok(())
    }

    fn make_ready(&mut self, program: usize) {
        if let State::Running(running) = &mut self.states[program]
            && !running.is_ready
        {
            running.is_ready = true;
            self.events.push_back(Event::Ready { program });
        }
    }

    /// A program has ended when its process has and all that it wrote has been read.
    fn end_if_done(&mut self, program: usize) {
        let State::Running(Running {
            is_ready, was_asked_to_end, status: Some(status), open_pipes: 0, ..
        }) = self.states[program]
        else {
            return;
        };
        let plan = &self.network.topology().programs()[program];
        let over = plan.background && was_asked_to_end && !self.stopped;
        let as_expected = over || status.code() == Some(plan.expect);
        self.states[program] = State::Ended { was_ready: is_ready };
        self.events.push_back(Event::Ended { program, status, as_expected });
    }

    fn foreground_is_done(&self) -> bool {
        let programs = self.network.topology().programs().iter().zip(&self.states);
        let mut foreground = programs.filter(|(program, _)| !program.background);
        foreground.all(|(_, state)| matches!(state, State::Ended { .. } | State::Skipped))
    }

    /// Sends a signal to those that run and have not been asked before.
    fn ask_to_end(&mut self, signal: i32, which: impl Fn(&Program) -> bool) -> Result<(), LabError> {
        for (program, state) in self.network.topology().programs().iter().zip(&mut self.states) {
            if let State::Running(running) = state
                && which(program)
                && !running.was_asked_to_end
            {
                running.was_asked_to_end = true;
                running.child.signal(signal)?;
                self.kill_at = Some(Instant::now() + GRACE);
            }
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.states.iter().filter_map(|state| match state {
            State::Running(running) => Some(running),
            _ => None,
        })
    }

    /// How long nothing can happen but news.
    fn longest_wait(&self, now: Instant) -> Duration {
        let due = self.deadline.into_iter().chain(self.kill_at).min();
        let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(now));
        if self.running().all(|running| running.is_ready) { left } else { left.min(LOOK) }
    }
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

fn lines(pipe: impl Read) -> impl Iterator<Item = Vec<u8>> {
    let mut pipe = BufReader::new(pipe);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = pipe.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
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
