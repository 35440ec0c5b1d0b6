//! What a receiver hands out beside messages.

use core::net::SocketAddr;

use crate::wire::{Incarnation, KeyEpoch, StreamId};

/// Why messages could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The sender no longer has them.
    Unrecoverable,
    /// They did not come in time.
    Deadline,
    /// Nothing was asked for, and they did not come.
    NotRepaired,
    /// The sender has started again, and took them with it.
    Restart,
    /// They are longer than allowed here, or their pieces make no message.
    Unreadable,
    /// The application stopped before they came.
    Abandoned,
    /// The stream was closed and its sender is gone before they came.
    SenderGone,
}

impl Cause {
    /// Its name, as the command's JSON and Python say it: `not-repaired`. Names never change.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unrecoverable => "unrecoverable",
            Self::Deadline => "deadline",
            Self::NotRepaired => "not-repaired",
            Self::Restart => "restart",
            Self::Unreadable => "unreadable",
            Self::Abandoned => "abandoned",
            Self::SenderGone => "sender-gone",
        }
    }
}

/// What happened to a stream, between the messages between which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The stream is heard: messages follow from this number on.
    Joined {
        /// The life of its sender.
        incarnation: Incarnation,
        /// Where it sends from.
        sender: SocketAddr,
        /// The number of the first message that can come.
        message: u64,
    },
    /// The messages from `first` to before `end` will not come.
    Lost {
        /// The first.
        first: u64,
        /// Behind the last.
        end: u64,
        /// Why.
        cause: Cause,
    },
    /// An unknown number of messages, from this one on, may be lost: the sender's former incarnation did not end its
    /// stream, and what it published beyond what was heard of it is not known.
    LostUnknown {
        /// The first that may be lost.
        first: u64,
    },
    /// A snapshot is wanted that has all messages before this one, or more. Nothing is handed out until
    /// [`Receiver::resume`](super::Receiver::resume) tells which it has.
    SnapshotWanted {
        /// The first message that can still be had.
        message: u64,
    },
    /// The sender has started again. Its messages are numbered from 0 again.
    Restarted {
        /// Its former life.
        from: Incarnation,
        /// Its present one.
        to: Incarnation,
    },
    /// The stream was closed behind its last message: there were so many.
    Ended {
        /// How many.
        messages: u64,
    },
    /// A gap has held up everything for a while. It begins with this datagram.
    Stalled {
        /// Its number.
        datagram: u64,
        /// So many datagrams that came wait behind it.
        waiting: u64,
    },
    /// Nothing came on this path while something did on another.
    PathSilent(u8),
    /// Something came on it again.
    PathBack(u8),
    /// The sender has said nothing for a while.
    SenderSilent,
    /// It speaks again.
    SenderBack,
    /// The sender no longer waits for this receiver.
    Evicted,
    /// The sender takes no more receivers: it repairs nothing for this one, and does not wait for it.
    Full,
    /// Another sender of the same stream, with a lower incarnation, publishes beside the one that is followed. What it
    /// publishes is not delivered.
    Rival {
        /// The incarnation that is followed.
        followed: Incarnation,
        /// The one that is ignored.
        ignored: Incarnation,
    },
    /// Datagrams are sealed with a secret that is not known here.
    KeyMissing(KeyEpoch),
    /// Datagrams name the epoch of a secret that is known here, and were not sealed with it: the secrets differ, or
    /// somebody forges datagrams.
    KeyWrong(KeyEpoch),
    /// Another stream is heard on the same group. It is not delivered: the first that was heard is followed, until it
    /// is silent. Only where no stream was chosen.
    OtherStream {
        /// The other one.
        stream: StreamId,
        /// Where it comes from.
        sender: SocketAddr,
    },
    /// The stream that was followed is silent or has ended, and another one is followed from now on.
    StreamChanged {
        /// The one that was followed.
        from: StreamId,
        /// The one that is followed now.
        to: StreamId,
    },
    /// A sender was not believed: its clock is too far from this one's, so that what it says may be old.
    Stale,
}

impl Event {
    /// Its name, as the command's JSON and Python say it: `path-silent`. Names never change.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Joined { .. } => "joined",
            Self::Lost { .. } => "lost",
            Self::SnapshotWanted { .. } => "snapshot-wanted",
            Self::Restarted { .. } => "restarted",
            Self::Ended { .. } => "ended",
            Self::Stalled { .. } => "stalled",
            Self::PathSilent(_) => "path-silent",
            Self::PathBack(_) => "path-back",
            Self::SenderSilent => "sender-silent",
            Self::SenderBack => "sender-back",
            Self::Evicted => "evicted",
            Self::LostUnknown { .. } => "lost-unknown",
            Self::Full => "full",
            Self::Rival { .. } => "rival",
            Self::KeyWrong(_) => "key-wrong",
            Self::KeyMissing(_) => "key-missing",
            Self::OtherStream { .. } => "other-stream",
            Self::StreamChanged { .. } => "stream-changed",
            Self::Stale => "stale",
        }
    }
}

/// What a receiver has seen so far. All count datagrams where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverStatistics {
    /// Messages that were handed out.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Messages that were reported as lost.
    pub lost_messages: u64,
    /// How often an unknown number of messages may have been lost.
    pub unknown_losses: u64,
    /// Data that came, copies not counted.
    pub received: u64,
    /// Of those, repairs.
    pub repaired: u64,
    /// Copies, of several paths or repairs for others.
    pub copies: u64,
    /// Data that was missing when something behind it came.
    pub missed: u64,
    /// Data that was given up.
    pub given_up: u64,
    /// Data beyond the window: it comes again later.
    pub beyond: u64,
    /// Data before the receiver had joined, or of a former life.
    pub other: u64,
    /// What is no datagram of the protocol, or of another stream.
    pub foreign: u64,
    /// What could not be read although it was for this stream.
    pub malformed: u64,
    /// What the group did not seal, or a copy of something other than data.
    pub refused: u64,
    /// Naks that were sent.
    pub naks: u64,
    /// Statuses that were sent.
    pub statuses: u64,
    /// The round-trip time to the sender in nanoseconds; before it is known, the group's.
    pub round_trip: u64,
    /// How much later than what was sent behind it something came, of late, in nanoseconds.
    pub reordering: u64,
    /// Datagrams that wait for others.
    pub waiting: u64,
}

/// What came on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStatistics {
    /// Data, copies included.
    pub received: u64,
    /// Data that came here first.
    pub first: u64,
    /// When something last came.
    pub heard: u64,
    /// Whether it is taken as silent.
    pub silent: bool,
}
