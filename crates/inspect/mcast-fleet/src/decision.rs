//! Decides which paths of a fleet fail, in which way, and what they have in common.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::edges::{EdgeFailure, FleetEdge, HopLimits, edges, hop_limits};
use crate::matrix::{FleetCell, FleetMatrix, FleetPair, PathOutcome, UnicastCell};
use mcast_doctor::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

type Pairs = BTreeSet<FleetPair>;

/// A fault of the network between machines, or of one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FleetFinding {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// What the failing paths have in common
    pub edge: FleetEdge,
    /// Sending machines, or those on one side
    pub from: Vec<String>,
    /// Receiving machines, or those on the other side
    pub to: Vec<String>,
}

/// A way in which a path fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Silent,
    /// Nothing arrives in another network.
    OtherNetwork,
    /// Nothing of a size arrives, although it fits in a frame.
    Size,
    /// Nothing arrives that needs several frames.
    Fragments,
    /// What arrived at first does not arrive any more.
    Forgotten,
    /// Part of it is lost at every size.
    Lossy,
    /// Part of what needs several frames is lost.
    LossyFragments,
    /// It arrives, and the answers do not.
    Replies,
    /// It arrives only with a high hop limit.
    HopLimit(HopLimits),
}

/// Judges the results of a fleet.
#[must_use]
pub fn judge_fleet(matrix: &FleetMatrix, unicast: &[UnicastCell]) -> Vec<FleetFinding> {
    let mut findings: Vec<(FleetFinding, Vec<String>)> = Vec::new();
    for target in 0..matrix.targets.len() {
        let name = matrix.target_name(target);
        for found in (TargetJudge { matrix, unicast, target }).findings() {
            match findings.iter_mut().find(|(known, _)| known.is_same(&found)) {
                Some((known, targets)) => {
                    known.finding.severity = known.finding.severity.max(found.finding.severity);
                    known.finding.evidence.extend(found.finding.evidence);
                    targets.push(name.clone());
                }
                None => findings.push((found, vec![name.clone()])),
            }
        }
    }
    findings.sort_by_key(|(found, _)| std::cmp::Reverse(found.finding.severity));
    findings.into_iter().map(|(found, targets)| found.about(&targets)).collect()
}

impl FleetFinding {
    /// Returns whether this is the same finding about another target.
    fn is_same(&self, other: &Self) -> bool {
        let key = |found: &Self| (found.finding.id, found.edge, found.from.clone(), found.to.clone());
        key(self) == key(other) && self.finding.cause == other.finding.cause
    }

    /// Names the targets at the end of the cause.
    fn about(mut self, targets: &[String]) -> Self {
        self.finding.cause = format!("{} ({}).", self.finding.cause, targets.join(" and "));
        self
    }
}

struct TargetJudge<'a> {
    matrix: &'a FleetMatrix,
    unicast: &'a [UnicastCell],
    target: usize,
}

impl TargetJudge<'_> {
    fn findings(&self) -> Vec<FleetFinding> {
        let tested = self.matrix.tested(self.target);
        let select = |from: &Pairs, selects: &dyn Fn(FleetPair) -> bool| -> Pairs {
            from.iter().copied().filter(|pair| selects(*pair)).collect()
        };
        let outcome = |pair| self.matrix.outcome(self.target, pair);
        let sizes = |pair| self.matrix.sizes(self.target, pair);
        let silent = select(&tested, &|pair| outcome(pair) == PathOutcome::Silent);
        let (elsewhere, silent): (Pairs, Pairs) =
            silent.into_iter().partition(|pair| self.is_in_other_network(*pair));
        let audible = select(&tested, &|pair| outcome(pair) != PathOutcome::Silent);
        let forgotten = select(&audible, &|pair| outcome(pair) == PathOutcome::Forgotten);
        let too_large = |pair, fits| {
            let sizes = sizes(pair);
            sizes.too_large().is_some_and(|size| sizes.fits(size) == fits)
        };
        // Where single frames are lost, it is chance on which paths these are fragments.
        let lossy = select(&audible, &|pair| sizes(pair).loss().is_some());
        let is_of_fragments = |pair: &FleetPair| sizes(*pair).loss().is_some_and(|loss| loss.is_of_fragments);
        let loss = if lossy.iter().all(is_of_fragments) { Failure::LossyFragments } else { Failure::Lossy };
        let cases = [
            (Failure::Silent, silent, &tested),
            (Failure::OtherNetwork, elsewhere, &tested),
            (Failure::Size, select(&audible, &|pair| too_large(pair, true)), &audible),
            (Failure::Fragments, select(&audible, &|pair| too_large(pair, false)), &audible),
            (Failure::Forgotten, forgotten, &audible),
            (loss, lossy, &audible),
            (Failure::Replies, select(&audible, &|pair| self.is_without_replies(pair)), &audible),
        ];
        let routed = hop_limits(self.matrix, self.target, &audible).into_iter();
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

    /// Returns the cells with the highest hop limit.
    fn of(&self, pair: FleetPair) -> impl Iterator<Item = &FleetCell> {
        let cells = self.matrix.between(self.target, pair).iter();
        cells.filter(|cell| cell.hop_limit == self.matrix.hop_limit)
    }

    /// Returns whether the machines have addresses in different networks, so that a router is between them.
    fn is_in_other_network(&self, pair: FleetPair) -> bool {
        let of_pair = |cell: &&UnicastCell| cell.target == self.target && (cell.from, cell.to) == pair;
        self.unicast.iter().filter(of_pair).any(|cell| cell.is_on_link == Some(false))
    }

    /// Returns whether probes arrived and no answer came back, and the way back does not lose everything anyway.
    fn is_without_replies(&self, pair: FleetPair) -> bool {
        let back = (pair.1, pair.0);
        let is_cut = self.matrix.outcome(self.target, back) == PathOutcome::Silent
            && self.unicast(&Pairs::from([back])) == Some(false);
        self.of(pair).all(|cell| cell.answered == 0) && !is_cut
    }

    /// Returns how unicast does on these paths: all pass, none does, or it is unclear.
    fn unicast(&self, pairs: &Pairs) -> Option<bool> {
        let is_here = |cell: &&UnicastCell| {
            cell.sent > 0 && cell.target == self.target && pairs.contains(&(cell.from, cell.to))
        };
        let cells: Vec<_> = self.unicast.iter().filter(is_here).collect();
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
            .with_remedies([Remedy::advice(Tool::Network, self.advice(failure))]);
        FleetFinding { finding, edge: edge.edge, from, to }
    }

    fn describe(&self, failure: Failure, edge: &EdgeFailure) -> (Id, Severity, String) {
        let sizes = || edge.pairs.iter().map(|pair| self.matrix.sizes(self.target, *pair));
        let too_large = || sizes().filter_map(|sizes| sizes.too_large()).min().unwrap_or_default();
        match failure {
            Failure::OtherNetwork if self.matrix.hop_limit == 1 => (
                Id::TtlTooSmall,
                Severity::Warning,
                "no probe arrives, because these machines are in different networks, and no router forwards \
                 datagrams with a hop limit of 1"
                    .into(),
            ),
            Failure::Silent | Failure::OtherNetwork => match self.unicast(&edge.pairs) {
                Some(true) => {
                    (Id::UnicastOnly, Severity::Fault, "unicast arrives, multicast does not".into())
                }
                Some(false) => {
                    (Id::HostUnreachable, Severity::Fault, "neither multicast nor unicast arrives".into())
                }
                None => (Id::NothingArrives, Severity::Fault, "no probe arrives".into()),
            },
            Failure::Size => (
                Id::MtuTooSmall,
                Severity::Fault,
                format!("datagrams of {} bytes do not arrive, although they fit in a frame", too_large()),
            ),
            Failure::Fragments => (
                Id::FragmentsLost,
                Severity::Warning,
                format!("datagrams of {} bytes do not arrive: their fragments are lost", too_large()),
            ),
            Failure::Forgotten => (
                Id::MembershipForgotten,
                Severity::Fault,
                "probes arrived at first and do not any more: a switch has forgotten the memberships".into(),
            ),
            Failure::Lossy => {
                let severities = sizes().filter_map(|sizes| sizes.loss()).map(|loss| loss.severity);
                let severity = severities.max().unwrap_or(Severity::Warning);
                (Id::PathLoss, severity, "some of the probes are lost".into())
            }
            Failure::LossyFragments => (
                Id::PathLoss,
                Severity::Warning,
                "some of the probes are lost that need several frames".into(),
            ),
            Failure::Replies => (
                Id::RepliesLost,
                Severity::Warning,
                "probes arrive, and no answers come back within 1 s".into(),
            ),
            Failure::HopLimit(limits) => limits.describe(),
        }
    }

    /// Returns where the edge is: the machines, and the switches or ports if LLDP names them.
    fn location(&self, edge: &EdgeFailure) -> String {
        let names = |hosts: &BTreeSet<usize>| {
            let names = hosts.iter().filter_map(|host| self.matrix.hosts.get(*host));
            names.cloned().collect::<Vec<_>>().join(", ")
        };
        let port =
            |hosts: &BTreeSet<usize>| hosts.first().and_then(|host| self.port(*host)).unwrap_or_default();
        match edge.edge {
            FleetEdge::Everything => "Between all machines".into(),
            FleetEdge::Host => format!("From and to {}{}", names(&edge.from), port(&edge.from)),
            FleetEdge::FromHost => {
                format!("From {}{} to every other machine", names(&edge.from), port(&edge.from))
            }
            FleetEdge::ToHost => {
                format!("To {}{} from every other machine", names(&edge.to), port(&edge.to))
            }
            FleetEdge::OneWay => {
                format!("From {} to {}{}", names(&edge.from), names(&edge.to), self.switches(edge))
            }
            FleetEdge::BothWays => {
                format!("Between {} and {}{}", names(&edge.from), names(&edge.to), self.switches(edge))
            }
        }
    }

    /// Returns ` (port Gi1/0/7 of sw3)`. If no other machine is at that switch, the fault may also be behind it.
    fn port(&self, host: usize) -> Option<String> {
        let port = self.matrix.ports_of(host)?;
        let own = self.matrix.switch_of(host);
        let others = (0..self.matrix.hosts.len()).filter(|other| *other != host);
        let mut others = others.filter_map(|other| self.matrix.switch_of(other)).peekable();
        let is_alone = others.peek().is_some() && others.all(|other| Some(other) != own);
        Some(match own.filter(|_| is_alone) {
            Some(switch) => format!(" (port {port}, or between {switch} and the other switches)"),
            None => format!(" (port {port})"),
        })
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
        let target = self.matrix.target_name(self.target);
        let of = |pair: &FleetPair| {
            let (limit, cells): (_, Vec<_>) = match failure {
                Failure::HopLimit(HopLimits { failed, .. }) => {
                    let cells = self.matrix.between(self.target, *pair).iter();
                    let is_low = |cell: &&FleetCell| cell.hop_limit <= failed;
                    (format!(" with a hop limit of at most {failed}"), cells.filter(is_low).collect())
                }
                _ => (String::new(), self.of(*pair).collect()),
            };
            let (sent, received) = cells
                .iter()
                .fold((0, 0), |sum, cell| (sum.0 + cell.sent, sum.1 + cell.received.min(cell.sent)));
            let location =
                format!("probes{limit} from {} that {} received ({target})", name(pair.0), name(pair.1));
            Evidence::new(EvidenceKind::Packet, location, format!("{received} of {sent}"))
        };
        edge.pairs.iter().take(MOST).map(of).collect()
    }

    fn advice(&self, failure: Failure) -> String {
        let text = match failure {
            Failure::HopLimit(limits) => return limits.advice(),
            Failure::Silent => {
                "look at the findings of these machines about themselves; if there are none, at the switch between \
                 them: IGMP snooping without a querier, a port that does not forward, a VLAN. If a router is between \
                 them, add -t 16"
            }
            Failure::OtherNetwork if self.matrix.hop_limit > 1 => {
                "these machines are in different networks: a router between them must forward the group (PIM, or a \
                 proxy for IGMP and MLD)"
            }
            Failure::OtherNetwork => {
                "test with a higher hop limit: add -t 16; programs must set one as well (mcast send -t 16)"
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
            Failure::LossyFragments => {
                "a lost frame loses its whole datagram: send datagrams that fit in a frame, and probe with -c 100, \
                 which shows how many single frames are lost"
            }
            Failure::Replies => "let UDP that answers their own datagrams pass the firewall of the senders",
        };
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::matrix::FleetTarget;
    use crate::message::SwitchPort;

    const V4: &str = "239.1.2.3:5000";
    const V6: &str = "[ff15::1]:5000";
    const SIZES: [usize; 4] = [64, 1_472, 1_473, 4_000];
    const SENT: u64 = 5;

    /// Returns the matrix of `hosts` machines, of whose probes `received(from, to, size, round)` arrive.
    fn matrix(hosts: usize, rounds: u8, received: impl Fn(usize, usize, usize, u8) -> u64) -> FleetMatrix {
        let mut matrix = FleetMatrix {
            hosts: (0..hosts).map(|host| format!("h{host}")).collect(),
            switch_ports: vec![Vec::new(); hosts],
            targets: vec![FleetTarget { group: V4.parse().unwrap(), interface: None }],
            hop_limit: 1,
            cells: BTreeMap::new(),
        };
        for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
            for (size, round) in
                SIZES.into_iter().flat_map(|size| (0..rounds).map(move |round| (size, round)))
            {
                let received = received(from, to, size, round);
                let cell = FleetCell {
                    size,
                    hop_limit: 1,
                    round,
                    frame: 1_472,
                    routers: None,
                    sent: SENT,
                    received,
                    answered: received,
                };
                if from != to {
                    matrix.cells.entry((0, (from, to))).or_default().push(cell);
                }
            }
        }
        matrix
    }

    fn unicast(hosts: usize, answered: u64) -> Vec<UnicastCell> {
        let pairs = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        let is_on_link = Some(true);
        pairs
            .map(|(from, to)| UnicastCell { from, to, target: 0, is_on_link, sent: SENT, answered })
            .collect()
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
    fn the_only_machine_of_a_switch_does_not_decide_between_its_port_and_the_link_to_the_switch() {
        let mut deaf = matrix(3, 1, |_, to, _, _| if to == 2 { 0 } else { SENT });
        for (host, switch) in [(0, "sw1"), (1, "sw1"), (2, "sw2")] {
            let (interface, port) = ("eth0".into(), host.to_string());
            deaf.switch_ports[host] = vec![SwitchPort { interface, switch: switch.into(), port }];
        }
        let (_, _, cause) = only(&deaf, &[]);
        assert!(cause.starts_with("To h2 (port 2 of sw2, or between sw2 and the other switches)"), "{cause}");
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
        assert_eq!(id(of(&|_, round| if round == 0 { SENT } else { 0 })), Id::MembershipForgotten);
        assert_eq!(id(of(&|_, _| 3)), Id::PathLoss);
        assert_eq!(id(of(&|_, _| 0)), Id::NothingArrives);
    }

    #[test]
    fn a_finding_in_both_families_is_one() {
        let mut deaf = matrix(3, 1, |_, to, _, _| if to == 2 { 0 } else { SENT });
        deaf.targets.push(FleetTarget { group: V6.parse().unwrap(), interface: None });
        let v6 = deaf.cells.clone().into_iter().map(|((_, pair), cells)| ((1, pair), cells));
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
        let from = mute.cells.iter_mut().filter(|((_, pair), _)| pair.0 == 0);
        from.flat_map(|(_, cells)| cells).for_each(|cell| cell.answered = 0);
        let (id, edge, _) = only(&mute, &[]);
        assert_eq!((id, edge), (Id::RepliesLost, FleetEdge::FromHost));
    }

    #[test]
    fn two_groups_of_a_family_are_judged_apart() {
        let mut matrix = matrix(3, 1, |_, _, _, _| SENT);
        let silent = |cell: &FleetCell| FleetCell { received: 0, answered: 0, ..*cell };
        for interface in ["eth0", "eth1"] {
            let target = FleetTarget { group: V4.parse().unwrap(), interface: Some(interface.into()) };
            matrix.targets.push(target);
        }
        let cells = matrix.cells.clone().into_iter();
        matrix.cells.extend(cells.flat_map(|((_, pair), cells)| {
            let second = if pair.1 == 2 { cells.iter().map(silent).collect() } else { cells.clone() };
            [((1, pair), cells), ((2, pair), second)]
        }));
        let (id, edge, cause) = only(&matrix, &[]);
        assert_eq!((id, edge), (Id::NothingArrives, FleetEdge::ToHost));
        assert_eq!(cause, "To h2 from every other machine: no probe arrives (239.1.2.3:5000 on eth1).");
    }

    #[test]
    fn a_hop_limit_of_1_does_not_reach_another_network() {
        let far = matrix(3, 1, |from, to, _, _| if (from == 2) == (to == 2) { SENT } else { 0 });
        let mut beside = unicast(3, SENT);
        beside.iter_mut().for_each(|cell| cell.is_on_link = Some((cell.from == 2) == (cell.to == 2)));
        let [found] = &judge_fleet(&far, &beside)[..] else { panic!() };
        let (id, severity) = (found.finding.id, found.finding.severity);
        assert_eq!((id, severity, found.edge), (Id::TtlTooSmall, Severity::Warning, FleetEdge::Host));
        // With a higher hop limit, routers should forward them.
        let higher = far.cells.iter().map(|(path, cells)| {
            (*path, cells.iter().map(|cell| FleetCell { hop_limit: 16, ..*cell }).collect())
        });
        let far = FleetMatrix { cells: higher.collect(), hop_limit: 16, ..far.clone() };
        assert_eq!(only(&far, &beside).0, Id::UnicastOnly);
    }

    #[test]
    fn answers_on_a_way_that_loses_everything_are_no_fault_of_their_own() {
        let mut cut = matrix(3, 1, |from, to, _, _| if (from, to) == (0, 1) { 0 } else { SENT });
        cut.cells.get_mut(&(0, (1, 0))).unwrap().iter_mut().for_each(|cell| cell.answered = 0);
        let mut beside = unicast(3, SENT);
        beside.retain(|cell| (cell.from, cell.to) != (1, 0));
        beside.iter_mut().filter(|cell| (cell.from, cell.to) == (0, 1)).for_each(|cell| cell.answered = 0);
        assert_eq!(only(&cut, &beside).0, Id::HostUnreachable);
    }

    #[test]
    fn loss_is_one_finding_and_never_healthy() {
        let lossy = |_: usize, to: usize, size: usize, _| match (to, size) {
            (2, 4_000) => 2,
            (2, 64 | 1_472) => 4,
            _ => SENT,
        };
        let (id, edge, cause) = only(&matrix(3, 1, lossy), &[]);
        assert_eq!((id, edge), (Id::PathLoss, FleetEdge::ToHost));
        assert!(cause.contains("some of the probes are lost (IPv4)"), "{cause}");
        let mixed = |from: usize, to: usize, size: usize, _| match (from, to, size) {
            (0, 2, 64 | 512) | (1, 2, 4_000) => 3,
            _ => SENT,
        };
        assert_eq!(only(&matrix(3, 1, mixed), &[]).1, FleetEdge::ToHost);
        let fragments = |_: usize, to: usize, size: usize, _| if (to, size) == (2, 4_000) { 3 } else { SENT };
        let (id, edge, cause) = only(&matrix(3, 1, fragments), &[]);
        assert_eq!((id, edge), (Id::PathLoss, FleetEdge::ToHost));
        assert!(cause.contains("several frames"), "{cause}");
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
