//! Explanation of a group.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anstyle::Style;
use mcast::Group;
use mcast::group::{Advice, Assignment, Expand, Explanation, Reference, Severity, WellKnown};
use serde::Serialize;

use crate::arguments::{Families, read_description};
use crate::console::{self, Console, Output};
use crate::output::{Palette, as_text, wrap, write_record};

/// Ethernet aliases that are shown without `-v`.
const ALIASES_SHOWN: usize = 3;

/// Returns the groups that a text names.
pub(super) fn groups_of(text: &str, console: &Console) -> anyhow::Result<Vec<Group>> {
    let named = WellKnown::named(text);
    if !named.is_empty() {
        return Ok(named.iter().map(|known| known.group).collect());
    }
    if let Some(memberships) = read_description(text, Families::default(), console)? {
        let groups: BTreeSet<Group> = memberships.iter().map(|each| each.address.group).collect();
        return Ok(groups.into_iter().collect());
    }
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match address.parse::<Group>() {
        Ok(group) => Ok(vec![group]),
        // With a port the text may be a membership; otherwise the error about an address is clearer.
        Err(error) => match Expand::default().memberships(text) {
            Ok(expansion) => {
                let groups: BTreeSet<Group> = expansion.items.iter().map(|each| each.address.group).collect();
                Ok(groups.into_iter().collect())
            }
            Err(_) if address.parse::<std::net::IpAddr>().is_ok() => Err(error.into()),
            Err(error) => Err(error.into()),
        },
    }
}

/// Writes an explanation as text.
pub(super) fn write_text(explanation: &Explanation, console: &Console, out: &mut Output) -> io::Result<()> {
    Page { out, palette: console.palette(), is_verbose: console.is_verbose() }.write(explanation)
}

/// Writes an explanation as JSON.
pub(super) fn write_object(explanation: &Explanation, out: &mut Output) -> io::Result<()> {
    write_record(out, "explanation", &ExplanationRecord::new(explanation))
}

/// Writes the parts of an explanation.
struct Page<'a> {
    out: &'a mut Output,
    palette: &'a Palette,
    is_verbose: bool,
}

impl Page<'_> {
    fn write(mut self, explanation: &Explanation) -> io::Result<()> {
        let style = self.palette.group;
        writeln!(self.out, "{style}{}{style:#}", explanation.group)?;
        self.fact("kind", explanation.kind.value, &[explanation.kind.reference])?;
        self.fact("scope", explanation.scope.value, &[explanation.scope.reference])?;
        if let Some(flags) = explanation.flags {
            self.fact("flags", flags.value, &[flags.reference])?;
        }
        if let Some(relative) = explanation.relative {
            self.fact("relative", relative.value, &[relative.reference])?;
        }
        self.ethernet(explanation)?;
        explanation.assignments.iter().try_for_each(|assignment| self.name(assignment))?;
        explanation.well_known.iter().try_for_each(|known| self.short_name(known))?;
        explanation.advice.iter().try_for_each(|advice| self.advice(advice))
    }

    fn fact(
        &mut self,
        title: &str,
        text: impl std::fmt::Display,
        references: &[Reference],
    ) -> io::Result<()> {
        let references: Vec<String> = references.iter().map(ToString::to_string).collect();
        self.titled(title, self.palette.heading, &text.to_string(), &references.join(", "))
    }

    /// Writes a title, and beside it a text with its references.
    fn titled(&mut self, title: &str, style: Style, text: &str, references: &str) -> io::Result<()> {
        let dim = self.palette.dim;
        let references = match references.is_empty() {
            true => String::new(),
            false => format!("  {dim}[{references}]{dim:#}"),
        };
        let mut title = title;
        let room = console::width().map_or(usize::MAX, |width| width.saturating_sub(12));
        for line in wrap(&format!("{text}{references}"), room) {
            writeln!(self.out, "  {style}{title:<9}{style:#} {line}")?;
            title = "";
        }
        Ok(())
    }

    fn ethernet(&mut self, explanation: &Explanation) -> io::Result<()> {
        let aliases = &explanation.ethernet_aliases;
        let shared = match aliases.len() {
            0 => "shared with every group that ends in the same 32 bits".to_owned(),
            others => {
                let shown = if self.is_verbose { others } else { ALIASES_SHOWN.min(others) };
                let names: Vec<String> = aliases[..shown].iter().map(ToString::to_string).collect();
                let more = if shown < others { ", …" } else { "" };
                format!("shared with {others} other groups: {}{more}", names.join(", "))
            }
        };
        let ethernet = explanation.ethernet;
        self.fact("Ethernet", format_args!("{}, {shared}", ethernet.value), &[ethernet.reference])?;
        if let Some(alias) = explanation.control_alias {
            let text = format_args!("including the control group {}", alias.value);
            self.fact("", text, &[alias.reference])?;
        }
        Ok(())
    }

    fn name(&mut self, assignment: &Assignment) -> io::Result<()> {
        let Assignment { name, standing, addresses, ports, references } = assignment;
        let range = if addresses.count() > 1 { format!(" ({addresses})") } else { String::new() };
        self.fact("name", format_args!("{name}{range}, {standing}{}", port_list(ports)), references)
    }

    fn short_name(&mut self, known: &WellKnown) -> io::Result<()> {
        let hops = known.hop_limit.map(|hops| format!(", hop limit {hops}")).unwrap_or_default();
        let text = format_args!("{}{}{hops}", known.name, port_list(known.ports));
        self.fact("short", text, &[known.reference])
    }

    fn advice(&mut self, advice: &Advice) -> io::Result<()> {
        let style = match advice.severity {
            Severity::Avoid => self.palette.bad,
            Severity::Caution => self.palette.warning,
            _ => self.palette.heading,
        };
        let Advice { severity, statement, reference } = advice;
        self.titled(&severity.to_string(), style, &statement.to_string(), &reference.to_string())
    }
}

fn port_list(ports: &[u16]) -> String {
    let numbers: Vec<String> = ports.iter().map(ToString::to_string).collect();
    match ports.len() {
        0 => String::new(),
        1 => format!(", port {}", numbers[0]),
        _ => format!(", ports {}", numbers.join(", ")),
    }
}

/// An explanation as JSON: `schemas/explanation.json`.
#[derive(Serialize)]
struct ExplanationRecord<'a> {
    #[serde(serialize_with = "as_text")]
    group: Group,
    family: &'static str,
    scope: StatementRecord,
    kind: StatementRecord,
    flags: Option<StatementRecord>,
    relative: Option<StatementRecord>,
    ethernet: StatementRecord,
    ethernet_aliases: Vec<String>,
    control_alias: Option<StatementRecord>,
    names: Vec<NameRecord<'a>>,
    short_names: Vec<ShortNameRecord<'a>>,
    registry_date: &'static str,
    advice: Vec<AdviceRecord>,
}

/// A statement and its reference.
#[derive(Serialize)]
struct StatementRecord {
    value: String,
    reference: String,
}

#[derive(Serialize)]
struct NameRecord<'a> {
    name: &'a str,
    registered: bool,
    standing: String,
    addresses: String,
    ports: &'a [u16],
    references: Vec<String>,
}

#[derive(Serialize)]
struct ShortNameRecord<'a> {
    name: &'a str,
    ports: &'a [u16],
    hop_limit: Option<u8>,
    reference: String,
}

#[derive(Serialize)]
struct AdviceRecord {
    severity: String,
    text: String,
    reference: String,
}

impl StatementRecord {
    fn new<T: ToString>(cited: mcast::group::WithReference<T>) -> Self {
        Self { value: cited.value.to_string(), reference: cited.reference.to_string() }
    }
}

impl<'a> ExplanationRecord<'a> {
    fn new(explanation: &'a Explanation) -> Self {
        let names = explanation.assignments.iter().map(|assignment| NameRecord {
            name: assignment.name,
            registered: assignment.standing.is_registered(),
            standing: assignment.standing.to_string(),
            addresses: assignment.addresses.to_string(),
            ports: assignment.ports,
            references: assignment.references.iter().map(ToString::to_string).collect(),
        });
        let short_names = explanation.well_known.iter().map(|known| ShortNameRecord {
            name: known.name,
            ports: known.ports,
            hop_limit: known.hop_limit,
            reference: known.reference.to_string(),
        });
        let advice = explanation.advice.iter().map(|advice| AdviceRecord {
            severity: advice.severity.to_string(),
            text: advice.statement.to_string(),
            reference: advice.reference.to_string(),
        });
        Self {
            group: explanation.group,
            family: match explanation.group.family() {
                mcast::Family::V4 => "IPv4",
                mcast::Family::V6 => "IPv6",
            },
            scope: StatementRecord::new(explanation.scope),
            kind: StatementRecord::new(explanation.kind),
            flags: explanation.flags.map(StatementRecord::new),
            relative: explanation.relative.map(StatementRecord::new),
            ethernet: StatementRecord::new(explanation.ethernet),
            ethernet_aliases: explanation.ethernet_aliases.iter().map(ToString::to_string).collect(),
            control_alias: explanation.control_alias.map(StatementRecord::new),
            names: names.collect(),
            short_names: short_names.collect(),
            registry_date: explanation.registry_date,
            advice: advice.collect(),
        }
    }
}
