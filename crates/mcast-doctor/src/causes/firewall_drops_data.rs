//! The datagrams reach the IP layer of this machine and not UDP: netfilter ate them.
//!
//! Behind the input hook of the firewall the IP layer counts what it delivers. What it took for its own
//! before (`InMcastPkts`) and did not deliver, without counting another reason, the firewall dropped.
//! What is dropped further ahead leaves no trace but in the counters of the rules themselves.

use crate::observation::{Observation, Wanted};
use crate::snapshot::{Counter, DroppingRule};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> = seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect();
    findings.extend(may_be_blocked(seen));
    findings
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let expected: u64 = seen.expected(wanted).iter().map(|flow| flow.sound()).sum();
    let (missing, heard) = match seen.lost(wanted) {
        _ if !seen.wire.is_tapped(wanted.interface) => return by_counters_alone(seen, wanted),
        Some(lost) if lost.is_serious() => (lost.count(), lost.heard),
        Some(_) => return None,
        // Of another program's socket it is not known what it received.
        None => (expected, 0),
    };
    if missing == 0 || reached_udp(seen, wanted, heard).saturating_mul(2) >= missing {
        return None;
    }
    let rules = rules_that_dropped(seen, missing);
    if rules.is_empty() && !is_eaten_at_input(seen, wanted, missing, heard) {
        return None;
    }
    let interface = seen.link_name(wanted.interface);
    let to = wanted.destination();
    let rule = rules.first().map(|(rule, _)| *rule).or_else(|| rules_that_may(seen).next());
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
    .because_all(counters(seen, wanted))
    .because_all(rules)
    .remedied(remedies::admit_datagrams(&interface, to, rule));
    Some(finding)
}

/// Without the right to look at the wire: the IP layer took packets to groups, and delivered none at all.
fn by_counters_alone(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    /// Fewer may be of anything.
    const MANY: u64 = 10;
    let taken = seen.rise(Counter::InMulticast, wanted.family())?;
    let eaten = taken >= MANY
        && !seen.heard_anything()
        && reached_udp(seen, wanted, 0) == 0
        && is_eaten_at_input(seen, wanted, taken, 0);
    let (interface, to) = (seen.link_name(wanted.interface), wanted.destination());
    eaten.then(|| {
        Finding::new(
            Id::FirewallDropsData,
            Severity::Warning,
            format!("The IP layer took {taken} packets to groups and delivered none of them: a firewall drops them, whether or not they were for {to}."),
        )
        .on(&interface)
        .of(to)
        .because_all(counters(seen, wanted))
        .remedied(remedies::admit_datagrams(&interface, to, rules_that_may(seen).next()))
    })
}

/// A firewall whose rules cannot be read blocks what it does not know, and nothing was heard.
fn may_be_blocked(seen: &Observation) -> Option<Finding> {
    let wanted =
        seen.wanted().into_iter().next().filter(|_| seen.asked().is_some() && !seen.heard_anything())?;
    let state = seen.after.firewall.as_ref()?;
    let to = wanted.destination();
    let finding = Finding::new(
        Id::FirewallDropsData,
        Severity::Warning,
        format!("This machine's firewall blocks what no rule admits, and nothing for {to} was heard."),
    )
    .of(to)
    .because(Evidence::new(Sort::Rule, "firewall", state))
    .remedied([if state.starts_with("profile") {
        Remedy::now(
            Tool::Netsh,
            format!("netsh advfirewall firewall add rule name=\"multicast {to}\" dir=in action=allow protocol=UDP localport={}", to.port()),
        )
    } else {
        Remedy::advice(Tool::Program, "Admit the program in System Settings, Network, Firewall, Options.")
    }]);
    Some(finding)
}

fn counters(seen: &Observation, wanted: &Wanted<'_>) -> Vec<Evidence> {
    let change = |counter: Counter| {
        let name = counter.name(wanted.family());
        let (before, after) = seen.values(name)?;
        Some(Evidence::change(Sort::Counter, name, before, after))
    };
    [Counter::InMulticast, Counter::InDelivers].into_iter().filter_map(change).collect()
}

/// How much was delivered to UDP beside what was heard: it may be what seems to be missing.
fn reached_udp(seen: &Observation, wanted: &Wanted<'_>, heard: u64) -> u64 {
    let others = ["TcpInSegs", "IcmpInMsgs", "Icmp6InMsgs"].into_iter().filter_map(|name| seen.rise_of(name));
    let delivered = seen.rise(Counter::InDelivers, wanted.family()).unwrap_or_default();
    delivered.saturating_sub(others.sum()).saturating_sub(heard)
}

/// Whether so many packets were taken for this machine's own and not delivered.
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
    enough(multicast.saturating_sub(heard)) && enough(undelivered)
}

/// The rules on the way in that drop, whether or not they count: one of them it may be.
fn rules_that_may(seen: &Observation) -> impl Iterator<Item = &DroppingRule> {
    seen.after.dropping_rules.iter().filter(|rule| is_on_the_way(rule))
}

fn is_on_the_way(rule: &DroppingRule) -> bool {
    rule.hook.as_deref().is_none_or(|hook| matches!(hook, "input" | "prerouting" | "ingress"))
}

/// The rules on the way in that counted so many packets, and what they had counted before.
fn rules_that_dropped(seen: &Observation, missing: u64) -> Vec<(&DroppingRule, u64)> {
    let count = |rule: &DroppingRule| {
        let same = seen.before.dropping_rules.iter().find(|before| before.place == rule.place);
        same.and_then(|before| before.packets)
    };
    rules_that_may(seen)
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

    #[test]
    fn without_a_tap_only_a_silence_of_all_is_suspicious() {
        let found = |heard, delivered| {
            let mut seen = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], heard);
            seen.wire.flows.clear();
            seen.wire.taps[0].refused = Some("no right".into());
            let rises = [("IpInReceives", 20), ("IpExtInMcastPkts", 20), ("IpInDelivers", delivered)];
            check(&counted(seen, &rises)).iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(found(0, 0), [Severity::Warning]);
        assert_eq!((found(0, 2), found(10, 10)), (Vec::new(), Vec::new()));
    }
}
