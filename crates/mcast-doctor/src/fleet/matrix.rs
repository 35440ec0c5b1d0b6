//! The results of all probes between the machines of a fleet.

use std::collections::BTreeSet;

use mcast::Family;
use serde::Serialize;

use super::message::SwitchPort;

/// The results of a fleet: which probes of which machine have reached which other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetMatrix {
    /// The names of the machines. Cells refer to them by index.
    pub hosts: Vec<String>,
    /// The switch ports of the machines, as far as LLDP names them.
    pub switch_ports: Vec<Vec<SwitchPort>>,
    /// The results.
    pub cells: Vec<FleetCell>,
}

/// The probes of one size and hop limit from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FleetCell {
    /// The index of the sending machine.
    #[serde(skip)]
    pub from: usize,
    /// The index of the receiving machine.
    #[serde(skip)]
    pub to: usize,
    /// The family of the group.
    #[serde(skip)]
    pub family: Family,
    /// The payload in bytes.
    pub size: usize,
    /// The hop limit.
    #[serde(rename = "ttl")]
    pub hop_limit: u8,
    /// 0 for the first round, 1 for the one after the time given by `--for`.
    pub round: u8,
    /// Whether the payload fits in one frame of the sender.
    #[serde(skip)]
    pub fits: bool,
    /// Probes sent.
    pub sent: u64,
    /// Probes that the receiving machine has received, duplicates included.
    pub received: u64,
    /// Probes whose answers came back.
    pub answered: u64,
}

/// Unicast probes from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastCell {
    /// The index of the sending machine.
    pub from: usize,
    /// The index of the receiving machine.
    pub to: usize,
    /// The family of the addresses.
    pub family: Family,
    /// Probes sent.
    pub sent: u64,
    /// Probes answered.
    pub answered: u64,
}

/// An ordered pair of machines: the sender and the receiver.
pub type FleetPair = (usize, usize);

/// What became of the probes from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathOutcome {
    /// A machine did not take part, or has not joined a group of this family.
    NotTested,
    /// Nothing arrived.
    Silent,
    /// Probes arrived at first, and none in a later round.
    Forgotten,
    /// Nothing arrived above a size.
    Limited,
    /// Part of the probes of sizes that arrive was lost.
    Lossy,
    /// Probes of all sizes arrived.
    Complete,
}

impl FleetCell {
    /// Returns whether probes were sent and none arrived.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.sent > 0 && self.received == 0
    }

    pub(super) const fn pair(&self) -> FleetPair {
        (self.from, self.to)
    }
}

impl FleetMatrix {
    /// Returns the families that were probed.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let has = |family: &Family| self.cells.iter().any(|cell| cell.family == *family);
        [Family::V4, Family::V6].into_iter().filter(has).collect()
    }

    /// Returns the cells of a family from one machine to another.
    pub fn between(&self, family: Family, (from, to): FleetPair) -> impl Iterator<Item = &FleetCell> {
        self.cells.iter().filter(move |cell| cell.family == family && (cell.from, cell.to) == (from, to))
    }

    /// Returns what became of the probes from one machine to another, with the highest hop limit.
    #[must_use]
    pub fn outcome(&self, family: Family, pair: FleetPair) -> PathOutcome {
        let highest = self.highest_hop_limit();
        let all =
            || self.between(family, pair).filter(move |cell| cell.hop_limit == highest && cell.sent > 0);
        let first = || all().filter(|cell| cell.round == 0);
        let mut later = all().filter(|cell| cell.round > 0).peekable();
        let arrives = |cell: &FleetCell| !cell.is_silent();
        match () {
            () if first().next().is_none() => PathOutcome::NotTested,
            () if !first().any(arrives) => PathOutcome::Silent,
            () if later.peek().is_some() && !later.any(arrives) => PathOutcome::Forgotten,
            () if first().any(FleetCell::is_silent) => PathOutcome::Limited,
            () if self.lost(family, pair) > 0 => PathOutcome::Lossy,
            () => PathOutcome::Complete,
        }
    }

    /// Returns the outcome in a few characters: `ok`, `none`, `≤1472`, `-20%`, `later`, or `?`.
    #[must_use]
    pub fn short_outcome(&self, family: Family, pair: FleetPair) -> String {
        match self.outcome(family, pair) {
            PathOutcome::NotTested => "?".into(),
            PathOutcome::Silent => "none".into(),
            PathOutcome::Forgotten => "later".into(),
            PathOutcome::Limited => format!("\u{2264}{}", self.largest(family, pair)),
            PathOutcome::Lossy => format!("-{}%", self.lost(family, pair).max(1)),
            PathOutcome::Complete => "ok".into(),
        }
    }

    /// Returns the largest size of which something arrived.
    fn largest(&self, family: Family, pair: FleetPair) -> usize {
        let arrived = self.between(family, pair).filter(|cell| cell.round == 0 && cell.received > 0);
        arrived.map(|cell| cell.size).max().unwrap_or_default()
    }

    /// Returns the percentage of probes that were lost of sizes of which some arrive; at least two lost probes count.
    fn lost(&self, family: Family, pair: FleetPair) -> u64 {
        let highest = self.highest_hop_limit();
        let cells = self.between(family, pair);
        let cells = cells.filter(|cell| cell.round == 0 && cell.hop_limit == highest && cell.received > 0);
        let (sent, lost) = cells.fold((0, 0), |(sent, lost), cell| {
            (sent + cell.sent, lost + cell.sent.saturating_sub(cell.received))
        });
        if lost < 2 { 0 } else { (lost * 100).div_ceil(sent) }
    }

    /// Returns the pairs with a cell that `selects` selects.
    pub(super) fn pairs(&self, selects: impl Fn(&FleetCell) -> bool) -> BTreeSet<FleetPair> {
        self.cells.iter().filter(|cell| cell.sent > 0 && selects(cell)).map(FleetCell::pair).collect()
    }

    /// Returns the hop limit that decides: the highest one.
    #[must_use]
    pub fn highest_hop_limit(&self) -> u8 {
        self.cells.iter().map(|cell| cell.hop_limit).max().unwrap_or(1)
    }

    /// Returns the switch of a machine, if LLDP names one for it and no second one.
    pub(super) fn switch_of(&self, host: usize) -> Option<&str> {
        let ports = self.switch_ports.get(host)?;
        let first = ports.first()?;
        ports.iter().all(|port| port.switch == first.switch).then_some(&*first.switch)
    }

    /// Returns the switch ports of a machine: `Gi1/0/7 of sw3`.
    pub(super) fn ports_of(&self, host: usize) -> Option<String> {
        let ports = self.switch_ports.get(host).filter(|ports| !ports.is_empty())?;
        Some(
            ports
                .iter()
                .map(|port| format!("{} of {}", port.port, port.switch))
                .collect::<Vec<_>>()
                .join(", "),
        )
    }
}
