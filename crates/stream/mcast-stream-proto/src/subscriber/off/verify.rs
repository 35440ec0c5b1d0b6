//! Without the feature `signatures`, a signed stream is read like any other: its manifests take their place in the sequence.

use core::iter;
use core::ops::Range;
use core::time::Duration;

use super::SubscriberMachine;
use super::config::SubscriberConfig;
use super::context::Context;
use super::filter::Arrived;
use super::sequencer::Sequencer;
use super::window::Meta;
use crate::ClockTime;
use crate::wire::{Sequence, WireError};

#[derive(Debug)]
pub(super) struct Signatures;

impl Signatures {
    pub(super) const fn new(_: ClockTime) -> Self {
        Self
    }

    pub(super) const fn admit(&mut self, _: &mut Context, _: &Arrived<'_>, _: &[u8]) -> bool {
        true
    }
}

#[derive(Debug)]
pub(super) struct SignedDigests;

impl SignedDigests {
    pub(super) const fn read(_: &[u8]) -> Result<Self, WireError> {
        Ok(Self)
    }
}

/// Nothing waits for a manifest.
#[derive(Debug)]
pub(super) struct Stage;

impl Stage {
    pub(super) const fn new(_: &SubscriberConfig, _: ClockTime) -> Self {
        Self
    }

    pub(super) const fn begin(&mut self) {}

    pub(super) const fn len(&self) -> usize {
        0
    }

    pub(super) const fn has(&self, _: Sequence) -> bool {
        false
    }

    pub(super) const fn first(&self) -> Option<Sequence> {
        None
    }

    pub(super) const fn end(&self) -> Sequence {
        Sequence(0)
    }

    pub(super) const fn since(&self, _: Sequence) -> Option<ClockTime> {
        None
    }

    pub(super) const fn timeout(&self, _: Sequence) -> Duration {
        Duration::ZERO
    }

    pub(super) const fn may_be_covered(&self, _: Sequence, _: Sequence) -> bool {
        false
    }

    pub(super) fn missing(&self, range: Range<Sequence>) -> impl Iterator<Item = Range<Sequence>> {
        iter::once(range).filter(|range| range.start < range.end)
    }
}

impl Sequencer {
    pub(super) fn has_arrived(&self, sequence: Sequence) -> bool {
        self.window.has(sequence)
    }

    pub(super) const fn replace_staged(&mut self, _: &mut Context, _: Sequence) {}

    pub(super) const fn verify_covered(&mut self, _: &mut Context, _: Sequence, _: SignedDigests) {}

    pub(super) const fn next_early(&mut self, _: bool) -> Option<(Sequence, Meta)> {
        None
    }

    pub(super) const fn discard_staged_before(&mut self, _: Sequence) {}

    pub(super) const fn distrust_staged(&mut self, _: &Context) {}
}

impl SubscriberMachine {
    pub(super) const fn may_be_genuine(&mut self, _: &Arrived<'_>) -> bool {
        true
    }
}
