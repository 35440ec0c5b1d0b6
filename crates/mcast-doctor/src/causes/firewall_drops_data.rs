//! The datagrams reach the IP layer of this machine and not UDP: netfilter ate them.
//!
//! Behind the input hook of the firewall the IP layer counts what it delivers. What it took for its own
//! before (`InMcastPkts`) and did not deliver, without counting another reason, the firewall dropped.
//! What is dropped further ahead leaves no trace but in the counters of the rules themselves.

use crate::observation::{Observation, Wanted};
use crate::snapshot::{Counter, DroppingRule};
use crate::{Evidence, Finding, Id, Severity, Sort, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let expected: u64 = seen.expected(wanted).iter().map(|flow| flow.sound()).sum();
    let (missing, heard) = match seen.lost(wanted) {
        Some(lost) if lost.is_serious() => (lost.count(), lost.heard),
        Some(_) => return None,
        // Of another program's socket it is not known what it received.
        None => (expected, 0),
    };
    if missing == 0 {
        return None;
    }
    let rules = rules_that_dropped(seen, missing);
    let by_counters = is_eaten_at_input(seen, wanted, missing, heard);
    let (rule, _) = rules.first().copied().unzip();
    // Where rules count, one of them must have counted it.
    if !by_counters && rules.is_empty() {
        return None;
    }
    let interface = seen.link_name(wanted.interface);
    let to = wanted.destination();
    let family = wanted.family();
    let counters = [Counter::InMulticast, Counter::InDelivers].into_iter().filter_map(|counter| {
        let (before, after) = seen.values(counter.name(family))?;
        Some(Evidence::change(Sort::Counter, counter.name(family), before, after))
    });
    let rules = rules.iter().map(|(rule, before)| {
        Evidence::change(Sort::Rule, &rule.place, before, rule.packets.unwrap_or_default())
    });
    let finding = Finding::new(
        Id::FirewallDropsData,
        Severity::Fault,
        format!("This machine's firewall drops the datagrams to {to}: {missing} of {expected} that came by {interface} went no further."),
    )
    .on(&interface)
    .of(to)
    .because(Evidence::new(Sort::Packet, &interface, format!("{expected} datagrams to {to}")))
    .because_all(counters)
    .because_all(rules)
    .remedied(remedies::admit_datagrams(&interface, to, rule));
    Some(finding)
}

/// Whether so many packets were taken for this machine's own and not delivered, for no other reason.
fn is_eaten_at_input(seen: &Observation, wanted: &Wanted<'_>, missing: u64, heard: u64) -> bool {
    let rise = |counter| seen.rise(counter, wanted.family());
    let (Some(received), Some(multicast), Some(delivered)) =
        (rise(Counter::InReceives), rise(Counter::InMulticast), rise(Counter::InDelivers))
    else {
        return false;
    };
    let requests = rise(Counter::ReassemblyRequests).unwrap_or_default();
    let pieces = requests.saturating_sub(rise(Counter::Reassembled).unwrap_or_default());
    let undelivered = received.saturating_sub(delivered).saturating_sub(pieces);
    let enough = |count: u64| count.saturating_mul(5) >= missing.saturating_mul(4);
    // What was delivered to UDP beside what was heard may be what seems to be missing.
    let others = ["TcpInSegs", "IcmpInMsgs", "Icmp6InMsgs"].into_iter().filter_map(|name| seen.rise_of(name));
    let to_udp = delivered.saturating_sub(others.sum::<u64>()).saturating_sub(heard);
    enough(multicast.saturating_sub(heard)) && enough(undelivered) && to_udp.saturating_mul(2) < missing
}

/// The rules on the way in that counted so many packets, and what they had counted before.
fn rules_that_dropped(seen: &Observation, missing: u64) -> Vec<(&DroppingRule, u64)> {
    let on_the_way = |rule: &&DroppingRule| {
        rule.hook.as_deref().is_none_or(|hook| matches!(hook, "input" | "prerouting" | "ingress"))
    };
    let count = |rule: &DroppingRule| {
        let same = seen.before.dropping_rules.iter().find(|before| before.place == rule.place);
        same.and_then(|before| before.packets)
    };
    let rules = seen.after.dropping_rules.iter().filter(on_the_way);
    rules
        .filter_map(|rule| Some((rule, count(rule)?)))
        .filter(|(rule, before)| {
            let rise = rule.packets.unwrap_or_default().saturating_sub(*before);
            rise.saturating_mul(5) >= missing.saturating_mul(4)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, counted, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    /// Ten on the wire, `heard` at the socket, and the rises of `IpInReceives`, `IpExtInMcastPkts`,
    /// `IpInDelivers` and `TcpInSegs`.
    fn found(heard: u64, rises: [u64; 4]) -> usize {
        let seen = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], heard);
        let names = ["IpInReceives", "IpExtInMcastPkts", "IpInDelivers", "TcpInSegs"];
        let rises: Vec<_> = names.into_iter().zip(rises).collect();
        check(&counted(seen, &rises)).len()
    }

    #[test]
    fn what_is_taken_and_not_delivered_was_filtered() {
        assert_eq!(found(0, [10, 10, 0, 0]), 1);
        assert_eq!(found(0, [510, 10, 500, 500]), 1, "beside a download");
        assert_eq!(found(6, [10, 10, 6, 0]), 1, "some of it");
    }

    #[test]
    fn what_other_counters_explain_was_not_filtered() {
        assert_eq!(found(10, [10, 10, 10, 0]), 0, "all of it came");
        assert_eq!(found(0, [10, 0, 0, 0]), 0, "it was never taken");
        assert_eq!(found(0, [10, 10, 10, 0]), 0, "it was delivered");
        assert_eq!(found(0, [20, 10, 10, 0]), 0, "as much of something else was not taken");
    }
}
