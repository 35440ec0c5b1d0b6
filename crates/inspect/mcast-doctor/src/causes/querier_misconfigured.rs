//! The querier sends queries far too often, gives hosts more time than there is between two queries, or sends queries that
//! hosts ignore.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::wire::ControlMessage;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 9776 section 8", "RFC 3810 section 5.1.14"]).without_loss();

/// The general queries of one querier.
#[derive(Default)]
struct Querier {
    times: Vec<SystemTime>,
    /// The interval and the response time in the latest query.
    interval: Option<Duration>,
    response_time: Duration,
}

fn check(observation: &Observation) -> Vec<Finding> {
    let mut queriers = BTreeMap::<(InterfaceIndex, IpAddr), Querier>::new();
    for packet in &observation.wire.control {
        if let ControlMessage::Query { group: None, interval, response_time, .. } = packet.message {
            let querier = queriers.entry((packet.interface, packet.source)).or_default();
            querier.times.push(packet.time);
            (querier.interval, querier.response_time) = (interval, response_time);
        }
    }
    let judged = queriers.iter().filter_map(|((interface, source), querier)| {
        let (cause, evidence, remedy) = judge(*source, querier)?;
        let interface = observation.link_name(*interface);
        let finding = Finding::warning(
            Id::QuerierMisconfigured,
            format!("The querier {source} on the network of {interface} {cause}"),
        )
        .on_interface(&interface)
        .from_source(source)
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
        .with_remedies([Remedy::advice(
            Tool::Ip,
            format!("Run `ip link set dev {name} type bridge mcast_membership_interval {enough:.0}`; it concerns all groups on {name}."),
        )])
    })
}

/// Returns what is wrong with a querier, the evidence, and the remedy.
fn judge(source: IpAddr, querier: &Querier) -> Option<(String, String, String)> {
    let count = querier.times.len();
    if is_ignored(source) {
        return Some((
            "sends MLD queries from an address that is not link-local, so hosts ignore them and do not report their groups.".into(),
            format!("{count} MLD queries from {source}"),
            format!("Give the interface of the querier an IPv6 link-local address (fe80::/10), and let it send from that one. It sends from {source} now."),
        ));
    }
    if let Some(interval) =
        querier.mean_interval().filter(|interval| *interval < MIN_INTERVAL && count >= MANY)
    {
        let per_second = 1.0 / interval.as_secs_f64().max(0.000_1);
        return Some((
            format!("sends {per_second:.0} queries per second: every host reports all its groups over and over, which loads every snooping switch."),
            format!("{count} general queries, one every {:.3} s", interval.as_secs_f64()),
            "Set the query interval of the querier to 125 s (the default), or at least to some tens of seconds. If it is set so, look for a loop that repeats its queries.".into(),
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

impl Querier {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn querier(count: u32, every: Duration, stated: Option<u64>, response: u64) -> Querier {
        let times = (0..count).map(|number| SystemTime::UNIX_EPOCH + every * number).collect();
        Querier {
            times,
            interval: stated.map(Duration::from_secs),
            response_time: Duration::from_secs(response),
        }
    }

    fn cause(source: &str, querier: &Querier) -> Option<String> {
        judge(source.parse().unwrap(), querier).map(|(cause, ..)| cause)
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
}
