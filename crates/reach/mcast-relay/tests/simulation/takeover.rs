//! One relay forwards, and another one takes over.

use mcast_relay::RelayEvent;
use mcast_sim::for_seeds;

use crate::world::{Fault, Frame, MILLISECOND, Ours, SECOND, Sent, World, host};

const RULE: &str = "239.1.2.3:5000 from s0 to s1 always";

fn relays(priorities: &[u8]) -> Vec<Ours> {
    let ours = |(number, priority): (usize, &u8)| Ours {
        segments: vec![0, 1],
        rules: RULE.into(),
        priority: *priority,
        start: number as u64 * 10 * MILLISECOND,
    };
    priorities.iter().enumerate().map(ours).collect()
}

/// Sends a datagram with its number every 20 ms.
fn stream(world: &mut World, end: u64) {
    for number in 0..end / (20 * MILLISECOND) {
        let frame = Frame {
            segment: 0,
            source: host(0, 1),
            destination: "239.1.2.3:5000".parse().unwrap(),
            hop_limit: 64,
            payload: number.to_be_bytes().into(),
        };
        world.original(number * 20 * MILLISECOND, frame);
    }
}

/// Returns the longest time without a copy between these times.
fn gap(world: &World, start: u64, end: u64) -> u64 {
    let is_between = |sent: &&Sent| (start..end).contains(&sent.time);
    let mut times: Vec<_> = world.sent_by_ours().filter(is_between).map(|sent| sent.time).collect();
    times.extend([start, end]);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

/// The relay that was the last to forward, of those that have not stood by since: one that has missed announcements
/// forwards beside another one until the next arrives.
fn forwarder(world: &World) -> usize {
    let mut stands_by = Vec::new();
    for (_, node, event) in world.events.iter().rev() {
        match event {
            RelayEvent::Forwarding { .. } if !stands_by.contains(node) => return *node,
            RelayEvent::StandingBy { .. } => stands_by.push(*node),
            _ => {}
        }
    }
    panic!("none forwards");
}

/// At most one copy of each datagram, apart from a take-over, in which both may send for an announcement's time.
fn most_copies(world: &World) -> usize {
    let mut copies = std::collections::BTreeMap::new();
    for sent in world.sent_by_ours() {
        *copies.entry(sent.frame.payload.clone()).or_insert(0) += 1;
    }
    copies.into_values().max().unwrap_or(0)
}

#[test]
fn a_standby_takes_over_within_three_seconds() {
    for_seeds(300, |seed| {
        let mut world = World::new(seed, relays(&[100, 100, 100][..2 + seed as usize % 2]), vec![]);
        stream(&mut world, 20 * SECOND);
        world.announcement_loss = seed % 4 * 10;
        let killed = 8 * SECOND + world.dice.below(SECOND);
        assert!(world.run(killed));
        let first = forwarder(&world);
        world.fault(killed, Fault::Kill(first));
        assert!(world.run(20 * SECOND));
        assert!(gap(&world, 3 * SECOND, killed) < 100 * MILLISECOND, "it forwards before");
        assert!(gap(&world, killed, 20 * SECOND) < 3 * SECOND);
        assert!(gap(&world, killed + 3 * SECOND, 20 * SECOND) < 100 * MILLISECOND, "and after");
        assert_ne!(forwarder(&world), first);
        assert!(most_copies(&world) <= 2);
    });
}

#[test]
fn a_goodbye_is_a_take_over_at_once() {
    for_seeds(100, |seed| {
        let mut world = World::new(seed, relays(&[100; 2]), vec![]);
        stream(&mut world, 12 * SECOND);
        assert!(world.run(8 * SECOND));
        let first = forwarder(&world);
        world.fault(8 * SECOND, Fault::Stop(first));
        assert!(world.run(12 * SECOND));
        assert!(gap(&world, 3 * SECOND, 12 * SECOND) < 100 * MILLISECOND);
        assert_eq!(most_copies(&world), 1);
    });
}

#[test]
fn a_relay_that_returns_does_not_take_over_from_one_of_its_priority() {
    for_seeds(100, |seed| {
        let mut world = World::new(seed, relays(&[100; 2]), vec![]);
        stream(&mut world, 30 * SECOND);
        assert!(world.run(8 * SECOND));
        let first = forwarder(&world);
        world.fault(8 * SECOND, Fault::Kill(first));
        world.fault(14 * SECOND, Fault::Start(first));
        assert!(world.run(30 * SECOND));
        assert_eq!(forwarder(&world), 1 - first);
        assert!(gap(&world, 12 * SECOND, 30 * SECOND) < 100 * MILLISECOND);
        assert_eq!(most_copies(&world), 1);
    });
}

#[test]
fn the_relay_with_the_higher_priority_takes_over_without_a_gap() {
    for_seeds(100, |seed| {
        let mut plans = relays(&[100, 200]);
        plans[1].start = 8 * SECOND;
        let mut world = World::new(seed, plans, vec![]);
        stream(&mut world, 16 * SECOND);
        assert!(world.run(16 * SECOND));
        assert_eq!(forwarder(&world), 1);
        assert!(gap(&world, 3 * SECOND, 16 * SECOND) < 100 * MILLISECOND);
        assert!(most_copies(&world) <= 2);
    });
}

#[test]
fn a_hundred_flaps_leave_one_copy_of_each_datagram() {
    for_seeds(5, |seed| {
        let mut world = World::new(seed, relays(&[100; 2]), vec![]);
        let end = 5 * SECOND + 100 * 6 * SECOND;
        stream(&mut world, end);
        let mut copies = 0;
        for flap in 0..100 {
            let time = 5 * SECOND + flap * 6 * SECOND;
            assert!(world.run(time));
            let first = forwarder(&world);
            world.fault(time, if flap % 2 == 0 { Fault::Kill(first) } else { Fault::Stop(first) });
            world.fault(time + 3 * SECOND, Fault::Start(first));
            assert!(world.run(time + 6 * SECOND));
            assert!(gap(&world, time, time + 6 * SECOND) < 3 * SECOND, "flap {flap}");
            copies = copies.max(most_copies(&world));
            world.sent.clear();
        }
        assert_eq!(copies, 1);
    });
}
