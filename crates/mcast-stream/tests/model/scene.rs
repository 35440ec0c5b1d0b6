//! What can happen, and how often.

use mcast_stream::receiver::{Policy, Start};
use stateright::{Model, Property};

use crate::group::Group;
use crate::state::State;

pub(crate) const ORDER: &str = "nothing comes twice, out of order, or from another life";
pub(crate) const WHOLE: &str = "who joined late has what it would have had from the start";
pub(crate) const TOLD: &str = "nothing is lost that is not told";
pub(crate) const EPOCH: &str = "nothing is taken that a stranger sealed, or one who was shut out";
pub(crate) const PROGRESS: &str = "from here, everybody gets to the end";

/// The bounds within which everything is tried.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) joiners: Vec<Joiner>,
    /// Messages that are published at once, a datagram each.
    pub(crate) bursts: Vec<u64>,
    /// Flights of datagrams that are lost, wholly or in part; that come twice; that overtake others on the same way; and
    /// how often timers run out while something is on its way.
    pub(crate) losses: u8,
    pub(crate) copies: u8,
    pub(crate) swaps: u8,
    pub(crate) delays: u8,
    pub(crate) restarts: u8,
    pub(crate) sealed: bool,
    pub(crate) rotates: bool,
    pub(crate) strangers: u8,
    pub(crate) fault: Option<Fault>,
    /// How many things happen, one after another.
    pub(crate) depth: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Joiner {
    pub(crate) start: Start,
    pub(crate) policy: Policy,
    /// It comes at any time; else it is there from the start.
    pub(crate) late: bool,
}

/// What is done wrong outside the protocol, or by who must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A sender without memory starts again, and its clock was set back.
    ClockSetBack,
    /// It takes its former life's number.
    SameLife,
    SnapshotLacksTheLast,
    KeyNeverGiven,
    OldKeyStays,
}

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Publish,
    Join(usize),
    /// The publisher takes a snapshot for this receiver.
    Capture(usize),
    /// The receiver gets it.
    Hand(usize),
    Restart,
    /// A receiver is told the new key; the sender begins to use it; the receiver forgets the old one.
    GiveKey(usize),
    UseKey,
    DropKey(usize),
    Deliver(usize),
    /// The same, and it comes once more later.
    DeliverCopy(usize),
    Lose(usize),
    LoseFirst(usize),
    LoseLast(usize),
    /// This receiver hears somebody who must not be believed.
    Stranger(usize),
    /// Until somebody has something to do.
    Wait,
}

impl Scene {
    /// Nothing is lost, nobody starts again; so many things happen, or as many more as asked for.
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
            Property::always(TOLD, |_, state: &State| state.keeps(TOLD)),
            Property::always(EPOCH, |_, state: &State| state.keeps(EPOCH)),
            Property::always(PROGRESS, |scene: &Self, state: &State| {
                Group::after(scene, state.steps()).gets_to_the_end()
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.steps().len() <= self.depth
    }
}
