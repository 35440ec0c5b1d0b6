//! mDNS by service: what of a message is sent on to a leg.
//!
//! A relay that sends every record to the other segment causes conflicts: a host with an interface on both segments
//! hears its own name with another address and renames itself (RFC 6762 section 9). So a name that a host on a leg
//! claims is not sent to that leg from elsewhere.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use mcast_pace::ClockTime;
use mcast_packet::payload::{Dns, DnsQuestion, DnsRecord, DnsSection, DnsValue, Name};

use crate::rule::{LegId, ServiceFilter};

/// What is sent on of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilteredMessage {
    /// The message as it is.
    Whole,
    /// This message.
    Part(Vec<u8>),
    /// Nothing of it.
    Nothing,
}

/// Types of records that contain names which the parser does not decode, so that they cannot be copied. They are NS,
/// SOA, MX, DNAME and NSEC. Only the last occurs in mDNS, where receivers can do without it.
const NOT_COPIED: [u16; 5] = [2, 6, 15, 39, 47];

/// Returns what is sent on of a message to a leg. `is_claimed` returns whether a host on that leg claims a name.
/// `clear_unicast` clears the bits that request a unicast response: it would go to the relay.
pub(crate) fn filter(
    message: &[u8],
    services: &ServiceFilter,
    clear_unicast: bool,
    is_claimed: impl Fn(Name<'_>) -> bool,
) -> FilteredMessage {
    let Some(dns) = Dns::parse(message) else { return FilteredMessage::Nothing };
    let admits = |name: Name<'_>| service_of(name).is_none_or(|service| services.admits(service));
    let sends_record = |(section, record): &(DnsSection, DnsRecord<'_>)| {
        let is_proposed = *section == DnsSection::Authority && !dns.is_response;
        admits(record.name)
            && record.target.is_none_or(admits)
            && is_useful(record)
            && !((record.cache_flush || is_proposed) && is_claimed(record.name))
    };
    let questions: Vec<_> = dns.questions().filter(|question| admits(question.name)).collect();
    let records: Vec<_> = dns.records().filter(sends_record).collect();
    let is_complete = questions.len() == usize::from(dns.question_count)
        && records.len() == usize::try_from(dns.record_count()).unwrap_or(usize::MAX);
    let has_unicast = clear_unicast && questions.iter().any(|question| question.unicast_response);
    if is_complete && !has_unicast {
        return FilteredMessage::Whole;
    }
    // Known answers without the question have no meaning.
    let lost_questions = dns.question_count > 0 && questions.is_empty() && !dns.is_response;
    if lost_questions || (questions.is_empty() && records.is_empty()) {
        return FilteredMessage::Nothing;
    }
    write(message, clear_unicast, &questions, &records)
}

fn write(
    message: &[u8],
    clear_unicast: bool,
    questions: &[DnsQuestion<'_>],
    records: &[(DnsSection, DnsRecord<'_>)],
) -> FilteredMessage {
    let mut writer = MessageWriter::new(message);
    for question in questions {
        let unicast_response = question.unicast_response && !clear_unicast;
        writer.question(&DnsQuestion { unicast_response, ..*question });
    }
    for (section, record) in records.iter().filter(|(_, record)| !NOT_COPIED.contains(&record.kind)) {
        writer.record(*section, record);
    }
    writer.finish().map_or(FilteredMessage::Nothing, FilteredMessage::Part)
}

/// Returns the type of service in a name, without its underscore: `ipp` of `Printer._ipp._tcp.local`. The names by which
/// the types themselves are listed (RFC 6763 section 9) have none.
fn service_of(name: Name<'_>) -> Option<&[u8]> {
    let transports = [b"_tcp".as_slice(), b"_udp"];
    let is_transport = |label: &[u8]| transports.iter().any(|name| name.eq_ignore_ascii_case(label));
    let mut labels = name.labels().zip(name.labels().skip(1));
    let (service, _) = labels.find(|(label, next)| label.starts_with(b"_") && is_transport(next))?;
    service.get(1..).filter(|service| !service.eq_ignore_ascii_case(b"dns-sd"))
}

/// Returns whether the record is of use on another segment: an address of one link is not.
fn is_useful(record: &DnsRecord<'_>) -> bool {
    match record.value() {
        DnsValue::Address(IpAddr::V4(address)) => {
            !(address.is_link_local()
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast())
        }
        DnsValue::Address(IpAddr::V6(address)) => {
            !(address.is_unicast_link_local()
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast())
        }
        _ => true,
    }
}

const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// The longest time that a claim is remembered. Hosts repeat the claims of addresses within 2 minutes (RFC 6762 section
/// 10).
const LONGEST: Duration = Duration::from_secs(150);

/// Names of hosts and services, each with the leg on which it was claimed and until when.
#[derive(Debug)]
pub(crate) struct ClaimedNames {
    names: LruCache<(LegId, u64), ClockTime>,
    hasher: RandomState,
}

impl ClaimedNames {
    pub(crate) fn new() -> Self {
        Self { names: LruCache::new(MAX_NAMES), hasher: RandomState::new() }
    }

    /// Learns the names that a message of a host on this leg claims: those of unique records, and those it probes for.
    pub(crate) fn learn(&mut self, now: ClockTime, leg: LegId, message: &[u8]) {
        let Some(dns) = Dns::parse(message) else { return };
        for (section, record) in dns.records() {
            let is_proposed = section == DnsSection::Authority && !dns.is_response;
            if !record.cache_flush && !is_proposed {
                continue;
            }
            let key = (leg, self.hash(record.name));
            match record.time_to_live {
                0 => {
                    self.names.pop(&key);
                }
                seconds => {
                    self.names.put(key, now + Duration::from_secs(seconds.into()).min(LONGEST));
                }
            }
        }
    }

    /// Returns whether a host on the leg claims the name.
    pub(crate) fn is_claimed(&self, now: ClockTime, leg: LegId, name: Name<'_>) -> bool {
        self.names.peek(&(leg, self.hash(name))).is_some_and(|until| *until > now)
    }

    fn hash(&self, name: Name<'_>) -> u64 {
        let labels: Vec<_> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
        self.hasher.hash_one(labels)
    }
}

const HEADER_LENGTH: usize = 12;
/// The length of priority, weight and port, which precede the name in an SRV record.
const SRV_HEAD: usize = 6;
const SRV: u16 = 33;
/// The top bit of the class: unicast response in questions, cache flush in records.
const TOP_BIT: u16 = 0x8000;

struct MessageWriter {
    bytes: Vec<u8>,
    /// Where each name that was written starts, as lower-case labels, from the most specific one on.
    names: HashMap<Vec<Vec<u8>>, u16>,
    /// The number of questions, answers, authority and additional records.
    counts: [u16; 4],
}

impl MessageWriter {
    /// Starts a message with the identifier and the flags of this one.
    fn new(original: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes.iter_mut().zip(original.iter().take(4)).for_each(|(to, from)| *to = *from);
        Self { bytes, names: HashMap::new(), counts: [0; 4] }
    }

    fn question(&mut self, question: &DnsQuestion<'_>) {
        self.name(question.name);
        self.number(question.kind);
        self.number(question.class | if question.unicast_response { TOP_BIT } else { 0 });
        self.counts[0] += 1;
    }

    fn record(&mut self, section: DnsSection, record: &DnsRecord<'_>) {
        self.name(record.name);
        self.number(record.kind);
        self.number(record.class | if record.cache_flush { TOP_BIT } else { 0 });
        self.bytes.extend(record.time_to_live.to_be_bytes());
        let length_at = self.bytes.len();
        self.number(0);
        match record.target {
            None => self.bytes.extend_from_slice(record.data),
            Some(target) => {
                if record.kind == SRV {
                    self.bytes.extend(record.data.iter().take(SRV_HEAD));
                }
                self.name(target);
            }
        }
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.patch(length_at, length);
        self.counts[match section {
            DnsSection::Answer => 1,
            DnsSection::Authority => 2,
            DnsSection::Additional => 3,
        }] += 1;
    }

    /// Returns the message; `None` if it has no questions and no records.
    fn finish(mut self) -> Option<Vec<u8>> {
        for (position, count) in self.counts.into_iter().enumerate() {
            self.patch(4 + 2 * position, count);
        }
        self.counts.iter().any(|count| *count > 0).then_some(self.bytes)
    }

    fn name(&mut self, name: Name<'_>) {
        let labels: Vec<&[u8]> = name.labels().collect();
        let lower: Vec<Vec<u8>> = labels.iter().map(|label| label.to_ascii_lowercase()).collect();
        for (position, label) in labels.iter().enumerate() {
            if let Some(earlier) = self.names.get(&lower[position..]) {
                self.number(0xc000 | *earlier);
                return;
            }
            // A pointer has 14 bits.
            if let Some(offset) = u16::try_from(self.bytes.len()).ok().filter(|offset| *offset < 0x4000) {
                self.names.insert(lower[position..].to_vec(), offset);
            }
            self.bytes.push(label.len() as u8);
            self.bytes.extend_from_slice(label);
        }
        self.bytes.push(0);
    }

    fn number(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }

    fn patch(&mut self, offset: usize, number: u16) {
        if let Some(field) = self.bytes.get_mut(offset..offset + 2) {
            field.copy_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::LegId;

    /// Writes a message from lines: questions (`? name type`) and records (`section name type data`, with `!` before the
    /// type for cache flush). The types are numbers.
    fn message(is_response: bool, lines: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0, 0, if is_response { 0x84 } else { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let section =
                ["?", "answer", "authority", "additional"].iter().position(|s| *s == words[0]).unwrap();
            bytes[5 + 2 * section] += 1;
            name(&mut bytes, words[1]);
            let (top, kind) = words[2].strip_prefix('!').map_or((0, words[2]), |kind| (0x80, kind));
            let kind: u16 = kind.parse().unwrap();
            bytes.extend(kind.to_be_bytes());
            bytes.extend([top, 1]);
            if section == 0 {
                continue;
            }
            bytes.extend(120_u32.to_be_bytes());
            let mut data = Vec::new();
            match kind {
                12 => name(&mut data, words[3]),
                33 => {
                    data.extend([0, 0, 0, 0, 0x1f, 0x90]);
                    name(&mut data, words[3]);
                }
                1 | 28 => match words[3].parse().unwrap() {
                    IpAddr::V4(address) => data.extend(address.octets()),
                    IpAddr::V6(address) => data.extend(address.octets()),
                },
                _ => data.extend(words[3].bytes()),
            }
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    fn name(bytes: &mut Vec<u8>, text: &str) {
        for label in text.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
    }

    fn deny(service: &str) -> ServiceFilter {
        ServiceFilter::Deny(vec![service.into()])
    }

    fn text(message: &[u8]) -> String {
        Dns::parse(message).unwrap().to_string()
    }

    fn part(message: &[u8], services: &ServiceFilter) -> String {
        match filter(message, services, true, |_| false) {
            FilteredMessage::Whole => "whole".into(),
            FilteredMessage::Part(part) => text(&part),
            FilteredMessage::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn a_denied_service_is_removed_from_questions_and_answers() {
        let question = message(false, &["? _ipp._tcp.local 12", "? _http._tcp.local 12"]);
        assert_eq!(part(&question, &ServiceFilter::All), "whole");
        assert_eq!(part(&question, &deny("ipp")), "query: _http._tcp.local PTR");
        assert_eq!(
            part(&question, &ServiceFilter::Allow(vec!["http".into()])),
            "query: _http._tcp.local PTR"
        );
        assert_eq!(part(&message(false, &["? a._sub._ipp._tcp.local 12"]), &deny("ipp")), "nothing");

        let answer = message(
            true,
            &[
                "answer _ipp._tcp.local 12 P._ipp._tcp.local",
                "answer _services._dns-sd._udp.local 12 _IPP._tcp.local",
                "answer _services._dns-sd._udp.local 12 _http._tcp.local",
                "additional P._ipp._tcp.local !33 host.local",
                "additional P._ipp._tcp.local !16 text",
                "additional host.local !1 10.0.0.7",
            ],
        );
        let expected = "response: _services._dns-sd._udp.local PTR _http._tcp.local, host.local A 10.0.0.7";
        assert_eq!(part(&answer, &deny("ipp")), expected);
    }

    #[test]
    fn addresses_of_one_link_are_removed() {
        let answer = message(
            true,
            &[
                "answer h.local !28 fe80::1",
                "answer h.local !28 2001:db8::1",
                "answer h.local !1 169.254.1.1",
            ],
        );
        assert_eq!(part(&answer, &ServiceFilter::All), "response: h.local AAAA 2001:db8::1");
        assert_eq!(part(&message(true, &["answer h.local !28 fe80::1"]), &ServiceFilter::All), "nothing");
    }

    #[test]
    fn a_request_for_a_unicast_response_becomes_one_for_a_multicast_response() {
        let question = message(false, &["? h.local !1"]);
        let FilteredMessage::Part(part) = filter(&question, &ServiceFilter::All, true, |_| false) else {
            panic!("the bit is not cleared")
        };
        assert!(!Dns::parse(&part).unwrap().questions().next().unwrap().unicast_response);
        assert_eq!(filter(&question, &ServiceFilter::All, false, |_| false), FilteredMessage::Whole);
    }

    #[test]
    fn names_that_a_host_on_the_leg_claims_are_not_sent_there() {
        let (now, leg, other) = (ClockTime::START, LegId(1), LegId(2));
        let mut claimed = ClaimedNames::new();
        claimed.learn(now, leg, &message(true, &["answer NAS.local !1 10.0.1.7"]));
        claimed.learn(now, leg, &message(true, &["answer _ipp._tcp.local 12 P._ipp._tcp.local"]));
        let sent_at = |now, leg, message: &[u8]| {
            filter(message, &ServiceFilter::All, false, |name| claimed.is_claimed(now, leg, name))
        };
        let answer = message(true, &["answer nas.local !1 10.0.2.7"]);
        assert_eq!(sent_at(now, leg, &answer), FilteredMessage::Nothing);
        assert_eq!(sent_at(now, other, &answer), FilteredMessage::Whole);
        // Shared records cannot conflict, and a question is not a claim.
        let shared = message(true, &["answer _ipp._tcp.local 12 nas._ipp._tcp.local"]);
        assert_eq!(sent_at(now, leg, &shared), FilteredMessage::Whole);
        // A probe: the host on the other leg would defend its name against itself.
        let probe = message(false, &["? nas.local 255", "authority nas.local 1 10.0.2.7"]);
        let FilteredMessage::Part(question) = sent_at(now, leg, &probe) else { panic!("not a part") };
        assert_eq!(text(&question), "query: nas.local ANY");
        assert_eq!(sent_at(now + Duration::from_secs(120), leg, &answer), FilteredMessage::Whole, "expired");
    }

    #[test]
    fn a_goodbye_ends_a_claim() {
        let (now, leg) = (ClockTime::START, LegId(1));
        let mut claimed = ClaimedNames::new();
        let mut announcement = message(true, &["answer nas.local !1 10.0.1.7"]);
        claimed.learn(now, leg, &announcement);
        let time_to_live = announcement.len() - 10;
        announcement[time_to_live..time_to_live + 4].fill(0);
        claimed.learn(now, leg, &announcement);
        let answer = message(true, &["answer nas.local !1 10.0.2.7"]);
        let sent = filter(&answer, &ServiceFilter::All, false, |name| claimed.is_claimed(now, leg, name));
        assert_eq!(sent, FilteredMessage::Whole);
    }

    fn lines() -> impl Strategy<Value = Vec<String>> {
        let name = prop_oneof![
            Just("_ipp._tcp.local"),
            Just("P._ipp._tcp.local"),
            Just("host.local"),
            Just("Q._http._udp.local"),
            Just("_services._dns-sd._udp.local"),
            Just("local"),
            Just("x.host.local"),
        ];
        let record = (0_usize..4, name.clone(), any::<bool>(), 0_usize..6, name).prop_map(
            |(section, name, flush, kind, target)| {
                let section = ["?", "answer", "authority", "additional"][section];
                let (kind, data) = [
                    ("1", "10.0.0.1"),
                    ("28", "fe80::1"),
                    ("28", "2001:db8::1"),
                    ("16", "text"),
                    ("12", target),
                    ("33", target),
                ][kind];
                format!("{section} {name} {}{kind} {data}", if flush { "!" } else { "" })
            },
        );
        prop::collection::vec(record, 1..12).prop_map(|mut lines| {
            let order = |line: &String| {
                ["?", "answer", "authority", "additional"].iter().position(|s| line.starts_with(s))
            };
            lines.sort_by_key(order);
            lines
        })
    }

    proptest! {
        #[test]
        fn a_part_contains_what_the_filter_admits_and_nothing_else(lines in lines(), is_response: bool) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let whole = message(is_response, &lines);
            prop_assume!(Dns::parse(&whole).is_some());
            let services = deny("ipp");
            let sent = match filter(&whole, &services, true, |_| false) {
                FilteredMessage::Whole => whole.clone(),
                FilteredMessage::Part(part) => part,
                FilteredMessage::Nothing => return Ok(()),
            };
            prop_assert!(sent.len() <= whole.len(), "compression does not make it longer");
            let (before, after) = (Dns::parse(&whole).unwrap(), Dns::parse(&sent));
            let Some(after) = after else {
                // The parser wants questions or answers.
                return Ok(());
            };
            let is_denied = |name: Name<'_>| name.to_string().to_ascii_lowercase().contains("_ipp._tcp");
            let expected: Vec<_> = before.records()
                .filter(|(_, record)| !is_denied(record.name) && !record.target.is_some_and(is_denied))
                .filter(|(_, record)| !record.to_string().contains("fe80"))
                .map(|(section, record)| (section, record.to_string(), record.cache_flush, record.time_to_live))
                .collect();
            let found: Vec<_> = after.records()
                .map(|(section, record)| (section, record.to_string(), record.cache_flush, record.time_to_live))
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(after.records().count(), after.record_count() as usize);
            prop_assert!(after.questions().all(|question| !question.unicast_response && !is_denied(question.name)));
        }

        #[test]
        fn filtering_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), response: bool) {
            let mut bytes = bytes;
            if bytes.len() > 12 {
                bytes[2..12].copy_from_slice(&[if response { 0x84 } else { 0 }, 0, 0, 1, 0, 2, 0, 1, 0, 1]);
            }
            let _ = filter(&bytes, &deny("ipp"), true, |_| false);
            ClaimedNames::new().learn(ClockTime::START, LegId(0), &bytes);
        }
    }
}
