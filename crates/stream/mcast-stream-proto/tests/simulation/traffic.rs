//! How much is sent, and how fast losses are repaired: rates, bottlenecks, loss, feedback, distant subscribers.

use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{
    Bottleneck, MILLISECOND, NetworkPlan, NextIncarnation, SECOND, Sizes, Stranger, SubscriberPlan,
};
use crate::world::{Outcome, World};

const MEGABIT: u64 = 125_000;
const KIBIBYTE: u64 = 1_024;

/// A feed of messages of `length` bytes, one per `pause` nanoseconds, to subscribers with the default window.
fn feed(messages: u64, length: usize, pause: u64, subscribers: Vec<SubscriberPlan>) -> NetworkPlan {
    let subscribers =
        subscribers.into_iter().map(|subscriber| SubscriberPlan { window: 8_192, ..subscriber }).collect();
    let sizes = Sizes::Exactly(length);
    NetworkPlan { messages, sizes, pause, slots: 4_096, datagram: 1_472, ..NetworkPlan::simple(subscribers) }
}

/// At the rate of gigabit Ethernet: 10 MB, in messages that fill a datagram each.
fn flat_out(subscribers: Vec<SubscriberPlan>) -> NetworkPlan {
    feed(7_150, 1_400, 12_000, subscribers)
}

fn delivers_all(outcome: &Outcome, messages: u64) {
    for (index, subscriber) in outcome.subscribers.iter().enumerate() {
        assert_eq!((subscriber.messages, subscriber.lost), (messages, 0), "subscriber {index}");
    }
}

fn is_bounded(plan: &NetworkPlan) {
    let outcome = World::run(plan).unwrap();
    let (subscribers, seconds) = (plan.subscribers.len() as u64, outcome.published / SECOND);
    // A quarter of a window causes a status of each subscriber; each other quarter may cause a NAK.
    let windows = plan.messages * 4 / plan.slots as u64 / seconds + 1;
    let most = 200 + subscribers.min(100) * windows;
    // The first two seconds are for joining.
    let worst = outcome
        .meter
        .feedback
        .iter()
        .filter(|(second, _)| (2..seconds).contains(*second))
        .max_by_key(|(_, count)| **count);
    let (at, count) = worst.unwrap();
    assert!(
        *count <= most,
        "{subscribers} subscribers: {count} statuses and NAKs in second {at}, limit {most}"
    );
    let heartbeats = outcome.meter.heartbeats;
    assert!(heartbeats <= 220 * (seconds + 1), "{heartbeats} heartbeats in {seconds} s");
    assert_eq!(outcome.messages, plan.messages * subscribers);
}

#[test]
fn feedback_of_eight_subscribers_stays_below_200_per_second_plus_windows() {
    is_bounded(&feed(6_000, 100, MILLISECOND, vec![SubscriberPlan::simple(); 8]));
}

#[test]
fn feedback_of_a_thousand_subscribers_stays_below_200_per_second_plus_windows() {
    is_bounded(&feed(120, 100, 100 * MILLISECOND, vec![SubscriberPlan::simple(); 1_000]));
}

/// Where single NAKs for all losses would take a third of what arrives, they are held back, and nothing is lost by it.
#[test]
fn naks_are_bounded_by_their_bytes_where_much_is_lost() {
    let down = Quality { loss: 0.3, ..Quality::GOOD };
    let lossy = SubscriberPlan { down, start: Start::Oldest, ..SubscriberPlan::simple() };
    let plan = feed(6_000, 30, MILLISECOND, vec![lossy; 8]);
    let outcome = World::run(&plan).unwrap();
    assert_eq!(outcome.messages, plan.messages * 8);
    let meter = &outcome.meter;
    // 75 per second of 72 bytes may be sent in addition, and a burst of 64.
    let seconds = outcome.published / SECOND + 1;
    let most = meter.received_bytes / 20 + (75 * seconds + 64) * 72;
    assert!(meter.nak_bytes <= most, "{} bytes of NAKs, limit {most}", meter.nak_bytes);
    assert!(meter.nak_bytes > most / 2, "{} bytes of NAKs, limit {most}: nothing binds", meter.nak_bytes);
}

/// Where each subscriber could pay for the NAKs for all its losses with what it receives, the publisher could not bear them.
#[test]
fn naks_are_bounded_by_the_processor_of_the_publisher() {
    let down = Quality { loss: 0.1, ..Quality::GOOD };
    let lossy = SubscriberPlan { down, window: 4_096, start: Start::Oldest, ..SubscriberPlan::simple() };
    let plan = NetworkPlan { slots: 8_192, ..feed(20_000, 1_300, SECOND / 20_000, vec![lossy; 8]) };
    let outcome = World::run(&plan).unwrap();
    assert_eq!(outcome.messages, plan.messages * 8);
    // One in 200 µs, and in addition 75 per second and a burst of 64.
    let most = 5_075 + 2 * 64;
    let counts = || outcome.meter.naks.values().copied();
    assert!(
        counts().all(|count| count <= most),
        "{:?} NAKs in each second, limit {most}",
        outcome.meter.naks
    );
    assert!(counts().any(|count| count > most / 2), "{:?}: nothing binds", outcome.meter.naks);
}

/// With high loss, NAKs are sent in addition, which take at most 5 % of the bytes that arrive.
#[test]
fn naks_of_lossy_subscribers_take_a_twentieth_of_what_they_receive() {
    let down = Quality { loss: 0.05, ..Quality::GOOD };
    let lossy = SubscriberPlan { down, start: Start::Oldest, ..SubscriberPlan::simple() };
    let plan = feed(6_000, 100, MILLISECOND, vec![lossy; 8]);
    let outcome = World::run(&plan).unwrap();
    assert_eq!(outcome.messages, plan.messages * 8);
    let meter = &outcome.meter;
    assert!(outcome.naks > 1_000, "{} NAKs", outcome.naks);
    assert!(20 * meter.nak_bytes <= meter.received_bytes, "{meter:?}");
    for (second, count) in meter.feedback.range(2..outcome.published / SECOND) {
        let statuses = count - meter.naks.get(second).copied().unwrap_or_default();
        assert!(statuses <= 208, "{statuses} statuses in second {second}");
    }
}

/// The publisher waits for it 625 times. The statuses of the others would not help it.
#[test]
fn only_the_subscriber_with_a_full_window_answers_while_the_publisher_waits_for_it() {
    let mut plan = feed(10_000, 1_400, 0, vec![SubscriberPlan::simple(); 30]);
    plan.subscribers[0].window = 16;
    let outcome = World::run(&plan).unwrap();
    delivers_all(&outcome, plan.messages);
    let seconds = outcome.published / SECOND + 1;
    let (feedback, most) = (outcome.meter.all_feedback(), 220 * seconds + 30 * 60 + 8 * 625);
    assert!(feedback <= most, "{feedback} statuses and NAKs in {seconds} s, limit {most}");
}

#[test]
fn behind_a_bottleneck_at_most_one_and_a_half_bytes_are_sent_per_byte_delivered() {
    for (rate, queue) in [(20, 64), (20, 256), (100, 64), (100, 256)] {
        let bottleneck = Bottleneck { rate: rate * MEGABIT, queue: queue * KIBIBYTE };
        let plan =
            NetworkPlan { bottleneck: Some(bottleneck), ..flat_out(vec![SubscriberPlan::simple(); 2]) };
        let outcome = World::run(&plan).unwrap();
        delivers_all(&outcome, plan.messages);
        let (sent, delivered) = (outcome.meter.sent_bytes(), plan.messages * 1_400);
        assert!(
            sent * 2 <= delivered * 3,
            "{rate} Mbit/s, {queue} KiB: {sent} bytes were sent for {delivered}: {:?}",
            outcome.meter
        );
        // Congestion control must use at least half of what the link carries.
        let most = 2 * delivered * SECOND / (rate * MEGABIT) + 2 * SECOND;
        assert!(outcome.published <= most, "{rate} Mbit/s, {queue} KiB: it took {} ns", outcome.published);
        // Without a burst of losses when a limit ends, no message takes longer than the link needs for all of them.
        let longest = delivered * SECOND / (rate * MEGABIT) * 5 / 4;
        assert!(outcome.slowest <= longest, "{rate} Mbit/s, {queue} KiB: {} ns", outcome.slowest);
    }
}

/// Repairs that the queue of the link drops may leave the first missing datagram missing for long, while others arrive.
#[test]
fn subscribers_behind_a_bottleneck_are_not_evicted_while_repairs_arrive() {
    for (slots, loss) in [(512, 0.0), (512, 0.05), (4_096, 0.0)] {
        let bottleneck = Bottleneck { rate: 2 * MEGABIT, queue: 256 * KIBIBYTE };
        let down = Quality { loss, ..Quality::GOOD };
        let subscriber = SubscriberPlan { down, ..SubscriberPlan::simple() };
        let plan = feed(4_000, 1_200, 100_000, vec![subscriber; 2]);
        let plan = NetworkPlan { bottleneck: Some(bottleneck), slots, good_from: 400 * SECOND, ..plan };
        let outcome = World::run(&plan).unwrap();
        assert!(outcome.evicted.is_empty(), "{slots} slots, loss {loss}: {:?}", outcome.evicted);
        delivers_all(&outcome, plan.messages);
    }
}

/// It requests about 4,000 datagrams at once, behind a link that carries 1,700 per second.
#[test]
fn a_late_joiner_behind_a_bottleneck_gets_each_datagram_at_most_one_and_a_half_times() {
    let late = SubscriberPlan { joins: 9 * SECOND, start: Start::Oldest, ..SubscriberPlan::simple() };
    let bottleneck = Bottleneck { rate: 20 * MEGABIT, queue: 64 * KIBIBYTE };
    let plan = NetworkPlan {
        bottleneck: Some(bottleneck),
        ..feed(9_000, 1_200, 2 * MILLISECOND, vec![SubscriberPlan::simple(), late])
    };
    let outcome = World::run(&plan).unwrap();
    assert_eq!(outcome.subscribers[0].messages, plan.messages);
    let repaired = outcome.subscribers[1].messages.saturating_sub(4_400);
    assert!(repaired > 3_500, "it received only {} messages", outcome.subscribers[1].messages);
    let repairs = outcome.statistics.group_repairs + outcome.statistics.single_repairs;
    assert!(repairs * 2 <= repaired * 3, "{repairs} repairs of {repaired} datagrams");
}

/// A burst of 6 MB meets links of this rate in Mbit/s, whose queues hold 110 KiB. All of it must be there in `seconds`.
fn burst_into_slow_links(subscribers: usize, rate: u64, waits: bool, seconds: u64) {
    let down = Quality {
        rate: Some(rate * MEGABIT),
        queue: 110 * KIBIBYTE,
        delay: 2 * MILLISECOND,
        ..Quality::GOOD
    };
    let subscriber = SubscriberPlan { down, ..SubscriberPlan::simple() };
    let plan = feed(6_000, 1_000, 12_000, vec![subscriber; subscribers]);
    let outcome = World::run(&NetworkPlan { good_from: 600 * SECOND, waits, slots: 8_192, ..plan }).unwrap();
    delivers_all(&outcome, 6_000);
    let (data, repairs) = (outcome.meter.data_bytes, outcome.meter.repair_bytes);
    let name = format!("{subscribers} subscribers, {rate} Mbit/s, waits: {waits}");
    // Without flow control, no subscriber's link limits the repairs to the group.
    let most = if waits { data / 2 * 3 } else { 2 * data };
    assert!(repairs <= most, "{name}: {repairs} bytes of repairs for {data} bytes of data");
    assert!(outcome.slowest <= seconds * SECOND, "{name}: it took {} ns", outcome.slowest);
}

#[test]
fn repairs_do_not_flood_a_slow_link() {
    burst_into_slow_links(1, 2, true, 35);
    burst_into_slow_links(1, 8, true, 10);
}

#[test]
fn repairs_do_not_flood_several_slow_links() {
    burst_into_slow_links(3, 2, true, 35);
    burst_into_slow_links(3, 8, true, 12);
    burst_into_slow_links(3, 2, false, 35);
}

/// Offers 1.6 Mbit/s for a minute to subscribers whose links carry far more and lose 30 % in both directions; returns
/// the longest time that a message took, and how often the publisher slowed down.
fn minute_at_thirty_percent_loss(subscribers: usize, seed: u64) -> (u64, u64) {
    let lossy = Quality { loss: 0.3, ..Quality::GOOD };
    // From the oldest, so that a subscriber that misses the first heartbeat also gets the messages before the second.
    let subscriber =
        SubscriberPlan { down: lossy.clone(), up: lossy, start: Start::Oldest, ..SubscriberPlan::simple() };
    let messages = 60_000;
    let plan = feed(messages, 200, MILLISECOND, vec![subscriber; subscribers]);
    let outcome = World::run(&NetworkPlan { seed, good_from: 120 * SECOND, ..plan }).unwrap();
    delivers_all(&outcome, messages);
    let most = 60 * SECOND * 10 / 9;
    assert!(outcome.published <= most, "seed {seed}: 60 s of messages took {} ns", outcome.published);
    (outcome.slowest, outcome.slowed)
}

/// Of five minutes, one may be worse: a message may be lost again and again, and loss may happen to fall while the
/// publisher has slowed down.
#[test]
fn goodput_at_thirty_percent_loss_is_nine_tenths_of_the_feed() {
    for (subscribers, longest) in [(1, SECOND / 2), (4, 3 * SECOND)] {
        let minutes: Vec<_> = (1..=5).map(|seed| minute_at_thirty_percent_loss(subscribers, seed)).collect();
        let good = minutes.iter().filter(|(slowest, slowed)| *slowest <= longest && *slowed == 0).count();
        assert!(good >= 4, "{subscribers} subscribers: {minutes:?}");
    }
}

/// Twenty share the same 200 statuses and NAKs per second, so that each may send four NAKs per second.
#[test]
fn goodput_at_thirty_percent_loss_does_not_fall_with_twenty_subscribers() {
    let (slowest, slowed) = minute_at_thirty_percent_loss(20, 1);
    assert!(slowest <= 6 * SECOND && slowed == 0, "a message took {slowest} ns, slowed {slowed} times");
}

/// Losses of a subscriber that receives nothing at all do not indicate congestion: its process was stopped, its network
/// was cut, or it did not have the new key yet.
#[test]
fn a_subscriber_that_receives_nothing_for_a_while_does_not_slow_the_publisher() {
    let good = SubscriberPlan::simple;
    let (from, until) = (4 * SECOND, 7 * SECOND);
    let deaf = [
        SubscriberPlan { sleeps: Some((from, until)), ..good() },
        SubscriberPlan { partition: Some((from, until)), ..good() },
        SubscriberPlan { key_late: 3 * SECOND, ..good() },
    ];
    for subscriber in deaf {
        let rotate = (subscriber.key_late > 0).then_some(4_000);
        let plan = NetworkPlan {
            sealed: rotate.is_some(),
            rotate,
            good_from: 60 * SECOND,
            ..feed(20_000, 200, MILLISECOND / 2, vec![subscriber.clone(), good()])
        };
        let outcome = World::run(&plan).unwrap();
        delivers_all(&outcome, plan.messages);
        assert_eq!(outcome.slowed, 0, "{subscriber:?}");
        assert!(outcome.slowest_of(1) <= SECOND / 2, "{subscriber:?}: {} ns", outcome.slowest_of(1));
    }
}

/// Without flow control, a subscriber discards what is beyond its full window. That is not a loss of its link, and slows
/// the stream down for nobody.
#[test]
fn what_is_beyond_a_full_window_does_not_slow_a_publisher_without_flow_control() {
    let mut slowed = Vec::new();
    for milliseconds in [1_000, 2_000, 3_000, 4_000] {
        for read in [0, 10, 30, 60] {
            let stopped = SubscriberPlan {
                sleeps: Some((4 * SECOND, 4 * SECOND + milliseconds * MILLISECOND)),
                knows_buffer: true,
                slow: (read > 0).then_some(read * MILLISECOND / 1_000),
                ..SubscriberPlan::simple()
            };
            let plan = NetworkPlan {
                waits: false,
                good_from: 60 * SECOND,
                slots: 32_768,
                ..feed(40_000, 1_000, MILLISECOND / 4, vec![stopped])
            };
            let outcome = World::run(&plan).unwrap();
            if outcome.slowed > 0 {
                slowed.push((milliseconds, read, outcome.slowed));
            }
        }
    }
    for busy in [100, 150, 200, 300, 600] {
        let slow = SubscriberPlan { busy: Some((200, busy * MILLISECOND)), ..SubscriberPlan::simple() };
        let plan = NetworkPlan {
            waits: false,
            good_from: 60 * SECOND,
            slots: 32_768,
            ..feed(40_000, 1_000, MILLISECOND / 4, vec![slow])
        };
        let outcome = World::run(&plan).unwrap();
        if outcome.slowed > 0 {
            slowed.push((0, busy, outcome.slowed));
        }
    }
    assert!(
        slowed.is_empty(),
        "(ms without running, µs per datagram or ms per 200 messages, slowdowns): {slowed:?}"
    );
}

/// It was removed after five seconds of silence, and joins again with most of what was sent meanwhile missing.
#[test]
fn a_subscriber_that_returns_after_its_removal_does_not_slow_the_publisher() {
    for knows_buffer in [false, true] {
        let sleeps = Some((4 * SECOND, 12 * SECOND));
        let stopped = SubscriberPlan { sleeps, knows_buffer, ..SubscriberPlan::simple() };
        let plan = NetworkPlan {
            good_from: 60 * SECOND,
            slots: 65_536,
            ..feed(40_000, 1_000, MILLISECOND / 2, vec![stopped, SubscriberPlan::simple()])
        };
        let outcome = World::run(&plan).unwrap();
        delivers_all(&outcome, plan.messages);
        assert_eq!(outcome.slowed, 0, "knows_buffer: {knows_buffer}");
    }
}

/// To the next publisher it is a new subscriber, which has lost what it did not read of the datagrams before that.
#[test]
fn a_subscriber_that_returns_after_the_publisher_has_restarted_does_not_slow_it() {
    // Its socket buffer holds more or less of what the next publisher sends first.
    for published in (9_000..10_000).step_by(100) {
        let stopped = SubscriberPlan {
            sleeps: Some((4 * SECOND, 9 * SECOND)),
            knows_buffer: true,
            ..SubscriberPlan::simple()
        };
        let plan = NetworkPlan {
            good_from: 60 * SECOND,
            slots: 65_536,
            restart: Some((published, NextIncarnation::Remembered)),
            ..feed(30_000, 1_000, MILLISECOND / 2, vec![stopped, SubscriberPlan::simple()])
        };
        let outcome = World::run(&plan).unwrap();
        assert_eq!(outcome.slowed, 0, "restarted after {published} messages");
    }
}

/// A process that the system does not run for a while: what is sent meanwhile waits in its socket buffer.
#[test]
fn a_subscriber_that_reads_nothing_for_a_while_loses_nothing() {
    let from = SECOND;
    let sleeps = Some((from, from + 50 * MILLISECOND));
    let subscriber = SubscriberPlan { sleeps, knows_buffer: true, ..SubscriberPlan::simple() };
    let plan = NetworkPlan { good_from: 60 * SECOND, ..feed(140_000, 1_400, 12_000, vec![subscriber]) };
    let outcome = World::run(&plan).unwrap();
    delivers_all(&outcome, plan.messages);
    let repairs = outcome.statistics.group_repairs + outcome.statistics.single_repairs;
    assert_eq!(repairs, 0, "datagrams were dropped by the socket");
    assert!(outcome.slowest > 40 * MILLISECOND, "it did not stop reading");
}

/// At about a gigabit per second, nothing passes for some milliseconds. Repairs may take 100 Mbit/s, and new data adds
/// to that; with the gigabit link, the repairs and the data that waited meanwhile overflow the queue of a switch, too.
#[test]
fn a_burst_of_loss_delays_the_stream_for_about_as_long_as_its_repairs_take() {
    let gigabit = Some(1_250 * MEGABIT);
    let third = SECOND / 3;
    for (length, rate, longest) in
        [(5, None, third), (12, None, third), (25, None, SECOND / 2), (12, gigabit, SECOND)]
    {
        let from = SECOND;
        let cut = Some((from, from + length * MILLISECOND));
        let subscriber =
            SubscriberPlan { down: Quality { cut, rate, ..Quality::GOOD }, ..SubscriberPlan::simple() };
        let plan = NetworkPlan { good_from: 60 * SECOND, ..feed(140_000, 1_400, 12_000, vec![subscriber]) };
        let outcome = World::run(&plan).unwrap();
        delivers_all(&outcome, plan.messages);
        assert!(outcome.statistics.single_repairs > 100, "the cut hit nothing");
        assert!(outcome.slowest < longest, "{length} ms, {rate:?}: a message took {} ns", outcome.slowest);
    }
}

/// A late joiner requests everything retained: five times what the rate carries in a second.
#[test]
fn the_rate_holds_for_everything() {
    let late = SubscriberPlan { joins: 10 * SECOND, start: Start::Oldest, ..SubscriberPlan::simple() };
    let lossy = SubscriberPlan { down: Quality { loss: 0.05, ..Quality::GOOD }, ..SubscriberPlan::simple() };
    let plan = NetworkPlan {
        rate: Some(2 * MEGABIT),
        good_from: 60 * SECOND,
        ..feed(20_000, 100, MILLISECOND, vec![SubscriberPlan::simple(), lossy, late])
    };
    // World::judge compares the traffic with the rate.
    let outcome = World::run(&plan).unwrap();
    assert_eq!(outcome.subscribers[0].messages, plan.messages);
    assert!(outcome.subscribers[2].messages > 12_000, "{} messages", outcome.subscribers[2].messages);
}

/// Returns the latencies of the first subscriber's messages that were repaired or waited for repairs: the 90th
/// percentile and the maximum.
fn repaired(outcome: &Outcome) -> (u64, u64) {
    let all = &outcome.subscribers[0].latencies;
    let late = &all[all.partition_point(|latency| *latency <= 2 * Quality::GOOD.delay)..];
    assert!(late.len() > 80, "only {} were repaired", late.len());
    (late[late.len() * 9 / 10], late[late.len() - 1])
}

/// The delay by 1 % loss at a distance of 100 µs does not depend on other subscribers.
#[test]
fn repairs_take_as_long_as_ones_own_round_trip() {
    let near = SubscriberPlan { down: Quality { loss: 0.01, ..Quality::GOOD }, ..SubscriberPlan::simple() };
    let plan = |subscribers| NetworkPlan {
        good_from: 60 * SECOND,
        ..feed(10_000, 100, 2 * MILLISECOND, subscribers)
    };
    let alone = World::run(&plan(vec![near.clone()])).unwrap();
    let (own, own_worst) = repaired(&alone);
    assert!(own < 5 * MILLISECOND, "{own} ns");
    for round_trip in [100, 600, 1_200] {
        let link = Quality { delay: round_trip * MILLISECOND / 2, ..Quality::GOOD };
        let far = SubscriberPlan { down: link.clone(), up: link, ..SubscriberPlan::simple() };
        let outcome = World::run(&plan(vec![near.clone(), far])).unwrap();
        assert_eq!(outcome.subscribers[0].messages, 10_000);
        let (common, worst) = repaired(&outcome);
        assert!(
            common <= 2 * own && worst <= 4 * own_worst + MILLISECOND,
            "with a subscriber {round_trip} ms away: p90 {common} ns (alone {own}), maximum {worst} (alone {own_worst})"
        );
    }
}

/// Compares the same feed with and without an intruder: forged datagrams cause no more bytes than they have.
fn causes_no_more_than_it_sends(stranger: Stranger) -> Outcome {
    let plan = feed(5_000, 200, MILLISECOND, vec![SubscriberPlan::simple(); 2]);
    let quiet = World::run(&plan).unwrap();
    let plan = NetworkPlan { stranger: Some(stranger), ..plan };
    let outcome = World::run(&plan).unwrap();
    delivers_all(&outcome, plan.messages);
    let (sent, forged) = (outcome.meter.sent_bytes(), outcome.intruder);
    assert!(forged.datagrams > 0 && forged.answered <= forged.bytes, "{forged:?}");
    let most = quiet.meter.sent_bytes() + forged.bytes;
    assert!(sent <= most, "{forged:?}: {sent} bytes were sent, without them {}", quiet.meter.sent_bytes());
    outcome
}

#[test]
fn a_forged_nak_causes_no_more_bytes_than_it_has() {
    for every in [3 * SECOND, 10 * MILLISECOND] {
        causes_no_more_than_it_sends(Stranger::ForgesNaks(every));
    }
}

/// The publisher does not wait for subscribers at unproven addresses, and does not report them.
#[test]
fn a_forged_status_causes_no_more_bytes_than_it_has_and_delays_nobody() {
    for every in [200 * MILLISECOND, 10 * MILLISECOND] {
        let outcome = causes_no_more_than_it_sends(Stranger::ForgesStatuses(every));
        assert_eq!(outcome.waited, 0, "the publisher waited for a subscriber that does not exist");
        assert_eq!(outcome.statistics.subscribers, 2);
    }
}

/// Replayed feedback changes nothing, even after its subscriber has left.
#[test]
fn a_replay_of_sealed_feedback_delays_nobody() {
    let leaves = SubscriberPlan { leaves: Some(2 * SECOND), ..SubscriberPlan::simple() };
    let quiet = NetworkPlan {
        sealed: true,
        ..feed(8_000, 200, MILLISECOND, vec![leaves, SubscriberPlan::simple(), SubscriberPlan::simple()])
    };
    let honest = World::run(&quiet).unwrap();
    for every in [500 * MILLISECOND, 20 * MILLISECOND] {
        let plan =
            NetworkPlan { stranger: Some(Stranger::Replays(every)), good_from: 8 * SECOND, ..quiet.clone() };
        let outcome = World::run(&plan).unwrap();
        assert!(outcome.intruder.datagrams > 10);
        assert_eq!(outcome.waited, 0, "the publisher waited for {} ns", outcome.waited);
        let (round_trip, before) = (outcome.statistics.round_trip, honest.statistics.round_trip);
        assert!(round_trip <= 2 * before, "the estimated round trip is {round_trip:?}, not {before:?}");
        assert!(outcome.intruder.answered <= outcome.intruder.bytes, "{:?}", outcome.intruder);
        for subscriber in &outcome.subscribers[1..] {
            assert_eq!((subscriber.messages, subscriber.lost), (8_000, 0));
        }
    }
}
