//! Without the feature `history`, a publisher begins its stream, and no log or server keeps it.

use core::time::Duration;

use super::PublisherMachine;
use crate::ClockTime;
use crate::provenance::Provenance;
use crate::wire::Sequence;

#[derive(Clone, Copy, Debug)]
pub(super) struct Continuation;

impl Continuation {
    pub(super) const NONE: Self = Self;

    pub(super) const fn kept(&self) -> Option<Sequence> {
        None
    }

    pub(super) const fn awaits_claims(&self) -> bool {
        false
    }

    pub(super) const fn expire(&mut self, _: ClockTime) {}

    pub(super) const fn extend_deadlines(&mut self, _: Duration) {}
}

impl PublisherMachine {
    pub(super) const fn provenance_to_show(&self, _: usize) -> Provenance {
        Provenance::NONE
    }
}
