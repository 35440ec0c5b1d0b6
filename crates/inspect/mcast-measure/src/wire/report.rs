//! What a sender announces when a stream starts and ends, and the reports of receivers that reply, with counts of
//! datagrams that their system dropped, by where it dropped them.

use super::header::{MessageType, Reader, SessionHeader, Writer};
use crate::lost_percent;
use alloc::vec::Vec;
use core::time::Duration;

/// The length of a closing message: room for the report that replies to it.
pub const CLOSING_LENGTH: usize = 256;

const _: () = assert!(LENGTH <= CLOSING_LENGTH, "a reply must not be longer than its request");

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

const LENGTH: usize = 32 + 192;
const CLOSED: u8 = 1;
const COALESCED: u8 = 2;
const SAME_CLOCK: u8 = 4;
const CLOCKS_APART: u8 = 8;
const DELAYS: u8 = 16;
/// Encodes a count that the system does not keep.
const UNKNOWN: u64 = u64::MAX;

/// How the clocks of sender and receiver relate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockRelation {
    /// They are the same clock: delays are exact.
    Same,
    /// They belong to different machines: delays are as accurate as the clocks are synchronized.
    #[default]
    Unknown,
    /// Something arrived before it was sent, so the clocks differ: delays are meaningless.
    Apart,
}

/// The percentiles that all reports use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Median.
    pub p50: Duration,
    /// 90th percentile.
    pub p90: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// 99.9th percentile.
    pub p999: Duration,
    /// Maximum.
    pub max: Duration,
}

impl Percentiles {
    /// Returns the times, from the median to the maximum.
    #[must_use]
    pub const fn values(self) -> [Duration; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max]
    }
}

/// A receiver's statistics of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceiverReport {
    /// The receiver's random id, because several may share an address.
    pub receiver: u64,
    /// The number of the report: a higher one replaces a lower one.
    pub number: u32,
    /// Datagrams sent, as far as the receiver knows.
    pub sent: u64,
    /// Distinct datagrams received.
    pub received: u64,
    /// Datagrams sent but not received.
    pub lost: u64,
    /// Duplicates.
    pub duplicated: u64,
    /// Datagrams received after one that was sent later.
    pub reordered: u64,
    /// Datagrams sent before the first one received, if the start was not received.
    pub before_first: u64,
    /// Bytes of payload received.
    pub bytes: u64,
    /// Time from the first arrival to the last.
    pub elapsed: Duration,
    /// Interarrival jitter (RFC 3550 section 6.4.1) of the worst stream.
    pub jitter: Duration,
    /// Times from sending to arrival, unless the clocks differ.
    pub delays: Option<Percentiles>,
    /// How the clocks of receiver and sender relate.
    pub clocks: ClockRelation,
    /// Number of receive calls.
    pub receive_calls: u64,
    /// Whether the end of every stream was received.
    pub closed: bool,
    /// Whether the system delivered coalesced datagrams (UDP COALESCED).
    pub gro: bool,
    /// Datagrams that the receiver's system dropped during the session, by drop point.
    pub drops: DropCounts,
}

impl ReceiverReport {
    /// Returns the loss in percent.
    #[must_use]
    pub const fn lost_percent(&self) -> f64 {
        lost_percent(self.lost, self.sent)
    }

    /// Encodes the report as a reply to a message with this header.
    #[must_use]
    pub fn encode(&self, header: SessionHeader) -> Vec<u8> {
        let delays = self.delays.unwrap_or_default();
        let mut writer = Writer(Vec::with_capacity(LENGTH));
        writer
            .bytes(&header.with_kind(MessageType::Report).encode())
            .u64(self.receiver)
            .u32(self.number)
            .u8(self.flags())
            .bytes(&[0; 3]);
        for number in [self.sent, self.received, self.lost, self.duplicated, self.reordered] {
            writer.u64(number);
        }
        for number in [self.before_first, self.bytes, nanoseconds(self.elapsed), nanoseconds(self.jitter)] {
            writer.u64(number);
        }
        for delay in [delays.p50, delays.p90, delays.p99, delays.p999, delays.max] {
            writer.u64(nanoseconds(delay));
        }
        writer.u64(self.receive_calls);
        for count in self.drops.counts() {
            writer.u64(count.unwrap_or(UNKNOWN));
        }
        writer.padded(LENGTH)
    }

    fn flags(&self) -> u8 {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        flag(self.closed, CLOSED)
            | flag(self.gro, COALESCED)
            | flag(self.clocks == ClockRelation::Same, SAME_CLOCK)
            | flag(self.clocks == ClockRelation::Apart, CLOCKS_APART)
            | flag(self.delays.is_some(), DELAYS)
    }

    /// Decodes what follows the header.
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
            before_first: reader.u64()?,
            bytes: reader.u64()?,
            elapsed: Duration::from_nanos(reader.u64()?),
            jitter: Duration::from_nanos(reader.u64()?),
            closed: flags & CLOSED != 0,
            gro: flags & COALESCED != 0,
            clocks: match (flags & SAME_CLOCK, flags & CLOCKS_APART) {
                (0, 0) => ClockRelation::Unknown,
                (0, _) => ClockRelation::Apart,
                _ => ClockRelation::Same,
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
        let receive_calls = reader.u64()?;
        let mut counts = [None; DropCounts::POINTS];
        for count in &mut counts {
            *count = Some(reader.u64()?).filter(|count| *count != UNKNOWN);
        }
        Some(Self {
            delays: (flags & DELAYS != 0).then_some(delays),
            receive_calls,
            drops: DropCounts::from_counts(counts),
            ..report
        })
    }
}

/// A point at which the system drops datagrams and counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropPoint {
    /// The receive buffer of the measuring socket.
    Socket,
    /// The receive buffers of all UDP sockets of the host, including the measuring one.
    ReceiveBuffers,
    /// Datagrams that the host discarded as invalid, for example because of a wrong checksum.
    Broken,
    /// The queue between the network device and the network stack.
    Backlog,
    /// Network interfaces, on receive.
    InterfaceIn,
    /// Network interfaces, on transmit.
    InterfaceOut,
    /// The ring of the measuring receiver, for what it takes off an interface.
    Ring,
}

impl DropPoint {
    /// All drop points, from the reading program outwards, and its ring.
    pub const ALL: [Self; DropCounts::POINTS] = [
        Self::Socket,
        Self::ReceiveBuffers,
        Self::Broken,
        Self::Backlog,
        Self::InterfaceIn,
        Self::InterfaceOut,
        Self::Ring,
    ];

    /// Returns the name of the Linux counter.
    #[must_use]
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Socket => "SO_MEMINFO drops",
            Self::ReceiveBuffers => "Udp RcvbufErrors",
            Self::Broken => "Udp InErrors",
            Self::Backlog => "softnet_stat dropped",
            Self::InterfaceIn => "interface rx_dropped",
            Self::InterfaceOut => "interface tx_dropped",
            Self::Ring => "XDP_STATISTICS drops",
        }
    }

    /// Returns whether the counter covers the whole machine, containers included, so that it may count the
    /// traffic of others.
    #[must_use]
    pub const fn counts_whole_machine(self) -> bool {
        matches!(self, Self::Backlog)
    }

    /// Returns a description of the cause and a remedy.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Socket | Self::ReceiveBuffers => {
                "the reader was too slow for its buffer: use a larger one (--buffer, net.core.rmem_max), or send less"
            }
            Self::Broken => "datagrams arrived damaged: check cables and checksum offload",
            Self::Backlog => {
                "(whole machine, including traffic of others) the CPU that processes received packets was too busy: raise net.core.netdev_max_backlog, or distribute packets over CPUs (RPS)"
            }
            Self::InterfaceIn => {
                "the interface could not deliver packets in time: enlarge its receive ring (ethtool -G)"
            }
            Self::InterfaceOut => {
                "the interface's transmit queue was full: send less, or enlarge the queue (txqueuelen)"
            }
            Self::Ring => {
                "the reader was too slow for the ring of mcast on the interface (--wire): use a larger one (--buffer), or send less"
            }
        }
    }
}

/// The number of datagrams dropped at each point; `None` where the system does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([Option<u64>; Self::POINTS]);

impl DropCounts {
    /// The number of drop points.
    pub const POINTS: usize = 7;

    /// Creates counts, in the order of [`DropPoint::ALL`].
    #[must_use]
    pub const fn from_counts(counts: [Option<u64>; Self::POINTS]) -> Self {
        Self(counts)
    }

    /// Returns the counts, in the order of [`DropPoint::ALL`].
    #[must_use]
    pub const fn counts(&self) -> [Option<u64>; Self::POINTS] {
        self.0
    }

    /// Returns the count at a drop point.
    #[must_use]
    pub const fn at(&self, point: DropPoint) -> Option<u64> {
        self.0[point as usize]
    }

    /// Returns a copy with the count at one drop point replaced.
    #[must_use]
    pub const fn with(mut self, point: DropPoint, count: Option<u64>) -> Self {
        self.0[point as usize] = count;
        self
    }

    /// Returns the increase since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.0;
        for (count, before) in counts.iter_mut().zip(earlier.0) {
            *count = count.zip(before).map(|(now, before)| now.saturating_sub(before));
        }
        Self(counts)
    }

    /// Returns whether anything was dropped at a point whose counter excludes other containers' traffic.
    #[must_use]
    pub fn explain_loss(&self) -> bool {
        self.nonzero().any(|(point, _)| !point.counts_whole_machine())
    }

    /// Returns the drop points with a count above zero.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropPoint, u64)> {
        let counts = self.0;
        DropPoint::ALL.into_iter().zip(counts).filter_map(|(point, count)| Some((point, count?))).filter(
            move |(point, count)| {
                // The host's count includes the socket's own drops, so it adds information only where it is
                // higher.
                let redundant =
                    *point == DropPoint::ReceiveBuffers && counts[DropPoint::Socket as usize] == Some(*count);
                *count > 0 && !redundant
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_points_match_their_discriminants() {
        for (index, point) in DropPoint::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, index);
        }
    }

    #[test]
    fn drops_counted_twice_are_reported_once() {
        let before =
            DropCounts::default().with(DropPoint::Socket, Some(0)).with(DropPoint::ReceiveBuffers, Some(7));
        let now = DropCounts::default()
            .with(DropPoint::Socket, Some(5))
            .with(DropPoint::ReceiveBuffers, Some(12))
            .with(DropPoint::Backlog, Some(3));
        let drops = now.since(&before.with(DropPoint::Backlog, Some(1)));
        assert_eq!(drops.nonzero().collect::<Vec<_>>(), [(DropPoint::Socket, 5), (DropPoint::Backlog, 2)]);
        let backlog = drops.with(DropPoint::Socket, None).with(DropPoint::ReceiveBuffers, None);
        assert!(drops.explain_loss() && !backlog.explain_loss());
        let others = drops.with(DropPoint::ReceiveBuffers, Some(6));
        assert_eq!(
            others.nonzero().collect::<Vec<_>>(),
            [(DropPoint::Socket, 5), (DropPoint::ReceiveBuffers, 6), (DropPoint::Backlog, 2)]
        );
    }
}
