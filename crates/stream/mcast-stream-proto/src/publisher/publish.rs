//! A message that is to be published, and how messages are packed into datagrams: many small ones into one, a large one
//! into fragments.

use super::{PublisherMachine, Refusal};
use crate::ClockTime;
use crate::wire::{
    DatagramWriter, ExtensionKind, Flags, HEADER_LENGTH, Header, KeyEpoch, Kind, MessageKey, MessageNumber,
    Sequence, TAG_LENGTH, batch_overhead,
};

const TOTAL_EXTENSION: usize = 8;
const KEYED_EXTENSION: usize = 4;
pub(super) const SALT_EXTENSION: usize = 12;
/// What fragments have at most in addition to the bytes of a message and their headers.
const FRAGMENTED_EXTRA: usize = MessageKey::LENGTH + TOTAL_EXTENSION + KEYED_EXTENSION;

/// The datagram that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenDatagram {
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
    pub(super) const fn since(&self) -> ClockTime {
        self.since
    }

    /// Returns its first message, where `next` is the next one to be published.
    pub(super) const fn first_message(&self, next: MessageNumber) -> MessageNumber {
        next.nearest(self.header.message)
    }
}

/// A long message that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongMessage {
    number: MessageNumber,
    total: usize,
    left: usize,
    keyed: bool,
}

impl LongMessage {
    pub(super) const fn number(&self) -> MessageNumber {
        self.number
    }
}

impl PublisherMachine {
    /// Publishes a message, and returns its number. It is sent at the next [`flush`](Self::flush), when its datagram is
    /// full, or after [`linger`](super::PublisherConfig::linger).
    ///
    /// # Errors
    /// [`Refusal`] when the message is not accepted now; then no part of it is.
    #[inline]
    pub fn publish<'m>(
        &mut self,
        now: ClockTime,
        message: impl Into<OutgoingMessage<'m>>,
    ) -> Result<MessageNumber, Refusal> {
        let OutgoingMessage { bytes, key } = message.into();
        if bytes.len() > self.longest_claim(key.is_some()) {
            return self.publish_long(now, key, bytes);
        }
        self.claim_with(now, key, bytes.len())?.copy_from_slice(bytes);
        self.commit(now)
    }

    /// Returns the memory for a message of `length` bytes, from which it will be sent without a copy. Write the message
    /// there and call [`commit`](Self::commit); otherwise it is discarded.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`Refusal::TooLong`] when the message does not fit one datagram.
    #[inline]
    pub fn claim(&mut self, now: ClockTime, length: usize) -> Result<&mut [u8], Refusal> {
        self.claim_with(now, None, length)
    }

    /// Does the same as [`claim`](Self::claim) for a message with a key.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_keyed(
        &mut self,
        now: ClockTime,
        key: MessageKey,
        length: usize,
    ) -> Result<&mut [u8], Refusal> {
        self.claim_with(now, Some(key), length)
    }

    /// Publishes the claimed message, and returns its number.
    ///
    /// # Errors
    /// [`Refusal::Writing`] when nothing was claimed.
    #[inline]
    pub fn commit(&mut self, now: ClockTime) -> Result<MessageNumber, Refusal> {
        let Some(open) = &mut self.open else { return Err(Refusal::Writing) };
        let Some(length) = open.claimed.take() else { return Err(Refusal::Writing) };
        open.fill += batch_overhead() + length;
        let is_full = open.fill + batch_overhead() > open.end;
        let number = self.next_message;
        self.next_message += 1;
        self.context.statistics.messages += 1;
        self.context.statistics.message_bytes += length as u64;
        if is_full {
            self.close_datagram(now);
        }
        Ok(number)
    }

    /// Returns the length of the longest message that fits one datagram.
    #[must_use]
    pub const fn longest_claim(&self, keyed: bool) -> usize {
        let head = HEADER_LENGTH + if keyed { KEYED_EXTENSION + MessageKey::LENGTH } else { 0 };
        let longest = self.context.config.longest_data() - head - self.seal_length() - batch_overhead();
        if longest > u16::MAX as usize { u16::MAX as usize } else { longest }
    }

    /// Completes the current datagram, so that it can be sent.
    #[inline]
    pub fn flush(&mut self, now: ClockTime) {
        if self.long_message.is_none() {
            self.close_datagram(now);
            self.schedule_manifest_soon(now);
        }
    }

    /// Begins a long message of `length` bytes, and returns its number. Pass its bytes to [`write`](Self::write).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn begin(&mut self, now: ClockTime, length: usize) -> Result<MessageNumber, Refusal> {
        self.begin_with(now, None, length)
    }

    /// Writes more of a long message, and returns how many bytes were accepted: fewer than all if there is no room now.
    pub fn write(&mut self, now: ClockTime, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(message) = self.long_message.filter(|_| taken < bytes.len()) {
            if self.open.is_none() && (self.room_for(now, 1).is_err() || !self.open_fragment(now, message)) {
                break;
            }
            taken += self.fill_fragment(now, &bytes[taken..]);
        }
        taken
    }

    /// Returns how many bytes of a long message are still to be written.
    #[must_use]
    pub fn left_to_write(&self) -> usize {
        self.long_message.map_or(0, |message| message.left)
    }

    fn publish_long(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        message: &[u8],
    ) -> Result<MessageNumber, Refusal> {
        self.check_open()?;
        self.check_length(message.len())?;
        self.check_quorum()?;
        let longest = self.longest_fragmented();
        if message.len() > longest {
            return Err(Refusal::TooLong { length: message.len(), longest });
        }
        let fragments = (message.len() + FRAGMENTED_EXTRA).div_ceil(self.fragment_capacity());
        self.flush(now);
        self.write_manifest(now);
        self.room_for(now, fragments as u64)?;
        let number = self.begin_with(now, key, message.len())?;
        self.write(now, message);
        Ok(number)
    }

    fn begin_with(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        length: usize,
    ) -> Result<MessageNumber, Refusal> {
        self.check_open()?;
        self.check_length(length)?;
        self.check_quorum()?;
        self.flush(now);
        // A manifest cannot be written between fragments that wait for their bytes.
        self.write_manifest(now);
        self.room_for(now, 1)?;
        let total = length + if key.is_some() { MessageKey::LENGTH } else { 0 };
        let number = self.next_message;
        let message = LongMessage { number, total, left: total, keyed: key.is_some() };
        self.long_message = Some(message);
        self.next_message += 1;
        self.context.statistics.messages += 1;
        self.context.statistics.message_bytes += length as u64;
        if let Some(key) = key {
            self.write(now, &key.0.to_be_bytes());
        } else if total == 0 && self.open_fragment(now, message) {
            self.fill_fragment(now, &[]);
        }
        Ok(number)
    }

    fn claim_with(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        length: usize,
    ) -> Result<&mut [u8], Refusal> {
        self.check_open()?;
        let longest = self.longest_claim(key.is_some());
        if length > longest {
            return Err(Refusal::TooLong { length, longest });
        }
        self.check_length(length)?;
        self.check_quorum()?;
        let whole = length + if key.is_some() { MessageKey::LENGTH } else { 0 };
        let fits = |open: &OpenDatagram| {
            open.keyed == key.is_some() && open.fill + batch_overhead() + whole <= open.end
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.close_datagram(now);
            self.room_for(now, 1)?;
            self.open_batch(now, key.is_some());
        }
        if self.open.is_none() {
            impossible!(self, "no datagram is open for a message");
        }
        let Some(open) = &mut self.open else { return Err(Refusal::Unsent) };
        debug_assert!(
            open.fill + batch_overhead() + whole <= open.end,
            "a message does not fit its datagram"
        );
        open.claimed = Some(whole);
        let start = open.fill;
        let room = &mut self.ring.open_mut()[start..start + batch_overhead() + whole];
        let (prefix, message) = room.split_at_mut(batch_overhead());
        prefix.copy_from_slice(&(whole as u16).to_be_bytes());
        match key {
            None => Ok(message),
            Some(key) => {
                let (room, message) = message.split_at_mut(MessageKey::LENGTH);
                room.copy_from_slice(&key.0.to_be_bytes());
                Ok(message)
            }
        }
    }

    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        match (self.context.failure, self.closed, self.long_message) {
            (Some(refusal), ..) => Err(refusal),
            (_, true, _) => Err(Refusal::Closed),
            (_, _, Some(_)) => Err(Refusal::Writing),
            _ => Ok(()),
        }
    }

    /// Checks that a new message may be acknowledged as required.
    #[inline]
    fn check_quorum(&self) -> Result<(), Refusal> {
        match &self.acknowledgements {
            Some(acknowledgements) if acknowledgements.blocks(self.next_message) => Err(Refusal::NoQuorum),
            _ => Ok(()),
        }
    }

    /// Returns the length of the longest message that can be published, in bytes.
    #[must_use]
    pub fn longest_message(&self) -> usize {
        self.context.config.longest_message.min(self.longest_fragmented())
    }

    /// Returns the length of the longest message whose fragments, and one datagram more, fit the retransmission buffer.
    fn longest_fragmented(&self) -> usize {
        let capacity = self.ring.capacity() - 1;
        let manifests = self.with_manifests(capacity) - capacity;
        let fragments = usize::try_from(capacity.saturating_sub(manifests)).unwrap_or(usize::MAX);
        fragments.saturating_mul(self.fragment_capacity()).saturating_sub(FRAGMENTED_EXTRA)
    }

    /// Returns the payload of a full fragment, in bytes.
    const fn fragment_capacity(&self) -> usize {
        self.context.config.longest_fragment() - HEADER_LENGTH - self.seal_length()
    }

    const fn check_length(&self, length: usize) -> Result<(), Refusal> {
        let longest = self.context.config.longest_message;
        if length <= longest { Ok(()) } else { Err(Refusal::TooLong { length, longest }) }
    }

    /// Checks that `count` more datagrams fit without overwriting data that is still needed.
    fn room_for(&mut self, now: ClockTime, count: u64) -> Result<(), Refusal> {
        let count = self.with_manifests(count);
        let sent = self.ring.sent;
        let slowest = if self.context.config.has_flow_control() { self.members.slowest() } else { None };
        let keep = match slowest {
            Some((_, next)) => next.clamp(self.ring.oldest_retained, sent),
            // What waits for the rate leaves half of the buffer to repairs of what was sent. A message that has been begun must
            // be finished, however long it is.
            None if self.ring.next > sent && self.long_message.is_none() => {
                Sequence(sent.0.saturating_sub(self.ring.capacity() / 2))
            }
            None => sent,
        };
        let keep = self.recalled.kept().map_or(keep, |kept| keep.min(kept));
        if self.ring.has_room(count, keep) {
            if self.flow.is_blocked() && self.data_limit(now) > sent {
                self.flow.unblock();
            }
            return Ok(());
        }
        let is_full = self.data_limit(now) <= sent;
        if !is_full && sent < self.ring.next {
            // The datagrams that wait for the rate are sent meanwhile: the publisher does not wait for a subscriber yet.
            return Err(Refusal::Unsent);
        }
        let narrowest = self.members.narrowest().filter(|_| is_full);
        match narrowest.or_else(|| slowest.filter(|(_, next)| *next < sent)) {
            Some((subscriber, _)) => {
                self.flow.need_room(count);
                self.block(now);
                let next = self.members.get(subscriber).map(|member| member.progress.next);
                let next = next.unwrap_or_default();
                Err(Refusal::WaitingFor { subscriber, next })
            }
            None => Err(Refusal::Unsent),
        }
    }

    /// Records that flow control stops the publisher, and requests statuses.
    pub(super) fn block(&mut self, now: ClockTime) {
        if self.flow.block(now) {
            self.request_statuses();
        }
    }

    fn open_batch(&mut self, now: ClockTime, keyed: bool) {
        let message = self.next_message.low();
        let header = Header { flags: Flags::BATCH, message, ..self.header(Kind::Data, self.ring.next.0) };
        self.open_datagram(now, header, keyed, None);
    }

    fn open_fragment(&mut self, now: ClockTime, long: LongMessage) -> bool {
        let is_first = long.left == long.total;
        let flags = if is_first { Flags::BEGIN } else { Flags(0) };
        let header =
            Header { flags, message: long.number.low(), ..self.header(Kind::Data, self.ring.next.0) };
        let head = HEADER_LENGTH + self.seal_length() + if long.keyed { KEYED_EXTENSION } else { 0 };
        let is_long = is_first && long.total > self.data_length() - head;
        self.open_datagram(now, header, is_first && long.keyed, is_long.then_some(long.total as u32))
    }

    fn open_datagram(&mut self, now: ClockTime, header: Header, keyed: bool, total: Option<u32>) -> bool {
        self.ring.make_room();
        let (salt, end) = (self.sealer.salt(&header), self.data_length() - self.tag_length());
        let written = DatagramWriter::new(self.ring.open_mut(), &header).and_then(|mut writer| {
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
        self.open.is_some()
    }

    /// Adds bytes to the open fragment, and closes it when it is full or the message ends.
    fn fill_fragment(&mut self, now: ClockTime, bytes: &[u8]) -> usize {
        let (Some(open), Some(message)) = (&mut self.open, &mut self.long_message) else { return 0 };
        let count = bytes.len().min(open.end - open.fill).min(message.left);
        self.ring.open_mut()[open.fill..open.fill + count].copy_from_slice(&bytes[..count]);
        open.fill += count;
        message.left -= count;
        let (is_over, is_full) = (message.left == 0, open.fill == open.end);
        if is_over {
            open.header.flags = open.header.flags.with(Flags::END);
            self.long_message = None;
        }
        if is_over || is_full {
            self.close_datagram(now);
        }
        count
    }

    /// Completes and seals the datagram that is being written, if there is one.
    fn close_datagram(&mut self, now: ClockTime) {
        // Its fields are read where they are: moving it, just after some were written, stalls the processor.
        let Some(open) = &self.open else { return };
        let (fill, flags, is_clear) = (open.fill, open.header.flags, open.header.epoch == KeyEpoch::CLEAR);
        if fill == open.body && flags.has(Flags::BATCH) {
            self.open = None;
            return;
        }
        self.ring.open_mut()[Header::FLAGS_AT] = flags.0;
        let begins_message = flags.has(Flags::BATCH) || flags.has(Flags::BEGIN);
        let next = self.next_message;
        let message = if begins_message { open.first_message(next) } else { next };
        let is_sealed = is_clear || self.seal_open();
        self.open = None;
        if !is_sealed {
            self.fail(Refusal::CannotSeal);
            return;
        }
        self.ring.close(fill + self.tag_length(), message);
        if self.is_sent_but_one() {
            self.heartbeats.defer(now);
        }
        self.record_completed(now);
    }

    /// Returns whether only the datagram that was just closed is unsent: then the heartbeat follows it.
    pub(super) fn is_sent_but_one(&self) -> bool {
        self.ring.sent + 1 == self.ring.next
    }

    /// Seals the open datagram; returns whether that succeeded.
    fn seal_open(&mut self) -> bool {
        let Some(open) = &self.open else { return false };
        let bytes = &mut self.ring.open_mut()[..open.fill + TAG_LENGTH];
        self.sealer.seal_data(&self.context.config.keys, &open.header, open.body, bytes)
    }

    /// Returns the bytes of a datagram that sealing uses.
    pub(super) const fn seal_length(&self) -> usize {
        if self.seals() { SALT_EXTENSION + TAG_LENGTH } else { 0 }
    }

    const fn tag_length(&self) -> usize {
        if self.seals() { TAG_LENGTH } else { 0 }
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
