//! 32 IPv4 groups share an Ethernet address: devices and simple switches cannot tell them apart.

use mcast::Group;

use crate::observation::{Observation, Wanted};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut wanted = seen.wanted();
    wanted.dedup_by_key(|wanted| (wanted.group, wanted.interface));
    wanted
        .iter()
        .flat_map(|wanted| like_control(seen, wanted).into_iter().chain(like_others(seen, wanted)))
        .collect()
}

/// Like one of 224.0.0.x, which switches flood.
fn like_control(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let control = wanted.group.control_alias()?;
    Some(finding(
        seen,
        wanted,
        format!(
            "{} has the Ethernet address of {control}, so switches flood it to every port.",
            wanted.group
        ),
        Evidence::new(
            Sort::Packet,
            wanted.group.ethernet_address().to_string(),
            format!("{} and {control}", wanted.group),
        ),
    ))
}

/// Like another group that is on the same wire.
fn like_others(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let address = wanted.group.ethernet_address();
    let alias = seen.wire.flows.iter().find_map(|flow| {
        let group = Group::new(flow.key.group).ok()?;
        let here = flow.key.interface == wanted.interface && !flow.key.outgoing;
        let unwanted = group != wanted.group && !seen.after.is_joined(group.addr(), wanted.interface);
        (here && unwanted && group.ethernet_address() == address).then_some((group, flow))
    });
    let (group, flow) = alias?;
    Some(finding(
        seen,
        wanted,
        format!(
            "{group}, which nobody here has joined, comes in with {}: they share an Ethernet address.",
            wanted.group
        ),
        Evidence::new(
            Sort::Packet,
            seen.link_name(wanted.interface),
            format!("{} datagrams from {} to {group}, {address}", flow.datagrams, flow.key.source),
        ),
    ))
}

fn finding(seen: &Observation, wanted: &Wanted<'_>, cause: String, evidence: Evidence) -> Finding {
    Finding::new(Id::MacAlias, Severity::Warning, cause)
        .on(seen.link_name(wanted.interface))
        .of(wanted.group)
        .because(evidence)
        .remedied([
            Remedy::advice(
                Tool::Network,
                "Choose a group whose low 23 bits no other group in use has, and not x.0.0.y or x.128.0.y.",
            ),
            Remedy::now(Tool::Mcast, "mcast pick NAME"),
        ])
}
