//! Nothing for the group reached this machine, and nothing on it stands in the way. Judged last.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(asked) = seen.asked() else { return Vec::new() };
    let wanted = seen.wanted();
    let silent = |index: &u32| seen.wire.is_complete(*index);
    let came = wanted.iter().any(|wanted| !seen.arrivals(wanted).is_empty());
    if asked.joined.is_empty() || came || !asked.heard.is_empty() || !asked.joined.iter().all(silent) {
        return Vec::new();
    }
    let names: Vec<_> = asked.joined.iter().map(|index| seen.link_name(*index)).collect();
    let names = names.join(", ");
    let seconds = seen.listened().as_secs_f64();
    let to = format!("{}:{}", asked.group, asked.port);
    let finding = Finding::new(
        Id::NothingArrives,
        Severity::Warning,
        format!("Nothing for {to} reached {names} in {seconds:.1} s, and nothing on this machine stands in its way."),
    )
    .on(&names)
    .of(&to)
    .because(Evidence::new(Sort::Packet, &names, format!("no datagram to {to} in {seconds:.1} s")))
    .remedied([
        Remedy::now(Tool::Mcast, format!("mcast doctor --probe {to}")),
        Remedy::advice(Tool::Network, "Run `mcast doctor` on the sender, too: it must leave by the right interface, with a hop limit of more than 1 if there is a router between, and the router must route the group."),
    ]);
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn silence_is_told_of_only_where_it_could_be_heard() {
        assert_eq!(check(&membership(TO, Vec::new(), 0)).len(), 1);
        let mut deaf = membership(TO, Vec::new(), 0);
        deaf.wire.taps[0].refused = Some("no right".into());
        assert_eq!(check(&deaf), []);
        assert_eq!(check(&membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0)), []);
    }
}
