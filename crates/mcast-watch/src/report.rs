//! What a table shows: rows that can be sorted and printed, without ties to the table.

use std::time::Duration;

use crate::history::Slot;
use crate::jitter::JitterValue;
use crate::ledger::Identity;
use crate::log::Entry;
use crate::members::Member;
use crate::numbering::{Format, Numbers};
use crate::routers::{PimNeighbor, Querier, RouterAdvertisement};
use crate::stream::StreamKey;
use crate::time::Time;

/// Everything that is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The moment.
    pub time: Time,
    /// How long the table has watched.
    pub watched: Duration,
    /// The streams, by group, port, source and interface.
    pub streams: Vec<Row>,
    /// Who has reported to be a member of what, by group and host.
    pub members: Vec<Member>,
    /// Who asks for members, by interface and address.
    pub queriers: Vec<Querier>,
    /// PIM routers that say hello.
    pub pim_neighbors: Vec<PimNeighbor>,
    /// Routers that show themselves to switches (RFC 4286).
    pub routers: Vec<RouterAdvertisement>,
    /// The latest messages of IGMP, MLD and PIM, the newest first.
    pub log: Vec<Entry>,
    /// Sums over all that came.
    pub totals: Totals,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which stream.
    pub key: StreamKey,
    /// Since its first datagram.
    pub age: Duration,
    /// Since its latest datagram.
    pub quiet: Duration,
    /// Datagrams in all.
    pub datagrams: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// Bytes of their frames, as far as frames began with a UDP header: later fragments are not counted.
    pub frame_bytes: u64,
    /// The TTL or hop limit of the latest datagram.
    pub hop_limit: u8,
    /// The lowest and the highest that came.
    pub hop_limits: (u8, u8),
    /// The rate in the latest interval that is over; in the first interval, so far.
    pub now: Rate,
    /// What was found missing in that interval, in the unit of [`Self::numbers`].
    pub lost_now: u64,
    /// The rate over all the time that the table has watched.
    pub mean: Rate,
    /// The intervals that are over, the oldest first, back to the stream's first or as far as is
    /// remembered.
    pub history: Vec<Slot>,
    /// What it carries, where that is certain.
    pub format: Option<Format>,
    /// Which stream it is by what its datagrams say, where the caller told ([`Seen::numbered`](crate::Seen)).
    pub identity: Option<Identity>,
    /// What its sequence numbers say, where it has some.
    pub numbers: Option<Numbers>,
    /// Where a transport stream leaps, by its own counters.
    pub continuity_errors: Option<u64>,
    /// How unevenly it comes.
    pub jitter: Option<JitterValue>,
    /// Datagrams with a wrong checksum, which no program gets.
    pub bad_checksums: u64,
    /// Datagrams that came in fragments.
    pub fragmented: u64,
    /// Whether this machine sends it.
    pub outgoing: bool,
}

/// How much comes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Datagrams a second.
    pub datagrams_per_second: f64,
    /// Bits of payload a second.
    pub bits_per_second: f64,
}

/// Sums over all that came, also of streams that had to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Datagrams to groups.
    pub datagrams: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// Messages of IGMP, MLD, router discovery and PIM.
    pub control: u64,
    /// Packets to groups that are neither: other protocols, and later fragments.
    pub other: u64,
    /// Packets that could not be decoded to their end.
    pub malformed: u64,
    /// Streams that were given up for want of room. One that comes and goes counts each time.
    pub streams_left_out: u64,
    /// Members that were given up for want of room.
    pub members_left_out: u64,
}

impl Rate {
    pub(crate) fn of(datagrams: u64, bytes: u64, time: Duration) -> Self {
        if time.is_zero() {
            return Self::default();
        }
        let seconds = time.as_secs_f64();
        Self {
            datagrams_per_second: datagrams as f64 / seconds,
            bits_per_second: bytes as f64 * 8.0 / seconds,
        }
    }
}
