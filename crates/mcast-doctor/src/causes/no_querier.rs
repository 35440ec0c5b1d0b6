//! Nobody asks who is a member. Switches that snoop forget a member that they have not heard from for
//! the membership interval, and hosts only speak again when they are asked.

use std::time::Duration;

use crate::observation::{Observation, Wanted};
use crate::wire::{Flow, Said};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

/// A flow must have run so long and so densely that its end is a stop and no pause.
const ESTABLISHED: u64 = 10;
const SILENCE: Duration = Duration::from_secs(2);

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let link = seen.link(wanted.interface)?;
    let listened = seen.listened();
    let asked = seen.wire.queries(wanted.interface, wanted.group.addr().is_ipv4()).next().is_some();
    let patience = seen.options.query_interval.mul_f64(1.08);
    if link.loopback
        || asked
        || listened < patience
        || !seen.wire.is_complete(wanted.interface)
        || !is_snooped(wanted)
    {
        return None;
    }
    let flows = seen.arrivals(wanted);
    let stopped = flows.iter().find(|flow| has_stopped(seen, flow));
    let finding = match stopped {
        Some(flow) => stop(seen, wanted, flow),
        // What comes all the same does not hang on a querier.
        None if !flows.is_empty() => return None,
        None => Finding::new(
            Id::NoQuerier,
            Severity::Warning,
            format!(
                "Nobody on {} asked for members in {} s: a switch that snoops would have forgotten this one.",
                link.name,
                listened.as_secs()
            ),
        ),
    };
    let protocol = if wanted.group.addr().is_ipv4() { "IGMP" } else { "MLD" };
    Some(
        finding
            .on(&link.name)
            .of(wanted.destination())
            .because(Evidence::new(Sort::Packet, &link.name, format!("no {protocol} query in {} s", listened.as_secs())))
            .remedied([
                Remedy::advice(Tool::Network, "Switch on the querier on a switch or router of this network (on a switch often \"igmp snooping querier\")."),
                Remedy::advice(Tool::Network, "On a Linux bridge: ip link set BRIDGE type bridge mcast_querier 1."),
                Remedy::now(Tool::Mcast, format!("mcast querier --become -i {}", link.name)),
            ]),
    )
}

fn stop(seen: &Observation, wanted: &Wanted<'_>, flow: &Flow) -> Finding {
    let ran = flow.last.duration_since(last_report(seen, wanted).unwrap_or(flow.first)).unwrap_or_default();
    // At another moment the sender may simply have ended.
    let interval = seen.options.membership_interval;
    let on_time = ran >= interval.mul_f64(0.5) && ran <= interval.mul_f64(1.5);
    let severity = if on_time { Severity::Fault } else { Severity::Warning };
    let cause = format!(
        "{} stopped {} s after the last report about it, and nobody asks for members: the switch has forgotten this one.",
        wanted.destination(),
        ran.as_secs()
    );
    Finding::new(Id::NoQuerier, severity, cause).from(flow.key.source).because(Evidence::new(
        Sort::Packet,
        seen.link_name(wanted.interface),
        format!("{} datagrams, then none", flow.datagrams),
    ))
}

fn last_report(seen: &Observation, wanted: &Wanted<'_>) -> Option<std::time::SystemTime> {
    let about = |said: &Said| matches!(said, Said::Report { wanted: groups, .. } if groups.contains(&wanted.group.addr()));
    let own =
        seen.wire.control.iter().filter(|control| {
            control.outgoing && control.interface == wanted.interface && about(&control.said)
        });
    own.map(|control| control.time).max()
}

fn has_stopped(seen: &Observation, flow: &Flow) -> bool {
    let Some((_, until)) = seen.wire.span else { return false };
    let silence = until.duration_since(flow.last).unwrap_or_default();
    flow.datagrams >= ESTABLISHED && silence >= SILENCE.max(flow.longest_pause * 5)
}

/// Groups of the link are flooded by switches, not snooped (RFC 4541 section 2.1.2).
fn is_snooped(wanted: &Wanted<'_>) -> bool {
    !wanted.group.scope().stays_on_link()
}
