//! What a switch or router that is examined without a group would drop of every group, or of those that it has learnt or routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast::Family;

use super::filter_rules::certain_drop;
use crate::finding::list;
use crate::netfilter::{Hook, KnownPacket, Layer};
use crate::observation::Observation;
use crate::snapshot::{DroppingRule, Link};
use crate::{Evidence, EvidenceKind, Finding, Id, Tool};

/// How many learnt groups and routes are judged: a host can report any number.
const MAX_JUDGED: usize = 256;

/// A rule that is certain to drop what should pass through this machine.
struct Barred {
    rule: DroppingRule,
    interfaces: BTreeSet<String>,
    /// The groups; empty for every one.
    groups: BTreeSet<IpAddr>,
}

/// Returns warnings about rules that are certain to drop what this machine should forward as a bridge or router, from whomever it
/// comes. Whether anything is sent is not observed.
pub(super) fn findings(observation: &Observation) -> Vec<Finding> {
    if !observation.is_about_machine() {
        return Vec::new();
    }
    let mut barred: BTreeMap<String, Barred> = BTreeMap::new();
    let mut add = |rule: DroppingRule, link: &Link, group: Option<IpAddr>| {
        let key = format!("{} {}", rule.location(), group.is_some());
        let new = || Barred { rule, interfaces: BTreeSet::new(), groups: BTreeSet::new() };
        let entry = barred.entry(key).or_insert_with(new);
        entry.interfaces.insert(link.name().to_owned());
        entry.groups.extend(group);
    };
    let mut closed = BTreeSet::new();
    for (link, family, places) in ways(observation) {
        let rule = places
            .iter()
            .find_map(|(packet, places)| Some(certain_drop(observation, packet, places, link.name())?.rule));
        if let Some(rule) = rule {
            closed.insert((link.index(), family));
            add(rule, link, None);
        }
    }
    for (link, group, packet, places) in wanted(observation) {
        let is_closed = closed.contains(&(link.index(), Family::of(group)));
        let outcome = certain_drop(observation, &packet, places, link.name()).filter(|_| !is_closed);
        if let Some(outcome) = outcome {
            add(outcome.rule, link, Some(group));
        }
    }
    barred.into_values().map(|barred| finding(observation, barred)).collect()
}

/// The hooks of a port by which frames come in.
const INTO_A_PORT: [(Layer, Hook); 2] = [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting)];
/// The hooks of a port by which frames leave.
const OUT_OF_A_PORT: [(Layer, Hook); 3] =
    [(Layer::Bridge, Hook::Forward), (Layer::Bridge, Hook::Postrouting), (Layer::Device, Hook::Egress)];
/// The hooks of an interface from which a router forwards.
const FROM_AN_INTERFACE: [(Layer, Hook); 3] =
    [(Layer::Device, Hook::Ingress), (Layer::Ip, Hook::Prerouting), (Layer::Ip, Hook::Forward)];
/// The hooks of an interface to which a router forwards.
const TO_AN_INTERFACE: [(Layer, Hook); 3] =
    [(Layer::Ip, Hook::Forward), (Layer::Ip, Hook::Postrouting), (Layer::Device, Hook::Egress)];

type Places = &'static [(Layer, Hook)];
/// An interface, with a datagram to any group of a family, and the hooks that it passes: as it comes in, and as it leaves.
type Passage<'a> = (&'a Link, Family, [(KnownPacket, Places); 2]);

/// Returns the interfaces that this machine forwards groups from and to.
fn ways(observation: &Observation) -> Vec<Passage<'_>> {
    let links = observation.after.links.iter().filter(|link| link.interface.running);
    let ways = links.flat_map(|link| {
        [Family::V4, Family::V6].into_iter().filter_map(move |family| {
            let packet = || KnownPacket::to_any_group(family).arriving();
            let comes = packet().arriving_on(link.index(), link.name());
            let leaves = packet().leaving_by(link.index(), link.name());
            let places: [(KnownPacket, Places); 2] = match () {
                () if observation.bridge_of(link).is_some() => {
                    [(comes, &INTO_A_PORT), (leaves, &OUT_OF_A_PORT)]
                }
                () if observation.routes_groups(link, family) => {
                    [(comes, &FROM_AN_INTERFACE), (leaves, &TO_AN_INTERFACE)]
                }
                () => return None,
            };
            Some((link, family, places))
        })
    });
    ways.collect()
}

/// Returns the groups that hosts behind ports have joined, and those that this machine routes, with the interfaces that they should
/// leave by.
fn wanted(observation: &Observation) -> Vec<(&Link, IpAddr, KnownPacket, Places)> {
    let learnt = observation.after.bridge_groups.iter().filter(|entry| !entry.blocked).filter_map(|entry| {
        // What the bridge itself has joined does not leave by a port.
        let link = observation.link(entry.port).filter(|link| observation.bridge_of(link).is_some())?;
        let packet = KnownPacket::to_group(entry.group).arriving().leaving_by(link.index(), link.name());
        Some((link, entry.group, packet, &OUT_OF_A_PORT as Places))
    });
    let routed = observation.after.multicast_routes.iter().flat_map(|route| {
        let from = route.from.as_deref().and_then(|name| observation.after.link_named(name));
        route.to.iter().filter_map(move |(name, _)| {
            let (from, link) = (from?, observation.after.link_named(name)?);
            let packet = KnownPacket::to_group(route.group).arriving_on(from.index(), from.name());
            let packet = packet.leaving_by(link.index(), link.name());
            Some((link, route.group, packet, &TO_AN_INTERFACE as Places))
        })
    });
    learnt.take(MAX_JUDGED).chain(routed.take(MAX_JUDGED)).collect()
}

fn finding(observation: &Observation, barred: Barred) -> Finding {
    let Barred { rule, interfaces, groups } = barred;
    let (location, hook, names) = (rule.location(), rule.hook, list(&interfaces));
    let what = match groups.len() {
        0 => "every UDP datagram to a group".to_owned(),
        _ => format!("every UDP datagram to {}", list(groups.iter().take(MAX_LISTED))),
    };
    let tool = if rule.is_of_xtables { "iptables or ebtables" } else { "nft" };
    let cause = format!(
        "The rule `{location}` drops {what} that this machine forwards by {names}, at its {} hook.",
        hook.name()
    );
    let mut links = interfaces.iter().filter_map(|name| observation.after.link_named(name));
    let is_of_bridges = rule.layer == Layer::Ip && links.any(|link| observation.bridge_of(link).is_some());
    let settings = ["iptables", "ip6tables"].into_iter().filter_map(|program| {
        let name = format!("net.bridge.bridge-nf-call-{program}");
        let value = observation.after.number(&name).filter(|value| is_of_bridges && *value != 0)?;
        Some(Evidence::new(EvidenceKind::Setting, name, value))
    });
    let finding = Finding::warning(Id::FirewallDropsData, cause)
        .on_interfaces(interfaces)
        .for_groups(groups)
        .at_hook(hook)
        .evidence(EvidenceKind::Rule, location, format!("at {}; matches", hook.name()))
        .with_all_evidence(settings)
        .advise(Tool::Nft, format!("Accept the groups that are needed before this rule ({tool}), or name one with its port: `mcast doctor GROUP:PORT` offers the command."));
    match is_of_bridges {
        true => finding.advise(Tool::Sysctl, "Frames that a bridge forwards meet this rule because of br_netfilter, which Docker and Kubernetes turn on. If nothing needs it: `sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0`."),
        false => finding,
    }
}

/// How many groups a sentence lists.
const MAX_LISTED: usize = 5;
