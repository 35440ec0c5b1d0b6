//! The screen of a terminal, its styles, and what all screens share: their loop, keys, filter and lists.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::{execute, queue};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::{DefaultTerminal, Frame};

use crate::exit::Outcome;
use crate::sys;

/// The longest wait for a key before checking for a request to terminate.
pub(crate) const WAIT: Duration = Duration::from_millis(100);
/// The outcome after Ctrl-C, which is a key on a screen: the exit status is that of SIGINT.
pub(crate) const INTERRUPTED: Outcome = Outcome::Interrupted(130);

/// Returns whether standard output is a terminal that supports a screen.
pub(crate) fn can_show_a_screen() -> bool {
    mcast_terminal::is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The terminal while it shows the screen. Dropping it restores the terminal; a panic restores it before the message is
/// printed.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
}

/// What a screen shows, and what its keys do.
pub(crate) trait Interactive {
    fn draw(&mut self, frame: &mut Frame<'_>);
    fn handle(&mut self, key: KeyCode) -> KeyAction;
}

impl Screen {
    pub(crate) fn open() -> anyhow::Result<Self> {
        // Without its terminal, the wait for a key would never end: each read finds the end of the input.
        sys::end_at_hangups().context("cannot handle SIGHUP")?;
        let opened = ratatui::try_init().map(|terminal| Self { terminal });
        // If it fails, the setup may have been done in part.
        let opened = opened.inspect_err(|_| drop(ratatui::try_restore()));
        opened.context("cannot show a screen on this terminal")
    }

    /// Handles the keys that were pressed, and draws if anything has changed. Then waits for the next key, at most until
    /// `due`.
    pub(crate) fn turn(
        &mut self,
        shown: &mut impl Interactive,
        mut has_changed: bool,
        due: Instant,
    ) -> anyhow::Result<KeyAction> {
        let keyboard = "cannot read the keyboard";
        while event::poll(Duration::ZERO).context(keyboard)? {
            has_changed = true;
            let key = pressed(&event::read().context(keyboard)?);
            match key.map_or_else(|action| action, |key| shown.handle(key)) {
                KeyAction::Continue => {}
                action => return Ok(action),
            }
        }
        if has_changed {
            self.draw(|frame| shown.draw(frame)).context("cannot draw on the terminal")?;
        }
        event::poll(due.saturating_duration_since(Instant::now()).min(WAIT)).context(keyboard)?;
        Ok(KeyAction::Continue)
    }

    /// Draws a picture. Terminals with synchronized updates show it only when it is complete.
    fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
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

    /// Returns a line of keys and what they do.
    pub(crate) fn keys(&self, keys: &[(&'static str, &str)]) -> Line<'static> {
        let spans = keys.iter().flat_map(|(key, what)| {
            [Span::styled(*key, self.key), Span::styled(format!(" {what}  "), self.dim)]
        });
        Line::from_iter(spans)
    }

    /// Returns a line of the help, whose first word has this width.
    pub(crate) fn help(&self, (word, what): (&str, &'static str), width: usize) -> Line<'static> {
        Line::from_iter([Span::styled(format!("{word:<width$}"), self.key), Span::raw(what)])
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
fn pressed(event: &Event) -> Result<KeyCode, KeyAction> {
    let Event::Key(key) = event else { return Err(KeyAction::Continue) };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind == KeyEventKind::Release => Err(KeyAction::Continue),
        KeyCode::Char('c') if is_control => Err(KeyAction::Interrupted),
        _ if is_control => Err(KeyAction::Continue),
        code => Ok(code),
    }
}

/// Returns by how many rows a key moves, if there are this many on a page.
pub(crate) fn rows_moved(key: KeyCode, page: usize) -> Option<isize> {
    let page = page.cast_signed().max(1);
    Some(match key {
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::PageDown => page,
        KeyCode::PageUp => -page,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        _ => return None,
    })
}

/// Returns the first row to show of a list, so that the selected one is visible.
pub(crate) fn first_row(shown: usize, selected: usize, page: usize, rows: usize) -> usize {
    shown.clamp((selected + 1).saturating_sub(page), selected).min(rows.saturating_sub(page))
}

/// A text that selects what is shown, in lowercase.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) text: String,
    /// Whether it is being typed.
    pub(crate) is_typing: bool,
}

impl Filter {
    const LONGEST: usize = 64;

    /// Handles a key while the text is typed; returns whether it has a meaning there.
    pub(crate) fn handle(&mut self, key: KeyCode) -> bool {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => *self = Self::default(),
            KeyCode::Backspace => drop(self.text.pop()),
            KeyCode::Char(added) if self.text.chars().count() < Self::LONGEST => {
                self.text.extend(added.to_lowercase());
            }
            KeyCode::Char(_) => {}
            _ => return false,
        }
        true
    }

    /// Returns the line about the filter. A warning is more important than one that is not being typed.
    pub(crate) fn status(&self, theme: Theme, warning: Option<Line<'static>>) -> Option<Line<'static>> {
        let Self { text, is_typing } = self;
        if *is_typing {
            return Some(Line::styled(format!("only with: {text}▏"), theme.key));
        }
        let line = || Line::styled(format!("only with: {text}  (Esc shows all)"), theme.dim);
        warning.or_else(|| (!text.is_empty()).then(line))
    }
}

/// Cuts a text to a width, and marks it if it was cut.
pub(crate) fn cut(text: String, width: usize) -> String {
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
