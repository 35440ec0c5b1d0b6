//! The membership names sources, and the one that sends is not admitted.

use crate::observation::{Observation, Wanted};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let flows = seen.arrivals(wanted);
    let refused: Vec<_> = flows.iter().filter(|flow| !wanted.sources.admits(flow.key.source.ip())).collect();
    // If somebody admitted sends, too, the filter does what it is for.
    if wanted.sources.is_any() || refused.is_empty() || refused.len() < flows.len() {
        return None;
    }
    let mut sources: Vec<_> = refused.iter().map(|flow| flow.key.source.ip()).collect();
    sources.sort_unstable();
    sources.dedup();
    let text: Vec<_> = sources.iter().map(ToString::to_string).collect();
    let text = text.join(", ");
    let interface = seen.link_name(wanted.interface);
    let count: u64 = refused.iter().map(|flow| flow.datagrams).sum();
    let listed: Vec<_> = wanted.sources.sources().map(|source| source.to_string()).collect();
    let mode = if wanted.sources.admits([0, 0, 0, 0].into()) { "all but" } else { "only" };
    let to = wanted.destination();
    let finding = Finding::new(
        Id::SourceNotAdmitted,
        Severity::Fault,
        format!("{text} sends to {to}, but the membership admits {mode} {}.", listed.join(", ")),
    )
    .on(&interface)
    .of(to)
    .from(&text)
    .because(Evidence::new(Sort::Packet, &interface, format!("{count} datagrams from {text} to {to}")))
    .because(Evidence::new(Sort::Table, "/proc/net/mcfilter", format!("{mode} {}", listed.join(", "))))
    .remedied([
        Remedy::advice(Tool::Program, format!("Join with the source that really sends: {text}@{to}.")),
        Remedy::now(Tool::Mcast, format!("mcast recv {text}@{to}")),
    ]);
    Some(finding)
}
