//! The sender's state, told now and then and after every burst.

use super::bytes::{u32_at, u64_at};
use super::packet::WireError;
use super::writer::{PacketWriter, WriteError};

/// For whom the sender waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowControl {
    /// For nobody.
    None,
    /// For the slowest receiver that it knows.
    #[default]
    Slowest,
    /// Something of a later version.
    Other(u8),
}

impl FlowControl {
    const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Slowest => 1,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Slowest,
            other => Self::Other(other),
        }
    }
}

/// No stream lasts so long; sums with it overflow nothing.
const LARGEST: u64 = 1 << 62;

/// The body of a heartbeat: 80 bytes. What is longer comes from a later version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The number of the next datagram of data.
    pub next: u64,
    /// The number of the next message.
    pub next_message: u64,
    /// The oldest datagram that can be repaired; `next` if none can.
    pub trail: u64,
    /// The first message that begins in `trail` or after it.
    pub trail_message: u64,
    /// The sender's clock, in its own units: to be sent back in a status.
    pub clock: u64,
    /// Nanoseconds since 1970; 0: it has no such clock.
    pub unix_time: u64,
    /// How fast it sends, in bytes a second; 0: as fast as it goes.
    pub rate: u64,
    /// The time within which the group answers, in microseconds.
    pub round_trip: u32,
    /// How many receivers it knows.
    pub group_size: u32,
    /// Naks are spread over so many group round trips.
    pub backoff: u8,
    /// For whom it waits.
    pub flow: FlowControl,
    /// The least minor version that it can speak.
    pub min_minor: u8,
    /// The greatest.
    pub max_minor: u8,
    /// At least so many microseconds lie between two statuses of one receiver.
    pub status_interval: u32,
    /// The length of the stream's longest datagram, in bytes.
    pub datagram: u16,
    /// How many datagrams of that length the sender keeps at least; 0: it does not say.
    pub capacity: u32,
}

impl Heartbeat {
    /// Its length in bytes.
    pub const LENGTH: usize = 80;

    /// Reads a body.
    ///
    /// # Errors
    /// When it is too short, or says what cannot be.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let small = |at| u32_at(body, at).ok_or(WireError::Body);
        let byte = |at: usize| body.get(at).copied().ok_or(WireError::Body);
        let heartbeat = Self {
            next: number(0)?,
            next_message: number(8)?,
            trail: number(16)?,
            trail_message: number(24)?,
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
            capacity: small(76)?,
        };
        let possible = (1..LARGEST).contains(&heartbeat.next)
            && heartbeat.next_message < LARGEST
            && (1..=heartbeat.next).contains(&heartbeat.trail)
            && heartbeat.trail_message <= heartbeat.next_message
            && body.len() >= Self::LENGTH;
        possible.then_some(heartbeat).ok_or(WireError::Body)
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut PacketWriter<'_>) -> Result<(), WriteError> {
        let numbers = [
            self.next,
            self.next_message,
            self.trail,
            self.trail_message,
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
        writer.put(&[0; 2])?;
        writer.put(&self.capacity.to_be_bytes())
    }
}
