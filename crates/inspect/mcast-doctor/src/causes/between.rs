//! Datagrams that this machine saw below an interface, and that do not get to it: at a port of its bridge or bond, or at the
//! device that a macvlan is on.
//!
//! The taps of both places see the same frames, one after the other, so what only the first has seen is lost between them.

use std::collections::BTreeMap;

use mcast::InterfaceIndex;

use super::filter_rules::{arriving, met_by};
use crate::fate::depth::ExpectedFlow;
use crate::finding::list;
use crate::kernel_drops::{KernelDrop, evidence};
use crate::netfilter::{Hook, Layer, Outcome, RuleEffect};
use crate::observation::{Interest, Observation};
use crate::snapshot::Link;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Tool};

/// The maximum number of sources that a sentence names.
const MAX_NAMED: usize = 3;

/// Returns the findings about silent groups that arrive at a place below their interface.
pub(super) fn lost_between(observation: &Observation, unexplained: &[ExpectedFlow<'_>]) -> Vec<Finding> {
    let mut places: BTreeMap<_, (Interest<'_>, Vec<&Flow>)> = BTreeMap::new();
    for silent in unexplained.iter().filter(|flow| flow.status.depth.is_silent()) {
        let interest = silent.interest;
        for flow in observation.flows_below(&interest) {
            let place = (flow.key.interface, interest.interface, interest.destination());
            let (_, flows) = places.entry(place).or_insert_with(|| (interest, Vec::new()));
            if !flows.iter().any(|known| known.key == flow.key) {
                flows.push(flow);
            }
        }
    }
    let judged = places.iter().filter_map(|((below, ..), (interest, flows))| {
        let (below, above) = (observation.link(*below)?, observation.link(interest.interface)?);
        Some(finding(observation, interest, (below, above), flows))
    });
    judged.collect()
}

/// Returns whether a group that is silent on its interface was seen below it.
pub(super) fn is_seen_below(observation: &Observation, interest: &Interest<'_>) -> bool {
    !observation.flows_below(interest).is_empty()
}

fn finding(
    observation: &Observation,
    interest: &Interest<'_>,
    (below, above): (&Link, &Link),
    flows: &[&Flow],
) -> Finding {
    let (to, seconds) = (interest.destination(), observation.listened().as_secs_f64());
    let all: u64 = flows.iter().map(|flow| flow.datagrams).sum();
    let sources = sources(flows);
    let drops: Vec<_> = observation
        .kernel_drops
        .drops
        .iter()
        .filter(|drop| flows.iter().any(|flow| drop.is_of(&flow.key)))
        .collect();
    let reason = drops.iter().max_by_key(|drop| drop.packets).map(|drop| drop.describe());
    let reason = reason.map(|reason| format!(" The kernel's reason is {reason}.")).unwrap_or_default();
    let (port, name) = (below.name(), above.name());
    let cause = format!(
        "This machine loses {all} of {all} datagrams from {sources} to {to} between {port} and {name}: they arrive on {port}, but none of them reaches {name}.{reason}"
    );
    let finding = Finding::fault(Id::LostInThisMachine, cause)
        .concerning(name, to)
        .from_sources(flows.iter().map(|flow| flow.key.source))
        .explaining([ExplainedFlow { destination: to, source: None, interface: name.to_owned() }])
        .with_all_evidence(flows.iter().take(MAX_NAMED).map(|flow| observation.packets_of(flow)))
        .evidence(EvidenceKind::Packet, name, format!("no datagram to {to} in {seconds:.1} s"))
        .with_all_evidence(evidence(drops.iter().copied()))
        .with_all_evidence(flows.first().into_iter().flat_map(|flow| possible_rules(observation, flow)))
        .advise(Tool::Network, candidates(below, above, &drops));
    finding.with(interest.owner(), Finding::in_program)
}

/// Returns the rules at the port that may take a flow.
fn possible_rules(observation: &Observation, flow: &Flow) -> Vec<Evidence> {
    const PLACES: [(Layer, Hook); 3] =
        [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting), (Layer::Bridge, Hook::Input)];
    const EFFECTS: [RuleEffect; 4] =
        [RuleEffect::Drop, RuleEffect::Queue, RuleEffect::Divert, RuleEffect::Readdress];
    let (packet, port) = (arriving(observation, flow), observation.link_name(flow.key.interface));
    let met = PLACES.into_iter().flat_map(|place| met_by(observation, &packet, place, &port, &EFFECTS));
    let evidence = |outcome: Outcome| {
        let what = if outcome.is_certain { "matches" } else { "may match" };
        let hook = outcome.rule.hook.name();
        Evidence::new(EvidenceKind::Rule, outcome.rule.location(), format!("at {hook}; {what}"))
    };
    met.take(MAX_NAMED).map(evidence).collect()
}

fn sources(flows: &[&Flow]) -> String {
    let mut named: Vec<_> = flows.iter().take(MAX_NAMED).map(|flow| flow.key.source.to_string()).collect();
    if flows.len() > MAX_NAMED {
        named.push(format!("{} others", flows.len() - MAX_NAMED));
    }
    list(named)
}

/// Returns what loses datagrams between the two, and how to look it up.
fn candidates(below: &Link, above: &Link, drops: &[&KernelDrop]) -> String {
    let (port, name) = (below.name(), above.name());
    let tc = format!("tc filters (tc filter show dev {port} ingress)");
    if above.macvlan_mode.is_some() {
        return format!(
            "Look for {tc} and rules of the family netdev on {port} (nft list ruleset). {port} also drops multicast for its macvlan interfaces when their queue is full (`ip -details link show dev {name}` shows its length, bcqueuelen)."
        );
    }
    // The reason for frames that the port takes in no VLAN.
    let by_vlan = drops.iter().any(|drop| drop.function.as_deref() == Some("br_allowed_ingress"));
    if by_vlan {
        return format!("Compare the VLANs of {port} with those of {name}: bridge vlan show.");
    }
    format!(
        "Look for rules of the families bridge and netdev (nft list ruleset, `ebtables -L` and `ebtables -t nat -L`), including those that change the Ethernet address; {tc}; and the VLANs of {port} (bridge vlan show)."
    )
}

/// Returns sentences that name where else this machine saw datagrams to a silent group, in a VLAN for instance.
pub(super) fn elsewhere(observation: &Observation, interest: &Interest<'_>) -> Vec<String> {
    let wire = &observation.wire;
    let others = wire.flows.iter().chain(&wire.ports.flows).filter(|flow| {
        !flow.key.outgoing
            && flow.destination() == interest.destination()
            && flow.key.interface != interest.interface
    });
    let mut places: BTreeMap<(InterfaceIndex, Option<u16>), &Flow> = BTreeMap::new();
    for flow in others {
        places.entry((flow.key.interface, flow.key.vlan.map(|tagging| tagging.id))).or_insert(flow);
    }
    let sentence = |((interface, vlan), flow): (&(InterfaceIndex, Option<u16>), &&Flow)| {
        let vlan = vlan.map(|id| format!(", in VLAN {id}")).unwrap_or_default();
        let (name, to) = (observation.link_name(*interface), flow.destination());
        format!(" {to} does arrive on {name}, from {}{vlan}.", flow.key.source)
    };
    places.iter().take(MAX_NAMED).map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use mcast::interface::InterfaceAddress;

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, kernel_drop, membership};
    use crate::causes::judge;
    use crate::kernel_drops::KernelDrop;
    use crate::snapshot::BridgePort;
    use crate::wire::{Tagging, Tap};

    const TO: &str = "239.1.2.3:5000";

    /// A membership on the bridge `eth0` whose port is `eth1`, with flows at that port and on the bridge.
    fn bridged(at_port: Vec<Flow>, on_bridge: Vec<Flow>) -> Observation {
        let mut observation = membership(TO, on_bridge, 0);
        for machine in [&mut observation.before, &mut observation.after] {
            machine.links[1].kind = Some("bridge".into());
            machine.links[1].bridge = Some(Default::default());
            machine.links[2].interface.port_of = Some(ETH0);
            machine.links[2].port = Some(BridgePort { floods_multicast: true, ..BridgePort::default() });
        }
        observation.wire.taps.retain(|tap| tap.interface == ETH0);
        observation.wire.ports.taps = vec![Tap::on(&observation.after.links[2])];
        observation.wire.ports.flows = at_port;
        observation
    }

    fn found(observation: &Observation) -> Vec<(Id, String)> {
        judge(observation).into_iter().map(|finding| (finding.id, finding.cause)).collect()
    }

    #[test]
    fn what_a_port_sees_and_its_bridge_does_not_is_lost_between_them() {
        let found = found(&bridged(vec![flow(ETH1, "10.9.0.1:6000", TO)], Vec::new()));
        let [(Id::LostInThisMachine, cause)] = &found[..] else { panic!("{found:?}") };
        assert!(cause.contains("between eth1 and eth0"), "{cause}");
        let v6 = "[ff15::1234]:5000";
        let mut observation = bridged(vec![flow(ETH1, "[fd09::1]:6000", v6)], Vec::new());
        observation.target = membership(v6, Vec::new(), 0).target;
        let address = InterfaceAddress::new("fe80::2".parse().unwrap(), 64);
        observation.after.links[1].interface.addresses.push(address);
        let found = self::found(&observation);
        assert!(matches!(&found[..], [(Id::LostInThisMachine, _)]), "{found:?}");
    }

    #[test]
    fn reason_of_the_kernel_is_named() {
        let mut observation = bridged(vec![flow(ETH1, "10.9.0.1:6000", TO)], Vec::new());
        let drop = kernel_drop("SKB_DROP_X", "10.9.0.1:6000", TO, 10);
        observation.kernel_drops.drops =
            vec![KernelDrop { arrived_on: Some(ETH1), interface: Some(ETH1), ..drop }];
        let found = found(&observation);
        assert!(found[0].1.ends_with("The kernel's reason is SKB_DROP_X."), "{found:?}");
    }

    #[test]
    fn other_groups_at_a_port_do_not_explain_a_silence() {
        for at_port in [Vec::new(), vec![flow(ETH1, "10.9.0.1:6000", "239.1.2.3:5001")]] {
            let found = found(&bridged(at_port, Vec::new()));
            assert!(matches!(&found[..], [(Id::NothingArrives, _)]), "{found:?}");
        }
    }

    #[test]
    fn group_in_a_vlan_of_a_port_is_stated_beside_the_silence() {
        let mut tagged = flow(ETH1, "10.9.0.1:6000", TO);
        tagged.key.vlan = Some(Tagging { id: 7, protocol: 0x8100, inner: None });
        let found = found(&bridged(vec![tagged], Vec::new()));
        let [(Id::NothingArrives, cause)] = &found[..] else { panic!("{found:?}") };
        assert!(cause.contains("does arrive on eth1, from 10.9.0.1:6000, in VLAN 7"), "{cause}");
    }
}
