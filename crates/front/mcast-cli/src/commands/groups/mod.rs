//! `mcast groups`: which processes on this machine have joined which groups, now or with each join and leave (`--watch`).

mod output;

#[cfg(feature = "schema")]
pub(super) use output::schemas;

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::SystemTime;

use anyhow::Context;
use mcast::InterfaceSelector;
use mcast::joined::{self, Holder, Holding, MembershipChange, Memberships, Visibility, Watcher};
use mcast_doctor::{Journal, SocketAction};
use mcast_terminal::{Console, Output};
use output::{
    MembershipEventRecord, MembershipRecord, SocketChangeRecord, other_holder, processes, remarks, sources,
    table,
};

use crate::arguments::Pattern;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{Palette, clock_time, count_of, write_json, write_record};
use crate::sys::{self, Capability};

/// Show which processes on this machine have joined which groups
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only these groups: an address, a range (`239.255.1.0/24`) or a name (`mdns`); exit status 1 unless
    /// all of them are joined
    #[arg(value_name = "GROUP")]
    groups: Vec<Pattern>,

    /// Only on this interface: a name, index or address; repeatable
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// Also show groups that the kernel joins automatically: all hosts, all nodes, solicited nodes
    #[arg(short, long)]
    all: bool,

    /// Print one JSON object per membership, and per change that `mcast doctor` made to a socket
    #[arg(long)]
    json: bool,

    /// Keep running and report joins and leaves
    #[arg(long)]
    watch: bool,
}

const EXAMPLES: &str = "\
Other users' processes can only be examined as root (CAP_SYS_PTRACE). Memberships whose process could
not be determined are counted.

Examples:
  mcast groups                        all processes, groups and interfaces
  mcast groups mdns                   which processes use multicast DNS
  mcast groups 239.0.0.0/8 -i 127.0.0.1   groups of this range on the loopback interface
  mcast groups --json -a              everything, for programs
  mcast groups --watch                report who joins and leaves, until Ctrl-C";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = GroupsPlan::new(arguments)?;
    sys::keep_rights(&sys::INSPECT_PROCESSES)?;
    if arguments.watch {
        return watch_changes(plan, console);
    }
    let memberships = joined::memberships()?;
    let holdings: Vec<_> = plan.select(&memberships).collect();
    let mut out = console.output();
    if plan.json {
        holdings
            .iter()
            .try_for_each(|holding| write_record(&mut out, "present", &MembershipRecord::new(holding)))?;
    } else if !holdings.is_empty() {
        output::table(&holdings, console).write(&mut out)?;
    }
    let entries = Journal::socket_changes();
    for (entry, action) in entries.iter().flat_map(|entry| entry.sockets().map(move |one| (entry, one))) {
        if plan.json {
            write_record(&mut out, "borrowed", &SocketChangeRecord::new(action, entry))?;
        } else {
            let SocketAction { pid, socket, change } = action;
            let (by, time) = (&entry.by, &entry.time);
            console.note(format_args!("borrowed: `{change}` at socket {socket} of process {pid}, by {by} at {time} (`mcast doctor --undo`)"));
        }
    }
    out.flush()?;
    print_notes(&memberships, &plan, console);
    Ok(Outcome::of(plan.all_are_joined(&holdings)))
}

/// Which memberships to show, and how.
struct GroupsPlan {
    groups: Vec<Pattern>,
    /// The names of the interfaces; empty means all.
    interfaces: Vec<String>,
    all: bool,
    json: bool,
}

impl GroupsPlan {
    fn new(arguments: &Arguments) -> mcast::Result<Self> {
        let name = |selector| mcast::interface::find(selector).map(|interface| interface.name);
        let interfaces = arguments.interfaces.iter().map(name).collect::<mcast::Result<_>>()?;
        let Arguments { all, json, .. } = *arguments;
        Ok(Self { groups: arguments.groups.clone(), interfaces, all, json })
    }

    fn select<'a>(&self, memberships: &'a Memberships) -> impl Iterator<Item = &'a Holding> {
        memberships.holdings.iter().filter(|holding| self.admits(holding))
    }

    fn admits(&self, holding: &Holding) -> bool {
        self.matches(holding) && (self.shows_kernel() || holding.holder != Holder::Kernel)
    }

    /// Returns whether the group and the interface are selected.
    fn matches(&self, holding: &Holding) -> bool {
        let of_groups = || self.groups.iter().any(|pattern| pattern.contains(holding.group));
        (self.groups.is_empty() || of_groups())
            && (self.interfaces.is_empty() || self.interfaces.contains(&holding.interface_name))
    }

    /// Returns whether memberships of the kernel are shown. They are if groups are named.
    fn shows_kernel(&self) -> bool {
        self.all || !self.groups.is_empty()
    }

    fn all_are_joined(&self, holdings: &[&Holding]) -> bool {
        let is_joined = |pattern: &Pattern| holdings.iter().any(|holding| pattern.contains(holding.group));
        self.groups.iter().all(is_joined)
    }
}

/// Notes which memberships are hidden, and which could not be examined.
fn print_notes(memberships: &Memberships, plan: &GroupsPlan, console: &Console) {
    let shown: Vec<_> = plan.select(memberships).collect();
    for pattern in &plan.groups {
        if !shown.iter().any(|holding| pattern.contains(holding.group)) {
            console.note(format_args!("{pattern} is not joined"));
        }
    }
    if shown.is_empty() && plan.groups.is_empty() {
        console.note("no process has joined a group");
    }
    let selected = memberships.holdings.iter().filter(|holding| plan.matches(holding));
    let hidden = selected.count() - shown.len();
    if hidden > 0 {
        let memberships = count_of(hidden as u64, "membership");
        console.note(format_args!("{memberships} of the kernel itself not shown (`-a` shows them)"));
    }
    note_unseen(&shown, &memberships.visibility, console);
}

fn note_unseen(shown: &[&Holding], visibility: &Visibility, console: &Console) {
    let sockets = shown.iter().map(|holding| match holding.holder {
        Holder::Unseen { sockets } => u64::from(sockets.unwrap_or(1)),
        _ => 0,
    });
    let unseen: u64 = sockets.sum();
    if unseen == 0 {
        return;
    }
    let unseen = count_of(unseen, "membership");
    match visibility {
        Visibility::Partial { closed } => {
            let processes = match closed.len() {
                1 => "1 process".to_owned(),
                number => format!("{number} processes"),
            };
            if sys::holds_capability(Capability::SysPtrace) {
                console.note(format_args!(
                    "{unseen} without a process listed here: held by the kernel (for a tunnel, for example), by a process in \
                     another container, or by one that not even this user may examine ({processes})"
                ));
            } else {
                console.warn(format_args!(
                    "cannot determine the process of {unseen}: this user may not examine {processes}"
                ));
                console.help("run as root, or with the capability CAP_SYS_PTRACE");
            }
            let ids: Vec<_> = closed.iter().map(ToString::to_string).collect();
            console.detail(format_args!("not examined: {}", ids.join(" ")));
        }
        Visibility::NoProcesses { why } => {
            console.warn(format_args!("cannot determine the process of {unseen}: {why}"));
        }
        _ => console.note(format_args!(
            "{unseen} without a process listed here: held by the kernel (for a tunnel, for example) or by a \
             process in another container"
        )),
    }
}

/// An event that ends a wait.
enum Event {
    Begun(Memberships),
    Changes(Vec<MembershipChange>),
    Failed(mcast::Error),
    Interrupted,
}

fn watch_changes(plan: GroupsPlan, console: &Console) -> anyhow::Result<Outcome> {
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
    plan: GroupsPlan,
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
