//! Tables without lines between cells: columns are as wide as necessary, the last one is unlimited.

use std::io::{self, Write};

use anstyle::Style;

use crate::console::{self, columns};

/// Spaces between two columns.
const GAP: usize = 2;

/// One or several lines in one style.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    lines: Vec<String>,
    style: Style,
    right: bool,
}

impl Cell {
    /// A cell of one line.
    pub fn new(text: impl Into<String>) -> Self {
        Self::of_lines([text.into()])
    }

    /// A cell of several lines.
    pub fn of_lines(lines: impl IntoIterator<Item = String>) -> Self {
        Self { lines: lines.into_iter().collect(), style: Style::new(), right: false }
    }

    /// Sets the style.
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// Aligns the text to the right, as for numbers.
    pub fn right(self) -> Self {
        Self { right: true, ..self }
    }

    fn line(&self, number: usize) -> &str {
        self.lines.get(number).map_or("", String::as_str)
    }

    fn width(&self) -> usize {
        self.lines.iter().map(|line| columns(line)).max().unwrap_or(0)
    }
}

/// Rows of cells under a heading.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table with one column per title.
    pub fn new(titles: &[&str], style: Style) -> Self {
        Self { rows: vec![titles.iter().map(|title| Cell::new(*title).style(style)).collect()] }
    }

    /// Adds a row, with a cell for each title.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table so that it fits the terminal, if standard output is one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_within(console::width(), out)
    }

    /// Writes the table. Columns that do not fit are written below each row, with their titles.
    fn write_within(&self, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let widths = self.widths();
        let room = width.unwrap_or(usize::MAX);
        let beside = columns_within(&widths, room);
        for (number, row) in self.rows.iter().enumerate() {
            let (cells, below) = row.split_at(beside.min(row.len()));
            let height = cells.iter().map(|cell| cell.lines.len()).max().unwrap_or(0);
            for line in 0..height {
                write_line(out, cells, line, &widths)?;
            }
            if number > 0 {
                let titles = self.rows[0].iter().skip(beside);
                below.iter().zip(titles).try_for_each(|(cell, title)| write_below(out, cell, title, room))?;
            }
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let number = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0)
        };
        (0..number).map(width_of).collect()
    }
}

/// Returns how many columns fit beside each other; at least the first.
fn columns_within(widths: &[usize], room: usize) -> usize {
    let mut taken = 0;
    let fits = |width: &&usize| {
        taken += **width + GAP;
        taken - GAP <= room
    };
    widths.iter().take_while(fits).count().max(1)
}

/// `    addresses: 10.0.0.1/24, fe80::1/64`
fn write_below(out: &mut impl Write, cell: &Cell, title: &Cell, room: usize) -> io::Result<()> {
    const INDENTATION: usize = 4;

    let parts: Vec<&str> = cell.lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let (title, style) = (title.line(0).trim(), cell.style);
    let text = format!("{title}: {style}{}{style:#}", parts.join(", "));
    wrap(&text, room.saturating_sub(INDENTATION))
        .iter()
        .try_for_each(|line| writeln!(out, "{:INDENTATION$}{line}", ""))
}

fn write_line(out: &mut impl Write, row: &[Cell], number: usize, widths: &[usize]) -> io::Result<()> {
    let last = row.iter().rposition(|cell| !cell.line(number).is_empty());
    let mut owed = 0;
    for (cell, column) in row.iter().zip(widths).take(last.map_or(0, |last| last + 1)) {
        let (text, style) = (cell.line(number), cell.style);
        let padding = column - columns(text);
        let (before, after) = if cell.right { (padding, 0) } else { (0, padding) };
        write!(out, "{:1$}{style}{text}{style:#}", "", owed + before)?;
        owed = after + GAP;
    }
    writeln!(out)
}

/// The maximum width of running text, on any terminal.
const MOST: usize = 96;
/// The minimum width, on any terminal.
const LEAST: usize = 40;

/// Returns the width of running text on standard output.
pub fn text_width() -> usize {
    console::width().unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Breaks a text at spaces into lines of at most `width` columns. Escape sequences have no width.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for word in text.split(' ') {
        let length = columns(word);
        match lines.last_mut() {
            Some(line) if line.is_empty() => {
                line.push_str(word);
                taken = length;
            }
            Some(line) if taken + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
                taken += 1 + length;
            }
            _ => {
                lines.push(word.to_owned());
                taken = length;
            }
        }
    }
    lines
}

/// Breaks a long line after at most `width` columns; the rest continues below, indented.
pub fn fit_line(line: &str, width: Option<usize>) -> String {
    const HANGING: &str = "\n    ";

    let Some(width) = width.map(|width| width.max(LEAST)) else { return line.to_owned() };
    if columns(line) <= width {
        return line.to_owned();
    }
    let (indent, text) = line.split_at(line.len() - line.trim_start_matches(' ').len());
    let mut lines = wrap(text, width - indent.len().min(width)).into_iter();
    let first = format!("{indent}{}", lines.next().unwrap_or_default());
    let rest = lines.collect::<Vec<_>>().join(" ");
    let rest = wrap(&rest, width - (HANGING.len() - 1));
    [&[first], &rest[..]].concat().join(HANGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_no_line_ends_in_spaces() {
        let mut table = Table::new(&["name", "mtu", "addresses"], Style::new());
        table.row([
            Cell::new("eth0"),
            Cell::new("1500").right(),
            Cell::of_lines(["10.0.0.1/24".into(), "fe80::1/64".into()]),
        ]);
        table.row([Cell::new("loopback"), Cell::new("65536").right(), Cell::default()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "name      mtu    addresses\neth0       1500  10.0.0.1/24\n                 fe80::1/64\nloopback  65536\n"
        );
    }

    #[test]
    fn columns_that_do_not_fit_are_below_their_row() {
        let mut table = Table::new(&["name", "mtu", "addresses", "note"], Style::new());
        table.row([
            Cell::new("eth0"),
            Cell::new("1500").right(),
            Cell::of_lines(["10.0.0.1/24".into(), "fe80::1/64".into()]),
            Cell::default(),
        ]);
        let mut out = Vec::new();
        table.write_within(Some(20), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "name  mtu\neth0  1500\n    addresses:\n    10.0.0.1/24,\n    fe80::1/64\n"
        );
    }

    #[test]
    fn text_is_broken_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibilities", 7), ["incomprehensibilities"]);
        assert_eq!(wrap("", 7), [""]);
    }

    #[test]
    fn a_long_line_continues_below() {
        let line = "a line of words that is longer than the terminal is wide and more";
        assert_eq!(fit_line(line, None), line);
        assert_eq!(
            fit_line(line, Some(44)),
            "a line of words that is longer than the\n    terminal is wide and more"
        );
        assert_eq!(
            fit_line(&format!("  {line}"), Some(44)),
            "  a line of words that is longer than the\n    terminal is wide and more"
        );
    }

    #[test]
    fn styles_take_no_columns() {
        assert_eq!(columns("\x1b[1mone\x1b[0m two"), 7);
        assert_eq!(wrap("\x1b[1mone\x1b[0m two three", 7), ["\x1b[1mone\x1b[0m two", "three"]);
    }
}
