//! What a subscriber delivers: messages, which are borrowed, and events with losses and counters.

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use crate::ClockTime;
use crate::wire::{Incarnation, KeyEpoch, MessageKey, MessageNumber, Position, Sequence, SignerId, StreamId};

/// Declares kinds of something, each with its name.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $type:ident {
            $($(#[$doc:meta])* $kind:ident $(($($tuple:tt)*))? $({ $($field:tt)* })? => $name:literal,)*
        }
        $(#[$of_name:meta])*
        fn name;
    ) => {
        $(#[$meta])*
        pub enum $type {
            $($(#[$doc])* $kind $(($($tuple)*))? $({ $($field)* })?,)*
        }

        impl $type {
            $(#[$of_name])*
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $name,)*
                }
            }
        }
    };
}

named! {
    /// Why messages were lost.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Cause {
        /// The publisher no longer retains them.
        Unrecoverable => "unrecoverable",
        /// They did not arrive before the deadline.
        Deadline => "deadline",
        /// They did not arrive, and this subscriber requests no repairs.
        NotRepaired => "not-repaired",
        /// The publisher has restarted and no longer has them.
        Restart => "restart",
        /// They are longer than this subscriber allows, or their fragments do not form a message.
        Unreadable => "unreadable",
        /// The application stopped before they arrived.
        Abandoned => "abandoned",
        /// The publisher closed the stream and was gone before they arrived.
        PublisherGone => "publisher-gone",
        /// The publisher no longer retains them, and the history does not have them either.
        NotInHistory => "not-in-history",
        /// The publisher no longer retains them, and no history server could be reached that might have them.
        HistoryUnreachable => "history-unreachable",
    }
    /// Returns its name, for instance `not-repaired`, as in the command's JSON and in Python. Names never change.
    fn name;
}

named! {
    /// Something that happened to a stream, reported between the messages before and after it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum SubscriberEvent {
        /// The subscriber has joined the stream. Messages follow from this number on.
        Joined {
            /// The publisher's incarnation.
            incarnation: Incarnation,
            /// The address that it sends from.
            publisher: SocketAddr,
            /// The number of the first message that can arrive.
            message: MessageNumber,
        } => "joined",
        /// The messages from `first` to before `end` are lost.
        Lost {
            /// The first lost message.
            first: MessageNumber,
            /// One past the last lost message.
            end: MessageNumber,
            /// Why.
            cause: Cause,
        } => "lost",
        /// An unknown number of messages, from this one on, may be lost: the publisher's former incarnation did not end its
        /// stream, and it is not known how much it published after its last datagram that arrived.
        LostUnknown {
            /// The first message that may be lost.
            first: MessageNumber,
        } => "lost-unknown",
        /// A snapshot is needed that covers all messages before this one, or more. Nothing is delivered until
        /// [`SubscriberMachine::resume`](super::SubscriberMachine::resume) is called with the number of messages that it
        /// covers.
        SnapshotWanted {
            /// The first message that can still be delivered.
            message: MessageNumber,
        } => "snapshot-wanted",
        /// The publisher has restarted. Its messages are numbered from 0 again.
        Restarted {
            /// Its former incarnation.
            from: Incarnation,
            /// Its present incarnation.
            to: Incarnation,
        } => "restarted",
        /// Another publisher continues the stream for the one that was followed, because it reads the same messages from an
        /// engine. Their numbers continue.
        Continued {
            /// The incarnation of the former publisher.
            from: Incarnation,
            /// The incarnation of the present one.
            to: Incarnation,
            /// The address that it sends from.
            publisher: SocketAddr,
        } => "continued",
        /// The stream was closed, and everything was delivered or reported as lost.
        Ended {
            /// The number of messages in the stream.
            messages: u64,
        } => "ended",
        /// A gap has delayed delivery for longer than [`stalled_after`](super::SubscriberConfig::stalled_after).
        Stalled {
            /// The first missing datagram.
            datagram: Sequence,
            /// The number of datagrams that have arrived and wait for it.
            waiting: u64,
        } => "stalled",
        /// Nothing arrives on this path while another path is active.
        PathSilent(u8) => "path-silent",
        /// The path is active again.
        PathBack(u8) => "path-back",
        /// The publisher has been silent for [`publisher_silence`](super::SubscriberConfig::publisher_silence).
        PublisherSilent => "publisher-silent",
        /// Datagrams of the publisher arrive again.
        PublisherBack => "publisher-back",
        /// The subscriber found itself in a state that cannot happen, which is a bug: please report this text. It is reported for
        /// the first time, the second, the fourth, and so on. What it could not deliver counts as an internal error, not as lost.
        InternalError(&'static str) => "internal-error",
        /// The publisher has evicted this subscriber: flow control no longer waits for it.
        Evicted => "evicted",
        /// The publisher accepts no more subscribers. It repairs nothing for this one and does not wait for it.
        Full => "full",
        /// Another publisher of the same stream, with a lower incarnation, publishes at the same time as the one that is
        /// followed. Its messages are not delivered.
        SecondPublisher {
            /// The incarnation that is followed.
            followed: Incarnation,
            /// The one that is ignored.
            ignored: Incarnation,
        } => "rival",
        /// Datagrams are sealed with a secret that this subscriber does not have.
        KeyMissing(KeyEpoch) => "key-missing",
        /// Datagrams name the epoch of a secret that this subscriber has, but were not sealed with it: the secrets differ,
        /// or the datagrams are forged.
        KeyWrong(KeyEpoch) => "key-wrong",
        /// The stream is signed, and this subscriber verifies nothing, because it was given no public key. Reported once.
        Signed => "signed",
        /// Datagrams were refused because no key that this subscriber trusts has signed them. Each reason is reported once.
        NotVerified(VerificationFailure) => "not-verified",
        /// Datagrams of data were discarded because they are not what the publisher has signed: another member of the group
        /// has forged them. Reported at most once per second.
        Forged {
            /// The number of datagrams since the last report.
            datagrams: u64,
        } => "forged",
        /// There is another stream on the same group. It is not delivered: the subscriber follows the first stream that it
        /// received, until that one is silent. Reported only if no stream was chosen.
        OtherStream {
            /// The other one.
            stream: StreamId,
            /// The address that it is sent from.
            publisher: SocketAddr,
        } => "other-stream",
        /// The followed stream is silent or has ended, and the subscriber follows another one from now on.
        StreamChanged {
            /// The stream that was followed.
            from: StreamId,
            /// The stream that is followed now.
            to: StreamId,
        } => "stream-changed",
        /// Messages of a history server are wanted, which serves others first. Reported once, until it has sent some.
        HistoryQueued {
            /// The server.
            server: SocketAddr,
            /// The time after which the server expects this subscriber back;
            /// [`LONGEST_EXPECTED`](crate::history::LONGEST_EXPECTED) stands for longer times, too.
            expected: Duration,
        } => "history-queued",
        /// No history server has answered for [`timeout`](crate::history::HistoryConfig::timeout). Messages are still awaited that only a
        /// history has, from this one on if its number is known. Reported once, until a server answers.
        HistoryWaiting {
            /// The first message that is wanted.
            first: Option<MessageNumber>,
        } => "history-waiting",
        /// No history server could be used. Messages that only a history has are reported as lost, from this one on if its
        /// number is known.
        HistoryFailed {
            /// The first message that was wanted.
            first: Option<MessageNumber>,
        } => "history-failed",
        /// A publisher was ignored because its clock is too far from this subscriber's clock: its datagrams may be
        /// replayed.
        Stale => "stale",
    }
    /// Returns its name, for instance `path-silent`, as in the command's JSON and in Python. Names never change.
    fn name;
}

/// Why a datagram was refused that should be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerificationFailure {
    /// It is not signed.
    Unsigned,
    /// It names a key that is not trusted.
    UnknownKey(SignerId),
    /// It names a key that is trusted, which has not signed it.
    WrongSignature(SignerId),
}

impl VerificationFailure {
    /// Returns its name, for instance `unsigned`. Names never change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::UnknownKey(_) => "unknown-key",
            Self::WrongSignature(_) => "wrong-signature",
        }
    }

    /// Returns the id of the key that the datagram names.
    #[must_use]
    pub const fn signer(self) -> Option<SignerId> {
        match self {
            Self::Unsigned => None,
            Self::UnknownKey(id) | Self::WrongSignature(id) => Some(id),
        }
    }
}

mcast_metrics::figures! {
    /// The counters of a subscriber. They count datagrams unless noted otherwise.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct SubscriberStatistics {
        /// Messages that were delivered.
        count messages: u64,
        /// Bytes of the messages that were delivered.
        count message_bytes: u64,
        /// Messages that were reported as lost.
        count lost_messages: u64,
        /// How often an unknown number of messages may have been lost.
        count unknown_losses: u64,
        /// Data datagrams that were received, without duplicates.
        count received: u64,
        /// Data datagrams that were received as repairs.
        count repaired: u64,
        /// Repairs that were received from another subscriber.
        count repaired_locally: u64,
        /// Data datagrams that were recovered from parity.
        count recovered: u64,
        /// Parity datagrams that were received.
        count parity: u64,
        /// Duplicates: from other paths, or repairs for other subscribers.
        count copies: u64,
        /// Data datagrams that were missing when a later one was known to have been sent.
        count missed: u64,
        /// Data datagrams that were given up.
        count given_up: u64,
        /// Data datagrams beyond the window, which are repaired later.
        count beyond: u64,
        /// Datagrams of an incarnation that is not followed, for instance from before the subscriber joined.
        count other: u64,
        /// Datagrams of another protocol or of another stream.
        count foreign: u64,
        /// Datagrams of this stream that could not be decoded.
        count malformed: u64,
        /// Datagrams that the group did not seal, or sealed with a key that does not fit.
        count refused: u64,
        /// Data datagrams whose signed digest matched.
        count verified: u64,
        /// Data datagrams that were discarded because their signed digest did not match.
        count forged: u64,
        /// Datagrams that were refused because no trusted key has signed them.
        count not_verified: u64,
        /// NAKs that were sent.
        count naks: u64,
        /// NAKs that were sent to another subscriber.
        count naks_to_repairers: u64,
        /// Data datagrams that another subscriber sent and that were not requested from it.
        count unrequested: u64,
        /// NAKs of other subscribers that were answered.
        count local_naks: u64,
        /// Repairs that were sent to other subscribers.
        count local_repairs: u64,
        /// Bytes of the repairs that were sent to other subscribers.
        count local_repair_bytes: u64,
        /// Repairs for other subscribers that were refused because of a limit, and requests that were not valid.
        count local_refused: u64,
        /// Statuses that were sent.
        count statuses: u64,
        /// Datagrams to the publisher and other subscribers that the socket did not accept, or that would have used up its send
        /// buffer. They count as lost on the network.
        count not_sent: u64,
        /// How often the subscriber found itself in a state that cannot happen.
        count internal_errors: u64,
        /// The round-trip time to the publisher; the group's until it is measured.
        time round_trip: Duration,
        /// How late datagrams that were out of order have recently arrived.
        time reordering: Duration,
        /// Datagrams in the window that wait for missing ones.
        level waiting: u64,
        /// Data datagrams that wait for the manifest that signs them.
        level unverified: u64,
        /// Messages that came from a history.
        count from_history: u64,
        /// Requests after which a history server sent the subscriber away, because others were served first.
        count postponed: u64,
    }
}

impl SubscriberStatistics {
    /// Returns how many datagrams have arrived from the publisher: what was recovered did not, and its symbols did.
    pub(super) const fn arrived(&self) -> u64 {
        (self.received + self.parity).saturating_sub(self.recovered + self.repaired_locally)
    }
}

/// The counters of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStatistics {
    /// Data datagrams, duplicates included.
    pub received: u64,
    /// Data datagrams that arrived on this path first.
    pub first: u64,
    /// When a datagram last arrived on it, by the subscriber's clock.
    pub heard: ClockTime,
    /// Whether it counts as silent.
    pub silent: bool,
}

/// A message, borrowed from the subscriber or from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The incarnation of its publisher; if that reads its messages from an engine, the incarnation that they have there.
    pub incarnation: Incarnation,
    /// Its number. The first message of an incarnation is 0, and there are no gaps, unless the messages come out of an
    /// engine: then their numbers are those that they have there.
    pub number: MessageNumber,
    /// Its key, if it was published with one.
    pub key: Option<MessageKey>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Message<'_> {
    /// Returns its position in the stream.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position::new(self.incarnation, self.number)
    }
}

/// A message or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A message.
    Message(Message<'a>),
    /// An event that happened between messages.
    Event(SubscriberEvent),
}

/// The next item without its bytes, which [`SubscriberMachine::item`](super::SubscriberMachine::item) returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(pub(super) StepKind);

impl Step {
    /// Returns a step for an event that the driver reports itself.
    #[must_use]
    pub const fn of_event(event: SubscriberEvent) -> Self {
        Self(StepKind::Event(event))
    }

    /// Returns a step for a message of a [`HistoryMachine`](crate::history::HistoryMachine), which has its bytes.
    pub(crate) const fn of_history() -> Self {
        Self(StepKind::History)
    }

    /// Whether it is a message of a [`HistoryMachine`](crate::history::HistoryMachine).
    #[must_use]
    #[inline]
    pub const fn is_of_history(&self) -> bool {
        matches!(self.0, StepKind::History)
    }

    /// Returns the event, if it is one.
    #[must_use]
    #[inline]
    pub const fn event(&self) -> Option<SubscriberEvent> {
        match self.0 {
            StepKind::Event(event) => Some(event),
            StepKind::Message { .. } | StepKind::History => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    Message {
        number: MessageNumber,
        keyed: bool,
        location: BodyLocation,
        range: Range<usize>,
    },
    Event(SubscriberEvent),
    /// A message of a history, which is not in the subscriber.
    History,
}

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLocation {
    /// In the datagram that was handled last, which the caller owns.
    Datagram,
    /// In the buffer with the decrypted copy of that datagram.
    Decrypted,
    /// In the window, at this sequence.
    Window(Sequence),
    /// In the buffer of reassembled fragments.
    Assembly,
}
