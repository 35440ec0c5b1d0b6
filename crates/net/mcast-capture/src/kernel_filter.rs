//! Compiles filters to classic BPF programs for the kernel (`socket(7)`, `SO_ATTACH_FILTER`).
//!
//! Programs load relative to the network header and compare the protocol that the kernel determined, so they
//! work for every link type. They accept too much rather than too little: what follows a second VLAN tag or
//! IPv6 extension headers is checked again in user space.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MSH, BPF_RET, BPF_W,
};
use mcast_packet::{ether_type, protocol};
use mcast_sys::capture::FilterInstruction;

use crate::Filter;

/// Loads from this offset are relative to the network header (`linux/filter.h`, `SKF_NET_OFF`).
const NETWORK: i32 = -0x10_0000;

/// Loads the protocol of the frame (`SKF_AD_OFF + SKF_AD_PROTOCOL`).
const PROTOCOL: i32 = -0x1000;

/// Loads from this offset are relative to the link header (`SKF_LL_OFF`).
const LINK: i32 = -0x20_0000;

/// The extension header of every MLD message, and therefore the only common one.
const HOP_BY_HOP: u32 = 0;

/// The length of a UDP header.
const UDP_HEADER: i32 = 8;

/// The other extension headers that may precede the transport header.
const EXTENSION_HEADERS: [u32; 4] = [43, 44, 51, 60];

/// Query, report, done, MLDv2 report, and the three messages of multicast router discovery.
const MLD_TYPES: [u32; 7] = [130, 131, 132, 143, 151, 152, 153];

/// Returns the program for a filter; `None` if the kernel accepts everything.
pub(crate) fn program(filter: Filter) -> Option<Vec<FilterInstruction>> {
    let (v4, v6) = match filter {
        Filter::All => return None,
        Filter::Multicast | Filter::GroupAddressed => (v4_multicast(), v6_multicast()),
        Filter::UdpPort(port) => (v4_port(port), v6_port(port)),
        Filter::UnicastUdpPort(port) => {
            ([v4_without_groups(), v4_port(port)].concat(), [v6_without_groups(), v6_port(port)].concat())
        }
        Filter::UdpBeginsWith(bytes) => (v4_payload(bytes), v6_payload(bytes)),
        Filter::Control => (v4_control(), v6_control()),
        Filter::OtherProtocols => return Some(other_protocols()),
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

fn other_protocols() -> Vec<FilterInstruction> {
    let usual = [ether_type::IPV4, ether_type::IPV6, ether_type::ARP];
    let refuse = usual.into_iter().flat_map(|usual| [unless_equal(u32::from(usual), 1), REFUSE]);
    [load(BPF_W, PROTOCOL)].into_iter().chain(refuse).chain([ADMIT]).collect()
}

/// Accepts packets to a group, and continues after these instructions for others.
fn v4_multicast() -> Vec<FilterInstruction> {
    let and = instruction(BPF_ALU | BPF_AND | BPF_K, 0xf000_0000);
    vec![load(BPF_W, NETWORK + 16), and, unless_equal(0xe000_0000, 1), ADMIT, RELOAD]
}

fn v6_multicast() -> Vec<FilterInstruction> {
    vec![load(BPF_B, NETWORK + 24), unless_equal(0xff, 1), ADMIT, RELOAD]
}

/// Rejects packets to a group, and continues after these instructions for others.
fn v4_without_groups() -> Vec<FilterInstruction> {
    let and = instruction(BPF_ALU | BPF_AND | BPF_K, 0xf000_0000);
    vec![load(BPF_W, NETWORK + 16), and, unless_equal(0xe000_0000, 1), REFUSE]
}

fn v6_without_groups() -> Vec<FilterInstruction> {
    vec![load(BPF_B, NETWORK + 24), unless_equal(0xff, 1), REFUSE]
}

/// Accepts frames with the group bit in the Ethernet destination, which broadcast has too. Without an
/// Ethernet header the result is arbitrary.
fn group_addressed() -> [FilterInstruction; 3] {
    let is_set = FilterInstruction { jt: 0, jf: 1, ..instruction(BPF_JMP | BPF_JSET | BPF_K, 1) };
    [load(BPF_B, LINK), is_set, ADMIT]
}

fn v4_port(port: u16) -> Vec<FilterInstruction> {
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

fn v6_port(port: u16) -> Vec<FilterInstruction> {
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

fn v4_payload(bytes: [u8; 2]) -> Vec<FilterInstruction> {
    let mut program = v4_udp();
    let first = instruction(BPF_LD | BPF_H | BPF_IND, (NETWORK + UDP_HEADER) as u32);
    program.extend([first, unless_equal(u16::from_be_bytes(bytes).into(), 1), ADMIT, REFUSE]);
    program
}

fn v6_payload(bytes: [u8; 2]) -> Vec<FilterInstruction> {
    let mut program = v6_udp();
    let first = load(BPF_H, NETWORK + 40 + UDP_HEADER);
    program.extend([first, unless_equal(u16::from_be_bytes(bytes).into(), 1), ADMIT, REFUSE]);
    program
}

/// Rejects everything but UDP without fragment offset, and loads the length of the IP header into the index
/// register.
fn v4_udp() -> Vec<FilterInstruction> {
    const FRAGMENT_OFFSET: u32 = 0x1fff;
    vec![
        load(BPF_B, NETWORK + 9),
        if_equal(u32::from(protocol::UDP), 1),
        REFUSE,
        load(BPF_H, NETWORK + 6),
        FilterInstruction { jt: 0, jf: 1, ..instruction(BPF_JMP | BPF_JSET | BPF_K, FRAGMENT_OFFSET) },
        REFUSE,
        instruction(BPF_LDX | BPF_B | BPF_MSH, NETWORK as u32),
    ]
}

/// Rejects everything but UDP, and accepts packets with extension headers that may precede it.
fn v6_udp() -> Vec<FilterInstruction> {
    let udp = u32::from(protocol::UDP);
    let mut program = v6_extensions(udp);
    program.extend([if_equal(udp, 1), REFUSE]);
    program
}

fn v4_control() -> Vec<FilterInstruction> {
    let mut program = vec![load(BPF_B, NETWORK + 9)];
    program.extend(admit_any(&[u32::from(protocol::IGMP), u32::from(protocol::PIM)]));
    program.push(REFUSE);
    program
}

fn v6_control() -> Vec<FilterInstruction> {
    let icmp = u32::from(protocol::ICMPV6);
    let mut program = vec![load(BPF_B, NETWORK + 6), unless_equal(u32::from(protocol::PIM), 1), ADMIT];
    program.extend(v6_extensions(icmp));
    program.extend([if_equal(icmp, 1), REFUSE, load(BPF_B, NETWORK + 40)]);
    program.extend(admit_any(&MLD_TYPES));
    program.push(REFUSE);
    program
}

/// Loads the next header, and decides about packets with extension headers: rejects them if they carry
/// another protocol, as far as a look past the hop-by-hop options shows.
fn v6_extensions(protocol: u32) -> Vec<FilterInstruction> {
    let mut behind_options = vec![load(BPF_B, NETWORK + 40), unless_equal(protocol, 1), ADMIT];
    behind_options.extend(admit_any(&EXTENSION_HEADERS));
    behind_options.push(REFUSE);
    let mut program = vec![load(BPF_B, NETWORK + 6), unless_equal(HOP_BY_HOP, behind_options.len() as u8)];
    program.extend(behind_options);
    program.extend(admit_any(&EXTENSION_HEADERS));
    program
}

fn admit_any(values: &[u32]) -> impl Iterator<Item = FilterInstruction> {
    values.iter().flat_map(|value| [unless_equal(*value, 1), ADMIT])
}

/// Accepts the whole packet.
const ADMIT: FilterInstruction = instruction(BPF_RET | BPF_K, u32::MAX);

/// Rejects the packet.
const REFUSE: FilterInstruction = instruction(BPF_RET | BPF_K, 0);

/// Loads the protocol again, for the instructions that follow.
const RELOAD: FilterInstruction = load(BPF_W, PROTOCOL);

const fn instruction(code: u32, k: u32) -> FilterInstruction {
    FilterInstruction { code: code as u16, jt: 0, jf: 0, k }
}

/// Loads a value of this size into the accumulator.
const fn load(size: u32, offset: i32) -> FilterInstruction {
    instruction(BPF_LD | BPF_ABS | size, offset as u32)
}

/// Skips that many instructions if the accumulator equals the value.
const fn if_equal(value: u32, skip: u8) -> FilterInstruction {
    FilterInstruction { jt: skip, ..instruction(BPF_JMP | BPF_JEQ | BPF_K, value) }
}

/// Skips that many instructions if the accumulator differs from the value.
const fn unless_equal(value: u32, skip: u8) -> FilterInstruction {
    FilterInstruction { jf: skip, ..instruction(BPF_JMP | BPF_JEQ | BPF_K, value) }
}
