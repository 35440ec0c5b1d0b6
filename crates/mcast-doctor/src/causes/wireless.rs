//! Wireless links send groups at the lowest rate, do not repeat what is lost, and hold it back while
//! stations sleep.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let used: Vec<_> = seen.wanted().iter().map(|wanted| wanted.interface).collect();
    let wireless = seen.after.links.iter().filter(|link| {
        link.wireless && link.running && (seen.is_about_machine() || used.contains(&link.index))
    });
    wireless
        .map(|link| {
            Finding::new(
                Id::Wireless,
                Severity::Note,
                format!("{} is wireless: groups come at the lowest rate, late, and with losses that nothing repairs.", link.name),
            )
            .on(&link.name)
            .because(Evidence::new(Sort::Interface, &link.name, "wireless"))
            .remedied([
                Remedy::advice(Tool::Network, "On the access point, switch on the conversion of multicast to unicast (\"multicast enhancement\", \"IGMP snooping\"), or raise the multicast rate; or use a cable."),
                Remedy::now(Tool::Mcast, "mcast ping GROUP:PORT"),
            ])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::invent::membership;
    use super::*;

    #[test]
    fn only_a_wireless_interface_that_is_used_is_told_of() {
        let mut seen = membership("239.1.2.3:5000", Vec::new(), 0);
        seen.after.links[2].wireless = true;
        assert_eq!(check(&seen), []);
        seen.after.links[1].wireless = true;
        let told = check(&seen);
        assert_eq!(
            told.iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>(),
            [(Id::Wireless, Severity::Note)]
        );
    }
}
