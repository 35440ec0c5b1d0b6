//! The interactive screen, its key bindings, and the help that lists them.

mod detail;
mod state;
mod streams;

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mcast::interface::Interface;
use mcast_terminal::Console;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use state::{State, View};
use streams::scrolled;

use super::text::Column;
use super::{Served, TopPlan, Watched};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::receiving::SilentInterfaces;
use crate::screen::{KeyAction, Screen, Typing, pressed, typed};

/// The longest wait for a key before checking for a request to terminate.
const WAIT: Duration = Duration::from_millis(100);
/// The exit status after SIGINT. On the screen, Ctrl-C is a key.
const INTERRUPTED: u8 = 130;

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
    let mut screen = Screen::open().context("cannot show a screen on this terminal")?;
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
        let mut has_changed = now >= due;
        if has_changed {
            state.refresh(SystemTime::now());
            let silent = silent_interfaces.of_captured(named);
            if !silent.is_empty() {
                state.show_message(silent.join("; "));
            }
            // Missed intervals (for example after a suspend) are skipped.
            due = (due + plan.watch.interval).max(now);
        }
        while event::poll(Duration::ZERO).context("cannot read the keyboard")? {
            has_changed = true;
            match handle(state, &event::read().context("cannot read the keyboard")?) {
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
        View::Network => streams::draw_network(frame, body, state),
        View::Columns => streams::draw_columns(frame, body, state),
        View::Help => draw_help(frame, body, state),
    }
    streams::draw_foot(frame, foot, state);
}

/// The number of columns by which long lines move.
const SIDEWAYS: usize = 16;

fn handle(state: &mut State<'_>, event: &Event) -> KeyAction {
    let code = match pressed(event) {
        Ok(code) => code,
        Err(action) => return action,
    };
    if state.is_typing {
        type_filter(state, code);
        return KeyAction::Continue;
    }
    match code {
        KeyCode::Char('q') => return KeyAction::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => switch(state, View::Help),
        KeyCode::Tab | KeyCode::Char('n') => switch(state, View::Network),
        KeyCode::Enter => switch(state, View::Detail),
        KeyCode::Esc => back(state),
        KeyCode::Char('/') => {
            state.view = View::Streams;
            state.is_typing = true;
        }
        KeyCode::Char('c') => switch(state, View::Columns),
        KeyCode::Char(' ') if state.view == View::Columns => state.toggle_column(),
        KeyCode::Char('p' | ' ') => state.is_paused = !state.is_paused,
        KeyCode::Char('s') => state.sort_by_next(1),
        KeyCode::Char('S') => state.sort_by_next(-1),
        KeyCode::Char('r') => state.reverse(),
        KeyCode::Char('w') => state.record_or_end(),
        KeyCode::Char('x') => state.clear(),
        code => go(state, code),
    }
    KeyAction::Continue
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

fn back(state: &mut State<'_>) {
    match state.view {
        View::Streams => state.filter(String::clear),
        _ => state.view = View::Streams,
    }
}

fn go(state: &mut State<'_>, code: KeyCode) {
    let page = state.page.cast_signed().max(1);
    let by = match code {
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::PageDown => page,
        KeyCode::PageUp => -page,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        KeyCode::Right => return state.sideways = state.sideways.saturating_add(SIDEWAYS),
        KeyCode::Left => return state.sideways = state.sideways.saturating_sub(SIDEWAYS),
        _ => return,
    };
    match state.view {
        View::Streams => state.step(by),
        View::Columns => {
            let last = Column::SHOWN.len() - 1;
            state.column = state.column.saturating_add_signed(by).min(last);
        }
        _ => state.scroll = state.scroll.saturating_add_signed(by),
    }
}

fn type_filter(state: &mut State<'_>, code: KeyCode) {
    match typed(code) {
        Typing::Done => state.is_typing = false,
        Typing::Cancelled => {
            state.is_typing = false;
            state.filter(String::clear);
        }
        Typing::Changed(change) => state.filter(|text| change.apply(text)),
        Typing::Other
            if matches!(code, KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown) =>
        {
            go(state, code);
        }
        Typing::Other => {}
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

fn draw_help(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let theme = state.theme;
    let line = |(key, what): &(&str, &str), width| {
        Line::from(vec![Span::styled(format!("{key:<width$}"), theme.key), Span::raw((*what).to_owned())])
    };
    let mut lines: Vec<Line<'_>> = KEYS.iter().map(|pair| line(pair, 24)).collect();
    lines.extend(COLUMNS.iter().map(|pair| line(pair, 16)));
    scrolled(frame, area, state, lines);
}
