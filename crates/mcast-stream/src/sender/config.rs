//! Settings of a sender.

use crate::seal::Keys;
use crate::wire::{FlowControl, Incarnation, StreamId};

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Settings of a [`Sender`](super::Sender). Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// The stream.
    pub stream: StreamId,
    /// The life of this sender: greater than any that the stream had.
    pub incarnation: Incarnation,
    /// Bytes of the longest datagram. Default: 1,232, which every IPv6 path takes.
    pub datagram: usize,
    /// Size of the retransmission buffer in bytes: about as many bytes of payload as it keeps for repairs and late
    /// joiners. It takes a third more memory for headers, and an index entry for each datagram, of which there are
    /// at most one per 64 bytes. Default: 8 MiB.
    pub history: usize,
    /// Bytes of the longest message. Default: 16 MiB.
    pub longest_message: usize,
    /// For whom it waits. Default: for the slowest.
    pub flow: FlowControl,
    /// A receiver that keeps the sender waiting must get on within this time, by at least
    /// `floor`, or nobody waits for it any more. Default: 2 s.
    pub eviction: u64,
    /// Bytes a second that a receiver must take, to be waited for. Default: 0, anything at all.
    pub floor: u64,
    /// A receiver that says nothing for so long is gone. Default: 5 s.
    pub receiver_timeout: u64,
    /// Receivers that it keeps accounts of. Default: 4,096.
    pub most_receivers: usize,
    /// Bytes a second. Default: as fast as it goes.
    pub rate: Option<u64>,
    /// Repairs may take so many percent of what new data takes. Default: 50.
    pub repair_percent: u8,
    /// And so many bytes a second in any case. Default: 12.5 MB.
    pub repair_floor: u64,
    /// What it does about a link that cannot carry what it sends. Default: it slows down.
    pub congestion: Congestion,
    /// On how many paths each datagram to the group is sent: what a heartbeat on demand costs. Default: 1.
    pub paths: u8,
    /// Small messages may wait so long for others, unless flushed. Default: 1 ms.
    pub linger: u64,
    /// Naks of more than eight receivers are spread over so many group round trips. Default: 6.
    pub backoff: u8,
    /// The group round-trip time before it is known. Default: 1 ms.
    pub round_trip: u64,
    /// What to add to its clock for nanoseconds since 1970. `None`: unknown.
    pub unix_offset: Option<u64>,
    /// Where its random numbers begin: another for each sender.
    pub seed: u64,
    /// The group's secrets; the greatest epoch seals. Default: none, everything is clear.
    pub keys: Keys,
}

/// What a sender does when receivers lose much of what it sends (RFC 8084).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// It finds out whether its own rate is the cause. If it is, it sends as fast as the link takes, and probes for
    /// more. Loss that does not fall when it slows down is left to repair.
    #[default]
    Adapt,
    /// Nothing: the rate is the caller's business.
    Ignore,
}

impl SenderConfig {
    /// The defaults for this stream.
    #[must_use]
    pub const fn new(stream: StreamId, incarnation: Incarnation) -> Self {
        Self {
            stream,
            incarnation,
            datagram: 1232,
            history: 8 << 20,
            longest_message: 16 << 20,
            flow: FlowControl::Slowest,
            eviction: 2_000 * MILLISECOND,
            floor: 0,
            receiver_timeout: 5_000 * MILLISECOND,
            most_receivers: 4096,
            rate: None,
            repair_percent: 50,
            repair_floor: 12_500_000,
            congestion: Congestion::Adapt,
            paths: 1,
            linger: MILLISECOND,
            backoff: 6,
            round_trip: MILLISECOND,
            unix_offset: None,
            seed: 0,
            keys: Keys::none(),
        }
    }
}

/// Why settings cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too short or too long.
    #[error("a datagram has 256 to 65,507 bytes, not {0}")]
    Datagram(usize),
    /// Too little.
    #[error("a retransmission buffer of {0} bytes holds fewer than 16 datagrams: use a larger one")]
    History(usize),
    /// A message's length is told in 32 bits.
    #[error("messages of {0} bytes cannot be told: at most 4 GiB")]
    LongestMessage(usize),
    /// Nothing would ever be sent.
    #[error("a rate of 0 sends nothing: leave it out for as fast as it goes")]
    Rate,
}

impl SenderConfig {
    /// Checks what the types leave open.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(256..=65_507).contains(&self.datagram) {
            return Err(ConfigError::Datagram(self.datagram));
        }
        if u32::try_from(self.longest_message).is_err() {
            return Err(ConfigError::LongestMessage(self.longest_message));
        }
        if self.rate == Some(0) {
            return Err(ConfigError::Rate);
        }
        if self.history / self.datagram < 16 {
            return Err(ConfigError::History(self.history));
        }
        Ok(())
    }
}
