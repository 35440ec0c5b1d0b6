//! Datagrams of this machine do not leave it: its own packet filter drops them at the output or postrouting hook, or at
//! that of the device. `send` reports an error only for a rule that rejects.

use std::net::SocketAddr;

use super::filter_rules::{OUTGOING, is_serious, leaving, met_by, responsible};
use super::{Cause, Check};
use crate::netfilter::{CountedTraffic, Hook, HookCount, RuleEffect};
use crate::observation::Observation;
use crate::snapshot::DroppingRule;
use crate::{EvidenceKind, Finding, Id, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]).offering(|on| {
    let rule = DroppingRule { hook: Hook::Output, ..on.rule.clone() };
    remedies::admit_sent_datagrams(on.name(), on.to, Some(&rule))
});

fn check(observation: &Observation) -> Vec<Finding> {
    let counts = observation.hooks.counts.iter();
    let lost = counts.filter(|count| is_lost(observation, count) && !observation.hooks.is_translated(count));
    lost.filter_map(|count| judge(observation, count)).collect()
}

/// Returns whether a count is of datagrams of this machine that did not pass a hook on the way out.
pub(super) fn is_lost(observation: &Observation, count: &HookCount) -> bool {
    let is_own = match count.traffic {
        CountedTraffic::Datagrams(_) => observation.after.is_own(count.peer.ip()),
        CountedTraffic::SentFrom(..) => true,
        CountedTraffic::Control(_) => false,
    };
    is_own && OUTGOING.contains(&(count.layer, count.hook)) && is_serious(count.reached, count.passed)
}

fn judge(observation: &Observation, count: &HookCount) -> Option<Finding> {
    let (source, to) = ends(observation, count)?;
    let interface = observation.link_name(count.interface);
    let packet = leaving(observation, count.interface, source, to);
    let effects = [RuleEffect::Drop, RuleEffect::Queue, RuleEffect::Divert, RuleEffect::Redirect];
    let outcomes = met_by(observation, &packet, (count.layer, count.hook), &interface, &effects);
    let lost = count.reached - count.passed;
    let suspects = responsible(observation, outcomes, lost);
    if suspects.effect() == Some(RuleEffect::Redirect) {
        return None;
    }
    let hook = count.hook.name();
    let finding = Finding::fault(
        Id::FirewallDropsOutput,
        format!(
            "This machine's firewall drops what this machine sends to {to}: {lost} of {} datagrams from {source} to leave by {interface} did not pass the {hook} hook, and {}.",
            count.reached,
            suspects.clause()
        ),
    );
    let counted = format!("{} datagrams reached it, {} passed it", count.reached, count.passed);
    Some(
        finding
            .on_interface(&interface)
            .for_group(to)
            .from_source(source)
            .evidence(EvidenceKind::Counter, format!("hook {hook}"), counted)
            .with_all_evidence(suspects.evidence(observation))
            .with_remedies(remedies::admit_sent_datagrams(&interface, to, suspects.rule())),
    )
}

/// Returns the source and the destination of counted datagrams.
pub(super) fn ends(observation: &Observation, count: &HookCount) -> Option<(SocketAddr, SocketAddr)> {
    match count.traffic {
        CountedTraffic::Datagrams(to) => Some((count.peer, to)),
        CountedTraffic::SentFrom(family, port) => {
            let link = observation.link(count.interface)?;
            let address = link.interface.addresses_of(family).next()?;
            Some((SocketAddr::new(address, port), count.peer))
        }
        CountedTraffic::Control(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, membership};
    use super::*;
    use crate::netfilter::Layer;

    const TO: &str = "239.1.2.3:5000";

    fn outcome(source: &str, hook: Hook, reached: u64, passed: u64) -> usize {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.hooks.counts.push(HookCount {
            layer: Layer::Ip,
            hook,
            traffic: CountedTraffic::Datagrams(TO.parse().unwrap()),
            interface: ETH0,
            peer: source.parse().unwrap(),
            reached,
            passed,
        });
        check(&observation).len()
    }

    #[test]
    fn only_own_datagrams_that_do_not_pass_are_reported() {
        assert_eq!(outcome("10.9.0.2:6000", Hook::Output, 10, 0), 1);
        assert_eq!(outcome("10.9.0.2:6000", Hook::Postrouting, 10, 5), 1);
        assert_eq!(outcome("10.9.0.2:6000", Hook::Output, 10, 10), 0);
        assert_eq!(outcome("10.9.0.2:6000", Hook::Output, 100, 99), 0, "one that was on its way");
        assert_eq!(outcome("10.9.0.1:6000", Hook::Postrouting, 10, 0), 0, "forwarded");
        assert_eq!(outcome("10.9.0.2:6000", Hook::Input, 10, 0), 0, "its own copy");
    }
}
