//! Groups that a program has not joined, has left, or cannot join.

use mcast::{ErrorKind, Family, Membership, SourceFilter};

use super::{Cause, Check, Placeholders};
use crate::acceptance::ExaminedSocket;
use crate::observation::{Observation, Program, ProgramSocket, index_of};
use crate::outcome::PrintedErrorKind;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

/// The program has the port open but has not joined the group, so no socket receives it.
pub(super) const NOT_JOINED: Cause =
    Cause::new(Check::Observation(not_joined), &["RFC 1112 section 7.1"]).offering(Placeholders::join);

fn not_joined(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    // Another socket of the program may hold the membership for the one that receives.
    let is_member =
        |socket: &ProgramSocket| !socket.memberships.is_empty() || !socket.memberships_after.is_empty();
    if program.sockets.iter().any(is_member) || !program.visible {
        return Vec::new();
    }
    program.sockets.iter().filter_map(|socket| judge_not_joined(observation, program, socket)).collect()
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
        format!("{} has port {} open, but no program on this machine has joined {group}.", program.name, local.port()),
    )
    .for_group(std::net::SocketAddr::new(group, local.port()))
    .in_program(&program.name)
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
pub(super) const LEFT_GROUP: Cause =
    Cause::new(Check::Observation(left_group), &["RFC 1112 section 7.1"]).offering(Placeholders::join);

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
    .on_interface(interface)
    .for_group(membership.address)
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
        format!("The membership of {group} names {sources} sources, more than the system allows.")
    };
    let (setting, cause) = match (trial.group().family(), sources) {
        (Family::V4, 2..) => (SOURCES, too_many_sources()),
        (Family::V6, 2..) => ("net.ipv6.mld_max_msf", too_many_sources()),
        (Family::V4, _) => {
            (MEMBERSHIPS, "The socket has reached the system's limit of memberships.".to_owned())
        }
        (Family::V6, _) => (
            "net.core.optmem_max",
            "The socket has reached the system's limit of memory for memberships.".to_owned(),
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
            "{} was refused a join: a socket may join {limit} groups, or name too many sources.",
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
    let limit = usize::try_from(observation.after.number(MEMBERSHIPS)?).ok().filter(|limit| *limit > 0)?;
    let is_v4 = |membership: &&Membership| membership.address.group.addr().is_ipv4();
    let count = socket.memberships.iter().filter(is_v4).count();
    if count < limit {
        return None;
    }
    let lacking = refused_groups(observation, socket);
    let (severity, lacks) = match lacking.as_slice() {
        [] => (Severity::Warning, String::new()),
        [first, ..] => (
            Severity::Fault,
            format!(" Datagrams to {} arrive, which nobody has joined.", first.destination()),
        ),
    };
    let cause = format!(
        "A socket of {} has joined {count} groups, the most that the system allows per socket: the next join fails.{lacks}",
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
    Some(match lacking.first() {
        Some(flow) => {
            finding.for_group(flow.destination()).on_interface(observation.link_name(flow.key.interface))
        }
        None => finding,
    })
}

/// Returns the flows to the port of a socket whose groups no program on this machine has joined.
fn refused_groups<'a>(observation: &'a Observation, socket: &ProgramSocket) -> Vec<&'a Flow> {
    const MAX_SHOWN: usize = 3;
    let Some(local) = socket.local else { return Vec::new() };
    let is_joined_elsewhere =
        |flow: &Flow| observation.after.joined.iter().any(|joined| joined.group == flow.key.group);
    let is_refused = |flow: &&Flow| {
        !flow.key.outgoing
            && flow.key.group.is_ipv4()
            && flow.key.port == local.port()
            && !is_joined_elsewhere(flow)
            && socket.memberships.iter().any(|own| index_of(own) == Some(flow.key.interface))
    };
    observation.wire.flows.iter().filter(is_refused).take(MAX_SHOWN).collect()
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
            "{} names {limit} sources for {}, the most that the system allows: the next source is refused.",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, flow, joined_socket, program, severities};
    use crate::causes::source_filters;

    #[test]
    fn source_beyond_the_limit_is_reported_only_as_a_limit() {
        const TO: &str = "239.1.2.3:5000";
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
}
