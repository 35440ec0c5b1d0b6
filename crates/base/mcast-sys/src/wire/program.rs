//! The XDP program that takes the datagrams of listed groups off an interface.
//!
//! It takes a frame only if nothing else could be meant: untagged, one whole UDP datagram in it, without IPv4 options,
//! IPv6 extension headers or fragmentation, addressed to a multicast or broadcast hardware address, not longer than a
//! slot of the ring, and to a listed group and port. All others continue to the kernel.

use std::os::fd::BorrowedFd;

use crate::bpf::{Assembler, BpfHelper, BpfRegister, Condition, Instruction, Label, Size};

/// The bytes of a listed group and port: the address as IPv6 (IPv4 mapped), the port, and two zeros.
pub(super) const KEY_BYTES: usize = 20;
/// The number of IPv4 groups and ports that the program compares with before it looks up the list: a lookup takes longer
/// than the rest of the program.
pub(super) const QUICK: usize = 4;
/// Until when the program takes frames, in nanoseconds of `CLOCK_MONOTONIC`, behind the quick keys; 0 is a renewal, from which
/// the program counts [`TAKING`]. A process that is stopped renews nothing, and its frames continue to the kernel.
const DEADLINE: i16 = (QUICK * size_of::<u64>()) as i16;
/// The bytes of the quick keys and the deadline.
pub(super) const QUICK_BYTES: usize = (QUICK + 1) * size_of::<u64>();
/// How long frames are taken after a renewal, in nanoseconds.
const TAKING: i32 = 2_000_000_000;
/// What precedes a frame in its slot: a mark, and the time in nanoseconds of `CLOCK_MONOTONIC`.
pub(super) const STAMP_BYTES: usize = 16;
/// The mark: a number that no frame's remains have at this place by chance.
pub(super) const STAMP_MARK: i32 = 0x6d63_7374;

/// `XDP_PASS`: the frame continues to the kernel.
const PASS: i32 = 2;

/// Offsets in `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const DATA_META: i16 = 8;
const QUEUE: i16 = 16;

/// Offsets in a frame.
const ETHERTYPE: i16 = 12;
const IP: i16 = 14;
const V4_BYTES: i32 = 14 + 20 + 8;
const V6_BYTES: i32 = 14 + 40 + 8;
const UDP: i32 = 17;

/// Offsets from the end of the stack.
const KEY: i16 = -24;
const TAG_PROTOCOL: i16 = -32;
const TAG: i16 = -40;

/// How the program learns whether the driver has removed a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// It asks the driver by this function of the kernel (`bpf_xdp_metadata_rx_vlan_tag`, Linux 6.8).
    Ask(u32),
    /// The driver leaves them in the frames.
    InFrames,
}

/// What the program needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// The first groups, as [`quick_key`] returns them; 0 for none.
    pub(super) quick: BorrowedFd<'a>,
    /// All other groups.
    pub(super) groups: BorrowedFd<'a>,
    pub(super) sockets: BorrowedFd<'a>,
    /// The longest frame that a slot holds.
    pub(super) longest: u32,
    pub(super) tags: Tags,
    /// Whether to note the time of each frame.
    pub(super) times: bool,
}

/// Returns the key of a group and port.
pub(super) fn key(address: mcast_group::GroupAddr) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let octets = match address.group.addr() {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    };
    key[..16].copy_from_slice(&octets);
    key[16..18].copy_from_slice(&address.port.to_be_bytes());
    key
}

/// Returns the number by which the program compares an IPv4 group and port; never 0.
pub(super) fn quick_key(address: mcast_group::GroupAddr) -> Option<u64> {
    let std::net::IpAddr::V4(v4) = address.group.addr() else { return None };
    let (group, port) = (u32::from_ne_bytes(v4.octets()), address.port.to_be());
    Some(u64::from(group) << 32 | u64::from(port) << 16 | 1)
}

/// Assembles the program.
pub(super) fn assemble(plan: &Plan<'_>) -> Vec<Instruction> {
    use BpfRegister::{R0, R1, R2, R3, R4, R5, R6, R7, R8, Stack};
    let mut code = Assembler::new();
    let (pass, v6, look_up, found) = (code.label(), code.label(), code.label(), code.label());
    code.copy(R6, R1);
    code.load(Size::U32, R7, R6, DATA);
    code.load(Size::U32, R8, R6, DATA_END);
    require_bytes(&mut code, V4_BYTES, pass);
    // The verifier forbids computing the length from two addresses without a further right.
    code.copy(R2, R7);
    code.add(R2, plan.longest.cast_signed() + 1);
    code.jump_if_at_most(R2, R8, pass);
    code.load(Size::U8, R2, R7, 0);
    code.and(R2, 1);
    code.jump_if(R2, Condition::Equal, 0, pass);
    code.load(Size::U16, R2, R7, ETHERTYPE);
    code.jump_if(R2, Condition::Equal, network_order(0x86dd), v6);
    code.jump_if(R2, Condition::NotEqual, network_order(0x0800), pass);

    code.load(Size::U8, R2, R7, IP);
    code.jump_if(R2, Condition::NotEqual, 0x45, pass);
    code.load(Size::U16, R2, R7, IP + 6);
    // The offset, and the flag that more fragments follow.
    code.and(R2, network_order(0x3fff));
    code.jump_if(R2, Condition::NotEqual, 0, pass);
    code.load(Size::U8, R2, R7, IP + 9);
    code.jump_if(R2, Condition::NotEqual, UDP, pass);
    code.load(Size::U32, R3, R7, IP + 16);
    code.load(Size::U16, R2, R7, IP + 22);
    code.copy(R4, R3);
    code.shift_left(R4, 32);
    code.copy(R5, R2);
    code.shift_left(R5, 16);
    code.add_register(R4, R5);
    code.add(R4, 1);
    code.set_map_value(R1, plan.quick);
    for offset in (0..).step_by(size_of::<u64>()).take(QUICK) {
        code.load(Size::U64, R5, R1, offset);
        code.jump_if_same(R4, R5, found);
    }
    code.store_value(Stack, KEY, 0);
    code.set(R4, 0xffff_u32.to_be().cast_signed());
    code.store(Size::U32, Stack, KEY + 8, R4);
    code.store(Size::U32, Stack, KEY + 12, R3);
    code.jump(look_up);

    code.place(v6);
    require_bytes(&mut code, V6_BYTES, pass);
    code.load(Size::U8, R2, R7, IP);
    code.and(R2, 0xf0);
    code.jump_if(R2, Condition::NotEqual, 0x60, pass);
    code.load(Size::U8, R2, R7, IP + 6);
    code.jump_if(R2, Condition::NotEqual, UDP, pass);
    for word in 0..4 {
        code.load(Size::U32, R2, R7, IP + 24 + 4 * word);
        code.store(Size::U32, Stack, KEY + 4 * word, R2);
    }
    code.load(Size::U16, R2, R7, IP + 42);

    code.place(look_up);
    code.store(Size::U16, Stack, KEY + 16, R2);
    code.set(R2, 0);
    code.store(Size::U16, Stack, KEY + 18, R2);
    code.set_map(R1, plan.groups);
    code.copy(R2, Stack);
    code.add(R2, KEY.into());
    code.call(BpfHelper::MapLookup);
    code.jump_if(R0, Condition::Equal, 0, pass);
    code.place(found);
    if let Tags::Ask(function) = plan.tags {
        pass_tagged(&mut code, function, pass);
    }
    pass_unless_renewed(&mut code, plan.quick, pass);
    if plan.times {
        stamp(&mut code);
    }
    code.set_map(R1, plan.sockets);
    code.load(Size::U32, R2, R6, QUEUE);
    code.set(R3, PASS);
    code.call(BpfHelper::RedirectMap);
    code.exit();

    code.place(pass);
    code.set(R0, PASS);
    code.exit();
    code.finish()
}

/// Passes frames that are shorter.
fn require_bytes(code: &mut Assembler, bytes: i32, pass: Label) {
    code.copy(BpfRegister::R2, BpfRegister::R7);
    code.add(BpfRegister::R2, bytes);
    code.jump_if_greater(BpfRegister::R2, BpfRegister::R8, pass);
}

/// Passes frames whose VLAN tag the driver has removed, and all if it cannot say.
fn pass_tagged(code: &mut Assembler, function: u32, pass: Label) {
    use BpfRegister::{R0, R1, R2, R3, R6, Stack};
    code.store_value(Stack, TAG_PROTOCOL, 0);
    code.store_value(Stack, TAG, 0);
    code.copy(R1, R6);
    code.copy(R2, Stack);
    code.add(R2, TAG_PROTOCOL.into());
    code.copy(R3, Stack);
    code.add(R3, TAG.into());
    code.call_kernel(function.cast_signed());
    code.jump_if(R0, Condition::NotEqual32, -libc::ENODATA, pass);
}

/// Passes frames that arrive after the deadline, and puts the time into `R9`.
fn pass_unless_renewed(code: &mut Assembler, quick: BorrowedFd<'_>, pass: Label) {
    use BpfRegister::{R0, R1, R2, R9};
    let known = code.label();
    code.call(BpfHelper::MonotonicTime);
    code.copy(R9, R0);
    code.set_map_value(R1, quick);
    code.load(Size::U64, R2, R1, DEADLINE);
    code.jump_if(R2, Condition::NotEqual, 0, known);
    code.copy(R2, R9);
    code.add(R2, TAKING);
    code.store(Size::U64, R1, DEADLINE, R2);
    code.place(known);
    code.jump_if_greater(R9, R2, pass);
}

/// Notes the time in `R9` before the frame, if the driver leaves space there.
fn stamp(code: &mut Assembler) {
    use BpfRegister::{R0, R1, R2, R6, R7, R8, R9};
    let done = code.label();
    code.copy(R1, R6);
    code.set(R2, -(STAMP_BYTES as i32));
    code.call(BpfHelper::AdjustMeta);
    code.jump_if(R0, Condition::NotEqual32, 0, done);
    code.load(Size::U32, R7, R6, DATA_META);
    code.load(Size::U32, R8, R6, DATA);
    code.copy(R2, R7);
    code.add(R2, STAMP_BYTES as i32);
    code.jump_if_greater(R2, R8, done);
    code.set(R2, STAMP_MARK);
    code.store(Size::U64, R7, 0, R2);
    code.store(Size::U64, R7, 8, R9);
    code.place(done);
}

/// Returns a number of 16 bits as a load from a frame returns it.
fn network_order(number: u16) -> i32 {
    i32::from(number.to_be())
}
