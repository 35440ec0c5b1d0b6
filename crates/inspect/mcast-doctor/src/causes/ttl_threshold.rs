//! This machine routes the group, but its threshold is not below the hop limit of the datagrams.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.1"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for route in &observation.after.multicast_routes {
        let Some(from) = &route.from else { continue };
        let flow = observation.wire.incoming(route.group).find(|flow| {
            flow.key.source.ip() == route.source
                && observation.link_name(flow.key.interface) == *from
                && flow.hop_limits.1 > 1
        });
        let Some(flow) = flow else { continue };
        // The kernel forwards only datagrams whose hop limit exceeds the threshold.
        let strict: Vec<_> =
            route.to.iter().filter(|(_, threshold)| *threshold >= flow.hop_limits.1).collect();
        let Some((interface, threshold)) = strict.first() else { continue };
        findings.push(
            Finding::fault(Id::TtlThreshold, format!(
                    "{} arrives with hop limit {}, but is forwarded to {interface} only with a hop limit above {threshold}.",
                    route.group, flow.hop_limits.1
                ))
            .on_interface(interface)
            .for_group(flow.destination())
            .from_source(flow.key.source)
            .evidence(
                EvidenceKind::Table,
                "/proc/net/ip_mr_cache",
                format!("{interface}, threshold {threshold}"),
            )
            .evidence(
                EvidenceKind::Packet,
                from,
                format!("hop limit {} to {}", flow.hop_limits.0, flow.hop_limits.1),
            )
            .advise(
                    Tool::Network,
                    format!(
                        "Lower the threshold of {interface} (smcroute: phyint {interface} ttl-threshold 1)."
                    ),
                ).advise(
                    Tool::Program,
                    format!("Or send with a hop limit above {threshold} (IP_MULTICAST_TTL)."),
                ),
        );
    }
    findings
}
