//! A subscriber and its history: one account of what the application is given.

use super::{HistoryMachine, LiveIdentity};
use crate::ClockTime;
use crate::subscriber::{Item, SubscriberEvent, SubscriberMachine};

impl HistoryMachine {
    /// Takes what the live stream delivers, while this [is not live](Self::is_live) or may cease to be. `datagram` is the one
    /// that the subscriber handled last. `event` is called with the events that belong to no position.
    pub fn take_live(
        &mut self,
        now: ClockTime,
        subscriber: &mut SubscriberMachine,
        datagram: &[u8],
        mut event: impl FnMut(SubscriberEvent),
    ) {
        subscriber.join_history(now, self.account());
        loop {
            if !self.has_room() {
                subscriber.start_buffering(datagram);
                break;
            }
            let Some(step) = subscriber.poll_step(now, datagram) else { break };
            match (subscriber.item(&step, datagram), identity(subscriber)) {
                (Item::Message(message), Some(identity)) => self.handle_live_message(now, identity, &message),
                (Item::Message(_), None) => {}
                (Item::Event(of_live), _) => {
                    if let Some(of_live) = self.handle_event(now, subscriber, of_live) {
                        event(of_live);
                    }
                }
            }
        }
        subscriber.join_history(now, self.account());
    }

    /// Passes an event of the live stream; returns it if it is to be delivered now.
    pub fn handle_event(
        &mut self,
        now: ClockTime,
        subscriber: &mut SubscriberMachine,
        event: SubscriberEvent,
    ) -> Option<SubscriberEvent> {
        let Some(identity) = identity(subscriber) else { return Some(event) };
        let event = self.handle_live_event(now, identity, event);
        subscriber.join_history(now, self.account());
        event
    }
}

/// Returns the incarnation that the messages of the live stream have in a history.
fn identity(subscriber: &SubscriberMachine) -> Option<LiveIdentity> {
    let own = subscriber.incarnation()?;
    Some(LiveIdentity { content: subscriber.origin().map_or(own, |origin| origin.incarnation), own })
}
