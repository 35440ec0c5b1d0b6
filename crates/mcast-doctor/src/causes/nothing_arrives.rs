//! Nothing for the group reached this machine, and nothing on it blocks the group. Judged last.

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[]).last_resort();

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let Some(one) = interests.first() else { return Vec::new() };
    let arrived = |interest: &Interest<'_>| {
        // Datagrams of this machine reach its own programs without the wire.
        let own = observation.program().is_some()
            && observation.wire.outgoing(interest.group.addr()).next().is_some();
        own || !observation.arrivals(interest).is_empty()
    };
    let is_silent =
        |interest: &Interest<'_>| observation.wire.is_complete(interest.interface) && !arrived(interest);
    if observation.received_anything() || !interests.iter().all(is_silent) {
        return Vec::new();
    }
    let mut names: Vec<_> =
        interests.iter().map(|interest| observation.link_name(interest.interface)).collect();
    names.sort();
    names.dedup();
    let names = names.join(", ");
    let seconds = observation.listened().as_secs_f64();
    let to = one.destination();
    let finding = Finding::new(
        Id::NothingArrives,
        Severity::Warning,
        format!("Nothing for {to} reached {names} in {seconds:.1} s, and nothing on this machine blocks it."),
    )
    .on_interface(&names)
    .for_group(to)
    .with_evidence(Evidence::new(EvidenceKind::Packet, &names, format!("no datagram to {to} in {seconds:.1} s")))
    .with_remedies([
        remedies::mcast::listen(to),
        Remedy::advice(Tool::Network, format!("Meanwhile, run `mcast {}` on the sender: the probes that arrive show where the path ends.", remedies::mcast::probe(to).join(" "))),
        Remedy::advice(Tool::Network, "Also run `mcast doctor` on the sender: the datagrams must leave on the right interface, with a hop limit above 1 if there is a router in between, and that router must route the group."),
    ]);
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn receiver_listens_and_sender_probes() {
        let finding = &check(&membership("[ff15::1234]:5000", Vec::new(), 0))[0];
        assert_eq!(finding.subject.group.as_deref(), Some("[ff15::1234]:5000"));
        let quote = if cfg!(windows) { '"' } else { '\'' };
        let listen = format!("mcast doctor --listen {quote}[ff15::1234]:5000{quote}");
        assert_eq!(finding.remedies[0].command().unwrap(), listen);
        let advice = format!("{:?}", finding.remedies[1].instructions);
        assert!(advice.contains("`mcast doctor --probe [ff15::1234]:5000` on the sender"), "{advice}");
    }

    #[test]
    fn silence_is_reported_only_with_a_complete_capture() {
        assert_eq!(check(&membership(TO, Vec::new(), 0)).len(), 1);
        let mut uncaptured = membership(TO, Vec::new(), 0);
        uncaptured.wire.taps[0].refused = Some("no right".into());
        assert_eq!(check(&uncaptured), []);
        assert_eq!(check(&membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0)), []);
    }
}
