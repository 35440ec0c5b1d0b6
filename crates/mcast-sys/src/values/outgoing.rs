//! What a batched send asks of the datagrams it is given.

/// A datagram in a batch to send.
pub trait OutgoingDatagram {
    /// Returns the payload.
    fn payload(&self) -> &[u8];

    /// Returns whether both have the same destination and settings, so that one buffer may hold
    /// them (GSO).
    fn shares_settings(&self, other: &Self) -> bool;
}
