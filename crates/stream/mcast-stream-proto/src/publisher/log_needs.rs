//! Which of its messages a publisher with a log still needs there.

use super::PublisherMachine;
use super::acknowledgements::Acknowledgements;
use crate::wire::{FlowControl, MessageNumber, Sequence};

/// Which messages a publisher still needs in its log, each by the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogNeeds {
    /// Those that were not sent completely, or were recalled, until the first subscriber reports.
    pub unsent: MessageNumber,
    /// Those that were not sent or, if acknowledgements [block](super::QuorumLoss::Block), not settled. They wait for the rate or for
    /// subscribers for as long as that takes.
    pub unfinished: MessageNumber,
    /// Those, and what subscribers may still request: what the slowest one that the publisher waits for has not confirmed, or
    /// what was recalled, until the first subscriber reports. At most as much as the retransmission buffer has.
    pub needed: MessageNumber,
}

impl PublisherMachine {
    /// Keeps what was recalled from this message on among its [needs](Self::log_needs) until a subscriber reports: nobody may
    /// have received it. Call it after [`end_recall`](Self::end_recall).
    pub fn need_recalled_from(&mut self, message: MessageNumber) {
        self.recalled.needed = Some(message.min(self.intake.next_message()));
    }

    /// Returns which messages must still be in the log, so that a publisher that continues this one has them.
    #[must_use]
    pub fn log_needs(&mut self) -> LogNeeds {
        let unsent = self.intake.first_unfinished(self.ring.sent, &self.ring);
        let unsettled = self.subscribers.acknowledgements.as_ref().and_then(Acknowledgements::blocking_from);
        let unfinished = unsettled.map_or(unsent, |unsettled| unsettled.min(unsent));
        let slowest = self.subscribers.members.slowest().map(|(_, next)| next);
        if self.context.config.flow == FlowControl::OneWay || slowest.is_some() && !self.awaits_claims() {
            self.recalled.needed = None;
        }
        // As long as they are retained.
        let recalled = self.recalled.needed;
        let recalled = recalled.map(|message| message.max(self.first_lacking(self.ring.oldest_retained)));
        let lacking = match self.context.config.flow {
            FlowControl::OneWay | FlowControl::None => None,
            FlowControl::Slowest | FlowControl::Other(_) => slowest.map(|next| self.first_lacking(next)),
        };
        let needed = [recalled, lacking].into_iter().flatten().fold(unfinished, Ord::min);
        LogNeeds { unsent: recalled.map_or(unsent, |recalled| recalled.min(unsent)), unfinished, needed }
    }

    /// Returns the first message of which a subscriber may request a part that has everything before this datagram.
    fn first_lacking(&self, next: Sequence) -> MessageNumber {
        self.intake.first_unfinished(next.clamp(self.ring.oldest_retained, self.ring.next), &self.ring)
    }
}
