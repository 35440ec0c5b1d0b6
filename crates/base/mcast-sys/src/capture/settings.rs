//! What a capture is to do, as the system's calls take it.

use crate::HardwareAddress;

/// The settings of a capture on one interface.
#[derive(Clone, Copy, Debug)]
pub struct CaptureSettings<'a> {
    /// Whether frames that this machine sends are captured, too.
    pub outgoing: bool,
    /// Whether the interface accepts frames to all addresses.
    pub promiscuous: bool,
    /// Whether the interface accepts frames to all groups.
    pub all_multicast: bool,
    /// The group addresses that the interface accepts in addition.
    pub hardware_groups: &'a [HardwareAddress],
    /// The receive buffer to request, in bytes.
    pub buffer_size: usize,
    /// The program that accepts or rejects packets in the kernel; empty to accept all. Only Linux
    /// runs it.
    pub filter: &'a [FilterInstruction],
}

/// An instruction of classic BPF (`struct sock_filter` of `linux/filter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterInstruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if a condition holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The link header of captured frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// Ethernet.
    Ethernet,
    /// None: frames begin with the IP header.
    Ip,
    /// The four-byte address family of a BSD loopback interface.
    Loopback,
}
