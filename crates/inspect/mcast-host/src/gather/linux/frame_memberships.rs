//! Programs that take frames to groups of Ethernet without IP, such as those of LLDP, with packet sockets.

use mcast::InterfaceIndex;
use mcast_packet::MacAddress;

use crate::snapshot::FrameMembership;

/// Reads `/proc/net/dev_mcast` (`INDEX NAME USERS GLOBAL_USERS ADDRESS`) and `/proc/net/packet` (`SOCKET REFERENCES TYPE PROTOCOL
/// INTERFACE RUNNING MEMORY USER INODE`). What no packet socket on the interface may have joined, the kernel has joined itself.
pub(super) fn read(groups: &str, sockets: &str) -> Vec<FrameMembership> {
    let sockets: Vec<_> = sockets.lines().skip(1).filter_map(socket).collect();
    let membership = |line: &str| {
        let (interface, address) = group(line)?;
        // A socket on interface 0 is on all.
        let is_there = |(on, _): &&(u32, u64)| *on == 0 || *on == interface.number();
        let sockets: Vec<_> = sockets.iter().filter(is_there).map(|(_, inode)| *inode).collect();
        (!sockets.is_empty()).then_some(FrameMembership { interface, address, sockets })
    };
    groups.lines().filter_map(membership).collect()
}

fn socket(line: &str) -> Option<(u32, u64)> {
    let mut words = line.split_ascii_whitespace().skip(4);
    Some((words.next()?.parse().ok()?, words.nth(3)?.parse().ok()?))
}

/// Returns a group of Ethernet that is not one of IP.
fn group(line: &str) -> Option<(InterfaceIndex, MacAddress)> {
    let mut words = line.split_ascii_whitespace();
    let interface = InterfaceIndex::new(words.next()?.parse().ok()?)?;
    let address = words.nth(3).filter(|address| address.len() == 12)?;
    let [_, _, octets @ ..] = u64::from_str_radix(address, 16).ok()?.to_be_bytes();
    let is_of_ip = octets.starts_with(&[0x01, 0x00, 0x5e]) || octets.starts_with(&[0x33, 0x33]);
    (octets[0] & 1 == 1 && !is_of_ip).then_some((interface, MacAddress(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_ip_are_read_with_the_sockets_that_may_have_joined_them() {
        let groups = "2    eth0            1     0     333300000001\n\
                      2    eth0            1     0     01005e000001\n\
                      2    eth0            1     0     0180c200000e\n\
                      3    eth1            1     0     0180c2000000\n";
        let sockets = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                       0000000003d7b126 3      3    88cc   2     1 0      0      6056903\n";
        let read = read(groups, sockets);
        let address = MacAddress([1, 0x80, 0xc2, 0, 0, 0x0e]);
        let interface = InterfaceIndex::new(2).unwrap();
        assert_eq!(read, [FrameMembership { interface, address, sockets: vec![6_056_903] }]);
    }

    #[test]
    fn damaged_tables_are_read_without_panic() {
        assert_eq!(read("2 eth0 1 0 01\nx\n2 eth0 1 0 zz80c200000e", "head\n1 2 3 4 5"), []);
    }
}
