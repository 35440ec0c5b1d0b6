//! Flows: datagrams from one source to one group and port on one interface.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_packet::{MacAddress, Vlan};

use super::numbering::Numbering;

/// How many earlier datagrams are compared to detect a repetition.
const REPEAT_WINDOW: usize = 64;
/// The same for datagrams without an IPv4 identification, which cannot be distinguished reliably.
const UNNUMBERED_WINDOW: usize = 4;
/// An equal datagram that arrives later than this is not counted as a repetition.
const REPEAT_WITHIN: Duration = Duration::from_secs(1);
/// The maximum number of distinct payloads remembered.
const MAX_PAYLOADS: usize = 256;

/// The maximum number of Ethernet source addresses remembered, and of destination addresses.
const MAX_ADDRESSES: usize = 8;

/// The key of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowKey {
    pub(crate) interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: SocketAddr,
    pub(crate) group: IpAddr,
    pub(crate) port: u16,
    /// The VLAN tags of the frames.
    pub(crate) vlan: Option<Tagging>,
}

/// The VLAN tags of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tagging {
    /// The VLAN id in the outermost tag.
    pub(crate) id: u16,
    /// The EtherType of the outermost tag: 802.1Q or 802.1ad.
    pub(crate) protocol: u16,
    /// The VLAN id in the next tag, if there is one.
    pub(crate) inner: Option<u16>,
}

impl Tagging {
    pub(crate) fn of(mut vlans: impl Iterator<Item = Vlan>) -> Option<Self> {
        let outer = vlans.next()?;
        Some(Self { id: outer.id, protocol: outer.protocol, inner: vlans.next().map(|inner| inner.id) })
    }
}

/// Datagrams from one source to one group and port on one interface.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) key: FlowKey,
    pub(crate) datagrams: u64,
    /// The size of the largest IP packet.
    pub(crate) largest: usize,
    /// The lowest and the highest hop limit.
    pub(crate) hop_limits: (u8, u8),
    pub(crate) bad_checksums: u64,
    /// Malformed datagrams, which every receiver drops, by what is wrong.
    pub(crate) defects: BTreeMap<Defect, u64>,
    /// Datagrams that arrived in fragments.
    pub(crate) fragmented: u64,
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
    pub(crate) longest_pause: Duration,
    /// The Ethernet source addresses, at most [`MAX_ADDRESSES`]: of the sender, or of routers and relays.
    pub(crate) macs: BTreeSet<MacAddress>,
    /// How often a datagram had another Ethernet source address than the one before.
    pub(crate) mac_changes: u64,
    /// The Ethernet destination addresses, at most [`MAX_ADDRESSES`].
    pub(crate) ethernet_destinations: BTreeSet<MacAddress>,
    /// Datagrams that repeat an earlier one.
    pub(crate) repeats: u64,
    /// Repeats with another hop limit or Ethernet source than the original.
    pub(crate) repeats_by_other_path: u64,
    /// The smallest hashes of the payloads, at most [`MAX_PAYLOADS`]: two flows with the same payloads have the same.
    pub(crate) payloads: BTreeSet<u64>,
    /// Datagrams that the kernel carried in coalesced packets, which its counters count once.
    pub(crate) resegmented: u64,
    /// The sequence numbers in the payloads.
    pub(crate) numbering: Numbering,
    /// IPv6 datagrams without a UDP checksum, which only tunnels may send.
    pub(crate) without_checksum: u64,
    /// Datagrams that a socket which decapsulates ESP does not receive, because they look like ESP.
    pub(crate) like_esp: u64,
    recent: VecDeque<DatagramSummary>,
}

/// What is wrong with a datagram, besides the checksum of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Defect {
    /// The checksum of the IPv4 header is wrong.
    HeaderChecksum,
    /// The UDP header states more bytes than the packet has.
    Length,
}

/// The properties of a datagram that flows are compared by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatagramSummary {
    pub(crate) time: SystemTime,
    pub(crate) mac: Option<MacAddress>,
    /// The Ethernet destination address.
    pub(crate) ethernet_destination: Option<MacAddress>,
    pub(crate) hop_limit: u8,
    /// The IPv4 identification; 0 if there is none.
    pub(crate) identification: u16,
    /// The hash of the payload.
    pub(crate) hash: u64,
    pub(crate) length: usize,
    pub(crate) bad_checksum: bool,
    pub(crate) defect: Option<Defect>,
    pub(crate) fragmented: bool,
    pub(crate) resegmented: bool,
    /// Whether it is an IPv6 datagram without a UDP checksum.
    pub(crate) without_checksum: bool,
    /// Whether it looks like ESP in UDP.
    pub(crate) like_esp: bool,
}

impl Flow {
    pub(crate) fn new(key: FlowKey, first: &DatagramSummary) -> Self {
        Self {
            key,
            datagrams: 0,
            largest: 0,
            hop_limits: (first.hop_limit, first.hop_limit),
            bad_checksums: 0,
            defects: BTreeMap::new(),
            fragmented: 0,
            first: first.time,
            last: first.time,
            longest_pause: Duration::ZERO,
            macs: BTreeSet::new(),
            mac_changes: 0,
            ethernet_destinations: BTreeSet::new(),
            repeats: 0,
            repeats_by_other_path: 0,
            payloads: BTreeSet::new(),
            resegmented: 0,
            numbering: Numbering::default(),
            without_checksum: 0,
            like_esp: 0,
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, summary: DatagramSummary) {
        self.datagrams += 1;
        self.largest = self.largest.max(summary.length);
        self.hop_limits =
            (self.hop_limits.0.min(summary.hop_limit), self.hop_limits.1.max(summary.hop_limit));
        self.bad_checksums += u64::from(summary.bad_checksum);
        if let Some(defect) = summary.defect {
            *self.defects.entry(defect).or_default() += 1;
        }
        self.fragmented += u64::from(summary.fragmented);
        self.resegmented += u64::from(summary.resegmented);
        self.without_checksum += u64::from(summary.without_checksum);
        self.like_esp += u64::from(summary.like_esp);
        self.longest_pause =
            self.longest_pause.max(summary.time.duration_since(self.last).unwrap_or_default());
        self.last = self.last.max(summary.time);
        for (addresses, new) in
            [(&mut self.macs, summary.mac), (&mut self.ethernet_destinations, summary.ethernet_destination)]
        {
            addresses.extend(new.filter(|_| addresses.len() < MAX_ADDRESSES));
        }
        self.mac_changes += u64::from(self.recent.back().is_some_and(|last| last.mac != summary.mac));
        self.record_repeat(&summary);
        self.payloads.insert(summary.hash);
        if self.payloads.len() > MAX_PAYLOADS {
            self.payloads.pop_last();
        }
        if self.recent.len() == REPEAT_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(summary);
    }

    /// Returns the group and port.
    pub(crate) fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.key.group, self.key.port)
    }

    /// Returns the Ethernet source addresses as a list.
    pub(crate) fn mac_list(&self) -> String {
        self.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Returns whether at least a tenth of the payloads of a flow are also those of this one, as on redundant paths.
    pub(crate) fn has_payloads_of(&self, other: &Self) -> bool {
        let common = self.payloads.intersection(&other.payloads).count();
        common * 10 >= self.payloads.len().min(other.payloads.len())
    }

    /// Returns whether a flow carries the same datagrams as this one at the same time, as a mirrored port does. If all payloads
    /// are equal, datagrams of both must arrive together.
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        const TOGETHER: Duration = Duration::from_millis(1);
        if self.payloads.len() > 1 || other.payloads.len() > 1 {
            return self.has_payloads_of(other);
        }
        let duration = self.last.duration_since(self.first).unwrap_or_default();
        let interval = duration / u32::try_from(self.datagrams).unwrap_or(u32::MAX).max(1);
        let tolerance = TOGETHER.max(interval / 8);
        let distance = |one: SystemTime, other: SystemTime| {
            one.duration_since(other).unwrap_or_else(|earlier| earlier.duration())
        };
        let has_mate = |own: &&DatagramSummary| {
            other
                .recent
                .iter()
                .any(|each| each.hash == own.hash && distance(each.time, own.time) <= tolerance)
        };
        self.recent.iter().filter(has_mate).count() * 2 >= self.recent.len()
    }

    /// Returns whether the flow has stopped: it had at least 10 datagrams, and has been silent for at least 2 s
    /// and five times its longest pause.
    pub(crate) fn has_stopped(&self, until: SystemTime) -> bool {
        const ESTABLISHED: u64 = 10;
        const SILENCE: Duration = Duration::from_secs(2);
        let silence = until.duration_since(self.last).unwrap_or_default();
        self.datagrams >= ESTABLISHED && silence >= SILENCE.max(self.longest_pause.saturating_mul(5))
    }

    /// Returns the number of datagrams that are well-formed and have a valid checksum.
    pub(crate) fn sound(&self) -> u64 {
        self.datagrams.saturating_sub(self.bad_checksums).saturating_sub(self.defects.values().sum())
    }

    fn record_repeat(&mut self, summary: &DatagramSummary) {
        let earlier = self.recent.iter().rev().enumerate().find(|(back, earlier)| {
            let same = earlier.hash == summary.hash && earlier.identification == summary.identification;
            let near = summary.identification != 0 || *back < UNNUMBERED_WINDOW;
            same && near && summary.time.duration_since(earlier.time).unwrap_or_default() < REPEAT_WITHIN
        });
        if let Some((_, earlier)) = earlier {
            self.repeats += 1;
            let other_path = earlier.mac != summary.mac || earlier.hop_limit != summary.hop_limit;
            self.repeats_by_other_path += u64::from(other_path);
        }
    }
}
