//! A program that is started to be examined.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::joined::{self, Holder, Holding};
use mcast::{Group, InterfaceIndex};
use mcast_doctor::{Error, Options, Target, examine_program, process_family};

use super::progress::Progress;
use crate::exit::Failure;
use crate::sys;

/// How long to wait until the program opens a UDP socket.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the program to end before it is killed.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// How long the joined groups must stay the same before they count as complete.
const SETTLING: Duration = Duration::from_secs(1);
/// The time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A program that runs during the examination.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    child: Child,
    is_ended: bool,
}

impl Program {
    pub(super) fn start(program: &OsStr, arguments: &[OsString]) -> anyhow::Result<Self> {
        let name = program.to_string_lossy().into_owned();
        // Standard output is for findings.
        let mut command = Command::new(program);
        command.args(arguments).stdout(std::io::stderr()).stdin(Stdio::null());
        // In a group of its own, so that the processes that it starts end with it.
        sys::lead_group(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, is_ended: false })
    }

    /// Waits until the program has opened its sockets and joined its groups.
    pub(super) fn ready(&mut self, progress: &Progress<'_>) -> anyhow::Result<Target> {
        let target = Target::Process(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        let mut settled = None;
        let mut joined = Vec::new();
        loop {
            if sys::has_ended(&mut self.child).context("cannot supervise the program")? {
                return Err(self.ended().into());
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
                None if now >= deadline || progress.is_interrupted() => return Err(self.silent().into()),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Returns the groups that the program has joined, and the interfaces.
    fn joins(&self) -> mcast::Result<Vec<(Group, InterfaceIndex)>> {
        let family = process_family(self.child.id());
        let is_own = |holding: &Holding| match &holding.holder {
            Holder::Socket(holder) => {
                holder.socket.processes.iter().any(|process| family.contains(&process.pid))
            }
            _ => false,
        };
        let holdings = joined::memberships()?.holdings.into_iter().filter(is_own);
        Ok(holdings.map(|holding| (holding.group, holding.interface)).collect())
    }

    fn ended(&mut self) -> Failure {
        self.end();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::environment(format!("{} ended ({status}) before it could be examined", self.name))
            .remedy("its output may show why")
    }

    fn silent(&self) -> Failure {
        Failure::environment(format!(
            "{} and the processes that it started have not opened a UDP socket",
            self.name
        ))
        .remedy("if another process does the work, name it with --pid or --port")
    }

    fn signal(&mut self, family: &[u32], force: bool) {
        sys::end_group(&mut self.child, force);
        sys::end_processes(family, force);
    }

    /// Ends the program and all processes that it has started: asks first, then kills. The program is reaped last,
    /// because its id identifies the group until then.
    fn end(&mut self) {
        let mut family = process_family(self.child.id());
        self.signal(&family, false);
        let deadline = Instant::now() + GRACE_PERIOD;
        while Instant::now() < deadline {
            // Processes that have left the group and lost their parent are known from before.
            family = family.into_iter().chain([self.child.id()]).flat_map(process_family).collect();
            if family.is_empty() && sys::has_ended(&mut self.child).unwrap_or(true) {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.signal(&family, true);
        // If waiting fails, there is no process to wait for.
        let _ = self.child.wait();
        self.is_ended = true;
    }
}

fn has_sockets(target: Target) -> anyhow::Result<bool> {
    let glance = Options::default().listening(Duration::ZERO);
    match examine_program(target, &glance, &mut |_| ControlFlow::Break(())) {
        Ok(_) => Ok(true),
        Err(Error::NoProgram(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Ends the program.
impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end();
        }
    }
}
