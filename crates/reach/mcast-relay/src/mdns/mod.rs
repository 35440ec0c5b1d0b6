//! mDNS by service: what of a message is sent on to a leg.
//!
//! A relay that sends every record to the other segment causes conflicts: a host with an interface on both segments
//! hears its own name with another address and renames itself (RFC 6762 section 9). So a name that a host on a leg
//! claims is not sent to that leg from elsewhere.

mod names;
mod write;

use std::net::IpAddr;

use mcast_packet::payload::{Dns, DnsQuestion, DnsRecord, DnsSection, DnsValue, Name};

pub(crate) use names::ClaimedNames;
use write::MessageWriter;

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

#[cfg(test)]
mod tests;
