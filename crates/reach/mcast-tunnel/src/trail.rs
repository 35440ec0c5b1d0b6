//! The way of a datagram through tunnels.

/// What identifies a datagram in tunnels, and the relays that it has passed. A copy of it that comes by another way has the
/// same origin and number. An equal datagram of its sender has another number, so it is not mistaken for a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RelayPath {
    /// The relay at which it entered the tunnels, or that has last changed its group or port.
    pub origin: u64,
    /// Its number there, from 1 on.
    pub number: u64,
    relays: [u64; Self::MAX],
    length: u8,
}

impl RelayPath {
    /// The largest number of relays.
    pub const MAX: usize = 8;

    /// Creates the trail of a datagram that has passed these relays. `None` if they are too many.
    #[must_use]
    pub fn new(origin: u64, number: u64, relays: &[u64]) -> Option<Self> {
        let mut trail = Self { origin, number, ..Self::default() };
        trail.relays.get_mut(..relays.len())?.copy_from_slice(relays);
        trail.length = relays.len() as u8;
        Some(trail)
    }

    /// Returns the relays. A datagram that has not been in a tunnel has none.
    #[must_use]
    pub fn relays(&self) -> &[u64] {
        &self.relays[..usize::from(self.length)]
    }

    /// Returns the trail after this relay; `None` if it would be too long.
    #[must_use]
    pub fn after(mut self, relay: u64) -> Option<Self> {
        *self.relays.get_mut(usize::from(self.length))? = relay;
        self.length += 1;
        Some(self)
    }
}
