//! Memberships: groups that are not joined, joined on another interface than they arrive on, or beyond a limit.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mcast::{ErrorKind, Family, InterfaceSelector, Membership, SourceFilter};

use super::{Cause, Check, Placeholders, filter_rules};
use crate::fate::Stage;
use crate::fate::sockets::ExaminedSocket;
use crate::finding::list;
use crate::observation::{Interest, Observation, Program, ProgramSocket, TrialMembership, index_of};
use crate::outcome::PrintedErrorKind;
use crate::snapshot::Link;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

/// The program has the port open but has not joined the group, so no socket receives it.
pub(super) const NOT_JOINED: Cause = Cause::new(Check::Observation(not_joined), &["RFC 1112 section 7.1"])
    .at(Stage::Membership)
    .offering(Placeholders::join);

fn not_joined(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return not_joined_beside(observation) };
    // Another socket of the program may hold the membership for the one that receives.
    let is_member =
        |socket: &ProgramSocket| !socket.memberships.is_empty() || !socket.memberships_after.is_empty();
    if program.sockets.iter().any(is_member) || !program.visible {
        return Vec::new();
    }
    program.sockets.iter().filter_map(|socket| judge_not_joined(observation, program, socket)).collect()
}

/// Judges the programs on this machine that have the port open and have joined no group: they receive what the doctor has joined.
fn not_joined_beside(observation: &Observation) -> Vec<Finding> {
    let sockets = observation.trial().map(|trial| trial.other_sockets.as_slice()).unwrap_or_default();
    let is_member =
        |owner: &str| sockets.iter().any(|other| other.owner == owner && !other.memberships.is_empty());
    let bound = sockets.iter().filter(|socket| !is_member(&socket.owner));
    let judged = bound.filter_map(|socket| {
        let flow = observation.wire.flows.iter().find(|flow| observation.depends_on_doctor(socket, flow))?;
        let finding = not_joined_finding(observation, &socket.owner, socket, flow.key.group, Some(flow))?;
        // A socket that is bound to no group may be for unicast.
        let severity = if socket.bound_group().is_some() { Severity::Fault } else { Severity::Warning };
        let cause = finding.cause.clone() + &while_examined(&socket.owner);
        Some(Finding { severity, cause, ..finding })
    });
    judged.collect()
}

fn judge_not_joined(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let local = socket.local?;
    let flow = observation.wire.flows.iter().find(|flow| {
        let matches_group = socket.bound_group().is_none_or(|group| group == flow.key.group);
        let can_receive = local.ip().is_unspecified() || socket.bound_group().is_some();
        !flow.key.outgoing
            && flow.key.port == local.port()
            && matches_group
            && can_receive
            && !observation.after.is_joined(flow.key.group, flow.key.interface)
    });
    let group = socket.bound_group().or_else(|| flow.map(|flow| flow.key.group))?;
    if observation.after.joined.iter().any(|joined| joined.group == group) {
        return None;
    }
    not_joined_finding(observation, &program.name, socket, group, flow)
}

fn not_joined_finding(
    observation: &Observation,
    program: &str,
    socket: &ProgramSocket,
    group: IpAddr,
    flow: Option<&Flow>,
) -> Option<Finding> {
    let local = socket.local?;
    let interface = flow.map(|flow| observation.link_name(flow.key.interface));
    let packets = flow.map(|flow| observation.packets_of(flow));
    let join = flow.and_then(|flow| {
        // Routers forward a source-specific group only to members that name the source.
        let is_ssm = mcast::Group::new(group).is_ok_and(mcast::Group::is_source_specific);
        let sources = match is_ssm {
            true => SourceFilter::Include([flow.key.source.ip()].into()),
            false => SourceFilter::ANY,
        };
        let changes = remedies::socket::join(group, flow.key.interface, &sources);
        remedies::socket::change(socket, &changes)
    });
    let finding = Finding::fault(
        Id::NotJoined,
        format!("{program} has port {} open, but no program on this machine has joined {group}.", local.port()),
    )
    .for_group(SocketAddr::new(group, local.port()))
    .in_program(program)
    .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("bound to {local}, no memberships"))
    .with_all_evidence(packets)
    .with_remedies(join)
    .advise(
        Tool::Program,
        format!("Join {group} on {} (MCAST_JOIN_GROUP with the index of the interface); binding alone does not join. If the program did join, the interface may have been deleted since: restart the program.", interface.as_deref().unwrap_or("the interface on which it arrives")),
    );
    Some(finding)
}

/// The program has left the group while it was examined.
pub(super) const LEFT_GROUP: Cause = Cause::new(Check::Observation(left_group), &["RFC 1112 section 7.1"])
    .at(Stage::Membership)
    .offering(Placeholders::join);

fn left_group(observation: &Observation) -> Vec<Finding> {
    // Programs beside an examined membership come and go.
    if observation.program().is_none() {
        return Vec::new();
    }
    let examined = observation.examined_sockets();
    examined.iter().flat_map(|socket| judge_left_group(observation, socket, &examined)).collect()
}

fn judge_left_group(
    observation: &Observation,
    examined: &ExaminedSocket<'_>,
    all: &[ExaminedSocket<'_>],
) -> Vec<Finding> {
    let siblings = || all.iter().filter(|other| other.program == examined.program);
    let is_kept = |membership: &Membership| {
        let same = |later: &Membership| {
            later.address.group == membership.address.group && later.interface == membership.interface
        };
        siblings().any(|other| other.socket.memberships_after.iter().any(same))
    };
    // If the interface is gone, the membership went with it.
    let has_interface = |membership: &Membership| {
        index_of(membership).is_some_and(|index| observation.after.link(index).is_some())
    };
    let left = examined.socket.memberships.iter();
    let left = left.filter(|membership| !is_kept(membership) && has_interface(membership));
    left.map(|membership| left_group_finding(observation, examined, membership)).collect()
}

fn left_group_finding(
    observation: &Observation,
    examined: &ExaminedSocket<'_>,
    membership: &Membership,
) -> Finding {
    let (program, socket, group) = (examined.program, examined.socket, membership.address.group);
    let interface = index_of(membership).map_or_else(String::new, |index| observation.link_name(index));
    // A program may end on purpose.
    let (severity, event) = match socket.closed {
        true => (Severity::Note, "closed its socket, and with it left"),
        false => (examined.severity, "left"),
    };
    let seconds = observation.listened().as_secs_f64();
    let join = index_of(membership).filter(|_| !socket.closed).and_then(|index| {
        let changes = remedies::socket::join(group.addr(), index, &membership.sources);
        remedies::socket::change(socket, &changes)
    });
    Finding::new(
        Id::LeftGroup,
        severity,
        format!("{program} {event} {group} on {interface} during the {seconds:.1} s in which it was examined."),
    )
    .concerning(interface, membership.address)
    .in_program(program)
    .change(
        EvidenceKind::Socket,
        format!("socket {}", socket.inode),
        format!("member of {group}"),
        if socket.closed { "closed" } else { "not a member" },
    )
    .with_all_evidence(observation.wire.incoming(group.addr()).map(|flow| observation.packets_of(flow)))
    .with_remedies(join)
    .advise(
        Tool::Program,
        "See when it leaves: `strace -f -e trace=setsockopt,close -p PID`, or `mcast groups --watch`. A membership ends when the program leaves the group or closes the socket.",
    )
}

/// The kernel was built without IGMP: it joins IPv4 groups, and reports none of them.
pub(super) const KERNEL_WITHOUT_IGMP: Cause =
    Cause::new(Check::Observation(kernel_without_igmp), &["RFC 9776 section 5", "ip-sysctl: igmp_qrv"]);

fn kernel_without_igmp(observation: &Observation) -> Vec<Finding> {
    let concerns = |interest: &Interest<'_>| {
        interest.group.addr().is_ipv4() && filter_rules::is_reported(interest.group.addr())
    };
    let is_concerned = observation.is_about_machine() || observation.interests().iter().any(concerns);
    if !is_concerned || !observation.after.lacks_igmp() {
        return Vec::new();
    }
    let cause = "The kernel of this machine was built without IGMP: it joins IPv4 groups, but reports none of them, so a switch that snoops and a router do not forward them to this machine.";
    let finding = Finding::warning(Id::KernelWithoutIgmp, cause)
        .evidence(EvidenceKind::Setting, "net.ipv4.igmp_qrv", "does not exist")
        .evidence(EvidenceKind::Table, "/proc/net/igmp", "does not exist")
        .advise(Tool::Network, "On WSL 2, join the group on Windows, too, in the mirrored mode: `mcast recv GROUP:PORT --discard` there reports it.")
        .advise(Tool::Program, "Use an IPv6 group, which this kernel reports, or a kernel that was built with CONFIG_IP_MULTICAST.");
    vec![finding]
}

/// The limit of memberships per socket, or of sources per membership, is reached.
pub(super) const MEMBERSHIP_LIMIT: Cause = Cause::new(
    Check::Observation(membership_limit),
    &["ip-sysctl: igmp_max_memberships", "ip-sysctl: igmp_max_msf"],
)
.offering(|_| remedies::sysctl(MEMBERSHIPS, 200, scope()).into());

const MEMBERSHIPS: &str = "net.ipv4.igmp_max_memberships";
const SOURCES: &str = "net.ipv4.igmp_max_msf";

fn membership_limit(observation: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> = refused(observation).into_iter().collect();
    if let Some(program) = observation.program() {
        findings.extend(printed(observation, program));
        // Programs that handle the limit open several sockets.
        let members = program.sockets.iter().filter(|socket| !socket.memberships.is_empty());
        if members.clone().count() == 1 {
            findings.extend(members.filter_map(|socket| full(observation, program, socket)));
        }
        findings.extend(
            program.sockets.iter().filter_map(|socket| full_of_sources(observation, program, socket)),
        );
    }
    findings
}

/// Judges the doctor's own join, if it failed because of a limit.
fn refused(observation: &Observation) -> Option<Finding> {
    let trial = observation.trial()?;
    let failure = trial.failed_with(ErrorKind::LimitReached)?;
    let sources = trial.membership.sources.sources().len();
    let too_many_sources = || {
        let group = trial.group();
        format!("The membership of {group} names {sources} sources, more than the kernel allows.")
    };
    let (setting, cause) = match (trial.group().family(), sources) {
        (Family::V4, 2..) => (SOURCES, too_many_sources()),
        (Family::V6, 2..) => ("net.ipv6.mld_max_msf", too_many_sources()),
        (Family::V4, _) => {
            (MEMBERSHIPS, "The socket has reached the kernel's limit of memberships.".to_owned())
        }
        (Family::V6, _) => (
            "net.core.optmem_max",
            "The socket has reached the kernel's limit of memory for memberships.".to_owned(),
        ),
    };
    let value = observation.after.setting(setting).unwrap_or("unknown");
    let raised = observation
        .after
        .number(setting)
        .unwrap_or(20)
        .saturating_mul(4)
        .max(i64::try_from(sources).unwrap_or(20))
        .max(20);
    let finding = Finding::fault(Id::MembershipLimit, cause)
        .for_group(trial.group())
        .evidence(EvidenceKind::Answer, "join", &failure.text)
        .evidence(EvidenceKind::Setting, setting, value)
        .with_remedies(remedies::sysctl(setting, raised, scope()))
        .with_remedies([restart()]);
    Some(finding)
}

/// Judges a program that prints that a join was refused.
fn printed(observation: &Observation, program: &Program) -> Option<Finding> {
    let errors = program.failed_with(PrintedErrorKind::LimitReached, &observation.wire);
    let error = errors.first()?;
    let limit = observation.after.number(MEMBERSHIPS)?;
    let finding = Finding::fault(
        Id::MembershipLimit,
        format!(
            "A join of {} was refused: a socket may join at most {limit} groups, and the number of sources per group is limited, too.",
            program.name
        ),
    )
    .in_program(&program.name)
    .evidence(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line)
    .evidence(EvidenceKind::Setting, MEMBERSHIPS, limit)
    .with_remedies(remedies::sysctl(MEMBERSHIPS, limit.saturating_mul(10), scope()))
    .with_remedies([restart()]);
    Some(finding)
}

/// Judges a socket of a program that has as many memberships as the system allows, so that the next join fails. What arrives on
/// its port for a group that nobody has joined is what it could not join.
fn full(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let (count, limit) = reached_limit(observation, socket)?;
    let lacking = refused_groups(observation, socket);
    let (severity, lacks) = match lacking.as_slice() {
        [] => (Severity::Warning, String::new()),
        [first, ..] => (
            Severity::Fault,
            format!(" Datagrams to {} arrive, which nobody has joined.", first.destination()),
        ),
    };
    let cause = format!(
        "A socket of {} has joined {count} groups, the most that the kernel allows per socket: the next join fails.{lacks}",
        program.name
    );
    let finding = Finding::new(Id::MembershipLimit, severity, cause)
        .in_program(&program.name)
        .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("{count} memberships"))
        .evidence(EvidenceKind::Setting, MEMBERSHIPS, limit)
        .with_all_evidence(lacking.iter().map(|flow| observation.packets_of(flow)))
        .with_remedies(remedies::sysctl(MEMBERSHIPS, limit.saturating_mul(10), scope()))
        .with_remedies([restart()])
        .advise(Tool::Program, format!("Or open another socket for every {limit} groups."));
    Some(finding.with(lacking.first(), |finding, flow| {
        finding.for_group(flow.destination()).on_interface(observation.link_name(flow.key.interface))
    }))
}

/// Returns the flows to the port of a socket whose groups no program on this machine has joined.
fn refused_groups<'a>(observation: &'a Observation, socket: &ProgramSocket) -> Vec<&'a Flow> {
    const MAX_SHOWN: usize = 3;
    let flows = observation.wire.flows.iter();
    flows.filter(|flow| is_refused(observation, socket, flow)).take(MAX_SHOWN).collect()
}

fn is_refused(observation: &Observation, socket: &ProgramSocket, flow: &Flow) -> bool {
    !flow.key.outgoing
        && flow.key.group.is_ipv4()
        && socket.local.is_some_and(|local| local.port() == flow.key.port)
        && !observation.after.joined.iter().any(|joined| joined.group == flow.key.group)
        && socket.memberships.iter().any(|own| index_of(own) == Some(flow.key.interface))
}

/// Returns how many IPv4 groups a socket has joined, and the limit, if it has reached it.
fn reached_limit(observation: &Observation, socket: &ProgramSocket) -> Option<(usize, usize)> {
    let limit = usize::try_from(observation.after.number(MEMBERSHIPS)?).ok().filter(|limit| *limit > 0)?;
    let is_v4 = |membership: &&Membership| membership.address.group.addr().is_ipv4();
    let count = socket.memberships.iter().filter(is_v4).count();
    (count >= limit).then_some((count, limit))
}

/// Returns whether the examined program may want what arrives, and was refused to join it because of the limit.
pub(super) fn may_be_refused(observation: &Observation, flow: &Flow) -> bool {
    let mut sockets = observation.program().into_iter().flat_map(|program| &program.sockets);
    sockets
        .any(|socket| reached_limit(observation, socket).is_some() && is_refused(observation, socket, flow))
}

/// Judges a membership of a program that names as many sources as the system allows.
fn full_of_sources(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let limit = usize::try_from(observation.after.number(SOURCES)?).ok().filter(|limit| *limit > 0)?;
    let full = socket.memberships.iter().find(|membership| {
        membership.address.group.addr().is_ipv4() && membership.sources.sources().len() >= limit
    })?;
    let refused = refused_sources(observation, socket, full);
    let severity = if refused.is_empty() { Severity::Warning } else { Severity::Fault };
    let finding = Finding::new(
        Id::MembershipLimit,
        severity,
        format!(
            "{} names {limit} sources for {}, the most that the kernel allows: the next source is refused.",
            program.name, full.address.group
        ),
    )
    .for_group(full.address.group)
    .in_program(&program.name)
    .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("{limit} sources"))
    .evidence(EvidenceKind::Setting, SOURCES, limit)
    .with_all_evidence(refused.into_iter().map(|flow| {
        let source = flow.key.source.ip();
        Evidence::new(
            EvidenceKind::Packet,
            observation.link_name(flow.key.interface),
            format!("{} datagrams from {source}, which is not one of them", flow.datagrams),
        )
    }))
    .with_remedies(remedies::sysctl(SOURCES, limit.saturating_mul(10), scope()))
    .with_remedies([restart()]);
    Some(finding)
}

/// Returns the flows from sources that a full membership does not admit. The program may have requested these
/// sources and been refused.
fn refused_sources<'a>(
    observation: &'a Observation,
    socket: &ProgramSocket,
    full: &Membership,
) -> Vec<&'a Flow> {
    let interest = socket.interests().filter(|interest| {
        interest.group == full.address.group && Some(interest.interface) == index_of(full)
    });
    let unadmitted = |flow: &&Flow| !full.sources.admits(flow.key.source.ip());
    interest.flat_map(|interest| observation.arrivals(&interest)).filter(unadmitted).collect()
}

/// Returns whether a membership names as many sources as the system allows, so that others may have been refused.
pub(super) fn is_full_of_sources(observation: &Observation, sources: &SourceFilter) -> bool {
    let limit = observation.after.number(SOURCES).and_then(|limit| usize::try_from(limit).ok());
    matches!(sources, SourceFilter::Include(_))
        && limit.is_some_and(|limit| limit > 0 && sources.sources().len() >= limit)
}

fn scope() -> RemedyScope {
    RemedyScope::after_restart("every program of this host may join more")
}

fn restart() -> Remedy {
    Remedy::advice(Tool::Program, "Then restart every program that was refused: few programs retry a join.")
}

pub(super) const JOINED_OTHER_INTERFACE: Cause =
    Cause::new(Check::Observation(joined_other_interface), &["RFC 3678 section 4"])
        .at(Stage::Membership)
        .offering(|on| {
            on.join().into_iter().chain(remedies::linux::route_group(on.to.ip(), &on.link, false)).collect()
        });

fn joined_other_interface(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    // Sockets may join several groups; each is judged separately.
    let addresses: BTreeSet<_> = interests.iter().map(Interest::address).collect();
    let judged = addresses.into_iter().filter_map(|address| {
        let same = interests.iter().filter(|interest| interest.address() == address);
        judge(observation, &same.copied().collect::<Vec<_>>())
    });
    let on_ports = interests.iter().filter_map(|interest| joined_on_port(observation, interest));
    judged.chain(on_ports).chain(others(observation)).collect()
}

/// The kinds of interfaces that take what arrives at their ports. A VRF does not.
const TAKERS: [&str; 3] = ["bridge", "bond", "team"];

/// Judges a group that is joined on a port of a bridge or bond and arrives there: what is above it takes all frames.
fn joined_on_port(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let port = observation.link(interest.interface)?;
    let above = observation.link(port.interface.port_of?)?;
    if !above.kind.as_deref().is_some_and(|kind| TAKERS.contains(&kind)) {
        return None;
    }
    let mut lost = observation.lost_flows(interest).into_iter().map(|lost| lost.flow);
    let flow = lost.find(|flow| !flow.key.outgoing)?;
    let (to, port, above) = (interest.destination(), port.name(), above.name());
    let cause = format!(
        "{to} arrives on {port}, which is a port of {above}: {above} takes all its frames, so programs of this machine receive the group on {above} only, and it is joined on {port}."
    );
    let finding = Finding::new(Id::JoinedOtherInterface, Severity::Fault, cause)
        .about(port, to, flow.key.source)
        .with_evidence(observation.packets_of(flow))
        .evidence(EvidenceKind::Setting, format!("ip link show {port}"), format!("master {above}"))
        .with_remedies([
            remedies::mcast::recv_on(to, above),
            Remedy::advice(
                Tool::Program,
                format!("Join on {above}. If the address of this machine is still on {port}, move it: `ip address show dev {port}` lists it, and {above} should have it instead. This cuts connections by way of {port} for a moment."),
            ),
        ]);
    Some(finding.with(interest.owner(), Finding::in_program))
}

/// Judges the doctor's own membership, or those of the examined program.
fn judge(observation: &Observation, interests: &[Interest<'_>]) -> Option<Finding> {
    if observation.trial().is_some_and(|trial| !trial.received.is_empty()) {
        return None;
    }
    let mismatch = Mismatch::of(observation, interests)?;
    let finding = mismatch.finding(observation, Severity::Fault);
    Some(match observation.program() {
        Some(program) => finding
            .in_program(&program.name)
            .with_remedies(mismatch.on_socket(interests))
            .with_remedies(mismatch.for_program(observation)),
        None => finding
            .with_remedies([match &mismatch.refused {
                Some(_) => remedies::mcast::recv_from(&[mismatch.flow.key.source.ip()], mismatch.to),
                None => remedies::mcast::recv_on(mismatch.to, mismatch.arrives_on.name()),
            }])
            .with_remedies(mismatch.for_program(observation)),
    })
}

/// Judges the sockets of other programs on this machine that have the port open and joined the group.
fn others(observation: &Observation) -> Vec<Finding> {
    let Some(trial) = observation.trial() else { return Vec::new() };
    let judged = trial.other_sockets.iter().filter_map(|socket| {
        let is_same = |interest: &Interest<'_>| interest.address() == trial.membership.address;
        let same: Vec<_> = socket.interests().filter(is_same).collect();
        let all: Vec<_> = trial.other_sockets.iter().flat_map(ProgramSocket::interests).collect();
        if same.iter().any(|interest| interest.is_relayed(&all)) {
            return None;
        }
        let mismatch = Mismatch::of(observation, &same)?;
        // Where another program has joined, this one may be meant for another network.
        let key = &mismatch.flow.key;
        let severity = match observation.before.is_joined(key.group, key.interface) {
            true => Severity::Warning,
            false => Severity::Fault,
        };
        let mut finding = mismatch.finding(observation, severity).in_program(&socket.owner);
        if observation.depends_on_doctor(socket, mismatch.flow) {
            finding.cause += &while_examined(&socket.owner);
        }
        let own = remedies::mcast::examine_port(trial.port());
        Some(finding.with_remedies([own]).with_remedies(mismatch.for_program(observation)))
    });
    let mut findings: Vec<Finding> = Vec::new();
    for finding in judged {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// Returns the sentence that a program receives a group only as long as the doctor is a member.
fn while_examined(program: &str) -> String {
    format!(
        " While mcast listens, {program} receives it, too: the kernel delivers a group to all sockets on its port, whichever of them has joined."
    )
}

/// A group that arrives on one interface and is joined on others.
struct Mismatch<'a> {
    to: SocketAddr,
    flow: &'a Flow,
    arrives_on: &'a Link,
    joined_on: Vec<&'a Link>,
    /// The sources of the membership, if it does not admit that of the flow.
    refused: Option<SourceFilter>,
}

impl<'a> Mismatch<'a> {
    fn of(observation: &'a Observation, interests: &[Interest<'_>]) -> Option<Self> {
        let one = interests.first()?;
        if interests.iter().any(|interest| !observation.arrivals(interest).is_empty()) {
            return None;
        }
        let joined: Vec<&Link> =
            interests.iter().filter_map(|interest| observation.link(interest.interface)).collect();
        let is_apart = |other: &Link| {
            joined.iter().all(|joined| {
                joined.index() != other.index()
                    && !joined.has_frames_of(other)
                    && joined.interface.port_of != Some(other.index())
            })
        };
        // An interface that nothing uses should be a port of the bridge: `port-missing`.
        let is_bridged = joined.iter().any(|joined| joined.bridge.is_some());
        let is_apart = |other: &Link| is_apart(other) && !(is_bridged && observation.is_unused(other));
        // A group that is an address of this machine arrives on the loopback interface: `sent-by-other-interface`.
        let is_address = observation.after.is_own(one.group.addr());
        let is_kept_here = |link: &Link| is_address && link.interface.loopback;
        let is_apart = |other: &Link| is_apart(other) && !is_kept_here(other);
        let elsewhere = |flow: &&Flow| {
            flow.key.port == one.port
                && flow.key.vlan.is_none()
                && observation.link(flow.key.interface).is_some_and(is_apart)
        };
        let is_admitted =
            |flow: &&Flow| interests.iter().any(|interest| interest.sources.admits(flow.key.source.ip()));
        let others = || observation.wire.incoming(one.group.addr()).filter(elsewhere);
        // If none is admitted, both the interface and the source of the membership differ.
        let admitted = others().find(is_admitted);
        let flow = admitted.or_else(|| others().next())?;
        let arrives_on = observation.link(flow.key.interface)?;
        let refused = admitted.is_none().then(|| one.sources.clone());
        Some(Self { to: one.destination(), flow, arrives_on, joined_on: joined, refused })
    }

    /// Returns the sources with which the group should be joined on the other interface.
    fn sources(&self, present: &SourceFilter) -> SourceFilter {
        match &self.refused {
            Some(_) => SourceFilter::Include([self.flow.key.source.ip()].into()),
            None => present.clone(),
        }
    }

    /// Returns a clause on the source, if the membership does not admit it.
    fn clause(&self) -> String {
        let source = self.flow.key.source.ip();
        match &self.refused {
            Some(SourceFilter::Include(sources)) => {
                format!(" for {} only, which does not admit {source}", list(sources))
            }
            Some(SourceFilter::Exclude(_)) => format!(", and blocks {source}"),
            None => String::new(),
        }
    }

    fn finding(&self, observation: &Observation, severity: Severity) -> Finding {
        let Self { to, flow, arrives_on, .. } = self;
        let joined_on = list(self.joined_on.iter().map(|link| link.name()));
        let cause = match observation.trial() {
            Some(trial) if !trial.received.is_empty() => {
                format!(
                    "{to} arrives on {}, but another program on this machine has joined it on {joined_on}.",
                    arrives_on.name()
                )
            }
            _ => {
                let from = self.refused.as_ref().map(|_| format!(" from {}", flow.key.source.ip()));
                format!(
                    "{to} arrives on {}{}, but is joined on {joined_on}{}.",
                    arrives_on.name(),
                    from.unwrap_or_default(),
                    self.clause()
                )
            }
        };
        Finding::new(Id::JoinedOtherInterface, severity, cause)
            .about(arrives_on.name(), *to, flow.key.source)
            .with_evidence(observation.packets_of(flow))
            .evidence(
                EvidenceKind::Table,
                format!("/proc/net/igmp{}", if to.is_ipv6() { "6" } else { "" }),
                format!("{} on {joined_on}", to.ip()),
            )
    }

    /// Returns the remedy that joins the group on the other interface and leaves it on the present one.
    fn on_socket(&self, interests: &[Interest<'_>]) -> Option<Remedy> {
        let (group, interest) = (self.to.ip(), interests.first()?);
        let socket = interest.socket?;
        let own =
            interests.iter().filter(|other| other.socket.is_some_and(|other| other.inode == socket.inode));
        let leave = own.flat_map(|own| remedies::socket::leave(group, own.interface, own.sources));
        let sources = self.sources(interest.sources);
        let join = remedies::socket::join(group, self.arrives_on.index(), &sources);
        remedies::socket::change(socket, &join.into_iter().chain(leave).collect::<Vec<_>>())
    }

    /// Returns the remedies for the program, which must join on the other interface. A route moves the membership
    /// only if the program left the choice to the routing table; the route offered here moves no other group.
    fn for_program(&self, observation: &Observation) -> Vec<Remedy> {
        let route =
            observation.after.group_routes.iter().find(|route| route.family == Family::of(self.to.ip()));
        let by_route = route.and_then(|route| route.interface);
        let names_none = |trial: &TrialMembership| {
            !matches!(
                trial.membership.interface,
                Some(InterfaceSelector::Name(_) | InterfaceSelector::Index(_))
            )
        };
        let was_chosen_by_route = self.joined_on.iter().all(|link| Some(link.index()) == by_route)
            && observation.trial().is_none_or(names_none);
        let route = remedies::route_group(self.to.ip(), self.arrives_on, observation.after.has_routing_rules)
            .filter(|_| was_chosen_by_route);
        let join = Remedy::advice(
            Tool::Program,
            format!(
                "Join on {} by its index, {} (ip_mreqn.imr_ifindex, MCAST_JOIN_GROUP); without an index, the routing table chooses. Then restart the program, which joins at start.",
                self.arrives_on.name(),
                self.arrives_on.index()
            ),
        );
        route.into_iter().chain([join]).collect()
    }
}

#[cfg(test)]
mod tests {
    use mcast::InterfaceIndex;

    use super::super::fixtures::{ETH0, ETH1, flow, joined_socket, membership, program, severities};
    use super::super::source_filters;
    use super::*;
    use crate::snapshot::JoinedGroup;

    #[test]
    fn kernel_without_igmp_is_reported_for_groups_that_need_reports() {
        let outcome = |to: &str, settings: &[&str]| {
            let mut observation = membership(to, Vec::new(), 0);
            let settings = settings.iter().map(|name| (format!("net.ipv4.{name}"), "2".to_owned()));
            observation.after.settings = settings.collect();
            kernel_without_igmp(&observation).len()
        };
        let (limit, both) = (["igmp_max_memberships"], ["igmp_max_memberships", "igmp_qrv"]);
        assert_eq!((outcome(TO, &limit), outcome(TO, &both)), (1, 0));
        assert_eq!(outcome(TO, &[]), 0, "settings that are hidden, or those of another system");
        assert_eq!((outcome("224.0.0.251:5353", &limit), outcome("[ff15::1]:5000", &limit)), (0, 0));

        let mut old = membership(TO, Vec::new(), 0);
        old.after.settings.insert("net.ipv4.igmp_max_memberships".into(), "20".into());
        old.after.igmp_versions.insert("eth0".into(), 3);
        assert_eq!(kernel_without_igmp(&old), [], "Linux before 3.18 has no igmp_qrv");
    }

    #[test]
    fn source_beyond_the_limit_is_reported_only_as_a_limit() {
        let sources = ["10.9.0.7", "10.9.0.8"].map(|source| source.parse().unwrap());
        let socket = joined_socket(ETH0, SourceFilter::Include(sources.into_iter().collect()));
        let outcome = |limit: &str| {
            let mut observation = program(vec![socket.clone()], vec![flow(ETH0, "10.9.0.9:6000", TO)]);
            observation.after.settings.insert(SOURCES.into(), limit.into());
            (
                severities(&MEMBERSHIP_LIMIT, &observation),
                source_filters::SOURCE_NOT_ADMITTED.judge(&observation).len(),
            )
        };
        assert_eq!(outcome("2"), (vec![Severity::Fault], 0));
        assert_eq!(outcome("10"), (vec![], 1));
    }

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn group_that_also_arrives_on_the_joined_interface_is_not_reported() {
        let both = vec![flow(ETH1, "10.8.0.1:6000", TO), flow(ETH0, "10.9.0.1:6000", TO)];
        assert_eq!(joined_other_interface(&membership(TO, both, 10)), []);
        let wrong = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", TO)], 0);
        assert_eq!(joined_other_interface(&wrong)[0].subject.interface().as_deref(), Some("eth1"));
    }

    #[test]
    fn port_of_a_bridge_receives_nothing_itself() {
        let outcome = |kind: &str| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            observation.after.links[1].interface.port_of = Some(ETH1);
            observation.after.links[2].kind = Some(kind.into());
            joined_other_interface(&observation)
        };
        assert_eq!(outcome("vrf"), []);
        let findings = outcome("bridge");
        assert!(findings[0].cause.contains("eth0, which is a port of eth1"), "{findings:?}");
    }

    fn socket(interface: InterfaceIndex) -> ProgramSocket {
        joined_socket(interface, SourceFilter::ANY)
    }

    #[test]
    fn vlan_gets_no_frames_without_its_tag() {
        let found = |kind: &str, arrives_on, joined_on| {
            let mut observation = membership(TO, vec![flow(arrives_on, "10.8.0.1:6000", TO)], 0);
            observation.trial_mut().joined = vec![joined_on];
            observation.after.links[2].lower = Some(ETH0);
            observation.after.links[2].kind = Some(kind.to_owned());
            joined_other_interface(&observation).len()
        };
        assert_eq!((found("vlan", ETH0, ETH1), found("vlan", ETH1, ETH0)), (1, 1));
        assert_eq!((found("macvlan", ETH0, ETH1), found("macvlan", ETH1, ETH0)), (0, 0));
    }

    #[test]
    fn other_program_joined_on_another_interface_is_a_warning() {
        let outcome = |interface| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
            observation.before.joined = observation.after.joined.clone();
            observation.trial_mut().other_sockets = vec![socket(interface)];
            joined_other_interface(&observation)
        };
        assert_eq!(outcome(ETH0), []);
        let findings = outcome(ETH1);
        assert_eq!(findings[0].subject.program.as_deref(), Some("player (7)"));
        assert_eq!(findings[0].severity, Severity::Warning);
        assert_eq!(findings[0].remedies[0].command().unwrap(), "mcast doctor --port 5000");
    }

    #[test]
    fn relay_with_a_socket_for_each_interface_is_not_at_fault() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
        observation.before.joined = observation.after.joined.clone();
        observation.trial_mut().other_sockets =
            vec![socket(ETH1), ProgramSocket { inode: 99, ..socket(ETH0) }];
        assert_eq!(joined_other_interface(&observation), []);
        observation.trial_mut().other_sockets[1].owner = "another (8)".into();
        assert_eq!(joined_other_interface(&observation).len(), 1, "another program");
    }

    /// A member on `eth0` beside the doctor, or none, and a program that has joined on `eth1`, or nowhere.
    #[test]
    fn program_that_depends_on_the_doctor_is_a_fault() {
        let outcome = |has_member, joins: bool| {
            let mut other = socket(ETH1);
            if !joins {
                (other.memberships, other.memberships_after) = (Vec::new(), Vec::new());
            }
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
            observation.trial_mut().other_sockets = vec![other];
            let group = TO.parse::<SocketAddr>().unwrap().ip();
            observation.before.joined = [JoinedGroup { group, interface: ETH0 }].into();
            observation.before.joined.retain(|_| has_member);
            let findings = [joined_other_interface(&observation), not_joined(&observation)].concat();
            let lent =
                findings.iter().any(|finding| finding.cause.contains("While mcast listens, player (7)"));
            (findings.iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>(), lent)
        };
        assert_eq!(outcome(true, true), (vec![(Id::JoinedOtherInterface, Severity::Warning)], false));
        assert_eq!(outcome(false, true), (vec![(Id::JoinedOtherInterface, Severity::Fault)], true));
        assert_eq!(outcome(true, false), (vec![], false));
        assert_eq!(outcome(false, false), (vec![(Id::NotJoined, Severity::Warning)], true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn route_of_the_group_is_offered_only_if_routing_chose_the_interface() {
        use super::super::fixtures::program;
        use crate::snapshot::Route;

        let commands = |routed| {
            let mut observation = program(vec![socket(ETH1)], vec![flow(ETH0, "10.9.0.1:6000", TO)]);
            observation.after.group_routes = vec![Route { family: Family::V4, interface: Some(routed) }];
            joined_other_interface(&observation)[0]
                .remedies
                .iter()
                .filter_map(Remedy::command)
                .collect::<Vec<_>>()
        };
        assert_eq!(commands(ETH1), ["ip route replace 239.1.2.3/32 dev eth0"]);
        assert_eq!(commands(ETH0), Vec::<String>::new());
    }

    #[test]
    fn interface_on_top_of_another_is_not_another_interface() {
        let mut observation = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", TO)], 0);
        observation.after.links[1].lower = Some(ETH1);
        assert_eq!(joined_other_interface(&observation), []);
    }
}
