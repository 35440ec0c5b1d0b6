//! Other sockets of this network namespace that would miss frames taken off an interface.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use mcast_group::{GroupAddr, InterfaceIndex};

use crate::joined::socket_owners;
use crate::socket::Socket;

/// What receives datagrams, or copies of them, beside this program's sockets.
#[derive(Clone, Debug, Default)]
pub struct Bystanders {
    sockets: Vec<BoundSocket>,
    /// Raw sockets for UDP.
    raw: Vec<u64>,
    packet: Vec<PacketSocket>,
    /// The names of the interfaces from which the kernel forwards multicast.
    routed: BTreeSet<String>,
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
        let mut sockets = bound(&table("udp")?);
        sockets.extend(bound(&table("udp6")?));
        let mut raw = bound(&table("raw")?);
        raw.extend(bound(&table("raw6")?));
        let routed = [table("ip_mr_vif")?, table("ip6_mr_vif")?];
        Ok(Self {
            sockets,
            raw: raw.iter().filter(|socket| socket.port == UDP).map(|socket| socket.inode).collect(),
            packet: table("packet")?.lines().filter_map(packet_socket).collect(),
            routed: routed.iter().flat_map(|table| table.lines().filter_map(routed_interface)).collect(),
        })
    }

    /// Returns who would miss the datagrams of a group on an interface, beside the sockets with the inodes `own`.
    #[must_use]
    pub fn of(
        &self,
        address: GroupAddr,
        interface: InterfaceIndex,
        name: &str,
        own: &BTreeSet<u64>,
    ) -> Option<Bystander> {
        let group = address.group.addr();
        let receives = |socket: &&BoundSocket| {
            let is_bound = socket.address == group || socket.address.is_unspecified();
            // A socket of IPv6 that is bound to any address may receive IPv4, too, but not the other way around.
            let family = socket.address.is_ipv6() || group.is_ipv4();
            socket.port == address.port && is_bound && family && !own.contains(&socket.inode)
        };
        let sees = |socket: &&PacketSocket| socket.interface.is_none_or(|only| only == interface);
        if self.routed.contains(name) {
            return Some(Bystander::Router);
        }
        let packet = self.packet.iter().find(sees).map(|socket| Bystander::Packet(socket.inode));
        let raw = || self.raw.iter().find(|inode| !own.contains(inode)).map(|inode| Bystander::Raw(*inode));
        let udp = || self.sockets.iter().find(receives).map(|socket| Bystander::Udp(socket.inode));
        packet.or_else(raw).or_else(udp)
    }
}

impl Bystander {
    /// Returns who that is, for people, with the name of the program if it may be known.
    #[must_use]
    pub fn describe(self) -> String {
        let (inode, what) = match self {
            Self::Router => return "the kernel forwards multicast from this interface".into(),
            Self::Udp(inode) => (inode, "receives on this port, too"),
            Self::Raw(inode) => (inode, "receives all UDP by a raw socket"),
            Self::Packet(inode) => (inode, "captures packets on this interface"),
        };
        // Without the names, the reason is still true.
        let owners = socket_owners().ok().and_then(|mut owners| owners.remove(&inode));
        match owners.as_deref().and_then(<[_]>::first) {
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

/// Parses `NUMBER NAME …`, a virtual interface of multicast routing. The register of PIM is none of these.
fn routed_interface(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    words.next()?.parse::<u32>().ok()?;
    words.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(number: u32) -> InterfaceIndex {
        InterfaceIndex::new(number).unwrap()
    }

    fn of(bystanders: &Bystanders, address: &str, own: &[u64]) -> Option<Bystander> {
        let own = own.iter().copied().collect();
        bystanders.of(address.parse().unwrap(), index(2), "eth0", &own)
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
        let bystanders = Bystanders { sockets: bound(&sockets.concat()), ..Bystanders::default() };
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
        let bystanders = Bystanders { sockets: bound(any), ..Bystanders::default() };
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
        let table = "Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote\n \
                     0 eth0              0       0         0       0 00000 02000000 00000000\n";
        let routed = table.lines().filter_map(routed_interface).collect();
        let bystanders = Bystanders { routed, ..Bystanders::default() };
        assert_eq!(of(&bystanders, "239.1.2.3:7000", &[]), Some(Bystander::Router));
    }

    #[test]
    fn tables_of_this_machine_are_read() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let read = Bystanders::read().unwrap();
        assert!(read.sockets.iter().any(|each| each.port == port && each.address.is_loopback()));
    }
}
