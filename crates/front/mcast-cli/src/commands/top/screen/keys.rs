//! Key bindings.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

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
