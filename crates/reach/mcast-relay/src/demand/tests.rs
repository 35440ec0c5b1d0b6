use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use mcast_pace::ClockTime;
use mcast_packet::gmp::{IgmpMessage, Record};
use proptest::prelude::*;

use super::*;

const LEG: LegId = LegId(0);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn group() -> Group {
    Group::new(GROUP.into()).unwrap()
}

fn demand() -> Demand {
    let mut demand = Demand::new(MAX_GROUPS, MAX_GROUPS_OF_HOST);
    demand.start(ClockTime::START, LEG);
    demand
}

fn report(demand: &mut Demand, now: ClockTime, kind: RecordKind, sources: &[Ipv4Addr]) {
    let records = [Record { kind, group: GROUP, sources: sources.into() }];
    demand.receive(now, LEG, HOST, &IgmpMessage::V3Report((&records).into()));
}

fn at(milliseconds: u64) -> ClockTime {
    ClockTime::START + Duration::from_millis(milliseconds)
}

#[test]
fn a_group_is_wanted_until_two_seconds_after_the_last_leave() {
    let mut demand = demand();
    demand.receive(at(0), LEG, HOST, &IgmpMessage::Report { group: GROUP });
    assert!(demand.requested(at(1), LEG, group()).is_any());
    demand.receive(at(100), LEG, HOST, &IgmpMessage::Leave { group: GROUP });
    // The other member reports.
    demand.receive(at(1_000), LEG, HOST, &IgmpMessage::Report { group: GROUP });
    assert!(demand.requested(at(50_000), LEG, group()).is_any());
    demand.receive(at(50_000), LEG, HOST, &IgmpMessage::Leave { group: GROUP });
    assert_eq!(demand.deadline(), Some(at(52_000)));
    assert!(demand.requested(at(51_999), LEG, group()).is_any());
    assert_eq!(demand.expire(at(52_000)), [group()]);
    assert!(demand.requested(at(52_000), LEG, group()).is_none());
    assert_eq!(demand.groups(LEG).count(), 0);
}

#[test]
fn a_membership_that_is_not_reported_again_ends() {
    let mut demand = demand();
    demand.receive(at(0), LEG, HOST, &IgmpMessage::Report { group: GROUP });
    assert_eq!(demand.expire(at(259_999)), []);
    assert_eq!(demand.expire(at(260_000)), [group()]);
}

#[test]
fn a_leave_changes_nothing_while_there_are_hosts_with_the_first_version() {
    let mut demand = demand();
    demand.receive(at(0), LEG, HOST, &IgmpMessage::V1Report { group: GROUP });
    demand.receive(at(10), LEG, HOST, &IgmpMessage::Leave { group: GROUP });
    assert!(demand.requested(at(9_000), LEG, group()).is_any());
}

#[test]
fn a_leg_without_reports_is_reported_once() {
    let mut demand = demand();
    assert_eq!(demand.silent(at(259_999)), []);
    assert_eq!(demand.silent(at(260_000)), [LEG]);
    assert_eq!(demand.silent(at(600_000)), []);
    demand.start(at(600_000), LEG);
    demand.receive(at(600_001), LEG, HOST, &IgmpMessage::Report { group: GROUP });
    assert_eq!(demand.silent(at(2_000_000)), []);
}

#[test]
fn forged_reports_do_not_fill_the_memory() {
    let mut demand = demand();
    for number in 0..10_000_u32 {
        let group = Ipv4Addr::from_bits(0xef00_0000 + number);
        let host = Ipv4Addr::from_bits(0x0a00_0000 + number);
        demand.receive(at(0), LEG, host.into(), &IgmpMessage::Report { group });
    }
    assert_eq!(demand.groups(LEG).count(), MAX_GROUPS);
    let refused = demand.take_refused(at(0), LEG).unwrap();
    assert_eq!((refused.groups, refused.count), (1, 10_000 - MAX_GROUPS as u64));
    let sources: Vec<_> = (0..300_u32).map(|number| Ipv4Addr::from_bits(0x0a00_0000 + number)).collect();
    let mut demand = super::tests::demand();
    report(&mut demand, at(0), RecordKind::ModeIsInclude, &sources);
    assert!(demand.requested(at(1), LEG, group()).is_any(), "too many sources are all sources");
}

#[test]
fn a_host_fills_only_its_own_share_of_the_groups() {
    let mut demand = demand();
    let forged = |number: u32| IgmpMessage::Report { group: Ipv4Addr::from_bits(0xef10_0000 + number) };
    for number in 0..10_000 {
        demand.receive(at(0), LEG, HOST, &forged(number));
    }
    assert_eq!(demand.groups(LEG).count(), MAX_GROUPS_OF_HOST);
    let refused = RefusedMemberships {
        host: HOST,
        groups: MAX_GROUPS_OF_HOST,
        count: 10_000 - MAX_GROUPS_OF_HOST as u64,
    };
    assert_eq!(demand.take_refused(at(0), LEG), Some(refused));
    // Another host is not affected, and nothing more is reported within a minute.
    let other = Ipv4Addr::new(10, 0, 0, 8).into();
    assert_eq!(demand.receive(at(1), LEG, other, &IgmpMessage::Report { group: GROUP }), [group()]);
    demand.receive(at(2), LEG, HOST, &forged(10_001));
    assert_eq!(demand.take_refused(at(59_000), LEG), None);
    assert!(demand.take_refused(at(60_000), LEG).is_some());
    // What has ended counts no longer.
    demand.expire(at(300_000));
    assert_eq!(demand.receive(at(300_000), LEG, HOST, &forged(1)).len(), 1);
}

/// A host and its filter for the group.
type Host = SourceFilter;

/// A host that forges reports can also forge their sources.
#[test]
fn hosts_with_forged_addresses_take_from_each_other_and_not_from_a_host_with_few_groups() {
    let mut demand = demand();
    let forged = |demand: &mut Demand, number: u32| {
        let host = IpAddr::from([10, 0, 1, (number % 200) as u8]);
        let group = Ipv4Addr::from_bits(0xefff_0000 | number);
        demand.receive(at(1), LEG, host, &IgmpMessage::Report { group })
    };
    // A forged host reports it first.
    demand.receive(at(0), LEG, IpAddr::from([10, 0, 1, 7]), &IgmpMessage::Report { group: GROUP });
    (0..10_000).for_each(|number| drop(forged(&mut demand, number)));
    let joined = demand.receive(at(2), LEG, HOST, &IgmpMessage::Report { group: GROUP });
    assert!(joined.contains(&group()), "{joined:?}");
    assert!(demand.requested(at(3), LEG, group()).is_any(), "a host that joins is kept out");
    // What is left joins nothing, and takes nothing.
    let before: BTreeSet<_> = demand.groups(LEG).collect();
    for number in 0..1_000 {
        let host = IpAddr::from([10, 0, 2, (number % 200) as u8]);
        let group = Ipv4Addr::from_bits(0xeffe_0000 | number);
        assert_eq!(demand.receive(at(2), LEG, host, &IgmpMessage::Leave { group }), []);
    }
    assert_eq!(demand.groups(LEG).collect::<BTreeSet<_>>(), before);
    let changed: Vec<_> = (10_000..60_000).flat_map(|number| forged(&mut demand, number)).collect();
    assert!(demand.requested(at(4), LEG, group()).is_any(), "its group was taken from it");
    assert!(!changed.contains(&group()));
    assert_eq!(demand.groups(LEG).count(), MAX_GROUPS);
    let refused = demand.take_refused(at(5), LEG).unwrap();
    assert!(refused.count > 50_000 && refused.host != HOST, "{refused:?}");
}

fn filters() -> impl Strategy<Value = Host> {
    let sources =
        prop::collection::btree_set((1_u8..6).prop_map(|last| IpAddr::from([10, 0, 0, last])), 0..4);
    (any::<bool>(), sources).prop_map(|(exclude, sources)| match exclude {
        true => SourceFilter::Exclude(sources),
        false => SourceFilter::Include(sources),
    })
}

/// Returns the records by which a host reports that it changes its filter (RFC 3376 section 5.1).
fn change(before: &Host, after: &Host) -> Vec<(RecordKind, BTreeSet<IpAddr>)> {
    use SourceFilter::{Exclude, Include};
    let lists = match (before, after) {
        (Include(before), Include(after)) => {
            vec![(RecordKind::AllowNewSources, after - before), (RecordKind::BlockOldSources, before - after)]
        }
        (Exclude(before), Exclude(after)) => {
            vec![(RecordKind::AllowNewSources, before - after), (RecordKind::BlockOldSources, after - before)]
        }
        (Include(_), Exclude(after)) => return vec![(RecordKind::ChangeToExclude, after.clone())],
        (Exclude(_), Include(after)) => return vec![(RecordKind::ChangeToInclude, after.clone())],
    };
    lists.into_iter().filter(|(_, sources)| !sources.is_empty()).collect()
}

fn send(demand: &mut Demand, now: ClockTime, kind: RecordKind, sources: &BTreeSet<IpAddr>) {
    let sources: Vec<_> = sources
        .iter()
        .filter_map(|source| match source {
            IpAddr::V4(source) => Some(*source),
            IpAddr::V6(_) => None,
        })
        .collect();
    report(demand, now, kind, &sources);
}

proptest! {
    /// The proxy wants what the hosts want: at every moment at least that, and nothing more once the querier has asked
    /// and the hosts have answered.
    #[test]
    fn the_request_is_the_union_of_the_hosts(
        changes in prop::collection::vec((0_usize..3, filters(), 1_u64..400), 1..20),
    ) {
        let (mut demand, mut now) = (demand(), ClockTime::START);
        let mut hosts = vec![SourceFilter::NONE; 3];
        let union = |hosts: &[Host]| hosts.iter().fold(SourceFilter::NONE, |all, host| all.union(host));
        for (host, filter, pause) in changes {
            for (kind, sources) in change(&hosts[host], &filter) {
                send(&mut demand, now, kind, &sources);
            }
            hosts[host] = filter;
            // The querier asks, and all hosts answer with what they want, before the last member query time passes.
            let queried = now;
            now = now + Duration::from_millis(pause);
            for host in &hosts {
                match host {
                    SourceFilter::Include(sources) if sources.is_empty() => {}
                    SourceFilter::Include(sources) => send(&mut demand, now, RecordKind::ModeIsInclude, sources),
                    SourceFilter::Exclude(sources) => send(&mut demand, now, RecordKind::ModeIsExclude, sources),
                }
                demand.expire(now);
                let (wanted, requested) = (union(&hosts), demand.requested(now, LEG, group()));
                for last in 1..7 {
                    let source = IpAddr::from([10, 0, 0, last]);
                    prop_assert!(requested.admits(source) || !wanted.admits(source), "{wanted:?} {requested:?}");
                }
            }
            now = queried + Duration::from_millis(2_001 + pause);
            demand.expire(now);
        }
        // Nobody has changed anything for two membership intervals, in which all have answered queries.
        for _ in 0..40 {
            now = now + Duration::from_secs(20);
            for host in &hosts {
                match host {
                    SourceFilter::Include(sources) if sources.is_empty() => {}
                    SourceFilter::Include(sources) => send(&mut demand, now, RecordKind::ModeIsInclude, sources),
                    SourceFilter::Exclude(sources) => send(&mut demand, now, RecordKind::ModeIsExclude, sources),
                }
            }
            demand.expire(now);
        }
        let (wanted, requested) = (union(&hosts), demand.requested(now, LEG, group()));
        for last in 1..7 {
            let source = IpAddr::from([10, 0, 0, last]);
            prop_assert!(requested.admits(source) || !wanted.admits(source), "{wanted:?} {requested:?}");
        }
        if hosts.iter().all(|host| matches!(host, SourceFilter::Include(_))) {
            prop_assert_eq!(requested, wanted);
        }
    }
}
