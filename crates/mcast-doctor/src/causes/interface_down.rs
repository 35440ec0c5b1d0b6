//! The interface that was meant is down, or nothing is plugged in.

use mcast::ErrorKind;

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(asked) = seen.asked() else { return Vec::new() };
    let refused = asked.failed_with(ErrorKind::InterfaceDown).and_then(|failure| failure.interface.clone());
    let joined: Vec<_> = asked.joined.iter().filter_map(|index| seen.after.link(*index)).collect();
    // One of several without a carrier is an ordinary thing: a container's bridge without containers, say.
    let deaf = joined.iter().filter(|_| joined.iter().all(|link| !link.running));
    let mut names: Vec<_> = refused.into_iter().chain(deaf.map(|link| link.name.clone())).collect();
    names.dedup();
    let finding = |name: String| {
        let up = seen.after.link_named(&name).is_some_and(|link| link.up);
        let (what, state) = if up {
            ("has no carrier: nothing is plugged in, or the other end is down", "no carrier")
        } else {
            ("is down", "down")
        };
        let finding = Finding::new(Id::InterfaceDown, Severity::Fault, format!("{name} {what}."))
            .on(&name)
            .of(format_args!("{}:{}", asked.group, asked.port))
            .because(Evidence::new(Sort::Interface, &name, state));
        match up {
            true => finding
                .remedied([Remedy::advice(Tool::Network, "Look at the cable, the radio, or the other end.")]),
            false => finding.remedied(remedies::bring_up(&name)),
        }
    };
    names.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, ETH1, membership};
    use super::*;
    use crate::observation::About;

    #[test]
    fn one_of_several_without_a_carrier_is_an_ordinary_thing() {
        let mut seen = membership("239.1.2.3:5000", Vec::new(), 0);
        if let About::Membership(asked) = &mut seen.about {
            asked.joined = vec![ETH0, ETH1];
        }
        seen.after.links[1].running = false;
        assert_eq!(check(&seen), []);
        seen.after.links[2].running = false;
        assert_eq!(check(&seen).len(), 2);
    }
}
