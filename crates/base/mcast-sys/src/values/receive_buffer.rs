//! The memory that datagrams are received into.

use std::sync::Arc;

/// One receive buffer, shared with the datagrams that were kept from it.
#[derive(Debug)]
pub struct ReceiveBuffer(Arc<[u8]>);

impl ReceiveBuffer {
    /// Allocates a buffer of this size.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(vec![0; bytes].into())
    }

    /// Returns the whole buffer for writing. If a datagram of its last use is kept, the buffer is
    /// replaced by a fresh one.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.0)
    }

    /// Returns the memory, which stays as it is for as long as another reference to it is kept.
    #[inline]
    #[must_use]
    pub const fn memory(&self) -> &Arc<[u8]> {
        &self.0
    }
}
