//! This machine should forward a flow as a bridge or router, and does not. No setting that the doctor knows explains it,
//! apart from the MTU and the state of the outgoing interface.

use super::{Cause, Check, forwarded_filters, mtu_too_small, reverse_path_filter};
use crate::forwarding::{BlockedFlow, Obstacle};
use crate::kernel_drops::evidence;
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let too_large = observation.blocked_flows(Obstacle::Mtu);
    let down = observation.blocked_flows(Obstacle::Down);
    let mut unknown = observation.blocked_flows(Obstacle::Unknown);
    unknown.retain(|blocked| {
        blocked.first.bridge.is_some() || !reverse_path_filter::drops(observation, blocked.first.flow)
    });
    let too_large = too_large.iter().map(too_large_packets);
    let down = down.iter().map(interface_down);
    let unknown = unknown.iter().map(|blocked| unexplained(observation, blocked));
    too_large.chain(down).chain(unknown).chain(forwarded_filters::findings(observation)).collect()
}

fn too_large_packets(blocked: &BlockedFlow<'_>) -> Finding {
    let (first, names) = (blocked.first, blocked.names());
    let (size, mtu) = (first.flow.largest, first.to.interface.mtu);
    let of = first.to.name();
    let cause = format!(
        "{}, because its packets of up to {size} bytes exceed the MTU of {of} ({mtu} bytes).",
        blocked.sentence()
    );
    Finding::fault(Id::MtuTooSmall, cause)
        .about_flow(&names, first.flow)
        .with_all_evidence(blocked.evidence())
        .evidence(EvidenceKind::Setting, format!("{of} mtu"), mtu)
        .with_remedies([mtu_too_small::set_mtu(first.to, first.from.interface.mtu)]).advise(Tool::Network, format!("The link behind {of} and the hosts there must accept packets of this size. Otherwise, have the sender send at most {} bytes per datagram.", mtu.saturating_sub(28)))
}

fn interface_down(blocked: &BlockedFlow<'_>) -> Finding {
    let (first, of) = (blocked.first, blocked.first.to.name());
    let cause = format!("{}, because {of} is down.", blocked.sentence());
    Finding::fault(Id::InterfaceDown, cause)
        .about_flow(of, first.flow)
        .with_all_evidence(blocked.evidence())
        .with_remedies([Remedy::now(Tool::Ip, ["link", "set", "dev", of, "up"])
            .with_scope(RemedyScope::new(format!("all traffic of {of}")))])
}

fn unexplained(observation: &Observation, blocked: &BlockedFlow<'_>) -> Finding {
    let (first, names) = (blocked.first, blocked.names());
    let drops = first.drops(observation);
    let suspects = first.suspects(observation);
    let rules = suspects.clause();
    let reason = match drops.is_empty() {
        true => format!(
            " The candidates are the firewall ({rules}), a traffic control filter, and a queue that is full."
        ),
        false => String::new(),
    };
    Finding::fault(Id::NotForwarded, format!("{}.{reason}", blocked.sentence()))
        .about_flow(&names, first.flow)
        .with_all_evidence(blocked.evidence())
        .with_all_evidence(evidence(drops))
        .with_all_evidence(suspects.evidence(observation))
        .advise(Tool::Nft, "List the rules on the way through, and add a counter to those that drop: `nft -a list ruleset`, `ebtables -L --Lc`.").advise(Tool::Tc, format!("List filters and queues of {names}: `tc -s filter show dev {0} egress`, `tc -s qdisc show dev {0}`.", first.to.name()))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, membership, with_counters};
    use super::*;
    use crate::forwarding::tests::bridged;
    use crate::snapshot::MulticastRoute;

    #[test]
    fn what_the_reverse_path_filter_drops_needs_no_other_explanation() {
        const TO: &str = "239.1.2.3:5000";
        let outcome = |rise: u64| {
            let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
            let mut observation = with_counters(observation, &[(reverse_path_filter::COUNTER, rise)]);
            observation.after.multicast_routes = vec![MulticastRoute {
                group: "239.1.2.3".parse().unwrap(),
                source: "192.0.2.1".parse().unwrap(),
                from: Some("eth0".into()),
                to: vec![("eth1".into(), 1)],
                packets: 10,
                wrong_interface: 0,
            }];
            observation.after.settings.insert("net.ipv4.conf.eth0.rp_filter".into(), "1".into());
            observation.source_routes = [("192.0.2.1".parse().unwrap(), Some(ETH1))].into();
            check(&observation).len()
        };
        assert_eq!((outcome(0), outcome(10)), (1, 0));
    }

    #[test]
    fn large_packets_are_explained_by_the_mtu() {
        let mut observation = bridged(0, |_, _| {});
        assert_eq!(check(&observation)[0].id, Id::NotForwarded);
        observation.after.links[2].interface.mtu = 90;
        let [finding] = &check(&observation)[..] else { panic!() };
        assert_eq!(finding.id, Id::MtuTooSmall);
        assert!(finding.cause.contains("exceed the MTU of eth1 (90 bytes)"), "{}", finding.cause);
    }
}
