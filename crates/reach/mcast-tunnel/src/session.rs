//! The keys of one handshake.

use std::fmt;

use mcast_stream_proto::seal::{Cipher, Keys, Purpose, TunnelPart};
use mcast_stream_proto::wire::KeyEpoch;

use crate::counts::DropReason;
use crate::window::SequenceWindow;
use crate::wire;

/// Datagrams that may overtake each other.
const WINDOW: usize = 4_096;

/// The cipher of a block of counters.
type BlockCipher = (u64, Box<dyn Cipher>);

/// Seals and opens the datagrams of data of one handshake.
pub(crate) struct Session {
    /// Those of the dialer and of the listener. Each end sends to that of the other one.
    nonces: (u64, u64),
    epoch: KeyEpoch,
    is_dialer: bool,
    keys: Keys,
    sent: u64,
    received: SequenceWindow,
    sealing: Option<BlockCipher>,
    opening: Option<BlockCipher>,
}

impl Session {
    pub(crate) fn new(keys: &Keys, epoch: KeyEpoch, nonces: (u64, u64), is_dialer: bool) -> Self {
        Self {
            nonces,
            epoch,
            is_dialer,
            keys: keys.clone(),
            sent: 0,
            received: SequenceWindow::new(WINDOW),
            sealing: None,
            opening: None,
        }
    }

    pub(crate) const fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    pub(crate) const fn nonces(&self) -> (u64, u64) {
        self.nonces
    }

    /// Returns the number that the other end puts into datagrams for this session.
    pub(crate) const fn id(&self) -> u64 {
        if self.is_dialer { self.nonces.0 } else { self.nonces.1 }
    }

    /// Seals frames as a datagram.
    pub(crate) fn seal(&mut self, frames: &[u8]) -> Option<Vec<u8>> {
        let counter = self.sent.checked_add(1)?;
        let part = if self.is_dialer { TunnelPart::FromDialer } else { TunnelPart::FromListener };
        let block = counter / Purpose::BLOCK;
        if self.sealing.as_ref().is_none_or(|(known, _)| *known != block) {
            self.sealing = Some((block, wire::cipher(&self.keys, self.epoch, self.nonces, part, block)?));
        }
        let (_, cipher) = self.sealing.as_ref()?;
        let to = if self.is_dialer { self.nonces.1 } else { self.nonces.0 };
        let datagram = wire::seal_data(&**cipher, to, counter, frames)?;
        self.sent = counter;
        Some(datagram)
    }

    /// Opens a datagram in place. Returns its frames, and whether it is newer than all before.
    pub(crate) fn open<'a>(
        &mut self,
        counter: u64,
        bytes: &'a mut [u8],
    ) -> Result<(&'a [u8], bool), DropReason> {
        if !self.received.is_new(counter) {
            return Err(DropReason::Replayed);
        }
        let part = if self.is_dialer { TunnelPart::FromListener } else { TunnelPart::FromDialer };
        let block = counter / Purpose::BLOCK;
        let derived = match &self.opening {
            Some((known, _)) if *known == block => None,
            _ => {
                let cipher = wire::cipher(&self.keys, self.epoch, self.nonces, part, block);
                Some((block, cipher.ok_or(DropReason::Unsealed)?))
            }
        };
        let (_, cipher) = derived.as_ref().or(self.opening.as_ref()).ok_or(DropReason::Unsealed)?;
        let frames = wire::open_data(&**cipher, counter, bytes).ok_or(DropReason::Unsealed)?;
        self.opening = derived.or_else(|| self.opening.take());
        Ok((frames, self.received.record(counter)))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
