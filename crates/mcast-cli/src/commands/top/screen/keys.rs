//! What keys do.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{State, View};

/// What comes after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    GoOn,
    Quit,
    /// Ctrl-C.
    Interrupted,
}

/// How far long lines move at a time.
const SIDEWAYS: usize = 16;

pub(super) fn handle(state: &mut State<'_>, event: &Event) -> Step {
    let Event::Key(key) = event else { return Step::GoOn };
    if key.kind == KeyEventKind::Release {
        return Step::GoOn;
    }
    if is_control(key) {
        return if key.code == KeyCode::Char('c') { Step::Interrupted } else { Step::GoOn };
    }
    if state.is_typing {
        type_filter(state, key.code);
        return Step::GoOn;
    }
    match key.code {
        KeyCode::Char('q') => return Step::Quit,
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
    Step::GoOn
}

fn is_control(key: &KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL)
}

/// Shows this, or the streams again if it is shown already.
fn switch(state: &mut State<'_>, view: View) {
    state.view = if state.view == view { View::Streams } else { view };
    (state.scroll, state.sideways) = (0, 0);
    // From now on it stays with the stream, wherever its row goes.
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

/// The bytes of the last character.
fn last_length(text: &str) -> usize {
    text.chars().next_back().map_or(0, char::len_utf8)
}
