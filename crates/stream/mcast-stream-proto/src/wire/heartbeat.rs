//! Heartbeats: the publisher's state, sent at intervals and after every burst. Probes with their echoes, and resets,
//! complete the conversation with one subscriber.

use super::header::{WireError, u32_at, u64_at};
use super::identity::{AddressToken, MessageNumber, Sequence, SubscriberId};
use super::view::{DatagramWriter, WriteError};

/// Flow control: whether the publisher waits for subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowControl {
    /// The publisher waits for no subscriber.
    None,
    /// The publisher waits for the slowest subscriber that it knows.
    #[default]
    Slowest,
    /// The publisher waits for no subscriber, and repairs nothing: subscribers send nothing.
    OneWay,
    /// A kind of a later version.
    Other(u8),
}

impl FlowControl {
    const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Slowest => 1,
            Self::OneWay => 2,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Slowest,
            2 => Self::OneWay,
            other => Self::Other(other),
        }
    }
}

/// A bound that no stream reaches, so that sums of numbers below it do not overflow.
const LARGEST: u64 = 1 << 62;

/// The body of a heartbeat: 80 bytes. A longer body comes from a later version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// The sequence of the next datagram of data.
    pub next: Sequence,
    /// The number of the next message.
    pub next_message: MessageNumber,
    /// The sequence of the oldest datagram in the retransmission buffer; `next` if it is empty.
    pub oldest_retained: Sequence,
    /// The number of the first message that begins in `oldest_retained` or after it.
    pub oldest_message: MessageNumber,
    /// The publisher's clock, in its own units; statuses return it.
    pub clock: u64,
    /// Nanoseconds since 1970; 0 if unknown.
    pub unix_time: u64,
    /// The rate in bytes per second; 0 if it is unlimited.
    pub rate: u64,
    /// The group round-trip time in microseconds.
    pub round_trip: u32,
    /// The number of subscribers known to the publisher.
    pub group_size: u32,
    /// The number of round trips over which NAKs are spread.
    pub backoff: u8,
    /// Flow control.
    pub flow: FlowControl,
    /// The lowest minor version that the publisher supports.
    pub min_minor: u8,
    /// The greatest minor version that the publisher supports.
    pub max_minor: u8,
    /// The shortest time between two statuses of one subscriber, in microseconds.
    pub status_interval: u32,
    /// The length of the longest datagram of the stream, in bytes.
    pub datagram: u16,
    /// The number of datagrams in a whole block of parity; 0 if there is no parity.
    pub block: u8,
    /// The number of parity symbols that are sent for a whole block without a request.
    pub parity: u8,
    /// The number of datagrams of that length that fit the retransmission buffer; 0 if unknown.
    pub capacity: u32,
}

impl Heartbeat {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 80;

    /// Returns the heartbeat with a change. Outside this crate, it cannot be written as a literal, so that fields can be added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short or inconsistent.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let small = |at| u32_at(body, at).ok_or(WireError::Body);
        let byte = |at: usize| body.get(at).copied().ok_or(WireError::Body);
        let heartbeat = Self {
            next: Sequence(number(0)?),
            next_message: MessageNumber(number(8)?),
            oldest_retained: Sequence(number(16)?),
            oldest_message: MessageNumber(number(24)?),
            clock: number(32)?,
            unix_time: number(40)?,
            rate: number(48)?,
            round_trip: small(56)?,
            group_size: small(60)?,
            backoff: byte(64)?,
            flow: FlowControl::from_number(byte(65)?),
            min_minor: byte(66)?,
            max_minor: byte(67)?,
            status_interval: small(68)?,
            datagram: (small(72)? >> 16) as u16,
            block: byte(74)?,
            parity: byte(75)?,
            capacity: small(76)?,
        };
        let possible = (1..LARGEST).contains(&heartbeat.next.0)
            && heartbeat.next_message.0 < LARGEST
            && (Sequence(1)..=heartbeat.next).contains(&heartbeat.oldest_retained)
            && heartbeat.oldest_message <= heartbeat.next_message
            && body.len() >= Self::LENGTH;
        possible.then_some(heartbeat).ok_or(WireError::Body)
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let numbers = [
            self.next.0,
            self.next_message.0,
            self.oldest_retained.0,
            self.oldest_message.0,
            self.clock,
            self.unix_time,
            self.rate,
        ];
        for number in numbers {
            writer.put(&number.to_be_bytes())?;
        }
        writer.put(&self.round_trip.to_be_bytes())?;
        writer.put(&self.group_size.to_be_bytes())?;
        writer.put(&[self.backoff, self.flow.number(), self.min_minor, self.max_minor])?;
        writer.put(&self.status_interval.to_be_bytes())?;
        writer.put(&self.datagram.to_be_bytes())?;
        writer.put(&[self.block, self.parity])?;
        writer.put(&self.capacity.to_be_bytes())
    }
}

/// The body of a probe and of an echo: 24 bytes each, so that an echo is no longer than its probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// In a probe, the subscriber's clock; the echo returns it.
    pub clock: u64,
    /// In an echo, the token that proves the address.
    pub token: AddressToken,
    /// In an echo, the subscriber to which it is sent.
    pub subscriber: SubscriberId,
}

impl Probe {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 24;

    /// Creates a probe, or with a token the echo of one.
    #[must_use]
    pub const fn new(clock: u64, token: AddressToken, subscriber: SubscriberId) -> Self {
        Self { clock, token, subscriber }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let (token, subscriber) = (AddressToken(number(8)?), SubscriberId(number(16)?));
        Ok(Self { clock: number(0)?, token, subscriber })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.clock.to_be_bytes())?;
        writer.put(&self.token.0.to_be_bytes())?;
        writer.put(&self.subscriber.0.to_be_bytes())
    }
}

/// The reason of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// The subscriber was too slow: the publisher no longer waits for it.
    Evicted,
    /// The publisher knows as many subscribers as it may.
    Full,
    /// The publisher has recorded that this subscriber confirmed the end of the stream, so it need not repeat that.
    EndConfirmed,
    /// A reason of a later version.
    Other(u8),
}

/// The body of a reset: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reset {
    /// The subscriber to which it applies.
    pub subscriber: SubscriberId,
    /// The reason.
    pub reason: ResetReason,
}

impl Reset {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 16;

    /// Creates a reset of a subscriber.
    #[must_use]
    pub const fn new(subscriber: SubscriberId, reason: ResetReason) -> Self {
        Self { subscriber, reason }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let subscriber = SubscriberId(u64_at(body, 0).ok_or(WireError::Body)?);
        let reason = match (u64_at(body, 8).ok_or(WireError::Body)? >> 56) as u8 {
            1 => ResetReason::Evicted,
            2 => ResetReason::Full,
            3 => ResetReason::EndConfirmed,
            other => ResetReason::Other(other),
        };
        Ok(Self { subscriber, reason })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let reason = match self.reason {
            ResetReason::Evicted => 1,
            ResetReason::Full => 2,
            ResetReason::EndConfirmed => 3,
            ResetReason::Other(number) => number,
        };
        writer.put(&self.subscriber.0.to_be_bytes())?;
        writer.put(&[reason, 0, 0, 0, 0, 0, 0, 0])
    }
}
