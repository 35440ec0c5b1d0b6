//! The receiving side of a stream: it delivers messages in order, requests repairs with NAKs, and reports losses.

mod account;
mod arrive;
mod config;
mod deliver;
mod event;
mod feedback;
mod followed;
mod manifest;
mod naks;
mod peer;
mod publisher_state;
#[cfg(feature = "parity")]
mod recovery;
#[cfg(not(feature = "parity"))]
#[path = "off/recovery.rs"]
mod recovery;
#[cfg(feature = "local-repair")]
mod repairers;
#[cfg(not(feature = "local-repair"))]
#[path = "off/repairers.rs"]
mod repairers;
mod statuses;
#[cfg(feature = "signatures")]
mod verify;
#[cfg(not(feature = "signatures"))]
#[path = "off/verify.rs"]
mod verify;
mod window;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

pub use crate::wire::Position;
pub use account::HistoryAccount;
#[cfg(feature = "local-repair")]
pub use config::LocalRepair;
pub use config::{OnLoss, Policy, Start, SubscriberConfig};
pub use event::{
    Cause, Item, Message, PathStatistics, Step, SubscriberEvent, SubscriberStatistics, VerificationFailure,
};

use crate::ClockTime;
use crate::outbox::{Control, Outbox};
use crate::random::Random;
use crate::seal::{Ciphers, Keys};
#[cfg(feature = "signatures")]
use crate::sign::PinnedKeys;
use crate::wire::{FlowControl, Incarnation, MessageNumber, Origin, ServedHistory, StreamId, SubscriberId};
use account::{Account, LossAccount};
use arrive::Paths;
use followed::{Followed, Incarnations};
use peer::{MAX_ROUND_TRIP, MIN_ROUND_TRIP, Peer};
use repairers::Repairers;
use statuses::{Reported, StatusScheduler};
use window::{Delivery, Latest};

/// Limit of the queue of events that were not fetched. Further events are dropped.
const MAX_EVENTS: usize = 256;

/// The subscriber of a stream as a state machine, without sockets, clocks or threads.
///
/// Pass each datagram to [`handle_datagram`](Self::handle_datagram), then call [`poll_item`](Self::poll_item) for messages and events until it
/// returns `None`. [`poll_transmit`](Self::poll_transmit) returns the datagrams to send, and
/// [`poll_timeout`](Self::poll_timeout) the latest time to call both again.
pub struct SubscriberMachine {
    config: SubscriberConfig,
    id: SubscriberId,
    random: Random,
    incarnations: Incarnations,
    followed: Followed,
    publisher: Peer,
    /// The other subscribers that repair for this one.
    repairers: Repairers,
    /// The next message to deliver.
    expected: MessageNumber,
    delivery: Delivery,
    /// No repair is awaited any more: everything missing is lost, for this reason.
    abandoned: Option<Cause>,
    has_left: bool,
    cause: Cause,
    latest: Latest,
    paths: Paths,
    events: VecDeque<SubscriberEvent>,
    outbox: Outbox,
    ciphers: Ciphers,
    decrypted: Vec<u8>,
    control_count: u64,
    statuses: StatusScheduler,
    losses: LossAccount,
    account: Account,
    reported: Reported,
    statistics: SubscriberStatistics,
}

impl SubscriberMachine {
    /// Returns a subscriber with these settings that starts at `now`.
    #[must_use]
    pub fn new(config: SubscriberConfig, now: ClockTime) -> Self {
        let mut random = Random::new(config.seed);
        let mut paths = Paths::new(config.paths);
        paths.begin(now);
        Self {
            id: SubscriberId(random.next()),
            random,
            incarnations: Incarnations::none(),
            followed: Followed::nothing(&config, now),
            publisher: Peer::unknown(now),
            repairers: Repairers::new(&config, now),
            expected: MessageNumber(0),
            delivery: Delivery::new(),
            abandoned: None,
            has_left: false,
            cause: Cause::Unrecoverable,
            latest: Latest::new(config.most_keys),
            paths,
            events: VecDeque::new(),
            outbox: Outbox::default(),
            ciphers: Ciphers::default(),
            decrypted: Vec::new(),
            control_count: 0,
            statuses: StatusScheduler::default(),
            losses: LossAccount::default(),
            account: Account::new(config.has_history),
            reported: Reported::nothing(),
            statistics: SubscriberStatistics::default(),
            config,
        }
    }

    /// Replaces the group's secrets.
    pub fn set_keys(&mut self, keys: Keys) {
        self.config.keys = keys;
        self.ciphers.clear();
        self.repairers.forget_keys();
        self.reported.forget_keys();
    }

    /// Replaces the public keys that it trusts, for a publisher that changes its key. A subscriber that was created with
    /// none, or is given none, is not changed.
    #[cfg(feature = "signatures")]
    pub fn set_signed_by(&mut self, keys: PinnedKeys) {
        if self.is_verifying() && !keys.is_empty() {
            self.config.signed_by = keys;
            self.followed.verification.forget_reports();
        }
    }

    /// Sets the offset from its clock to nanoseconds since 1970, by which replayed recordings of sealed streams are
    /// refused. With `None`, for unknown, nothing is refused because of its age.
    pub fn set_unix_offset(&mut self, offset: Option<u64>) {
        if self.config.unix_offset != offset {
            self.config.unix_offset = offset;
            self.reported.forget_stale();
        }
    }

    /// Whether datagrams are missing that are known to have been sent and are not yet reported as lost.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.followed.naks.is_empty()
    }

    /// Returns the size of the longest datagram that the publisher sends, in bytes; 0 until it is known.
    #[must_use]
    pub const fn longest_datagram(&self) -> u16 {
        self.followed.heartbeat.datagram
    }

    /// Stops waiting for repairs, for an application that is about to stop. [`poll_item`](Self::poll_item) then returns the
    /// messages that have arrived, with an [`SubscriberEvent::Lost`] for each gap between them. If the publisher is
    /// silent and has not ended its stream, [`SubscriberEvent::LostUnknown`] follows.
    pub fn abandon(&mut self) {
        self.abandon_as(Cause::Abandoned);
    }

    /// Continues after a snapshot that covers all messages before this number.
    pub fn resume(&mut self, message: MessageNumber) {
        if self.delivery.resume() {
            self.followed.assembly.abandon();
            self.expected = message;
            self.account.skip_to(message);
        }
    }

    /// Buffers what arrives, for a caller that is busy with a message: the rest of the datagram that was
    /// last passed to [`handle_datagram`](Self::handle_datagram), and every datagram that is handled until [`poll_item`](Self::poll_item) is called again,
    /// within the window. Continue to call [`poll_transmit`](Self::poll_transmit), so that the publisher learns what has arrived and how
    /// much room is left.
    pub fn start_buffering(&mut self, datagram: &[u8]) {
        self.delivery.set_buffering(true);
        if let Some(current) = self.followed.current.take() {
            self.followed.current = Some(self.move_to_window(current, datagram));
        }
    }

    /// Returns the next datagram to send now. Call it until it returns `None`.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<Control> {
        self.run_timers(now);
        self.assert_invariants();
        if self.outbox.is_empty() {
            self.send_local_repair(now);
        }
        self.outbox.pop()
    }

    /// Notes datagrams that the socket did not accept. They count as lost on the network.
    pub const fn on_not_sent(&mut self, datagrams: u64) {
        self.statistics.not_sent += datagrams;
    }

    /// Takes back a datagram that was sent, to reuse its buffer.
    pub fn reuse(&mut self, control: Control) {
        self.outbox.reuse(control);
    }

    /// Returns the stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.config.stream
    }

    /// Returns the identity by which the publisher knows this subscriber.
    #[must_use]
    pub const fn id(&self) -> SubscriberId {
        self.id
    }

    /// Returns its settings.
    #[must_use]
    pub const fn config(&self) -> &SubscriberConfig {
        &self.config
    }

    /// Returns the publisher's incarnation that is followed, once one of its heartbeats has arrived.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnations.current()
    }

    /// Returns where the messages of that incarnation come from, if its publisher reads them from an engine.
    #[must_use]
    pub const fn origin(&self) -> Option<Origin> {
        self.incarnations.origin()
    }

    /// Whether it sends nothing: by its settings, or because the publisher receives nothing.
    pub(super) fn sends_nothing(&self) -> bool {
        self.config.mute || self.followed.heartbeat.flow == FlowControl::OneWay
    }

    pub(super) fn requests_repairs(&self) -> bool {
        self.config.repairs() && !self.sends_nothing()
    }

    /// Returns the history of the stream that that publisher serves.
    #[must_use]
    pub const fn served_history(&self) -> Option<ServedHistory> {
        self.incarnations.history()
    }

    /// Returns when the last heartbeat of that publisher arrived; `None` if there is no publisher.
    #[must_use]
    pub fn last_heartbeat(&self) -> Option<ClockTime> {
        self.incarnations.current().map(|_| self.followed.liveness.heard_at())
    }

    /// Returns the address from which the heartbeats of that publisher arrive.
    #[must_use]
    pub const fn publisher(&self) -> Option<SocketAddr> {
        self.publisher.get()
    }

    /// Returns whether this is the address of another subscriber that was chosen to repair for this one.
    #[must_use]
    pub fn is_repairer(&self, address: SocketAddr) -> bool {
        self.repairers.knows(address)
    }

    /// Returns the number of the message to be delivered next.
    #[must_use]
    pub const fn next_message(&self) -> MessageNumber {
        self.expected
    }

    /// Whether the stream was closed and everything was delivered or reported as lost.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.delivery.has_ended()
    }

    /// Whether the stream has ended and the publisher needs no more confirmations of that.
    #[must_use]
    pub fn is_end_confirmed(&self) -> bool {
        self.delivery.has_ended() && (self.statuses.is_end_confirmed() || self.publisher.is_unprovable())
    }

    /// Whether a loss has stopped it, with [`OnLoss::Stop`].
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.delivery.has_stopped()
    }

    /// Returns its counters.
    #[must_use]
    pub fn statistics(&self) -> SubscriberStatistics {
        SubscriberStatistics {
            round_trip: self.round_trip(),
            reordering: self.followed.naks.reordering(),
            waiting: self.followed.window.len() as u64,
            unverified: self.followed.verification.stage.len() as u64,
            ..self.statistics
        }
    }

    /// Returns the counters of each path.
    #[must_use]
    pub fn paths(&self) -> &[PathStatistics] {
        self.paths.statistics()
    }

    /// Returns the number of datagrams in its window.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.followed.window.len()
    }

    fn record_internal_error(&mut self, what: &'static str) {
        self.statistics.internal_errors += 1;
        if self.statistics.internal_errors.is_power_of_two() {
            self.emit(SubscriberEvent::InternalError(what));
        }
    }

    /// Checks what always holds between two calls.
    fn assert_invariants(&self) {
        let counted = &self.statistics;
        debug_assert!(
            self.followed.window.len() as u64 <= self.followed.window.length(),
            "more datagrams than the window has"
        );
        debug_assert!(
            self.followed.naks.first_gap().is_none_or(|gap| gap.first < gap.end),
            "nothing is missing in a gap"
        );
        debug_assert!(counted.recovered <= counted.received, "more was recovered than received");
        debug_assert!(counted.repaired_locally <= counted.received, "more was repaired than received");
        debug_assert!(counted.naks_to_repairers <= counted.naks, "more NAKs to repairers than NAKs");
    }

    fn emit(&mut self, event: SubscriberEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    fn abandon_as(&mut self, cause: Cause) {
        self.abandoned.get_or_insert(cause);
    }

    /// This subscriber's own round-trip time, queueing included; the group's until it is measured.
    fn round_trip(&self) -> Duration {
        match self.publisher.round_trip() {
            Duration::ZERO => self.group_round_trip(),
            own => own + self.followed.transit.queueing(),
        }
    }

    /// The group's round-trip time.
    fn group_round_trip(&self) -> Duration {
        Duration::from_micros(self.followed.heartbeat.round_trip.into()).clamp(MIN_ROUND_TRIP, MAX_ROUND_TRIP)
    }

    /// Whether the stream has other subscribers.
    const fn has_other_subscribers(&self) -> bool {
        self.followed.heartbeat.group_size > 1
    }
}

impl fmt::Debug for SubscriberMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberMachine")
            .field("stream", &self.config.stream)
            .field("id", &self.id)
            .field("incarnation", &self.incarnations.current())
            .field("base", &self.followed.base)
            .field("highest", &self.followed.highest)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
