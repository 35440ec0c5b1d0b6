//! What a receiver tells its sender.

use std::time::Duration;

use super::bytes::{Reader, Writer};
use super::header::{Header, Kind};
use super::settings::nanoseconds;
use crate::{Clocks, Drops, Percentiles};

pub(super) const LENGTH: usize = 32 + 184;
const CLOSED: u8 = 1;
const MERGED: u8 = 2;
const SAME_CLOCK: u8 = 4;
const CLOCKS_APART: u8 = 8;
const DELAYS: u8 = 16;
/// Where the system does not count.
const UNKNOWN: u64 = u64::MAX;

/// What a receiver counted in a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Which receiver: a random number, as several may share an address.
    pub receiver: u64,
    /// The number of the report: a higher one replaces a lower one.
    pub number: u32,
    /// How many were sent, as far as it knows.
    pub sent: u64,
    /// How many different ones came.
    pub received: u64,
    /// How many did not.
    pub lost: u64,
    /// How many came once more.
    pub duplicated: u64,
    /// How many came after one that was sent later.
    pub reordered: u64,
    /// How many were sent before it heard the first, not having heard the beginning.
    pub unheard: u64,
    /// Bytes of payload received.
    pub bytes: u64,
    /// From the first arrival to the last.
    pub elapsed: Duration,
    /// Interarrival jitter (RFC 3550 section 6.4.1), the worst stream's.
    pub jitter: Duration,
    /// From sending to arrival, where the clocks allow it.
    pub delays: Option<Percentiles>,
    /// What its and the sender's clock have to do with each other.
    pub clocks: Clocks,
    /// How many calls it took to receive.
    pub calls: u64,
    /// Whether it heard the closing of every stream.
    pub closed: bool,
    /// Whether its system handed out datagrams merged (UDP GRO).
    pub merged: bool,
    /// What its system dropped meanwhile, and where.
    pub drops: Drops,
}

impl Report {
    /// As an answer to a message with this header.
    #[must_use]
    pub fn encode(&self, header: Header) -> Vec<u8> {
        let delays = self.delays.unwrap_or_default();
        let mut writer = Writer(Vec::with_capacity(LENGTH));
        writer
            .bytes(&header.as_kind(Kind::Report).encode())
            .u64(self.receiver)
            .u32(self.number)
            .u8(self.flags())
            .bytes(&[0; 3]);
        for number in [self.sent, self.received, self.lost, self.duplicated, self.reordered] {
            writer.u64(number);
        }
        for number in [self.unheard, self.bytes, nanoseconds(self.elapsed), nanoseconds(self.jitter)] {
            writer.u64(number);
        }
        for delay in [delays.p50, delays.p90, delays.p99, delays.p999, delays.max] {
            writer.u64(nanoseconds(delay));
        }
        writer.u64(self.calls);
        for count in self.drops.counts() {
            writer.u64(count.unwrap_or(UNKNOWN));
        }
        writer.padded(LENGTH)
    }

    fn flags(&self) -> u8 {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        flag(self.closed, CLOSED)
            | flag(self.merged, MERGED)
            | flag(self.clocks == Clocks::Same, SAME_CLOCK)
            | flag(self.clocks == Clocks::Apart, CLOCKS_APART)
            | flag(self.delays.is_some(), DELAYS)
    }

    /// From what follows the header.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (receiver, number, flags) = (reader.u64()?, reader.u32()?, reader.u8()?);
        let _reserved = (reader.u8()?, reader.u16()?);
        let report = Self {
            receiver,
            number,
            sent: reader.u64()?,
            received: reader.u64()?,
            lost: reader.u64()?,
            duplicated: reader.u64()?,
            reordered: reader.u64()?,
            unheard: reader.u64()?,
            bytes: reader.u64()?,
            elapsed: Duration::from_nanos(reader.u64()?),
            jitter: Duration::from_nanos(reader.u64()?),
            closed: flags & CLOSED != 0,
            merged: flags & MERGED != 0,
            clocks: match (flags & SAME_CLOCK, flags & CLOCKS_APART) {
                (0, 0) => Clocks::Unknown,
                (0, _) => Clocks::Apart,
                _ => Clocks::Same,
            },
            ..Self::default()
        };
        let delays = Percentiles {
            p50: Duration::from_nanos(reader.u64()?),
            p90: Duration::from_nanos(reader.u64()?),
            p99: Duration::from_nanos(reader.u64()?),
            p999: Duration::from_nanos(reader.u64()?),
            max: Duration::from_nanos(reader.u64()?),
        };
        let calls = reader.u64()?;
        let mut counts = [None; Drops::PLACES];
        for count in &mut counts {
            *count = Some(reader.u64()?).filter(|count| *count != UNKNOWN);
        }
        Some(Self {
            delays: (flags & DELAYS != 0).then_some(delays),
            calls,
            drops: Drops::of_counts(counts),
            ..report
        })
    }
}
