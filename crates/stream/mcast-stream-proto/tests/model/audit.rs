//! Checks the messages and events delivered by one subscriber, and the state that its user derives from them.

use mcast_stream_proto::subscriber::{Message, SubscriberEvent};
use mcast_stream_proto::wire::MessageNumber;

use crate::scene::{EPOCH, ORDER, REPORTED, WHOLE};
use crate::state::Broken;

/// Returns the content of a message: the number of its incarnation, the true order of that (`birth`), and its number.
pub(crate) fn content(incarnation: u32, birth: u32, number: u64) -> Vec<u8> {
    [&b"said by "[..], &incarnation.to_be_bytes(), &birth.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The prefix of strangers' messages.
pub(crate) const FORGED: &[u8] = b"forged";

#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) incarnation: Option<u32>,
    /// The true order of the incarnation, from its first message.
    birth: Option<u32>,
    /// The number of the next message or gap.
    pub(crate) due: u64,
    /// The number of messages, from the first on, in the user's state; `None` before a snapshot, or after a gap.
    whole: Option<u64>,
    pub(crate) wants: Option<u64>,
    pub(crate) ended: bool,
    restarted: bool,
}

impl Audit {
    pub(crate) fn message(&mut self, message: &Message<'_>) -> Result<(), Broken> {
        let number = message.number.0;
        if message.bytes.starts_with(FORGED) {
            return Err((EPOCH, format!("message {number} is from a stranger")));
        }
        let Some(incarnation) = self.incarnation.filter(|_| self.wants.is_none() && !self.ended) else {
            return Err((ORDER, format!("unexpected message {number}")));
        };
        let birth = message.bytes.get(12..16).and_then(|birth| birth.try_into().ok()).map(u32::from_be_bytes);
        let birth = *self.birth.get_or_insert_with(|| birth.unwrap_or(0));
        if message.bytes != content(incarnation, birth, number) || number < self.due {
            let due = self.due;
            return Err((
                ORDER,
                format!("message {number} of {incarnation} when {due} is due: {:?}", message.bytes),
            ));
        }
        if number > self.due {
            return Err((REPORTED, format!("message {number} when {} is due", self.due)));
        }
        self.due = number + 1;
        self.whole = self.whole.map(|whole| whole + 1);
        Ok(())
    }

    /// Loads a snapshot that claims to include all messages before `claimed`, and includes those before `actual`.
    pub(crate) fn snapshot(&mut self, claimed: u64, actual: u64) {
        (self.wants, self.due, self.whole) = (None, claimed, Some(actual));
    }

    pub(crate) fn event(
        &mut self,
        event: &SubscriberEvent,
        is_known: impl Fn(u32) -> bool,
    ) -> Result<(), Broken> {
        match *event {
            SubscriberEvent::Joined { incarnation, message, .. } => {
                if !is_known(incarnation.0) {
                    return Err((EPOCH, format!("it follows the unknown incarnation {}", incarnation.0)));
                }
                // A subscriber that followed a former incarnation receives this one from its first message.
                let begins_whole = std::mem::take(&mut self.restarted) || message.0 == 0;
                (self.incarnation, self.birth) = (Some(incarnation.0), None);
                (self.due, self.whole) = if begins_whole { (0, Some(0)) } else { (message.0, None) };
            }
            SubscriberEvent::Restarted { to, .. } => {
                if !is_known(to.0) {
                    return Err((EPOCH, format!("it follows the unknown {to:?}")));
                }
                (self.restarted, self.ended, self.wants) = (true, false, None);
            }
            SubscriberEvent::Lost { first: MessageNumber(first), end: MessageNumber(end), .. } => {
                if first != self.due || end <= first {
                    return Err((
                        REPORTED,
                        format!("messages {first} to {end} are reported as lost when {} is due", self.due),
                    ));
                }
                (self.due, self.whole) = (end, None);
            }
            SubscriberEvent::SnapshotWanted { message } => (self.wants, self.whole) = (Some(message.0), None),
            SubscriberEvent::Ended { messages } => {
                if messages != self.due || self.ended {
                    return Err((
                        REPORTED,
                        format!("the stream ends with {messages} when {} is due", self.due),
                    ));
                }
                self.ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that a state made of a snapshot and later messages has no gap, and no message twice.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        match self.whole {
            Some(whole) if whole != self.due => {
                Err((WHOLE, format!("the state has {whole} messages instead of {}", self.due)))
            }
            _ => Ok(()),
        }
    }
}
