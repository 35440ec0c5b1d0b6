//! Cloud networks carry no multicast, or only if it is set up.

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]);

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(cloud) = &observation.after.machine.cloud else { return Vec::new() };
    let interests = observation.interests();
    let is_cloud_link = |index: InterfaceIndex| {
        observation.link(index).is_some_and(|link| link.kind.is_none() && !link.interface.loopback)
    };
    let silent = interests.iter().any(|interest| {
        is_cloud_link(interest.interface)
            && observation.wire.is_complete(interest.interface)
            && observation.wire.incoming(interest.group.addr()).next().is_none()
    });
    let severity = match (observation.is_about_machine(), silent && !observation.received_anything()) {
        (true, _) => Severity::Note,
        (false, true) => Severity::Warning,
        (false, false) => return Vec::new(),
    };
    let cause = match cloud.as_str() {
        "Amazon EC2" => "Amazon EC2 networks carry multicast only within a transit gateway multicast domain, and only with IGMPv2.".to_owned(),
        cloud => format!("{cloud} virtual networks do not carry multicast."),
    };
    let finding = Finding::new(Id::CloudNetwork, severity, cause)
        .evidence(EvidenceKind::Machine, "/sys/class/dmi/id", cloud)
        .advise(Tool::Network, "Send by unicast, or carry groups over an overlay (VXLAN with the addresses of the other machines). On EC2, set up a transit gateway multicast domain and admit IGMP from 0.0.0.0/32 in the security group.");
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, severities};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn in_cloud(mut observation: Observation) -> Observation {
        observation.after.machine.cloud = Some("Azure".into());
        observation
    }

    #[test]
    fn silent_group_in_a_cloud_is_a_warning() {
        assert_eq!(severities(&CAUSE, &in_cloud(membership(TO, Vec::new(), 0))), [Severity::Warning]);
    }

    #[test]
    fn group_that_arrives_or_uses_a_tunnel_is_not_reported() {
        let arriving = in_cloud(membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10));
        assert_eq!(check(&arriving), []);
        let mut tunnel = in_cloud(membership(TO, Vec::new(), 0));
        tunnel.after.links[1].kind = Some("vxlan".into());
        assert_eq!(check(&tunnel), []);
        assert_eq!(check(&membership(TO, Vec::new(), 0)), []);
    }
}
