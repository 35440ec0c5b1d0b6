//! Where words go: data to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use crate::output::Palette;

/// The two streams, what may be said on them, and in which colours.
#[derive(Debug)]
pub(crate) struct Console {
    quiet: bool,
    verbose: bool,
    out: Palette,
    err: Palette,
}

impl Console {
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        let out = Palette::new(is_coloured(AutoStream::choice(&io::stdout())));
        let err = Palette::new(is_coloured(AutoStream::choice(&io::stderr())));
        Self { quiet, verbose, out, err }
    }

    /// The styles for standard output: plain unless it is a terminal that wants colours.
    pub(crate) fn palette(&self) -> &Palette {
        &self.out
    }

    /// The styles for standard error.
    pub(crate) fn palette_for_notes(&self) -> &Palette {
        &self.err
    }

    /// Whether no notes are wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether more notes are wanted.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Standard output, buffered: whoever writes flushes before waiting.
    pub(crate) fn output(&self) -> Output {
        let choice = if self.out.is_coloured() { ColorChoice::Always } else { ColorChoice::AlwaysAnsi };
        // Plain styles leave nothing to strip, and data may hold any bytes: they pass as they are.
        Output::with_capacity(64 << 10, AutoStream::new(io::stdout(), choice))
    }

    /// A line for people, on standard error; `-q` silences it.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// A line that only `-v` shows.
    pub(crate) fn detail(&self, line: impl Display) {
        if self.verbose {
            self.say(line);
        }
    }

    /// A line that warns; `-q` silences it.
    pub(crate) fn warn(&self, line: impl Display) {
        if !self.quiet {
            let style = self.err.warning;
            self.say(format_args!("{style}warning:{style:#} {line}"));
        }
    }

    /// A line that says what failed.
    pub(crate) fn error(&self, line: impl Display) {
        let style = self.err.bad;
        self.say(format_args!("{style}error:{style:#} {line}"));
    }

    /// A line that says what to do about it.
    pub(crate) fn help(&self, line: impl Display) {
        let style = self.err.good;
        self.say(format_args!("{style}remedy:{style:#} {line}"));
    }

    fn say(&self, line: impl Display) {
        // Where standard error is gone nobody can be told.
        let _ = writeln!(AutoStream::auto(io::stderr()), "{line}");
    }
}

/// Standard output behind a buffer.
pub(crate) type Output = io::BufWriter<AutoStream<io::Stdout>>;

fn is_coloured(choice: ColorChoice) -> bool {
    choice != ColorChoice::Never
}

/// Whether a person reads standard output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
