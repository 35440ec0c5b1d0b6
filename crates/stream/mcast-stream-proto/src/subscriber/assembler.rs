//! The third layer: messages out of datagrams.
//!
//! *Input:* one datagram at a time, borrowed from where it is: the caller's buffer, the filter's, or the window. *Output:*
//! where its messages are, one after the other, or that messages are missing before them.
//!
//! *Promises:*
//! - A message of one datagram is not copied; fragments are copied once.
//! - Memory is allocated for the bytes that have arrived, not for the length that is claimed.
//! - A datagram stays the current one until all of its messages were taken, and the sequencer is at the next one only then.

use alloc::vec::Vec;
use core::ops::Range;

use super::arrived::{Body, Lent};
use super::context::Context;
use super::event::BodyLocation;
use super::sequencer::Sequencer;
use super::window::Meta;
use crate::wire::{Flags, MessageKey, MessageNumber, Messages, Sequence, batch_overhead};

/// The datagram whose messages are being delivered.
#[derive(Clone, Debug)]
struct Current {
    sequence: Sequence,
    location: BodyLocation,
    meta: Meta,
    range: Range<usize>,
    /// The number of the message at the start of `range`, once it was computed.
    number: Option<MessageNumber>,
}

/// What the current datagram has.
#[derive(Clone, Debug)]
pub(super) enum Assembled {
    /// Nothing, or nothing more.
    Nothing,
    /// The messages before this one are missing. It stays the current one.
    Gap(MessageNumber),
    /// A message, which is in order if no other is missing before it.
    Message {
        number: MessageNumber,
        keyed: bool,
        location: BodyLocation,
        range: Range<usize>,
        in_order: bool,
    },
    /// This message is too long, or its fragments do not form one.
    Unreadable(MessageNumber),
}

#[derive(Debug, Default)]
pub(super) struct Assembler {
    current: Option<Current>,
    assembly: Assembly,
}

impl Assembler {
    /// Whether a datagram is being delivered.
    #[inline]
    pub(super) const fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// Takes the next datagram to deliver.
    #[inline]
    pub(super) fn begin(&mut self, sequence: Sequence, meta: Meta, (location, range): Body) {
        self.current = Some(Current { sequence, location, meta, range, number: None });
    }

    /// Takes the next datagram to deliver from the window.
    pub(super) fn begin_buffered(&mut self, sequencer: &Sequencer, sequence: Sequence, meta: Meta) {
        let range = 0..sequencer.window.body(sequence).len();
        self.begin(sequence, meta, (BodyLocation::Window(sequence), range));
    }

    /// Takes back a datagram that is borrowed from the caller or the filter, and was not delivered.
    pub(super) fn take_unfetched(&mut self) -> Option<Sequence> {
        let is_lent = |current: &mut Current| {
            matches!(current.location, BodyLocation::Datagram | BodyLocation::Decrypted)
        };
        self.current.take_if(is_lent).map(|current| current.sequence)
    }

    /// Buffers the rest of the current datagram, for a caller that needs its memory; delivery continues there if
    /// `is_continued`.
    pub(super) fn buffer_current(&mut self, sequencer: &mut Sequencer, lent: Lent<'_>, is_continued: bool) {
        let Some(mut current) = self.current.take() else { return };
        if matches!(current.location, BodyLocation::Datagram | BodyLocation::Decrypted) {
            let body = lent.get((current.location, current.range));
            sequencer.window.buffer(current.sequence, current.meta, body);
            (current.location, current.range) = (BodyLocation::Window(current.sequence), 0..body.len());
        }
        self.current = Some(current).filter(|_| is_continued);
    }

    /// Whether the first message of the current datagram begins there, and none is missing before it.
    pub(super) fn begins_message(&self, base: Sequence, expected: MessageNumber) -> bool {
        self.current.as_ref().is_some_and(|Current { sequence, meta, number, .. }| {
            number.is_none()
                && meta.begins_message()
                && !(*sequence == base && expected.nearest(meta.message) > expected)
        })
    }

    /// Returns the next message of the current datagram.
    #[inline]
    pub(super) fn next(
        &mut self,
        context: &mut Context,
        sequencer: &mut Sequencer,
        expected: MessageNumber,
        lent: Lent<'_>,
    ) -> Assembled {
        let Some(current) = self.current.take() else { return Assembled::Nothing };
        let number = current.number.unwrap_or_else(|| expected.nearest(current.meta.message));
        let is_in_order = current.sequence == sequencer.base;
        if current.number.is_none() && is_in_order && current.meta.begins_message() && number > expected {
            self.current = Some(current);
            return Assembled::Gap(number);
        }
        match current.meta.flags.has(Flags::BATCH) {
            true => self.next_of_batch(context, sequencer, current, number, expected, lent),
            false => self.next_fragment(context, sequencer, current, number, expected, lent),
        }
    }

    fn next_of_batch(
        &mut self,
        context: &mut Context,
        sequencer: &mut Sequencer,
        mut current: Current,
        number: MessageNumber,
        expected: MessageNumber,
        lent: Lent<'_>,
    ) -> Assembled {
        let body =
            self.bytes(sequencer, lent, current.location).get(current.range.clone()).unwrap_or_default();
        let Ok((mut messages, _)) = Messages::read(body) else {
            context.statistics.malformed += u64::from(!body.is_empty());
            finish(sequencer, &current, number, expected);
            return Assembled::Nothing;
        };
        let start = current.range.start + batch_overhead();
        let range = start..start + messages.next().map_or(0, <[u8]>::len);
        (current.range.start, current.number) = (range.end, Some(number + 1));
        let Current { location, meta: Meta { keyed, .. }, sequence, .. } = current;
        self.current = Some(current);
        Assembled::Message { number, keyed, location, range, in_order: sequence == sequencer.base }
    }

    fn next_fragment(
        &mut self,
        context: &mut Context,
        sequencer: &mut Sequencer,
        mut current: Current,
        number: MessageNumber,
        expected: MessageNumber,
        lent: Lent<'_>,
    ) -> Assembled {
        let Meta { flags, keyed, total, .. } = current.meta;
        let (is_first, is_last) = (flags.has(Flags::BEGIN), flags.has(Flags::END));
        if is_first && is_last {
            let (location, range) = (current.location, current.range.clone());
            let in_order = current.sequence == sequencer.base;
            // It is finished with the next call, because its bytes are still to be borrowed.
            current.meta.flags = flags.without(Flags::BEGIN.with(Flags::END)).with(Flags::BATCH);
            (current.range, current.number) = (range.end..range.end, Some(number + 1));
            self.current = Some(current);
            return Assembled::Message { number, keyed, location, range, in_order };
        }
        let total = total.map_or(0, |total| total as usize);
        let longest = context.config.longest_message.saturating_add(MessageKey::LENGTH);
        let fragment = match current.location {
            BodyLocation::Window(sequence) => sequencer.window.body(sequence),
            location => lent.get((location, current.range.clone())),
        };
        let outcome = match is_first {
            _ if number < expected => AssemblyOutcome::Unrelated,
            true if total > longest => AssemblyOutcome::Invalid,
            true => self.assembly.begin(number, total, current.sequence, keyed, fragment),
            false => self.assembly.add(number, current.sequence, fragment, is_last),
        };
        finish(sequencer, &current, number, expected);
        match outcome {
            AssemblyOutcome::Complete => {
                let (keyed, range) = (self.assembly.keyed, 0..self.assembly.bytes.len());
                Assembled::Message { number, keyed, location: BodyLocation::Assembly, range, in_order: true }
            }
            AssemblyOutcome::Invalid => {
                context.statistics.malformed += 1;
                Assembled::Unreadable(number)
            }
            AssemblyOutcome::Incomplete | AssemblyOutcome::Unrelated => Assembled::Nothing,
        }
    }

    /// Returns the bytes at this place.
    #[inline]
    pub(super) fn bytes<'a>(
        &'a self,
        sequencer: &'a Sequencer,
        lent: Lent<'a>,
        location: BodyLocation,
    ) -> &'a [u8] {
        match location {
            BodyLocation::Datagram => lent.datagram,
            BodyLocation::Decrypted => lent.decrypted,
            BodyLocation::Window(sequence) => sequencer.window.body(sequence),
            BodyLocation::Assembly => &self.assembly.bytes,
        }
    }

    /// Whether fragments of a message wait for the rest of it.
    pub(super) const fn is_in_message(&self) -> bool {
        self.assembly.current.is_some()
    }

    /// Skips a datagram between fragments that is none of them.
    pub(super) fn skip(&mut self, sequence: Sequence) {
        if let Some((_, _, next)) = self.assembly.current.as_mut().filter(|(_, _, next)| *next == sequence) {
            *next += 1;
        }
    }

    /// Gives up the message whose fragments wait.
    pub(super) fn abandon(&mut self) {
        self.assembly.current = None;
    }

    /// Begins with another incarnation.
    pub(super) fn clear(&mut self) {
        self.abandon();
        self.current = None;
    }
}

/// Notes that a datagram was delivered completely. `next` is one past its last message.
fn finish(sequencer: &mut Sequencer, current: &Current, next: MessageNumber, expected: MessageNumber) {
    if current.sequence == sequencer.base {
        sequencer.advance();
    } else {
        let first = expected.nearest(current.meta.message);
        sequencer.window.mark_delivered(current.sequence, first, next.ahead_of(first));
    }
}

/// The message that is being reassembled, or the last one that was.
#[derive(Debug, Default)]
struct Assembly {
    bytes: Vec<u8>,
    /// Its number, its length, and the sequence of its next fragment.
    current: Option<(MessageNumber, usize, Sequence)>,
    keyed: bool,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AssemblyOutcome {
    /// Fragments are still missing.
    Incomplete,
    /// The message is complete.
    Complete,
    /// The fragment does not continue the message that is being reassembled.
    Unrelated,
    /// Its length contradicts the message's; the message is given up.
    Invalid,
}

impl Assembly {
    /// Starts a message with its first fragment.
    fn begin(
        &mut self,
        number: MessageNumber,
        total: usize,
        sequence: Sequence,
        keyed: bool,
        fragment: &[u8],
    ) -> AssemblyOutcome {
        self.bytes.clear();
        self.keyed = keyed;
        self.current = Some((number, total, sequence));
        self.add(number, sequence, fragment, false)
    }

    /// Adds the next fragment.
    fn add(
        &mut self,
        number: MessageNumber,
        sequence: Sequence,
        fragment: &[u8],
        is_last: bool,
    ) -> AssemblyOutcome {
        let Some((current, total, next)) = self.current else { return AssemblyOutcome::Unrelated };
        if current != number || next != sequence {
            return AssemblyOutcome::Unrelated;
        }
        let length = self.bytes.len() + fragment.len();
        if length > total || is_last != (length == total) {
            self.current = None;
            return AssemblyOutcome::Invalid;
        }
        self.bytes.extend_from_slice(fragment);
        self.current = (!is_last).then_some((current, total, next + 1));
        if is_last { AssemblyOutcome::Complete } else { AssemblyOutcome::Incomplete }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::ClockTime;
    use crate::subscriber::config::SubscriberConfig;
    use crate::subscriber::losses::LossAccount;
    use crate::wire::{StreamId, push_message};

    const FIRST: Sequence = Sequence(100);

    struct Layers {
        context: Context,
        sequencer: Sequencer,
        assembler: Assembler,
    }

    impl Layers {
        fn new() -> Self {
            let now = ClockTime(1_000_000_000);
            let config = SubscriberConfig { longest_message: 1_000, ..SubscriberConfig::new(StreamId(1)) };
            let mut sequencer = Sequencer::new(&config, now);
            let context = Context::new(config, now);
            sequencer.begin(&context, FIRST, LossAccount::default());
            Self { context, sequencer, assembler: Assembler::default() }
        }

        /// Passes the next datagram in order to the assembler.
        fn begin(&mut self, flags: Flags, message: u32, total: Option<u32>, body: &[u8]) {
            let (base, meta) = (self.sequencer.base, Meta { flags, message, keyed: false, total });
            self.sequencer.window.lend(base);
            self.assembler.begin(base, meta, (BodyLocation::Datagram, 0..body.len()));
        }

        fn next(&mut self, expected: u64, datagram: &[u8]) -> Assembled {
            let lent = Lent { datagram, decrypted: &[] };
            self.assembler.next(&mut self.context, &mut self.sequencer, MessageNumber(expected), lent)
        }
    }

    fn batch(messages: &[&[u8]]) -> Vec<u8> {
        let (mut body, mut end) = (vec![0; 1_000], 0);
        for message in messages {
            end = push_message(&mut body, end, message).unwrap();
        }
        body.truncate(end);
        body
    }

    #[test]
    fn a_batch_is_the_current_datagram_until_all_of_its_messages_were_taken() {
        let (mut layers, body) = (Layers::new(), batch(&[b"oil", b"tin"]));
        layers.begin(Flags::BATCH, 7, None, &body);
        for (number, text) in [(7, b"oil"), (8, b"tin")] {
            let Assembled::Message { number: taken, range, in_order: true, .. } = layers.next(number, &body)
            else {
                panic!("no message {number}");
            };
            assert_eq!((taken, &body[range]), (MessageNumber(number), &text[..]));
            assert!(layers.assembler.is_busy() && layers.sequencer.base == FIRST);
        }
        assert!(matches!(layers.next(9, &body), Assembled::Nothing));
        assert!(!layers.assembler.is_busy() && layers.sequencer.base == FIRST + 1);
    }

    #[test]
    fn messages_that_are_missing_before_a_datagram_are_reported_before_its_own() {
        let (mut layers, body) = (Layers::new(), batch(&[b"oil"]));
        layers.begin(Flags::BATCH, 7, None, &body);
        assert!(matches!(layers.next(5, &body), Assembled::Gap(MessageNumber(7))));
        assert!(matches!(layers.next(7, &body), Assembled::Message { number: MessageNumber(7), .. }));
    }

    #[test]
    fn fragments_form_a_message_with_the_last_of_them() {
        let mut layers = Layers::new();
        layers.begin(Flags::BEGIN, 7, Some(6), b"oil");
        assert!(matches!(layers.next(7, b"oil"), Assembled::Nothing));
        assert!(layers.assembler.is_in_message());
        layers.begin(Flags::END, 7, None, b"tin");
        let taken = layers.next(7, b"tin");
        let Assembled::Message { location, range, .. } = taken else { panic!("{taken:?}") };
        let lent = Lent { datagram: b"tin", decrypted: &[] };
        assert_eq!(&layers.assembler.bytes(&layers.sequencer, lent, location)[range], b"oiltin");
        assert_eq!(layers.sequencer.base, FIRST + 2);
    }

    #[test]
    fn a_message_that_is_longer_than_allowed_is_unreadable() {
        let mut layers = Layers::new();
        layers.begin(Flags::BEGIN, 7, Some(1_009), b"oil");
        assert!(matches!(layers.next(7, b"oil"), Assembled::Unreadable(MessageNumber(7))));
        assert_eq!((layers.context.statistics.malformed, layers.assembler.is_in_message()), (1, false));
    }
}
