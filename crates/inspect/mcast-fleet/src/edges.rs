//! Where a fault is: at which machines, at which ports of switches, and behind how many routers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_packet::{Lldp, Network, ether_type};
use serde::Serialize;

use crate::matrix::{FleetMatrix, FleetPair};
use crate::message::SwitchPort;
use mcast_doctor::{Id, Severity};

type Pairs = BTreeSet<FleetPair>;
type Hosts = BTreeSet<usize>;

/// What failing paths have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FleetEdge {
    /// All paths between all machines fail.
    Everything,
    /// All paths from and to one machine fail.
    Host,
    /// All paths from one machine fail.
    FromHost,
    /// All paths to one machine fail.
    ToHost,
    /// All paths from some machines to some others fail, in this direction.
    OneWay,
    /// All paths between some machines and some others fail, in both directions.
    BothWays,
}

/// Failing paths with a common edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeFailure {
    pub(super) edge: FleetEdge,
    /// The senders; for [`FleetEdge::BothWays`] one side, for [`FleetEdge::Host`] the machine.
    pub(super) from: Hosts,
    /// The receivers; for [`FleetEdge::BothWays`] the other side.
    pub(super) to: Hosts,
    /// The failing paths, which are explained by no other edge.
    pub(super) pairs: Pairs,
}

/// Groups failing paths by their common edge. Every failing path is in one of the results, and only failing ones are.
pub(super) fn edges(failing: &Pairs, tested: &Pairs) -> Vec<EdgeFailure> {
    let failing: Pairs = failing.intersection(tested).copied().collect();
    if failing.is_empty() {
        return Vec::new();
    }
    let hosts: Hosts = tested.iter().flat_map(|(from, to)| [*from, *to]).collect();
    if failing == *tested {
        let pairs = failing;
        return vec![EdgeFailure { edge: FleetEdge::Everything, from: hosts.clone(), to: hosts, pairs }];
    }
    let mut left = failing.clone();
    let mut found = single_hosts(FleetEdge::Host, &hosts, &failing, tested, &mut left);
    // The paths of a machine that is cut off show nothing about the others.
    let is_between_others = |pair: &FleetPair| {
        found.iter().all(|each| !each.from.contains(&pair.0) && !each.from.contains(&pair.1))
    };
    let tested: Pairs = tested.iter().copied().filter(is_between_others).collect();
    for edge in [FleetEdge::FromHost, FleetEdge::ToHost] {
        found.extend(single_hosts(edge, &hosts, &failing, &tested, &mut left));
    }
    found.extend(between(&left));
    found
}

/// Takes the machines whose paths all fail out of `left`.
fn single_hosts(
    edge: FleetEdge,
    hosts: &Hosts,
    failing: &Pairs,
    tested: &Pairs,
    left: &mut Pairs,
) -> Vec<EdgeFailure> {
    let concerns = |host: usize, (from, to): FleetPair| match edge {
        FleetEdge::FromHost => from == host,
        FleetEdge::ToHost => to == host,
        _ => from == host || to == host,
    };
    // With fewer pairs, a failure of one machine looks the same as a failure between two.
    let enough = if edge == FleetEdge::Host { 4 } else { 2 };
    let of = |host: usize, pairs: &Pairs| -> Pairs {
        pairs.iter().copied().filter(|pair| concerns(host, *pair)).collect()
    };
    let mut found = Vec::new();
    for host in hosts {
        let expected = of(*host, tested);
        if expected.len() < enough || !expected.is_subset(failing) {
            continue;
        }
        let pairs: Pairs = expected.intersection(left).copied().collect();
        left.retain(|pair| !pairs.contains(pair));
        let others =
            |side: fn(&FleetPair) -> usize| pairs.iter().map(side).filter(|other| other != host).collect();
        let one = Hosts::from([*host]);
        let (from, to) = match edge {
            FleetEdge::FromHost => (one, others(|pair| pair.1)),
            FleetEdge::ToHost => (others(|pair| pair.0), one),
            _ => (
                one,
                expected.iter().flat_map(|(from, to)| [*from, *to]).filter(|other| other != host).collect(),
            ),
        };
        if !pairs.is_empty() {
            found.push(EdgeFailure { edge, from, to, pairs });
        }
    }
    found
}

/// Groups paths whose senders fail to reach the same receivers, and joins both directions.
fn between(left: &Pairs) -> Vec<EdgeFailure> {
    let mut targets: BTreeMap<usize, Hosts> = BTreeMap::new();
    for (from, to) in left {
        targets.entry(*from).or_default().insert(*to);
    }
    let mut blocks: BTreeMap<Hosts, Hosts> = BTreeMap::new();
    for (from, to) in targets {
        blocks.entry(to).or_default().insert(from);
    }
    let mut blocks: Vec<(Hosts, Hosts)> = blocks.into_iter().map(|(to, from)| (from, to)).collect();
    let mut found = Vec::new();
    while let Some((from, to)) = blocks.pop() {
        let back = blocks.iter().position(|(other, others)| *other == to && *others == from);
        let mut pairs = product(&from, &to);
        let edge = match back {
            Some(index) => {
                blocks.remove(index);
                pairs.extend(product(&to, &from));
                FleetEdge::BothWays
            }
            None => FleetEdge::OneWay,
        };
        let pairs = pairs.intersection(left).copied().collect();
        found.push(EdgeFailure { edge, from, to, pairs });
    }
    found.reverse();
    found
}

fn product(from: &Hosts, to: &Hosts) -> Pairs {
    from.iter()
        .flat_map(|from| to.iter().map(move |to| (*from, *to)))
        .filter(|(from, to)| from != to)
        .collect()
}

/// The longest wait before a check whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of ports.
const MAX_PORTS: usize = 256;

/// The switch ports that LLDP has named so far, by interface and chassis. A switch that forwards LLDP, instead of sending
/// its own, lets an interface hear several.
#[derive(Debug, Default)]
pub(super) struct SwitchPorts(Mutex<BTreeMap<Key, SwitchPort>>);

/// An interface and a chassis.
type Key = (String, String);

impl SwitchPorts {
    /// Records the LLDP of these interfaces until `is_stopped`. Ends at once without the right to capture.
    pub(super) fn listen(&self, interfaces: &[String], is_stopped: &AtomicBool) {
        let options = CaptureOptions::on_names(interfaces).filter(Filter::GroupAddressed);
        let Ok(mut capture) = Capture::open(options.all_multicast(true).outgoing(false)) else { return };
        while !is_stopped.load(Ordering::Relaxed) {
            let Ok(Some(frame)) = capture.next(Some(POLL_INTERVAL)) else { continue };
            let Some(Network::Other { ether_type: ether_type::LLDP, payload }) = frame.packet().network
            else {
                continue;
            };
            if let (Some(unit), Some(interface)) = (Lldp::parse(payload), frame.interface_name) {
                self.record(interface, &unit);
            }
        }
    }

    fn record(&self, interface: &str, unit: &Lldp<'_>) {
        let mut ports = self.ports();
        let key = (interface.to_owned(), unit.chassis.to_string());
        if unit.lifetime == 0 {
            ports.remove(&key);
        } else if ports.len() < MAX_PORTS || ports.contains_key(&key) {
            ports.insert(key, switch_port(interface, unit));
        }
    }

    /// Returns the ports named so far.
    pub(super) fn all(&self) -> Vec<SwitchPort> {
        self.ports().values().cloned().collect()
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<Key, SwitchPort>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn switch_port(interface: &str, unit: &Lldp<'_>) -> SwitchPort {
    let text = unit.to_string();
    // A data unit writes itself as `PORT of SWITCH`.
    let switch = unit.system_name.map_or_else(|| unit.chassis.to_string(), |name| name.to_string());
    let port = text.strip_suffix(&format!(" of {switch}")).unwrap_or(&text).to_owned();
    SwitchPort { interface: interface.to_owned(), switch, port }
}

/// The hop limits with which probes from one machine to another arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HopLimits {
    /// The highest one with which nothing arrives.
    pub(super) failed: u8,
    /// The lowest one with which probes arrive.
    arrived: u8,
    /// The number of routers between the machines, if an answer shows it.
    routers: Option<u8>,
}

/// Returns the pairs between which low hop limits fail, by these limits.
pub(super) fn hop_limits(
    matrix: &FleetMatrix,
    target: usize,
    audible: &BTreeSet<FleetPair>,
) -> BTreeMap<HopLimits, BTreeSet<FleetPair>> {
    /// A single lost probe may be chance.
    const MIN_PROBES: u64 = 2;
    let mut pairs = BTreeMap::<HopLimits, BTreeSet<FleetPair>>::new();
    // Random loss would look like a limit.
    for pair in audible.iter().filter(|pair| matrix.sizes(target, **pair).loss().is_none()) {
        let cells = || matrix.between(target, *pair).iter().filter(|cell| cell.round == 0);
        let arrived = cells().filter(|cell| cell.received > 0).map(|cell| cell.hop_limit).min();
        let Some(arrived) = arrived else { continue };
        let failed = || cells().filter(|cell| cell.hop_limit < arrived && cell.is_silent());
        if let Some(highest) = failed().map(|cell| cell.hop_limit).max()
            && failed().map(|cell| cell.sent).sum::<u64>() >= MIN_PROBES
        {
            let routers = cells().find_map(|cell| cell.routers);
            let limits = HopLimits { failed: highest, arrived, routers };
            pairs.entry(limits).or_default().insert(*pair);
        }
    }
    pairs
}

impl HopLimits {
    /// Returns the lowest hop limit that suffices, as far as it is known.
    fn needed(self) -> u8 {
        // Hop limits are doubled: a value between the two may suffice.
        let by_routers = self.routers.map(|routers| routers.saturating_add(1));
        by_routers.filter(|needed| *needed > self.failed).unwrap_or(self.arrived)
    }

    pub(super) fn describe(self) -> (Id, Severity, String) {
        let Self { failed, arrived, routers } = self;
        match routers {
            Some(routers) if routers < failed => (
                Id::TtlThreshold,
                Severity::Warning,
                format!(
                    "datagrams with a hop limit of {failed} do not arrive, although {} between them: something on \
                     the way drops them",
                    count(routers, routers)
                ),
            ),
            Some(routers) => {
                let (count, needed) = (count(routers, routers), self.needed());
                let text =
                    format!("{count} between them, so that only a hop limit of at least {needed} arrives");
                (Id::TtlTooSmall, Severity::Note, text)
            }
            // Each router reduces the hop limit by 1, and does not forward what would have 0.
            None => {
                let count = count(failed, arrived - 1);
                let text = format!(
                    "{count} between them: a hop limit of {failed} does not arrive, and one of {arrived} does"
                );
                (Id::TtlTooSmall, Severity::Note, text)
            }
        }
    }

    pub(super) fn advice(self) -> String {
        let needed = self.needed();
        format!("between these machines, send with a hop limit of at least {needed} (mcast send -t {needed})")
    }
}

/// Returns `1 router is`, `2 to 3 routers are`.
fn count(fewest: u8, most: u8) -> String {
    match (fewest, most) {
        (0, 0) => "no router is".into(),
        (1, 1) => "1 router is".into(),
        (fewest, most) if fewest >= most => format!("{most} routers are"),
        (fewest, most) if fewest + 1 == most => format!("{fewest} or {most} routers are"),
        (fewest, most) => format!("{fewest} to {most} routers are"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge_fleet;
    use crate::matrix::{FleetCell, FleetMatrix, FleetTarget};

    fn all(hosts: usize) -> Pairs {
        product(&(0..hosts).collect(), &(0..hosts).collect())
    }

    fn only(failing: &Pairs, hosts: usize) -> (FleetEdge, Hosts, Hosts) {
        let mut found = edges(failing, &all(hosts));
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found.remove(0);
        (found.edge, found.from, found.to)
    }

    fn pairs(hosts: usize, fails: impl Fn(usize, usize) -> bool) -> Pairs {
        all(hosts).into_iter().filter(|(from, to)| fails(*from, *to)).collect()
    }

    #[test]
    fn two_machines_that_do_not_reach_each_other_are_everything() {
        assert_eq!(only(&all(2), 2).0, FleetEdge::Everything);
        assert_eq!(edges(&Pairs::new(), &all(3)), []);
    }

    #[test]
    fn between_two_machines_a_direction_is_named() {
        let found = only(&Pairs::from([(0, 1)]), 2);
        assert_eq!(found, (FleetEdge::OneWay, Hosts::from([0]), Hosts::from([1])));
    }

    #[test]
    fn the_paths_of_a_dead_machine_do_not_accuse_another() {
        let found = edges(&pairs(3, |from, to| from == 2 || to == 2 || (from, to) == (0, 1)), &all(3));
        let found: Vec<_> = found.into_iter().map(|each| (each.edge, each.from, each.to)).collect();
        assert_eq!((found[0].0, &found[0].1), (FleetEdge::Host, &Hosts::from([2])));
        assert_eq!(found[1], (FleetEdge::OneWay, Hosts::from([0]), Hosts::from([1])));
    }

    #[test]
    fn a_deaf_machine_beside_a_mute_one_are_two_edges() {
        let found = edges(&pairs(4, |from, to| from == 1 || to == 2), &all(4));
        let found: Vec<_> = found.into_iter().map(|each| (each.edge, each.from, each.to)).collect();
        assert_eq!(found[0].0, FleetEdge::FromHost);
        assert_eq!((found[1].0, &found[1].2), (FleetEdge::ToHost, &Hosts::from([2])));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    proptest! {
        #[test]
        fn every_failing_path_is_in_one_result_and_no_other(
            hosts in 2_usize..7, bits in proptest::collection::vec(any::<bool>(), 49),
        ) {
            let failing = pairs(hosts, |from, to| bits[from * 7 + to]);
            let mut seen = Pairs::new();
            for edge in edges(&failing, &all(hosts)) {
                prop_assert!(!edge.pairs.is_empty());
                for pair in edge.pairs {
                    prop_assert!(failing.contains(&pair), "{pair:?}");
                    prop_assert!(seen.insert(pair), "twice: {pair:?}");
                }
            }
            prop_assert_eq!(seen, failing);
        }

        #[test]
        fn the_failure_of_one_machine_is_named(hosts in 3_usize..9, broken in 0_usize..9, kind in 0..3) {
            let broken = broken % hosts;
            let (edge, fails): (_, fn(usize, usize, usize) -> bool) = match kind {
                0 => (FleetEdge::Host, |broken, from, to| from == broken || to == broken),
                1 => (FleetEdge::FromHost, |broken, from, _| from == broken),
                _ => (FleetEdge::ToHost, |broken, _, to| to == broken),
            };
            let found = only(&pairs(hosts, |from, to| fails(broken, from, to)), hosts);
            prop_assert_eq!(found.0, edge);
            let named = if edge == FleetEdge::ToHost { found.2 } else { found.1 };
            prop_assert_eq!(named, Hosts::from([broken]));
        }

        #[test]
        fn a_split_between_two_sets_is_named(a in 2_usize..5, b in 2_usize..5, both in any::<bool>()) {
            let hosts = a + b;
            let fails = |from: usize, to: usize| (from < a && to >= a) || (both && from >= a && to < a);
            let found = only(&pairs(hosts, fails), hosts);
            prop_assert_eq!(found.0, if both { FleetEdge::BothWays } else { FleetEdge::OneWay });
            let sides = [(0..a).collect::<Hosts>(), (a..hosts).collect()];
            prop_assert!(sides.contains(&found.1) && sides.contains(&found.2));
        }

        #[test]
        fn a_machine_that_was_not_tested_is_not_accused(hosts in 3_usize..7, absent in 0_usize..7) {
            let absent = absent % hosts;
            let tested: Pairs = pairs(hosts, |from, to| from != absent && to != absent);
            for edge in edges(&all(hosts), &tested) {
                prop_assert!(!edge.from.contains(&absent) && !edge.to.contains(&absent));
            }
        }
    }

    #[test]
    fn a_withdrawn_port_is_forgotten() {
        let ports = SwitchPorts::default();
        let unit = |lifetime: u8| {
            [&[2, 2, 7, b'c', 4, 2, 5, b'p', 6, 2, 0][..], &[lifetime], &[10, 3], b"sw3", &[0, 0]].concat()
        };
        ports.record("eth0", &Lldp::parse(&unit(120)).unwrap());
        let expected = SwitchPort { interface: "eth0".into(), switch: "sw3".into(), port: "p".into() };
        assert_eq!(ports.all(), [expected]);
        ports.record("eth0", &Lldp::parse(&unit(0)).unwrap());
        assert_eq!(ports.all(), []);
    }

    #[test]
    fn an_interface_behind_a_switch_that_forwards_lldp_has_several_ports() {
        let ports = SwitchPorts::default();
        for chassis in *b"cd" {
            let unit = [2, 2, 7, chassis, 4, 2, 5, chassis, 6, 2, 0, 120, 0, 0];
            ports.record("eth0", &Lldp::parse(&unit).unwrap());
        }
        assert_eq!(ports.all().len(), 2);
        let matrix = FleetMatrix { switch_ports: vec![ports.all()], ..FleetMatrix::default() };
        assert_eq!(matrix.ports_of(0).unwrap(), "c of c or d of d");
        assert_eq!(matrix.switch_of(0), None);
    }

    /// Returns the id and the cause of what is found between two networks with this number of routers between them, if
    /// the answers show `shown`.
    fn behind(routers: u8, sent: u64, shown: Option<u8>) -> Option<(Id, String)> {
        let found = judge_fleet(&matrix(routers, sent, shown), &[]);
        assert!(found.len() <= 1, "{found:#?}");
        found.into_iter().next().map(|found| (found.finding.id, found.finding.cause))
    }

    fn matrix(routers: u8, sent: u64, shown: Option<u8>) -> FleetMatrix {
        let target = FleetTarget { group: "239.1.2.3:5000".parse().unwrap(), interface: None };
        let mut matrix = FleetMatrix {
            hosts: ["a", "b", "c"].map(str::to_owned).into(),
            switch_ports: vec![Vec::new(); 3],
            targets: vec![target],
            hop_limit: 16,
            cells: BTreeMap::new(),
        };
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let cells = [1, 2, 4, 8, 16].map(|hop_limit| {
                let passes = (from < 2) == (to < 2) || hop_limit > routers;
                let received = if passes { sent } else { 0 };
                let routers = if (from < 2) == (to < 2) { Some(0) } else { shown };
                FleetCell {
                    size: 64,
                    hop_limit,
                    round: 0,
                    frame: 1_472,
                    routers,
                    sent,
                    received,
                    answered: received,
                }
            });
            matrix.cells.insert((0, (from, to)), cells.into());
        }
        matrix
    }

    #[test]
    fn random_loss_is_no_limit() {
        let mut matrix = matrix(1, 5, Some(0));
        let cells = matrix.cells.values_mut().flatten();
        cells.filter(|cell| cell.hop_limit == 16).for_each(|cell| cell.received = 3);
        let found: Vec<_> = judge_fleet(&matrix, &[]).into_iter().map(|found| found.finding.id).collect();
        assert_eq!(found, [Id::PathLoss]);
    }

    #[test]
    fn hop_limits_that_fail_show_how_many_routers_are_between() {
        for (routers, text) in [
            (1, "1 router is between them: a hop limit of 1 does not arrive, and one of 2 does"),
            (2, "2 or 3 routers are between them: a hop limit of 2 does not arrive, and one of 4 does"),
            (7, "4 to 7 routers are between them: a hop limit of 4 does not arrive, and one of 8 does"),
        ] {
            let expected = format!("From and to c: {text} (IPv4).");
            assert_eq!(behind(routers, 5, None), Some((Id::TtlTooSmall, expected)));
        }
        assert_eq!(behind(0, 5, None), None);
        assert_eq!(behind(1, 1, None), None, "one lost probe is chance");
    }

    #[test]
    fn answers_show_the_number_of_routers() {
        let (id, cause) = behind(2, 5, Some(2)).unwrap();
        assert_eq!(id, Id::TtlTooSmall);
        let expected = "From and to c: 2 routers are between them, so that only a hop limit of at least 3 arrives (IPv4).";
        assert_eq!(cause, expected);
        let (id, cause) = behind(1, 5, Some(0)).unwrap();
        assert_eq!(id, Id::TtlThreshold);
        assert!(
            cause.contains("a hop limit of 1 do not arrive, although no router is between them"),
            "{cause}"
        );
    }
}
