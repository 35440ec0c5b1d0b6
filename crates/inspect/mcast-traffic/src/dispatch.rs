//! Passes datagrams to the system, and counts those that it accepts and refuses.

use mcast::{Error, ErrorKind, Outgoing, Sender};

/// Counts of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DispatchCounts {
    /// Datagrams that the system accepted.
    pub sent: u64,
    /// The bytes of their payload.
    pub bytes: u64,
    /// Datagrams that the system refused.
    pub refused: u64,
}

/// Sends datagrams, and continues after errors of single ones.
#[derive(Debug)]
pub struct Dispatch<'a> {
    sender: &'a Sender,
    counts: DispatchCounts,
    /// The kinds of errors reported so far.
    reported: Vec<ErrorKind>,
}

impl<'a> Dispatch<'a> {
    /// Creates a dispatch with this sender.
    #[must_use]
    pub fn new(sender: &'a Sender) -> Self {
        Self { sender, counts: DispatchCounts::default(), reported: Vec::new() }
    }

    /// Sends all of these datagrams. A refused one is counted, and passed to `on_refusal` if it is the first with an
    /// error of this kind: interfaces may come back, and queues become free.
    ///
    /// # Errors
    /// If the system refuses the first datagram of all, unless its queue is full.
    pub fn send(
        &mut self,
        outgoing: &[Outgoing<'_>],
        mut on_refusal: impl FnMut(&Error),
    ) -> mcast::Result<()> {
        let mut rest = outgoing;
        while !rest.is_empty() {
            match self.sender.send_batch(rest) {
                Ok(count) => {
                    let (sent, left) = rest.split_at(count);
                    self.counts.sent += sent.len() as u64;
                    self.counts.bytes += sent.iter().map(|each| each.payload().len() as u64).sum::<u64>();
                    rest = left;
                }
                Err(error) if self.counts.sent == 0 && error.kind() != ErrorKind::QueueFull => {
                    return Err(error);
                }
                Err(error) => {
                    self.counts.refused += 1;
                    if !self.reported.contains(&error.kind()) {
                        self.reported.push(error.kind());
                        on_refusal(&error);
                    }
                    rest = &rest[1..];
                }
            }
        }
        Ok(())
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> DispatchCounts {
        self.counts
    }
}
