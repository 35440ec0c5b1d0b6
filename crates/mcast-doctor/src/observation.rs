//! All that an examination saw, as the causes are judged by it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::{ErrorKind, Family, Group, SourceFilter};

use crate::Options;
use crate::snapshot::{Counter, Link, Snapshot};
use crate::wire::{Flow, Wire};

/// All that an examination saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
    pub(crate) wire: Wire,
    pub(crate) about: About,
    pub(crate) options: Options,
}

/// What was examined.
#[derive(Clone, Debug, Default)]
pub(crate) enum About {
    /// This machine.
    #[default]
    Machine,
    /// A membership, which the doctor joined itself.
    Membership(Asked),
    /// Another program.
    Program(Program),
    /// A file.
    File,
}

/// A membership that was asked for, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) group: Group,
    pub(crate) port: u16,
    pub(crate) sources: SourceFilter,
    /// Whether the routing table was to choose the interface.
    pub(crate) by_default: bool,
    /// The interfaces on which it was joined.
    pub(crate) joined: Vec<u32>,
    /// Those on which it was joined by somebody before.
    pub(crate) joined_before: Vec<u32>,
    /// What could not be had, on which interface.
    pub(crate) failures: Vec<Failure>,
    /// What the doctor's socket received, by interface and sender.
    pub(crate) heard: Vec<Heard>,
    /// What its socket had no room for.
    pub(crate) dropped: u64,
}

/// Why a membership could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) interface: Option<String>,
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

/// Datagrams that arrived at the doctor's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) interface: u32,
    pub(crate) source: SocketAddr,
    pub(crate) datagrams: u64,
}

/// Another program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// As `name (pid)`.
    pub(crate) name: String,
    pub(crate) sockets: Vec<ProgramSocket>,
    /// Whether all its sockets could be looked into.
    pub(crate) visible: bool,
}

/// A UDP socket of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramSocket {
    pub(crate) inode: u64,
    /// None while it is not bound.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) bound_interface: Option<u32>,
    /// In bytes, as one asks for it.
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) drops: (u64, u64),
    /// What it held when listening began, and what at its end.
    pub(crate) memberships: Vec<Membership>,
    pub(crate) memberships_after: Vec<Membership>,
}

/// A membership of another program's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: Group,
    pub(crate) interface: u32,
    pub(crate) sources: SourceFilter,
    pub(crate) multicast_all: bool,
    pub(crate) loopback: bool,
}

/// A group that somebody wants: the doctor or the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) group: Group,
    pub(crate) port: u16,
    pub(crate) interface: u32,
    pub(crate) sources: &'a SourceFilter,
    /// The program's socket; none: the doctor's own.
    pub(crate) socket: Option<&'a ProgramSocket>,
}

impl Observation {
    /// How much a counter rose while it was listened; `None` where the system has no such counter.
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

    pub(crate) fn asked(&self) -> Option<&Asked> {
        match &self.about {
            About::Membership(asked) => Some(asked),
            _ => None,
        }
    }

    pub(crate) fn program(&self) -> Option<&Program> {
        match &self.about {
            About::Program(program) => Some(program),
            _ => None,
        }
    }

    pub(crate) fn is_about_machine(&self) -> bool {
        matches!(self.about, About::Machine)
    }

    /// Every group that is wanted, on every interface on which it was joined.
    pub(crate) fn wanted(&self) -> Vec<Wanted<'_>> {
        match &self.about {
            About::Membership(asked) => {
                let wanted = |interface: &u32| Wanted {
                    group: asked.group,
                    port: asked.port,
                    interface: *interface,
                    sources: &asked.sources,
                    socket: None,
                };
                asked.joined.iter().map(wanted).collect()
            }
            About::Program(program) => program.sockets.iter().flat_map(ProgramSocket::wanted).collect(),
            About::Machine | About::File => Vec::new(),
        }
    }

    /// What came in by the right interface for a group that is wanted, from whomever.
    pub(crate) fn arrivals(&self, wanted: &Wanted<'_>) -> Vec<&Flow> {
        let Wanted { group, port, interface, .. } = *wanted;
        let here = |flow: &&Flow| {
            flow.key.interface == interface && flow.key.port == port && flow.key.vlan.is_none()
        };
        self.wire.incoming(group.addr()).filter(here).collect()
    }

    /// What of that one could expect at the socket: from admitted senders, with right checksums, from
    /// addresses that the system takes, no piece missing.
    pub(crate) fn expected(&self, wanted: &Wanted<'_>) -> Vec<&Flow> {
        let good = |flow: &&Flow| {
            let source = flow.key.source.ip();
            wanted.sources.admits(source)
                && !source.is_unspecified()
                && !self.before.is_own(source)
                && flow.sound() > 0
                && flow.fragmented == 0
        };
        self.arrivals(wanted).into_iter().filter(good).collect()
    }

    /// Of a membership that the doctor joined: how much of what was expected did not come.
    pub(crate) fn lost(&self, wanted: &Wanted<'_>) -> Option<Lost> {
        let asked = self.asked()?;
        let mut lost = Lost { dropped: asked.dropped, ..Lost::default() };
        for flow in self.expected(wanted) {
            lost.expected += flow.sound();
            lost.heard += asked.heard_from(wanted.interface, flow.key.source).min(flow.sound());
        }
        Some(lost)
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.after.link(index).or_else(|| self.before.link(index))
    }

    pub(crate) fn link_name(&self, index: u32) -> String {
        self.link(index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    pub(crate) fn listened(&self) -> Duration {
        self.wire.duration()
    }

    /// Whether the doctor's own socket heard anything at all.
    pub(crate) fn heard_anything(&self) -> bool {
        self.asked().is_some_and(|asked| asked.heard.iter().any(|heard| heard.datagrams > 0))
    }
}

/// How many datagrams there were on the wire, and how many at the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) expected: u64,
    pub(crate) heard: u64,
    /// What the doctor's own socket had no room for.
    pub(crate) dropped: u64,
}

impl Lost {
    /// What got lost on the way to the doctor's socket.
    pub(crate) fn count(self) -> u64 {
        self.expected.saturating_sub(self.heard).saturating_sub(self.dropped)
    }

    /// Whether all are lost, or enough that chance does not explain it.
    pub(crate) fn is_serious(self) -> bool {
        self.count() > 0 && (self.heard == 0 || self.count() * 20 >= self.expected)
    }

    /// Whether a counter's rise explains it.
    pub(crate) fn is_explained_by(self, rise: u64) -> bool {
        self.count() > 0 && rise.saturating_mul(5) >= self.count().saturating_mul(4)
    }
}

impl Asked {
    pub(crate) fn heard_from(&self, interface: u32, source: SocketAddr) -> u64 {
        let same = |heard: &&Heard| heard.interface == interface && heard.source == source;
        self.heard.iter().filter(same).map(|heard| heard.datagrams).sum()
    }

    pub(crate) fn failed_with(&self, kind: ErrorKind) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.kind == kind)
    }
}

impl ProgramSocket {
    /// The groups that it wants, if it is bound to a port.
    fn wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        let port = self.local.map(|local| local.port()).filter(|port| *port != 0);
        self.memberships.iter().filter_map(move |membership| {
            Some(Wanted {
                group: membership.group,
                port: port?,
                interface: membership.interface,
                sources: &membership.sources,
                socket: Some(self),
            })
        })
    }

    /// The address that it is bound to, if it is a group.
    pub(crate) fn bound_group(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip()).filter(IpAddr::is_multicast)
    }
}

impl Wanted<'_> {
    pub(crate) fn family(&self) -> Family {
        self.group.family()
    }

    /// The group and port as text.
    pub(crate) fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.group.addr(), self.port)
    }
}
