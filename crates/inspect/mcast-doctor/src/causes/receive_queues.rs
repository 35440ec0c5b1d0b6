//! Losses on the receiving machine: in queues that overflow, and where no other finding explains them.

use std::collections::BTreeMap;

use mcast::InterfaceIndex;

use super::filter_rules::{INCOMING, arriving, arriving_for, met_by};
use super::{Cause, Check, between};
use crate::change::{Attribute, Change};
use crate::fate::Stage;
use crate::fate::depth::{BUFFER_FULL, Depth, ExpectedFlow};
use crate::fate::sockets::ExaminedSocket;
use crate::kernel_drops::{KernelDrop, evidence};
use crate::netfilter::{Hook, Layer, RuleEffect};
use crate::observation::{Interest, Observation, ProgramSocket};
use crate::snapshot::{Counter, DroppingRule, UdpSocket, explains};
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Tool, remedies};

/// The device's ring or the kernel's backlog queue is full: datagrams are lost before the IP layer.
pub(super) const BACKLOG_DROPS: Cause =
    Cause::new(Check::Observation(backlog_drops), &["sysctl/net: netdev_max_backlog"])
        .offering(|on| [&enlarge_backlog()[..], &[enlarge_ring(on.name())]].concat());

fn backlog_drops(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    if interests.is_empty() {
        return Vec::new();
    }
    let queue = observation.after.backlog_dropped.saturating_sub(observation.before.backlog_dropped);
    let mut findings: Vec<_> =
        interests.iter().filter_map(|interest| of_interest(observation, interest)).collect();
    // The counter covers the whole machine, so it is evidence only together with a loss.
    if findings.is_empty()
        && queue > 0
        && observation.expected_flows().iter().any(|flow| flow.status.depth.is_lost_here())
    {
        findings.push(
            Finding::warning(
                Id::BacklogDrops,
                "The kernel's queue between the device and the IP layer overflowed and dropped packets.",
            )
            .change(
                EvidenceKind::Counter,
                "/proc/net/softnet_stat, second column",
                observation.before.backlog_dropped,
                observation.after.backlog_dropped,
            )
            .with_remedies(enlarge_backlog()),
        );
    }
    let mut interfaces: Vec<_> = interests.iter().map(|interest| interest.interface).collect();
    interfaces.dedup();
    findings.extend(interfaces.into_iter().filter_map(|interface| ring(observation, interface)));
    findings
}

/// Returns the finding about datagrams of an interest for which the kernel gives the queue as the reason.
fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.dropped_flows(interest, |drop| drop.reason == "CPU_BACKLOG");
    let drops: Vec<_> = flows.iter().flat_map(|flow| flow.drops.iter().copied()).collect();
    let (interface, to) = (observation.link_name(drops.first()?.arrived_on?), interest.destination());
    let cause = format!(
        "The kernel's queue between the device {interface} and the IP layer overflowed and dropped datagrams to {to}."
    );
    let finding = Finding::fault(Id::BacklogDrops, cause)
        .concerning(interface, to)
        .with_all_evidence(evidence(drops))
        .with_remedies(enlarge_backlog());
    Some(finding)
}

fn enlarge_backlog() -> [Remedy; 2] {
    let scope = RemedyScope::new("everything that arrives on this machine, on any interface");
    remedies::sysctl("net.core.netdev_max_backlog", 10_000, scope)
}

fn enlarge_ring(interface: &str) -> Remedy {
    Remedy::now_changing(Tool::Ethtool, Change::interface(interface, Attribute::ReceiveRing, 4096))
        .with_scope(
            RemedyScope::new(format!("everything that arrives on {interface}"))
                .warning("many devices lose their link for some seconds, and with it a remote session"),
        )
}

fn ring(observation: &Observation, interface: InterfaceIndex) -> Option<Finding> {
    let (before, after) = (observation.before.link(interface)?, observation.after.link(interface)?);
    let missed = (before.statistics.receive_missed, after.statistics.receive_missed);
    (missed.1 > missed.0).then(|| {
        Finding::warning(
            Id::BacklogDrops,
            format!("The receive ring of {} overflowed: the device dropped packets that the kernel did not fetch in time.", after.name()),
        )
        .on_interface(after.name())
        .change(EvidenceKind::Counter, format!("{} rx_missed_errors", after.name()), missed.0, missed.1)
        .with_remedies([enlarge_ring(after.name())]).advise(Tool::Program, "The device puts all datagrams of one flow into one queue: spread the load over several groups or ports.")
    })
}

/// A socket's receive buffer is full, so arriving datagrams are dropped.
pub(super) const RECEIVE_BUFFER_OVERFLOW: Cause =
    Cause::new(Check::Observation(receive_buffer_overflow), &["socket(7): SO_RCVBUF"])
        .at(Stage::Queue)
        .offering(|on| {
            let enlarge = remedies::socket::receive_buffer(212_992, LARGE_BUFFER as usize);
            on.on_socket(&[enlarge]).into_iter().chain(raise_limit()).collect()
        });

/// The recommended buffer size: about 1/30 s of traffic at 1 Gbit/s.
const LARGE_BUFFER: i64 = 4 << 20;

fn receive_buffer_overflow(observation: &Observation) -> Vec<Finding> {
    if observation.is_about_machine() {
        return observation
            .after
            .udp_sockets
            .iter()
            .filter_map(|socket| of_machine(observation, socket))
            .collect();
    }
    let examined = observation.examined_sockets();
    let mut findings: Vec<_> =
        examined.iter().filter_map(|examined| of_program(observation, examined)).collect();
    if observation.program().is_none() {
        findings.extend(of_doctor(observation).or_else(|| of_any_program(observation)));
    }
    findings
}

/// Judges a socket that a program reads too slowly. One that is not read at all has causes of its own.
fn of_program(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    let full = observation.losses_of(socket).full;
    if full == 0 || socket.is_stopped() || observation.is_unread(socket) {
        return None;
    }
    let (before, after) = socket.drops;
    let local = socket.local?;
    let size = socket
        .receive_buffer
        .map(|size| Evidence::new(EvidenceKind::Socket, "SO_RCVBUF", format!("{size} bytes")));
    let finding = Finding::new(
        Id::ReceiveBufferOverflow,
        examined.severity,
        format!("{program} does not read fast enough from its socket on {local}: {full} datagrams were dropped because the buffer was full."),
    )
    .in_program(program)
    .explaining(flows_at(observation, socket))
    .change(EvidenceKind::Counter, format!("drops of socket {} in /proc/net/udp", socket.inode), before, after)
    .with_all_evidence(evidence(observation.drops_at(socket, BUFFER_FULL)))
    .with_all_evidence(size)
    .with_remedies(socket.receive_buffer.and_then(|size| {
        let large = LARGE_BUFFER as usize;
        let change = remedies::socket::receive_buffer(size, large);
        remedies::socket::change(socket, &[change]).filter(|_| size < large)
    }))
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

/// Returns the flows that stop at a socket.
fn flows_at(observation: &Observation, socket: &ProgramSocket) -> Vec<ExplainedFlow> {
    let flows = observation.expected_flows().into_iter().filter(|flow| {
        flow.status.depth == Depth::AtSocket
            && flow.interest.socket.is_some_and(|other| other.inode == socket.inode)
    });
    flows.map(|flow| ExplainedFlow::from(&flow.status)).collect()
}

/// Judges the sockets bound to a group, which are certainly used for multicast. A warning, because the drops may
/// be long ago.
fn of_machine(observation: &Observation, socket: &UdpSocket) -> Option<Finding> {
    if socket.drops == 0 || !socket.local.ip().is_multicast() {
        return None;
    }
    let who = socket.programs.first().map_or("An unidentified program", String::as_str);
    let finding = Finding::warning(
        Id::ReceiveBufferOverflow,
        format!(
            "{who} has lost {} datagrams to {} because the receive buffer of its socket was full.",
            socket.drops, socket.local
        ),
    )
    .for_group(socket.local)
    .in_program(who)
    .evidence(
        EvidenceKind::Counter,
        format!("drops of socket {} in /proc/net/udp", socket.inode),
        socket.drops,
    )
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

/// Judges the doctor's own socket: not a fault, but a program with the same buffer size would lose datagrams too. A socket
/// that received nothing was not full, and dropped them for another reason.
fn of_doctor(observation: &Observation) -> Option<Finding> {
    let trial = observation.trial()?;
    let full = observation.losses_of_trial(trial).full;
    if full == 0 {
        return None;
    }
    let finding = Finding::note(
        Id::ReceiveBufferOverflow,
        format!(
            "The receive buffer of the doctor's own socket was too small for {}: {full} datagrams were dropped.",
            trial.destination()
        ),
    )
    .for_group(trial.destination())
    .evidence(EvidenceKind::Counter, "SO_MEMINFO drops", full)
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

/// Judges the counter for all sockets together, on systems that have no other (macOS, FreeBSD).
fn of_any_program(observation: &Observation) -> Option<Finding> {
    let interest =
        observation.interests().into_iter().next().filter(|_| observation.after.udp_sockets.is_empty())?;
    let name = Counter::ReceiveBufferErrors.name(interest.family());
    let (before, after) = observation.values(name).filter(|(before, after)| after > before)?;
    let finding = Finding::warning(
        Id::ReceiveBufferOverflow,
        format!("{} datagrams were dropped while listening because the receive buffer of some program was full. The kernel does not report which.", after - before),
    )
    .change(EvidenceKind::Counter, "netstat -s -p udp, dropped due to full socket buffers", before, after)
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

fn buffer_remedies(observation: &Observation) -> Vec<Remedy> {
    let mut remedies = vec![Remedy::advice(
        Tool::Program,
        "Request a larger buffer (SO_RCVBUF, 4 MiB), read in batches (recvmmsg), and process the datagrams in a different thread.",
    )];
    if observation.after.number("net.core.rmem_max").is_some_and(|limit| limit < LARGE_BUFFER) {
        remedies.extend(raise_limit());
    }
    remedies
}

fn raise_limit() -> [Remedy; 2] {
    let scope = RemedyScope::after_restart("the largest buffer that any program on this host may request");
    remedies::sysctl("net.core.rmem_max", LARGE_BUFFER, scope)
}

pub(super) const LOST_IN_THIS_MACHINE: Cause =
    Cause::new(Check::Unexplained(lost_in_this_machine), &["nft(8): hooks", "tc-bpf(8)", "ip-link(8): xdp"])
        .at(Stage::Unknown);

/// The maximum number of sources that a sentence names.
const MAX_NAMED: usize = 3;

/// The stretch of the way from the wire to the program on which datagrams were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stretch {
    /// Before the IP layer counts packets.
    BeforeIp,
    /// Between the counter of all packets and that of accepted packets to groups: `prerouting` and routing.
    Routing,
    /// Between the IP layer and UDP: `input`.
    Input,
    /// Between UDP and the socket.
    Udp,
    /// The socket has them.
    Socket,
    /// Between the wire and the socket: the counters include too much other traffic.
    Unknown,
}

fn lost_in_this_machine(observation: &Observation, unexplained: &[ExpectedFlow<'_>]) -> Vec<Finding> {
    let mut groups: BTreeMap<_, Vec<&ExpectedFlow<'_>>> = BTreeMap::new();
    // What its sender does not loop back is lost nowhere, and does not get to a firewall that would drop it.
    let is_looped = |flow: &&ExpectedFlow<'_>| {
        flow.flow.is_none_or(|flow| !flow.key.outgoing || observation.without_loopback(flow).is_none())
    };
    let lost = unexplained.iter().filter(|flow| flow.status.depth.is_lost_here());
    for flow in lost.filter(is_looped) {
        let (stretch, reason) = (stretch(observation, flow), main_reason(observation, flow));
        let status = &flow.status;
        groups
            .entry((status.destination, status.interface.clone(), status.program.clone(), stretch, reason))
            .or_default()
            .push(flow);
    }
    let groups = groups.into_iter();
    let after_arrival =
        groups.map(|((.., stretch, reason), flows)| finding(observation, stretch, reason, &flows));
    after_arrival.chain(between::lost_between(observation, unexplained)).collect()
}

/// Returns where a flow was lost, as far as the counters show it.
fn stretch(observation: &Observation, flow: &ExpectedFlow<'_>) -> Stretch {
    let family = flow.interest.family();
    let rise = |counter| observation.rise(counter, family);
    let lost = lost(flow);
    let is_small = |count: u64| count.saturating_mul(5) < lost;
    // The counters count coalesced packets once.
    let is_counted = flow.flow.is_none_or(|flow| flow.resegmented == 0 && flow.fragmented == 0);
    let at_input = flow.flow.and_then(|flow| observation.hooks.of_flow(Layer::Ip, Hook::Input, &flow.key));
    match (flow.status.depth, rise(Counter::InReceives), rise(Counter::InMulticast)) {
        (Depth::AtSocket, ..) => match drops_of(observation, flow).next() {
            Some(drop) if drop.reason != BUFFER_FULL => Stretch::Udp,
            _ => Stretch::Socket,
        },
        // The temporary rules count by flow, and the counters everything since before the join.
        (Depth::AtIp, ..) if at_input.is_some_and(|(_, passed)| explains(passed, lost)) => Stretch::Udp,
        (Depth::AtIp, ..)
            if rise(Counter::IgnoredMulticast).is_some_and(|ignored| explains(ignored, lost)) =>
        {
            Stretch::Udp
        }
        (Depth::AtIp, received, _) => {
            let delivered = rise(Counter::InDelivers);
            let undelivered = received.zip(delivered).map(|(all, delivered)| all.saturating_sub(delivered));
            match undelivered {
                Some(undelivered) if explains(undelivered, lost) => Stretch::Input,
                Some(_) => Stretch::Udp,
                None => Stretch::Unknown,
            }
        }
        (_, Some(received), _) if is_counted && is_small(received) => Stretch::BeforeIp,
        (_, Some(received), Some(accepted))
            if is_counted && is_small(accepted) && explains(received, lost) =>
        {
            Stretch::Routing
        }
        _ => Stretch::Unknown,
    }
}

fn lost(flow: &ExpectedFlow<'_>) -> u64 {
    flow.status.on_wire.unwrap_or_default().saturating_sub(flow.status.received.unwrap_or_default())
}

fn finding(
    observation: &Observation,
    stretch: Stretch,
    reason: Option<String>,
    flows: &[&ExpectedFlow<'_>],
) -> Finding {
    let Some(one) = flows.first() else {
        return Finding::fault(Id::LostInThisMachine, stretch.location());
    };
    let status = &one.status;
    let (interface, to) = (&status.interface, status.destination);
    let lost: u64 = flows.iter().map(|flow| lost(flow)).sum();
    let all: u64 = flows.iter().filter_map(|flow| flow.status.on_wire).sum();
    let sources = sources(flows);
    let reason = reason.map(|reason| format!("; the kernel's reason is {reason}")).unwrap_or_default();
    let drops = flows.iter().flat_map(|flow| drops_of(observation, flow));
    let cause = format!(
        "This machine loses {lost} of {all} datagrams from {sources} to {to} that arrived on {interface}. They are lost {}{reason}.",
        stretch.location()
    );
    let packets = flows.iter().take(MAX_NAMED).filter_map(|flow| flow.flow);
    let counters = stretch.counters().iter();
    let rules = uncounted_rules(observation, stretch, one)
        .into_iter()
        .map(|rule| Evidence::new(EvidenceKind::Rule, rule.location(), "may drop them; it has no counter"));
    let finding = Finding::fault(Id::LostInThisMachine, cause)
        .concerning(interface, to)
        .from_sources(flows.iter().filter_map(|flow| flow.status.source))
        .explaining(flows.iter().map(|flow| ExplainedFlow::from(&flow.status)))
        .with_all_evidence(evidence(drops))
        .with_all_evidence(packets.map(|flow| observation.packets_of(flow)))
        .with_all_evidence(
            counters.filter_map(|counter| observation.counter_change(*counter, one.interest.family())),
        )
        .with_all_evidence(rules)
        .advise(
            if stretch == Stretch::Socket { Tool::Program } else { Tool::Network },
            stretch.candidates(interface),
        );
    finding.with(status.program.as_ref(), Finding::in_program)
}

/// Returns the reason that the kernel gives for most drops of a flow.
fn main_reason(observation: &Observation, flow: &ExpectedFlow<'_>) -> Option<String> {
    drops_of(observation, flow).max_by_key(|drop| drop.packets).map(KernelDrop::describe)
}

/// Returns the drops of a flow that the kernel reports.
fn drops_of<'a>(
    observation: &'a Observation,
    flow: &ExpectedFlow<'_>,
) -> impl Iterator<Item = &'a KernelDrop> {
    observation.kernel_drops.drops.iter().filter(move |drop| match flow.flow {
        Some(flow) => drop.is_of(&flow.key),
        None => {
            drop.arrived_on == Some(flow.interest.interface)
                && drop.is_to(flow.status.destination)
                && Some(drop.source) == flow.status.source
        }
    })
}

/// Returns the sources as a list that is cut after a few.
fn sources(flows: &[&ExpectedFlow<'_>]) -> String {
    let mut named: Vec<_> = flows
        .iter()
        .take(MAX_NAMED)
        .filter_map(|flow| flow.status.source)
        .map(|source| source.to_string())
        .collect();
    if flows.len() > MAX_NAMED {
        named.push(format!("{} others", flows.len() - MAX_NAMED));
    }
    named.join(", ")
}

/// Returns the rules without a counter on this stretch that may drop the datagrams of a flow.
fn uncounted_rules(
    observation: &Observation,
    stretch: Stretch,
    flow: &ExpectedFlow<'_>,
) -> Vec<DroppingRule> {
    let hooks: &[Hook] = match stretch {
        Stretch::BeforeIp => &[Hook::Ingress],
        Stretch::Routing => &[Hook::Prerouting],
        Stretch::Input => &[Hook::Input],
        Stretch::Udp | Stretch::Socket => &[],
        Stretch::Unknown => &[Hook::Ingress, Hook::Prerouting, Hook::Input],
    };
    let packet = flow
        .flow
        .map_or_else(|| arriving_for(observation, &flow.interest), |flow| arriving(observation, flow));
    let places = INCOMING.into_iter().filter(|(_, hook)| hooks.contains(hook));
    let effects = [RuleEffect::Drop, RuleEffect::Queue];
    let met = places.flat_map(|place| met_by(observation, &packet, place, &flow.status.interface, &effects));
    met.map(|outcome| outcome.rule).filter(|rule| rule.packets.is_none()).collect()
}

impl Stretch {
    fn location(self) -> &'static str {
        match self {
            Self::BeforeIp => "before the IP layer",
            Self::Routing => "in the IP layer, which does not accept them",
            Self::Input => "between the IP layer and UDP",
            Self::Udp => "between UDP and the socket",
            Self::Socket => "at the socket: the program does not read them",
            Self::Unknown => "somewhere between the wire and the socket",
        }
    }

    /// Returns what loses datagrams here, and how to look it up.
    fn candidates(self, interface: &str) -> String {
        match self {
            Self::BeforeIp => format!(
                "Look for an XDP program (ip -details link show dev {interface}), a tc filter (tc filter show dev {interface} ingress), and rules of the families netdev and bridge (nft list ruleset)."
            ),
            Self::Routing => format!(
                "Look for rules at the hook prerouting, including those without a counter and \"fib ... missing drop\" (nft list ruleset, iptables-legacy -t raw -S), policy routing (ip rule, ip route get SOURCE), and redirects (nat, tproxy). Compare the route to the source with {interface}."
            ),
            Self::Input => {
                "Look for rules at the hook input (nft list ruleset, iptables-legacy -S).".to_owned()
            }
            Self::Udp => {
                "Look for rules that change or redirect the port (nft list ruleset), a policy of IPsec (ip xfrm policy), a filter on the socket (ss --udp --bpf), and a BPF program on its control group (bpftool cgroup tree)."
                    .to_owned()
            }
            Self::Socket => {
                "The program may be stopped, busy or waiting for something else: see what it does (ps, strace)."
                    .to_owned()
            }
            Self::Unknown => format!(
                "Look for packet filters (nft list ruleset, iptables-legacy -S), tc filters (tc filter show dev {interface} ingress), XDP programs (ip -details link show dev {interface}), policy routing (ip rule) and a filter on the socket (ss --udp --bpf)."
            ),
        }
    }

    /// Returns the counters around the stretch.
    fn counters(self) -> &'static [Counter] {
        match self {
            Self::BeforeIp => &[Counter::InReceives],
            Self::Routing => &[Counter::InReceives, Counter::InMulticast],
            Self::Input => &[Counter::InMulticast, Counter::InDelivers],
            Self::Udp => &[Counter::InDelivers, Counter::IgnoredMulticast, Counter::ReceiveBufferErrors],
            Self::Socket => &[Counter::InDelivers, Counter::DatagramsRead],
            Self::Unknown => &[Counter::InReceives, Counter::InMulticast, Counter::InDelivers],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        ETH0, add_sender, flow, joined_socket, kernel_drop, membership, severities, with_counters,
    };
    use mcast::SourceFilter;

    use super::super::judge;
    use super::*;
    use crate::Severity;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn machine_wide_drops_are_reported_only_with_a_loss() {
        let with = |received| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
            observation.after.backlog_dropped = 5;
            backlog_drops(&observation).len()
        };
        assert_eq!((with(10), with(5)), (0, 1));
    }

    #[test]
    fn reason_of_the_kernel_is_proof() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 5);
        observation.kernel_drops.drops = vec![kernel_drop("CPU_BACKLOG", "10.9.0.1:6000", TO, 5)];
        observation.after.backlog_dropped = 5;
        assert_eq!(severities(&BACKLOG_DROPS, &observation), [Severity::Fault]);
    }

    /// A firewall drops the group of a program that sends to it, and wants nothing back.
    #[test]
    fn what_its_sender_does_not_loop_back_is_not_lost() {
        let outcome = |loopback, is_member: bool| {
            let mut sent = flow(ETH0, "10.9.0.2:5000", TO);
            sent.key.outgoing = true;
            let mut observation = membership(TO, vec![sent], 0);
            add_sender(&mut observation, 9, loopback);
            if is_member {
                observation.trial_mut().other_sockets = vec![joined_socket(ETH0, SourceFilter::ANY)];
            }
            let lost = lost_in_this_machine(&observation, &observation.expected_flows()).len();
            (lost, judge(&observation).iter().any(|finding| finding.id == Id::LoopbackOff))
        };
        assert_eq!(outcome(true, false), (1, true));
        assert_eq!(outcome(false, false), (0, true));
        // As with PTP.
        assert_eq!(outcome(false, true), (0, false));
    }

    #[test]
    fn full_ring_is_reported() {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.after.links[2].statistics.receive_missed = 3;
        assert_eq!(backlog_drops(&observation), [], "the ring of another interface");
        observation.after.links[1].statistics.receive_missed = 3;
        assert_eq!(backlog_drops(&observation).len(), 1);
    }

    fn causes(received: u64, rises: [u64; 3]) -> Vec<String> {
        let observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        let names = ["IpInReceives", "IpExtInMcastPkts", "IpInDelivers"];
        let rises: Vec<_> = names.into_iter().zip(rises).collect();
        let findings = judge(&with_counters(observation, &rises));
        let own = findings.into_iter().filter(|finding| finding.id == Id::LostInThisMachine);
        own.map(|finding| finding.cause).collect()
    }

    #[test]
    fn counters_show_where_datagrams_were_lost() {
        let lost = |rises, location: &str| {
            let causes = causes(0, rises);
            assert!(causes.len() == 1 && causes[0].contains(location), "{causes:?}");
        };
        lost(
            [0, 0, 0],
            "10 of 10 datagrams from 10.9.0.1:6000 to 239.1.2.3:5000 that arrived on eth0. They are lost before",
        );
        lost([12, 0, 2], "in the IP layer, which does not accept them");
        lost([12, 10, 12], "between UDP and the socket");
        lost([100, 1, 100], "in the IP layer");
    }

    #[test]
    fn another_finding_explains_the_loss_or_nothing_is_lost() {
        assert_eq!(causes(0, [10, 10, 0]), Vec::<String>::new(), "the firewall");
        assert_eq!(causes(10, [10, 10, 10]), Vec::<String>::new(), "received");
    }

    #[test]
    fn flows_lost_at_the_same_place_are_one_finding() {
        let flows = (1..=5).map(|last| flow(ETH0, &format!("10.9.0.{}:6000", last + 10), TO)).collect();
        let findings = judge(&with_counters(membership(TO, flows, 0), &[("IpInReceives", 0)]));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.flows.len(), 5);
        assert!(
            finding.cause.contains("50 of 50") && finding.cause.contains("2 others"),
            "{}",
            finding.cause
        );
    }

    #[test]
    fn each_source_has_the_reason_of_its_own_drops() {
        let sources = ["10.9.0.1:6000", "10.9.0.7:6000"];
        let reasons = [("XFRM_POLICY", 10), ("IP_INHDR", 8)];
        let drops: Vec<_> = sources
            .iter()
            .zip(reasons)
            .map(|(source, (reason, packets))| kernel_drop(reason, source, TO, packets))
            .collect();
        let seen = sources.iter().map(|source| flow(ETH0, source, TO)).collect();
        // Without a capture of the flows, the drops themselves show them.
        for flows in [seen, Vec::new()] {
            let mut observation = membership(TO, flows, 0);
            observation.kernel_drops.drops = drops.clone();
            let lost = observation.expected_flows();
            let findings = lost_in_this_machine(&observation, &lost);
            assert_eq!(findings.len(), 2, "{findings:#?}");
            for (source, (reason, _)) in sources.iter().zip(reasons) {
                let mut of_source = findings.iter().filter(|finding| finding.cause.contains(source));
                let cause = &of_source.next().unwrap().cause;
                assert!(cause.contains(reason), "{cause}");
            }
        }
    }

    #[test]
    fn one_of_two_sources_is_lost() {
        let flows = vec![flow(ETH0, "10.9.0.1:6000", TO), flow(ETH0, "10.9.0.7:6000", TO)];
        let mut observation = membership(TO, flows, 10);
        observation.trial_mut().received.pop();
        let findings = judge(&observation);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(
            (finding.id, finding.subject.source().as_deref()),
            (Id::LostInThisMachine, Some("10.9.0.7:6000"))
        );
    }
}
