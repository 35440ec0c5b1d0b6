//! How far delivery has got, and what stands in its way.

use crate::wire::MessageNumber;

/// What stands in the way of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Messages are delivered.
    Nothing,
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

#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// The next message to deliver.
    pub(super) expected: MessageNumber,
    obstacle: Obstacle,
    since_snapshot: SinceSnapshot,
    /// The application is busy: datagrams are buffered, and nothing is delivered until it asks again.
    pub(super) is_buffering: bool,
    /// The end of the stream was delivered. Another incarnation may begin after it.
    pub(super) has_ended: bool,
}

impl Delivery {
    pub(super) const fn new() -> Self {
        Self {
            expected: MessageNumber(0),
            obstacle: Obstacle::Nothing,
            since_snapshot: SinceSnapshot::Past,
            is_buffering: false,
            has_ended: false,
        }
    }

    /// Returns whether messages are delivered at present.
    #[inline]
    pub(super) const fn is_active(&self) -> bool {
        !self.awaits_snapshot() && !self.is_buffering
    }

    /// Returns whether a datagram may be delivered out of order.
    #[inline]
    pub(super) const fn may_be_early(&self) -> bool {
        matches!(self.obstacle, Obstacle::Nothing) && !self.is_buffering && !self.is_bridging()
    }

    /// Returns whether nothing is delivered until something else happens than the arrival of datagrams.
    #[inline]
    pub(super) const fn is_closed(&self) -> bool {
        !matches!(self.obstacle, Obstacle::Nothing)
    }

    #[inline]
    pub(super) const fn awaits_snapshot(&self) -> bool {
        matches!(self.obstacle, Obstacle::AwaitingSnapshot | Obstacle::Stopped { awaits_snapshot: true })
    }

    pub(super) const fn has_stopped(&self) -> bool {
        matches!(self.obstacle, Obstacle::Stopped { .. })
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
        self.obstacle = if awaits_snapshot { Obstacle::AwaitingSnapshot } else { Obstacle::Nothing };
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { .. } => SinceSnapshot::Bridging { is_fresh: false },
            SinceSnapshot::Past | SinceSnapshot::Arrived => SinceSnapshot::Past,
        };
        self.has_ended = false;
    }

    /// Delivers nothing until a snapshot is loaded.
    pub(super) const fn await_snapshot(&mut self) {
        self.obstacle = match self.obstacle {
            Obstacle::Nothing | Obstacle::AwaitingSnapshot => Obstacle::AwaitingSnapshot,
            Obstacle::Stopped { .. } => Obstacle::Stopped { awaits_snapshot: true },
        };
    }

    /// Notes that a snapshot was loaded; returns whether it was awaited.
    pub(super) const fn resume(&mut self) -> bool {
        self.obstacle = match self.obstacle {
            Obstacle::AwaitingSnapshot => Obstacle::Nothing,
            Obstacle::Stopped { awaits_snapshot: true } => Obstacle::Stopped { awaits_snapshot: false },
            Obstacle::Nothing | Obstacle::Stopped { awaits_snapshot: false } => return false,
        };
        self.since_snapshot = SinceSnapshot::Bridging { is_fresh: true };
        true
    }

    /// Stops delivery permanently.
    pub(super) const fn stop(&mut self) {
        self.obstacle = Obstacle::Stopped { awaits_snapshot: self.awaits_snapshot() };
    }

    /// Stops delivery permanently, because the snapshot that was awaited will not be loaded.
    pub(super) const fn give_up_snapshot(&mut self) {
        self.obstacle = Obstacle::Stopped { awaits_snapshot: false };
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_delivered_until_the_snapshot_is_loaded() {
        let mut delivery = Delivery::new();
        delivery.begin(true);
        assert!(delivery.is_closed() && !delivery.is_active() && !delivery.counts_losses());
        assert!(delivery.resume());
        assert!(delivery.is_active() && delivery.is_bridging() && !delivery.may_be_early());
        assert!(!delivery.resume(), "none is awaited");
    }

    #[test]
    fn losses_count_once_the_first_message_after_a_snapshot_was_delivered() {
        let mut delivery = Delivery::new();
        delivery.begin(true);
        delivery.resume();
        delivery.record_bridged();
        assert!(!delivery.is_bridging() && !delivery.counts_losses());
        delivery.record_message();
        assert!(delivery.counts_losses());
    }

    #[test]
    fn a_stop_is_permanent() {
        let mut delivery = Delivery::new();
        delivery.await_snapshot();
        delivery.stop();
        delivery.resume();
        assert!(delivery.has_stopped() && delivery.is_closed());
    }
}
