//! Datagrams that arrive in fragments.

use std::net::IpAddr;
use std::ops::Range;
use std::time::SystemTime;

use mcast::InterfaceIndex;
use mcast_packet::Fragment;

/// The number of separate stretches of a datagram that are remembered. More arrive only if somebody makes them up.
const MAX_PARTS: usize = 64;

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
    /// The stretches that arrived. They neither overlap nor touch each other.
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
        let (port, parts, length) = (None, Vec::new(), None);
        Self { interface, outgoing, source, group, identification, last: time, port, parts, length }
    }

    pub(crate) fn add(&mut self, fragment: Fragment, length: usize, time: SystemTime) {
        let end = fragment.offset + length;
        let mut new = fragment.offset..end;
        self.parts.retain(|part| {
            let is_apart = part.end < new.start || new.end < part.start;
            if !is_apart {
                new = new.start.min(part.start)..new.end.max(part.end);
            }
            is_apart
        });
        if self.parts.len() < MAX_PARTS {
            self.parts.push(new);
        }
        self.last = self.last.max(time);
        if !fragment.more {
            self.length = Some(end);
        }
    }

    /// Returns whether all fragments were captured.
    pub(crate) fn is_complete(&self) -> bool {
        self.length.is_some_and(|length| self.parts == std::slice::from_ref(&(0..length)))
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
        assert!(fragmented(&[(0, 8, true), (16, 8, false), (0, 8, true), (4, 14, true)]).is_complete());
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_fragments() {
        let same = vec![(0, 1480, true); 10_000];
        assert_eq!(fragmented(&same).parts, std::slice::from_ref(&(0..1480)));
        let scattered: Vec<_> = (0..8_000).map(|number| (number * 8, 7, true)).collect();
        assert_eq!(fragmented(&scattered).parts.len(), MAX_PARTS);
    }
}
