//! Without the feature `signatures`, nothing is signed.

use super::config::PublisherConfig;
use super::ring::Ring;
use super::sealer::Sealer;
use super::{Context, PublisherMachine};
use crate::ClockTime;
use crate::wire::{DatagramWriter, Kind, MessageNumber, Sequence, SignerId, WriteError};

pub(super) const CONFIRMED_ENTRIES: usize = usize::MAX;

#[derive(Debug)]
pub(super) enum Signing {}

#[derive(Clone, Copy, Debug)]
pub(super) struct Signed {
    pub(super) verified_through: Option<Sequence>,
}

impl Signing {
    pub(super) const fn of(_: &PublisherConfig, _: ClockTime) -> Option<Self> {
        None
    }

    pub(super) const fn is_complete(&self) -> bool {
        match *self {}
    }

    pub(super) const fn due(&self) -> ClockTime {
        match *self {}
    }

    pub(super) const fn add(&mut self, _: ClockTime, _: &[u8]) {
        match *self {}
    }

    pub(super) const fn schedule_soon(&mut self, _: ClockTime) {
        match *self {}
    }

    pub(super) const fn write_manifest(
        &mut self,
        _: ClockTime,
        _: &mut Ring,
        _: &mut Sealer,
        _: &Context,
        _: MessageNumber,
    ) -> bool {
        match *self {}
    }

    pub(super) const fn sign(&mut self, _: &mut [u8]) -> bool {
        match *self {}
    }

    pub(super) const fn may_reply(&mut self) -> bool {
        match *self {}
    }

    pub(super) const fn signer(&self) -> SignerId {
        match *self {}
    }
}

pub(super) const fn write_room(_: SignerId, _: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
    Ok(())
}

pub(super) const fn is_signed(_: Kind) -> bool {
    false
}

impl PublisherMachine {
    pub(super) const fn signed(&self) -> Signed {
        Signed { verified_through: None }
    }

    pub(super) const fn record_signed(&mut self, _: Sequence, _: u64) {}

    pub(super) const fn record_recalled(&mut self, _: Sequence) {}

    pub(super) const fn with_manifests(&self, count: u64) -> u64 {
        count
    }

    pub(super) const fn signature_length(&self) -> usize {
        0
    }

    pub(super) const fn refill_signatures(&mut self, _: ClockTime) {}
}
