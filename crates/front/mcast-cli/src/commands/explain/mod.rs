//! `mcast explain`: explains a group, a range of groups, a finding of the doctor, or a term, as text or as JSON.

mod records;

#[cfg(feature = "schema")]
pub(super) use records::schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::IpAddr;

use anstyle::Style;
use mcast::group::{
    Advice, AdviceSeverity, Assignment, Expand, Explanation, GroupKind, GroupPattern, GroupRange, Reference,
    Scope, WellKnown, WithReference,
};
use mcast::{Group, GroupAddr, Membership};
use mcast_doctor::Id;
use mcast_terminal::{Console, Output};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::arguments::{Families, read_description};
use crate::exit::{Failure, Outcome};
use crate::output::{Cell, Palette, Table, count, text_width, wrap, write_record};
use crate::words::{self, closest};
use records::{ExplanationRecord, NameRecord, PageRecord, RangeRecord, TermRecord};

/// Explain a multicast address, a range, a term or a finding
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A group, a range (224.0.0.0/24), a short name (mdns), a membership as in `mcast recv`, a finding (no-querier), or a
    /// term: anycast, broadcast, broker, ssm, ttl, unicast
    #[arg(required_unless_present_any = ["findings", "names"], value_name = "ADDRESS|FINDING")]
    subjects: Vec<String>,

    /// List all findings with a summary of each
    #[arg(long, conflicts_with = "subjects")]
    findings: bool,

    /// List the short names of groups, with their ports
    #[arg(long, conflicts_with = "subjects")]
    names: bool,

    /// Print one JSON object per group, range, finding, term or name
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
About a group: scope, kind, Ethernet address and the groups that share it, names, ports, and advice,
each with its reference. With -v, all groups that share the Ethernet address. About a range: its kinds,
scopes and names; with -v, all of them. About a finding:
symptoms, cause, evidence, remedies for each system, and how to check them.

Examples:
  mcast explain 239.255.255.250               a group
  mcast explain ff02::fb 224.0.0.251          two groups
  mcast explain mdns                          a name: its IPv4 and its IPv6 group
  mcast explain 233.8.9.1                     its owner, from the AS number in the address
  mcast explain ff7e:140:2001:db8:beef:feed::1    a group and its rendezvous point
  mcast explain 239.128.0.5 --json            for programs
  mcast explain 224.0.0.0/24                  a range of groups
  mcast explain ttl                           a term
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
        (true, false) => write_findings(palette, &mut out)?,
        (false, _) => {}
    }
    match (arguments.names, arguments.json) {
        (true, true) => {
            let mut names = WellKnown::all().iter().map(NameRecord::new);
            names.try_for_each(|name| write_record(&mut out, "name", &name))?;
        }
        (true, false) => write_names(palette, &mut out)?,
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
            (Subject::Group(group), false) => write_group(&group.explain(), console, &mut out)?,
            (Subject::Range(range), true) => {
                write_record(&mut out, "range", &RangeRecord::new(&RangeExplanation::new(range)))?;
            }
            (Subject::Range(range), false) => write_range(&RangeExplanation::new(range), console, &mut out)?,
            (Subject::Term(term), true) => write_record(&mut out, "term", &TermRecord::new(term))?,
            (Subject::Term(term), false) => write_markdown(term.text, palette, &mut out)?,
            (Subject::Finding(id), true) => write_record(&mut out, "page", &PageRecord::new(id))?,
            (Subject::Finding(id), false) => write_page(id, palette, &mut out)?,
        }
    }
    out.flush()?;
    Ok(Outcome::Yes)
}

/// The subject of an explanation.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Group(Group),
    Range(GroupRange),
    Finding(Id),
    Term(&'static Term),
}

/// A term that is not an address.
#[derive(Debug)]
struct Term {
    names: &'static [&'static str],
    /// The explanation, in Markdown.
    text: &'static str,
}

const TERMS: &[Term] = &[
    Term { names: &["anycast"], text: include_str!("anycast.md") },
    Term { names: &["broadcast"], text: include_str!("broadcast.md") },
    Term { names: &["broker"], text: include_str!("broker.md") },
    Term { names: &["ssm", "asm"], text: include_str!("ssm.md") },
    Term { names: &["ttl", "hop-limit"], text: include_str!("ttl.md") },
    Term { names: &["unicast"], text: include_str!("unicast.md") },
];

/// Returns the terms that can be explained.
pub(crate) fn terms() -> impl Iterator<Item = &'static str> {
    TERMS.iter().flat_map(|term| term.names).copied()
}

fn subjects_of(text: &str, console: &Console) -> anyhow::Result<Vec<Subject>> {
    if let Ok(id) = text.parse() {
        return Ok(vec![Subject::Finding(id)]);
    }
    if let Some(term) =
        TERMS.iter().find(|term| term.names.iter().any(|name| name.eq_ignore_ascii_case(text)))
    {
        return Ok(vec![Subject::Term(term)]);
    }
    if let Some(range) = range_of(text)? {
        return Ok(vec![Subject::Range(range)]);
    }
    if let Some(subject) = words::subject(text) {
        return Err(Failure::usage(format!("\"{text}\" is not a group, a finding or a term"))
            .remedy(format!("`mcast explain {subject}` is about that"))
            .into());
    }
    let groups = groups_of(text, console).map_err(|error| match is_word(text) {
        true => no_subject(text),
        false => error,
    })?;
    Ok(groups.into_iter().map(Subject::Group).collect())
}

/// Whether a text is a single word, which may be a finding or a term as well as a group.
fn is_word(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
}

/// Returns the failure for a word that names nothing, with what else can be explained.
fn no_subject(text: &str) -> anyhow::Error {
    let names = || WellKnown::all().iter().map(|known| known.name);
    let all = terms().chain(Id::ALL.iter().map(|id| id.as_str())).chain(names());
    let group = words::group(text);
    let is_device = group.is_some() && words::misspelled_group(text).is_none();
    let meant = match closest(text, all).filter(|meant| !is_device && names().all(|name| name != *meant)) {
        Some(meant) => format!("did you mean `{meant}`? "),
        None => group.map(|(_, hint)| hint + " ").unwrap_or_default(),
    };
    let terms = terms().collect::<Vec<_>>().join(", ");
    Failure::usage(format!("\"{text}\" is neither an address nor the name of a group, a finding or a term"))
        .remedy(format!(
            "{meant}`mcast explain --names` lists groups, `mcast explain --findings` findings; terms are {terms}"
        ))
        .into()
}

/// Returns the range that a text such as `224.0.0.0/24` means; `None` if it does not have that form, or has a port as memberships
/// have.
fn range_of(text: &str) -> anyhow::Result<Option<GroupRange>> {
    let Some((address, length)) = text.split_once('/') else { return Ok(None) };
    if address.parse::<IpAddr>().is_err() || length.contains(':') {
        return Ok(None);
    }
    let pattern: GroupPattern =
        text.parse().map_err(|error| Failure::usage(format!("\"{text}\": {error}")))?;
    Ok(pattern.ranges().next())
}

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

/// Ethernet aliases that are shown without `-v`.
const ALIASES_SHOWN: usize = 3;

fn write_group(explanation: &Explanation, console: &Console, out: &mut Output) -> io::Result<()> {
    GroupWriter { out, palette: console.palette(), is_verbose: console.is_verbose() }.write(explanation)
}

/// Writes the parts of an explanation.
struct GroupWriter<'a> {
    out: &'a mut Output,
    palette: &'a Palette,
    is_verbose: bool,
}

impl GroupWriter<'_> {
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
        let room = mcast_terminal::width().map_or(usize::MAX, |width| width.saturating_sub(12));
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
        self.fact("short", text, &[known.reference])?;
        let Some(&port) = known.ports.first() else { return Ok(()) };
        self.fact(
            "receive",
            format_args!("mcast recv {} -i INTERFACE", GroupAddr::new(known.group, port)),
            &[],
        )
    }

    /// Writes how many others there are, if any.
    fn more(&mut self, number: usize, what: &str) -> io::Result<()> {
        match number {
            0 => Ok(()),
            number => self.fact("", format_args!("and {number} more {what} (-v shows all)"), &[]),
        }
    }

    fn advice(&mut self, advice: &Advice) -> io::Result<()> {
        let style = match advice.severity {
            AdviceSeverity::Avoid => self.palette.bad,
            AdviceSeverity::Caution => self.palette.warning,
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

/// What is known about a range: of a large one only about its ends, because each group has to be looked at.
struct RangeExplanation {
    range: GroupRange,
    /// The parts in ascending order. Only the first and the last group if the range is large.
    parts: Vec<Part>,
    /// The names in ascending order of their groups.
    names: Vec<(GroupRange, &'static str)>,
    is_complete: bool,
}

/// Consecutive groups of the same kind and scope.
#[derive(Debug)]
struct Part {
    range: GroupRange,
    kind: WithReference<GroupKind>,
    scope: WithReference<Scope>,
}

impl Part {
    fn of(explanation: &Explanation) -> Self {
        Self { range: explanation.group.into(), kind: explanation.kind, scope: explanation.scope }
    }
}

impl RangeExplanation {
    /// The largest range whose groups are all looked at, which takes a fraction of a second.
    const MAX_GROUPS: u128 = 1 << 16;

    fn new(range: GroupRange) -> Self {
        let is_complete = range.count() <= Self::MAX_GROUPS;
        let mut parts: Vec<Part> = Vec::new();
        let mut names = BTreeMap::new();
        if is_complete {
            for group in range.groups() {
                let explanation = group.explain();
                let next = Part::of(&explanation);
                match parts.last_mut() {
                    Some(part) if (part.kind, part.scope) == (next.kind, next.scope) => {
                        part.range.last = group;
                    }
                    _ => parts.push(next),
                }
                for assignment in explanation.assignments {
                    names.insert((assignment.addresses, assignment.name), ());
                }
            }
        } else {
            parts.extend([range.first, range.last].map(|group| Part::of(&group.explain())));
        }
        let short = WellKnown::all().iter().filter(|known| !is_complete && range.contains(known.group));
        names.extend(short.map(|known| ((known.group.into(), known.name), ())));
        Self { range, parts, names: names.into_keys().collect(), is_complete }
    }
}

/// Parts and names that are shown without `-v`.
const PARTS_SHOWN: usize = 8;
const NAMES_SHOWN: usize = 16;

fn write_range(explanation: &RangeExplanation, console: &Console, out: &mut Output) -> io::Result<()> {
    let RangeExplanation { range, parts, names, is_complete } = explanation;
    let palette = console.palette();
    let mut writer = GroupWriter { out, palette, is_verbose: console.is_verbose() };
    let (parts_shown, names_shown) = match console.is_verbose() {
        true => (parts.len(), names.len()),
        false => (PARTS_SHOWN, NAMES_SHOWN),
    };
    let style = palette.group;
    writeln!(writer.out, "{style}{range}{style:#}")?;
    let groups = match u64::try_from(range.count()) {
        Ok(number) => count(number),
        Err(_) => format!("2^{}", range.count().ilog2()),
    };
    writer.fact("groups", groups, &[])?;
    for part in parts.iter().take(parts_shown) {
        let place = match (*is_complete, parts.len()) {
            (true, 1) => String::new(),
            _ => format!(" ({})", part.range),
        };
        writer.fact("kind", format_args!("{}{place}", part.kind.value), &[part.kind.reference])?;
        writer.fact("scope", part.scope.value, &[part.scope.reference])?;
    }
    writer.more(parts.len().saturating_sub(parts_shown), "parts of other kinds")?;
    for (groups, name) in names.iter().take(names_shown) {
        writer.fact("name", format_args!("{name} ({groups})"), &[])?;
    }
    writer.more(names.len().saturating_sub(names_shown), "names")?;
    if !is_complete {
        let text = "only the first and the last group, and short names: name a smaller range for all kinds and names";
        writer.fact("shown", text, &[])?;
    }
    Ok(())
}

/// Writes the names of groups as a table, one row per group.
fn write_names(palette: &Palette, out: &mut Output) -> io::Result<()> {
    let mut table = Table::new(&["name", "group", "ports", "reference"], palette.heading);
    for known in WellKnown::all() {
        let ports: Vec<String> = known.ports.iter().map(ToString::to_string).collect();
        table.row([
            Cell::new(known.name).style(palette.group),
            Cell::new(known.group.to_string()),
            Cell::new(ports.join(", ")),
            Cell::new(known.reference.to_string()).style(palette.dim),
        ]);
    }
    table.write(out)
}

/// Writes the findings as a table, one row each.
fn write_findings(palette: &Palette, out: &mut Output) -> io::Result<()> {
    let mut table = Table::new(&["finding", "what it is"], palette.heading);
    for id in Id::ALL {
        let name = Cell::new(id.as_str()).style(palette.group);
        table.row([name, Cell::of_lines(wrap(&id.summary(), text_width() - 26))]);
    }
    table.write(out)
}

/// Writes the page of a finding, which is part of the guide as well.
fn write_page(id: Id, palette: &Palette, out: &mut Output) -> io::Result<()> {
    write_markdown(&id.page(), palette, out)
}

fn write_markdown(text: &str, palette: &Palette, out: &mut Output) -> io::Result<()> {
    let mut writer = PageWriter { out, palette, is_first: true, text: String::new(), rows: Vec::new() };
    Parser::new_ext(text, Options::ENABLE_TABLES).try_for_each(|event| writer.event(event))
}

/// Writes the blocks of a page as the parser reports them.
struct PageWriter<'a> {
    out: &'a mut Output,
    palette: &'a Palette,
    is_first: bool,
    /// The text of the current block or cell.
    text: String,
    /// The complete rows of the current table, and the current one.
    rows: Vec<Vec<String>>,
}

impl PageWriter<'_> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Text(text) => self.text.push_str(&text),
            Event::Code(code) => self.text.extend(["`", &code, "`"]),
            Event::SoftBreak => self.text.push(' '),
            Event::Start(Tag::Emphasis) | Event::End(TagEnd::Emphasis) => self.text.push('*'),
            Event::Start(Tag::TableHead | Tag::TableRow) => self.rows.push(Vec::new()),
            Event::Start(tag) => self.start(&tag)?,
            Event::End(tag) => self.end(tag)?,
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>) -> io::Result<()> {
        let is_block = matches!(
            tag,
            Tag::Heading { .. } | Tag::Paragraph | Tag::List(_) | Tag::Table(_) | Tag::CodeBlock(_)
        );
        if is_block && !std::mem::take(&mut self.is_first) {
            writeln!(self.out)?;
        }
        if let Tag::CodeBlock(CodeBlockKind::Fenced(tags)) = tag
            && let Some(label) = label(tags)
        {
            let dim = self.palette.dim;
            writeln!(self.out, "  {dim}{label}:{dim:#}")?;
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) -> io::Result<()> {
        let Palette { heading, group, .. } = self.palette;
        match tag {
            TagEnd::Heading(level) => {
                let (title, style) = (self.taken(), if level == HeadingLevel::H1 { group } else { heading });
                writeln!(self.out, "{style}{title}{style:#}")
            }
            TagEnd::Paragraph => {
                wrap(&self.taken(), text_width()).iter().try_for_each(|line| writeln!(self.out, "{line}"))
            }
            TagEnd::Item => self.write_item(),
            TagEnd::CodeBlock => self.taken().lines().try_for_each(|line| writeln!(self.out, "    {line}")),
            TagEnd::TableCell => {
                let cell = self.taken();
                self.rows.last_mut().into_iter().for_each(|row| row.push(cell.clone()));
                Ok(())
            }
            TagEnd::Table => write_table(&std::mem::take(&mut self.rows), self.palette, self.out),
            _ => Ok(()),
        }
    }

    fn taken(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn write_item(&mut self) -> io::Result<()> {
        let mut bullet = "- ";
        for line in wrap(&self.taken(), text_width() - bullet.len()) {
            writeln!(self.out, "{bullet}{line}")?;
            bullet = "  ";
        }
        Ok(())
    }
}

fn write_table(rows: &[Vec<String>], palette: &Palette, out: &mut Output) -> io::Result<()> {
    let Some((titles, rows)) = rows.split_first() else { return Ok(()) };
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles, palette.heading);
    // The last column gets the remaining width.
    let length =
        |row: &Vec<String>| row.iter().rev().skip(1).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let first = rows.iter().map(length).max().unwrap_or(0);
    let cell_width = text_width().saturating_sub(first + 4).clamp(24, 60);
    for row in rows {
        table.row(row.iter().map(|cell| Cell::of_lines(wrap(cell, cell_width))));
    }
    table.write(out)
}

/// Returns the label of a block of commands from its language and tags: `sh linux nft ipv4 now` becomes
/// `Linux, nft, IPv4, now`. `None` for commands that run everywhere.
fn label(tags: &str) -> Option<String> {
    let words: Vec<&str> = tags.split_whitespace().skip(1).filter_map(spelled).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn spelled(word: &str) -> Option<&str> {
    Some(match word {
        "linux" => "Linux",
        "macos" => "macOS",
        "windows" => "Windows",
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        "networkmanager" => "NetworkManager",
        "docker" => "Docker",
        "kubernetes" => "Kubernetes",
        "mcast" => return None,
        word => word,
    })
}
