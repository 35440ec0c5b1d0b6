//! The tunnels that datagrams were in, numbered, so that the key of a stream stays short.

use std::collections::HashMap;
use std::num::NonZeroU16;

use mcast_packet::Tunnel;

/// Numbers tunnels. Their number is bounded, because tunnels can be forged: those beyond share the last number.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    known: Vec<Tunnel>,
    numbers: HashMap<Tunnel, NonZeroU16>,
}

impl Tunnels {
    const MAX: usize = 4_096;

    pub(crate) fn number(&mut self, tunnel: Tunnel) -> Option<NonZeroU16> {
        if let Some(number) = self.numbers.get(&tunnel) {
            return Some(*number);
        }
        if self.known.len() < Self::MAX {
            self.known.push(tunnel);
        }
        let number = u16::try_from(self.known.len()).ok().and_then(NonZeroU16::new)?;
        if self.numbers.len() < Self::MAX {
            self.numbers.insert(tunnel, number);
        }
        Some(number)
    }

    pub(crate) fn get(&self, number: NonZeroU16) -> Option<Tunnel> {
        self.known.get(usize::from(number.get()) - 1).copied()
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use mcast_packet::{EncapsulationId, EncapsulationProtocol};

    use super::*;

    #[test]
    fn tunnels_keep_their_numbers_and_are_bounded() {
        let tunnel = |id| Tunnel {
            encapsulation: EncapsulationId { protocol: EncapsulationProtocol::Vxlan, id: Some(id) },
            ends: None,
            outer: 0,
        };
        let mut tunnels = Tunnels::default();
        let first = tunnels.number(tunnel(7)).unwrap();
        for id in 0..10_000 {
            tunnels.number(tunnel(id));
        }
        assert_eq!((tunnels.number(tunnel(7)), tunnels.get(first)), (Some(first), Some(tunnel(7))));
        assert_eq!((tunnels.known.len(), tunnels.numbers.len()), (Tunnels::MAX, Tunnels::MAX));
        assert_eq!(tunnels.number(tunnel(9_998)), tunnels.number(tunnel(9_999)), "those beyond are one");
    }
}
