//! The first layer: what the group did not seal, or the publisher did not sign, gets no further.
//!
//! *Input:* datagrams as they arrive. *Output:* their bodies, decrypted, without a copy if they were sent in clear.
//!
//! *Promises:*
//! - Cheap checks come first, then the seal, then the signature. Nothing of a datagram is stored before it has passed all.
//! - With keys, nothing is accepted in clear text: otherwise a forger could omit the seal.
//! - A secret that is missing or does not fit is reported once for each epoch, a reason of distrust once.
//!
//! Signatures are the module `verify`: here it checks control datagrams and manifests. Data is not signed itself; it waits in
//! front of the sequencer's window for the manifest that covers it.

use alloc::vec::Vec;

use super::arrived::{Arrived, Body, Lent};
use super::context::Context;
use super::event::{BodyLocation, SubscriberEvent};
use super::sequencer::verify::Signatures;
use crate::ClockTime;
use crate::seal::{self, Ciphers, Purpose, Sealed};
use crate::wire::{DatagramView, KeyEpoch, Kind, WireError};

#[derive(Debug)]
pub(super) struct Filter {
    ciphers: Ciphers,
    /// The last sealed datagram, decrypted.
    pub(super) decrypted: Vec<u8>,
    pub(super) signatures: Signatures,
    /// The epochs of keys that were reported as missing, and as different.
    missing_key: KeyEpoch,
    wrong_key: KeyEpoch,
    /// Whether a recording that somebody replays was reported, and a signed stream that nothing verifies.
    pub(super) is_stale_reported: bool,
    pub(super) is_signed_reported: bool,
}

impl Filter {
    pub(super) fn new(now: ClockTime) -> Self {
        Self {
            ciphers: Ciphers::default(),
            decrypted: Vec::new(),
            signatures: Signatures::new(now),
            missing_key: KeyEpoch::CLEAR,
            wrong_key: KeyEpoch::CLEAR,
            is_stale_reported: false,
            is_signed_reported: false,
        }
    }

    /// Forgets the ciphers, because the keys have changed.
    pub(super) fn forget_keys(&mut self) {
        self.ciphers.clear();
        (self.missing_key, self.wrong_key) = (KeyEpoch::CLEAR, KeyEpoch::CLEAR);
    }

    /// Returns the parts of a datagram of this stream; `None` if it is none, or is not sealed although it should be.
    #[inline]
    pub(super) fn admit<'a>(context: &mut Context, datagram: &'a [u8]) -> Option<DatagramView<'a>> {
        let statistics = &mut context.statistics;
        match DatagramView::parse(datagram) {
            Ok(view) if view.header.stream != context.config.stream => statistics.foreign += 1,
            Ok(view) if view.header.epoch == KeyEpoch::CLEAR && !context.config.keys.is_empty() => {
                statistics.refused += 1;
            }
            Ok(view) => return Some(view),
            Err(WireError::Foreign) => statistics.foreign += 1,
            // A later version of the protocol may have further kinds.
            Err(WireError::UnknownKind(_)) => {}
            Err(_) => statistics.malformed += 1,
        }
        None
    }

    /// Returns where the body is, decrypted if it was sealed; `None` if the seal does not fit.
    pub(super) fn open(&mut self, context: &mut Context, arrived: &Arrived<'_>) -> Option<Body> {
        let Arrived { datagram, view, .. } = arrived;
        let (header, head) = (&view.header, view.head.len());
        if header.epoch == KeyEpoch::CLEAR {
            return Some((BodyLocation::Datagram, head..datagram.len()));
        }
        let salt = view.salt();
        let sealed = match view.subscriber() {
            Some(id) if header.kind == Kind::Echo => Sealed::Subscriber(id),
            _ if context.publisher.incarnations.is_namesake(header.incarnation, salt) => {
                // Sealed by the group, but by another incarnation with the same number.
                context.statistics.refused += 1;
                return None;
            }
            _ if header.kind.is_in_sequence() => Sealed::Data(salt),
            _ => Sealed::Control(salt),
        };
        let (reported, event) = match self.ciphers.find(&context.config.keys, Purpose::of(header, sealed)) {
            Some(cipher) => {
                // A copy: parity and local repair keep the sealed bytes, which are known to be genuine only now, and what
                // does not open is left undefined.
                self.decrypted.clear();
                self.decrypted.extend_from_slice(datagram);
                if let Some(end) = seal::open(cipher, header, &mut self.decrypted) {
                    return Some((BodyLocation::Decrypted, head..end));
                }
                (&mut self.wrong_key, SubscriberEvent::KeyWrong(header.epoch))
            }
            None => (&mut self.missing_key, SubscriberEvent::KeyMissing(header.epoch)),
        };
        context.statistics.refused += 1;
        if core::mem::replace(reported, header.epoch) != header.epoch {
            context.emit(event);
        }
        None
    }

    /// Returns the bytes of the datagram that was opened last.
    #[inline]
    pub(super) fn lend<'a>(&'a self, datagram: &'a [u8]) -> Lent<'a> {
        Lent { datagram, decrypted: &self.decrypted }
    }

    /// Opens a control datagram, or a manifest: in a signed stream, it has to be signed.
    pub(super) fn open_signed(&mut self, context: &mut Context, arrived: &Arrived<'_>) -> Option<Body> {
        let body = self.open(context, arrived)?;
        let bytes = Lent { datagram: arrived.datagram, decrypted: &self.decrypted }.get(body.clone());
        self.signatures.admit(context, arrived, bytes).then_some(body)
    }
}
