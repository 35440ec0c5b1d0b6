//! LLMNR (RFC 4795): hosts that answer for their names. Nothing is announced and nothing can be listed: a host is found by its name, or
//! in a file by the answers to questions of others, which go by unicast to the host that asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use mcast_packet::payload::{Dns, DnsSection, DnsValue};

use super::entry::{DiscoveredKind, DiscoveryProtocol, UntrustedText};
use super::registry::Registry;
use super::support::{Asking, announced_by};
use super::{DiscoveryDatagram, DiscoveryQuestion, DiscoveryRequest, Observer};
use crate::clock::Time;

/// The observer of LLMNR. What is known is in the registry alone.
#[derive(Debug)]
pub(super) struct Llmnr {
    /// The name that is asked for, with its length before it.
    label: Vec<u8>,
    /// Questions without the name.
    asking: Asking,
}

const PORT: u16 = 5355;
const GROUPS: [SocketAddr; 2] = [
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 252), PORT)),
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3), PORT, 0, 0)),
];
/// Several hosts use the name (RFC 4795 section 2.1.1).
const CONFLICT: u8 = 0x04;
/// The sender does not know yet whether it may use the name.
const TENTATIVE: u8 = 0x01;
/// The longest time to live that is believed. RFC 4795 section 2.8 recommends 30 s.
const LONGEST: u32 = 3_600;

impl Llmnr {
    const HEAD: usize = 12;

    pub(super) const fn new() -> Self {
        // A number, one question, the end of the name, and the type: A or AAAA, of class IN.
        let asking = Asking::new(DiscoveryProtocol::Llmnr, &GROUPS, 2, |now, _, variant, number| {
            let [.., high, low] = (now.as_nanos() / 1_000_000 + number as u64).to_be_bytes();
            let kind = if variant == 0 { 1 } else { 28 };
            vec![high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0, 1]
        });
        Self { label: Vec::new(), asking }
    }
}

impl Observer for Llmnr {
    /// Only names of one label are asked for (RFC 4795 section 3).
    fn ask(&mut self, now: Time, request: &DiscoveryRequest) {
        let name = request.name.as_deref().filter(|name| !name.contains('.'));
        let length = name.and_then(|name| u8::try_from(name.len()).ok());
        let (Some(name), Some(length @ 1..=63)) = (name, length) else { return };
        self.label = [&[length], name.as_bytes()].concat();
        self.asking.start(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.asking.due()
    }

    fn poll_transmit(&mut self, now: Time, _registry: &Registry) -> Option<DiscoveryQuestion> {
        let mut question = self.asking.poll(now)?;
        question.payload.splice(Self::HEAD..Self::HEAD, self.label.iter().copied());
        Some(question)
    }

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
        // A host answers for each family in a message of its own.
        let others = registry.get(&announced.key).into_iter().flat_map(|before| &before.addresses);
        let family = announced.addresses.first().map(IpAddr::is_ipv4);
        announced.addresses.extend(others.filter(|other| Some(other.is_ipv4()) != family));
        announced.addresses.sort_by_key(IpAddr::is_ipv6);
        // It is asked again later than most answers hold.
        let stated = now.after(Duration::from_secs(seconds.min(LONGEST).into()));
        announced.expires = registry.answer_holds_until(now).max(Some(stated));
        announced.add_some("conflict", (flags & CONFLICT != 0).then_some("several hosts answer"));
        registry.announce(now, announced);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    #[test]
    fn name_of_one_label_is_asked_for_and_answers_of_both_families_are_of_one_host() {
        let mut bench = Bench::new();
        let asked = |bench: &mut Bench, name: &str| {
            let request = DiscoveryRequest { name: Some(name.to_owned()), ..DiscoveryRequest::default() };
            bench.table.ask_for(bench.now, &request);
            let all = std::iter::from_fn(|| bench.table.poll_transmit(bench.now)).collect::<Vec<_>>();
            let all = all.into_iter().filter(|question| question.protocol == DiscoveryProtocol::Llmnr);
            all.collect::<Vec<_>>()
        };
        for other in ["pc7.local", "", &"a".repeat(64)] {
            assert_eq!(asked(&mut bench, other), []);
        }
        let questions = asked(&mut bench, "PC7");
        let texts = questions.iter().map(|question| {
            let dns = Dns::parse(&question.payload).unwrap();
            let text = dns.questions().next().unwrap().to_string();
            format!("{} {text}", question.destination)
        });
        let [v4, v6] = ["224.0.0.252:5355", "[ff02::1:3]:5355"];
        assert_eq!(
            texts.collect::<Vec<_>>(),
            [
                format!("{v4} PC7 A"),
                format!("{v4} PC7 AAAA"),
                format!("{v6} PC7 A"),
                format!("{v6} PC7 AAAA")
            ]
        );
        // What scapy answers: the question, and an address.
        for (question, address) in questions.iter().zip([&[10, 0, 0, 7][..], &[0xfd; 16]]) {
            let kind = if address.len() == 4 { 1 } else { 28 };
            let mut answer = question.payload.clone();
            (answer[2], answer[7]) = (0x80, 1);
            answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 30, 0, address.len() as u8]);
            answer.extend(address);
            bench.datagram("10.0.0.7:5355", "0.0.0.0:5355", &answer);
        }
        let host = bench.only(DiscoveryProtocol::Llmnr);
        let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.7", "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"]);
        // It is asked for again after a minute.
        bench.wait(61.0);
        assert_eq!(bench.names(DiscoveryProtocol::Llmnr), ["PC7"]);
    }
}
