//! Packets to groups that the kernel dropped, with its reasons.
//!
//! Linux reports a reason for each packet that it drops (`enum skb_drop_reason`, Linux 5.17 and later). Plain data, so
//! that tests can construct drops. [`DropCounter`](crate::DropCounter) fills it in.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast::InterfaceIndex;
use mcast_packet::MacAddress;

use crate::{FlowKey, ObservationRefusal};

/// The IP protocol of IGMP.
const IGMP: u8 = 2;
/// The IPv6 next headers that MLD messages begin with: options, and ICMPv6.
const MLD: [u8; 2] = [0, 58];
/// The kernel's reason for datagrams that no socket takes.
pub const NO_SOCKET: &str = "NO_SOCKET";
/// The kernel's reason if it specifies none.
pub const UNSPECIFIED: &str = "NOT_SPECIFIED";
/// The kernel's reason for packets that its packet filter drops.
pub const FILTERED: &str = "NETFILTER_DROP";
/// The kernel's reason for packets that arrive and that its routes reject.
pub const UNROUTED: &str = "IP_INNOROUTES";
/// The kernel's reason for fragments of a datagram of which others never arrived.
pub const FRAGMENTS_MISSING: &str = "FRAG_REASM_TIMEOUT";

/// The packets to groups that the kernel dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelDrops {
    /// The drops, one for each reason, place and pair of addresses.
    pub drops: Vec<KernelDrop>,
    /// Further packets, of which only the number is known because they were of too many kinds.
    pub uncounted: u64,
    /// Why the drops could not be counted; `None` if they were, and on systems that report no reasons.
    pub refused: Option<ObservationRefusal>,
}

/// Packets that the kernel dropped for the same reason at the same place, with the same addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelDrop {
    /// The kernel's name for the reason, such as `NETFILTER_DROP`.
    pub reason: String,
    /// The kernel's function that dropped them, if the kernel specifies no reason.
    pub function: Option<String>,
    /// The interface that they arrived on, or were about to leave by.
    pub interface: Option<InterfaceIndex>,
    /// The interface that they arrived on; `None` if this machine sent them.
    pub arrived_on: Option<InterfaceIndex>,
    /// The source. The port is 0 if it is unknown.
    pub source: SocketAddr,
    /// The destination. The port is 0 if it is unknown, as in fragments.
    pub destination: SocketAddr,
    /// The IP protocol: 17 is UDP.
    pub protocol: u8,
    /// The Ethernet destination, if there is one.
    pub mac: Option<MacAddress>,
    /// The number of packets.
    pub packets: u64,
}

/// The direction of packets as this machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropDirection {
    /// They arrived.
    Incoming,
    /// This machine was about to send them.
    Outgoing,
}

impl KernelDrop {
    /// Returns whether packets of a flow that arrived may be among these.
    pub fn is_of(&self, key: &FlowKey) -> bool {
        !key.outgoing
            && self.arrived_on == Some(key.interface)
            && self.is_to(SocketAddr::new(key.group, key.port))
            && is_same_or_unknown(self.source, key.source)
    }

    /// Returns whether datagrams to this group and port may be among these.
    pub fn is_to(&self, destination: SocketAddr) -> bool {
        !self.is_report()
            && self.other_protocol().is_none()
            && is_same_or_unknown(self.destination, destination)
    }

    /// Returns the name of their protocol, if it is one that carries no UDP datagrams as such.
    pub fn other_protocol(&self) -> Option<&'static str> {
        Some(match self.protocol {
            4 => "IPv4 in IP",
            41 => "IPv6 in IP",
            47 => "GRE",
            50 => "ESP",
            132 => "SCTP",
            136 => "UDP-Lite",
            _ => return None,
        })
    }

    /// Returns whether these are IGMP or MLD messages, of which the older versions send reports to the group. MLD begins
    /// with a header of options.
    pub fn is_report(&self) -> bool {
        match self.destination {
            SocketAddr::V4(_) => self.protocol == IGMP,
            SocketAddr::V6(_) => MLD.contains(&self.protocol),
        }
    }

    /// Returns whether they arrived, or were to be sent.
    pub fn direction(&self) -> DropDirection {
        if self.arrived_on.is_some() { DropDirection::Incoming } else { DropDirection::Outgoing }
    }

    /// Returns whether the packet filter dropped them. For those of a queue that no program reads, the kernel specifies no reason.
    pub fn is_filtered(&self) -> bool {
        let is_by_queue = self.function.as_deref() == Some("nf_queue");
        self.reason == FILTERED || (self.reason == UNSPECIFIED && is_by_queue)
    }

    /// Returns whether a route or a rule for routing dropped them. For those of kind `blackhole`, the kernel specifies no reason.
    fn is_unrouted(&self) -> bool {
        let is_discarded = self.function.as_ref().is_some_and(|function| function.starts_with("dst_discard"));
        self.reason == UNROUTED || (self.reason == UNSPECIFIED && is_discarded)
    }

    /// Returns whether they were dropped for this reason.
    pub fn is_for(&self, reason: &str) -> bool {
        self.reason == reason
            || (reason == FILTERED && self.is_filtered())
            || (reason == UNROUTED && self.is_unrouted())
    }

    /// Returns whether an XDP program dropped them. Most drivers give no reason for it.
    pub fn is_by_xdp(&self) -> bool {
        self.reason == "XDP" || self.function.as_ref().is_some_and(|function| function.contains("xdp"))
    }

    /// Returns whether no socket took them. For groups, kernels up to 6.18 at least specify no reason for it.
    pub fn is_without_socket(&self) -> bool {
        const RECEIVING: [&str; 4] =
            ["__udp4_lib_rcv", "__udp4_lib_mcast_deliver", "__udp6_lib_rcv", "__udp6_lib_mcast_deliver"];
        let is_receiving = |function: &String| RECEIVING.contains(&function.as_str());
        self.reason == NO_SOCKET || self.function.as_ref().is_some_and(is_receiving)
    }

    /// Returns the reason with the function, if that is known, and what it means.
    pub fn describe(&self) -> String {
        let place = self.function.as_ref().map(|function| format!(" in {function}")).unwrap_or_default();
        let reason = if self.is_without_socket() { NO_SOCKET } else { &self.reason };
        let meaning = meaning(reason).map(|meaning| format!(" ({meaning})")).unwrap_or_default();
        format!("{}{place}{meaning}", self.reason)
    }
}

/// Returns whether two addresses are equal, apart from a port of `dropped` that is unknown.
pub fn is_same_or_unknown(dropped: SocketAddr, address: SocketAddr) -> bool {
    dropped.ip() == address.ip() && matches!(dropped.port(), port if port == address.port() || port == 0)
}

/// Returns what a reason means in a few words; `None` if its name says it or it is rare.
pub fn meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NETFILTER_DROP" => "a firewall rule",
        "TC_INGRESS" | "TC_EGRESS" => "a traffic control filter",
        "XDP" => "an XDP program",
        "IP_RPFILTER" => "the reverse path filter",
        "IP_LOCAL_SOURCE" => "the source is an address of this machine",
        "IP_INVALID_SOURCE" => "the source is not a unicast address",
        "IP_LOCALNET" => "a loopback address on the network",
        "OTHERHOST" => {
            "the frame was sent to another host's Ethernet address, or in a VLAN to which this host does not belong"
        }
        "IP_INHDR" => "a damaged IP header",
        "PKT_TOO_SMALL" | "HDR_TRUNC" => "shorter than its headers say",
        "IP_CSUM" => "a wrong IP header checksum",
        "UDP_CSUM" | "SKB_CSUM" => "a wrong UDP checksum",
        "SOCKET_FILTER" => "a filter of the socket or of its control group",
        "SOCKET_RCVBUFF" => "the receive buffer is full",
        "PROTO_MEM" => "the memory for UDP is full",
        NO_SOCKET => "no socket takes it",
        "UNHANDLED_PROTO" => "no protocol takes the frame",
        "IPV6DISABLED" => "IPv6 is disabled on the interface",
        "PKT_TOO_BIG" => "larger than the MTU",
        "QDISC_DROP" | "QDISC_OVERLIMIT" | "QDISC_CONGESTED" | "FQ_FLOW_LIMIT" | "FQ_BAND_LIMIT"
        | "CAKE_FLOOD" => "the queue of the interface is full, or it has no carrier",
        "IP_OUTNOROUTES" | UNROUTED => "no route",
        "BPF_CGROUP_EGRESS" => "a filter of the program's control group",
        "SECURITY_HOOK" => "a security module",
        "BRIDGE_INGRESS_STP_STATE" => "spanning tree blocks the port",
        "CPU_BACKLOG" => "the backlog queue is full",
        FRAGMENTS_MISSING => "fragments were missing",
        "DUP_FRAG" | "FRAG_TOO_FAR" => "fragments that do not fit together",
        "XFRM_POLICY" => "an IPsec policy",
        "DEV_READY" => "the interface is down",
        "FULL_RING" => "the queue of the driver is full",
        "NOMEM" => "out of memory",
        _ => return None,
    })
}

/// Returns the packets for each reason and function, as [`KernelDrop::describe`] names them.
pub fn by_reason<'a>(drops: impl IntoIterator<Item = &'a KernelDrop>) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for drop in drops {
        *counts.entry(drop.describe()).or_default() += drop.packets;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::kernel_drop;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn every_meaning_completes_the_reason() {
        assert_eq!(kernel_drop("XDP", "10.9.0.1:1", TO, 1).describe(), "XDP (an XDP program)");
        let unknown = KernelDrop { function: Some("f".into()), ..kernel_drop("NEW", "10.9.0.1:1", TO, 1) };
        assert_eq!(unknown.describe(), "NEW in f");
        let function = Some("__udp4_lib_rcv".into());
        let ignored = KernelDrop { function, ..kernel_drop("NOT_SPECIFIED", "10.9.0.1:1", TO, 1) };
        assert_eq!(ignored.describe(), "NOT_SPECIFIED in __udp4_lib_rcv (no socket takes it)");
    }
}
