//! Colours, each with one meaning.

use anstyle::{AnsiColor, Style};

/// A style for each kind of output. All styles are plain without colours, so that text is always written as
/// `{style}text{style:#}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    coloured: bool,
    /// Titles of columns and sections.
    pub(crate) heading: Style,
    /// Groups and ports.
    pub(crate) group: Style,
    /// Sources and other addresses of hosts.
    pub(crate) address: Style,
    /// Interfaces.
    pub(crate) interface: Style,
    /// Less important text.
    pub(crate) dim: Style,
    /// Good values.
    pub(crate) good: Style,
    /// Warnings.
    pub(crate) warning: Style,
    /// Failures and losses.
    pub(crate) bad: Style,
}

impl Palette {
    pub(crate) fn new(coloured: bool) -> Self {
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

    pub(crate) fn is_coloured(&self) -> bool {
        self.coloured
    }

    /// Returns a colour for the n-th of several hosts, programs or feeds.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only labs have several"))]
    pub(crate) fn of_number(&self, number: usize) -> Style {
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
