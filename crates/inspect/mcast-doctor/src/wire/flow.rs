//! Flows: datagrams from one source to one group and port on one interface, and the sequence numbers in their payloads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast::{Group, InterfaceIndex};
use mcast_host::{FlowKey, Tagging};
use mcast_packet::MacAddress;
use mcast_packet::payload::{Ptp, PtpKind, Rtp, Sacn, SacnContent};
use mcast_packet::sequence::SequenceField;
use mcast_watch::live::sequence_info;
use mcast_watch::{Format, SequenceMeter, SequenceStatistics};

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
/// The maximum number of networks of VXLAN frames remembered.
pub(crate) const MAX_NETWORKS: usize = 8;

/// A group and port on one interface: the key of a flow without its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Destination {
    pub(crate) interface: InterfaceIndex,
    /// Whether this machine sends to it.
    pub(crate) outgoing: bool,
    pub(crate) group: IpAddr,
    pub(crate) port: u16,
    /// The VLAN tags of the frames.
    pub(crate) vlan: Option<Tagging>,
}

impl Destination {
    pub(crate) const fn of(key: &FlowKey) -> Self {
        let FlowKey { interface, outgoing, group, port, vlan, .. } = *key;
        Self { interface, outgoing, group, port, vlan }
    }

    /// Returns the group and port.
    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.group, self.port)
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
    /// The networks of the VXLAN frames that the datagrams carry, at most [`MAX_NETWORKS`].
    pub(crate) networks: BTreeSet<u32>,
    /// The domains of its PTP messages.
    pub(crate) domains: BTreeSet<u8>,
    /// What its sender is, with the identifier that it states, and by how many datagrams; at most [`MAX_ADDRESSES`].
    pub(crate) roles: BTreeMap<(Role, u128), u64>,
    recent: VecDeque<DatagramSummary>,
}

/// What a sender is, of which there should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The master of a domain of PTP.
    Master(u8),
    /// The source of a universe of sACN, with this priority.
    Lights(u16, u8),
}

impl Role {
    /// Returns the role that a datagram shows, and the identifier of its sender.
    pub(crate) fn of(port: u16, payload: &[u8]) -> Option<(Self, u128)> {
        match port {
            Ptp::GENERAL_PORT => {
                let message = Ptp::parse(payload).filter(|message| message.kind == PtpKind::Announce)?;
                Some((Self::Master(message.domain), message.clock.into()))
            }
            Sacn::PORT => match Sacn::parse(payload)? {
                Sacn {
                    source,
                    content:
                        SacnContent::Data { universe, priority, is_preview: false, is_terminated: false, .. },
                    ..
                } => Some((Self::Lights(universe, priority), u128::from_be_bytes(source))),
                _ => None,
            },
            _ => None,
        }
    }
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
    /// The network of the VXLAN frame that it carries.
    pub(crate) network: Option<u32>,
    /// The domain of the PTP message in it.
    pub(crate) domain: Option<u8>,
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
            networks: BTreeSet::new(),
            domains: BTreeSet::new(),
            roles: BTreeMap::new(),
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
        self.networks.extend(summary.network.filter(|_| self.networks.len() < MAX_NETWORKS));
        self.domains.extend(summary.domain);
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

    pub(crate) fn add_role(&mut self, role: (Role, u128)) {
        if self.roles.len() < MAX_ADDRESSES || self.roles.contains_key(&role) {
            *self.roles.entry(role).or_default() += 1;
        }
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

/// The maximum number of gaps remembered.
const MAX_GAPS: usize = 4_096;
/// The length of a slot of [`Numbering::slots`].
pub(super) const SLOT: Duration = Duration::from_millis(100);
/// The maximum number of slots: ten minutes.
const MAX_SLOTS: usize = 6_000;
/// A number missing for less than this may still arrive late.
const MAX_LATENESS: Duration = Duration::from_millis(250);

/// Tracks the sequence numbers in the payloads of a flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbering {
    meter: SequenceMeter,
    search: FieldSearch,
    gaps: Vec<Gap>,
    /// The number of datagrams whose numbers were counted.
    counted: u64,
    /// The number of datagrams in each [`SLOT`] since the first.
    slots: Vec<u32>,
    first: Option<SystemTime>,
    previous: Option<SystemTime>,
    /// The first source that payloads of RTP state.
    ssrc: Option<u32>,
}

/// Missing sequence numbers between two datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// When the datagram after the gap arrived.
    pub(crate) time: SystemTime,
    /// The time between the datagrams before and after the gap.
    pub(crate) pause: Duration,
    /// How many numbers are missing.
    pub(crate) missing: u64,
    /// How many datagrams had arrived before the gap.
    pub(crate) position: u64,
}

impl Numbering {
    pub(crate) fn observe(&mut self, key: &FlowKey, payload: &[u8], time: SystemTime) {
        let first = *self.first.get_or_insert(time);
        let slot = (time.duration_since(first).unwrap_or_default().as_millis() / SLOT.as_millis()) as usize;
        if slot < MAX_SLOTS {
            self.slots.resize(self.slots.len().max(slot + 1), 0);
            self.slots[slot] += 1;
        }
        self.count(key, payload, time);
        if self.meter.format().is_none()
            && let Some(samples) = self.search.add(payload, time)
        {
            // The meter has seen these payloads without the field, so it begins again with all of them.
            (self.meter, self.previous) = (SequenceMeter::default(), None);
            self.gaps.clear();
            self.counted = 0;
            for (payload, time) in samples {
                self.count(key, &payload, time);
            }
        }
    }

    fn count(&mut self, key: &FlowKey, payload: &[u8], time: SystemTime) {
        let Ok(group) = Group::new(key.group) else { return };
        let info = sequence_info(payload);
        let update = self.meter.observe(group, key.port, payload, self.search.field(), info.as_ref());
        if self.ssrc.is_none() && self.format() == Some(Format::Rtp) {
            self.ssrc = Rtp::parse(payload).map(|packet| packet.ssrc);
        }
        let pause = self.previous.and_then(|previous| time.duration_since(previous).ok()).unwrap_or_default();
        self.previous = Some(time);
        let position = self.counted;
        self.counted += 1;
        match u64::try_from(update.lost) {
            Ok(0) => {}
            Ok(missing) if self.gaps.len() < MAX_GAPS => {
                self.gaps.push(Gap { time, pause, missing, position });
            }
            // The meter has counted it: only its place is not remembered.
            Ok(_) => {}
            Err(_) => self.fill(update.lost.unsigned_abs()),
        }
    }

    /// Removes numbers that arrived late, which are most likely those of the latest gaps.
    fn fill(&mut self, mut late: u64) {
        while late > 0
            && let Some(gap) = self.gaps.last_mut()
        {
            let filled = late.min(gap.missing);
            gap.missing -= filled;
            late -= filled;
            if gap.missing == 0 {
                self.gaps.pop();
            }
        }
    }

    /// Returns the format of the payloads, once it is certain.
    pub(crate) fn format(&self) -> Option<Format> {
        self.meter.format()
    }

    /// Returns the source that payloads of RTP state.
    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Returns where the number is in payloads of an unknown format.
    pub(crate) fn field(&self) -> Option<SequenceField> {
        self.search.field()
    }

    /// Returns what the numbers show; `None` for payloads without sequence numbers.
    pub(crate) fn statistics(&self) -> Option<SequenceStatistics> {
        self.meter.numbers()
    }

    /// Returns the gaps that will not be filled any more by datagrams that arrive late.
    pub(crate) fn gaps(&self, until: SystemTime) -> impl Iterator<Item = &Gap> {
        let is_final = move |gap: &&Gap| until.duration_since(gap.time).is_ok_and(|age| age >= MAX_LATENESS);
        self.gaps.iter().filter(is_final)
    }

    /// Returns the number of datagrams that arrived in each [`SLOT`].
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, u32)> {
        self.slots.iter().copied().enumerate()
    }

    pub(super) fn slot(&self, time: SystemTime) -> usize {
        let since = self.first.and_then(|first| time.duration_since(first).ok()).unwrap_or_default();
        (since.as_millis() / SLOT.as_millis()) as usize
    }
}

/// The search for a counter in payloads of an unknown format.
#[derive(Clone, Debug)]
enum FieldSearch {
    /// The payloads so far, cut off.
    Running(Vec<(Vec<u8>, SystemTime)>),
    Found(SequenceField),
    NotFound,
}

impl Default for FieldSearch {
    fn default() -> Self {
        Self::Running(Vec::new())
    }
}

impl FieldSearch {
    /// The number of different payloads that are compared.
    const SAMPLES: usize = 32;
    /// How often each of them may arrive.
    const COPIES: usize = 4;
    /// A counter is searched for in this many bytes.
    const DEPTH: usize = 32;
    /// Slower streams are not judged, because a time in seconds would look like a counter.
    const SLOWEST: Duration = Duration::from_secs(4);

    fn field(&self) -> Option<SequenceField> {
        match self {
            Self::Found(field) => Some(*field),
            _ => None,
        }
    }

    /// Adds a payload. Returns all payloads so far once a counter has been found in them.
    fn add(&mut self, payload: &[u8], time: SystemTime) -> Option<Vec<(Vec<u8>, SystemTime)>> {
        let Self::Running(samples) = self else { return None };
        let start = payload.get(..Self::DEPTH).unwrap_or(payload);
        samples.push((start.to_vec(), time));
        // A copy of the datagram before does not show how the next one is numbered.
        let different = 1 + samples.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
        if different < Self::SAMPLES && samples.len() < Self::SAMPLES * Self::COPIES {
            return None;
        }
        let samples = std::mem::take(samples);
        let duration = time.duration_since(samples[0].1).unwrap_or_default();
        match counter(&samples).filter(|_| duration <= Self::SLOWEST) {
            Some(field) => {
                *self = Self::Found(field);
                Some(samples)
            }
            None => {
                *self = Self::NotFound;
                None
            }
        }
    }
}

/// Returns the field that counts the datagrams: the widest, big-endian if both byte orders are possible.
fn counter(samples: &[(Vec<u8>, SystemTime)]) -> Option<SequenceField> {
    let fields = || {
        [8, 4, 2].into_iter().flat_map(|size| {
            (0..=FieldSearch::DEPTH - size).filter_map(move |offset| SequenceField::new(offset, size).ok())
        })
    };
    let mut all = fields().chain(fields().map(SequenceField::little_endian));
    all.find(|field| counts(*field, samples))
}

/// Returns whether a field is one larger in each datagram than in the one before, apart from those that were lost,
/// overtaken or repeated. A clock also grows, but sometimes by zero or by the same larger step. The last digit of a
/// number in text does so only until the digit before it changes.
fn counts(field: SequenceField, samples: &[(Vec<u8>, SystemTime)]) -> bool {
    /// More in a row are not lost where at least two thirds arrive.
    const LARGEST_STEP: i64 = 1_000;
    let unused = 64 - field.bits();
    if samples.iter().all(|(payload, _)| field.read(payload).is_some_and(is_decimal)) {
        return false;
    }
    let (mut steps, mut single) = (0, 0);
    for pair in samples.windows(2) {
        let [(before, _), (after, _)] = pair else { return false };
        if before == after {
            continue;
        }
        let (Some(before), Some(after)) = (field.read(before), field.read(after)) else { return false };
        // The shift extends the sign of narrow numbers.
        let step = (after.wrapping_sub(before) << unused).cast_signed() >> unused;
        if step == 0 || step.abs() > LARGEST_STEP {
            return false;
        }
        steps += 1;
        single += u32::from(step == 1);
    }
    steps * 2 >= FieldSearch::SAMPLES as u32 && single * 3 >= steps * 2
}

/// Returns whether the last digit of a number may be decimal or a hexadecimal digit of text, as those of a counter are
/// not for long. In ASCII, the lower half of `0` to `9` and of `a` to `f` is at most 9, as is that of a packed decimal.
const fn is_decimal(number: u64) -> bool {
    number & 0xf <= 9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures;
    use crate::causes::fixtures::{ETH0, begin, flow};

    fn key() -> FlowKey {
        flow(ETH0, "10.9.0.1:6000", "239.1.2.3:5000").key
    }

    /// Returns the numbering of payloads that arrive every 10 ms.
    fn numbering(payloads: impl IntoIterator<Item = Vec<u8>>) -> Numbering {
        let (key, mut numbering) = (key(), Numbering::default());
        for (number, payload) in (0..).zip(payloads) {
            numbering.observe(&key, &payload, begin() + Duration::from_millis(10) * number);
        }
        numbering
    }

    fn rtp(number: u16) -> Vec<u8> {
        fixtures::rtp(number, 7)
    }

    fn missing(numbering: &Numbering) -> Vec<u64> {
        let until = begin() + Duration::from_secs(100);
        numbering.gaps(until).map(|gap| gap.missing).collect()
    }

    #[test]
    fn announcements_of_a_master_and_levels_of_a_source_show_roles() {
        let mut announce = [0; 64];
        (announce[0], announce[1], announce[3], announce[4], announce[27]) = (0x0b, 2, 64, 5, 9);
        assert_eq!(Role::of(320, &announce), Some((Role::Master(5), 9)));
        assert_eq!(Role::of(319, &announce), None, "another port");
        announce[0] = 0x09;
        assert_eq!(Role::of(320, &announce), None, "a delay response");
        let mut levels = [0; 638];
        levels[4..16].copy_from_slice(b"ASC-E1.17\0\0\0");
        (levels[21], levels[37], levels[43], levels[108], levels[114]) = (4, 7, 2, 100, 1);
        assert_eq!(Role::of(5568, &levels), Some((Role::Lights(1, 100), 7)));
        for option in [0x80, 0x40] {
            levels[112] = option;
            assert_eq!(Role::of(5568, &levels), None, "a preview, or the end");
        }
    }

    #[test]
    fn gaps_of_rtp_are_counted_across_the_wrap() {
        let numbers = (65_500..65_536_u32).chain(0..100).map(|number| number as u16);
        let whole = numbering(numbers.clone().map(rtp));
        assert_eq!((whole.format(), missing(&whole)), (Some(Format::Rtp), Vec::new()));
        let lossy = numbering(numbers.filter(|number| !matches!(number, 65_510 | 10..13)).map(rtp));
        assert_eq!(missing(&lossy), [1, 3]);
    }

    #[test]
    fn late_numbers_are_not_missing() {
        let swapped = (0..100_u16).map(|number| {
            if number % 10 == 0 {
                number + 1
            } else if number % 10 == 1 {
                number - 1
            } else {
                number
            }
        });
        assert_eq!(missing(&numbering(swapped.map(rtp))), Vec::<u64>::new());
    }

    #[test]
    fn last_numbers_of_a_session_may_arrive_in_the_next_one() {
        let sessions = |mixed: &[(u16, u32)]| {
            let (before, after) = ((0..50).map(|number| (number, 7)), (9..50).map(|number| (number, 8)));
            let packets = before.chain(mixed.iter().copied()).chain(after);
            missing(&numbering(packets.map(|(number, session)| fixtures::rtp(number, session))))
        };
        let reordered = [(50, 7), (53, 7), (5, 8), (51, 7), (7, 8), (54, 7), (52, 7), (6, 8), (8, 8)];
        assert_eq!(sessions(&reordered), Vec::<u64>::new());
        let lossy = sessions(&[(50, 7), (53, 7), (5, 8), (7, 8), (52, 7), (8, 8)]);
        assert_eq!(lossy.iter().sum::<u64>(), 2, "51 and 6");
    }

    #[test]
    fn number_that_is_missing_at_the_end_may_still_arrive() {
        let numbers = (0..50_u16).filter(|number| *number != 45).map(rtp);
        let numbering = numbering(numbers);
        let until = begin() + Duration::from_millis(490);
        assert_eq!((numbering.gaps(until).count(), missing(&numbering)), (0, vec![1]));
    }

    #[test]
    fn counter_of_an_unknown_format_is_found() {
        let big = |number: u32| [vec![9; 3], number.to_be_bytes().to_vec(), vec![7; 9]].concat();
        let little = |number: u64| [vec![number as u8 / 3], number.to_le_bytes().to_vec()].concat();
        let lossy = numbering((0..200).filter(|number| number % 50 != 33).map(big));
        assert_eq!(lossy.field().map(|field| field.to_string()).as_deref(), Some("3:4"));
        assert_eq!(missing(&lossy), [1; 4]);
        let lossy = numbering((250..450).filter(|number| number % 50 != 33).map(little));
        assert_eq!(missing(&lossy), [1; 4]);
    }

    #[test]
    fn text_times_and_constants_are_no_counters() {
        let found = |payload: fn(u64) -> Vec<u8>| numbering((0..200).map(payload)).field();
        assert_eq!(found(|_| b"hello".to_vec()), None);
        for start in [0, 8, 60, 95, 140, 990] {
            let texts = |format: fn(u64) -> String| {
                numbering((start..start + 200).map(|number| format(number).into_bytes())).field()
            };
            assert_eq!(texts(|number| format!("{number} volts")), None, "{start}");
            assert_eq!(texts(|number| format!("{{\"seq\": {number}}}")), None, "{start}");
            assert_eq!(texts(|number| format!("{number:08x}")), None, "{start}");
            assert_eq!(texts(|number| format!("{number:04}")), None, "{start}");
        }
        assert_eq!(found(|number| format!("temperature {}", number * 7919 % 30).into_bytes()), None);
        assert_eq!(found(|number| (number * 10 + number % 3).to_be_bytes().to_vec()), None);
        assert_eq!(found(|number| (1_700_000_000 + number / 100).to_be_bytes().to_vec()), None);
        assert_eq!(found(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()), None);
    }

    #[test]
    fn seconds_of_a_slow_stream_are_no_counter() {
        let mut slow = Numbering::default();
        for second in 0..100_u64 {
            slow.observe(&key(), &second.to_be_bytes(), begin() + Duration::from_secs(second));
        }
        assert_eq!(slow.statistics(), None);
    }
}
