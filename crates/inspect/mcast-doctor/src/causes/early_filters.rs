//! What drops datagrams before the IP layer receives them or after it has sent them: traffic control and XDP.

use std::collections::BTreeSet;

use super::{Cause, Check, Forecast, tc_filters};
use crate::fate::Stage;
use crate::fate::forwarding::Barrier;
use crate::kernel_drops::{KernelDrop, evidence, is_same_or_unknown};
use crate::observation::{Interest, Observation};
use crate::snapshot::{Link, XdpProgram, explains};
use crate::wire::Flow;
use crate::{Endpoint, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Severity, Tool};

/// A traffic control filter drops the datagrams, before the IP layer receives them or after it has sent them.
pub(super) const TC_DROPS: Cause = Cause::new(Check::Observation(tc_drops), &["tc(8)", "tc-bpf(8)"])
    .at(Stage::TrafficControl)
    .predicted_by(Forecast::Flow(tc_drops_ahead))
    .offering(|on| vec![tc_filters::delete(on.name(), "ingress", "PREFERENCE")]);

fn tc_drops(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut counted = tc_filters::check(observation);
    counted.extend(at_ports(observation));
    let is_counted = |finding: &Finding| {
        let groups = &finding.subject.groups;
        counted.iter().any(|counted| counted.subject.groups.is_empty() || counted.subject.groups == *groups)
    };
    let by_reason = interests.iter().filter_map(|interest| arriving(observation, interest));
    let by_reason = by_reason.chain(leaving(observation)).filter(|finding| !is_counted(finding));
    let mut findings: Vec<_> = counted.iter().cloned().chain(by_reason).collect();
    // The same filter drops the reports.
    if findings.is_empty() {
        findings.extend(interests.iter().filter_map(|interest| reports(observation, interest)));
    }
    findings
}

/// Returns the findings about what a bridge or router should forward, and about what does not get from a port to its
/// bridge, or to a macvlan.
fn at_ports(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let at_ingress = interests.iter().flat_map(|interest| dropped_below(observation, interest));
    let mut findings: Vec<_> = at_ingress.collect();
    for blocked in observation.blocked_flows(Barrier::TrafficControl) {
        for leg in &blocked.legs {
            if tc_filters::is_filtered(observation, leg.flow, leg.lost(), (leg.to, false)) {
                findings.push(at_port(observation, leg.flow, leg.lost(), (leg.to, false)));
            }
        }
    }
    findings
}

fn dropped_below(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    let is_below = |flow: &&Flow| {
        !flow.key.outgoing
            && observation.is_below(flow.key.interface, interest.interface)
            && flow.destination() == interest.destination()
    };
    let Some(upper) = observation.link(interest.interface) else { return Vec::new() };
    let flows = observation.wire.ports.flows.iter().chain(&observation.wire.flows).filter(is_below);
    let findings = flows.filter_map(|flow| {
        let port = observation.after.link(flow.key.interface)?;
        let is_short = observation.is_short_on(upper, flow);
        let lost = flow.datagrams.saturating_sub(observation.passed_to(upper, flow));
        let is_here = is_short && tc_filters::is_filtered(observation, flow, lost, (port, true));
        is_here.then(|| at_port(observation, flow, lost, (port, true)))
    });
    findings.collect()
}

fn at_port(observation: &Observation, flow: &Flow, lost: u64, (link, is_ingress): (&Link, bool)) -> Finding {
    let does = if is_ingress { "go no further than" } else { "do not leave by" };
    let cause = format!(
        "{lost} of {} datagrams from {} to {} {does} {}: {}.",
        flow.datagrams,
        flow.key.source,
        flow.destination(),
        link.name(),
        tc_filters::culprit(link, is_ingress)
    );
    let drops = tc_filters::filter_drops(observation, flow, link);
    let finding = Finding::fault(Id::TcDrops, cause)
        .about_flow(link.name(), flow)
        .with_evidence(observation.packets_of(flow))
        .with_all_evidence(evidence(drops));
    tc_filters::with_filters(finding, observation, link, is_ingress)
}

/// Returns the finding about a flow whose group is not joined where it arrives.
fn tc_drops_ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let drops = observation.kernel_drops.drops.iter();
    let drops: Vec<_> = drops.filter(|drop| is_filter(drop) && drop.is_of(&flow.key)).collect();
    let dropped = drops.iter().map(|drop| drop.packets).sum();
    let by_reason = explains(dropped, flow.datagrams).then(|| {
        let (interface, to) = (observation.link_name(flow.key.interface), flow.destination());
        let what = format!("the datagrams to {to} when they arrive, before the IP layer sees them");
        tc_drops_finding(&interface, to, &what, "ingress").with_all_evidence(evidence(drops))
    });
    by_reason.or_else(|| tc_filters::ahead(observation, flow))
}

fn is_filter(drop: &KernelDrop) -> bool {
    drop.reason.starts_with("TC_")
}

fn arriving(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.dropped_flows(interest, is_filter);
    let to = interest.destination();
    let drops: Vec<_> = flows.iter().flat_map(|flow| flow.drops.iter().copied()).collect();
    let interface = observation.link_name(drops.first()?.arrived_on?);
    let what = format!("the datagrams to {to} when they arrive, before the IP layer sees them");
    Some(tc_drops_finding(&interface, to, &what, "ingress").with_all_evidence(evidence(drops)))
}

fn leaving(observation: &Observation) -> Option<Finding> {
    let drops = observation.dropped_sending(is_filter);
    let first = drops.first()?;
    let (interface, to) = (observation.link_name(first.interface?), first.destination);
    let what = format!("the datagrams to {to} that this machine sends, so they do not leave it");
    Some(tc_drops_finding(&interface, to, &what, "egress").with_all_evidence(evidence(drops)))
}

fn reports(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let mut drops = observation.dropped_reports(interest);
    drops.retain(|drop| is_filter(drop));
    let interface = observation.link_name(drops.first()?.interface?);
    let (protocol, group) = (interest.protocol(), interest.group);
    let what = format!(
        "the {protocol} reports of this machine, so switches and routers do not learn that it has joined {group}"
    );
    Some(tc_drops_finding(&interface, group, &what, "egress").with_all_evidence(evidence(drops)))
}

fn tc_drops_finding(interface: &str, to: impl Into<Endpoint>, what: &str, direction: &str) -> Finding {
    let advice = format!(
        "List the filters: tc -s filter show dev {interface} {direction}, and those attached by BPF: bpftool net show dev {interface}. Delete the one that drops: tc filter del dev {interface} {direction} pref PREF. If the network plugin of a container platform added it, other traffic may depend on it: change the plugin's policy instead."
    );
    let cause = format!("A traffic control filter (tc) of {interface} drops {what}.");
    Finding::fault(Id::TcDrops, cause).concerning(interface, to).advise(Tool::Tc, advice)
}

/// An XDP program drops the datagrams, before a capture or the IP layer sees them.
pub(super) const XDP_DROPS: Cause = Cause::new(Check::Interest(xdp_drops), &["ip-link(8): xdp"])
    .at(Stage::Xdp)
    .offering(|on| vec![detach_program(on.name(), "xdp")]);

fn xdp_drops(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let own =
        observation.link(interest.interface).and_then(|link| dropping_program(observation, interest, link));
    if own.as_ref().is_some_and(|finding| finding.severity == Severity::Fault) {
        return own;
    }
    by_reason(observation, interest).or(own).or_else(|| at_places_below(observation, interest))
}

/// Judges the programs of the ports of a bridge, and of the device that a macvlan is on. Frames that they drop reach neither
/// the tap of the port nor the joined interface.
fn at_places_below(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let is_below = |link: &&Link| observation.is_below(link.index(), interest.interface);
    let below: Vec<_> = observation.after.links.iter().filter(is_below).collect();
    let by_reason = below.iter().find_map(|link| by_reason_below(observation, interest, link));
    by_reason.or_else(|| {
        // Which of the frames at a port are the group's is not known: another port may lead to its sender.
        let suspected = |link: &&Link| dropping_program(observation, interest, link);
        let is_unseen = observation.flows_below(interest).is_empty();
        let finding = below.iter().filter(|_| is_unseen).find_map(suspected)?;
        Some(Finding { severity: Severity::Warning, ..finding })
    })
}

/// Judges by the packets to the group whose drop the kernel reports at a place below the joined interface.
fn by_reason_below(observation: &Observation, interest: &Interest<'_>, link: &Link) -> Option<Finding> {
    let (to, above) = (interest.destination(), observation.link_name(interest.interface));
    let arrives = |drop: &KernelDrop| {
        let arrivals = observation.arrivals(interest);
        arrivals.iter().any(|flow| is_same_or_unknown(drop.source, flow.key.source))
    };
    let drops = observation.kernel_drops.drops.iter().filter(|drop| {
        drop.arrived_on == Some(link.index()) && drop.is_to(to) && drop.is_by_xdp() && !arrives(drop)
    });
    let drops: Vec<_> = drops.collect();
    let sources: BTreeSet<_> = drops.iter().map(|drop| drop.source).collect();
    let packets: u64 = drops.iter().map(|drop| drop.packets).sum();
    let (name, first) = (link.name(), sources.first()?);
    let program = link.xdp_program.map(|program| format!(" {}", program.id)).unwrap_or_default();
    let cause = format!(
        "The XDP program{program} of {name} drops the datagrams to {to} when they arrive there ({packets} packets), so they do not reach {above}."
    );
    let finding = Finding::fault(Id::XdpDrops, cause)
        .about(name, to, *first)
        .explaining([ExplainedFlow { destination: to, source: None, interface: above }])
        .with_all_evidence(evidence(drops.iter().copied()))
        .with_remedies(link.xdp_program.map(|program| detach_program(name, program.mode)));
    Some(finding.advise(Tool::Ip, correct_it(name)))
}

/// Returns how to find and remove the program of an interface.
fn correct_it(interface: &str) -> String {
    format!(
        "See which program it is: ip -details link show dev {interface}. Remove it with ip link set dev {interface} xdp off, or correct it. It may protect this machine from floods or balance load, and other traffic may depend on it."
    )
}

/// Judges by the packets whose drop the kernel reports.
fn by_reason(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let dropped = observation.dropped_flows(interest, KernelDrop::is_by_xdp);
    if dropped.is_empty() {
        return None;
    }
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let cause = format!(
        "An XDP program of {interface} drops the datagrams to {to}, so neither a capture nor the IP layer sees them."
    );
    let finding = Finding::fault(Id::XdpDrops, cause)
        .concerning(&interface, to)
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
        .advise(Tool::Ip, correct_it(&interface));
    Some(finding)
}

/// Fewer frames may have arrived before the tap was open.
const MIN_FRAMES: u64 = 10;

/// Returns the finding that the counters of the device and a tap without a filter prove: an XDP program drops or diverts
/// frames before packet taps see them.
fn dropping_program(observation: &Observation, interest: &Interest<'_>, link: &Link) -> Option<Finding> {
    let XdpProgram { id: program, mode } = link.xdp_program?;
    let (before, after) = (observation.before.link(link.index())?.statistics, link.statistics);
    let (seen, seen_bytes) = *observation.wire.unfiltered.get(&link.index())?;
    let received = after.received.saturating_sub(before.received);
    let bytes = after.received_bytes.saturating_sub(before.received_bytes);
    // Coalesced packets are fewer frames than the device received, but not fewer bytes.
    let missing = received.saturating_sub(seen);
    let is_dropping = missing >= MIN_FRAMES
        && bytes.saturating_sub(seen_bytes).saturating_mul(10) >= bytes.saturating_mul(3);
    if !is_dropping || !observation.arrivals(interest).is_empty() {
        return None;
    }
    let (name, to) = (link.name(), interest.destination());
    // Without any frame behind the program, nothing else can be what it lets through.
    let severity = if seen.saturating_mul(10) < received { Severity::Fault } else { Severity::Warning };
    let certainly = if severity == Severity::Fault { "drops or diverts" } else { "may drop or divert" };
    let finding = Finding::new(
        Id::XdpDrops,
        severity,
        format!("The XDP program {program} of {name} {certainly} the datagrams to {to}: {name} received {received} frames, and {missing} of them did not get past the program."),
    )
    .concerning(name, to)
    .change(EvidenceKind::Counter, format!("{name} rx_packets"), before.received, after.received)
    .evidence(EvidenceKind::Packet, name, format!("{seen} frames after the program"))
    .evidence(EvidenceKind::Interface, format!("ip link show dev {name}"), format!("XDP program {program}"))
    .with_remedies([detach_program(name, mode)]).advise(Tool::Ip, format!("Detaching the program also affects other traffic. `bpftool prog show id {program}` names it: if it is needed, make it pass the group instead."));
    Some(finding)
}

fn detach_program(interface: &str, mode: &str) -> Remedy {
    let scope = RemedyScope::new(format!("everything that arrives on {interface}"))
        .warning("what the program does for other traffic ends, too, such as protection or load balancing");
    Remedy::now(Tool::Ip, ["link", "set", "dev", interface, mode, "off"]).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity::{Fault, Warning};
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership};

    const TO: &str = "239.1.2.3:5000";

    fn observation(received: u64, drop: KernelDrop) -> Observation {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        observation.kernel_drops.drops = vec![drop];
        observation
    }

    fn causes(observation: &Observation) -> Vec<String> {
        TC_DROPS.judge(observation).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn direction_follows_from_where_the_packet_came_from() {
        let arriving = kernel_drop("TC_INGRESS", "10.9.0.1:6000", TO, 10);
        let [cause] = &causes(&observation(0, arriving.clone()))[..] else { panic!("no finding") };
        assert!(cause.contains("of eth0 drops the datagrams to 239.1.2.3:5000 when they arrive"), "{cause}");
        let leaving = KernelDrop { reason: "TC_EGRESS".into(), arrived_on: None, ..arriving };
        let [cause] = &causes(&observation(10, leaving))[..] else { panic!("no finding") };
        assert!(cause.contains("that this machine sends"), "{cause}");
    }

    #[test]
    fn drops_of_other_datagrams_or_for_other_reasons_are_no_evidence() {
        let drop = |reason, from, to| observation(0, kernel_drop(reason, from, to, 10));
        assert_eq!(causes(&drop("NETFILTER_DROP", "10.9.0.1:6000", TO)), Vec::<String>::new());
        assert_eq!(causes(&drop("TC_INGRESS", "10.9.0.1:6000", "239.1.2.3:5001")), Vec::<String>::new());
        let received = observation(10, kernel_drop("TC_INGRESS", "10.9.0.1:6000", TO, 10));
        assert_eq!(causes(&received), Vec::<String>::new());
    }

    #[test]
    fn function_of_the_driver_shows_what_the_reason_does_not() {
        let findings = |function: Option<&str>, reason| {
            let mut observation = membership(TO, Vec::new(), 0);
            let drop = kernel_drop(reason, "10.9.0.1:6000", TO, 10);
            observation.kernel_drops.drops =
                vec![KernelDrop { function: function.map(str::to_owned), ..drop }];
            XDP_DROPS.judge(&observation).len()
        };
        assert_eq!(findings(Some("veth_xdp_rcv_skb"), "NOT_SPECIFIED"), 1);
        assert_eq!((findings(None, "XDP"), findings(Some("ip_rcv"), "NOT_SPECIFIED")), (1, 0));
    }

    /// Returns the severities of the findings if the device received 100 frames and a tap saw `seen` of them.
    fn severities(program: Option<u32>, seen: u64) -> Vec<Severity> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        let link = &mut observation.after.links[1];
        link.xdp_program = program.map(|id| XdpProgram { id, mode: "xdpdrv" });
        (link.statistics.received, link.statistics.received_bytes) = (100, 10_000);
        observation.wire.unfiltered.insert(ETH0, (seen, seen * 100));
        observation
            .interests()
            .iter()
            .filter_map(|interest| dropping_program(&observation, interest, &observation.after.links[1]))
            .map(|finding| finding.severity)
            .collect()
    }

    #[test]
    fn program_is_reported_if_frames_do_not_get_behind_it() {
        assert_eq!(severities(Some(5), 0), [Fault]);
        assert_eq!(severities(Some(5), 50), [Warning]);
        assert_eq!(severities(Some(5), 95), []);
        assert_eq!(severities(None, 0), []);
    }
}
