//! This machine routes the group, and asks for a higher hop limit than the datagrams have.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for route in &seen.after.multicast_routes {
        let Some(from) = &route.from else { continue };
        let flow = seen.wire.incoming(route.group).find(|flow| {
            flow.key.source.ip() == route.source
                && seen.link_name(flow.key.interface) == *from
                && flow.hop_limits.1 > 1
        });
        let Some(flow) = flow else { continue };
        // Forwarded is what exceeds the threshold.
        let strict: Vec<_> =
            route.to.iter().filter(|(_, threshold)| *threshold >= flow.hop_limits.1).collect();
        let Some((interface, threshold)) = strict.first() else { continue };
        findings.push(
            Finding::new(
                Id::TtlThreshold,
                Severity::Fault,
                format!(
                    "{} comes with hop limit {}, and is forwarded to {interface} only above {threshold}.",
                    route.group, flow.hop_limits.1
                ),
            )
            .on(interface)
            .of(flow.destination())
            .from(flow.key.source)
            .because(Evidence::new(
                Sort::Table,
                "/proc/net/ip_mr_cache",
                format!("{interface}, threshold {threshold}"),
            ))
            .because(Evidence::new(
                Sort::Packet,
                from,
                format!("hop limit {} to {}", flow.hop_limits.0, flow.hop_limits.1),
            ))
            .remedied([
                Remedy::advice(
                    Tool::Network,
                    format!(
                        "Lower the threshold of {interface} (smcroute: phyint {interface} ttl-threshold 1)."
                    ),
                ),
                Remedy::advice(
                    Tool::Program,
                    format!("Or send with a hop limit above {threshold} (IP_MULTICAST_TTL)."),
                ),
            ]),
        );
    }
    findings
}
