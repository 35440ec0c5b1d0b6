//! IPv6 is off on the interface, or has no usable address of the link: groups cannot be joined, or not
//! be sent to, until duplicate address detection is done.

use mcast::ErrorKind;

use crate::observation::Observation;
use crate::snapshot::{AddressState, Link};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(asked) = seen.asked().filter(|asked| asked.group.addr().is_ipv6()) else { return Vec::new() };
    let refused = asked.failed_with(ErrorKind::FamilyUnavailable);
    let mut names: Vec<_> = refused.and_then(|failure| failure.interface.clone()).into_iter().collect();
    names.extend(asked.joined.iter().filter_map(|index| Some(seen.after.link(*index)?.name.clone())));
    names.sort();
    names.dedup();
    names.iter().filter_map(|name| judge(seen, seen.after.link_named(name)?)).collect()
}

fn judge(seen: &Observation, link: &Link) -> Option<Finding> {
    if link.loopback || !link.up {
        return None;
    }
    let setting = |of: &str| format!("net.ipv6.conf.{of}.disable_ipv6");
    let own = setting(&link.name.replace('.', "/"));
    let state = |wanted| link.addresses.iter().find(|own| own.address.is_ipv6() && own.state == wanted);
    let finding = |cause: String| Finding::new(Id::Ipv6NotReady, Severity::Fault, cause).on(&link.name);
    if seen.after.number(&own) == Some(1) {
        return Some(
            finding(format!("IPv6 is switched off on {}.", link.name))
                .because(Evidence::new(Sort::Setting, &own, 1))
                .remedied(remedies::sysctl(&own, 0)),
        );
    }
    if let Some(duplicate) = state(AddressState::Duplicate) {
        let address = duplicate.address;
        return Some(
            finding(format!("{address} on {} is another host's, too, so it is not used.", link.name))
                .because(Evidence::new(Sort::Interface, &link.name, format!("{address} dadfailed")))
                .remedied([
                    remedies::remove_address(address, duplicate.prefix, &link.name),
                    Remedy::advice(Tool::Network, "Give each host an address of its own; virtual machines that were copied have equal hardware addresses."),
                ]),
        );
    }
    if let Some(tentative) = state(AddressState::Tentative).filter(|_| state(AddressState::Ready).is_none()) {
        let address = tentative.address;
        return Some(
            finding(format!(
                "{address} on {} is not ready yet: the system still asks whether another host has it.",
                link.name
            ))
            .because(Evidence::new(Sort::Interface, &link.name, format!("{address} tentative")))
            .remedied([Remedy::advice(
                Tool::Program,
                "Wait a second or two after the interface has come up, or send when an address is ready.",
            )]),
        );
    }
    (!link.has_address(false)).then(|| {
        finding(format!("{} has no IPv6 address, not even one of the link.", link.name))
            .because(Evidence::new(Sort::Interface, &link.name, "no IPv6 address"))
            .remedied([remedies::bring_down_and_up(&link.name)])
    })
}
