//! The ids of causes.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Declares each cause once: the variant, its text form, and its references.
macro_rules! ids {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal, [$($reference:literal),*];)+) => {
        /// The stable id of a cause. Its text form, in kebab case, never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Id {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Id {
            /// All ids.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            pub(crate) const fn page(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../pages/", $text, ".md")),)+
                }
            }

            /// Returns the RFCs and kernel documentation that the finding is based on.
            #[must_use]
            pub const fn references(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($reference),*],)+
                }
            }
        }
    };
}

ids! {
    /// The network has no querier, so a snooping switch forgets memberships.
    NoQuerier = "no-querier", ["RFC 4541 section 2.1.1", "RFC 9776 section 8"];
    /// The group is joined on one interface but arrives on another.
    JoinedOtherInterface = "joined-other-interface", ["RFC 3678 section 4"];
    /// There is no route for groups.
    NoRoute = "no-route", ["RFC 1112 section 6.1"];
    /// This machine's firewall drops the datagrams.
    FirewallDropsData = "firewall-drops-data", [];
    /// This machine's firewall drops IGMP or MLD.
    FirewallDropsIgmp = "firewall-drops-igmp", ["RFC 9776 section 4", "RFC 4890 section 4.4.1"];
    /// The reverse path filter drops the datagrams.
    ReversePathFilter = "reverse-path-filter", ["RFC 3704 section 2", "ip-sysctl: rp_filter"];
    /// The hop limit is too small to cross a router.
    TtlTooSmall = "ttl-too-small", ["RFC 1112 section 6.1"];
    /// A socket's receive buffer is full.
    ReceiveBufferOverflow = "receive-buffer-overflow", ["socket(7): SO_RCVBUF"];
    /// The queue of the sending interface is full.
    SenderQueueDrops = "sender-queue-drops", ["RFC 8085 section 4.1", "ip(7): IP_RECVERR"];
    /// The group arrives on another port.
    WrongPort = "wrong-port", [];
    /// The socket is bound to a unicast address, so it receives no groups.
    BoundToUnicast = "bound-to-unicast", ["RFC 3678 section 4"];
    /// The socket also receives groups that only other programs have joined.
    ForeignGroupsLeak = "foreign-groups-leak", ["ip(7): IP_MULTICAST_ALL"];
    /// Another program has the port open and does not share it.
    AddressInUse = "address-in-use", ["socket(7): SO_REUSEADDR"];
    /// The group arrives twice, because it is joined on two interfaces of one network.
    DuplicateInterfaces = "duplicate-interfaces", [];
    /// The network delivers datagrams twice.
    DuplicatePath = "duplicate-path", ["RFC 7761 section 4.6"];
    /// The sender's own machine does not receive what it sends.
    LoopbackOff = "loopback-off", ["ip(7): IP_MULTICAST_LOOP"];
    /// The limit of memberships or sources is reached.
    MembershipLimit = "membership-limit", ["ip-sysctl: igmp_max_memberships", "ip-sysctl: igmp_max_msf"];
    /// A source-specific group was joined without a source.
    SsmWithoutSource = "ssm-without-source", ["RFC 4607 section 4.3", "RFC 4604 section 2.2.1"];
    /// The membership does not admit the source that sends.
    SourceNotAdmitted = "source-not-admitted", ["RFC 9776 section 3.2"];
    /// An older version of IGMP or MLD is in use, which cannot report sources.
    IgmpVersionForced = "igmp-version-forced", ["RFC 9776 section 7.2.1", "ip-sysctl: force_igmp_version"];
    /// A bridge does not flood unregistered groups to a port.
    FloodOff = "flood-off", ["RFC 4541 section 2.1.2"];
    /// A bridge removes a port from a group at the first leave, although other hosts behind it listen.
    FastLeave = "fast-leave", ["RFC 4541 section 2.1.1"];
    /// Groups share an Ethernet address.
    MacAlias = "mac-alias", ["RFC 1112 section 6.4"];
    /// Fragments of datagrams are lost.
    FragmentsLost = "fragments-lost", ["RFC 8085 section 3.2", "RFC 8900"];
    /// Datagrams are larger than the MTU of the interface.
    MtuTooSmall = "mtu-too-small", ["RFC 8085 section 3.2"];
    /// Datagrams arrive with a wrong checksum.
    BadChecksum = "bad-checksum", ["RFC 768", "RFC 8200 section 8.1"];
    /// Datagrams arrive from 0.0.0.0, and the system drops them.
    SourceZero = "source-zero", ["RFC 1122 section 3.2.1.3"];
    /// Datagrams arrive from one of this machine's own addresses, and the system drops them.
    SourceIsLocal = "source-is-local", ["RFC 1812 section 5.3.7", "ip-sysctl: accept_local"];
    /// IPv6 is disabled on the interface, or its address is not ready.
    Ipv6NotReady = "ipv6-not-ready", ["RFC 4862 section 5.4"];
    /// The loopback interface has no route for IPv6 groups.
    Ipv6LoopbackRoute = "ipv6-loopback-route", ["RFC 4291 section 2.7"];
    /// The scope of the group does not reach this machine.
    ScopeNeverLeaves = "scope-never-leaves", ["RFC 4291 section 2.7", "RFC 5771 section 4"];
    /// The interface was deleted and created again, and its memberships were lost.
    InterfaceRecreated = "interface-recreated", ["RFC 3678 section 4"];
    /// This is a container behind a bridge that does not forward groups.
    ContainerBridge = "container-bridge", [];
    /// The machine is in a cloud network, which carries no multicast.
    CloudNetwork = "cloud-network", [];
    /// The route to the group leads into a tunnel.
    VpnTakesDefault = "vpn-takes-default", [];
    /// The interface is wireless, where multicast is slow and not retransmitted.
    Wireless = "wireless", ["RFC 9119 section 3"];
    /// Nothing for the group reached this machine, and nothing on it blocks the group.
    NothingArrives = "nothing-arrives", [];
    /// The interface is down or has no carrier.
    InterfaceDown = "interface-down", [];
    /// The kernel's queue between the device and the IP layer is full.
    BacklogDrops = "backlog-drops", ["sysctl/net: netdev_max_backlog"];
    /// The group table of a bridge is full, which disables snooping.
    SnoopingTableFull = "snooping-table-full", ["RFC 4541 section 2.1.1"];
    /// The group arrives in a VLAN that no interface of this machine is in.
    VlanTagged = "vlan-tagged", ["IEEE 802.1Q"];
    /// The socket is connected to another address than the sender's.
    ConnectedElsewhere = "connected-elsewhere", ["udp(7)"];
    /// The program has the port open but has not joined the group.
    NotJoined = "not-joined", ["RFC 1112 section 7.1"];
    /// A router receives the group on another interface than its route expects.
    RouterWrongInterface = "router-wrong-interface", ["RFC 7761 section 4.2"];
    /// A router requires a higher hop limit than the datagrams have.
    TtlThreshold = "ttl-threshold", ["RFC 1112 section 6.1"];
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error for a text that is not the id of a finding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a finding")]
pub struct UnknownId(pub String);

impl FromStr for Id {
    type Err = UnknownId;

    fn from_str(text: &str) -> Result<Self, UnknownId> {
        Self::ALL.iter().copied().find(|id| id.as_str() == text).ok_or_else(|| UnknownId(text.to_owned()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_parse_back() {
        let texts: BTreeSet<_> = Id::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(texts.len(), Id::ALL.len());
        for id in Id::ALL {
            assert_eq!(id.to_string().parse(), Ok(*id));
            assert!(id.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '6'), "{id}");
        }
    }
}
