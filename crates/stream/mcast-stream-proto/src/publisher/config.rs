//! Settings of a publisher.

use core::time::Duration;

#[cfg(feature = "acknowledgements")]
use super::quorum::{Acknowledgers, Quorum};
#[cfg(feature = "signatures")]
use alloc::sync::Arc;

use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::Signer;
#[cfg(feature = "history")]
use crate::wire::Origin;
use crate::wire::{FlowControl, Incarnation, MessageNumber, StreamId};

/// Settings of a [`PublisherMachine`](super::PublisherMachine).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublisherConfig {
    /// The stream.
    pub stream: StreamId,
    /// The incarnation of this publisher: greater than all earlier ones of the stream.
    pub incarnation: Incarnation,
    /// The number of the first message. Default: 0.
    pub first_message: MessageNumber,
    /// Where the messages come from, if the publisher reads them from an engine. Default: `None`.
    #[cfg(feature = "history")]
    pub origin: Option<Origin>,
    /// The longest time between two heartbeats, at most 1 s. Default: 1 s.
    pub idle_interval: Duration,
    /// Size of the longest datagram in bytes. Default: 1,232, which fits the minimum MTU of IPv6.
    pub datagram: usize,
    /// Size of the retransmission buffer in bytes: about as many bytes of payload as it keeps for repairs and late
    /// joiners. It takes a third more memory for headers, and an index entry for each datagram, of which there are
    /// at most one per 64 bytes. Default: 8 MiB.
    pub retransmission_buffer: usize,
    /// Size of the longest message in bytes. Default: 16 MiB.
    pub longest_message: usize,
    /// Flow control: whether the publisher waits for subscribers. Default: it waits for the slowest.
    pub flow: FlowControl,
    /// Forward error correction. Default: for a large group that loses many datagrams.
    #[cfg(feature = "parity")]
    pub fec: Fec,
    /// The longest time for which a block waits to be full, 1 ms to 10 s: then its parity follows, even if it has fewer
    /// datagrams. With a longer time, a slow stream needs less parity, and what is lost is recovered later. Default: 10 ms.
    #[cfg(feature = "parity")]
    pub fec_delay: Duration,
    /// Eviction time: the publisher stops waiting for a subscriber that blocks it and makes no progress for this long.
    /// Default: 2 s.
    pub eviction: Duration,
    /// Time without a datagram of a subscriber after which it counts as departed. Default: 5 s.
    pub subscriber_timeout: Duration,
    /// Largest number of subscribers known at a time. Default: [`MOST_SUBSCRIBERS`](Self::MOST_SUBSCRIBERS).
    pub most_subscribers: usize,
    /// The rate. Default: unlimited.
    pub rate: PublisherRate,
    /// Bandwidth of repairs in percent of the bandwidth of new data. Default: 50.
    pub repair_percent: u8,
    /// Bandwidth of repairs that is granted in addition, in bytes per second. Default: 12.5 MB.
    pub repair_floor: u64,
    /// Congestion control: the reaction to links slower than the publisher. Default: it slows down.
    #[cfg(feature = "auto-rate")]
    pub congestion: Congestion,
    /// Number of paths on which each datagram to the group is sent: the price of a heartbeat on demand. Default: 1.
    pub paths: u8,
    /// Time for which a small message waits for others to share its datagram, unless flushed. Default: 1 ms.
    pub linger: Duration,
    /// Number of group round trips over which NAKs of more than eight subscribers are spread. Default: 6.
    pub backoff: u8,
    /// The group round-trip time assumed before the first measurement. Default: 1 ms.
    pub round_trip: Duration,
    /// Which subscribers must acknowledge messages. Default: `None`, none.
    #[cfg(feature = "acknowledgements")]
    pub quorum: Option<Quorum>,
    /// The first message that the [`quorum`](Self::quorum) is for. Those before it are published again: which subscribers have
    /// acknowledged them is not known. Default: 0.
    #[cfg(feature = "acknowledgements")]
    pub acknowledge_from: MessageNumber,
    /// The offset from the publisher's clock to nanoseconds since 1970. `None`: unknown.
    pub unix_offset: Option<u64>,
    /// Seed of the random numbers: a different one for each publisher.
    pub seed: u64,
    /// The group's secrets; the one with the greatest epoch seals. Default: none, nothing is sealed.
    pub keys: Keys,
    /// The key that signs. Default: none, nothing is signed.
    #[cfg(feature = "signatures")]
    pub signer: Option<Arc<dyn Signer>>,
}

/// Forward error correction: parity, from which subscribers recover lost datagrams.
#[cfg(feature = "parity")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fec {
    /// No parity. Subscribers request what they lack.
    Off,
    /// Parity only for a group of more than eight subscribers that lose different datagrams, if a quarter of all
    /// must be repaired, or more than they may send NAKs for (200 per second, and 5 %). Otherwise the same as [`Off`](Self::Off).
    #[default]
    Crowd,
    /// As many parity symbols as the losses of the subscribers suggest; none as long as nothing is lost.
    Auto,
    /// A fixed number of parity symbols after each block of datagrams.
    Fixed {
        /// Datagrams in a whole block, 1 to 64. A block that is not full ends after
        /// [`fec_delay`](PublisherConfig::fec_delay).
        data: u8,
        /// Parity symbols for each block, 1 to 64: a block survives the loss of as many of its datagrams and symbols.
        parity: u8,
    },
}

/// What a publisher does when subscribers lose much of what it sends (RFC 8084).
#[cfg(feature = "auto-rate")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// Finds out whether the publisher's own rate is the cause. If it is, the publisher matches the capacity of the
    /// link and probes for more. Loss that does not fall when the publisher slows down is left to repair.
    #[default]
    Adapt,
    /// Ignores loss: the caller controls the rate.
    Ignore,
}

/// The rate of a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublisherRate {
    /// As fast as the system and the subscribers allow.
    #[default]
    Unlimited,
    /// At most this many bytes per second.
    Fixed(u64),
    /// What the path to the slowest subscriber carries, fair to TCP flows on it (RFC 8085, section 4.1). It replaces
    /// [`Congestion::Adapt`].
    #[cfg(feature = "auto-rate")]
    Auto(AutoRate),
}

/// Settings of [`PublisherRate::Auto`].
#[cfg(feature = "auto-rate")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AutoRate {
    /// A subscriber whose path carries fewer bytes per second than this, for the
    /// [eviction time](PublisherConfig::eviction), is evicted if the paths of others carry more. Default: `None`, the
    /// publisher slows down for the slowest subscriber.
    pub evict_below: Option<u64>,
}

impl PublisherRate {
    /// Returns the fixed rate in bytes per second, if it is one.
    #[must_use]
    pub const fn fixed(self) -> Option<u64> {
        match self {
            Self::Fixed(rate) => Some(rate),
            _ => None,
        }
    }

    /// Returns the settings of an automatic rate, if it is one.
    #[cfg(feature = "auto-rate")]
    #[must_use]
    pub const fn auto(self) -> Option<AutoRate> {
        match self {
            Self::Auto(auto) => Some(auto),
            Self::Unlimited | Self::Fixed(_) => None,
        }
    }
}

impl From<Option<u64>> for PublisherRate {
    fn from(fixed: Option<u64>) -> Self {
        fixed.map_or(Self::Unlimited, Self::Fixed)
    }
}

impl PublisherConfig {
    /// How many subscribers a publisher knows by default. Each takes about 2 kB of memory.
    pub const MOST_SUBSCRIBERS: usize = 16_384;

    /// Returns the default settings for this stream.
    #[must_use]
    pub const fn new(stream: StreamId, incarnation: Incarnation) -> Self {
        Self {
            stream,
            incarnation,
            first_message: MessageNumber(0),
            #[cfg(feature = "history")]
            origin: None,
            idle_interval: Duration::from_secs(1),
            datagram: 1232,
            retransmission_buffer: 8 << 20,
            longest_message: 16 << 20,
            flow: FlowControl::Slowest,
            #[cfg(feature = "parity")]
            fec: Fec::Crowd,
            #[cfg(feature = "parity")]
            fec_delay: Duration::from_millis(10),
            eviction: Duration::from_secs(2),
            subscriber_timeout: Duration::from_secs(5),
            most_subscribers: Self::MOST_SUBSCRIBERS,
            rate: PublisherRate::Unlimited,
            repair_percent: 50,
            repair_floor: 12_500_000,
            #[cfg(feature = "auto-rate")]
            congestion: Congestion::Adapt,
            paths: 1,
            linger: Duration::from_millis(1),
            backoff: 6,
            round_trip: Duration::from_millis(1),
            #[cfg(feature = "acknowledgements")]
            quorum: None,
            #[cfg(feature = "acknowledgements")]
            acknowledge_from: MessageNumber(0),
            unix_offset: None,
            seed: 0,
            keys: Keys::none(),
            #[cfg(feature = "signatures")]
            signer: None,
        }
    }

    /// Returns these settings with a change: outside this crate, they cannot be written as a literal, so that new ones can be
    /// added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns whether the publisher waits for subscribers.
    pub(super) const fn has_flow_control(&self) -> bool {
        !matches!(self.flow, FlowControl::None | FlowControl::OneWay)
    }

    /// Checks the ranges that the types do not express.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(256..=65_507).contains(&self.datagram) {
            return Err(ConfigError::Datagram(self.datagram));
        }
        if u32::try_from(self.longest_message).is_err() {
            return Err(ConfigError::LongestMessage(self.longest_message));
        }
        if self.rate.fixed() == Some(0) {
            return Err(ConfigError::Rate);
        }
        self.check_parity()?;
        #[cfg(feature = "acknowledgements")]
        self.check_quorum()?;
        #[cfg(feature = "auto-rate")]
        if self.flow == FlowControl::OneWay && self.rate.auto().is_some() {
            return Err(ConfigError::OneWayAutoRate);
        }
        if self.retransmission_buffer / self.datagram < 16 {
            return Err(ConfigError::RetransmissionBuffer(self.retransmission_buffer));
        }
        Ok(())
    }

    #[cfg(feature = "acknowledgements")]
    fn check_quorum(&self) -> Result<(), ConfigError> {
        let Some(quorum) = &self.quorum else { return Ok(()) };
        if self.flow == FlowControl::OneWay {
            return Err(ConfigError::OneWayQuorum);
        }
        match &quorum.acknowledgers {
            Acknowledgers::Count(0) => Err(ConfigError::Quorum),
            Acknowledgers::Named(names) if names.is_empty() => Err(ConfigError::Quorum),
            _ => Ok(()),
        }
    }
}

/// A setting that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The datagram size is out of range.
    #[error("a datagram size of {0} bytes is out of range: use 256 to 65,507")]
    Datagram(usize),
    /// The retransmission buffer is too small.
    #[error("a retransmission buffer of {0} bytes holds fewer than 16 datagrams: use a larger one")]
    RetransmissionBuffer(usize),
    /// The length of a message is a 32-bit field.
    #[error("a message size of {0} bytes is out of range: use less than 4 GiB")]
    LongestMessage(usize),
    /// A rate of 0 would never send anything.
    #[error("the rate must not be 0: set none for an unlimited rate")]
    Rate,
    /// A block, or its parity, has an impossible size.
    #[error(
        "forward error correction with {data}+{parity} is out of range: use 1 to 64 datagrams and 1 to 64 parity symbols"
    )]
    Fec {
        /// The datagrams.
        data: u8,
        /// The parity symbols.
        parity: u8,
    },
    /// A block waits for 1 ms to 10 s to be full.
    #[error("a forward error correction delay of {} µs is out of range: use 1 ms to 10 s", .0.as_micros())]
    FecDelay(Duration),
    /// Without feedback, loss cannot be measured.
    #[error("a one-way publisher cannot measure loss: set a fixed forward error correction")]
    OneWayAuto,
    /// Without feedback, nothing is acknowledged.
    #[error("a one-way publisher receives no acknowledgements: require none")]
    OneWayQuorum,
    /// Without feedback, what arrives cannot be measured.
    #[error(
        "a one-way publisher does not learn how much arrives, which an automatic rate follows: set a fixed rate"
    )]
    OneWayAutoRate,
    /// A quorum of nobody would acknowledge nothing.
    #[error("a quorum of nobody acknowledges nothing: require at least one subscriber")]
    Quorum,
}
