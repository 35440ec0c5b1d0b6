//! The automatic rate on a simulated bottleneck: alone, beside TCP flows, with several subscribers, with random loss.
//!
//! `MCAST_SCENE=beside-cubic-20-1 cargo test --test fairness -- --nocapture scene` prints what one scene measures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;
mod tcp;

use network::{Outcome, Receiver, Scene};
use tcp::Algorithm;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const SEEDS: std::ops::Range<u64> = 1..4;

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

#[test]
fn survey() {
    if mcast_dice::number("MCAST_SURVEY").is_none() {
        return;
    }
    let report = |name: &str, scene: Scene| {
        let outcome = scene.run();
        println!("{name:28} {}", describe(&scene, &outcome));
        if mcast_dice::number("MCAST_HISTORY").is_some() {
            let rates: Vec<_> = outcome.history.iter().map(|rate| format!("{:.1}", rate * 8e-6)).collect();
            println!("  {}", rates.join(" "));
        }
    };
    let only = std::env::var("MCAST_SCENE").unwrap_or_default();
    for queue in [1, 4] {
        for (megabits, round_trip) in [SLOW, FAST, (20, MILLISECOND), (20, 100 * MILLISECOND), (1_000, MILLISECOND / 2)] {
            let time = if megabits == 20 { 40 * SECOND } else { 12 * SECOND };
            let alone = Scene { time, ..Scene::alone(megabits, round_trip, queue, 1) };
            let name = format!("{megabits}-{}us-{queue}", round_trip / 1_000);
            let mut scenes = vec![("alone", alone.clone())];
            for (label, flows) in [
                ("cubic", vec![Algorithm::Cubic]),
                ("bbr", vec![Algorithm::Bbr]),
                ("both", vec![Algorithm::Cubic, Algorithm::Bbr]),
            ] {
                scenes.push((label, Scene { flows, warm_up: 5 * SECOND, ..alone.clone() }));
            }
            let lossy = vec![Receiver { loss: 0.05, ..Receiver::GOOD }; 3];
            scenes.push(("lossy", Scene { subscribers: lossy, ..alone.clone() }));
            let very = vec![Receiver { loss: 0.3, ..Receiver::GOOD }; 3];
            scenes.push(("verylossy", Scene { subscribers: very, ..alone.clone() }));
            scenes.push(("many", Scene { subscribers: vec![Receiver::GOOD; 20], ..alone.clone() }));
            scenes.push(("stalls", Scene { stalls: 5 * MILLISECOND, ..alone.clone() }));
            for (label, scene) in scenes {
                let name = format!("{label}-{name}");
                if name.contains(&only) {
                    report(&name, scene);
                }
            }
        }
    }
}
