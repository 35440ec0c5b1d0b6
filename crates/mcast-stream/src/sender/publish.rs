//! Messages into datagrams: many small ones into one, a large one into many.

use super::{Refusal, Sender};
use crate::seal::{Purpose, Sealed};
use crate::wire::{
    ExtensionKind, Flags, HEADER_LENGTH, Header, KeyEpoch, Kind, PacketWriter, TAG_LENGTH, batch_overhead,
};

/// The bytes of a key before its message.
const KEY_LENGTH: usize = 8;
const TOTAL_EXTENSION: usize = 8;
const KEYED_EXTENSION: usize = 4;
const SALT_EXTENSION: usize = 12;

/// The datagram that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    header: Header,
    /// Where the body begins, and where what is written ends.
    body: usize,
    fill: usize,
    keyed: bool,
    since: u64,
    /// A message that was claimed, and is not yet committed: its length with its key.
    claimed: Option<usize>,
}

impl Open {
    pub(super) const fn since(&self) -> u64 {
        self.since
    }

    pub(super) const fn first_message(&self, message: u64) -> u64 {
        // The header has the lower half; no datagram begins so many messages that it matters.
        let back = (message as u32).wrapping_sub(self.header.message);
        message - back as u64
    }
}

/// A long message that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    total: usize,
    left: usize,
    keyed: bool,
}

impl Sender {
    /// Publishes a message, and tells its number. It goes out with the next
    /// [`flush`](Self::flush), when its datagram is full, or when it has waited for as long as is
    /// configured.
    ///
    /// # Errors
    /// Why it cannot be taken now; then nothing of it was.
    pub fn publish(&mut self, now: u64, message: &[u8]) -> Result<u64, Refusal> {
        self.publish_with(now, None, message)
    }

    /// Publishes a message about what the key names: to those who only want the latest of each.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_keyed(&mut self, now: u64, key: u64, message: &[u8]) -> Result<u64, Refusal> {
        self.publish_with(now, Some(key), message)
    }

    fn publish_with(&mut self, now: u64, key: Option<u64>, message: &[u8]) -> Result<u64, Refusal> {
        if message.len() > self.longest_claim(key.is_some()) {
            return self.publish_long(now, key, message);
        }
        self.claim_with(now, key, message.len())?.copy_from_slice(message);
        self.commit(now)
    }

    /// Room for a message of so many bytes, in the place from where it will be sent. It is
    /// published by [`commit`](Self::commit), or forgotten.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`Refusal::TooLong`] when it doesn't fit one datagram.
    pub fn claim(&mut self, now: u64, length: usize) -> Result<&mut [u8], Refusal> {
        self.claim_with(now, None, length)
    }

    /// The same, for a message about what the key names.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_keyed(&mut self, now: u64, key: u64, length: usize) -> Result<&mut [u8], Refusal> {
        self.claim_with(now, Some(key), length)
    }

    /// Publishes what was claimed, and tells its number.
    ///
    /// # Errors
    /// [`Refusal::Writing`] when nothing was claimed.
    pub fn commit(&mut self, now: u64) -> Result<u64, Refusal> {
        let longest = self.config.datagram - self.tag_length();
        let Some(open) = &mut self.open else { return Err(Refusal::Writing) };
        let Some(length) = open.claimed.take() else { return Err(Refusal::Writing) };
        open.fill += batch_overhead() + length;
        let is_full = open.fill + batch_overhead() > longest;
        let number = self.next_message;
        self.next_message += 1;
        self.statistics.messages += 1;
        self.statistics.message_bytes += length as u64;
        if is_full {
            self.close_datagram(now);
        }
        Ok(number)
    }

    /// How long a message may be to fit one datagram.
    #[must_use]
    pub const fn longest_claim(&self, keyed: bool) -> usize {
        let head = HEADER_LENGTH + if keyed { KEYED_EXTENSION + KEY_LENGTH } else { 0 };
        let longest = self.config.datagram - head - self.seal_length() - batch_overhead();
        if longest > u16::MAX as usize { u16::MAX as usize } else { longest }
    }

    /// Lets go out what was published.
    #[inline]
    pub fn flush(&mut self, now: u64) {
        if self.writing.is_none() {
            self.close_datagram(now);
        }
    }

    /// Begins a long message of so many bytes, to be [`write`](Self::write)n as room comes; tells its number.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn begin(&mut self, now: u64, length: usize) -> Result<u64, Refusal> {
        self.begin_with(now, None, length)
    }

    /// Writes more of a long message; says how many bytes were taken. Fewer than all are when
    /// there is no more room for now.
    pub fn write(&mut self, now: u64, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(writing) = self.writing.filter(|_| taken < bytes.len()) {
            if self.open.is_none() && (self.room_for(now, 1).is_err() || !self.open_piece(now, writing)) {
                break;
            }
            taken += self.fill_piece(now, &bytes[taken..]);
        }
        taken
    }

    /// How many bytes of a long message are still to be written.
    #[must_use]
    pub fn left_to_write(&self) -> usize {
        self.writing.map_or(0, |writing| writing.left)
    }

    fn publish_long(&mut self, now: u64, key: Option<u64>, message: &[u8]) -> Result<u64, Refusal> {
        let capacity = self.config.datagram - HEADER_LENGTH - self.seal_length();
        let pieces = (message.len() + KEY_LENGTH + TOTAL_EXTENSION + KEYED_EXTENSION).div_ceil(capacity);
        self.check_open()?;
        self.check_length(message.len())?;
        if pieces as u64 + 1 > self.ring.capacity() {
            let longest = (self.ring.capacity() as usize - 1) * capacity
                - KEY_LENGTH
                - TOTAL_EXTENSION
                - KEYED_EXTENSION;
            return Err(Refusal::TooLong { length: message.len(), longest });
        }
        self.flush(now);
        self.room_for(now, pieces as u64)?;
        let number = self.begin_with(now, key, message.len())?;
        self.write(now, message);
        Ok(number)
    }

    fn begin_with(&mut self, now: u64, key: Option<u64>, length: usize) -> Result<u64, Refusal> {
        self.check_open()?;
        self.check_length(length)?;
        self.flush(now);
        self.room_for(now, 1)?;
        let total = length + if key.is_some() { KEY_LENGTH } else { 0 };
        let writing = Writing { total, left: total, keyed: key.is_some() };
        self.writing = Some(writing);
        let number = self.next_message;
        self.next_message += 1;
        self.statistics.messages += 1;
        self.statistics.message_bytes += length as u64;
        if let Some(key) = key {
            self.write(now, &key.to_be_bytes());
        } else if total == 0 && self.open_piece(now, writing) {
            self.fill_piece(now, &[]);
        }
        Ok(number)
    }

    fn claim_with(&mut self, now: u64, key: Option<u64>, length: usize) -> Result<&mut [u8], Refusal> {
        self.check_open()?;
        let longest = self.longest_claim(key.is_some());
        if length > longest {
            return Err(Refusal::TooLong { length, longest });
        }
        self.check_length(length)?;
        let whole = length + if key.is_some() { KEY_LENGTH } else { 0 };
        let end = self.config.datagram - self.tag_length();
        let fits = |open: &Open| open.keyed == key.is_some() && open.fill + batch_overhead() + whole <= end;
        if !self.open.as_ref().is_some_and(fits) {
            self.close_datagram(now);
            self.room_for(now, 1)?;
            self.open_batch(now, key.is_some());
        }
        let Some(open) = &mut self.open else { return Err(Refusal::Unsent) };
        open.claimed = Some(whole);
        let start = open.fill;
        let room = &mut self.ring.open_mut()[start..start + batch_overhead() + whole];
        let (prefix, message) = room.split_at_mut(batch_overhead());
        prefix.copy_from_slice(&(whole as u16).to_be_bytes());
        match key {
            None => Ok(message),
            Some(key) => {
                let (room, message) = message.split_at_mut(KEY_LENGTH);
                room.copy_from_slice(&key.to_be_bytes());
                Ok(message)
            }
        }
    }

    fn check_open(&self) -> Result<(), Refusal> {
        match (self.broken, self.closed, self.writing) {
            (true, ..) => Err(Refusal::CannotSeal),
            (_, true, _) => Err(Refusal::Closed),
            (_, _, Some(_)) => Err(Refusal::Writing),
            _ => Ok(()),
        }
    }

    const fn check_length(&self, length: usize) -> Result<(), Refusal> {
        let longest = self.config.longest_message;
        if length <= longest { Ok(()) } else { Err(Refusal::TooLong { length, longest }) }
    }

    /// Whether so many further datagrams have room.
    fn room_for(&mut self, now: u64, count: u64) -> Result<(), Refusal> {
        let sent = self.ring.sent;
        let slowest = if self.waits() { self.members.slowest() } else { None };
        let keep = slowest.map_or(sent, |(_, next)| next.clamp(self.ring.trail, sent));
        let is_full = self.data_limit(now) <= sent;
        if self.ring.has_room(count, keep) {
            self.blocked = self.blocked.filter(|_| is_full);
            return Ok(());
        }
        let narrowest = self.members.narrowest().filter(|_| is_full);
        match narrowest.or_else(|| slowest.filter(|(_, next)| *next < sent)) {
            Some((receiver, _)) => {
                self.room_wanted = count;
                self.is_blocked(now);
                let next = self.members.get(receiver).map_or(0, |member| member.progress.next);
                Err(Refusal::WaitingFor { receiver, next })
            }
            None => Err(Refusal::Unsent),
        }
    }

    /// Takes note that receivers keep the sender waiting.
    pub(super) fn is_blocked(&mut self, now: u64) {
        if self.blocked.is_none() {
            self.blocked = Some(now);
            self.ask_how_far();
        }
    }

    fn open_batch(&mut self, now: u64, keyed: bool) {
        let message = self.next_message as u32;
        let header = Header { flags: Flags::BATCH, message, ..self.header(Kind::Data, self.ring.next) };
        self.open_datagram(now, header, keyed, None);
    }

    fn open_piece(&mut self, now: u64, writing: Writing) -> bool {
        let is_first = writing.left == writing.total;
        let flags = if is_first { Flags::BEGIN } else { Flags(0) };
        let message = (self.next_message - 1) as u32;
        let header = Header { flags, message, ..self.header(Kind::Data, self.ring.next) };
        let head = HEADER_LENGTH + self.seal_length() + if writing.keyed { KEYED_EXTENSION } else { 0 };
        let is_long = is_first && writing.total > self.config.datagram - head;
        self.open_datagram(now, header, is_first && writing.keyed, is_long.then_some(writing.total as u32))
    }

    fn open_datagram(&mut self, now: u64, header: Header, keyed: bool, total: Option<u32>) -> bool {
        self.ring.make_room();
        let salt = self.salt;
        let written = PacketWriter::new(self.ring.open_mut(), &header).and_then(|mut writer| {
            if header.epoch != KeyEpoch::CLEAR {
                writer.extension(ExtensionKind::SALT, 0, &salt.to_be_bytes())?;
            }
            if let Some(total) = total {
                writer.extension(ExtensionKind::TOTAL_LENGTH, 0, &total.to_be_bytes())?;
            }
            if keyed {
                writer.extension(ExtensionKind::KEYED, 0, &[])?;
            }
            Ok(writer.finish())
        });
        self.open =
            written.ok().map(|body| Open { header, body, fill: body, keyed, since: now, claimed: None });
        self.open.is_some()
    }

    /// Puts bytes into the piece that is open, and closes it when it is full or the message ends.
    fn fill_piece(&mut self, now: u64, bytes: &[u8]) -> usize {
        let end = self.config.datagram - self.tag_length();
        let (Some(open), Some(writing)) = (&mut self.open, &mut self.writing) else { return 0 };
        let count = bytes.len().min(end - open.fill).min(writing.left);
        self.ring.open_mut()[open.fill..open.fill + count].copy_from_slice(&bytes[..count]);
        open.fill += count;
        writing.left -= count;
        let (is_over, is_full) = (writing.left == 0, open.fill == end);
        if is_over {
            open.header.flags = open.header.flags.with(Flags::END);
            self.writing = None;
        }
        if is_over || is_full {
            self.close_datagram(now);
        }
        count
    }

    /// Ends and seals the datagram that is being written, if there is one.
    fn close_datagram(&mut self, now: u64) {
        let Some(open) = self.open.take() else { return };
        if open.fill == open.body && open.header.flags.has(Flags::BATCH) {
            return;
        }
        self.ring.open_mut()[Header::FLAGS_AT] = open.header.flags.0;
        let message = match open.header.flags.has(Flags::BATCH) {
            true => open.first_message(self.next_message),
            false if open.header.flags.has(Flags::BEGIN) => self.next_message - 1,
            false => self.next_message,
        };
        if !self.seal_open(&open) {
            self.broken = true;
            return;
        }
        self.ring.close(open.fill + self.tag_length(), message);
        if self.is_sent_but_one() {
            self.heartbeat_at = self.heartbeat_at.max(now);
        }
    }

    /// Whether only what was just closed is unsent: then the heartbeat comes behind it.
    const fn is_sent_but_one(&self) -> bool {
        self.ring.sent + 1 == self.ring.next
    }

    fn seal_open(&mut self, open: &Open) -> bool {
        if open.header.epoch == KeyEpoch::CLEAR {
            return true;
        }
        let purpose = Purpose::of(&open.header, Sealed::Data(self.salt));
        if self.cipher.as_ref().is_none_or(|(known, _)| *known != purpose) {
            self.cipher = self.config.keys.cipher(&purpose).map(|cipher| (purpose, cipher));
        }
        let Some((_, cipher)) = &self.cipher else { return false };
        let bytes = &mut self.ring.open_mut()[..open.fill + TAG_LENGTH];
        let (head, rest) = bytes.split_at_mut(open.body);
        let (text, room) = rest.split_at_mut(open.fill - open.body);
        let Some(tag) = cipher.seal(open.header.sequence, head, text) else { return false };
        room.copy_from_slice(&tag);
        true
    }

    /// What sealing takes of a datagram.
    const fn seal_length(&self) -> usize {
        if self.seals() { SALT_EXTENSION + TAG_LENGTH } else { 0 }
    }

    const fn tag_length(&self) -> usize {
        if self.seals() { TAG_LENGTH } else { 0 }
    }
}
