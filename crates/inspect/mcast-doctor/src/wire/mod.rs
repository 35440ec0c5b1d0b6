//! What was captured on the wire, by interface: flows, and the messages between hosts, queriers and routers.

mod flow;
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast::{Family, InterfaceIndex};
use mcast_capture::UnexaminedFrames;
use mcast_packet::MacAddress;
use mcast_packet::gmp::{Address, GmpMessage, RecordKind};

use crate::snapshot::Link;
#[cfg(test)]
pub(crate) use flow::DatagramSummary;
pub(crate) use flow::{Defect, Destination, Flow, Gap, MAX_NETWORKS, Role};
use flow::{Numbering, SLOT};
pub(crate) use mcast_host::{FlowKey, ObservationRefusal as Refusal, Tagging};
pub(crate) use recorder::{FragmentedDatagram, Recorder, UnicastFlow, UnicastRecorder};

/// What was captured on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    /// The interfaces that were tapped, or could not be.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    /// Datagrams to the same destinations as those of `flows`, from more sources than are examined one by one.
    pub(crate) together: BTreeMap<Destination, CountedTogether>,
    /// IGMP, MLD and PIM messages.
    pub(crate) control: Vec<ControlPacket>,
    /// Datagrams to groups that arrived in fragments.
    pub(crate) fragmented: Vec<FragmentedDatagram>,
    /// The time of the first and the last observation.
    pub(crate) span: Option<(SystemTime, SystemTime)>,
    /// How many packets to groups the IP layer accepted in that span, where the system counts them.
    pub(crate) accepted: BTreeMap<Family, u64>,
    /// How many frames each interface had refused at the beginning and at the end of that span.
    pub(crate) refused: BTreeMap<InterfaceIndex, (u64, u64)>,
    /// How many frames of other protocols than IP and ARP arrived, which an interface refuses if nothing takes them; where
    /// all were counted.
    pub(crate) other_protocols: BTreeMap<InterfaceIndex, u64>,
    /// Captured frames that were not recorded, because they were of too many flows, datagrams or messages.
    pub(crate) unrecorded: u64,
    /// Frames of a file whose link layer cannot be decoded.
    pub(crate) undecodable: u64,
    /// Frames of a file with packets inside that were not decoded.
    pub(crate) unexamined: UnexaminedFrames,
    /// What was captured on the ports of tapped bridges and bonds.
    pub(crate) ports: PortTraffic,
    /// All frames that arrived behind the XDP program of an interface that has one, and their bytes.
    pub(crate) unfiltered: BTreeMap<InterfaceIndex, (u64, u64)>,
    /// Datagrams from and to the examined ports that were not sent to a group.
    pub(crate) unicast: Vec<UnicastFlow>,
    /// Messages of IGMP and MLD that arrived and are ignored, and how many.
    pub(crate) damaged_control: BTreeMap<DamagedControl, u64>,
    /// PTP without UDP, by interface and sender; of `None`, that of further senders.
    pub(crate) ptp: BTreeMap<(InterfaceIndex, Option<MacAddress>), PtpFrames>,
}

/// The frames of PTP without UDP of one sender, and the domain of the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PtpFrames {
    pub(crate) frames: u64,
    pub(crate) domain: u8,
}

/// Datagrams to one destination that are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountedTogether {
    /// The sources that fare like some that are examined.
    pub(crate) sources: BTreeSet<SocketAddr>,
    /// Their datagrams.
    pub(crate) datagrams: u64,
    /// How many of them the doctor's own socket received.
    pub(crate) received: u64,
    /// The datagrams of sources beyond those that are recorded or examined.
    pub(crate) unrecorded: u64,
    /// How many of them the doctor's own socket received.
    pub(crate) unrecorded_received: u64,
}

/// What was captured on the ports of bridges and bonds, before it reaches the bridge or after it has left it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortTraffic {
    /// The ports that were tapped.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) control: Vec<ControlPacket>,
    /// The datagrams of sources that are not examined, because there are too many that fare differently.
    pub(crate) unexamined: u64,
}

/// A packet tap on an interface, or the failure to open one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) interface: InterfaceIndex,
    pub(crate) name: String,
    /// Why it could not be tapped.
    pub(crate) refused: Option<Refusal>,
    /// Frames that the tap dropped.
    pub(crate) dropped: u64,
}

impl Tap {
    /// Returns a tap that has captured everything so far.
    pub(crate) fn on(link: &Link) -> Self {
        Self { interface: link.index(), name: link.name().to_owned(), refused: None, dropped: 0 }
    }
}

/// Returns why a capture could not be opened.
pub(crate) fn refusal(error: &mcast_capture::Error) -> Refusal {
    let needs_rights = error.kind() == mcast_capture::ErrorKind::Permission;
    Refusal { why: error.to_string(), needs_rights }
}

impl Wire {
    /// Returns whether there was a tap on an interface.
    pub(crate) fn is_tapped(&self, interface: InterfaceIndex) -> bool {
        self.taps.iter().any(|tap| tap.interface == interface && tap.refused.is_none())
    }

    /// Returns whether an interface was tapped and every frame was recorded. Only then is silence conclusive.
    pub(crate) fn is_complete(&self, interface: InterfaceIndex) -> bool {
        self.is_tapped(interface) && self.unrecorded == 0 && self.taps.iter().all(|tap| tap.dropped == 0)
    }

    /// Returns why an interface was not tapped.
    pub(crate) fn refusal(&self, interface: InterfaceIndex) -> Option<&Refusal> {
        self.taps.iter().find(|tap| tap.interface == interface)?.refused.as_ref()
    }

    pub(crate) fn duration(&self) -> Duration {
        let length = self.span.and_then(|(from, until)| until.duration_since(from).ok());
        length.unwrap_or_default()
    }

    /// Returns the flows to a group that arrived.
    pub(crate) fn incoming(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| !flow.key.outgoing && flow.key.group == group)
    }

    /// Returns the flows to a group that this machine sent.
    pub(crate) fn outgoing(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.key.outgoing && flow.key.group == group)
    }

    /// Returns how many datagrams of a family are counted together, of the destinations for which `is_counted` is true.
    pub(crate) fn datagrams_together(
        &self,
        family: Family,
        is_counted: impl Fn(&Destination) -> bool,
    ) -> u64 {
        let of_family =
            self.together.iter().filter(|(to, _)| Family::of(to.group) == family && is_counted(to));
        of_family.map(|(_, rest)| rest.datagrams.saturating_add(rest.unrecorded)).sum()
    }

    /// Returns whether the datagrams from a source to an address that arrived on an interface may be counted together with others.
    pub(crate) fn may_be_together(
        &self,
        interface: InterfaceIndex,
        source: SocketAddr,
        to: SocketAddr,
    ) -> bool {
        let is_one = |known: &SocketAddr| known.ip() == source.ip();
        let is_of = |(destination, rest): (&Destination, &CountedTogether)| {
            (destination.interface, destination.address(), destination.outgoing) == (interface, to, false)
                && (rest.unrecorded > 0
                    || rest.sources.contains(&source)
                    || (source.port() == 0 && rest.sources.iter().any(is_one)))
        };
        self.together.iter().any(is_of)
    }

    /// Returns the queries of one family that were received or sent on an interface.
    pub(crate) fn queries(
        &self,
        interface: InterfaceIndex,
        v4: bool,
    ) -> impl Iterator<Item = &ControlPacket> {
        self.control.iter().filter(move |packet| {
            packet.interface == interface
                && packet.source.is_ipv4() == v4
                && matches!(packet.message, ControlMessage::Query { .. })
        })
    }
}

/// The response time of IGMPv1, whose queries do not contain it (RFC 2236 section 4).
const V1_RESPONSE_TIME: Duration = Duration::from_secs(10);

/// A captured IGMP, MLD or PIM message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlPacket {
    pub(crate) time: SystemTime,
    pub(crate) interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: IpAddr,
    pub(crate) message: ControlMessage,
    /// The VLAN tags of the frame.
    pub(crate) vlan: Option<Tagging>,
}

/// Messages of IGMP or MLD from one source that routers, switches and hosts ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DamagedControl {
    pub(crate) interface: InterfaceIndex,
    pub(crate) source: IpAddr,
    pub(crate) defect: ControlDefect,
}

/// Why a message of IGMP or MLD is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ControlDefect {
    /// Its checksum is wrong.
    Checksum,
    /// Its hop limit is not 1: it may come from another network.
    HopLimit(u8),
}

/// The part of a control message that the causes need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlMessage {
    /// A general query, or a query for one group. Hosts may delay their response by up to `response_time`.
    Query { version: u8, group: Option<IpAddr>, interval: Option<Duration>, response_time: Duration },
    /// A report or leave: the groups that are joined, those that are left, and the only sources of joined groups that are
    /// admitted.
    Report { version: u8, joined: Vec<IpAddr>, left: Vec<IpAddr>, sources: Vec<(IpAddr, IpAddr)> },
    /// PIM.
    Pim,
}

impl ControlMessage {
    /// Returns whether it reports a member of a group.
    pub(crate) fn joins(&self, group: IpAddr) -> bool {
        matches!(self, Self::Report { joined, .. } if joined.contains(&group))
    }

    /// Returns whether it reports a member of a group that admits a source.
    pub(crate) fn joins_from(&self, group: IpAddr, source: IpAddr) -> bool {
        let Self::Report { sources, .. } = self else { return false };
        let mut admitted = sources.iter().filter(|(of, _)| *of == group).peekable();
        self.joins(group) && (admitted.peek().is_none() || admitted.any(|(_, admitted)| *admitted == source))
    }

    /// Returns whether it reports that a host has left a group.
    pub(crate) fn leaves(&self, group: IpAddr) -> bool {
        matches!(self, Self::Report { left, .. } if left.contains(&group))
    }

    /// Returns the number of groups and sources that it lists.
    fn groups(&self) -> usize {
        match self {
            Self::Report { joined, left, sources, .. } => joined.len() + left.len() + sources.len(),
            Self::Query { .. } | Self::Pim => 0,
        }
    }

    /// Returns what the causes need of an IGMP or MLD message; `None` if that is nothing.
    pub(crate) fn of<A: Address + Into<IpAddr>>(message: &GmpMessage<'_, A>) -> Option<Self> {
        let version = message.version();
        let report = |joined, left| Some(Self::Report { version, joined, left, sources: Vec::new() });
        match message {
            GmpMessage::Query(query) => Some(Self::Query {
                version,
                group: query.group.map(Into::into),
                interval: query.source_query.map(|source| source.interval),
                response_time: match version {
                    // Version 1 has no such field: it is 0, and hosts answer within a fixed time.
                    1 if query.max_response_time.is_zero() => V1_RESPONSE_TIME,
                    _ => query.max_response_time,
                },
            }),
            GmpMessage::V1Report { group } | GmpMessage::Report { group } => {
                report(vec![(*group).into()], Vec::new())
            }
            GmpMessage::Leave { group } => report(Vec::new(), vec![(*group).into()]),
            GmpMessage::V3Report(records) => {
                let (mut joined, mut left, mut sources) = (Vec::new(), Vec::new(), Vec::new());
                for record in records.iter() {
                    let none = record.sources.is_empty();
                    let group: IpAddr = record.group.into();
                    if matches!(
                        record.kind,
                        RecordKind::ChangeToInclude | RecordKind::ModeIsInclude | RecordKind::AllowNewSources
                    ) {
                        sources.extend(record.sources.iter().map(|source| (group, source.into())));
                    }
                    let list = match record.kind {
                        // Nothing from no source: how version 3 leaves (RFC 3376, section 5.1).
                        RecordKind::ChangeToInclude | RecordKind::ModeIsInclude if none => &mut left,
                        RecordKind::BlockOldSources => &mut left,
                        _ => &mut joined,
                    };
                    list.push(group);
                }
                Some(Self::Report { version, joined, left, sources })
            }
            GmpMessage::RouterDiscovery(_) => None,
        }
    }
}

/// How losses are distributed over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LossPattern {
    /// Too few losses to show a pattern.
    Few,
    /// Single datagrams at irregular intervals.
    Random,
    /// Several datagrams in a row, at irregular intervals. The longest pause is given.
    Bursts(Duration),
    /// Losses that begin at regular intervals.
    Periodic(Duration),
    /// Losses while more datagrams per second than this are sent.
    AboveRate(u64),
}

impl LossPattern {
    /// Returns the pattern of the gaps in a numbering, where each datagram carries `per_datagram` numbers.
    pub(crate) fn of(numbering: &Numbering, gaps: &[Gap], per_datagram: f64) -> Self {
        const ENOUGH: usize = 4;
        let mean = |gap: &Gap| gap.missing as f64 / per_datagram;
        let longest = gaps.iter().map(|gap| gap.pause).max().unwrap_or_default();
        let burst = gaps.iter().map(mean).sum::<f64>() / gaps.len().max(1) as f64;
        let is_outage = burst >= 10.0 && longest >= Duration::from_millis(100);
        let slots = slots(numbering, gaps, per_datagram);
        // From what explains most to what explains least. A sender that bursts at intervals also loses at intervals, because of
        // its rate. Without peaks, a limit shows only in how evenly the rest arrives.
        if let Some(rate) = loss_at_peaks(&slots) {
            Self::AboveRate(rate)
        } else if let Some(interval) = regular_interval(gaps) {
            Self::Periodic(interval)
        } else if let Some(rate) = steady_rest(&slots) {
            Self::AboveRate(rate)
        } else if gaps.len() < ENOUGH && !is_outage {
            Self::Few
        } else if burst >= 3.0 {
            Self::Bursts(longest)
        } else {
            Self::Random
        }
    }
}

/// Returns the interval between losses if it is regular: nearly equal, or varying little over many losses. The
/// intervals of random losses vary by half their mean or more.
fn regular_interval(gaps: &[Gap]) -> Option<Duration> {
    let (few, many) = ((4, 0.1), (12, 0.35));
    let intervals: Vec<f64> = gaps
        .windows(2)
        .filter_map(|pair| Some(pair.get(1)?.time.duration_since(pair.first()?.time).ok()?.as_secs_f64()))
        .collect();
    let (mean, variance) = mean_and_variance(&intervals);
    let variation = variance.sqrt() / mean;
    let is_regular = |(at_least, at_most)| intervals.len() >= at_least && variation <= at_most;
    (mean > 0.0 && (is_regular(few) || is_regular(many))).then(|| Duration::from_secs_f64(mean))
}

/// A [`SLOT`] of a stream.
#[derive(Clone, Copy)]
struct Slot {
    arrived: f64,
    lost: f64,
}

/// Returns the slots of a stream, without the first and the last, which are not full.
fn slots(numbering: &Numbering, gaps: &[Gap], per_datagram: f64) -> Vec<Slot> {
    const MAX_POINTS: u32 = 1_000;
    let mut lost = BTreeMap::<usize, f64>::new();
    for gap in gaps {
        // They were sent at equal intervals in the pause.
        let datagrams = gap.missing as f64 / per_datagram;
        let points = (datagrams.ceil() as u32).clamp(1, MAX_POINTS);
        for point in 1..=points {
            let time = gap.time - gap.pause.mul_f64(f64::from(point) / f64::from(points + 1));
            *lost.entry(numbering.slot(time)).or_default() += datagrams / f64::from(points);
        }
    }
    let last = numbering.slots().count().saturating_sub(1);
    let slots = numbering.slots().filter(|(slot, _)| (1..last).contains(slot));
    let lost = |slot| lost.get(&slot).copied().unwrap_or_default();
    slots.map(|(slot, arrived)| Slot { arrived: f64::from(arrived), lost: lost(slot) }).collect()
}

/// Returns how many datagrams per second arrive while some are lost, if clearly more are sent then than at other
/// times.
fn loss_at_peaks(slots: &[Slot]) -> Option<u64> {
    const ENOUGH: usize = 5;
    let (lossy, clean): (Vec<Slot>, Vec<Slot>) = slots.iter().partition(|slot| slot.lost > 0.0);
    if lossy.len() < ENOUGH || clean.len() < ENOUGH {
        return None;
    }
    let sent_with_loss = lossy.iter().map(|slot| slot.arrived + slot.lost).collect();
    let sent_without = clean.iter().map(|slot| slot.arrived).collect();
    let arrived = lossy.iter().map(|slot| slot.arrived).sum::<f64>() / lossy.len() as f64;
    // The median of the one and the highest tenth of the other, because single slots of both are exceptions.
    let is_higher = quantile(sent_with_loss, 0.5) >= quantile(sent_without, 0.9) * 1.2;
    is_higher.then_some((arrived / SLOT.as_secs_f64()) as u64)
}

/// Returns how many datagrams per second arrive, if that number varies much less than it would by random losses.
fn steady_rest(slots: &[Slot]) -> Option<u64> {
    /// With fewer groups of slots, or less expected variance, chance may have this effect.
    const ENOUGH: usize = 10;
    const MIN_VARIANCE: f64 = 1.5;
    let (arrived, lost) =
        slots.iter().fold((0.0, 0.0), |(arrived, lost), slot| (arrived + slot.arrived, lost + slot.lost));
    let (sent, count) = (arrived + lost, slots.len() as f64);
    // The variance of a binomial distribution, as if each datagram were lost independently of the others.
    let expected = |size: usize| size as f64 * sent / count * (lost / sent) * (arrived / sent);
    // In one slot of a slow stream, the variance is too small to compare.
    let size = [1, 2, 5, 10].into_iter().find(|size| expected(*size) >= MIN_VARIANCE)?;
    let groups: Vec<f64> =
        slots.chunks_exact(size).map(|group| group.iter().map(|slot| slot.arrived).sum()).collect();
    let (_, variance) = mean_and_variance(&groups);
    (groups.len() >= ENOUGH && variance <= 0.3 * expected(size))
        .then_some((arrived / count / SLOT.as_secs_f64()) as u64)
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count)
}

/// Returns the value below which this share of the values is.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = (values.len() as f64 * share) as usize;
    values.get(position.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl fmt::Display for LossPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Few => f.write_str("too few to show a pattern"),
            Self::Random => f.write_str("single ones at random"),
            Self::Bursts(longest) => write!(f, "in bursts, the longest {:.2} s", longest.as_secs_f64()),
            Self::Periodic(interval) => write!(f, "at regular intervals of {:.3} s", interval.as_secs_f64()),
            Self::AboveRate(rate) => write!(f, "only above about {rate} datagrams per second"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, begin, flow, rtp};

    /// Returns the pattern of an RTP stream, given when each number was sent, and whether it arrived.
    fn pattern(datagrams: impl Iterator<Item = (Duration, bool)>) -> LossPattern {
        let key = flow(ETH0, "10.9.0.1:6000", "239.1.2.3:5000").key;
        let mut numbering = Numbering::default();
        for (number, (time, arrives)) in (0_u16..).zip(datagrams) {
            if arrives {
                numbering.observe(&key, &rtp(number, 7), begin() + time);
            }
        }
        let gaps: Vec<_> = numbering.gaps(begin() + Duration::from_secs(1000)).copied().collect();
        LossPattern::of(&numbering, &gaps, 1.0)
    }

    /// Returns numbers sent every 10 ms.
    fn steady(count: u32) -> impl Iterator<Item = (Duration, u32)> {
        (0..count).map(|number| (Duration::from_millis(10) * number, number))
    }

    /// Returns pseudo-random numbers below 65,536.
    fn dice(number: u32) -> u64 {
        u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 & 0xffff
    }

    #[test]
    fn patterns_of_typical_causes_are_distinguished() {
        let random = steady(3000).map(|(time, number)| (time, dice(number * number) > 50_000 / 16));
        assert_eq!(pattern(random), LossPattern::Random);
        let single = steady(500).map(|(time, number)| (time, number != 100));
        assert_eq!(pattern(single), LossPattern::Few);
        let policed = steady(500).map(|(time, number)| (time, number % 3 != 2));
        assert!(matches!(pattern(policed), LossPattern::Periodic(_)));
        let storm_control = steady(600).map(|(time, number)| (time, number % 100 < 60));
        let LossPattern::Periodic(interval) = pattern(storm_control) else { panic!("not periodic") };
        assert_eq!(interval, Duration::from_secs(1));
        let outage = steady(600).map(|(time, number)| (time, !(200..300).contains(&number)));
        assert!(
            matches!(pattern(outage), LossPattern::Bursts(longest) if longest > Duration::from_millis(990))
        );
        let bursts = [40..46, 100..109, 330..335, 350..357, 500..509];
        let bursts =
            steady(600).map(|(time, number)| (time, !bursts.iter().any(|burst| burst.contains(&number))));
        assert!(matches!(pattern(bursts), LossPattern::Bursts(_)));
    }

    #[test]
    fn losses_at_peaks_only_show_the_limit() {
        // Peaks of 200 datagrams per second for 200 ms, of which every third is dropped, and 50 per second between.
        let mut time = Duration::ZERO;
        let sent = (0..600_u32).map(|number| {
            let is_peak = time.as_millis() % 1300 < 200;
            time += Duration::from_millis(if is_peak { 5 } else { 20 });
            (time, !(is_peak && number % 3 == 0))
        });
        let LossPattern::AboveRate(rate) = pattern(sent) else { panic!("no limit") };
        assert!((60..150).contains(&rate), "{rate}");
    }
}
