//! Nothing for a group reached this machine, and no other finding explains it.

use super::{Cause, Check};
use crate::depth::{Depth, ExpectedFlow};
use crate::observation::Observation;
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Unexplained(check), &[]);

/// The maximum number of groups that a sentence names.
const MAX_NAMED: usize = 3;
/// Fewer packets of another protocol are not a stream.
const MIN_PACKETS: u64 = 3;

fn check(observation: &Observation, unexplained: &[ExpectedFlow<'_>]) -> Vec<Finding> {
    let silent: Vec<_> = unexplained.iter().filter(|flow| flow.status.depth.is_silent()).collect();
    let Some(one) = silent.first() else { return Vec::new() };
    let list = |mut texts: Vec<String>| {
        texts.sort();
        texts.dedup();
        match texts.len().saturating_sub(MAX_NAMED) {
            0 => texts.join(", "),
            more => format!("{} and {more} others", texts[..MAX_NAMED].join(", ")),
        }
    };
    let groups = list(silent.iter().map(|flow| flow.status.destination.to_string()).collect());
    let names = list(silent.iter().map(|flow| flow.status.interface.clone()).collect());
    let seconds = observation.listened().as_secs_f64();
    let to = one.status.destination;
    // One group of several may be silent in a sound network.
    let others_arrive = observation.expected_flows().iter().any(|flow| flow.status.depth == Depth::Arrives);
    let severity = if others_arrive { Severity::Warning } else { Severity::Fault };
    let hints: String = silent.iter().take(MAX_NAMED).flat_map(|flow| hints(observation, flow)).collect();
    let finding = Finding::new(
        Id::NothingArrives,
        severity,
        format!("Nothing for {groups} reached {names} in {seconds:.1} s.{hints}"),
    )
    .on_interface(&names)
    .for_group(to)
    .explaining(silent.iter().map(|flow| ExplainedFlow::from(&flow.status)))
    .evidence(EvidenceKind::Packet, &names, format!("no datagram to {groups} in {seconds:.1} s"))
    .with_all_evidence(others(observation, one))
    .with_remedies([remedies::mcast::listen(to)]).advise(Tool::Network, format!("Meanwhile, run `mcast {}` on the sender: the probes that arrive show where the path ends.", remedies::mcast::probe(to).join(" "))).advise(Tool::Network, "Also run `mcast doctor` on the sender: the datagrams must leave on the right interface, with a hop limit above 1 if there is a router in between, and that router must route the group.");
    vec![match observation.program() {
        Some(program) => finding.in_program(&program.name),
        None => finding,
    }]
}

/// Returns sentences on what may explain the silence.
fn hints(observation: &Observation, silent: &ExpectedFlow<'_>) -> Vec<String> {
    let interest = &silent.interest;
    let mut sent = observation.wire.outgoing(interest.group.addr());
    let own = sent.find(|flow| flow.key.port == interest.port);
    let own = own.map(|own| {
        let by = observation.link_name(own.key.interface);
        format!(
            " This machine itself sends it by {by}: a program that should receive it here must join on {by}."
        )
    });
    let others = observation.kernel_drops.drops.iter().find_map(|drop| {
        let is_here = drop.arrived_on == Some(interest.interface)
            && drop.destination.ip() == interest.group.addr()
            && drop.packets >= MIN_PACKETS;
        drop.other_protocol().filter(|_| is_here).map(|protocol| (drop, protocol))
    });
    let others = others.map(|(drop, protocol)| {
        format!(
            " {} sends packets of {protocol} (IP protocol {}) to {}, which are not UDP and which no program here takes.",
            drop.source.ip(),
            drop.protocol,
            interest.group
        )
    });
    let link = observation.link(interest.interface);
    let macvlan = link.filter(|link| link.kind.as_deref() == Some("macvlan")).map(|link| {
        format!(" {} is a macvlan: it exchanges nothing with the host whose interface it is on.", link.name())
    });
    own.into_iter().chain(others).chain(macvlan).collect()
}

/// Returns what arrives on the same interface for the same group on another port.
fn others<'a>(
    observation: &'a Observation,
    silent: &ExpectedFlow<'a>,
) -> impl Iterator<Item = Evidence> + use<'a> {
    let interface = silent.interest.interface;
    let group = silent.interest.group.addr();
    let here = observation.wire.incoming(group).filter(move |flow| flow.key.interface == interface);
    here.take(MAX_NAMED).map(|flow| observation.packets_of(flow))
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;
    use mcast::interface::InterfaceAddress;

    use super::super::fixtures::{ETH0, ETH1, flow, joined_socket, kernel_drop, membership, program};
    use crate::causes::judge;
    use crate::kernel_drops::KernelDrop;
    use crate::observation::Observation;
    use crate::{Finding, Id};

    const TO: &str = "239.1.2.3:5000";

    fn silence(observation: &Observation) -> Option<Finding> {
        judge(observation).into_iter().find(|finding| finding.id == Id::NothingArrives)
    }

    #[test]
    fn receiver_listens_and_sender_probes() {
        let mut observation = membership("[ff15::1234]:5000", Vec::new(), 0);
        let address = "fe80::2".parse().unwrap();
        observation.after.links[1].interface.addresses.push(InterfaceAddress::new(address, 64));
        let finding = silence(&observation).unwrap();
        assert_eq!(finding.subject.group.as_deref(), Some("[ff15::1234]:5000"));
        let quote = if cfg!(windows) { '"' } else { '\'' };
        let listen = format!("mcast doctor --listen {quote}[ff15::1234]:5000{quote}");
        assert_eq!(finding.remedies[0].command().unwrap(), listen);
        let advice = format!("{:?}", finding.remedies[1].instructions);
        assert!(advice.contains("`mcast doctor --probe [ff15::1234]:5000` on the sender"), "{advice}");
    }

    #[test]
    fn group_that_this_machine_sends_by_another_interface_is_named() {
        let mut own = flow(ETH1, "10.8.0.2:6000", TO);
        own.key.outgoing = true;
        let finding = silence(&program(vec![joined_socket(ETH0, SourceFilter::ANY)], vec![own])).unwrap();
        assert!(finding.cause.contains("This machine itself sends it by eth1"), "{}", finding.cause);
    }

    #[test]
    fn packets_of_another_protocol_are_named() {
        let mut observation = membership(TO, Vec::new(), 0);
        let drop = kernel_drop("NOT_SPECIFIED", "10.9.0.1:0", "239.1.2.3:0", 9);
        observation.kernel_drops.drops = vec![KernelDrop { protocol: 136, ..drop }];
        let finding = silence(&observation).unwrap();
        assert!(
            finding.cause.contains("10.9.0.1 sends packets of UDP-Lite (IP protocol 136) to 239.1.2.3"),
            "{}",
            finding.cause
        );
    }

    #[test]
    fn silence_is_reported_only_with_a_complete_capture() {
        assert!(silence(&membership(TO, Vec::new(), 0)).is_some());
        let mut uncaptured = membership(TO, Vec::new(), 0);
        uncaptured.wire.taps[0].refused = Some("no right".into());
        assert_eq!(silence(&uncaptured), None);
        assert_eq!(silence(&membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0)), None);
    }
}
