//! The stages of a datagram's way, in the order in which Linux goes through them.

use crate::netfilter::Hook;
use crate::{Finding, Id};

/// Where a cause acts. Findings are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// The sender's socket and its routes, and the network, with its switches and routers.
    Network,
    /// The packet filter of the sender, behind its output hook.
    SenderFilter,
    /// The XDP program of the receiver's device.
    Xdp,
    /// Traffic control at the device. It comes before VLANs.
    TrafficControl,
    /// The packet filter's hook at the device.
    IngressHook,
    Vlan,
    /// The destination of the frame.
    Frame,
    /// The headers of IP and UDP.
    Headers,
    /// The packet filter's hook before routing.
    PreroutingHook,
    /// The destination, as rules rewrite it.
    Destination,
    /// The membership of the interface. It comes before the check of the source.
    Membership,
    /// The check of the source, with its route.
    Source,
    /// The packet filter's hook for what is delivered.
    InputHook,
    Checksum,
    /// The port: UDP looks for sockets before IPsec policies.
    Port,
    /// Which sockets on the port take it.
    Socket,
    Policy,
    /// The filter of a socket.
    SocketFilter,
    /// The queue of a socket, and the program that reads it.
    Queue,
    /// Somewhere in the receiver.
    Unknown,
}

impl Stage {
    /// Returns all causes, in the order in which they act.
    pub(super) fn causes() -> Vec<Id> {
        let mut causes = Id::ALL.to_vec();
        causes.sort_by_key(|id| id.stage());
        causes
    }

    /// Returns whether it acts on what a router forwards, too, and before it looks for the route.
    pub(super) const fn is_before_routing(self) -> bool {
        match self {
            Self::Xdp
            | Self::TrafficControl
            | Self::IngressHook
            | Self::Vlan
            | Self::Frame
            | Self::PreroutingHook
            | Self::Source => true,
            Self::Network
            | Self::SenderFilter
            | Self::Headers
            | Self::Destination
            | Self::Membership
            | Self::InputHook
            | Self::Checksum
            | Self::Port
            | Self::Socket
            | Self::Policy
            | Self::SocketFilter
            | Self::Queue
            | Self::Unknown => false,
        }
    }

    /// Returns where the cause of a finding acts. The packet filter has several hooks.
    pub(crate) fn of(finding: &Finding) -> Self {
        match (finding.id, finding.hook) {
            (Id::FirewallDropsData | Id::Redirected, Some(Hook::Ingress)) => Self::IngressHook,
            (Id::FirewallDropsData, Some(Hook::Prerouting)) => Self::PreroutingHook,
            (
                Id::TtlTooSmall | Id::LoopbackOff | Id::SentByOtherInterface | Id::FirewallDropsOutput,
                Some(Hook::Postrouting | Hook::Egress),
            ) => Self::SenderFilter,
            // The system looks for a route before that hook.
            (Id::PolicyRule, Some(Hook::Output)) => Self::Network,
            (id, _) => id.stage(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_before_routing_come_before_the_check_of_the_source() {
        let at = |hook| Stage::of(&Finding::fault(Id::FirewallDropsData, "x").at_hook(hook));
        assert!(Id::TcDrops.stage() < at(Hook::Ingress) && at(Hook::Ingress) < Id::VlanTagged.stage());
        assert!(at(Hook::Prerouting) < Id::ReversePathFilter.stage());
        assert_eq!(at(Hook::Input), Id::FirewallDropsData.stage());
        assert!(Id::NoQuerier.stage() < Id::TcDrops.stage());
        assert!(Id::ReversePathFilter.stage() < Id::FirewallDropsData.stage());
    }
}
