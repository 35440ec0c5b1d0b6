//! Everything that an examination observed: the input of the causes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use mcast::{
    ErrorKind, Family, Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, SourceFilter,
};

use mcast_sys::{SendAnswer, SocketOptions};

use crate::kernel_drops::KernelDrops;
use crate::netfilter::{HookCounts, Outcome};
use crate::outcome::{PrintedError, PrintedErrorKind};
use crate::snapshot::{Counter, Link, Snapshot, explains};
use crate::wire::{Flow, FlowKey, Wire};
use crate::{Effect, Evidence, EvidenceKind, Options};
pub(crate) use mcast_host::{ProcessState, RunState};

/// The smallest receive buffer that Linux grants, as passed to `SO_RCVBUF`: it takes 2,304 bytes on all 64-bit processors, a few more
/// where an `sk_buff` is larger.
const SMALLEST_RECEIVE_BUFFER: usize = 1_280;

/// Everything that an examination observed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
    pub(crate) wire: Wire,
    pub(crate) target: ExaminationTarget,
    pub(crate) options: Options,
    /// The interface that the routing table selects towards each source, if there is a route. Sources that were not
    /// looked up are missing.
    pub(crate) source_routes: BTreeMap<IpAddr, Option<InterfaceIndex>>,
    /// Whether all programs of the machine are examined: nobody has asked about one of them.
    pub(crate) is_survey: bool,
    /// The programs that have joined groups, if the machine is examined.
    pub(crate) programs: Vec<Program>,
    pub(crate) kernel_drops: KernelDrops,
    /// The membership of the examined program that the doctor reported again, and the result.
    pub(crate) program_rejoin: Option<(GroupAddr, RejoinOutcome)>,
    /// How many packets passed each hook of the packet filter.
    pub(crate) hooks: HookCounts,
    /// The experiments made, for the report.
    pub(crate) experiments: Vec<String>,
}

/// What was examined.
#[derive(Clone, Debug, Default)]
pub(crate) enum ExaminationTarget {
    /// This machine.
    #[default]
    Machine,
    /// A membership that the doctor joined itself.
    Membership(TrialMembership),
    /// Another program.
    Program(Program),
    /// A file.
    File,
}

/// A membership that the doctor joined to test it, and the result.
#[derive(Clone, Debug)]
pub(crate) struct TrialMembership {
    pub(crate) membership: Membership,
    /// The interfaces on which the doctor joined.
    pub(crate) joined: Vec<InterfaceIndex>,
    /// The interfaces of `joined` on which another program had joined before.
    pub(crate) already_joined: Vec<InterfaceIndex>,
    /// The joins that failed.
    pub(crate) failures: Vec<Failure>,
    /// What the doctor's socket received, by interface and source.
    pub(crate) received: Vec<ReceivedCount>,
    /// Datagrams dropped because the buffer of the doctor's socket was full.
    pub(crate) dropped: u64,
    /// The result of reporting it again; `None` if the doctor did not.
    pub(crate) rejoin: Option<RejoinOutcome>,
    /// Sockets of other programs on this machine that have the port open.
    pub(crate) other_sockets: Vec<ProgramSocket>,
}

/// The result of reporting a membership again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RejoinOutcome {
    /// The new report brought the stream back: a device on the path had forgotten the old one.
    CameBack,
    /// A stream that had arrived stayed silent: its sender has stopped, or a device on the path no longer forwards it.
    StayedSilent,
    /// Nothing had arrived before, and nothing came: which shows nothing of a sender.
    NothingCame,
}

/// Why a join failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) interface: Option<String>,
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

/// The number of datagrams that the doctor's socket received from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedCount {
    pub(crate) interface: InterfaceIndex,
    pub(crate) source: SocketAddr,
    pub(crate) datagrams: u64,
}

/// Another program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// As `name (pid)`.
    pub(crate) name: String,
    pub(crate) sockets: Vec<ProgramSocket>,
    /// Whether the owners of all its sockets could be determined.
    pub(crate) visible: bool,
    /// Whether the sockets belong together, as those of one process and its children do. The sockets on a port may belong
    /// to several programs.
    pub(crate) is_one: bool,
    /// The errors of sockets that it has printed, if the doctor has started it.
    pub(crate) printed: Vec<PrintedError>,
    /// Its arguments, if the doctor has started it.
    pub(crate) arguments: Vec<String>,
    /// How it ended, if the doctor has started it and it does not run any more.
    pub(crate) ended: Option<ExitStatus>,
}

/// A UDP socket of another program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramSocket {
    pub(crate) inode: u64,
    /// The program that has it open, as `name (pid)`, if it can be determined.
    pub(crate) owner: String,
    /// `None` if the socket is not bound.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) bound_interface: Option<InterfaceIndex>,
    /// In bytes, as passed to `SO_RCVBUF`.
    pub(crate) receive_buffer: Option<usize>,
    /// The drop counter before and after listening.
    pub(crate) drops: (u64, u64),
    /// The memberships before listening, each with the index of its interface.
    pub(crate) memberships: Vec<Membership>,
    /// The memberships after listening.
    pub(crate) memberships_after: Vec<Membership>,
    /// The families whose groups the socket receives only if it has joined them itself (`IP_MULTICAST_ALL`,
    /// `IPV6_MULTICAST_ALL` off).
    pub(crate) own_groups_only: BTreeSet<Family>,
    /// Its options, if the program may be inspected.
    pub(crate) options: Option<SocketOptions>,
    /// What the kernel answers, before and after listening, to a datagram that the socket would send to a group; `None` if it
    /// was not asked, or answered differently.
    pub(crate) send_answer: Option<(SocketAddr, SendAnswer)>,
    /// The processes that have it open.
    pub(crate) processes: Vec<ProcessState>,
    /// How many bytes waited in its receive queue, several times while listening.
    pub(crate) queued: Vec<u64>,
    /// Whether it was closed while listening.
    pub(crate) closed: bool,
}

/// A membership in effect on one interface, of the doctor or of the examined program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest<'a> {
    pub(crate) group: Group,
    pub(crate) port: u16,
    pub(crate) interface: InterfaceIndex,
    pub(crate) sources: &'a SourceFilter,
    /// The program's socket; `None` for the doctor's own.
    pub(crate) socket: Option<&'a ProgramSocket>,
}

impl Observation {
    /// Returns by how much a counter increased while listening; `None` if the system has no such counter.
    pub(crate) fn rise(&self, counter: Counter, family: Family) -> Option<u64> {
        self.rise_of(counter.name(family))
    }

    pub(crate) fn rise_of(&self, name: &str) -> Option<u64> {
        let (before, after) = self.values(name)?;
        Some(after.saturating_sub(before))
    }

    pub(crate) fn values(&self, name: &str) -> Option<(u64, u64)> {
        Some((self.before.counters.value(name)?, self.after.counters.value(name)?))
    }

    pub(crate) fn counter_change(&self, counter: Counter, family: Family) -> Option<Evidence> {
        let name = counter.name(family);
        let (before, after) = self.values(name)?;
        Some(Evidence::change(EvidenceKind::Counter, name, before, after))
    }

    /// Returns the change of a counter as evidence, if it increased.
    pub(crate) fn counter_increase(&self, counter: Counter, family: Family) -> Option<Evidence> {
        self.increase_of(counter.name(family))
    }

    /// The same for a counter by its `nstat` name.
    pub(crate) fn increase_of(&self, name: &str) -> Option<Evidence> {
        let (before, after) = self.values(name).filter(|(before, after)| after > before)?;
        Some(Evidence::change(EvidenceKind::Counter, name, before, after))
    }

    /// Returns the counts of a rule before and after listening, if it has a counter.
    pub(crate) fn rule_counts(&self, outcome: &Outcome) -> Option<(u64, u64)> {
        // A rule that did not exist before has counted from zero.
        let before = self.before.ruleset.packets_of(&outcome.rule).unwrap_or_default();
        Some((before, outcome.rule.packets?))
    }

    /// Returns the datagrams of a flow as evidence.
    pub(crate) fn packets_of(&self, flow: &Flow) -> Evidence {
        let text = format!("{} datagrams from {} to {}", flow.datagrams, flow.key.source, flow.destination());
        Evidence::new(EvidenceKind::Packet, self.link_name(flow.key.interface), text)
    }

    pub(crate) fn trial(&self) -> Option<&TrialMembership> {
        match &self.target {
            ExaminationTarget::Membership(trial) => Some(trial),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn trial_mut(&mut self) -> &mut TrialMembership {
        match &mut self.target {
            ExaminationTarget::Membership(trial) => trial,
            target => panic!("{target:?}"),
        }
    }

    pub(crate) fn program(&self) -> Option<&Program> {
        match &self.target {
            ExaminationTarget::Program(program) => Some(program),
            _ => None,
        }
    }

    pub(crate) fn is_about_machine(&self) -> bool {
        matches!(self.target, ExaminationTarget::Machine)
    }

    /// Returns the effect of a doubt about one program: nobody has asked about it in a survey.
    pub(crate) const fn effect_of_doubt(&self) -> Effect {
        if self.is_survey { Effect::Minor } else { Effect::NoAnswer }
    }

    /// Returns every group that the doctor or the program joined, once per interface.
    pub(crate) fn interests(&self) -> Vec<Interest<'_>> {
        match &self.target {
            ExaminationTarget::Membership(trial) => {
                let interest = |interface: &InterfaceIndex| Interest {
                    group: trial.group(),
                    port: trial.port(),
                    interface: *interface,
                    sources: &trial.membership.sources,
                    socket: None,
                };
                trial.joined.iter().map(interest).collect()
            }
            ExaminationTarget::Program(program) => {
                let mut own: Vec<_> = program.sockets.iter().flat_map(ProgramSocket::interests).collect();
                let sends = self.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow));
                if !sends && program.sockets.iter().all(ProgramSocket::never_joined) {
                    own.extend(program.sockets.iter().flat_map(|socket| self.joined_by_others(socket)));
                }
                own
            }
            ExaminationTarget::Machine | ExaminationTarget::File => Vec::new(),
        }
    }

    /// Returns every group that a program of the examined machine has joined, once per program and interface.
    pub(crate) fn joined_by_programs(&self) -> impl Iterator<Item = (&Program, Interest<'_>)> {
        self.programs.iter().flat_map(|program| {
            let interests = program.sockets.iter().flat_map(ProgramSocket::interests);
            let by_place = interests.map(|interest| ((interest.destination(), interest.interface), interest));
            by_place.collect::<BTreeMap<_, _>>().into_values().map(move |interest| (program, interest))
        })
    }

    /// Returns the groups that arrive for a socket because another program has joined them. The system delivers them to every
    /// socket that is bound to their port and to no other address.
    fn joined_by_others<'a>(&'a self, socket: &'a ProgramSocket) -> impl Iterator<Item = Interest<'a>> {
        static ANY: SourceFilter = SourceFilter::ANY;
        let flows = self.wire.flows.iter().filter(|flow| !flow.key.outgoing && flow.key.vlan.is_none());
        let interest = move |flow: &Flow| {
            let FlowKey { interface, group, port, .. } = flow.key;
            let (local, family) = (socket.local?, Family::of(group));
            let takes = |own: IpAddr| own == group || (own.is_unspecified() && Family::of(own) == family);
            let is_joined = |machine: &Snapshot| machine.is_joined(group, interface);
            let is_delivered = local.port() == port
                && takes(local.ip())
                && !socket.own_groups_only.contains(&family)
                && is_joined(&self.before)
                && is_joined(&self.after);
            let joined = Group::new(group).ok().filter(|_| is_delivered)?;
            let interest = Interest { group: joined, port, interface, sources: &ANY, socket: Some(socket) };
            Some(((group, interface), interest))
        };
        flows.filter_map(interest).collect::<BTreeMap<_, _>>().into_values()
    }

    /// Returns the result of reporting a membership again, if that was done.
    pub(crate) fn rejoin(&self, interest: &Interest<'_>) -> Option<RejoinOutcome> {
        let of_program = self.program_rejoin.filter(|(address, _)| *address == interest.address());
        self.trial().and_then(|trial| trial.rejoin).or_else(|| of_program.map(|(_, outcome)| outcome))
    }

    /// Returns the flows that arrived for the interests, or all that arrived if a file is examined.
    pub(crate) fn all_arrivals(&self) -> Vec<&Flow> {
        match self.target {
            ExaminationTarget::File => self.wire.flows.iter().filter(|flow| !flow.key.outgoing).collect(),
            _ => self.interests().iter().flat_map(|interest| self.arrivals(interest)).collect(),
        }
    }

    /// Returns the flows to the group and port that arrived on the joined interface, from any source.
    pub(crate) fn arrivals(&self, interest: &Interest<'_>) -> Vec<&Flow> {
        let Interest { group, port, interface, .. } = *interest;
        let here = |flow: &&Flow| {
            flow.key.interface == interface && flow.key.port == port && flow.key.vlan.is_none()
        };
        self.wire.incoming(group.addr()).filter(here).collect()
    }

    /// Returns the arrivals that the socket should receive: from admitted sources, with valid checksums, from
    /// source addresses that the system accepts, and not fragmented.
    pub(crate) fn expected(&self, interest: &Interest<'_>) -> Vec<&Flow> {
        let good = |flow: &&Flow| {
            let source = flow.key.source.ip();
            interest.sources.admits(source)
                && !source.is_unspecified()
                && !self.before.is_own(source)
                && flow.sound() > 0
                && flow.fragmented == 0
        };
        self.arrivals(interest).into_iter().filter(good).collect()
    }

    pub(crate) fn link(&self, index: InterfaceIndex) -> Option<&Link> {
        self.after.link(index).or_else(|| self.before.link(index))
    }

    pub(crate) fn link_name(&self, index: InterfaceIndex) -> String {
        self.link(index).map_or_else(|| format!("interface {index}"), |link| link.name().to_owned())
    }

    pub(crate) fn listened(&self) -> Duration {
        self.wire.duration()
    }

    /// Returns whether the doctor's own socket received anything.
    pub(crate) fn received_anything(&self) -> bool {
        self.trial().is_some_and(|trial| trial.received.iter().any(|count| count.datagrams > 0))
    }
}

/// The number of datagrams on the wire and at the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) expected: u64,
    pub(crate) received: u64,
    /// Datagrams dropped because the buffer of the doctor's own socket was full.
    pub(crate) dropped: u64,
}

impl Loss {
    /// Returns the number of datagrams lost before they reached the doctor's socket.
    pub(crate) fn count(self) -> u64 {
        self.expected.saturating_sub(self.received).saturating_sub(self.dropped)
    }

    /// Returns whether nothing was received, or at least 5 % were lost: more than chance explains.
    pub(crate) fn is_serious(self) -> bool {
        self.count() > 0 && (self.received == 0 || self.count() * 20 >= self.expected)
    }

    /// Returns whether the increase of a counter explains the loss.
    pub(crate) fn is_explained_by(self, rise: u64) -> bool {
        explains(rise, self.count())
    }
}

impl TrialMembership {
    /// Returns the trial of a membership that is not joined yet.
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            membership,
            joined: Vec::new(),
            already_joined: Vec::new(),
            failures: Vec::new(),
            received: Vec::new(),
            dropped: 0,
            rejoin: None,
            other_sockets: Vec::new(),
        }
    }

    pub(crate) fn group(&self) -> Group {
        self.membership.address.group
    }

    pub(crate) fn port(&self) -> u16 {
        self.membership.address.port
    }

    /// Returns the group and port.
    pub(crate) fn destination(&self) -> SocketAddr {
        self.membership.address.into()
    }

    pub(crate) fn received_from(&self, interface: InterfaceIndex, source: SocketAddr) -> u64 {
        let same = |count: &&ReceivedCount| count.interface == interface && count.source == source;
        self.received.iter().filter(same).map(|count| count.datagrams).sum()
    }

    /// Returns the number of datagrams received from all sources.
    pub(crate) fn received_count(&self) -> u64 {
        self.received.iter().map(|count| count.datagrams).sum()
    }

    pub(crate) fn failed_with(&self, kind: ErrorKind) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.kind == kind)
    }
}

impl Program {
    /// Returns the errors of a kind that the program has printed, unless it has opened what it needs all the same: it has
    /// joined a group, or sends to one.
    pub(crate) fn failed_with(&self, kind: PrintedErrorKind, wire: &Wire) -> Vec<&PrintedError> {
        let is_member = self.sockets.iter().any(|socket| !socket.memberships.is_empty());
        let is_sender = wire.flows.iter().any(|flow| flow.key.outgoing && self.sends(flow));
        let printed = self.printed.iter().filter(|_| !is_member && !is_sender);
        printed.filter(|error| error.kind == kind).collect()
    }

    /// Returns whether one of its sockets is bound to the source port of the flow.
    pub(crate) fn sends(&self, flow: &Flow) -> bool {
        self.sends_from(flow.key.source.port())
    }

    /// Returns the socket that sends a flow: the only one that is bound to its source port.
    pub(crate) fn socket_of(&self, flow: &Flow) -> Option<&ProgramSocket> {
        self.socket_at(flow.key.source.port())
    }

    /// Returns whether one of its sockets has joined a group.
    pub(crate) fn has_joined(&self) -> bool {
        self.sockets.iter().any(|socket| !socket.memberships.is_empty())
    }

    /// Returns the only socket that is bound to a port.
    pub(crate) fn socket_at(&self, port: u16) -> Option<&ProgramSocket> {
        let mut sockets =
            self.sockets.iter().filter(|socket| socket.local.is_some_and(|local| local.port() == port));
        let first = sockets.next()?;
        sockets.next().is_none().then_some(first)
    }

    /// Returns whether one of its sockets is bound to a port.
    pub(crate) fn sends_from(&self, port: u16) -> bool {
        self.sockets.iter().any(|socket| socket.local.is_some_and(|local| local.port() == port))
    }
}

impl ProgramSocket {
    /// Returns a socket that is not bound.
    pub(crate) fn new(inode: u64, owner: String) -> Self {
        Self { inode, owner, ..Self::default() }
    }

    /// Returns the groups that the socket has joined, if it is bound to a port.
    pub(crate) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.memberships.iter().filter(|membership| membership.address.port != 0).filter_map(|membership| {
            Some(Interest {
                group: membership.address.group,
                port: membership.address.port,
                interface: index_of(membership)?,
                sources: &membership.sources,
                socket: Some(self),
            })
        })
    }

    /// Returns whether the socket had joined no group, neither at first nor at last.
    pub(crate) fn never_joined(&self) -> bool {
        self.memberships.is_empty() && self.memberships_after.is_empty()
    }

    /// Returns whether the socket receives nothing, and has joined groups for the sake of the network, as those of `mcast discover`
    /// and `mcast top --join` have, which read the datagrams elsewhere: it has the smallest receive buffer and a port that nobody has
    /// chosen, and has dropped nothing.
    pub(crate) fn only_keeps_memberships(&self, machine: &Snapshot) -> bool {
        let is_smallest = self.receive_buffer.is_some_and(|bytes| bytes <= SMALLEST_RECEIVE_BUFFER);
        let is_elsewhere = self.local.is_some_and(|local| machine.is_ephemeral(local.port()));
        is_smallest && is_elsewhere && !self.never_joined() && self.drops.0 == 0
    }

    /// Returns the group that the socket is bound to, if it is bound to one.
    pub(crate) fn bound_group(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip()).filter(IpAddr::is_multicast)
    }
}

/// Returns the interface of a membership that names it by its index, as those of sockets do.
pub(crate) fn index_of(membership: &Membership) -> Option<InterfaceIndex> {
    match membership.interface {
        Some(InterfaceSelector::Index(index)) => Some(index),
        _ => None,
    }
}

/// Returns the protocol with which hosts report the groups of a family.
pub(crate) const fn protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "IGMP",
        Family::V6 => "MLD",
    }
}

impl Interest<'_> {
    /// Returns the program that has joined, as `name (pid)`; `None` for the doctor.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.socket.map(|socket| socket.owner.as_str())
    }

    /// Returns whether its program has a socket for each of several interfaces on which it has joined the group, as relays have:
    /// each receives for the others, and nothing need arrive on all of the interfaces.
    pub(crate) fn is_relayed(&self, all: &[Interest<'_>]) -> bool {
        let inode = |interest: &Interest<'_>| interest.socket.map(|socket| socket.inode);
        all.iter().any(|other| {
            other.address() == self.address()
                && other.owner() == self.owner()
                && other.interface != self.interface
                && inode(other) != inode(self)
        })
    }

    /// Returns the protocol that reports the group.
    pub(crate) fn protocol(&self) -> &'static str {
        protocol(self.family())
    }

    pub(crate) fn family(&self) -> Family {
        self.group.family()
    }

    pub(crate) fn address(&self) -> GroupAddr {
        GroupAddr::new(self.group, self.port)
    }

    /// Returns the group and port.
    pub(crate) fn destination(&self) -> SocketAddr {
        self.address().into()
    }
}
