//! Without the feature `signatures`, a signed stream is read like any other: its manifests take their place in the sequence.

use core::iter;
use core::ops::Range;
use core::time::Duration;

use super::Sequencer;
use crate::ClockTime;
use crate::subscriber::SubscriberMachine;
use crate::subscriber::arrived::Arrived;
use crate::subscriber::config::SubscriberConfig;
use crate::subscriber::context::Context;
use crate::subscriber::window::Meta;
use crate::wire::{Sequence, WireError};

#[derive(Debug)]
pub(in crate::subscriber) struct Signatures;

impl Signatures {
    pub(in crate::subscriber) const fn new(_: ClockTime) -> Self {
        Self
    }

    pub(in crate::subscriber) const fn admit(&mut self, _: &mut Context, _: &Arrived<'_>, _: &[u8]) -> bool {
        true
    }
}

#[derive(Debug)]
pub(in crate::subscriber) struct SignedDigests;

impl SignedDigests {
    pub(in crate::subscriber) const fn read(_: &[u8]) -> Result<Self, WireError> {
        Ok(Self)
    }
}

/// Nothing waits for a manifest.
#[derive(Debug)]
pub(in crate::subscriber) struct Stage;

impl Stage {
    pub(in crate::subscriber) const fn new(_: &SubscriberConfig, _: ClockTime) -> Self {
        Self
    }

    pub(in crate::subscriber) const fn begin(&mut self) {}

    pub(in crate::subscriber) const fn len(&self) -> usize {
        0
    }

    pub(in crate::subscriber) const fn has(&self, _: Sequence) -> bool {
        false
    }

    pub(in crate::subscriber) const fn first(&self) -> Option<Sequence> {
        None
    }

    pub(in crate::subscriber) const fn end(&self) -> Sequence {
        Sequence(0)
    }

    pub(in crate::subscriber) const fn since(&self, _: Sequence) -> Option<ClockTime> {
        None
    }

    pub(in crate::subscriber) const fn timeout(&self, _: Sequence) -> Duration {
        Duration::ZERO
    }

    pub(in crate::subscriber) const fn may_be_covered(&self, _: Sequence, _: Sequence) -> bool {
        false
    }

    pub(in crate::subscriber) fn missing(
        &self,
        range: Range<Sequence>,
    ) -> impl Iterator<Item = Range<Sequence>> {
        iter::once(range).filter(|range| range.start < range.end)
    }
}

impl Sequencer {
    pub(in crate::subscriber) fn has_arrived(&self, sequence: Sequence) -> bool {
        self.window.has(sequence)
    }

    pub(in crate::subscriber) const fn replace_staged(&mut self, _: &mut Context, _: Sequence) {}

    pub(in crate::subscriber) const fn verify_covered(
        &mut self,
        _: &mut Context,
        _: Sequence,
        _: SignedDigests,
    ) {
    }

    pub(in crate::subscriber) const fn next_early(&mut self, _: bool) -> Option<(Sequence, Meta)> {
        None
    }

    pub(in crate::subscriber) const fn discard_staged_before(&mut self, _: Sequence) {}

    pub(in crate::subscriber) const fn distrust_staged(&mut self, _: &Context) {}
}

impl SubscriberMachine {
    pub(in crate::subscriber) const fn may_be_genuine(&mut self, _: &Arrived<'_>) -> bool {
        true
    }
}
