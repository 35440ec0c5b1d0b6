//! A model checker runs the real state machines in every order of a few actions: a late joiner that moves from a
//! snapshot to the stream, a publisher that restarts, a group that changes its key.
//!
//! A state is the sequence of actions that leads to it, which is replayed to continue from there (see `state.rs`). Two
//! sequences lead to the same state if every machine received the same input at the same times.
//! `MCAST_MODEL_DEEPER=2` allows two more actions.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
#[path = "../simulation/cipher.rs"]
mod cipher;
mod group;
mod journal;
mod network;
mod scene;
mod state;
mod stranger;

use mcast_stream_proto::subscriber::{OnLoss, Policy, Start};
use scene::{Fault, Joiner, Scene};
use stateright::{Checker, Model};

/// Checks all states within the bounds of the scene.
fn explore(scene: Scene) -> impl Checker<Scene> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    scene.checker().threads(threads).spawn_bfs().join()
}

fn must_hold(scene: Scene, least_states: usize) {
    let checker = explore(scene);
    if let Some((name, path)) = checker.discoveries().into_iter().next() {
        let state = path.last_state();
        panic!("broken: {name}: {:?}\nafter {:#?}", state.broken(), state.steps());
    }
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    eprintln!("{states} states, {} steps", checker.max_depth());
    assert!(states >= least_states, "only {states} states: the bounds are too narrow");
}

/// Checks that the fault breaks this promise.
fn must_break(scene: Scene, promise: &'static str) {
    let checker = explore(scene);
    assert!(
        checker.discovery(promise).is_some(),
        "the fault was not detected in {} states",
        checker.unique_state_count()
    );
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

/// More is published between the request for a snapshot and the snapshot than the retransmission buffer holds.
fn overtaken() -> Scene {
    Scene { bursts: vec![1, 20, 1], losses: 0, copies: 0, ..handing_over() }
}

fn restarting() -> Scene {
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
fn a_snapshot_and_the_stream_after_it_are_complete() {
    must_hold(handing_over(), 1_000);
}

#[test]
fn an_overtaken_snapshot_is_requested_again() {
    must_hold(overtaken(), 1_000);
}

#[test]
fn a_subscriber_that_joins_by_snapshot_has_the_same_as_one_from_the_start() {
    let joiners = vec![reliable(Start::Oldest), with_snapshot()];
    must_hold(Scene { joiners, bursts: vec![1, 1], losses: 1, ..Scene::quiet(8) }, 1_000);
}

#[test]
fn a_restarted_publisher_is_followed() {
    must_hold(restarting(), 1_000);
}

#[test]
fn a_snapshot_of_a_former_incarnation_is_not_used() {
    must_hold(Scene { restarts: 1, bursts: vec![1, 1], losses: 0, ..handing_over() }, 1_000);
}

/// The publisher has no state file, and its clock was set back.
#[test]
fn an_incarnation_with_a_lower_number_is_not_mixed_with_the_present_one() {
    must_hold(Scene { fault: Some(Fault::ClockSetBack), ..restarting() }, 1_000);
}

#[test]
fn a_key_change_leaves_no_gap_and_excludes_the_old_key() {
    must_hold(changing_keys(), 1_000);
}

/// Faults that the model must detect.
mod faults {
    use super::*;

    #[test]
    fn a_snapshot_that_lacks_its_last_message() {
        let scene = Scene { fault: Some(Fault::SnapshotLacksTheLast), ..handing_over() };
        must_break(scene, scene::WHOLE);
    }

    #[test]
    fn a_publisher_that_reuses_its_incarnation() {
        // Its first message counts as a copy of one of the former incarnation; its second one is delivered after that.
        let scene = Scene {
            fault: Some(Fault::SameIncarnation),
            losses: 0,
            copies: 0,
            swaps: 0,
            delays: 0,
            ..restarting()
        };
        must_break(Scene { bursts: vec![1, 2], depth: 10, ..scene }, scene::ORDER);
    }

    #[test]
    fn a_key_that_subscribers_never_get() {
        must_break(Scene { fault: Some(Fault::KeyNeverGiven), ..changing_keys() }, scene::PROGRESS);
    }

    #[test]
    fn an_excluded_member_whose_key_is_still_accepted() {
        must_break(Scene { fault: Some(Fault::OldKeyStays), ..changing_keys() }, scene::EPOCH);
    }
}
