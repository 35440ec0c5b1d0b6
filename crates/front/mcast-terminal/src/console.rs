//! Output streams: data goes to standard output, everything else to standard error.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use mcast_group::SafeText;
use mcast_sys::service::journal_reads;

use crate::background::{BackgroundWriter, CAPACITY, Mishap, Reporter, Sink, Stream};
use crate::same_file;

/// The output streams, with their verbosity and colours.
///
/// Writing to them waits for their readers, as it should where the output is what the command is for. A command that does
/// something else meanwhile calls [`Self::detach`].
#[derive(Clone, Debug)]
pub struct Console {
    quiet: bool,
    verbose: bool,
    out: Palette,
    err: Palette,
    /// Who writes them, if not the thread that prints.
    writers: Arc<Writers>,
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
            writers: Arc::default(),
            levels: journal_reads(2),
            output_levels: journal_reads(1),
            is_beside: false,
            part: None,
        }
    }

    /// Returns streams whose lines on standard error start with the name of a part of the program.
    #[must_use]
    pub fn named(&self, part: &str) -> Self {
        Self { part: Some(part.to_owned()), ..self.clone() }
    }

    /// Returns streams that leave standard output to another program: results go to standard error, too.
    #[must_use]
    pub fn beside_a_program(&self) -> Self {
        Self { out: self.err, output_levels: self.levels, is_beside: true, ..self.clone() }
    }

    /// From now on, lines on standard error are written by a thread of its own, so that a reader that has stopped delays nobody.
    /// What does not fit into a bounded queue is dropped and counted; a line reports that once it is read again.
    ///
    /// `prepare` is called in the thread before it writes, for instance to drop rights.
    ///
    /// # Errors
    /// If the thread cannot be started, and those of `prepare`.
    pub fn detach_notes(&self, prepare: fn() -> io::Result<()>) -> io::Result<()> {
        if self.writers.error.get().is_none() {
            let writer = BackgroundWriter::start(CAPACITY, prepare, self.sinks(), self.reporter())?;
            self.writers.error.get_or_init(|| Arc::new(writer));
        }
        Ok(())
    }

    /// From now on, standard output is written like standard error by [`Self::detach_notes`], which this includes. A file on a
    /// full disk does not end the command: what waits is written once there is room.
    ///
    /// Lines are written, or dropped, together with all up to the next [flush](Output::flush).
    ///
    /// # Errors
    /// If a thread cannot be started, and those of `prepare`.
    pub fn detach(&self, prepare: fn() -> io::Result<()>) -> io::Result<()> {
        self.detach_notes(prepare)?;
        if self.writers.output.get().is_some() {
            return Ok(());
        }
        // In one order, where both are seen together.
        let shared = self.writers.error.get().filter(|_| same_file::are_outputs_same()).cloned();
        let writer = match shared {
            Some(writer) => writer,
            None => Arc::new(BackgroundWriter::start(CAPACITY, prepare, self.sinks(), self.reporter())?),
        };
        self.writers.output.get_or_init(|| writer);
        Ok(())
    }

    /// Waits until what was detached is written, or its reader has taken nothing for two seconds.
    ///
    /// # Errors
    /// Why standard output could not be written: a broken pipe, or a full disk. A reader that takes nothing is not an error.
    pub fn finish(&self) -> io::Result<()> {
        let written = self.writers.output.get().map_or(Ok(()), |writer| writer.finish(Stream::Output));
        // If standard error is closed, nothing can be reported anywhere.
        let _ = self.writers.error.get().map(|writer| writer.finish(Stream::Error));
        written
    }

    /// Returns what opens the streams in the thread that writes them.
    fn sinks(&self) -> impl Fn(Stream) -> Sink + Send + 'static {
        let (output, error) = (self.choice(), self.choice_for_notes());
        move |stream| match stream {
            Stream::Output => Box::new(Data::output(output)),
            Stream::Error => Box::new(AutoStream::new(io::stderr(), error)),
        }
    }

    /// Returns what reports mishaps of the streams by lines on standard error.
    fn reporter(&self) -> Reporter {
        // The writers hold the reporter.
        let (console, writers) =
            (Self { writers: Arc::default(), ..self.clone() }, Arc::downgrade(&self.writers));
        Arc::new(move |stream, mishap| {
            let Some(writers) = writers.upgrade() else { return };
            let Some(line) = console.mishap_line(stream, &mishap) else { return };
            if let Some(writer) = writers.error.get() {
                match stream {
                    Stream::Error => writer.push_report(Stream::Error, line.into_bytes()),
                    // If nobody reads standard error either, this line counts among those that are dropped there.
                    Stream::Output => drop(writer.push(Stream::Error, line.into_bytes())),
                }
            }
        })
    }

    fn mishap_line(&self, stream: Stream, mishap: &Mishap) -> Option<String> {
        let name = match stream {
            Stream::Output => "standard output",
            Stream::Error => "standard error",
        };
        let (level, text) = match mishap {
            // It is on the same disk, or the next line is lost, too.
            Mishap::Full(_) if stream == Stream::Error => return None,
            Mishap::Full(error) => {
                (Level::Warning, format!("{error}; events are written when there is room"))
            }
            Mishap::Writable(0) => {
                (Level::Information, format!("{name} can be written again: no event is missing there"))
            }
            Mishap::Writable(lines) => (
                Level::Warning,
                format!("{name} can be written again: {} of output dropped", count_lines(*lines)),
            ),
            Mishap::Unread(lines) => {
                (Level::Warning, format!("{} of output dropped: {name} was not read", count_lines(*lines)))
            }
        };
        (!self.quiet).then(|| match level {
            Level::Warning => self.warning(text),
            level => self.line(level, text),
        })
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
        let choice = self.choice();
        let (stream, data) = match self.is_beside {
            true => (Stream::Error, Data::Error(AutoStream::new(io::stderr(), choice))),
            false => (Stream::Output, Data::output(choice)),
        };
        Output { buffer: Vec::new(), data, stream, writers: Arc::clone(&self.writers) }
    }

    fn choice(&self) -> ColorChoice {
        // `AlwaysAnsi` strips nothing. Plain styles write no escapes, and data may contain any bytes.
        if self.out.is_coloured() { ColorChoice::Always } else { ColorChoice::AlwaysAnsi }
    }

    fn choice_for_notes(&self) -> ColorChoice {
        match (self.err.is_coloured(), io::stderr().is_terminal()) {
            (true, _) => ColorChoice::Always,
            // A line that shows progress moves the cursor.
            (false, true) => ColorChoice::AlwaysAnsi,
            (false, false) => ColorChoice::Never,
        }
    }

    /// Returns a writer to standard error, for lines that others have formatted.
    #[must_use]
    pub fn notes(&self) -> NoteWriter {
        NoteWriter { writers: Arc::clone(&self.writers), choice: self.choice_for_notes() }
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
            self.write(self.warning(line));
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
        self.write(self.line(level, line));
    }

    fn warning(&self, line: impl Display) -> String {
        let style = self.err.warning;
        self.line(Level::Warning, format_args!("{style}warning:{style:#} {line}"))
    }

    /// Returns a line, or several, as standard error shows it.
    fn line(&self, level: Level, line: impl Display) -> String {
        let line = match &self.part {
            Some(part) => line.to_string().lines().map(|line| format!("{part}: {line}\n")).collect(),
            None => format!("{line}\n"),
        };
        let line = match width_of_notes() {
            Some(width) => line.lines().map(|line| fit_note(line, width) + "\n").collect(),
            None => line,
        };
        if self.levels { with_level(level, &line) } else { line }
    }

    fn write(&self, line: String) {
        // In one call, so that other programs on the same terminal do not write in between. If standard
        // error is closed, the failure cannot be reported anywhere.
        let _ = self.writers.write_note(line.into_bytes(), self.choice_for_notes());
    }
}

fn count_lines(lines: u64) -> String {
    if lines == 1 { "1 line".into() } else { format!("{lines} lines") }
}

/// Who writes the streams that are detached from the threads that print.
#[derive(Default)]
struct Writers {
    output: OnceLock<Arc<BackgroundWriter>>,
    error: OnceLock<Arc<BackgroundWriter>>,
}

impl Writers {
    fn of(&self, stream: Stream) -> Option<&BackgroundWriter> {
        let writer = match stream {
            Stream::Output => &self.output,
            Stream::Error => &self.error,
        };
        writer.get().map(|writer| &**writer)
    }

    fn write_note(&self, line: Vec<u8>, choice: ColorChoice) -> io::Result<()> {
        match self.of(Stream::Error) {
            Some(writer) => writer.push(Stream::Error, line),
            None => AutoStream::new(io::stderr(), choice).write_all(&line),
        }
    }
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writers")
    }
}

/// Writes to standard error as notes are written: each call writes whole lines.
#[derive(Clone, Debug)]
pub struct NoteWriter {
    writers: Arc<Writers>,
    choice: ColorChoice,
}

impl Write for NoteWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writers.write_note(bytes.to_vec(), self.choice).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prefixes each line with its level.
fn with_level(level: Level, lines: &str) -> String {
    lines.lines().map(|line| format!("<{}>{line}\n", level as u8)).collect()
}

/// Buffered standard output. What is written is passed on with [`Self::flush`], or by the thread that prints as soon as there
/// is much of it.
#[derive(Debug)]
pub struct Output {
    buffer: Vec<u8>,
    data: Data,
    stream: Stream,
    writers: Arc<Writers>,
}

impl Output {
    const CAPACITY: usize = 64 << 10;

    /// Whether nothing is buffered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Passes on what is buffered.
    fn drain(&mut self) -> io::Result<()> {
        if let Some(writer) = self.writers.of(self.stream) {
            return writer.push(self.stream, std::mem::take(&mut self.buffer));
        }
        let (mut written, mut result) = (0, Ok(()));
        while written < self.buffer.len() && result.is_ok() {
            match self.data.write(&self.buffer[written..]) {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        self.buffer.drain(..written);
        result
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_long = self.buffer.len() + bytes.len() > Self::CAPACITY;
        // The end of a line may be far, and lines are not torn.
        if is_long && !self.buffer.is_empty() && self.writers.of(self.stream).is_none() {
            self.drain()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        match self.writers.of(self.stream) {
            Some(_) => Ok(()),
            None => self.data.flush(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // As at the end of a `BufWriter`, a failure cannot be returned.
        let _ = self.drain();
    }
}

/// Where results go; its errors say that writing to it failed.
#[derive(Debug)]
enum Data {
    /// Standard output.
    Output(AutoStream<io::Stdout>),
    /// Standard error, beside a program.
    Error(AutoStream<io::Stderr>),
}

impl Data {
    fn output(choice: ColorChoice) -> Self {
        Self::Output(AutoStream::new(io::stdout(), choice))
    }
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

/// Returns the width of the terminal that standard error goes to; `None` if it is none.
fn width_of_notes() -> Option<usize> {
    terminal_size::terminal_size_of(io::stderr()).map(|(columns, _)| usize::from(columns.0))
}

/// Breaks a note at words, so that it fits. Commands, which are indented or in backquotes, stay whole, so that they can be
/// copied.
fn fit_note(note: &str, width: usize) -> String {
    const COMMAND: &str = "    ";

    if note.starts_with(COMMAND) {
        return note.to_owned();
    }
    let mut is_quoted = false;
    let ends_word = |letter: char| {
        is_quoted ^= letter == '`';
        letter == ' ' && !is_quoted
    };
    let mut words = note.split(ends_word);
    let mut text = words.next().unwrap_or_default().to_owned();
    let mut taken = columns(&text);
    for word in words {
        let length = columns(word);
        if taken + 1 + length > width {
            text.push_str("\n ");
            taken = 1;
        }
        text.push(' ');
        text.push_str(word);
        taken += 1 + length;
    }
    text
}

/// Returns the number of terminal columns that a text takes: its characters without styles. Every character counts
/// as one column; wide ones (in some scripts) only shift what follows.
pub fn columns(text: &str) -> usize {
    strip_str(text).map(|part| part.chars().count()).sum()
}

/// Returns the start of this line of text that fits in the terminal that standard error goes to, and leaves its last column free, where
/// some terminals break the line.
pub fn fit_notes(line: &str) -> &str {
    let width = width_of_notes().map_or(usize::MAX, |columns| columns.max(2) - 1);
    line.char_indices().nth(width).map_or(line, |(end, _)| &line[..end])
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
            // The darker one can hardly be read on black.
            interface: colour(AnsiColor::BrightBlue),
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
            AnsiColor::BrightBlue,
            AnsiColor::Red,
        ];
        if self.coloured { COLOURS[number % COLOURS.len()].on_default() } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_break_at_words_and_commands_stay_whole() {
        let note =
            "sent with ttl 1: this stays in this network; `mcast send -t 8 239.1.2.3:5000` crosses routers";
        assert_eq!(
            fit_note(note, 44),
            "sent with ttl 1: this stays in this network;\n  `mcast send -t 8 239.1.2.3:5000` crosses\n  routers"
        );
        assert_eq!(fit_note(note, 100), note);
        let command = "    sudo sysctl -w net.ipv4.conf.all.rp_filter=2";
        assert_eq!(fit_note(command, 20), command);
        assert_eq!(fit_note("incomprehensibilities", 7), "incomprehensibilities");
    }

    #[test]
    fn every_line_starts_with_its_level_for_the_journal() {
        assert_eq!(with_level(Level::Warning, "one\ntwo"), "<4>one\n<4>two\n");
        assert_eq!(with_level(Level::Information, "one"), "<6>one\n");
    }
}
