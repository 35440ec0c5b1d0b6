//! The automatic rate on a simulated bottleneck: alone, beside TCP flows, with several subscribers, with random loss.
//!
//! `MCAST_SURVEY=1 MCAST_SCENE=cubic-20-20000us-1,alone cargo test --test fairness -- --nocapture survey` prints what the
//! scenes measure whose names contain one of these.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;
mod tcp;

use std::sync::Mutex;

use mcast_stream_proto::publisher::Fec;
use network::{Outcome, Receiver, Scene};
use tcp::Algorithm;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const SEEDS: std::ops::Range<u64> = 1..5;

fn describe(scene: &Scene, outcome: &Outcome) -> String {
    let megabits = |rate: f64| rate * 8.0 / 1e6;
    format!(
        "stream {:.2} of {:.0} Mbit/s, flows {:?}, goodput {:?}, queue {:.1} ms, p95 {:.1} ms",
        megabits(outcome.stream),
        megabits(scene.rate as f64),
        outcome.flows.iter().map(|rate| format!("{:.2}", megabits(*rate))).collect::<Vec<_>>(),
        outcome.goodput.iter().map(|rate| format!("{:.2}", megabits(*rate))).take(4).collect::<Vec<_>>(),
        outcome.queue as f64 / 1e6,
        outcome.queue_p95 as f64 / 1e6,
    )
}

/// The bottlenecks: Mbit/s, and the round-trip time.
const SLOW: (u64, u64) = (20, 20 * MILLISECOND);
const FAST: (u64, u64) = (1_000, 5 * MILLISECOND);
const SHORT: (u64, u64) = (400, 5 * MILLISECOND);

#[test]
fn survey() {
    if mcast_sim::number("MCAST_SURVEY").is_none() {
        return;
    }
    let report = |name: &str, scene: Scene| {
        let seed = mcast_sim::number("MCAST_SEED").unwrap_or(scene.seed);
        let scene = Scene { seed, ..scene };
        let outcome = scene.run();
        println!("{name:28} {}", describe(&scene, &outcome));
        if mcast_sim::number("MCAST_HISTORY").is_some() {
            let rates: Vec<_> = outcome.history.iter().map(|rate| format!("{:.1}", rate * 8e-6)).collect();
            println!("  {}", rates.join(" "));
        }
    };
    let only = std::env::var("MCAST_SCENE").unwrap_or_default();
    for queue in [1, 4] {
        for (megabits, round_trip) in [
            SLOW,
            FAST,
            (100, 5 * MILLISECOND),
            (20, MILLISECOND),
            (20, 100 * MILLISECOND),
            (1_000, MILLISECOND / 2),
        ] {
            let time = 40 * SECOND;
            let alone = Scene { time, ..Scene::alone(megabits, round_trip, queue, 1) };
            let name = format!("{megabits}-{}us-{queue}", round_trip / 1_000);
            let mut scenes = vec![("alone".to_owned(), alone.clone())];
            let joins_late = vec![Receiver { joins: 2 * SECOND, ..Receiver::GOOD }];
            for (label, flow_start, subscribers) in [
                ("late-", 2 * SECOND, alone.subscribers.clone()),
                ("at-once-", 0, alone.subscribers.clone()),
                ("first-", 0, joins_late),
            ] {
                for (flows_label, flows) in [
                    ("cubic", vec![Algorithm::Cubic]),
                    ("bbr", vec![Algorithm::Bbr]),
                    ("both", vec![Algorithm::Cubic, Algorithm::Bbr]),
                ] {
                    let flow_time = (flow_start, u64::MAX);
                    let subscribers = subscribers.clone();
                    let scene = Scene { flows, flow_time, subscribers, warm_up: 5 * SECOND, ..alone.clone() };
                    scenes.push((format!("{label}{flows_label}"), scene));
                }
            }
            let lossy = vec![Receiver { loss: 0.05, ..Receiver::GOOD }; 3];
            scenes.push(("lossy".to_owned(), Scene { subscribers: lossy, ..alone.clone() }));
            let very = vec![Receiver { loss: 0.3, ..Receiver::GOOD }; 3];
            scenes.push(("verylossy".to_owned(), Scene { subscribers: very, ..alone.clone() }));
            for (label, fec) in [("eight", Fec::Off), ("eight-auto", Fec::Auto)] {
                let subscribers = vec![Receiver { loss: 0.05, ..Receiver::GOOD }; 8];
                scenes.push((label.to_owned(), Scene { subscribers, fec, ..alone.clone() }));
            }
            let fec = Fec::Fixed { data: 20, parity: 4 };
            scenes.push(("parity".to_owned(), Scene { fec, ..alone.clone() }));
            scenes
                .push(("many".to_owned(), Scene { subscribers: vec![Receiver::GOOD; 20], ..alone.clone() }));
            scenes.push(("stalls".to_owned(), Scene { stalls: 5 * MILLISECOND, ..alone.clone() }));
            for (label, scene) in scenes {
                let name = format!("{label}-{name}");
                if only.split(',').any(|only| name.contains(only)) {
                    report(&name, scene);
                }
            }
        }
    }
}

/// Runs a scene with several seeds at once.
fn with_seeds(scene: &Scene, check: impl Fn(&Outcome, &str) + Sync) {
    std::thread::scope(|scope| {
        for seed in SEEDS {
            let (scene, check) = (Scene { seed, ..scene.clone() }, &check);
            scope.spawn(move || {
                let outcome = scene.run();
                check(&outcome, &format!("seed {seed}: {}", describe(&scene, &outcome)));
            });
        }
    });
}

/// Checks that the stream uses nine tenths of the bottleneck, and that the queue stays short: at most 20 ms, or twice the
/// round-trip time without it.
fn fills_the_bottleneck(scene: &Scene) {
    let longest = (2 * scene.round_trip).max(20 * MILLISECOND);
    with_seeds(scene, |outcome, text| {
        assert!(outcome.stream >= 0.9 * scene.rate as f64, "{text}");
        assert!(outcome.queue <= 20 * MILLISECOND && outcome.queue_p95 <= longest, "{text}");
    });
}

#[test]
fn alone_it_fills_the_bottleneck_and_not_the_queue() {
    for (megabits, round_trip) in [SLOW, (20, MILLISECOND), (100, 10 * MILLISECOND)] {
        for queue in [1, 4] {
            fills_the_bottleneck(&Scene::alone(megabits, round_trip, queue, 1));
        }
    }
}

#[test]
fn alone_it_fills_a_gigabit() {
    let (megabits, round_trip) = FAST;
    for queue in [1, 4] {
        let scene =
            Scene { time: 4 * SECOND, warm_up: SECOND, ..Scene::alone(megabits, round_trip, queue, 1) };
        fills_the_bottleneck(&scene);
    }
}

/// A status of each of many subscribers arrives rarely.
#[test]
fn many_subscribers_do_not_slow_it() {
    let scene = Scene { subscribers: vec![Receiver::GOOD; 20], ..Scene::alone(SLOW.0, SLOW.1, 1, 1) };
    fills_the_bottleneck(&scene);
}

/// Parity counts as what is sent and as what arrives, however much it is.
#[test]
fn with_parity_it_fills_the_bottleneck_and_not_the_queue() {
    for (data, parity) in [(20, 4), (64, 8), (8, 8), (4, 12)] {
        for round_trip in [SLOW.1, MILLISECOND] {
            let fec = Fec::Fixed { data, parity };
            fills_the_bottleneck(&Scene { fec, ..Scene::alone(SLOW.0, round_trip, 1, 1) });
        }
    }
}

/// As without parity, for the same losses. Of 60 seeds, 3 used less than 85 % of the bottleneck, at least 80 %, and all together 95 %.
#[test]
fn with_parity_random_loss_does_not_reduce_the_rate() {
    for fec in [Fec::Auto, Fec::Fixed { data: 20, parity: 4 }] {
        let subscribers = vec![Receiver { loss: 0.05, ..Receiver::GOOD }; 2];
        let scene = Scene { fec, subscribers, ..Scene::alone(SLOW.0, SLOW.1, 1, 1) };
        let rates = Mutex::new(Vec::new());
        with_seeds(&scene, |outcome, text| {
            assert!(outcome.stream >= 0.75 * scene.rate as f64, "{fec:?}: {text}");
            rates.lock().unwrap().push(outcome.stream / scene.rate as f64);
        });
        let rates = rates.into_inner().unwrap();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!(mean >= 0.9, "{fec:?}: {rates:?}");
    }
}

/// Where each of several subscribers loses something else, parity repairs all of them with fewer bytes of the bottleneck.
#[test]
fn with_parity_several_lossy_subscribers_get_more() {
    let goodput = |fec| {
        let subscribers = vec![Receiver { loss: 0.05, ..Receiver::GOOD }; 8];
        let sum = std::sync::Mutex::new(0.0);
        let scene = Scene { fec, subscribers, ..Scene::alone(SLOW.0, SLOW.1, 1, 1) };
        with_seeds(&scene, |outcome, _| *sum.lock().unwrap() += outcome.goodput[0]);
        sum.into_inner().unwrap()
    };
    let (with, without) = (goodput(Fec::Auto), goodput(Fec::Off));
    assert!(with >= 1.15 * without, "{with} and {without} bytes per second with four seeds");
}

/// Beside a TCP flow with CUBIC, it takes between half and twice as much.
fn is_fair_to_a_cubic_flow(scene: &Scene, seconds: u64) {
    let (flows, warm_up) = (vec![Algorithm::Cubic], 6 * SECOND);
    let scene = Scene { flows, warm_up, time: seconds * SECOND, ..scene.clone() };
    with_seeds(&scene, |outcome, text| {
        assert!((0.5..=2.0).contains(&outcome.fairness()), "{text}");
    });
}

#[test]
fn it_is_fair_to_a_cubic_flow() {
    for queue in [1, 4] {
        is_fair_to_a_cubic_flow(&Scene::alone(SLOW.0, SLOW.1, queue, 1), 40);
    }
}

#[test]
fn with_parity_it_is_fair_to_a_cubic_flow() {
    let fec = Fec::Fixed { data: 20, parity: 4 };
    is_fair_to_a_cubic_flow(&Scene { fec, ..Scene::alone(SLOW.0, SLOW.1, 1, 1) }, 40);
}

/// A queue that is as short as the stream would keep it when alone.
#[test]
fn on_a_short_fast_path_it_is_fair_to_a_cubic_flow() {
    for queue in [1, 4] {
        is_fair_to_a_cubic_flow(&Scene::alone(SHORT.0, SHORT.1, queue, 1), 20);
    }
}

/// A stream and a flow that start together find the rate at the same time.
#[test]
fn on_a_gigabit_it_is_fair_to_a_cubic_flow() {
    for queue in [1, 4] {
        let scene = Scene { flow_time: (0, u64::MAX), ..Scene::alone(FAST.0, FAST.1, queue, 1) };
        is_fair_to_a_cubic_flow(&scene, 25);
    }
}

/// Checks that the stream takes between half and twice as much as the mean of the flows. BBR fills a queue of one product of
/// rate and round-trip time whatever is lost. Which of them has more changes every few seconds, so that the share is that of
/// all seeds together.
fn is_fair_on_average(scene: &Scene) {
    let shares = std::sync::Mutex::new(Vec::new());
    with_seeds(scene, |outcome, text| {
        assert!((0.25..=4.0).contains(&outcome.fairness()), "{text}");
        shares.lock().unwrap().push((outcome.stream, outcome.flows.clone()));
    });
    let shares = shares.into_inner().unwrap();
    let stream: f64 = shares.iter().map(|(stream, _)| stream).sum();
    let flows: f64 = shares.iter().map(|(_, flows)| flows.iter().sum::<f64>() / flows.len() as f64).sum();
    assert!((0.5..=2.0).contains(&(stream / flows)), "{scene:?}: {shares:?}");
}

#[test]
fn beside_a_bbr_flow_it_takes_between_half_and_twice_as_much() {
    let alone = Scene::alone(SLOW.0, SLOW.1, 1, 1);
    let flows = vec![Algorithm::Bbr];
    is_fair_on_average(&Scene { flows, time: 40 * SECOND, warm_up: 6 * SECOND, ..alone });
}

/// With a flow of BBR, and with one of CUBIC beside it, which start together with the stream.
#[test]
fn on_a_gigabit_it_is_fair_to_flows_that_ignore_loss() {
    for flows in [vec![Algorithm::Bbr], vec![Algorithm::Cubic, Algorithm::Bbr]] {
        let scene = Scene { flow_time: (0, u64::MAX), ..Scene::alone(FAST.0, FAST.1, 1, 1) };
        is_fair_on_average(&Scene { flows, time: 25 * SECOND, warm_up: 5 * SECOND, ..scene });
    }
}

/// When the others have ended, the queue is short again.
#[test]
fn after_the_others_have_ended_it_fills_the_bottleneck() {
    let scene = Scene {
        flows: vec![Algorithm::Cubic],
        flow_time: (SECOND, 12 * SECOND),
        time: 30 * SECOND,
        warm_up: 20 * SECOND,
        ..Scene::alone(SLOW.0, SLOW.1, 4, 1)
    };
    fills_the_bottleneck(&scene);
}

/// Loss that does not depend on the rate is left to repair: half of it is near the subscriber.
#[test]
fn random_loss_does_not_reduce_the_rate() {
    for loss in [0.01, 0.05, 0.1] {
        let subscribers = vec![Receiver { loss, ..Receiver::GOOD }; 2];
        let scene = Scene { subscribers, ..Scene::alone(SLOW.0, SLOW.1, 1, 1) };
        with_seeds(&scene, |outcome, text| {
            assert!(outcome.stream >= 0.85 * scene.rate as f64, "loss {loss}: {text}");
        });
    }
}

/// It follows a bottleneck that becomes four times slower, or faster.
#[test]
fn it_follows_a_change_of_the_bottleneck() {
    for (before, after) in [(20, 5), (5, 20)] {
        let scene = Scene {
            change: Some((8 * SECOND, after * 125_000)),
            warm_up: 12 * SECOND,
            queue: 100_000,
            ..Scene::alone(before, SLOW.1, 1, 1)
        };
        with_seeds(&scene, |outcome, text| {
            assert!(outcome.stream >= 0.85 * (after * 125_000) as f64, "{before} to {after}: {text}");
            assert!(outcome.queue <= 20 * MILLISECOND, "{before} to {after}: {text}");
        });
    }
}

/// An application that publishes little, with pauses, gets what it publishes through, and the rate is then as it was.
#[test]
fn an_application_that_publishes_little_is_not_limited() {
    for feed in [20_000, 250_000, 1_500_000] {
        let scene = Scene { feed: Some(feed), ..Scene::alone(SLOW.0, SLOW.1, 1, 1) };
        with_seeds(&scene, |outcome, text| {
            assert!(outcome.goodput[0] >= 0.98 * feed as f64, "{feed}: {text}");
            assert!(outcome.queue <= 2 * MILLISECOND, "{feed}: {text}");
        });
    }
}

/// The slowest subscriber determines the rate, unless it is slower than configured and others are not.
#[test]
fn a_subscriber_below_the_floor_is_evicted() {
    let slow = Receiver { rate: Some(250_000), ..Receiver::GOOD };
    let alone = Scene::alone(SLOW.0, SLOW.1, 1, 1);
    let both = Scene { subscribers: vec![Receiver::GOOD, slow.clone()], ..alone };
    with_seeds(&both, |outcome, text| {
        assert!(outcome.evicted.is_empty() && outcome.stream <= 280_000.0, "{text}");
        assert!(outcome.stream >= 0.85 * 250_000.0, "{text}");
    });
    let scene = Scene { evict_below: Some(1_000_000), warm_up: 8 * SECOND, ..both.clone() };
    with_seeds(&scene, |outcome, text| {
        assert!(!outcome.evicted.is_empty() && outcome.goodput[0] >= 0.8 * scene.rate as f64, "{text}");
    });
    // Others would gain nothing.
    let scene = Scene { subscribers: vec![slow; 2], evict_below: Some(1_000_000), ..both };
    with_seeds(&scene, |outcome, text| {
        assert!(outcome.evicted.is_empty(), "{:?} {text}", outcome.evicted);
    });
}
