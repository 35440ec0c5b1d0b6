//! Datagrams come in pieces, and pieces are missing: on the way, or in front of the IP layer.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast::{Group, SourceFilter};

use crate::observation::{About, Observation, Wanted};
use crate::snapshot::Counter;
use crate::wire::Pieces;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

/// So late a piece is not coming any more.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut wanted = seen.wanted();
    if matches!(seen.about, About::File) {
        wanted = everything(seen);
    }
    wanted.iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

/// In a capture, every group that comes in pieces.
fn everything(seen: &Observation) -> Vec<Wanted<'_>> {
    static ANY: SourceFilter = SourceFilter::ANY;
    let ports: BTreeSet<_> = seen
        .wire
        .pieces
        .iter()
        .filter_map(|pieces| Some((pieces.interface, Group::new(pieces.group).ok()?, pieces.port?)))
        .collect();
    let wanted = |(interface, group, port)| Wanted { group, port, interface, sources: &ANY, socket: None };
    ports.into_iter().map(wanted).collect()
}

/// Whether most of what was complete on the wire is missing at the socket. Connection tracking puts IPv6
/// together without a count, so of another program's socket the counters say nothing then.
fn are_unheard(seen: &Observation, wanted: &Wanted<'_>, all: &[&Pieces], complete: u64) -> bool {
    let Some(asked) = seen.asked() else { return wanted.group.addr().is_ipv4() };
    let sources: BTreeSet<_> = all.iter().map(|pieces| pieces.source).collect();
    let heard = asked
        .heard
        .iter()
        .filter(|heard| heard.interface == wanted.interface && sources.contains(&heard.source.ip()));
    heard.map(|heard| heard.datagrams).sum::<u64>() * 2 < complete
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let (_, until) = seen.wire.span?;
    let here = |pieces: &&Pieces| {
        !pieces.outgoing
            && pieces.interface == wanted.interface
            && pieces.group == wanted.group.addr()
            && pieces.port.is_none_or(|port| port == wanted.port)
    };
    let all: Vec<_> = seen.wire.pieces.iter().filter(here).collect();
    let complete = all.iter().filter(|pieces| pieces.is_complete()).count() as u64;
    let broken = all
        .iter()
        .filter(|pieces| {
            !pieces.is_complete() && until.duration_since(pieces.last).is_ok_and(|ago| ago >= PATIENCE)
        })
        .count() as u64;
    let assembled = seen.rise(Counter::Reassembled, wanted.family());
    let unassembled = complete.saturating_sub(assembled.unwrap_or(complete));
    let on_the_way =
        broken > 0 && broken * 20 >= complete + broken && seen.wire.is_complete(wanted.interface);
    let in_front = complete > 0 && unassembled * 2 >= complete && are_unheard(seen, wanted, &all, complete);
    if !on_the_way && !in_front {
        return None;
    }
    let interface = seen.link_name(wanted.interface);
    let where_lost = if on_the_way {
        "on the way here"
    } else {
        "between the wire and the IP layer, where a filter drops them"
    };
    let source = all.first().map(|pieces| pieces.source)?;
    let counters = [Counter::ReassemblyRequests, Counter::Reassembled].into_iter().filter_map(|counter| {
        let name = counter.name(wanted.family());
        let (before, after) = seen.values(name)?;
        Some(Evidence::change(Sort::Counter, name, before, after))
    });
    let largest = if wanted.group.addr().is_ipv4() { 1472 } else { 1452 };
    let finding = Finding::new(
        Id::FragmentsLost,
        Severity::Fault,
        format!("Datagrams to {} are larger than a packet and come in pieces, of which some are lost {where_lost}.", wanted.destination()),
    )
    .on(&interface)
    .of(wanted.destination())
    .from(source)
    .because(Evidence::new(Sort::Packet, &interface, format!("{complete} datagrams with all their pieces, {broken} without")))
    .because_all(counters)
    .remedied([
        Remedy::advice(Tool::Program, format!("Send no more than {largest} bytes a datagram on Ethernet, so that nothing is cut in pieces.")),
        Remedy::advice(Tool::Network, "Let fragments pass the filters on the way: later ones carry no port."),
    ]);
    Some(finding)
}
