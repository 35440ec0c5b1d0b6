//! The queriers seen so far, without sockets or a clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{Family, InterfaceIndex};
use mcast_packet::gmp::{Address, Message};
use mcast_packet::{Packet, Transport};

/// The maximum number of queriers per interface, because addresses can be forged.
const MAX_QUERIERS: usize = 64;

/// The intervals of a querier that does not announce its own (RFC 3376 section 8.5).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(125);
const DEFAULT_ROBUSTNESS: u8 = 2;
const DEFAULT_RESPONSE: Duration = Duration::from_secs(10);

/// A received query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReceivedQuery {
    pub(super) source: IpAddr,
    pub(super) version: u8,
    /// `None` for all groups.
    pub(super) group: Option<IpAddr>,
    pub(super) max_response: Duration,
    /// The query interval and robustness of the querier, if it announces them.
    pub(super) interval: Option<Duration>,
    pub(super) robustness: Option<u8>,
    /// The query as text.
    pub(super) text: String,
}

/// A querier that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActiveQuerier {
    pub(super) source: IpAddr,
    /// The last general query, or if there is none the last query.
    pub(super) query: ReceivedQuery,
    pub(super) queries: u64,
    first_general: Option<Instant>,
    last_general: Option<Instant>,
    generals: u32,
    last: Instant,
}

/// The active queriers by interface and family.
#[derive(Debug, Default)]
pub(super) struct QuerierTable {
    targets: BTreeMap<(InterfaceIndex, Family), BTreeMap<IpAddr, ActiveQuerier>>,
}

impl QuerierTable {
    pub(super) fn add(&mut self, interface: InterfaceIndex, query: ReceivedQuery, now: Instant) {
        let family = Family::of(query.source);
        let queriers = self.targets.entry((interface, family)).or_default();
        if queriers.len() >= MAX_QUERIERS && !queriers.contains_key(&query.source) {
            return;
        }
        let known = queriers.entry(query.source).or_insert_with(|| ActiveQuerier {
            source: query.source,
            query: query.clone(),
            queries: 0,
            first_general: None,
            last_general: None,
            generals: 0,
            last: now,
        });
        known.queries += 1;
        known.last = now;
        if query.group.is_none() {
            known.first_general.get_or_insert(now);
            known.last_general = Some(now);
            known.generals += 1;
            known.query = query;
        }
    }

    /// Returns the queriers on an interface. The elected one, with the lowest address, is first. Queriers without a
    /// source address, which take no part in the election, are last.
    pub(super) fn at(&self, interface: InterfaceIndex, family: Family) -> Vec<&ActiveQuerier> {
        let queriers = self.targets.get(&(interface, family));
        let mut queriers: Vec<_> = queriers.into_iter().flat_map(BTreeMap::values).collect();
        queriers.sort_by_key(|known| (known.source.is_unspecified(), known.source));
        queriers
    }
}

impl ActiveQuerier {
    /// Returns the mean time between general queries, if there were at least two.
    pub(super) fn observed_interval(&self) -> Option<Duration> {
        let span = self.last_general?.duration_since(self.first_general?);
        (self.generals > 1).then(|| span / (self.generals - 1))
    }

    /// Returns the time after which the querier counts as gone unless it sends another query; zero if it already does.
    pub(super) fn expires_in(&self, now: Instant) -> Duration {
        let ReceivedQuery { interval, robustness, group, max_response, .. } = &self.query;
        // The response time of a group-specific query does not apply to general queries.
        let response = if group.is_none() { *max_response } else { DEFAULT_RESPONSE };
        let present = interval.unwrap_or(DEFAULT_INTERVAL)
            * u32::from(robustness.unwrap_or(DEFAULT_ROBUSTNESS))
            + response / 2;
        present.saturating_sub(now.saturating_duration_since(self.last))
    }
}

/// Returns the query in a packet, if it is complete.
pub(super) fn query(packet: &Packet<'_>) -> Option<ReceivedQuery> {
    let ip = packet.ip_layer()?;
    match packet.transport? {
        Transport::Igmp(control) if !control.checksum.is_invalid() => of_message(ip.source, &control.message),
        // RFC 3810 section 5.1.14: a query must have a link-local source and hop limit 1.
        Transport::Mld(control)
            if !control.checksum.is_invalid()
                && ip.hop_limit == 1
                && matches!(ip.source, IpAddr::V6(source) if source.is_unicast_link_local()) =>
        {
            of_message(ip.source, &control.message)
        }
        _ => None,
    }
}

fn of_message<A: Address>(source: IpAddr, message: &Message<'_, A>) -> Option<ReceivedQuery> {
    let Message::Query(query) = message else { return None };
    let extension = query.source_query.as_ref();
    Some(ReceivedQuery {
        source,
        version: query.version(),
        group: query.group.map(Into::into),
        max_response: query.max_response_time,
        interval: extension.map(|told| told.interval).filter(|interval| !interval.is_zero()),
        robustness: extension.map(|told| told.robustness).filter(|robustness| *robustness > 0),
        text: message.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general(source: [u8; 4], interval: Option<u64>) -> ReceivedQuery {
        ReceivedQuery {
            source: source.into(),
            version: 3,
            group: None,
            max_response: Duration::from_secs(10),
            interval: interval.map(Duration::from_secs),
            robustness: interval.map(|_| 3),
            text: String::new(),
        }
    }

    #[test]
    fn the_lowest_address_is_first_and_queriers_without_one_are_last() {
        let (mut table, now) = (QuerierTable::default(), Instant::now());
        let index = InterfaceIndex::new(3).unwrap();
        for source in [[10, 0, 0, 9], [0, 0, 0, 0], [10, 0, 0, 2]] {
            table.add(index, general(source, None), now);
        }
        let sources: Vec<_> =
            table.at(index, Family::V4).iter().map(|known| known.source.to_string()).collect();
        assert_eq!(sources, ["10.0.0.2", "10.0.0.9", "0.0.0.0"]);
        assert!(table.at(index, Family::V6).is_empty());
    }

    #[test]
    fn intervals_are_observed_and_silent_queriers_expire() {
        let (mut table, start) = (QuerierTable::default(), Instant::now());
        let index = InterfaceIndex::new(3).unwrap();
        let at = |seconds| start + Duration::from_secs(seconds);
        table.add(index, general([10, 0, 0, 2], Some(60)), at(0));
        let known = table.at(index, Family::V4)[0].clone();
        assert_eq!(known.observed_interval(), None);
        assert_eq!(known.expires_in(at(10)), Duration::from_secs(3 * 60 + 5 - 10));
        table.add(index, general([10, 0, 0, 2], None), at(62));
        let specific = ReceivedQuery { group: Some([239, 1, 1, 1].into()), ..general([10, 0, 0, 2], None) };
        table.add(index, specific, at(70));
        let known = table.at(index, Family::V4)[0].clone();
        assert_eq!((known.queries, known.observed_interval()), (3, Some(Duration::from_secs(62))));
        assert_eq!(known.expires_in(at(80)), Duration::from_secs(255 - 10));
        assert_eq!(known.expires_in(at(1_000)), Duration::ZERO);
    }

    #[test]
    fn the_number_of_queriers_is_bounded() {
        let (mut table, now) = (QuerierTable::default(), Instant::now());
        let index = InterfaceIndex::new(3).unwrap();
        (0..=255).for_each(|last| table.add(index, general([10, 0, 0, last], None), now));
        assert_eq!(table.at(index, Family::V4).len(), MAX_QUERIERS);
    }
}
