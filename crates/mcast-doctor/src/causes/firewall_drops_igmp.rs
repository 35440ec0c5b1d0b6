//! Joining sends a report by IGMP or MLD, and none left the machine: netfilter ate it. Switches that
//! snoop then do not know that the group is wanted here. The same for the answer to a query.

use std::time::Duration;

use crate::observation::{About, Observation, Wanted};
use crate::snapshot::Counter;
use crate::wire::{ControlSeen, Said};
use crate::{Evidence, Finding, Id, Severity, Sort, remedies};

/// The first report leaves at once; so late it is lost.
const PATIENCE: Duration = Duration::from_millis(800);
/// Answers to queries are delayed by up to 10 s.
const ANSWER: Duration = Duration::from_secs(11);

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let link = seen.link(wanted.interface)?;
    // Without an address nothing of IPv6 leaves.
    let can_speak = wanted.group.addr().is_ipv4() || link.has_address(false);
    // Without a carrier nothing leaves, and no firewall is to blame.
    let is_open = seen.wire.is_complete(wanted.interface) && link.running && link.multicast && !link.loopback;
    if !is_open
        || !can_speak
        || !must_be_reported(wanted)
        || !seen.after.is_joined(wanted.group.addr(), wanted.interface)
    {
        return None;
    }
    let reason = unreported_join(seen, wanted).or_else(|| unanswered_query(seen, wanted))?;
    let protocol = if wanted.group.addr().is_ipv4() { "IGMP" } else { "MLD" };
    let (group, family) = (wanted.group, wanted.family());
    let rules = seen.after.dropping_rules.iter().filter_map(|rule| {
        let before = seen.before.dropping_rules.iter().find(|before| before.place == rule.place)?.packets?;
        (rule.packets? > before)
            .then(|| Evidence::change(Sort::Rule, &rule.place, before, rule.packets.unwrap_or_default()))
    });
    let counters = [Counter::OutRequests, Counter::OutTransmits].into_iter().filter_map(|counter| {
        let (before, after) = seen.values(counter.name(family))?;
        Some(Evidence::change(Sort::Counter, counter.name(family), before, after))
    });
    let finding = Finding::new(
        Id::FirewallDropsIgmp,
        Severity::Fault,
        format!("{group} is joined on {}, but no {protocol} report about it left the machine: a firewall drops {protocol}.", link.name),
    )
    .on(&link.name)
    .of(group)
    .because(Evidence::new(Sort::Packet, &link.name, reason))
    .because_all(counters)
    .because_all(rules)
    .remedied(remedies::admit_membership_protocol(family, &link.name));
    Some(finding)
}

/// Groups of the link are not reported in IPv4 (RFC 9776 section 5), nor are those of the interface.
fn must_be_reported(wanted: &Wanted<'_>) -> bool {
    match wanted.group.addr() {
        std::net::IpAddr::V4(group) => group.octets()[..3] != [224, 0, 0],
        std::net::IpAddr::V6(group) => {
            group.segments()[0] & 0xf > 1 && group.segments() != [0xff02, 0, 0, 0, 0, 0, 0, 1]
        }
    }
}

fn unreported_join(seen: &Observation, wanted: &Wanted<'_>) -> Option<String> {
    let About::Membership(asked) = &seen.about else { return None };
    let fresh = !asked.joined_before.contains(&wanted.interface);
    let is_silent = reports(seen, wanted).next().is_none() && !has_tried_nothing(seen, wanted);
    (fresh && is_silent && seen.listened() >= PATIENCE).then(|| "no report after joining".to_owned())
}

/// A query of an older version that comes just then makes the system take its first report back, and answer within ten
/// seconds. A firewall drops only what the system counts as sent.
fn has_tried_nothing(seen: &Observation, wanted: &Wanted<'_>) -> bool {
    let sent = seen.values(Counter::OutRequests.name(wanted.family()));
    sent.is_some_and(|(before, after)| before == after)
}

/// Only in the versions in which hosts do not fall silent when they hear another's report.
fn unanswered_query(seen: &Observation, wanted: &Wanted<'_>) -> Option<String> {
    let (_, until) = seen.wire.span?;
    let v4 = wanted.group.addr().is_ipv4();
    let newest = if v4 { 3 } else { 2 };
    let query = seen.wire.queries(wanted.interface, v4).find(|query| {
        let general = matches!(query.said, Said::Query { version, group: None, .. } if version == newest);
        general && !query.outgoing && until.duration_since(query.time).is_ok_and(|ago| ago >= ANSWER)
    })?;
    let answered = reports(seen, wanted).any(|report| report.time >= query.time);
    (!answered).then(|| format!("no answer to the query of {}", query.source))
}

fn reports<'a>(seen: &'a Observation, wanted: &Wanted<'_>) -> impl Iterator<Item = &'a ControlSeen> {
    let (group, interface) = (wanted.group.addr(), wanted.interface);
    seen.wire.control.iter().filter(move |control| {
        let about = matches!(&control.said, Said::Report { wanted, .. } if wanted.contains(&group));
        control.outgoing && control.interface == interface && about
    })
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, membership};
    use super::*;

    /// A fresh membership of which no report was seen.
    fn unreported(to: &str) -> Observation {
        let mut seen = membership(to, Vec::new(), 0);
        if let About::Membership(asked) = &mut seen.about {
            asked.joined_before.clear();
        }
        seen
    }

    fn reported() -> Observation {
        let mut seen = unreported("239.1.2.3:5000");
        let (time, _) = seen.wire.span.unwrap();
        let said = Said::Report { version: 3, wanted: vec!["239.1.2.3".parse().unwrap()], left: Vec::new() };
        let source = "10.9.0.2".parse().unwrap();
        seen.wire.control.push(ControlSeen { time, interface: ETH0, outgoing: true, source, said });
        seen
    }

    #[test]
    fn a_fresh_membership_must_be_reported() {
        assert_eq!(check(&unreported("239.1.2.3:5000")).len(), 1);
        assert_eq!(check(&reported()), []);
    }

    #[test]
    fn what_the_system_has_not_sent_was_dropped_by_nobody() {
        let mut seen = unreported("239.1.2.3:5000");
        let sent = |count| [("IpOutRequests".to_owned(), count)].into_iter().collect();
        (seen.before.counters, seen.after.counters) = (sent(7), sent(7));
        assert_eq!(check(&seen), []);
        seen.after.counters = sent(8);
        assert_eq!(check(&seen).len(), 1);
    }

    #[test]
    fn what_nobody_reports_or_nothing_leaves_by_is_no_case() {
        assert_eq!(check(&membership("239.1.2.3:5000", Vec::new(), 0)), [], "joined by another before");
        assert_eq!(check(&unreported("224.0.0.251:5353")), [], "a group of the link");
        let mut without_carrier = unreported("239.1.2.3:5000");
        without_carrier.before.links[1].running = false;
        without_carrier.after.links[1].running = false;
        assert_eq!(check(&without_carrier), []);
        let mut lossy_tap = unreported("239.1.2.3:5000");
        lossy_tap.wire.taps[0].dropped = 1;
        assert_eq!(check(&lossy_tap), [], "the tap may have missed it");
    }
}
