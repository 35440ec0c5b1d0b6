//! Datagrams that the sending machine loses before they leave it.

use std::collections::BTreeMap;

use mcast::Family;

use super::filter_rules::{OUTGOING, ends, is_serious, leaving, met_by, responsible};
use super::unsent::is_examined;
use super::{Cause, Check, Forecast, carriers, unsent};
use crate::change::{Attribute, Change};
use crate::kernel_drops::{KernelDrop, UNSPECIFIED, evidence};
use crate::netfilter::{CountedTraffic, Hook, HookCount, RuleEffect};
use crate::observation::Observation;
use crate::snapshot::{Counter, DroppingRule, Link, Queue};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

/// The queue of the sending interface is full. `send` reports success; only the counters show the loss.
pub(super) const SENDER_QUEUE_DROPS: Cause =
    Cause::new(Check::Observation(sender_queue_drops), &["RFC 8085 section 4.1", "ip(7): IP_RECVERR"])
        .without_loss()
        .offering(|on| vec![enlarge_queue(&Queue { kind: "pfifo_fast".into(), dropped: 0 }, &on.link)]);

fn sender_queue_drops(observation: &Observation) -> Vec<Finding> {
    observation.after.links.iter().filter_map(|link| judge_sender_queue_drops(observation, link)).collect()
}

fn judge_sender_queue_drops(observation: &Observation, link: &Link) -> Option<Finding> {
    let (queue, before) = dropping_queue(observation, link)?;
    let sends = |flow: &&Flow| {
        flow.key.outgoing && flow.key.interface == link.index() && is_examined(observation, flow)
    };
    let flow = observation.wire.flows.iter().find(sends)?;
    let is_of_queue = |drop: &KernelDrop| {
        let kinds = ["QDISC_", "FQ_", "CAKE_"];
        drop.interface == Some(link.index()) && kinds.iter().any(|kind| drop.reason.starts_with(kind))
    };
    let drops = observation.dropped_sending(is_of_queue);
    // The queue may have dropped TCP packets instead: without the kernel's reasons, require that UDP counted an error.
    let udp_errors = observation.rise(Counter::SendBufferErrors, Family::of(flow.key.group));
    udp_errors.filter(|rise| *rise > 0 || !drops.is_empty())?;
    let errors = [Family::V4, Family::V6].into_iter().flat_map(|family| {
        [Counter::OutDiscards, Counter::SendBufferErrors]
            .into_iter()
            .filter_map(move |counter| observation.counter_increase(counter, family))
    });
    let lost = queue.dropped - before;
    let finding = Finding::fault(
        Id::SenderQueueDrops,
        format!("The send queue of {} ({}) is full: {lost} outgoing packets were dropped while datagrams to {} were being sent.", link.name(), queue.kind, flow.destination()),
    )
    .about_flow(link.name(), flow)
    .change(EvidenceKind::Counter, format!("tc -s qdisc show dev {}, dropped", link.name()), before, queue.dropped)
    .with_all_evidence(evidence(drops))
    .with_all_evidence(errors)
    .with_remedies([enlarge_queue(queue, link)])
    .advise(Tool::Program, "Send more evenly, below the rate of the interface. Set IP_RECVERR (IPV6_RECVERR), so that send fails with ENOBUFS when the queue is full.");
    Some(finding)
}

/// Returns the remedy that enlarges the queue. The queue length of the device applies only to `pfifo_fast`;
/// other queueing disciplines have limits of their own.
fn enlarge_queue(queue: &Queue, link: &Link) -> Remedy {
    match queue.kind.as_str() {
        "pfifo_fast" => {
            Remedy::now_changing(Tool::Ip, Change::interface(link.name(), Attribute::TransmitQueue, 10_000))
                .with_scope(RemedyScope::new(format!(
                    "everything that leaves by {}: it may wait longer in the queue",
                    link.name()
                )))
        }
        kind => Remedy::advice(
            Tool::Tc,
            format!(
                "Raise the rate or the limit of the queue: `tc qdisc show dev {}` shows those of {kind}, `tc qdisc change` changes them.",
                link.name()
            ),
        ),
    }
}

fn dropping_queue<'a>(observation: &Observation, link: &'a Link) -> Option<(&'a Queue, u64)> {
    let before = observation.before.link(link.index())?;
    link.queues.iter().find_map(|queue| {
        let before = before.queues.iter().find(|before| before.kind == queue.kind)?.dropped;
        (queue.dropped > before).then_some((queue, before))
    })
}

/// This machine drops the datagrams that it sends, for a reason that only the kernel gives. `send` reports success or an
/// unspecific error.
pub(super) const DROPPED_WHEN_SENDING: Cause =
    Cause::new(Check::Observation(dropped_when_sending), &["systemd.resource-control(5)", "ip-xfrm(8)"]);

fn dropped_when_sending(observation: &Observation) -> Vec<Finding> {
    let mut flows: BTreeMap<_, Vec<&KernelDrop>> = BTreeMap::new();
    for drop in observation.dropped_sending(is_reported) {
        flows.entry((drop.destination, drop.interface)).or_default().push(drop);
    }
    // What is wrong below a VXLAN is the cause of the kernel's reason.
    let mut findings = carriers::unsent(observation);
    flows.retain(|(_, interface), _| {
        let name = interface.map(|index| observation.link_name(index));
        !name.is_some_and(|name| findings.iter().any(|finding| finding.subject.has_interface(&name)))
    });
    findings.extend(flows.into_values().filter_map(|drops| dropped_when_sending_finding(observation, drops)));
    findings.extend(by_policy(observation));
    findings
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
        "An IPsec policy of this machine drops outgoing packets: {} while listening, and no examined datagram left.",
        after.saturating_sub(before)
    );
    let finding = Finding::new(Id::DroppedWhenSending, severity, cause)
        .with_evidence(Evidence::change(EvidenceKind::Counter, *counter, before, after))
        .advise(
            Tool::Ip,
            "List the policies (ip xfrm policy list dir out) and exempt groups from those that block or encrypt them; they come from the configuration of strongSwan, Libreswan or another program.",
        );
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
    let others = ["TC_", "QDISC_", "FQ_", "CAKE_"];
    !is_of_hop_limit && !drop.is_filtered() && !others.iter().any(|other| drop.reason.starts_with(other))
}

fn dropped_when_sending_finding(observation: &Observation, drops: Vec<&KernelDrop>) -> Option<Finding> {
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
        .about(&interface, to, source)
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
                "{interface} has no destination for groups. A VXLAN needs a group (ip link ... type vxlan group GROUP dev LOWER) or an entry for each remote host: bridge fdb append 00:00:00:00:00:00 dev {interface} dst REMOTE. A bridge needs a port."
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

/// Datagrams of this machine do not leave it: its own packet filter drops them at the output or postrouting hook, or at
/// that of the device. `send` reports an error only for a rule that rejects.
pub(super) const FIREWALL_DROPS_OUTPUT: Cause = Cause::new(Check::Observation(firewall_drops_output), &[])
    .predicted_by(Forecast::Way(unsent::ahead))
    .offering(|on| {
        let rule = DroppingRule { hook: Hook::Output, ..on.rule.clone() };
        remedies::admit_sent_datagrams(on.name(), on.to, Some(&rule))
    });

fn firewall_drops_output(observation: &Observation) -> Vec<Finding> {
    let counts = observation.hooks.counts.iter();
    let lost = counts.filter(|count| is_lost(observation, count) && !observation.hooks.is_translated(count));
    lost.filter_map(|count| judge_firewall_drops_output(observation, count)).collect()
}

/// Returns whether a count is of datagrams of this machine that did not pass a hook on the way out.
pub(super) fn is_lost(observation: &Observation, count: &HookCount) -> bool {
    let is_own = match count.traffic {
        CountedTraffic::Datagrams(_) => observation.after.is_own(count.peer.ip()),
        CountedTraffic::SentFrom(..) => true,
        CountedTraffic::Control(_) => false,
    };
    is_own && OUTGOING.contains(&(count.layer, count.hook)) && is_serious(count.reached, count.passed)
}

fn judge_firewall_drops_output(observation: &Observation, count: &HookCount) -> Option<Finding> {
    let (source, to) = ends(observation, count)?;
    let interface = observation.link_name(count.interface);
    let packet = leaving(observation, count.interface, source, to);
    let effects = [RuleEffect::Drop, RuleEffect::Queue, RuleEffect::Divert, RuleEffect::Redirect];
    let outcomes = met_by(observation, &packet, (count.layer, count.hook), &interface, &effects);
    let lost = count.reached - count.passed;
    let suspects = responsible(observation, outcomes, lost);
    if suspects.effect() == Some(RuleEffect::Redirect) {
        return None;
    }
    let hook = count.hook.name();
    let finding = Finding::fault(
        Id::FirewallDropsOutput,
        format!(
            "This machine's firewall drops the datagrams that this machine sends to {to}: {lost} of {} from {source} to {interface} did not pass the {hook} hook, and {}.",
            count.reached,
            suspects.clause()
        ),
    );
    let counted = format!("{} datagrams reached it, {} passed it", count.reached, count.passed);
    Some(
        finding
            .about(&interface, to, source)
            .at_hook(count.hook)
            .evidence(EvidenceKind::Counter, format!("hook {hook}"), counted)
            .with_all_evidence(suspects.evidence(observation))
            .with_remedies(remedies::admit_sent_datagrams(&interface, to, suspects.rule())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, machine, membership};
    use crate::netfilter::Layer;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn queue_length_of_the_device_applies_only_to_pfifo_fast() {
        let link = &machine().links[1];
        let remedy = |kind: &str| enlarge_queue(&Queue { kind: kind.into(), dropped: 3 }, link).command();
        assert_eq!(remedy("pfifo_fast").unwrap(), "ip link set dev eth0 txqueuelen 10000");
        assert_eq!((remedy("tbf"), remedy("fq_codel")), (None, None));
    }

    fn findings(reason: &str, function: Option<&str>, packets: u64) -> usize {
        let mut sent = flow(ETH0, "10.9.0.2:6000", TO);
        sent.key.outgoing = true;
        let mut observation = membership(TO, vec![sent], 10);
        let function = function.map(str::to_owned);
        let drop = kernel_drop(reason, "10.9.0.2:6000", TO, packets);
        observation.kernel_drops.drops = vec![KernelDrop { arrived_on: None, function, ..drop }];
        dropped_when_sending(&observation).len()
    }

    #[test]
    fn drops_that_other_causes_report_are_left_to_them() {
        assert_eq!(findings("BPF_CGROUP_EGRESS", None, 10), 1);
        assert_eq!((findings("NETFILTER_DROP", None, 10), findings("TC_EGRESS", None, 10)), (0, 0));
        assert_eq!(findings("NOT_SPECIFIED", Some("ip_mc_output"), 10), 0);
        assert_eq!(findings("NOT_SPECIFIED", Some("nf_queue"), 10), 0);
        assert_eq!(findings("NOT_SPECIFIED", Some("tun_net_xmit"), 10), 1);
    }

    #[test]
    fn few_of_the_datagrams_are_not_reported() {
        let mut sent = flow(ETH0, "10.9.0.2:6000", TO);
        (sent.key.outgoing, sent.datagrams) = (true, 100);
        let mut observation = membership(TO, vec![sent], 10);
        let drop = kernel_drop("FULL_RING", "10.9.0.2:6000", TO, 4);
        observation.kernel_drops.drops = vec![KernelDrop { arrived_on: None, ..drop }];
        assert_eq!(dropped_when_sending(&observation), []);
    }

    fn outcome(source: &str, hook: Hook, reached: u64, passed: u64) -> usize {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.hooks.counts.push(HookCount {
            layer: Layer::Ip,
            hook,
            traffic: CountedTraffic::Datagrams(TO.parse().unwrap()),
            interface: ETH0,
            peer: source.parse().unwrap(),
            reached,
            passed,
        });
        firewall_drops_output(&observation).len()
    }

    #[test]
    fn only_own_datagrams_that_do_not_pass_are_reported() {
        assert_eq!(outcome("10.9.0.2:6000", Hook::Output, 10, 0), 1);
        assert_eq!(outcome("10.9.0.2:6000", Hook::Postrouting, 10, 5), 1);
        assert_eq!(outcome("10.9.0.2:6000", Hook::Output, 10, 10), 0);
        assert_eq!(outcome("10.9.0.2:6000", Hook::Output, 100, 99), 0, "one that was on its way");
        assert_eq!(outcome("10.9.0.1:6000", Hook::Postrouting, 10, 0), 0, "forwarded");
        assert_eq!(outcome("10.9.0.2:6000", Hook::Input, 10, 0), 0, "its own copy");
    }
}
