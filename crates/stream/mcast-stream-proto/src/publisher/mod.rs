//! The publisher: five layers, and one machine that wires them.
//!
//! | layer | where | what it decides |
//! |---|---|---|
//! | intake | `intake.rs` | numbers, packing, manifests |
//! | ring | `ring.rs` | what is retained, and until when |
//! | scheduler | `scheduler.rs`; `repair_scheduler.rs`, `repair_flow.rs`, `heartbeats.rs` | what is sent next |
//! | pacer | `pacing.rs` | when the rate admits it |
//! | audience | `subscribers.rs`; `members.rs`, `flow.rs`, `ending.rs`, `ranking.rs` | which subscribers it waits for |
//!
//! Messages pass them from top to bottom, reports of subscribers from bottom to top: `feedback.rs` reads these. The
//! machine asks the layers in turn: `transmit.rs` for the next datagram, and `state.rs` when a timer is due.
//!
//! Options are layers of their own, each in a folder or file: `acknowledgements`, `auto_rate`, `continuation.rs`,
//! `directory.rs`, `parity`, `signing.rs`. What stands for one that is left out is in `off`.

#[cfg(feature = "acknowledgements")]
mod acknowledgements;
#[cfg(not(feature = "acknowledgements"))]
#[path = "off/acknowledgements.rs"]
mod acknowledgements;
mod audience;
#[cfg(feature = "auto-rate")]
mod auto_rate;
#[cfg(not(feature = "auto-rate"))]
#[path = "off/auto_rate.rs"]
mod auto_rate;
mod config;
#[cfg(feature = "history")]
mod continuation;
#[cfg(not(feature = "history"))]
#[path = "off/continuation.rs"]
mod continuation;
#[cfg(feature = "local-repair")]
mod directory;
#[cfg(not(feature = "local-repair"))]
#[path = "off/directory.rs"]
mod directory;
mod ending;
mod event;
mod feedback;
mod flow;
mod heartbeats;
mod intake;
mod members;
mod pacing;
#[cfg(feature = "parity")]
mod parity;
#[cfg(not(feature = "parity"))]
#[path = "off/parity.rs"]
mod parity;
#[cfg(feature = "acknowledgements")]
mod quorum;
mod ranking;
mod repair_flow;
mod repair_scheduler;
mod ring;
mod scheduler;
mod sealer;
#[cfg(feature = "signatures")]
mod signing;
#[cfg(not(feature = "signatures"))]
#[path = "off/signing.rs"]
mod signing;
mod state;
mod subscribers;
mod transmit;

use alloc::vec::Vec;
use core::fmt;

pub use audience::{Audience, SubscriberProgress};
#[cfg(feature = "parity")]
pub use config::Fec;
#[cfg(feature = "auto-rate")]
pub use config::{AutoRate, Congestion};
pub use config::{ConfigError, PublisherConfig, PublisherRate};
#[cfg(feature = "history")]
pub use continuation::LogNeeds;
#[cfg(feature = "reports")]
pub use event::{KnownSubscribers, lacking};
pub use event::{PublisherEvent, PublisherStatistics, Refusal};
pub use intake::OutgoingMessage;
#[cfg(feature = "acknowledgements")]
pub use quorum::{
    AckLevel, AckProgress, AckState, AckWait, Acknowledgers, Quorum, QuorumLoss, SubscriberPresence,
    Watermarks,
};
pub use transmit::Transmit;

use crate::ClockTime;
use crate::seal::Keys;
use crate::wire::{
    HEADER_LENGTH, Header, KeyEpoch, Kind, MessageKey, MessageNumber, Sequence, TAG_LENGTH, batch_overhead,
};
use auto_rate::LinkRates;
use continuation::Continuation;
use event::EventQueue;
use intake::{FRAGMENTED_EXTRA, Intake, KEYED_EXTENSION, Writing};
use members::Members;
use pacing::Pacer;
use repair_scheduler::RepairScheduler;
use ring::Ring;
use scheduler::Scheduler;
use sealer::{SALT_EXTENSION, Sealer};
use signing::Signing;
use subscribers::Subscribers;

/// What all layers share: the settings, what is counted and reported, and whether something has failed.
struct Context {
    config: PublisherConfig,
    statistics: PublisherStatistics,
    events: EventQueue,
    /// Why nothing more is accepted, if something has failed.
    failure: Option<Refusal>,
}

impl Context {
    fn header(&self, kind: Kind, sequence: u64) -> Header {
        let header = Header::new(kind, self.config.stream, self.config.incarnation, sequence);
        Header { epoch: self.config.keys.latest(), ..header }
    }

    /// Accepts nothing more, for the first reason given.
    fn fail(&mut self, reason: Refusal) {
        self.failure.get_or_insert(reason);
    }

    /// Returns whether datagrams are sealed.
    const fn seals(&self) -> bool {
        !self.config.keys.is_empty()
    }

    /// Returns the bytes of a datagram that sealing uses.
    const fn seal_length(&self) -> usize {
        if self.seals() { SALT_EXTENSION + TAG_LENGTH } else { 0 }
    }

    const fn tag_length(&self) -> usize {
        if self.seals() { TAG_LENGTH } else { 0 }
    }
}

/// What the rate is derived from, and what follows it.
struct Publishing<'a> {
    ring: &'a Ring,
    members: &'a mut Members,
    repairs: &'a mut RepairScheduler,
    pacer: &'a mut Pacer,
    context: &'a mut Context,
}

/// The publisher of a stream, without sockets, clocks and threads.
///
/// Pass messages to [`publish`](Self::publish) or [`claim`](Self::claim), and datagrams of subscribers to
/// [`handle_datagram`](Self::handle_datagram). [`poll_transmit`](Self::poll_transmit) returns what to send next, and
/// [`poll_timeout`](Self::poll_timeout) the time by which to call it again.
pub struct PublisherMachine {
    context: Context,
    intake: Intake,
    ring: Ring,
    scheduler: Scheduler,
    pacer: Pacer,
    rates: LinkRates,
    subscribers: Subscribers,
    sealer: Sealer,
    signing: Option<Signing>,
    scratch: Vec<u8>,
    continuation: Continuation,
    check_at: ClockTime,
}

impl PublisherMachine {
    /// The most messages to omit at once: numbers in datagrams have 32 bits, and each is read as the nearest one to that
    /// of the message before.
    pub const MAX_SKIP: u64 = 1 << 30;

    /// Creates a publisher whose clock reads `now`.
    ///
    /// # Errors
    /// [`ConfigError`] when a setting is out of range.
    pub fn new(config: PublisherConfig, now: ClockTime) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            intake: Intake::new(config.first_message),
            ring: Ring::new(config.retransmission_buffer, config.datagram),
            scheduler: Scheduler::new(&config, now),
            pacer: Pacer::new(config.rate.fixed(), config.datagram, now),
            rates: LinkRates::new(&config, now),
            subscribers: Subscribers::new(&config, now),
            sealer: Sealer::new(config.seed),
            signing: Signing::of(&config, now),
            scratch: Vec::new(),
            continuation: Continuation::NONE,
            check_at: now,
            context: Context {
                config,
                statistics: PublisherStatistics::default(),
                events: EventQueue::default(),
                failure: None,
            },
        })
    }

    /// Publishes a message, and returns its number. It is sent at the next [`flush`](Self::flush), when its datagram is
    /// full, or after [`linger`](PublisherConfig::linger).
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

    /// Publishes the claimed message, and returns its number.
    ///
    /// # Errors
    /// [`Refusal::Writing`] when nothing was claimed.
    #[inline]
    pub fn commit(&mut self, now: ClockTime) -> Result<MessageNumber, Refusal> {
        let (intake, mut at) = self.writing();
        intake.commit(now, &mut at).ok_or(Refusal::Writing)
    }

    /// Returns the length of the longest message that fits one datagram.
    #[must_use]
    pub const fn longest_claim(&self, keyed: bool) -> usize {
        let head = HEADER_LENGTH + if keyed { KEYED_EXTENSION + MessageKey::LENGTH } else { 0 };
        let longest =
            self.context.config.longest_data() - head - self.context.seal_length() - batch_overhead();
        if longest > u16::MAX as usize { u16::MAX as usize } else { longest }
    }

    /// Completes the current datagram, so that it can be sent.
    #[inline]
    pub fn flush(&mut self, now: ClockTime) {
        let (intake, mut at) = self.writing();
        intake.flush(now, &mut at);
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
        while self.intake.left_to_write().is_some()
            && taken < bytes.len()
            && (self.intake.is_open() || self.room_for(now, 1).is_ok())
        {
            let (intake, mut at) = self.writing();
            match intake.write(now, &bytes[taken..], &mut at) {
                0 => break,
                count => taken += count,
            }
        }
        taken
    }

    /// Returns how many bytes of a long message are still to be written.
    #[must_use]
    pub fn left_to_write(&self) -> usize {
        self.intake.left_to_write().unwrap_or(0)
    }

    /// Ends the stream after the messages published so far. Heartbeats announce the end to subscribers; repairs
    /// continue for as long as the caller polls the publisher.
    pub fn close(&mut self, now: ClockTime) {
        self.flush_all(now);
        self.intake.close();
        self.scheduler.heartbeats.restart(now);
    }

    /// Omits the messages before this number, because they are missing where the publisher reads them from. Subscribers
    /// report them as lost.
    ///
    /// # Errors
    /// [`Refusal::Writing`] while a long message is being written, [`Refusal::Closed`] after the end, and
    /// [`Refusal::TooFar`] for more than [`MAX_SKIP`](Self::MAX_SKIP) messages: these need another incarnation; and
    /// [`Refusal::NoQuorum`] until the messages before are acknowledged as the [`quorum`](PublisherConfig::quorum) requires.
    pub fn skip_to(&mut self, now: ClockTime, number: MessageNumber) -> Result<(), Refusal> {
        self.intake.check_open(&self.context)?;
        if number.ahead_of(self.intake.next_message()) > Self::MAX_SKIP {
            return Err(Refusal::TooFar);
        }
        self.flush(now);
        let next = self.intake.next_message();
        if number > next {
            if self.subscribers.acknowledgements.as_mut().is_some_and(|known| !known.skip(next, number)) {
                return Err(Refusal::NoQuorum);
            }
            self.intake.skip_to(number);
            self.scheduler.heartbeats.restart(now);
        }
        Ok(())
    }

    /// Seals with the greatest epoch in `keys` from the next datagram on, and opens with all of them. Give subscribers
    /// a new secret before the publisher. What was sent before, sealed with an earlier epoch that is no longer among them,
    /// is no longer repaired: a subscriber that has only these keys could not open it.
    pub fn set_keys(&mut self, now: ClockTime, keys: Keys) {
        self.flush_all(now);
        self.ring.drop_while_sent(|header| {
            header.epoch < keys.latest() && header.epoch != KeyEpoch::CLEAR && !keys.has(header.epoch)
        });
        self.context.config.keys = keys;
        self.sealer.clear();
        for (_, member) in self.subscribers.members.iter_mut() {
            member.cipher = None;
        }
    }

    /// Stops the publisher, because a panic within it may have left its state half changed: it refuses messages with
    /// [`Refusal::Internal`], sends nothing more, and ignores feedback.
    pub const fn halt(&mut self) {
        self.context.failure = Some(Refusal::Internal);
    }

    /// Whether it was [halted](Self::halt).
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        matches!(self.context.failure, Some(Refusal::Internal))
    }

    fn record_internal_error(&mut self, what: &'static str) {
        self.context.statistics.internal_errors += 1;
        if self.context.statistics.internal_errors.is_power_of_two() {
            self.context.events.push(PublisherEvent::InternalError(what));
        }
    }

    fn publish_long(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        message: &[u8],
    ) -> Result<MessageNumber, Refusal> {
        self.check_message(message.len())?;
        let longest = self.longest_fragmented();
        if message.len() > longest {
            return Err(Refusal::TooLong { length: message.len(), longest });
        }
        let fragments = (message.len() + FRAGMENTED_EXTRA).div_ceil(self.fragment_capacity());
        self.flush_all(now);
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
        self.check_message(length)?;
        // A manifest cannot be written between fragments that wait for their bytes.
        self.flush_all(now);
        self.room_for(now, 1)?;
        let (intake, mut at) = self.writing();
        Ok(intake.begin(now, key, length, &mut at))
    }

    fn claim_with(
        &mut self,
        now: ClockTime,
        key: Option<MessageKey>,
        length: usize,
    ) -> Result<&mut [u8], Refusal> {
        self.intake.check_open(&self.context)?;
        let longest = self.longest_claim(key.is_some());
        if length > longest {
            return Err(Refusal::TooLong { length, longest });
        }
        self.check_message(length)?;
        if !self.intake.fits(key, length) {
            let (intake, mut at) = self.writing();
            intake.complete(now, &mut at);
            self.room_for(now, 1)?;
            let (intake, mut at) = self.writing();
            intake.open_batch(now, key.is_some(), &mut at);
        }
        if !self.intake.fits(key, length) {
            impossible!(self, "no datagram is open for a message");
            return Err(Refusal::Unsent);
        }
        self.intake.claim(key, length, &mut self.ring).ok_or(Refusal::Unsent)
    }

    /// Checks that a message of this length may be published now.
    #[inline]
    fn check_message(&self, length: usize) -> Result<(), Refusal> {
        self.intake.check_open(&self.context)?;
        let longest = self.context.config.longest_message;
        if length > longest {
            return Err(Refusal::TooLong { length, longest });
        }
        let next = self.intake.next_message();
        match &self.subscribers.acknowledgements {
            Some(acknowledgements) if acknowledgements.blocks(next) => Err(Refusal::NoQuorum),
            _ => Ok(()),
        }
    }

    /// Completes the current datagram, and writes a manifest of all data.
    fn flush_all(&mut self, now: ClockTime) {
        let (intake, mut at) = self.writing();
        intake.flush(now, &mut at);
        intake.write_manifest(now, &mut at);
    }

    /// Returns the rates of the links, and what they follow from.
    const fn publishing(&mut self) -> (&mut LinkRates, Publishing<'_>) {
        let Self { rates, ring, subscribers, scheduler, pacer, context, .. } = self;
        let (members, repairs) = (&mut subscribers.members, &mut scheduler.repairs);
        (rates, Publishing { ring, members, repairs, pacer, context })
    }

    /// Returns the intake, and what it writes to.
    fn writing(&mut self) -> (&mut Intake, Writing<'_>) {
        let data_length = self.data_length();
        let Self { intake, ring, sealer, signing, context, .. } = self;
        (intake, Writing { ring, sealer, signing, context, data_length })
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
        self.context.config.longest_fragment() - HEADER_LENGTH - self.context.seal_length()
    }

    /// Checks that `count` more datagrams fit without overwriting data that is still needed.
    fn room_for(&mut self, now: ClockTime, count: u64) -> Result<(), Refusal> {
        let count = self.with_manifests(count);
        let sent = self.ring.sent;
        let slowest =
            if self.context.config.has_flow_control() { self.subscribers.members.slowest() } else { None };
        let keep = match slowest {
            Some((_, next)) => next.clamp(self.ring.oldest_retained, sent),
            // What waits for the rate leaves half of the buffer to repairs of what was sent. A message that has been begun must
            // be finished, however long it is.
            None if self.ring.next > sent && self.intake.left_to_write().is_none() => {
                Sequence(sent.0.saturating_sub(self.ring.capacity() / 2))
            }
            None => sent,
        };
        let keep = self.continuation.kept().map_or(keep, |kept| keep.min(kept));
        if self.ring.has_room(count, keep) {
            if self.subscribers.flow.is_blocked() && self.data_limit(now) > sent {
                self.subscribers.flow.unblock();
            }
            return Ok(());
        }
        let is_full = self.data_limit(now) <= sent;
        if !is_full && sent < self.ring.next {
            // The datagrams that wait for the rate are sent meanwhile: the publisher does not wait for a subscriber yet.
            return Err(Refusal::Unsent);
        }
        let narrowest = self.subscribers.members.narrowest().filter(|_| is_full);
        match narrowest.or_else(|| slowest.filter(|(_, next)| *next < sent)) {
            Some((subscriber, _)) => {
                self.subscribers.flow.need_room(count);
                self.block(now);
                let next = self.subscribers.members.get(subscriber).map(|member| member.progress.next);
                let next = next.unwrap_or_default();
                Err(Refusal::WaitingFor { subscriber, next })
            }
            None => Err(Refusal::Unsent),
        }
    }

    /// Records that flow control stops the publisher, and requests statuses.
    pub(super) fn block(&mut self, now: ClockTime) {
        if self.subscribers.flow.block(now) {
            self.request_statuses();
        }
    }

    /// Checks what always holds between two calls.
    fn assert_invariants(&self) {
        let Ring { oldest_retained, sent, next, .. } = self.ring;
        debug_assert!(
            oldest_retained <= sent,
            "data was dropped before it was sent: {oldest_retained} > {sent}"
        );
        debug_assert!(sent <= next, "what was sent does not exist: {sent} > {next}");
        debug_assert!(self.ring.len() == next - oldest_retained, "the retransmission buffer has a hole");
        debug_assert!(
            self.subscribers.members.len() <= self.context.config.most_subscribers,
            "more subscribers than are admitted"
        );
        debug_assert!(
            self.intake.next_message() >= self.context.config.first_message,
            "message numbers move backwards"
        );
        debug_assert!(
            !self.intake.is_open() || !self.intake.is_closed(),
            "a datagram is written after the end"
        );
        debug_assert!(
            self.context.statistics.parity_repairs <= self.context.statistics.group_repairs,
            "more repairs with parity than repairs"
        );
        debug_assert!(self.context.statistics.manifests <= next.0, "more manifests than datagrams");
    }

    /// Returns the number of data datagrams that were sent, without repairs.
    #[inline]
    #[must_use]
    pub const fn datagrams_sent(&self) -> u64 {
        self.context.statistics.datagrams
    }

    /// Returns the number of events that ever happened, fetched or not.
    #[must_use]
    pub const fn events_pushed(&self) -> u64 {
        self.context.events.pushed
    }

    /// Returns the last `count` events, the oldest first, of those that are not fetched.
    pub fn latest_events(&self, count: u64) -> impl Iterator<Item = &PublisherEvent> {
        self.context.events.latest(count)
    }

    /// Sets the offset from the publisher's clock to nanoseconds since 1970. Call it again after a correction of the
    /// system's clock.
    pub const fn set_unix_offset(&mut self, offset: Option<u64>) {
        self.context.config.unix_offset = offset;
    }

    /// Returns the oldest event that was not fetched yet.
    pub fn poll_event(&mut self) -> Option<PublisherEvent> {
        self.context.events.pop()
    }

    /// Returns the counters of this publisher.
    #[must_use]
    pub fn statistics(&self) -> PublisherStatistics {
        PublisherStatistics {
            round_trip: self.subscribers.round_trip,
            subscribers: self.subscribers.members.len() as u64,
            rate: self.pacer.rate(),
            limiting: self.rates.limiting().0,
            queueing: self.rates.limiting().1,
            ..self.context.statistics
        }
    }

    /// Returns the settings.
    #[must_use]
    pub const fn config(&self) -> &PublisherConfig {
        &self.context.config
    }

    /// Returns the number of the next message.
    #[must_use]
    pub const fn next_message(&self) -> MessageNumber {
        self.intake.next_message()
    }

    /// Returns whether everything published has been sent once.
    #[inline]
    #[must_use]
    pub fn is_sent(&self) -> bool {
        let is_signed = self.signing.as_ref().is_none_or(Signing::is_complete);
        self.ring.sent == self.ring.next
            && !self.intake.is_open()
            && is_signed
            && !self.scheduler.parity.is_waiting()
    }

    /// Returns the number of complete datagrams not sent yet.
    #[inline]
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.ring.next - self.ring.sent
    }

    /// Returns whether messages wait: for others, in their datagram, or for it to be sent.
    #[inline]
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.intake.is_open()
    }
}

impl fmt::Debug for PublisherMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherMachine")
            .field("stream", &self.context.config.stream)
            .field("incarnation", &self.context.config.incarnation)
            .field("next", &self.ring.next)
            .field("next_message", &self.intake.next_message())
            .finish_non_exhaustive()
    }
}
