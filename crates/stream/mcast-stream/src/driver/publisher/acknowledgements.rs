//! What subscribers have acknowledged, and waiting for that.

use std::time::Duration;

use super::Publisher;
use crate::StreamError;
use crate::publisher::{AckProgress, AckState, AckWait, Watermarks};
use crate::wire::{MessageNumber, SubscriberId, SubscriberName};

impl Publisher {
    /// Returns whether a message is acknowledged as [required](super::PublisherBuilder::acknowledge), or given up; `None` if
    /// nothing is required.
    #[must_use]
    pub fn ack_state(&self, message: MessageNumber) -> Option<AckState> {
        self.shared.core().machine.ack_state(message)
    }

    /// Returns how far messages are acknowledged as required; `None` if nothing is.
    #[must_use]
    pub fn ack_progress(&self) -> Option<AckProgress> {
        self.shared.core().machine.ack_progress()
    }

    /// Returns what the first message that is not settled waits for; `None` if nothing is waited for.
    #[must_use]
    pub fn ack_wait(&self) -> Option<AckWait> {
        self.shared.core().machine.ack_wait()
    }

    /// Returns what each subscriber has acknowledged, if acknowledgements are required. Of subscribers that have left, only
    /// the last few thousand are listed.
    #[must_use]
    pub fn watermarks(&self) -> Vec<Watermarks> {
        self.shared.core().machine.watermarks().collect()
    }

    /// Returns the name that a subscriber claims, if it has one.
    #[must_use]
    pub fn name_of(&self, subscriber: SubscriberId) -> Option<SubscriberName> {
        self.shared.core().machine.name_of(subscriber)
    }

    /// Waits for a message; returns whether it was acknowledged in time.
    pub(super) fn wait_acked(&self, message: MessageNumber, timeout: Duration) -> Result<bool, StreamError> {
        let mut state = None;
        self.shared.wait_until(timeout, |machine| {
            state = machine.ack_state(message);
            state != Some(AckState::Pending)
        });
        state.map(|state| state == AckState::Acknowledged).ok_or(StreamError::AcksNotRequired)
    }

    /// Waits for all messages; returns whether they were acknowledged in time.
    pub(super) fn wait_all_acked(&self, timeout: Duration) -> Result<bool, StreamError> {
        let mut progress = None;
        self.shared.wait_until(timeout, |machine| {
            progress = machine.ack_progress();
            progress.is_none_or(|progress| progress.is_settled())
        });
        progress.map(|progress| progress.is_complete()).ok_or(StreamError::AcksNotRequired)
    }
}
