//! The names of causes.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Names each cause once: the variant, its text form, and what stands behind it.
macro_rules! ids {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal, [$($reference:literal),*];)+) => {
        /// The stable name of a cause. Its text form, in kebab case, never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Id {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Id {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The text form.
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

            /// The RFCs and the documentation of kernels that stand behind it.
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
    /// A snooping switch without a querier forgets who has joined.
    NoQuerier = "no-querier", ["RFC 4541 section 2.1.1", "RFC 9776 section 8"];
    /// The group was joined on one interface and comes in by another.
    JoinedOtherInterface = "joined-other-interface", ["RFC 3678 section 4"];
    /// No route says by which interface to send.
    NoRoute = "no-route", ["RFC 1112 section 6.1"];
    /// This machine's firewall drops the datagrams.
    FirewallDropsData = "firewall-drops-data", [];
    /// This machine's firewall drops IGMP or MLD.
    FirewallDropsIgmp = "firewall-drops-igmp", ["RFC 9776 section 4", "RFC 4890 section 4.4.1"];
    /// The check of the way back to the source drops the datagrams.
    ReversePathFilter = "reverse-path-filter", ["RFC 3704 section 2", "ip-sysctl: rp_filter"];
    /// The hop limit does not take the datagrams beyond a router.
    TtlTooSmall = "ttl-too-small", ["RFC 1112 section 6.1"];
    /// A socket's receive buffer is full.
    ReceiveBufferOverflow = "receive-buffer-overflow", ["socket(7): SO_RCVBUF"];
    /// The queue of the sending interface is full.
    SenderQueueDrops = "sender-queue-drops", ["RFC 8085 section 4.1", "ip(7): IP_RECVERR"];
    /// The group is sent to another port.
    WrongPort = "wrong-port", [];
    /// The socket is bound to a unicast address, and so hears no group.
    BoundToUnicast = "bound-to-unicast", ["RFC 3678 section 4"];
    /// The socket also receives groups that only others have joined.
    ForeignGroupsLeak = "foreign-groups-leak", ["ip(7): IP_MULTICAST_ALL"];
    /// Another program holds the port and does not share it.
    AddressInUse = "address-in-use", ["socket(7): SO_REUSEADDR"];
    /// The group comes in twice, as it was joined on two interfaces of one network.
    DuplicateInterfaces = "duplicate-interfaces", [];
    /// The network delivers datagrams twice.
    DuplicatePath = "duplicate-path", ["RFC 7761 section 4.6"];
    /// The sender's own machine does not hear what it sends.
    LoopbackOff = "loopback-off", ["ip(7): IP_MULTICAST_LOOP"];
    /// The limit of memberships or sources is reached.
    MembershipLimit = "membership-limit", ["ip-sysctl: igmp_max_memberships", "ip-sysctl: igmp_max_msf"];
    /// A source-specific group was joined without a source.
    SsmWithoutSource = "ssm-without-source", ["RFC 4607 section 4.3", "RFC 4604 section 2.2.1"];
    /// The membership does not admit the source that sends.
    SourceNotAdmitted = "source-not-admitted", ["RFC 9776 section 3.2"];
    /// An older version of IGMP or MLD is in force, which knows no sources.
    IgmpVersionForced = "igmp-version-forced", ["RFC 9776 section 7.2.1", "ip-sysctl: force_igmp_version"];
    /// A port of the bridge does not get groups that nobody has reported.
    FloodOff = "flood-off", ["RFC 4541 section 2.1.2"];
    /// A bridge cuts off a port at the first leave, although others behind it listen.
    FastLeave = "fast-leave", ["RFC 4541 section 2.1.1"];
    /// Groups share an Ethernet address.
    MacAlias = "mac-alias", ["RFC 1112 section 6.4"];
    /// Fragments of datagrams are lost.
    FragmentsLost = "fragments-lost", ["RFC 8085 section 3.2", "RFC 8900"];
    /// Datagrams are larger than the interface takes.
    MtuTooSmall = "mtu-too-small", ["RFC 8085 section 3.2"];
    /// Datagrams arrive with a wrong checksum.
    BadChecksum = "bad-checksum", ["RFC 768", "RFC 8200 section 8.1"];
    /// Datagrams come from the address 0.0.0.0, and the system drops them.
    SourceZero = "source-zero", ["RFC 1122 section 3.2.1.3"];
    /// Datagrams come from an address that is this machine's own, and the system drops them.
    SourceIsLocal = "source-is-local", ["RFC 1812 section 5.3.7", "ip-sysctl: accept_local"];
    /// IPv6 is off on the interface, or its address not ready.
    Ipv6NotReady = "ipv6-not-ready", ["RFC 4862 section 5.4"];
    /// IPv6 groups cannot be sent to over the loopback interface without a route.
    Ipv6LoopbackRoute = "ipv6-loopback-route", ["RFC 4291 section 2.7"];
    /// The group's scope does not reach as far as is wanted.
    ScopeNeverLeaves = "scope-never-leaves", ["RFC 4291 section 2.7", "RFC 5771 section 4"];
    /// The interface was deleted and made anew, and the memberships went with it.
    InterfaceRecreated = "interface-recreated", ["RFC 3678 section 4"];
    /// This is a container behind a bridge that passes no groups to the outside.
    ContainerBridge = "container-bridge", [];
    /// The machine is in a cloud whose network carries no multicast.
    CloudNetwork = "cloud-network", [];
    /// The route to the group leads into a tunnel.
    VpnTakesDefault = "vpn-takes-default", [];
    /// Over a wireless link multicast is slow and not repeated.
    Wireless = "wireless", ["RFC 9119 section 3"];
    /// Nothing for the group reached this machine, and nothing here stands in its way.
    NothingArrives = "nothing-arrives", [];
    /// The interface is down, or without a carrier.
    InterfaceDown = "interface-down", [];
    /// The kernel's queue between device and protocols is full.
    BacklogDrops = "backlog-drops", ["sysctl/net: netdev_max_backlog"];
    /// The bridge's table of groups is full, which switches snooping off.
    SnoopingTableFull = "snooping-table-full", ["RFC 4541 section 2.1.1"];
    /// The group comes in with a VLAN tag that no interface here takes off.
    VlanTagged = "vlan-tagged", ["IEEE 802.1Q"];
    /// The socket is connected to another address than the sender's.
    ConnectedElsewhere = "connected-elsewhere", ["udp(7)"];
    /// The program has the port open and has joined nothing.
    NotJoined = "not-joined", ["RFC 1112 section 7.1"];
    /// A router gets the group by another interface than its way back to the source.
    RouterWrongInterface = "router-wrong-interface", ["RFC 7761 section 4.2"];
    /// A router asks for a higher hop limit than the datagrams have.
    TtlThreshold = "ttl-threshold", ["RFC 1112 section 6.1"];
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no finding is called \"{0}\"")]
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
    fn each_id_is_read_as_it_is_written_and_none_is_written_twice() {
        let texts: BTreeSet<_> = Id::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(texts.len(), Id::ALL.len());
        for id in Id::ALL {
            assert_eq!(id.to_string().parse(), Ok(*id));
            assert!(id.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '6'), "{id}");
        }
    }
}
