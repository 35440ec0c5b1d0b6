//! The page of a finding, which is part of the guide as well.

use std::io::{self, Write};

use mcast_doctor::Id;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde::Serialize;

use crate::console::{Console, Output};
use crate::output::{Cell, Palette, Table, text_width, wrap, write_record};

/// Writes a page as text.
pub(super) fn write_text(id: Id, palette: &Palette, out: &mut Output) -> io::Result<()> {
    let mut writer = PageWriter { out, palette, is_first: true, text: String::new(), rows: Vec::new() };
    Parser::new_ext(id.page(), Options::ENABLE_TABLES).try_for_each(|event| writer.event(event))
}

/// Writes the blocks of a page as the parser reports them.
struct PageWriter<'a> {
    out: &'a mut Output,
    palette: &'a Palette,
    is_first: bool,
    /// The text of the current block or cell.
    text: String,
    /// The complete rows of the current table, and the current one.
    rows: Vec<Vec<String>>,
}

impl PageWriter<'_> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Text(text) => self.text.push_str(&text),
            Event::Code(code) => self.text.extend(["`", &code, "`"]),
            Event::SoftBreak => self.text.push(' '),
            Event::Start(Tag::Emphasis) | Event::End(TagEnd::Emphasis) => self.text.push('*'),
            Event::Start(Tag::TableHead | Tag::TableRow) => self.rows.push(Vec::new()),
            Event::Start(tag) => self.start(&tag)?,
            Event::End(tag) => self.end(tag)?,
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>) -> io::Result<()> {
        let is_block = matches!(
            tag,
            Tag::Heading { .. } | Tag::Paragraph | Tag::List(_) | Tag::Table(_) | Tag::CodeBlock(_)
        );
        if is_block && !std::mem::take(&mut self.is_first) {
            writeln!(self.out)?;
        }
        if let Tag::CodeBlock(CodeBlockKind::Fenced(tags)) = tag
            && let Some(label) = label(tags)
        {
            let dim = self.palette.dim;
            writeln!(self.out, "  {dim}{label}:{dim:#}")?;
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) -> io::Result<()> {
        let Palette { heading, group, .. } = self.palette;
        match tag {
            TagEnd::Heading(level) => {
                let (title, style) = (self.taken(), if level == HeadingLevel::H1 { group } else { heading });
                writeln!(self.out, "{style}{title}{style:#}")
            }
            TagEnd::Paragraph => {
                wrap(&self.taken(), text_width()).iter().try_for_each(|line| writeln!(self.out, "{line}"))
            }
            TagEnd::Item => self.write_item(),
            TagEnd::CodeBlock => self.taken().lines().try_for_each(|line| writeln!(self.out, "    {line}")),
            TagEnd::TableCell => {
                let cell = self.taken();
                self.rows.last_mut().into_iter().for_each(|row| row.push(cell.clone()));
                Ok(())
            }
            TagEnd::Table => write_table(&std::mem::take(&mut self.rows), self.palette, self.out),
            _ => Ok(()),
        }
    }

    fn taken(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn write_item(&mut self) -> io::Result<()> {
        let mut bullet = "- ";
        for line in wrap(&self.taken(), text_width() - bullet.len()) {
            writeln!(self.out, "{bullet}{line}")?;
            bullet = "  ";
        }
        Ok(())
    }
}

fn write_table(rows: &[Vec<String>], palette: &Palette, out: &mut Output) -> io::Result<()> {
    let Some((titles, rows)) = rows.split_first() else { return Ok(()) };
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles, palette.heading);
    // The last column gets the remaining width.
    let length =
        |row: &Vec<String>| row.iter().rev().skip(1).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let first = rows.iter().map(length).max().unwrap_or(0);
    let cell_width = text_width().saturating_sub(first + 4).clamp(24, 60);
    for row in rows {
        table.row(row.iter().map(|cell| Cell::of_lines(wrap(cell, cell_width))));
    }
    table.write(out)
}

/// Returns the label of a block of commands from its language and tags: `sh linux nft ipv4 now` becomes
/// `Linux, nft, IPv4, now`. `None` for commands that run everywhere.
fn label(tags: &str) -> Option<String> {
    let words: Vec<&str> = tags.split_whitespace().skip(1).filter_map(spelled).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn spelled(word: &str) -> Option<&str> {
    Some(match word {
        "linux" => "Linux",
        "macos" => "macOS",
        "windows" => "Windows",
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        "networkmanager" => "NetworkManager",
        "docker" => "Docker",
        "kubernetes" => "Kubernetes",
        "for-good" => "for good",
        "mcast" => return None,
        word => word,
    })
}

/// Lists the findings, one row or object each.
pub(super) fn list(json: bool, console: &Console, out: &mut Output) -> io::Result<()> {
    if json {
        return Id::ALL.iter().try_for_each(|id| write_object(*id, out));
    }
    let palette = console.palette();
    let mut table = Table::new(&["finding", "what it is"], palette.heading);
    for id in Id::ALL {
        let name = Cell::new(id.as_str()).style(palette.group);
        table.row([name, Cell::of_lines(wrap(&id.summary(), text_width() - 26))]);
    }
    table.write(out)
}

/// A page as JSON: `schemas/finding-page.json`.
#[derive(Serialize)]
struct PageRecord {
    finding: Id,
    summary: String,
    references: &'static [&'static str],
    text: &'static str,
}

/// Writes a page as JSON.
pub(super) fn write_object(id: Id, out: &mut Output) -> io::Result<()> {
    let object =
        PageRecord { finding: id, summary: id.summary(), references: id.references(), text: id.page() };
    write_record(out, "page", &object)
}
