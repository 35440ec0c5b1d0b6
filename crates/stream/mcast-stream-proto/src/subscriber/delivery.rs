//! Whether messages are delivered to the application, what delivery waits for, and which message of each key was the
//! last one.

use alloc::collections::BTreeMap;

use crate::wire::{MessageKey, MessageNumber};

/// What stands in the way of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Messages are delivered.
    Open,
    /// Nothing is delivered until the application has loaded a snapshot.
    AwaitingSnapshot,
    /// A loss has stopped delivery permanently, possibly while a snapshot was awaited: of an incarnation that was
    /// followed by another one.
    Stopped { awaits_snapshot: bool },
}

/// How far delivery has got since a snapshot was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SinceSnapshot {
    /// There was none, or messages after it were delivered.
    Past,
    /// The first message after it has not arrived yet, so that a gap here asks for a newer snapshot. `is_fresh` until
    /// another incarnation is followed.
    Bridging { is_fresh: bool },
    /// The first datagram after it has arrived, and no message was delivered yet.
    Arrived,
}

/// The state of delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    gate: Gate,
    since_snapshot: SinceSnapshot,
    /// The application is busy: datagrams are buffered, and nothing is delivered until it asks again.
    is_buffering: bool,
    /// The end of the stream was delivered. Another incarnation may begin after it.
    has_ended: bool,
}

impl Delivery {
    pub(super) const fn new() -> Self {
        Self { gate: Gate::Open, since_snapshot: SinceSnapshot::Past, is_buffering: false, has_ended: false }
    }

    /// Returns whether messages are delivered at present.
    #[inline]
    pub(super) const fn is_active(&self) -> bool {
        !self.awaits_snapshot() && !self.is_buffering
    }

    /// Returns whether a datagram may be delivered out of order.
    #[inline]
    pub(super) const fn may_be_early(&self) -> bool {
        matches!(self.gate, Gate::Open) && !self.is_buffering && !self.is_bridging()
    }

    /// Returns whether nothing is delivered until something else happens than the arrival of datagrams.
    #[inline]
    pub(super) const fn is_closed(&self) -> bool {
        !matches!(self.gate, Gate::Open)
    }

    #[inline]
    pub(super) const fn awaits_snapshot(&self) -> bool {
        matches!(self.gate, Gate::AwaitingSnapshot | Gate::Stopped { awaits_snapshot: true })
    }

    pub(super) const fn has_stopped(&self) -> bool {
        matches!(self.gate, Gate::Stopped { .. })
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    #[inline]
    pub(super) const fn is_buffering(&self) -> bool {
        self.is_buffering
    }

    pub(super) const fn is_bridging(&self) -> bool {
        matches!(self.since_snapshot, SinceSnapshot::Bridging { .. })
    }

    /// Returns whether a datagram that is given up now is lost, and not covered by a snapshot.
    pub(super) const fn counts_losses(&self) -> bool {
        !self.awaits_snapshot() && matches!(self.since_snapshot, SinceSnapshot::Past)
    }

    /// Begins with an incarnation.
    pub(super) const fn begin(&mut self, awaits_snapshot: bool) {
        self.gate = if awaits_snapshot { Gate::AwaitingSnapshot } else { Gate::Open };
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { .. } => SinceSnapshot::Bridging { is_fresh: false },
            SinceSnapshot::Past | SinceSnapshot::Arrived => SinceSnapshot::Past,
        };
        self.has_ended = false;
    }

    /// Delivers nothing until a snapshot is loaded.
    pub(super) const fn await_snapshot(&mut self) {
        self.gate = match self.gate {
            Gate::Open | Gate::AwaitingSnapshot => Gate::AwaitingSnapshot,
            Gate::Stopped { .. } => Gate::Stopped { awaits_snapshot: true },
        };
    }

    /// Notes that a snapshot was loaded; returns whether it was awaited.
    pub(super) const fn resume(&mut self) -> bool {
        self.gate = match self.gate {
            Gate::AwaitingSnapshot => Gate::Open,
            Gate::Stopped { awaits_snapshot: true } => Gate::Stopped { awaits_snapshot: false },
            Gate::Open | Gate::Stopped { awaits_snapshot: false } => return false,
        };
        self.since_snapshot = SinceSnapshot::Bridging { is_fresh: true };
        true
    }

    /// Stops delivery permanently.
    pub(super) const fn stop(&mut self) {
        self.gate = Gate::Stopped { awaits_snapshot: self.awaits_snapshot() };
    }

    /// Stops delivery permanently, because the snapshot that was awaited will not be loaded.
    pub(super) const fn give_up_snapshot(&mut self) {
        self.gate = Gate::Stopped { awaits_snapshot: false };
    }

    /// Notes that the next message has arrived: there is no gap after the snapshot.
    #[inline]
    pub(super) const fn record_bridged(&mut self) {
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { is_fresh: true } => SinceSnapshot::Arrived,
            SinceSnapshot::Bridging { is_fresh: false } => SinceSnapshot::Past,
            other => other,
        };
    }

    /// Notes that a message was delivered.
    #[inline]
    pub(super) const fn record_message(&mut self) {
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { .. } => SinceSnapshot::Bridging { is_fresh: false },
            SinceSnapshot::Past | SinceSnapshot::Arrived => SinceSnapshot::Past,
        };
    }

    /// Notes that the end was delivered.
    pub(super) const fn end(&mut self) {
        self.has_ended = true;
    }

    #[inline]
    pub(super) const fn set_buffering(&mut self, is_buffering: bool) {
        self.is_buffering = is_buffering;
    }
}

#[derive(Debug)]
pub(super) struct Latest {
    all: BTreeMap<MessageKey, MessageNumber>,
    most: usize,
}

impl Latest {
    pub(super) const fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), most }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Notes a message; returns `false` if it or a later one of its key was delivered. A publisher that continues the stream
    /// may send again what was delivered early.
    pub(super) fn is_latest(&mut self, key: MessageKey, number: MessageNumber) -> bool {
        match self.all.get_mut(&key) {
            Some(known) if *known >= number => false,
            Some(known) => {
                *known = number;
                true
            }
            None => {
                if self.all.len() >= self.most {
                    // A forgotten key may deliver an outdated message once; the alternative is unbounded memory.
                    self.all.pop_first();
                }
                self.all.insert(key, number);
                true
            }
        }
    }
}
