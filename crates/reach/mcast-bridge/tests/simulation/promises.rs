//! What bridges promise, in random worlds.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mcast_bridge::{BridgeEvent, Content, GapCause, LossCause, Position};
use mcast_sim::{Dice, for_seeds};
use mcast_stream::ClockTime;
use mcast_stream::wire::MessageNumber;

use crate::audit::{audit, audit_acknowledged};
use crate::publisher::{LONG, Life, Reception, lives, payload};
use crate::world::{Fault, World};
use crate::{MILLISECOND, SECOND};

fn reception(dice: &mut Dice) -> Reception {
    Reception {
        loss: dice.pick(&[0.0, 0.001, 0.02, 0.2]),
        burst: dice.pick(&[1, 5, 40]),
        delay: dice.pick(&[1, 20, 300]) * MILLISECOND,
        retained: dice.pick(&[0, 10, 1_000_000]),
        may_miss_end: false,
    }
}

fn some_time(dice: &mut Dice, until: ClockTime) -> ClockTime {
    ClockTime(dice.below(until.0 + 1))
}

/// A world with one or two bridges and all faults; the second value is whether the engine loses records, or cannot take some.
fn anything(seed: u64) -> (World, bool) {
    let mut dice = Dice::new(seed);
    let count = dice.between(1, 4);
    let lives = lives(&mut dice, count, 2_000);
    let end = lives.last().unwrap().end() + 10 * SECOND;
    let receptions: Vec<_> = (0..dice.between(1, 2))
        .map(|_| Reception { may_miss_end: dice.chance(0.5), ..reception(&mut dice) })
        .collect();
    let buffer = dice.pick(&[20_000, 500_000, 64 << 20]);
    let records = dice.pick(&[1, 7, 1_000]);
    let mut world = World::new(dice.next(), lives, &receptions, |config| {
        (config.buffer, config.batch_records) = (buffer, records);
    });
    world.engine.capacity = dice.pick(&[None, None, Some(2_000), Some(20_000)]);
    world.engine.counts_evictions = dice.chance(0.7);
    world.engine.longest = dice.pick(&[None, None, Some(LONG - 1), Some(LONG)]);
    let mut loses = world.engine.capacity.is_some();
    for index in 0..receptions.len() {
        let at = if dice.chance(0.5) { ClockTime(0) } else { some_time(&mut dice, end) };
        world.fault(at, Fault::Start(index));
        for _ in 0..dice.pick(&[0, 0, 2, 6]) {
            let at = some_time(&mut dice, end);
            world.fault(at, dice.pick(&[Fault::Kill(index), Fault::Disconnect(index)]));
            world.fault(at + Duration::from_millis(dice.below(4_000)), Fault::Start(index));
        }
        // It is there in the end.
        world.fault(end + SECOND, Fault::Start(index));
    }
    for _ in 0..dice.pick(&[0, 0, 1, 5]) {
        let time = Duration::from_millis(dice.below(8_000));
        let fault = dice.pick(&[
            Fault::Stall(time),
            Fault::Reject(time),
            Fault::LoseTail(50),
            Fault::LoseTail(5_000),
            Fault::Evict,
        ]);
        loses |= matches!(fault, Fault::LoseTail(_) | Fault::Evict);
        world.fault(some_time(&mut dice, end), fault);
    }
    (world, loses)
}

#[test]
fn the_engine_holds_each_number_once_and_in_order_and_a_gap_record_for_the_rest() {
    for_seeds(500, |seed| {
        let (mut world, loses) = anything(seed);
        world.finish();
        audit(&world);
        if !loses {
            audit_acknowledged(&world);
        }
    });
}

/// Two bridges that are there from the start and stay, with different losses, on bad connections to an engine that is
/// sometimes slow.
fn pair(seed: u64) -> World {
    let mut dice = Dice::new(seed);
    let count = dice.between(1, 3);
    let lives = lives(&mut dice, count, 2_000);
    let end = lives.last().unwrap().end();
    let receptions = [reception(&mut dice), reception(&mut dice)];
    let mut world = World::new(dice.next(), lives, &receptions, |_| {});
    for index in 0..2 {
        world.fault(ClockTime(0), Fault::Start(index));
        for _ in 0..dice.below(3) {
            world.fault(some_time(&mut dice, end), Fault::Disconnect(index));
        }
    }
    for _ in 0..dice.below(2) {
        world.fault(some_time(&mut dice, end), Fault::Stall(Duration::from_millis(dice.below(20_000))));
    }
    world
}

#[test]
fn two_bridges_record_a_gap_only_where_both_lost_messages() {
    for_seeds(500, |seed| {
        let mut world = pair(seed);
        world.finish();
        let holding = audit(&world);
        for bridge in &world.bridges {
            let twice: BTreeSet<Position> = bridge.received.intersection(&holding.missing).copied().collect();
            assert!(twice.is_empty(), "a bridge had {:?}", twice.first());
            assert!(bridge.received.is_subset(&holding.messages));
        }
    });
}

#[test]
fn each_loss_of_a_single_bridge_is_one_record_with_its_range() {
    for_seeds(500, |seed| {
        let mut dice = Dice::new(seed);
        let lives = lives(&mut dice, 1, 2_000);
        let reception = reception(&mut dice);
        let mut world = World::new(dice.next(), lives, &[reception], |_| {});
        world.fault(ClockTime(0), Fault::Start(0));
        world.finish();
        let recorded: Vec<_> = audit(&world)
            .gaps
            .into_iter()
            .map(|(record, _)| (record.first(), record.position.number + 1))
            .collect();
        assert_eq!(recorded, world.bridges[0].losses);
    });
}

#[test]
fn what_an_engine_loses_is_appended_again_from_memory() {
    for_seeds(500, |seed| {
        let mut dice = Dice::new(seed);
        let lives = lives(&mut dice, 2, 2_000);
        let end = lives.last().unwrap().end();
        let reception = reception(&mut dice);
        let mut world = World::new(dice.next(), lives, &[reception], |_| {});
        world.fault(ClockTime(0), Fault::Start(0));
        for _ in 0..dice.between(1, 4) {
            world.fault(some_time(&mut dice, end + SECOND), Fault::LoseTail(dice.pick(&[1, 100, 10_000])));
        }
        world.finish();
        let holding = audit(&world);
        assert!(world.bridges[0].received.is_subset(&holding.messages));
        let is_lost = |(_, cause): &(_, GapCause)| *cause == GapCause::EngineLost;
        assert!(!holding.gaps.iter().any(is_lost), "memory has it");
    });
}

#[test]
fn what_is_no_longer_in_memory_is_recorded_as_lost_by_the_engine() {
    let mut recorded = 0;
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let mut lives = lives(&mut dice, 1, 2_000);
        (lives[0].messages, lives[0].interval) = (5_000, MILLISECOND);
        let reception = Reception { loss: 0.0, ..reception(&mut dice) };
        let mut world = World::new(dice.next(), lives, &[reception], |config| config.buffer = 20_000);
        world.fault(ClockTime(0), Fault::Start(0));
        world.fault(ClockTime(0) + 4 * SECOND, Fault::LoseTail(4_000));
        world.finish();
        let gaps = audit(&world).gaps;
        recorded += gaps.iter().filter(|(_, cause)| *cause == GapCause::EngineLost).count();
        assert!(gaps.len() <= 1, "{gaps:?}");
    }
    assert!(recorded > 10, "only {recorded}");
}

#[test]
fn memory_is_bounded_while_the_engine_stands_still() {
    const BUFFER: usize = 30_000;
    for_seeds(200, |seed| {
        let mut dice = Dice::new(seed);
        let lives = lives(&mut dice, 1, 5_000);
        let reception = reception(&mut dice);
        let mut world = World::new(dice.next(), lives, &[reception], |config| config.buffer = BUFFER);
        world.fault(ClockTime(0), Fault::Start(0));
        world.fault(ClockTime(0) + SECOND, Fault::Stall(30 * SECOND));
        world.finish();
        let holding = audit(&world);
        assert!(world.bridges[0].received.is_subset(&holding.messages));
        assert!(world.most_bytes < BUFFER + 500, "{} bytes", world.most_bytes);
    });
}

#[test]
fn a_bridge_that_joins_late_records_what_it_cannot_know() {
    for_seeds(200, |seed| {
        let mut dice = Dice::new(seed);
        let mut lives = lives(&mut dice, 1, 2_000);
        (lives[0].messages, lives[0].interval) = (2_000, MILLISECOND);
        let reception = Reception { loss: 0.0, retained: 10, ..reception(&mut dice) };
        let mut world = World::new(dice.next(), lives, &[reception], |_| {});
        world.fault(ClockTime(0) + SECOND, Fault::Start(0));
        world.finish();
        let holding = audit(&world);
        assert_eq!(holding.gaps.len(), 1);
        assert_eq!(holding.gaps[0].1, GapCause::JoinedLate);
        let first = world.engine.records.first().unwrap();
        assert!(matches!(first.content, Content::Gap { .. }));
        let is_gap =
            |event: &BridgeEvent| matches!(event, BridgeEvent::Gap { cause: GapCause::JoinedLate, .. });
        assert!(world.bridges[0].events.iter().any(is_gap));
        let is_wait =
            |event: &BridgeEvent| matches!(event, BridgeEvent::Waiting(hole) if hole.start.number.0 == 0);
        assert!(world.bridges[0].events.iter().any(is_wait));
    });
}

/// Lives of a publisher, and how many bytes all their messages have.
fn published(dice: &mut Dice, messages: u64) -> (Vec<Life>, usize) {
    let lives = lives(dice, 2, messages);
    let size = |life: &Life| {
        (0..life.messages).map(|number| payload(life.incarnation, MessageNumber(number)).len()).sum::<usize>()
    };
    let bytes = lives.iter().map(size).sum();
    (lives, bytes)
}

#[test]
fn an_engine_that_evicts_gets_a_small_multiple_of_what_was_published() {
    let evicted = AtomicU64::new(0);
    for_seeds(300, |seed| {
        let mut dice = Dice::new(seed);
        let (lives, bytes) = published(&mut dice, 5_000);
        let count = dice.between(1, 2) as usize;
        let receptions = vec![Reception { loss: 0.0, ..reception(&mut dice) }; count];
        let buffer = dice.pick(&[20_000, 500_000, 64 << 20]);
        let batch_bytes = dice.pick(&[500, 5_000, 1 << 20]);
        let mut world = World::new(dice.next(), lives, &receptions, |config| {
            (config.buffer, config.batch_bytes) = (buffer, batch_bytes);
        });
        world.engine.capacity = Some(dice.pick(&[500, 5_000, 50_000]));
        world.engine.counts_evictions = true;
        (0..count).for_each(|index| world.fault(ClockTime(0), Fault::Start(index)));
        world.finish();
        // What was appended last may have been evicted, which a bridge notices when it looks at the last record.
        world.run(world.now + 300 * SECOND);
        world.finish();
        let holding = audit(&world);
        evicted.fetch_add(world.engine.evictions, Relaxed);
        // What each bridge sends: each message, once again, and what was under way at an eviction, of which there are few.
        let input = world.engine.input;
        assert!(
            input <= 6 * count * bytes + 20_000,
            "{input} bytes of {bytes}, {} evictions",
            world.engine.evictions
        );
        for bridge in &world.bridges {
            // Of incarnations before the first one there, the engine has no record any more.
            let first = world.engine.records.first().map(|record| record.position.incarnation);
            let is_told = |position: &&Position| {
                holding.missing.contains(position) || Some(position.incarnation) < first
            };
            let mut left = bridge.received.difference(&holding.messages);
            assert!(left.all(|position| is_told(&position)), "neither stored nor in a gap");
        }
    });
    assert!(evicted.into_inner() > 150, "too few");
}

#[test]
fn an_eviction_is_named_if_the_engine_counts_it() {
    for_seeds(100, |seed| {
        let mut dice = Dice::new(seed);
        let lives = lives(&mut dice, 1, 2_000);
        let end = lives.last().unwrap().end();
        let reception = Reception { loss: 0.0, ..reception(&mut dice) };
        let mut world = World::new(dice.next(), lives, &[reception], |_| {});
        world.engine.counts_evictions = dice.chance(0.5);
        world.fault(ClockTime(0), Fault::Start(0));
        // Behind everything, when there is something to evict.
        world.fault(end + 5 * SECOND, Fault::Evict);
        world.finish();
        let causes: Vec<LossCause> = world.bridges[0]
            .events
            .iter()
            .filter_map(|event| match event {
                BridgeEvent::EngineLost { loss, .. } => Some(loss.clone()),
                _ => None,
            })
            .collect();
        let expected = match world.engine.counts_evictions {
            true => LossCause::Evicted { evictions: 1 },
            false => LossCause::Unknown,
        };
        assert_eq!(causes, [expected]);
        assert!(world.bridges[0].received.is_subset(&audit(&world).messages), "it is appended again");
    });
}

#[test]
fn what_an_engine_can_never_take_is_a_gap_and_everything_else_is_stored() {
    let refused = AtomicU64::new(0);
    for_seeds(500, |seed| {
        let mut dice = Dice::new(seed);
        let lives = lives(&mut dice, 2, 2_000);
        let end = lives.last().unwrap().end();
        let count = dice.between(1, 2) as usize;
        let receptions = vec![Reception { loss: 0.0, ..reception(&mut dice) }; count];
        let records = dice.pick(&[1, 7, 1_000]);
        let mut world = World::new(dice.next(), lives, &receptions, |config| config.batch_records = records);
        let longest = LONG - 1;
        world.engine.longest = Some(longest);
        let mut is_killed = false;
        for index in 0..count {
            world.fault(ClockTime(0), Fault::Start(index));
            for _ in 0..dice.below(3) {
                let at = some_time(&mut dice, end);
                let fault = dice.pick(&[Fault::Kill(index), Fault::Disconnect(index)]);
                is_killed |= matches!(fault, Fault::Kill(_));
                world.fault(at, fault);
                world.fault(at + SECOND, Fault::Start(index));
            }
            // It is there in the end.
            world.fault(end + 2 * SECOND, Fault::Start(index));
        }
        world.finish();
        let holding = audit(&world);
        let is_too_long =
            |position: &Position| payload(position.incarnation, position.number).len() > longest;
        for bridge in &world.bridges {
            let (long, short): (BTreeSet<Position>, BTreeSet<Position>) =
                bridge.received.iter().copied().partition(is_too_long);
            // What a bridge that was killed had not stored may be a gap, or behind everything that is stored.
            assert!(is_killed || short.is_subset(&holding.messages), "a short one is missing");
            assert!(is_killed || long.is_subset(&holding.missing), "a long one is neither stored nor a gap");
            assert!(long.is_disjoint(&holding.messages));
            refused.fetch_add(long.intersection(&holding.missing).count() as u64, Relaxed);
        }
        for (record, cause) in &holding.gaps {
            if *cause == GapCause::TooLarge {
                assert_eq!(record.first(), record.position.number, "each is a gap of its own");
            }
        }
    });
    assert!(refused.into_inner() > 250, "too few");
}
