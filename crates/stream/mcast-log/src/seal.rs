//! Sealing the records of a segment.

use std::fmt;

use mcast_stream_proto::seal::{Cipher, Keys, Purpose, Sealed};
use mcast_stream_proto::wire::TAG_LENGTH;

use crate::format::SegmentHeader;

/// Seals and opens the records of one segment. Its keys are derived from the stream's secret and the salt of the
/// segment, and a nonce from the record's offset. A segment has one writer, which writes each offset once: after a
/// failed write, or a restart, the next record is in a new segment, with another salt. So no nonce is used twice.
pub(crate) struct SegmentSeal {
    keys: Keys,
    purpose: Purpose,
    cipher: Box<dyn Cipher>,
}

impl SegmentSeal {
    /// Returns the seal of a segment; `None` if its secret is not among the keys.
    pub(crate) fn new(keys: &Keys, header: &SegmentHeader) -> Option<Self> {
        let SegmentHeader { stream, incarnation, epoch, salt, .. } = *header;
        let purpose = Purpose { stream, incarnation, epoch, sealed: Sealed::Log(salt), block: 0 };
        Some(Self { keys: keys.clone(), purpose, cipher: keys.cipher(&purpose)? })
    }

    pub(crate) fn seal(&mut self, offset: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        self.cipher_at(offset)?.seal(offset, head, text)
    }

    pub(crate) fn open(&mut self, offset: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool {
        self.cipher_at(offset).is_some_and(|cipher| cipher.open(offset, head, text_and_tag))
    }

    /// Returns the cipher of the block that this offset is in.
    fn cipher_at(&mut self, offset: u64) -> Option<&dyn Cipher> {
        let block = offset / Purpose::BLOCK;
        if block != self.purpose.block {
            let purpose = Purpose { block, ..self.purpose };
            self.cipher = self.keys.cipher(&purpose)?;
            self.purpose = purpose;
        }
        Some(&*self.cipher)
    }
}

impl fmt::Debug for SegmentSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentSeal").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}
