//! Colours, each with one meaning.

use anstyle::{AnsiColor, Style};

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
