//! The group comes in by one interface and was joined on another.

use crate::observation::{Observation, Wanted};
use crate::snapshot::Link;
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    let Some(first) = wanted.first() else { return Vec::new() };
    // Sockets may want several groups; each is looked at for itself.
    let mut groups: Vec<_> = wanted.iter().map(|wanted| (wanted.group, wanted.port)).collect();
    groups.sort_unstable();
    groups.dedup();
    let of_program = first.socket.is_some();
    let judged = groups.into_iter().filter_map(|(group, port)| {
        let same: Vec<_> =
            wanted.iter().filter(|wanted| (wanted.group, wanted.port) == (group, port)).collect();
        judge(seen, &same, of_program)
    });
    judged.collect()
}

fn judge(seen: &Observation, wanted: &[&Wanted<'_>], of_program: bool) -> Option<Finding> {
    let one = wanted.first()?;
    if wanted.iter().any(|wanted| !seen.arrivals(wanted).is_empty()) {
        return None;
    }
    if let Some(asked) = seen.asked()
        && !asked.heard.is_empty()
    {
        return None;
    }
    let joined: Vec<&Link> = wanted.iter().filter_map(|wanted| seen.link(wanted.interface)).collect();
    let elsewhere = |flow: &&Flow| {
        let other = seen.link(flow.key.interface);
        flow.key.port == one.port
            && flow.key.vlan.is_none()
            && one.sources.admits(flow.key.source.ip())
            && other.is_some_and(|other| {
                joined.iter().all(|joined| {
                    joined.index != other.index && !joined.is_on(other) && joined.master != Some(other.index)
                })
            })
    };
    let flow = seen.wire.incoming(one.group.addr()).find(elsewhere)?;
    let there = seen.link_name(flow.key.interface);
    let here: Vec<_> = joined.iter().map(|link| link.name.clone()).collect();
    let here = here.join(", ");
    let to = one.destination();
    let mut finding = Finding::new(
        Id::JoinedOtherInterface,
        Severity::Fault,
        format!("{to} comes in by {there}, but was joined on {here}."),
    )
    .on(&there)
    .of(to)
    .from(flow.key.source)
    .because(Evidence::new(
        Sort::Packet,
        &there,
        format!("{} datagrams from {} to {to}", flow.datagrams, flow.key.source),
    ))
    .because(Evidence::new(
        Sort::Table,
        format!("/proc/net/igmp{}", if to.is_ipv6() { "6" } else { "" }),
        format!("{} on {here}", one.group),
    ));
    if of_program && let Some(program) = seen.program() {
        finding = finding.by(&program.name);
    }
    Some(finding.remedied([
        Remedy::advice(Tool::Program, format!("Join on {there}, by its index {} (ip_mreqn.imr_ifindex, MCAST_JOIN_GROUP): without one the routing table chooses.", flow.key.interface)),
        remedies::move_groups(&there),
    ]))
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, ETH1, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn what_also_comes_by_the_right_interface_is_no_case() {
        let both = vec![flow(ETH1, "10.8.0.1:6000", TO), flow(ETH0, "10.9.0.1:6000", TO)];
        assert_eq!(check(&membership(TO, both, 10)), []);
        let wrong = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", TO)], 0);
        assert_eq!(check(&wrong)[0].subject.interface.as_deref(), Some("eth1"));
    }

    #[test]
    fn an_interface_and_what_lies_on_it_are_not_two() {
        let mut seen = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", TO)], 0);
        seen.after.links[1].lower = Some(ETH1);
        assert_eq!(check(&seen), []);
    }
}
