//! `mcast groups --watch`: reports joins and leaves.

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::SystemTime;

use anyhow::Context;
use mcast::joined::{Holder, Holding, MembershipChange, Memberships, Watcher};
use mcast_terminal::{Console, Output};

use super::output::{MembershipEventRecord, other_holder, processes, remarks, sources, table};
use super::{Plan, print_notes};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{Palette, clock_time, write_json};

/// An event that ends a wait.
enum Event {
    Begun(Memberships),
    Changes(Vec<MembershipChange>),
    Failed(mcast::Error),
    Interrupted,
}

pub(super) fn run(plan: Plan, console: &Console) -> anyhow::Result<Outcome> {
    let (event_sender, events) = mpsc::channel();
    let interrupted = event_sender.clone();
    let interrupt = Interrupt::catch(move || drop(interrupted.send(Event::Interrupted)))?;
    // A watcher stays on its thread, which starts in the network namespace of this one.
    let follow = move || {
        if let Err(error) = watch(&event_sender) {
            drop(event_sender.send(Event::Failed(error)));
        }
    };
    std::thread::Builder::new().name("watch".into()).spawn(follow).context("cannot start a thread")?;
    let mut show = ChangePrinter { plan, console, out: console.output() };
    loop {
        match events.recv() {
            Ok(Event::Begun(memberships)) => show.memberships(&memberships)?,
            Ok(Event::Changes(changes)) => show.changes(&changes)?,
            Ok(Event::Failed(error)) => return Err(error.into()),
            Ok(Event::Interrupted) | Err(mpsc::RecvError) => {
                return Ok(interrupt.outcome().unwrap_or(Outcome::Yes));
            }
        }
        show.out.flush()?;
    }
}

/// Sends changes until the receiver is dropped.
fn watch(event_sender: &mpsc::Sender<Event>) -> mcast::Result<()> {
    let mut watcher = Watcher::new()?;
    let mut has_receiver = event_sender.send(Event::Begun(watcher.known().clone())).is_ok();
    while has_receiver {
        let Some(changes) = watcher.wait(None)? else { break };
        has_receiver = event_sender.send(Event::Changes(changes)).is_ok();
    }
    Ok(())
}

/// Prints the changes.
struct ChangePrinter<'a> {
    plan: Plan,
    console: &'a Console,
    out: Output,
}

impl ChangePrinter<'_> {
    fn memberships(&mut self, memberships: &Memberships) -> io::Result<()> {
        let holdings: Vec<_> = self.plan.select(memberships).collect();
        if self.plan.json {
            let now = SystemTime::now();
            for holding in &holdings {
                write_json(&mut self.out, &MembershipEventRecord::new(now, "present", holding))?;
            }
        } else if !holdings.is_empty() {
            table(&holdings, self.console).write(&mut self.out)?;
            writeln!(self.out)?;
        }
        self.out.flush()?;
        print_notes(memberships, &self.plan, self.console);
        Ok(())
    }

    fn changes(&mut self, changes: &[MembershipChange]) -> io::Result<()> {
        let now = SystemTime::now();
        for change in changes {
            let (event, holding) = match change {
                MembershipChange::Joined(holding) => ("joined", holding),
                MembershipChange::Left(holding) => ("left", holding),
                MembershipChange::Changed { now, .. } => ("changed", now),
                _ => continue,
            };
            if !self.plan.admits(holding) {
                continue;
            }
            if self.plan.json {
                write_json(&mut self.out, &MembershipEventRecord::new(now, event, holding))?;
            } else {
                self.line(now, event, holding, change)?;
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        time: SystemTime,
        event: &str,
        holding: &Holding,
        change: &MembershipChange,
    ) -> io::Result<()> {
        let Palette { dim, group, interface, .. } = self.console.palette();
        let details = match change {
            MembershipChange::Changed { before, now } => differences(before, now).join(", "),
            _ => details(holding).join(", "),
        };
        writeln!(
            self.out,
            "{dim}{}{dim:#} {event:7} {group}{}{group:#} on {interface}{}{interface:#}: {}: {details}",
            clock_time(time),
            holding.group,
            holding.interface_name,
            holder(&holding.holder),
        )
    }
}

fn holder(holder: &Holder) -> String {
    match holder {
        Holder::Socket(held) => processes(&held.socket).join(" "),
        other => other_holder(other),
    }
}

fn details(holding: &Holding) -> Vec<String> {
    let mut details: Vec<_> = holding.version.map(|version| version.to_string()).into_iter().collect();
    if let Holder::Socket(held) = &holding.holder {
        details.extend(held.socket.port().map(|port| format!("port {port}")));
        details.push(format!("sources {}", sources(&held.filter).join(" ")));
        details.extend(remarks(holding, held, false));
    }
    details
}

/// Returns the differences as text.
fn differences(before: &Holding, now: &Holding) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            differences.push(format!("{what} {old} -> {new}"));
        }
    };
    let version = |holding: &Holding| holding.version.map_or_else(unknown, |version| version.to_string());
    compare("version", version(before), version(now));
    match (&before.holder, &now.holder) {
        (Holder::Socket(old), Holder::Socket(new)) => {
            compare("sources", sources(&old.filter).join(" "), sources(&new.filter).join(" "));
            compare("port", number(old.socket.port()), number(new.socket.port()));
            compare("drops", number(old.socket.drops), number(new.socket.drops));
            compare("processes", processes(&old.socket).join(" "), processes(&new.socket).join(" "));
            compare("buffer", old.socket.receive_buffer.to_string(), new.socket.receive_buffer.to_string());
            compare("remarks", remarks(before, old, true).join("; "), remarks(now, new, true).join("; "));
        }
        (old, new) => compare("held by", other_holder(old), other_holder(new)),
    }
    differences
}

fn number(number: Option<impl ToString>) -> String {
    number.map_or_else(unknown, |number| number.to_string())
}

fn unknown() -> String {
    "unknown".to_owned()
}
