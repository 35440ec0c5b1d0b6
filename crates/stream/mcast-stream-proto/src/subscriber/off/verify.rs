//! Without the feature `signatures`, a signed stream is read like any other: its manifests take their place in the sequence.

use core::iter;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::SubscriberMachine;
use super::config::SubscriberConfig;
use super::naks::Arrival;
use super::window::Meta;
use crate::ClockTime;
use crate::wire::{DatagramView, Manifest, Probe, Sequence};

#[derive(Debug)]
pub(super) struct Verification {
    pub(super) stage: Stage,
}

impl Verification {
    pub(super) const fn new(_: &SubscriberConfig, now: ClockTime) -> Self {
        Self::nothing(now)
    }

    pub(super) const fn nothing(_: ClockTime) -> Self {
        Self { stage: Stage }
    }

    pub(super) const fn begin(&mut self) {}

    pub(super) const fn record_parity(&mut self, _: u64) -> bool {
        true
    }
}

/// Nothing waits for a manifest.
#[derive(Debug)]
pub(super) struct Stage;

impl Stage {
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

impl SubscriberMachine {
    pub(super) const fn is_verifying(&self) -> bool {
        false
    }

    pub(super) fn has_arrived(&self, sequence: Sequence) -> bool {
        self.followed.window.has(sequence)
    }

    pub(super) const fn may_be_genuine(
        &mut self,
        _: ClockTime,
        _: Arrival,
        _: &[u8],
        _: &DatagramView<'_>,
    ) -> bool {
        true
    }

    pub(super) const fn is_authentic(
        &mut self,
        _: ClockTime,
        _: Option<SocketAddr>,
        _: &DatagramView<'_>,
        _: &[u8],
    ) -> bool {
        true
    }

    pub(super) const fn replace_staged(&mut self, _: ClockTime, _: Sequence) {}

    pub(super) const fn verify_covered(&mut self, _: ClockTime, _: Sequence, _: Manifest<'_>) {}

    pub(super) const fn next_early(&mut self) -> Option<(Sequence, Meta)> {
        None
    }

    pub(super) const fn discard_staged_before(&mut self, _: Sequence) {}

    pub(super) const fn distrust_staged(&mut self, _: ClockTime) {}

    pub(super) const fn record_signed_stream(&mut self, _: &DatagramView<'_>) {}

    pub(super) const fn is_expected(&mut self, _: ClockTime, _: &Probe) -> bool {
        true
    }
}
