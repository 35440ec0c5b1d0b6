//! What carries an interface: the datagrams of a VXLAN, which have a group, a port and filters of their own below it.
//!
//! Where nothing of a group arrives inside, the datagrams outside are judged. What is inside each of them is not looked at, so
//! only what concerns all of them is a finding.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::filter_rules::{INCOMING, arriving, met_by, responsible};
use super::interfaces::unusable;
use super::unsent::{is_examined, refused};
use super::{Cause, Check};
use crate::finding::list;
use crate::netfilter::{KnownPacket, RuleEffect};
use crate::observation::{Interest, Observation};
use crate::snapshot::{Carrier, Link, Remote, Snapshot};
use crate::wire::{Flow, MAX_NETWORKS};
use crate::{Effect, EvidenceKind, ExplainedFlow, Finding, Id, OpenQuestion, Severity, Tool, remedies};

/// Fewer datagrams prove nothing.
const MIN_DATAGRAMS: u64 = 3;

/// An interest on a VXLAN in which nothing of its group arrives.
struct Carried<'a> {
    upper: &'a Link,
    carrier: Carrier,
    /// The interface below.
    lower: &'a Link,
    /// The group and port of the datagrams that carry it.
    to: SocketAddr,
    /// The datagrams to this group that arrive below.
    flows: Vec<&'a Flow>,
    explained: ExplainedFlow,
}

impl<'a> Carried<'a> {
    fn of(observation: &'a Observation, interest: &Interest<'_>) -> Option<Self> {
        let upper = observation.link(interest.interface)?;
        let carrier = upper.carrier?;
        let (group, lower) = (carrier.group?, observation.link(carrier.interface?)?);
        let is_silent =
            observation.arrivals(interest).is_empty() && observation.wire.is_complete(upper.index());
        if !is_silent || !observation.wire.is_tapped(lower.index()) {
            return None;
        }
        let is_below = |flow: &&Flow| flow.key.interface == lower.index() && flow.key.vlan.is_none();
        let flows = observation.wire.incoming(group).filter(is_below).collect();
        let name = upper.name().to_owned();
        let explained = ExplainedFlow { destination: interest.destination(), source: None, interface: name };
        Some(Self { upper, carrier, lower, to: SocketAddr::new(group, carrier.port), flows, explained })
    }

    /// Returns the datagrams to its group and port, if all of them carry frames of networks that no VXLAN of this machine takes.
    fn of_other_network(&self, observation: &Observation) -> Option<&'a Flow> {
        let is_taken = |network: &u32| {
            let mut carriers = observation.after.links.iter().filter_map(|link| link.carrier);
            carriers.any(|carrier| (carrier.network, carrier.port) == (*network, self.carrier.port))
        };
        // Each flow inside has a source port of its own outside.
        let is_other = |flow: &Flow| {
            let is_complete = !flow.networks.is_empty() && flow.networks.len() < MAX_NETWORKS;
            is_complete && !flow.networks.iter().any(is_taken)
        };
        let datagrams: u64 = self.at_port().map(|flow| flow.datagrams).sum();
        let most = self.at_port().max_by_key(|flow| flow.datagrams);
        most.filter(|_| datagrams >= MIN_DATAGRAMS && self.at_port().all(is_other))
    }

    /// Returns datagrams with frames of its network that are sent to another group, if none are sent to its own.
    fn to_other_group(&self, observation: &'a Observation) -> Option<&'a Flow> {
        let is_other = |flow: &&Flow| {
            !flow.key.outgoing
                && flow.key.interface == self.lower.index()
                && flow.key.port == self.carrier.port
                && flow.key.group != self.to.ip()
                && flow.datagrams >= MIN_DATAGRAMS
                && flow.networks.contains(&self.carrier.network)
        };
        let mut flows = observation.wire.flows.iter().filter(is_other);
        flows.next().filter(|_| self.at_port().next().is_none())
    }

    fn finding(
        &self,
        observation: &Observation,
        interest: &Interest<'_>,
        flow: &Flow,
        (why, advice): (String, String),
    ) -> Finding {
        let name = self.upper.name();
        let cause = format!("Nothing to {} arrives in {name}: {name} {why}.", interest.destination());
        Finding::fault(Id::OtherVxlan, cause)
            .about(name, interest.destination(), flow.key.source)
            .explaining([self.explained.clone()])
            .with_evidence(observation.packets_of(flow))
            .evidence(
                EvidenceKind::Interface,
                format!("ip -details link show dev {name}"),
                format!("vxlan id {} group {}", self.carrier.network, self.to.ip()),
            )
            .advise(Tool::Network, advice)
    }

    fn at_port(&self) -> impl Iterator<Item = &'a Flow> {
        let port = self.carrier.port;
        self.flows.iter().copied().filter(move |flow| flow.key.port == port)
    }
}

/// Returns the finding that the other ends of a VXLAN use another port than this one.
pub(super) fn wrong_port(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let carried = Carried::of(observation, interest)?;
    let mut others = carried.flows.iter().filter(|flow| flow.datagrams >= MIN_DATAGRAMS);
    let flow = others.next().filter(|_| carried.at_port().next().is_none())?;
    // Another VXLAN of this machine may be the one that they are for.
    if of_port(&observation.after, flow.key.port).is_some() {
        return None;
    }
    let (name, lower, group) = (carried.upper.name(), carried.lower.name(), flow.key.group);
    let (used, own) = (flow.key.port, carried.carrier.port);
    let cause = format!(
        "Nothing to {} arrives in {name}: {name} takes VXLAN datagrams to {group} at UDP port {own}, and those that arrive on {lower} are sent to port {used}.",
        interest.destination()
    );
    let finding = Finding::fault(Id::WrongPort, cause)
        .about(name, interest.destination(), flow.key.source)
        .explaining([carried.explained])
        .with_evidence(observation.packets_of(flow))
        .evidence(EvidenceKind::Interface, format!("ip -details link show dev {name}"), format!("vxlan dstport {own}"))
        .advise(Tool::Network, format!("Give all ends of the VXLAN the same port: create {name} with `dstport {used}`, or the other ends with `dstport {own}`. Without dstport, Linux uses 8472, and other systems 4789."));
    Some(finding)
}

/// The frames that arrive below a VXLAN are of another one, or are sent to another group than the one that carries it.
pub(super) const OTHER_VXLAN: Cause = Cause::new(Check::Interest(other_vxlan), &["RFC 7348 section 5"]);

fn other_vxlan(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let carried = Carried::of(observation, interest)?;
    let own = carried.carrier.network;
    carried.of_other_network(observation).map(|flow| {
        let networks = list(&flow.networks);
        let why = format!("takes the frames of VXLAN {own}, and the datagrams to {} that arrive on {} carry those of VXLAN {networks}", carried.to, carried.lower.name());
        let advice = format!("If they are meant to be one network, give all ends the same identifier: create {} with `id {networks}`, or the other ends with `id {own}`.", carried.upper.name());
        carried.finding(observation, interest, flow, (why, advice))
    }).or_else(|| {
        let flow = carried.to_other_group(observation)?;
        let (group, lower) = (flow.key.group, carried.lower.name());
        let why = format!("is carried by datagrams to {}, and those of VXLAN {own} that arrive on {lower} are sent to {}", carried.to, flow.destination());
        let advice = format!("Give all ends the same group: create {} with `group {group}`, or the other ends with `group {}`.", carried.upper.name(), carried.to.ip());
        Some(carried.finding(observation, interest, flow, (why, advice)))
    })
}

/// Returns the finding that a rule of this machine drops the datagrams that carry a VXLAN.
pub(super) fn dropped(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let Some(carried) = Carried::of(observation, interest) else {
        return dropped_unicast(observation, interest);
    };
    let (name, lower, to) = (carried.upper.name(), carried.lower.name(), carried.to);
    let judge = |flow: &Flow| {
        let packet = arriving(observation, flow);
        let met = INCOMING
            .into_iter()
            .flat_map(|place| met_by(observation, &packet, place, lower, &[RuleEffect::Drop]));
        let mut met: Vec<_> = met.collect();
        let is_counted = |outcome: &crate::netfilter::Outcome| {
            observation.rule_counts(outcome).is_some_and(|(before, after)| {
                crate::snapshot::explains(after.saturating_sub(before), flow.datagrams)
            })
        };
        met.retain(|outcome| outcome.is_certain || is_counted(outcome));
        Some(responsible(observation, met, flow.datagrams)).filter(|suspects| !suspects.is_empty())
    };
    let mut flows = carried.at_port().filter(|flow| flow.datagrams >= MIN_DATAGRAMS);
    let (flow, suspects) = flows.find_map(|flow| Some((flow, judge(flow)?)))?;
    let rule = suspects.rule();
    let cause = format!(
        "This machine's firewall drops the datagrams from {} to {to} that arrive on {lower} and carry {name}, so nothing to {} arrives in it: {}.",
        flow.key.source,
        interest.destination(),
        suspects.clause()
    );
    let finding = Finding::fault(Id::FirewallDropsData, cause)
        .concerning(name, interest.destination())
        .explaining([carried.explained.clone()])
        .with_evidence(observation.packets_of(flow))
        .with_all_evidence(suspects.evidence(observation))
        .with_remedies(remedies::admit_datagrams(lower, to, rule));
    Some(finding)
}

/// The same for one whose other ends send to an address of this machine. Those datagrams are not captured: a rule is named that drops
/// each of them, and whose counter, if it has one, shows that there are any.
fn dropped_unicast(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let upper = observation.link(interest.interface)?;
    let carrier = upper.carrier.filter(|carrier| carrier.group.is_none())?;
    let is_silent = observation.arrivals(interest).is_empty() && observation.wire.is_complete(upper.index());
    let mut links = observation.after.links.iter().filter(|link| is_silent && link.carrier.is_none());
    let lower = links.find(|link| {
        let is_below = carrier.interface.is_none_or(|index| index == link.index());
        is_below && link.is_of_the_host() && link.has_address(carrier.family)
    })?;
    let to = SocketAddr::new(lower.interface.addresses_of(carrier.family).next()?, carrier.port);
    let packet = KnownPacket::unicast_from_anyone(to).arriving_on(lower.index(), lower.name());
    let met = INCOMING
        .into_iter()
        .flat_map(|place| met_by(observation, &packet, place, lower.name(), &[RuleEffect::Drop]));
    let suspects = responsible(observation, met.filter(|outcome| outcome.is_certain).collect(), 1);
    let rule = suspects.rule()?;
    let (name, lower) = (upper.name(), lower.name());
    let cause = format!(
        "This machine's firewall drops the datagrams of other hosts to {to} that arrive on {lower} and carry {name}, so nothing to {} arrives in it: {}.",
        interest.destination(),
        suspects.clause()
    );
    let interface = name.to_owned();
    let explained = ExplainedFlow { destination: interest.destination(), source: None, interface };
    let finding = Finding::fault(Id::FirewallDropsData, cause)
        .concerning(name, interest.destination())
        .explaining([explained])
        .with_all_evidence(suspects.evidence(observation))
        .with_remedies(remedies::admit_datagrams(lower, to, Some(rule)));
    Some(finding)
}

/// Returns why what is examined, and this machine sends by a VXLAN, does not get to the other ends of it: the datagrams that carry it
/// have a way of their own.
pub(super) fn unsent(observation: &Observation) -> Vec<Finding> {
    observation.after.links.iter().flat_map(|link| unsent_by(observation, link)).collect()
}

fn unsent_by(observation: &Observation, upper: &Link) -> Vec<Finding> {
    // A bridge floods what others send to all its ports; a router chooses where it leaves.
    let is_chosen = |source| upper.interface.port_of.is_none() || observation.after.is_own(source);
    let is_sent = |flow: &&Flow| {
        flow.key.outgoing
            && flow.key.interface == upper.index()
            && flow.datagrams >= MIN_DATAGRAMS
            && is_chosen(flow.key.source.ip())
            && is_examined(observation, flow)
    };
    // It may be a port of the bridge by which they leave.
    let mut flows = observation.wire.flows.iter().chain(&observation.wire.ports.flows);
    let Some(flow) = flows.find(is_sent) else { return Vec::new() };
    let lost = upper.remotes.iter().filter_map(|remote| lost_outside(observation, upper, remote));
    let mut lost: Vec<_> = lost.map(|finding| finding.about_flow(upper.name(), flow)).collect();
    // The others get it.
    if lost.len() < upper.remotes.len() {
        lost.iter_mut().for_each(|finding| finding.severity = Severity::Warning);
    }
    let mut reported = BTreeSet::new();
    lost.retain(|finding| reported.insert(finding.cause.clone()));
    lost
}

/// Returns what keeps the datagrams that carry a VXLAN from another end.
fn lost_outside(observation: &Observation, upper: &Link, remote: &Remote) -> Option<Finding> {
    let (name, to) = (upper.name(), remote.address);
    let carries =
        |cause: &str| format!("{cause} It is on the way to {to}, to which {name} sends its outer datagrams.");
    let below = upper.carrier.and_then(|carrier| carrier.interface);
    let index = remote.hop.map(|hop| hop.interface).or(below);
    let lower = index.and_then(|index| observation.link(index));
    if let Some(lower) = lower.filter(|lower| !lower.interface.up || !lower.interface.running) {
        let down = unusable(lower);
        return Some(Finding { cause: carries(&down.cause), ..down });
    }
    let dropped = |cause: String| Finding::fault(Id::DroppedWhenSending, cause);
    let Some(hop) = remote.hop else {
        let cause = format!(
            "Datagrams that this machine sends by {name} do not leave it: there is no route to {to}, to which {name} sends them."
        );
        let finding =
            dropped(cause).evidence(EvidenceKind::Route, format!("ip route get {to}"), "unreachable");
        let advice = format!(
            "Add a route to {to}, or correct the other end of {name}: `bridge fdb show dev {name}` lists those in use."
        );
        return Some(finding.advise(Tool::Ip, advice));
    };
    let port = upper.carrier?.port;
    if let Some(rule) = refused(observation, lower?, SocketAddr::new(to, port)) {
        let cause = format!("{} They carry {name}.", rule.cause);
        return Some(Finding { cause, ..rule });
    }
    let (lower, hop) = (lower?.name(), Some(hop.address).filter(|_| hop.is_silent)?);
    let cause = format!(
        "Datagrams that this machine sends by {name} do not leave it: {name} sends them to {to}, and no host on {lower} answers for {hop}."
    );
    let finding = dropped(cause).evidence(
        EvidenceKind::Route,
        format!("ip neigh show {hop} dev {lower}"),
        "no Ethernet address",
    );
    Some(finding.advise(Tool::Network, format!("Start the host that has {hop}, or correct the other end of {name}: `bridge fdb show dev {name}` lists those in use.")))
}

/// Returns a sentence on the datagrams that carry the interface of a silent group.
pub(super) fn hint(observation: &Observation, interest: &Interest<'_>) -> Option<String> {
    let carried = Carried::of(observation, interest)?;
    let (name, lower, to, network) =
        (carried.upper.name(), carried.lower.name(), carried.to, carried.carrier.network);
    let datagrams: u64 = carried.at_port().map(|flow| flow.datagrams).sum();
    Some(match datagrams {
        0 if observation.wire.is_complete(carried.lower.index()) => {
            format!(" {name} is carried by datagrams to {to}, and none of them arrives on {lower} either.")
        }
        0 => return None,
        _ => format!(
            " {datagrams} datagrams to {to}, which carry {name}, do arrive on {lower}: the frames inside are of other groups, or of another VXLAN than {network}."
        ),
    })
}

/// Returns the VXLAN for which the kernel has a UDP port open.
pub(super) fn of_port(machine: &Snapshot, port: u16) -> Option<&Link> {
    let is_open =
        |link: &&Link| link.interface.up && link.carrier.is_some_and(|carrier| carrier.port == port);
    machine.links.iter().find(is_open)
}

/// Returns the open question whether a group arrives whose port the kernel has open for a VXLAN, which no program can join there.
pub(crate) fn port_of_kernel(observation: &Observation) -> Option<OpenQuestion> {
    let trial = observation.trial()?;
    trial.failed_with(mcast::ErrorKind::AddressInUse)?;
    let (link, to) = (of_port(&observation.before, trial.port())?, trial.destination());
    let name = link.name();
    let why = format!(
        "the kernel itself has UDP port {} open for the VXLAN {name}, and does not share it; examine a group inside the VXLAN: `mcast doctor GROUP:PORT -i {name}`",
        trial.port()
    );
    Some(OpenQuestion::new(format!("whether {to} arrives"), why).with_effect(Effect::NoAnswer))
}

#[cfg(test)]
mod tests {
    use mcast::Family;

    use super::*;
    use crate::causes::fixtures::{ETH1, flow, membership, ruleset};
    use crate::causes::judge;
    use crate::netfilter::Hook;

    const TO: &str = "239.1.2.3:5000";

    /// A membership on the VXLAN `eth0`, which is carried by 239.99.1.1 on `eth1`, with these datagrams there.
    fn carried(port: u16, below: &[&str]) -> Observation {
        let flows = below.iter().map(|to| flow(ETH1, "10.8.0.1:40000", to)).collect();
        let mut observation = membership(TO, flows, 0);
        let carrier = Carrier {
            group: Some("239.99.1.1".parse().unwrap()),
            family: Family::V4,
            port,
            network: 5,
            interface: Some(ETH1),
        };
        for machine in [&mut observation.before, &mut observation.after] {
            (machine.links[1].carrier, machine.links[1].kind) = (Some(carrier), Some("vxlan".into()));
        }
        observation
    }

    fn found(observation: &Observation) -> Vec<(Id, String)> {
        judge(observation).into_iter().map(|finding| (finding.id, finding.cause)).collect()
    }

    #[test]
    fn other_port_below_a_vxlan_is_named_with_both() {
        let found = found(&carried(8472, &["239.99.1.1:4789"]));
        let [(Id::WrongPort, cause)] = &found[..] else { panic!("{found:?}") };
        assert!(cause.contains("port 8472") && cause.contains("port 4789"), "{cause}");
    }

    #[test]
    fn rule_below_a_vxlan_is_named() {
        let mut observation = carried(4789, &["239.99.1.1:4789"]);
        observation.after.ruleset = ruleset(Hook::Input, RuleEffect::Drop, None);
        let found = found(&observation);
        // It drops queries, too.
        let [(Id::FirewallDropsData, cause), (Id::FirewallDropsIgmp, _)] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(cause.contains("`nft ip t c handle 4` matches them"), "{cause}");
    }

    #[test]
    fn silence_states_what_carries_the_interface() {
        for (below, text) in [
            (
                &["239.99.1.1:4789"][..],
                "10 datagrams to 239.99.1.1:4789, which carry eth0, do arrive on eth1",
            ),
            (&[], "none of them arrives on eth1 either"),
        ] {
            let found = found(&carried(4789, below));
            let [(Id::NothingArrives, cause)] = &found[..] else { panic!("{found:?}") };
            assert!(cause.contains(text), "{cause}");
        }
    }
}
