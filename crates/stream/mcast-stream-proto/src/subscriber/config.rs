//! The settings of a subscriber.

use core::time::Duration;

use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::PinnedKeys;
use crate::wire::{StreamId, SubscriberName};

/// The smallest window of a subscriber that verifies: the datagrams of two manifests, so that a manifest always fits that
/// is later than what waits for it.
pub(super) const VERIFIED_WINDOW: usize = 128;

/// Where in the stream a subscriber starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the next message that is sent.
    #[default]
    Now,
    /// With the oldest message that the publisher retains.
    Oldest,
    /// After a snapshot, which [`SubscriberEvent::SnapshotWanted`](super::SubscriberEvent::SnapshotWanted) requests.
    Snapshot,
}

/// What a subscriber does about gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Waits until each is repaired. Losses that cannot be repaired are reported and then handled like this.
    Reliable(OnLoss),
    /// Waits for at most this time, then reports the loss and continues.
    Deadline(Duration),
    /// Requests no repairs. Waits this long for datagrams that are out of order, then reports the loss and
    /// continues.
    BestEffort(Duration),
    /// Delivers only the latest message of each key: each message as soon as it arrives, and a repaired one only if no
    /// later message of its key was delivered. Messages without a key are delivered as with `Reliable`.
    Latest,
}

/// What to do after a loss that cannot be repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLoss {
    /// Continue with the next message.
    #[default]
    Continue,
    /// Request a snapshot, and continue with the messages after it.
    Snapshot,
    /// Deliver nothing more.
    Stop,
}

/// How a subscriber repairs for others.
#[cfg(feature = "local-repair")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRepair {
    /// Bytes of datagrams that it retains, with 64 bytes for each of them.
    pub bytes: usize,
    /// The seed of the tokens by which other subscribers prove their addresses. It must be random, and differ from
    /// [`SubscriberConfig::seed`], which the identity of the subscriber shows.
    pub seed: u64,
}

#[cfg(feature = "local-repair")]
impl LocalRepair {
    /// The usual number of bytes: what arrives in a second at 64 Mbit/s.
    pub const BYTES: usize = 8 << 20;
}

/// Settings of a [`SubscriberMachine`](super::SubscriberMachine).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscriberConfig {
    /// The stream.
    pub stream: StreamId,
    /// The name that it reports to the publisher. Nothing proves it but the group's secret, which only proves that a member of
    /// the group claims it. Default: none.
    pub name: Option<SubscriberName>,
    /// Where it starts. Default: now.
    pub start: Start,
    /// What it does about gaps. Default: reliable, continuing after a loss.
    pub policy: Policy,
    /// The window: datagrams that it buffers out of order, rounded up to a power of two. Default: 8,192.
    pub window: usize,
    /// Bytes of datagrams that it buffers out of order. Default: 64 MiB.
    pub window_bytes: usize,
    /// The size of the socket's receive buffer in bytes. The publisher is allowed this much beyond what has arrived, so
    /// that nothing is lost while the process does not run. Default: `usize::MAX`, for unknown.
    pub socket_buffer: usize,
    /// The longest message that it accepts, in bytes. Default: 16 MiB.
    pub longest_message: usize,
    /// Number of keys whose latest message it remembers, with [`Policy::Latest`]. Default: 1,048,576.
    pub most_keys: usize,
    /// The number of paths on which the stream arrives, at most 4. Default: 1.
    pub paths: u8,
    /// A path that is silent for this time while another is not is reported. Default: 500 ms.
    pub path_silence: Duration,
    /// A publisher that is silent for this time is reported. Default: 5 s.
    pub publisher_silence: Duration,
    /// A gap that delays delivery for this time is reported. Default: 1 s.
    pub stalled_after: Duration,
    /// Whether it sends nothing to the publisher, so that nothing is repaired. Default: no.
    pub mute: bool,
    /// Whether it retains what it received, and repairs it for other subscribers. A subscriber that requests no repairs sends
    /// none. Default: no.
    #[cfg(feature = "local-repair")]
    pub repair_for_others: Option<LocalRepair>,
    /// Whether a [`HistoryMachine`](crate::history::HistoryMachine) gives the application what this subscriber delivers. Then
    /// that decides what is lost. Default: no.
    pub has_history: bool,
    /// The offset from its clock to nanoseconds since 1970. `None`: unknown.
    pub unix_offset: Option<u64>,
    /// The seed of its random numbers, from which its identity is drawn. It must differ between subscribers.
    pub seed: u64,
    /// The group's secrets. Default: none. With any, datagrams that are not sealed are refused.
    pub keys: Keys,
    /// The public keys of the publisher. Default: none. With any, nothing is delivered or reported that the publisher has
    /// not signed, and the window has at least 128 datagrams.
    #[cfg(feature = "signatures")]
    pub signed_by: PinnedKeys,
}

impl SubscriberConfig {
    /// Returns the defaults for this stream.
    #[must_use]
    pub const fn new(stream: StreamId) -> Self {
        Self {
            stream,
            name: None,
            start: Start::Now,
            policy: Policy::Reliable(OnLoss::Continue),
            window: 8192,
            window_bytes: 64 << 20,
            socket_buffer: usize::MAX,
            longest_message: 16 << 20,
            most_keys: 1 << 20,
            paths: 1,
            path_silence: Duration::from_millis(500),
            publisher_silence: Duration::from_secs(5),
            stalled_after: Duration::from_secs(1),
            mute: false,
            #[cfg(feature = "local-repair")]
            repair_for_others: None,
            has_history: false,
            unix_offset: None,
            seed: 0,
            keys: Keys::none(),
            #[cfg(feature = "signatures")]
            signed_by: PinnedKeys::none(),
        }
    }

    /// Returns these settings with a change: outside this crate, they cannot be written as a literal, so that new ones can be
    /// added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The size of the window in slots.
    pub(crate) fn slots(&self) -> usize {
        let least = if self.verifies() { VERIFIED_WINDOW } else { 16 };
        self.window.clamp(least, 1 << 22).next_power_of_two()
    }

    /// Whether it delivers only what is signed.
    #[must_use]
    pub const fn verifies(&self) -> bool {
        #[cfg(feature = "signatures")]
        return !self.signed_by.is_empty();
        #[cfg(not(feature = "signatures"))]
        false
    }

    /// Whether it requests repairs.
    pub(crate) const fn repairs(&self) -> bool {
        !self.mute && !matches!(self.policy, Policy::BestEffort(_))
    }
}
