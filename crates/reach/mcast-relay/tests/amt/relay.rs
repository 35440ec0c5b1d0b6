//! The relay against floods, limits and damaged reports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::SourceFilter;
use mcast_pace::ClockTime;
use mcast_packet::payload::{AmtMac, AmtMessage};
use mcast_relay::amt::{AmtGateway, AmtRelay, AmtRelayLimits, GatewayOutput};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{RELAY, at, group, new_relay, only};

fn emit(message: &AmtMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 2_000];
    let length = message.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// Connects a gateway at this address, and returns the updates that it sends.
fn updates(relay: &mut AmtRelay, own: SocketAddr, text: &str, sources: SourceFilter) -> Vec<Vec<u8>> {
    let mut gateway = AmtGateway::new(|| 7);
    gateway.set_membership(ClockTime::START, group(text), sources);
    let mut updates = Vec::new();
    while let Some(output) = gateway.poll_output() {
        match output {
            GatewayOutput::FindRelays => gateway.use_relays(ClockTime::START, vec![relay.address()]),
            GatewayOutput::Send { to, bytes } if bytes[0] == 5 => {
                assert_eq!(to, relay.address());
                updates.push(bytes);
            }
            GatewayOutput::Send { bytes, .. } => {
                if let (Some(answer), _) = relay.handle_datagram(ClockTime::START, own, &bytes) {
                    gateway.handle_datagram(ClockTime::START, relay.address(), &answer);
                }
            }
            GatewayOutput::Event(_) => {}
        }
    }
    updates
}

fn connect(relay: &mut AmtRelay, own: &str, text: &str, sources: SourceFilter) {
    let own: SocketAddr = own.parse().unwrap();
    for update in updates(relay, own, text, sources) {
        assert_eq!(relay.handle_datagram(ClockTime::START, own, &update).0, None);
    }
}

#[test]
fn a_flood_of_requests_from_forged_addresses_gets_fewer_bytes_than_it_sent() {
    let mut relay = new_relay();
    let request = emit(&AmtMessage::Request { nonce: 7, wants_mld: true });
    // 100,000 in one second. With the headers of IPv4 and UDP.
    let (mut sent, mut answered) = (0, 0);
    for number in 0..100_000_u32 {
        let from = SocketAddr::new(IpAddr::V4((0x0b00_0000 + number).into()), 4_000);
        let now = ClockTime::START + Duration::from_micros(u64::from(number) * 10);
        sent += request.len() + 28;
        answered += relay.handle_datagram(now, from, &request).0.map_or(0, |answer| answer.len() + 28);
    }
    assert!(answered < sent / 10, "{answered} for {sent}");
    assert_eq!(relay.gateways().len(), 0);
    assert!(relay.wanted().is_empty());
    assert_eq!(relay.poll_timeout(), None);
}

#[test]
fn a_known_gateway_is_answered_during_a_flood() {
    let mut relay = new_relay();
    connect(&mut relay, "198.51.100.1:5000", "239.1.2.3", SourceFilter::ANY);
    let request = emit(&AmtMessage::Request { nonce: 7, wants_mld: false });
    for number in 0..10_000_u32 {
        let from = SocketAddr::new(IpAddr::V4((0x0b00_0000 + number).into()), 4_000);
        relay.handle_datagram(ClockTime::START, from, &request);
    }
    let stranger = "198.51.100.2:5000".parse().unwrap();
    assert_eq!(relay.handle_datagram(ClockTime::START, stranger, &request).0, None);
    let known = "198.51.100.1:5000".parse().unwrap();
    assert!(relay.handle_datagram(ClockTime::START, known, &request).0.is_some());
    // Somebody who knows its address cannot flood it either.
    let answers =
        (0..10_000).filter(|_| relay.handle_datagram(ClockTime::START, known, &request).0.is_some());
    assert!(answers.count() < 256);
}

#[test]
fn an_update_counts_only_from_the_address_and_port_of_its_request() {
    let mut relay = new_relay();
    let own = "198.51.100.1:5000".parse().unwrap();
    let updates = updates(&mut relay, own, "239.1.2.3", SourceFilter::ANY);
    let [update] = updates.as_slice() else { panic!("one update") };
    for other in ["198.51.100.1:5001", "198.51.100.2:5000"] {
        relay.handle_datagram(ClockTime::START, other.parse().unwrap(), update);
    }
    let mut changed = update.clone();
    changed[8] ^= 1;
    relay.handle_datagram(ClockTime::START, own, &changed);
    assert_eq!((relay.gateways().len(), relay.counts().wrong_mac), (0, 3));
    assert!(relay.handle_datagram(ClockTime::START, own, update).1);
    assert_eq!(relay.gateways().len(), 1);
}

#[test]
fn a_code_expires_with_its_secret() {
    let mut relay = new_relay();
    let own = "198.51.100.1:5000".parse().unwrap();
    let updates = updates(&mut relay, own, "239.1.2.3", SourceFilter::ANY);
    let lifetime = AmtRelayLimits::default().query_interval * 2;
    relay.handle_datagram(ClockTime::START + lifetime, own, &updates[0]);
    assert_eq!(relay.counts().wrong_mac, 0);
    relay.handle_datagram(ClockTime::START + lifetime * 2, own, &updates[0]);
    assert_eq!(relay.counts().wrong_mac, 1);
}

#[test]
fn a_teardown_needs_the_code_of_the_address_that_it_names() {
    let mut relay = new_relay();
    for own in ["198.51.100.1:5000", "198.51.100.1:5001"] {
        connect(&mut relay, own, "239.1.2.3", SourceFilter::ANY);
    }
    let victim = "198.51.100.1:5000".parse().unwrap();
    let attacker = "198.51.100.1:5001".parse().unwrap();
    let request = emit(&AmtMessage::Request { nonce: 9, wants_mld: false });
    let query = relay.handle_datagram(ClockTime::START, attacker, &request).0.unwrap();
    let Some(AmtMessage::MembershipQuery { mac, nonce, .. }) = AmtMessage::parse(&query) else { panic!() };
    let forged = emit(&AmtMessage::Teardown { mac, nonce, gateway: victim });
    assert!(!relay.handle_datagram(ClockTime::START, attacker, &forged).1);
    assert_eq!(relay.gateways().len(), 2);
    // Its own tunnel may be torn down from a new address.
    let own = emit(&AmtMessage::Teardown { mac, nonce, gateway: attacker });
    assert!(relay.handle_datagram(ClockTime::START, "192.0.2.77:1".parse().unwrap(), &own).1);
    assert_eq!(relay.gateways().collect::<Vec<_>>(), [victim]);
}

#[test]
fn a_full_relay_says_so_and_keeps_the_gateways_it_has() {
    let limits = AmtRelayLimits { gateways: 3, gateways_per_address: 2, ..AmtRelayLimits::default() };
    let mut relay = AmtRelay::new(RELAY.parse().unwrap(), limits).unwrap();
    for own in ["198.51.100.1:1", "198.51.100.1:2", "198.51.100.1:3", "198.51.100.2:1", "198.51.100.3:1"] {
        connect(&mut relay, own, "239.1.2.3", SourceFilter::ANY);
    }
    let known: Vec<_> = relay.gateways().map(|gateway| gateway.to_string()).collect();
    assert_eq!(known, ["198.51.100.1:1", "198.51.100.1:2", "198.51.100.2:1"]);
    let request = emit(&AmtMessage::Request { nonce: 9, wants_mld: false });
    let is_full = |relay: &mut AmtRelay, from: &str| {
        let query = relay.handle_datagram(ClockTime::START, from.parse().unwrap(), &request).0.unwrap();
        match AmtMessage::parse(&query) {
            Some(AmtMessage::MembershipQuery { is_full, .. }) => is_full,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_full(&mut relay, "198.51.100.4:1"));
    assert!(!is_full(&mut relay, "198.51.100.2:1"));
}

#[test]
fn sources_are_merged_and_each_gateway_gets_its_own() {
    let mut relay = new_relay();
    let groups = group("232.1.2.3");
    connect(&mut relay, "198.51.100.1:1", "232.1.2.3", only("192.0.2.7"));
    connect(&mut relay, "198.51.100.1:2", "232.1.2.3", only("192.0.2.8"));
    let wanted = relay.wanted();
    let both = SourceFilter::Include(["192.0.2.7", "192.0.2.8"].map(|text| text.parse().unwrap()).into());
    assert_eq!(wanted[&groups], both);
    let receivers: Vec<_> = relay.receivers(groups, "192.0.2.8".parse().unwrap()).collect();
    assert_eq!(receivers, ["198.51.100.1:2".parse().unwrap()]);
    assert!(relay.handle_unreachable("198.51.100.1:2".parse().unwrap()));
    assert_eq!(relay.wanted()[&groups], only("192.0.2.7"));
}

#[test]
fn a_gateway_that_no_longer_reports_is_forgotten() {
    let mut relay = new_relay();
    connect(&mut relay, "198.51.100.1:1", "239.1.2.3", SourceFilter::ANY);
    assert!(!relay.handle_timeout(at(59)));
    assert!(relay.handle_timeout(at(60)));
    assert_eq!(relay.gateways().len(), 0);
}

proptest! {
    #[test]
    fn any_datagram_leaves_the_relay_bounded(
        datagrams in vec((any::<u8>(), vec(any::<u8>(), 0..80), any::<u32>()), 0..100),
    ) {
        let mut relay = new_relay();
        for (kind, rest, from) in datagrams {
            let from = SocketAddr::new(IpAddr::V4(from.into()), from as u16);
            let bytes = [&[kind & 7], &rest[..]].concat();
            relay.handle_datagram(ClockTime::START, from, &bytes);
        }
        prop_assert_eq!(relay.gateways().len(), 0);
    }

    /// A gateway with a valid code may send any report: the state stays bounded.
    #[test]
    fn any_report_with_a_valid_code_leaves_the_relay_bounded(
        reports in vec((vec(any::<u8>(), 0..200), any::<bool>()), 1..20),
    ) {
        let mut relay = new_relay();
        let own = "198.51.100.1:5000".parse().unwrap();
        let good = updates(&mut relay, own, "239.1.2.3", SourceFilter::ANY).remove(0);
        for (damage, is_whole) in reports {
            let mut update = good.clone();
            match is_whole {
                true => update.splice(12.., damage),
                false => update.splice(12..12, damage),
            };
            relay.handle_datagram(ClockTime::START, own, &update);
            let groups = relay.wanted().len();
            prop_assert!(groups <= AmtRelayLimits::default().groups_per_gateway);
            relay.handle_timeout(ClockTime::START);
        }
    }
}

#[test]
fn a_report_with_too_many_groups_is_cut_off() {
    let limits = AmtRelayLimits { groups_per_gateway: 10, ..AmtRelayLimits::default() };
    let mut relay = AmtRelay::new(RELAY.parse().unwrap(), limits).unwrap();
    for number in 0..20 {
        connect(&mut relay, "198.51.100.1:1", &format!("239.1.2.{number}"), SourceFilter::ANY);
    }
    assert_eq!(relay.wanted().len(), 10);
}

#[test]
fn codes_of_another_relay_are_worthless() {
    let (mut one, mut other) = (new_relay(), new_relay());
    let own = "198.51.100.1:5000".parse().unwrap();
    let update = updates(&mut one, own, "239.1.2.3", SourceFilter::ANY).remove(0);
    other.handle_datagram(ClockTime::START, own, &update);
    let zero = emit(&AmtMessage::MembershipUpdate { mac: AmtMac([0; 6]), nonce: 7, packet: &update[12..] });
    other.handle_datagram(ClockTime::START, own, &zero);
    assert_eq!((other.gateways().len(), other.counts().wrong_mac), (0, 2));
}

#[test]
fn a_report_with_a_wrong_checksum_is_not_applied() {
    for text in ["232.1.2.3", "ff3e::8000:1"] {
        let (mut relay, own) = (new_relay(), "198.51.100.1:5000".parse().unwrap());
        let source = if text.contains(':') { "2001:db8::7" } else { "192.0.2.7" };
        let updates = updates(&mut relay, own, text, only(source));
        assert!(!updates.is_empty());
        for update in &updates {
            let mut damaged = update.clone();
            // The last octet of the source.
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(relay.handle_datagram(ClockTime::START, own, &damaged), (None, false));
        }
        assert!(relay.wanted().is_empty() && relay.gateways().len() == 0, "{text}");
        assert_eq!(relay.counts().invalid, updates.len() as u64);
        updates.iter().for_each(|update| drop(relay.handle_datagram(ClockTime::START, own, update)));
        assert_eq!(relay.wanted().len(), 1, "{text}");
    }
}
