//! The limit of memberships a socket, or of sources a membership, is reached.

use mcast::{ErrorKind, Family};

use crate::observation::{Observation, Program, ProgramSocket};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

const MEMBERSHIPS: &str = "net.ipv4.igmp_max_memberships";
const SOURCES: &str = "net.ipv4.igmp_max_msf";

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> = refused(seen).into_iter().collect();
    if let Some(program) = seen.program() {
        // Programs that know the limit open another socket.
        let holders = program.sockets.iter().filter(|socket| !socket.memberships.is_empty());
        if holders.clone().count() == 1 {
            findings.extend(holders.filter_map(|socket| full(seen, program, socket)));
        }
        findings.extend(program.sockets.iter().filter_map(|socket| full_of_sources(seen, program, socket)));
    }
    findings
}

/// The doctor's own joining failed for it.
fn refused(seen: &Observation) -> Option<Finding> {
    let asked = seen.asked()?;
    let failure = asked.failed_with(ErrorKind::LimitReached)?;
    let sources = asked.sources.sources().len();
    let (setting, cause) = match (asked.group.family(), sources) {
        (Family::V4, 2..) => (
            "net.ipv4.igmp_max_msf",
            format!("{} names {sources} sources, more than the system allows.", asked.group),
        ),
        (Family::V4, _) => (MEMBERSHIPS, "The system allows a socket no further membership.".to_owned()),
        (Family::V6, 2..) => (
            "net.ipv6.mld_max_msf",
            format!("{} names {sources} sources, more than the system allows.", asked.group),
        ),
        (Family::V6, _) => {
            ("net.core.optmem_max", "The system allows a socket no more memory for memberships.".to_owned())
        }
    };
    let value = seen.after.setting(setting).unwrap_or("unknown");
    let raised = seen
        .after
        .number(setting)
        .unwrap_or(20)
        .saturating_mul(4)
        .max(i64::try_from(sources).unwrap_or(20))
        .max(20);
    let finding = Finding::new(Id::MembershipLimit, Severity::Fault, cause)
        .of(asked.group)
        .because(Evidence::new(Sort::Answer, "join", &failure.text))
        .because(Evidence::new(Sort::Setting, setting, value))
        .remedied(remedies::sysctl(setting, raised));
    Some(finding)
}

/// A program's socket holds as many as it may: the next one it asks for it won't get.
fn full(seen: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let limit = usize::try_from(seen.after.number(MEMBERSHIPS)?).ok().filter(|limit| *limit > 0)?;
    let held = socket.memberships.iter().filter(|held| held.group.addr().is_ipv4()).count();
    (held >= limit).then(|| {
        Finding::new(
            Id::MembershipLimit,
            Severity::Warning,
            format!("A socket of {} has joined {held} groups, as many as the system allows one: the next it asks for is refused.", program.name),
        )
        .by(&program.name)
        .because(Evidence::new(Sort::Socket, format!("socket {}", socket.inode), format!("{held} memberships")))
        .because(Evidence::new(Sort::Setting, MEMBERSHIPS, limit))
        .remedied(remedies::sysctl(MEMBERSHIPS, limit.saturating_mul(10)))
        .remedied([Remedy::advice(Tool::Program, format!("Open another socket for every {limit} groups."))])
    })
}

/// A membership of a program names as many sources as it may.
fn full_of_sources(seen: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let limit = usize::try_from(seen.after.number(SOURCES)?).ok().filter(|limit| *limit > 0)?;
    let full = socket
        .memberships
        .iter()
        .find(|held| held.group.addr().is_ipv4() && held.sources.sources().len() >= limit)?;
    let finding = Finding::new(
        Id::MembershipLimit,
        Severity::Warning,
        format!(
            "{} names {limit} sources for {}, as many as the system allows: the next is refused.",
            program.name, full.group
        ),
    )
    .of(full.group)
    .by(&program.name)
    .because(Evidence::new(Sort::Socket, format!("socket {}", socket.inode), format!("{limit} sources")))
    .because(Evidence::new(Sort::Setting, SOURCES, limit))
    .remedied(remedies::sysctl(SOURCES, limit.saturating_mul(10)));
    Some(finding)
}
