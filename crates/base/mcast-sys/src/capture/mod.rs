//! Capturing frames, and sending IGMP and MLD: one module per platform family, each with the same items.
//!
//! | item | contract |
//! |---|---|
//! | `CaptureSocket::open` | when it returns, the system buffers at least the frames that the settings accept |
//! | `CaptureSocket::link_layer` | the kind of link; the inner error is the number of an unknown kind |
//! | `CaptureSocket::enable_blocks` | delivers frames in blocks from now on, through a buffer of about this size that is shared with the system; after an error, frames are delivered as before |
//! | `CaptureSocket::receive` | fills the batch without waiting; `WouldBlock` when there is nothing |
//! | `CaptureSocket::take_dropped` | returns the packets dropped since the last call |
//! | `Poller::add_capture` | waits for a capture, too |
//! | `CaptureSocket::buffer_size` | the size that the system granted, in bytes |
//! | `MembershipSocket` | sends IGMP or MLD from an address, with hop limit 1 and router alert |
//! | `missing` | what the system lacks for capturing, if that is what an error means |
//! | `is_unreadable` | whether one packet is lost and the capture continues |
//! | `BATCH_BYTES`, `BATCH_PACKETS`, `MAX_FRAME_BYTES` | the memory that a batch needs, its maximum number of packets, the memory for one frame |

mod batch;
#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bpf_records;
mod settings;

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
#[path = "bpf/mod.rs"]
mod platform;

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
#[path = "unsupported.rs"]
mod platform;

#[cfg(target_os = "linux")]
#[path = "linux/membership_messages.rs"]
mod membership_messages;

#[cfg(not(target_os = "linux"))]
#[path = "without_membership_messages.rs"]
mod membership_messages;

pub use batch::{BatchPacket, PacketBatch};
pub use membership_messages::MembershipSocket;
pub use platform::*;
pub use settings::{CaptureSettings, FilterInstruction, LinkLayer};

#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
impl crate::poller::Poller {
    /// Registers a capture under this token.
    pub fn add_capture(&self, capture: &CaptureSocket, token: usize) -> std::io::Result<()> {
        self.add_descriptor(std::os::fd::AsFd::as_fd(capture), token)
    }
}
