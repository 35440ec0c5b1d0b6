//! The route to the source does not use the interface on which its datagrams arrive, so the system drops them
//! as forged.

use mcast::Family;

use super::{Cause, Check};
use crate::observation::{Interest, Observation, explains};
use crate::snapshot::interface_setting;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 3704 section 2", "ip-sysctl: rp_filter"]);

const COUNTER: &str = "TcpExtIPReversePathFilter";

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let rise = observation.rise_of(COUNTER).filter(|rise| *rise > 0 && interest.group.addr().is_ipv4())?;
    let flows = observation.expected(interest);
    let expected: u64 = flows.iter().map(|flow| flow.sound()).sum();
    let explained = match observation.loss(interest) {
        Some(loss) => loss.is_serious() && loss.is_explained_by(rise),
        None => explains(rise, expected),
    };
    if !observation.wire.is_tapped(interest.interface) && !observation.received_anything() {
        return Some(by_counter_alone(observation, interest));
    }
    let flow = dropped(observation, interest, &flows).filter(|_| explained)?;
    let interface = observation.link_name(interest.interface);
    let source = flow.key.source.ip();
    let settings = settings(&interface);
    let strict = settings.iter().filter_map(|name| observation.after.number(name)).max() == Some(1);
    let mode = if strict { "strict" } else { "loose" };
    let (before, after) = observation.values(COUNTER)?;
    let evidence = settings.iter().filter_map(|name| {
        Some(Evidence::new(EvidenceKind::Setting, name, observation.after.setting(name)?))
    });
    let finding = Finding::new(
        Id::ReversePathFilter,
        Severity::Fault,
        format!("The reverse path filter of {interface} ({mode}) drops the datagrams from {source}, because the route to {source} does not use {interface}."),
    )
    .on_interface(&interface)
    .for_group(interest.destination())
    .from_source(source)
    .with_evidence(Evidence::change(EvidenceKind::Counter, format!("/proc/net/netstat {COUNTER}"), before, after))
    .with_all_evidence(evidence)
    .with_remedies(remedies::sysctls(&[&settings[0], &settings[1]], 0));
    Some(finding)
}

/// Returns the flow that the filter most likely dropped: for the doctor's own membership the one with the largest
/// loss, for a program one from a source outside the interface's subnets, if there is one.
fn dropped<'a>(observation: &Observation, interest: &Interest<'_>, flows: &[&'a Flow]) -> Option<&'a Flow> {
    let likelihood = |flow: &Flow| match observation.trial() {
        Some(trial) => flow.sound().saturating_sub(trial.received_from(interest.interface, flow.key.source)),
        None => u64::from(
            observation.link(flow.key.interface).is_some_and(|link| !link.is_next_to(flow.key.source.ip())),
        ),
    };
    flows.iter().copied().rev().max_by_key(|flow| likelihood(flow))
}

/// Judges by the counter alone, without a capture: packets were dropped, and nothing was received.
fn by_counter_alone(observation: &Observation, interest: &Interest<'_>) -> Finding {
    let (before, after) = observation.values(COUNTER).unwrap_or_default();
    let interface = observation.link_name(interest.interface);
    let settings = settings(&interface);
    Finding::new(
        Id::ReversePathFilter,
        Severity::Warning,
        format!(
            "The reverse path filter dropped {} packets while nothing for {} was received. Only a capture can show their sources.",
            after - before,
            interest.destination()
        ),
    )
    .for_group(interest.destination())
    .with_evidence(Evidence::change(EvidenceKind::Counter, format!("/proc/net/netstat {COUNTER}"), before, after))
    .with_remedies(remedies::sysctls(&[&settings[0], &settings[1]], 0))
}

/// Returns the two settings that apply. The larger value is in effect, so both must be changed.
fn settings(interface: &str) -> [String; 2] {
    ["all", interface].map(|name| interface_setting(Family::V4, name, "rp_filter"))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, with_counters};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn outcome(received: u64, rise: u64) -> usize {
        let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], received);
        CAUSE.judge(&with_counters(observation, &[(COUNTER, rise)])).len()
    }

    #[test]
    fn filter_is_reported_only_if_its_drops_explain_the_loss() {
        assert_eq!((outcome(0, 10), outcome(10, 10), outcome(0, 0), outcome(0, 3)), (1, 0, 0, 0));
    }

    #[test]
    fn missing_source_is_reported_and_not_the_received_one() {
        let flows = || ["10.9.0.1:6000", "192.0.2.1:6000"].map(|source| flow(ETH0, source, TO)).to_vec();
        let mut observation = membership(TO, flows(), 10);
        observation.trial_mut().received.pop();
        let findings = CAUSE.judge(&with_counters(observation, &[(COUNTER, 10)]));
        assert_eq!(findings[0].subject.source.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn remedies_do_not_change_unicast_routes() {
        let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
        let findings = CAUSE.judge(&with_counters(observation, &[(COUNTER, 10)]));
        let tools: Vec<_> = findings[0].remedies.iter().map(|remedy| remedy.tool).collect();
        assert_eq!(tools, [crate::Tool::Sysctl; 2]);
    }

    #[test]
    fn one_command_changes_both_settings_without_a_capture() {
        let mut observation = with_counters(membership(TO, vec![], 0), &[(COUNTER, 10)]);
        observation.wire.taps.clear();
        let findings = CAUSE.judge(&observation);
        let commands: Vec<_> = findings[0].remedies.iter().filter_map(crate::Remedy::command).collect();
        assert_eq!(commands[0], "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
        assert_eq!(commands.len(), 2, "{commands:?}");
    }
}
