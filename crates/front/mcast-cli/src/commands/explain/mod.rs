//! `mcast explain`: explains a group, or a finding of the doctor.

mod output;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;

use mcast::group::{Expand, WellKnown};
use mcast::{Group, Membership};
use mcast_doctor::Id;
use mcast_terminal::Console;

use crate::arguments::{Families, read_description};
use crate::exit::{Failure, Outcome, closest};
use crate::output::write_record;
use output::{ExplanationRecord, NameRecord, PageRecord};

/// Explain a multicast address, or a finding of `mcast doctor`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A group, a short name (mdns), a membership as in `mcast recv`, or a finding (no-querier)
    #[arg(required_unless_present_any = ["findings", "names"], value_name = "ADDRESS|FINDING")]
    subjects: Vec<String>,

    /// List all findings with a summary of each
    #[arg(long, conflicts_with = "subjects")]
    findings: bool,

    /// List the short names of groups, with their ports
    #[arg(long, conflicts_with = "subjects")]
    names: bool,

    /// Print one JSON object per group, finding or name
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
About a group: scope, kind, Ethernet address and the groups that share it, names, ports, and advice,
each with its reference. With -v, all groups that share the Ethernet address. About a finding:
symptoms, cause, evidence, remedies for each system, and how to check them.

Examples:
  mcast explain 239.255.255.250               a group
  mcast explain ff02::fb 224.0.0.251          two groups
  mcast explain mdns                          a name: its IPv4 and its IPv6 group
  mcast explain 233.8.9.1                     its owner, from the AS number in the address
  mcast explain ff7e:140:2001:db8:beef:feed::1    a group and its rendezvous point
  mcast explain 239.128.0.5 --json            for programs
  mcast explain no-querier                    what a finding means, and its remedies
  mcast explain --findings                    all findings of the doctor
  mcast explain --names                       all short names";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut subjects = Vec::new();
    for text in &arguments.subjects {
        subjects.extend(subjects_of(text, console)?);
    }
    let (mut out, palette) = (console.output(), console.palette());
    match (arguments.findings, arguments.json) {
        (true, true) => {
            Id::ALL.iter().try_for_each(|id| write_record(&mut out, "page", &PageRecord::new(*id)))?;
        }
        (true, false) => output::write_findings(palette, &mut out)?,
        (false, _) => {}
    }
    match (arguments.names, arguments.json) {
        (true, true) => {
            let mut names = WellKnown::all().iter().map(NameRecord::new);
            names.try_for_each(|name| write_record(&mut out, "name", &name))?;
        }
        (true, false) => output::write_names(palette, &mut out)?,
        (false, _) => {}
    }
    for (number, subject) in subjects.into_iter().enumerate() {
        if number > 0 && !arguments.json {
            writeln!(out)?;
        }
        match (subject, arguments.json) {
            (Subject::Group(group), true) => {
                write_record(&mut out, "explanation", &ExplanationRecord::new(&group.explain()))?;
            }
            (Subject::Group(group), false) => output::write_group(&group.explain(), console, &mut out)?,
            (Subject::Finding(id), true) => write_record(&mut out, "page", &PageRecord::new(id))?,
            (Subject::Finding(id), false) => output::write_page(id, palette, &mut out)?,
        }
    }
    out.flush()?;
    Ok(Outcome::Yes)
}

/// The subject of an explanation.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Group(Group),
    Finding(Id),
}

fn subjects_of(text: &str, console: &Console) -> anyhow::Result<Vec<Subject>> {
    if let Ok(id) = text.parse() {
        return Ok(vec![Subject::Finding(id)]);
    }
    // Names of findings contain hyphens, those of groups rarely do.
    let is_name = !WellKnown::named(text).is_empty();
    if !is_name
        && text.contains('-')
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')
    {
        let meant = closest(text, Id::ALL.iter().map(|id| id.as_str()));
        let meant = meant.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
        return Err(Failure::usage(format!("no finding is called \"{text}\""))
            .remedy(format!("{meant}`mcast explain --findings` lists all findings"))
            .into());
    }
    Ok(groups_of(text, console)?.into_iter().map(Subject::Group).collect())
}

/// Returns the groups that a text names.
fn groups_of(text: &str, console: &Console) -> anyhow::Result<Vec<Group>> {
    let named = WellKnown::named(text);
    if !named.is_empty() {
        return Ok(named.iter().map(|known| known.group).collect());
    }
    if let Some(memberships) = read_description(text, Families::default(), console)? {
        return Ok(distinct(&memberships));
    }
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match address.parse::<Group>() {
        Ok(group) => Ok(vec![group]),
        // With a port the text may be a membership; otherwise the error about an address is clearer.
        Err(error) => match Expand::default().memberships(text) {
            Ok(expansion) => Ok(distinct(&expansion.items)),
            Err(_) if address.parse::<IpAddr>().is_ok() => Err(error.into()),
            Err(error) => Err(error.into()),
        },
    }
}

/// Returns the groups of memberships in ascending order, without duplicates.
fn distinct(memberships: &[Membership]) -> Vec<Group> {
    let groups: BTreeSet<Group> = memberships.iter().map(|each| each.address.group).collect();
    groups.into_iter().collect()
}
