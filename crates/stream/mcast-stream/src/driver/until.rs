//! What callers of a publisher wait for.

use crate::wire::MessageNumber;

/// What [`Publish::wait`](crate::Publish::wait) waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// Everything that was published is on the disk, whatever the policy of the log says.
    Stored,
    /// This message, and all before it, are on the disk, whatever the policy of the log says.
    MessageStored(MessageNumber),
    /// Everything that was published was sent once.
    Sent,
    /// All subscribers have everything that was published, and what they read from a history.
    Received,
    /// The applications of all subscribers have read everything. Before the stream has ended, what applications have read is
    /// not known: then it is the same as [`Received`](Self::Received).
    Read,
    /// Every message that was published is acknowledged as [required](crate::PublisherBuilder::acknowledge).
    Acknowledged,
    /// This message is acknowledged as [required](crate::PublisherBuilder::acknowledge).
    MessageAcknowledged(MessageNumber),
}
