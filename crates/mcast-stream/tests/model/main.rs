//! Every order in which a few things can happen, tried with the real state machines: how a late joiner goes over from a
//! snapshot to the stream, how a sender starts again, how a group changes its key.
//!
//! What a state is, is said in `state.rs`: the way that led to it, which is gone again to go on from there. Two ways lead to
//! the same state when every machine was told the same at the same times. `MCAST_MODEL_DEEPER=2` looks at ways
//! that are longer by two.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
#[path = "../simulation/cipher.rs"]
mod cipher;
#[path = "../simulation/dice.rs"]
#[allow(dead_code, reason = "the simulation rolls them more ways")]
mod dice;
mod group;
mod journal;
mod network;
mod scene;
mod state;
mod stranger;

use mcast_stream::receiver::{OnLoss, Policy, Start};
use scene::{Fault, Joiner, Scene};
use stateright::{Checker, Model};

/// Looks at everything within the scene's bounds; tells how many states there were.
fn look_through(scene: Scene) -> impl Checker<Scene> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    scene.checker().threads(threads).spawn_bfs().join()
}

fn must_hold(scene: Scene, least_states: usize) {
    let checker = look_through(scene);
    if let Some((name, path)) = checker.discoveries().into_iter().next() {
        let state = path.last_state();
        panic!("not so: {name}: {:?}\nafter {:#?}", state.broken(), state.steps());
    }
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    eprintln!("{states} states, {} steps", checker.max_depth());
    assert!(states >= least_states, "only {states} states: the bounds leave nothing to see");
}

/// What the fault must be noticed by.
fn must_break(scene: Scene, promise: &'static str) {
    let checker = look_through(scene);
    assert!(checker.discovery(promise).is_some(), "nobody noticed; {} states", checker.unique_state_count());
}

fn reliable(start: Start) -> Joiner {
    Joiner { start, policy: Policy::Reliable(OnLoss::Continue), late: false }
}

fn with_snapshot() -> Joiner {
    Joiner { start: Start::Snapshot, policy: Policy::Reliable(OnLoss::Snapshot), late: true }
}

fn handing_over() -> Scene {
    Scene { joiners: vec![with_snapshot()], bursts: vec![2, 1, 1], losses: 1, copies: 1, ..Scene::quiet(9) }
}

/// More comes between the wish for a snapshot and the snapshot than the sender keeps.
fn overtaken() -> Scene {
    Scene { bursts: vec![1, 20, 1], losses: 0, copies: 0, ..handing_over() }
}

fn starting_again() -> Scene {
    Scene {
        joiners: vec![Joiner { late: true, ..reliable(Start::Oldest) }],
        bursts: vec![1, 1],
        restarts: 1,
        losses: 1,
        copies: 1,
        delays: 1,
        swaps: 1,
        ..Scene::quiet(7)
    }
}

fn changing_keys() -> Scene {
    Scene {
        joiners: vec![reliable(Start::Oldest)],
        bursts: vec![1, 1],
        sealed: true,
        rotates: true,
        strangers: 1,
        losses: 1,
        copies: 1,
        ..Scene::quiet(7)
    }
}

#[test]
fn a_snapshot_and_what_follows_make_the_whole() {
    must_hold(handing_over(), 1_000);
}

#[test]
fn a_snapshot_that_is_overtaken_is_asked_for_anew() {
    must_hold(overtaken(), 1_000);
}

#[test]
fn who_joins_by_snapshot_has_what_who_was_there_has() {
    let joiners = vec![reliable(Start::Oldest), with_snapshot()];
    must_hold(Scene { joiners, bursts: vec![1, 1], losses: 1, ..Scene::quiet(8) }, 1_000);
}

#[test]
fn a_sender_that_starts_again_is_followed() {
    must_hold(starting_again(), 1_000);
}

#[test]
fn a_snapshot_of_a_former_life_is_of_no_use() {
    must_hold(Scene { restarts: 1, bursts: vec![1, 1], losses: 0, ..handing_over() }, 1_000);
}

/// It remembers nothing, and its clock was set back.
#[test]
fn a_life_that_seems_to_be_a_former_one_is_mixed_with_nothing() {
    must_hold(Scene { fault: Some(Fault::ClockSetBack), ..starting_again() }, 1_000);
}

#[test]
fn a_key_changes_without_a_gap_and_shuts_out_who_has_the_old_one() {
    must_hold(changing_keys(), 1_000);
}

/// What the model is worth: each of these it must notice.
mod faults {
    use super::*;

    #[test]
    fn a_snapshot_that_has_less_than_it_says() {
        let scene = Scene { fault: Some(Fault::SnapshotLacksTheLast), ..handing_over() };
        must_break(scene, scene::WHOLE);
    }

    #[test]
    fn a_sender_that_calls_its_new_life_like_its_former() {
        // Its first message is taken for a copy of the former life's; its second one is handed out behind that.
        let scene = Scene {
            fault: Some(Fault::SameLife),
            losses: 0,
            copies: 0,
            swaps: 0,
            delays: 0,
            ..starting_again()
        };
        must_break(Scene { bursts: vec![1, 2], depth: 10, ..scene }, scene::ORDER);
    }

    #[test]
    fn a_key_that_is_used_before_receivers_have_it_and_never_comes() {
        must_break(Scene { fault: Some(Fault::KeyNeverGiven), ..changing_keys() }, scene::PROGRESS);
    }

    #[test]
    fn a_member_that_was_shut_out_and_whose_key_is_still_taken() {
        must_break(Scene { fault: Some(Fault::OldKeyStays), ..changing_keys() }, scene::EPOCH);
    }
}
