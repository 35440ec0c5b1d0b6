//! `mcast explain`: all that is known about a group, or about a finding of the doctor's.

mod group;
mod page;

use std::io::Write;

use mcast::Group;
use mcast_doctor::{Id, Page};

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Say all that is known about a multicast address, or about a finding of `mcast doctor`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A group, a name (mdns), whatever `mcast recv` takes, or a finding (no-querier)
    #[arg(required_unless_present = "findings", value_name = "ADDRESS|FINDING")]
    subjects: Vec<String>,

    /// List the findings, each with its sentence
    #[arg(long, conflicts_with = "subjects")]
    findings: bool,

    /// Print one JSON object a group or finding
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Of a group: scope, kind, Ethernet address and who shares it, names, ports, and what to mind, each
with the document that says so. With -v all groups that share the Ethernet address.
Of a finding: what one sees, why, how it is known, remedies for each system, and how to check them.

Examples:
  mcast explain 239.255.255.250               a group
  mcast explain ff02::fb 224.0.0.251          two
  mcast explain mdns                          a name: its IPv4 and its IPv6 group
  mcast explain 233.8.9.1                     whose it is, by its autonomous system
  mcast explain ff7e:140:2001:db8:beef:feed::1    with its rendezvous point
  mcast explain 239.128.0.5 --json            for programs
  mcast explain no-querier                    what a finding means, and what helps
  mcast explain --findings                    all that the doctor can find";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut subjects = Vec::new();
    for text in &arguments.subjects {
        subjects.extend(subjects_of(text, console)?);
    }
    let mut out = console.output();
    if arguments.findings {
        page::list(arguments.json, console, &mut out)?;
    }
    for (number, subject) in subjects.into_iter().enumerate() {
        if number > 0 && !arguments.json {
            writeln!(out)?;
        }
        match (subject, arguments.json) {
            (Subject::Group(group), true) => group::write_object(&group.explain(), &mut out)?,
            (Subject::Group(group), false) => group::write_text(&group.explain(), console, &mut out)?,
            (Subject::Finding(id), true) => page::write_object(Page::of(id), &mut out)?,
            (Subject::Finding(id), false) => page::write_text(Page::of(id), console.palette(), &mut out)?,
        }
    }
    out.flush()?;
    Ok(Outcome::Yes)
}

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Group(Group),
    Finding(Id),
}

fn subjects_of(text: &str, console: &Console) -> anyhow::Result<Vec<Subject>> {
    if let Ok(id) = text.parse() {
        return Ok(vec![Subject::Finding(id)]);
    }
    // Names of findings have hyphens, those of groups and addresses have not.
    if text.contains('-') && text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') {
        return Err(Failure::usage(format!("no finding is called \"{text}\""))
            .remedy("`mcast explain --findings` lists them")
            .into());
    }
    Ok(group::groups_of(text, console)?.into_iter().map(Subject::Group).collect())
}
