//! Intake: numbers messages, and packs them into datagrams in the ring, many small ones into one, a large one into fragments.
//!
//! Input: messages, once the machine has found that there is room for their datagrams. Output: complete datagrams in the ring,
//! sealed, and, if the publisher signs, the manifests that cover them.
//!
//! Promises: message numbers grow by one, except where messages are omitted; a datagram has messages with a key, or without, not
//! both; nothing is in the ring that is not complete; a message that was refused leaves no trace; and a manifest is never
//! between two fragments that wait for their bytes.

use super::ring::Ring;
use super::sealer::Sealer;
use super::signing::Signing;
use super::{Context, Refusal};
use crate::ClockTime;
use crate::wire::{
    DatagramWriter, ExtensionKind, Flags, HEADER_LENGTH, Header, KeyEpoch, Kind, MessageKey, MessageNumber,
    Sequence, TAG_LENGTH, batch_overhead,
};

const TOTAL_EXTENSION: usize = 8;
pub(super) const KEYED_EXTENSION: usize = 4;
/// What fragments have at most in addition to the bytes of a message and their headers.
pub(super) const FRAGMENTED_EXTRA: usize = MessageKey::LENGTH + TOTAL_EXTENSION + KEYED_EXTENSION;

/// The datagram that is being written.
#[derive(Clone, Copy, Debug)]
struct OpenDatagram {
    header: Header,
    /// Where the body begins, and where the written part ends.
    body: usize,
    fill: usize,
    /// Where it is full. A single message may be longer.
    end: usize,
    keyed: bool,
    since: ClockTime,
    /// The length of a message that is claimed and not committed yet, including its key.
    claimed: Option<usize>,
}

impl OpenDatagram {
    /// Returns its first message, where `next` is the next one to be published.
    const fn first_message(&self, next: MessageNumber) -> MessageNumber {
        next.nearest(self.header.message)
    }
}

/// A long message that is being written.
#[derive(Clone, Copy, Debug)]
struct LongMessage {
    number: MessageNumber,
    total: usize,
    left: usize,
    keyed: bool,
}

/// What the intake writes to.
pub(super) struct Writing<'a> {
    pub(super) ring: &'a mut Ring,
    pub(super) sealer: &'a mut Sealer,
    pub(super) signing: &'a mut Option<Signing>,
    pub(super) context: &'a mut Context,
    /// The length of datagrams that are written now.
    pub(super) data_length: usize,
}

/// The messages that are numbered, and the datagram that is being written.
#[derive(Debug)]
pub(super) struct Intake {
    open: Option<OpenDatagram>,
    long_message: Option<LongMessage>,
    next_message: MessageNumber,
    is_closed: bool,
}

impl Intake {
    pub(super) const fn new(first: MessageNumber) -> Self {
        Self { open: None, long_message: None, next_message: first, is_closed: false }
    }

    /// Accepts nothing more.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    /// Omits the messages before this one.
    pub(super) const fn skip_to(&mut self, number: MessageNumber) {
        self.next_message = number;
    }

    /// Returns whether a message fits the open datagram, if there is one.
    pub(super) fn fits(&self, key: Option<MessageKey>, length: usize) -> bool {
        let whole = length + key.map_or(0, |_| MessageKey::LENGTH);
        self.open.as_ref().is_some_and(|open| {
            open.keyed == key.is_some() && open.fill + batch_overhead() + whole <= open.end
        })
    }

    /// Returns the memory for a claimed message that fits the open datagram, with the key before it.
    pub(super) fn claim<'r>(
        &mut self,
        key: Option<MessageKey>,
        length: usize,
        ring: &'r mut Ring,
    ) -> Option<&'r mut [u8]> {
        let whole = length + key.map_or(0, |_| MessageKey::LENGTH);
        let open = self.open.as_mut()?;
        debug_assert!(
            open.fill + batch_overhead() + whole <= open.end,
            "a message does not fit its datagram"
        );
        open.claimed = Some(whole);
        let start = open.fill;
        let room = &mut ring.open_mut()[start..start + batch_overhead() + whole];
        let (prefix, message) = room.split_at_mut(batch_overhead());
        prefix.copy_from_slice(&(whole as u16).to_be_bytes());
        let Some(key) = key else { return Some(message) };
        let (room, message) = message.split_at_mut(MessageKey::LENGTH);
        room.copy_from_slice(&key.0.to_be_bytes());
        Some(message)
    }

    /// Counts the claimed message; returns its number, or `None` if nothing was claimed.
    #[inline]
    pub(super) fn commit(&mut self, now: ClockTime, at: &mut Writing<'_>) -> Option<MessageNumber> {
        let open = self.open.as_mut()?;
        let length = open.claimed.take()?;
        open.fill += batch_overhead() + length;
        let is_full = open.fill + batch_overhead() > open.end;
        let number = self.number(length, at.context);
        if is_full {
            self.complete(now, at);
        }
        Some(number)
    }

    const fn number(&mut self, length: usize, context: &mut Context) -> MessageNumber {
        let number = self.next_message;
        self.next_message = MessageNumber(number.0 + 1);
        context.statistics.messages += 1;
        context.statistics.message_bytes += length as u64;
        number
    }

    /// Completes the open datagram, so that it can be sent, and writes its manifest soon.
    #[inline]
    pub(super) fn flush(&mut self, now: ClockTime, at: &mut Writing<'_>) {
        if self.long_message.is_some() {
            return;
        }
        self.complete(now, at);
        if let Some(signing) = at.signing {
            signing.schedule_soon(now);
            self.write_due_manifest(now, at);
        }
    }

    /// Begins a long message; returns its number. Nothing else is open, and there is room for a datagram.
    pub(super) fn begin(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        length: usize,
        at: &mut Writing<'_>,
    ) -> MessageNumber {
        let total = length + key.map_or(0, |_| MessageKey::LENGTH);
        let number = self.number(length, at.context);
        self.long_message = Some(LongMessage { number, total, left: total, keyed: key.is_some() });
        if let Some(key) = key {
            self.write(now, &key.0.to_be_bytes(), at);
        } else if total == 0 {
            self.write(now, &[], at);
        }
        number
    }

    /// Writes as much of a long message as fits the open fragment, or another one; returns how much. There is room for a
    /// datagram.
    pub(super) fn write(&mut self, now: ClockTime, bytes: &[u8], at: &mut Writing<'_>) -> usize {
        if self.open.is_none() {
            self.open_fragment(now, at);
        }
        let (Some(open), Some(message)) = (&mut self.open, &mut self.long_message) else { return 0 };
        let count = bytes.len().min(open.end - open.fill).min(message.left);
        at.ring.open_mut()[open.fill..open.fill + count].copy_from_slice(&bytes[..count]);
        open.fill += count;
        message.left -= count;
        let (is_over, is_full) = (message.left == 0, open.fill == open.end);
        if is_over {
            open.header.flags = open.header.flags.with(Flags::END);
            self.long_message = None;
        }
        if is_over || is_full {
            self.complete(now, at);
        }
        count
    }

    /// Opens a datagram for small messages.
    pub(super) fn open_batch(&mut self, now: ClockTime, keyed: bool, at: &mut Writing<'_>) {
        let message = self.next_message.low();
        let header = Header { flags: Flags::BATCH, message, ..at.context.header(Kind::Data, at.ring.next.0) };
        self.open_datagram(now, header, keyed, None, at);
    }

    fn open_fragment(&mut self, now: ClockTime, at: &mut Writing<'_>) {
        let Some(long) = self.long_message else { return };
        let is_first = long.left == long.total;
        let flags = if is_first { Flags::BEGIN } else { Flags(0) };
        let header =
            Header { flags, message: long.number.low(), ..at.context.header(Kind::Data, at.ring.next.0) };
        let keyed = if long.keyed { KEYED_EXTENSION } else { 0 };
        let is_long =
            is_first && long.total > at.data_length - HEADER_LENGTH - at.context.seal_length() - keyed;
        self.open_datagram(now, header, is_first && long.keyed, is_long.then_some(long.total as u32), at);
    }

    fn open_datagram(
        &mut self,
        now: ClockTime,
        header: Header,
        keyed: bool,
        total: Option<u32>,
        at: &mut Writing<'_>,
    ) {
        at.ring.make_room();
        let (salt, end) = (at.sealer.salt(&header), at.data_length - at.context.tag_length());
        let written = DatagramWriter::new(at.ring.open_mut(), &header).and_then(|mut writer| {
            writer.salt(salt)?;
            if let Some(total) = total {
                writer.extension(ExtensionKind::TOTAL_LENGTH, 0, &total.to_be_bytes())?;
            }
            if keyed {
                writer.extension(ExtensionKind::KEYED, 0, &[])?;
            }
            Ok(writer.finish())
        });
        self.open = written.ok().map(|body| OpenDatagram {
            header,
            body,
            fill: body,
            end,
            keyed,
            since: now,
            claimed: None,
        });
    }

    /// Completes and seals the datagram that is being written, if there is one, and writes the manifest that is due.
    pub(super) fn complete(&mut self, now: ClockTime, at: &mut Writing<'_>) {
        // Its fields are read where they are: moving it, just after some were written, stalls the processor.
        let Some(open) = &self.open else { return };
        let (fill, flags, is_clear) = (open.fill, open.header.flags, open.header.epoch == KeyEpoch::CLEAR);
        if fill == open.body && flags.has(Flags::BATCH) {
            self.open = None;
            return;
        }
        at.ring.open_mut()[Header::FLAGS_AT] = flags.0;
        let begins_message = flags.has(Flags::BATCH) || flags.has(Flags::BEGIN);
        let next = self.next_message;
        let message = if begins_message { open.first_message(next) } else { next };
        let is_sealed = is_clear || {
            let bytes = &mut at.ring.open_mut()[..fill + TAG_LENGTH];
            at.sealer.seal_data(&at.context.config.keys, &open.header, open.body, bytes)
        };
        self.open = None;
        if !is_sealed {
            return at.context.fail(Refusal::CannotSeal);
        }
        at.ring.close(fill + at.context.tag_length(), message);
        if let Some(signing) = at.signing {
            signing.add(now, at.ring.get(Sequence(at.ring.next.0 - 1)));
            self.write_due_manifest(now, at);
        }
    }

    fn write_due_manifest(&self, now: ClockTime, at: &mut Writing<'_>) {
        if now >= self.manifest_due(at.signing.as_ref()) {
            self.write_manifest(now, at);
        }
    }

    /// Returns when a manifest is due; never while a datagram is being written that cannot be completed yet.
    pub(super) fn manifest_due(&self, signing: Option<&Signing>) -> ClockTime {
        let is_blocked = self.open.is_some() && self.long_message.is_some();
        signing.filter(|_| !is_blocked).map_or(ClockTime::NEVER, Signing::due)
    }

    /// Writes a manifest of the data that none covers yet, if there is any. No datagram may be open.
    pub(super) fn write_manifest(&self, now: ClockTime, at: &mut Writing<'_>) {
        let Writing { signing: Some(signing), ring, sealer, context, .. } = at else { return };
        if self.open.is_some() || context.failure.is_some() || signing.is_complete() {
            return;
        }
        match signing.write_manifest(now, ring, sealer, context, self.next_message) {
            true => context.statistics.manifests += 1,
            false => context.fail(Refusal::CannotSeal),
        }
    }

    /// Checks that a message may be begun.
    pub(super) fn check_open(&self, context: &Context) -> Result<(), Refusal> {
        match (context.failure, self.is_closed, self.long_message) {
            (Some(refusal), ..) => Err(refusal),
            (_, true, _) => Err(Refusal::Closed),
            (_, _, Some(_)) => Err(Refusal::Writing),
            _ => Ok(()),
        }
    }

    /// Returns how many bytes of a long message are still to be written, if one is.
    pub(super) fn left_to_write(&self) -> Option<usize> {
        self.long_message.map(|message| message.left)
    }

    /// Returns whether a datagram is being written.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) const fn next_message(&self) -> MessageNumber {
        self.next_message
    }

    /// Returns since when messages wait for others in their datagram.
    pub(super) fn waiting_since(&self) -> Option<ClockTime> {
        self.open.filter(|_| self.long_message.is_none()).map(|open| open.since)
    }

    /// Returns the first message that begins in this datagram or after it.
    pub(super) fn message_at(&self, sequence: Sequence, ring: &Ring) -> MessageNumber {
        let unwritten = self.open.filter(|_| self.long_message.is_none());
        let next_message = unwritten.map_or(self.next_message, |open| open.first_message(self.next_message));
        ring.message_at(sequence, next_message)
    }

    /// Returns the number of a long message that is being written.
    pub(super) fn long_message(&self) -> Option<MessageNumber> {
        self.long_message.map(|long| long.number)
    }
}

/// A message to be published: its bytes, and a key if subscribers may keep only the latest message of each key.
///
/// Functions that publish take whatever becomes one, bytes among it:
///
/// ```
/// use mcast_stream_proto::publisher::OutgoingMessage;
/// use mcast_stream_proto::wire::MessageKey;
///
/// let plain = OutgoingMessage::from(b"EUR 1.08");
/// let keyed = plain.key(MessageKey(7));
/// assert_eq!((plain.key, keyed.key), (None, Some(MessageKey(7))));
/// assert_eq!(keyed, OutgoingMessage::from((MessageKey(7), b"EUR 1.08")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingMessage<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// Subscribers with [`Policy::Latest`](crate::subscriber::Policy::Latest) get only the latest message of each key.
    pub key: Option<MessageKey>,
}

impl OutgoingMessage<'_> {
    /// Sets the key.
    #[must_use]
    pub const fn key(mut self, key: MessageKey) -> Self {
        self.key = Some(key);
        self
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for OutgoingMessage<'a> {
    fn from(bytes: &'a T) -> Self {
        Self { bytes: bytes.as_ref(), key: None }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<(MessageKey, &'a T)> for OutgoingMessage<'a> {
    fn from((key, bytes): (MessageKey, &'a T)) -> Self {
        Self { bytes: bytes.as_ref(), key: Some(key) }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<(Option<MessageKey>, &'a T)> for OutgoingMessage<'a> {
    fn from((key, bytes): (Option<MessageKey>, &'a T)) -> Self {
        Self { bytes: bytes.as_ref(), key }
    }
}
