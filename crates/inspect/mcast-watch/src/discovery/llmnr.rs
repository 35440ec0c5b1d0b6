//! LLMNR (RFC 4795): hosts that answer for their names. Nothing is announced and nothing can be listed, so that only answers
//! to questions of others name hosts; they go by unicast to the host that asked.

use std::time::Duration;

use mcast_packet::payload::{Dns, DnsSection, DnsValue};

use super::entry::{DiscoveredKind, DiscoveryProtocol, UntrustedText};
use super::registry::Registry;
use super::support::announced_by;
use super::{DiscoveryDatagram, Observer};
use crate::clock::Time;

/// The observer of LLMNR. What is known is in the registry alone.
#[derive(Debug)]
pub(super) struct Llmnr;

const PORT: u16 = 5355;
/// Several hosts use the name (RFC 4795 section 2.1.1).
const CONFLICT: u8 = 0x04;
/// The sender does not know yet whether it may use the name.
const TENTATIVE: u8 = 0x01;
/// The longest time to live that is believed. RFC 4795 section 2.8 recommends 30 s.
const LONGEST: u32 = 3_600;

impl Observer for Llmnr {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        if datagram.source.port() != PORT {
            return;
        }
        let Some(dns) = Dns::parse(datagram.payload) else {
            registry.counts.malformed += 1;
            return;
        };
        let flags = datagram.payload.get(2).copied().unwrap_or_default();
        if !dns.is_response || dns.response_code != 0 || flags & TENTATIVE != 0 || dns.question_count != 1 {
            return;
        }
        // Only answers to the question count (RFC 4795 section 2.1.1).
        let Some(name) = dns.questions().next().map(|question| question.name) else { return };
        let answers = dns.records().filter(|(section, record)| {
            *section == DnsSection::Answer
                && record.name == name
                && record.class == 1
                && record.time_to_live > 0
        });
        let answers: Vec<_> = answers
            .filter_map(|(_, record)| match record.value() {
                DnsValue::Address(address) => Some((address, record.time_to_live)),
                _ => None,
            })
            .collect();
        let Some(seconds) = answers.iter().map(|(_, seconds)| *seconds).min() else { return };
        let text = UntrustedText::new(name.labels().collect::<Vec<_>>().join(&b'.'));
        let id = UntrustedText::new(text.as_bytes().to_ascii_lowercase());
        let mut announced = announced_by(now, datagram, DiscoveryProtocol::Llmnr, DiscoveredKind::Host, id);
        (announced.name, announced.host) = (text.clone(), text);
        announced.addresses = answers.into_iter().map(|(address, _)| address).collect();
        announced.expires = Some(now.after(Duration::from_secs(seconds.min(LONGEST).into())));
        announced.add_some("conflict", (flags & CONFLICT != 0).then_some("several hosts answer"));
        registry.announce(now, announced);
    }
}
