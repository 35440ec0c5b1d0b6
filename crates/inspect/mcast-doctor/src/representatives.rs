//! Reduces the flows of many sources to representatives.
//!
//! The causes compare flows with each other, with receipts and with drops, and forged sources can cause any number of flows.
//! Where a destination has more than [`MAX_SOURCES`], sources that fare alike are judged by a few of them, and the others are
//! counted together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mcast::InterfaceIndex;
use mcast_packet::MacAddress;

use crate::netfilter::{CountedTraffic, Hook, Layer};
use crate::observation::{ExaminationTarget, Interest, Observation, Program};
use crate::wire::{Destination, Flow};

/// The number of sources of one destination that are examined one by one.
const MAX_SOURCES: usize = 128;
/// How many sources are examined of those that fare alike.
const MAX_ALIKE: usize = 16;
/// How many sources of one destination are examined if all fare differently, as forged ones can. They are compared with each other.
const MAX_EXAMINED: usize = 256;

/// What the causes distinguish flows by, apart from the address of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class<'a> {
    destination: Destination,
    source: SourceKind,
    /// Whether each interest admits the source.
    admitted: Vec<bool>,
    /// Whether a socket of the examined program sends it.
    is_sent: bool,
    /// What the doctor's own socket received on the interface, and on any.
    receipts: Option<(Share, Share)>,
    /// The kernel's reasons for drops.
    reasons: BTreeSet<&'a str>,
    /// What passed each hook that it reached.
    hooks: Vec<(Layer, Hook, Share)>,
    hop_limits: (u8, u8),
    ethernet_destinations: &'a BTreeSet<MacAddress>,
    traits: BTreeSet<Trait>,
    /// The flows of the same datagrams at the ports of bridges.
    at_ports: PortClass<'a>,
}

/// The flows of a source to a destination at all ports, each with how much of its datagrams was seen there.
type PortClass<'a> = Vec<(Class<'a>, Share)>;

/// The kind of a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SourceKind {
    Unspecified,
    Loopback,
    Multicast,
    /// An address of this machine.
    Own,
    /// An address to which a socket of the examined program is connected.
    Peer,
    Other,
}

/// How a flow is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Examined,
    /// By others that fare alike.
    Alike,
    /// Not at all: what became of it is not known, unless as much was received.
    Unexamined,
}

/// How much of what was sent came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Nothing,
    Part,
    /// At least 95 %.
    All,
}

/// A property of some datagrams of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trait {
    Fragmented,
    BadChecksum,
    Defective,
    Resegmented,
    WithoutChecksum,
    LikeEsp,
    Repeated,
    SeveralEthernetSources,
    Stopped,
    NumbersMissing,
    LongerThan1280,
    LongerThan1500,
}

impl Share {
    const fn of(sent: u64, through: u64) -> Self {
        match through {
            0 => Self::Nothing,
            _ if through.saturating_mul(20) >= sent.saturating_mul(19) => Self::All,
            _ => Self::Part,
        }
    }
}

/// An interface, the source and the destination.
type FlowEnds = (InterfaceIndex, SocketAddr, SocketAddr);

/// A destination and a source.
type PortKey = (SocketAddr, SocketAddr);

/// What happened to the datagrams of each source, indexed once.
#[derive(Default)]
struct Fates<'a> {
    received_on: BTreeMap<(InterfaceIndex, SocketAddr), u64>,
    received: BTreeMap<SocketAddr, u64>,
    reasons: BTreeMap<(InterfaceIndex, IpAddr), Vec<(SocketAddr, &'a str)>>,
    hooks: BTreeMap<FlowEnds, Vec<(Layer, Hook, Share)>>,
}

impl<'a> Fates<'a> {
    fn of(observation: &'a Observation) -> Self {
        let mut fates = Self::default();
        for count in observation.trial().into_iter().flat_map(|trial| &trial.received) {
            *fates.received_on.entry((count.interface, count.source)).or_default() += count.datagrams;
            *fates.received.entry(count.source).or_default() += count.datagrams;
        }
        for drop in &observation.kernel_drops.drops {
            if let Some(interface) = drop.arrived_on {
                let of_source = fates.reasons.entry((interface, drop.source.ip())).or_default();
                of_source.push((drop.destination, &drop.reason));
            }
        }
        for count in &observation.hooks.counts {
            if let CountedTraffic::Datagrams(to) = count.traffic {
                let of_flow = fates.hooks.entry((count.interface, count.peer, to)).or_default();
                of_flow.push((count.layer, count.hook, Share::of(count.reached, count.passed)));
            }
        }
        fates
    }

    fn reasons_of(&self, flow: &Flow) -> BTreeSet<&'a str> {
        let key = (flow.key.interface, flow.key.source.ip());
        let drops = self.reasons.get(&key).filter(|_| !flow.key.outgoing).into_iter().flatten();
        let is_same = |to: &SocketAddr| to.ip() == flow.key.group && [0, flow.key.port].contains(&to.port());
        drops.filter(|(to, _)| is_same(to)).map(|(_, reason)| *reason).collect()
    }
}

fn port_key(flow: &Flow) -> PortKey {
    (flow.destination(), flow.key.source)
}

impl Observation {
    /// Keeps a few of the flows that fare alike, of each destination with many sources. The others are counted together.
    pub(crate) fn keep_representatives(&mut self) {
        let mut sources: BTreeMap<Destination, usize> = BTreeMap::new();
        for flow in &self.wire.flows {
            *sources.entry(Destination::of(&flow.key)).or_default() += 1;
        }
        let has_many = |flow: &Flow| sources.get(&Destination::of(&flow.key)) > Some(&MAX_SOURCES);
        let crowded = self.crowded_at_ports();
        let has_crowd = sources.values().any(|count| *count > MAX_SOURCES);
        if !has_crowd && crowded.is_empty() && self.wire.together.is_empty() {
            return;
        }
        let (fates, interests) = (Fates::of(self), self.interests());
        let at_ports = self.port_classes(&fates, &interests);
        // How many are examined of each class, and of each destination.
        let mut alike: BTreeMap<Class<'_>, usize> = BTreeMap::new();
        let mut examined: BTreeMap<Destination, usize> = BTreeMap::new();
        let mut choose = |flow| {
            let mut class = self.class(&fates, &interests, flow);
            class.at_ports.extend(at_ports.get(&port_key(flow)).into_iter().flatten().cloned());
            let of_destination = examined.entry(class.destination).or_default();
            let of_class = alike.entry(class).or_default();
            match (*of_class, *of_destination) {
                (0..MAX_ALIKE, 0..MAX_EXAMINED) => {
                    (*of_class, *of_destination) = (*of_class + 1, *of_destination + 1);
                    Choice::Examined
                }
                (0, _) => Choice::Unexamined,
                _ => Choice::Alike,
            }
        };
        let choices: Vec<_> = self
            .wire
            .flows
            .iter()
            .map(|flow| if has_many(flow) { choose(flow) } else { Choice::Examined })
            .collect();
        let chosen = self.wire.flows.iter().zip(&choices);
        let known = chosen.filter(|(_, choice)| **choice != Choice::Unexamined);
        let known: BTreeSet<_> = known.map(|(flow, _)| flow.key.source).collect();
        let at_ports = self.chosen_at_ports(&at_ports, &crowded, &choices);
        let mut unexamined = 0;
        self.wire.ports.flows.retain(|flow| match at_ports.get(&port_key(flow)) {
            Some(Choice::Examined) => true,
            Some(Choice::Alike) => false,
            Some(Choice::Unexamined) => {
                unexamined += flow.datagrams;
                false
            }
            None => true,
        });
        self.wire.ports.unexamined += unexamined;
        let flows = std::mem::take(&mut self.wire.flows);
        for (flow, choice) in flows.into_iter().zip(choices) {
            match choice {
                Choice::Examined => self.wire.flows.push(flow),
                Choice::Alike => {
                    let rest = self.wire.together.entry(Destination::of(&flow.key)).or_default();
                    rest.sources.insert(flow.key.source);
                    rest.datagrams += flow.datagrams;
                }
                Choice::Unexamined => {
                    self.wire.together.entry(Destination::of(&flow.key)).or_default().unrecorded +=
                        flow.datagrams;
                }
            }
        }
        self.count_receipts_together(&known);
    }

    /// Returns the destinations with many sources at ports.
    fn crowded_at_ports(&self) -> BTreeSet<SocketAddr> {
        let mut sources: BTreeMap<SocketAddr, BTreeSet<SocketAddr>> = BTreeMap::new();
        for flow in &self.wire.ports.flows {
            sources.entry(flow.destination()).or_default().insert(flow.key.source);
        }
        let many = sources.into_iter().filter(|(_, sources)| sources.len() > MAX_SOURCES);
        many.map(|(destination, _)| destination).collect()
    }

    /// Returns how the datagrams of each source fare at the ports of bridges.
    fn port_classes<'a>(
        &'a self,
        fates: &Fates<'a>,
        interests: &[Interest<'_>],
    ) -> BTreeMap<PortKey, PortClass<'a>> {
        let mut most: BTreeMap<PortKey, u64> = BTreeMap::new();
        for flow in self.wire.ports.flows.iter().chain(&self.wire.flows) {
            let most = most.entry(port_key(flow)).or_default();
            *most = flow.datagrams.max(*most);
        }
        let mut classes: BTreeMap<PortKey, PortClass<'a>> = BTreeMap::new();
        for flow in &self.wire.ports.flows {
            let key = port_key(flow);
            let share = Share::of(most.get(&key).copied().unwrap_or_default(), flow.datagrams);
            classes.entry(key).or_default().push((self.class(fates, interests, flow), share));
        }
        classes.values_mut().for_each(|class| class.sort());
        classes
    }

    /// Returns how the sources of crowded destinations are judged at ports: at all of them alike, as flows are compared between
    /// ports. Those that are also on an interface are judged as there.
    fn chosen_at_ports(
        &self,
        at_ports: &BTreeMap<PortKey, PortClass<'_>>,
        crowded: &BTreeSet<SocketAddr>,
        choices: &[Choice],
    ) -> BTreeMap<PortKey, Choice> {
        let on_interfaces = self.wire.flows.iter().map(port_key).zip(choices.iter().copied());
        let mut chosen: BTreeMap<PortKey, Choice> = BTreeMap::new();
        for (key, choice) in on_interfaces.filter(|(key, _)| crowded.contains(&key.0)) {
            // One that is examined on any interface is examined at the ports.
            let of_source = chosen.entry(key).or_insert(choice);
            if choice == Choice::Examined {
                *of_source = choice;
            }
        }
        let mut alike: BTreeMap<(SocketAddr, &PortClass<'_>), usize> = BTreeMap::new();
        let mut examined: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for (key, class) in at_ports.iter().filter(|(key, _)| crowded.contains(&key.0)) {
            if chosen.contains_key(key) {
                continue;
            }
            let of_class = alike.entry((key.0, class)).or_default();
            let of_destination = examined.entry(key.0).or_default();
            let choice = match (*of_class, *of_destination) {
                (0..MAX_ALIKE, 0..MAX_EXAMINED) => {
                    (*of_class, *of_destination) = (*of_class + 1, *of_destination + 1);
                    Choice::Examined
                }
                (0, _) => Choice::Unexamined,
                _ => Choice::Alike,
            };
            chosen.insert(*key, choice);
        }
        chosen
    }

    /// Takes the receipts of the sources that are counted together from those that are listed by source.
    fn count_receipts_together(&mut self, known: &BTreeSet<SocketAddr>) {
        let ExaminationTarget::Membership(trial) = &mut self.target else { return };
        let to = trial.membership.address.into();
        let examined: BTreeSet<_> = self.wire.flows.iter().map(|flow| flow.key.source).collect();
        for (destination, rest) in &mut self.wire.together {
            if destination.address() != to || destination.outgoing {
                continue;
            }
            trial.received.retain(|count| {
                let is_alike = rest.sources.contains(&count.source) && !examined.contains(&count.source);
                let is_unrecorded = rest.unrecorded > 0
                    && destination.interface == count.interface
                    && !known.contains(&count.source);
                rest.received += if is_alike { count.datagrams } else { 0 };
                rest.unrecorded_received += if is_unrecorded { count.datagrams } else { 0 };
                !is_alike && !is_unrecorded
            });
        }
    }

    fn class<'a>(&'a self, fates: &Fates<'a>, interests: &[Interest<'_>], flow: &'a Flow) -> Class<'a> {
        let key = &flow.key;
        let interests = interests.iter().filter(|interest| interest.destination() == flow.destination());
        let receipts = |_| {
            let here = fates.received_on.get(&(key.interface, key.source)).copied().unwrap_or_default();
            let anywhere = fates.received.get(&key.source).copied().unwrap_or_default();
            (Share::of(flow.datagrams, here), Share::of(flow.datagrams, anywhere))
        };
        let hooks = fates.hooks.get(&(key.interface, key.source, flow.destination()));
        Class {
            destination: Destination::of(key),
            source: self.kind_of(key.source),
            admitted: interests.map(|interest| interest.sources.admits(key.source.ip())).collect(),
            is_sent: key.outgoing && self.program().is_some_and(|program| program.sends(flow)),
            receipts: self.trial().map(receipts),
            reasons: fates.reasons_of(flow),
            hooks: hooks.cloned().unwrap_or_default(),
            hop_limits: flow.hop_limits,
            ethernet_destinations: &flow.ethernet_destinations,
            traits: self.traits_of(flow),
            at_ports: Vec::new(),
        }
    }

    fn kind_of(&self, source: SocketAddr) -> SourceKind {
        let is_peer = |program: &Program| {
            program.sockets.iter().any(|socket| socket.peer.is_some_and(|peer| peer.ip() == source.ip()))
        };
        match source.ip() {
            address if address.is_unspecified() => SourceKind::Unspecified,
            address if address.is_loopback() => SourceKind::Loopback,
            address if address.is_multicast() => SourceKind::Multicast,
            address if self.before.is_own(address) => SourceKind::Own,
            _ if self.program().is_some_and(is_peer) => SourceKind::Peer,
            _ => SourceKind::Other,
        }
    }

    fn traits_of(&self, flow: &Flow) -> BTreeSet<Trait> {
        let until = self.wire.span.map(|(_, until)| until);
        let is_missing = || flow.numbering.statistics().is_some_and(|numbers| numbers.missing > 0);
        let traits = [
            (Trait::Fragmented, flow.fragmented > 0),
            (Trait::BadChecksum, flow.bad_checksums > 0),
            (Trait::Defective, !flow.defects.is_empty()),
            (Trait::Resegmented, flow.resegmented > 0),
            (Trait::WithoutChecksum, flow.without_checksum > 0),
            (Trait::LikeEsp, flow.like_esp > 0),
            (Trait::Repeated, flow.repeats > 0),
            (Trait::SeveralEthernetSources, flow.macs.len() > 1),
            (Trait::Stopped, until.is_some_and(|until| flow.has_stopped(until))),
            (Trait::NumbersMissing, is_missing()),
            (Trait::LongerThan1280, flow.largest > 1280),
            (Trait::LongerThan1500, flow.largest > 1500),
        ];
        traits.into_iter().filter(|(_, has)| *has).map(|(own, _)| own).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership, ruleset, with_counters};
    use crate::kernel_drops::FILTERED;
    use crate::netfilter::{HookCount, RuleEffect};
    use crate::observation::ReceivedCount;
    use crate::{Depth, Id, Severity, causes};

    const TO: &str = "239.1.2.3:5000";

    fn source(number: usize) -> String {
        format!("10.{}.{}.{}:6000", 100 + number / 62_500, number / 250 % 250, 1 + number % 250)
    }

    fn flows(count: usize) -> Vec<Flow> {
        (0..count).map(|number| flow(ETH0, &source(number), TO)).collect()
    }

    /// Returns an observation of sources whose datagrams a rule at the input hook drops.
    fn dropped(count: usize) -> Observation {
        let packets = 10 * count as u64;
        let counters = [("IpExtInMcastPkts", packets), ("IpInDelivers", 0)];
        let mut observation = with_counters(membership(TO, flows(count), 0), &counters);
        observation.before.ruleset = ruleset(Hook::Input, RuleEffect::Drop, Some(0));
        observation.after.ruleset = ruleset(Hook::Input, RuleEffect::Drop, Some(packets));
        let sources = (0..count).map(source);
        observation.kernel_drops.drops =
            sources.clone().map(|source| kernel_drop(FILTERED, &source, TO, 10)).collect();
        let traffic = CountedTraffic::Datagrams(TO.parse().unwrap());
        let (layer, hook) = (Layer::Ip, Hook::Input);
        observation.hooks.hooks = vec![(layer, hook, traffic)];
        let counted = |source: String| HookCount {
            layer,
            hook,
            traffic,
            interface: ETH0,
            peer: source.parse().unwrap(),
            reached: 10,
            passed: 0,
        };
        observation.hooks.counts = sources.map(counted).collect();
        observation
    }

    fn faults(observation: &Observation) -> Vec<Id> {
        let findings = causes::judge(observation);
        let faults = findings.iter().filter(|finding| finding.severity == Severity::Fault);
        faults.map(|finding| finding.id).collect()
    }

    #[test]
    fn few_sources_are_all_examined() {
        let mut few = dropped(MAX_SOURCES);
        few.keep_representatives();
        assert_eq!((few.wire.flows.len(), few.wire.together.len()), (MAX_SOURCES, 0));
    }

    #[test]
    fn many_sources_behind_a_dropping_rule_are_one_fault() {
        let mut many = dropped(10_000);
        let begin = Instant::now();
        many.keep_representatives();
        assert_eq!(faults(&many), [Id::FirewallDropsData]);
        let elapsed = begin.elapsed();
        assert_eq!(many.wire.flows.len(), MAX_ALIKE);
        assert_eq!(
            many.wire.datagrams_together(mcast::Family::V4, |_| true),
            100_000 - 10 * MAX_ALIKE as u64
        );
        // Without optimization, on a machine that does other things. Comparing each with each takes minutes.
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    }

    /// Forged sources can differ in everything that is distinguished. Those that are not examined are unknown, not in order.
    #[test]
    fn sources_that_all_fare_differently_are_bounded_and_unknown() {
        let differing = |received| {
            let mut many = membership(TO, flows(4_000), received);
            for (number, flow) in many.wire.flows.iter_mut().enumerate() {
                flow.hop_limits = (1 + (number % 250) as u8, 1 + (number / 20) as u8);
            }
            many.keep_representatives();
            many
        };
        let begin = Instant::now();
        let lost = differing(0);
        let whole = differing(10);
        for many in [&lost, &whole] {
            assert_eq!(many.wire.flows.len(), MAX_EXAMINED);
            causes::judge(many);
        }
        let elapsed = begin.elapsed();
        assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
        let depth = |many: &Observation| {
            let expected = many.expected_flows();
            expected.iter().find(|flow| flow.flow.is_none()).map(|flow| flow.status.depth)
        };
        assert_eq!((depth(&lost), depth(&whole)), (Some(Depth::Unknown), Some(Depth::Arrives)));
    }

    #[test]
    fn source_that_fares_differently_is_examined() {
        let mut observation = membership(TO, flows(2_000), 10);
        observation.trial_mut().received[1_234].datagrams = 5;
        let lossy = observation.trial_mut().received.remove(777).source;
        observation.keep_representatives();
        let sources: Vec<_> = observation.wire.flows.iter().map(|flow| flow.key.source).collect();
        assert_eq!(sources.len(), MAX_ALIKE + 2);
        assert!(sources.contains(&lossy));
        let depths = observation.expected_flows();
        let lost = depths.iter().filter(|flow| flow.status.depth != Depth::Arrives);
        assert_eq!(lost.count(), 2);
    }

    /// Returns an observation of sources whose datagrams come in at a port of a bridge, and leave by another.
    fn through_ports(count: usize) -> Observation {
        let mut observation = membership(TO, flows(count), 10);
        for number in 0..count {
            let came = flow(PORTS[0], &source(number), TO);
            let mut left = flow(PORTS[1], &source(number), TO);
            left.key.outgoing = true;
            observation.wire.ports.flows.extend([came, left]);
        }
        observation
    }

    const PORTS: [InterfaceIndex; 2] = [InterfaceIndex::new(21).unwrap(), InterfaceIndex::new(22).unwrap()];

    /// Returns the sources that are examined at each port, and on the interface.
    fn examined_at_ports(observation: &Observation) -> [BTreeSet<SocketAddr>; 3] {
        let at = |port: InterfaceIndex| {
            let flows = observation.wire.ports.flows.iter().filter(|flow| flow.key.interface == port);
            flows.map(|flow| flow.key.source).collect()
        };
        let flows = observation.wire.flows.iter().map(|flow| flow.key.source);
        [at(PORTS[0]), at(PORTS[1]), flows.collect()]
    }

    #[test]
    fn many_sources_at_ports_are_reduced_to_the_same_as_on_the_interface() {
        let mut many = through_ports(10_000);
        let begin = Instant::now();
        many.keep_representatives();
        assert_eq!(faults(&many), []);
        let elapsed = begin.elapsed();
        let [first, second, interface] = examined_at_ports(&many);
        assert_eq!((first.len(), &first, &first), (MAX_ALIKE, &second, &interface));
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
        let mut few = through_ports(MAX_SOURCES);
        few.keep_representatives();
        assert_eq!(few.wire.ports.flows.len(), 2 * MAX_SOURCES);
    }

    #[test]
    fn source_that_fares_differently_at_ports_is_examined_at_all_of_them() {
        let mut many = through_ports(2_000);
        let is_of = |flow: &Flow, number: usize| flow.key.source == source(number).parse().unwrap();
        many.wire.ports.flows.retain(|flow| !is_of(flow, 777) || !flow.key.outgoing);
        let partly = many.wire.ports.flows.iter_mut().find(|flow| is_of(flow, 1_234) && flow.key.outgoing);
        partly.unwrap().datagrams = 5;
        many.keep_representatives();
        let [first, second, interface] = examined_at_ports(&many);
        let [lost, partly] = [777, 1_234].map(|number| source(number).parse().unwrap());
        assert!(first.contains(&lost) && interface.contains(&lost) && !second.contains(&lost));
        assert!([&first, &second, &interface].into_iter().all(|sources| sources.contains(&partly)));
        assert_eq!(first.len(), MAX_ALIKE + 2);
    }

    /// What does not reach the interface of the bridge is chosen by how it fares at the ports.
    #[test]
    fn many_sources_that_are_seen_only_at_ports_are_reduced() {
        let mut many = through_ports(10_000);
        many.wire.flows.clear();
        many.trial_mut().received.clear();
        many.keep_representatives();
        let [first, second, interface] = examined_at_ports(&many);
        assert_eq!((first.len(), &first, interface.len()), (MAX_ALIKE, &second, 0));
        assert_eq!(many.wire.ports.unexamined, 0);
    }

    #[test]
    fn sources_at_ports_that_all_fare_differently_are_bounded_and_counted() {
        let mut many = through_ports(1_000);
        many.wire.flows.clear();
        for (number, flow) in many.wire.ports.flows.iter_mut().enumerate() {
            let number = number / 2;
            flow.hop_limits = (1 + (number % 250) as u8, 1 + (number / 20) as u8);
        }
        many.keep_representatives();
        assert_eq!(many.wire.ports.flows.len(), 2 * MAX_EXAMINED);
        let unexamined = (1_000 - MAX_EXAMINED) as u64 * 2 * 10;
        assert_eq!(many.wire.ports.unexamined, unexamined);
    }

    #[test]
    fn many_sources_that_arrive_are_healthy() {
        let mut observation = membership(TO, flows(2_000), 10);
        observation.keep_representatives();
        assert_eq!((faults(&observation), observation.wire.flows.len()), (Vec::new(), MAX_ALIKE));
        let expected = observation.expected_flows();
        assert!(
            expected.len() == MAX_ALIKE && expected.iter().all(|flow| flow.status.depth == Depth::Arrives)
        );
    }

    #[test]
    fn datagrams_of_unrecorded_sources_arrive_only_if_as_many_were_received() {
        let depth = |receipts: usize| {
            let mut observation = membership(TO, flows(200), 10);
            let destination = Destination::of(&observation.wire.flows[0].key);
            observation.wire.together.entry(destination).or_default().unrecorded = 1_000;
            let further = (0..receipts).map(|number| ReceivedCount {
                interface: ETH0,
                source: source(1_000 + number).parse().unwrap(),
                datagrams: 10,
            });
            observation.trial_mut().received.extend(further);
            observation.keep_representatives();
            let expected = observation.expected_flows();
            expected
                .iter()
                .find(|flow| flow.flow.is_none())
                .map(|flow| (flow.status.depth, flow.status.received))
        };
        assert_eq!(depth(100), Some((Depth::Arrives, Some(1_000))));
        assert_eq!(depth(50), Some((Depth::Unknown, Some(500))));
        assert_eq!(depth(0), Some((Depth::Unknown, Some(0))));
    }
}
