//! Man pages: `mcast.1`, and a page for each subcommand.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use mcast_cli::notes::{self, Block, Entry};
use mcast_cli::{ENVIRONMENT_VARIABLES, HEADINGS, statuses_of};

use super::reference::{NamedCommand, subcommands};

pub(super) fn write(folder: &Path) -> io::Result<()> {
    let root = NamedCommand { words: String::new(), command: super::built() };
    for named in std::iter::once(root).chain(subcommands()) {
        fs::write(folder.join(format!("{}.1", page_name(&named.words))), page(named)?)?;
    }
    Ok(())
}

/// `mcast-perf-send` for `perf send`.
fn page_name(words: &str) -> String {
    ["mcast", words].join(" ").trim_end().replace(' ', "-")
}

fn page(named: NamedCommand) -> io::Result<Vec<u8>> {
    let NamedCommand { words, command } = named;
    // Without it, the synopsis would say "subcommands".
    let command = command.subcommand_value_name("COMMAND");
    let see_also = related(&words, &command);
    let has_options = command.get_arguments().next().is_some();
    let has_subcommands = command.has_subcommands();
    // A usage that is written by hand is the synopsis, too.
    let synopsis = command.get_overridden_usage().is_none().then(|| synopsis(&command));
    let source = command.get_after_long_help().or_else(|| command.get_after_help());
    let blocks = notes::parse(&source.map(ToString::to_string).unwrap_or_default());
    // Only the main page has the version.
    let man = Man::new(command).title(page_name(&words)).source("mcast").manual("mcast manual");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    match synopsis {
        Some(synopsis) => out.extend(section("SYNOPSIS", synopsis).to_roff().into_bytes()),
        None => man.render_synopsis_section(&mut out)?,
    }
    man.render_description_section(&mut out)?;
    out.extend(paragraphs(&blocks).to_roff().into_bytes());
    if has_options {
        man.render_options_section(&mut out)?;
    }
    if has_subcommands {
        man.render_subcommands_section(&mut out)?;
    }
    out.extend(sections(&blocks).to_roff().into_bytes());
    out.extend(exit_status(&words).to_roff().into_bytes());
    if words.is_empty() {
        out.extend(environment().to_roff().into_bytes());
    }
    out.extend(section("SEE ALSO", [roman(see_also.join(", "))]).to_roff().into_bytes());
    Ok(out)
}

/// Returns the synopsis. That of clap_mangen does not name the values of options.
fn synopsis(command: &Command) -> Vec<Inline> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut line = vec![bold(name)];
    let of_group = |group: &clap::ArgGroup| -> Vec<&Arg> {
        let members =
            group.get_args().filter_map(|id| command.get_arguments().find(|each| each.get_id() == id));
        members.collect()
    };
    let groups: Vec<Vec<&Arg>> =
        command.get_groups().filter(|group| group.is_required_set()).map(of_group).collect();
    let is_alone = |argument: &&Arg| {
        !argument.is_hide_set() && !groups.iter().flatten().any(|each| each.get_id() == argument.get_id())
    };
    let mut options: Vec<&Arg> =
        command.get_arguments().filter(|argument| !argument.is_positional()).filter(is_alone).collect();
    // Those that must be there are the last, before the arguments.
    options.sort_by_key(|option| option.is_required_set());
    for argument in options.into_iter().chain(command.get_positionals().filter(is_alone)) {
        let [start, end] = if argument.is_required_set() { ["", ""] } else { ["[", "]"] };
        line.push(roman(format!(" {start}")));
        line.extend(form(argument));
        line.push(roman(end));
    }
    for members in &groups {
        for (number, argument) in members.iter().enumerate() {
            line.push(roman(if number == 0 { " {" } else { " | " }));
            line.extend(form(argument));
        }
        line.push(roman("}"));
    }
    if command.has_subcommands() {
        let name = command.get_subcommand_value_name().unwrap_or_default();
        line.push(roman(" "));
        line.push(match command.is_subcommand_required_set() {
            true => italic(format!("<{name}>")),
            false => italic(format!("[{name}]")),
        });
    }
    line
}

/// Returns how an argument is written: `-i, --interface <INTERFACE>`.
fn form(argument: &Arg) -> Vec<Inline> {
    let mut form = Vec::new();
    if let Some(letter) = argument.get_short() {
        form.push(bold(format!("-{letter}")));
    }
    if let Some(word) = argument.get_long() {
        if !form.is_empty() {
            form.push(roman(", "));
        }
        form.push(bold(format!("--{word}")));
    }
    if !argument.is_positional() && !argument.get_action().takes_values() {
        return form;
    }
    let names = argument.get_value_names().unwrap_or_default();
    let mut values = names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    let counts = argument.get_num_args();
    if counts.is_some_and(|counts| counts.max_values() > names.len()) {
        values.push_str("...");
    }
    let is_optional = !argument.is_positional() && counts.is_some_and(|counts| counts.min_values() == 0);
    let [start, end] = match (argument.is_positional(), argument.is_require_equals_set(), is_optional) {
        (true, ..) => ["", ""],
        (false, false, false) => [" ", ""],
        (false, false, true) => [" [", "]"],
        (false, true, false) => ["=", ""],
        (false, true, true) => ["[=", "]"],
    };
    form.extend([roman(start), italic(values), roman(end)]);
    form
}

/// Returns the blocks before the first heading, which belong to the description.
fn paragraphs(blocks: &[Block]) -> Roff {
    let mut roff = Roff::new();
    for block in blocks.iter().take_while(|block| !matches!(block, Block::Heading(_))) {
        if let Block::Paragraph(text) = block {
            roff.control("PP", []).text([roman(text.as_str())]);
        }
    }
    roff
}

/// Returns a section for each heading, with the blocks under it.
fn sections(blocks: &[Block]) -> Roff {
    let mut roff = Roff::new();
    for block in blocks.iter().skip_while(|block| !matches!(block, Block::Heading(_))) {
        match block {
            Block::Heading(title) => {
                roff.control("SH", [title.to_uppercase().as_str()]);
            }
            Block::Paragraph(text) => {
                roff.control("PP", []).text([roman(text.as_str())]);
            }
            Block::Entries(entries) => entries.iter().for_each(|entry| add(&mut roff, entry)),
            Block::Verbatim(lines) => {
                roff.control("PP", []).control("nf", []);
                for line in lines {
                    roff.text([roman(line.as_str())]);
                }
                roff.control("fi", []);
            }
            Block::Space => {}
        }
    }
    roff
}

fn add(roff: &mut Roff, entry: &Entry) {
    let text = [bold(entry.text.as_str())];
    match entry.description.is_empty() {
        true => roff.control("PP", []).text(text),
        false => roff.control("TP", []).text(text).text([roman(entry.description.as_str())]),
    };
}

fn exit_status(words: &str) -> Roff {
    let mut roff = section("EXIT STATUS", []);
    for (status, meaning) in statuses_of(words) {
        roff.control("TP", []).text([bold(status)]).text([roman(meaning)]);
    }
    roff
}

fn environment() -> Roff {
    let mut roff = section("ENVIRONMENT", []);
    for (name, meaning) in ENVIRONMENT_VARIABLES {
        roff.control("TP", []).text([bold(*name)]).text([roman(*meaning)]);
    }
    roff
}

fn section(title: &str, text: impl Into<Vec<Inline>>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]).text(text.into());
    roff
}

/// Returns the pages of the parent command, the subcommands, and the commands under the same heading.
fn related(words: &str, command: &Command) -> Vec<String> {
    let below = command.get_subcommands().map(|each| format!("{words} {}", each.get_name()));
    let mut related: Vec<String> = below.map(|words| words.trim_start().to_owned()).collect();
    if let Some((above, _)) = words.rsplit_once(' ') {
        related.push(above.to_owned());
    } else {
        let beside = HEADINGS.iter().filter(|(_, names)| names.contains(&words));
        related.extend(beside.flat_map(|(_, names)| names.iter().map(ToString::to_string)));
    }
    if !words.is_empty() {
        related.push(String::new());
    }
    let mut pages: Vec<String> = related
        .iter()
        .filter(|other| *other != words)
        .map(|words| format!("{}(1)", page_name(words)))
        .collect();
    pages.sort();
    pages.dedup();
    pages
}
