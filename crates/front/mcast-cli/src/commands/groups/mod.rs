//! `mcast groups`: which processes on this machine have joined which groups.

mod output;
mod watch;

use std::io::Write;

use mcast::InterfaceSelector;
use mcast::joined::{self, Holder, Holding, Memberships, Visibility};
use mcast_doctor::{Journal, SocketAction};
use mcast_terminal::Console;

use crate::arguments::Pattern;
use crate::exit::Outcome;
use crate::output::{count_of, write_record};
use crate::rights;
use output::{MembershipRecord, SocketChangeRecord};

/// Show which processes on this machine have joined which groups
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only these groups: an address, a range (`239.1.2.0/24`) or a name (`mdns`); exit status 1 unless
    /// all of them are joined
    #[arg(value_name = "GROUP")]
    groups: Vec<Pattern>,

    /// Only on this interface: a name, index or address; repeatable
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// Also show what the kernel joins on its own: all hosts, all nodes, solicited nodes
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
    let plan = Plan::new(arguments)?;
    rights::keep(&rights::INSPECT_PROCESSES)?;
    if arguments.watch {
        return watch::run(plan, console);
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
    for entry in Journal::socket_changes() {
        let Some(action) = entry.socket() else { continue };
        if plan.json {
            write_record(&mut out, "borrowed", &SocketChangeRecord::new(action, &entry))?;
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
struct Plan {
    groups: Vec<Pattern>,
    /// The names of the interfaces; empty means all.
    interfaces: Vec<String>,
    all: bool,
    json: bool,
}

impl Plan {
    fn new(arguments: &Arguments) -> mcast::Result<Self> {
        let name = |selector| mcast::find(selector).map(|interface| interface.name);
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
fn print_notes(memberships: &Memberships, plan: &Plan, console: &Console) {
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
            console.warn(format_args!(
                "cannot determine the process of {unseen}: this user may not examine {processes}"
            ));
            console.help("run as root, or with the capability CAP_SYS_PTRACE");
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
