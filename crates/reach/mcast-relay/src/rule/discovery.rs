//! Discovery protocols, which rules name and which the relay treats by their own rules.

use std::net::SocketAddr;

use mcast_pace::Quota;
use mcast_packet::payload::{Ssdp, SsdpKind};

/// A discovery protocol. Repeats of its datagrams within a quarter of a second are harmless, so the relay may drop them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiscoveryProtocol {
    /// Multicast DNS (RFC 6762).
    Mdns,
    /// SSDP of UPnP.
    Ssdp,
    /// WS-Discovery.
    WsDiscovery,
    /// LLMNR (RFC 4795).
    Llmnr,
    /// CoAP discovery (RFC 7252).
    Coap,
    /// KNXnet/IP discovery.
    Knx,
}

impl DiscoveryProtocol {
    const ALL: [Self; 6] = [Self::Mdns, Self::Ssdp, Self::WsDiscovery, Self::Llmnr, Self::Coap, Self::Knx];
    /// The limits of traffic that stays on one link where it is used as intended.
    pub(crate) const EACH_SOURCE: Quota = Quota { per_second: 100, burst: 200 };
    pub(crate) const ALL_SOURCES: Quota = Quota { per_second: 1_000, burst: 2_000 };

    /// Returns the protocol with this name in rules.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Returns its name in rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Ssdp => "ssdp",
            Self::WsDiscovery => "wsd",
            Self::Llmnr => "llmnr",
            Self::Coap => "coap",
            Self::Knx => "knx",
        }
    }

    /// Returns its name in the registry of groups.
    pub(crate) const fn registry_name(self) -> &'static str {
        match self {
            Self::WsDiscovery => "ws-discovery",
            _ => self.name(),
        }
    }

    /// Returns the hop limit that its datagrams are sent with on every segment.
    #[must_use]
    pub const fn hop_limit(self) -> u8 {
        match self {
            // RFC 6762 section 11, RFC 4795 section 2.
            Self::Mdns | Self::Llmnr => 255,
            Self::Ssdp => 2,
            Self::WsDiscovery | Self::Coap | Self::Knx => 1,
        }
    }

    /// Returns the port that its datagrams must be sent from: responders ignore others (RFC 6762 section 6).
    #[must_use]
    pub const fn source_port(self) -> Option<u16> {
        match self {
            Self::Mdns => Some(5353),
            _ => None,
        }
    }

    /// Returns whether the datagram requests a unicast reply, so that the same content from another source is another
    /// request. Two hosts with the same program often send the same request.
    #[must_use]
    pub fn requests_reply(self, source: SocketAddr, payload: &[u8]) -> bool {
        match self {
            // A one-shot query (RFC 6762 section 6.7).
            Self::Mdns => Some(source.port()) != self.source_port(),
            Self::Ssdp => Ssdp::parse(payload).is_some_and(|message| message.kind == SsdpKind::Search),
            Self::WsDiscovery | Self::Llmnr | Self::Coap | Self::Knx => true,
        }
    }
}
