//! What one receiver was handed, and what its user has made of it.

use mcast_stream::receiver::{Event, Message};

use crate::scene::{EPOCH, ORDER, TOLD, WHOLE};
use crate::state::Broken;

/// What a message says: from which life it is, as that is called and as it really is, and of which number.
pub(crate) fn content(life: u32, birth: u32, number: u64) -> Vec<u8> {
    [&b"said by "[..], &life.to_be_bytes(), &birth.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// What strangers say begins so.
pub(crate) const FORGED: &[u8] = b"forged";

#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) life: Option<u32>,
    /// Which life that really is, as its first message told.
    birth: Option<u32>,
    /// The message, or hole, that is due.
    pub(crate) due: u64,
    /// How many messages, from the first on, the user's state is made of; `None` before a snapshot is there, or behind
    /// a hole.
    whole: Option<u64>,
    pub(crate) wants: Option<u64>,
    pub(crate) ended: bool,
    restarted: bool,
}

impl Audit {
    pub(crate) fn message(&mut self, message: &Message<'_>) -> Result<(), Broken> {
        let number = message.number;
        if message.bytes.starts_with(FORGED) {
            return Err((EPOCH, format!("message {number} is a stranger's")));
        }
        let Some(life) = self.life.filter(|_| self.wants.is_none() && !self.ended) else {
            return Err((ORDER, format!("message {number} when none may come")));
        };
        let told = message.bytes.get(12..16).and_then(|birth| birth.try_into().ok()).map(u32::from_be_bytes);
        let birth = *self.birth.get_or_insert_with(|| told.unwrap_or(0));
        if message.bytes != content(life, birth, number) || number < self.due {
            let due = self.due;
            return Err((
                ORDER,
                format!("message {number} of {life}, when {due} is due: {:?}", message.bytes),
            ));
        }
        if number > self.due {
            return Err((TOLD, format!("message {number} when {} is due", self.due)));
        }
        self.due = number + 1;
        self.whole = self.whole.map(|whole| whole + 1);
        Ok(())
    }

    /// The user's state is now that of a snapshot that says it has all messages before `said`, and has those before `has`.
    pub(crate) fn snapshot(&mut self, said: u64, has: u64) {
        (self.wants, self.due, self.whole) = (None, said, Some(has));
    }

    pub(crate) fn event(&mut self, event: &Event, is_life: impl Fn(u32) -> bool) -> Result<(), Broken> {
        match *event {
            Event::Joined { incarnation, message, .. } => {
                if !is_life(incarnation.0) {
                    return Err((EPOCH, format!("it follows {}, which nobody lives", incarnation.0)));
                }
                // Who followed a former life is told of everything in this one.
                let begins_whole = std::mem::take(&mut self.restarted) || message == 0;
                (self.life, self.birth) = (Some(incarnation.0), None);
                (self.due, self.whole) = if begins_whole { (0, Some(0)) } else { (message, None) };
            }
            Event::Restarted { to, .. } => {
                if !is_life(to.0) {
                    return Err((EPOCH, format!("it follows {to:?}, which nobody lives")));
                }
                (self.restarted, self.ended, self.wants) = (true, false, None);
            }
            Event::Lost { first, end, .. } => {
                if first != self.due || end <= first {
                    return Err((
                        TOLD,
                        format!("{first} to {end} are said to be lost, when {} is due", self.due),
                    ));
                }
                (self.due, self.whole) = (end, None);
            }
            Event::SnapshotWanted { message } => (self.wants, self.whole) = (Some(message), None),
            Event::Ended { messages } => {
                if messages != self.due || self.ended {
                    return Err((TOLD, format!("it ends with {messages}, when {} is due", self.due)));
                }
                self.ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// A state that is made of a snapshot and what followed has no hole, and nothing twice.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        match self.whole {
            Some(whole) if whole != self.due => {
                Err((WHOLE, format!("it has {whole} messages, and says it has {}", self.due)))
            }
            _ => Ok(()),
        }
    }
}
