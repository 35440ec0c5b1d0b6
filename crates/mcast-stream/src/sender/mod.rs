//! The sending side: what to send, to keep, to repair, and for whom to wait.
//!
//! Time is a number of nanoseconds that never falls, from wherever the caller begins to count.

mod audience;
pub(crate) mod bucket;
mod config;
mod congestion;
mod event;
mod feedback;
mod members;
mod pacing;
mod publish;
mod repair;
mod ring;
mod state;
mod transmit;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

pub use audience::{Audience, Standing};
pub use config::{ConfigError, Congestion, SenderConfig};
pub use event::{Refusal, SenderEvent, SenderStatistics};
pub use transmit::Transmit;

use crate::outbox::Outbox;
use crate::random::{self, Random};
use crate::seal::{Cipher, Ciphers, Keys, Purpose};
use crate::wire::{FlowControl, Header, Kind, ReceiverId};
use bucket::Bucket;
use members::Members;
use pacing::Flight;
use publish::{Open, Writing};
use repair::RepairFlow;
use ring::Ring;

/// Between the heartbeats of a busy sender, and the first two of an idle one.
const BUSY_INTERVAL: u64 = 10_000_000;
/// Heartbeats that somebody asks for, or that tell the end of a burst, come no faster.
const LEAST_HEARTBEAT_INTERVAL: u64 = 5_000_000;
/// Between the first two of one that waits for receivers, at least.
const WAITING_INTERVAL: u64 = 1_000_000;
/// What the interval of an idle one grows to.
const IDLE_INTERVAL: u64 = 1_000_000_000;
/// Timers can't be shorter than what systems are late by.
const LEAST_ROUND_TRIP: u64 = 50_000;
const LONGEST_ROUND_TRIP: u64 = 10_000_000_000;
/// A burst that pacing lets through at once.
const PACE_BURST: u64 = 65_536;
/// Events that nobody fetches are dropped beyond so many.
const MOST_EVENTS: usize = 1024;

/// The sender of a stream, without sockets, clocks and threads.
///
/// Messages go in by [`publish`](Self::publish) or [`claim`](Self::claim); what receivers say by
/// [`handle`](Self::handle). [`poll`](Self::poll) tells what is to be sent, and
/// [`next_deadline`](Self::next_deadline) when to ask again at the latest.
pub struct Sender {
    config: SenderConfig,
    ring: Ring,
    open: Option<Open>,
    writing: Option<Writing>,
    next_message: u64,
    closed: bool,
    broken: bool,
    members: Members,
    outbox: Outbox,
    events: VecDeque<SenderEvent>,
    events_missed: u64,
    statistics: SenderStatistics,
    token_key: (u64, u64),
    /// What no other life seals with.
    salt: u64,
    cipher: Option<(Purpose, Box<dyn Cipher>)>,
    ciphers: Ciphers,
    control_count: u64,
    scratch: Vec<u8>,
    pace: Option<Bucket>,
    rate: Option<u64>,
    repair_allowance: Bucket,
    /// Repairs to the group, and whose turn it is to get its own.
    repairs: VecDeque<u64>,
    group_repairs: RepairFlow,
    repair_turns: VecDeque<ReceiverId>,
    /// How many repairs the one whose turn it is has had.
    turn_taken: usize,
    /// Bytes of repairs that went to single receivers.
    single_bytes: u64,
    /// No repair may go before this.
    repairs_at: u64,
    /// Bytes that new data has added to the allowance of repairs so far.
    repair_share: u64,
    /// How far it may go while nothing is known of the links.
    flight: Option<Flight>,
    /// How often the rate has held something back.
    held_back: u64,
    /// The rate to which it was last reported to be slowed down, until it has recovered.
    slowed_to: Option<u64>,
    /// The smoothed share of losses, in thousandths, that several receivers have.
    shared: u32,
    tell_trail: bool,
    confirmed_at: u64,
    heartbeat_at: u64,
    heartbeat_last: u64,
    heartbeat_interval: u64,
    has_sent_since_heartbeat: bool,
    round_trip: u64,
    /// Since when receivers keep the sender waiting, and for room for how many datagrams.
    blocked: Option<u64>,
    room_wanted: u64,
    /// Receivers that have gone so long ago that only these sums are left of them.
    forgotten: Audience,
    /// Bytes of requests for heartbeats that came from addresses that have proven nothing.
    demand_credit: u64,
    look_at: u64,
}

impl Sender {
    /// A sender with these settings, which begins now.
    ///
    /// # Errors
    /// When the settings cannot be.
    pub fn new(config: SenderConfig, now: u64) -> Result<Self, ConfigError> {
        config.check()?;
        let mut random = Random::new(config.seed);
        let repair_burst = (config.history / 4) as u64;
        let pace_burst = PACE_BURST.max(config.datagram as u64);
        Ok(Self {
            ring: Ring::new(config.history, config.datagram),
            open: None,
            writing: None,
            next_message: 0,
            closed: false,
            broken: false,
            members: Members::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            events_missed: 0,
            statistics: SenderStatistics::default(),
            token_key: (random.next(), random.next()),
            salt: random::salt(config.seed),
            cipher: None,
            ciphers: Ciphers::default(),
            control_count: 0,
            scratch: Vec::new(),
            pace: config.rate.map(|rate| Bucket::new(rate, pace_burst, now)),
            rate: config.rate,
            repair_allowance: Bucket::new(config.repair_floor, repair_burst, now),
            repairs: VecDeque::new(),
            group_repairs: RepairFlow::new(config.repair_floor, config.datagram, now),
            repair_turns: VecDeque::new(),
            turn_taken: 0,
            repairs_at: 0,
            single_bytes: 0,
            repair_share: 0,
            flight: None,
            held_back: 0,
            slowed_to: None,
            shared: repair::HALF + 100,
            tell_trail: false,
            confirmed_at: now,
            heartbeat_at: now,
            heartbeat_last: now,
            heartbeat_interval: BUSY_INTERVAL,
            has_sent_since_heartbeat: false,
            round_trip: config.round_trip.clamp(LEAST_ROUND_TRIP, LONGEST_ROUND_TRIP),
            blocked: None,
            room_wanted: 1,
            forgotten: Audience::default(),
            demand_credit: 0,
            look_at: now,
            config,
        })
    }

    /// Ends the stream behind what was published. Receivers are told; repairs go on for as long
    /// as the sender is polled.
    pub fn close(&mut self, now: u64) {
        self.flush(now);
        self.closed = true;
        self.heartbeat_at = now;
        self.heartbeat_interval = BUSY_INTERVAL;
    }

    /// Seals with the greatest epoch of these from the next datagram on, and opens with all of
    /// them. Receivers must have the key before.
    pub fn set_keys(&mut self, now: u64, keys: Keys) {
        self.flush(now);
        self.config.keys = keys;
        self.cipher = None;
        self.ciphers.clear();
        for (_, member) in self.members.iter_mut() {
            member.cipher = None;
        }
    }

    /// What to add to its clock for nanoseconds since 1970 from now on: the system's clock may have been corrected.
    pub const fn set_unix_offset(&mut self, offset: Option<u64>) {
        self.config.unix_offset = offset;
    }

    /// What happened, the oldest first.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        if self.events_missed > 0 {
            return Some(SenderEvent::Missed(core::mem::take(&mut self.events_missed)));
        }
        self.events.pop_front()
    }

    /// What it has done so far.
    #[must_use]
    pub fn statistics(&self) -> SenderStatistics {
        SenderStatistics {
            round_trip: self.round_trip,
            receivers: self.members.len() as u64,
            ..self.statistics
        }
    }

    /// Its settings.
    #[must_use]
    pub const fn config(&self) -> &SenderConfig {
        &self.config
    }

    /// The number of the next message.
    #[must_use]
    pub const fn next_message(&self) -> u64 {
        self.next_message
    }

    /// Whether everything that was published has been sent once.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.ring.sent == self.ring.next && self.open.is_none()
    }

    /// How many datagrams are ready and not yet sent.
    #[must_use]
    pub const fn unsent(&self) -> u64 {
        self.ring.next - self.ring.sent
    }

    fn tell(&mut self, event: SenderEvent) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
            self.events_missed += 1;
        }
        self.events.push_back(event);
    }

    /// Whether it waits for receivers.
    fn waits(&self) -> bool {
        self.config.flow != FlowControl::None
    }

    fn header(&self, kind: Kind, sequence: u64) -> Header {
        let header = Header::new(kind, self.config.stream, self.config.incarnation, sequence);
        Header { epoch: self.config.keys.latest(), ..header }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("stream", &self.config.stream)
            .field("incarnation", &self.config.incarnation)
            .field("next", &self.ring.next)
            .field("next_message", &self.next_message)
            .finish_non_exhaustive()
    }
}
