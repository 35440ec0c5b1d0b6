//! The interactive screen.

mod detail;
mod keys;
mod network;
mod state;
mod streams;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mcast_metrics::Exporter;
use mcast_terminal::Console;
use mcast_watch::live::Monitor;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::{event, execute, queue};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::{DefaultTerminal, Frame};

use super::Plan;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use keys::KeyAction;
use state::{State, View};

/// The longest wait for a key before checking for a request to terminate.
const WAIT: Duration = Duration::from_millis(100);
/// The exit status after SIGINT. On the screen, Ctrl-C is a key.
const INTERRUPTED: u8 = 130;

/// Shows the screen until `q`, Ctrl-C, a request to terminate, or the timeout.
pub(super) fn run(
    plan: &Plan,
    monitor: &Monitor,
    interrupt: &Interrupt,
    exporter: Option<&Exporter>,
    console: &Console,
) -> anyhow::Result<Option<Outcome>> {
    let mut state = State::new(plan.sort, monitor, console);
    if let Some(exporter) = exporter {
        state.show_message(format!("metrics at http://{}/metrics", exporter.address()));
    }
    let mut screen = Screen::open().context("cannot show a screen on this terminal")?;
    let ended = show(&mut screen, &mut state, plan, interrupt);
    drop(screen);
    // The terminal is restored, so that notes stay visible.
    if let Some(recording) = monitor.end_recording() {
        console.note(state::describe_recording(&recording));
    }
    let outcome = ended?;
    monitor.failure().map_or(Ok(outcome), |error| Err(error.into()))
}

fn show(
    screen: &mut Screen,
    state: &mut State<'_>,
    plan: &Plan,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Outcome>> {
    let start = Instant::now();
    let mut due = start;
    loop {
        let now = Instant::now();
        let mut has_changed = now >= due;
        if has_changed {
            state.refresh(SystemTime::now());
            // Missed intervals (for example after a suspend) are skipped.
            due = (due + plan.watch.interval).max(now);
        }
        while event::poll(Duration::ZERO).context("cannot read the keyboard")? {
            has_changed = true;
            match keys::handle(state, &event::read().context("cannot read the keyboard")?) {
                KeyAction::Continue => {}
                KeyAction::Quit => return Ok(None),
                KeyAction::Interrupted => return Ok(Some(Outcome::Interrupted(INTERRUPTED))),
            }
        }
        if has_changed {
            screen.draw(|frame| draw(frame, state)).context("cannot draw on the terminal")?;
        }
        let is_over = plan.timeout.is_some_and(|timeout| start.elapsed() >= timeout);
        if interrupt.has_arrived() || is_over || state.source_has_failed() {
            return Ok(None);
        }
        let wait = due.saturating_duration_since(Instant::now()).min(WAIT);
        event::poll(wait).context("cannot read the keyboard")?;
    }
}

fn draw(frame: &mut Frame<'_>, state: &mut State<'_>) {
    let rows = Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(2)]);
    let [head, body, foot] = rows.areas(frame.area());
    streams::draw_head(frame, head, state);
    match state.view {
        View::Streams => streams::draw(frame, body, state),
        View::Detail => detail::draw(frame, body, state),
        View::Network => network::draw(frame, body, state),
        View::Help => keys::draw(frame, body, state),
    }
    streams::draw_foot(frame, foot, state);
}

/// The terminal while it shows the screen. Dropping it restores the terminal; a panic restores it before the message is
/// printed.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn open() -> io::Result<Self> {
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
struct Theme {
    title: Style,
    heading: Style,
    group: Style,
    address: Style,
    interface: Style,
    trend: Style,
    dim: Style,
    warning: Style,
    bad: Style,
    selected: Style,
    key: Style,
}

impl Theme {
    fn new(coloured: bool) -> Self {
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
