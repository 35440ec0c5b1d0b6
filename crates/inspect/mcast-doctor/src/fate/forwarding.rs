//! What this machine should forward as a bridge or multicast router, and what it does forward.
//!
//! A [`Leg`] is a flow that comes in on one interface and should leave by another. The taps count it on both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};

use super::Sight;
use crate::causes::filter_rules::{Suspects, arriving, met_by, responsible};
use crate::causes::tc_filters::is_filtered;
use crate::kernel_drops::KernelDrop;
use crate::netfilter::{Hook, Layer, Outcome, RuleEffect};
use crate::observation::{Interest, Observation};
use crate::snapshot::{Bridge, Link, MulticastRoute, PortState, explains, interface_setting};
use crate::wire::{ControlPacket, Flow};
use crate::{Evidence, EvidenceKind};

/// Fewer datagrams prove nothing.
const MIN_DATAGRAMS: u64 = 10;

/// A flow that comes in on one interface of this machine and should leave by another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leg<'a> {
    pub(crate) flow: &'a Flow,
    pub(crate) from: &'a Link,
    pub(crate) to: &'a Link,
    /// The bridge that forwards it; `None` for a router.
    pub(crate) bridge: Option<&'a Link>,
    pub(crate) demand: Demand,
    /// How many datagrams left.
    pub(crate) forwarded: u64,
    /// Whether the hop limit of the datagrams exceeds 1 and the threshold of the route.
    exceeds_threshold: bool,
}

/// Why a flow should leave by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Snooping has learnt a member behind the port.
    Member,
    /// A router or querier is behind the port.
    Router,
    /// The bridge floods the group.
    Flooded,
    /// The multicast routing table lists the interface.
    Routed,
}

/// What keeps a flow from being forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The hop limit of its datagrams does not exceed the threshold of the route.
    HopLimit,
    /// The spanning tree state of the port at which it comes in.
    IngressState,
    /// The spanning tree state of the port by which it should leave.
    EgressState,
    /// Both ports are isolated.
    Isolation,
    /// The port at which it comes in is locked.
    Lock,
    /// Its packets are larger than the MTU of the interface by which it should leave.
    Mtu,
    /// The interface by which it should leave is down.
    Down,
    /// A firewall rule.
    Firewall,
    /// A filter of traffic control.
    TrafficControl,
    Unknown,
}

/// A flow that is not forwarded to some interfaces, all for the same reason.
#[derive(Clone, Debug)]
pub(crate) struct BlockedFlow<'a> {
    /// The first of the legs. All have the same flow and incoming interface.
    pub(crate) first: Leg<'a>,
    pub(crate) legs: Vec<Leg<'a>>,
    pub(crate) sight: Sight,
}

impl Observation {
    /// Returns the flows to the examined groups that this machine should forward and does not, with this obstacle in their way.
    pub(crate) fn blocked_flows(&self, obstacle: Barrier) -> Vec<BlockedFlow<'_>> {
        let mut blocked: BTreeMap<_, BlockedFlow<'_>> = BTreeMap::new();
        let legs = self.bridge_legs().into_iter().chain(self.router_legs());
        for leg in legs.filter(Leg::is_blocked) {
            let Some(sight) = leg.sight_of(obstacle, self) else { continue };
            let entry = blocked.entry((leg.flow.key, sight == Sight::Predicted));
            entry.or_insert_with(|| BlockedFlow { first: leg, legs: Vec::new(), sight }).legs.push(leg);
        }
        blocked.into_values().collect()
    }

    /// Returns whether this machine routes groups on the interface on which a flow arrives, and has no route on which it would
    /// leave. What has one is judged as a [`Leg`].
    pub(crate) fn is_to_be_routed(&self, flow: &Flow) -> bool {
        let (group, family) = (flow.key.group, Family::of(flow.key.group));
        let leaves_link = mcast::Group::new(group).is_ok_and(|group| !group.scope().stays_on_link());
        let Some(link) = self.after.link(flow.key.interface) else { return false };
        let leads_on = |route: &MulticastRoute| {
            route.is_for(&flow.key) && route.from.as_deref() == Some(link.name()) && !route.to.is_empty()
        };
        leaves_link
            && !self.before.is_own(flow.key.source.ip())
            && self.routes_groups(link, family)
            && !self.after.multicast_routes.iter().any(leads_on)
    }

    /// Returns whether multicast routing is enabled on an interface.
    pub(crate) fn routes_groups(&self, link: &Link, family: Family) -> bool {
        let setting = interface_setting(family, link.name(), "mc_forwarding");
        self.after.number(&setting).is_some_and(|value| value != 0)
    }

    /// Returns whether a flow is to an examined group and port.
    fn is_examined(&self, flow: &Flow) -> bool {
        self.interests().iter().any(|interest| interest.destination() == flow.destination())
    }

    /// Returns the bridge of a port, with its settings.
    pub(crate) fn bridge_of(&self, port: &Link) -> Option<(&Link, Bridge)> {
        let bridge = self.after.link(port.interface.port_of?)?;
        Some((bridge, bridge.bridge?))
    }

    /// Returns whether frames that arrive on an interface are passed on to another one, of which it is a port or on which
    /// that one is a macvlan.
    pub(crate) fn is_below(&self, lower: InterfaceIndex, upper: InterfaceIndex) -> bool {
        let is_port = self.link(lower).is_some_and(|link| link.interface.port_of == Some(upper));
        is_port
            || self.link(upper).is_some_and(|link| link.macvlan_mode.is_some() && link.lower == Some(lower))
    }

    /// Returns the flows of an interest that arrive, without a VLAN tag, on an interface whose frames are passed on to its own.
    pub(crate) fn flows_below(&self, interest: &Interest<'_>) -> Vec<&Flow> {
        let is_below = |flow: &&Flow| {
            !flow.key.outgoing
                && flow.key.vlan.is_none()
                && flow.destination() == interest.destination()
                && self.is_below(flow.key.interface, interest.interface)
        };
        self.wire.ports.flows.iter().chain(&self.wire.flows).filter(is_below).collect()
    }

    /// Returns whether the frames of bridges also pass the hooks of the IP layer (`br_netfilter`).
    pub(crate) fn is_bridge_filtered_by_ip(&self, family: Family) -> bool {
        let setting = match family {
            Family::V4 => "net.bridge.bridge-nf-call-iptables",
            Family::V6 => "net.bridge.bridge-nf-call-ip6tables",
        };
        self.after.number(setting).is_some_and(|value| value != 0)
    }

    /// Returns the spanning tree state in which a port passes no frames, or passed none when the examination began; `None`
    /// if the port forwarded at both times.
    pub(crate) fn closed_state(&self, port: &Link) -> Option<PortState> {
        let earlier = self.before.link(port.index());
        let mut states =
            [Some(port), earlier].into_iter().flatten().filter_map(|link| Some(link.port?.state));
        states.find(|state| *state != PortState::Forwarding)
    }

    /// Returns whether more than a tenth of a flow that comes in at a port did not reach the bridge itself.
    pub(crate) fn is_short_on(&self, bridge: &Link, flow: &Flow) -> bool {
        self.wire.is_complete(bridge.index()) && is_short(flow.datagrams, self.passed_to(bridge, flow))
    }

    /// Returns how many datagrams of a flow that comes in at a port reached the bridge itself.
    pub(crate) fn passed_to(&self, bridge: &Link, flow: &Flow) -> u64 {
        let key = &flow.key;
        let of_flow = self.wire.incoming(key.group).filter(|passed| {
            let passed = &passed.key;
            passed.interface == bridge.index() && (passed.source, passed.port) == (key.source, key.port)
        });
        of_flow.map(|passed| passed.datagrams).sum()
    }

    /// Returns whether an interface works and nothing of this machine uses it: it has no address but link-local ones, is
    /// below no other interface, and no multicast routing runs on it.
    pub(crate) fn is_unused(&self, link: &Link) -> bool {
        let Link { interface, .. } = link;
        // Of a pair of veth interfaces, each is the other's peer.
        let is_above =
            |upper: &Link| upper.lower == Some(interface.index) && upper.kind.as_deref() != Some("veth");
        interface.running
            && link.is_of_the_host()
            && link.bridge.is_none()
            && !link.is_tunnel()
            && interface.addresses.iter().all(|own| is_link_local(own.address))
            && !self.after.links.iter().any(is_above)
            && ![Family::V4, Family::V6].into_iter().any(|family| self.routes_groups(link, family))
    }

    /// Returns the report of a host behind a port that has joined a group and not left it, if snooping should have learnt the
    /// group there and has not.
    pub(crate) fn unlearnt_report(&self, port: &Link, group: IpAddr) -> Option<&ControlPacket> {
        let (_, bridge) = self.bridge_of(port)?;
        let mut reports =
            self.wire.ports.control.iter().rev().filter(|packet| {
                packet.interface == port.index() && !packet.outgoing && packet.vlan.is_none()
            });
        let last = reports.find(|packet| packet.message.joins(group) || packet.message.leaves(group));
        let mut learnt = self.after.bridge_groups.iter();
        let is_learnt = learnt.any(|entry| (entry.port, entry.group) == (port.index(), group));
        let stays_on_link = mcast::Group::new(group).is_ok_and(|group| group.scope().stays_on_link());
        let is_snooped = bridge.limits_groups(Family::of(group)) && !stays_on_link;
        last.filter(|packet| packet.message.joins(group) && is_snooped && !is_learnt)
    }

    /// Returns the flows that come in at ports of bridges, once for each other port by which they should leave.
    fn bridge_legs(&self) -> Vec<Leg<'_>> {
        let incoming =
            self.wire.ports.flows.iter().filter(|flow| !flow.key.outgoing && self.is_examined(flow));
        let mut legs = Vec::new();
        for flow in incoming {
            let Some(from) = self.after.link(flow.key.interface) else { continue };
            let Some((bridge, settings)) = self.bridge_of(from) else { continue };
            // Where frames were not captured, fewer seem to leave.
            let taps = self.wire.ports.taps.iter().filter(|tap| tap.dropped == 0 && tap.refused.is_none());
            let others = taps.filter_map(|tap| self.after.link(tap.interface));
            let others = others
                .filter(|to| to.index() != from.index() && to.interface.port_of == Some(bridge.index()));
            legs.extend(others.filter_map(|to| {
                let demand = self.demand(flow, to, &settings)?;
                let sent = self.wire.ports.flows.iter().filter(|sent| is_sent(sent, flow, to.index()));
                let forwarded = sent.map(|sent| sent.datagrams).sum();
                Some(Leg { flow, from, to, bridge: Some(bridge), demand, forwarded, exceeds_threshold: true })
            }));
        }
        legs
    }

    /// Returns why a bridge should forward a flow to a port; `None` if it should not.
    fn demand(&self, flow: &Flow, to: &Link, bridge: &Bridge) -> Option<Demand> {
        let port = to.port?;
        // Spanning tree blocks redundant links on purpose.
        if !to.interface.running || (port.state == PortState::Blocking && bridge.spanning_tree) {
            return None;
        }
        let (group, source) = (flow.key.group, flow.key.source.ip());
        if !bridge.limits_groups(Family::of(group)) || is_never_snooped(group) {
            return port.floods_multicast.then_some(Demand::Flooded);
        }
        // Entries may come and go while listening.
        let is_in = |tables: &crate::snapshot::Snapshot| {
            let mut entries = tables.bridge_groups.iter().filter(|entry| {
                (entry.port, entry.group) == (to.index(), group)
                    && entry.source.is_none_or(|own| own == source)
            });
            let any = entries.clone().next().is_some();
            any && !entries.any(|entry| entry.blocked)
        };
        if is_in(&self.before) && is_in(&self.after) {
            return Some(Demand::Member);
        }
        let has_router = |tables: &crate::snapshot::Snapshot| tables.router_ports.contains(&to.index());
        (has_router(&self.before) && has_router(&self.after)).then_some(Demand::Router)
    }

    /// Returns how many datagrams of a flow this machine sent by an interface, also with an address of its own as the source
    /// (`masquerade`).
    fn routed_to(&self, flow: &Flow, to: &Link) -> u64 {
        let sent = || self.wire.outgoing(flow.key.group).filter(|sent| sent.key.interface == to.index());
        let same: u64 =
            sent().filter(|sent| is_sent(sent, flow, to.index())).map(|sent| sent.datagrams).sum();
        if same > 0 {
            return same;
        }
        let is_translated = |sent: &&Flow| {
            sent.key.port == flow.key.port && self.after.is_own(sent.key.source.ip()) && sent.is_copy_of(flow)
        };
        sent().filter(is_translated).map(|sent| sent.datagrams).sum()
    }

    /// Returns the flows that this machine should route, once for each outgoing interface of their routes.
    fn router_legs(&self) -> Vec<Leg<'_>> {
        let mut legs = Vec::new();
        // Routers do not forward link-local groups, whatever their routes say.
        let stays = |group| mcast::Group::new(group).is_ok_and(|group| group.scope().stays_on_link());
        for route in self.after.multicast_routes.iter().filter(|route| !stays(route.group)) {
            let Some(from) = route.from.as_ref().and_then(|name| self.after.link_named(name)) else {
                continue;
            };
            let flows = self.wire.incoming(route.group).filter(|flow| {
                let is_source = route.source.is_unspecified() || route.source == flow.key.source.ip();
                is_source && flow.key.interface == from.index() && self.is_examined(flow)
            });
            for flow in flows {
                legs.extend(route.to.iter().filter_map(|(name, threshold)| {
                    let to = self.after.link_named(name)?;
                    let exceeds_threshold = flow.hop_limits.0 > (*threshold).max(1);
                    let is_seen = self.wire.is_complete(to.index()) || !to.interface.up;
                    let forwarded = self.routed_to(flow, to);
                    let demand = Demand::Routed;
                    let leg = Leg { flow, from, to, bridge: None, demand, forwarded, exceeds_threshold };
                    (is_seen && to.index() != from.index()).then_some(leg)
                }));
            }
        }
        legs
    }
}

/// Returns whether an interface gives itself this address.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Returns whether a flow is another one on its way out by an interface.
fn is_sent(sent: &Flow, flow: &Flow, to: InterfaceIndex) -> bool {
    let (out, key) = (&sent.key, &flow.key);
    out.outgoing
        && out.interface == to
        && (out.source, out.group, out.port) == (key.source, key.group, key.port)
}

/// Returns whether more than a tenth of the datagrams that came in did not pass.
fn is_short(came: u64, passed: u64) -> bool {
    // Between the first and the last tap that is opened, a few datagrams may pass.
    came >= MIN_DATAGRAMS && came.saturating_sub(passed).saturating_mul(10) > came
}

/// Returns whether bridges flood a group always: 224.0.0.x, and all nodes in IPv6.
fn is_never_snooped(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        IpAddr::V6(group) => group.segments() == [0xff02, 0, 0, 0, 0, 0, 0, 1],
    }
}

impl Leg<'_> {
    /// Returns how many datagrams came in and did not leave.
    pub(crate) fn lost(&self) -> u64 {
        self.flow.datagrams.saturating_sub(self.forwarded)
    }

    fn is_blocked(&self) -> bool {
        is_short(self.flow.datagrams, self.forwarded)
    }

    /// Returns how it is known that an obstacle is in the way; `None` if it is not.
    fn sight_of(&self, obstacle: Barrier, observation: &Observation) -> Option<Sight> {
        if self.obstacle(observation) == obstacle {
            return Some(Sight::Observed);
        }
        self.is_ahead(obstacle, observation).then_some(Sight::Predicted)
    }

    /// Returns whether an obstacle, if another is in front of it, is certain to be met next.
    fn is_ahead(&self, obstacle: Barrier, observation: &Observation) -> bool {
        match obstacle {
            Barrier::Down => !self.to.interface.up,
            Barrier::Isolation => self.is_isolated(),
            Barrier::Firewall => !self.certain_rule(observation).is_empty(),
            // A router divides packets that may be fragmented, which the capture does not show.
            Barrier::Mtu => self.bridge.is_some() && self.exceeds_mtu(),
            // They act first, or only what they lose shows them.
            Barrier::HopLimit
            | Barrier::IngressState
            | Barrier::EgressState
            | Barrier::Lock
            | Barrier::TrafficControl
            | Barrier::Unknown => false,
        }
    }

    fn is_isolated(&self) -> bool {
        let isolated = |link: &Link| link.port.is_some_and(|port| port.isolated);
        isolated(self.from) && isolated(self.to)
    }

    /// Returns whether this machine routed the datagrams, and lost them before the hook for what is forwarded.
    fn is_lost_before_forward_hook(&self, observation: &Observation) -> bool {
        let counts = &observation.hooks;
        let forwarded = counts.of_flow(Layer::Ip, Hook::Forward, &self.flow.key);
        let delivered = counts.of_flow(Layer::Ip, Hook::Input, &self.flow.key);
        self.bridge.is_none()
            && forwarded.is_some_and(|(reached, _)| reached == 0)
            && delivered.is_some_and(|(reached, _)| reached > 0)
    }

    fn obstacle(&self, observation: &Observation) -> Barrier {
        // The state may change while the doctor listens.
        let forwards = |link: &Link| observation.closed_state(link).is_none();
        let locked = self.from.port.is_some_and(|port| port.locked);
        match () {
            () if !self.exceeds_threshold => Barrier::HopLimit,
            () if !forwards(self.from) => Barrier::IngressState,
            () if !forwards(self.to) => Barrier::EgressState,
            () if !self.to.interface.up => Barrier::Down,
            () if self.is_isolated() => Barrier::Isolation,
            () if locked && self.forwarded == 0 => Barrier::Lock,
            () if self.exceeds_mtu() && self.is_lost_before_forward_hook(observation) => Barrier::Mtu,
            () if self.is_by_firewall(observation) => Barrier::Firewall,
            () if self.is_by_traffic_control(observation) => Barrier::TrafficControl,
            () if self.exceeds_mtu() => Barrier::Mtu,
            () => Barrier::Unknown,
        }
    }

    /// Returns whether packets of the flow are larger than the outgoing interface takes.
    fn exceeds_mtu(&self) -> bool {
        self.flow.resegmented == 0 && self.flow.largest as u64 > u64::from(self.to.interface.mtu)
    }

    fn is_by_firewall(&self, observation: &Observation) -> bool {
        let drops = self.drops(observation);
        let dropped: u64 = drops.iter().filter(|drop| drop.is_filtered()).map(|drop| drop.packets).sum();
        let suspects = self.suspects(observation);
        explains(dropped, self.lost()) || (suspects.is_proven && !suspects.is_empty())
    }

    fn is_by_traffic_control(&self, observation: &Observation) -> bool {
        let is_at = |link, is_ingress| is_filtered(observation, self.flow, self.lost(), (link, is_ingress));
        is_at(self.from, true) || is_at(self.to, false)
    }

    /// Returns the drops of the kernel that are of this flow on its way through.
    pub(crate) fn drops<'a>(&self, observation: &'a Observation) -> Vec<&'a KernelDrop> {
        let is_here = |drop: &KernelDrop| match self.bridge {
            Some(_) => [Some(self.from.index()), Some(self.to.index())].contains(&drop.interface),
            // The copy for this machine itself is dropped with the incoming interface.
            None => drop.interface == Some(self.to.index()),
        };
        let drops = observation.kernel_drops.drops.iter();
        drops.filter(|drop| drop.is_of(&self.flow.key) && is_here(drop)).collect()
    }

    /// Returns the rules on the way through that explain the loss.
    pub(crate) fn suspects(&self, observation: &Observation) -> Suspects {
        responsible(observation, self.rules(observation), self.lost())
    }

    /// Returns the first rule on the way through that is certain to drop the flow.
    pub(crate) fn certain_rule(&self, observation: &Observation) -> Suspects {
        let rules = self.rules(observation).into_iter();
        Suspects::certain(rules.filter(|outcome| outcome.is_certain).take(1).collect())
    }

    fn rules(&self, observation: &Observation) -> Vec<Outcome> {
        let (from, to) = (self.from.name(), self.to.name());
        let bridge = [
            (Layer::Device, Hook::Ingress, from),
            (Layer::Bridge, Hook::Prerouting, from),
            (Layer::Bridge, Hook::Forward, from),
            (Layer::Bridge, Hook::Postrouting, to),
            (Layer::Device, Hook::Egress, to),
        ];
        let router = [
            (Layer::Ip, Hook::Forward, from),
            (Layer::Ip, Hook::Postrouting, to),
            (Layer::Device, Hook::Egress, to),
        ];
        let places: &[_] = if self.bridge.is_some() { &bridge } else { &router };
        let packet = arriving(observation, self.flow).leaving_by(self.to.index(), to);
        let outcomes = places.iter().flat_map(|(layer, hook, device)| {
            met_by(observation, &packet, (*layer, *hook), device, &[RuleEffect::Drop])
        });
        outcomes.collect()
    }
}

impl BlockedFlow<'_> {
    /// Returns the names of the interfaces that the flow does not reach.
    pub(crate) fn names(&self) -> String {
        self.legs.iter().map(|leg| leg.to.name()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the largest number of datagrams that one of these interfaces got.
    pub(crate) fn forwarded(&self) -> u64 {
        self.legs.iter().map(|leg| leg.forwarded).max().unwrap_or_default()
    }

    /// Returns whether a member or a router is known to be there, or a route.
    pub(crate) fn is_wanted(&self) -> bool {
        self.legs.iter().any(|leg| leg.demand != Demand::Flooded)
    }

    /// Returns the counts as a sentence: how many datagrams came in, and how many left.
    pub(crate) fn sentence(&self) -> String {
        let Leg { flow, from, bridge, .. } = self.first;
        let who = bridge.map_or("This router", Link::name);
        format!(
            "{who} does not forward {} from {} on {} to {}: {} datagrams came in, {} left",
            flow.destination(),
            flow.key.source,
            from.name(),
            self.names(),
            flow.datagrams,
            self.forwarded()
        )
    }

    /// Returns the counts on both sides, and why the flow should be forwarded.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let Leg { flow, from, demand, .. } = self.first;
        let names = self.names();
        let came =
            format!("{} datagrams in from {} to {}", flow.datagrams, flow.key.source, flow.destination());
        let why = match demand {
            Demand::Member => {
                ("bridge mdb show".to_owned(), format!("{} has members behind {names}", flow.key.group))
            }
            Demand::Router => ("bridge mdb show".to_owned(), format!("a router is behind {names}")),
            Demand::Flooded => {
                ("bridge mdb show".to_owned(), "without a querier, groups are flooded".to_owned())
            }
            Demand::Routed => {
                ("ip mroute show".to_owned(), format!("{} from {} to {names}", flow.key.group, from.name()))
            }
        };
        vec![
            Evidence::new(EvidenceKind::Packet, from.name(), came),
            Evidence::new(EvidenceKind::Packet, &names, format!("{} datagrams out", self.forwarded())),
            Evidence::new(EvidenceKind::Table, why.0, why.1),
        ]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, kernel_drop, membership};
    use crate::snapshot::{BridgeGroup, BridgePort};
    use crate::wire::Tap;
    use mcast::interface::Interface;

    pub(crate) const TO: &str = "239.1.2.3:5000";
    const BRIDGE: InterfaceIndex = InterfaceIndex::new(9).unwrap();

    /// Returns a bridge with the ports `eth0` and `eth1`, on which 10 datagrams come in at `eth0`, and `forwarded` leave
    /// by `eth1`.
    pub(crate) fn bridged(forwarded: usize, change: impl Fn(&mut Bridge, &mut BridgePort)) -> Observation {
        let mut observation = membership(TO, Vec::new(), 0);
        for snapshot in [&mut observation.before, &mut observation.after] {
            let mut settings = Bridge::default();
            for link in snapshot.links.iter_mut().filter(|link| [ETH0, ETH1].contains(&link.index())) {
                let mut port = BridgePort { floods_multicast: true, ..BridgePort::default() };
                change(&mut settings, &mut port);
                (link.port, link.interface.port_of) = (Some(port), Some(BRIDGE));
            }
            let mut bridge = Link::from(Interface::new(BRIDGE, "br0".into()));
            (bridge.interface.up, bridge.interface.running) = (true, true);
            bridge.bridge = Some(settings);
            snapshot.links.push(bridge);
        }
        let taps: Vec<_> = observation.after.links[1..3].iter().map(Tap::on).collect();
        observation.wire.ports.taps = taps;
        let came = flow(ETH0, "10.9.0.1:6000", TO);
        let mut left = flow(ETH1, "10.9.0.1:6000", TO);
        (left.key.outgoing, left.datagrams) = (true, forwarded as u64);
        observation.wire.ports.flows = vec![came, left];
        observation
    }

    /// Joins the group on the bridge instead.
    pub(crate) fn on_bridge(mut observation: Observation) -> Observation {
        observation.trial_mut().joined = vec![BRIDGE];
        observation
    }

    fn obstacles(observation: &Observation) -> Vec<Barrier> {
        let all = [
            Barrier::IngressState,
            Barrier::EgressState,
            Barrier::Isolation,
            Barrier::Lock,
            Barrier::Mtu,
            Barrier::Down,
            Barrier::Firewall,
            Barrier::Unknown,
        ];
        all.into_iter().filter(|obstacle| !observation.blocked_flows(*obstacle).is_empty()).collect()
    }

    #[test]
    fn flooded_flow_is_blocked_only_if_it_does_not_leave() {
        assert_eq!(obstacles(&bridged(10, |_, _| {})), []);
        assert_eq!(obstacles(&bridged(9, |_, _| {})), [], "the taps do not open at once");
        assert_eq!(obstacles(&bridged(0, |_, _| {})), [Barrier::Unknown]);
        let mut overrun = bridged(0, |_, _| {});
        overrun.wire.ports.taps[1].dropped = 1;
        assert_eq!(obstacles(&overrun), [], "the tap on eth1 missed frames");
    }

    #[test]
    fn snooped_group_is_expected_only_where_members_are() {
        let mut observation = bridged(0, |bridge, _| (bridge.snooping, bridge.querier) = (true, true));
        assert_eq!(obstacles(&observation), []);
        let group = BridgeGroup { port: ETH1, group: [239, 1, 2, 3].into(), source: None, blocked: false };
        observation.before.bridge_groups.push(group);
        observation.after.bridge_groups.push(group);
        assert_eq!(obstacles(&observation), [Barrier::Unknown]);
        observation.after.bridge_groups[0].blocked = true;
        assert_eq!(obstacles(&observation), []);
    }

    #[test]
    fn ports_explain_what_they_block() {
        assert_eq!(obstacles(&bridged(0, |_, port| port.isolated = true)), [Barrier::Isolation]);
        assert_eq!(obstacles(&bridged(0, |_, port| port.locked = true)), [Barrier::Lock]);
        assert_eq!(
            obstacles(&bridged(0, |_, port| port.state = PortState::Learning)),
            [Barrier::IngressState]
        );
        assert_eq!(obstacles(&bridged(0, |_, port| port.floods_multicast = false)), [], "flood-off");
        let redundant = bridged(0, |bridge, port| {
            (bridge.spanning_tree, port.state) = (true, PortState::Blocking);
        });
        assert_eq!(obstacles(&redundant), []);
    }

    #[test]
    fn firewall_is_recognised_by_its_drops() {
        let mut observation = bridged(0, |_, _| {});
        observation.kernel_drops.drops = vec![kernel_drop("NETFILTER_DROP", "10.9.0.1:6000", TO, 10)];
        assert_eq!(obstacles(&observation), [Barrier::Firewall]);
    }

    #[test]
    fn route_is_expected_on_its_outgoing_interfaces() {
        let routed = |threshold| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
            observation.after.multicast_routes = vec![MulticastRoute {
                group: [239, 1, 2, 3].into(),
                source: [10, 9, 0, 1].into(),
                from: Some("eth0".into()),
                packets: 10,
                wrong_interface: 0,
                to: vec![("eth1".into(), threshold)],
            }];
            observation
        };
        assert_eq!(obstacles(&routed(1)), [Barrier::Unknown]);
        assert_eq!(obstacles(&routed(16)), [], "ttl-threshold");
        let mut forwarded = routed(1);
        let mut left = flow(ETH1, "10.9.0.1:6000", TO);
        left.key.outgoing = true;
        forwarded.wire.flows.push(left);
        assert_eq!(obstacles(&forwarded), []);
    }
}
