//! Finds the common edge of failing paths: one machine, one direction of it, or the way between two sets of machines.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::matrix::FleetPair;

type Pairs = BTreeSet<FleetPair>;
type Hosts = BTreeSet<usize>;

/// What failing paths have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
}
