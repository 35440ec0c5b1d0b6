//! Judges the packets of IP protocols other than UDP (VRRP, OSPF, PIM, neighbour discovery): the causes that exist for them as for
//! datagrams.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mcast::group::{Scope, SendInterval};
use mcast::{Family, InterfaceIndex};

use super::filter_rules::{INCOMING, OUTGOING, Suspects, met_by, responsible};
use super::hop_limits::hop_limit_option;
use super::{routes, speakers};
use crate::finding::list;
use crate::kernel_drops::{KernelDrop, evidence};
use crate::netfilter::{Hook, KnownPacket, Layer, RuleEffect};
use crate::observation::{ExaminationTarget, Observation};
use crate::protocol::{ProtocolCount, ProtocolFlow, ProtocolTraffic, RawJoin};
use crate::{
    ArrivalStatus, Depth, Effect, Evidence, EvidenceKind, ExaminedPart, Finding, FlowStatus, Id,
    LayerObservation, OpenQuestion, Report, Tool, remedies,
};

/// What rules do that keep packets from every socket.
const DROPS: [RuleEffect; 2] = [RuleEffect::Drop, RuleEffect::Queue];
/// The greatest hop limit, which proves to a receiver that a packet crossed no router (RFC 5082).
const GREATEST: u8 = 255;
/// The maximum number of flows that are listed one by one.
const MAX_LISTED: usize = 20;

/// The packets of a protocol to a group, and this machine.
struct Judgement<'a> {
    observation: &'a Observation,
    traffic: &'a ProtocolTraffic,
}

/// What became on an interface of the packets that arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Arrival {
    on_wire: u64,
    received: u64,
}

/// Returns the report on the packets of a protocol. The observation is that of the machine, with the drops of its kernel.
pub(crate) fn report(observation: &Observation, traffic: &ProtocolTraffic) -> Report {
    let judgement = Judgement { observation, traffic };
    let mut findings = judgement.sent();
    findings.extend(judgement.joined().flat_map(|interface| judgement.lost(interface)));
    findings.extend(judgement.hop_limits());
    findings.extend(judgement.arrives_elsewhere());
    findings.extend(speakers::judge(observation, traffic, &findings));
    let mut report = Report {
        arrival: judgement.arrival(),
        flows: judgement.flows(),
        observations: judgement.observations(),
        examined: judgement.parts(),
        ..Report::default()
    };
    report.open_questions.extend(judgement.unjoined());
    if report.arrival == ArrivalStatus::Nothing && findings.is_empty() {
        match judgement.silence() {
            Silence::Fault(finding) => findings.push(*finding),
            Silence::Open(question) => {
                report.arrival = ArrivalStatus::NotObserved;
                // Nobody has asked about a protocol that rests.
                report.flows.retain(|flow| !(observation.is_survey && flow.depth.is_silent()));
                report.open_questions.push(question);
            }
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.iter_mut().flat_map(|finding| &mut finding.remedies).for_each(crate::Remedy::add_undo);
    report.findings = findings;
    report
}

/// What follows from the fact that nothing arrived.
enum Silence {
    Fault(Box<Finding>),
    Open(OpenQuestion),
}

impl Judgement<'_> {
    /// Returns whether the packets were captured elsewhere, so that there is nothing to receive them.
    const fn is_file(&self) -> bool {
        matches!(self.observation.target, ExaminationTarget::File)
    }

    /// Returns the interfaces on which the doctor has joined.
    fn joined(&self) -> impl Iterator<Item = InterfaceIndex> {
        let joined = self.traffic.joins.iter().filter(|(_, join)| **join == RawJoin::Joined);
        joined.map(|(interface, _)| *interface)
    }

    fn name(&self, interface: InterfaceIndex) -> String {
        self.observation.link_name(interface)
    }

    fn family(&self) -> Family {
        self.traffic.target.group.family()
    }

    /// Returns the group as the address of packets without ports.
    fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.traffic.target.group.addr(), 0)
    }

    /// Adds the program, if one is examined.
    fn in_program(&self, finding: Finding) -> Finding {
        finding.with(self.traffic.program.as_ref().map(|program| &program.name), Finding::in_program)
    }

    fn fault(&self, id: Id, cause: impl Into<String>) -> Finding {
        self.in_program(Finding::fault(id, cause).for_group(self.traffic.target.group))
    }

    /// Returns the kernel's drops of these packets.
    fn drops(&self) -> impl Iterator<Item = &KernelDrop> {
        let (to, protocol) = (self.destination().ip(), self.traffic.target.protocol.number());
        let drops = self.observation.kernel_drops.drops.iter();
        drops.filter(move |drop| (drop.destination.ip(), drop.protocol) == (to, protocol))
    }

    /// Returns the packets from other machines that arrived on an interface. What this machine sends comes back to its own sockets.
    fn arrived(&self, interface: InterfaceIndex) -> impl Iterator<Item = (&ProtocolFlow, &ProtocolCount)> {
        let flows = self.traffic.at(interface, false);
        flows.filter(|(flow, _)| !self.observation.before.is_own(flow.source))
    }

    fn arrival_on(&self, interface: InterfaceIndex) -> Arrival {
        self.arrived(interface).fold(Arrival::default(), |sum, (flow, count)| Arrival {
            on_wire: sum.on_wire + count.packets,
            // The socket was open before the tap, and may have received more.
            received: sum.received + self.traffic.received_of(flow).min(count.packets),
        })
    }

    fn sends(&self) -> bool {
        self.traffic.flows.keys().any(|flow| flow.outgoing)
            || self.drops().any(|drop| drop.arrived_on.is_none())
    }

    fn arrival(&self) -> ArrivalStatus {
        let mut all = self.joined().map(|interface| (interface, self.arrival_on(interface)));
        let is_tapped = || self.traffic.taps.iter().any(|tap| tap.refused.is_none());
        // Without a capture, the socket alone shows what arrives.
        if !is_tapped() {
            let received =
                self.traffic.received.keys().any(|(_, source)| !self.observation.before.is_own(*source));
            return if received { ArrivalStatus::Arrives } else { ArrivalStatus::NotObserved };
        }
        let (on_wire, received) = all.by_ref().fold((0, 0), |(on_wire, received), (_, arrival)| {
            (on_wire + arrival.on_wire, received + arrival.received)
        });
        match (on_wire, received) {
            // One that sends may be the only one.
            _ if self.is_file() => match self.traffic.flows.is_empty() {
                true => ArrivalStatus::Nothing,
                false => ArrivalStatus::NotObserved,
            },
            (0, _) if self.sends() || self.joined().next().is_none() => ArrivalStatus::NotObserved,
            (0, _) | (_, 0) => ArrivalStatus::Nothing,
            _ if is_serious(on_wire, received) => ArrivalStatus::Incomplete,
            _ => ArrivalStatus::Arrives,
        }
    }

    /// Returns the finding about packets that arrived on an interface and that the doctor's socket there did not receive.
    fn lost(&self, interface: InterfaceIndex) -> Option<Finding> {
        let Arrival { on_wire, received } = self.arrival_on(interface);
        if !is_serious(on_wire, received) {
            return None;
        }
        let lost = on_wire - received;
        let sources =
            self.arrived(interface).filter(|(flow, count)| self.traffic.received_of(flow) < count.packets);
        let sources: BTreeSet<_> = sources.map(|(flow, _)| flow.source).collect();
        let drops: Vec<_> = self.drops().filter(|drop| drop.arrived_on == Some(interface)).collect();
        let name = self.name(interface);
        let of = |reason: &str| {
            drops.iter().filter(|drop| drop.is_for(reason)).map(|drop| drop.packets).sum::<u64>()
        };
        let filtered: u64 = drops.iter().filter(|drop| drop.is_filtered()).map(|drop| drop.packets).sum();
        let is_unknown = self.observation.kernel_drops.refused.is_some();
        let suspects = self.suspects(interface, &sources, lost);
        let what = format!("{lost} of {on_wire} packets that arrived on {name} were not delivered");
        let target = &self.traffic.target;
        let shown = Evidence::new(EvidenceKind::Packet, &name, format!("{on_wire} packets of {target}"));
        let finding = if filtered > 0 || (is_unknown && suspects.is_proven && !suspects.is_empty()) {
            let hook = suspects.rule().map_or(Hook::Input, |rule| rule.hook);
            let cause = format!("This machine's firewall drops {target}: {what}, and {}.", suspects.clause());
            let (group, protocol) = (target.group.addr(), target.protocol.number());
            self.fault(Id::FirewallDropsData, cause)
                .at_hook(hook)
                .with_all_evidence(suspects.evidence(self.observation))
                .with_remedies(remedies::admit_protocol(&name, group, protocol, suspects.rule()))
        } else if of("IP_RPFILTER") > 0 {
            let text = list(&sources);
            let cause = format!(
                "The reverse path filter of {name} drops {target} from {text}, because the route to {text} does not use {name}: {what}."
            );
            self.fault(Id::ReversePathFilter, cause)
                .from_sources(sources)
                .with_all_evidence(routes::filter_settings(self.observation, &name))
                .with_remedies(routes::loosen_or_turn_off(
                    self.observation,
                    &name,
                    self.arrived(interface).map(|(flow, _)| flow.source),
                ))
        } else {
            let reason = drops.iter().max_by_key(|drop| drop.packets).map(|drop| drop.describe());
            let reason = reason.map_or_else(
                || "The kernel gave no reason".to_owned(),
                |reason| format!("The kernel's reason is {reason}"),
            );
            let cause = format!(
                "{target} is lost in this machine: {what} to a raw socket that has joined the group. {reason}."
            );
            self.fault(Id::LostInThisMachine, cause).advise(
                Tool::Program,
                "Look for filters that act before the socket: traffic control (`tc filter show`), XDP (`ip link show`), and IPsec policies (`ip xfrm policy`).",
            )
        };
        Some(finding.on_interface(&name).with_evidence(shown).with_all_evidence(evidence(drops)))
    }

    /// Returns the rules that explain a loss of packets that arrived.
    fn suspects(
        &self,
        interface: InterfaceIndex,
        sources: &BTreeSet<std::net::IpAddr>,
        lost: u64,
    ) -> Suspects {
        let (group, protocol) = (self.destination().ip(), self.traffic.target.protocol.number());
        let name = self.name(interface);
        let mut outcomes = Vec::new();
        for (flow, count) in self.arrived(interface).filter(|(flow, _)| sources.contains(&flow.source)) {
            let (lowest, highest) = count.hop_limits;
            let hop_limit = (lowest == highest).then_some(lowest);
            let packet = KnownPacket::of_protocol((Some(flow.source), group), protocol, hop_limit);
            let packet = packet.arriving_on(interface, &name);
            for outcome in
                INCOMING.into_iter().flat_map(|place| met_by(self.observation, &packet, place, &name, &DROPS))
            {
                if !outcomes.contains(&outcome) {
                    outcomes.push(outcome);
                }
            }
        }
        responsible(self.observation, outcomes, lost)
    }

    /// Returns the findings about packets that this machine drops when it sends them.
    fn sent(&self) -> Vec<Finding> {
        let drops: Vec<_> = self.drops().filter(|drop| drop.arrived_on.is_none()).collect();
        let (filtered, others): (Vec<_>, Vec<_>) = drops.into_iter().partition(|drop| drop.is_filtered());
        let target = &self.traffic.target;
        let mut findings = Vec::new();
        if let Some(most) = filtered.iter().max_by_key(|drop| drop.packets) {
            let packets: u64 = filtered.iter().map(|drop| drop.packets).sum();
            // At the output hook, a packet may not have its interface yet.
            let interface = most.interface.or_else(|| self.owner_of(most.source.ip()));
            let name = interface.map(|interface| self.name(interface)).unwrap_or_default();
            let (group, protocol) = (target.group.addr(), target.protocol.number());
            let packet = KnownPacket::of_protocol((Some(most.source.ip()), group), protocol, None);
            let packet = match interface {
                Some(interface) => packet.leaving_by(interface, &name),
                None => packet,
            };
            let met = |place: (Layer, Hook)| met_by(self.observation, &packet, place, &name, &DROPS);
            let suspects =
                responsible(self.observation, OUTGOING.into_iter().flat_map(met).collect(), packets);
            let cause = format!(
                "This machine's firewall drops {target} that it sends from {}: {packets} packets while listening, and {}.",
                most.source.ip(),
                suspects.clause()
            );
            let finding = self
                .fault(Id::FirewallDropsOutput, cause)
                .at_hook(suspects.rule().map_or(Hook::Output, |rule| rule.hook))
                .from_source(most.source.ip())
                .with_all_evidence(suspects.evidence(self.observation))
                .with_all_evidence(evidence(filtered.iter().copied()))
                .with_remedies(remedies::admit_protocol(&name, group, protocol, suspects.rule()));
            findings.push(if name.is_empty() { finding } else { finding.on_interface(name) });
        }
        if let Some(most) = others.iter().max_by_key(|drop| drop.packets) {
            let packets: u64 = others.iter().map(|drop| drop.packets).sum();
            let cause = format!(
                "This machine drops {target} that it sends from {}: {packets} packets while listening. The kernel's reason is {}.",
                most.source.ip(),
                most.describe()
            );
            let finding = self.fault(Id::DroppedWhenSending, cause).from_source(most.source.ip());
            findings.push(finding.with_all_evidence(evidence(others)));
        }
        findings
    }

    fn owner_of(&self, address: std::net::IpAddr) -> Option<InterfaceIndex> {
        let has =
            |link: &&crate::snapshot::Link| link.interface.addresses.iter().any(|own| own.address == address);
        self.observation.after.links.iter().find(has).map(crate::snapshot::Link::index)
    }

    /// Returns the findings about packets of a protocol that requires the greatest hop limit, and that have another.
    fn hop_limits(&self) -> Vec<Finding> {
        let target = &self.traffic.target;
        let known = target.protocol.known(target.group).filter(|known| known.hop_limit == Some(GREATEST));
        let Some(known) = known.filter(|_| target.group.scope() == Scope::LinkLocal) else {
            return Vec::new();
        };
        let other = self.traffic.flows.iter().filter(|(_, count)| count.hop_limits.0 != GREATEST);
        let finding = |(flow, count): (&ProtocolFlow, &ProtocolCount)| {
            let (name, observed) = (self.name(flow.interface), count.hop_limits.0);
            let verb = if flow.outgoing { "is sent" } else { "arrives" };
            let cause = format!(
                "{target} from {} {verb} with hop limit {observed} instead of {GREATEST} ({}): its receivers discard such packets.",
                flow.source, known.reference
            );
            let option = hop_limit_option(self.family());
            self.fault(Id::TtlTooSmall, cause)
                .on_interface(&name)
                .from_source(flow.source)
                .evidence(
                    EvidenceKind::Packet,
                    &name,
                    format!("{} packets, hop limit {observed}", count.packets),
                )
                .advise(Tool::Program, format!("In the sender, set {option} to {GREATEST}."))
        };
        other.map(finding).collect()
    }

    /// Returns the finding about packets that arrive only on interfaces on which the group is not joined.
    fn arrives_elsewhere(&self) -> Option<Finding> {
        let target = &self.traffic.target;
        let expected: Vec<_> = match &self.traffic.program {
            Some(program) => program.joined.clone(),
            None => self.traffic.joins.keys().copied().collect(),
        };
        let arrives = |interface: &InterfaceIndex| self.arrived(*interface).next().is_some();
        if self.is_file() || expected.iter().any(arrives) {
            return None;
        }
        let interfaces: BTreeSet<_> = self.traffic.flows.keys().map(|flow| flow.interface).collect();
        let found = interfaces.into_iter().filter(|index| !expected.contains(index)).find(arrives)?;
        let (name, packets) = (self.name(found), self.arrival_on(found).on_wire);
        let (id, cause) = match &self.traffic.program {
            // One that only sends has nothing to join.
            Some(program) if expected.is_empty() && self.sends() && !program.name.is_empty() => return None,
            Some(program) if expected.is_empty() => (
                Id::NotJoined,
                format!(
                    "{target} arrives on {name}, but {} has not joined the group: it has a raw socket of the protocol and no membership.",
                    program.name
                ),
            ),
            _ => {
                let joined = list(expected.iter().map(|index| self.name(*index)));
                let who = self.traffic.program.as_ref().map_or("the doctor", |program| &program.name);
                (
                    Id::JoinedOtherInterface,
                    format!("{target} arrives on {name}, but {who} has joined the group only on {joined}."),
                )
            }
        };
        let finding = self
            .fault(id, cause)
            .on_interface(&name)
            .evidence(EvidenceKind::Packet, &name, format!("{packets} packets of {target}"))
            .advise(Tool::Program, format!("Make the program join {} on {name}.", target.group));
        Some(finding)
    }

    /// Returns what follows from the fact that nothing arrived: that depends on how often the protocol sends.
    fn silence(&self) -> Silence {
        let target = &self.traffic.target;
        let names = match self.is_file() {
            true => "any interface of the file".to_owned(),
            false => list(self.joined().map(|interface| self.name(interface))),
        };
        let seconds = self.traffic.listened.as_secs_f64();
        let question = |why: String| {
            let what = format!("whether {target} arrives on {names}");
            let is_asked = !self.observation.is_survey;
            OpenQuestion::new(what, why).with_effect(if is_asked { Effect::NoAnswer } else { Effect::Minor })
        };
        let known = target.protocol.known(target.group);
        match known.and_then(|known| Some((known, known.interval?))) {
            Some((known, SendInterval::Every(time))) if time > self.traffic.listened => {
                let longest = time.as_secs();
                let why = format!(
                    "nothing came in {seconds:.1} s, and {} may be silent for {longest} s ({}): {} {}s",
                    known.name,
                    known.reference,
                    if self.is_file() { "capture for" } else { "listen longer with -W" },
                    longest + longest.div_ceil(10)
                );
                Silence::Open(question(why).known_after(time))
            }
            Some((_, SendInterval::Every(_))) => {
                let cause = format!("No {target} reached {names} in {seconds:.1} s.");
                let finding = self
                    .fault(Id::NothingArrives, cause)
                    .on_interface(&names)
                    .evidence(EvidenceKind::Packet, &names, format!("no packet of {target} in {seconds:.1} s"))
                    .advise(Tool::Network, "Run `mcast doctor` with the same arguments on the sender: the packets must leave it on the interface of this network.");
                Silence::Fault(Box::new(finding))
            }
            _ => Silence::Open(question(format!(
                "nothing came in {seconds:.1} s, and how often its senders send is not known"
            ))),
        }
    }

    /// Returns the open questions about interfaces on which the doctor could not join or capture.
    fn unjoined(&self) -> Vec<OpenQuestion> {
        let target = &self.traffic.target;
        let effect = |needs_rights| if needs_rights { Effect::NeedsRights } else { Effect::NoAnswer };
        let joins = self.traffic.joins.iter().filter_map(|(interface, join)| match join {
            RawJoin::Joined => None,
            RawJoin::Refused(refusal) => {
                let what = format!("whether {target} is delivered on {}", self.name(*interface));
                Some(OpenQuestion::new(what, &refusal.why).with_effect(effect(refusal.needs_rights)))
            }
        });
        let taps = self.traffic.taps.iter().filter_map(|tap| {
            let refusal = tap.refused.as_ref()?;
            let what = format!("whether {target} arrives on {}", tap.name);
            let is_received = self.traffic.received.keys().any(|(interface, _)| *interface == tap.interface);
            let effect = if is_received { Effect::Minor } else { effect(refusal.needs_rights) };
            Some(OpenQuestion::new(what, &refusal.why).with_effect(effect))
        });
        let lost: u64 =
            self.traffic.unrecorded + self.traffic.taps.iter().map(|tap| tap.dropped).sum::<u64>();
        let missed = (lost > 0).then(|| {
            OpenQuestion::new(format!("what {lost} frames contain"), "they were too many to record")
        });
        joins.chain(taps).chain(missed).collect()
    }

    /// Returns the flows that should arrive, those that this machine sends, and one for each interface on which nothing arrives.
    fn flows(&self) -> Vec<FlowStatus> {
        let arriving = self.joined().flat_map(|interface| {
            let arriving: Vec<_> = self.arrived(interface).map(|seen| self.arriving(seen)).collect();
            let is_silent = arriving.is_empty() && !self.sends();
            let silent = is_silent.then(|| FlowStatus {
                on_wire: self.is_tapped(interface).then_some(0),
                depth: if self.is_tapped(interface) { Depth::NotOnWire } else { Depth::Unknown },
                ..self.flow(interface)
            });
            arriving.into_iter().chain(silent)
        });
        // What becomes of the packets in a file is not known.
        let depth = |flow: &ProtocolFlow| if flow.outgoing { Depth::Leaves } else { Depth::Unknown };
        let leaving = self.traffic.flows.iter().filter(|(flow, _)| flow.outgoing || self.is_file());
        let leaving = leaving.map(|(flow, count)| FlowStatus {
            source: Some(SocketAddr::new(flow.source, 0)),
            on_wire: Some(count.packets),
            depth: depth(flow),
            ..self.flow(flow.interface)
        });
        arriving.chain(leaving).collect()
    }

    fn arriving(&self, (flow, count): (&ProtocolFlow, &ProtocolCount)) -> FlowStatus {
        let received = self.traffic.received_of(flow);
        FlowStatus {
            source: Some(SocketAddr::new(flow.source, 0)),
            on_wire: Some(count.packets),
            // The socket was open before the tap.
            received: self.traffic.program.is_none().then_some(received.min(count.packets)),
            depth: if is_serious(count.packets, received) { Depth::OnWire } else { Depth::Arrives },
            some_arrive: received > 0,
            ..self.flow(flow.interface)
        }
    }

    /// Returns a flow of which nothing is known.
    fn flow(&self, interface: InterfaceIndex) -> FlowStatus {
        FlowStatus {
            destination: self.destination(),
            source: None,
            interface: self.name(interface),
            program: self.traffic.program.as_ref().map(|program| program.name.clone()),
            on_wire: None,
            received: None,
            depth: Depth::Unknown,
            some_arrive: false,
        }
    }

    fn is_tapped(&self, interface: InterfaceIndex) -> bool {
        self.traffic.taps.iter().any(|tap| tap.interface == interface && tap.refused.is_none())
    }

    fn observations(&self) -> Vec<LayerObservation> {
        let target = &self.traffic.target;
        let flows = self.traffic.flows.iter().take(MAX_LISTED).map(|(flow, count)| {
            let direction = if flow.outgoing { "out" } else { "in" };
            let message = format!(
                "{} packets {direction} from {}: {target}, hop limit {}",
                count.packets, flow.source, count.hop_limits.1
            );
            LayerObservation::new(format!("wire {}", self.name(flow.interface)), message)
        });
        let more = self.traffic.flows.len().saturating_sub(MAX_LISTED);
        let more = (more > 0).then(|| LayerObservation::new("wire", format!("and {more} more sources")));
        let sockets = self.joined().map(|interface| {
            let received = self.traffic.received.iter().filter(|((on, _), _)| *on == interface);
            let packets: u64 = received.map(|(_, packets)| packets).sum();
            let message = format!("a raw socket of the doctor received {packets} packets of {target}");
            LayerObservation::new(format!("socket on {}", self.name(interface)), message)
        });
        flows.chain(more).chain(sockets).collect()
    }

    fn parts(&self) -> Vec<ExaminedPart> {
        let taps = self.traffic.taps.iter().map(|tap| {
            let part = ExaminedPart::new(format!("the wire of {}", tap.name));
            match &tap.refused {
                Some(refusal) => part.without(&refusal.why),
                None => part,
            }
        });
        if self.is_file() {
            return taps.collect();
        }
        let drops = ExaminedPart::new("drops of the kernel");
        let drops = match &self.observation.kernel_drops.refused {
            Some(refusal) => drops.without(&refusal.why),
            None => drops,
        };
        let sockets = self.traffic.program.as_ref().map(|program| {
            ExaminedPart::new(format!("the queues of the raw sockets of {}", program.name))
                .without("only a raw socket of the doctor is observed")
        });
        taps.chain([ExaminedPart::new("a raw socket")]).chain(sockets).chain([drops]).collect()
    }
}

/// Returns whether nothing was received, or at least 5 % is missing: more than chance explains.
const fn is_serious(on_wire: u64, received: u64) -> bool {
    let lost = on_wire.saturating_sub(received);
    lost > 0 && (received == 0 || lost * 20 >= on_wire)
}
