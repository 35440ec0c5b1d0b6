//! The subject of an examination.

use std::cell::{RefCell, RefMut};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcast::group::WellKnown;
use mcast::{Family, Group, InterfaceSelector, Membership};
use mcast_doctor::{
    Id, IpProtocol, Options, ProgramSelector, ProtocolTarget, Report, ServiceTarget, StartedProgram,
    examine_membership, examine_program, examine_programs, examine_protocol, examine_service,
    explain_capture, explain_capture_of,
};
use mcast_terminal::Console;

use super::text::Progress;
use super::{Arguments, path};
use crate::arguments::{Families, is_description, select_memberships};
use crate::exit::Failure;
use crate::words;

/// The subject of an examination.
#[derive(Debug)]
pub(super) enum Subject {
    Machine,
    Groups(Vec<Target>),
    Program(ProgramSelector),
    /// A program that this command has started.
    Started(RefCell<StartedProgram>),
    /// A capture file, or the groups without ports in it.
    Capture(PathBuf, Vec<Target>),
}

/// A group, and what should arrive for it.
#[derive(Debug)]
pub(super) enum Target {
    /// Datagrams to a port, and the name by which the group was chosen in each family, such as `mdns`.
    Udp(Membership, Option<String>),
    /// The packets of another IP protocol.
    Protocol(ProtocolTarget),
    /// Announcements of a service, a device or a host.
    Service(ServiceTarget),
}

/// The name, the port and the interface of a group. Of those in which all are the same, a network may use only one, as with VRRP of one
/// family.
type GroupName<'a> = (&'a str, Option<u16>, Option<&'a InterfaceSelector>);

impl Target {
    /// Returns how the group was chosen, if it was by a name.
    fn name(&self) -> Option<GroupName<'_>> {
        let (name, port, interface) = match self {
            Self::Udp(membership, name) => (name, Some(membership.address.port), &membership.interface),
            Self::Protocol(target) => (&target.name, None, &target.interface),
            Self::Service(_) => return None,
        };
        Some((name.as_deref()?, port, interface.as_ref()))
    }
}

impl Subject {
    pub(super) fn of(arguments: &Arguments, console: &Console) -> anyhow::Result<Self> {
        let Arguments { memberships, interfaces, admission, command, other, .. } = arguments;
        if let Some(id) = other.pid {
            return Ok(Self::Program(ProgramSelector::Process(id)));
        }
        if let Some(port) = other.port {
            return Ok(Self::Program(ProgramSelector::Port(port)));
        }
        if let Some(file) = &other.read {
            return Ok(Self::Capture(file.clone(), targets_in_file(arguments)?));
        }
        if let Some((program, words)) = command.split_first() {
            if !memberships.is_empty() {
                return Err(Failure::usage("a group and a program cannot be examined at once")
                    .remedy("examine one at a time")
                    .into());
            }
            let mut command = Command::new(program);
            command.args(words);
            let started = match arguments.runs_a_program() {
                true => StartedProgram::start_independent(&mut command)?,
                false => StartedProgram::start(command.stdin(Stdio::null()))?,
            };
            return Ok(Self::Started(RefCell::new(started)));
        }
        if memberships.is_empty() {
            // A slip in the name must not pass for a healthy interface.
            for selector in interfaces.iter().filter(|selector| names_one(selector)) {
                mcast::interface::find(selector)?;
            }
            return Ok(Self::Machine);
        }
        let mut all = Vec::new();
        for text in memberships {
            let targets = protocol_targets(text, interfaces, admission.families, other.protocol)?;
            if !targets.is_empty() {
                if !admission.sources.is_empty() {
                    return Err(Failure::usage("--source selects the senders of UDP datagrams").into());
                }
                all.extend(of_this_machine(targets, admission.families)?.into_iter().map(Target::Protocol));
                continue;
            }
            if mcast::interface::find(&InterfaceSelector::Name(text.clone())).is_ok() {
                return Err(Failure::usage(format!("{text} is an interface of this machine"))
                    .remedy(format!(
                        "`mcast doctor` examines it with the rest of the machine; `mcast doctor GROUP:PORT -i {text}`, what arrives on it"
                    ))
                    .into());
            }
            if text.parse::<Group>().is_ok() {
                return Err(Failure::usage(format!("{text} has no port: write {text}:PORT"))
                    .remedy(format!("`mcast sniff {text} --join` shows the ports to which the group is sent"))
                    .into());
            }
            if text.contains('-') && text.parse::<Id>().is_ok() {
                let problem = format!("{text} is a finding: `mcast explain {text}` describes it");
                return Err(Failure::usage(problem).into());
            }
            if is_announced_name(text) {
                // A service or host may have any name.
                if let Some(group) = words::misspelled_group(text) {
                    console.note(format_args!(
                        "looking for something that is announced as \"{text}\"; `mcast doctor {group}` examines the group {group}"
                    ));
                }
                all.push(Target::Service(ServiceTarget::new(text).on(interfaces.iter().cloned())));
                continue;
            }
            let families = families_of(text, admission.families)?;
            let name = (families.len() > 1).then(|| text.clone());
            for family in families {
                let chosen = select_memberships(
                    std::slice::from_ref(text),
                    interfaces,
                    &admission.sources,
                    family,
                    console,
                )?;
                all.extend(chosen.items.into_iter().map(|item| Target::Udp(item, name.clone())));
            }
        }
        Ok(Self::Groups(all))
    }

    /// Returns whether the subject is traffic, which can arrive or not.
    pub(super) const fn is_listened_to(&self) -> bool {
        !matches!(self, Self::Machine)
    }

    /// Returns the program that runs until it ends, if that is the subject.
    pub(super) fn running(&self) -> Option<RefMut<'_, StartedProgram>> {
        match self {
            Self::Started(program) => Some(program.borrow_mut()).filter(|program| program.is_independent()),
            _ => None,
        }
    }

    /// Returns whether the subject is a program, which runs on between two examinations.
    pub(super) const fn is_program(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    /// Returns whether the subject is the program that has a port open.
    pub(super) const fn is_port(&self) -> bool {
        matches!(self, Self::Program(ProgramSelector::Port(_)))
    }

    /// Returns whether the subject is a program, which may be in another network namespace.
    pub(super) const fn may_be_elsewhere(&self) -> bool {
        matches!(self, Self::Program(_) | Self::Started(_))
    }

    /// Returns whether the subject can come back after it is gone. A process cannot.
    pub(super) const fn may_come_back(&self) -> bool {
        !matches!(self, Self::Program(ProgramSelector::Process(_)))
    }

    pub(super) fn examine(&self, options: &Options, progress: &mut Progress<'_>) -> anyhow::Result<Report> {
        match self {
            Self::Machine => {
                // Where no program has joined a group, there is nothing to listen to.
                Ok(examine_programs(options, &mut |step| {
                    progress.begin("the programs that have joined groups", options);
                    progress.show(step)
                })?)
            }
            Self::Groups(targets) => examine_each(targets, options, progress),
            Self::Program(target) => {
                progress.begin(target, options);
                Ok(examine_program(*target, options, &mut |step| progress.show(step))?)
            }
            Self::Started(program) => Ok(examine_started(&mut program.borrow_mut(), options, progress)?),
            Self::Capture(file, targets) if targets.is_empty() => Ok(explain_capture(file)?),
            Self::Capture(file, targets) => explain_each(file, targets),
        }
    }
}

const fn names_one(selector: &InterfaceSelector) -> bool {
    !matches!(selector, InterfaceSelector::Default | InterfaceSelector::All)
}

/// Returns the families in which a text is examined. A name such as `mdns` is examined in all families for which it
/// has a group and this machine has addresses.
fn families_of(text: &str, chosen: Families) -> anyhow::Result<Vec<Families>> {
    let named = WellKnown::named(text);
    let both = || [Family::V4, Family::V6].into_iter();
    if chosen.only().is_some()
        || !both().all(|family| named.iter().any(|known| known.group.family() == family))
    {
        return Ok(vec![chosen]);
    }
    let mut here = Vec::new();
    for family in both() {
        if path::is_here(family)? {
            here.push(Families::only_in(family));
        }
    }
    Ok(if here.is_empty() { vec![chosen] } else { here })
}

/// Returns whether a text is the name or the address of something that announces itself, such as `Office printer`: not that of a
/// group or a file.
fn is_announced_name(text: &str) -> bool {
    let is_of_groups = || {
        !WellKnown::named(text).is_empty()
            || is_description(text)
            || !text.chars().any(char::is_alphabetic)
            || text.contains([':', '@', '%', '[', ']', '{', '*'])
            // A topic of ROS has slashes, too.
            || text.rsplit_once('/').is_some_and(|(_, prefix)| prefix.parse::<u8>().is_ok())
    };
    let is_of_host =
        text.parse().is_ok_and(|address: IpAddr| !address.is_multicast() && !address.is_unspecified());
    is_of_host || text.contains(' ') || ServiceTarget::new(text).is_dds() || !is_of_groups()
}

/// Returns the groups that a text names without a port, on each interface; empty if it is one for UDP.
fn protocol_targets(
    text: &str,
    interfaces: &[InterfaceSelector],
    chosen: Families,
    given: Option<IpProtocol>,
) -> anyhow::Result<Vec<ProtocolTarget>> {
    let named = ProtocolTarget::named(text, given)?;
    if given.is_some() && named.is_empty() {
        return Err(Failure::usage(format!("\"{text}\" is not a group without a port"))
            .remedy("with --protocol, write GROUP or GROUP%INTERFACE")
            .into());
    }
    let is_chosen =
        |target: &ProtocolTarget| chosen.only().is_none_or(|family| family == target.group.family());
    let each = named.into_iter().filter(is_chosen).flat_map(|target| match interfaces {
        [_, ..] if target.interface.is_none() => {
            interfaces.iter().map(|interface| target.clone().on(interface.clone())).collect()
        }
        _ => vec![target],
    });
    Ok(each.collect())
}

/// Returns the groups that are chosen in a capture file, which have no ports. It may come from a machine with other families.
fn targets_in_file(arguments: &Arguments) -> anyhow::Result<Vec<Target>> {
    let Arguments { memberships, interfaces, admission, other, .. } = arguments;
    let mut all = Vec::new();
    for text in memberships {
        let targets = protocol_targets(text, interfaces, admission.families, other.protocol)?;
        if targets.is_empty() {
            return Err(Failure::usage(format!("\"{text}\" is not a group without a port"))
                .remedy(
                    "of a file, examine all UDP datagrams with --read alone, or name a protocol such as vrrp",
                )
                .into());
        }
        all.extend(targets.into_iter().map(Target::Protocol));
    }
    Ok(all)
}

/// Examines the packets of groups in a capture file.
fn explain_each(file: &Path, targets: &[Target]) -> anyhow::Result<Report> {
    let mut reports = Vec::new();
    for each in targets {
        if let Target::Protocol(target) = each {
            reports.push((each.name(), explain_capture_of(file, target)?));
        }
    }
    Ok(Report::together(reports))
}

/// Returns the targets of the families that this machine has, if a name was given without a family.
fn of_this_machine(targets: Vec<ProtocolTarget>, chosen: Families) -> anyhow::Result<Vec<ProtocolTarget>> {
    let mut here = Vec::new();
    for target in targets {
        if chosen.only().is_some() || target.name.is_none() || path::is_here(target.group.family())? {
            here.push(target);
        }
    }
    Ok(here)
}

/// Examines one membership after the other, because all read the same counters. Findings about the machine are
/// reported once.
fn examine_each(
    targets: &[Target],
    options: &Options,
    progress: &mut Progress<'_>,
) -> anyhow::Result<Report> {
    let mut reports = Vec::new();
    for target in targets {
        let mut report = match target {
            Target::Udp(membership, _) => {
                progress.begin(membership, options);
                examine_membership(membership, options, &mut |step| progress.show(step))?
            }
            Target::Protocol(target) => {
                progress.begin(target, options);
                examine_protocol(target, options, &mut |step| progress.show(step))?
            }
            Target::Service(target) => {
                progress.begin(target, options);
                examine_service(target, options, &mut |step| progress.show(step))?
            }
        };
        if let (Target::Udp(membership, _), true) = (target, targets.len() > 1) {
            report
                .observations
                .iter_mut()
                .for_each(|each| each.message = format!("{membership}: {}", each.message));
        }
        reports.push((target.name(), report));
        if progress.is_interrupted() {
            break;
        }
    }
    Ok(Report::together(reports))
}

fn examine_started(
    program: &mut StartedProgram,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Report, mcast_doctor::Error> {
    if let Err(error) = program.wait_until_joined(|| progress.is_interrupted()) {
        return program.explain(error);
    }
    progress.begin(program.selector(), options);
    program.examine(options, &mut |step| progress.show(step))
}
