//! Wireless links send groups at the lowest rate, do not retransmit losses, and delay groups while stations
//! sleep.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 9119 section 3"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let used: Vec<_> = observation.interests().iter().map(|interest| interest.interface).collect();
    let wireless = observation.after.links.iter().filter(|link| {
        link.wireless
            && link.interface.running
            && (observation.is_about_machine() || used.contains(&link.index()))
    });
    wireless
        .map(|link| {
            Finding::note(
                Id::Wireless,
                format!("{} is wireless: groups arrive at the lowest rate, late, and with losses that are not retransmitted.", link.name()),
            )
            .on_interface(link.name())
            .evidence(EvidenceKind::Interface, link.name(), "wireless")
            .advise(Tool::Network, "On the access point, enable the conversion of multicast to unicast (\"multicast enhancement\", \"IGMP snooping\"), or raise the multicast rate. Or use a cable.").advise(Tool::Mcast, "Run `mcast ping GROUP:PORT` to measure delay and loss to another machine.")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::membership;
    use super::*;
    use crate::Severity;

    #[test]
    fn only_wireless_interfaces_in_use_are_reported() {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.after.links[2].wireless = true;
        assert_eq!(check(&observation), []);
        observation.after.links[1].wireless = true;
        let findings = check(&observation);
        assert_eq!(
            findings.iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>(),
            [(Id::Wireless, Severity::Note)]
        );
    }
}
