//! Other sockets of this network namespace that would miss frames taken off an interface.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use mcast_group::{GroupAddr, InterfaceIndex};

use crate::Process;
use crate::joined::socket_owners;
use crate::netlink::{Netlink, NetlinkProtocol, attribute, u32_at};
use crate::socket::Socket;

/// What receives datagrams, or copies of them, beside this program's sockets.
#[derive(Clone, Debug, Default)]
pub struct Bystanders {
    /// The inodes of UDP sockets, by the address and port to which they are bound.
    sockets: BTreeMap<(IpAddr, u16), Vec<u64>>,
    /// Raw sockets for UDP.
    raw: Vec<u64>,
    packet: Vec<PacketSocket>,
    /// The interfaces from which the kernel forwards multicast.
    routed: BTreeSet<InterfaceIndex>,
    /// The processes that have each socket open, once somebody asks: reading all of `/proc` takes long.
    owners: OnceCell<BTreeMap<u64, Vec<Process>>>,
}

/// Who would miss the frames of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bystander {
    /// A UDP socket that is bound to the port, by its inode.
    Udp(u64),
    /// A raw socket for UDP, by its inode.
    Raw(u64),
    /// A packet socket, by its inode.
    Packet(u64),
    /// The kernel's multicast routing.
    Router,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BoundSocket {
    address: IpAddr,
    port: u16,
    inode: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PacketSocket {
    /// `None`: on all interfaces.
    interface: Option<InterfaceIndex>,
    inode: u64,
}

/// The protocol number of UDP, which the tables of raw sockets have in place of a port.
const UDP: u16 = 17;

impl Bystanders {
    /// Reads the tables of sockets and of multicast routing of the calling thread's network namespace.
    ///
    /// # Errors
    /// If the tables cannot be read. Then it is unknown who would miss frames.
    pub fn read() -> io::Result<Self> {
        let [udp, raw] = [["udp", "udp6"], ["raw", "raw6"]].map(|names| {
            let [v4, v6] = names.map(|name| table(name).map(|table| bound(&table)));
            v4.and_then(|v4| Ok(v4.into_iter().chain(v6?).collect::<Vec<_>>()))
        });
        Ok(Self {
            sockets: by_address(&udp?),
            raw: raw?.iter().filter(|socket| socket.port == UDP).map(|socket| socket.inode).collect(),
            packet: table("packet")?.lines().filter_map(packet_socket).collect(),
            routed: routed()?,
            owners: OnceCell::new(),
        })
    }

    /// Returns who would miss the datagrams of a group on an interface, beside the sockets with the inodes `own`.
    #[must_use]
    pub fn of(
        &self,
        address: GroupAddr,
        interface: InterfaceIndex,
        own: &BTreeSet<u64>,
    ) -> Option<Bystander> {
        if self.routed.contains(&interface) {
            return Some(Bystander::Router);
        }
        let group = address.group.addr();
        let other = |inodes: &[u64]| inodes.iter().find(|inode| !own.contains(inode)).copied();
        let sees = |socket: &&PacketSocket| socket.interface.is_none_or(|only| only == interface);
        let packet = self.packet.iter().find(sees).map(|socket| Bystander::Packet(socket.inode));
        let raw = || other(&self.raw).map(Bystander::Raw);
        // A socket of IPv6 that is bound to any address may receive IPv4, too, but not the other way around.
        let any_v4 = group.is_ipv4().then_some(Ipv4Addr::UNSPECIFIED.into());
        let bound_to = [Some(group), Some(Ipv6Addr::UNSPECIFIED.into()), any_v4];
        let udp = || {
            let mut inodes =
                bound_to.iter().flatten().filter_map(|to| self.sockets.get(&(*to, address.port)));
            inodes.find_map(|inodes| other(inodes)).map(Bystander::Udp)
        };
        packet.or_else(raw).or_else(udp)
    }

    /// Returns who that is, for people, with the name of the program if it may be known.
    #[must_use]
    pub fn describe(&self, bystander: Bystander) -> String {
        let (inode, what) = match bystander {
            Bystander::Router => return "the kernel forwards multicast from this interface".into(),
            Bystander::Udp(inode) => (inode, "receives on this port, too"),
            Bystander::Raw(inode) => (inode, "receives all UDP by a raw socket"),
            Bystander::Packet(inode) => (inode, "captures packets on this interface"),
        };
        // Without the names, the reason is still true.
        let owners = self.owners.get_or_init(|| socket_owners().unwrap_or_default());
        match owners.get(&inode).and_then(|owners| owners.first()) {
            Some(process) if process.pid == std::process::id() => {
                format!("another socket of this program {what}")
            }
            Some(process) => format!("{} (process {}) {what}", process.name, process.pid),
            None => format!("another program {what}"),
        }
    }
}

/// Returns the inode of a socket, by which tables list it.
pub fn inode(socket: &Socket) -> io::Result<u64> {
    Ok(File::from(socket.as_fd().try_clone_to_owned()?).metadata()?.ino())
}

/// Reads a table of the calling thread's network namespace; empty if the kernel was built without it.
fn table(name: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    match File::open(format!("/proc/thread-self/net/{name}"))
        .and_then(|mut file| file.read_to_end(&mut bytes))
    {
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && std::fs::exists("/proc/thread-self/net/udp")? =>
        {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}

/// Parses a table of sockets: `NUMBER: ADDRESS:PORT …`, and the inode as the tenth word.
fn bound(table: &str) -> Vec<BoundSocket> {
    let socket = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let inode = words.nth(7)?.parse().ok()?;
        Some(BoundSocket { address: ip(address)?, port: u16::from_str_radix(port, 16).ok()?, inode })
    };
    table.lines().filter_map(socket).collect()
}

/// Parses an address as the kernel prints it: numbers of 32 bits in host order whose memory is in network order.
fn ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

/// Whether a program captures IP packets on an interface of the calling thread's network namespace.
pub(super) fn captures(interface: InterfaceIndex) -> io::Result<bool> {
    let sees = |socket: PacketSocket| socket.interface.is_none_or(|only| only == interface);
    Ok(table("packet")?.lines().filter_map(packet_socket).any(sees))
}

/// Parses `ADDRESS REFERENCES TYPE PROTOCOL INTERFACE RUNNING MEMORY USER INODE`. Sockets for protocols that carry no IP
/// do not count.
fn packet_socket(line: &str) -> Option<PacketSocket> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let protocol = u16::from_str_radix(words.get(3)?, 16).ok()?;
    let carries_ip = [libc::ETH_P_ALL, libc::ETH_P_IP, libc::ETH_P_IPV6].contains(&i32::from(protocol));
    let interface = words.get(4)?.parse().ok()?;
    let inode = words.get(8)?.parse().ok()?;
    carries_ip.then(|| PacketSocket { interface: InterfaceIndex::new(interface), inode })
}

fn by_address(sockets: &[BoundSocket]) -> BTreeMap<(IpAddr, u16), Vec<u64>> {
    let mut by_address: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for socket in sockets {
        by_address.entry((socket.address, socket.port)).or_default().push(socket.inode);
    }
    by_address
}

/// Returns the interfaces from which the kernel forwards multicast by any of its tables.
fn routed() -> io::Result<BTreeSet<InterfaceIndex>> {
    const GET_CONFIGURATION: u16 = 82;
    let mut netlink = Netlink::open(NetlinkProtocol::Route)?;
    let mut routed = BTreeSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        // `struct netconfmsg`
        match netlink.dump(GET_CONFIGURATION, &[family as u8, 0, 0, 0]) {
            Ok(replies) => routed.extend(replies.iter().filter_map(|reply| routed_interface(&reply.payload))),
            // The kernel has no IPv6.
            Err(_) if family == libc::AF_INET6 && !std::fs::exists("/proc/thread-self/net/udp6")? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(routed)
}

/// Parses a reply (`RTM_NEWNETCONF`); `None` unless multicast is forwarded from the interface.
fn routed_interface(payload: &[u8]) -> Option<InterfaceIndex> {
    const HEADER: usize = 4;
    const INTERFACE: u16 = 1;
    const FORWARDS_MULTICAST: u16 = 4;
    let number = |kind| u32_at(attribute(payload.get(HEADER..)?, kind)?, 0);
    if number(FORWARDS_MULTICAST)? == 0 {
        return None;
    }
    InterfaceIndex::new(number(INTERFACE)?)
}

#[cfg(test)]
mod tests {
    use crate::netlink::push_attribute;

    use super::*;

    fn index(number: u32) -> InterfaceIndex {
        InterfaceIndex::new(number).unwrap()
    }

    fn of(bystanders: &Bystanders, address: &str, own: &[u64]) -> Option<Bystander> {
        let own = own.iter().copied().collect();
        bystanders.of(address.parse().unwrap(), index(2), &own)
    }

    #[test]
    fn a_socket_on_the_port_is_found_unless_it_is_bound_elsewhere() {
        let line = |address: [u8; 4], port: u16, inode: u64| {
            let address = u32::from_ne_bytes(address);
            format!(
                " 7: {address:08X}:{port:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 {inode} 2 0 0\n"
            )
        };
        let sockets =
            [line([239, 1, 2, 3], 7000, 11), line([0, 0, 0, 0], 7001, 12), line([10, 0, 0, 1], 7002, 13)];
        let bystanders =
            Bystanders { sockets: by_address(&bound(&sockets.concat())), ..Bystanders::default() };
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[]), Some(Bystander::Udp(11)));
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[11]), None);
        assert_eq!(of(&bystanders, "239.1.2.4:7000", &[]), None);
        assert_eq!(of(&bystanders, "239.1.2.4:7001", &[]), Some(Bystander::Udp(12)));
        assert_eq!(of(&bystanders, "239.1.2.4:7002", &[]), None);
        assert_eq!(of(&bystanders, "[ff15::1]:7001", &[]), None, "IPv4 sockets receive no IPv6");
    }

    #[test]
    fn a_socket_of_ipv6_on_any_address_may_receive_ipv4() {
        let any = "1: 00000000000000000000000000000000:1B58 0:0 07 0:0 00:0 0 0 0 21 2 0 0";
        let bystanders = Bystanders { sockets: by_address(&bound(any)), ..Bystanders::default() };
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[]), Some(Bystander::Udp(21)));
        assert_eq!(of(&bystanders, "[ff15::1]:7000", &[]), Some(Bystander::Udp(21)));
    }

    #[test]
    fn packet_sockets_count_on_their_interface_only() {
        let lines = "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                     00 3      3    88cc   0     1 0      0      31\n\
                     00 3      3    0003   3     1 0      0      32\n";
        let parse = |lines: &str| lines.lines().filter_map(packet_socket).collect::<Vec<_>>();
        let bystanders = Bystanders { packet: parse(lines), ..Bystanders::default() };
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[]), None);
        let everywhere = "00 3      3    0800   0     1 0      0      33\n";
        let bystanders = Bystanders { packet: parse(everywhere), ..Bystanders::default() };
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[]), Some(Bystander::Packet(33)));
    }

    #[test]
    fn an_interface_that_multicast_is_forwarded_from_is_left_alone() {
        let reply = |interface: u32, forwards: u32| {
            let mut payload = vec![libc::AF_INET as u8, 0, 0, 0];
            push_attribute(&mut payload, 1, &interface.to_ne_bytes());
            push_attribute(&mut payload, 4, &forwards.to_ne_bytes());
            payload
        };
        assert_eq!(routed_interface(&reply(2, 0)), None);
        let routed = routed_interface(&reply(2, 1)).into_iter().collect();
        let bystanders = Bystanders { routed, ..Bystanders::default() };
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[]), Some(Bystander::Router));
    }

    #[test]
    fn tables_of_this_machine_are_read() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let read = Bystanders::read().unwrap();
        assert!(read.sockets.keys().any(|(address, bound)| *bound == port && address.is_loopback()));
    }
}
