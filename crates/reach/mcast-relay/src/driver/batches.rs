//! Memory for the datagrams that are received at once.

use mcast::Batch;

/// The largest coalesced buffer.
const BUFFER_BYTES: usize = 65_536;
/// Few coalesced buffers fill a processor's cache.
const FEW: usize = 32;
/// Of single datagrams, many at once have several to each group, which are sent on together.
const MANY: usize = 512;
/// Buffers with more bytes than this on average are coalesced ones.
const SINGLE: usize = 4_096;

/// Two batches, of which the next receive uses the one that suits what was received before.
pub(super) struct Batches {
    few: Batch,
    many: Batch,
    uses_many: bool,
}

impl Batches {
    pub(super) fn new() -> Self {
        let [few, many] = [FEW, MANY].map(|buffers| Batch::new(buffers, BUFFER_BYTES));
        Self { few, many, uses_many: false }
    }

    /// Returns the batch for the next receive.
    pub(super) const fn current(&mut self) -> &mut Batch {
        if self.uses_many { &mut self.many } else { &mut self.few }
    }

    /// Empties the batch, after its datagrams were forwarded.
    pub(super) fn finish(&mut self) {
        let batch = self.current();
        let bytes: usize = batch.iter().map(|datagram| datagram.payload().len()).sum();
        let is_full = batch.len() >= batch.capacity();
        batch.clear();
        self.uses_many = match self.uses_many {
            true => bytes <= MANY * SINGLE,
            false => is_full && bytes <= FEW * SINGLE,
        };
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("uses_many", &self.uses_many).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn receive(batches: &mut Batches, datagrams: usize, bytes: usize) -> bool {
        let destination: SocketAddr = "239.1.2.3:7000".parse().unwrap();
        let interface = mcast::InterfaceIndex::new(1).unwrap();
        let arrival = mcast::Arrival::new(destination, interface, "10.0.0.1:7000".parse().unwrap());
        for _ in 0..datagrams {
            batches.current().push(&vec![0; bytes], arrival);
        }
        batches.finish();
        assert!(batches.current().is_empty());
        batches.uses_many
    }

    #[test]
    fn many_buffers_are_used_for_many_single_datagrams_only() {
        let mut batches = Batches::new();
        assert!(!receive(&mut batches, 3, 1_316), "few datagrams");
        assert!(receive(&mut batches, FEW, 1_316));
        assert!(receive(&mut batches, 3, 1_316), "the next flood finds room at once");
        assert!(!receive(&mut batches, MANY, 60_000), "coalesced buffers");
        assert!(!receive(&mut batches, FEW, 60_000));
    }
}
