//! Without the feature `history`, messages come from the publisher that sends them, and are nowhere else.

use crate::wire::{
    DatagramView, DatagramWriter, Heartbeat, Incarnation, MessageNumber, Sequence, WriteError,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Provenance;

impl Provenance {
    pub(crate) const NONE: Self = Self;

    pub(crate) const fn of(_: &DatagramView<'_>, _: &Heartbeat) -> Self {
        Self
    }

    pub(crate) const fn update(&mut self, _: &DatagramView<'_>) {}

    pub(crate) const fn is_same_content(&self, _: &Self) -> bool {
        false
    }

    pub(crate) const fn is_ahead_of(&self, _: &Self) -> bool {
        false
    }

    pub(crate) const fn content_incarnation(&self) -> Option<Incarnation> {
        None
    }

    pub(crate) const fn first_needed(&self, _: MessageNumber) -> Option<Sequence> {
        None
    }

    pub(crate) const fn extension_length(&self) -> usize {
        0
    }

    pub(crate) const fn write(&self, _: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        Ok(())
    }
}
