//! What makes datagrams genuine: signatures in manifests of the data, and in the control datagrams that subscribers act on.

use alloc::sync::Arc;
use alloc::vec::Vec;

use mcast_pace::TokenBucket;

use super::ring::Ring;
use super::sealer::{SALT_EXTENSION, Sealer};
use super::{Context, PublisherConfig, PublisherMachine};
use crate::ClockTime;
use crate::sign;
use crate::sign::{SIGNATURE_EXTENSION, SIGNATURE_LENGTH, Signer};
use crate::span::amount;
use crate::times::publisher::{COVERED_TIME, MANIFEST_WAIT, MIN_MANIFEST_INTERVAL};
use crate::wire::{
    DatagramView, DatagramWriter, Digest, ExtensionKind, HEADER_LENGTH, Header, KeyEpoch, Kind, Manifest,
    MessageNumber, Sequence, SignerId, TAG_LENGTH, WriteError,
};

/// At a low rate, a manifest covers the bytes of this many datagrams of the greatest length, also if they take longer than
/// [`COVERED_TIME`]: smaller manifests would take too much of the rate.
const LEAST_COVERED: u64 = 4;
/// Signatures per second that subscribers can cause, and at once: nobody can use up the publisher's processor.
const REPLIES: u64 = 1_000;
const REPLIES_AT_ONCE: u64 = 256;
/// The entries of a signed confirmation: ten fewer than those of others make room for the signature.
pub(super) const CONFIRMED_ENTRIES: usize = 130;

/// The key, and the data that no manifest covers yet.
#[derive(Debug)]
pub(super) struct Signing {
    signer: Arc<dyn Signer>,
    digests: Vec<Digest>,
    /// The bytes of these datagrams.
    bytes: u64,
    /// A manifest is due when it covers this many datagrams, which is all that fit,
    most: usize,
    /// or this many bytes.
    enough: u64,
    /// The number of datagrams that it covers at that point if all have the greatest length.
    fewest: u64,
    /// When the next manifest is due, and when the last one was written.
    due: ClockTime,
    last: Option<ClockTime>,
    replies: TokenBucket,
    text: Vec<u8>,
    /// One past the last manifest that was sent: what follows is verified later.
    verified_through: Sequence,
}

/// Up to where subscribers can verify what was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed {
    /// One past the last manifest that was sent, if the publisher signs: a subscriber that verifies cannot confirm what follows.
    pub(super) verified_through: Option<Sequence>,
}

impl Signing {
    /// Returns the state of a publisher with these settings, if it signs.
    pub(super) fn of(config: &PublisherConfig, now: ClockTime) -> Option<Self> {
        let signer = config.signer.clone()?;
        Some(Self::new(signer, config.longest_data(), config.rate.fixed(), now))
    }

    /// Creates the state of a publisher with datagrams of at most this length, and with this rate in bytes per second.
    fn new(signer: Arc<dyn Signer>, datagram: usize, rate: Option<u64>, now: ClockTime) -> Self {
        let head = HEADER_LENGTH + SALT_EXTENSION + SIGNATURE_EXTENSION + Manifest::HEAD;
        let room = datagram.saturating_sub(head + TAG_LENGTH);
        let longest = datagram.max(1) as u64;
        let in_time = |rate: u64| amount(rate, COVERED_TIME);
        let enough = rate.map_or(u64::MAX, |rate| in_time(rate).max(LEAST_COVERED * longest));
        let most = (room / Digest::LENGTH).clamp(1, Manifest::MOST);
        Self {
            signer,
            digests: Vec::new(),
            bytes: 0,
            most,
            enough,
            fewest: (enough / longest).min(most as u64),
            due: ClockTime::NEVER,
            last: None,
            replies: TokenBucket::new(REPLIES, REPLIES_AT_ONCE, now.0),
            text: Vec::new(),
            verified_through: Sequence(1),
        }
    }

    /// Returns when the next manifest is due.
    pub(super) const fn due(&self) -> ClockTime {
        self.due
    }

    /// Returns whether all data is covered.
    pub(super) const fn is_complete(&self) -> bool {
        self.digests.is_empty()
    }

    /// Returns how many datagrams `count` datagrams of data need at most, with their manifests.
    pub(super) const fn with_manifests(&self, count: u64) -> u64 {
        count + 1 + (self.digests.len() as u64 + count) / self.fewest
    }

    /// Notes a datagram that was just completed.
    pub(super) fn add(&mut self, now: ClockTime, datagram: &[u8]) {
        self.digests.extend(sign::digest(&*self.signer, datagram));
        self.bytes += datagram.len() as u64;
        let is_full = self.digests.len() >= self.most || self.bytes >= self.enough;
        let due = if is_full { now } else { now + MANIFEST_WAIT };
        self.due = self.due.min(due);
    }

    /// Makes the next manifest due now, or when the interval since the last one is over.
    pub(super) fn schedule_soon(&mut self, now: ClockTime) {
        if !self.is_complete() {
            let earliest = self.last.map_or(now, |last| now.max(last + MIN_MANIFEST_INTERVAL));
            self.due = self.due.min(earliest);
        }
    }

    /// Writes a manifest of the data that none covers yet; returns whether that succeeded. No datagram may be open.
    pub(super) fn write_manifest(
        &mut self,
        now: ClockTime,
        ring: &mut Ring,
        sealer: &mut Sealer,
        context: &Context,
        next_message: MessageNumber,
    ) -> bool {
        let header = context.header(Kind::Manifest, ring.next.0);
        ring.make_room();
        let buffer = ring.open_mut();
        let written = DatagramWriter::new(buffer, &header).and_then(|mut writer| {
            writer.salt(sealer.incarnation_salt())?;
            write_room(self.signer(), &mut writer)?;
            Manifest::write(&self.digests, &mut writer)?;
            Ok(writer.finish())
        });
        let Ok(mut end) = written else { return false };
        let body = usize::from(buffer[Header::LENGTH_AT]) * 4;
        let mut is_written = self.sign(&mut buffer[..end]);
        if header.epoch != KeyEpoch::CLEAR {
            end += TAG_LENGTH;
            is_written =
                is_written && sealer.seal_data(&context.config.keys, &header, body, &mut buffer[..end]);
        }
        if !is_written {
            return false;
        }
        self.digests.clear();
        self.bytes = 0;
        (self.due, self.last) = (ClockTime::NEVER, Some(now));
        ring.close(end, next_message);
        true
    }

    /// Notes the manifests among datagrams that were sent.
    fn record_sent(&mut self, first: Sequence, count: u64, ring: &Ring) {
        let is_manifest = |sequence: &Sequence| {
            DatagramView::parse(ring.get(*sequence)).is_ok_and(|view| view.header.kind == Kind::Manifest)
        };
        if let Some(last) = Sequence::each(first..first + count).filter(is_manifest).last() {
            self.verified_through = last + 1;
        }
    }

    /// Signs a control datagram that begins with the extension of [`write_room`].
    pub(super) fn sign(&mut self, bytes: &mut [u8]) -> bool {
        sign::sign(&*self.signer, bytes, &mut self.text)
    }

    /// Returns whether a subscriber's datagram may be answered with a signed one.
    pub(super) const fn may_reply(&mut self) -> bool {
        self.replies.take(1)
    }

    /// Returns the id of the key.
    pub(super) fn signer(&self) -> SignerId {
        self.signer.id()
    }
}

/// Writes the extension for a signature of this key, with zeros in its place.
pub(super) fn write_room(signer: SignerId, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
    writer.extension(ExtensionKind::SIGNATURE, signer.0, &[0; SIGNATURE_LENGTH])
}

/// Returns whether the publisher signs control datagrams of this kind: those by which subscribers learn what was sent, what
/// they have lost, and that it is over. An echo proves an address, and is bound to the probe that it answers.
pub(super) const fn is_signed(kind: Kind) -> bool {
    matches!(kind, Kind::Heartbeat | Kind::Ncf | Kind::Reset | Kind::Announce)
}

impl PublisherMachine {
    /// Signs with this key from the next datagram on. The stream continues: give subscribers the new public key first. A
    /// publisher that was created without a key keeps none.
    pub fn set_signer(&mut self, now: ClockTime, signer: Arc<dyn Signer>) {
        self.flush_all(now);
        if let Some(signing) = &mut self.signing {
            signing.signer = Arc::clone(&signer);
            self.context.config.signer = Some(signer);
        }
    }

    /// Returns up to where subscribers can verify what was sent.
    #[inline]
    pub(super) fn signed(&self) -> Signed {
        Signed { verified_through: self.signing.as_ref().map(|signing| signing.verified_through) }
    }

    /// Notes the manifests among datagrams that were sent.
    #[inline]
    pub(super) fn record_signed(&mut self, first: Sequence, count: u64) {
        if let Some(signing) = &mut self.signing {
            signing.record_sent(first, count, &self.ring);
        }
    }

    /// Notes that everything before this datagram counts as sent.
    pub(super) fn record_recalled(&mut self, next: Sequence) {
        if let Some(signing) = &mut self.signing {
            signing.verified_through = next;
        }
    }

    /// Returns how many datagrams `count` datagrams of data need, with their manifests.
    pub(super) fn with_manifests(&self, count: u64) -> u64 {
        self.signing.as_ref().map_or(count, |signing| signing.with_manifests(count))
    }

    /// Returns the bytes that a signature and the salt add to a control datagram that is not sealed.
    pub(super) fn signature_length(&self) -> usize {
        match &self.signing {
            Some(_) if self.context.seals() => SIGNATURE_EXTENSION,
            Some(_) => SIGNATURE_EXTENSION + SALT_EXTENSION,
            None => 0,
        }
    }

    /// Refills the allowance of signatures that subscribers can cause.
    pub(super) fn refill_signatures(&mut self, now: ClockTime) {
        if let Some(signing) = &mut self.signing {
            signing.replies.refill(now.0);
        }
    }
}
