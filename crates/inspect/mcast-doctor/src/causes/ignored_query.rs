//! A query reached the interface, but this system did not process it: a firewall drops incoming IGMP or MLD. The
//! host then reports its groups only when it joins, and switches forget them.

use std::net::IpAddr;
use std::time::Duration;

use mcast::Family;

use super::filter_rules::dropping_control;
use crate::netfilter::ControlKind;
use crate::observation::{Interest, Observation};
use crate::snapshot::interface_setting;
use crate::wire::{ControlMessage, ControlPacket};
use crate::{Evidence, EvidenceKind, Finding, Id, remedies};

/// The counter of the MLD queries that the system processed.
const MLD_QUERIES: &str = "Icmp6InGroupMembQueries";

/// Returns the finding if a query for the joined group was dropped.
pub(super) fn finding(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (query, version, proof) = match interest.family() {
        Family::V4 => dropped_igmp_query(observation, interest)?,
        Family::V6 => dropped_mld_query(observation, interest)?,
    };
    let (protocol, interface) = (interest.protocol(), observation.link_name(interest.interface));
    let suspects = dropping_control(observation, interest, ControlKind::Query);
    let finding = Finding::fault(
        Id::FirewallDropsIgmp,
        format!("The {protocol}v{version} query from {} reached {interface}, but this system did not process it: a firewall drops incoming {protocol}. Switches forget {} as nobody reports it again.", query.source, interest.group),
    )
    .on_interface(&interface)
    .for_group(interest.group)
    .evidence(EvidenceKind::Packet, &interface, format!("{protocol}v{version} query from {}", query.source))
    .with_evidence(proof)
    .with_all_evidence(suspects.evidence(observation))
    .with_remedies(remedies::admit_membership_protocol(interest.family(), &interface, suspects.rule()));
    Some(finding)
}

/// Returns the general queries that arrived on the interface while listening. A host that has left a group rightly
/// ignores queries for it.
fn incoming<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
) -> impl Iterator<Item = &'a ControlPacket> {
    let v4 = interest.group.addr().is_ipv4();
    let queries = observation.wire.queries(interest.interface, v4);
    queries.filter(|query| {
        let is_general = matches!(query.message, ControlMessage::Query { group: None, .. });
        is_general && !query.outgoing && query.vlan.is_none()
    })
}

/// A system that processes a query of an older version uses that version from then on.
fn dropped_igmp_query<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
) -> Option<(&'a ControlPacket, u8, Evidence)> {
    const PROCESSED_WITHIN: Duration = Duration::from_millis(200);
    /// The system returns to its own version some time after the latest query.
    const REMEMBERED_FOR: Duration = Duration::from_secs(5);
    let (_, until) = observation.wire.span?;
    let interface = observation.link_name(interest.interface);
    let setting = |name| observation.after.number(&interface_setting(Family::V4, name, "force_igmp_version"));
    let is_forced =
        [&*interface, "all"].into_iter().any(|name| setting(name).is_some_and(|version| version > 0));
    let in_use = *observation.after.igmp_versions.get(&interface)?;
    let is_conclusive = |query: &&ControlPacket| {
        let age = until.duration_since(query.time).unwrap_or_default();
        (PROCESSED_WITHIN..REMEMBERED_FOR).contains(&age)
    };
    let query = incoming(observation, interest).filter(is_conclusive).last()?;
    let ControlMessage::Query { version, .. } = query.message else { return None };
    let proof =
        Evidence::new(EvidenceKind::Table, "/proc/net/igmp Querier", format!("V{in_use} on {interface}"));
    (!is_forced && in_use > version && !drops_by_reverse_path(observation, query.source))
        .then_some((query, version, proof))
}

/// The system counts the MLD queries that the firewall lets through.
fn dropped_mld_query<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
) -> Option<(&'a ControlPacket, u8, Evidence)> {
    let (before, after) = observation.values(MLD_QUERIES)?;
    let query = incoming(observation, interest).next()?;
    let ControlMessage::Query { version, .. } = query.message else { return None };
    let proof =
        Evidence::change(EvidenceKind::Counter, format!("/proc/net/snmp6 {MLD_QUERIES}"), before, after);
    (before == after).then_some((query, version, proof))
}

/// Returns whether the reverse path filter may have dropped the query instead.
fn drops_by_reverse_path(observation: &Observation, source: IpAddr) -> bool {
    let is_near = observation.after.links.iter().any(|link| link.is_next_to(source));
    let dropped = observation.rise_of("TcpExtIPReversePathFilter").is_some_and(|rise| rise > 0);
    dropped && !is_near
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{control, membership, query, with_counters};
    use super::*;

    /// Returns an observation of a query that arrived a second before the end.
    fn queried(to: &str, source: &str, version: u8) -> Observation {
        let mut observation = membership(to, Vec::new(), 0);
        let (_, until) = observation.wire.span.unwrap();
        let time = until - Duration::from_secs(1);
        observation.wire.control.push(control(time, source, query(version, None)));
        observation
    }

    fn found(observation: &Observation) -> Vec<Id> {
        let interests = observation.interests();
        interests
            .iter()
            .filter_map(|interest| finding(observation, interest))
            .map(|finding| finding.id)
            .collect()
    }

    #[test]
    fn igmp_query_that_changed_no_version_was_dropped() {
        let with_version = |in_use| {
            let mut observation = queried("239.1.2.3:5000", "10.9.0.254", 2);
            observation.after.igmp_versions.insert("eth0".into(), in_use);
            observation
        };
        assert_eq!(found(&with_version(3)), [Id::FirewallDropsIgmp]);
        assert_eq!(found(&with_version(2)), []);
        let mut forced = with_version(3);
        forced.after.settings.insert("net.ipv4.conf.all.force_igmp_version".into(), "3".into());
        assert_eq!(found(&forced), []);
    }

    #[test]
    fn mld_query_that_was_not_counted_was_dropped() {
        let observation = || queried("[ff15::1]:5000", "fe80::1", 1);
        assert_eq!(found(&with_counters(observation(), &[(MLD_QUERIES, 0)])), [Id::FirewallDropsIgmp]);
        assert_eq!(found(&with_counters(observation(), &[(MLD_QUERIES, 1)])), []);
        assert_eq!(found(&observation()), [], "the system has no such counter");
    }
}
