//! What a receiver hands out beside messages.

use core::net::SocketAddr;

use crate::wire::{Incarnation, KeyEpoch};

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
    /// Datagrams are sealed with a secret that is not known here.
    KeyMissing(KeyEpoch),
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
            Self::KeyMissing(_) => "key-missing",
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
    /// Messages that were told to be lost.
    pub lost_messages: u64,
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
    /// The group round-trip time that the sender tells, in nanoseconds.
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
