//! The network delivers datagrams twice on one interface: a loop, a mirrored port, a relay, two bridges;
//! or the sender sends them twice.

use std::collections::BTreeSet;

use crate::observation::{About, Observation};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

/// So many different payloads make it unlikely that a sender only repeats itself.
const VARIETY: usize = 5;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    let mut flows: Vec<_> = wanted.iter().flat_map(|wanted| seen.arrivals(wanted)).collect();
    if matches!(seen.about, About::File) {
        flows.extend(seen.wire.flows.iter().filter(|flow| !flow.key.outgoing));
    }
    let mut told = BTreeSet::new();
    let doubled = flows.into_iter().filter(|flow| is_doubled(flow) && told.insert(flow.key));
    doubled.map(|flow| finding(seen, flow)).collect()
}

/// At least two in five of the originals were repeated.
fn is_doubled(flow: &Flow) -> bool {
    let originals = flow.datagrams.saturating_sub(flow.repeats);
    flow.payloads.len() >= VARIETY && flow.repeats * 5 >= originals * 2
}

fn finding(seen: &Observation, flow: &Flow) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = seen.link_name(flow.key.interface);
    let times = if flow.repeats_by_other_way > 0 {
        "by another way, as its hop limit or Ethernet sender differs"
    } else {
        "with the same hop limit and Ethernet sender"
    };
    let macs: Vec<_> = flow.macs.iter().map(ToString::to_string).collect();
    Finding::new(
        Id::DuplicatePath,
        if flow.repeats_by_other_way > 0 { Severity::Fault } else { Severity::Warning },
        format!("{} of {} datagrams from {source} to {to} came a second time, {times}.", flow.repeats, flow.datagrams),
    )
    .on(&interface)
    .of(to)
    .from(source)
    .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams, {} repeated, hop limit {} to {}", flow.datagrams, flow.repeats, flow.hop_limits.0, flow.hop_limits.1)))
    .because(Evidence::new(Sort::Packet, format!("{interface} Ethernet senders"), macs.join(", ")))
    .remedied([
        Remedy::advice(Tool::Network, "Look for a loop between switches (switch spanning tree on), a mirrored port, or a relay or second router that forwards the group, too."),
        Remedy::advice(Tool::Program, "A sender that leaves by two interfaces of one network sends twice: choose one (IP_MULTICAST_IF)."),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::invent::{ETH0, flow, membership};
    use super::*;
    use crate::wire::Look;

    const TO: &str = "239.1.2.3:5000";

    /// Datagrams of these payloads, numbered by the sender or not.
    fn found(payloads: impl IntoIterator<Item = u64>, numbered: bool) -> usize {
        let first = flow(ETH0, "10.9.0.1:6000", TO);
        let look = |(count, hash): (u16, u64)| Look {
            time: first.first + Duration::from_millis(u64::from(count)),
            mac: None,
            hop_limit: 4,
            number: if numbered { count + 1 } else { 0 },
            hash,
            length: 100,
            bad_checksum: false,
            fragmented: false,
        };
        let looks: Vec<_> = (0..).zip(payloads).map(look).collect();
        let mut repeating = Flow::new(first.key, &looks[0]);
        looks.into_iter().for_each(|look| repeating.add(look));
        check(&membership(TO, vec![repeating], 0)).len()
    }

    #[test]
    fn each_payload_twice_in_a_row_is_a_repetition() {
        assert_eq!(found((0..20).flat_map(|hash| [hash, hash]), false), 1);
    }

    #[test]
    fn a_sender_that_repeats_itself_is_none() {
        assert_eq!(found([7; 50], false), 0, "always the same");
        assert_eq!(found((0..100).map(|count| count % 10), false), 0, "in turns");
        assert_eq!(found((0..20).flat_map(|hash| [hash, hash]), true), 0, "with numbers of their own");
    }
}
