//! Group members and routers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_packet::gmp::{
    IgmpMessage, MldMessage, Query, Record, RecordKind, RouterDiscovery, SourceQuery, Sources,
};
use mcast_packet::pim::{HelloOption, PimMessage};
use mcast_watch::Protocol;

use crate::support::Table;

fn query(interval: u64) -> IgmpMessage<'static> {
    IgmpMessage::Query(Query {
        group: None,
        max_response_time: Duration::from_secs(10),
        source_query: Some(SourceQuery {
            suppress: false,
            robustness: 2,
            interval: Duration::from_secs(interval),
            sources: Sources::none(),
        }),
    })
}

#[test]
fn querier_is_reported_with_version_interval_and_expiry() {
    let mut table = Table::new();
    table.observe_igmp(1_000, "10.0.0.254", query(60));
    let report = table.report(11_000);
    let querier = &report.queriers[0];
    assert_eq!(
        (querier.protocol, querier.version, querier.address),
        (Protocol::Igmp, 3, "10.0.0.254".parse().unwrap())
    );
    assert_eq!((querier.interval, querier.quiet), (Some(Duration::from_secs(60)), Duration::from_secs(10)));
    assert_eq!(querier.expires, Duration::from_secs(2 * 60 + 5 - 10));
    assert!(querier.elected);
    assert_eq!(report.totals.control, 1);
    assert!(table.report(127_000).queriers.is_empty());
}

#[test]
fn lowest_nonzero_querier_address_is_elected() {
    let mut table = Table::new();
    for source in ["10.0.0.254", "10.0.0.3", "0.0.0.0"] {
        table.observe_igmp(1_000, source, query(125));
    }
    let elected: Vec<_> =
        table.report(2_000).queriers.iter().map(|each| (each.address.to_string(), each.elected)).collect();
    let expected = [("0.0.0.0", false), ("10.0.0.3", true), ("10.0.0.254", false)];
    assert_eq!(elected, expected.map(|(address, elected)| (address.to_owned(), elected)));
}

#[test]
fn interval_of_an_igmpv2_querier_is_measured() {
    let mut table = Table::new();
    let general = IgmpMessage::Query(Query {
        group: None,
        max_response_time: Duration::from_secs(10),
        source_query: None,
    });
    let about_one = IgmpMessage::Query(Query {
        group: Some(Ipv4Addr::new(239, 1, 2, 3)),
        max_response_time: Duration::from_secs(1),
        source_query: None,
    });
    table.observe_igmp(0, "10.0.0.1", general);
    table.observe_igmp(20_000, "10.0.0.1", about_one);
    table.observe_igmp(30_000, "10.0.0.1", general);
    let report = table.report(31_000);
    let querier = &report.queriers[0];
    assert_eq!((querier.version, querier.interval, querier.queries), (2, Some(Duration::from_secs(30)), 3));
    assert_eq!(querier.quiet, Duration::from_secs(1));
}

/// RFC 3376 section 6.6.2: every query of the elected querier restarts the timer.
#[test]
fn group_specific_query_delays_expiry() {
    let mut table = Table::new();
    let specific = IgmpMessage::Query(Query {
        group: Some(Ipv4Addr::new(239, 1, 2, 3)),
        max_response_time: Duration::from_secs(1),
        source_query: None,
    });
    table.observe_igmp(1_000, "10.0.0.254", query(60));
    table.observe_igmp(51_000, "10.0.0.254", specific);
    let querier = &table.report(61_000).queriers[0];
    assert_eq!(querier.expires, Duration::from_secs(2 * 60 + 5 - 10));
}

#[test]
fn members_are_sorted_by_group_and_host() {
    let mut table = Table::new();
    let group: Ipv6Addr = "ff35::1".parse().unwrap();
    let sources: [Ipv6Addr; 1] = ["fd00::9".parse().unwrap()];
    let records = [Record { kind: RecordKind::AllowNewSources, group, sources: (&sources).into() }];
    table.observe_mld(1_000, "fe80::5", MldMessage::V3Report((&records).into()));
    table.observe_igmp(1_000, "10.0.0.5", IgmpMessage::Report { group: Ipv4Addr::new(239, 1, 2, 3) });
    let report = table.report(3_000);
    let summaries: Vec<_> = report
        .members
        .iter()
        .map(|member| (member.group.to_string(), member.host.to_string(), member.version))
        .collect();
    assert_eq!(
        summaries,
        [("239.1.2.3".into(), "10.0.0.5".into(), 2), ("ff35::1".into(), "fe80::5".into(), 2)]
    );
    assert_eq!(report.members[1].filter.sources().collect::<Vec<_>>(), [std::net::IpAddr::V6(sources[0])]);
    assert_eq!(report.log.len(), 2);
    assert_eq!(report.log[1].text, "MLDv2 report: allow fd00::9 to ff35::1");
}

#[test]
fn pim_neighbor_expires_after_its_hold_time() {
    let mut table = Table::new();
    let options = [HelloOption::HoldTime(30), HelloOption::DrPriority(5), HelloOption::GenerationId(77)];
    table.observe_pim(0, "10.0.0.254", PimMessage::Hello((&options).into()));
    let report = table.report(29_000);
    let neighbor = &report.pim_neighbors[0];
    assert_eq!((neighbor.dr_priority, neighbor.generation_id), (Some(5), Some(77)));
    assert_eq!(neighbor.hold_time, Some(Duration::from_secs(30)));
    assert!(table.report(30_000).pim_neighbors.is_empty());

    table.observe_pim(31_000, "10.0.0.254", PimMessage::Hello((&options).into()));
    let goodbye = [HelloOption::HoldTime(0)];
    table.observe_pim(32_000, "10.0.0.254", PimMessage::Hello((&goodbye).into()));
    assert!(table.report(32_000).pim_neighbors.is_empty());
}

#[test]
fn advertised_router_expires_or_terminates() {
    let mut table = Table::new();
    let advertisement = RouterDiscovery::Advertisement {
        interval: Duration::from_secs(20),
        query_interval: Duration::from_secs(125),
        robustness: 2,
    };
    table.observe_igmp(0, "10.0.0.254", IgmpMessage::RouterDiscovery(advertisement));
    assert_eq!(table.report(59_000).routers[0].interval, Duration::from_secs(20));
    assert!(table.report(60_000).routers.is_empty());
    table.observe_igmp(61_000, "10.0.0.254", IgmpMessage::RouterDiscovery(advertisement));
    table.observe_igmp(62_000, "10.0.0.254", IgmpMessage::RouterDiscovery(RouterDiscovery::Termination));
    assert!(table.report(62_000).routers.is_empty());
}
