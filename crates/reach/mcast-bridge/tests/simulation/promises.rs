//! What bridges promise, in random worlds.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast_bridge::{BridgeEvent, Content, GapCause, Position};
use mcast_sim::{Dice, for_seeds};
use mcast_stream::ClockTime;

use crate::audit::{audit, audit_acknowledged};
use crate::publisher::{Reception, lives};
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

/// A world with one or two bridges and all faults; the second value is whether the engine loses records.
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
    let mut loses = false;
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
        ]);
        loses |= matches!(fault, Fault::LoseTail(_));
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
