//! Joined on two interfaces of one network, every datagram comes twice.

use std::collections::BTreeSet;

use crate::observation::{Observation, Wanted};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for (position, one) in wanted.iter().enumerate() {
        for other in &wanted[position + 1..] {
            let same = one.group == other.group && one.port == other.port && one.interface != other.interface;
            if same
                && same_socket(one, other)
                && let Some((first, second)) = twice(seen, one, other)
                && told.insert((first.key.source, one.destination()))
            {
                findings.push(finding(seen, first, second));
            }
        }
    }
    findings
}

fn same_socket(one: &Wanted<'_>, other: &Wanted<'_>) -> bool {
    one.socket.map(|socket| socket.inode) == other.socket.map(|socket| socket.inode)
}

/// The same datagrams of one sender by both interfaces.
fn twice<'a>(seen: &'a Observation, one: &Wanted<'_>, other: &Wanted<'_>) -> Option<(&'a Flow, &'a Flow)> {
    let seconds = seen.expected(other);
    seen.expected(one).into_iter().find_map(|first| {
        let second = seconds.iter().find(|second| second.key.source == first.key.source)?;
        let common = first.payloads.intersection(&second.payloads).count();
        (common * 2 >= first.payloads.len().min(second.payloads.len())).then_some((first, *second))
    })
}

fn finding(seen: &Observation, first: &Flow, second: &Flow) -> Finding {
    let (one, other) = (seen.link_name(first.key.interface), seen.link_name(second.key.interface));
    let (source, to) = (first.key.source, first.destination());
    let count = |flow: &Flow| format!("{} datagrams from {source} to {to}", flow.datagrams);
    Finding::new(
        Id::DuplicateInterfaces,
        Severity::Fault,
        format!(
            "{to} was joined on {one} and on {other}, which are in one network: each datagram comes twice."
        ),
    )
    .on(&other)
    .of(to)
    .from(source)
    .because(Evidence::new(Sort::Packet, &one, count(first)))
    .because(Evidence::new(Sort::Packet, &other, count(second)))
    .remedied([
        Remedy::advice(
            Tool::Program,
            format!(
                "Join on one of them only, by its index: {} or {}.",
                first.key.interface, second.key.interface
            ),
        ),
        Remedy::now(Tool::Mcast, format!("mcast recv {}", named(to, &one))),
    ])
}

/// A membership on an interface as text.
fn named(to: std::net::SocketAddr, interface: &str) -> String {
    match to.ip() {
        std::net::IpAddr::V4(group) => format!("{group}%{interface}:{}", to.port()),
        std::net::IpAddr::V6(group) => format!("[{group}%{interface}]:{}", to.port()),
    }
}
