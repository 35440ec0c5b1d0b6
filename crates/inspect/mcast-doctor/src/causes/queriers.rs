//! Queriers whose queries disagree, are wrong, or are ignored. That there is none is in `no_querier`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::{Family, InterfaceIndex};

use super::filter_rules::dropping_control;
use super::{Cause, Check};
use crate::netfilter::ControlKind;
use crate::observation::{Interest, Observation, protocol};
use crate::snapshot::interface_setting;
use crate::wire::{ControlMessage, ControlPacket, Tagging};
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool, remedies};

/// Two queriers send queries on one network, although the one with the higher address must be silent.
pub(super) const TWO_QUERIERS: Cause =
    Cause::new(Check::Observation(two_queriers), &["RFC 9776 section 6.6.2", "RFC 4541 section 2.1.1"])
        .without_loss();

/// The general queries of one querier.
#[derive(Default)]
struct HeardQuerier {
    times: Vec<SystemTime>,
    versions: BTreeSet<u8>,
}

fn two_queriers(observation: &Observation) -> Vec<Finding> {
    let mut networks =
        BTreeMap::<(InterfaceIndex, Option<Tagging>, bool), BTreeMap<IpAddr, HeardQuerier>>::new();
    for packet in &observation.wire.control {
        // Queries without a source are those of switches, which do not take part in the election.
        if let ControlMessage::Query { version, group: None, .. } = packet.message
            && !packet.source.is_unspecified()
        {
            let network = (packet.interface, packet.vlan, packet.source.is_ipv4());
            let querier = networks.entry(network).or_default().entry(packet.source).or_default();
            querier.times.push(packet.time);
            querier.versions.insert(version);
        }
    }
    let judged = networks.into_iter().filter_map(|((interface, ..), queriers)| {
        let mut queriers = queriers.into_iter();
        let elected = queriers.next()?;
        let other = queriers.find(|(_, other)| keeps_querying(&elected.1, other))?;
        Some(two_queriers_finding(observation, interface, &elected, &other))
    });
    judged.collect()
}

/// Returns whether the other querier sent queries after it must have received one of the elected querier. One query may have been on
/// its way.
fn keeps_querying(elected: &HeardQuerier, other: &HeardQuerier) -> bool {
    const NOTICED_WITHIN: Duration = Duration::from_millis(100);
    let first = elected.times.iter().min().copied();
    let later = |time: &&SystemTime| {
        first.is_some_and(|first| time.duration_since(first).is_ok_and(|since| since >= NOTICED_WITHIN))
    };
    other.times.iter().filter(later).count() >= 2
}

fn two_queriers_finding(
    observation: &Observation,
    interface: InterfaceIndex,
    elected: &(IpAddr, HeardQuerier),
    other: &(IpAddr, HeardQuerier),
) -> Finding {
    let interface = observation.link_name(interface);
    let protocol = protocol(mcast::Family::of(elected.0));
    let queries = |(source, querier): &(IpAddr, HeardQuerier)| {
        let versions: Vec<_> =
            querier.versions.iter().map(|version| format!("{protocol}v{version}")).collect();
        let text = format!("{} {} queries from {source}", querier.times.len(), versions.join(" and "));
        Evidence::new(EvidenceKind::Packet, &interface, text)
    };
    let mixed = if elected.1.versions == other.1.versions {
        ""
    } else {
        " They use different versions, so hosts fall back to the older one."
    };
    Finding::warning(
        Id::TwoQueriers,
        format!("{} and {} both send {protocol} queries on the network of {interface}: {} does not receive those of {}, or ignores them.{mixed}", elected.0, other.0, other.0, elected.0),
    )
    .on_interface(&interface)
    .from_source(other.0)
    .with_evidence(queries(elected))
    .with_evidence(queries(other))
    .advise(Tool::Network, format!("Disable the querier on {}, or let the queries of {} reach it: a filter or a switch between them drops {protocol}.", other.0, elected.0)).advise(Tool::Network, "If they belong to two networks, these are connected by mistake: look for the cable or the VLAN that joins them.")
}

/// The querier sends queries far too often, gives hosts more time than there is between two queries, or sends queries that
/// hosts ignore.
pub(super) const QUERIER_MISCONFIGURED: Cause =
    Cause::new(Check::Observation(querier_misconfigured), &["RFC 9776 section 8", "RFC 3810 section 5.1.14"])
        .without_loss();

/// The general queries of one querier.
#[derive(Default)]
struct QuerierSettings {
    times: Vec<SystemTime>,
    /// The interval and the response time in the latest query.
    interval: Option<Duration>,
    response_time: Duration,
}

fn querier_misconfigured(observation: &Observation) -> Vec<Finding> {
    let mut queriers = BTreeMap::<(InterfaceIndex, IpAddr), QuerierSettings>::new();
    for packet in &observation.wire.control {
        if let ControlMessage::Query { group: None, interval, response_time, .. } = packet.message {
            let querier = queriers.entry((packet.interface, packet.source)).or_default();
            querier.times.push(packet.time);
            (querier.interval, querier.response_time) = (interval, response_time);
        }
    }
    let judged = queriers.iter().filter_map(|((interface, source), querier)| {
        let (cause, evidence, remedy) = judge_querier_misconfigured(*source, querier)?;
        let interface = observation.link_name(*interface);
        let finding = Finding::warning(
            Id::QuerierMisconfigured,
            format!("The querier {source} on the network of {interface} {cause}"),
        )
        .on_interface(&interface)
        .from_source(*source)
        .evidence(EvidenceKind::Packet, &interface, evidence)
        .advise(Tool::Network, remedy);
        Some(finding)
    });
    judged.chain(forgetful_bridges(observation)).collect()
}

/// Returns the findings about bridges that query, and forget memberships before the next query.
fn forgetful_bridges(observation: &Observation) -> impl Iterator<Item = Finding> {
    let links = observation.after.links.iter().filter(|link| link.interface.up);
    let bridges = links.filter_map(|link| Some((link, link.bridge?)));
    let forgetful = bridges.filter(|(_, bridge)| {
        let is_querier = bridge.snooping && bridge.querier;
        is_querier && bridge.membership_interval < bridge.query_interval
    });
    forgetful.map(|(link, bridge)| {
        let name = link.name();
        let (keeps, asks) = (bridge.membership_interval.as_secs_f64(), bridge.query_interval.as_secs_f64());
        let setting = |setting: &str, value: f64| {
            Evidence::new(EvidenceKind::Setting, format!("{name} {setting}"), format!("{value:.1} s"))
        };
        // Twice the interval and the time to respond, in hundredths of a second (RFC 9776 section 8.4).
        let enough = (asks * 2.0 + 10.0) * 100.0;
        Finding::new(
            Id::QuerierMisconfigured,
            Severity::Warning,
            format!("{name} sends queries every {asks:.1} s but forgets memberships after {keeps:.1} s: members get nothing until the next query."),
        )
        .on_interface(name)
        .with_evidence(setting("mcast_membership_interval", keeps))
        .with_evidence(setting("mcast_query_interval", asks))
        .advise(
            Tool::Ip,
            format!("Run `ip link set dev {name} type bridge mcast_membership_interval {enough:.0}`; it affects all groups on {name}."),
        )
    })
}

/// Returns what is wrong with a querier, the evidence, and the remedy.
fn judge_querier_misconfigured(
    source: IpAddr,
    querier: &QuerierSettings,
) -> Option<(String, String, String)> {
    let count = querier.times.len();
    if is_ignored(source) {
        return Some((
            "sends MLD queries from an address that is not link-local, so hosts ignore them and do not report their groups.".into(),
            format!("{count} MLD queries from {source}"),
            format!("Give the interface of the querier an IPv6 link-local address (fe80::/10), and make it send from there. It sends from {source} now."),
        ));
    }
    if let Some(interval) =
        querier.mean_interval().filter(|interval| *interval < MIN_INTERVAL && count >= MANY)
    {
        let per_second = 1.0 / interval.as_secs_f64().max(0.000_1);
        return Some((
            format!("sends {per_second:.0} queries per second: every host reports all its groups over and over, which loads every snooping switch."),
            format!("{count} general queries, one every {:.3} s", interval.as_secs_f64()),
            "Set the query interval of the querier to 125 s (the default), or at least to some tens of seconds. If it already is, look for a loop that repeats its queries.".into(),
        ));
    }
    let interval =
        querier.interval.filter(|interval| !interval.is_zero()).or_else(|| querier.longest_interval())?;
    (querier.response_time >= interval).then(|| {
        let (response, interval) = (querier.response_time.as_secs_f64(), interval.as_secs_f64());
        (
            format!("gives hosts {response:.1} s to respond but sends a query every {interval:.1} s: a response may come after the next query, and memberships expire in between."),
            format!("response time {response:.1} s, interval {interval:.1} s"),
            "Set the query response interval of the querier to 10 s (the default), and to less than the query interval of 125 s.".into(),
        )
    })
}

/// Queries that come more often are a mistake.
const MIN_INTERVAL: Duration = Duration::from_millis(500);
/// Queriers may send some queries in short succession when they start.
const MANY: usize = 5;

/// Returns whether hosts ignore queries from this source. IGMP has no such rule.
fn is_ignored(source: IpAddr) -> bool {
    matches!(source, IpAddr::V6(source) if !source.is_unicast_link_local())
}

impl QuerierSettings {
    fn mean_interval(&self) -> Option<Duration> {
        let (first, last) = (self.times.iter().min()?, self.times.iter().max()?);
        let intervals = u32::try_from(self.times.len().checked_sub(1)?).ok().filter(|count| *count > 0)?;
        Some(last.duration_since(*first).ok()? / intervals)
    }

    /// Returns the longest time between two queries; `None` if there were too few queries to determine an interval.
    fn longest_interval(&self) -> Option<Duration> {
        let between = |pair: &[SystemTime]| pair.last()?.duration_since(*pair.first()?).ok();
        (self.times.len() >= MANY).then(|| self.times.windows(2).filter_map(between).max())?
    }
}

/// The counter of the MLD queries that the system processed.
const MLD_QUERIES: &str = "Icmp6InGroupMembQueries";

/// Returns the finding if a query for the joined group reached the interface, but was dropped by a firewall. The host then
/// reports its groups only when it joins, and switches forget them.
pub(super) fn ignored_query_finding(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (query, version, proof) = match interest.family() {
        Family::V4 => dropped_igmp_query(observation, interest)?,
        Family::V6 => dropped_mld_query(observation, interest)?,
    };
    let (protocol, interface) = (interest.protocol(), observation.link_name(interest.interface));
    let suspects = dropping_control(observation, interest, ControlKind::Query);
    let finding = Finding::fault(
        Id::FirewallDropsIgmp,
        format!("The {protocol}v{version} query from {} reached {interface}, but the kernel did not process it: a firewall drops incoming {protocol}. Switches forget {}, because nobody reports it again.", query.source, interest.group),
    )
    .concerning(&interface, interest.group)
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
    use super::*;
    use crate::causes::fixtures::{control, membership, query, with_counters};

    /// Returns whether queries from these sources, one every 30 s, are reported.
    fn is_reported(sources: &[&str]) -> bool {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        let (start, _) = observation.wire.span.unwrap();
        for (number, source) in (0_u32..).zip(sources) {
            let time = start + Duration::from_secs(30) * number;
            observation.wire.control.push(control(time, source, query(2, None)));
        }
        !two_queriers(&observation).is_empty()
    }

    #[test]
    fn higher_address_must_stop_after_the_first_query_of_the_lower_one() {
        assert!(is_reported(&["10.9.0.1", "10.9.0.2", "10.9.0.1", "10.9.0.2"]));
        assert!(is_reported(&["fe80::1", "fe80::2", "fe80::2"]));
        assert!(!is_reported(&["10.9.0.2", "10.9.0.2", "10.9.0.1", "10.9.0.1"]), "the other took over");
        assert!(!is_reported(&["10.9.0.1", "10.9.0.2", "10.9.0.1"]), "one query was on its way");
        assert!(!is_reported(&["0.0.0.0", "10.9.0.2", "0.0.0.0", "10.9.0.2"]), "a switch without an address");
    }

    fn querier(count: u32, every: Duration, stated: Option<u64>, response: u64) -> QuerierSettings {
        let times = (0..count).map(|number| SystemTime::UNIX_EPOCH + every * number).collect();
        QuerierSettings {
            times,
            interval: stated.map(Duration::from_secs),
            response_time: Duration::from_secs(response),
        }
    }

    fn cause(source: &str, querier: &QuerierSettings) -> Option<String> {
        judge_querier_misconfigured(source.parse().unwrap(), querier).map(|(cause, ..)| cause)
    }

    #[test]
    fn queries_by_the_defaults_are_right() {
        for (count, interval) in [(1, 125), (3, 31), (9, 125)] {
            for stated in [None, Some(125)] {
                let querier = querier(count, Duration::from_secs(interval), stated, 10);
                assert_eq!((cause("10.0.0.1", &querier), cause("fe80::1", &querier)), (None, None));
            }
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let often = querier(20, Duration::from_millis(100), None, 1);
        assert!(cause("10.0.0.1", &often).unwrap().contains("10 queries per second"));
        let slow = querier(1, Duration::ZERO, Some(5), 10);
        assert!(
            cause("10.0.0.1", &slow).unwrap().contains("10.0 s to respond but sends a query every 5.0 s")
        );
        let slow = querier(5, Duration::from_secs(8), None, 10);
        assert!(cause("10.0.0.1", &slow).unwrap().contains("a query every 8.0 s"));
        let global = querier(1, Duration::ZERO, Some(125), 10);
        assert!(cause("2001:db8::1", &global).unwrap().contains("hosts ignore them"));
        assert!(cause("::", &global).unwrap().contains("hosts ignore them"));
    }

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
            .filter_map(|interest| ignored_query_finding(observation, interest))
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
