//! Datagrams that arrive in fragments.

use std::net::IpAddr;
use std::ops::Range;
use std::time::SystemTime;

use mcast::InterfaceIndex;
use mcast_packet::Fragment;

/// The captured fragments of one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FragmentedDatagram {
    pub(crate) interface: InterfaceIndex,
    pub(crate) outgoing: bool,
    pub(crate) source: IpAddr,
    pub(crate) group: IpAddr,
    pub(crate) identification: u32,
    pub(crate) last: SystemTime,
    /// The destination port, which only the first fragment carries.
    pub(crate) port: Option<u16>,
    parts: Vec<Range<usize>>,
    length: Option<usize>,
}

impl FragmentedDatagram {
    pub(crate) fn new(
        interface: InterfaceIndex,
        outgoing: bool,
        addresses: (IpAddr, IpAddr),
        identification: u32,
        time: SystemTime,
    ) -> Self {
        let (source, group) = addresses;
        let parts = Vec::new();
        Self {
            interface,
            outgoing,
            source,
            group,
            identification,
            last: time,
            port: None,
            parts,
            length: None,
        }
    }

    pub(crate) fn add(&mut self, fragment: Fragment, length: usize, time: SystemTime) {
        let end = fragment.offset + length;
        self.parts.push(fragment.offset..end);
        self.last = self.last.max(time);
        if !fragment.more {
            self.length = Some(end);
        }
    }

    /// Returns whether all fragments were captured.
    pub(crate) fn is_complete(&self) -> bool {
        let mut parts = self.parts.clone();
        parts.sort_by_key(|part| part.start);
        let reached = parts
            .iter()
            .try_fold(0, |reached: usize, part| (part.start <= reached).then_some(reached.max(part.end)));
        reached.is_some() && reached == self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragmented(parts: &[(usize, usize, bool)]) -> FragmentedDatagram {
        let addresses = ("10.0.0.1".parse().unwrap(), "239.1.2.3".parse().unwrap());
        let mut datagram = FragmentedDatagram::new(
            InterfaceIndex::new(2).unwrap(),
            false,
            addresses,
            7,
            SystemTime::UNIX_EPOCH,
        );
        for (offset, length, more) in parts {
            let fragment = Fragment { identification: 7, offset: *offset, more: *more };
            datagram.add(fragment, *length, SystemTime::UNIX_EPOCH);
        }
        datagram
    }

    #[test]
    fn datagram_is_complete_with_all_fragments_in_any_order() {
        assert!(fragmented(&[(1480, 520, false), (0, 1480, true)]).is_complete());
        assert!(!fragmented(&[(0, 1480, true)]).is_complete());
        assert!(!fragmented(&[(1480, 520, false)]).is_complete());
        assert!(!fragmented(&[(0, 1480, true), (2960, 100, false)]).is_complete());
    }
}
