//! From the first datagram to the stream it belongs to.

use crate::driver::clock;
use crate::receiver::{Event, ReceiverConfig};
use crate::seal::Keys;
use crate::wire::{Header, Heartbeat, KeyEpoch, Kind, StreamId};

/// What came before the stream that is wanted, and is none of it.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// What the keys do not open.
    pub(super) refused: u64,
    /// The epoch whose key is not here, as it was told, and whether that is still to be handed out.
    missing: Option<(KeyEpoch, bool)>,
    /// The same of an epoch whose key is here, and did not seal what names it.
    wrong: Option<(KeyEpoch, bool)>,
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
        // A stray datagram begins no stream: only its publisher says where it stands.
        if wanted.is_none() && !is_heartbeat(&config.keys, datagram) {
            return None;
        }
        let config = ReceiverConfig { stream: header.stream, seed: clock::seed(), ..config.clone() };
        Some(crate::Receiver::new(config, now))
    }

    /// What there is to tell of them.
    pub(super) fn event(&mut self) -> Option<Event> {
        let report = |of: &mut Option<(KeyEpoch, bool)>| {
            let (epoch, is_new) = of.as_mut()?;
            core::mem::take(is_new).then_some(*epoch)
        };
        report(&mut self.missing)
            .map(Event::KeyMissing)
            .or_else(|| report(&mut self.wrong).map(Event::KeyWrong))
    }

    fn refuse(&mut self, config: &ReceiverConfig, epoch: KeyEpoch) {
        self.refused += 1;
        let reported = if config.keys.has(epoch) { &mut self.wrong } else { &mut self.missing };
        if epoch != KeyEpoch::CLEAR && reported.is_none_or(|(reported, _)| reported != epoch) {
            *reported = Some((epoch, true));
        }
    }
}

/// Whether this is a whole heartbeat, sealed with one of the keys if there are any.
pub(super) fn is_heartbeat(keys: &Keys, datagram: &[u8]) -> bool {
    let Ok((header, head)) = Header::read(datagram) else { return false };
    if header.kind != Kind::Heartbeat {
        return false;
    }
    let mut bytes = datagram.to_vec();
    let end = match (keys.is_empty(), header.epoch) {
        (true, KeyEpoch::CLEAR) => Some(bytes.len()),
        // Nobody here can tell what is in it: its stream is begun, so that the missing key is reported.
        (true, _) => return true,
        (false, _) => keys.open(&mut bytes),
    };
    end.and_then(|end| bytes.get(head..end)).is_some_and(|body| Heartbeat::read(body).is_ok())
}
