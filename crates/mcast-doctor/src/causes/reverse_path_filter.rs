//! The way back to the source does not lead out by the interface by which its datagrams came, so the
//! system takes them for forged.

use crate::observation::{Observation, Wanted};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

const COUNTER: &str = "TcpExtIPReversePathFilter";

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let rise = seen.rise_of(COUNTER).filter(|rise| *rise > 0 && wanted.group.addr().is_ipv4())?;
    let flows = seen.expected(wanted);
    let expected: u64 = flows.iter().map(|flow| flow.sound()).sum();
    let explained = match seen.lost(wanted) {
        Some(lost) => lost.is_serious() && lost.is_explained_by(rise),
        None => expected > 0 && rise.saturating_mul(5) >= expected.saturating_mul(4),
    };
    if !seen.wire.is_tapped(wanted.interface) && !seen.heard_anything() {
        return Some(by_counter_alone(seen, wanted));
    }
    let flow = dropped(seen, wanted, &flows).filter(|_| explained)?;
    let interface = seen.link_name(wanted.interface);
    let source = flow.key.source.ip();
    let settings = settings(&interface);
    let strict = settings.iter().filter_map(|name| seen.after.number(name)).max() == Some(1);
    let mode = if strict { "strict" } else { "loose" };
    let (before, after) = seen.values(COUNTER)?;
    let evidence = settings
        .iter()
        .filter_map(|name| Some(Evidence::new(Sort::Setting, name, seen.after.setting(name)?)));
    let finding = Finding::new(
        Id::ReversePathFilter,
        Severity::Fault,
        format!("The reverse path filter of {interface} ({mode}) drops what {source} sends, as the way back to {source} does not lead out by {interface}."),
    )
    .on(&interface)
    .of(wanted.destination())
    .from(source)
    .because(Evidence::change(Sort::Counter, format!("/proc/net/netstat {COUNTER}"), before, after))
    .because_all(evidence)
    .remedied([Remedy::now(Tool::Ip, format!("ip route add {source}/32 dev {interface}"))])
    .remedied(remedies::sysctls(&[&settings[0], &settings[1]], 0));
    Some(finding)
}

/// The flow that it dropped: of what the doctor joined the one that lacks most at the socket, of
/// a program's one that comes from elsewhere, if one does.
fn dropped<'a>(seen: &Observation, wanted: &Wanted<'_>, flows: &[&'a Flow]) -> Option<&'a Flow> {
    let likelihood = |flow: &Flow| match seen.asked() {
        Some(asked) => flow.sound().saturating_sub(asked.heard_from(wanted.interface, flow.key.source)),
        None => u64::from(
            seen.link(flow.key.interface).is_some_and(|link| !link.is_next_to(flow.key.source.ip())),
        ),
    };
    flows.iter().copied().rev().max_by_key(|flow| likelihood(flow))
}

/// Without the right to look at the wire: something was dropped, and nothing was heard.
fn by_counter_alone(seen: &Observation, wanted: &Wanted<'_>) -> Finding {
    let (before, after) = seen.values(COUNTER).unwrap_or_default();
    let interface = seen.link_name(wanted.interface);
    let settings = settings(&interface);
    Finding::new(
        Id::ReversePathFilter,
        Severity::Warning,
        format!(
            "The reverse path filter dropped {} packets while {} was listened for in vain; whose they were only a look at the wire tells.",
            after - before,
            wanted.destination()
        ),
    )
    .of(wanted.destination())
    .because(Evidence::change(Sort::Counter, format!("/proc/net/netstat {COUNTER}"), before, after))
    .remedied(remedies::sysctls(&[&settings[0], &settings[1]], 0))
}

/// The larger of the two is in force: one of them alone changes nothing.
fn settings(interface: &str) -> [String; 2] {
    ["all", interface].map(|name| format!("net.ipv4.conf.{}.rp_filter", name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, counted, flow, membership};
    use super::*;
    use crate::observation::About;

    const TO: &str = "239.1.2.3:5000";

    fn found(heard: u64, rise: u64) -> usize {
        let seen = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], heard);
        check(&counted(seen, &[(COUNTER, rise)])).len()
    }

    #[test]
    fn only_as_many_as_are_missing_are_its_fault() {
        assert_eq!((found(0, 10), found(10, 10), found(0, 0), found(0, 3)), (1, 0, 0, 0));
    }

    #[test]
    fn the_source_that_is_missing_is_told_and_not_one_that_is_heard() {
        let flows = || ["10.9.0.1:6000", "192.0.2.1:6000"].map(|source| flow(ETH0, source, TO)).to_vec();
        let mut seen = membership(TO, flows(), 10);
        if let About::Membership(asked) = &mut seen.about {
            asked.heard.pop();
        }
        let found = check(&counted(seen, &[(COUNTER, 10)]));
        assert_eq!(found[0].subject.source.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn without_the_wire_one_command_sets_both_settings_too() {
        let mut seen = counted(membership(TO, vec![], 0), &[(COUNTER, 10)]);
        seen.wire.taps.clear();
        let found = check(&seen);
        let commands: Vec<_> = found[0].remedies.iter().filter_map(crate::Remedy::command).collect();
        assert_eq!(commands[0], "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
        assert_eq!(commands.len(), 2, "{commands:?}");
    }
}
