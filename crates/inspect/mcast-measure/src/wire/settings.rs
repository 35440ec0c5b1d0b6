//! The sender's settings, sent when a stream starts and ends.

use alloc::vec::Vec;
use core::time::Duration;

use super::bytes::{Reader, Writer};
use super::header::{MessageType, SessionHeader};
use super::report;

/// The length of a closing message: room for the report that replies to it.
pub const CLOSING_LENGTH: usize = 256;

const _: () = assert!(report::LENGTH <= CLOSING_LENGTH, "a reply must not be longer than its request");

const GSO: u8 = 1;
const PING_PONG: u8 = 2;
const MORE_FOLLOWS: u8 = 4;

/// The sender's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SessionSettings {
    /// Bytes of payload per datagram.
    pub size: u32,
    /// Target rate in datagrams per second, all streams together; `None` for as fast as possible.
    pub rate: Option<f64>,
    /// The id of the clock that send times refer to, or 0 if unknown. Hosts with the same id share the clock.
    pub clock: u64,
    /// The number of streams in the session.
    pub streams: u16,
    /// Whether the sender uses UDP segmentation offload (GSO).
    pub gso: bool,
    /// Whether datagrams are pings that require a reply.
    pub ping_pong: bool,
    /// Whether more sessions of the same run follow: a sweep has one per rate.
    pub more_follows: bool,
}

impl SessionSettings {
    /// Encodes the message that starts a stream.
    #[must_use]
    pub fn opening(&self, header: SessionHeader) -> Vec<u8> {
        self.encode(header.with_kind(MessageType::Opening)).0
    }

    /// Encodes the message that ends a stream; `header.sequence` is the number of datagrams sent in it.
    #[must_use]
    pub fn closing(&self, header: SessionHeader) -> Vec<u8> {
        self.encode(header.with_kind(MessageType::Closing)).padded(CLOSING_LENGTH)
    }

    fn encode(&self, header: SessionHeader) -> Writer {
        let mut writer = Writer(Vec::with_capacity(CLOSING_LENGTH));
        writer
            .bytes(&header.encode())
            .u32(self.size)
            .u64(self.rate.unwrap_or(0.0).to_bits())
            .u64(self.clock)
            .u16(self.streams)
            .u8(self.flags());
        writer
    }

    fn flags(&self) -> u8 {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        flag(self.gso, GSO) | flag(self.ping_pong, PING_PONG) | flag(self.more_follows, MORE_FOLLOWS)
    }

    /// Decodes what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let settings = Self {
            size: reader.u32()?,
            rate: Some(f64::from_bits(reader.u64()?)).filter(|rate| rate.is_finite() && *rate > 0.0),
            clock: reader.u64()?,
            streams: reader.u16()?,
            ..Self::default()
        };
        let flags = reader.u8()?;
        Some(Self {
            gso: flags & GSO != 0,
            ping_pong: flags & PING_PONG != 0,
            more_follows: flags & MORE_FOLLOWS != 0,
            ..settings
        })
    }
}

/// Returns the duration in nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
