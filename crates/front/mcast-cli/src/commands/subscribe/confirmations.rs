//! `--confirm`: the reader of the messages confirms on a descriptor which of them it has processed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcast::Waker;
use mcast_stream::subscriber::Position;
use mcast_stream::wire::MessageNumber;

/// The most messages that the reader has and has not confirmed: then it gets no more.
const MOST_UNCONFIRMED: usize = 1 << 16;
/// The longest line, in bytes: a number has at most 20 digits.
const LONGEST_LINE: usize = 32;

/// The messages that the reader has not confirmed.
#[derive(Clone)]
pub(super) struct Confirmations {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they are given. Some at the end are not given yet.
    waiting: VecDeque<Position>,
    /// How many of them are given.
    given: usize,
    /// The last one that was confirmed.
    confirmed: Option<Position>,
    end: Option<ConfirmError>,
}

/// Why nothing more can be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfirmError {
    #[error("the reader has closed the descriptor of --confirm")]
    Closed,
    #[error("the descriptor of --confirm cannot be read: {0}")]
    Unreadable(String),
    #[error("the reader wrote \"{0}\" to the descriptor of --confirm, which is not the number of a message")]
    NotANumber(String),
    #[error("the reader has confirmed message {0}, which it was not given")]
    NotGiven(MessageNumber),
    #[error("the reader has confirmed more messages than it was given")]
    TooMany,
}

/// A line of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmation {
    /// The next message, in order.
    Next,
    /// All messages up to this one.
    UpTo(MessageNumber),
}

impl Confirmations {
    /// Starts a thread that reads confirmations. It calls `note` with the last message that is confirmed, with all before it, and
    /// wakes the subscriber.
    pub(super) fn read(
        file: File,
        waker: Waker,
        note: impl Fn(Position) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let confirmations = Self { shared };
        let reader = confirmations.clone();
        let read = move || {
            let end = reader.read_all(BufReader::new(file), &note);
            reader.state().end = Some(end);
            reader.shared.changed.notify_all();
            // If the waker fails, the wait of the subscriber times out.
            let _ = waker.wake();
        };
        std::thread::Builder::new().name("confirmations".into()).spawn(read)?;
        Ok(confirmations)
    }

    fn read_all(&self, mut input: impl BufRead, note: &impl Fn(Position)) -> ConfirmError {
        let mut line = Vec::new();
        loop {
            line.clear();
            match input.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line) {
                Ok(0) => return ConfirmError::Closed,
                Ok(_) => {}
                Err(error) => return ConfirmError::Unreadable(error.to_string()),
            }
            let confirmed = parse(&line).and_then(|confirmation| self.state().confirm(confirmation));
            match confirmed {
                Ok(Some(position)) => {
                    note(position);
                    self.shared.changed.notify_all();
                }
                Ok(None) => {}
                Err(error) => return error,
            }
        }
    }

    /// Notes a message that is going to be given.
    pub(super) fn expect(&self, position: Position) {
        self.state().waiting.push_back(position);
    }

    /// Notes that the messages up to this one are being given.
    pub(super) fn give(&self, last: Position) {
        let mut state = self.state();
        let later = state.waiting.iter().skip(state.given).position(|position| *position == last);
        state.given += later.map_or(0, |later| later + 1);
    }

    /// Whether the reader has too many messages that it has not confirmed.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.waiting.len() >= MOST_UNCONFIRMED && state.end.is_none()
    }

    /// Whether the reader may still confirm messages.
    pub(super) fn is_awaited(&self) -> bool {
        let state = self.state();
        !state.waiting.is_empty() && state.end.is_none()
    }

    /// Returns how many messages are not confirmed.
    pub(super) fn unconfirmed(&self) -> usize {
        self.state().waiting.len()
    }

    /// Returns why nothing more can be confirmed.
    pub(super) fn error(&self) -> Option<ConfirmError> {
        self.state().end.clone()
    }

    /// Waits until something is confirmed, or cannot be any more, for at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        let state = self.state();
        if !state.waiting.is_empty() && state.end.is_none() {
            drop(self.shared.changed.wait_timeout(state, timeout));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes the messages that are confirmed; returns the last of them, or `None` if they were confirmed before.
    fn confirm(&mut self, confirmation: Confirmation) -> Result<Option<Position>, ConfirmError> {
        let count = match confirmation {
            Confirmation::Next if self.given == 0 => return Err(ConfirmError::TooMany),
            Confirmation::Next => 1,
            Confirmation::UpTo(number) => {
                let given = self.waiting.iter().take(self.given);
                match given.enumerate().find(|(_, position)| position.number == number) {
                    Some((index, _)) => index + 1,
                    None if self.confirmed.is_some_and(|confirmed| number <= confirmed.number) => {
                        return Ok(None);
                    }
                    None => return Err(ConfirmError::NotGiven(number)),
                }
            }
        };
        self.given -= count;
        self.confirmed = self.waiting.drain(..count).next_back();
        Ok(self.confirmed)
    }
}

/// Parses a line: empty, or a decimal number.
fn parse(line: &[u8]) -> Result<Confirmation, ConfirmError> {
    let wrong = || ConfirmError::NotANumber(String::from_utf8_lossy(line).trim_end().to_owned());
    // What is cut off could be the beginning of another number.
    let text = line.strip_suffix(b"\n").ok_or_else(wrong)?;
    match text.trim_ascii() {
        b"" => Ok(Confirmation::Next),
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            number.map(|number| Confirmation::UpTo(MessageNumber(number))).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::Incarnation;

    use super::*;

    fn at(incarnation: u32, number: u64) -> Position {
        Position::new(Incarnation(incarnation), MessageNumber(number))
    }

    fn given(positions: &[Position]) -> State {
        State { waiting: positions.iter().copied().collect(), given: positions.len(), ..State::default() }
    }

    fn up_to(number: u64) -> Confirmation {
        Confirmation::UpTo(MessageNumber(number))
    }

    #[test]
    fn a_number_confirms_all_before_it_and_an_empty_line_the_next_one() {
        let mut state = given(&[at(1, 4), at(1, 5), at(1, 6), at(1, 9)]);
        assert_eq!(state.confirm(Confirmation::Next), Ok(Some(at(1, 4))));
        assert_eq!(state.confirm(up_to(6)), Ok(Some(at(1, 6))));
        assert_eq!(state.confirm(up_to(5)), Ok(None), "it was confirmed before");
        assert_eq!(state.confirm(up_to(9)), Ok(Some(at(1, 9))));
        assert_eq!(state.confirm(Confirmation::Next), Err(ConfirmError::TooMany));
    }

    #[test]
    fn what_was_not_given_cannot_be_confirmed() {
        let mut state = given(&[at(1, 4), at(1, 5)]);
        state.given = 1;
        assert_eq!(state.confirm(up_to(5)), Err(ConfirmError::NotGiven(MessageNumber(5))));
        assert_eq!(state.confirm(up_to(4)), Ok(Some(at(1, 4))));
        assert_eq!(state.confirm(Confirmation::Next), Err(ConfirmError::TooMany));
        assert_eq!(state.confirm(up_to(7)), Err(ConfirmError::NotGiven(MessageNumber(7))));
    }

    #[test]
    fn numbers_that_begin_again_are_those_of_the_next_incarnation() {
        let mut state = given(&[at(1, 8), at(1, 9), at(2, 0), at(2, 1)]);
        assert_eq!(state.confirm(up_to(9)), Ok(Some(at(1, 9))));
        assert_eq!(state.confirm(up_to(1)), Ok(Some(at(2, 1))));
    }

    #[test]
    fn only_whole_lines_with_numbers_are_confirmations() {
        assert_eq!(parse(b"\n"), Ok(Confirmation::Next));
        assert_eq!(parse(b" 17\r\n"), Ok(up_to(17)));
        for text in ["17", "-1\n", "x\n", "1 2\n", "99999999999999999999999\n", "+5\n"] {
            assert!(matches!(parse(text.as_bytes()), Err(ConfirmError::NotANumber(_))), "{text:?}");
        }
    }
}
