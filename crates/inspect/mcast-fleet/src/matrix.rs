//! The results of all probes between the machines of a fleet, and which sizes of datagrams arrive.

use std::collections::{BTreeMap, BTreeSet};

use mcast::GroupAddr;
use serde::Serialize;

use crate::message::SwitchPort;
use mcast_doctor::Severity;
use mcast_path::{Tally, is_certain};

/// The results of a fleet: which probes of which machine have reached which other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetMatrix {
    /// The names of the machines. Paths refer to them by index.
    pub hosts: Vec<String>,
    /// The switch ports of the machines, as far as LLDP names them.
    pub switch_ports: Vec<Vec<SwitchPort>>,
    /// What was probed. Paths refer to it by index.
    pub targets: Vec<FleetTarget>,
    /// The hop limit that decides: the highest one.
    pub hop_limit: u8,
    /// The results by target, sender and receiver.
    pub cells: BTreeMap<(usize, FleetPair), Vec<FleetCell>>,
}

/// A group that the machines of a fleet probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetTarget {
    /// The group.
    pub group: GroupAddr,
    /// The interface of the senders, if one of them sends on several.
    pub interface: Option<String>,
}

/// The probes of one size and hop limit from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FleetCell {
    /// Payload bytes per probe
    pub size: usize,
    /// Hop limit of the probes
    #[serde(rename = "ttl")]
    pub hop_limit: u8,
    /// 0, or 1 for the probes after the time of `--soak`
    pub round: u8,
    /// The largest payload that fits in one frame of the sender.
    #[serde(skip)]
    pub frame: usize,
    /// Number of routers on the way; null if no answer shows it
    pub routers: Option<u8>,
    /// Probes sent
    pub sent: u64,
    /// Probes that the receiving machine received, duplicates included
    pub received: u64,
    /// Probes whose replies came back
    pub answered: u64,
}

/// Unicast probes from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastCell {
    /// The index of the sending machine.
    pub from: usize,
    /// The index of the receiving machine.
    pub to: usize,
    /// The index of the target beside which they were sent.
    pub target: usize,
    /// Whether the receiver has an address in the network of the sender's interface; `None` if one of them has no address
    /// of this family.
    pub is_on_link: Option<bool>,
    /// Probes sent.
    pub sent: u64,
    /// Probes answered.
    pub answered: u64,
}

/// An ordered pair of machines: the sender and the receiver.
pub type FleetPair = (usize, usize);

mcast::group::named! {
    /// What became of the probes from one machine to another.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(rename_all = "kebab-case")]
    pub enum PathOutcome {
        /// A machine did not take part, or has not joined a group of this family.
        NotTested = "not-tested",
        /// Nothing arrived.
        Silent = "silent",
        /// Probes arrived at first, and none in a later round.
        Forgotten = "forgotten",
        /// Nothing arrived above a size.
        Limited = "limited",
        /// Part of the probes of sizes that arrive was lost.
        Lossy = "lossy",
        /// Probes of all sizes arrived.
        Complete = "complete",
    }
    /// Returns its name, as in JSON.
    fn as_str;
}

impl FleetCell {
    /// Returns whether probes were sent and none arrived.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.sent > 0 && self.received == 0
    }
}

impl FleetMatrix {
    /// Returns the name of a target: its family, or its group and interface where that is not unique.
    #[must_use]
    pub fn target_name(&self, target: usize) -> String {
        let Some(FleetTarget { group, interface }) = self.targets.get(target) else { return String::new() };
        let family = group.group.family();
        let same = self.targets.iter().filter(|other| other.group.group.family() == family);
        match (same.count(), interface) {
            (1, None) => family.to_string(),
            (_, None) => group.to_string(),
            (_, Some(interface)) => format!("{group} on {interface}"),
        }
    }

    /// Returns the results of a target from one machine to another.
    #[must_use]
    pub fn between(&self, target: usize, pair: FleetPair) -> &[FleetCell] {
        self.cells.get(&(target, pair)).map_or(&[], Vec::as_slice)
    }

    /// Returns what became of the probes from one machine to another, with the highest hop limit.
    #[must_use]
    pub fn outcome(&self, target: usize, pair: FleetPair) -> PathOutcome {
        let sizes = self.sizes(target, pair);
        match () {
            // The first that holds is the answer: what follows assumes that some size arrived at the end.
            () if sizes.is_empty() => PathOutcome::NotTested,
            () if sizes.largest().is_none() => PathOutcome::Silent,
            () if self.is_forgotten(target, pair) => PathOutcome::Forgotten,
            () if sizes.too_large().is_some() => PathOutcome::Limited,
            () if sizes.loss().is_some() => PathOutcome::Lossy,
            () => PathOutcome::Complete,
        }
    }

    /// Returns the outcome in a few characters: `ok`, `none`, `≤1472`, `-20%`, `later`, or `?`.
    #[must_use]
    pub fn short_outcome(&self, target: usize, pair: FleetPair) -> String {
        let sizes = self.sizes(target, pair);
        match self.outcome(target, pair) {
            PathOutcome::NotTested => "?".into(),
            PathOutcome::Silent => "none".into(),
            PathOutcome::Forgotten => "later".into(),
            PathOutcome::Limited => format!("\u{2264}{}", sizes.largest().unwrap_or_default()),
            PathOutcome::Lossy => format!("-{}%", sizes.percent_lost()),
            PathOutcome::Complete => "ok".into(),
        }
    }

    /// Returns whether something arrived in the first round, and nothing in later ones.
    pub(super) fn is_forgotten(&self, target: usize, pair: FleetPair) -> bool {
        let arrived = |is_first: bool| {
            let mut cells =
                self.decisive(target, pair).filter(move |cell| (cell.round == 0) == is_first).peekable();
            cells.peek().is_some().then(|| cells.any(|cell| !cell.is_silent()))
        };
        (arrived(true), arrived(false)) == (Some(true), Some(false))
    }

    /// Returns what arrives by size, with the highest hop limit: in all rounds, or in the first if later ones are silent.
    pub(super) fn sizes(&self, target: usize, pair: FleetPair) -> Sizes {
        let is_forgotten = self.is_forgotten(target, pair);
        Sizes::of(self.decisive(target, pair).filter(move |cell| !is_forgotten || cell.round == 0))
    }

    /// Returns the cells with the highest hop limit.
    fn decisive(&self, target: usize, pair: FleetPair) -> impl Iterator<Item = &FleetCell> {
        let cells = self.between(target, pair).iter();
        cells.filter(|cell| cell.hop_limit == self.hop_limit && cell.sent > 0)
    }

    /// Returns the pairs of machines with a result for this target.
    pub(super) fn tested(&self, target: usize) -> BTreeSet<FleetPair> {
        let pairs = self.cells.keys().filter(|(of, _)| *of == target).map(|(_, pair)| *pair);
        pairs.filter(|pair| self.outcome(target, *pair) != PathOutcome::NotTested).collect()
    }

    /// Returns whether a group was probed from one machine to another, on any interface.
    pub(super) fn is_tested(&self, group: GroupAddr, pair: FleetPair) -> bool {
        let targets = self.targets.iter().enumerate().filter(|(_, target)| target.group == group);
        targets.into_iter().any(|(target, _)| self.outcome(target, pair) != PathOutcome::NotTested)
    }

    /// Returns the switch of a machine, if LLDP names one for it and no second one.
    pub(super) fn switch_of(&self, host: usize) -> Option<&str> {
        let ports = self.switch_ports.get(host)?;
        let first = ports.first()?;
        ports.iter().all(|port| port.switch == first.switch).then_some(&*first.switch)
    }

    /// Returns the switch ports of a machine: `Gi1/0/7 of sw3`. Behind a switch that forwards LLDP, an interface has
    /// several neighbors, one of which is its switch.
    pub(super) fn ports_of(&self, host: usize) -> Option<String> {
        let ports = self.switch_ports.get(host).filter(|ports| !ports.is_empty())?;
        let interfaces: BTreeSet<_> = ports.iter().map(|port| &port.interface).collect();
        let separator = if interfaces.len() == ports.len() { ", " } else { " or " };
        let ports = ports.iter().map(|port| format!("{} of {}", port.port, port.switch));
        Some(ports.collect::<Vec<_>>().join(separator))
    }
}

/// The probes of one path with the highest hop limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    /// The largest payload that fits in one frame of the sender.
    frame: usize,
    tallies: BTreeMap<usize, Tally>,
}

impl Sizes {
    pub(super) fn of<'a>(cells: impl Iterator<Item = &'a FleetCell>) -> Self {
        let mut sizes = Self::default();
        for cell in cells.filter(|cell| cell.sent > 0) {
            sizes.frame = cell.frame;
            let received = cell.received.min(cell.sent);
            *sizes.tallies.entry(cell.size).or_default() += Tally { sent: cell.sent, received };
        }
        sizes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }

    /// Returns the largest size that arrives.
    pub(super) fn largest(&self) -> Option<usize> {
        self.tallies.iter().rev().find(|(_, tally)| tally.received > 0).map(|(size, _)| *size)
    }

    /// Returns the smallest of the sizes that are too large, if random loss does not explain that these do not arrive.
    pub(super) fn too_large(&self) -> Option<usize> {
        let largest = self.largest()?;
        let arrives = self.total(|size| size <= largest.min(self.frame));
        let lost = || self.tallies.iter().filter(|(size, _)| **size > largest);
        let sent = lost().map(|(size, tally)| (*size, tally.sent));
        lost().next().filter(|_| is_certain(arrives, sent, self.frame)).map(|(size, _)| *size)
    }

    /// Returns whether these datagrams fit in a frame.
    pub(super) const fn fits(&self, size: usize) -> bool {
        size <= self.frame
    }

    /// Returns the loss of sizes that are not too large: of datagrams in one frame if these are lost, which loses fragments
    /// as well, otherwise of fragmented ones. `None` if it may be chance.
    pub(super) fn loss(&self) -> Option<Loss> {
        let limit = self.too_large().unwrap_or(usize::MAX);
        let of = |in_frames: bool| self.total(|size| size < limit && self.fits(size) == in_frames);
        let (frames, fragmented) = (of(true), of(false));
        let of_frames = frames.severity().map(|severity| Loss { severity, is_of_fragments: false });
        // A lost fragment loses the whole datagram: a low rate of lost packets becomes a high one.
        let of_fragments =
            fragmented.severity().map(|_| Loss { severity: Severity::Warning, is_of_fragments: true });
        of_frames.or(of_fragments)
    }

    /// Returns the percentage of lost probes of sizes that are not too large.
    fn percent_lost(&self) -> u64 {
        let limit = self.too_large().unwrap_or(usize::MAX);
        let Tally { sent, received } = self.total(|size| size < limit);
        (sent.saturating_sub(received) * 100).div_ceil(sent.max(1))
    }

    fn total(&self, sizes: impl Fn(usize) -> bool) -> Tally {
        let mut total = Tally::default();
        self.tallies.iter().filter(|(size, _)| sizes(**size)).for_each(|(_, tally)| total += *tally);
        total
    }
}

/// The loss of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) severity: Severity,
    /// Whether all datagrams that fit in one frame arrive.
    pub(super) is_of_fragments: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the sizes of a path of which these numbers of 5 probes arrive.
    fn sizes(received: [u64; 5]) -> Sizes {
        let tallies = [64, 1_472, 1_473, 4_000, 16_000].into_iter().zip(received);
        Sizes {
            frame: 1_472,
            tallies: tallies.map(|(size, received)| (size, Tally { sent: 5, received })).collect(),
        }
    }

    fn of_frames(severity: Severity) -> Option<Loss> {
        Some(Loss { severity, is_of_fragments: false })
    }

    #[test]
    fn a_limit_is_found_unless_loss_explains_it() {
        assert_eq!(sizes([5, 5, 5, 5, 5]).too_large(), None);
        assert_eq!(sizes([5, 5, 0, 0, 0]).too_large(), Some(1_473));
        assert_eq!(sizes([5, 0, 0, 0, 0]).too_large(), Some(1_472));
        // Half of all packets are lost, so that hardly anything arrives that needs several.
        let lossy = sizes([3, 2, 1, 0, 0]);
        assert_eq!((lossy.too_large(), lossy.loss()), (None, of_frames(Severity::Fault)));
        assert_eq!(sizes([0, 0, 0, 0, 0]).too_large(), None);
    }

    #[test]
    fn loss_of_fragments_alone_is_a_warning() {
        let fragmented = sizes([5, 5, 5, 4, 3]);
        assert_eq!(fragmented.loss(), Some(Loss { severity: Severity::Warning, is_of_fragments: true }));
        assert_eq!(fragmented.percent_lost(), 12);
        // One lost probe is chance.
        assert_eq!(sizes([5, 5, 5, 5, 4]).loss(), None);
        assert_eq!(sizes([3, 5, 5, 5, 4]).loss(), of_frames(Severity::Fault));
        // What is too large is not lost.
        assert_eq!(sizes([5, 5, 0, 0, 0]).loss(), None);
    }
}
