//! Somebody's program, started to be examined.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::joined::{self, Holder, Holding};
use mcast::{Group, InterfaceIndex};
use mcast_doctor::{Error, Options, Target, examine_program};

use super::progress::Progress;
use crate::exit::Failure;
use crate::sys;

/// How long it may take until it has opened a UDP socket.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(2);
/// It has joined what it joins when that has been the same for so long.
const SETTLING: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A program that runs as long as it is examined.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    child: Child,
}

impl Program {
    pub(super) fn start(program: &OsStr, arguments: &[OsString]) -> anyhow::Result<Self> {
        let name = program.to_string_lossy().into_owned();
        // Standard output is for what is found.
        let child =
            Command::new(program).args(arguments).stdout(std::io::stderr()).stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child })
    }

    /// Waits until it has opened its sockets and joined what it joins.
    pub(super) fn ready(&mut self, progress: &Progress<'_>) -> anyhow::Result<Target> {
        let target = Target::Process(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        let mut settled = None;
        let mut joined = Vec::new();
        loop {
            if let Some(status) = self.child.try_wait().context("cannot look after the program")? {
                return Err(self.ended(status).into());
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
                _ => thread::sleep(LOOK),
            }
        }
    }

    /// The groups that it has joined, and where.
    fn joins(&self) -> mcast::Result<Vec<(Group, InterfaceIndex)>> {
        let is_held = |holding: &Holding| match &holding.holder {
            Holder::Socket(holder) => {
                holder.socket.processes.iter().any(|process| process.pid == self.child.id())
            }
            _ => false,
        };
        let holdings = joined::memberships()?.holdings.into_iter().filter(is_held);
        Ok(holdings.map(|holding| (holding.group, holding.interface)).collect())
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        Failure::environment(format!("{} ended ({status}) before it could be examined", self.name))
            .remedy("what it printed may say why")
    }

    fn silent(&self) -> Failure {
        Failure::environment(format!("{} has opened no UDP socket", self.name))
            .remedy("if it hands its work to another process, name that one with --pid, or its --port")
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

/// It ends with us: asked first, made to then.
impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        sys::ask_to_end(&mut self.child);
        let deadline = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        // What has ended by now cannot be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
