//! Systems without network namespaces show only the demonstration on the loopback interface.

use std::convert::Infallible;

use super::Refusal;
use super::narrator::Narrator;
use crate::console::Console;
use crate::exit::Outcome;

pub(super) const CAST: &[&str] = &[];

/// Never exists.
pub(super) struct Stage(Infallible);

pub(super) fn open() -> anyhow::Result<Result<Stage, Refusal>> {
    Ok(Err(Refusal {
        why: "they need Linux network namespaces".to_owned(),
        remedy: "run it on Linux, in a virtual machine or in a privileged container".to_owned(),
    }))
}

impl Stage {
    pub(super) fn play(self, _narrator: Narrator, _console: &Console) -> anyhow::Result<Outcome> {
        match self.0 {}
    }
}
