//! How far the datagrams came, and what stays unknown: told beside the findings.

use std::net::IpAddr;

use crate::observation::{Observation, Wanted};
use crate::snapshot::Counter;
use crate::wire::{Flow, Said};
use crate::{Report, Seen, Unknown};

/// More flows than this are counted and not listed.
const LISTED: usize = 20;

pub(super) fn of(seen: &Observation, report: &mut Report) {
    tell_wire(seen, report);
    tell_queriers(seen, report);
    tell_counters(seen, report);
    tell_socket(seen, report);
    note_refused_taps(seen, report);
    note_unexplained_loss(seen, report);
}

fn tell_wire(seen: &Observation, report: &mut Report) {
    let groups: Vec<IpAddr> = seen.wanted().iter().map(|wanted| wanted.group.addr()).collect();
    let of_interest = |flow: &&Flow| seen.asked().is_none() || groups.contains(&flow.key.group);
    let mut flows: Vec<_> = seen.wire.flows.iter().filter(of_interest).collect();
    flows.sort_by_key(|flow| (!groups.contains(&flow.key.group), std::cmp::Reverse(flow.datagrams)));
    report.observations.extend(flows.iter().take(LISTED).map(|flow| {
        let way = if flow.key.outgoing { "out" } else { "in" };
        Seen::new(
            format!("wire {}", seen.link_name(flow.key.interface)),
            format!(
                "{} datagrams {way} from {} to {}, hop limit {}",
                flow.datagrams,
                flow.key.source,
                flow.destination(),
                flow.hop_limits.1
            ),
        )
    }));
    if flows.len() > LISTED {
        report.observations.push(Seen::new("wire", format!("and {} more flows", flows.len() - LISTED)));
    }
    for tap in seen.wire.taps.iter().filter(|tap| tap.dropped > 0) {
        report.observations.push(Seen::new(
            format!("wire {}", tap.name),
            format!("{} frames came too fast to be looked at", tap.dropped),
        ));
    }
}

fn tell_queriers(seen: &Observation, report: &mut Report) {
    let mut told = Vec::new();
    for control in &seen.wire.control {
        let Said::Query { version, group: None, .. } = control.said else { continue };
        let place = (control.interface, control.source);
        if !told.contains(&place) {
            told.push(place);
            let protocol = if control.source.is_ipv4() { "IGMP" } else { "MLD" };
            report.observations.push(Seen::new(
                format!("wire {}", seen.link_name(control.interface)),
                format!("{protocol}v{version} querier {}", control.source),
            ));
        }
    }
    let mut interfaces = Vec::new();
    for wanted in seen.wanted() {
        let v4 = wanted.group.addr().is_ipv4();
        if told.iter().any(|(interface, source)| *interface == wanted.interface && source.is_ipv4() == v4) {
            continue;
        }
        if !interfaces.contains(&(wanted.interface, v4)) {
            interfaces.push((wanted.interface, v4));
            report.unknown.extend(unknown_querier(seen, &wanted));
        }
    }
}

/// Queriers ask so seldom that a short silence says nothing.
fn unknown_querier(seen: &Observation, wanted: &Wanted<'_>) -> Option<Unknown> {
    let link = seen.link(wanted.interface).filter(|link| !link.loopback)?;
    let patience = seen.options.query_interval.mul_f64(1.08);
    if seen.listened() >= patience || wanted.group.scope().stays_on_link() || !seen.wire.is_tapped(link.index)
    {
        return None;
    }
    let (protocol, known) = if wanted.group.addr().is_ipv4() {
        ("IGMP", String::new())
    } else {
        let queries = seen.after.counters.value("Icmp6InGroupMembQueries").unwrap_or_default();
        ("MLD", format!(", {queries} since the system started"))
    };
    let why = format!(
        "no {protocol} query in {} s{known}; queriers ask every {} s",
        seen.listened().as_secs(),
        seen.options.query_interval.as_secs()
    );
    Some(Unknown::new(format!("whether the network of {} has a querier", link.name), why).until(patience))
}

fn tell_counters(seen: &Observation, report: &mut Report) {
    let Some(wanted) = seen.wanted().first().copied() else { return };
    let family = wanted.family();
    let counters = [
        Counter::InReceives,
        Counter::InMulticast,
        Counter::InDelivers,
        Counter::IgnoredMulticast,
        Counter::ReceiveBufferErrors,
        Counter::ChecksumErrors,
    ];
    for counter in counters {
        if let Some((before, after)) =
            seen.values(counter.name(family)).filter(|(before, after)| after > before)
        {
            report
                .observations
                .push(Seen::new("IP layer", format!("{} +{}", counter.name(family), after - before)));
        }
    }
}

fn tell_socket(seen: &Observation, report: &mut Report) {
    let Some(asked) = seen.asked() else { return };
    if asked.joined.is_empty() {
        return;
    }
    for heard in &asked.heard {
        report.observations.push(Seen::new(
            "socket",
            format!(
                "{} datagrams from {} by {}",
                heard.datagrams,
                heard.source,
                seen.link_name(heard.interface)
            ),
        ));
    }
    if asked.heard.is_empty() {
        report.observations.push(Seen::new("socket", "nothing"));
    }
}

fn note_refused_taps(seen: &Observation, report: &mut Report) {
    for tap in &seen.wire.taps {
        if let Some(why) = &tap.refused {
            report.unknown.push(Unknown::new(format!("what the wire at {} has", tap.name), why));
        }
    }
}

/// Datagrams that got lost for a reason that no cause explains.
fn note_unexplained_loss(seen: &Observation, report: &mut Report) {
    let explained = report.findings.iter().any(|finding| finding.severity > crate::Severity::Note);
    if explained {
        return;
    }
    for wanted in seen.wanted() {
        if let Some(lost) = seen.lost(&wanted).filter(|lost| lost.is_serious()) {
            report.unknown.push(Unknown::new(
                format!(
                    "where {} of {} datagrams to {} got lost",
                    lost.count(),
                    lost.expected,
                    wanted.destination()
                ),
                format!(
                    "they came by {} and did not reach the socket, and no counter says why",
                    seen.link_name(wanted.interface)
                ),
            ));
        }
    }
}
