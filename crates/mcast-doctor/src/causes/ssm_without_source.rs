//! A group of the source-specific range was joined without a source: routers forward nothing for that.

use std::collections::BTreeSet;

use mcast::{ErrorKind, Group, SourceFilter};

use crate::observation::{About, Observation};
use crate::wire::Said;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    if let Some(asked) = seen.asked() {
        let refused = asked.failed_with(ErrorKind::SourceNeeded);
        let finding = refused.map(|failure| {
            finding(seen, asked.group, Some(asked.port)).because(Evidence::new(
                Sort::Answer,
                "join",
                &failure.text,
            ))
        });
        return finding.into_iter().collect();
    }
    if matches!(seen.about, About::File) {
        return reported(seen);
    }
    let mut wanted = seen.wanted();
    wanted.dedup_by_key(|wanted| (wanted.group, wanted.port));
    let wrong = wanted.iter().filter(|wanted| {
        wanted.group.is_source_specific() && matches!(wanted.sources, SourceFilter::Exclude(_))
    });
    wrong
        .map(|wanted| {
            let socket = wanted.socket.map_or(0, |socket| socket.inode);
            finding(seen, wanted.group, Some(wanted.port))
                .because(Evidence::new(
                    Sort::Socket,
                    format!("socket {socket}"),
                    format!("joined {} from any source", wanted.group),
                ))
                .by(seen.program().map_or("", |program| &program.name))
        })
        .collect()
}

/// Reports of older versions in a capture: they know no sources.
fn reported(seen: &Observation) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for control in &seen.wire.control {
        let Said::Report { version, wanted, .. } = &control.said else { continue };
        let newest = if control.source.is_ipv4() { 3 } else { 2 };
        for group in wanted.iter().filter_map(|group| Group::new(*group).ok()) {
            if group.is_source_specific() && *version < newest && told.insert((group, control.source)) {
                let evidence = format!("{} reports {group} in version {version}", control.source);
                findings.push(
                    finding(seen, group, None)
                        .because(Evidence::new(Sort::Packet, seen.link_name(control.interface), evidence))
                        .of(group),
                );
            }
        }
    }
    findings
}

fn finding(seen: &Observation, group: Group, port: Option<u16>) -> Finding {
    let sender = seen.wire.incoming(group.addr()).next().map(|flow| flow.key.source.ip());
    let source = sender.map_or_else(|| "SOURCE".to_owned(), |source| source.to_string());
    let packets = seen.wire.incoming(group.addr()).map(|flow| {
        Evidence::new(
            Sort::Packet,
            seen.link_name(flow.key.interface),
            format!("{} datagrams from {} to {}", flow.datagrams, flow.key.source, flow.destination()),
        )
    });
    let target = match port {
        Some(port) => std::net::SocketAddr::new(group.addr(), port).to_string(),
        None => format!("{group}:PORT"),
    };
    Finding::new(
        Id::SsmWithoutSource,
        Severity::Fault,
        format!("{group} is source-specific, and was joined without a source: routers forward nothing for that."),
    )
    .of(&target)
    .because_all(packets)
    .remedied([
        Remedy::now(Tool::Mcast, format!("mcast recv {source}@{target}")),
        Remedy::advice(Tool::Program, "Join with the sender's address (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP), or use a group outside 232.0.0.0/8 and ff3x::/32."),
    ])
}
