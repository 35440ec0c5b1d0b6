//! The receiving side: messages in order, what is missing asked for, what cannot be had told.
//!
//! Time is a number of nanoseconds that never falls, from wherever the caller begins to count.

mod arrive;
mod ask;
mod assembly;
mod config;
mod deliver;
mod event;
mod former;
pub(crate) mod gaps;
mod item;
mod latest;
mod paths;
mod sender_state;
mod transit;
mod window;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

pub use config::{OnLoss, Policy, ReceiverConfig, Start};
pub use event::{Cause, Event, PathStatistics, ReceiverStatistics};
pub use item::{Item, Message, Step};

use crate::outbox::{Control, Outbox};
use crate::random::Random;
use crate::replay::Counts;
use crate::seal::{Ciphers, Keys};
use crate::sender::bucket::Bucket;
use crate::wire::{Heartbeat, Incarnation, KeyEpoch, ReceiverId, Status, StreamId};
use assembly::Assembly;
use deliver::Current;
use former::FormerLives;
use gaps::Gaps;
use latest::Latest;
use paths::Paths;
use sender_state::{Rival, Successor};
use transit::Transit;
use window::Window;

/// A sender that has just begun does not show how much it keeps.
const LEAST_CREDIT: u64 = 256;

/// A receiver whose address is not proven after so many probes cannot confirm the end.
const PROBES_BEFORE_THE_END: u32 = 6;

/// Counters as they were when an incarnation began, so that the sender is told only what concerns it.
#[derive(Clone, Copy, Debug, Default)]
struct Baseline {
    missed: u64,
    lost_messages: u64,
}

/// Events that nobody fetches: more are dropped. There is room for one of each kind many times.
const MOST_EVENTS: usize = 256;

/// The receiver of a stream, without sockets, clocks and threads.
///
/// Datagrams go in by [`handle`](Self::handle); after each, [`next`](Self::next) hands out messages and events
/// until there is none. [`poll`](Self::poll) tells what is to be sent, and
/// [`next_deadline`](Self::next_deadline) when to call both again at the latest.
pub struct Receiver {
    config: ReceiverConfig,
    id: ReceiverId,
    random: Random,
    /// The life of the sender that is followed, once it has said where it stands.
    incarnation: Option<Incarnation>,
    /// What it seals with, and no other life of it.
    salt: u64,
    /// A new life, for which what is left of the old one is not yet handed out.
    successor: Option<Successor>,
    /// Those that were followed before.
    former: FormerLives,
    /// An older one that is heard beside the one that is followed.
    rival: Option<Rival>,
    heartbeat: Heartbeat,
    heartbeat_at: u64,
    sender: Option<SocketAddr>,
    /// When the sender was last heard from there.
    sender_at: u64,
    sender_counts: Counts,
    epoch: KeyEpoch,
    /// The datagram whose turn it is, and behind the greatest that was heard of.
    base: u64,
    highest: u64,
    /// Everything before this is beyond repair.
    trail: u64,
    /// How far the sender may go beyond what it was told: what it keeps, or the window if that is less.
    credit: u64,
    /// The message whose turn it is.
    expected: u64,
    /// Where the stream ends: the datagram behind the last, and how many messages there are.
    end: Option<(u64, u64)>,
    ended: bool,
    window: Window,
    gaps: Gaps,
    assembly: Assembly,
    current: Option<Current>,
    /// Nothing is handed out until a snapshot is there.
    held: bool,
    /// Nothing is handed out until it is asked for again: what comes is kept.
    aside: bool,
    /// The first message behind a snapshot has not come yet.
    bridging: bool,
    /// A snapshot is there, and no message behind it was delivered yet.
    begins: bool,
    stopped: bool,
    /// Nothing more is waited for: what is missing is lost for this reason.
    abandoned: Option<Cause>,
    /// It was reported that the sender may have sent more than was heard of.
    is_unknown_reported: bool,
    has_left: bool,
    cause: Cause,
    latest: Latest,
    paths: Paths,
    events: VecDeque<Event>,
    outbox: Outbox,
    ciphers: Ciphers,
    opened: Vec<u8>,
    control_count: u64,
    /// What proves this receiver's address to the sender; 0 before it has told.
    token: u64,
    probe_at: u64,
    /// How many were sent since the sender is known, as far as it matters.
    probes: u32,
    /// The round-trip time to the sender, smoothed; 0 before it is known.
    own_round_trip: u64,
    transit: Transit,
    status_at: Option<u64>,
    status_last: u64,
    /// How often the end is still to be confirmed, since nobody confirms that.
    farewells: u8,
    status_sent: Status,
    /// When the next nak is due; found anew when gaps change.
    nak_at: u64,
    /// No nak is sent sooner.
    asks_from: u64,
    /// Naks that it may send, in millionths, and what had been received when that was last filled up.
    nak_allowance: Bucket,
    nak_mark: u64,
    reordering: u64,
    /// How long a repair takes once it was asked for, smoothed, and how much that differs.
    repair_time: u64,
    repair_spread: u64,
    /// What the counters stood at when this incarnation began.
    baseline: Baseline,
    /// Datagrams of this incarnation that were given up, and that no snapshot replaced.
    forfeited: u64,
    stalled_told: u64,
    sender_silent: bool,
    stale_told: bool,
    key_missing: KeyEpoch,
    key_wrong: KeyEpoch,
    statistics: ReceiverStatistics,
}

impl Receiver {
    /// A receiver with these settings, which begins now.
    #[must_use]
    pub fn new(config: ReceiverConfig, now: u64) -> Self {
        let mut random = Random::new(config.seed);
        let mut paths = Paths::new(config.paths);
        paths.begin(now);
        Self {
            id: ReceiverId(random.next()),
            random,
            incarnation: None,
            salt: 0,
            successor: None,
            former: FormerLives::default(),
            rival: None,
            heartbeat: Heartbeat { round_trip: 1_000, ..Heartbeat::default() },
            heartbeat_at: now,
            sender: None,
            sender_at: now,
            sender_counts: Counts::default(),
            epoch: config.keys.latest(),
            base: 0,
            highest: 0,
            trail: 0,
            credit: LEAST_CREDIT,
            expected: 0,
            end: None,
            ended: false,
            window: Window::new(config.slots(), config.window_bytes),
            gaps: Gaps::default(),
            assembly: Assembly::default(),
            current: None,
            held: false,
            aside: false,
            bridging: false,
            begins: false,
            stopped: false,
            abandoned: None,
            is_unknown_reported: false,
            has_left: false,
            cause: Cause::Unrecoverable,
            latest: Latest::new(config.most_keys),
            paths,
            events: VecDeque::new(),
            outbox: Outbox::default(),
            ciphers: Ciphers::default(),
            opened: Vec::new(),
            control_count: 0,
            token: 0,
            probe_at: u64::MAX,
            probes: 0,
            own_round_trip: 0,
            transit: Transit::default(),
            status_at: None,
            status_last: 0,
            farewells: 0,
            status_sent: Status::default(),
            nak_at: u64::MAX,
            asks_from: 0,
            nak_allowance: Bucket::new(0, ask::MOST_ALLOWANCE, now),
            nak_mark: 0,
            reordering: 0,
            repair_time: 0,
            repair_spread: 0,
            baseline: Baseline::default(),
            forfeited: 0,
            stalled_told: 0,
            sender_silent: false,
            stale_told: false,
            key_missing: KeyEpoch::CLEAR,
            key_wrong: KeyEpoch::CLEAR,
            statistics: ReceiverStatistics::default(),
            config,
        }
    }

    /// Opens with these secrets from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        self.config.keys = keys;
        self.ciphers.clear();
        (self.key_missing, self.key_wrong) = (KeyEpoch::CLEAR, KeyEpoch::CLEAR);
    }

    /// Corrects what is added to its clock for nanoseconds since 1970, by which old recordings of sealed streams are
    /// refused. `None`: unknown, then nothing is refused for its age.
    pub fn set_unix_offset(&mut self, offset: Option<u64>) {
        if self.config.unix_offset != offset {
            (self.config.unix_offset, self.stale_told) = (offset, false);
        }
    }

    /// Whether something is missing that was published, and not yet reported as lost.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Bytes of the longest datagram that the sender sends; 0 before it is known.
    #[must_use]
    pub const fn longest_datagram(&self) -> u16 {
        self.heartbeat.datagram
    }

    /// For an application that stops: nothing more is waited for. What is known to exist and cannot be delivered
    /// comes out of [`next`](Self::next) as [`Event::Lost`], between what can be. If the sender has been silent and has
    /// not ended its stream, [`Event::LostUnknown`] follows.
    pub fn abandon(&mut self) {
        self.abandon_as(Cause::Abandoned);
    }

    /// Goes on behind a snapshot, which has all messages before this number.
    pub fn resume(&mut self, message: u64) {
        if self.held {
            self.held = false;
            (self.bridging, self.begins) = (true, true);
            self.assembly.abandon();
            self.expected = message;
        }
    }

    /// For a caller that is busy with what it was handed: what is left of the datagram that was
    /// [`handle`](Self::handle)d last is kept, and so is what is handled until the [`next`](Self::next) is asked
    /// for, as far as the window reaches. Go on with [`poll`](Self::poll) meanwhile: the sender learns what is here, and
    /// for how much more there is room.
    pub fn set_aside(&mut self, datagram: &[u8]) {
        self.aside = true;
        if let Some(current) = self.current.take() {
            self.current = Some(self.kept_in_window(current, datagram));
        }
    }

    /// What is to be sent now. Ask again until there is nothing.
    pub fn poll(&mut self, now: u64) -> Option<Control> {
        self.pass(now);
        self.outbox.pop()
    }

    /// Takes back what was sent, to be used again.
    pub fn reuse(&mut self, control: Control) {
        self.outbox.reuse(control);
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.config.stream
    }

    /// Who this receiver is to the sender.
    #[must_use]
    pub const fn id(&self) -> ReceiverId {
        self.id
    }

    /// Its settings.
    #[must_use]
    pub const fn config(&self) -> &ReceiverConfig {
        &self.config
    }

    /// The life of the sender that is followed, once it has been heard.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// The number of the message that is handed out next.
    #[must_use]
    pub const fn next_message(&self) -> u64 {
        self.expected
    }

    /// Whether the stream was closed and all of it was handed out.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether it has nothing more to tell the sender of a stream that has ended.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        let cannot_tell = self.token == 0 && self.probes >= PROBES_BEFORE_THE_END;
        self.ended && (self.farewells == 0 || cannot_tell)
    }

    /// Whether a loss has stopped it.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// What it has seen so far.
    #[must_use]
    pub fn statistics(&self) -> ReceiverStatistics {
        ReceiverStatistics {
            round_trip: self.round_trip(),
            reordering: self.reordering,
            waiting: self.window.kept() as u64,
            ..self.statistics
        }
    }

    /// What came on each path.
    #[must_use]
    pub fn paths(&self) -> &[PathStatistics] {
        self.paths.statistics()
    }

    /// Bytes that it keeps of what came.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.window.kept()
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < MOST_EVENTS {
            self.events.push_back(event);
        }
    }

    fn abandon_as(&mut self, cause: Cause) {
        self.abandoned.get_or_insert(cause);
    }

    /// This receiver's own round-trip time in nanoseconds, with what waits in queues; the group's before it is known.
    fn round_trip(&self) -> u64 {
        match self.own_round_trip {
            0 => u64::from(self.heartbeat.round_trip).clamp(50, 10_000_000) * 1_000,
            own => own + self.transit.queueing(),
        }
    }

    /// Whether others listen, too.
    const fn has_company(&self) -> bool {
        self.heartbeat.group_size > 1
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("stream", &self.config.stream)
            .field("id", &self.id)
            .field("incarnation", &self.incarnation)
            .field("base", &self.base)
            .field("highest", &self.highest)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
