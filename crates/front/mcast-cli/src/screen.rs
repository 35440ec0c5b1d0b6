//! The screen of a terminal, its styles, and keys that all screens share.

use std::io;

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::{execute, queue};
use ratatui::style::{Color, Modifier, Style};
use ratatui::{DefaultTerminal, Frame};

/// Returns whether standard output is a terminal that supports a screen.
pub(crate) fn can_show_a_screen() -> bool {
    mcast_terminal::is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The terminal while it shows the screen. Dropping it restores the terminal; a panic restores it before the message is
/// printed.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(crate) fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                // The setup may have been done in part.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    /// Draws a picture. Terminals with synchronized updates show it only when it is complete.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let drawn = self.terminal.draw(render).map(drop);
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        drawn
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Errors cannot be reported anywhere.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// A style for each kind of output; all are plain without colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    pub(crate) title: Style,
    pub(crate) heading: Style,
    pub(crate) group: Style,
    pub(crate) address: Style,
    pub(crate) interface: Style,
    pub(crate) trend: Style,
    pub(crate) dim: Style,
    pub(crate) warning: Style,
    pub(crate) bad: Style,
    pub(crate) selected: Style,
    pub(crate) key: Style,
}

impl Theme {
    pub(crate) fn new(coloured: bool) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let colour = |style: Style, colour| if coloured { style.fg(colour) } else { style };
        Self {
            title: bold,
            heading: bold.add_modifier(Modifier::UNDERLINED),
            group: colour(plain, Color::Cyan),
            address: colour(plain, Color::Green),
            interface: colour(plain, Color::LightBlue),
            trend: colour(plain, Color::Cyan),
            dim: plain.add_modifier(Modifier::DIM),
            warning: colour(bold, Color::Yellow),
            bad: colour(bold, Color::Red),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: bold,
        }
    }
}

/// What to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyAction {
    Continue,
    Quit,
    /// Ctrl-C.
    Interrupted,
}

/// Returns the key that was pressed, or what to do if it means the same on every screen.
pub(crate) fn pressed(event: &Event) -> Result<KeyCode, KeyAction> {
    let Event::Key(key) = event else { return Err(KeyAction::Continue) };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind == KeyEventKind::Release => Err(KeyAction::Continue),
        KeyCode::Char('c') if is_control => Err(KeyAction::Interrupted),
        _ if is_control => Err(KeyAction::Continue),
        code => Ok(code),
    }
}

/// What a key does while a text is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    Done,
    Cancelled,
    Changed(TextChange),
    Other,
}

/// A change of a text by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextChange {
    Add(char),
    RemoveLast,
}

/// Returns what a key does while a text is typed.
pub(crate) const fn typed(code: KeyCode) -> Typing {
    match code {
        KeyCode::Enter => Typing::Done,
        KeyCode::Esc => Typing::Cancelled,
        KeyCode::Backspace => Typing::Changed(TextChange::RemoveLast),
        KeyCode::Char(character) => Typing::Changed(TextChange::Add(character)),
        _ => Typing::Other,
    }
}

impl TextChange {
    /// Changes a text, which stays in lowercase.
    pub(crate) fn apply(self, text: &mut String) {
        const LONGEST: usize = 64;
        match self {
            Self::RemoveLast => drop(text.pop()),
            Self::Add(character) if text.chars().count() < LONGEST => text.extend(character.to_lowercase()),
            Self::Add(_) => {}
        }
    }
}

/// Cuts a text to a width, and marks it if it was cut.
pub(crate) fn cut(text: String, width: usize) -> String {
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
