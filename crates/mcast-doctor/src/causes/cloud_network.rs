//! The networks of clouds carry no multicast, or only by arrangement.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(cloud) = &seen.after.machine.cloud else { return Vec::new() };
    let wanted = seen.wanted();
    let is_of_the_cloud =
        |index: u32| seen.link(index).is_some_and(|link| link.kind.is_none() && !link.loopback);
    let silent = wanted.iter().any(|wanted| {
        is_of_the_cloud(wanted.interface)
            && seen.wire.is_complete(wanted.interface)
            && seen.wire.incoming(wanted.group.addr()).next().is_none()
    });
    let severity = match (seen.is_about_machine(), silent && !seen.heard_anything()) {
        (true, _) => Severity::Note,
        (false, true) => Severity::Warning,
        (false, false) => return Vec::new(),
    };
    let cause = match cloud.as_str() {
        "Amazon EC2" => "Networks of Amazon EC2 carry multicast only inside a multicast domain of a transit gateway, by IGMPv2 alone.".to_owned(),
        cloud => format!("The virtual networks of {cloud} carry no multicast."),
    };
    let finding = Finding::new(Id::CloudNetwork, severity, cause)
        .because(Evidence::new(Sort::Machine, "/sys/class/dmi/id", cloud))
        .remedied([
            Remedy::advice(Tool::Network, "Send by unicast, or carry groups over an overlay (VXLAN with the other machines' addresses); on EC2 set up a transit gateway's multicast domain and admit IGMP from 0.0.0.0/32 in the security group."),
        ]);
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn in_cloud(mut seen: Observation) -> Observation {
        seen.after.machine.cloud = Some("Azure".into());
        seen
    }

    #[test]
    fn a_silent_group_in_a_cloud_is_explained() {
        let findings = check(&in_cloud(membership(TO, Vec::new(), 0)));
        assert_eq!(findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Warning]);
    }

    #[test]
    fn a_group_that_comes_through_a_tunnel_or_all_the_same_is_no_case() {
        let comes = in_cloud(membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10));
        assert_eq!(check(&comes), []);
        let mut tunnel = in_cloud(membership(TO, Vec::new(), 0));
        tunnel.after.links[1].kind = Some("vxlan".into());
        assert_eq!(check(&tunnel), []);
        assert_eq!(check(&membership(TO, Vec::new(), 0)), []);
    }
}
