//! What a sender says of itself when a stream begins and when it has ended.

use std::time::Duration;

use super::bytes::{Reader, Writer};
use super::header::{Header, Kind};
use super::report;

/// The length of a closing: room for the report that answers it.
pub const CLOSING_LENGTH: usize = 256;

const _: () = assert!(report::LENGTH <= CLOSING_LENGTH, "an answer must not be longer than its cause");

const SEGMENTATION: u8 = 1;
const PING_PONG: u8 = 2;
const MORE_FOLLOWS: u8 = 4;

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    /// Bytes of payload a datagram.
    pub size: u32,
    /// Datagrams a second that all streams together aim at; `None` as many as can be.
    pub rate: Option<f64>,
    /// A number for the clock that send times are of, or 0: whoever has the same has the same
    /// clock.
    pub clock: u64,
    /// How many streams the session has.
    pub streams: u16,
    /// Whether the sender leaves segmentation to the system (UDP GSO).
    pub segmentation: bool,
    /// Whether datagrams are pings that want an answer.
    pub ping_pong: bool,
    /// Whether further sessions of the same run follow: a sweep has one for each of its rates.
    pub more_follows: bool,
}

impl Settings {
    /// The message that a stream begins with.
    #[must_use]
    pub fn opening(&self, header: Header) -> Vec<u8> {
        self.encode(header.as_kind(Kind::Opening)).0
    }

    /// The message that ends a stream; `header.sequence` is how many were sent in it.
    #[must_use]
    pub fn closing(&self, header: Header) -> Vec<u8> {
        self.encode(header.as_kind(Kind::Closing)).padded(CLOSING_LENGTH)
    }

    fn encode(&self, header: Header) -> Writer {
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
        flag(self.segmentation, SEGMENTATION)
            | flag(self.ping_pong, PING_PONG)
            | flag(self.more_follows, MORE_FOLLOWS)
    }

    /// From what follows the header.
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
            segmentation: flags & SEGMENTATION != 0,
            ping_pong: flags & PING_PONG != 0,
            more_follows: flags & MORE_FOLLOWS != 0,
            ..settings
        })
    }
}

/// What is longer than 584 years is 584 years.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
