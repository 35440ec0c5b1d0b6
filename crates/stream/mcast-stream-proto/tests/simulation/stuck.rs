//! Applications that stop reading while their subscribers continue.

use mcast_stream_proto::publisher::Fec;

use crate::plan::{MILLISECOND, NetworkPlan, SECOND, Sizes, Stuck, SubscriberPlan};
use crate::world::{EVICTION, World};

const MESSAGES: u64 = 3_000;

/// A plan with `subscribers` subscribers, of which the first `stuck` stop reading after 100 messages for `time`
/// nanoseconds.
fn plan(subscribers: usize, stuck: usize, time: u64) -> NetworkPlan {
    let mut subscribers = vec![SubscriberPlan::simple(); subscribers];
    for subscriber in &mut subscribers[..stuck] {
        subscriber.stuck = Some(Stuck { after: 100, time });
    }
    NetworkPlan { messages: MESSAGES, pause: MILLISECOND, ..NetworkPlan::simple(subscribers) }
}

#[test]
fn a_reader_that_stops_delays_the_others_by_at_most_the_eviction_time_once() {
    for stuck in 1..=5 {
        for all in stuck + 1..=8 {
            let plan = plan(all, stuck, Stuck::FOREVER);
            let outcome = World::run(&plan).unwrap();
            let case = format!("{stuck} of {all} are stuck");
            assert!(outcome.waited <= EVICTION, "{case}: the publisher waited for {} ns", outcome.waited);
            let most = MESSAGES * MILLISECOND + EVICTION;
            assert!(outcome.published <= most, "{case}: the last was published at {}", outcome.published);
            let mut evicted = outcome.evicted.clone();
            evicted.sort_unstable();
            assert_eq!(evicted, Vec::from_iter(0..stuck), "{case}: others were evicted, or some twice");
            for (index, subscriber) in outcome.subscribers.iter().enumerate().skip(stuck) {
                assert_eq!(
                    (subscriber.messages, subscriber.lost),
                    (MESSAGES, 0),
                    "{case}: subscriber {index}"
                );
            }
        }
    }
}

/// A reader that continues within the eviction time loses nothing and is not evicted.
#[test]
fn a_reader_that_stops_for_a_second_is_waited_for() {
    let outcome = World::run(&plan(4, 2, SECOND)).unwrap();
    assert!(outcome.evicted.is_empty(), "{:?} were evicted", outcome.evicted);
    assert!(outcome.waited <= SECOND, "the publisher waited for {} ns", outcome.waited);
    for subscriber in &outcome.subscribers {
        assert_eq!((subscriber.messages, subscriber.lost), (MESSAGES, 0));
    }
}

/// Beyond a full window, parity does not count as received, but it was not lost on the path.
#[test]
fn a_reader_that_stops_does_not_slow_down_a_publisher_that_does_not_wait() {
    let mut plan = NetworkPlan {
        waits: false,
        auto: true,
        fec: Fec::Fixed { data: 1, parity: 1 },
        sizes: Sizes::Large,
        pause: 100_000,
        ..plan(2, 1, Stuck::FOREVER)
    };
    plan.subscribers[0].window = 128;
    plan.subscribers[0].stuck = Some(Stuck { after: 1, time: Stuck::FOREVER });
    let outcome = World::run(&plan).unwrap();
    assert!(outcome.published <= 3 * SECOND, "the last was published at {}", outcome.published);
    assert_eq!(outcome.subscribers[1].lost, 0);
}

/// A window may end between data and its manifest. Then all subscribers that verify lack that data, although it has
/// arrived, and request it in vain: those repairs do not count as progress of the one that stopped, and the others are not evicted
/// for it.
#[test]
fn a_reader_that_stops_before_a_manifest_delays_the_others_by_at_most_the_eviction_time_once() {
    for after in 1..24 {
        for fec in [Fec::Off, Fec::Fixed { data: 4, parity: 2 }] {
            let subscriber = SubscriberPlan { window: 128, verifies: true, ..SubscriberPlan::simple() };
            let mut subscribers = vec![subscriber; 3];
            subscribers[0].stuck = Some(Stuck { after, time: Stuck::FOREVER });
            let plan = NetworkPlan {
                seed: after,
                messages: 120,
                pause: 50_000,
                sizes: Sizes::Large,
                datagram: 700,
                slots: 256,
                signed: true,
                fec,
                ..NetworkPlan::simple(subscribers)
            };
            let case = format!("{fec:?}, after {after}");
            let outcome = World::run(&plan).unwrap_or_else(|why| panic!("{case}: {why}"));
            assert_eq!(outcome.evicted, [0], "{case}");
            assert!(outcome.waited <= EVICTION, "{case}: the publisher waited for {} ns", outcome.waited);
            for subscriber in &outcome.subscribers[1..] {
                assert_eq!((subscriber.messages, subscriber.lost), (120, 0), "{case}");
            }
        }
    }
}
