//! The network delivers datagrams twice on one interface (a loop, a mirrored port, a relay, two bridges), or
//! the sender sends them twice.

use std::collections::BTreeSet;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 7761 section 4.6"]).without_loss();

/// The number of distinct payloads above which a sender is unlikely to merely repeat itself.
const MIN_PAYLOADS: usize = 5;

fn check(observation: &Observation) -> Vec<Finding> {
    let mut reported = BTreeSet::new();
    let doubled =
        observation.all_arrivals().into_iter().filter(|flow| is_doubled(flow) && reported.insert(flow.key));
    doubled.map(|flow| finding(observation, flow)).collect()
}

/// Returns whether at least 40 % of the originals were repeated.
fn is_doubled(flow: &Flow) -> bool {
    let originals = flow.datagrams.saturating_sub(flow.repeats);
    flow.payloads.len() >= MIN_PAYLOADS && flow.repeats * 5 >= originals * 2
}

fn finding(observation: &Observation, flow: &Flow) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = observation.link_name(flow.key.interface);
    let difference = if flow.repeats_by_other_path > 0 {
        "by another path: the hop limit or Ethernet source differs"
    } else {
        "with the same hop limit and Ethernet source"
    };
    Finding::new(
        Id::DuplicatePath,
        if flow.repeats_by_other_path > 0 { Severity::Fault } else { Severity::Warning },
        format!("{} of {} datagrams from {source} to {to} arrived a second time, {difference}.", flow.repeats, flow.datagrams),
    )
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams, {} repeated, hop limit {} to {}", flow.datagrams, flow.repeats, flow.hop_limits.0, flow.hop_limits.1))
    .evidence(EvidenceKind::Packet, format!("{interface} Ethernet sources"), flow.mac_list())
    .advise(Tool::Network, "Look for a loop between switches (enable spanning tree), a mirrored port, or a relay or second router that also forwards the group.").advise(Tool::Program, "If the sender sends on two interfaces of one network, choose one of them (IP_MULTICAST_IF).")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::{ETH0, datagram, flow, membership};
    use super::*;
    use crate::wire::DatagramSummary;

    const TO: &str = "239.1.2.3:5000";

    /// Returns the number of findings for these payloads, with or without IPv4 identification.
    fn outcome(payloads: impl IntoIterator<Item = u64>, numbered: bool) -> usize {
        let first = flow(ETH0, "10.9.0.1:6000", TO);
        let summary = |(count, hash): (u16, u64)| DatagramSummary {
            identification: if numbered { count + 1 } else { 0 },
            ..datagram(first.first + Duration::from_millis(u64::from(count)), hash)
        };
        let summaries: Vec<_> = (0..).zip(payloads).map(summary).collect();
        let mut repeating = Flow::new(first.key, &summaries[0]);
        summaries.into_iter().for_each(|summary| repeating.add(summary));
        check(&membership(TO, vec![repeating], 0)).len()
    }

    #[test]
    fn each_payload_twice_in_a_row_is_a_duplicate() {
        assert_eq!(outcome((0..20).flat_map(|hash| [hash, hash]), false), 1);
    }

    #[test]
    fn sender_that_repeats_itself_is_not_a_duplicate_path() {
        assert_eq!(outcome([7; 50], false), 0, "always the same");
        assert_eq!(outcome((0..100).map(|count| count % 10), false), 0, "alternating");
        assert_eq!(outcome((0..20).flat_map(|hash| [hash, hash]), true), 0, "with distinct identifications");
    }
}
