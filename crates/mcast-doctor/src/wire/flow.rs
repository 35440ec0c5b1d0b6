//! Datagrams of one sender to one group and port by one interface.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_packet::MacAddress;

/// How many datagrams back a repetition is looked for.
const REMEMBERED: usize = 64;
/// How many datagrams back a repetition is believed that carries no number of its own.
const CLOSE: usize = 4;
/// A datagram that looks the same after this time is another one.
const REPEAT_WITHIN: Duration = Duration::from_secs(1);
/// How many different payloads are told apart.
const VARIETY: usize = 256;

/// What makes a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowKey {
    pub(crate) interface: u32,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: SocketAddr,
    pub(crate) group: IpAddr,
    pub(crate) port: u16,
    /// The outermost VLAN tag that the frames had.
    pub(crate) vlan: Option<u16>,
}

/// Datagrams of one sender to one group and port by one interface.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) key: FlowKey,
    pub(crate) datagrams: u64,
    /// The largest IP packet.
    pub(crate) largest: usize,
    pub(crate) hop_limits: (u8, u8),
    pub(crate) bad_checksums: u64,
    /// Datagrams that came in pieces.
    pub(crate) fragmented: u64,
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
    pub(crate) longest_pause: Duration,
    /// Who sent the frames: the sender, or routers and relays.
    pub(crate) macs: BTreeSet<MacAddress>,
    /// Datagrams that were there a moment before.
    pub(crate) repeats: u64,
    /// Those among them that came with another hop limit or from another Ethernet address.
    pub(crate) repeats_by_other_way: u64,
    /// What the payloads look like, up to a number of them.
    pub(crate) payloads: BTreeSet<u64>,
    recent: VecDeque<Look>,
}

/// What a datagram looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) time: SystemTime,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) hop_limit: u8,
    /// The number that its sender gave it (IPv4 identification); 0 where there is none.
    pub(crate) number: u16,
    /// Of the payload.
    pub(crate) hash: u64,
    pub(crate) length: usize,
    pub(crate) bad_checksum: bool,
    pub(crate) fragmented: bool,
}

impl Flow {
    pub(crate) fn new(key: FlowKey, first: &Look) -> Self {
        Self {
            key,
            datagrams: 0,
            largest: 0,
            hop_limits: (first.hop_limit, first.hop_limit),
            bad_checksums: 0,
            fragmented: 0,
            first: first.time,
            last: first.time,
            longest_pause: Duration::ZERO,
            macs: BTreeSet::new(),
            repeats: 0,
            repeats_by_other_way: 0,
            payloads: BTreeSet::new(),
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, look: Look) {
        self.datagrams += 1;
        self.largest = self.largest.max(look.length);
        self.hop_limits = (self.hop_limits.0.min(look.hop_limit), self.hop_limits.1.max(look.hop_limit));
        self.bad_checksums += u64::from(look.bad_checksum);
        self.fragmented += u64::from(look.fragmented);
        self.longest_pause = self.longest_pause.max(look.time.duration_since(self.last).unwrap_or_default());
        self.last = self.last.max(look.time);
        self.macs.extend(look.mac);
        self.note_repeat(&look);
        if self.payloads.len() < VARIETY {
            self.payloads.insert(look.hash);
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(look);
    }

    /// The group and port as text.
    pub(crate) fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.key.group, self.key.port)
    }

    /// Datagrams that could be taken: those with a right checksum.
    pub(crate) fn sound(&self) -> u64 {
        self.datagrams.saturating_sub(self.bad_checksums)
    }

    fn note_repeat(&mut self, look: &Look) {
        let earlier = self.recent.iter().rev().enumerate().find(|(back, earlier)| {
            let same = earlier.hash == look.hash && earlier.number == look.number;
            let near = look.number != 0 || *back < CLOSE;
            same && near && look.time.duration_since(earlier.time).unwrap_or_default() < REPEAT_WITHIN
        });
        if let Some((_, earlier)) = earlier {
            self.repeats += 1;
            let other_way = earlier.mac != look.mac || earlier.hop_limit != look.hop_limit;
            self.repeats_by_other_way += u64::from(other_way);
        }
    }
}
