//! The program that the kernel runs for each packet that it drops.
//!
//! Some 250 instructions, assembled here: a compiler for BPF and a loader of its object files would be a far larger
//! dependency. The program counts the packets to groups of one network namespace by reason, addresses and interface. It
//! counts in the kernel instead of copying packets to this process, so a flood costs little and loses no counts.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use mcast_sys::bpf::BpfHelper::{MapLookup, MapUpdate, ReadKernel};
use mcast_sys::bpf::BpfRegister::{self, R0, R1, R2, R3, R4, R6, R7, R8, R9, Stack};
use mcast_sys::bpf::Condition::{AnyBit, Equal, NotEqual, NotEqual32};
use mcast_sys::bpf::Size::{U8, U16, U32, U64};
use mcast_sys::bpf::btf::{self, Btf};
use mcast_sys::bpf::{Assembler, Instruction, Label, Map};

use super::{
    ARRIVED_ON, DESTINATION, INTERFACE, KEY_BYTES, LOCATION, MAC, PORTS, PROTOCOL, REASON, SOURCE, VERSION,
};

/// `BPF_NOEXIST`: an update fails if the key exists.
const NEW_KEY: i32 = 1;

/// The areas on the stack.
const KEY: i16 = -(KEY_BYTES as i16);
const SCRATCH: i16 = KEY - 8;
const HEADER: i16 = SCRATCH - HEADER_BYTES;
/// The length of an IPv6 header, which is longer than the part of an IPv4 header that is used.
const HEADER_BYTES: i16 = 40;

const UDP: i32 = 17;
const ETHERNET_HEADER_BYTES: i32 = 14;
/// The bits of the route in `struct sk_buff` that are not part of the address (`SKB_DST_NOREF`).
const ROUTE_FLAGS: i32 = 1;

/// Assembles the program. `R6` holds the arguments of the tracepoint, `R7` the packet (`struct sk_buff`), `R8` the address
/// of the IP header, and `R9` something short-lived.
pub(super) fn assemble(layout: &KernelLayout, namespace: u32, map: &Map) -> Vec<Instruction> {
    let mut program = KernelProgram { code: Assembler::new(), layout };
    let done = program.code.label();
    program.code.copy(R6, R1);
    program.code.load(U64, R7, R6, 0);
    for offset in (0..KEY_BYTES as i16).step_by(8) {
        program.code.store_value(Stack, KEY + offset, 0);
    }
    program.read_arguments();
    program.read_addresses(done);
    program.read_interfaces();
    program.skip_other_namespaces(namespace, done);
    program.read_mac();
    program.count(map, done);
    program.code.place(done);
    program.code.set(R0, 0);
    program.code.exit();
    program.code.finish()
}

struct KernelProgram<'a> {
    code: Assembler,
    layout: &'a KernelLayout,
}

impl KernelProgram<'_> {
    /// Copies `length` bytes at `address + offset` in the kernel's memory to the stack.
    fn read(&mut self, to: i16, length: i32, address: BpfRegister, offset: i32) {
        self.code.copy(R1, Stack);
        self.code.add(R1, to.into());
        self.code.set(R2, length);
        self.code.copy(R3, address);
        self.code.add(R3, offset);
        self.code.call(ReadKernel);
    }

    /// Follows a pointer in the kernel's memory: `to = *(address + offset)`.
    fn follow(&mut self, to: BpfRegister, address: BpfRegister, offset: i32) {
        self.read(SCRATCH, 8, address, offset);
        self.code.load(U64, to, Stack, SCRATCH);
    }

    /// Puts the address of a header into a register, given the member with its offset in the buffer.
    fn header_address(&mut self, to: BpfRegister, header: i32) {
        self.follow(to, R7, self.layout.head);
        self.read(SCRATCH, 2, R7, header);
        self.code.load(U16, R1, Stack, SCRATCH);
        self.code.add_register(to, R1);
    }

    fn read_arguments(&mut self) {
        self.code.load(U64, R1, R6, 8);
        self.code.store(U64, Stack, KEY + LOCATION, R1);
        self.code.load(U64, R1, R6, 16);
        self.code.store(U32, Stack, KEY + REASON, R1);
    }

    /// Reads the addresses, protocol and ports of a packet to a group; skips all others. The version in the header is
    /// not used, because it may be damaged.
    fn read_addresses(&mut self, done: Label) {
        let [v4, v6, ports, no_ports] = std::array::from_fn(|_| self.code.label());
        self.header_address(R8, self.layout.network_header);
        self.read(HEADER, HEADER_BYTES.into(), R8, 0);
        self.read(SCRATCH, 2, R7, self.layout.protocol);
        self.code.load(U16, R1, Stack, SCRATCH);
        self.code.jump_if(R1, Equal, on_wire(0x0800), v4);
        self.code.jump_if(R1, Equal, on_wire(0x86dd), v6);
        self.code.jump(done);

        self.code.place(v4);
        self.code.load(U8, R1, Stack, HEADER + 16);
        self.code.and(R1, 0xf0);
        self.code.jump_if(R1, NotEqual, 0xe0, done);
        self.set_version_and_protocol(4, 9);
        self.copy_words(SOURCE, 12, 1);
        self.copy_words(DESTINATION, 16, 1);
        self.code.load(U8, R9, Stack, HEADER);
        self.code.and(R9, 0x0f);
        self.code.shift_left(R9, 2);
        // Only the first fragment has ports.
        self.code.load(U16, R1, Stack, HEADER + 6);
        self.code.jump_if(R1, AnyBit, on_wire(0x1fff), no_ports);
        self.code.jump(ports);

        self.code.place(v6);
        self.code.load(U8, R1, Stack, HEADER + 24);
        self.code.jump_if(R1, NotEqual, 0xff, done);
        self.set_version_and_protocol(6, 6);
        self.copy_words(SOURCE, 8, 4);
        self.copy_words(DESTINATION, 24, 4);
        self.code.set(R9, 40);

        self.code.place(ports);
        self.code.load(U8, R1, Stack, KEY + PROTOCOL);
        self.code.jump_if(R1, NotEqual, UDP, no_ports);
        self.code.add_register(R9, R8);
        self.read(KEY + PORTS, 4, R9, 0);
        self.code.place(no_ports);
    }

    fn set_version_and_protocol(&mut self, version: i32, protocol: i16) {
        self.code.set(R1, version);
        self.code.store(U8, Stack, KEY + VERSION, R1);
        self.code.load(U8, R1, Stack, HEADER + protocol);
        self.code.store(U8, Stack, KEY + PROTOCOL, R1);
    }

    /// Copies words of 4 bytes from the header to the key.
    fn copy_words(&mut self, to: i16, from: i16, words: i16) {
        for offset in (0..words * 4).step_by(4) {
            self.code.load(U32, R1, Stack, HEADER + from + offset);
            self.code.store(U32, Stack, KEY + to + offset, R1);
        }
    }

    fn read_interfaces(&mut self) {
        let known = self.code.label();
        self.read(KEY + ARRIVED_ON, 4, R7, self.layout.arrived_on);
        self.follow(R9, R7, self.layout.device);
        self.read(KEY + INTERFACE, 4, R9, self.layout.device_index);
        self.code.load(U32, R1, Stack, KEY + INTERFACE);
        self.code.jump_if(R1, NotEqual, 0, known);
        // A packet that is being sent has a route before it has a device.
        self.follow(R9, R7, self.layout.route);
        self.code.and(R9, !ROUTE_FLAGS);
        self.follow(R9, R9, self.layout.route_device);
        self.read(KEY + INTERFACE, 4, R9, self.layout.device_index);
        self.code.place(known);
    }

    /// Ends if the packet is not in the namespace. The namespace is that of the device (in `R9`), of the sending socket, or
    /// of the receiving one. A queue of a socket overwrites the device, and a packet that is being sent may not have
    /// one yet.
    fn skip_other_namespaces(&mut self, namespace: u32, done: Label) {
        let known = self.code.label();
        self.read_namespace(self.layout.device_namespace);
        self.code.jump_if(R1, NotEqual, 0, known);
        self.follow(R9, R7, self.layout.socket);
        self.read_namespace(self.layout.socket_namespace);
        if self.layout.has_receiving_socket {
            self.code.jump_if(R1, NotEqual, 0, known);
            self.code.load(U64, R9, R6, 24);
            self.read_namespace(self.layout.socket_namespace);
        }
        self.code.place(known);
        self.code.jump_if(R1, NotEqual32, namespace.cast_signed(), done);
    }

    /// Puts the number of the namespace that the structure in `R9` refers to into `R1`; 0 if it cannot be read.
    fn read_namespace(&mut self, offset: i32) {
        self.follow(R9, R9, offset);
        self.read(SCRATCH, 4, R9, self.layout.namespace_inode);
        self.code.load(U32, R1, Stack, SCRATCH);
    }

    /// Reads the Ethernet destination, if an Ethernet header is before the IP header: a packet that is being sent may not
    /// have one yet, and tunnels have none.
    fn read_mac(&mut self) {
        let none = self.code.label();
        self.header_address(R9, self.layout.mac_header);
        self.code.copy(R1, R8);
        self.code.subtract_register(R1, R9);
        self.code.jump_if(R1, NotEqual, ETHERNET_HEADER_BYTES, none);
        self.read(KEY + MAC, 6, R9, 0);
        self.code.place(none);
    }

    /// Counts the packet under its key, or, if there is no room for the key, under the key of zeros.
    fn count(&mut self, map: &Map, done: Label) {
        let add = self.code.label();
        self.set_map_and_key(map);
        self.code.call(MapLookup);
        self.code.jump_if(R0, NotEqual, 0, add);
        self.code.store_value(Stack, SCRATCH, 1);
        self.set_map_and_key(map);
        self.code.copy(R3, Stack);
        self.code.add(R3, SCRATCH.into());
        self.code.set(R4, NEW_KEY);
        self.code.call(MapUpdate);
        self.code.jump_if(R0, Equal, 0, done);
        // Another processor may have added the key since the first look-up.
        self.set_map_and_key(map);
        self.code.call(MapLookup);
        self.code.jump_if(R0, NotEqual, 0, add);

        // No room.
        for offset in (0..KEY_BYTES as i16).step_by(8) {
            self.code.store_value(Stack, KEY + offset, 0);
        }
        self.set_map_and_key(map);
        self.code.call(MapLookup);
        self.code.jump_if(R0, Equal, 0, done);
        self.code.place(add);
        self.code.set(R1, 1);
        self.code.add_atomically(R0, 0, R1);
    }

    fn set_map_and_key(&mut self, map: &Map) {
        self.code.set_map(R1, map.as_fd());
        self.code.copy(R2, Stack);
        self.code.add(R2, KEY.into());
    }
}

/// Returns a number of 16 bits as the kernel sees it when it reads the bytes of a packet.
fn on_wire(number: u16) -> i32 {
    i32::from(number.to_be())
}

/// The offsets of members, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelLayout {
    /// `struct sk_buff`: the buffer, and the offsets of headers in it.
    pub(super) head: i32,
    network_header: i32,
    mac_header: i32,
    /// The `EtherType`.
    pub(super) protocol: i32,
    pub(super) device: i32,
    pub(super) socket: i32,
    /// The interface that the packet arrived on.
    pub(super) arrived_on: i32,
    /// The route, with flags in its low bits.
    pub(super) route: i32,
    /// `struct dst_entry`.
    route_device: i32,
    /// `struct net_device`.
    device_index: i32,
    device_namespace: i32,
    /// `struct sock`.
    socket_namespace: i32,
    /// `struct net`.
    namespace_inode: i32,
    /// Whether the tracepoint has the receiving socket as its fourth argument (Linux 6.11 and later).
    has_receiving_socket: bool,
}

impl KernelLayout {
    /// Returns the layout of the running kernel, and the names of its drop reasons. An error says what is missing.
    pub(super) fn of_this_kernel() -> Result<(Self, BTreeMap<u32, String>), String> {
        if cfg!(not(target_pointer_width = "64")) {
            return Err("drop reasons are read from 64-bit kernels only".to_owned());
        }
        // Several megabytes, which do not change while the kernel runs.
        static KNOWN: OnceLock<(KernelLayout, BTreeMap<u32, String>)> = OnceLock::new();
        if let Some(known) = KNOWN.get() {
            return Ok(known.clone());
        }
        let bytes = std::fs::read(btf::KERNEL)
            .map_err(|error| format!("the kernel has no type information: {}: {error}", btf::KERNEL))?;
        Self::parse(&bytes).map(|parsed| KNOWN.get_or_init(|| parsed).clone())
    }

    /// Returns what [`Self::of_this_kernel`] does, from the type information of a kernel.
    fn parse(type_information: &[u8]) -> Result<(Self, BTreeMap<u32, String>), String> {
        let btf = Btf::parse(type_information).map_err(|error| format!("{}: {error}", btf::KERNEL))?;
        let arguments = btf.tracepoint_arguments("kfree_skb").unwrap_or_default();
        let reasons = btf.enumerators("skb_drop_reason").unwrap_or_default();
        // The arguments are the packet, the place and, since Linux 5.17, the reason.
        if arguments < 3 || reasons.is_empty() {
            return Err("the kernel reports no drop reasons (Linux 5.17 and later do)".to_owned());
        }
        let layout = Self::of(&btf, arguments > 3)
            .ok_or_else(|| "the kernel's structures have an unknown layout".to_owned())?;
        Ok((layout, reasons.into_iter().map(|(number, name)| (number, short_name(&name))).collect()))
    }

    fn of(btf: &Btf<'_>, has_receiving_socket: bool) -> Option<Self> {
        let offset =
            |structure, path| btf.offset(structure, path).and_then(|offset| i32::try_from(offset).ok());
        Some(Self {
            head: offset("sk_buff", "head")?,
            network_header: offset("sk_buff", "network_header")?,
            mac_header: offset("sk_buff", "mac_header")?,
            protocol: offset("sk_buff", "protocol")?,
            device: offset("sk_buff", "dev")?,
            socket: offset("sk_buff", "sk")?,
            arrived_on: offset("sk_buff", "skb_iif")?,
            route: offset("sk_buff", "_skb_refdst")?,
            route_device: offset("dst_entry", "dev")?,
            device_index: offset("net_device", "ifindex")?,
            device_namespace: offset("net_device", "nd_net.net")?,
            socket_namespace: offset("sock", "__sk_common.skc_net.net")?,
            namespace_inode: offset("net", "ns.inum")?,
            has_receiving_socket,
        })
    }
}

fn short_name(name: &str) -> String {
    name.strip_prefix("SKB_DROP_REASON_").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_a_layout_or_the_error_says_why() {
        match KernelLayout::of_this_kernel() {
            Ok((layout, reasons)) => {
                assert_ne!(layout.head, layout.device);
                assert!(reasons.values().any(|reason| reason == "NETFILTER_DROP"), "{reasons:?}");
            }
            Err(why) => assert!(why.contains("kernel"), "{why}"),
        }
    }

    #[test]
    fn damaged_type_information_is_an_error() {
        let error = KernelLayout::parse(b"no type information").unwrap_err();
        assert_eq!(error, "/sys/kernel/btf/vmlinux: no header of type information");
    }
}
