//! The interactive screen, its key bindings, and the help that lists them.

mod detail;
mod state;
mod streams;

use std::time::{Instant, SystemTime};

use mcast::interface::Interface;
use mcast_terminal::Console;
use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout};
use state::{State, View};
use streams::scrolled;

use super::text::Column;
use super::{Served, TopPlan, Watched};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::receiving::SilentInterfaces;
use crate::screen::{INTERRUPTED, Interactive, KeyAction, Screen, rows_moved};

/// Shows the screen until `q`, Ctrl-C, a request to terminate, or the timeout.
pub(super) fn run(
    plan: &TopPlan<'_>,
    watched: Watched<'_>,
    interrupt: &Interrupt,
    served: Served<'_>,
    console: &Console,
) -> anyhow::Result<Option<Outcome>> {
    let Watched { monitor, named } = watched;
    let mut state = State::new(*plan, monitor, console);
    let places = served.places();
    if !places.is_empty() {
        state.show_message(places.join("; "));
    }
    let mut screen = Screen::open()?;
    let ended = show(&mut screen, &mut state, named, plan, interrupt);
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
    named: &[Interface],
    plan: &TopPlan<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Outcome>> {
    let mut silent_interfaces = SilentInterfaces::default();
    let start = Instant::now();
    let mut due = start;
    loop {
        let now = Instant::now();
        let has_changed = now >= due;
        if has_changed {
            state.refresh(SystemTime::now());
            let silent = silent_interfaces.of_captured(named);
            if !silent.is_empty() {
                state.show_message(silent.join("; "));
            }
            // Missed intervals (for example after a suspend) are skipped.
            due = (due + plan.watch.interval).max(now);
        }
        match screen.turn(state, has_changed, due)? {
            KeyAction::Continue => {}
            KeyAction::Quit => return Ok(None),
            KeyAction::Interrupted => return Ok(Some(INTERRUPTED)),
        }
        let is_over = plan.timeout.is_some_and(|timeout| start.elapsed() >= timeout);
        if interrupt.has_arrived() || is_over || state.source_has_failed() {
            return Ok(None);
        }
    }
}

/// The number of columns by which long lines move.
const SIDEWAYS: usize = 16;

impl Interactive for State<'_> {
    fn handle(&mut self, key: KeyCode) -> KeyAction {
        if self.filter.is_typing {
            if !self.filter.handle(key) {
                go(self, key);
            }
            self.arrange();
            return KeyAction::Continue;
        }
        match key {
            KeyCode::Char('q') => return KeyAction::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => switch(self, View::Help),
            KeyCode::Tab | KeyCode::Char('n') => switch(self, View::Network),
            KeyCode::Enter => switch(self, View::Detail),
            KeyCode::Esc if self.view == View::Streams => {
                self.filter.text.clear();
                self.arrange();
            }
            KeyCode::Esc => self.view = View::Streams,
            KeyCode::Char('/') => {
                self.view = View::Streams;
                self.filter.is_typing = true;
            }
            KeyCode::Char('c') => switch(self, View::Columns),
            KeyCode::Char(' ') if self.view == View::Columns => self.toggle_column(),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort_by_next(1),
            KeyCode::Char('S') => self.sort_by_next(-1),
            KeyCode::Char('r') => self.reverse(),
            KeyCode::Char('w') => self.record_or_end(),
            KeyCode::Char('x') => self.clear(),
            key => go(self, key),
        }
        KeyAction::Continue
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(2)]);
        let [head, body, foot] = rows.areas(frame.area());
        streams::draw_head(frame, head, self);
        match self.view {
            View::Streams => streams::draw(frame, body, self),
            View::Detail => detail::draw(frame, body, self),
            View::Network => streams::draw_network(frame, body, self),
            View::Columns => streams::draw_columns(frame, body, self),
            View::Help => {
                let mut lines = Vec::from(KEYS.map(|pair| self.theme.help(pair, 24)));
                lines.extend(COLUMNS.map(|pair| self.theme.help(pair, 16)));
                scrolled(frame, body, self, lines);
            }
        }
        streams::draw_foot(frame, foot, self);
    }
}

/// Shows a view, or returns to the streams if it is already shown.
fn switch(state: &mut State<'_>, view: View) {
    state.view = if state.view == view { View::Streams } else { view };
    (state.scroll, state.sideways) = (0, 0);
    // From now on the selection follows the stream, even if its row moves.
    if view == View::Detail {
        state.step(0);
    }
}

fn go(state: &mut State<'_>, key: KeyCode) {
    match key {
        KeyCode::Right => state.sideways = state.sideways.saturating_add(SIDEWAYS),
        KeyCode::Left => state.sideways = state.sideways.saturating_sub(SIDEWAYS),
        _ => {}
    }
    let Some(by) = rows_moved(key, state.page) else { return };
    match state.view {
        View::Streams => state.step(by),
        View::Columns => {
            let last = Column::SHOWN.len() - 1;
            state.column = state.column.saturating_add_signed(by).min(last);
        }
        _ => state.scroll = state.scroll.saturating_add_signed(by),
    }
}

const KEYS: [(&str, &str); 12] = [
    ("q, Ctrl-C", "quit"),
    ("↑ ↓ PgUp PgDn Home End", "select a stream, scroll; ← → move long lines"),
    ("Enter", "details of the selected stream; again: back"),
    ("Tab, n", "queriers, routers, members, messages; again: back"),
    ("Esc", "back; among the streams: show all again"),
    ("s, S; r", "sort by the next column, the previous one; reverse the order"),
    ("c", "choose columns: Space shows or hides one"),
    ("/", "show only streams with this text in a column"),
    ("p, Space", "pause the screen; counting continues"),
    ("w", "record the selected stream to a file; again: end it"),
    ("x", "reset all counters"),
    ("", ""),
];

const COLUMNS: [(&str, &str); 10] = [
    ("dgram/s, bit/s", "in the last interval; bits are those of the payload"),
    ("trend", "bytes in each of the last intervals, the highest full"),
    ("loss", "share that is missing, by sequence numbers: RTP, MPEG-TS,"),
    ("", "MoldUDP64, mcast perf, or --seq; – where there are none"),
    ("lost", "what was missing in each of the last intervals, the highest full"),
    ("ttl", "TTL or hop limit on arrival here"),
    ("jitter", "as in RFC 3550 where datagrams have a timestamp, such as RTP in"),
    ("", "formats whose clock is known; ~ jitter of the gaps between them"),
    ("joined", "processes here, then hosts whose reports were seen: with"),
    ("", "IGMPv2 and MLDv1, a host is silent when another has reported"),
];
