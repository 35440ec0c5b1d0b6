//! The terminal, which is set up for the screen and restored afterwards.

use std::io;

use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::{execute, queue};
use ratatui::{DefaultTerminal, Frame};

/// The terminal while it shows the screen. Dropping it restores the terminal; a panic restores it before the message is
/// printed.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
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
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
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
