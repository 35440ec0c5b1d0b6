//! Prints what happens, and counts failed checks.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::Style;
use mcast_packet::hexdump;
use serde::Serialize;

use super::event::Event;
use crate::console::{Console, Output};
use crate::output::{Palette, text_width, wrap, write_json};

/// The widest line of text.
const MOST_WIDTH: usize = 84;
/// Where the rest of a sentence begins: behind the mark, the host and the verb.
const REST: usize = 22;

/// The output format of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// For people with nothing but ASCII.
    Ascii,
    /// For machines: an object a line.
    Json,
}

/// Columns for text.
fn width() -> usize {
    text_width().min(MOST_WIDTH)
}

/// Tells the demonstration, line by line, as it happens.
pub(super) struct Narrator {
    form: Form,
    output: Output,
    palette: Palette,
    cast: &'static [&'static str],
    act: &'static str,
    facts: usize,
    wrong: usize,
    /// Whether the next line is to stand apart from the last.
    apart: bool,
    begun: Instant,
}

/// One fact for machines.
#[derive(Serialize)]
struct Line<'a> {
    act: &'a str,
    host: &'a str,
    #[serde(flatten)]
    event: &'a Event,
    as_expected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a Event>,
}

/// The last line for machines.
#[derive(Serialize)]
struct Verdict {
    event: &'static str,
    place: &'static str,
    facts: usize,
    wrong: usize,
}

impl Narrator {
    /// `cast` are the hosts that appear: each has its colour.
    pub(super) fn new(console: &Console, form: Form, cast: &'static [&'static str]) -> Self {
        Self {
            form,
            output: console.output(),
            palette: if form == Form::Text { *console.palette() } else { Palette::new(false) },
            cast,
            act: "",
            facts: 0,
            wrong: 0,
            apart: false,
            begun: Instant::now(),
        }
    }

    /// What all of it is about.
    pub(super) fn title(&mut self, title: &str, about: &str) -> io::Result<()> {
        let heading = self.palette.heading;
        self.line(&format!("{heading}{title}{heading:#}  {about}"))
    }

    /// Begins an act. `name` is for machines.
    pub(super) fn act(&mut self, name: &'static str, title: &str) -> io::Result<()> {
        self.act = name;
        let heading = self.palette.heading;
        self.paragraph(&format!("{heading}{title}{heading:#}"))
    }

    /// Draws a network.
    pub(super) fn draw(&mut self, picture: &str) -> io::Result<()> {
        let picture = self.paint(picture.trim_matches('\n'));
        self.paragraph(&picture)
    }

    /// Explains, for people only.
    pub(super) fn explain(&mut self, text: &str) -> io::Result<()> {
        let text: Vec<String> = wrap(text, width() - 2).iter().map(|line| format!("  {line}")).collect();
        let text = self.paint(&text.join("\n"));
        self.paragraph(&text)
    }

    /// Tells what was done at a host, which cannot be otherwise: failing to do it ends the demonstration.
    pub(super) fn tell(&mut self, host: &str, event: &Event) -> io::Result<()> {
        match self.form {
            Form::Json => self.object(host, event, None),
            _ => self.sentence(" ", Style::new(), host, event),
        }
    }

    /// Tells what happened at a host, beside what should have.
    pub(super) fn fact(&mut self, host: &str, event: &Event, expected: &Event) -> io::Result<()> {
        let right = event == expected;
        self.facts += 1;
        self.wrong += usize::from(!right);
        if self.form == Form::Json {
            return self.object(host, event, (!right).then_some(expected));
        }
        if right {
            return self.sentence(self.form.right(), self.palette.good, host, event);
        }
        let bad = self.palette.bad;
        self.sentence(self.form.wrong(), bad, host, event)?;
        self.line(&format!("    {bad}should have {}{bad:#} {expected}", expected.verb()))
    }

    /// Tells how it ended, and where it was played; whether all was as it should be.
    pub(super) fn end(mut self, place: &'static str, advice: &str, console: &Console) -> io::Result<bool> {
        let (facts, wrong) = (self.facts, self.wrong);
        self.apart = true;
        if self.form == Form::Json {
            write_json(&mut self.output, &Verdict { event: "verdict", place, facts, wrong })?;
        } else if wrong == 0 {
            let good = self.palette.good;
            self.line(&format!("{good}All {facts} checks passed.{good:#} {advice}"))?;
        } else {
            let bad = self.palette.bad;
            self.line(&format!("{bad}{wrong} of {facts} checks failed.{bad:#}"))?;
        }
        self.output.flush()?;
        console.detail(format_args!("it took {}", seconds(self.begun.elapsed())));
        Ok(wrong == 0)
    }

    fn object(&mut self, host: &str, event: &Event, expected: Option<&Event>) -> io::Result<()> {
        let line = Line { act: self.act, host, event, as_expected: expected.is_none(), expected };
        write_json(&mut self.output, &line)?;
        self.output.flush()
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

    /// Text that stands apart from what is before and behind it.
    fn paragraph(&mut self, text: &str) -> io::Result<()> {
        self.apart = true;
        self.line(text)?;
        self.apart = true;
        Ok(())
    }

    /// A line for people, shown at once.
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

    /// The text with each host's name in its colour.
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

/// The text with lines drawn in ASCII.
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

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_can_be_had_in_ascii() {
        assert_eq!(ascii("┌─┐│└┬┘"), "+-+|+++");
    }
}
