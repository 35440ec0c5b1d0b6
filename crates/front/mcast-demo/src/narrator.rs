//! Prints events, and counts failed checks.

use std::io::{self, Write};
use std::time::Instant;

use anstyle::Style;
use mcast_json::write_json;
use mcast_packet::hexdump;
use mcast_terminal::{Console, Output, Palette, text_width, wrap};
use serde::Serialize;

use crate::{Event, Scene};

/// The widest line of text.
const MOST_WIDTH: usize = 84;
/// The column of the rest of a sentence, after the mark, the host and the verb.
const REST: usize = 22;

/// The output format of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text with line drawing.
    Text,
    /// ASCII text.
    Ascii,
    /// JSON Lines.
    Json,
}

/// Returns the width of text.
fn width() -> usize {
    text_width().min(MOST_WIDTH)
}

/// Prints the demonstration line by line.
pub(crate) struct Narrator<'a> {
    console: &'a Console,
    form: Form,
    output: Output,
    palette: Palette,
    cast: &'static [&'static str],
    act: &'static str,
    checks: usize,
    failed: usize,
    /// Whether an empty line precedes the next one.
    apart: bool,
    begun: Instant,
}

/// A check as JSON.
#[derive(Serialize)]
struct Line<'a> {
    part: &'a str,
    host: &'a str,
    #[serde(flatten)]
    event: &'a Event,
    as_expected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a Event>,
}

/// The result as JSON.
#[derive(Serialize)]
struct Verdict {
    event: &'static str,
    environment: &'static str,
    checks: usize,
    failed: usize,
}

impl<'a> Narrator<'a> {
    /// Creates a narrator. Each host of `cast` has its own colour.
    pub(crate) fn new(console: &'a Console, form: Form, cast: &'static [&'static str]) -> Self {
        Self {
            console,
            form,
            output: console.output(),
            palette: if form == Form::Text { *console.palette() } else { Palette::new(false) },
            cast,
            act: "",
            checks: 0,
            failed: 0,
            apart: false,
            begun: Instant::now(),
        }
    }

    /// Prints a scene.
    pub(crate) fn show(&mut self, scene: Scene<'_>) -> io::Result<()> {
        let heading = self.palette.heading;
        match scene {
            Scene::Title(about) => self.line(&format!("{heading}mcast demo{heading:#}  {about}")),
            Scene::Act { name, title } => {
                self.act = name;
                self.paragraph(&format!("{heading}{title}{heading:#}"))
            }
            Scene::Picture(picture) => self.paragraph(&self.paint(picture.trim_matches('\n'))),
            Scene::Explanation(text) => {
                let lines = wrap(text, width() - 2);
                let text: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
                self.paragraph(&self.paint(&text.join("\n")))
            }
            Scene::Step { host, event, expected } => self.step(host, event, expected),
        }
    }

    /// Prints an event at a host, compared with the expected one. An action has none: a failed one ends the
    /// demonstration.
    fn step(&mut self, host: &str, event: &Event, expected: Option<&Event>) -> io::Result<()> {
        let wrong = expected.filter(|expected| *expected != event);
        self.checks += usize::from(expected.is_some());
        self.failed += usize::from(wrong.is_some());
        if self.form == Form::Json {
            let as_expected = wrong.is_none();
            let line = Line { part: self.act, host, event, as_expected, expected: wrong };
            write_json(&mut self.output, &line)?;
            return self.output.flush();
        }
        let bad = self.palette.bad;
        match (expected, wrong) {
            (None, _) => self.sentence(" ", Style::new(), host, event),
            (_, None) => self.sentence(self.form.right(), self.palette.good, host, event),
            (_, Some(expected)) => {
                self.sentence(self.form.wrong(), bad, host, event)?;
                self.line(&format!("    {bad}should have {}{bad:#} {expected}", expected.verb()))
            }
        }
    }

    /// Prints the result, and returns whether all checks passed.
    pub(crate) fn end(mut self, environment: &'static str, advice: &str) -> io::Result<bool> {
        let (checks, failed) = (self.checks, self.failed);
        self.apart = true;
        if self.form == Form::Json {
            write_json(&mut self.output, &Verdict { event: "verdict", environment, checks, failed })?;
        } else if failed == 0 {
            let good = self.palette.good;
            self.line(&format!("{good}All {checks} checks passed.{good:#} {advice}"))?;
        } else {
            let bad = self.palette.bad;
            self.line(&format!("{bad}{failed} of {checks} checks failed.{bad:#}"))?;
        }
        self.output.flush()?;
        self.console.detail(format_args!("it took {:.1} s", self.begun.elapsed().as_secs_f64()));
        Ok(failed == 0)
    }

    fn sentence(&mut self, mark: &str, style: Style, host: &str, event: &Event) -> io::Result<()> {
        let (colour, dim, verb) = (self.colour(host), self.palette.dim, event.verb());
        let begin = format!("  {style}{mark}{style:#} {colour}{host:<8}{colour:#} {dim}{verb:<8}{dim:#} ");
        let rest = wrap(&event.to_string(), width() - REST).join(&format!("\n{:REST$}", ""));
        self.line(&format!("{begin}{rest}"))?;
        if event.bytes().is_empty() {
            return Ok(());
        }
        let dump = hexdump(event.bytes()).to_string();
        dump.lines().try_for_each(|line| self.line(&format!("    {dim}{line}{dim:#}")))
    }

    /// Prints text with an empty line before and after it.
    fn paragraph(&mut self, text: &str) -> io::Result<()> {
        self.apart = true;
        self.line(text)?;
        self.apart = true;
        Ok(())
    }

    /// Prints a line, and flushes it.
    fn line(&mut self, text: &str) -> io::Result<()> {
        let gap = if std::mem::take(&mut self.apart) { "\n" } else { "" };
        match self.form {
            Form::Json => return Ok(()),
            Form::Text => writeln!(self.output, "{gap}{text}")?,
            Form::Ascii => writeln!(self.output, "{gap}{}", ascii(text))?,
        }
        self.output.flush()
    }

    fn colour(&self, host: &str) -> Style {
        let number = self.cast.iter().position(|name| *name == host);
        number.map_or(self.palette.heading, |number| self.palette.of_number(number))
    }

    /// Colours the names of hosts.
    fn paint(&self, text: &str) -> String {
        let paint = |text: String, host: &&str| {
            let colour = self.colour(host);
            text.replace(host, &format!("{colour}{host}{colour:#}"))
        };
        self.cast.iter().fold(text.to_owned(), paint)
    }
}

impl Form {
    fn right(self) -> &'static str {
        if self == Self::Ascii { "+" } else { "✓" }
    }

    fn wrong(self) -> &'static str {
        if self == Self::Ascii { "!" } else { "✗" }
    }
}

/// Replaces line-drawing characters with ASCII.
fn ascii(text: &str) -> String {
    let plain = |character| match character {
        '─' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' | '┬' | '┴' | '├' | '┤' | '┼' => '+',
        '▲' => '^',
        '▼' => 'v',
        other => other,
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_an_ascii_form() {
        assert_eq!(ascii("┌─┐│└┬┘"), "+-+|+++");
    }
}
