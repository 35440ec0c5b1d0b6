//! Settings of a receiver.

use crate::seal::Keys;
use crate::wire::StreamId;

const MILLISECOND: u64 = 1_000_000;

/// From where on a receiver wants messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Those that are sent from now on.
    #[default]
    Now,
    /// The oldest that can still be had.
    Oldest,
    /// Those behind a snapshot, which is asked for by an event.
    Snapshot,
}

/// What a receiver does about gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Waits until each is repaired. What is beyond repair is told, and then handled so.
    Reliable(OnLoss),
    /// Waits for so many nanoseconds at most, then goes on and tells the gap.
    Deadline(u64),
    /// Asks for nothing. Waits for so many nanoseconds for what comes out of order, then goes on
    /// and tells the gap.
    BestEffort(u64),
    /// Of each key only the latest message: hands out at once what came, and of what is repaired
    /// only what is not outdated. Messages without a key are handed out as with `Reliable`.
    Latest,
}

/// What comes after a loss that nothing can repair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Messages go on behind it.
    #[default]
    Continue,
    /// A snapshot is asked for, and messages go on behind that.
    Snapshot,
    /// Nothing more is handed out.
    Stop,
}

/// Settings of a [`Receiver`](super::Receiver). Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// The stream.
    pub stream: StreamId,
    /// From where on. Default: now.
    pub start: Start,
    /// What it does about gaps. Default: reliable, going on behind what is lost.
    pub policy: Policy,
    /// Datagrams that it keeps out of order, rounded up to a power of two. Default: 8,192.
    pub window: usize,
    /// Bytes of datagrams that it keeps out of order. Default: 64 MiB.
    pub window_bytes: usize,
    /// Bytes of the longest message. Default: 16 MiB.
    pub longest_message: usize,
    /// Keys whose latest message it remembers, with [`Policy::Latest`]. Default: 1,048,576.
    pub most_keys: usize,
    /// On how many paths the stream comes, at most 4. Default: 1.
    pub paths: u8,
    /// A path that has been silent for so long while another was not is told. Default: 500 ms.
    pub path_silence: u64,
    /// A sender that has been silent for so long is told. Default: 5 s.
    pub sender_silence: u64,
    /// A gap that has held up everything for so long is told. Default: 1 s.
    pub stalled_after: u64,
    /// Says nothing at all to the sender, so that nothing is repaired. Default: no.
    pub mute: bool,
    /// What to add to its clock for nanoseconds since 1970. `None`: unknown.
    pub unix_offset: Option<u64>,
    /// Where its random numbers begin, its identity among them: another for each receiver.
    pub seed: u64,
    /// The group's secrets. Default: none. With any, what is not sealed is refused.
    pub keys: Keys,
}

impl ReceiverConfig {
    /// The defaults for this stream.
    #[must_use]
    pub const fn new(stream: StreamId) -> Self {
        Self {
            stream,
            start: Start::Now,
            policy: Policy::Reliable(OnLoss::Continue),
            window: 8192,
            window_bytes: 64 << 20,
            longest_message: 16 << 20,
            most_keys: 1 << 20,
            paths: 1,
            path_silence: 500 * MILLISECOND,
            sender_silence: 5_000 * MILLISECOND,
            stalled_after: 1_000 * MILLISECOND,
            mute: false,
            unix_offset: None,
            seed: 0,
            keys: Keys::none(),
        }
    }

    /// The window as it is used.
    pub(crate) fn slots(&self) -> usize {
        self.window.clamp(16, 1 << 22).next_power_of_two()
    }

    /// Whether gaps are asked for.
    pub(crate) const fn repairs(&self) -> bool {
        !self.mute && !matches!(self.policy, Policy::BestEffort(_))
    }
}
