//! What bridges out of an engine promise, in random worlds.

use std::time::Duration;

use mcast_bridge::{Content, StreamRecord};
use mcast_stream::ClockTime;
use mcast_stream::subscriber::SubscriberEvent;
use mcast_stream::wire::Incarnation;

use crate::engine::Engine;
use crate::world::{Delivered, State, Subscriber, World};
use crate::{MILLISECOND, SECOND};
use mcast_sim::{Dice, for_seeds};

/// Returns what subscribers must deliver and report.
fn expected(engine: &Engine) -> Vec<Delivered> {
    let mut expected = Vec::new();
    for (index, (_, record)) in engine.records.iter().enumerate() {
        let StreamRecord { position, content, .. } = record;
        let (incarnation, number) = (position.incarnation, position.number);
        let next = match content {
            Content::Message { bytes, .. } => Delivered::Message(incarnation, number, bytes.to_vec()),
            Content::Gap { first, .. } => match expected.last_mut() {
                Some(Delivered::Lost(before, _, end)) if *before == incarnation && *end == *first => {
                    *end = number + 1;
                    continue;
                }
                _ => Delivered::Lost(incarnation, *first, number + 1),
            },
            Content::Datagram { .. } => panic!("{record:?} is of no stream"),
            // It is known only when another incarnation follows.
            Content::OpenGap { .. } if index + 1 < engine.records.len() => Delivered::Unknown(incarnation),
            Content::OpenGap { .. } => continue,
            Content::End => Delivered::Ended(incarnation, number.0),
        };
        expected.push(next);
    }
    expected
}

/// Removes losses that are followed by an unknown one, which covers them: the last heartbeat of an incarnation, which
/// reports a gap at its end, may be lost.
fn without_covered_losses(delivered: &[Delivered]) -> Vec<Delivered> {
    let is_covered = |index: usize, lost: Incarnation| match delivered.get(index + 1) {
        Some(Delivered::Unknown(incarnation)) => *incarnation == lost,
        _ => false,
    };
    let is_counted = |(index, delivered): &(usize, &Delivered)| match delivered {
        Delivered::Lost(incarnation, ..) => !is_covered(*index, *incarnation),
        _ => true,
    };
    delivered.iter().enumerate().filter(is_counted).map(|(_, delivered)| delivered.clone()).collect()
}

fn check(subscriber: &Subscriber, expected: &[Delivered]) {
    let (actual, expected) =
        (without_covered_losses(&subscriber.delivered), without_covered_losses(expected));
    let mut pairs = actual.iter().zip(&expected);
    if let Some((delivered, stored)) = pairs.find(|(delivered, stored)| delivered != stored) {
        panic!("{} instead of {}: {:?}", short(delivered), short(stored), subscriber.events);
    }
    let (delivered, stored) = (actual.len(), expected.len());
    assert_eq!(delivered, stored, "{:?}: {:?}", subscriber.machine, subscriber.events);
}

fn short(delivered: &Delivered) -> String {
    match delivered {
        Delivered::Message(incarnation, number, bytes) => {
            format!("message {number} of {incarnation} ({} bytes)", bytes.len())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn subscribers_deliver_what_the_engine_holds_once_and_in_order() {
    for_seeds(150, |seed| {
        let mut world = World::new(seed, 1 + seed % 3);
        world.start(|_| {});
        world.finish();
        let expected = expected(&world.engine);
        world.subscribers.iter().for_each(|subscriber| check(subscriber, &expected));
    });
}

#[test]
fn nothing_is_missing_and_nothing_comes_twice_when_bridges_are_killed_stopped_and_woken() {
    for_seeds(150, |seed| {
        let mut world = World::new(seed, 1 + seed % 2);
        world.start(|_| {});
        world.start(|_| {});
        for _ in 0..world.dice.between(1, 4) {
            let time = Duration::from_millis(world.dice.between(200, 6_000));
            world.run(time);
            let index = world.dice.below(world.bridges.len() as u64) as usize;
            match world.bridges[index].state {
                State::Running if world.dice.chance(0.5) => {
                    world.bridges[index].state = State::Dead;
                    world.start(|_| {});
                }
                State::Running => world.bridges[index].state = State::Stopped,
                State::Stopped => world.bridges[index].state = State::Running,
                State::Dead => {}
            }
        }
        // In the end, all that were stopped are woken.
        for bridge in world.bridges.iter_mut().filter(|bridge| bridge.state == State::Stopped) {
            bridge.state = State::Running;
        }
        world.finish();
        let expected = expected(&world.engine);
        world.subscribers.iter().for_each(|subscriber| check(subscriber, &expected));
        world.run(3 * SECOND);
        assert_eq!(world.publishing().len(), 1, "one bridge publishes, and the others are silent");
    });
}

/// Until the first message of the next bridge.
#[test]
fn a_bridge_takes_over_within_three_seconds_of_silence() {
    for_seeds(50, |seed| {
        let mut world = World::new(seed, 1);
        (world.loss, world.engine) = (0.0, long(seed));
        world.start(|_| {});
        world.start(|_| {});
        world.run(5 * SECOND);
        let [active] = world.publishing()[..] else { panic!("{:?} publish", world.publishing()) };
        world.bridges[active].state = if seed % 2 == 0 { State::Dead } else { State::Stopped };
        let killed = world.now;
        while world.bridges[1 - active].sent.0 == 0 {
            world.run(MILLISECOND);
        }
        assert!(world.now.since(killed) < 3 * SECOND, "{:?}", world.now.since(killed));
        // The old one hears the new one before it sends anything.
        let sent = world.bridges[active].sent;
        if world.bridges[active].state == State::Stopped {
            world.run(SECOND);
            world.bridges[active].state = State::Running;
            world.run(SECOND);
            assert_eq!(world.bridges[active].sent, sent);
        }
        world.finish();
        check(&world.subscribers[0], &expected(&world.engine));
    });
}

/// An engine in which messages of one incarnation are appended for a long time.
fn long(seed: u64) -> Engine {
    let mut dice = Dice::new(seed);
    loop {
        let engine = Engine::new(&mut dice);
        if engine.end() > ClockTime(0) + 9 * SECOND {
            return engine;
        }
    }
}

#[test]
fn bridges_that_begin_at_the_same_time_agree_on_one() {
    for_seeds(100, |seed| {
        let mut world = World::new(seed, 1);
        world.loss = 0.0;
        for _ in 0..3 {
            // The same incarnation. Usually these differ.
            world.start(|config| (config.step, config.jitter) = (0, Duration::ZERO));
        }
        world.finish();
        check(&world.subscribers[0], &expected(&world.engine));
        assert_eq!(world.publishing().len(), 1);
        let is_rival = |event: &SubscriberEvent| matches!(event, SubscriberEvent::SecondPublisher { .. });
        assert!(!world.subscribers[0].events.iter().any(is_rival));
    });
}
