//! Tables without lines: columns as wide as they must be, the last one as long as it likes.

use std::io::{self, Write};

use anstyle::Style;

/// Between two columns.
const GAP: usize = 2;

/// What stands in a row and a column: one or several lines in one style.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    lines: Vec<String>,
    style: Style,
    right: bool,
}

impl Cell {
    /// A cell of one line.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::of_lines([text.into()])
    }

    /// A cell of several lines.
    pub(crate) fn of_lines(lines: impl IntoIterator<Item = String>) -> Self {
        Self { lines: lines.into_iter().collect(), style: Style::new(), right: false }
    }

    /// The same in this style.
    pub(crate) fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// The same at the right side of its column, as numbers stand.
    pub(crate) fn right(self) -> Self {
        Self { right: true, ..self }
    }

    fn line(&self, number: usize) -> &str {
        self.lines.get(number).map_or("", String::as_str)
    }

    fn width(&self) -> usize {
        self.lines.iter().map(|line| width(line)).max().unwrap_or(0)
    }
}

/// Rows of cells under a heading.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these titles, a column each.
    pub(crate) fn new(titles: &[&str], style: Style) -> Self {
        Self { rows: vec![titles.iter().map(|title| Cell::new(*title).style(style)).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let widths = self.widths();
        for row in &self.rows {
            let height = row.iter().map(|cell| cell.lines.len()).max().unwrap_or(0);
            for number in 0..height {
                write_line(out, row, number, &widths)?;
            }
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0)
        };
        (0..columns).map(width_of).collect()
    }
}

fn write_line(out: &mut impl Write, row: &[Cell], number: usize, widths: &[usize]) -> io::Result<()> {
    let last = row.iter().rposition(|cell| !cell.line(number).is_empty());
    let mut owed = 0;
    for (cell, column) in row.iter().zip(widths).take(last.map_or(0, |last| last + 1)) {
        let (text, style) = (cell.line(number), cell.style);
        let padding = column - width(text);
        let (before, after) = if cell.right { (padding, 0) } else { (0, padding) };
        write!(out, "{:1$}{style}{text}{style:#}", "", owed + before)?;
        owed = after + GAP;
    }
    writeln!(out)
}

/// How many columns of a terminal the text takes: its characters. What is wider (some scripts)
/// only shifts what follows.
fn width(text: &str) -> usize {
    text.chars().count()
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
}
