//! The notes and examples after the options of a help page, laid out for a width.
//!
//! Their source is plain text with a few conventions. A line without indentation is a heading if it ends in a colon
//! and indented lines follow, otherwise running text. A line indented by two columns is an entry; its description
//! follows after two or more spaces, or on lines indented by eight or more. A line indented by four is verbatim.

use clap::builder::styling::Style;

use crate::output::wrap;

/// Columns before an entry and before a verbatim line.
const INDENTATION: usize = 2;
/// Columns between an entry and its description.
const GAP: usize = 2;
/// The minimum width of a description beside its entry; with less room it is placed below.
const MIN_DESCRIPTION: usize = 30;
/// Columns before a description below its entry, and before the continuation of a long entry.
const HANGING: usize = 6;

/// A part of the notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A title, without its colon.
    Heading(String),
    /// Running text.
    Paragraph(String),
    /// Commands or values with their descriptions.
    Entries(Vec<Entry>),
    /// Lines that are printed unchanged.
    Verbatim(Vec<String>),
    /// An empty line.
    Space,
}

/// A command or a value, with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The command or value.
    pub text: String,
    /// Its description; empty if there is none.
    pub description: String,
}

/// Styles for headings and entries.
#[derive(Clone, Copy, Debug)]
pub struct Styles {
    /// The style of headings.
    pub heading: Style,
    /// The style of commands and values.
    pub entry: Style,
}

impl Styles {
    /// No styles, for text that is not shown on a terminal.
    pub const PLAIN: Self = Self { heading: Style::new(), entry: Style::new() };
}

/// Parses the source of notes.
#[must_use]
pub fn parse(source: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let precedes_indented = lines.peek().is_some_and(|next| next.starts_with(' '));
        add_line(&mut blocks, line, precedes_indented);
    }
    blocks
}

fn add_line(blocks: &mut Vec<Block>, line: &str, precedes_indented: bool) {
    let text = line.trim_start();
    match (line.len() - text.len(), blocks.last_mut()) {
        (_, _) if text.is_empty() => blocks.push(Block::Space),
        (0, _) if precedes_indented && text.ends_with(':') => {
            blocks.push(Block::Heading(text.trim_end_matches(':').to_owned()));
        }
        (0, Some(Block::Paragraph(paragraph))) => append(paragraph, text),
        (0, _) => blocks.push(Block::Paragraph(text.to_owned())),
        (1..=3, Some(Block::Entries(entries))) => entries.push(Entry::parse(text)),
        (1..=3, _) => blocks.push(Block::Entries(vec![Entry::parse(text)])),
        (8.., Some(Block::Entries(entries))) => {
            if let Some(last) = entries.last_mut() {
                append(&mut last.description, text);
            }
        }
        (_, Some(Block::Verbatim(lines))) => lines.push(verbatim(line)),
        _ => blocks.push(Block::Verbatim(vec![verbatim(line)])),
    }
}

/// Returns a line without its first four columns.
fn verbatim(line: &str) -> String {
    line.chars().skip(4).collect()
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

impl Entry {
    fn parse(line: &str) -> Self {
        let (text, description) = line.split_once("  ").unwrap_or((line, ""));
        Self { text: text.to_owned(), description: description.trim_start().to_owned() }
    }
}

/// Lays blocks out for lines of at most `width` columns.
///
/// Only a single word without spaces, such as an address, may be longer.
#[must_use]
pub fn lay_out(blocks: &[Block], width: usize, styles: Styles) -> String {
    let mut lines = Lines { text: String::new(), width, styles };
    for (number, section) in blocks.split(|block| *block == Block::Space).enumerate() {
        if number > 0 {
            lines.line("");
        }
        let column = lines.column(section);
        section.iter().for_each(|block| lines.block(block, column));
    }
    lines.text
}

struct Lines {
    text: String,
    width: usize,
    styles: Styles,
}

impl Lines {
    fn line(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line.trim_end());
    }

    fn block(&mut self, block: &Block, column: usize) {
        match block {
            Block::Heading(title) => self.heading(title),
            Block::Paragraph(text) => wrap(text, self.width).iter().for_each(|line| self.line(line)),
            Block::Entries(entries) => entries.iter().for_each(|entry| self.entry(entry, column)),
            Block::Verbatim(kept) => kept.iter().for_each(|line| self.line(&format!("  {line}"))),
            Block::Space => self.line(""),
        }
    }

    /// Writes a heading. Its style starts before the line break: clap measures text between styles, and would add the
    /// line above to a line that starts with a style.
    fn heading(&mut self, title: &str) {
        let style = self.styles.heading;
        let end = if self.text.is_empty() { "" } else { "\n" };
        self.text += &format!("{style}{end}{title}:{style:#}");
    }

    fn entry(&mut self, Entry { text, description }: &Entry, column: usize) {
        let style = self.styles.entry;
        let broken = break_command(text, self.width.saturating_sub(INDENTATION));
        for (number, line) in broken.iter().enumerate() {
            let indentation = if number == 0 { INDENTATION } else { HANGING };
            self.line(&format!("{:indentation$}{style}{line}{style:#}", ""));
        }
        if description.is_empty() {
            return;
        }
        let taken = INDENTATION + text.chars().count();
        let mut before = match taken + GAP <= column {
            true => " ".repeat(column - taken),
            false => format!("\n{:column$}", ""),
        };
        for line in wrap(description, self.width.saturating_sub(column)) {
            self.text += &before;
            self.text += &line;
            before = format!("\n{:column$}", "");
        }
    }

    /// Returns the column at which the descriptions of a section start: after the longest entry that leaves room for
    /// them.
    fn column(&self, section: &[Block]) -> usize {
        let most = self.width.saturating_sub(INDENTATION + GAP + MIN_DESCRIPTION);
        let entries = section.iter().filter_map(|block| match block {
            Block::Entries(entries) => Some(entries),
            _ => None,
        });
        let described = entries.flatten().filter(|entry| !entry.description.is_empty());
        let lengths = described.map(|entry| entry.text.chars().count()).filter(|length| *length <= most);
        lengths.max().map_or(HANGING, |length| INDENTATION + length + GAP)
    }
}

/// Breaks a command into lines that a shell reads as one.
fn break_command(command: &str, width: usize) -> Vec<String> {
    if command.chars().count() <= width {
        return vec![command.to_owned()];
    }
    let mut lines = wrap(command, width.saturating_sub(HANGING));
    let last = lines.len() - 1;
    lines[..last].iter_mut().for_each(|line| line.push_str(" \\"));
    lines
}
