//! The receiving side of a stream: it delivers messages in order, requests repairs with NAKs, and reports losses.
//!
//! The machine is made of layers, and only wires them. Each states its input, its output and its promises at the
//! head of its file; a layer knows those before it in this list, and none after it.
//!
//! | layer | file | what it has to itself |
//! |---|---|---|
//! | `Context` | `context.rs` | nothing: it shares time, settings, the publisher's state, counters, events and control datagrams |
//! | `Filter` | `filter.rs` | ciphers, and signatures if there are any |
//! | `Sequencer` | `sequencer/` | the window, the gaps and their requests, and other sources of repairs |
//! | `Assembler` | `assembler.rs` | the datagram whose messages are delivered, and fragments |
//! | `Reporter` | `reporter.rs` | when to send statuses, and what the application has processed |
//! | `Gate` | `gate.rs`, `succession.rs` | snapshots, losses, and the change to another incarnation |
//!
//! Datagrams come in by `arrive.rs` and `control.rs`, messages are pulled out of the gate, and `timers.rs` lets each layer do what
//! is due.

#[cfg(any(feature = "acknowledgements", feature = "history"))]
mod account;
#[cfg(not(any(feature = "acknowledgements", feature = "history")))]
#[path = "off/account.rs"]
mod account;
mod arrive;
mod arrived;
mod assembler;
mod config;
mod context;
mod control;
mod delivery;
mod event;
mod filter;
mod gate;
mod incarnations;
mod losses;
mod naks;
mod paths;
mod peer;
mod publisher_state;
mod reporter;
mod sequencer;
mod statuses;
mod succession;
mod timers;
mod window;

use core::fmt;
use core::net::SocketAddr;

pub use crate::wire::Position;
#[cfg(any(feature = "acknowledgements", feature = "history"))]
pub use account::HistoryAccount;
#[cfg(feature = "local-repair")]
pub use config::LocalRepair;
pub use config::{OnLoss, Policy, Start, SubscriberConfig};
pub use event::{
    Cause, Item, Message, PathStatistics, Step, SubscriberEvent, SubscriberStatistics, VerificationFailure,
};

use crate::ClockTime;
use crate::outbox::Control;
use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::PinnedKeys;
use crate::wire::{Incarnation, MessageKey, MessageNumber, Status, StreamId, SubscriberId};
#[cfg(feature = "history")]
use crate::wire::{Origin, ServedHistory};
use arrived::Lent;
use assembler::Assembler;
use context::Context;
use event::StepKind;
use filter::Filter;
use gate::{Below, Gate};
use reporter::Reporter;
use sequencer::Sequencer;

/// The subscriber of a stream as a state machine, without sockets, clocks or threads.
///
/// Pass each datagram to [`handle_datagram`](Self::handle_datagram), then call [`poll_item`](Self::poll_item) for messages and events until it
/// returns `None`. [`poll_transmit`](Self::poll_transmit) returns the datagrams to send, and
/// [`poll_timeout`](Self::poll_timeout) the latest time to call both again.
pub struct SubscriberMachine {
    context: Context,
    filter: Filter,
    sequencer: Sequencer,
    assembler: Assembler,
    gate: Gate,
    reporter: Reporter,
}

impl SubscriberMachine {
    /// Returns a subscriber with these settings that starts at `now`.
    #[must_use]
    pub fn new(config: SubscriberConfig, now: ClockTime) -> Self {
        Self {
            filter: Filter::new(now),
            sequencer: Sequencer::new(&config, now),
            assembler: Assembler::default(),
            gate: Gate::new(config.most_keys),
            reporter: Reporter::new(config.has_history),
            context: Context::new(config, now),
        }
    }

    /// Replaces the group's secrets.
    pub fn set_keys(&mut self, keys: Keys) {
        self.context.set_keys(keys);
        self.filter.forget_keys();
        self.sequencer.repairers.forget_keys();
    }

    /// Replaces the public keys that it trusts, for a publisher that changes its key. A subscriber that was created with
    /// none, or is given none, is not changed.
    #[cfg(feature = "signatures")]
    pub fn set_signed_by(&mut self, keys: PinnedKeys) {
        if self.context.config.verifies() && !keys.is_empty() {
            self.context.config.signed_by = keys;
            self.filter.signatures.forget_reports();
        }
    }

    /// Sets the offset from its clock to nanoseconds since 1970, by which replayed recordings of sealed streams are
    /// refused. With `None`, for unknown, nothing is refused because of its age.
    pub fn set_unix_offset(&mut self, offset: Option<u64>) {
        if self.context.config.unix_offset != offset {
            self.context.config.unix_offset = offset;
            self.filter.is_stale_reported = false;
        }
    }

    /// Returns the next message or event. `datagram` is the one that was last passed to [`handle_datagram`](Self::handle_datagram).
    #[inline]
    pub fn poll_item<'a>(&'a mut self, now: ClockTime, datagram: &'a [u8]) -> Option<Item<'a>> {
        let step = self.poll_step(now, datagram)?;
        Some(self.item(&step, datagram))
    }

    /// Returns the next message or event without its bytes, so that nothing stays borrowed.
    #[inline]
    pub fn poll_step(&mut self, now: ClockTime, datagram: &[u8]) -> Option<Step> {
        let Self { context, filter, sequencer, assembler, gate, reporter } = self;
        context.now = now;
        let below = Below { context, sequencer, assembler, reporter };
        gate.poll(below, Lent { datagram, decrypted: &filter.decrypted })
    }

    /// Returns the message or event of a step, which must be the last one that was returned.
    #[inline]
    #[must_use]
    pub fn item<'a>(&'a self, step: &Step, datagram: &'a [u8]) -> Item<'a> {
        let (number, keyed, location, range) = match &step.0 {
            StepKind::Message { number, keyed, location, range } => {
                (*number, *keyed, *location, range.clone())
            }
            StepKind::Event(event) => return Item::Event(*event),
            StepKind::History => {
                let what = "a message of the history is not in the subscriber";
                debug_assert!(false, "{what}");
                return Item::Event(SubscriberEvent::InternalError(what));
            }
        };
        let lent = Lent { datagram, decrypted: &self.filter.decrypted };
        // Never an empty message in place of one that is not there.
        let Some(bytes) = self.assembler.bytes(&self.sequencer, lent, location).get(range) else {
            debug_assert!(false, "the datagram of a message is not the one that was handled last");
            return Item::Event(SubscriberEvent::InternalError("the datagram of a message is missing"));
        };
        let incarnation = self.context.publisher.content_incarnation().unwrap_or(Incarnation(0));
        let (key, bytes) = match bytes.split_first_chunk::<{ MessageKey::LENGTH }>().filter(|_| keyed) {
            Some((key, rest)) => (Some(MessageKey(u64::from_be_bytes(*key))), rest),
            None => (None, bytes),
        };
        Item::Message(Message { incarnation, number, key, bytes })
    }

    /// Buffers what arrives, for a caller that is busy with a message: the rest of the datagram that was
    /// last passed to [`handle_datagram`](Self::handle_datagram), and every datagram that is handled until [`poll_item`](Self::poll_item) is called again,
    /// within the window. Continue to call [`poll_transmit`](Self::poll_transmit), so that the publisher learns what has arrived and how
    /// much room is left.
    pub fn start_buffering(&mut self, datagram: &[u8]) {
        self.context.delivery.is_buffering = true;
        let lent = Lent { datagram, decrypted: &self.filter.decrypted };
        self.assembler.buffer_current(&mut self.sequencer, lent, true);
    }

    /// Continues after a snapshot that covers all messages before this number.
    pub fn resume(&mut self, message: MessageNumber) {
        if self.context.delivery.resume() {
            self.assembler.abandon();
            self.context.delivery.expected = message;
            self.reporter.account.skip_to(message);
        }
    }

    /// Stops waiting for repairs, for an application that is about to stop. [`poll_item`](Self::poll_item) then returns the
    /// messages that have arrived, with an [`SubscriberEvent::Lost`] for each gap between them. If the publisher is
    /// silent and has not ended its stream, [`SubscriberEvent::LostUnknown`] follows.
    pub fn abandon(&mut self) {
        self.gate.abandoned.get_or_insert(Cause::Abandoned);
    }

    /// Returns the next datagram to send now. Call it until it returns `None`.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<Control> {
        self.run_timers(now);
        self.assert_invariants();
        if self.context.outbox.is_empty() {
            self.send_local_repair();
        }
        self.context.outbox.pop()
    }

    /// Notes datagrams that the socket did not accept. They count as lost on the network.
    pub const fn on_not_sent(&mut self, datagrams: u64) {
        self.context.statistics.not_sent += datagrams;
    }

    /// Takes back a datagram that was sent, to reuse its buffer.
    pub fn reuse(&mut self, control: Control) {
        self.context.outbox.reuse(control);
    }

    /// Leaves the stream, so that the publisher no longer waits for this subscriber.
    pub fn leave(&mut self, now: ClockTime) {
        self.context.now = now;
        self.reporter.leave(&mut self.context, &self.sequencer, 0);
    }

    /// Leaves the stream because of an error, so that the application may not have processed what it was given.
    pub fn fail(&mut self, now: ClockTime) {
        self.context.now = now;
        self.reporter.leave(&mut self.context, &self.sequencer, Status::FAILED);
    }

    /// Whether datagrams are missing that are known to have been sent and are not yet reported as lost.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.sequencer.naks.is_empty()
    }

    /// Returns the size of the longest datagram that the publisher sends, in bytes; 0 until it is known.
    #[must_use]
    pub const fn longest_datagram(&self) -> u16 {
        self.context.heartbeat().datagram
    }

    /// Returns the stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.context.config.stream
    }

    /// Returns the identity by which the publisher knows this subscriber.
    #[must_use]
    pub const fn id(&self) -> SubscriberId {
        self.context.id
    }

    /// Returns its settings.
    #[must_use]
    pub const fn config(&self) -> &SubscriberConfig {
        &self.context.config
    }

    /// Returns the publisher's incarnation that is followed, once one of its heartbeats has arrived.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.context.publisher.incarnations.current()
    }

    /// Returns where the messages of that incarnation come from, if its publisher reads them from an engine.
    #[cfg(feature = "history")]
    #[must_use]
    pub const fn origin(&self) -> Option<Origin> {
        self.context.publisher.incarnations.provenance.origin
    }

    /// Returns the history of the stream that that publisher serves.
    #[cfg(feature = "history")]
    #[must_use]
    pub const fn served_history(&self) -> Option<ServedHistory> {
        self.context.publisher.incarnations.provenance.history
    }

    /// Returns when the last heartbeat of that publisher arrived; `None` if there is no publisher.
    #[must_use]
    pub fn last_heartbeat(&self) -> Option<ClockTime> {
        self.incarnation().map(|_| self.context.publisher.liveness.heard_at())
    }

    /// Returns the address from which the heartbeats of that publisher arrive.
    #[must_use]
    pub const fn publisher(&self) -> Option<SocketAddr> {
        self.context.publisher.peer.get()
    }

    /// Returns whether this is the address of another subscriber that was chosen to repair for this one.
    #[must_use]
    pub fn is_repairer(&self, address: SocketAddr) -> bool {
        self.sequencer.repairers.knows(address)
    }

    /// Returns the number of the message to be delivered next.
    #[must_use]
    pub const fn next_message(&self) -> MessageNumber {
        self.context.delivery.expected
    }

    /// Whether the stream was closed and everything was delivered or reported as lost.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.context.delivery.has_ended
    }

    /// Whether the stream has ended and the publisher needs no more confirmations of that.
    #[must_use]
    pub fn is_end_confirmed(&self) -> bool {
        let is_confirmed = self.reporter.statuses.is_end_confirmed();
        self.has_ended() && (is_confirmed || self.context.publisher.peer.is_unprovable())
    }

    /// Whether a loss has stopped it, with [`OnLoss::Stop`].
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.context.delivery.has_stopped()
    }

    /// Returns its counters.
    #[must_use]
    pub fn statistics(&self) -> SubscriberStatistics {
        SubscriberStatistics {
            round_trip: self.context.round_trip(),
            reordering: self.sequencer.naks.reordering(),
            waiting: self.sequencer.window.len() as u64,
            unverified: self.sequencer.stage.len() as u64,
            ..self.context.statistics
        }
    }

    /// Returns the counters of each path.
    #[must_use]
    pub fn paths(&self) -> &[PathStatistics] {
        self.context.paths.statistics()
    }

    /// Returns the number of datagrams in its window.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.sequencer.window.len()
    }

    /// Checks what always holds between two calls.
    fn assert_invariants(&self) {
        let (counted, Sequencer { window, naks, .. }) = (&self.context.statistics, &self.sequencer);
        debug_assert!(window.len() as u64 <= window.length(), "more datagrams than the window has");
        debug_assert!(naks.first_gap().is_none_or(|gap| gap.first < gap.end), "nothing is missing in a gap");
        debug_assert!(counted.recovered <= counted.received, "more was recovered than received");
        debug_assert!(counted.repaired_locally <= counted.received, "more was repaired than received");
        debug_assert!(counted.naks_to_repairers <= counted.naks, "more NAKs to repairers than NAKs");
    }
}

impl fmt::Debug for SubscriberMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberMachine")
            .field("stream", &self.stream())
            .field("id", &self.id())
            .field("incarnation", &self.incarnation())
            .field("base", &self.sequencer.base)
            .field("highest", &self.sequencer.highest)
            .field("expected", &self.next_message())
            .finish_non_exhaustive()
    }
}
