//! A container bridge translates addresses for unicast but does not forward groups.

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::{Depth, Evidence, EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]);

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let is_silent = |interest: &&Interest<'_>| {
        let arrives = observation.wire.incoming(interest.group.addr()).next().is_some();
        // A program may receive what this machine sends itself.
        let is_read = observation.expected_flows().iter().any(|flow| {
            flow.status.destination == interest.destination() && flow.status.depth == Depth::Arrives
        });
        !arrives && !is_read && !observation.received_anything() && !interest.group.scope().stays_on_link()
    };
    let is_inside = |index: InterfaceIndex| {
        observation.wire.is_complete(index)
            && observation.link(index).is_some_and(|link| {
                link.peer_elsewhere
                    && link.kind.as_deref() == Some("veth")
                    && observation.after.gateways.iter().any(|name| name == link.name())
            })
    };
    let mut inside = interests.iter().filter(is_silent).filter(|interest| is_inside(interest.interface));
    let found = inside.find_map(|interest| Some((interest, observation.link(interest.interface)?)));
    let Some((interest, link)) = found else { return Vec::new() };
    let marker = observation
        .after
        .machine
        .container
        .iter()
        .map(|marker| Evidence::new(EvidenceKind::Machine, marker, "exists"));
    // Any namespace may have such an interface; only in a container is the bridge known not to forward.
    let (severity, bridge) = match &observation.after.machine.container {
        Some(_) => (Severity::Warning, "whose bridge does not forward groups from outside"),
        None => (Severity::Note, "whose bridge may not forward groups from outside"),
    };
    let finding = Finding::new(
        Id::ContainerBridge,
        severity,
        format!("{} leads to another network namespace of this machine, {bridge}, and nothing for {} arrived.", link.name(), interest.group),
    )
    .on_interface(link.name())
    .for_group(interest.destination())
    .evidence(EvidenceKind::Interface, link.name(), "veth with its peer in another network namespace")
    .evidence(EvidenceKind::Route, "default", format!("via a gateway on {}", link.name()))
    .with_all_evidence(marker)
    .advise(Tool::Container, "Run the container in the host network (docker run --network host; hostNetwork: true in Kubernetes), or give it a macvlan interface (docker network create -d macvlan).").advise(Tool::Network, "Or route the group on the host from its interface to the bridge, with smcroute.");
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, joined_socket, membership, program};
    use super::*;

    #[test]
    fn program_in_a_container_is_judged_like_a_membership() {
        let mut observation = program(vec![joined_socket(ETH0, mcast::SourceFilter::ANY)], Vec::new());
        let link = &mut observation.after.links[1];
        (link.peer_elsewhere, link.kind) = (true, Some("veth".into()));
        observation.after.gateways = vec!["eth0".into()];
        observation.after.machine.container = Some("/.dockerenv".into());
        assert_eq!(check(&observation)[0].severity, Severity::Warning);
    }

    #[test]
    fn veth_to_another_namespace_is_a_warning_only_in_a_container() {
        let outcome = |container: Option<&str>| {
            let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
            let link = &mut observation.after.links[1];
            (link.peer_elsewhere, link.kind) = (true, Some("veth".into()));
            observation.after.gateways = vec!["eth0".into()];
            observation.after.machine.container = container.map(str::to_owned);
            check(&observation)[0].severity
        };
        assert_eq!(outcome(Some("/.dockerenv")), Severity::Warning);
        assert_eq!(outcome(None), Severity::Note);
    }
}
