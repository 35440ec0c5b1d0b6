//! Some of the subscribers that repair for others, as an extension of heartbeats.

use core::net::{IpAddr, SocketAddr};

use super::super::announce::{put_socket, read_socket};
use super::super::header::{ExtensionKind, u16_at};
use super::super::identity::SubscriberId;
use super::super::view::{DatagramView, DatagramWriter, WriteError};

/// A tag, the family, the port and an IPv6 address.
const LONGEST_ENTRY: usize = 2 + 1 + 2 + 16;

/// A subscriber that repairs for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedRepairer {
    /// The lowest 16 bits of its identifier, by which it does not take itself for another one.
    pub tag: u16,
    /// The address that receives its NAKs, and that it repairs from.
    pub address: SocketAddr,
}

impl ListedRepairer {
    /// Creates an entry of the list.
    #[must_use]
    pub const fn new(tag: u16, address: SocketAddr) -> Self {
        Self { tag, address }
    }

    /// Returns the tag of a subscriber.
    #[must_use]
    pub const fn tag_of(subscriber: SubscriberId) -> u16 {
        subscriber.0 as u16
    }

    /// Returns whether datagrams may be sent to its address: one host, the same for all subscribers.
    fn is_valid(&self) -> bool {
        // An IPv4-mapped IPv6 address is the IPv4 address to a socket.
        let ip = self.address.ip().to_canonical();
        let is_other = match ip {
            IpAddr::V4(ip) => ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        self.address.port() != 0
            && !ip.is_multicast()
            && !ip.is_unspecified()
            && !ip.is_loopback()
            && !is_other
    }
}

/// Some of the subscribers that repair for others: at most [`MAX`](Self::MAX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairerList {
    entries: [Option<ListedRepairer>; Self::MAX],
}

impl RepairerList {
    /// The most entries: with IPv6 addresses they fit the header beside all other extensions of a heartbeat.
    pub const MAX: usize = 4;

    /// No subscribers.
    pub const EMPTY: Self = Self { entries: [None; Self::MAX] };

    /// Adds a subscriber; returns `false` if the list is full, or others cannot reach the address.
    pub fn add(&mut self, repairer: ListedRepairer) -> bool {
        let free = self.entries.iter_mut().find(|entry| entry.is_none()).filter(|_| repairer.is_valid());
        free.map(|entry| *entry = Some(repairer)).is_some()
    }

    /// Replaces an entry, counted from 0.
    pub(crate) fn replace(&mut self, at: usize, repairer: ListedRepairer) {
        if let Some(entry) = self.entries.get_mut(at).filter(|_| repairer.is_valid()) {
            *entry = Some(repairer);
        }
    }

    /// Returns the entries.
    pub fn iter(&self) -> impl Iterator<Item = ListedRepairer> + '_ {
        self.entries.iter().map_while(|entry| *entry)
    }

    /// Returns whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries[0].is_none()
    }

    /// Returns the length of the extension with the list, in bytes.
    pub(crate) fn extension_length(&self) -> usize {
        let entry = |ListedRepairer { address, .. }| if address.is_ipv4() { 9 } else { LONGEST_ENTRY };
        let entries: usize = self.iter().map(entry).sum();
        if self.is_empty() { 0 } else { 4 + entries.next_multiple_of(4) }
    }

    /// Reads the extension with the list; `None` if there is none. Entries after one that is malformed are ignored.
    #[must_use]
    pub fn of(view: &DatagramView<'_>) -> Option<Self> {
        let extension = view.extensions.find(ExtensionKind::REPAIRERS)?;
        let (mut list, mut bytes) = (Self::default(), extension.value);
        for _ in 0..extension.small {
            let entry = u16_at(bytes, 0).zip(bytes.get(2..).and_then(read_socket));
            let Some((tag, (address, rest))) = entry else { break };
            list.add(ListedRepairer { tag, address });
            bytes = rest;
        }
        Some(list)
    }

    /// Adds the extension with the list, if there are entries.
    ///
    /// # Errors
    /// As [`DatagramWriter::extension`].
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let count = self.iter().count();
        if count == 0 {
            return Ok(());
        }
        let mut value = [0; LONGEST_ENTRY * Self::MAX];
        let mut entries = DatagramWriter::of_value(&mut value);
        for ListedRepairer { tag, address } in self.iter() {
            entries.put(&tag.to_be_bytes())?;
            put_socket(&mut entries, address)?;
        }
        let end = entries.finish();
        writer.extension(ExtensionKind::REPAIRERS, count as u16, &value[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_list_is_that_of_its_extension() {
        let addresses: [&str; 4] = ["10.0.0.1:7", "[fd00::1]:7", "10.0.0.2:7", "[fd00::2]:7"];
        let mut list = RepairerList::default();
        for address in addresses {
            assert!(list.add(ListedRepairer { tag: 1, address: address.parse().unwrap() }));
            let mut bytes = [0; 128];
            let mut writer = DatagramWriter::of_value(&mut bytes);
            list.write(&mut writer).unwrap();
            assert_eq!(writer.finish(), list.extension_length());
        }
    }

    #[test]
    fn only_the_address_of_one_host_is_listed() {
        let is_valid = |ip: &str| {
            let address = SocketAddr::new(ip.parse().unwrap(), 7000);
            RepairerList::default().add(ListedRepairer { tag: 1, address })
        };
        for ip in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_valid(ip), "{ip}");
        }
        for ip in ["239.1.2.3", "255.255.255.255", "127.0.0.1", "0.0.0.0", "ff02::1", "::1", "::", "fe80::1"]
        {
            assert!(!is_valid(ip), "{ip}");
        }
        for ip in ["::ffff:239.1.2.3", "::ffff:255.255.255.255", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert!(!is_valid(ip), "{ip}");
        }
    }
}
