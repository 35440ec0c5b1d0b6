//! The queue of the sending interface is full. `send` reports success; only the counters show the loss.

use mcast::Family;

use super::{Cause, Check};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::Observation;
use crate::snapshot::{Counter, Link, Queue};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 8085 section 4.1", "ip(7): IP_RECVERR"])
        .without_loss()
        .offering(|on| vec![enlarge_queue(&Queue { kind: "pfifo_fast".into(), dropped: 0 }, &on.link)]);

fn check(observation: &Observation) -> Vec<Finding> {
    observation.after.links.iter().filter_map(|link| judge(observation, link)).collect()
}

fn judge(observation: &Observation, link: &Link) -> Option<Finding> {
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
        "pfifo_fast" => Remedy::now(Tool::Ip, ["link", "set", "dev", link.name(), "txqueuelen", "10000"])
            .with_scope(RemedyScope::new(format!(
                "everything that leaves by {}: it may wait longer in the queue",
                link.name()
            ))),
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

/// Returns whether a flow belongs to the examined program or group.
fn is_examined(observation: &Observation, flow: &Flow) -> bool {
    if let Some(program) = observation.program() {
        return program.sends(flow);
    }
    observation.trial().is_some_and(|trial| trial.group().addr() == flow.key.group)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::machine;
    use super::*;

    #[test]
    fn queue_length_of_the_device_applies_only_to_pfifo_fast() {
        let link = &machine().links[1];
        let remedy = |kind: &str| enlarge_queue(&Queue { kind: kind.into(), dropped: 3 }, link).command();
        assert_eq!(remedy("pfifo_fast").unwrap(), "ip link set dev eth0 txqueuelen 10000");
        assert_eq!((remedy("tbf"), remedy("fq_codel")), (None, None));
    }
}
