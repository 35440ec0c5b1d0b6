//! The queue of the sending interface is full. `send` says that all is well; only the counters know.

use mcast::Family;

use crate::observation::Observation;
use crate::snapshot::{Counter, Link, Queue};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.after.links.iter().filter_map(|link| judge(seen, link)).collect()
}

fn judge(seen: &Observation, link: &Link) -> Option<Finding> {
    let (queue, before) = dropping_queue(seen, link)?;
    let sends = |flow: &&crate::wire::Flow| {
        flow.key.outgoing && flow.key.interface == link.index && is_examined(seen, flow)
    };
    let flow = seen.wire.flows.iter().find(sends)?;
    // The queue may as well have dropped somebody's TCP: UDP must have noticed.
    let noticed = seen.rise(Counter::SendBufferErrors, Family::of(flow.key.group));
    noticed.filter(|rise| *rise > 0)?;
    let errors = [Family::V4, Family::V6].into_iter().flat_map(|family| {
        [Counter::OutDiscards, Counter::SendBufferErrors].into_iter().filter_map(move |counter| {
            let (before, after) = seen.values(counter.name(family))?;
            (after > before).then(|| Evidence::change(Sort::Counter, counter.name(family), before, after))
        })
    });
    let lost = queue.dropped - before;
    let finding = Finding::new(
        Id::SenderQueueDrops,
        Severity::Fault,
        format!("The queue of {} ({}) is full: {lost} packets were dropped on the way out, {} among those who send.", link.name, queue.kind, flow.destination()),
    )
    .on(&link.name)
    .of(flow.destination())
    .from(flow.key.source)
    .because(Evidence::change(Sort::Counter, format!("tc -s qdisc show dev {}, dropped", link.name), before, queue.dropped))
    .because_all(errors)
    .remedied([
        Remedy::advice(Tool::Program, "Send more evenly, at less than the interface can; set IP_RECVERR (IPV6_RECVERR), and send says ENOBUFS when the queue is full."),
        Remedy::now(Tool::Ip, format!("ip link set {} txqueuelen 10000", link.name)),
    ]);
    Some(finding)
}

fn dropping_queue<'a>(seen: &Observation, link: &'a Link) -> Option<(&'a Queue, u64)> {
    let before = seen.before.link(link.index)?;
    link.queues.iter().find_map(|queue| {
        let before = before.queues.iter().find(|before| before.kind == queue.kind)?.dropped;
        (queue.dropped > before).then_some((queue, before))
    })
}

/// Whether a flow is of the program or the group that is examined.
fn is_examined(seen: &Observation, flow: &crate::wire::Flow) -> bool {
    if let Some(program) = seen.program() {
        return program
            .sockets
            .iter()
            .any(|socket| socket.local.is_some_and(|local| local.port() == flow.key.source.port()));
    }
    seen.asked().is_some_and(|asked| asked.group.addr() == flow.key.group)
}
