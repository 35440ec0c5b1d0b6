//! The table: what each guard is worth, and what ours is.

use crate::policies::{Existing, Policy, simulate};
use crate::world::{Foreign, Frame, MILLISECOND, Ours, SECOND, World, host};

const SEEDS: u64 = 1_000;

/// The share of seeds that are a storm in percent; of the others, the least and most datagrams on A and B.
#[derive(Debug)]
struct Summary {
    storms: u64,
    #[expect(dead_code, reason = "shown if a test fails")]
    on_a: (u64, u64),
    on_b: (u64, u64),
}

fn summary(relays: &[Existing], count: u64) -> Summary {
    let (mut storms, mut on_a, mut on_b) = (0, (u64::MAX, 0), (u64::MAX, 0));
    for seed in 0..SEEDS {
        let result = simulate(relays, count, seed);
        storms += u64::from(result.storm);
        if !result.storm {
            let [a, b] = result.datagrams;
            on_a = (on_a.0.min(a), on_a.1.max(a));
            on_b = (on_b.0.min(b), on_b.1.max(b));
        }
    }
    Summary { storms: storms * 100 / SEEDS, on_a, on_b }
}

#[test]
fn relays_that_ignore_only_themselves_are_a_storm() {
    assert_eq!(summary(&[Policy::OwnSource.rewriting(); 2], 1).storms, 100);
}

#[test]
fn echo_credits_lose_races() {
    let two = summary(&[Policy::Credits.rewriting(); 2], 1);
    assert!((25..=40).contains(&two.storms), "{two:?}");
    assert_eq!(two.on_b, (2, 2));
    let three = summary(&[Policy::Credits.rewriting(); 3], 1);
    assert_eq!(three.storms, 100);
}

#[test]
fn a_seen_set_is_not_a_storm_and_loses_honest_repeats() {
    let one = summary(&[Policy::SeenSet.rewriting(); 2], 1);
    assert_eq!((one.storms, one.on_b), (0, (1, 2)));
    let three = summary(&[Policy::SeenSet.rewriting(); 2], 3);
    assert_eq!(three.storms, 0);
    assert!(three.on_b.1 < 3, "{three:?}: 3 to 6 are due");
}

#[test]
fn known_addresses_lose_nothing_and_leave_duplicates() {
    for (count, copies) in [(1, 2), (3, 6)] {
        let known = summary(&[Policy::KnowsOthers.rewriting(); 2], count);
        assert_eq!((known.storms, known.on_b), (0, (copies, copies)));
    }
}

#[test]
fn only_a_set_holds_beside_a_relay_without_a_guard() {
    let beside = |own: Existing| summary(&[own, Policy::OwnSource.rewriting()], 1);
    let set = beside(Policy::SeenSet.rewriting());
    assert_eq!((set.storms, set.on_b.1), (0, 2), "{set:?}");
    for own in [Policy::Credits, Policy::OneWay, Policy::OnLink] {
        assert_eq!(beside(own.rewriting()).storms, 100, "{own:?}");
    }
}

#[test]
fn an_on_link_check_holds_only_if_all_keep_the_source() {
    let kept = summary(&[Policy::OnLink.keeping_source(); 2], 1);
    assert_eq!((kept.storms, kept.on_b), (0, (2, 2)));
    assert_eq!(summary(&[Policy::OnLink.rewriting(); 2], 1).storms, 100);
}

#[test]
fn two_relays_without_a_guard_are_a_storm_whatever_the_third_does() {
    for own in [Policy::SeenSet, Policy::OneWay, Policy::KnowsOthers] {
        let relays = [own.rewriting(), Policy::OwnSource.rewriting(), Policy::OwnSource.rewriting()];
        assert_eq!(summary(&relays, 1).storms, 100, "{own:?}");
    }
}

/// Returns the datagrams that our relays sent on B for `count` identical datagrams on A, 100 ms apart, after 5 s.
fn ours(seed: u64, relays: usize, rule: &str, foreign: Vec<Foreign>, count: u64) -> (usize, usize) {
    let plan = |start| Ours { segments: vec![0, 1], rules: rule.into(), priority: 100, start };
    let mut world = World::new(seed, (0..relays).map(|number| plan(number as u64 * 7)).collect(), foreign);
    let destination = match rule.contains("ssdp") {
        true => "239.255.255.250:1900",
        false => "239.1.2.3:5000",
    };
    for number in 0..count {
        let frame = Frame {
            segment: 0,
            source: host(0, 1),
            destination: destination.parse().unwrap(),
            hop_limit: 64,
            payload: (*b"NOTIFY * HTTP/1.1\r\n").into(),
        };
        world.original(5 * SECOND + number * 100 * MILLISECOND, frame);
    }
    assert!(world.run(20 * SECOND), "a storm");
    let payload = b"NOTIFY * HTTP/1.1\r\n";
    (world.copies(0, payload), world.copies(1, payload))
}

const STREAM: &str = "239.1.2.3:5000 between s0 and s1 always";
const SSDP: &str = "ssdp between s0 and s1";

#[test]
fn ours_send_one_copy_of_each_datagram() {
    for seed in 0..100 {
        for relays in 1..=3 {
            assert_eq!(ours(seed, relays, STREAM, vec![], 1), (0, 1), "{relays} relays, seed {seed}");
            assert_eq!(ours(seed, relays, STREAM, vec![], 3), (0, 3), "{relays} relays, seed {seed}");
            assert_eq!(ours(seed, relays, SSDP, vec![], 1), (0, 1), "{relays} relays, seed {seed}");
        }
    }
}

#[test]
fn ours_beside_a_relay_without_a_guard_send_at_most_two_copies_of_discovery() {
    for seed in 0..100 {
        for one_way in [false, true] {
            let foreign = Foreign { one_way, ..Foreign::between(vec![1, 0]) };
            let (on_a, on_b) = ours(seed, 1 + seed as usize % 2, SSDP, vec![foreign], 1);
            assert!(on_a <= 1 && (1..=2).contains(&on_b) || on_a + on_b <= 2, "{on_a} {on_b}, seed {seed}");
        }
    }
}
