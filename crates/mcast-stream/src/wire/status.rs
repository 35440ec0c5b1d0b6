//! What a receiver has.

use super::bytes::{u32_at, u64_at};
use super::packet::WireError;
use super::writer::{PacketWriter, WriteError};

/// The body of a status: 80 bytes, so that with its headers it is at least as long as the heartbeat that it may ask
/// for. A longer body comes from a later version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Everything before this datagram was received or given up; `given_up` says how many were given up.
    pub next: u64,
    /// The greatest number heard of, and one more.
    pub highest: u64,
    /// From `next` on, so many datagrams have room.
    pub window: u32,
    /// How many datagrams were missing when something behind them came, in all: the lower half of that count.
    pub missed: u32,
    /// The clock of the last heartbeat.
    pub clock: u64,
    /// How long that heartbeat was kept, in microseconds.
    pub held: u32,
    /// [`JOINING`](Self::JOINING), [`LEAVING`](Self::LEAVING), [`PASSIVE`](Self::PASSIVE), [`ENDED`](Self::ENDED),
    /// [`CATCHING_UP`](Self::CATCHING_UP), [`DELIVERED`](Self::DELIVERED).
    pub flags: u32,
    /// A token that an echo brought; 0: none.
    pub token: u64,
    /// Datagrams received so far, without copies.
    pub received: u64,
    /// Which part of the group it belongs to; 0: none.
    pub tag: u32,
    /// Datagrams of this incarnation that the receiver has given up: they will not be delivered.
    pub given_up: u64,
    /// Messages of this incarnation that the receiver has reported as lost to its application.
    pub lost_messages: u64,
}

impl Status {
    /// Its length in bytes.
    pub const LENGTH: usize = 80;
    /// It asks for a heartbeat.
    pub const JOINING: u32 = 1;
    /// It will say no more.
    pub const LEAVING: u32 = 2;
    /// It repairs nothing: nobody need wait for it.
    pub const PASSIVE: u32 = 4;

    /// It has heard where the stream ends, and has received everything before that.
    pub const ENDED: u32 = 8;

    /// Its window does not reach as far as the last heartbeat does: what it lacks was not lost just now.
    pub const CATCHING_UP: u32 = 16;

    /// Its application has taken everything, and the end of the stream.
    pub const DELIVERED: u32 = 32;

    /// Reads a body.
    ///
    /// # Errors
    /// When it is too short, or says what cannot be.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let number = |at| u64_at(body, at).ok_or(WireError::Body);
        let small = |at| u32_at(body, at).ok_or(WireError::Body);
        let status = Self {
            next: number(0)?,
            highest: number(8)?,
            window: small(16)?,
            missed: small(20)?,
            clock: number(24)?,
            held: small(32)?,
            flags: small(36)?,
            token: number(40)?,
            received: number(48)?,
            tag: small(56)?,
            given_up: number(64)?,
            lost_messages: number(72)?,
        };
        (status.next <= status.highest).then_some(status).ok_or(WireError::Body)
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut PacketWriter<'_>) -> Result<(), WriteError> {
        writer.put(&self.next.to_be_bytes())?;
        writer.put(&self.highest.to_be_bytes())?;
        writer.put(&self.window.to_be_bytes())?;
        writer.put(&self.missed.to_be_bytes())?;
        writer.put(&self.clock.to_be_bytes())?;
        writer.put(&self.held.to_be_bytes())?;
        writer.put(&self.flags.to_be_bytes())?;
        writer.put(&self.token.to_be_bytes())?;
        writer.put(&self.received.to_be_bytes())?;
        writer.put(&self.tag.to_be_bytes())?;
        writer.put(&[0; 4])?;
        writer.put(&self.given_up.to_be_bytes())?;
        writer.put(&self.lost_messages.to_be_bytes())
    }
}
