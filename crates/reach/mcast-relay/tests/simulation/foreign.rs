//! Beside relays without a guard: what they do is theirs, but we have no part in a storm.

use std::collections::BTreeMap;

use mcast_relay::RelayEvent;
use mcast_sim::for_seeds;

use crate::world::{Foreign, Frame, MILLISECOND, Ours, SECOND, World, host};

fn frame(segment: usize, source: u8, payload: &[u8]) -> Frame {
    let destination = "239.1.2.3:5000".parse().unwrap();
    Frame { segment, source: host(segment, source), destination, hop_limit: 64, payload: payload.into() }
}

/// Copies that are sent until a source has been recognized: those within the allowance, those under way, the probes of up
/// to ten windows. A source has an address on each segment.
const UNTIL_RECOGNIZED: usize = 64;

fn check_one(seed: u64, rules: &str, one_way: bool) {
    let mut plans = Vec::new();
    for number in 0..1 + seed % 2 {
        plans.push(Ours { segments: vec![0, 1], rules: rules.into(), priority: 100, start: number * 9 });
    }
    let segments = if seed % 4 < 2 { vec![0, 1] } else { vec![1, 0] };
    let foreign = Foreign { one_way, ..Foreign::between(segments) };
    let mut world = World::new(seed, plans, vec![foreign]);
    world.longest_delay = world.dice.pick(&[500, 3_000, 30_000, 120_000]);
    let pause = world.dice.between(2, 200) * MILLISECOND;
    let mut originals = BTreeMap::new();
    for number in 0..400_u64 {
        let (segment, source) = (world.dice.below(2) as usize, world.dice.between(1, 3) as u8);
        // Some are identical.
        let payload = if world.dice.chance(0.2) { 0 } else { number }.to_be_bytes();
        world.original(5 * SECOND + number * pause, frame(segment, source, &payload));
        *originals.entry((1 - segment, payload)).or_insert(0_usize) += 1;
    }
    let end = 30 * SECOND + 400 * pause;
    assert!(world.run(end), "a storm");
    let ours = world.sent_by_ours().count();
    assert!(ours <= 2 * 400 + 2 * UNTIL_RECOGNIZED, "{ours} copies of 400 datagrams");
    // In the last seconds, there are no originals.
    let late = world.sent_by_ours().filter(|sent| sent.time > end - 5 * SECOND).count();
    assert_eq!(late, 0, "it has not ended");
    // Nothing is lost: what a rule forwards arrives at least as often as it was sent.
    for ((segment, payload), count) in originals {
        if segment == 1 || rules.contains("between") {
            let arrived = world.sent.iter().filter(|sent| {
                sent.frame.segment == segment
                    && *sent.frame.payload == payload
                    && sent.frame.source.ip().to_string().starts_with(&format!("10.0.{segment}.2"))
            });
            assert!(arrived.count() >= count, "{payload:?} on {segment}");
        }
    }
}

#[test]
fn a_relay_without_a_guard_does_not_make_a_storm_of_our_copies() {
    for_seeds(200, |seed| check_one(seed, "239.1.2.3:5000 between s0 and s1 always", false));
}

#[test]
fn one_way_rules_hold_too() {
    for_seeds(200, |seed| check_one(seed, "239.1.2.3:5000 from s0 to s1 always", false));
}

#[test]
fn a_one_way_relay_in_the_other_direction_is_the_other_half_of_a_loop() {
    for_seeds(200, |seed| check_one(seed, "239.1.2.3:5000 from s0 to s1 always", true));
}

#[test]
fn the_event_names_the_other_relay() {
    let ours = Ours {
        segments: vec![0, 1],
        rules: "239.1.2.3:5000 from s0 to s1 always".into(),
        priority: 100,
        start: 0,
    };
    let foreign = Foreign::between(vec![0, 1]);
    let mut world = World::new(1, vec![ours], vec![foreign]);
    world.original(5 * SECOND, frame(0, 1, b"one"));
    assert!(world.run(10 * SECOND), "a storm");
    let found = world.events.iter().find_map(|(time, _, event)| match event {
        RelayEvent::LoopFound { source, .. } => Some((*time, source.to_string())),
        _ => None,
    });
    let (time, source) = found.unwrap();
    assert_eq!(source, "10.0.0.201", "its address on the segment that our rule forwards from");
    // A single datagram that circulates is recognized after ten windows with a probe.
    assert!(time < 10 * SECOND, "{time}");
}

#[test]
fn a_storm_of_others_is_not_ours() {
    for_seeds(60, |seed| {
        let rules = ["239.1.2.3:5000 from s0 to s1 always", "239.1.2.3:5000 between s0 and s1 always"];
        let rules = rules[seed as usize % 2].to_owned();
        let ours = Ours { segments: vec![0, 1], rules, priority: 100, start: 0 };
        let foreign = Foreign::between(vec![0, 1]);
        let mut world = World::new(seed, vec![ours], vec![foreign; 2]);
        world.most = 50_000;
        for number in 0..3_u64 {
            world.original(5 * SECOND + number * 300 * MILLISECOND, frame(0, 1, &number.to_be_bytes()));
        }
        world.run(12 * SECOND);
        let ours = world.sent_by_ours().count();
        assert!(world.sent.len() > 10 * ours, "they storm");
        // Each of the two has an address on both segments.
        assert!(ours <= 4 * UNTIL_RECOGNIZED, "{ours} of {} are ours", world.sent.len());
        let names = |(_, _, event): &(u64, usize, RelayEvent)| matches!(event, RelayEvent::LoopFound { .. });
        let named = world.events.iter().filter(|event| names(event)).count();
        assert_eq!(named, 0, "they storm without us");
    });
}

#[test]
fn a_storm_of_others_is_not_ours_however_long_it_lasts() {
    for_seeds(12, |seed| {
        let rules = ["239.1.2.3:5000 from s0 to s1 always", "239.1.2.3:5000 between s0 and s1 always"];
        let rules = rules[seed as usize % 2].to_owned();
        let ours = Ours { segments: vec![0, 1], rules, priority: 100, start: 0 };
        let delay = [10, 20, 50][seed as usize % 3] * MILLISECOND;
        let foreign = Foreign { delay: (delay, delay), ..Foreign::between(vec![0, 1]) };
        let mut world = World::new(seed, vec![ours], vec![foreign; 2]);
        world.most = 400_000;
        for number in 0..3_u64 {
            world.original(5 * SECOND + number * 300 * MILLISECOND, frame(0, 1, &number.to_be_bytes()));
        }
        assert!(world.run(25 * SECOND), "our copies multiply it");
        let ours = world.sent_by_ours().count();
        assert!(world.sent.len() > 100 * ours, "they storm");
        assert!(ours <= 4 * UNTIL_RECOGNIZED, "{ours} of {} are ours", world.sent.len());
    });
}

#[test]
fn our_own_relays_hold_even_if_no_announcement_arrives() {
    for_seeds(200, |seed| {
        let rules = ["239.1.2.3:5000 between s0 and s1 always", "ssdp between s0 and s1"];
        let rules = rules[seed as usize % 2];
        let plan = || Ours { segments: vec![0, 1], rules: rules.into(), priority: 100, start: 0 };
        let mut world = World::new(seed, vec![plan(), plan()], vec![]);
        world.announcement_loss = 1_000;
        let destination = if rules.contains("ssdp") { "239.255.255.250:1900" } else { "239.1.2.3:5000" };
        for number in 0..200_u64 {
            let frame =
                Frame { destination: destination.parse().unwrap(), ..frame(0, 1, &number.to_be_bytes()) };
            world.original(5 * SECOND + number * 20 * MILLISECOND, frame);
        }
        assert!(world.run(65 * SECOND), "a storm");
        for segment in 0..2 {
            let ours = world.sent_by_ours().filter(|sent| sent.frame.segment == segment).count();
            // To each, the other one's copies are originals.
            assert!(ours <= 2 * (2 * 200 + 2 * UNTIL_RECOGNIZED), "{ours} on {segment}");
        }
        // The windows of their tests disturb each other.
        assert_eq!(world.sent_by_ours().filter(|sent| sent.time > 60 * SECOND).count(), 0);
    });
}
