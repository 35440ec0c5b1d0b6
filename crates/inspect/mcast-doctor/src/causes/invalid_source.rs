//! Datagrams arrive with a source address that cannot belong to a host: a group, the broadcast address, or a loopback
//! address. The system drops them without counting them.

use std::net::IpAddr;

use super::{Cause, Check};
use crate::depth::LostFlow;
use crate::kernel_drops::{KernelDrop, KernelVerdict, evidence};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::wire::Flow;
use crate::{Finding, Id, Remedy, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1122 section 3.2.1.3", "RFC 4291 sections 2.5.3 and 2.7"]);

fn check(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        let flows = observation.all_arrivals().into_iter();
        return flows.filter_map(|flow| in_file(observation, flow)).collect();
    }
    let interests = observation.interests();
    interests.iter().flat_map(|interest| of_interest(observation, interest)).collect()
}

/// Returns the finding about a flow that does not get to the check of its source, because something drops it before.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    // On the loopback interface, loopback addresses are normal.
    let is_loopback = observation.link(flow.key.interface).is_none_or(|link| link.interface.loopback);
    let kind = kind(flow.key.source.ip()).filter(|_| !flow.key.outgoing && !is_loopback)?;
    let interface = observation.link_name(flow.key.interface);
    Some(described(observation, (&interface, flow), kind, correct_sender(flow)))
}

/// Judges a flow in a capture. On a loopback interface, where loopback addresses are normal, frames have no Ethernet
/// addresses or zeros.
fn in_file(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let is_ethernet = flow.macs.iter().any(|mac| mac.0 != [0; 6]);
    let source = flow.key.source.ip();
    let kind = kind(source).filter(|_| is_ethernet)?;
    let interface = observation.link_name(flow.key.interface);
    let cause = format!(
        "Datagrams for {} come from {source}, which is {kind} and not a host's address, so receivers drop them.",
        flow.destination()
    );
    let finding = Finding::fault(Id::InvalidSource, cause)
        .about_flow(&interface, flow)
        .with_evidence(observation.packets_of(flow))
        .with_remedies([correct_sender(flow)]);
    Some(finding)
}

fn correct_sender(flow: &Flow) -> Remedy {
    Remedy::advice(
        Tool::Program,
        format!(
            "Correct the sender, whose Ethernet address is {}: bind its socket to the address of its interface or to none. A packet generator, a tunnel or address translation may also have set the source.",
            flow.mac_list()
        ),
    )
}

fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    // On the loopback interface, loopback addresses are normal.
    if observation.link(interest.interface).is_none_or(|link| link.interface.loopback) {
        return Vec::new();
    }
    // Of this machine's own addresses, `source-is-local` reports the IPv4 ones.
    let is_reported = |source: IpAddr| source.is_ipv4() && observation.before.is_own(source);
    let mut flows = observation.arrivals(interest);
    flows.retain(|flow| !observation.is_received(flow) && !is_reported(flow.key.source.ip()));
    let of_flow = |flow: &Flow| match kind(flow.key.source.ip()) {
        Some(kind) => Some(finding(observation, interest, flow, kind, correct_sender(flow))),
        None => broadcast_here(observation, interest, flow),
    };
    flows.into_iter().filter_map(of_flow).collect()
}

/// Returns the finding about a source that this machine takes for the broadcast address of its own network, because the
/// prefix lengths differ. The reverse path filter, in both modes, and policy routing look for that.
fn broadcast_here(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Option<Finding> {
    let IpAddr::V4(source) = flow.key.source.ip() else { return None };
    let links = observation.after.links.iter();
    let network = links.flat_map(|link| &link.interface.addresses).find(|own| {
        own.prefix < 31
            && own.contains(source.into())
            && source.to_bits() | !(u32::MAX << (32 - own.prefix)) == source.to_bits()
    })?;
    let is_this_flow = |lost: &&LostFlow<'_>| lost.flow.key == flow.key;
    let lost = observation.lost_flows(interest);
    let is_dropped = lost
        .iter()
        .find(is_this_flow)
        .is_some_and(|lost| observation.kernel_verdict(lost, "IP_INVALID_SOURCE") != KernelVerdict::Refuted);
    is_dropped.then(|| {
        let kind = format!("the broadcast address of this machine's network {}/{}", network.address, network.prefix);
        let advice = format!(
            "Give {source} and this machine the same prefix length: with the right one, it is an ordinary address. `ip address show` shows the one here."
        );
        finding(observation, interest, flow, &kind, Remedy::advice(Tool::Network, advice))
    })
}

/// Returns what an address is that cannot be a source; `None` for others.
fn kind(source: IpAddr) -> Option<&'static str> {
    let is_broadcast = matches!(source, IpAddr::V4(address) if address.is_broadcast());
    match source {
        _ if source.is_multicast() => Some("a group"),
        _ if is_broadcast => Some("the broadcast address"),
        _ if source.is_loopback() => Some("a loopback address, valid only within a host"),
        _ => None,
    }
}

fn finding(
    observation: &Observation,
    interest: &Interest<'_>,
    flow: &Flow,
    kind: &str,
    remedy: Remedy,
) -> Finding {
    let source = flow.key.source.ip();
    let is_from = |drop: &KernelDrop| drop.source.ip() == source;
    let dropped = observation.dropped_flows(interest, is_from);
    let interface = observation.link_name(interest.interface);
    described(observation, (&interface, flow), kind, remedy)
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
}

fn described(
    observation: &Observation,
    (interface, flow): (&str, &Flow),
    kind: &str,
    remedy: Remedy,
) -> Finding {
    let (source, to) = (flow.key.source.ip(), flow.destination());
    let cause = format!(
        "Datagrams for {to} arrive on {interface} from {source}, which is {kind} and not a host's address, so the system drops them."
    );
    Finding::fault(Id::InvalidSource, cause)
        .about_flow(interface, flow)
        .with_evidence(observation.packets_of(flow))
        .with_remedies([remedy])
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;

    fn findings(source: &str, to: &str, received: u64) -> usize {
        CAUSE.judge(&membership(to, vec![flow(ETH0, source, to)], received)).len()
    }

    #[test]
    fn broadcast_address_of_this_machines_network_is_reported() {
        let found = |source, received| {
            let mut observation =
                membership("239.1.2.3:5000", vec![flow(ETH0, source, "239.1.2.3:5000")], received);
            observation.after.links[1].interface.addresses[0].prefix = 26;
            CAUSE.judge(&observation).len()
        };
        assert_eq!((found("10.9.0.63:6000", 0), found("10.9.0.63:6000", 10)), (1, 0));
        assert_eq!((found("10.9.0.62:6000", 0), found("10.9.0.127:6000", 0)), (0, 0));
    }

    #[test]
    fn sources_that_no_host_can_have_are_reported() {
        const TO: &str = "239.1.2.3:5000";
        const TO_V6: &str = "[ff15::1234]:5000";
        for source in ["239.9.9.9:6000", "255.255.255.255:6000", "127.0.0.5:6000"] {
            assert_eq!(findings(source, TO, 0), 1, "{source}");
        }
        assert_eq!((findings("[ff15::9]:6000", TO_V6, 0), findings("[::1]:6000", TO_V6, 0)), (1, 1));
        assert_eq!((findings("10.9.0.1:6000", TO, 0), findings("[fd09::1]:6000", TO_V6, 0)), (0, 0));
        assert_eq!(findings("239.9.9.9:6000", TO, 10), 0, "received all the same");
        assert_eq!(findings("127.0.0.1:6000", TO, 0), 0, "reported as this machine's own");
    }
}
