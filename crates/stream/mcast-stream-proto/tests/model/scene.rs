//! The actions that can happen, and their bounds.

use mcast_stream_proto::subscriber::{Policy, Start};
use stateright::{Model, Property};

use crate::group::Group;
use crate::state::State;

pub(crate) const ORDER: &str = "no message is delivered twice, out of order, or from another incarnation";
pub(crate) const WHOLE: &str = "a late joiner has the same as from the start";
pub(crate) const REPORTED: &str = "every loss is reported";
pub(crate) const EPOCH: &str = "nothing is accepted that a stranger or an excluded member sealed";
pub(crate) const PROGRESS: &str = "every subscriber can still reach the end";

/// The bounds of the state space.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) joiners: Vec<Joiner>,
    /// Messages published at once, each in a datagram of its own.
    pub(crate) bursts: Vec<u64>,
    /// How many flights are lost, wholly or in part; are duplicated; overtake others on the same way; and how often
    /// timers expire while datagrams are in flight.
    pub(crate) losses: u8,
    pub(crate) copies: u8,
    pub(crate) swaps: u8,
    pub(crate) delays: u8,
    pub(crate) restarts: u8,
    pub(crate) sealed: bool,
    pub(crate) rotates: bool,
    pub(crate) strangers: u8,
    pub(crate) fault: Option<Fault>,
    /// The number of actions.
    pub(crate) depth: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Joiner {
    pub(crate) start: Start,
    pub(crate) policy: Policy,
    /// It joins at any time, or else at the start.
    pub(crate) late: bool,
}

/// An error outside of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A publisher without a state file restarts, and its clock was set back.
    ClockSetBack,
    /// A restarted publisher reuses its incarnation.
    SameIncarnation,
    SnapshotLacksTheLast,
    KeyNeverGiven,
    OldKeyStays,
}

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Publish,
    Join(usize),
    /// The publisher makes a snapshot for this subscriber.
    Capture(usize),
    /// The subscriber gets the snapshot.
    GiveSnapshot(usize),
    Restart,
    /// A subscriber gets the new key; the publisher begins to use it; the subscriber removes the old one.
    GiveKey(usize),
    UseKey,
    DropKey(usize),
    Deliver(usize),
    /// A flight is delivered now and again later.
    DeliverCopy(usize),
    Lose(usize),
    LoseFirst(usize),
    LoseLast(usize),
    /// This subscriber gets the datagrams of a stranger.
    Stranger(usize),
    /// Time passes until the next timer.
    Wait,
}

impl Scene {
    /// Returns a scene without losses and restarts, with `depth` actions, and more if `MCAST_MODEL_DEEPER` is set.
    pub(crate) fn quiet(depth: usize) -> Self {
        let deeper = std::env::var("MCAST_MODEL_DEEPER").ok().and_then(|deeper| deeper.parse().ok());
        Self {
            joiners: Vec::new(),
            bursts: vec![1],
            losses: 0,
            copies: 0,
            swaps: 0,
            delays: 0,
            restarts: 0,
            sealed: false,
            rotates: false,
            strangers: 0,
            fault: None,
            depth: depth + deeper.unwrap_or(0),
        }
    }
}

impl Model for Scene {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::of(self, Vec::new())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.choices());
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut steps = state.steps().to_vec();
        steps.push(action);
        Some(State::of(self, steps))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ORDER, |_, state: &State| state.keeps(ORDER)),
            Property::always(WHOLE, |_, state: &State| state.keeps(WHOLE)),
            Property::always(REPORTED, |_, state: &State| state.keeps(REPORTED)),
            Property::always(EPOCH, |_, state: &State| state.keeps(EPOCH)),
            Property::always(PROGRESS, |scene: &Self, state: &State| {
                Group::after(scene, state.steps()).can_reach_the_end()
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.steps().len() <= self.depth
    }
}
