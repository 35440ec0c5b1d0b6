//! The subject of an examination.

use std::cell::{RefCell, RefMut};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mcast::group::WellKnown;
use mcast::{Family, InterfaceSelector, Membership};
use mcast_doctor::{
    Options, ProgramSelector, Report, StartedProgram, examine_membership, examine_program, examine_programs,
    explain_capture,
};
use mcast_terminal::Console;

use super::text::Progress;
use super::{Arguments, path};
use crate::arguments::{Families, select_memberships};
use crate::exit::Failure;

/// The subject of an examination.
#[derive(Debug)]
pub(super) enum Subject {
    Machine,
    Memberships(Vec<Membership>),
    Program(ProgramSelector),
    /// A program that this command has started.
    Started(RefCell<StartedProgram>),
    Capture(PathBuf),
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
            return Ok(Self::Capture(file.clone()));
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
                mcast::find(selector)?;
            }
            return Ok(Self::Machine);
        }
        let mut all = Vec::new();
        for text in memberships {
            for family in families_of(text, admission.families)? {
                let chosen = select_memberships(
                    std::slice::from_ref(text),
                    interfaces,
                    &admission.sources,
                    family,
                    console,
                )?;
                all.extend(chosen.items);
            }
        }
        Ok(Self::Memberships(all))
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
            Self::Memberships(memberships) => examine_each(memberships, options, progress),
            Self::Program(target) => {
                progress.begin(target, options);
                Ok(examine_program(*target, options, &mut |step| progress.show(step))?)
            }
            Self::Started(program) => Ok(examine_started(&mut program.borrow_mut(), options, progress)?),
            Self::Capture(file) => Ok(explain_capture(file)?),
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

/// Examines one membership after the other, because all read the same counters. Findings about the machine are
/// reported once.
fn examine_each(
    memberships: &[Membership],
    options: &Options,
    progress: &mut Progress<'_>,
) -> anyhow::Result<Report> {
    let mut reports = Vec::new();
    for membership in memberships {
        progress.begin(membership, options);
        let mut report = examine_membership(membership, options, &mut |step| progress.show(step))?;
        if memberships.len() > 1 {
            report
                .observations
                .iter_mut()
                .for_each(|each| each.message = format!("{membership}: {}", each.message));
        }
        reports.push(report);
        if progress.is_interrupted() {
            break;
        }
    }
    Ok(reports.into_iter().reduce(Report::and).unwrap_or_default())
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
