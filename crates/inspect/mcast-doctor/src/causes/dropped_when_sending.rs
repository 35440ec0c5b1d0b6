//! This machine drops the datagrams that it sends, for a reason that only the kernel gives. `send` reports success or an
//! unspecific error.

use std::collections::BTreeMap;

use super::{Cause, Check};
use crate::kernel_drops::{KernelDrop, UNSPECIFIED, evidence};
use crate::observation::Observation;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["systemd.resource-control(5)", "ip-xfrm(8)"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut flows: BTreeMap<_, Vec<&KernelDrop>> = BTreeMap::new();
    for drop in observation.dropped_sending(is_reported) {
        flows.entry((drop.destination, drop.interface)).or_default().push(drop);
    }
    let by_reason = flows.into_values().filter_map(|drops| finding(observation, drops));
    by_reason.chain(by_policy(observation)).collect()
}

/// The counters of packets that IPsec keeps from leaving: by a policy that blocks, for lack of a key, and by a state that
/// does not match.
const BLOCKED: [&str; 3] = ["XfrmOutPolBlock", "XfrmOutNoStates", "XfrmOutStateInvalid"];

/// Returns the finding about an IPsec policy, which drops before the packets exist, if nothing that is examined leaves.
fn by_policy(observation: &Observation) -> Option<Finding> {
    const MIN_PACKETS: u64 = 3;
    let counter = BLOCKED.iter().find(|name| observation.rise_of(name).unwrap_or_default() >= MIN_PACKETS)?;
    let (before, after) = observation.values(counter)?;
    let interests = observation.interests();
    let is_examined = |flow: &Flow| match observation.program() {
        Some(program) => flow.key.outgoing && program.sends(flow),
        None => interests.iter().any(|interest| interest.destination() == flow.destination()),
    };
    if observation.wire.flows.iter().any(is_examined) || observation.is_about_machine() {
        return None;
    }
    // Whether a program of this machine sends the group at all is not known of a membership.
    let severity = if observation.program().is_some() { Severity::Fault } else { Severity::Warning };
    let cause = format!(
        "An IPsec policy of this machine drops what it sends: {} packets while listening, and nothing that is examined left.",
        after.saturating_sub(before)
    );
    let finding = Finding::new(Id::DroppedWhenSending, severity, cause)
        .with_evidence(Evidence::change(EvidenceKind::Counter, *counter, before, after))
        .with_remedies([Remedy::advice(
            Tool::Ip,
            "List the policies (ip xfrm policy list dir out) and exempt groups from those that block or encrypt them; the program that made them (strongSwan, Libreswan) has them in its configuration.",
        )]);
    Some(match (interests.first(), observation.program()) {
        (Some(interest), _) => finding.for_group(interest.destination()),
        (None, Some(program)) => finding.in_program(&program.name),
        (None, None) => finding,
    })
}

/// Returns whether no other cause reports the drop: those of filters, queues, and a hop limit of 0, for which the kernel
/// gives no reason but only a function, whose name not everyone may read.
fn is_reported(drop: &KernelDrop) -> bool {
    let is_of_hop_limit = match &drop.function {
        Some(function) => function.contains("_output"),
        None => drop.reason == UNSPECIFIED,
    };
    let others = ["TC_", "QDISC_", "FQ_", "CAKE_", "NETFILTER_"];
    !is_of_hop_limit && !others.iter().any(|other| drop.reason.starts_with(other))
}

fn finding(observation: &Observation, drops: Vec<&KernelDrop>) -> Option<Finding> {
    let most = *drops.iter().max_by_key(|drop| drop.packets)?;
    let packets: u64 = drops.iter().map(|drop| drop.packets).sum();
    let (to, source) = (most.destination, most.source);
    let interface =
        most.interface.map_or_else(|| "its interface".to_owned(), |index| observation.link_name(index));
    let cause = format!(
        "This machine drops datagrams to {to} that it sends from {source} by {interface}: {packets} while listening. The kernel's reason is {}.",
        most.describe()
    );
    let finding = Finding::fault(Id::DroppedWhenSending, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(source)
        .with_remedies([remedy(&most.reason, &interface)])
        .with_all_evidence(evidence(drops));
    Some(finding)
}

fn remedy(reason: &str, interface: &str) -> Remedy {
    match reason {
        "BPF_CGROUP_EGRESS" => Remedy::advice(
            Tool::Program,
            "A BPF program at the control group of the sending program drops them. If systemd started it with IPAddressDeny= or RestrictNetworkInterfaces=, admit the group: systemctl show UNIT -p IPAddressDeny -p IPAddressAllow. Otherwise, bpftool cgroup tree lists the programs.",
        ),
        "FULL_RING" => Remedy::advice(
            Tool::Program,
            format!(
                "The program behind the tunnel {interface} does not read fast enough, or has stopped. Restart it, or send by another interface."
            ),
        ),
        "NO_TX_TARGET" => Remedy::advice(
            Tool::Bridge,
            format!(
                "{interface} has nobody to send groups to. A VXLAN needs a group (ip link ... type vxlan group GROUP dev LOWER) or an entry for each remote host: bridge fdb append 00:00:00:00:00:00 dev {interface} dst REMOTE. A bridge needs a port."
            ),
        ),
        "SECURITY_HOOK" => Remedy::advice(
            Tool::Program,
            "A security module forbids it: its log (journalctl -k, ausearch -m AVC) shows the rule.",
        ),
        _ => Remedy::advice(
            Tool::Ip,
            format!(
                "Compare the interface and its route: ip -s link show dev {interface}, ip route get GROUP. The kernel's source describes the reason in enum skb_drop_reason."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn findings(reason: &str, function: Option<&str>, packets: u64) -> usize {
        let mut sent = flow(ETH0, "10.9.0.2:6000", TO);
        sent.key.outgoing = true;
        let mut observation = membership(TO, vec![sent], 10);
        let function = function.map(str::to_owned);
        let drop = kernel_drop(reason, "10.9.0.2:6000", TO, packets);
        observation.kernel_drops.drops = vec![KernelDrop { arrived_on: None, function, ..drop }];
        check(&observation).len()
    }

    #[test]
    fn drops_that_other_causes_report_are_left_to_them() {
        assert_eq!(findings("BPF_CGROUP_EGRESS", None, 10), 1);
        assert_eq!((findings("NETFILTER_DROP", None, 10), findings("TC_EGRESS", None, 10)), (0, 0));
        assert_eq!(findings("NOT_SPECIFIED", Some("ip_mc_output"), 10), 0);
        assert_eq!(findings("NOT_SPECIFIED", Some("tun_net_xmit"), 10), 1);
    }

    #[test]
    fn few_of_the_datagrams_are_not_reported() {
        let mut sent = flow(ETH0, "10.9.0.2:6000", TO);
        (sent.key.outgoing, sent.datagrams) = (true, 100);
        let mut observation = membership(TO, vec![sent], 10);
        let drop = kernel_drop("FULL_RING", "10.9.0.2:6000", TO, 4);
        observation.kernel_drops.drops = vec![KernelDrop { arrived_on: None, ..drop }];
        assert_eq!(check(&observation), []);
    }
}
