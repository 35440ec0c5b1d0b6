//! Somebody's program, started to be examined.

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
    is_ended: bool,
}

impl Program {
    pub(super) fn start(program: &OsStr, arguments: &[OsString]) -> anyhow::Result<Self> {
        let name = program.to_string_lossy().into_owned();
        // Standard output is for what is found.
        let mut command = Command::new(program);
        command.args(arguments).stdout(std::io::stderr()).stdin(Stdio::null());
        // So that what it starts can be ended with it.
        sys::lead_group(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, is_ended: false })
    }

    /// Waits until it has opened its sockets and joined what it joins.
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
                _ => thread::sleep(LOOK),
            }
        }
    }

    /// The groups that it has joined, and where.
    fn joins(&self) -> mcast::Result<Vec<(Group, InterfaceIndex)>> {
        let family = process_family(self.child.id());
        let is_held = |holding: &Holding| match &holding.holder {
            Holder::Socket(holder) => {
                holder.socket.processes.iter().any(|process| family.contains(&process.pid))
            }
            _ => false,
        };
        let holdings = joined::memberships()?.holdings.into_iter().filter(is_held);
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

    /// Ends it and everything that it has started: asks first, then kills. It is waited for last, as its id
    /// stands for the group until then.
    fn end(&mut self) {
        let mut family = process_family(self.child.id());
        self.signal(&family, false);
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            // What has left the group and lost its parent is still known from before.
            family = family.into_iter().chain([self.child.id()]).flat_map(process_family).collect();
            if family.is_empty() && sys::has_ended(&mut self.child).unwrap_or(true) {
                break;
            }
            thread::sleep(LOOK);
        }
        self.signal(&family, true);
        // Where waiting fails, nothing is left to wait for.
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

/// It ends with us.
impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end();
        }
    }
}
