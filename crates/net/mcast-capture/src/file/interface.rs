//! The interfaces described in a file, and the numbers of link types.

use mcast_packet::LinkType;
use pcap_file::DataLink;

/// An interface described in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInterface {
    /// Its name on the capturing system; pcap files do not state it.
    pub name: Option<String>,
    /// The link type of its frames.
    pub link: LinkNumber,
    /// The capture filter, in the syntax of the capturing program.
    pub filter: Option<String>,
    /// Number of packets that the capture lost, if stated.
    pub dropped: Option<u64>,
}

/// A link type as numbered in files (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkNumber(pub u32);

impl LinkNumber {
    const NULL: u32 = 0;
    const ETHERNET: u32 = 1;
    const PPP: u32 = 9;
    /// PPP in HDLC-like framing.
    const PPP_HDLC: u32 = 50;
    const RAW: u32 = 101;
    const IEEE_802_11: u32 = 105;
    const LOOP: u32 = 108;
    const LINUX_SLL: u32 = 113;
    const RADIOTAP: u32 = 127;
    const IPV4: u32 = 228;
    const IPV6: u32 = 229;
    const LINUX_SLL2: u32 = 276;

    /// The numbers of DLT_RAW on some systems before 101 was agreed on.
    const RAW_OF_BSD: u32 = 12;
    const RAW_OF_OPENBSD: u32 = 14;

    /// Returns the link type, if its frames can be decoded.
    #[must_use]
    pub const fn link_type(self) -> Option<LinkType> {
        Some(match self.0 {
            Self::ETHERNET => LinkType::Ethernet,
            Self::RAW | Self::RAW_OF_BSD | Self::RAW_OF_OPENBSD | Self::IPV4 | Self::IPV6 => LinkType::Ip,
            Self::LINUX_SLL => LinkType::LinuxCooked,
            Self::LINUX_SLL2 => LinkType::LinuxCooked2,
            Self::NULL | Self::LOOP => LinkType::Loopback,
            Self::IEEE_802_11 => LinkType::Wireless,
            Self::RADIOTAP => LinkType::Radiotap,
            Self::PPP | Self::PPP_HDLC => LinkType::Ppp,
            _ => return None,
        })
    }

    pub(super) fn data_link(self) -> DataLink {
        DataLink::from(self.0)
    }
}

impl From<LinkType> for LinkNumber {
    /// Returns the number that files use.
    fn from(link_type: LinkType) -> Self {
        Self(match link_type {
            LinkType::Ip => Self::RAW,
            LinkType::LinuxCooked => Self::LINUX_SLL,
            LinkType::LinuxCooked2 => Self::LINUX_SLL2,
            LinkType::Loopback => Self::NULL,
            LinkType::Wireless => Self::IEEE_802_11,
            LinkType::Radiotap => Self::RADIOTAP,
            LinkType::Ppp => Self::PPP,
            _ => Self::ETHERNET,
        })
    }
}
