//! Who listens, and what becomes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast_stream::Closing;
use mcast_stream::sender::SenderEvent;
use mcast_stream::wire::ReceiverId;

use crate::console::Console;
use crate::output::count_of;

/// Twice as many as a stream has at a time: of those who went, the rest is remembered.
const MOST: usize = 8192;

/// Everybody who ever listened.
#[derive(Debug, Default)]
pub(super) struct Audience {
    members: BTreeMap<ReceiverId, Member>,
    /// One of those that are not remembered had not everything.
    forgot_unserved: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    pub(super) state: State,
    /// Datagrams that it has not, as far as is known.
    pub(super) missing: u64,
    /// Of those, what went while nobody waited for it.
    gone: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Follows, and has everything once the stream is closed.
    Follows,
    /// Said that it leaves.
    Left,
    /// Was not waited for any longer.
    Evicted,
    /// Went without a word.
    Silent,
    /// Had not everything in time.
    Behind,
    /// Caught up, without what went while nobody waited for it.
    Incomplete,
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Follows => "complete",
            Self::Left => "left",
            Self::Evicted => "evicted",
            Self::Silent => "silent",
            Self::Behind => "behind",
            Self::Incomplete => "incomplete",
        }
    }

    /// Whether it had all that it wanted.
    const fn is_served(self) -> bool {
        matches!(self, Self::Follows | Self::Left)
    }
}

impl Audience {
    pub(super) fn note(&mut self, event: &SenderEvent, console: &Console) {
        match *event {
            SenderEvent::ReceiverJoined(receiver, address) => {
                self.add(receiver, address);
                console.note(format_args!("{} listens", address.ip()));
            }
            SenderEvent::ReceiverLeft(receiver) => {
                self.set_unless_incomplete(receiver, State::Left);
                console.note(format_args!("{} has left", self.name(receiver)));
            }
            SenderEvent::ReceiverSilent(receiver) => {
                self.set(receiver, State::Silent, 0);
                console.warn(format_args!("{} has fallen silent", self.name(receiver)));
            }
            SenderEvent::ReceiverEvicted(receiver, missing) => {
                self.set(receiver, State::Evicted, missing);
                console.warn(format_args!(
                    "{} is no longer waited for: it got on too slowly, and was {} behind (--evict-after waits longer)",
                    self.name(receiver),
                    count_of(missing, "datagram")
                ));
            }
            SenderEvent::ReceiverReturned(receiver) => {
                self.set_unless_incomplete(receiver, State::Follows);
                console.note(format_args!("{} has caught up", self.name(receiver)));
            }
            SenderEvent::ReceiverRefused(receiver) => {
                console.warn(format_args!("receiver {receiver} is one too many: nobody waits for it"));
            }
            SenderEvent::Slowed { loss, rate } => console.warn(format_args!(
                "slowed down to {:.1} Mbit/s, since receivers lose {:.1} %",
                rate as f64 * 8.0 / 1e6,
                f64::from(loss) / 1e4
            )),
            SenderEvent::Unrecoverable(receiver, first, end) => {
                let gone = end.saturating_sub(first);
                self.lacks(receiver, gone);
                console.warn(format_args!(
                    "{} lacks {} that are no longer kept (--history keeps more)",
                    self.name(receiver),
                    count_of(gone, "datagram")
                ));
            }
            SenderEvent::Missed(events) => {
                console.detail(format_args!("{} were not told", count_of(events, "event")));
            }
            _ => {}
        }
    }

    /// The stream is closed.
    pub(super) fn close(&mut self, closing: &Closing) {
        for (receiver, missing) in &closing.behind {
            let evicted = self.members.get(receiver).is_some_and(|member| member.state == State::Evicted);
            self.set(*receiver, if evicted { State::Evicted } else { State::Behind }, *missing);
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&ReceiverId, &Member)> {
        self.members.iter()
    }

    /// So many of these.
    pub(super) fn count(&self, state: State) -> usize {
        self.members.values().filter(|member| member.state == state).count()
    }

    pub(super) fn all_have_everything(&self) -> bool {
        !self.forgot_unserved && self.members.values().all(|member| member.state.is_served())
    }

    /// Anybody can make up receivers that come and go, so that not all who went are remembered.
    fn add(&mut self, receiver: ReceiverId, address: SocketAddr) {
        if self.members.len() >= MOST {
            let gone = self.members.iter().find(|(_, member)| member.state != State::Follows);
            if let Some((gone, member)) = gone.map(|(gone, member)| (*gone, *member)) {
                self.forgot_unserved |= !member.state.is_served();
                self.members.remove(&gone);
            }
        }
        self.members.insert(receiver, Member { address, state: State::Follows, missing: 0, gone: 0 });
    }

    /// What went while nobody waited for it does not come again.
    fn lacks(&mut self, receiver: ReceiverId, datagrams: u64) {
        if let Some(member) = self.members.get_mut(&receiver).filter(|member| member.state == State::Evicted)
        {
            member.gone += datagrams;
        }
    }

    fn set_unless_incomplete(&mut self, receiver: ReceiverId, state: State) {
        match self.members.get(&receiver).map_or(0, |member| member.gone) {
            0 => self.set(receiver, state, 0),
            gone => self.set(receiver, State::Incomplete, gone),
        }
    }

    fn set(&mut self, receiver: ReceiverId, state: State, missing: u64) {
        if let Some(member) = self.members.get_mut(&receiver) {
            (member.state, member.missing) = (state, missing);
        }
    }

    fn name(&self, receiver: ReceiverId) -> String {
        match self.members.get(&receiver) {
            Some(member) => member.address.ip().to_string(),
            None => format!("receiver {receiver}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_that_come_and_go_take_no_more_memory_than_there_is() {
        let mut audience = Audience::default();
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        audience.add(ReceiverId(0), address);
        for number in 1..3 * MOST as u64 {
            audience.add(ReceiverId(number), address);
            audience.set(ReceiverId(number), State::Silent, 0);
        }
        assert_eq!(audience.members.len(), MOST);
        assert_eq!(audience.count(State::Follows), 1);
        assert!(!audience.all_have_everything());
        audience.members.clear();
        assert!(!audience.all_have_everything(), "who is forgotten is not served");
    }

    #[test]
    fn who_caught_up_without_what_went_meanwhile_has_not_everything() {
        let (console, address) = (Console::new(true, false), SocketAddr::from(([10, 0, 0, 1], 1)));
        let [whole, short] = [ReceiverId(1), ReceiverId(2)];
        let mut audience = Audience::default();
        for receiver in [whole, short] {
            audience.note(&SenderEvent::ReceiverJoined(receiver, address), &console);
            audience.note(&SenderEvent::ReceiverEvicted(receiver, 70), &console);
        }
        audience.note(&SenderEvent::ReceiverReturned(whole), &console);
        assert_eq!(audience.count(State::Follows), 1);
        audience.note(&SenderEvent::Unrecoverable(short, 5, 12), &console);
        audience.note(&SenderEvent::ReceiverReturned(short), &console);
        audience.note(&SenderEvent::ReceiverLeft(short), &console);
        assert_eq!(audience.count(State::Incomplete), 1);
        assert_eq!(audience.members[&short].missing, 7);
        assert!(!audience.all_have_everything());
    }
}
