//! Decides which paths of a fleet fail, in which way, and what they have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mcast::Family;
use serde::Serialize;

use super::edges::{EdgeFailure, FleetEdge, edges};
use super::matrix::{FleetCell, FleetMatrix, FleetPair, UnicastCell};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

type Pairs = BTreeSet<FleetPair>;

/// A fault of the network between machines, or of one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetFinding {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// What the failing paths have in common.
    pub edge: FleetEdge,
    /// The machines that send, or those on one side.
    pub from: Vec<String>,
    /// The machines that do not receive, or those on the other side.
    pub to: Vec<String>,
}

/// A way in which a path fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Silent,
    /// Nothing of a size arrives, although it fits in a frame.
    Size,
    /// Nothing arrives that needs several frames.
    Fragments,
    /// What arrived at first does not arrive any more.
    Forgotten,
    /// Part of it is lost at every size.
    Lossy,
    /// It arrives, and the answers do not.
    Replies,
    /// It arrives only with a high hop limit.
    HopLimit(HopLimits),
}

/// The hop limits that show how many routers are between two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HopLimits {
    /// The highest one with which nothing arrives.
    failed: u8,
    /// The lowest one with which probes arrive.
    arrived: u8,
}

/// Judges the results of a fleet.
#[must_use]
pub fn judge_fleet(matrix: &FleetMatrix, unicast: &[UnicastCell]) -> Vec<FleetFinding> {
    let mut findings: Vec<(FleetFinding, Vec<Family>)> = Vec::new();
    for family in matrix.families() {
        for found in (FamilyJudge { matrix, unicast, family }).findings() {
            match findings.iter_mut().find(|(known, _)| known.is_same(&found)) {
                Some((known, families)) => {
                    known.finding.evidence.extend(found.finding.evidence);
                    families.push(family);
                }
                None => findings.push((found, vec![family])),
            }
        }
    }
    findings.sort_by_key(|(found, _)| std::cmp::Reverse(found.finding.severity));
    findings.into_iter().map(|(found, families)| found.in_families(&families)).collect()
}

impl FleetFinding {
    /// Returns whether this is the same finding in another family.
    fn is_same(&self, other: &Self) -> bool {
        let key = |found: &Self| (found.finding.id, found.edge, found.from.clone(), found.to.clone());
        key(self) == key(other) && self.finding.cause == other.finding.cause
    }

    /// Names the families at the end of the cause.
    fn in_families(mut self, families: &[Family]) -> Self {
        let names: Vec<_> = families.iter().map(ToString::to_string).collect();
        self.finding.cause = format!("{} ({}).", self.finding.cause, names.join(" and "));
        self
    }
}

struct FamilyJudge<'a> {
    matrix: &'a FleetMatrix,
    unicast: &'a [UnicastCell],
    family: Family,
}

impl FamilyJudge<'_> {
    fn findings(&self) -> Vec<FleetFinding> {
        let first = |cell: &FleetCell| self.is_decisive(cell) && cell.round == 0;
        let tested = self.matrix.pairs(first);
        let silent = self.silent(0, &tested);
        let audible: Pairs = tested.difference(&silent).copied().collect();
        let sizes =
            |fits: bool| self.matrix.pairs(|cell| first(cell) && cell.fits == fits && cell.is_silent());
        let too_large: Pairs = sizes(true).intersection(&audible).copied().collect();
        let fragments: Pairs =
            sizes(false).intersection(&audible).copied().filter(|pair| !too_large.contains(pair)).collect();
        let again = self.matrix.pairs(|cell| self.is_decisive(cell) && cell.round > 0);
        let tested_again: Pairs = again.intersection(&audible).copied().collect();
        let forgotten = self.silent(1, &tested_again);
        let lossy: Pairs = audible.iter().copied().filter(|pair| self.loss(*pair).is_some()).collect();
        let replies = self.without_replies(&audible);
        let cases = [
            (Failure::Silent, silent, &tested),
            (Failure::Size, too_large, &audible),
            (Failure::Fragments, fragments, &audible),
            (Failure::Forgotten, forgotten, &tested_again),
            (Failure::Lossy, lossy, &audible),
            (Failure::Replies, replies, &audible),
        ];
        let routed = self.hop_limits(&audible).into_iter();
        let routed = routed.map(|(limits, pairs)| (Failure::HopLimit(limits), pairs, &audible));
        cases
            .into_iter()
            .chain(routed)
            .flat_map(|(failure, failing, tested)| {
                edges(&failing, tested).into_iter().map(move |edge| (failure, edge))
            })
            .map(|(failure, edge)| self.finding(failure, &edge))
            .collect()
    }

    /// Returns whether a cell is of this family and has the highest hop limit.
    fn is_decisive(&self, cell: &FleetCell) -> bool {
        cell.family == self.family && cell.hop_limit == self.matrix.highest_hop_limit()
    }

    fn of(&self, pair: FleetPair) -> impl Iterator<Item = &FleetCell> {
        self.matrix.between(self.family, pair).filter(|cell| self.is_decisive(cell))
    }

    /// Returns the pairs of which nothing arrived that fits in a frame.
    fn silent(&self, round: u8, tested: &Pairs) -> Pairs {
        let is_silent = |pair: &&FleetPair| {
            let mut fitting =
                self.of(**pair).filter(|cell| cell.round == round && cell.fits && cell.sent > 0);
            fitting.all(FleetCell::is_silent)
        };
        tested.iter().filter(is_silent).copied().collect()
    }

    /// Returns the probes that fit in a frame and arrived at all, and how many of them did not, unless that may be chance.
    fn loss(&self, pair: FleetPair) -> Option<(u64, u64)> {
        let cells = self.of(pair).filter(|cell| cell.round == 0 && cell.fits && !cell.is_silent());
        let (sent, lost) = cells.fold((0, 0), |(sent, lost), cell| {
            (sent + cell.sent, lost + cell.sent.saturating_sub(cell.received))
        });
        (lost >= 2 && lost * 50 >= sent).then_some((sent, lost))
    }

    /// Returns the pairs between which low hop limits fail, by these limits.
    fn hop_limits(&self, audible: &Pairs) -> BTreeMap<HopLimits, Pairs> {
        /// A single lost probe may be chance.
        const MIN_PROBES: u64 = 2;
        let mut pairs = BTreeMap::<HopLimits, Pairs>::new();
        for pair in audible {
            let cells = || self.matrix.between(self.family, *pair).filter(|cell| cell.round == 0);
            let arrived = cells().filter(|cell| cell.received > 0).map(|cell| cell.hop_limit).min();
            let Some(arrived) = arrived else { continue };
            let failed = || cells().filter(|cell| cell.hop_limit < arrived && cell.is_silent());
            if let Some(highest) = failed().map(|cell| cell.hop_limit).max()
                && failed().map(|cell| cell.sent).sum::<u64>() >= MIN_PROBES
            {
                pairs.entry(HopLimits { failed: highest, arrived }).or_default().insert(*pair);
            }
        }
        pairs
    }

    /// Returns the pairs of which probes arrived and no answer came back.
    fn without_replies(&self, audible: &Pairs) -> Pairs {
        let is_mute = |pair: &&FleetPair| {
            let mut cells = self.of(**pair).filter(|cell| cell.round == 0).peekable();
            cells.peek().is_some() && cells.all(|cell| cell.answered == 0)
        };
        audible.iter().filter(is_mute).copied().collect()
    }

    /// Returns how unicast does on these paths: all pass, none does, or it is unclear.
    fn unicast(&self, pairs: &Pairs) -> Option<bool> {
        let cells: Vec<_> = self
            .unicast
            .iter()
            .filter(|cell| cell.sent > 0 && cell.family == self.family)
            .filter(|cell| pairs.contains(&(cell.from, cell.to)))
            .collect();
        match () {
            () if cells.is_empty() => None,
            () if cells.iter().all(|cell| cell.answered > 0) => Some(true),
            () if cells.iter().all(|cell| cell.answered == 0) => Some(false),
            () => None,
        }
    }

    fn finding(&self, failure: Failure, edge: &EdgeFailure) -> FleetFinding {
        let (id, severity, what) = self.describe(failure, edge);
        let names = |hosts: &BTreeSet<usize>| -> Vec<String> {
            hosts.iter().filter_map(|host| self.matrix.hosts.get(*host)).cloned().collect()
        };
        let (from, to) = (names(&edge.from), names(&edge.to));
        let cause = format!("{}: {what}", self.location(edge));
        let finding = Finding::new(id, severity, cause)
            .with_all_evidence(self.evidence(failure, edge))
            .with_remedies([Remedy::advice(Tool::Network, advice(failure))]);
        FleetFinding { finding, edge: edge.edge, from, to }
    }

    fn describe(&self, failure: Failure, edge: &EdgeFailure) -> (Id, Severity, String) {
        let sizes = |fits: bool| {
            let sizes = edge.pairs.iter().flat_map(|pair| self.of(*pair));
            sizes
                .filter(|cell| cell.round == 0 && cell.fits == fits && cell.is_silent())
                .map(|cell| cell.size)
                .min()
        };
        match failure {
            Failure::Silent => match self.unicast(&edge.pairs) {
                Some(true) => {
                    (Id::UnicastOnly, Severity::Fault, "unicast arrives, multicast does not".into())
                }
                Some(false) => {
                    (Id::HostUnreachable, Severity::Fault, "neither multicast nor unicast arrives".into())
                }
                None => (Id::NothingArrives, Severity::Fault, "no probe arrives".into()),
            },
            Failure::Size => {
                let size = sizes(true).unwrap_or_default();
                (
                    Id::MtuTooSmall,
                    Severity::Fault,
                    format!("datagrams of {size} bytes do not arrive, although they fit in a frame"),
                )
            }
            Failure::Fragments => {
                let size = sizes(false).unwrap_or_default();
                (
                    Id::FragmentsLost,
                    Severity::Warning,
                    format!("datagrams of {size} bytes do not arrive: their fragments are lost"),
                )
            }
            Failure::Forgotten => (
                Id::NoQuerier,
                Severity::Fault,
                "probes arrived at first and do not any more: a switch has forgotten the memberships".into(),
            ),
            Failure::Lossy => {
                let (sent, lost) = edge
                    .pairs
                    .iter()
                    .filter_map(|pair| self.loss(*pair))
                    .fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
                let severity = if lost * 10 >= sent { Severity::Fault } else { Severity::Warning };
                (Id::PathLoss, severity, format!("{lost} of {sent} probes are lost, at every size"))
            }
            Failure::Replies => {
                (Id::RepliesLost, Severity::Warning, "probes arrive, and the answers do not come back".into())
            }
            Failure::HopLimit(limits) => (Id::TtlTooSmall, Severity::Note, limits.to_string()),
        }
    }

    /// Returns where the edge is: the machines, and the switches or ports if LLDP names them.
    fn location(&self, edge: &EdgeFailure) -> String {
        let names = |hosts: &BTreeSet<usize>| {
            let names = hosts.iter().filter_map(|host| self.matrix.hosts.get(*host));
            names.cloned().collect::<Vec<_>>().join(", ")
        };
        let port = |host: Option<&usize>| {
            host.and_then(|host| self.matrix.ports_of(*host))
                .map_or_else(String::new, |port| format!(" (port {port})"))
        };
        match edge.edge {
            FleetEdge::Everything => "Between all machines".into(),
            FleetEdge::Host => format!("From and to {}{}", names(&edge.from), port(edge.from.first())),
            FleetEdge::FromHost => {
                format!("From {}{} to every other machine", names(&edge.from), port(edge.from.first()))
            }
            FleetEdge::ToHost => {
                format!("To {}{} from every other machine", names(&edge.to), port(edge.to.first()))
            }
            FleetEdge::OneWay => {
                format!("From {} to {}{}", names(&edge.from), names(&edge.to), self.switches(edge))
            }
            FleetEdge::BothWays => {
                format!("Between {} and {}{}", names(&edge.from), names(&edge.to), self.switches(edge))
            }
        }
    }

    /// Returns ` (between the switches sw1 and sw2)` if each side is at one switch.
    fn switches(&self, edge: &EdgeFailure) -> String {
        let switch = |hosts: &BTreeSet<usize>| {
            let switches: BTreeSet<_> = hosts.iter().map(|host| self.matrix.switch_of(*host)).collect();
            let one = switches.first().copied().flatten();
            one.filter(|_| switches.len() == 1)
        };
        match (switch(&edge.from), switch(&edge.to)) {
            (Some(one), Some(other)) if one != other => format!(" (between the switches {one} and {other})"),
            (Some(one), Some(_)) => format!(" (on the switch {one})"),
            _ => String::new(),
        }
    }

    fn evidence(&self, failure: Failure, edge: &EdgeFailure) -> Vec<Evidence> {
        /// More lines do not help.
        const MOST: usize = 3;
        let name = |host: usize| self.matrix.hosts.get(host).map_or("?", String::as_str);
        let of = |pair: &FleetPair| {
            let (limit, cells): (_, Vec<_>) = match failure {
                Failure::HopLimit(HopLimits { failed, .. }) => {
                    let cells = self.matrix.between(self.family, *pair);
                    let is_low = |cell: &&FleetCell| cell.hop_limit <= failed;
                    (format!(" with a hop limit of at most {failed}"), cells.filter(is_low).collect())
                }
                _ => (String::new(), self.of(*pair).collect()),
            };
            let (sent, received) = cells
                .iter()
                .fold((0, 0), |sum, cell| (sum.0 + cell.sent, sum.1 + cell.received.min(cell.sent)));
            let location = format!("probes{limit} from {} that {} received", name(pair.0), name(pair.1));
            Evidence::new(EvidenceKind::Packet, location, format!("{received} of {sent}"))
        };
        edge.pairs.iter().take(MOST).map(of).collect()
    }
}

impl fmt::Display for HopLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed, arrived } = self;
        write!(f, "probes arrive with a hop limit of {arrived} and not with {failed}: ")?;
        // Each router reduces the hop limit by 1, and does not forward what would have 0.
        match (failed, arrived - 1) {
            (1, 1) => f.write_str("1 router is between them"),
            (fewest, most) if *fewest == most => write!(f, "{most} routers are between them"),
            (fewest, most) if fewest + 1 == most => write!(f, "{fewest} or {most} routers are between them"),
            (fewest, most) => write!(f, "{fewest} to {most} routers are between them"),
        }
    }
}

fn advice(failure: Failure) -> String {
    let text = match failure {
        Failure::HopLimit(HopLimits { arrived, .. }) => {
            return format!(
                "between these machines, send with a hop limit of {arrived} (mcast send -t {arrived})"
            );
        }
        Failure::Silent => {
            "look at the findings of these machines about themselves; if there are none, at the switch between them: \
             IGMP snooping without a querier, a port that does not forward, a VLAN. If a router is between them, add -t 16"
        }
        Failure::Size => "set the same MTU on both machines and on every switch and tunnel between them",
        Failure::Fragments => {
            "let fragments pass the packet filters on the way, or send datagrams that fit in a frame"
        }
        Failure::Forgotten => {
            "enable the querier on a switch or router of this network (often called \"IGMP snooping querier\")"
        }
        Failure::Lossy => {
            "look at the counters of the interfaces and switch ports between them, at storm control, and at cables"
        }
        Failure::Replies => "let UDP that answers their own datagrams pass the firewall of the senders",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::message::SwitchPort;
    use super::*;

    const SIZES: [usize; 4] = [64, 1_472, 1_473, 4_000];
    const SENT: u64 = 5;

    /// Returns the matrix of `hosts` machines, of whose probes `received(from, to, size, round)` arrive.
    fn matrix(hosts: usize, rounds: u8, received: impl Fn(usize, usize, usize, u8) -> u64) -> FleetMatrix {
        let mut matrix = FleetMatrix {
            hosts: (0..hosts).map(|host| format!("h{host}")).collect(),
            switch_ports: vec![Vec::new(); hosts],
            cells: Vec::new(),
        };
        for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
            for (size, round) in
                SIZES.into_iter().flat_map(|size| (0..rounds).map(move |round| (size, round)))
            {
                let received = received(from, to, size, round);
                let cell = FleetCell {
                    from,
                    to,
                    family: Family::V4,
                    size,
                    hop_limit: 1,
                    round,
                    fits: size <= 1_472,
                    sent: SENT,
                    received,
                    answered: received,
                };
                matrix.cells.extend((from != to).then_some(cell));
            }
        }
        matrix
    }

    fn unicast(hosts: usize, answered: u64) -> Vec<UnicastCell> {
        let pairs = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        pairs.map(|(from, to)| UnicastCell { from, to, family: Family::V4, sent: SENT, answered }).collect()
    }

    fn only(matrix: &FleetMatrix, unicast: &[UnicastCell]) -> (Id, FleetEdge, String) {
        let findings = judge_fleet(matrix, unicast);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        (findings[0].finding.id, findings[0].edge, findings[0].finding.cause.clone())
    }

    #[test]
    fn a_fleet_in_which_everything_arrives_has_no_findings() {
        assert_eq!(judge_fleet(&matrix(4, 2, |_, _, _, _| SENT), &unicast(4, SENT)), []);
        assert_eq!(judge_fleet(&FleetMatrix::default(), &[]), []);
    }

    #[test]
    fn a_machine_that_receives_nothing_is_named_with_its_switch_port() {
        let mut deaf = matrix(3, 1, |_, to, _, _| if to == 2 { 0 } else { SENT });
        deaf.switch_ports[2] =
            vec![SwitchPort { interface: "eth0".into(), switch: "sw3".into(), port: "Gi1/0/7".into() }];
        let (id, edge, cause) = only(&deaf, &unicast(3, SENT));
        assert_eq!((id, edge), (Id::UnicastOnly, FleetEdge::ToHost));
        let expected = "To h2 (port Gi1/0/7 of sw3) from every other machine: unicast arrives, multicast does not (IPv4).";
        assert_eq!(cause, expected);
        assert_eq!(only(&deaf, &unicast(3, 0)).0, Id::HostUnreachable);
        assert_eq!(only(&deaf, &[]).0, Id::NothingArrives);
    }

    #[test]
    fn the_link_between_two_switches_is_named() {
        let mut split = matrix(4, 1, |from, to, _, _| if (from < 2) == (to < 2) { SENT } else { 0 });
        for (host, ports) in split.switch_ports.iter_mut().enumerate() {
            let switch = if host < 2 { "sw1" } else { "sw2" };
            ports.push(SwitchPort {
                interface: "eth0".into(),
                switch: switch.into(),
                port: host.to_string(),
            });
        }
        let (id, edge, cause) = only(&split, &unicast(4, SENT));
        assert_eq!((id, edge), (Id::UnicastOnly, FleetEdge::BothWays));
        assert!(cause.contains("(between the switches sw"), "{cause}");
    }

    #[test]
    fn the_way_in_which_paths_fail_decides_the_cause() {
        let of = |received: &dyn Fn(usize, u8) -> u64| {
            only(
                &matrix(3, 2, |from, _, size, round| if from == 1 { received(size, round) } else { SENT }),
                &[],
            )
        };
        let edge = FleetEdge::FromHost;
        let id = |(id, found, _): (Id, FleetEdge, String)| {
            assert_eq!(found, edge);
            id
        };
        assert_eq!(id(of(&|size, _| if size < 1_472 { SENT } else { 0 })), Id::MtuTooSmall);
        assert_eq!(id(of(&|size, _| if size <= 1_472 { SENT } else { 0 })), Id::FragmentsLost);
        assert_eq!(id(of(&|_, round| if round == 0 { SENT } else { 0 })), Id::NoQuerier);
        assert_eq!(id(of(&|_, _| 3)), Id::PathLoss);
        assert_eq!(id(of(&|_, _| 0)), Id::NothingArrives);
    }

    #[test]
    fn a_finding_in_both_families_is_one() {
        let mut deaf = matrix(3, 1, |_, to, _, _| if to == 2 { 0 } else { SENT });
        let v6 = deaf.cells.clone().into_iter().map(|cell| FleetCell { family: Family::V6, ..cell });
        deaf.cells.extend(v6);
        let (_, _, cause) = only(&deaf, &[]);
        assert_eq!(cause, "To h2 from every other machine: no probe arrives (IPv4 and IPv6).");
    }

    #[test]
    fn one_lost_probe_is_chance() {
        let lost = |from, to, size, _| if (from, to, size) == (0, 1, 64) { SENT - 1 } else { SENT };
        assert_eq!(judge_fleet(&matrix(3, 1, lost), &[]), []);
    }

    #[test]
    fn answers_that_do_not_come_back_are_a_fault_of_the_way_back() {
        let mut mute = matrix(3, 1, |_, _, _, _| SENT);
        mute.cells.iter_mut().filter(|cell| cell.from == 0).for_each(|cell| cell.answered = 0);
        let (id, edge, _) = only(&mute, &[]);
        assert_eq!((id, edge), (Id::RepliesLost, FleetEdge::FromHost));
    }

    #[test]
    fn hop_limits_that_fail_show_how_many_routers_are_between() {
        let behind_routers = |routers: u8, sent: u64| {
            let mut far = matrix(3, 1, |_, _, _, _| SENT);
            for cell in &mut far.cells {
                cell.hop_limit = 16;
            }
            for (cell, hop_limit) in far
                .cells
                .clone()
                .into_iter()
                .filter(|cell| cell.size == 64)
                .flat_map(|cell| [1, 2, 4, 8].map(|limit| (cell, limit)))
            {
                let passes = (cell.from < 2) == (cell.to < 2) || hop_limit > routers;
                far.cells.push(FleetCell {
                    hop_limit,
                    sent,
                    received: if passes { sent } else { 0 },
                    ..cell
                });
            }
            judge_fleet(&far, &[])
        };
        for (routers, text) in [
            (1, "2 and not with 1: 1 router is"),
            (2, "4 and not with 2: 2 or 3 routers are"),
            (7, "8 and not with 4: 4 to 7 routers are"),
        ] {
            let [found] = &behind_routers(routers, SENT)[..] else { panic!("{routers}") };
            assert_eq!(
                (found.finding.id, found.finding.severity, found.edge),
                (Id::TtlTooSmall, Severity::Note, FleetEdge::Host)
            );
            let expected =
                format!("From and to h2: probes arrive with a hop limit of {text} between them (IPv4).");
            assert_eq!(found.finding.cause, expected);
        }
        assert_eq!(behind_routers(0, SENT), []);
        assert_eq!(behind_routers(1, 1), [], "one lost probe is chance");
    }

    #[test]
    fn two_faults_are_both_named() {
        let faults = |from, to, size: usize, _| match (from, to) {
            (0, _) if size > 1_472 => 0,
            (_, 3) => 0,
            _ => SENT,
        };
        let findings = judge_fleet(&matrix(4, 1, faults), &[]);
        let ids: Vec<_> = findings.iter().map(|finding| finding.finding.id).collect();
        assert_eq!(ids, [Id::NothingArrives, Id::FragmentsLost], "{findings:#?}");
    }
}
