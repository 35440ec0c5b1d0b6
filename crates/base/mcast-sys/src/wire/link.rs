//! What an interface is, and whether frames can be taken off it without anyone missing them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use mcast_group::InterfaceIndex;

use super::sharing::{Shared, Sharing};
use super::{WireFeatures, WireRefusal};
use crate::netlink::{
    GENERIC_HEADER, Netlink, NetlinkProtocol, attribute, attributes, generic, push_attribute, text, u16_at,
    u32_at, u64_at,
};
use crate::socket_option::ethtool;

/// The size of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_TARGET_NETNSID: u16 = 46;
const IFLA_XDP_ATTACHED: u16 = 2;

const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GFLAGS: u32 = 0x25;
const FLAG_REMOVES_TAGS: u32 = 1 << 8;
/// The size of `struct ethtool_drvinfo`.
const DRIVER_BYTES: usize = 196;

/// Drivers that implement the function of the kernel for VLAN tags, and those that pass frames between namespaces or
/// from a hypervisor whose sender left the UDP checksum to the device.
const REPORT_TAGS: [&str; 3] = ["veth", "ice", "mlx5_core"];
const LEAVE_CHECKSUMS: [&str; 3] = ["veth", "tun", "virtio_net"];

/// An interface of the calling thread's network namespace.
#[derive(Debug)]
pub(super) struct Link {
    is_ethernet: bool,
    pub(super) mtu: u32,
    /// The MTU of the other end of a veth pair, if it is known.
    pub(super) peer_mtu: Option<u32>,
    pub(super) driver: String,
    /// Whether the driver removes VLAN tags from frames.
    pub(super) removes_tags: bool,
    /// The interface that it is a port of.
    master: Option<String>,
    /// An interface that receives its frames, too, such as one of kind macvlan.
    upper: Option<String>,
    /// What else needs its frames, as far as that is visible here.
    sharing: Option<Sharing>,
    /// Whether an XDP program runs on it.
    pub(super) has_program: bool,
}

/// A row of the table of interfaces.
#[derive(Debug, Default)]
struct Row {
    index: u32,
    hardware: u16,
    flags: u32,
    name: String,
    address: Vec<u8>,
    /// How often somebody requested all its frames.
    promiscuity: u32,
    mtu: u32,
    lower: Option<u32>,
    /// The number by which this namespace knows that of `lower`, if it is another one.
    lower_namespace: Option<u32>,
    master: Option<u32>,
    kind: String,
    has_program: bool,
}

impl Link {
    pub(super) fn read(interface: InterfaceIndex) -> io::Result<Self> {
        let mut netlink = Netlink::open(NetlinkProtocol::Route)?;
        let rows: Vec<Row> = netlink
            .dump(libc::RTM_GETLINK, &[0; LINK_HEADER])?
            .iter()
            .filter_map(|reply| row(&reply.payload))
            .collect();
        let gone = || io::Error::from_raw_os_error(libc::ENODEV);
        let own = rows.iter().find(|row| row.index == interface.number()).ok_or_else(gone)?;
        let name_of = |index: u32| rows.iter().find(|row| row.index == index).map(|row| row.name.clone());
        let receives_all = |row: &&Row| {
            // Interfaces of kind vlan receive tagged frames, which are never taken. The other end of a veth pair is
            // linked, too.
            let is_apart = ["vlan", "veth"].contains(&row.kind.as_str());
            row.lower == Some(own.index)
                && row.lower_namespace.is_none()
                && row.index != own.index
                && !is_apart
        };
        let socket = ethtool::open()?;
        let is_vlan = |row: &&Row| row.kind == "vlan" && row.lower == Some(own.index);
        let shared = Shared {
            interface,
            name: &own.name,
            promiscuity: own.promiscuity.saturating_sub(u32::from(own.flags & libc::IFF_PROMISC as u32 != 0)),
            vlan_addresses: rows.iter().filter(is_vlan).map(|row| row.address.as_slice()).collect(),
        };
        Ok(Self {
            sharing: shared.with(&mut netlink)?,
            is_ethernet: own.hardware == libc::ARPHRD_ETHER && own.flags & libc::IFF_LOOPBACK as u32 == 0,
            mtu: own.mtu,
            peer_mtu: peer_mtu(&mut netlink, own, &rows),
            driver: driver(&socket, &own.name).unwrap_or_else(|_| own.kind.clone()),
            // If unknown, it may.
            removes_tags: removes_tags(&socket, &own.name).unwrap_or(true),
            master: own.master.map(|index| name_of(index).unwrap_or_else(|| index.to_string())),
            upper: rows.iter().find(receives_all).map(|row| row.name.clone()),
            has_program: own.has_program,
        })
    }

    pub(super) fn check(&self) -> Result<(), WireRefusal> {
        if !self.is_ethernet {
            return Err(WireRefusal::NotEthernet);
        }
        match (&self.master, &self.upper, self.sharing) {
            (Some(master), _, _) => Err(WireRefusal::PortOf(master.clone())),
            (_, Some(upper), _) => Err(WireRefusal::Below(upper.clone())),
            (_, _, Some(Sharing::Elsewhere)) => Err(WireRefusal::SharedElsewhere),
            (_, _, Some(Sharing::IngressRules)) => Err(WireRefusal::IngressRules),
            (None, None, None) => Ok(()),
        }
    }

    pub(super) fn reports_tags(&self) -> bool {
        REPORT_TAGS.contains(&self.driver.as_str())
    }

    pub(super) fn leaves_checksums(&self) -> bool {
        LEAVE_CHECKSUMS.contains(&self.driver.as_str())
    }
}

/// Returns the MTU of the other end of a veth pair; `None` if the interface is none, or the system does not say.
fn peer_mtu(netlink: &mut Netlink, own: &Row, rows: &[Row]) -> Option<u32> {
    let peer = own.lower.filter(|_| own.kind == "veth")?;
    let Some(namespace) = own.lower_namespace else {
        return rows.iter().find(|row| row.index == peer).map(|row| row.mtu);
    };
    let mut body = vec![0; LINK_HEADER];
    body[4..8].copy_from_slice(&peer.to_ne_bytes());
    push_attribute(&mut body, IFLA_TARGET_NETNSID, &namespace.to_ne_bytes());
    let replies = netlink.request_one(libc::RTM_GETLINK, 0, &body).ok()?;
    replies.iter().find_map(|reply| row(&reply.payload)).map(|row| row.mtu)
}

/// Returns the inode of the calling thread's network namespace.
pub fn in_namespace() -> io::Result<u64> {
    Ok(File::open("/proc/thread-self/ns/net")?.metadata()?.ino())
}

fn row(payload: &[u8]) -> Option<Row> {
    let mut row = Row {
        hardware: u16_at(payload, 2)?,
        index: u32_at(payload, 4)?,
        flags: u32_at(payload, 8)?,
        ..Row::default()
    };
    for (kind, value) in attributes(payload.get(LINK_HEADER..)?) {
        match kind {
            IFLA_ADDRESS => row.address = value.to_vec(),
            IFLA_PROMISCUITY => row.promiscuity = u32_at(value, 0)?,
            IFLA_IFNAME => row.name = text(value),
            IFLA_MTU => row.mtu = u32_at(value, 0)?,
            IFLA_LINK => row.lower = u32_at(value, 0),
            IFLA_LINK_NETNSID => row.lower_namespace = Some(u32_at(value, 0)?),
            IFLA_MASTER => row.master = u32_at(value, 0),
            IFLA_LINKINFO => row.kind = attribute(value, IFLA_INFO_KIND).map(text).unwrap_or_default(),
            IFLA_XDP => {
                let attached = attribute(value, IFLA_XDP_ATTACHED).and_then(|value| value.first());
                row.has_program = attached.is_some_and(|mode| *mode != 0);
            }
            _ => {}
        }
    }
    Some(row)
}

/// Asks the kernel what a driver offers to XDP programs and to `AF_XDP` sockets; `None` before Linux 6.3.
pub(super) fn features(interface: InterfaceIndex) -> io::Result<Option<WireFeatures>> {
    const DEVICE_GET: u8 = 1;
    const DEVICE_INDEX: u16 = 1;
    const DEVICE_FEATURES: u16 = 3;
    let mut netlink = Netlink::open(NetlinkProtocol::Generic)?;
    let Some(family) = netlink.family(c"netdev")? else { return Ok(None) };
    let mut body = generic(DEVICE_GET);
    push_attribute(&mut body, DEVICE_INDEX, &interface.number().to_ne_bytes());
    let replies = netlink.request_one(family, 0, &body)?;
    let bits = replies
        .iter()
        .find_map(|reply| attribute(reply.payload.get(GENERIC_HEADER..)?, DEVICE_FEATURES))
        .and_then(|value| u64_at(value, 0));
    Ok(bits.map(WireFeatures::from_bits))
}

fn driver(socket: &OwnedFd, interface: &str) -> io::Result<String> {
    let mut request = [0_u32; DRIVER_BYTES / 4];
    request[0] = ETHTOOL_GDRVINFO;
    ethtool::request(socket, interface, &mut request)?;
    let bytes: Vec<u8> = request[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(ethtool::name(&bytes))
}

fn removes_tags(socket: &OwnedFd, interface: &str) -> io::Result<bool> {
    let mut request = [ETHTOOL_GFLAGS, 0];
    ethtool::request(socket, interface, &mut request)?;
    Ok(request[1] & FLAG_REMOVES_TAGS != 0)
}
