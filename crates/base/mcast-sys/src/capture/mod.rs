//! Capturing frames, and sending IGMP and MLD: one module per platform family, each with the same items.
//!
//! | item | contract |
//! |---|---|
//! | `CaptureSocket::open` | when it returns, the system buffers at least the frames that the settings accept |
//! | `CaptureSocket::link_layer` | the kind of link; the inner error is the number of an unknown kind |
//! | `CaptureSocket::receive` | fills the batch without waiting; `WouldBlock` when there is nothing |
//! | `CaptureSocket::take_dropped` | returns the packets dropped since the last call |
//! | `Poller::add_capture` | waits for a capture, too |
//! | `CaptureSocket::buffer_size` | the size that the system granted, in bytes |
//! | `MembershipSocket` | sends IGMP or MLD from an address, with hop limit 1 and router alert |
//! | `missing` | what the system lacks for capturing, if that is what an error means |
//! | `is_unreadable` | whether one packet is lost and the capture continues |
//! | `BATCH_BYTES`, `BATCH_PACKETS`, `MAX_FRAME_BYTES` | the memory that a batch needs, its maximum number of packets, the memory for one frame |

#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bpf_records;
#[cfg(target_os = "linux")]
#[path = "linux/membership_messages.rs"]
mod membership_messages;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod platform;
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
#[path = "bpf.rs"]
mod platform;
#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
#[path = "unsupported.rs"]
mod platform;

use std::ops::Range;
use std::time::SystemTime;

use crate::{Direction, HardwareAddress};
pub use membership_messages::MembershipSocket;
pub use platform::*;

#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
impl crate::poller::Poller {
    /// Registers a capture under this token.
    pub fn add_capture(&self, capture: &CaptureSocket, token: usize) -> std::io::Result<()> {
        self.add_descriptor(std::os::fd::AsFd::as_fd(capture), token)
    }
}

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
    /// Whether frames are delivered in blocks, through a buffer that is shared with the system. Only on Linux; elsewhere,
    /// opening fails.
    pub in_blocks: bool,
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

/// Memory that the system fills with frames.
#[derive(Debug)]
pub struct PacketBatch {
    /// The memory.
    pub memory: Box<[u8]>,
    /// The packets in it, in the order in which they were captured.
    pub packets: Vec<BatchPacket>,
}

/// A packet in the memory of a batch, as the kernel delivered it: possibly coalesced, and without its VLAN
/// tag.
#[derive(Clone, Debug)]
pub struct BatchPacket {
    /// The range of its bytes in the memory.
    pub range: Range<usize>,
    /// Its length on the wire, in bytes.
    pub original_length: usize,
    /// Its direction.
    pub direction: Direction,
    /// When the kernel saw it.
    pub time: SystemTime,
    /// Whether its transport checksum was left to the device to compute.
    pub lacks_checksum: bool,
    /// The payload size of each UDP datagram, if the packet is several coalesced ones.
    pub segment_size: Option<u16>,
}

impl PacketBatch {
    /// Allocates this much memory, in bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { memory: vec![0; bytes].into_boxed_slice(), packets: Vec::new() }
    }

    /// Returns the bytes of a packet.
    #[must_use]
    pub fn bytes(&self, packet: &BatchPacket) -> &[u8] {
        self.memory.get(packet.range.clone()).unwrap_or_default()
    }
}

#[cfg(not(target_os = "linux"))]
mod membership_messages {
    //! Systems for which sending IGMP and MLD is not implemented.

    use std::io;
    use std::net::IpAddr;

    use mcast_group::InterfaceIndex;

    /// A sender, which cannot exist here.
    #[derive(Debug)]
    pub enum MembershipSocket {}

    impl MembershipSocket {
        /// Fails: not implemented for this system.
        pub fn open(_interface: InterfaceIndex, _source: IpAddr) -> io::Result<Self> {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "sending IGMP and MLD is not implemented for this system",
            ))
        }

        /// Sends a message; the system adds the IP header.
        pub fn send(&self, _message: &[u8], _to: IpAddr, _interface: InterfaceIndex) -> io::Result<()> {
            match *self {}
        }
    }
}
