//! `--config`: a file of bridges.

use std::path::Path;

use anyhow::Context;
use clap::Parser;
use mcast_terminal::Console;

use super::{Arguments, engine};
use crate::arguments::read_keys;
use crate::exit::{self, Failure, describe};
use crate::replaced::name_successor;

/// A bridge in a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// The words of its line: if they stay the same, the bridge does.
    words: Vec<String>,
    pub(super) arguments: Arguments,
}

impl Entry {
    /// Whether another entry describes the same bridge.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.words == other.words
    }
}

/// The arguments on a line.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// Reads the bridges in a file: one per line; empty lines and what follows a `#` are ignored.
pub(super) fn read(path: &Path, of_all: &Arguments, console: &Console) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut entries: Vec<Entry> = Vec::new();
    let (mut faults, mut remedy) = (Vec::new(), None);
    for (line, number) in text.lines().zip(1..) {
        let entry = parse_line(line, console).and_then(|entry| match entry {
            Some(entry) if entries.iter().any(|other| other.name == entry.name) => {
                Err(Failure::usage(format!("another bridge above it has the name \"{}\"", entry.name)).into())
            }
            entry => Ok(entry),
        });
        match entry {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(error) => {
                remedy = remedy.or_else(|| exit::remedy(&error));
                faults.push(format!("{}: line {number}: {}", path.display(), describe(&error)));
            }
        }
    }
    if faults.is_empty() && entries.is_empty() {
        return Err(Failure::usage(format!("{} contains no bridge", path.display()))
            .remedy("write a line for each bridge: NAME: STREAM to BROKER")
            .into());
    }
    if !faults.is_empty() {
        return Err(Failure::usage(faults.join("\n")).remedy(remedy.unwrap_or_default()).into());
    }
    entries.iter_mut().for_each(|entry| entry.arguments.json = of_all.json);
    Ok(entries)
}

/// Returns the bridge on a line, if there is one, after its files were read once.
fn parse_line(line: &str, console: &Console) -> anyhow::Result<Option<Entry>> {
    let unclosed = || Failure::usage("a quotation mark is not closed");
    let mut words = shlex::split(line).ok_or_else(unclosed)?;
    if words.is_empty() {
        return Ok(None);
    }
    let first = words.remove(0);
    let name = first.strip_suffix(':').filter(|name| is_name(name)).ok_or_else(|| {
        Failure::usage(format!("\"{first}\" is not the name of a bridge with a colon"))
            .remedy("begin each line with a name of letters, digits or `-._`: NAME: STREAM to BROKER")
    })?;
    let parsed = Line::try_parse_from(&words).map_err(|error| name_successor(error, "bridge"));
    let Line { arguments } = parsed.map_err(|error| usage_error(&error))?;
    if let Some(option) = arguments.of_process() {
        return Err(Failure::usage(format!("{option} applies to all bridges of a file"))
            .remedy("use it beside --config")
            .into());
    }
    arguments.check()?;
    match arguments.is_reverse() {
        true => engine::Target::parse_source(&arguments)?,
        false => engine::Target::parse(&arguments)?,
    };
    arguments.stream.key.as_deref().map(|path| read_keys(path, console)).transpose()?;
    Ok(Some(Entry { name: name.to_owned(), words, arguments }))
}

fn is_name(text: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_safe)
}

/// Returns what clap reports in a line: without the usage, which is that of the command.
fn usage_error(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let remedy = tip.unwrap_or("`mcast bridge --help` describes the arguments").to_owned();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let text = lines.collect::<Vec<_>>().join(" ");
    Failure::usage(text.strip_prefix("error: ").unwrap_or(&text)).remedy(remedy)
}

impl Arguments {
    /// Returns an option of the process that was given.
    fn of_process(&self) -> Option<&'static str> {
        let given = [
            (self.config.is_some(), "--config"),
            (self.check, "--check"),
            (self.timeout.is_some(), "--timeout"),
            (self.json, "--json"),
            (self.metrics.is_some(), "--metrics"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> anyhow::Result<Vec<Entry>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let of_all = Line::try_parse_from(["--config", "x", "--json"]).unwrap().arguments;
        read(file.path(), &of_all, &Console::new(true, false))
    }

    #[test]
    fn a_file_has_a_bridge_per_line() {
        let entries = read_text(
            "# Prices\n\nprices: prices to redis://10.0.0.9 --stay # day and night\n\
             again: redis://10.0.0.9?key=mcast:prices to 239.255.1.3:7000 --announce 'prices again'\n",
        )
        .unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["prices", "again"]);
        assert!(entries[0].arguments.stream.stay && entries.iter().all(|entry| entry.arguments.json));
        assert!(entries[1].arguments.is_reverse());
    }

    #[test]
    fn all_lines_that_are_not_valid_are_listed() {
        let text = "a: prices to redis://10.0.0.9\nb prices to redis://10.0.0.9\na: prices to redis://10.0.0.9\n\
                    c: prices too redis://10.0.0.9\nd: prices to http://10.0.0.9\ne: prices to redis://x --json\n\
                    f: prices to redis://10.0.0.9 --announce x\ng: 'prices\n";
        let error = read_text(text).unwrap_err().to_string();
        for (line, expected) in [
            (2, "\"b\" is not the name"),
            (3, "another bridge above it has the name \"a\""),
            (4, "the word `to` is missing"),
            (5, "is not a URL of Kafka"),
            (6, "--json applies to all bridges"),
            (7, "--announce applies only when publishing from a broker"),
            (8, "is not closed"),
        ] {
            let of_line = error.lines().find(|text| text.contains(&format!(": line {line}: ")));
            assert!(of_line.is_some_and(|text| text.contains(expected)), "{line}: {error}");
        }
        assert_eq!(error.lines().count(), 7, "{error}");
        assert!(read_text("# nothing\n").is_err());
    }

    #[test]
    fn a_former_option_on_a_line_names_its_successor() {
        let error = read_text("a: prices to rediss://10.0.0.9 --tls-ca x\n").unwrap_err();
        assert_eq!(exit::remedy(&error).as_deref(), Some("--tls-ca is now written --tls ca=FILE"));
    }
}
