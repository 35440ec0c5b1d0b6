//! The defects that were found between the parts, each as a plan of its own.

use crate::plan::{
    AckPlan, BEGIN, Begin, ComposedPlan, FeedFault, FeedPlan, Gaps, MILLISECOND, ReaderFault, ReaderPlan,
    SECOND, Traffic,
};
use crate::world::World;

fn check(feed: FeedPlan, readers: Vec<ReaderPlan>) {
    for seed in 0..4 {
        let violations = World::run(&ComposedPlan { seed, feed: feed.clone(), readers: readers.clone() });
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}

/// The same; and each subscriber that a publisher has heard was given everything from its start on, and knows the end.
fn check_whole(feed: &FeedPlan, readers: &[ReaderPlan]) {
    for seed in 0..4 {
        let plan = ComposedPlan { seed, feed: feed.clone(), readers: readers.to_vec() };
        let (world, violations) = World::simulate(&plan);
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
        for (reader, is_heard) in world.readers.iter().zip(&world.heard) {
            let audit = &reader.audit;
            let is_whole = audit.is_whole() && audit.ended == Some(feed.messages);
            assert!(is_whole || !is_heard, "seed {seed}: {audit:#?}");
        }
    }
}

/// The same of a named subscriber, which acknowledges all in the end.
fn check_acknowledged(feed: FeedPlan, reader: ReaderPlan) {
    let plan = ComposedPlan { seed: 1, feed, readers: vec![reader] };
    let (world, violations) = World::simulate(&plan);
    assert!(violations.is_empty(), "{violations:#?}");
    let acknowledged = world.feed.exit.as_ref().and_then(|exit| exit.acknowledged);
    assert!(acknowledged.is_some_and(|progress| progress.is_complete()), "{plan:#?}: {acknowledged:?}");
}

#[test]
fn a_start_with_the_oldest_message_survives_lost_announcements() {
    let joins = BEGIN + 2 * SECOND;
    for lost in [1_700 * MILLISECOND, 3 * SECOND] {
        let faults = vec![ReaderFault::Without(Traffic::Announcements, (joins, joins + lost))];
        check(FeedPlan::GOOD, vec![ReaderPlan { joins, begin: Begin::Oldest, faults, ..ReaderPlan::GOOD }]);
    }
}

#[test]
fn a_start_with_the_oldest_message_in_the_last_second_gets_all() {
    for before in [100, 400, 900] {
        let joins = FeedPlan::GOOD.ends() - before * MILLISECOND;
        check(FeedPlan::GOOD, vec![ReaderPlan { joins, begin: Begin::Oldest, ..ReaderPlan::GOOD }]);
    }
}

#[test]
fn a_publisher_that_lingers_waits_for_those_that_read_its_log() {
    let ends = FeedPlan::GOOD.ends();
    let faults = vec![ReaderFault::Cut((ends - 2_200 * MILLISECOND, ends - 200 * MILLISECOND))];
    check(FeedPlan::GOOD, vec![ReaderPlan { heals: true, faults, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_subscriber_that_is_stopped_while_it_heals_loses_nothing() {
    let cut = (BEGIN + SECOND, BEGIN + 3 * SECOND);
    let stop = (cut.1 + 200 * MILLISECOND, cut.1 + 6_700 * MILLISECOND);
    let faults = vec![ReaderFault::Cut(cut), ReaderFault::Stall(stop)];
    let feed = FeedPlan { messages: 12_000, ..FeedPlan::GOOD };
    check(feed, vec![ReaderPlan { heals: true, faults, ..ReaderPlan::GOOD }]);
}

#[test]
fn probes_from_addresses_that_nobody_has_do_not_delay_the_stream() {
    let faults = vec![FeedFault::Probes((BEGIN + SECOND, BEGIN + 4 * SECOND), 3 * MILLISECOND)];
    check(FeedPlan { faults, ..FeedPlan::GOOD }, vec![ReaderPlan::GOOD]);
}

#[test]
fn probes_from_addresses_that_nobody_has_do_not_stop_a_repairer() {
    let faults = vec![ReaderFault::Probes((BEGIN + SECOND, BEGIN + 4 * SECOND), 3 * MILLISECOND)];
    let repairer = ReaderPlan { repairs_for_others: true, faults, ..ReaderPlan::GOOD };
    check(FeedPlan::GOOD, vec![repairer, ReaderPlan { loss: 0.02, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_position_is_resumed_although_announcements_are_lost() {
    let joins = BEGIN + 3 * SECOND;
    let faults = vec![ReaderFault::Without(Traffic::Announcements, (joins, joins + 3 * SECOND))];
    check(FeedPlan::GOOD, vec![ReaderPlan { joins, begin: Begin::Resume(700), faults, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_publisher_starts_again_after_a_key_was_dropped() {
    let rotate = FeedFault::Rotate { at: BEGIN + 2 * SECOND, dropped_after: Some(SECOND) };
    let feed = FeedPlan { sealed: true, faults: vec![rotate], ..FeedPlan::GOOD };
    check(feed, vec![ReaderPlan::GOOD]);
}

#[test]
fn what_was_healed_is_acknowledged() {
    let cut = (BEGIN + SECOND, BEGIN + 4 * SECOND - 100 * MILLISECOND);
    for blocks in [true, false] {
        let acks = Some(AckPlan { named: 1, processed: true, blocks });
        let faults = vec![ReaderFault::Cut(cut)];
        let feed = FeedPlan { acks, messages: 8_000, ..FeedPlan::GOOD };
        let reader = ReaderPlan { heals: true, faults, processing: MILLISECOND / 4, ..ReaderPlan::GOOD };
        check(feed, vec![reader]);
    }
}

#[test]
fn a_new_message_is_sent_soon_after_a_restart_with_a_rate() {
    let faults = vec![FeedFault::Kill { at: BEGIN + 6 * SECOND, down: SECOND, power: false }];
    let feed = FeedPlan { rate: Some(700_000), messages: 8_000, length: 300, faults, ..FeedPlan::GOOD };
    check(feed, vec![ReaderPlan { heals: true, ..ReaderPlan::GOOD }]);
}

#[test]
fn both_ends_agree_on_a_subscriber_that_healed() {
    let ends = FeedPlan::GOOD.ends();
    let faults = vec![ReaderFault::Cut((BEGIN + SECOND, BEGIN + 2_500 * MILLISECOND))];
    check(FeedPlan::GOOD, vec![ReaderPlan { heals: true, faults, ..ReaderPlan::GOOD }]);
    let late = ReaderPlan { joins: ends - 2 * SECOND, begin: Begin::Number(1), ..ReaderPlan::GOOD };
    check(FeedPlan::GOOD, vec![late]);
}

/// The history gives the application messages that the publisher holds back until the subscriber is known.
#[test]
fn what_was_processed_before_the_live_stream_is_known_is_acknowledged() {
    let faults = vec![ReaderFault::Cut((BEGIN, BEGIN + 1_450 * MILLISECOND))];
    let acks = Some(AckPlan { named: 2, processed: true, blocks: true });
    let feed = FeedPlan { acks, messages: 300, buffer: 1 << 20, ..FeedPlan::GOOD };
    let late = ReaderPlan { begin: Begin::Oldest, processing: MILLISECOND / 2, faults, ..ReaderPlan::GOOD };
    check(feed, vec![late, ReaderPlan { heals: true, ..ReaderPlan::GOOD }]);
}

/// Unanswered probes are repeated after longer and longer times, which begin again once the publisher is heard again.
#[test]
fn a_subscriber_that_was_cut_off_while_it_joined_is_known_soon() {
    let statuses = ReaderFault::Without(Traffic::Statuses, (BEGIN, BEGIN + 100 * MILLISECOND));
    let cut = ReaderFault::Cut((BEGIN + 90 * MILLISECOND, BEGIN + 2_700 * MILLISECOND));
    let cut_off = ReaderPlan { heals: true, faults: vec![statuses, cut], ..ReaderPlan::GOOD };
    let feed = FeedPlan { messages: 4_850, buffer: 1 << 20, ..FeedPlan::GOOD };
    check(feed, vec![cut_off, ReaderPlan::GOOD]);
}

/// What was delivered before a gap was repaired is sent again by a publisher that was restarted meanwhile.
#[test]
fn the_latest_values_come_once_across_a_restart_of_the_publisher() {
    for at in [200, 500, 700] {
        let faults = vec![FeedFault::Kill { at: BEGIN + at * MILLISECOND, down: SECOND, power: false }];
        let feed = FeedPlan { faults, messages: 1_000, length: 300, buffer: 1 << 20, ..FeedPlan::GOOD };
        let narrow = Some(100_000);
        check(feed, vec![ReaderPlan { gaps: Gaps::Latest, loss: 0.2, narrow, ..ReaderPlan::GOOD }]);
    }
}

#[test]
fn a_start_is_found_soon_after_announcements_pass_again() {
    for lost in [100, 200, 300, 400, 500, 600] {
        let joins = BEGIN + 2 * SECOND + lost * MILLISECOND;
        let faults = vec![ReaderFault::Without(Traffic::Announcements, (joins, joins + lost * MILLISECOND))];
        // The heartbeats of a sealed stream do not show the server.
        let feed = FeedPlan { sealed: true, ..FeedPlan::GOOD };
        check(feed, vec![ReaderPlan { joins, begin: Begin::Oldest, faults, ..ReaderPlan::GOOD }]);
    }
}

#[test]
fn a_number_that_is_retained_needs_no_server() {
    let joins = BEGIN + SECOND;
    let without = |traffic| ReaderFault::Without(traffic, (joins, joins + 3 * SECOND));
    let faults = vec![without(Traffic::Announcements), without(Traffic::Tcp)];
    let feed = FeedPlan { buffer: 1 << 20, messages: 3_000, ..FeedPlan::GOOD };
    check(feed, vec![ReaderPlan { joins, begin: Begin::Number(100), faults, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_long_history_behind_a_slow_link_is_read_to_its_end() {
    let feed =
        FeedPlan { messages: 12_000, length: 300, interval: MILLISECOND / 4, waits: true, ..FeedPlan::GOOD };
    let joins = feed.ends() - 100 * MILLISECOND;
    let slow = ReaderPlan { joins, begin: Begin::Oldest, narrow: Some(200_000), ..ReaderPlan::GOOD };
    check(feed.clone(), vec![slow.clone()]);
    // It is still reading when the publisher ends.
    check(FeedPlan { linger: 8 * SECOND, ..feed }, vec![slow]);
}

#[test]
fn a_start_that_gives_up_is_known_to_the_publisher() {
    let joins = BEGIN + 3 * SECOND;
    let faults = vec![ReaderFault::Without(Traffic::Tcp, (joins, joins + 40 * SECOND))];
    check(FeedPlan::GOOD, vec![ReaderPlan { joins, begin: Begin::Oldest, faults, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_subscriber_that_joins_at_the_end_is_expected() {
    for before in [2, 4, 8, 12] {
        let joins = FeedPlan::GOOD.ends() - before * MILLISECOND;
        let delay = 5 * MILLISECOND;
        check(FeedPlan::GOOD, vec![ReaderPlan { joins, begin: Begin::Oldest, delay, ..ReaderPlan::GOOD }]);
    }
}

#[test]
fn the_stall_of_a_publisher_at_its_end_does_not_shorten_linger() {
    let ends = FeedPlan::GOOD.ends();
    let stall = FeedFault::Stall((ends + 20 * MILLISECOND, ends + 6 * SECOND));
    let feed = FeedPlan { linger: 4 * SECOND, faults: vec![stall], buffer: 1 << 20, ..FeedPlan::GOOD };
    let cut = vec![ReaderFault::Cut((ends - SECOND, ends + 10 * MILLISECOND))];
    check(feed, vec![ReaderPlan { heals: true, loss: 0.3, faults: cut, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_publisher_that_is_restarted_before_its_end_waits_for_its_subscribers() {
    let at = FeedPlan::GOOD.ends() - 20 * MILLISECOND;
    let faults = vec![FeedFault::Kill { at, down: 50 * MILLISECOND, power: false }];
    let feed = FeedPlan { faults, buffer: 1 << 20, ..FeedPlan::GOOD };
    check(feed, vec![ReaderPlan { heals: true, loss: 0.2, delay: 5 * MILLISECOND, ..ReaderPlan::GOOD }]);
}

#[test]
fn a_history_is_requested_again_after_its_server_was_restarted() {
    let at = BEGIN + 3 * SECOND;
    let faults = vec![FeedFault::Kill { at, down: SECOND, power: false }];
    for before in [10, 50, 100] {
        let joins = at - before * MILLISECOND;
        let feed = FeedPlan { messages: 6_000, faults: faults.clone(), ..FeedPlan::GOOD };
        check(feed, vec![ReaderPlan { joins, begin: Begin::Oldest, ..ReaderPlan::GOOD }]);
    }
}

/// The publisher knows nobody after its restart, and no status of its subscriber arrives until long after the end.
#[test]
fn a_subscriber_that_was_not_heard_at_the_end_becomes_known_while_the_end_is_repeated() {
    let at = BEGIN + 2_512 * MILLISECOND;
    let faults = vec![FeedFault::Kill { at, down: SECOND, power: false }];
    let acks = Some(AckPlan { named: 1, processed: true, blocks: false });
    let feed = FeedPlan { messages: 3_000, length: 20, buffer: 1 << 20, acks, faults, ..FeedPlan::GOOD };
    let unheard = (BEGIN + 3_305 * MILLISECOND, BEGIN + 6_490 * MILLISECOND);
    let faults = vec![ReaderFault::Without(Traffic::Statuses, unheard)];
    let begin = Begin::Resume(1_066);
    let jitter = MILLISECOND / 10;
    check(feed, vec![ReaderPlan { begin, faults, jitter, processing: 0, ..ReaderPlan::GOOD }]);
}

#[test]
fn who_dies_while_it_reads_a_history_does_not_count_as_complete() {
    let joins = FeedPlan::GOOD.ends() - SECOND;
    let tcp = ReaderFault::Without(Traffic::Tcp, (joins, joins + 60 * SECOND));
    let dies = ReaderFault::Kill { at: joins + 6 * SECOND, down: 1_000 * SECOND };
    let reader = ReaderPlan { joins, begin: Begin::Oldest, faults: vec![tcp, dies], ..ReaderPlan::GOOD };
    check(FeedPlan::GOOD, vec![reader]);
}

#[test]
fn who_reads_a_history_at_the_end_is_said_to() {
    let joins = FeedPlan::GOOD.ends() - 2 * SECOND;
    let faults = vec![ReaderFault::Without(Traffic::Tcp, (joins + 400 * MILLISECOND, joins + 60 * SECOND))];
    let reader = ReaderPlan { joins, begin: Begin::Oldest, faults, ..ReaderPlan::GOOD };
    check(FeedPlan { linger: 6 * SECOND, ..FeedPlan::GOOD }, vec![reader]);
}

#[test]
fn who_reads_a_history_at_the_end_is_waited_for() {
    let ends = FeedPlan::GOOD.ends();
    // For longer than a publisher waits for one that is silent.
    let faults = vec![ReaderFault::Without(Traffic::Tcp, (ends - 500 * MILLISECOND, ends + 12 * SECOND))];
    for before in [SECOND / 4, SECOND] {
        let joins = ends - before;
        let reader = ReaderPlan { joins, begin: Begin::Oldest, faults: faults.clone(), ..ReaderPlan::GOOD };
        check_whole(&FeedPlan::GOOD, &[reader]);
    }
}

/// What was held back until its subscriber came is sent at once, which a small buffer cannot repair.
#[test]
fn what_was_healed_after_a_long_while_is_acknowledged() {
    let joins = BEGIN + 2_932 * MILLISECOND;
    let acks = Some(AckPlan { named: 1, processed: true, blocks: true });
    let feed = FeedPlan { messages: 3_000, length: 20, acks, ..FeedPlan::GOOD };
    let tcp = ReaderFault::Without(Traffic::Tcp, (joins, joins + 3 * SECOND));
    let data = ReaderFault::Without(Traffic::Data, (joins, joins + 400 * MILLISECOND));
    let faults = vec![tcp, data];
    check_acknowledged(feed, ReaderPlan { joins, heals: true, faults, processing: 0, ..ReaderPlan::GOOD });
}

#[test]
fn who_joins_at_the_end_behind_a_slow_path_is_waited_for() {
    let ends = FeedPlan::GOOD.ends();
    for delay in [15, 25, 40] {
        for before in 0..20 {
            let (joins, delay) = (ends + delay * MILLISECOND - 4 * before * MILLISECOND, delay * MILLISECOND);
            let late = ReaderPlan { joins, begin: Begin::Oldest, delay, ..ReaderPlan::GOOD };
            check_whole(&FeedPlan::GOOD, core::slice::from_ref(&late));
            // It reads the history after it has become known.
            let faults = vec![ReaderFault::Without(Traffic::Tcp, (joins, ends + 4 * SECOND))];
            check_whole(&FeedPlan::GOOD, &[ReaderPlan { faults, ..late }]);
        }
    }
}

#[test]
fn a_publisher_that_is_restarted_at_its_end_waits_for_those_that_may_lack_something() {
    let at = FeedPlan::GOOD.ends() - 20 * MILLISECOND;
    let faults = vec![FeedFault::Kill { at, down: 50 * MILLISECOND, power: false }];
    let feed = FeedPlan { faults, buffer: 1 << 20, ..FeedPlan::GOOD };
    let cut = ReaderFault::Cut((at - 200 * MILLISECOND, at + 700 * MILLISECOND));
    check_whole(&feed, &[ReaderPlan { faults: vec![cut], ..ReaderPlan::GOOD }]);
}

#[test]
fn a_restarted_publisher_keeps_what_its_subscribers_may_lack() {
    let at = BEGIN + 2 * SECOND;
    let faults = vec![FeedFault::Kill { at, down: 50 * MILLISECOND, power: false }];
    let feed =
        FeedPlan { faults, waits: true, interval: MILLISECOND / 4, messages: 24_000, ..FeedPlan::GOOD };
    let cut = ReaderFault::Cut((at - 20 * MILLISECOND, at + 700 * MILLISECOND));
    check_whole(&feed, &[ReaderPlan { faults: vec![cut], ..ReaderPlan::GOOD }]);
}

#[test]
fn the_timeout_of_a_start_begins_with_the_live_stream() {
    let feed = FeedPlan { messages: 5_000, interval: 6 * MILLISECOND, ..FeedPlan::GOOD };
    let joins = BEGIN + SECOND;
    let cut = ReaderFault::Cut((joins, joins + 14 * SECOND));
    let tcp = ReaderFault::Without(Traffic::Tcp, (joins, joins + 18 * SECOND));
    check_whole(
        &feed,
        &[ReaderPlan { joins, begin: Begin::Oldest, faults: vec![cut, tcp], ..ReaderPlan::GOOD }],
    );
}

/// What it had processed is in its position, and perhaps in no acknowledgement that has arrived.
#[test]
fn a_named_subscriber_that_is_killed_and_resumes_acknowledges_what_it_had_processed() {
    let acks = Some(AckPlan { named: 1, processed: true, blocks: true });
    let feed = FeedPlan { acks, buffer: 1 << 20, ..FeedPlan::GOOD };
    for begin in [Begin::Live, Begin::Oldest] {
        for at in [250, 500, 1_000] {
            let kill = ReaderFault::Kill { at: BEGIN + at * MILLISECOND, down: SECOND };
            // Nothing that it says arrives before that.
            let unheard = (BEGIN + 200 * MILLISECOND, BEGIN + (at + 10) * MILLISECOND);
            let faults = vec![ReaderFault::Without(Traffic::Statuses, unheard), kill];
            let reader = ReaderPlan { begin, heals: true, faults, processing: 0, ..ReaderPlan::GOOD };
            check_acknowledged(feed.clone(), reader);
        }
    }
}

#[test]
fn what_a_subscriber_without_a_history_lacks_is_recalled() {
    let at = BEGIN + 2 * SECOND;
    let faults = vec![FeedFault::Kill { at, down: 50 * MILLISECOND, power: false }];
    let (length, interval) = (300, MILLISECOND / 4);
    let feed = FeedPlan { faults, length, interval, messages: 16_000, buffer: 1 << 20, ..FeedPlan::GOOD };
    let cut = ReaderFault::Cut((at - 500 * MILLISECOND, at + 200 * MILLISECOND));
    check_whole(&feed, &[ReaderPlan { faults: vec![cut], ..ReaderPlan::GOOD }]);
}

#[test]
fn new_messages_do_not_wait_for_what_was_recalled() {
    let at = BEGIN + 6 * SECOND;
    let faults = vec![FeedFault::Kill { at, down: SECOND, power: false }];
    let (length, rate) = (1_000, Some(2_200_000));
    let feed = FeedPlan { faults, length, rate, messages: 9_000, buffer: 8 << 20, ..FeedPlan::GOOD };
    let cut = ReaderFault::Cut((at - 4_500 * MILLISECOND, at + 2 * SECOND));
    check(feed, vec![ReaderPlan { heals: true, faults: vec![cut], ..ReaderPlan::GOOD }]);
}

#[test]
fn probes_from_addresses_that_nobody_has_delay_no_repair() {
    let span = (BEGIN + SECOND, BEGIN + 4 * SECOND);
    let feed = FeedPlan { faults: vec![FeedFault::Probes(span, 300_000)], ..FeedPlan::GOOD };
    check_whole(&feed, &[ReaderPlan { loss: 0.05, ..ReaderPlan::GOOD }]);
    let faults = vec![ReaderFault::Probes(span, 300_000)];
    let repairer = ReaderPlan { repairs_for_others: true, faults, loss: 0.02, ..ReaderPlan::GOOD };
    check_whole(&FeedPlan::GOOD, &[repairer, ReaderPlan { loss: 0.05, ..ReaderPlan::GOOD }]);
}

/// Behind a slow link, the publisher sends a manifest long after the data that it covers.
#[test]
fn data_that_waits_for_its_manifest_is_not_lost_without_repairs() {
    let feed = FeedPlan {
        messages: 3_000,
        interval: 2 * MILLISECOND,
        length: 300,
        waits: true,
        sealed: true,
        syncs_each: true,
        signed: true,
        paths: 2,
        ..FeedPlan::GOOD
    };
    let slow = ReaderPlan {
        joins: BEGIN + 1_400 * MILLISECOND,
        begin: Begin::Resume(632),
        heals: true,
        loss_up: 0.05,
        delay: 5 * MILLISECOND,
        processing: 0,
        faults: vec![ReaderFault::Cut((BEGIN + 3_375 * MILLISECOND, BEGIN + 3_500 * MILLISECOND))],
        ..ReaderPlan::GOOD
    };
    let joins = BEGIN + 4_850 * MILLISECOND;
    let quick = ReaderPlan { joins, gaps: Gaps::BestEffort, delay: 5 * MILLISECOND, ..ReaderPlan::GOOD };
    check(feed, vec![slow, quick]);
}

/// The record of what is settled is older than what retention has removed since.
#[test]
fn what_retention_has_removed_is_settled_for_the_next_process() {
    let acks = Some(AckPlan { named: 1, processed: true, blocks: true });
    for step in 0..10 {
        let at = BEGIN + 700 * MILLISECOND + step * 13 * MILLISECOND;
        let faults = vec![FeedFault::Kill { at, down: SECOND, power: false }];
        let (length, interval, retained) = (60, MILLISECOND, Some(1));
        check(
            FeedPlan { acks, faults, length, interval, retained, ..FeedPlan::GOOD },
            vec![ReaderPlan::GOOD],
        );
    }
}

/// With `--resume`, what is given up is lost for all time. The server was not needed at the start, or was not there, and cannot be
/// reached when something is lost later.
#[test]
fn a_subscriber_that_resumes_waits_for_the_server_after_its_start_too() {
    let feed = FeedPlan {
        messages: 1_000,
        interval: 2 * MILLISECOND,
        length: 300,
        linger: 60 * SECOND,
        ..FeedPlan::GOOD
    };
    let at = |milliseconds: u64| BEGIN + milliseconds * MILLISECOND;
    let faults = vec![
        ReaderFault::Without(Traffic::Data, (at(380), at(2_730))),
        ReaderFault::Without(Traffic::Tcp, (at(3_045), at(43_915))),
    ];
    check(feed, vec![ReaderPlan { joins: at(90), begin: Begin::Resume(553), faults, ..ReaderPlan::GOOD }]);

    let killed = FeedFault::Kill { at: at(345), down: 4 * SECOND, power: false };
    let feed = FeedPlan {
        length: 20,
        buffer: 32 << 10,
        linger: 60 * SECOND,
        faults: vec![killed],
        ..FeedPlan::GOOD
    };
    let faults = vec![ReaderFault::Without(Traffic::Tcp, (at(2_760), at(17_205)))];
    let begin = Begin::Resume(141);
    check(feed, vec![ReaderPlan { joins: at(1_785), begin, loss: 0.2, faults, ..ReaderPlan::GOOD }]);
}

/// Messages that waited for the rate filled the whole retransmission buffer, so that nothing that was sent could be repaired.
#[test]
fn messages_that_wait_for_the_rate_leave_room_for_repairs() {
    let feed = FeedPlan {
        messages: 3_000,
        interval: MILLISECOND / 2,
        length: 300,
        rate: Some(400_000),
        paths: 2,
        linger: 60 * SECOND,
        ..FeedPlan::GOOD
    };
    let reader = ReaderPlan { joins: BEGIN + 630 * MILLISECOND, jitter: 2 * MILLISECOND, ..ReaderPlan::GOOD };
    check(feed, vec![reader]);
}
