//! The membership names sources, and does not admit the one that sends.

use super::membership_limit;
use super::{Cause, Check, Placeholders};
use crate::finding::list;
use crate::observation::{Interest, Observation};
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 9776 section 3.2"]).offering(|on| {
        let any = mcast::SourceFilter::Include([].into());
        let admit = remedies::socket::admit(on.to.ip(), Placeholders::INDEX, Placeholders::SOURCE, &any);
        on.on_socket(admit.as_slice())
    });

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.arrivals(interest);
    let refused: Vec<_> =
        flows.iter().filter(|flow| !interest.sources.admits(flow.key.source.ip())).collect();
    // If an admitted source sends as well, the filter works as intended.
    if interest.sources.is_any() || refused.is_empty() || refused.len() < flows.len() {
        return None;
    }
    // The program may have requested this source and been refused: see membership-limit.
    if interest.socket.is_some() && membership_limit::is_full_of_sources(observation, interest.sources) {
        return None;
    }
    let mut sources: Vec<_> = refused.iter().map(|flow| flow.key.source.ip()).collect();
    sources.sort_unstable();
    sources.dedup();
    let text = list(&sources);
    let interface = observation.link_name(interest.interface);
    let count: u64 = refused.iter().map(|flow| flow.datagrams).sum();
    let listed = list(interest.sources.sources());
    let mode = if interest.sources.admits([0, 0, 0, 0].into()) { "all but" } else { "only" };
    let to = interest.destination();
    let finding = Finding::fault(
        Id::SourceNotAdmitted,
        format!("{text} sends to {to}, but the membership admits {mode} {listed}."),
    )
    .on_interface(&interface)
    .for_group(to)
    .from_source(&text)
    .evidence(EvidenceKind::Packet, &interface, format!("{count} datagrams from {text} to {to}"))
    .evidence(EvidenceKind::Table, "/proc/net/mcfilter", format!("{mode} {listed}"))
    .with_remedies(interest.socket.and_then(|socket| {
        let admit = |source: &std::net::IpAddr| {
            remedies::socket::admit(to.ip(), interest.interface, *source, interest.sources)
        };
        remedies::socket::change(socket, &sources.iter().filter_map(admit).collect::<Vec<_>>())
    }))
    .advise(Tool::Program, format!("Join with the source that actually sends: {text}@{to}."))
    .with_remedies([remedies::mcast::recv_from(&sources, to)]);
    Some(finding)
}
