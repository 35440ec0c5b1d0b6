//! Two queriers send queries on one network, although the one with the higher address must be silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::observation::{Observation, protocol};
use crate::wire::{ControlMessage, Tagging};
use crate::{Evidence, EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 9776 section 6.6.2", "RFC 4541 section 2.1.1"])
        .without_loss();

/// The general queries of one querier.
#[derive(Default)]
struct Querier {
    times: Vec<SystemTime>,
    versions: BTreeSet<u8>,
}

fn check(observation: &Observation) -> Vec<Finding> {
    let mut networks = BTreeMap::<(InterfaceIndex, Option<Tagging>, bool), BTreeMap<IpAddr, Querier>>::new();
    for packet in &observation.wire.control {
        // Queries without a source are those of switches, which do not take part in the election.
        if let ControlMessage::Query { version, group: None, .. } = packet.message
            && !packet.source.is_unspecified()
        {
            let network = (packet.interface, packet.vlan, packet.source.is_ipv4());
            let querier = networks.entry(network).or_default().entry(packet.source).or_default();
            querier.times.push(packet.time);
            querier.versions.insert(version);
        }
    }
    let judged = networks.into_iter().filter_map(|((interface, ..), queriers)| {
        let mut queriers = queriers.into_iter();
        let elected = queriers.next()?;
        let other = queriers.find(|(_, other)| keeps_querying(&elected.1, other))?;
        Some(finding(observation, interface, &elected, &other))
    });
    judged.collect()
}

/// Returns whether the other querier sent queries after it must have received one of the elected querier. One query may have been on
/// its way.
fn keeps_querying(elected: &Querier, other: &Querier) -> bool {
    const NOTICED_WITHIN: Duration = Duration::from_millis(100);
    let first = elected.times.iter().min().copied();
    let later = |time: &&SystemTime| {
        first.is_some_and(|first| time.duration_since(first).is_ok_and(|since| since >= NOTICED_WITHIN))
    };
    other.times.iter().filter(later).count() >= 2
}

fn finding(
    observation: &Observation,
    interface: InterfaceIndex,
    elected: &(IpAddr, Querier),
    other: &(IpAddr, Querier),
) -> Finding {
    let interface = observation.link_name(interface);
    let protocol = protocol(mcast::Family::of(elected.0));
    let queries = |(source, querier): &(IpAddr, Querier)| {
        let versions: Vec<_> =
            querier.versions.iter().map(|version| format!("{protocol}v{version}")).collect();
        let text = format!("{} {} queries from {source}", querier.times.len(), versions.join(" and "));
        Evidence::new(EvidenceKind::Packet, &interface, text)
    };
    let mixed = if elected.1.versions == other.1.versions {
        ""
    } else {
        " They use different versions, so hosts fall back to the older one."
    };
    Finding::warning(
        Id::TwoQueriers,
        format!("{} and {} both send {protocol} queries on the network of {interface}: {} does not receive those of {}, or ignores them.{mixed}", elected.0, other.0, other.0, elected.0),
    )
    .on_interface(&interface)
    .from_source(other.0)
    .with_evidence(queries(elected))
    .with_evidence(queries(other))
    .advise(Tool::Network, format!("Disable the querier on {}, or let the queries of {} reach it: a filter or a switch between them drops {protocol}.", other.0, elected.0)).advise(Tool::Network, "If they belong to two networks, the networks are connected where they should not be: look for a cable or a VLAN that joins them.")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{control, membership, query};
    use super::*;

    /// Returns whether queries from these sources, one every 30 s, are reported.
    fn is_reported(sources: &[&str]) -> bool {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        let (start, _) = observation.wire.span.unwrap();
        for (number, source) in (0_u32..).zip(sources) {
            let time = start + Duration::from_secs(30) * number;
            observation.wire.control.push(control(time, source, query(2, None)));
        }
        !check(&observation).is_empty()
    }

    #[test]
    fn higher_address_must_stop_after_the_first_query_of_the_lower_one() {
        assert!(is_reported(&["10.9.0.1", "10.9.0.2", "10.9.0.1", "10.9.0.2"]));
        assert!(is_reported(&["fe80::1", "fe80::2", "fe80::2"]));
        assert!(!is_reported(&["10.9.0.2", "10.9.0.2", "10.9.0.1", "10.9.0.1"]), "the other took over");
        assert!(!is_reported(&["10.9.0.1", "10.9.0.2", "10.9.0.1"]), "one query was on its way");
        assert!(!is_reported(&["0.0.0.0", "10.9.0.2", "0.0.0.0", "10.9.0.2"]), "a switch without an address");
    }
}
