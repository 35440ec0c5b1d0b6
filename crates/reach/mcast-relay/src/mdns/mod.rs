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
use mcast_packet::payload::{Dns, DnsQuestion, DnsRecord, DnsSection, DnsValue, Name};

use crate::LegId;
use crate::rule::ServiceFilter;

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
    names: LruCache<(LegId, u64), Duration>,
    hasher: RandomState,
}

impl ClaimedNames {
    pub(crate) fn new() -> Self {
        Self { names: LruCache::new(MAX_NAMES), hasher: RandomState::new() }
    }

    /// Learns the names that a message of a host on this leg claims: those of unique records, and those it probes for.
    pub(crate) fn learn(&mut self, now: Duration, leg: LegId, message: &[u8]) {
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
    pub(crate) fn is_claimed(&self, now: Duration, leg: LegId, name: Name<'_>) -> bool {
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
mod tests;
