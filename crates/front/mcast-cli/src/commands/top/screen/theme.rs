//! The colours of the screen, with the same meanings as in other output.

use ratatui::style::{Color, Modifier, Style};

/// A style for each kind of output; all are plain without colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) title: Style,
    pub(super) heading: Style,
    pub(super) group: Style,
    pub(super) address: Style,
    pub(super) interface: Style,
    pub(super) trend: Style,
    pub(super) dim: Style,
    pub(super) warning: Style,
    pub(super) bad: Style,
    pub(super) selected: Style,
    pub(super) key: Style,
}

impl Theme {
    pub(super) fn new(coloured: bool) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let colour = |style: Style, colour| if coloured { style.fg(colour) } else { style };
        Self {
            title: bold,
            heading: bold.add_modifier(Modifier::UNDERLINED),
            group: colour(plain, Color::Cyan),
            address: colour(plain, Color::Green),
            interface: colour(plain, Color::Blue),
            trend: colour(plain, Color::Cyan),
            dim: plain.add_modifier(Modifier::DIM),
            warning: colour(bold, Color::Yellow),
            bad: colour(bold, Color::Red),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: bold,
        }
    }
}
