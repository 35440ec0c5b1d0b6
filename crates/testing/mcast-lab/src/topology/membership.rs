//! Checks whether a host has joined a group and its switches have learnt it.

use std::net::IpAddr;

use super::LabNetwork;
use crate::{Host, LabError, SnoopedMember};

/// Returns whether a host has joined a group on any interface, and the snooping switches at those interfaces have
/// learnt it.
pub(super) fn has_joined(network: &LabNetwork, host: &str, group: IpAddr) -> Result<bool, LabError> {
    let interfaces = joined_on(network.host_by_name(host)?, group)?;
    if interfaces.is_empty() {
        return Ok(false);
    }
    for (switch, (_, options)) in network.switches().iter().zip(&network.topology().switches) {
        let is_connected = |interface: &String| switch.is_connected_to(host, interface);
        let learns = options.is_snooping() && !is_link_local(group) && interfaces.iter().any(is_connected);
        let is_member = |member: &SnoopedMember| member.host == host && member.group == group;
        if learns && !switch.members()?.iter().any(is_member) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the interfaces on which a host has joined a group.
fn joined_on(host: &Host, group: IpAddr) -> Result<Vec<String>, LabError> {
    match group {
        IpAddr::V4(group) => {
            // The kernel prints the address as a number in its own byte order.
            let group = format!("{:08X}", u32::from_ne_bytes(group.octets()));
            Ok(ipv4_interfaces(&host.read_proc_net("igmp")?, &group))
        }
        IpAddr::V6(group) => {
            let group = format!("{:032x}", group.to_bits());
            let table = host.read_proc_net("igmp6")?;
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let joined = rows.filter(|row| row.get(2) == Some(&group.as_str()));
            Ok(joined.filter_map(|row| row.get(1).map(|&name| name.to_owned())).collect())
        }
    }
}

/// Finds the interfaces with a group in `/proc/net/igmp`, where the row of each interface is followed by indented rows
/// for its groups.
fn ipv4_interfaces(table: &str, group: &str) -> Vec<String> {
    let mut interface = "";
    let mut joined = Vec::new();
    for line in table.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with('\t') {
            if words.next() == Some(group) {
                joined.push(interface.to_owned());
            }
        } else {
            interface = words.nth(1).unwrap_or_default();
        }
    }
    joined
}

/// Returns whether a group is link-local. Switches flood such groups, and hosts do not report all of them (RFC 4541,
/// section 2.1.2).
fn is_link_local(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        IpAddr::V6(group) => group.octets()[1] & 0xf <= 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGMP: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
        1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
        2\teth0      :     2      V3\n\t\t\t\t030201EF     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";

    #[test]
    fn groups_belong_to_the_interface_above_them() {
        assert_eq!(ipv4_interfaces(IGMP, "030201EF"), ["eth0"]);
        assert_eq!(ipv4_interfaces(IGMP, "010000E0"), ["lo", "eth0"]);
        assert!(ipv4_interfaces(IGMP, "040201EF").is_empty());
    }
}
