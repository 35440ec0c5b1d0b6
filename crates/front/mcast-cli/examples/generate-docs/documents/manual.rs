//! Man pages: `mcast.1`, and a page for each subcommand.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
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
    let source = command.get_after_long_help().or_else(|| command.get_after_help());
    let blocks = notes::parse(&source.map(ToString::to_string).unwrap_or_default());
    // Only the main page has the version.
    let man = Man::new(command).title(page_name(&words)).source("mcast").manual("mcast manual");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
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
