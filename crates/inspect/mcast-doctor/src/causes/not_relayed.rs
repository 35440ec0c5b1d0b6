//! A relay on this machine (`mcast relay`) does not forward datagrams, and states why.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::RelayRefusal;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.1", "RFC 8200 section 3"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let groups: Vec<_> = observation.interests().iter().map(|interest| interest.group.to_string()).collect();
    let refusals = observation.after.relay_refusals.iter().filter_map(|(refusal, count)| {
        let before = observation.before.relay_refusals.get(refusal).copied().unwrap_or_default();
        let is_recent = *count > before;
        let is_examined = observation.is_about_machine()
            || groups.iter().any(|group| refusal.rule.contains(group.as_str()));
        let (what, advice) = describe(&refusal.reason)?;
        (is_recent || is_examined).then(|| finding(refusal, (before, *count), what, advice))
    });
    refusals.collect()
}

fn finding(refusal: &RelayRefusal, (before, count): (u64, u64), what: &str, advice: &str) -> Finding {
    let RelayRefusal { pid, rule, reason } = refusal;
    let program = format!("mcast relay ({pid})");
    let location = format!("mcast_relay_refused_datagrams_total, reason {reason}");
    let (number, since) = match count.saturating_sub(before) {
        0 => (count, "since it started"),
        recent => (recent, "while the doctor listened"),
    };
    let cause = format!(
        "{number} datagrams of the rule `{rule}` {what}, and {program} did not forward them {since}."
    );
    let finding = Finding::warning(Id::NotRelayed, cause).in_program(&program).advise(Tool::Mcast, advice);
    match count > before {
        true => finding.change(EvidenceKind::Counter, location, before, count),
        false => finding.evidence(EvidenceKind::Counter, location, count),
    }
}

/// Returns what is the matter with the datagrams, and what to do about it; `None` if the relay works as it should.
fn describe(reason: &str) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        "hop-limit" => (
            "had TTL 1",
            "Send with a larger TTL (`mcast send --ttl 2`, or the option of the program), or add `ttl 2` to the rule: the relay then sends its copies with this TTL, whatever that of the datagrams was.",
        ),
        "rate-limit" => (
            "exceeded a limit",
            "Raise `rate` in the rule, or the limit for all sources (--max-rate), if this traffic should pass.",
        ),
        "too-many-paths" => (
            "came from more senders than the relay has paths",
            "Raise --max-paths, or lower --path-idle, so that the paths of senders that have stopped are closed earlier.",
        ),
        "receive-buffer-full" => (
            "did not fit into the receive buffer of the relay",
            "Give the relay more processor time, or forward less: name only the groups in the rules that are needed.",
        ),
        "unreachable" => (
            "have a unicast target that does not accept them",
            "See whether a program listens at the target, and whether a firewall rejects them there.",
        ),
        "too-many-repeats" => (
            "are repeats",
            "Look for another device that forwards between the same networks: the relay holds repeats back until it is clear whether they are a loop.",
        ),
        "too-many-hops" => {
            ("have passed too many relays", "Connect the sites by fewer tunnels in a row: at most 8 relays.")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::membership;
    use super::*;

    fn causes(reason: &str, (before, after): (u64, u64), rule: &str) -> Vec<String> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        let refusal = RelayRefusal { pid: 7, rule: rule.into(), reason: reason.into() };
        observation.before.relay_refusals.insert(refusal.clone(), before);
        observation.after.relay_refusals.insert(refusal, after);
        check(&observation).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn refusals_of_other_groups_count_only_while_they_happen() {
        let (own, other) = ("239.1.2.3:5000 from eth0 to eth1", "239.9.9.9:5000 from eth0 to eth1");
        assert_eq!(
            causes("hop-limit", (3, 20), own),
            [
                "17 datagrams of the rule `239.1.2.3:5000 from eth0 to eth1` had TTL 1, and mcast relay (7) did not forward them while the doctor listened."
            ]
        );
        assert_eq!(causes("hop-limit", (3, 20), other).len(), 1);
        assert!(causes("hop-limit", (20, 20), own)[0].starts_with("20 datagrams"));
        assert!(causes("hop-limit", (20, 20), other).is_empty());
    }

    #[test]
    fn what_a_relay_should_not_forward_is_not_reported() {
        for reason in ["own-copy", "standby", "not-wanted", "duplicate", "new in a later version"] {
            assert!(causes(reason, (0, 20), "239.1.2.3:5000 from eth0 to eth1").is_empty());
        }
    }
}
