//! What a subscriber delivers: messages, which are borrowed, and events with losses and counters.

#[cfg(feature = "reports")]
use alloc::format;
#[cfg(feature = "reports")]
use alloc::string::{String, ToString};
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

#[cfg(feature = "reports")]
use mcast_metrics::{count_of, seconds};

use crate::ClockTime;
use crate::wire::{Incarnation, KeyEpoch, MessageKey, MessageNumber, Position, Sequence, SignerId, StreamId};

/// Declares kinds of something, each with its name.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $type:ident {
            $($(#[$doc:meta])* $kind:ident => $name:literal,)*
        }
        $(#[$of_name:meta])*
        fn name;
    ) => {
        $(#[$meta])*
        pub enum $type {
            $($(#[$doc])* $kind,)*
        }

        impl $type {
            /// All names.
            pub const NAMES: &[&str] = &[$($name),*];

            $(#[$of_name])*
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
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
    },
    /// The messages from `first` to before `end` are lost.
    Lost {
        /// The first lost message.
        first: MessageNumber,
        /// One past the last lost message.
        end: MessageNumber,
        /// Why.
        cause: Cause,
    },
    /// An unknown number of messages, from this one on, may be lost: the publisher's former incarnation did not end its
    /// stream, and it is not known how much it published after its last datagram that arrived.
    LostUnknown {
        /// The first message that may be lost.
        first: MessageNumber,
    },
    /// A snapshot is needed that covers all messages before this one, or more. Nothing is delivered until
    /// [`SubscriberMachine::resume`](super::SubscriberMachine::resume) is called with the number of messages that it
    /// covers.
    SnapshotWanted {
        /// The first message that can still be delivered.
        message: MessageNumber,
    },
    /// The publisher has restarted. Its messages are numbered from 0 again.
    Restarted {
        /// Its former incarnation.
        from: Incarnation,
        /// Its present incarnation.
        to: Incarnation,
    },
    /// Another publisher continues the stream for the one that was followed, because it reads the same messages from an
    /// engine. Their numbers continue.
    Continued {
        /// The incarnation of the former publisher.
        from: Incarnation,
        /// The incarnation of the present one.
        to: Incarnation,
        /// The address that it sends from.
        publisher: SocketAddr,
    },
    /// The stream was closed, and everything was delivered or reported as lost.
    Ended {
        /// The number of messages in the stream.
        messages: u64,
    },
    /// A gap has delayed delivery for longer than [`stalled_after`](super::SubscriberConfig::stalled_after).
    Stalled {
        /// The first missing datagram.
        datagram: Sequence,
        /// The number of datagrams that have arrived and wait for it.
        waiting: u64,
    },
    /// Nothing arrives on this path while another path is active.
    PathSilent(u8),
    /// The path is active again.
    PathBack(u8),
    /// The publisher has been silent for [`publisher_silence`](super::SubscriberConfig::publisher_silence).
    PublisherSilent,
    /// Datagrams of the publisher arrive again.
    PublisherBack,
    /// The subscriber found itself in a state that cannot happen, which is a bug: please report this text. It is reported for
    /// the first time, the second, the fourth, and so on. What it could not deliver counts as an internal error, not as lost.
    InternalError(&'static str),
    /// The publisher has evicted this subscriber: flow control no longer waits for it.
    Evicted,
    /// The publisher accepts no more subscribers. It repairs nothing for this one and does not wait for it.
    Full,
    /// Another publisher of the same stream, with a lower incarnation, publishes at the same time as the one that is
    /// followed. Its messages are not delivered.
    SecondPublisher {
        /// The incarnation that is followed.
        followed: Incarnation,
        /// The one that is ignored.
        ignored: Incarnation,
    },
    /// Datagrams are sealed with a secret that this subscriber does not have.
    KeyMissing(KeyEpoch),
    /// Datagrams name the epoch of a secret that this subscriber has, but were not sealed with it: the secrets differ,
    /// or the datagrams are forged.
    KeyWrong(KeyEpoch),
    /// The stream is signed, and this subscriber verifies nothing, because it was given no public key. Reported once.
    Signed,
    /// Datagrams were refused because no key that this subscriber trusts has signed them. Each reason is reported once.
    NotVerified(VerificationFailure),
    /// Datagrams of data were discarded because they are not what the publisher has signed: another member of the group
    /// has forged them. Reported at most once per second.
    Forged {
        /// The number of datagrams since the last report.
        datagrams: u64,
    },
    /// There is another stream on the same group. It is not delivered: the subscriber follows the first stream that it
    /// received, until that one is silent. Reported only if no stream was chosen.
    OtherStream {
        /// The other one.
        stream: StreamId,
        /// The address that it is sent from.
        publisher: SocketAddr,
    },
    /// The followed stream is silent or has ended, and the subscriber follows another one from now on.
    StreamChanged {
        /// The stream that was followed.
        from: StreamId,
        /// The stream that is followed now.
        to: StreamId,
    },
    /// Messages of a history server are wanted, which serves others first. Reported once, until it has sent some.
    HistoryQueued {
        /// The server.
        server: SocketAddr,
        /// The time after which the server expects this subscriber back;
        /// [`LONGEST_EXPECTED`](crate::history::LONGEST_EXPECTED) stands for longer times, too.
        expected: Duration,
    },
    /// No history server has answered for [`timeout`](crate::history::HistoryConfig::timeout). Messages are still awaited that only a
    /// history has, from this one on if its number is known. Reported once, until a server answers.
    HistoryWaiting {
        /// The first message that is wanted.
        first: Option<MessageNumber>,
    },
    /// No history server could be used. Messages that only a history has are reported as lost, from this one on if its
    /// number is known.
    HistoryFailed {
        /// The first message that was wanted.
        first: Option<MessageNumber>,
    },
    /// A publisher was ignored because its clock is too far from this subscriber's clock: its datagrams may be
    /// replayed.
    Stale,
}

#[cfg(feature = "reports")]
mcast_metrics::event_reports! {
    pub impl SubscriberEvent for rereads_keys: bool {
        /// Messages follow, from this number on.
        &Self::Joined { incarnation, publisher, message } =>
            is Note "joined" { incarnation: incarnation.0, publisher: publisher, sequence: message.0 }:
            format!("subscribed to {}, starting with message {sequence}", publisher.ip()),
        /// Messages are lost, from the first to before the end.
        &Self::Lost { first, end, cause: kind } =>
            is Problem "lost" { sequence: first.0, count: end.ahead_of(first), cause: kind.name() }:
            format!("lost {}, starting with {sequence}: {}", count_of(count, "message"), why(kind)),
        /// An unknown number of messages, from this one on, may be lost: the publisher's former incarnation did not end its stream.
        &Self::LostUnknown { first } => is Problem "lost-unknown" { sequence: first.0 }: format!(
            "an unknown number of messages may be lost, starting with {sequence}: the publisher was gone before it \
             reported how many there are"
        ),
        /// A snapshot is needed that includes all messages before this one.
        &Self::SnapshotWanted { message } => is Detail "snapshot-wanted" { sequence: message.0 }:
            format!("requesting a snapshot up to message {sequence}"),
        /// The publisher has restarted as this incarnation, and numbers messages from 0 again.
        &Self::Restarted { to, .. } => is Note "restarted" { incarnation: to.0 }: "the publisher has restarted",
        /// Another publisher, with this incarnation, continues the stream for the former one.
        &Self::Continued { to, publisher, .. } =>
            is Note "continued" { incarnation: to.0, publisher: publisher }:
            format!("{} continues the stream", publisher.ip()),
        /// The stream has ended after this number of messages.
        &Self::Ended { messages } => is Note "ended" { count: messages }:
            format!("the stream has ended after {}", count_of(count, "message")),
        /// Delivery waits for a gap.
        &Self::Stalled { waiting, .. } => is Note "stalled" { count: waiting }:
            format!("waiting for a repair; {} are buffered behind it", count_of(count, "datagram")),
        /// Nothing arrives on this path, while another one is active.
        &Self::PathSilent(path) => is Problem "path-silent" { path: path }: format!("path {} is silent", path + 1),
        /// The path is active again.
        &Self::PathBack(path) => is Note "path-back" { path: path }: format!("path {} is back", path + 1),
        /// The publisher has gone silent.
        Self::PublisherSilent => is Problem "publisher-silent" {}: "the publisher has gone silent",
        /// Datagrams of the publisher arrive again.
        Self::PublisherBack => is Note "publisher-back" {}: "the publisher is back",
        /// A bug: please report it.
        Self::InternalError(what) => is Problem "internal-error" {}:
            format!("a bug in this program: {what}; please report it"),
        /// This subscriber was too slow for the publisher.
        Self::Evicted => is Problem "evicted" {}:
            "evicted by the publisher: too slow, or the group no longer arrives here (`mcast doctor` finds out)",
        /// The publisher accepts no more subscribers.
        Self::Full => is Problem "full" {}:
            "the publisher has too many subscribers: it repairs nothing for this one and does not wait for it",
        /// Another publisher of the stream, with this incarnation, is ignored.
        &Self::SecondPublisher { followed, ignored } => is Problem "rival" { incarnation: ignored.0 }: format!(
            "another publisher of this stream, incarnation {incarnation}, is ignored beside incarnation {followed}: its clock \
             was set back (see publish --state), or two publish under one name"
        ),
        /// Datagrams are sealed with the key of this epoch, which is missing.
        &Self::KeyMissing(epoch) => is Problem "key-missing" { epoch: epoch.0 }: format!(
            "sealed with the secret of epoch {epoch}, which is missing here: {}",
            match rereads_keys {
                true => "add it to the file of --key, and send SIGHUP to this process",
                false => "start the command again with --key FILE",
            }
        ),
        /// Datagrams name the key of this epoch, but were not sealed with it.
        &Self::KeyWrong(epoch) => is Problem "key-wrong" { epoch: epoch.0 }: format!(
            "not sealed with the secret of epoch {epoch} that is known here: the key files differ, or the datagrams are forged"
        ),
        /// The stream is signed, which is not verified.
        Self::Signed => is Note "signed" {}: "the stream is signed, which is not verified: see --signed-by",
        /// Datagrams are ignored that no trusted key has signed.
        &Self::NotVerified(failure) => is Problem "not-verified" {
            reason: failure.name(),
            signer: failure.signer().map(|signer| signer.to_string()),
        }: why_not_verified(failure),
        /// Datagrams were discarded that the publisher did not sign.
        &Self::Forged { datagrams } => is Problem "forged" { count: datagrams }: format!(
            "discarded {}, which the publisher did not sign: a member of the group forges its stream",
            count_of(count, "datagram")
        ),
        /// Another stream on the group is ignored.
        &Self::OtherStream { stream, publisher } =>
            is Problem "other-stream" { publisher: publisher, stream: stream.to_string() }: format!(
                "ignoring stream {stream} of {}, which is published here, too: select a stream with --name or by its announced \
                 name",
                publisher.ip()
            ),
        /// The followed stream is silent or has ended, and another one is followed.
        &Self::StreamChanged { from, to } => is Problem "stream-changed" { stream: to.to_string() }:
            format!("stream {from} is silent or has ended: following stream {stream} from now on"),
        /// The subscriber waits for a history server, which serves others first.
        &Self::HistoryQueued { server, expected } =>
            is Note "history-queued" { server: server, expected_seconds: expected }: format!(
                "the history server {server} serves others first; asking it again in {}{}",
                seconds(expected),
                // As `LONGEST_EXPECTED` of the histories, which are an option.
                if expected < Duration::from_secs(60) { "" } else { " or more" }
            ),
        /// No history server answers; what only a history has is still awaited.
        &Self::HistoryWaiting { first } => is Problem "history-waiting" { sequence: first.map(|first| first.0) }:
            "no history server answers; still waiting for messages that the publisher no longer retains",
        /// No history server can be used; what only a history has is lost.
        &Self::HistoryFailed { first } => is Problem "history-failed" { sequence: first.map(|first| first.0) }:
            "no history could be read, so that messages that the publisher no longer retains are lost",
        /// A publisher is ignored whose clock is off by minutes.
        Self::Stale => is Problem "stale" {}:
            "ignoring a publisher whose clock differs from this machine's by more than 2 minutes (possible replay): set both clocks",
    }
}

/// Returns why messages are lost, in words.
#[cfg(feature = "reports")]
const fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Unrecoverable => {
            "they have left the publisher's retransmission buffer (its --history enlarges it)"
        }
        Cause::Deadline => "they were not repaired in time",
        Cause::NotRepaired => "no repair was requested",
        Cause::Restart => "the publisher was restarted and no longer has them",
        Cause::Unreadable => {
            "they cannot be read: they are too long or damaged, or the log that has them no longer has their secret"
        }
        Cause::Abandoned => "they were not delivered before this subscriber ended",
        Cause::PublisherGone => "the publisher is gone",
        Cause::NotInHistory => "the publisher no longer retains them, and no history has them",
        Cause::HistoryUnreachable => {
            "the publisher no longer retains them, and no history server could be reached that might have them"
        }
    }
}

/// Returns why datagrams are ignored that should be signed, in words.
#[cfg(feature = "reports")]
fn why_not_verified(failure: VerificationFailure) -> String {
    match failure {
        VerificationFailure::Unsigned => {
            "ignoring datagrams that no trusted key has signed: check that the publisher signs (--sign), and with the key that \
             --signed-by names"
                .into()
        }
        VerificationFailure::UnknownKey(id) => format!(
            "ignoring datagrams of a key that is not trusted (id {id}): add its public key to the file of --signed-by, \
             and send SIGHUP to this process, if it is the publisher's"
        ),
        VerificationFailure::WrongSignature(id) => {
            format!("ignoring datagrams whose signature is wrong (key id {id}): they are forged")
        }
    }
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
    /// All names.
    pub const NAMES: &[&str] = &["unsigned", "unknown-key", "wrong-signature"];

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
