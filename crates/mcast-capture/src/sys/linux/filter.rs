//! Filters as programs for the kernel's classic BPF (`socket(7)`, `SO_ATTACH_FILTER`).
//!
//! They load relative to the network header, and by the protocol that the kernel found, so that they
//! are the same for every link layer. They admit too much rather than too little: what lies behind
//! a second VLAN tag or IPv6 extension headers is looked at after the kernel.

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET, BPF_W,
};
use libc::{BPF_ALU, BPF_AND, BPF_JEQ, sock_filter};
use mcast_packet::{ether_type, protocol};

use crate::Filter;

/// Loads from here on are relative to the network header (`linux/filter.h`, `SKF_NET_OFF`).
const NETWORK: i32 = -0x10_0000;

/// Loads the protocol of the frame (`SKF_AD_OFF + SKF_AD_PROTOCOL`).
const PROTOCOL: i32 = -0x1000;

/// Loads from here on are relative to the link header (`SKF_LL_OFF`).
const LINK: i32 = -0x20_0000;

/// The extension header that every MLD message has, and so the only one that is common.
const HOP_BY_HOP: u32 = 0;

/// The length of a UDP header.
const UDP_HEADER: i32 = 8;

/// The other headers that may stand between the IPv6 header and what it carries.
const EXTENSION_HEADERS: [u32; 4] = [43, 44, 51, 60];

/// Queries, reports, done, MLDv2's reports, and the three messages of router discovery.
const MLD_TYPES: [u32; 7] = [130, 131, 132, 143, 151, 152, 153];

/// The program for a filter; `None` when the kernel need not look.
pub(super) fn program(filter: Filter) -> Option<Vec<sock_filter>> {
    let (v4, v6) = match filter {
        Filter::All => return None,
        Filter::Multicast | Filter::GroupAddressed => (v4_multicast(), v6_multicast()),
        Filter::UdpPort(port) => (v4_port(port), v6_port(port)),
        Filter::UdpBeginsWith(bytes) => (v4_payload(bytes), v6_payload(bytes)),
        Filter::Control => (v4_control(), v6_control()),
    };
    let mut program = vec![load(BPF_W, PROTOCOL)];
    for tag in [ether_type::VLAN, ether_type::PROVIDER_VLAN, ether_type::OLD_DOUBLE_VLAN] {
        program.extend([unless_equal(u32::from(tag), 1), ADMIT]);
    }
    program.push(unless_equal(u32::from(ether_type::IPV4), v4.len() as u8));
    program.extend(v4);
    program.push(unless_equal(u32::from(ether_type::IPV6), v6.len() as u8));
    program.extend(v6);
    if filter == Filter::GroupAddressed {
        program.extend(group_addressed());
    }
    program.push(REFUSE);
    Some(program)
}

/// Goes on behind these instructions if the packet is to no group.
fn v4_multicast() -> Vec<sock_filter> {
    let and = instruction(BPF_ALU | BPF_AND | BPF_K, 0xf000_0000);
    vec![load(BPF_W, NETWORK + 16), and, unless_equal(0xe000_0000, 1), ADMIT, RELOAD]
}

fn v6_multicast() -> Vec<sock_filter> {
    vec![load(BPF_B, NETWORK + 24), unless_equal(0xff, 1), ADMIT, RELOAD]
}

/// The bit of an Ethernet address that is set in those of groups and in broadcast. Where there is no
/// Ethernet header this admits or refuses anything.
fn group_addressed() -> [sock_filter; 3] {
    let is_set = sock_filter { jt: 0, jf: 1, ..instruction(BPF_JMP | BPF_JSET | BPF_K, 1) };
    [load(BPF_B, LINK), is_set, ADMIT]
}

fn v4_port(port: u16) -> Vec<sock_filter> {
    let port = u32::from(port);
    let mut program = v4_udp();
    program.extend([
        instruction(BPF_LD | BPF_H | BPF_IND, NETWORK as u32),
        unless_equal(port, 1),
        ADMIT,
        instruction(BPF_LD | BPF_H | BPF_IND, (NETWORK + 2) as u32),
        unless_equal(port, 1),
        ADMIT,
        REFUSE,
    ]);
    program
}

fn v6_port(port: u16) -> Vec<sock_filter> {
    let port = u32::from(port);
    let mut program = v6_udp();
    program.extend([
        load(BPF_H, NETWORK + 40),
        unless_equal(port, 1),
        ADMIT,
        load(BPF_H, NETWORK + 42),
        unless_equal(port, 1),
        ADMIT,
        REFUSE,
    ]);
    program
}

fn v4_payload(bytes: [u8; 2]) -> Vec<sock_filter> {
    let mut program = v4_udp();
    let first = instruction(BPF_LD | BPF_H | BPF_IND, (NETWORK + UDP_HEADER) as u32);
    program.extend([first, unless_equal(u16::from_be_bytes(bytes).into(), 1), ADMIT, REFUSE]);
    program
}

fn v6_payload(bytes: [u8; 2]) -> Vec<sock_filter> {
    let mut program = v6_udp();
    let first = load(BPF_H, NETWORK + 40 + UDP_HEADER);
    program.extend([first, unless_equal(u16::from_be_bytes(bytes).into(), 1), ADMIT, REFUSE]);
    program
}

/// Refuses all but the beginning of UDP, and has the length of the IP header in the index.
fn v4_udp() -> Vec<sock_filter> {
    const FRAGMENT_OFFSET: u32 = 0x1fff;
    vec![
        load(BPF_B, NETWORK + 9),
        if_equal(u32::from(protocol::UDP), 1),
        REFUSE,
        load(BPF_H, NETWORK + 6),
        sock_filter { jt: 0, jf: 1, ..instruction(BPF_JMP | BPF_JSET | BPF_K, FRAGMENT_OFFSET) },
        REFUSE,
        instruction(BPF_LDX | BPF_B | BPF_MSH, NETWORK as u32),
    ]
}

/// Refuses all but UDP, and admits what has extension headers that may hide it.
fn v6_udp() -> Vec<sock_filter> {
    let udp = u32::from(protocol::UDP);
    let mut program = v6_extensions(udp);
    program.extend([if_equal(udp, 1), REFUSE]);
    program
}

fn v4_control() -> Vec<sock_filter> {
    let mut program = vec![load(BPF_B, NETWORK + 9)];
    program.extend(admit_any(&[u32::from(protocol::IGMP), u32::from(protocol::PIM)]));
    program.push(REFUSE);
    program
}

fn v6_control() -> Vec<sock_filter> {
    let icmp = u32::from(protocol::ICMPV6);
    let mut program = vec![load(BPF_B, NETWORK + 6), unless_equal(u32::from(protocol::PIM), 1), ADMIT];
    program.extend(v6_extensions(icmp));
    program.extend([if_equal(icmp, 1), REFUSE, load(BPF_B, NETWORK + 40)]);
    program.extend(admit_any(&MLD_TYPES));
    program.push(REFUSE);
    program
}

/// Loads the next header, and decides about packets with extension headers: refused if they carry
/// something else than the protocol, as far as one look behind hop-by-hop options tells.
fn v6_extensions(protocol: u32) -> Vec<sock_filter> {
    let mut behind_options = vec![load(BPF_B, NETWORK + 40), unless_equal(protocol, 1), ADMIT];
    behind_options.extend(admit_any(&EXTENSION_HEADERS));
    behind_options.push(REFUSE);
    let mut program = vec![load(BPF_B, NETWORK + 6), unless_equal(HOP_BY_HOP, behind_options.len() as u8)];
    program.extend(behind_options);
    program.extend(admit_any(&EXTENSION_HEADERS));
    program
}

fn admit_any(values: &[u32]) -> impl Iterator<Item = sock_filter> {
    values.iter().flat_map(|value| [unless_equal(*value, 1), ADMIT])
}

/// Return the whole packet.
const ADMIT: sock_filter = instruction(BPF_RET | BPF_K, u32::MAX);

/// Return nothing of it.
const REFUSE: sock_filter = instruction(BPF_RET | BPF_K, 0);

/// Loads the protocol again, for whom comes next.
const RELOAD: sock_filter = load(BPF_W, PROTOCOL);

const fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Loads a value of this size into the accumulator.
const fn load(size: u32, offset: i32) -> sock_filter {
    instruction(BPF_LD | BPF_ABS | size, offset as u32)
}

/// Skips so many instructions if the accumulator is the value.
const fn if_equal(value: u32, skip: u8) -> sock_filter {
    sock_filter { jt: skip, ..instruction(BPF_JMP | BPF_JEQ | BPF_K, value) }
}

/// Skips so many instructions if the accumulator is not the value.
const fn unless_equal(value: u32, skip: u8) -> sock_filter {
    sock_filter { jf: skip, ..instruction(BPF_JMP | BPF_JEQ | BPF_K, value) }
}
