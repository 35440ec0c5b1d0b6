//! Who listens, and what becomes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast_stream::Closing;
use mcast_stream::sender::SenderEvent;
use mcast_stream::wire::ReceiverId;

use crate::console::Console;
use crate::output::count_of;

/// Everybody who ever listened.
#[derive(Debug, Default)]
pub(super) struct Audience {
    members: BTreeMap<ReceiverId, Member>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    pub(super) state: State,
    /// Datagrams that it has not, as far as is known.
    pub(super) missing: u64,
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
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Follows => "complete",
            Self::Left => "left",
            Self::Evicted => "evicted",
            Self::Silent => "silent",
            Self::Behind => "behind",
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
                self.members.insert(receiver, Member { address, state: State::Follows, missing: 0 });
                console.note(format_args!("{} listens", address.ip()));
            }
            SenderEvent::ReceiverLeft(receiver) => {
                self.set(receiver, State::Left, 0);
                console.note(format_args!("{} has left", self.name(receiver)));
            }
            SenderEvent::ReceiverSilent(receiver) => {
                self.set(receiver, State::Silent, 0);
                console.warn(format_args!("{} has fallen silent", self.name(receiver)));
            }
            SenderEvent::ReceiverEvicted(receiver, missing) => {
                self.set(receiver, State::Evicted, missing);
                console.warn(format_args!(
                    "{} is no longer waited for: it got on too slowly, and was {} behind",
                    self.name(receiver),
                    count_of(missing, "datagram")
                ));
            }
            SenderEvent::ReceiverReturned(receiver) => {
                self.set(receiver, State::Follows, 0);
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
            SenderEvent::Unrecoverable(receiver, first, end) => console.warn(format_args!(
                "{} asked for {} that are no longer kept (--history keeps more)",
                self.name(receiver),
                count_of(end.saturating_sub(first), "datagram")
            )),
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
        self.members.values().all(|member| member.state.is_served())
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
