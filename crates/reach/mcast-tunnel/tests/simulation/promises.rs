//! What holds in every network.

use std::collections::BTreeMap;
use std::time::Duration;

use mcast_group::SourceFilter;
use mcast_pace::ClockTime;
use mcast_sim::{Dice, for_seeds};
use mcast_tunnel::{RefusedBy, TunnelDatagram, TunnelEvent, TunnelWant};

use crate::world::{End, LINK, Network, OF_SITE, World, datagram, hub_address};

const BOUND: Duration = Duration::from_millis(1_000);
const CALM: Network =
    Network { loss: 0, duplicates: 0, flips: 0, replays: 0, delay: (40, 40), carries: 1_472 };

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Returns a network with 5 % of loss and everything else.
fn bad_network(dice: &mut Dice) -> Network {
    let delay = dice.between(1, 60);
    Network {
        loss: dice.pick(&[0, 10, 50, 50]),
        duplicates: dice.pick(&[0, 20]),
        flips: dice.pick(&[0, 5]),
        replays: dice.pick(&[0, 50]),
        delay: (delay, delay + dice.between(0, 30)),
        carries: dice.pick(&[1_200, 1_252, 1_372, 1_472]),
    }
}

/// Sends datagrams of any length from both ends for this time, every few milliseconds; returns their lengths.
fn traffic(
    world: &mut World,
    first: u64,
    time: Duration,
    bound: Option<Duration>,
) -> BTreeMap<(End, u64), usize> {
    let (end, mut number, mut sent) = (world.now + time, first, BTreeMap::new());
    while world.now < end {
        let from = world.dice.pick(&[End::Site, End::Hub]);
        let length = world.dice.pick(&[0, 100, 1_316, 1_500, 9_000]);
        if world.send(from, number, length, bound) {
            sent.insert((from, number), length);
        }
        number += 1;
        let pause = Duration::from_millis(world.dice.between(0, 20));
        world.run(pause);
    }
    sent
}

/// Asserts that everything that was received is what was sent, once, and returns how much of it was not.
fn missing(world: &World, sent: &BTreeMap<(End, u64), usize>) -> usize {
    let mut left = sent.clone();
    for (end, received) in &world.received {
        let from = if *end == End::Hub { End::Site } else { End::Hub };
        for (_, datagram_received) in received {
            let number = datagram_received.trail.number;
            let length = left.remove(&(from, number));
            let length = length.unwrap_or_else(|| panic!("{number} of {from:?} came twice, or from nobody"));
            assert_eq!(*datagram_received, datagram(number, length));
        }
    }
    left.len()
}

#[test]
fn what_is_sent_with_a_bound_arrives_once_and_unchanged_in_bad_networks() {
    for_seeds(60, |seed| {
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed, bad_network(&mut dice));
        world.run(seconds(20));
        assert!(world.is_up(End::Site) && world.is_up(End::Hub));
        let sent = traffic(&mut world, 1, seconds(10), Some(BOUND));
        world.run(seconds(5));
        let missing = missing(&world, &sent);
        let counts = [End::Site, End::Hub].map(|end| world.counts(end));
        let lost: u64 = counts.iter().map(|counts| counts.lost).sum();
        // Eight attempts of which each fails in one of ten: none in ten million.
        assert!(missing as u64 <= lost, "{missing} missing, {lost} counted, {:?}", world.network);
        if world.network.flips == 0 {
            assert_eq!((missing, lost), (0, 0), "{:?} {counts:?}", world.network);
        }
        for datagram in &world.wire {
            assert!(!datagram.windows(15).any(|text| text == b"a text in clear"));
        }
    });
}

#[test]
fn an_address_that_proves_nothing_gets_no_more_than_quic_allows() {
    for_seeds(60, |seed| {
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed, Network { replays: 300, ..bad_network(&mut dice) });
        for round in 0..20 {
            traffic(&mut world, round * 1_000, seconds(1), None);
            let recorded = world.dice.pick(&world.wire.clone());
            let from = ([192, 0, 2, 100 + round as u8], 9).into();
            let to = world.dice.pick(&[hub_address(), world.outside]);
            world.forge(from, to, recorded);
        }
        world.run(seconds(30));
        for (address, (got, sent)) in &world.reflected {
            // RFC 9000, section 8.1. It is reached only by those who overtake the other end's own packets.
            assert!(*got <= 3 * sent, "{address} got {got} bytes for {sent}");
        }
        let moved = world.events.iter().find(|(.., event)| {
            matches!(event, TunnelEvent::Moved { address, .. } if world.reflected.contains_key(address))
        });
        assert!(moved.is_none(), "{moved:?}");
    });
}

#[test]
fn a_nat_that_changes_its_address_costs_two_seconds() {
    for_seeds(60, |seed| {
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed, Network { loss: dice.pick(&[0, 50]), ..CALM });
        world.run(seconds(5));
        world.outside = "198.51.100.8:50000".parse().unwrap();
        let changed = world.now;
        let sent = traffic(&mut world, 1, seconds(10), Some(BOUND));
        world.run(seconds(3));
        missing(&world, &sent);
        let address = world.end(End::Hub).links().next().unwrap().1.peer.unwrap().1;
        assert_eq!(address, world.outside);
        let first = world.received[&End::Site].first().unwrap().0;
        assert!(first < changed + seconds(3), "{:?} after {changed:?}", first);
        let downs = world.events.iter().any(|(.., event)| matches!(event, TunnelEvent::Down { .. }));
        assert!(!downs, "{:?}", world.events);
    });
}

/// The site sends only what keeps the tunnel and requests repairs, from whose few bytes the hub may answer little.
#[test]
fn a_nat_that_changes_its_address_costs_a_site_that_only_receives_two_and_a_half_seconds() {
    const SEEDS: u64 = 200;
    let late = std::cell::Cell::new(0);
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed, CALM);
        world.run(seconds(6));
        world.network.loss = 50;
        let send = |world: &mut World, numbers: std::ops::Range<u64>| {
            for number in numbers {
                world.send(End::Hub, number, 1_316, Some(BOUND));
                world.run(Duration::from_millis(4));
            }
        };
        send(&mut world, 1..250);
        world.outside = "198.51.100.8:50000".parse().unwrap();
        let changed = world.now;
        send(&mut world, 250..1_500);
        let of_then = |(_, received): &&(ClockTime, TunnelDatagram)| received.trail.number >= 250;
        let first = world.received[&End::Site].iter().find(of_then).map(|(time, _)| *time);
        let silence = first.unwrap() - changed;
        assert!(silence < seconds(5), "{silence:?}");
        late.set(late.get() + u64::from(silence > Duration::from_millis(2_500)));
        let downs = world.events.iter().any(|(.., event)| matches!(event, TunnelEvent::Down { .. }));
        assert!(!downs, "{:?}", world.events);
    });
    // Several packets in a row are lost in few networks.
    assert!(late.get() <= SEEDS / 50, "{late:?} of {SEEDS}");
}

#[test]
fn an_end_that_starts_again_has_its_tunnel_again_in_six_seconds() {
    for_seeds(60, |seed| {
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed, Network { loss: dice.pick(&[0, 50]), ..CALM });
        world.run(seconds(5));
        let want = TunnelWant { destination: "239.1.2.3:5000".parse().unwrap(), sources: SourceFilter::ANY };
        world.end(End::Site).set_wants(LINK, vec![want.clone()]);
        let end = dice.pick(&[End::Site, End::Hub]);
        world.start(end, OF_SITE);
        if end == End::Site {
            world.end(End::Site).set_wants(LINK, vec![want]);
        }
        let before = world.events.len();
        let pause = Duration::from_millis(dice.below(1_000));
        world.run(seconds(6) + pause);
        let wants = |(_, end, event): &&(ClockTime, End, TunnelEvent)| {
            *end == End::Hub && matches!(event, TunnelEvent::Wants { wants, .. } if wants.len() == 1)
        };
        assert!(world.events[before..].iter().any(|event| wants(&event)), "{:?}", world.events);
        let sent = traffic(&mut world, 1, seconds(2), Some(BOUND));
        world.run(seconds(3));
        assert_eq!(missing(&world, &sent), 0);
    });
}

#[test]
fn an_end_with_another_key_gets_nothing_and_disturbs_nothing() {
    let mut world = World::new(1, CALM);
    world.start(End::Site, OF_SITE + 1);
    world.run(seconds(10));
    assert!(!world.is_up(End::Hub) && !world.is_up(End::Site));
    assert!(world.events.iter().any(|(.., event)| matches!(event, TunnelEvent::WrongKey { .. })));
    let is_refused =
        |event: &TunnelEvent| matches!(event, TunnelEvent::Refused { reason: RefusedBy::UnknownKey, .. });
    assert!(world.events.iter().any(|(.., event)| is_refused(event)));
    let of_hub = world.events.iter().filter(|(_, end, _)| *end == End::Hub);
    assert!(of_hub.clone().all(|(.., event)| matches!(event, TunnelEvent::WrongKey { .. })));
}

#[test]
fn a_path_that_carries_less_all_of_a_sudden_is_followed() {
    let mut world = World::new(3, CALM);
    world.run(seconds(20));
    world.network.carries = 1_252;
    // What is repaired arrives from the beginning on: in parts, once some datagrams of the former size are lost.
    let mut sent = traffic(&mut world, 1, seconds(5), Some(2 * BOUND));
    world.run(seconds(3));
    sent.extend(traffic(&mut world, 10_000, seconds(3), None));
    world.run(seconds(2));
    assert_eq!(missing(&world, &sent), 0);
}
