//! Output streams: data goes to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use crate::output::{Palette, SafeText};
use crate::service::{journal_reads_notes, journal_reads_output};

/// The output streams, with their verbosity and colours.
#[derive(Debug)]
pub(crate) struct Console {
    quiet: bool,
    verbose: bool,
    out: Palette,
    err: Palette,
    /// Lines on standard error carry their level for the journal.
    levels: bool,
    /// So may those on standard output.
    output_levels: bool,
}

/// The level of a line, numbered as in `sd-daemon(3)` and syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Information = 6,
    Detail = 7,
}

impl Console {
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        let out = Palette::new(is_coloured(AutoStream::choice(&io::stdout())));
        let err = Palette::new(is_coloured(AutoStream::choice(&io::stderr())));
        Self {
            quiet,
            verbose,
            out,
            err,
            levels: journal_reads_notes(),
            output_levels: journal_reads_output(),
        }
    }

    /// The styles for standard output: plain unless it is a terminal that wants colours.
    pub(crate) fn palette(&self) -> &Palette {
        &self.out
    }

    /// The styles for standard error.
    pub(crate) fn palette_for_notes(&self) -> &Palette {
        &self.err
    }

    /// Returns whether notes are silenced (`-q`).
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns whether details are shown (`-v`).
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Returns buffered standard output; flush it before blocking.
    pub(crate) fn output(&self) -> Output {
        let choice = if self.out.is_coloured() { ColorChoice::Always } else { ColorChoice::AlwaysAnsi };
        // Plain styles leave nothing to strip, and data may hold any bytes: they pass as they are.
        Output::with_capacity(64 << 10, Data(AutoStream::new(io::stdout(), choice)))
    }

    /// What stands before a line of text on standard output where the journal reads it: its level.
    pub(crate) fn mark(&self, level: Level) -> String {
        if self.output_levels { format!("<{}>", level as u8) } else { String::new() }
    }

    /// Prints a note on standard error; `-q` silences it.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            self.say(Level::Information, line);
        }
    }

    /// Prints a detail, which only `-v` shows.
    pub(crate) fn detail(&self, line: impl Display) {
        if self.verbose {
            self.say(Level::Detail, line);
        }
    }

    /// Prints a warning; `-q` silences it.
    pub(crate) fn warn(&self, line: impl Display) {
        if !self.quiet {
            let style = self.err.warning;
            self.say(Level::Warning, format_args!("{style}warning:{style:#} {line}"));
        }
    }

    /// What failed, in one or more lines. It may quote a file or what was typed: no such bytes command
    /// the terminal.
    pub(crate) fn error(&self, lines: impl Display) {
        let style = self.err.bad;
        let lines = lines.to_string();
        let safe: Vec<_> = lines.split('\n').map(|line| SafeText::new(line.as_bytes()).to_string()).collect();
        self.say(Level::Error, format_args!("{style}error:{style:#} {}", safe.join("\n")));
    }

    /// Prints a remedy.
    pub(crate) fn help(&self, line: impl Display) {
        let style = self.err.good;
        self.say(Level::Notice, format_args!("{style}remedy:{style:#} {line}"));
    }

    /// Prints a remedy after a warning; `-q` silences it.
    pub(crate) fn advise(&self, line: impl Display) {
        if !self.quiet {
            self.help(line);
        }
    }

    fn say(&self, level: Level, line: impl Display) {
        // At once, so that other programs on the same terminal do not write in between. Where
        // standard error is gone nobody can be told.
        let line = match self.levels {
            true => with_level(level, &line.to_string()),
            false => format!("{line}\n"),
        };
        let _ = AutoStream::auto(io::stderr()).write_all(line.as_bytes());
    }
}

/// Prefixes each line with its level.
fn with_level(level: Level, lines: &str) -> String {
    lines.lines().map(|line| format!("<{}>{line}\n", level as u8)).collect()
}

/// Buffered standard output.
pub(crate) type Output = io::BufWriter<Data>;

/// Standard output, whose errors say that it was this that failed.
pub(crate) struct Data(AutoStream<io::Stdout>);

impl Write for Data {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(not_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(not_written)
    }
}

/// Keeps the kind: a broken pipe is not a failure, and interrupted calls are repeated.
fn not_written(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

fn is_coloured(choice: ColorChoice) -> bool {
    choice != ColorChoice::Never
}

/// The columns of the terminal that standard output goes to, or as many as COLUMNS says; `None` where lines may be of
/// any length.
pub(crate) fn width() -> Option<usize> {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0));
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(said).filter(|columns| *columns > 0)
}

/// Returns whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_level_for_the_journal() {
        assert_eq!(with_level(Level::Warning, "one\ntwo"), "<4>one\n<4>two\n");
        assert_eq!(with_level(Level::Information, "one"), "<6>one\n");
    }
}
