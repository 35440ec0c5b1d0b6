//! The group arrives on one interface but is joined on another.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mcast::{Family, InterfaceSelector};

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{Interest, Observation, TrialMembership};
use crate::snapshot::Link;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 3678 section 4"]).offering(|on| {
        on.join().into_iter().chain(remedies::linux::route_group(on.to.ip(), &on.link, false)).collect()
    });

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    // Sockets may join several groups; each is judged separately.
    let addresses: BTreeSet<_> = interests.iter().map(Interest::address).collect();
    let judged = addresses.into_iter().filter_map(|address| {
        let same = interests.iter().filter(|interest| interest.address() == address);
        judge(observation, &same.copied().collect::<Vec<_>>())
    });
    let on_ports = interests.iter().filter_map(|interest| joined_on_port(observation, interest));
    judged.chain(on_ports).chain(others(observation)).collect()
}

/// The kinds of interfaces that take what arrives at their ports. A VRF does not.
const TAKERS: [&str; 3] = ["bridge", "bond", "team"];

/// Judges a group that is joined on a port of a bridge or bond and arrives there: what is above it takes all frames.
fn joined_on_port(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let port = observation.link(interest.interface)?;
    let above = observation.link(port.interface.port_of?)?;
    if !above.kind.as_deref().is_some_and(|kind| TAKERS.contains(&kind)) {
        return None;
    }
    let mut lost = observation.lost_flows(interest).into_iter().map(|lost| lost.flow);
    let flow = lost.find(|flow| !flow.key.outgoing)?;
    let (to, port, above) = (interest.destination(), port.name(), above.name());
    let cause = format!(
        "{to} arrives on {port}, which is a port of {above}: {above} takes all its frames, so programs of this machine receive the group on {above} only, and it is joined on {port}."
    );
    let finding = Finding::new(Id::JoinedOtherInterface, Severity::Fault, cause)
        .on_interface(port)
        .for_group(to)
        .from_source(flow.key.source)
        .with_evidence(observation.packets_of(flow))
        .with_evidence(Evidence::new(EvidenceKind::Setting, format!("ip link show {port}"), format!("master {above}")))
        .with_remedies([
            remedies::mcast::recv_on(to, above),
            Remedy::advice(
                Tool::Program,
                format!("Join on {above}. If the address of this machine is still on {port}, move it: `ip address show dev {port}` lists it, and {above} should have it instead. This cuts connections by way of {port} for a moment."),
            ),
        ]);
    Some(match interest.socket {
        Some(socket) => finding.in_program(&socket.owner),
        None => finding,
    })
}

/// Judges the doctor's own membership, or those of the examined program.
fn judge(observation: &Observation, interests: &[Interest<'_>]) -> Option<Finding> {
    if observation.trial().is_some_and(|trial| !trial.received.is_empty()) {
        return None;
    }
    let mismatch = Mismatch::of(observation, interests)?;
    let finding = mismatch.finding(observation, Severity::Fault);
    Some(match observation.program() {
        Some(program) => finding
            .in_program(&program.name)
            .with_remedies(mismatch.on_socket(interests))
            .with_remedies(mismatch.for_program(observation)),
        None => finding
            .with_remedies([remedies::mcast::recv_on(mismatch.to, mismatch.arrives_on.name())])
            .with_remedies(mismatch.for_program(observation)),
    })
}

/// Judges the sockets of other programs on this machine that have the port open and joined the group.
fn others(observation: &Observation) -> Vec<Finding> {
    let Some(trial) = observation.trial() else { return Vec::new() };
    let judged = trial.other_sockets.iter().filter_map(|socket| {
        let same = socket.interests().filter(|interest| interest.address() == trial.membership.address);
        let mismatch = Mismatch::of(observation, &same.collect::<Vec<_>>())?;
        let finding = mismatch.finding(observation, Severity::Warning).in_program(&socket.owner);
        let own = remedies::mcast::examine_port(trial.port());
        Some(finding.with_remedies([own]).with_remedies(mismatch.for_program(observation)))
    });
    let mut findings: Vec<Finding> = Vec::new();
    for finding in judged {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// A group that arrives on one interface and is joined on others.
struct Mismatch<'a> {
    to: SocketAddr,
    flow: &'a Flow,
    arrives_on: &'a Link,
    joined_on: Vec<&'a Link>,
}

impl<'a> Mismatch<'a> {
    fn of(observation: &'a Observation, interests: &[Interest<'_>]) -> Option<Self> {
        let one = interests.first()?;
        if interests.iter().any(|interest| !observation.arrivals(interest).is_empty()) {
            return None;
        }
        let joined: Vec<&Link> =
            interests.iter().filter_map(|interest| observation.link(interest.interface)).collect();
        let is_apart = |other: &Link| {
            joined.iter().all(|joined| {
                joined.index() != other.index()
                    && !joined.has_frames_of(other)
                    && joined.interface.port_of != Some(other.index())
            })
        };
        // An interface that nothing uses should be a port of the bridge: `port-missing`.
        let is_bridged = joined.iter().any(|joined| joined.bridge.is_some());
        let is_apart = |other: &Link| is_apart(other) && !(is_bridged && observation.is_unused(other));
        let elsewhere = |flow: &&Flow| {
            flow.key.port == one.port
                && flow.key.vlan.is_none()
                && one.sources.admits(flow.key.source.ip())
                && observation.link(flow.key.interface).is_some_and(is_apart)
        };
        let flow = observation.wire.incoming(one.group.addr()).find(elsewhere)?;
        let arrives_on = observation.link(flow.key.interface)?;
        Some(Self { to: one.destination(), flow, arrives_on, joined_on: joined })
    }

    fn finding(&self, observation: &Observation, severity: Severity) -> Finding {
        let Self { to, flow, arrives_on, .. } = self;
        let joined_on = list(self.joined_on.iter().map(|link| link.name()));
        let cause = match observation.trial() {
            Some(trial) if !trial.received.is_empty() => {
                format!(
                    "{to} arrives on {}, but another program on this machine has joined it on {joined_on}.",
                    arrives_on.name()
                )
            }
            _ => format!("{to} arrives on {}, but is joined on {joined_on}.", arrives_on.name()),
        };
        Finding::new(Id::JoinedOtherInterface, severity, cause)
            .on_interface(arrives_on.name())
            .for_group(to)
            .from_source(flow.key.source)
            .with_evidence(observation.packets_of(flow))
            .evidence(
                EvidenceKind::Table,
                format!("/proc/net/igmp{}", if to.is_ipv6() { "6" } else { "" }),
                format!("{} on {joined_on}", to.ip()),
            )
    }

    /// Returns the remedy that joins the group on the other interface and leaves it on the present one.
    fn on_socket(&self, interests: &[Interest<'_>]) -> Option<Remedy> {
        let (group, interest) = (self.to.ip(), interests.first()?);
        let socket = interest.socket?;
        let own =
            interests.iter().filter(|other| other.socket.is_some_and(|other| other.inode == socket.inode));
        let leave = own.flat_map(|own| remedies::socket::leave(group, own.interface, own.sources));
        let join = remedies::socket::join(group, self.arrives_on.index(), interest.sources);
        remedies::socket::change(socket, &join.into_iter().chain(leave).collect::<Vec<_>>())
    }

    /// Returns the remedies for the program, which must join on the other interface. A route moves the membership
    /// only if the program left the choice to the routing table; the route offered here moves no other group.
    fn for_program(&self, observation: &Observation) -> Vec<Remedy> {
        let route =
            observation.after.group_routes.iter().find(|route| route.family == Family::of(self.to.ip()));
        let by_route = route.and_then(|route| route.interface);
        let names_none = |trial: &TrialMembership| {
            !matches!(
                trial.membership.interface,
                Some(InterfaceSelector::Name(_) | InterfaceSelector::Index(_))
            )
        };
        let was_chosen_by_route = self.joined_on.iter().all(|link| Some(link.index()) == by_route)
            && observation.trial().is_none_or(names_none);
        let route = remedies::route_group(self.to.ip(), self.arrives_on, observation.after.has_routing_rules)
            .filter(|_| was_chosen_by_route);
        let join = Remedy::advice(
            Tool::Program,
            format!(
                "Join on {} by its index, {} (ip_mreqn.imr_ifindex, MCAST_JOIN_GROUP); without an index, the routing table chooses. Then restart the program, which joins at start.",
                self.arrives_on.name(),
                self.arrives_on.index()
            ),
        );
        route.into_iter().chain([join]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, joined_socket, membership};
    use super::*;
    use crate::observation::ProgramSocket;
    use mcast::{InterfaceIndex, SourceFilter};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn group_that_also_arrives_on_the_joined_interface_is_not_reported() {
        let both = vec![flow(ETH1, "10.8.0.1:6000", TO), flow(ETH0, "10.9.0.1:6000", TO)];
        assert_eq!(check(&membership(TO, both, 10)), []);
        let wrong = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", TO)], 0);
        assert_eq!(check(&wrong)[0].subject.interface.as_deref(), Some("eth1"));
    }

    #[test]
    fn port_of_a_bridge_receives_nothing_itself() {
        let outcome = |kind: &str| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            observation.after.links[1].interface.port_of = Some(ETH1);
            observation.after.links[2].kind = Some(kind.into());
            check(&observation)
        };
        assert_eq!(outcome("vrf"), []);
        let findings = outcome("bridge");
        assert!(findings[0].cause.contains("eth0, which is a port of eth1"), "{findings:?}");
    }

    fn socket(interface: InterfaceIndex) -> ProgramSocket {
        joined_socket(interface, SourceFilter::ANY)
    }

    #[test]
    fn vlan_gets_no_frames_without_its_tag() {
        let found = |kind: &str, arrives_on, joined_on| {
            let mut observation = membership(TO, vec![flow(arrives_on, "10.8.0.1:6000", TO)], 0);
            observation.trial_mut().joined = vec![joined_on];
            observation.after.links[2].lower = Some(ETH0);
            observation.after.links[2].kind = Some(kind.to_owned());
            check(&observation).len()
        };
        assert_eq!((found("vlan", ETH0, ETH1), found("vlan", ETH1, ETH0)), (1, 1));
        assert_eq!((found("macvlan", ETH0, ETH1), found("macvlan", ETH1, ETH0)), (0, 0));
    }

    #[test]
    fn other_program_joined_on_another_interface_is_a_warning() {
        let outcome = |interface| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
            observation.trial_mut().other_sockets = vec![socket(interface)];
            check(&observation)
        };
        assert_eq!(outcome(ETH0), []);
        let findings = outcome(ETH1);
        assert_eq!(findings[0].subject.program.as_deref(), Some("player (7)"));
        assert_eq!(findings[0].severity, Severity::Warning);
        assert_eq!(findings[0].remedies[0].command().unwrap(), "mcast doctor --port 5000");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn route_of_the_group_is_offered_only_if_routing_chose_the_interface() {
        use super::super::fixtures::program;
        use crate::snapshot::Route;

        let commands = |routed| {
            let mut observation = program(vec![socket(ETH1)], vec![flow(ETH0, "10.9.0.1:6000", TO)]);
            observation.after.group_routes = vec![Route { family: Family::V4, interface: Some(routed) }];
            check(&observation)[0].remedies.iter().filter_map(Remedy::command).collect::<Vec<_>>()
        };
        assert_eq!(commands(ETH1), ["ip route replace 239.1.2.3/32 dev eth0"]);
        assert_eq!(commands(ETH0), Vec::<String>::new());
    }

    #[test]
    fn interface_on_top_of_another_is_not_another_interface() {
        let mut observation = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", TO)], 0);
        observation.after.links[1].lower = Some(ETH1);
        assert_eq!(check(&observation), []);
    }
}
