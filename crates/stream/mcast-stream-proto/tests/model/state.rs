//! A state is the sequence of actions that leads to it: machines cannot be copied, but the same input leads to the same
//! state again.

use std::hash::{Hash, Hasher};

use crate::group::Group;
use crate::scene::{Action, Scene};

/// A broken promise, and how it was broken.
pub(crate) type Broken = (&'static str, String);

#[derive(Clone, Debug)]
pub(crate) struct State {
    steps: Vec<Action>,
    choices: Vec<Action>,
    broken: Option<Broken>,
    digest: u64,
}

impl State {
    pub(crate) fn of(scene: &Scene, steps: Vec<Action>) -> Self {
        let group = Group::after(scene, &steps);
        let (choices, broken, digest) = (group.choices(), group.broken(), group.digest());
        Self { steps, choices, broken, digest }
    }

    pub(crate) fn steps(&self) -> &[Action] {
        &self.steps
    }

    /// Returns the actions that are possible next.
    pub(crate) fn choices(&self) -> impl Iterator<Item = Action> {
        self.choices.iter().copied()
    }

    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    pub(crate) fn keeps(&self, promise: &str) -> bool {
        self.broken.as_ref().is_none_or(|(broken, _)| *broken != promise)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
