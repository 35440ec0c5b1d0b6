//! Publisher, bridges, engine and links are killed at random moments.

use std::time::{Duration, Instant};

use mcast_sim::Dice;

use crate::audit::{Entry, audit};
use crate::engine::{Engine, Setup, scenarios};
use crate::network::{Network, text, write};
use crate::support::{Running, eventually};

scenarios! {
    the_engine_is_complete_after_kills_at_random_moments
}

/// 100 with `MCAST_BRIDGE_ROUNDS=100`.
fn rounds() -> u64 {
    mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(10)
}

fn seed() -> u64 {
    let time = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    mcast_sim::number("MCAST_SEED").unwrap_or_else(time)
}

/// Writes messages for this time, at about 10,000 per second.
fn write_for(publisher: &mut Running, next: &mut u64, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        write(publisher, *next..*next + 100);
        *next += 100;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the first of these records is a gap for which no killed publisher accounts.
fn is_avoidable(entries: &[Entry]) -> bool {
    let is_gap = |entry: &Entry| entry.field("kind") == Some("gap");
    let is_open = |entry: &Entry| is_gap(entry) && entry.field("end").is_none();
    let [gap, behind @ ..] = entries else { return false };
    // A bridge that was killed has named its end, and nothing behind it is known: with the open gap, it is one gap.
    let is_part_of_open =
        || behind.first().is_some_and(|next| is_open(next) && next.incarnation == gap.incarnation);
    is_gap(gap) && !is_open(gap) && gap.field("cause") != Some("restart") && !is_part_of_open()
}

fn the_engine_is_complete_after_kills_at_random_moments<T: Engine>() {
    let seed = seed();
    eprintln!("MCAST_SEED={seed} repeats the moments");
    let mut dice = Dice::new(seed);
    let network = Network::new([0.01, 0.01]);
    let Some(mut engine) = T::start(&network, Setup::Durable) else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let options = ["--state", state.to_str().unwrap()];
    let start = |index| network.bridge(index, &engine, &["--stay", "--hole-wait", "500ms"]);
    let mut bridges = [start(0), start(1)];
    let (mut publisher, mut next) = (network.publish(&options), 0);
    let mut log = Vec::new();
    let mut note = |text: String| log.push(format!("{:?} {text}", std::time::UNIX_EPOCH.elapsed().unwrap()));
    for _ in 0..rounds() {
        write_for(&mut publisher, &mut next, Duration::from_millis(100 + dice.below(400)));
        match dice.below(5) {
            0 => {
                publisher.child.kill().unwrap();
                let ended = publisher.end();
                note(format!("the publisher is killed after {next} messages: {}", ended.stderr));
                (publisher, next) = (network.publish(&options), 0);
            }
            1 => {
                engine.kill();
                note(format!("the engine is killed after {next} messages"));
                write_for(&mut publisher, &mut next, Duration::from_millis(dice.below(300)));
                engine.restart();
                note(format!("the engine is back after {next} messages"));
            }
            2 => {
                let index = dice.below(2) as usize;
                network.links[index].cut().unwrap();
                note(format!("the link of bridge {index} is cut after {next} messages"));
                write_for(&mut publisher, &mut next, Duration::from_millis(dice.below(300)));
                network.links[index].restore().unwrap();
                note(format!("the link of bridge {index} is back after {next} messages"));
            }
            index => {
                let index = index as usize - 3;
                bridges[index].child.kill().unwrap();
                note(format!("bridge {index} is killed after {next} messages"));
                write_for(&mut publisher, &mut next, Duration::from_millis(dice.below(300)));
                let started = network.bridge(index, &engine, &["--stay", "--hole-wait", "500ms"]);
                note(format!("bridge {index} is back after {next} messages"));
                let ended = std::mem::replace(&mut bridges[index], started).end();
                note(format!(
                    "the killed bridge {index} had printed:\n{}",
                    String::from_utf8_lossy(&ended.stdout)
                ));
            }
        }
    }
    write_for(&mut publisher, &mut next, Duration::from_millis(300));
    eventually("the last message", || engine.last_text() == text(next - 1));
    for bridge in bridges {
        let ended = bridge.signalled(libc::SIGINT);
        note(format!("a bridge ended and had printed:\n{}", String::from_utf8_lossy(&ended.stdout)));
        assert_eq!(ended.status, Some(130), "{ended:?}");
    }
    let entries = engine.entries();
    let stored = audit(&entries, |_, number| Some(text(number)));
    assert!(stored.messages > 0);
    // What a killed publisher could no longer repair or had not sent is lost; all else was retained by it or by a bridge.
    let known: Vec<&Entry> =
        (0..entries.len()).filter(|at| is_avoidable(&entries[*at..])).map(|at| &entries[at]).collect();
    assert!(known.is_empty(), "{known:?}\n{}", log.join("\n"));
}
