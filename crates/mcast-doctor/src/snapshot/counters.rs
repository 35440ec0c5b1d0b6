//! The counters of the IP layer, by the names that `nstat` gives them.

use std::collections::BTreeMap;

use mcast::Family;

/// The counters of the IP layer and of UDP, by the names that `nstat` gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Takes in a table of pairs of lines, names and values: `/proc/net/snmp`, `/proc/net/netstat`.
    pub(crate) fn read_pairs(&mut self, table: &str) {
        let mut lines = table.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let Some((prefix, names)) = names.split_once(':') else { continue };
            let Some((_, values)) = values.split_once(':') else { continue };
            for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
                self.set(format!("{prefix}{name}"), value);
            }
        }
    }

    /// Takes in a table of a name and a value a line: `/proc/net/snmp6`.
    pub(crate) fn read_lines(&mut self, table: &str) {
        for line in table.lines() {
            if let Some((name, value)) = line.split_once(char::is_whitespace) {
                self.set(name.to_owned(), value.trim());
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, name: &str, value: u64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    fn set(&mut self, name: String, value: &str) {
        if let Ok(value) = value.parse() {
            self.0.insert(name, value);
        }
    }
}

/// A counter that both families have under names of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// Packets that came to the IP layer.
    InReceives,
    /// Multicast packets that it took for its own.
    InMulticast,
    /// Packets that it gave to UDP and the others, past the firewall.
    InDelivers,
    /// Datagrams that no socket wanted.
    IgnoredMulticast,
    /// Datagrams that a socket had no room for.
    ReceiveBufferErrors,
    /// Datagrams with a wrong checksum.
    ChecksumErrors,
    /// Fragments that came.
    ReassemblyRequests,
    /// Datagrams that were put together from fragments.
    Reassembled,
    /// Packets that local programs wanted to send.
    OutRequests,
    /// Packets that left.
    OutTransmits,
    /// Packets that were dropped on the way out.
    OutDiscards,
    /// Datagrams that were dropped for want of queue or buffer.
    SendBufferErrors,
}

impl Counter {
    pub(crate) const fn name(self, family: Family) -> &'static str {
        let (v4, v6) = match self {
            Self::InReceives => ("IpInReceives", "Ip6InReceives"),
            Self::InMulticast => ("IpExtInMcastPkts", "Ip6InMcastPkts"),
            Self::InDelivers => ("IpInDelivers", "Ip6InDelivers"),
            Self::IgnoredMulticast => ("UdpIgnoredMulti", "Udp6IgnoredMulti"),
            Self::ReceiveBufferErrors => ("UdpRcvbufErrors", "Udp6RcvbufErrors"),
            Self::ChecksumErrors => ("UdpInCsumErrors", "Udp6InCsumErrors"),
            Self::ReassemblyRequests => ("IpReasmReqds", "Ip6ReasmReqds"),
            Self::Reassembled => ("IpReasmOKs", "Ip6ReasmOKs"),
            Self::OutRequests => ("IpOutRequests", "Ip6OutRequests"),
            Self::OutTransmits => ("IpOutTransmits", "Ip6OutTransmits"),
            Self::OutDiscards => ("IpOutDiscards", "Ip6OutDiscards"),
            Self::SendBufferErrors => ("UdpSndbufErrors", "Udp6SndbufErrors"),
        };
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read_by_the_names_of_nstat() {
        let mut counters = Counters::default();
        counters.read_pairs("Ip: InReceives InDelivers\nIp: 10 9\nIpExt: InMcastPkts\nIpExt: 7\n");
        counters.read_lines("Ip6InReceives                   \t2\nbroken\n");
        assert_eq!(counters.value("IpInDelivers"), Some(9));
        assert_eq!(counters.value("IpExtInMcastPkts"), Some(7));
        assert_eq!(counters.value("Ip6InReceives"), Some(2));
        assert_eq!(counters.value("UdpIgnoredMulti"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(table in "[A-Z:0-9 \\n\\PC]{0,200}") {
            let mut counters = Counters::default();
            counters.read_pairs(&table);
            counters.read_lines(&table);
        }
    }
}
