//! Output streams: data goes to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use mcast_group::SafeText;
use mcast_sys::service::journal_reads;

/// The output streams, with their verbosity and colours.
#[derive(Debug)]
pub struct Console {
    quiet: bool,
    verbose: bool,
    out: Palette,
    err: Palette,
    /// Whether lines on standard error start with their level, for the journal.
    levels: bool,
    /// Whether lines on standard output may start with their level, too.
    output_levels: bool,
    /// Whether results go to standard error, because standard output is that of another program.
    is_beside: bool,
    /// What lines on standard error are about, if they name it.
    part: Option<String>,
}

/// The level of a line, numbered as in `sd-daemon(3)` and syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What failed.
    Error = 3,
    /// What may be wrong.
    Warning = 4,
    /// What to do.
    Notice = 5,
    /// What happened.
    Information = 6,
    /// What only `-v` shows.
    Detail = 7,
}

impl Console {
    /// Creates the streams of this process. With `quiet`, notes and warnings are silenced; with `verbose`, details are shown.
    #[must_use]
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let out = Palette::new(is_coloured(AutoStream::choice(&io::stdout())));
        let err = Palette::new(is_coloured(AutoStream::choice(&io::stderr())));
        Self {
            quiet,
            verbose,
            out,
            err,
            levels: journal_reads(2),
            output_levels: journal_reads(1),
            is_beside: false,
            part: None,
        }
    }

    /// Returns streams whose lines on standard error start with the name of a part of the program.
    #[must_use]
    pub fn named(&self, part: &str) -> Self {
        Self { part: Some(part.to_owned()), ..*self }
    }

    /// Returns streams that leave standard output to another program: results go to standard error, too.
    #[must_use]
    pub fn beside_a_program(&self) -> Self {
        Self { out: self.err, output_levels: self.levels, is_beside: true, part: self.part.clone(), ..*self }
    }

    /// Returns the styles for standard output: plain unless it is a terminal with colours.
    pub fn palette(&self) -> &Palette {
        &self.out
    }

    /// Returns the styles for standard error.
    pub fn palette_for_notes(&self) -> &Palette {
        &self.err
    }

    /// Returns whether notes are silenced (`-q`).
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns whether details are shown (`-v`).
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Returns buffered standard output; flush it before blocking.
    pub fn output(&self) -> Output {
        let choice = if self.out.is_coloured() { ColorChoice::Always } else { ColorChoice::AlwaysAnsi };
        // `AlwaysAnsi` strips nothing. Plain styles write no escapes, and data may contain any bytes.
        let stream = match self.is_beside {
            true => Data::Error(AutoStream::new(io::stderr(), choice)),
            false => Data::Output(AutoStream::new(io::stdout(), choice)),
        };
        Output::with_capacity(64 << 10, stream)
    }

    /// Returns the prefix of a line on standard output: its level if the journal reads it, otherwise nothing.
    pub fn mark(&self, level: Level) -> String {
        if self.output_levels { format!("<{}>", level as u8) } else { String::new() }
    }

    /// Prints a note on standard error; `-q` silences it.
    pub fn note(&self, line: impl Display) {
        if !self.quiet {
            self.print(Level::Information, line);
        }
    }

    /// Prints a detail, which only `-v` shows.
    pub fn detail(&self, line: impl Display) {
        if self.verbose {
            self.print(Level::Detail, line);
        }
    }

    /// Prints a warning; `-q` silences it.
    pub fn warn(&self, line: impl Display) {
        if !self.quiet {
            let style = self.err.warning;
            self.print(Level::Warning, format_args!("{style}warning:{style:#} {line}"));
        }
    }

    /// Prints a failure in one or more lines. Quoted file contents and arguments are escaped, so that they cannot
    /// control the terminal.
    pub fn error(&self, lines: impl Display) {
        let style = self.err.bad;
        let lines = lines.to_string();
        let safe: Vec<_> = lines.split('\n').map(|line| SafeText::new(line.as_bytes()).to_string()).collect();
        self.print(Level::Error, format_args!("{style}error:{style:#} {}", safe.join("\n")));
    }

    /// Prints a remedy.
    pub fn help(&self, line: impl Display) {
        let style = self.err.good;
        self.print(Level::Notice, format_args!("{style}remedy:{style:#} {line}"));
    }

    /// Prints a remedy after a warning; `-q` silences it.
    pub fn advise(&self, line: impl Display) {
        if !self.quiet {
            self.help(line);
        }
    }

    fn print(&self, level: Level, line: impl Display) {
        // In one call, so that other programs on the same terminal do not write in between. If standard
        // error is closed, the failure cannot be reported anywhere.
        let line = match &self.part {
            Some(part) => line.to_string().lines().map(|line| format!("{part}: {line}\n")).collect(),
            None => format!("{line}\n"),
        };
        let line = if self.levels { with_level(level, &line) } else { line };
        let _ = AutoStream::auto(io::stderr()).write_all(line.as_bytes());
    }
}

/// Prefixes each line with its level.
fn with_level(level: Level, lines: &str) -> String {
    lines.lines().map(|line| format!("<{}>{line}\n", level as u8)).collect()
}

/// Buffered standard output.
pub type Output = io::BufWriter<Data>;

/// Where results go; its errors say that writing to it failed.
#[derive(Debug)]
pub enum Data {
    /// Standard output.
    Output(AutoStream<io::Stdout>),
    /// Standard error, beside a program.
    Error(AutoStream<io::Stderr>),
}

impl Write for Data {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output(stream) => stream.write(bytes).map_err(|error| write_error("output", error)),
            Self::Error(stream) => stream.write(bytes).map_err(|error| write_error("error", error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Output(stream) => stream.flush().map_err(|error| write_error("output", error)),
            Self::Error(stream) => stream.flush().map_err(|error| write_error("error", error)),
        }
    }
}

/// Adds context to an error. The kind stays the same: a broken pipe is not a failure, and interrupted calls are
/// repeated.
fn write_error(stream: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard {stream}: {error}"))
}

fn is_coloured(choice: ColorChoice) -> bool {
    choice != ColorChoice::Never
}

/// Returns the width of the terminal that standard output goes to, otherwise the value of `COLUMNS`; `None` if
/// the length of lines is unlimited.
pub fn width() -> Option<usize> {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0));
    let from_environment = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(from_environment).filter(|columns| *columns > 0)
}

/// Returns whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A style for each kind of output. All styles are plain without colours, so that text is always written as
/// `{style}text{style:#}`.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    coloured: bool,
    /// Titles of columns and sections.
    pub heading: Style,
    /// Groups and ports.
    pub group: Style,
    /// Sources and other addresses of hosts.
    pub address: Style,
    /// Interfaces.
    pub interface: Style,
    /// Less important text.
    pub dim: Style,
    /// Good values.
    pub good: Style,
    /// Warnings.
    pub warning: Style,
    /// Failures and losses.
    pub bad: Style,
}

impl Palette {
    /// Creates the styles; without colours, all are plain.
    #[must_use]
    pub fn new(coloured: bool) -> Self {
        let style = |style: Style| if coloured { style } else { Style::new() };
        let colour = |colour: AnsiColor| style(colour.on_default());
        Self {
            coloured,
            heading: style(Style::new().bold()),
            group: colour(AnsiColor::Cyan),
            address: colour(AnsiColor::Green),
            interface: colour(AnsiColor::Blue),
            dim: style(Style::new().dimmed()),
            good: style(AnsiColor::Green.on_default().bold()),
            warning: style(AnsiColor::Yellow.on_default().bold()),
            bad: style(AnsiColor::Red.on_default().bold()),
        }
    }

    /// Returns whether the styles differ from plain text.
    #[must_use]
    pub fn is_coloured(&self) -> bool {
        self.coloured
    }

    /// Returns a colour for the n-th of several hosts, programs or feeds.
    pub fn of_number(&self, number: usize) -> Style {
        const COLOURS: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Green,
            AnsiColor::Magenta,
            AnsiColor::Yellow,
            AnsiColor::Blue,
            AnsiColor::Red,
        ];
        if self.coloured { COLOURS[number % COLOURS.len()].on_default() } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_starts_with_its_level_for_the_journal() {
        assert_eq!(with_level(Level::Warning, "one\ntwo"), "<4>one\n<4>two\n");
        assert_eq!(with_level(Level::Information, "one"), "<6>one\n");
    }
}
