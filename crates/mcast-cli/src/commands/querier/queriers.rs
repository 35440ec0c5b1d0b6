//! The queriers seen so far, without sockets or a clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{Family, InterfaceIndex};
use mcast_packet::gmp::{Address, Message};
use mcast_packet::{Packet, Transport};

/// The maximum number of queriers per interface, because addresses can be forged.
const MOST: usize = 64;

/// How long a querier may be silent that does not tell its own times (RFC 3376 section 8.5).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(125);
const DEFAULT_ROBUSTNESS: u8 = 2;
const DEFAULT_RESPONSE: Duration = Duration::from_secs(10);

/// A query that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) source: IpAddr,
    pub(super) version: u8,
    /// `None` for all groups.
    pub(super) group: Option<IpAddr>,
    pub(super) max_response: Duration,
    /// How often the querier asks, and its robustness, where it says so.
    pub(super) interval: Option<Duration>,
    pub(super) robustness: Option<u8>,
    /// In words.
    pub(super) text: String,
}

/// What is known of one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActiveQuerier {
    pub(super) source: IpAddr,
    /// The last query that said something about all groups, or else the last.
    pub(super) question: Question,
    pub(super) queries: u64,
    first_general: Option<Instant>,
    last_general: Option<Instant>,
    generals: u32,
    last: Instant,
}

/// Those who ask, by interface and family.
#[derive(Debug, Default)]
pub(super) struct QuerierTable {
    places: BTreeMap<(InterfaceIndex, Family), BTreeMap<IpAddr, ActiveQuerier>>,
}

impl QuerierTable {
    pub(super) fn add(&mut self, interface: InterfaceIndex, question: Question, now: Instant) {
        let family = Family::of(question.source);
        let queriers = self.places.entry((interface, family)).or_default();
        if queriers.len() >= MOST && !queriers.contains_key(&question.source) {
            return;
        }
        let known = queriers.entry(question.source).or_insert_with(|| ActiveQuerier {
            source: question.source,
            question: question.clone(),
            queries: 0,
            first_general: None,
            last_general: None,
            generals: 0,
            last: now,
        });
        known.queries += 1;
        known.last = now;
        if question.group.is_none() {
            known.first_general.get_or_insert(now);
            known.last_general = Some(now);
            known.generals += 1;
            known.question = question;
        }
    }

    /// Those who ask at a place, the elected one first: the lowest address, and those without an address of
    /// their own, who take no part in the election, last.
    pub(super) fn at(&self, interface: InterfaceIndex, family: Family) -> Vec<&ActiveQuerier> {
        let queriers = self.places.get(&(interface, family));
        let mut queriers: Vec<_> = queriers.into_iter().flat_map(BTreeMap::values).collect();
        queriers.sort_by_key(|known| (known.source.is_unspecified(), known.source));
        queriers
    }
}

impl ActiveQuerier {
    /// The mean time between its general queries, where there were two.
    pub(super) fn observed_interval(&self) -> Option<Duration> {
        let span = self.last_general?.duration_since(self.first_general?);
        (self.generals > 1).then(|| span / (self.generals - 1))
    }

    /// In how long it counts as gone, unless it is heard again; zero when it does already.
    pub(super) fn expires_in(&self, now: Instant) -> Duration {
        let Question { interval, robustness, group, max_response, .. } = &self.question;
        // A query about one group says nothing about the response time of those about all.
        let response = if group.is_none() { *max_response } else { DEFAULT_RESPONSE };
        let present = interval.unwrap_or(DEFAULT_INTERVAL)
            * u32::from(robustness.unwrap_or(DEFAULT_ROBUSTNESS))
            + response / 2;
        present.saturating_sub(now.saturating_duration_since(self.last))
    }
}

/// The query that a packet is, if it is a whole one.
pub(super) fn question(packet: &Packet<'_>) -> Option<Question> {
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

fn of_message<A: Address>(source: IpAddr, message: &Message<'_, A>) -> Option<Question> {
    let Message::Query(query) = message else { return None };
    let extension = query.source_query.as_ref();
    Some(Question {
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

    fn general(source: [u8; 4], interval: Option<u64>) -> Question {
        Question {
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
    fn the_lowest_address_is_the_one_and_who_has_none_is_last() {
        let (mut heard, now) = (QuerierTable::default(), Instant::now());
        let index = InterfaceIndex::new(3).unwrap();
        for source in [[10, 0, 0, 9], [0, 0, 0, 0], [10, 0, 0, 2]] {
            heard.add(index, general(source, None), now);
        }
        let sources: Vec<_> =
            heard.at(index, Family::V4).iter().map(|known| known.source.to_string()).collect();
        assert_eq!(sources, ["10.0.0.2", "10.0.0.9", "0.0.0.0"]);
        assert!(heard.at(index, Family::V6).is_empty());
    }

    #[test]
    fn intervals_are_seen_and_told_and_silence_ends_it() {
        let (mut heard, start) = (QuerierTable::default(), Instant::now());
        let index = InterfaceIndex::new(3).unwrap();
        let at = |seconds| start + Duration::from_secs(seconds);
        heard.add(index, general([10, 0, 0, 2], Some(60)), at(0));
        let known = heard.at(index, Family::V4)[0].clone();
        assert_eq!(known.observed_interval(), None);
        assert_eq!(known.expires_in(at(10)), Duration::from_secs(3 * 60 + 5 - 10));
        heard.add(index, general([10, 0, 0, 2], None), at(62));
        let specific = Question { group: Some([239, 1, 1, 1].into()), ..general([10, 0, 0, 2], None) };
        heard.add(index, specific, at(70));
        let known = heard.at(index, Family::V4)[0].clone();
        assert_eq!((known.queries, known.observed_interval()), (3, Some(Duration::from_secs(62))));
        assert_eq!(known.expires_in(at(80)), Duration::from_secs(255 - 10));
        assert_eq!(known.expires_in(at(1_000)), Duration::ZERO);
    }

    #[test]
    fn forged_addresses_take_no_more_memory_than_there_is() {
        let (mut heard, now) = (QuerierTable::default(), Instant::now());
        let index = InterfaceIndex::new(3).unwrap();
        (0..=255).for_each(|last| heard.add(index, general([10, 0, 0, last], None), now));
        assert_eq!(heard.at(index, Family::V4).len(), MOST);
    }
}
