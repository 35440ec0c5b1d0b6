//! The page of a finding, which is part of the guide as well.

use std::io::{self, Write};

use mcast_doctor::{Block, Id, Page, Tags};
use serde::Serialize;

use crate::console::{Console, Output};
use crate::output::{Cell, Palette, Table, text_width, wrap, write_record};

/// Writes a page as text.
pub(super) fn write_text(page: Page, palette: &Palette, out: &mut Output) -> io::Result<()> {
    let mut last_is_point = false;
    for (number, block) in page.blocks().iter().enumerate() {
        let is_point = matches!(block, Block::Point(_));
        if number > 0 && !(is_point && last_is_point) {
            writeln!(out)?;
        }
        last_is_point = is_point;
        write_block(block, palette, out)?;
    }
    Ok(())
}

fn write_block(block: &Block, palette: &Palette, out: &mut Output) -> io::Result<()> {
    let Palette { heading, group, dim, .. } = palette;
    match block {
        Block::Heading(1, title) => writeln!(out, "{group}{title}{group:#}"),
        Block::Heading(_, title) => writeln!(out, "{heading}{title}{heading:#}"),
        Block::Paragraph(text) => {
            wrap(text, text_width()).iter().try_for_each(|line| writeln!(out, "{line}"))
        }
        Block::Point(text) => write_point(text, out),
        Block::Table(rows) => write_table(rows, palette, out),
        Block::Code(tags, lines) => {
            if let Some(label) = label(tags) {
                writeln!(out, "  {dim}{label}:{dim:#}")?;
            }
            lines.iter().try_for_each(|line| writeln!(out, "    {line}"))
        }
    }
}

fn write_point(text: &str, out: &mut Output) -> io::Result<()> {
    let mut bullet = "- ";
    for line in wrap(text, text_width() - bullet.len()) {
        writeln!(out, "{bullet}{line}")?;
        bullet = "  ";
    }
    Ok(())
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

/// Returns the label of commands: `Linux, nft, IPv4, now`; `None` for commands that run everywhere.
fn label(tags: &Tags) -> Option<String> {
    let words: Vec<&str> = tags.words.iter().filter_map(|word| spelled(word)).collect();
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
    let mut pages = Id::ALL.iter().copied().map(Page::of);
    if json {
        return pages.try_for_each(|page| write_object(page, out));
    }
    let palette = console.palette();
    let mut table = Table::new(&["finding", "what it is"], palette.heading);
    for page in pages {
        let name = Cell::new(page.id().to_string()).style(palette.group);
        table.row([name, Cell::of_lines(wrap(&page.summary(), text_width() - 26))]);
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
pub(super) fn write_object(page: Page, out: &mut Output) -> io::Result<()> {
    let (finding, text) = (page.id(), page.text());
    let object = PageRecord { finding, summary: page.summary(), references: finding.references(), text };
    write_record(out, "page", &object)
}
