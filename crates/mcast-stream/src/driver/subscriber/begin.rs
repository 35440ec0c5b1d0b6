//! From the first datagram to the stream it belongs to.

use crate::driver::clock;
use crate::receiver::{Event, ReceiverConfig};
use crate::wire::{Header, KeyEpoch, StreamId};

/// What came before the stream that is wanted, and is none of it.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// What the keys do not open.
    pub(super) refused: u64,
    /// The epoch whose key is not here, as it was told, and whether that is still to be handed out.
    missing: Option<(KeyEpoch, bool)>,
}

impl Strangers {
    /// A state machine for the stream that a datagram belongs to, if it is one that is wanted.
    ///
    /// Who has keys learns nothing from what they do not open: anybody can write a header.
    pub(super) fn begin(
        &mut self,
        wanted: Option<StreamId>,
        config: &ReceiverConfig,
        datagram: &[u8],
        now: u64,
    ) -> Option<crate::Receiver> {
        let (header, _) = Header::read(datagram).ok()?;
        if header.kind.is_from_receivers() || wanted.is_some_and(|wanted| wanted != header.stream) {
            return None;
        }
        if !config.keys.is_empty() && config.keys.open(&mut datagram.to_vec()).is_none() {
            self.refuse(config, header.epoch);
            return None;
        }
        let config = ReceiverConfig { stream: header.stream, seed: clock::seed(), ..config.clone() };
        Some(crate::Receiver::new(config, now))
    }

    /// What there is to tell of them.
    pub(super) fn event(&mut self) -> Option<Event> {
        let (epoch, is_new) = self.missing.as_mut()?;
        core::mem::take(is_new).then_some(Event::KeyMissing(*epoch))
    }

    fn refuse(&mut self, config: &ReceiverConfig, epoch: KeyEpoch) {
        self.refused += 1;
        let is_told = self.missing.is_some_and(|(told, _)| told == epoch);
        if epoch != KeyEpoch::CLEAR && !is_told && !config.keys.has(epoch) {
            self.missing = Some((epoch, true));
        }
    }
}
