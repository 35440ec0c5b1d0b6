//! Outages while a subscriber reads the log: whatever they are and however long they last, it gets what the log has.

use crate::plan::{
    BEGIN, Begin, ComposedPlan, FeedFault, FeedPlan, MILLISECOND, ReaderFault, ReaderPlan, SECOND, Traffic,
};
use crate::world::World;

/// The lengths, in milliseconds: about as long as a patience, about as long as TCP waits between two repetitions, and up to a
/// minute.
const LENGTHS: [u64; 4] = [3_300, 7_000, 16_000, 60_000];
/// When a subscriber joins that reads the past, which takes several seconds.
const JOINS: u64 = BEGIN + 40 * SECOND;

/// A publisher whose log is read slowly, and which publishes for longer than the longest outage.
fn feed() -> FeedPlan {
    FeedPlan {
        messages: 7_000,
        interval: 16 * MILLISECOND,
        length: 300,
        serve_rate: Some(100_000),
        linger: 200 * SECOND,
        ..FeedPlan::GOOD
    }
}

/// Checks that the subscriber gets everything from its start on, and the end.
fn check(feed: &FeedPlan, reader: &ReaderPlan) {
    let plan = ComposedPlan { seed: 1, feed: feed.clone(), readers: vec![reader.clone()] };
    let (world, violations) = World::simulate(&plan);
    let audit = &world.readers[0].audit;
    let context = || format!("{:?} {:?}: {violations:#?}", reader.faults, feed.faults);
    assert!(violations.is_empty(), "{}", context());
    assert!(audit.is_whole(), "it lost {:?}, {} unknown: {}", audit.lost, audit.unknown, context());
    assert_eq!(audit.ended, Some(feed.messages), "{}", context());
}

fn spans(from: u64) -> impl Iterator<Item = (u64, u64)> {
    LENGTHS.into_iter().map(move |length| (from, from + length * MILLISECOND))
}

/// Starts in the past, of each kind.
fn starts() -> [ReaderPlan; 4] {
    let begins = [Begin::Oldest, Begin::Number(3), Begin::Time(BEGIN), Begin::Resume(3)];
    begins.map(|begin| ReaderPlan { joins: JOINS, begin, ..ReaderPlan::GOOD })
}

#[test]
fn a_start_survives_a_link_that_is_cut_while_it_reads() {
    for reader in starts() {
        for after in [0, 2_000] {
            for span in spans(JOINS + after * MILLISECOND) {
                check(&feed(), &ReaderPlan { faults: vec![ReaderFault::Cut(span)], ..reader.clone() });
            }
        }
    }
}

#[test]
fn a_start_survives_a_publisher_that_is_stopped_while_it_reads() {
    for reader in starts() {
        for after in [0, 2_000] {
            for span in spans(JOINS + after * MILLISECOND) {
                check(&FeedPlan { faults: vec![FeedFault::Stall(span)], ..feed() }, &reader);
            }
        }
    }
}

#[test]
fn a_start_waits_for_a_server_that_has_answered() {
    for reader in starts() {
        for span in spans(JOINS + 2 * SECOND) {
            let faults = vec![ReaderFault::Without(Traffic::Tcp, span)];
            check(&feed(), &ReaderPlan { faults, ..reader.clone() });
        }
    }
}

#[test]
fn a_position_is_resumed_although_no_server_is_reached_at_first() {
    for span in spans(JOINS) {
        let faults = vec![ReaderFault::Without(Traffic::Tcp, span)];
        let begin = Begin::Resume(3);
        check(&feed(), &ReaderPlan { joins: JOINS, begin, faults, ..ReaderPlan::GOOD });
    }
}

/// Returns a subscriber of the live stream that heals what it has missed while it was cut off at first.
fn healing() -> (ReaderPlan, u64) {
    let cut = (BEGIN + SECOND, BEGIN + 25 * SECOND);
    (ReaderPlan { heals: true, faults: vec![ReaderFault::Cut(cut)], ..ReaderPlan::GOOD }, cut.1)
}

#[test]
fn a_loss_is_healed_although_the_link_is_cut_again() {
    let (reader, begins) = healing();
    for after in [100, 800] {
        for span in spans(begins + after * MILLISECOND) {
            let faults = [&reader.faults[..], &[ReaderFault::Cut(span)]].concat();
            check(&feed(), &ReaderPlan { faults, ..reader.clone() });
        }
    }
}

#[test]
fn a_loss_is_healed_although_the_publisher_is_stopped() {
    let (reader, begins) = healing();
    for after in [100, 800] {
        for span in spans(begins + after * MILLISECOND) {
            check(&FeedPlan { faults: vec![FeedFault::Stall(span)], ..feed() }, &reader);
        }
    }
}

#[test]
fn a_loss_is_healed_although_the_server_that_has_answered_is_away_for_a_minute() {
    let (reader, begins) = healing();
    for span in spans(begins + 2_500 * MILLISECOND) {
        let faults = [&reader.faults[..], &[ReaderFault::Without(Traffic::Tcp, span)]].concat();
        check(&feed(), &ReaderPlan { faults, ..reader.clone() });
    }
}
