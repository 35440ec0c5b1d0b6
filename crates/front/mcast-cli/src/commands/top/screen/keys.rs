//! Key bindings, and the help that lists them.

use ratatui::Frame;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::network::scrolled;
use super::state::{State, View};

/// What to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyAction {
    Continue,
    Quit,
    /// Ctrl-C.
    Interrupted,
}

/// The number of columns by which long lines move.
const SIDEWAYS: usize = 16;

pub(super) fn handle(state: &mut State<'_>, event: &Event) -> KeyAction {
    let Event::Key(key) = event else { return KeyAction::Continue };
    if key.kind == KeyEventKind::Release {
        return KeyAction::Continue;
    }
    if is_control(key) {
        return if key.code == KeyCode::Char('c') { KeyAction::Interrupted } else { KeyAction::Continue };
    }
    if state.is_typing {
        type_filter(state, key.code);
        return KeyAction::Continue;
    }
    match key.code {
        KeyCode::Char('q') => return KeyAction::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => switch(state, View::Help),
        KeyCode::Tab | KeyCode::Char('n') => switch(state, View::Network),
        KeyCode::Enter => switch(state, View::Detail),
        KeyCode::Esc => back(state),
        KeyCode::Char('/') => {
            state.view = View::Streams;
            state.is_typing = true;
        }
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

fn is_control(key: &KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL)
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
        _ => state.scroll = state.scroll.saturating_add_signed(by),
    }
}

fn type_filter(state: &mut State<'_>, code: KeyCode) {
    const LONGEST: usize = 64;
    match code {
        KeyCode::Enter => state.is_typing = false,
        KeyCode::Esc => {
            state.is_typing = false;
            state.filter(String::clear);
        }
        KeyCode::Backspace => state.filter(|text| text.truncate(text.len() - last_length(text))),
        KeyCode::Char(character) if state.filter.chars().count() < LONGEST => {
            state.filter(|text| text.extend(character.to_lowercase()));
        }
        KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => go(state, code),
        _ => {}
    }
}

/// Returns the length of the last character in bytes.
fn last_length(text: &str) -> usize {
    text.chars().next_back().map_or(0, char::len_utf8)
}

const KEYS: [(&str, &str); 11] = [
    ("q, Ctrl-C", "quit"),
    ("↑ ↓ PgUp PgDn Home End", "select a stream, scroll; ← → move long lines"),
    ("Enter", "details of the selected stream; again: back"),
    ("Tab, n", "queriers, routers, members, messages; again: back"),
    ("Esc", "back; among the streams: show all again"),
    ("s, S; r", "sort by the next column, the previous one; reverse the order"),
    ("/", "show only streams with this text in a column"),
    ("p, Space", "pause the screen; counting continues"),
    ("w", "record the selected stream to a file; again: end it"),
    ("x", "reset all counters"),
    ("", ""),
];

const COLUMNS: [(&str, &str); 9] = [
    ("dgram/s, bit/s", "in the last interval; bits are those of the payload"),
    ("trend", "bytes in each of the last intervals, the highest full"),
    ("loss", "share that is missing, by sequence numbers: RTP, MPEG-TS,"),
    ("", "MoldUDP64, mcast perf, or --seq; – where there are none"),
    ("ttl", "TTL or hop limit on arrival here"),
    ("jitter", "as in RFC 3550 where datagrams have a timestamp, such as RTP in"),
    ("", "formats whose clock is known; ~ jitter of the gaps between them"),
    ("joined", "processes here, then hosts whose reports were seen: with"),
    ("", "IGMPv2 and MLDv1, a host is silent when another has reported"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let theme = state.theme;
    let line = |(key, what): &(&str, &str), width| {
        Line::from(vec![Span::styled(format!("{key:<width$}"), theme.key), Span::raw((*what).to_owned())])
    };
    let mut lines: Vec<Line<'_>> = KEYS.iter().map(|pair| line(pair, 24)).collect();
    lines.extend(COLUMNS.iter().map(|pair| line(pair, 16)));
    scrolled(frame, area, state, lines);
}
