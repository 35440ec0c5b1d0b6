//! Statuses: the progress of a subscriber.

use super::bytes::{u32_at, u64_at};
use super::identity::AddressToken;
use super::number::Sequence;
use super::view::WireError;
use super::writer::{DatagramWriter, WriteError};

/// The body of a status: 80 bytes, so that with its headers it is at least as long as the heartbeat that it may
/// request. A longer body comes from a later version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Everything before this datagram was received or given up; `given_up` counts the latter.
    pub next: Sequence,
    /// One past the greatest sequence known to the subscriber.
    pub highest: Sequence,
    /// The room for datagrams from `next` on.
    pub window: u32,
    /// The number of datagrams that were missing when a later one arrived, without those that then arrived and were no
    /// repairs, or may soon: the lower half of the count.
    pub missed: u32,
    /// The clock of the last heartbeat.
    pub clock: u64,
    /// The time since that heartbeat arrived, in microseconds.
    pub held: u32,
    /// [`JOINING`](Self::JOINING), [`LEAVING`](Self::LEAVING), [`PASSIVE`](Self::PASSIVE), [`ENDED`](Self::ENDED),
    /// [`CATCHING_UP`](Self::CATCHING_UP), [`DELIVERED`](Self::DELIVERED), [`REPAIRS`](Self::REPAIRS),
    /// [`READING`](Self::READING), [`FAILED`](Self::FAILED),
    /// [`UNKNOWN_LOSS`](Self::UNKNOWN_LOSS).
    pub flags: u32,
    /// The token of the last echo.
    pub token: AddressToken,
    /// Datagrams received so far from the publisher, not counting copies.
    pub received: u64,
    /// The part of the group to which the subscriber belongs; 0 if none.
    pub tag: u32,
    /// Repairs of the publisher that have arrived, including copies: the lower half of the count. With redundant paths, the count of the
    /// path on which most have arrived.
    pub repairs: u32,
    /// Datagrams of this incarnation that the subscriber has given up: they will not be delivered. 0 if it reads what it
    /// lacks from a history: then only `lost_messages` counts.
    pub given_up: u64,
    /// Messages of this incarnation that the subscriber has reported as lost to its application.
    pub lost_messages: u64,
}

impl Status {
    /// The length of the body in bytes.
    pub const LENGTH: usize = 80;
    /// The subscriber requests a heartbeat.
    pub const JOINING: u32 = 1;
    /// The subscriber leaves.
    pub const LEAVING: u32 = 2;
    /// The subscriber requests no repairs: the publisher need not wait for it.
    pub const PASSIVE: u32 = 4;

    /// The subscriber knows where the stream ends, and has received everything before that.
    pub const ENDED: u32 = 8;

    /// The subscriber's window ends before `next` of the last heartbeat: missing datagrams were not lost just now.
    pub const CATCHING_UP: u32 = 16;

    /// The subscriber's application has read everything, and the end of the stream.
    pub const DELIVERED: u32 = 32;

    /// The subscriber repairs for others.
    pub const REPAIRS: u32 = 64;

    /// The subscriber reads a history: what its application has been given is before what has arrived of the stream, and
    /// it may yet get what it has given up.
    pub const READING: u32 = 128;

    /// The subscriber leaves because of an error: its application may not have what it was given.
    pub const FAILED: u32 = 256;

    /// The subscriber has reported to its application that an unknown number of messages of the incarnation is lost.
    pub const UNKNOWN_LOSS: u32 = 512;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when the body is too short or inconsistent.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let small = |at| u32_at(body, at).ok_or(WireError::Body);
        let status = Self {
            next: Sequence(number(0)?),
            highest: Sequence(number(8)?),
            window: small(16)?,
            missed: small(20)?,
            clock: number(24)?,
            held: small(32)?,
            flags: small(36)?,
            token: AddressToken(number(40)?),
            received: number(48)?,
            tag: small(56)?,
            repairs: small(60)?,
            given_up: number(64)?,
            lost_messages: number(72)?,
        };
        (status.next <= status.highest).then_some(status).ok_or(WireError::Body)
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.next.0.to_be_bytes())?;
        writer.put(&self.highest.0.to_be_bytes())?;
        writer.put(&self.window.to_be_bytes())?;
        writer.put(&self.missed.to_be_bytes())?;
        writer.put(&self.clock.to_be_bytes())?;
        writer.put(&self.held.to_be_bytes())?;
        writer.put(&self.flags.to_be_bytes())?;
        writer.put(&self.token.0.to_be_bytes())?;
        writer.put(&self.received.to_be_bytes())?;
        writer.put(&self.tag.to_be_bytes())?;
        writer.put(&self.repairs.to_be_bytes())?;
        writer.put(&self.given_up.to_be_bytes())?;
        writer.put(&self.lost_messages.to_be_bytes())
    }
}
