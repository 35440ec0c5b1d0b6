//! A program that is started to be examined.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcast::joined::{self, Holder, Holding};
use mcast::{Group, InterfaceIndex};
use mcast_sys::process;
use mcast_sys::terminal::PseudoTerminal;

use crate::examine::{examine_started, explain_failure};
use crate::gather::{processes, program};
use crate::observation::Program;
use crate::outcome::{Outcome, ProgramOutput};
use crate::{Error, Options, ProgramSelector, ProgressCallback, Report, Result};

/// How long to wait until the program opens a UDP socket.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the program to end before it is killed.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// How long the joined groups must stay the same before they count as complete.
const STABLE_TIME: Duration = Duration::from_secs(1);
/// The time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A program that runs while it is examined. What it prints is searched for errors of sockets, and passed on to standard
/// error, because standard output is that of the examination. If standard error is a terminal, the program prints to a
/// pseudoterminal, so that it prints the same as without the doctor. Dropping it ends the program and all processes that
/// the program has started: they are asked first, then killed. On systems other than Unix, only the program itself is
/// killed.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use std::process::Command;
///
/// use mcast_doctor::{Options, StartedProgram};
///
/// let mut command = Command::new("player");
/// let mut program = StartedProgram::start(command.arg("udp://@239.255.2.3:5000"))?;
/// let report = match program.wait_until_joined(|| false) {
///     Ok(()) => program.examine(&Options::default(), &mut |_| ControlFlow::Continue(()))?,
///     Err(error) => program.explain(error)?,
/// };
/// # Ok::<(), mcast_doctor::Error>(())
/// ```
#[derive(Debug)]
pub struct StartedProgram {
    name: String,
    arguments: Vec<String>,
    child: Child,
    output: ProgramOutput,
    /// What its environment contains, and that of the processes that it starts.
    mark: String,
    /// Whether it runs on when this value is dropped.
    is_independent: bool,
    is_ended: bool,
    /// The sockets and their groups at the last examination.
    examined: Vec<Join>,
}

/// A group that a socket has joined: its inode, the group, and the interface.
type Join = (u64, Group, InterfaceIndex);

impl StartedProgram {
    /// Starts a program in a process group of its own, and with a mark in its environment, so that the processes that it
    /// starts end with it.
    ///
    /// # Errors
    /// [`Error::Start`] if the system cannot start it.
    pub fn start(command: &mut Command) -> Result<Self> {
        process::lead_group(command);
        Self::start_by(command, spawn, false)
    }

    /// Starts a program that runs as if it had been started without the doctor: with the standard input, output and error
    /// of this process, in its process group, and until it ends, whatever happens to this process. What it prints is not
    /// searched for errors.
    ///
    /// # Errors
    /// [`Error::Start`] if the system cannot start it.
    pub fn start_independent(command: &mut Command) -> Result<Self> {
        let attached = |command: &mut Command| Ok((command.spawn()?, ProgramOutput::default()));
        Self::start_by(command, attached, true)
    }

    fn start_by(
        command: &mut Command,
        spawn: impl Fn(&mut Command) -> io::Result<(Child, ProgramOutput)>,
        is_independent: bool,
    ) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let mark = mark();
        command.env(processes::MARK, &mark);
        match spawn(command) {
            Ok((child, output)) => Ok(Self {
                name,
                arguments,
                child,
                output,
                mark,
                is_independent,
                is_ended: false,
                examined: Vec::new(),
            }),
            Err(source) => Err(Error::Start { program: name, source }),
        }
    }

    /// Returns its name, as it was started.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it was [started independently](Self::start_independent).
    #[must_use]
    pub const fn is_independent(&self) -> bool {
        self.is_independent
    }

    /// Returns how the program ended; `None` while it, or a process that it has started, runs.
    ///
    /// # Errors
    /// [`Error::System`] if the system does not report it.
    pub fn end_status(&mut self) -> Result<Option<ExitStatus>> {
        // A process that ends while the others are listed may have started one that is not in the list.
        Ok(self.exit_status()?.filter(|_| (0..2).all(|_| self.processes().is_empty())))
    }

    /// Returns whether its sockets have joined other groups than at the last examination.
    ///
    /// # Errors
    /// [`Error::System`] if the system does not report it.
    pub fn has_changed(&self) -> Result<bool> {
        Ok(joins(&self.processes())? != self.examined)
    }

    /// Waits until the program has opened a UDP socket, at most 10 s, and until the groups that it has joined have
    /// stayed the same for 1 s. Waiting for a socket stops when `is_cancelled` returns `true`.
    ///
    /// # Errors
    /// [`Error::Ended`] if the program has ended, [`Error::NoSocket`] if it has no socket in time, and errors of
    /// [`examine_program`](crate::examine_program).
    pub fn wait_until_joined(&mut self, is_cancelled: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let mut complete_at = None;
        let mut joined = Vec::new();
        loop {
            let processes = self.processes();
            if processes.is_empty() && self.end_status()?.is_some() {
                return Err(self.ended());
            }
            let now = Instant::now();
            if program::has_sockets(self.child.id(), &processes)? {
                let joins = joins(&processes)?;
                // A program joins one group after the other, and does not report the last one.
                if complete_at.is_none() || joins != joined {
                    joined = joins;
                    complete_at = Some(now + STABLE_TIME);
                }
            }
            match complete_at {
                Some(time) if now >= time => return Ok(()),
                None if now >= deadline || is_cancelled() => return Err(Error::NoSocket(self.name.clone())),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Examines the program and the processes that it has started.
    ///
    /// # Errors
    /// Those of [`examine_program`](crate::examine_program).
    pub fn examine(&mut self, options: &Options, report_progress: ProgressCallback<'_>) -> Result<Report> {
        let selector = self.selector();
        self.examined = joins(&self.processes())?;
        let complete = |program: &mut Program| {
            program.printed = self.output.errors();
            program.arguments.clone_from(&self.arguments);
            // What it has left running may still receive.
            program.ended = self.end_status()?;
            Ok(())
        };
        examine_started(selector, options, report_progress, complete)
    }

    /// Returns how the program itself ended; `None` if it runs.
    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let status = process::exit_status(&mut self.child);
        status.map_err(|source| Error::System { what: "the state of the program".into(), source })
    }

    /// Ends the program after [`Self::wait_until_joined`] has failed, and explains the error by what the program has printed.
    ///
    /// # Errors
    /// Returns `error` if that does not explain it.
    pub fn explain(&mut self, error: Error) -> Result<Report> {
        if self.is_independent || !matches!(error, Error::Ended { .. } | Error::NoSocket(_)) {
            return Err(error);
        }
        self.end();
        let program = Program {
            name: self.name.clone(),
            printed: self.output.errors(),
            arguments: self.arguments.clone(),
            ..Program::default()
        };
        let report = explain_failure(program)?;
        if report.findings.is_empty() { Err(error) } else { Ok(report) }
    }

    /// Selects the program, or another process with its mark if it has ended: programs that run in the background end their
    /// first process.
    #[must_use]
    pub fn selector(&self) -> ProgramSelector {
        let own = self.child.id();
        let processes = self.processes();
        let is_running = processes.is_empty() || processes.contains(&own);
        ProgramSelector::Process(if is_running { own } else { processes.first().copied().unwrap_or(own) })
    }

    /// Returns the running processes among the program and those that it has started.
    fn processes(&self) -> Vec<u32> {
        let own = processes::family(self.child.id());
        let marked = processes::marked(&self.mark);
        let all: BTreeSet<_> = marked.into_iter().flat_map(processes::family).chain(own).collect();
        all.into_iter().collect()
    }

    fn ended(&mut self) -> Error {
        let status = match self.exit_status() {
            Ok(status) => status.map_or_else(String::new, |status| Outcome(status).to_string()),
            Err(error) => error.to_string(),
        };
        if !self.is_independent {
            self.end();
        }
        Error::Ended { program: self.name.clone(), status }
    }

    /// Ends the program and all processes that it has started. The program is reaped last, because its id identifies
    /// the group until then.
    fn end(&mut self) {
        if self.is_ended {
            return;
        }
        let mut family = self.processes();
        self.signal(&family, false);
        let deadline = Instant::now() + GRACE_PERIOD;
        while Instant::now() < deadline {
            // Processes that have left the group and lost their parent are known from before.
            family = family.into_iter().flat_map(processes::family).chain(self.processes()).collect();
            if family.is_empty() && !matches!(self.end_status(), Ok(None)) {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.signal(&family, true);
        // If waiting fails, there is no process to wait for.
        let _ = self.child.wait();
        self.output.finish();
        self.is_ended = true;
    }

    fn signal(&mut self, family: &[u32], force: bool) {
        process::end_group(&mut self.child, force);
        process::end_all(family, force);
    }
}

/// Ends the program, unless it is independent.
impl Drop for StartedProgram {
    fn drop(&mut self) {
        if !self.is_independent {
            self.end();
        }
    }
}

/// Starts a program whose output is passed on.
fn spawn(command: &mut Command) -> io::Result<(Child, ProgramOutput)> {
    let terminal = io::stderr().is_terminal().then(PseudoTerminal::open);
    let (stdout, reader) = match terminal {
        Some(Ok(PseudoTerminal { program, reader })) => (Stdio::from(program), Some(reader)),
        // Without a pseudoterminal, the program sees a pipe.
        Some(Err(_)) | None => (Stdio::piped(), None),
    };
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
    // Otherwise this process would keep the pseudoterminal open.
    command.stdout(Stdio::null());
    let mut child = child?;
    let mut output = ProgramOutput::default();
    let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    output.pass_on(stderr, io::stderr())?;
    match (reader, child.stdout.take()) {
        (Some(reader), _) => output.pass_on(reader, io::stderr())?,
        (None, Some(stdout)) => output.pass_on(stdout, io::stderr())?,
        (None, None) => return Err(io::ErrorKind::BrokenPipe.into()),
    }
    Ok((child, output))
}

/// Returns a mark that no other program has.
fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Returns the groups that processes have joined.
fn joins(processes: &[u32]) -> Result<Vec<Join>> {
    let own = |holding: Holding| match &holding.holder {
        Holder::Socket(holder) => {
            let socket = &holder.socket;
            let is_own = socket.processes.iter().any(|process| processes.contains(&process.pid));
            is_own.then_some((socket.inode, holding.group, holding.interface))
        }
        _ => None,
    };
    Ok(joined::memberships()?.holdings.into_iter().filter_map(own).collect())
}
