//! The counters of the IP layer, by the names that `nstat` gives them.

use std::collections::BTreeMap;

use mcast::Family;

/// The counters of the IP layer and of UDP, by the names that `nstat` gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Counters {
    #[cfg(test)]
    pub(crate) fn with(mut self, name: &str, value: u64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}

impl FromIterator<(String, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(counters: I) -> Self {
        Self(counters.into_iter().collect())
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
