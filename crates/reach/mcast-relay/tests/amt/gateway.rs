//! The gateway against relays that are slow, full, gone, or not the one it asked.

use std::net::SocketAddr;

use mcast_group::SourceFilter;
use mcast_pace::ClockTime;
use mcast_packet::payload::AmtMessage;
use mcast_relay::amt::{AmtGateway, AmtRelay, GatewayEvent, GatewayOutput, RelayFailure, encapsulate};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{RELAY, at, group, new_relay, only};

const OWN: &str = "198.51.100.1:5000";

fn relay_address() -> SocketAddr {
    RELAY.parse().unwrap()
}

/// A gateway whose outputs are taken one after the other.
struct Subject {
    gateway: AmtGateway,
    relays: Vec<SocketAddr>,
    events: Vec<GatewayEvent>,
}

impl Subject {
    fn new(relays: &[&str]) -> Self {
        let mut number = 0;
        let random = move || {
            number += 1;
            number
        };
        let relays = relays.iter().map(|text| text.parse().unwrap()).collect();
        Self { gateway: AmtGateway::new(random), relays, events: Vec::new() }
    }

    /// Returns the datagrams that it sends now.
    fn sent(&mut self, now: ClockTime) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                GatewayOutput::FindRelays => self.gateway.use_relays(now, self.relays.clone()),
                GatewayOutput::Send { to, bytes } => sent.push((to, bytes)),
                GatewayOutput::Event(event) => self.events.push(event),
            }
        }
        sent
    }

    /// Lets it talk to a relay until both are silent.
    fn talk(&mut self, now: ClockTime, relay: &mut AmtRelay) {
        loop {
            let sent = self.sent(now);
            if sent.is_empty() {
                return;
            }
            let address = relay.address();
            for (to, bytes) in sent.into_iter().filter(|(to, _)| *to == address) {
                if let (Some(answer), _) = relay.handle_datagram(now, OWN.parse().unwrap(), &bytes) {
                    self.gateway.handle_datagram(now, to, &answer);
                }
            }
        }
    }

    /// Returns when, and to which address, it sends something of this type within this time.
    fn times(&mut self, kind: u8, until: ClockTime) -> Vec<(u64, SocketAddr)> {
        let mut times = Vec::new();
        let mut now = ClockTime::START;
        loop {
            let sent = self.sent(now).into_iter().filter(|(_, bytes)| bytes[0] == kind);
            times.extend(sent.map(|(to, _)| ((now - ClockTime::START).as_secs(), to)));
            match self.gateway.poll_timeout() {
                Some(next) if next <= until => now = now.max(next),
                _ => return times,
            }
            self.gateway.handle_timeout(now);
        }
    }
}

fn connected() -> (Subject, AmtRelay) {
    let (mut subject, mut relay) = (Subject::new(&[RELAY]), new_relay());
    subject.gateway.set_membership(ClockTime::START, group("232.1.2.3"), only("192.0.2.7"));
    subject.talk(ClockTime::START, &mut relay);
    assert_eq!(subject.events, [GatewayEvent::Connected { relay: relay_address() }]);
    subject.events.clear();
    (subject, relay)
}

fn data(source: &str, to: &str) -> Vec<u8> {
    encapsulate(source.parse().unwrap(), to.parse().unwrap(), 7, b"data").unwrap()
}

#[test]
fn discovery_backs_off_and_tries_the_next_relay() {
    let other = "203.0.113.2:2268";
    let mut subject = Subject::new(&[RELAY, other]);
    subject.gateway.set_membership(ClockTime::START, group("239.1.2.3"), SourceFilter::ANY);
    let (one, two): (SocketAddr, SocketAddr) = (RELAY.parse().unwrap(), other.parse().unwrap());
    let times = subject.times(1, at(20));
    let expected =
        [(0, one), (1, one), (3, one), (7, two), (8, two), (10, two), (15, one), (16, one), (18, one)];
    assert_eq!(times[..9], expected);
    assert_eq!(subject.events, [GatewayEvent::NoRelay]);
}

#[test]
fn pauses_between_searches_grow_to_two_minutes() {
    let mut subject = Subject::new(&[RELAY]);
    subject.gateway.set_membership(ClockTime::START, group("239.1.2.3"), SourceFilter::ANY);
    let times: Vec<u64> = subject.times(1, at(2_000)).into_iter().map(|(time, _)| time).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert_eq!(longest, 4 + 120);
    assert!(times.len() < 70, "{}", times.len());
}

#[test]
fn a_relay_that_stops_answering_is_given_up() {
    let (mut subject, _) = connected();
    // The next request is due after a query interval.
    let times: Vec<u64> = subject.times(3, at(33)).into_iter().map(|(time, _)| time).collect();
    assert_eq!(times, [25, 26, 28]);
    let failure = RelayFailure::Silent;
    assert_eq!(subject.events, [GatewayEvent::Lost { relay: relay_address(), failure }]);
}

#[test]
fn an_unreachable_relay_is_given_up_at_once() {
    let (mut subject, _) = connected();
    subject.gateway.handle_unreachable(at(5), "203.0.113.9:2268".parse().unwrap());
    subject.gateway.handle_unreachable(at(5), relay_address());
    subject.sent(at(5));
    let failure = RelayFailure::Unreachable;
    assert_eq!(subject.events, [GatewayEvent::Lost { relay: relay_address(), failure }]);
}

#[test]
fn a_relay_that_was_unreachable_is_asked_for_a_new_code() {
    let (mut subject, _) = connected();
    subject.gateway.handle_unreachable(at(5), relay_address());
    let mut restarted = new_relay();
    for now in 5..8 {
        subject.gateway.handle_timeout(at(now));
        subject.talk(at(now), &mut restarted);
    }
    assert_eq!(subject.events.last(), Some(&GatewayEvent::Connected { relay: relay_address() }));
    assert_eq!(restarted.gateways().len(), 1);
}

#[test]
fn silence_after_data_is_noticed_within_seconds() {
    let (mut subject, _) = connected();
    let datagram = data("192.0.2.7:4000", "232.1.2.3:5000");
    assert!(subject.gateway.handle_datagram(at(5), relay_address(), &datagram).is_some());
    let times = subject.times(3, at(12));
    assert_eq!(times[0], (8, relay_address()));
}

#[test]
fn data_counts_only_from_the_relay_and_as_joined() {
    let (mut subject, _) = connected();
    let good = data("192.0.2.7:4000", "232.1.2.3:5000");
    let now = ClockTime::START;
    let datagram = subject.gateway.handle_datagram(now, relay_address(), &good).unwrap();
    assert_eq!(datagram.source, "192.0.2.7:4000".parse().unwrap());
    assert_eq!((datagram.group.to_string().as_str(), datagram.payload), ("232.1.2.3:5000", &b"data"[..]));
    assert_eq!(datagram.hop_limit, 7);
    for from in ["203.0.113.1:2269", "203.0.113.2:2268"] {
        assert!(subject.gateway.handle_datagram(now, from.parse().unwrap(), &good).is_none());
    }
    for (source, to) in [("192.0.2.8:4000", "232.1.2.3:5000"), ("192.0.2.7:4000", "232.1.2.4:5000")] {
        assert!(subject.gateway.handle_datagram(now, relay_address(), &data(source, to)).is_none());
    }
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(subject.gateway.handle_datagram(now, relay_address(), &damaged).is_none());
    assert!(subject.gateway.handle_datagram(now, relay_address(), &good[..good.len() - 1]).is_none());
    // More fragments follow. The checksum of the header covers that flag.
    let mut fragment = good.clone();
    (fragment[8], fragment[12]) = (0x20, fragment[12].wrapping_add(0x20));
    assert!(subject.gateway.handle_datagram(now, relay_address(), &fragment).is_none());
    let counts = subject.gateway.counts();
    assert_eq!((counts.from_others, counts.not_joined, counts.invalid_data, counts.fragments), (2, 2, 2, 1));
}

#[test]
fn nothing_is_received_before_the_relay_is_known() {
    let mut subject = Subject::new(&[RELAY]);
    subject.gateway.set_membership(ClockTime::START, group("232.1.2.3"), only("192.0.2.7"));
    subject.sent(ClockTime::START);
    let good = data("192.0.2.7:4000", "232.1.2.3:5000");
    assert!(subject.gateway.handle_datagram(ClockTime::START, relay_address(), &good).is_none());
}

#[test]
fn answers_to_other_numbers_or_from_other_addresses_are_ignored() {
    let mut subject = Subject::new(&[RELAY]);
    subject.gateway.set_membership(ClockTime::START, group("239.1.2.3"), SourceFilter::ANY);
    subject.sent(ClockTime::START);
    let mut emit = |nonce, from: &str, relay: &str| {
        let mut buffer = [0; 64];
        let message = AmtMessage::RelayAdvertisement { nonce, relay: relay.parse().unwrap() };
        let length = message.emit(&mut buffer).unwrap();
        subject.gateway.handle_datagram(ClockTime::START, from.parse().unwrap(), &buffer[..length]);
        subject.sent(ClockTime::START)
    };
    assert!(emit(2, RELAY, "203.0.113.5").is_empty(), "another number");
    assert!(emit(1, "203.0.113.2:2268", "203.0.113.5").is_empty(), "another address");
    for relay in ["239.1.2.3", "0.0.0.0", "255.255.255.255", "2001:db8::1"] {
        assert!(emit(1, RELAY, relay).is_empty(), "{relay}");
    }
    let sent = emit(1, RELAY, "203.0.113.5");
    assert_eq!(sent[0].0, "203.0.113.5:2268".parse().unwrap());
    assert_eq!(sent[0].1[0], 3);
}

#[test]
fn stopping_leaves_and_tears_down() {
    let (mut subject, mut relay) = connected();
    assert_eq!(relay.gateways().len(), 1);
    subject.gateway.stop(at(1));
    let kinds: Vec<u8> = subject.sent(at(1)).iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(kinds, [5, 7]);
    assert_eq!(subject.gateway.poll_timeout(), None);
    let (mut subject, _) = connected();
    subject.gateway.stop(at(1));
    // The teardown alone suffices. The code in it is that of another relay, which does not accept it.
    subject.talk(at(1), &mut relay);
    assert_eq!((relay.gateways().len(), relay.counts().wrong_mac), (1, 2));
}

#[test]
fn changes_are_reported_at_once_and_repeated() {
    let (mut subject, mut relay) = connected();
    subject.gateway.set_membership(at(5), group("239.9.9.9"), SourceFilter::ANY);
    let first = subject.sent(at(5));
    assert_eq!(first.len(), 1);
    subject.gateway.handle_timeout(at(6));
    for (_, bytes) in subject.sent(at(6)) {
        relay.handle_datagram(at(6), OWN.parse().unwrap(), &bytes);
    }
    assert!(relay.wanted().contains_key(&group("239.9.9.9")), "the first report was lost");
}

proptest! {
    #[test]
    fn any_datagram_from_the_relay_does_no_harm(
        datagrams in vec((1u8..8, vec(any::<u8>(), 0..120)), 0..60),
    ) {
        let (mut subject, mut relay) = connected();
        for (kind, rest) in datagrams {
            let bytes = [&[kind], &rest[..]].concat();
            subject.gateway.handle_datagram(at(1), relay_address(), &bytes);
        }
        subject.events.clear();
        prop_assert!(subject.sent(at(1)).len() < 10);
        subject.gateway.set_membership(at(2), group("239.7.7.7"), SourceFilter::ANY);
        subject.talk(at(2), &mut relay);
        prop_assert!(relay.wanted().contains_key(&group("239.7.7.7")));
    }
}

#[test]
fn a_query_that_answers_no_request_of_the_gateway_is_ignored() {
    /// The type of a query, and the place of its nonce (RFC 7450 section 5.1.4).
    const QUERY: u8 = 4;
    const NONCE: usize = 11;
    let (mut subject, mut relay) = (Subject::new(&[RELAY]), new_relay());
    subject.gateway.set_membership(ClockTime::START, group("232.1.2.3"), only("192.0.2.7"));
    let mut queries = Vec::new();
    loop {
        let sent = subject.sent(ClockTime::START);
        if sent.is_empty() {
            break;
        }
        for (to, bytes) in sent {
            let (answer, _) = relay.handle_datagram(ClockTime::START, OWN.parse().unwrap(), &bytes);
            let Some(answer) = answer else { continue };
            match answer[0] == QUERY {
                true => queries.push(answer),
                false => drop(subject.gateway.handle_datagram(ClockTime::START, to, &answer)),
            }
        }
    }
    let [query] = queries.as_slice() else { panic!("{queries:?}") };
    let mut forged = query.clone();
    forged[NONCE] ^= 1;
    let before = subject.gateway.counts().invalid_messages;
    assert!(subject.gateway.handle_datagram(ClockTime::START, relay_address(), &forged).is_none());
    assert_eq!(subject.gateway.counts().invalid_messages, before + 1);
    assert!(subject.sent(ClockTime::START).is_empty() && subject.events.is_empty(), "{:?}", subject.events);
    assert!(subject.gateway.handle_datagram(ClockTime::START, relay_address(), query).is_none());
    subject.sent(ClockTime::START);
    assert_eq!(subject.events, [GatewayEvent::Connected { relay: relay_address() }]);
}
