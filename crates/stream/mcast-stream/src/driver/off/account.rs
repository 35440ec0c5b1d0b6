//! Without the features `acknowledgements` and `history`, a subscriber acknowledges nothing, and reads no history.

use crate::wire::{Acknowledgement, Position};
use crate::{ClockTime, SubscriberMachine};

/// What a history has given to the application. There is none.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct HistoryAccount;

/// What the machine does with what is processed.
pub(in crate::driver) trait WithoutAccount {
    fn acknowledge(&mut self, _: ClockTime, _: Position) {}

    fn join_history(&mut self, _: ClockTime, _: HistoryAccount) {}

    fn withdraw_before(&mut self, _: Position) {}

    fn acks_requested(&self) -> bool {
        false
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement::default()
    }
}

impl WithoutAccount for SubscriberMachine {}
