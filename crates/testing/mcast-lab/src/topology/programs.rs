//! The programs of a topology and their dependencies.

use std::collections::HashMap;
use std::net::IpAddr;

use toml::Spanned;

use super::check::Checker;
use super::file::{ProgramEntry, ProgramTable, Text};
use super::{LabNetwork, Program, ReadyWhen};
use crate::{Host, LabError, SnoopedMember};

type Result<T> = std::result::Result<T, LabError>;

/// Returns the programs of all hosts in order, and checks that they do not wait for each other in a cycle.
pub(super) fn check<'a>(
    checker: Checker<'_>,
    hosts: impl Iterator<Item = (&'a str, &'a [Spanned<ProgramEntry>])>,
) -> Result<Vec<Program>> {
    let named: Vec<_> = hosts.flat_map(|(host, entries)| name_all(host, entries)).collect();
    let mut indexes = HashMap::new();
    for (index, NamedEntry { name, entry, .. }) in named.iter().enumerate() {
        if indexes.insert(name.as_str(), index).is_some() {
            return Err(checker.problem(entry.span(), format!("another program has the name '{name}'")));
        }
    }
    let programs = named.iter().map(|named| program(checker, named, &indexes));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    match first_in_cycle(&programs) {
        Some(index) => {
            let problem = format!("'{}' waits for itself, directly or indirectly", programs[index].name);
            Err(checker.problem(named[index].entry.span(), problem))
        }
        None => Ok(programs),
    }
}

/// An entry of `run` with the name of the program, given or generated.
struct NamedEntry<'a> {
    host: &'a str,
    name: String,
    entry: &'a Spanned<ProgramEntry>,
}

fn name_all<'a>(host: &'a str, entries: &'a [Spanned<ProgramEntry>]) -> impl Iterator<Item = NamedEntry<'a>> {
    entries.iter().enumerate().map(move |(index, entry)| {
        let given = entry.get_ref().0.name.as_ref().map(|name| name.get_ref().clone());
        NamedEntry { host, name: given.unwrap_or_else(|| format!("{host}.{}", index + 1)), entry }
    })
}

fn program(checker: Checker<'_>, named: &NamedEntry<'_>, indexes: &HashMap<&str, usize>) -> Result<Program> {
    let ProgramTable { command, ready, joined, wait_for, after, background, expect, .. } =
        &named.entry.get_ref().0;
    let index = |name: &Text| {
        let unknown = || checker.problem(name.span(), format!("there is no program '{}'", name.get_ref()));
        indexes.get(name.get_ref().as_str()).copied().ok_or_else(unknown)
    };
    let ready = match (ready, joined) {
        (None, None) => ReadyWhen::Started,
        (Some(text), None) => ReadyWhen::Writes(text.clone()),
        (None, Some(group)) => ReadyWhen::Joined(checker.parse(group)?),
        (Some(_), Some(group)) => {
            return Err(checker.problem(group.span(), "a program cannot have both `ready` and `joined`"));
        }
    };
    Ok(Program {
        name: named.name.clone(),
        host: named.host.to_owned(),
        command: command.clone(),
        ready,
        wait_for: wait_for.iter().map(index).collect::<Result<_>>()?,
        after: after.iter().map(index).collect::<Result<_>>()?,
        background: *background,
        expect: *expect,
    })
}

/// Returns the index of a program that can never start, because it waits for itself directly or indirectly.
fn first_in_cycle(programs: &[Program]) -> Option<usize> {
    let mut can_start = vec![false; programs.len()];
    loop {
        let starts =
            |program: &Program| program.wait_for.iter().chain(&program.after).all(|other| can_start[*other]);
        let next =
            programs.iter().enumerate().position(|(index, program)| !can_start[index] && starts(program));
        match next {
            Some(index) => can_start[index] = true,
            None => return can_start.iter().position(|can| !can),
        }
    }
}

/// Returns whether a host has joined a group on any interface, and the snooping switches at those interfaces have
/// learnt it.
pub(super) fn has_joined(network: &LabNetwork, host: &str, group: IpAddr) -> Result<bool> {
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
fn joined_on(host: &Host, group: IpAddr) -> Result<Vec<String>> {
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
