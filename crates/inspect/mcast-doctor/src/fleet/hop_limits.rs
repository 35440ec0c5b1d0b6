//! Low hop limits that do not arrive: how many routers are between two machines.

use std::collections::{BTreeMap, BTreeSet};

use super::matrix::{FleetMatrix, FleetPair};
use crate::{Id, Severity};

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
    use super::super::matrix::{FleetCell, FleetTarget};
    use super::*;
    use crate::judge_fleet;

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
