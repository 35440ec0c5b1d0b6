//! A program that is started to be examined.

use std::ops::ControlFlow;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use mcast::joined::{self, Holder, Holding};
use mcast::{Group, InterfaceIndex};
use mcast_sys::process;

use crate::gather::processes;
use crate::{Error, Options, ProgramSelector, Result, examine_program};

/// How long to wait until the program opens a UDP socket.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the program to end before it is killed.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// How long the joined groups must stay the same before they count as complete.
const SETTLING: Duration = Duration::from_secs(1);
/// The time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A program that runs while it is examined. Dropping it ends the program and all processes that the program has
/// started: they are asked first, then killed. On systems other than Unix, only the program itself is killed.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use std::process::Command;
///
/// use mcast_doctor::{Options, StartedProgram, examine_program};
///
/// let mut command = Command::new("player");
/// let mut program = StartedProgram::start(command.arg("udp://@239.1.2.3:5000"))?;
/// let target = program.wait_until_joined(|| false)?;
/// let report = examine_program(target, &Options::default(), &mut |_| ControlFlow::Continue(()))?;
/// # Ok::<(), mcast_doctor::Error>(())
/// ```
#[derive(Debug)]
pub struct StartedProgram {
    name: String,
    child: Child,
    is_ended: bool,
}

impl StartedProgram {
    /// Starts a program in a process group of its own, so that the processes that it starts end with it.
    ///
    /// # Errors
    /// [`Error::Start`] if the system cannot start it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        process::lead_group(command);
        match command.spawn() {
            Ok(child) => Ok(Self { name, child, is_ended: false }),
            Err(source) => Err(Error::Start { program: name, source }),
        }
    }

    /// Waits until the program has opened a UDP socket, at most 10 s, and until the groups that it has joined have
    /// stayed the same for 1 s. Waiting for a socket stops when `is_cancelled` returns `true`.
    ///
    /// # Errors
    /// [`Error::Ended`] if the program has ended, [`Error::NoSocket`] if it has no socket in time, and errors of
    /// [`examine_program`].
    pub fn wait_until_joined(&mut self, is_cancelled: impl Fn() -> bool) -> Result<ProgramSelector> {
        let target = ProgramSelector::Process(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        let mut settled = None;
        let mut joined = Vec::new();
        loop {
            let ended = process::has_ended(&mut self.child);
            if ended.map_err(|source| Error::System { what: "the state of the program".into(), source })? {
                return Err(self.ended());
            }
            let now = Instant::now();
            if has_sockets(target)? {
                let joins = self.joins()?;
                if settled.is_none() || joins != joined {
                    joined = joins;
                    settled = Some(now + SETTLING);
                }
            }
            match settled {
                Some(time) if now >= time => return Ok(target),
                None if now >= deadline || is_cancelled() => return Err(Error::NoSocket(self.name.clone())),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Returns the groups that the program has joined, and the interfaces.
    fn joins(&self) -> Result<Vec<(Group, InterfaceIndex)>> {
        let family = processes::family(self.child.id());
        let is_own = |holding: &Holding| match &holding.holder {
            Holder::Socket(holder) => {
                holder.socket.processes.iter().any(|process| family.contains(&process.pid))
            }
            _ => false,
        };
        let holdings = joined::memberships()?.holdings.into_iter().filter(is_own);
        Ok(holdings.map(|holding| (holding.group, holding.interface)).collect())
    }

    fn ended(&mut self) -> Error {
        self.end();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Error::Ended { program: self.name.clone(), status }
    }

    /// Ends the program and all processes that it has started. The program is reaped last, because its id identifies
    /// the group until then.
    fn end(&mut self) {
        let mut family = processes::family(self.child.id());
        self.signal(&family, false);
        let deadline = Instant::now() + GRACE_PERIOD;
        while Instant::now() < deadline {
            // Processes that have left the group and lost their parent are known from before.
            family = family.into_iter().chain([self.child.id()]).flat_map(processes::family).collect();
            if family.is_empty() && process::has_ended(&mut self.child).unwrap_or(true) {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.signal(&family, true);
        // If waiting fails, there is no process to wait for.
        let _ = self.child.wait();
        self.is_ended = true;
    }

    fn signal(&mut self, family: &[u32], force: bool) {
        process::end_group(&mut self.child, force);
        process::end_all(family, force);
    }
}

/// Ends the program.
impl Drop for StartedProgram {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end();
        }
    }
}

fn has_sockets(target: ProgramSelector) -> Result<bool> {
    let glance = Options::default().listening(Duration::ZERO);
    match examine_program(target, &glance, &mut |_| ControlFlow::Break(())) {
        Ok(_) => Ok(true),
        Err(Error::NoProgram(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
