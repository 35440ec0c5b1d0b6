//! The counters of the IP layer and of UDP.

use std::collections::BTreeMap;

use mcast::Family;

/// The counters of the IP layer and of UDP, by their `nstat` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Sets a counter.
    #[cfg(any(test, feature = "fixtures"))]
    #[doc(hidden)]
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Returns a counter by its `nstat` name; `None` if the system does not count it.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}

impl FromIterator<(String, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(counters: I) -> Self {
        Self(counters.into_iter().collect())
    }
}

/// A counter that exists for both families, under different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Packets that reached the IP layer.
    InReceives,
    /// Multicast packets that the IP layer accepted.
    InMulticast,
    /// Packets delivered to UDP and other protocols, after the firewall.
    InDelivers,
    /// Multicast datagrams that no socket received.
    IgnoredMulticast,
    /// Datagrams dropped because a receive buffer was full.
    ReceiveBufferErrors,
    /// Datagrams with a wrong checksum.
    ChecksumErrors,
    /// Fragments that arrived.
    ReassemblyRequests,
    /// Datagrams reassembled from fragments.
    Reassembled,
    /// Packets that local programs sent.
    OutRequests,
    /// Packets that left the machine.
    OutTransmits,
    /// Datagrams that programs could not send because there was no route.
    OutNoRoutes,
    /// Outgoing packets that were dropped.
    OutDiscards,
    /// Datagrams dropped because a queue or send buffer was full.
    SendBufferErrors,
    /// Datagrams that programs have read.
    DatagramsRead,
    /// Datagrams dropped because all sockets together used too much memory (`udp_mem`).
    MemoryErrors,
    /// Received datagrams dropped for any reason after they reached UDP.
    InErrors,
}

impl Counter {
    /// Returns its `nstat` name, such as `IpExtInMcastPkts`.
    pub const fn name(self, family: Family) -> &'static str {
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
            Self::OutNoRoutes => ("IpOutNoRoutes", "Ip6OutNoRoutes"),
            Self::OutDiscards => ("IpOutDiscards", "Ip6OutDiscards"),
            Self::SendBufferErrors => ("UdpSndbufErrors", "Udp6SndbufErrors"),
            Self::DatagramsRead => ("UdpInDatagrams", "Udp6InDatagrams"),
            Self::MemoryErrors => ("UdpMemErrors", "Udp6MemErrors"),
            Self::InErrors => ("UdpInErrors", "Udp6InErrors"),
        };
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }
}

/// Returns whether the increase of a counter explains at least 80 % of a loss.
pub fn explains(rise: u64, lost: u64) -> bool {
    lost > 0 && rise.saturating_mul(5) >= lost.saturating_mul(4)
}
