//! The times of the protocol, each with its reason: one table, because they depend on each other.

/// The times of a subscriber.
pub(crate) mod subscriber {
    use core::time::Duration;

    // What is missing.

    /// The shortest time after which a datagram that is out of order counts as missing.
    pub(crate) const MIN_REORDER_GUARD: Duration = Duration::from_micros(50);
    /// A datagram that is out of order by more than this counts as lost.
    pub(crate) const MAX_REORDERING: Duration = Duration::from_millis(250);
    /// What is known of reordering shrinks at most this often: a burst whose datagrams are all out of order must not make it too short
    /// for the last ones.
    pub(crate) const SHRINK_INTERVAL: Duration = Duration::from_millis(10);
    /// A longer repair time is not measured in full: the repair was lost on the way, or was delayed by something else.
    pub(crate) const MAX_REPAIR: Duration = Duration::from_secs(2);
    /// A repairer has at least this time: it is a process that must be scheduled to answer, also after a short round trip.
    pub(crate) const MIN_REPAIRER_TIMEOUT: Duration = Duration::from_millis(1);
    /// The allowance of NAKs is checked again after at least this time when it is used up.
    pub(crate) const NAK_RETRY: Duration = Duration::from_millis(5);
    /// The allowance of a longer time without a NAK than this is not added.
    pub(crate) const LONGEST_REFILL: Duration = Duration::from_secs(1_000);
    /// The shortest interval between the urgent NAKs of one subscriber of a crowd.
    pub(crate) const CROWD_URGENT_INTERVAL: Duration = Duration::from_millis(100);
    /// The same in a small group.
    pub(crate) const URGENT_INTERVAL: Duration = Duration::from_millis(8);
    /// The delay before a repeated request is at most this, or two round trips, because delivery waits for it. Where
    /// repairs are lost because they are too many, the publisher spaces them itself.
    pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_millis(500);
    /// In a large group, subscribers with a shorter round trip spread their NAKs as if it were this long.
    pub(crate) const MIN_BACKOFF_UNIT: Duration = Duration::from_micros(500);

    // Statuses.

    /// A subscriber without news sends a status this often.
    pub(crate) const IDLE_STATUS: Duration = Duration::from_secs(1);
    /// The shortest time between two confirmations of the end.
    pub(crate) const END_CONFIRMATION_INTERVAL: Duration = Duration::from_millis(2);
    /// The mean spacing of the statuses that a small group repeats while the publisher waits for them.
    pub(crate) const REPEAT_SPACING: Duration = Duration::from_millis(1);
    /// The shortest time between two requests to join.
    pub(crate) const JOIN_INTERVAL: Duration = Duration::from_millis(50);
    /// The interval of confirmations doubles up to this, so that they outlast a short outage.
    pub(crate) const LONGEST_CONFIRMATION_INTERVAL: Duration = Duration::from_millis(500);
    /// The mean spacing of the group's statuses when the publisher waits for them.
    pub(crate) const URGENT_SPACING: Duration = Duration::from_micros(50);

    // The publisher.

    /// The minimum transit time is taken over two periods of this length, so that clocks may drift.
    pub(crate) const PERIOD: Duration = Duration::from_secs(5);
    /// No queue delays a datagram for longer. A longer delay is a clock that was stepped.
    pub(crate) const MAX_QUEUEING: Duration = Duration::from_secs(1);
    /// A subscriber's address is proven again this often.
    pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(50);
    /// An unanswered probe is repeated after this time, which doubles with each repetition.
    pub(crate) const PROBE_AGAIN: Duration = Duration::from_millis(10);
    /// Once a publisher is heard again after being silent for this time, unanswered probes are repeated as soon as at first: on the
    /// way, both directions may have failed.
    pub(crate) const OUTAGE: Duration = Duration::from_millis(1500);
    /// How often an echo that answers no probe causes another.
    pub(crate) const UNEXPECTED_ECHO_INTERVAL: Duration = Duration::from_millis(250);
    /// The publisher's address stays valid for this time after its last heartbeat, which is more than two heartbeats.
    pub(crate) const ADDRESS_TIME: Duration = Duration::from_millis(2500);
    /// While heartbeats are frequent, another address replaces it sooner. Otherwise, flow control would stop the publisher, and then
    /// evict this subscriber.
    pub(crate) const FAILOVER_TIME: Duration = Duration::from_millis(500);
    /// Measured round trips are not shorter than this.
    pub(crate) const MIN_ROUND_TRIP: Duration = Duration::from_micros(50);
    /// Nor longer than this.
    pub(crate) const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);
    /// A sample above this is confirmed by another probe: between a probe and its echo, the process may have been suspended. Shorter
    /// ones also occur when a queue fills on the way, and then repairs must be requested as slowly.
    pub(crate) const PLAUSIBLE_ROUND_TRIP: Duration = Duration::from_secs(1);
    /// Heartbeats of an older incarnation over a longer time than this are not merely late.
    pub(crate) const RIVAL_TIME: Duration = Duration::from_secs(1);
    /// A sealed publisher whose clock is off by more than this may be a replayed recording.
    pub(crate) const MAX_SKEW: Duration = Duration::from_secs(120);
    /// A check that is later than this was delayed because the process did not run.
    pub(crate) const MAX_CHECK_DELAY: Duration = Duration::from_millis(500);
    /// A publisher that has closed its stream and is silent for this time is gone.
    pub(crate) const PUBLISHER_GONE: Duration = Duration::from_secs(30);

    // Options.

    /// The parity of a block that is not full follows this long after its first datagram.
    pub(crate) const BLOCK_TIME: Duration = Duration::from_millis(10);
    /// A repairer that was given up is avoided for this time at first, which doubles each time.
    pub(crate) const AVOIDED_TIME: Duration = Duration::from_secs(10);
    /// A repairer is asked if the round trip to it is longer than that to the publisher by no more than a quarter and this.
    pub(crate) const SLACK: Duration = Duration::from_micros(200);
    /// In a large group, subscribers do not all choose their repairers at once.
    pub(crate) const CHOICE_SPACING: Duration = Duration::from_micros(500);
    /// The longest time before the same datagram is sent to the same subscriber again.
    pub(crate) const MAX_HOLDOFF: Duration = Duration::from_secs(1);
    /// Forged data is reported at most this often.
    pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(1);
    /// A signed publisher that sends nothing new for this time has sent the manifest of its last data.
    pub(crate) const PAUSE: Duration = Duration::from_millis(50);
    /// A datagram that has arrived is not given up before its manifest has had this time, also by subscribers that wait for
    /// nothing: the publisher sends it within a millisecond.
    pub(crate) const MANIFEST_TIME: Duration = Duration::from_millis(10);
}

/// The times of a publisher. Those by which it finds its rate stand beside the model of the path, in `publisher::auto_rate`.
pub(crate) mod publisher {
    use core::time::Duration;

    // Heartbeats.

    /// The time between heartbeats while data is sent, and between the first two of an idle publisher.
    pub(crate) const BUSY_HEARTBEAT: Duration = Duration::from_millis(10);
    /// The shortest time between heartbeats that are requested or that follow a burst.
    pub(crate) const MIN_HEARTBEAT: Duration = Duration::from_millis(5);
    /// The shortest time between the first two heartbeats of a publisher that waits for subscribers.
    pub(crate) const WAITING_HEARTBEAT: Duration = Duration::from_millis(1);
    /// The longest time that may be chosen for the interval between the heartbeats of an idle publisher.
    pub(crate) const IDLE_HEARTBEAT: Duration = Duration::from_secs(1);
    /// The heartbeat after a burst follows half a round trip later, but no sooner than this.
    pub(crate) const SHORTEST_TAIL: Duration = Duration::from_micros(100);
    /// Nor later than this.
    pub(crate) const LONGEST_TAIL: Duration = Duration::from_millis(1);
    /// Data after a longer pause than this counts as a new beginning.
    pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(250);

    // Repairs.

    /// A request sooner than this after a repair was sent before the repair arrived.
    pub(crate) const MIN_HOLDOFF: Duration = Duration::from_micros(200);
    /// The shortest time between two confirmations is a round trip, but at most this.
    pub(crate) const CONFIRM_INTERVAL: Duration = Duration::from_millis(10);
    /// While repairs wait, there is a confirmation at least this often, however few repairs the rate admits.
    pub(crate) const MAX_CONFIRM_INTERVAL: Duration = Duration::from_millis(500);
    /// For how long a restarted publisher overwrites nothing, because subscribers have not reported to it yet.
    pub(crate) const CLAIM_TIME: Duration = Duration::from_secs(1);

    // Subscribers.

    /// The time between checks of the subscribers and the rate.
    pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(100);
    /// A check that is later than this was delayed because the process did not run.
    pub(crate) const MAX_CHECK_DELAY: Duration = Duration::from_millis(500);
    /// The average time between two statuses of all subscribers together.
    pub(crate) const STATUS_SPACING: Duration = Duration::from_millis(10);
    /// A shorter timer would be lost in the scheduling delay of the system.
    pub(crate) const MIN_ROUND_TRIP: Duration = Duration::from_micros(50);
    /// A longer round trip is not waited for.
    pub(crate) const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(10);
    /// The longest plausible time in a queue: a subscriber that takes longer was suspended.
    pub(crate) const LONGEST_QUEUE: Duration = Duration::from_secs(1);
    /// Losses of a subscriber that received nothing new for longer than this and four status intervals, although data was
    /// sent, do not count against the rate.
    pub(crate) const MAX_SILENCE: Duration = Duration::from_millis(500);
    /// A subscriber that has been silent for longer, and for several status intervals, is not listed, and its address counts as
    /// unproven.
    pub(crate) const RECENT: Duration = Duration::from_secs(3);

    // The end.

    /// How long an ending publisher waits for applications that have not read everything that was received.
    pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(1);
    /// The time between two repetitions of the end.
    pub(crate) const END_INTERVAL: Duration = Duration::from_millis(2);
    /// The same without feedback: parity and datagrams that were overtaken may arrive a while after the data.
    pub(crate) const ONE_WAY_END_INTERVAL: Duration = Duration::from_millis(10);
    /// How long a subscriber is expected that has asked for a heartbeat or an echo: its first status follows.
    pub(crate) const JOIN_TIMEOUT: Duration = Duration::from_millis(500);

    // Options.

    /// A datagram is covered by a manifest after this time at the latest.
    pub(crate) const MANIFEST_WAIT: Duration = Duration::from_millis(1);
    /// The shortest time between two manifests of a publisher that flushes often: signing takes a few percent of it.
    pub(crate) const MIN_MANIFEST_INTERVAL: Duration = Duration::from_micros(200);
    /// With a fixed rate, a manifest covers what is sent in this time, because subscribers deliver nothing of it before.
    pub(crate) const COVERED_TIME: Duration = Duration::from_millis(20);
    /// The shortest time between two signed confirmations.
    pub(crate) const SIGNED_CONFIRMATION_INTERVAL: Duration = Duration::from_millis(1);
    /// Without feedback, what a subscriber lacks this long after the last parity of a block, or after the datagram itself if there is
    /// none, is lost: datagrams that were overtaken on the way have arrived by then.
    pub(crate) const REORDERING: Duration = Duration::from_millis(10);
    /// With `Fec::Auto`, there is no parity any more when nothing was lost for this long.
    pub(crate) const LOSSLESS_TIME: Duration = Duration::from_secs(10);
    /// The acknowledgements of a large group are evaluated at most once in this time.
    pub(crate) const EVALUATION_INTERVAL: Duration = Duration::from_millis(10);
    /// Heartbeats list repairers at most this often: subscribers that lose nothing need none.
    pub(crate) const LIST_INTERVAL: Duration = Duration::from_millis(250);
}
