//! What an interface offers for receiving past the socket, and how that is set up.

use crate::wire::WireRefusal;

/// Settings of an interface's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSettings {
    /// The number of frames that each ring holds; rounded up to a power of two.
    pub slots: u32,
    /// Whether to note the time of each frame.
    pub times: bool,
}

impl WireSettings {
    /// The number of frames that receivers request unless they have a receive buffer of another size.
    pub const DEFAULT_SLOTS: u32 = 8_192;
}

/// What an interface offers for taking datagrams off it.
#[derive(Debug)]
#[non_exhaustive]
pub struct WireProbe {
    /// The name of the driver; the kind of interface if the driver has none.
    pub driver: String,
    /// What the driver offers; `None` if the kernel does not report it (before Linux 6.3).
    pub features: Option<WireFeatures>,
    /// Why nothing can be taken; `None` if nothing is known to prevent it.
    pub refusal: Option<WireRefusal>,
}

/// What a driver offers to XDP programs and to `AF_XDP` sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireFeatures {
    /// It runs XDP programs itself and passes frames to `AF_XDP` sockets.
    pub native: bool,
    /// Programs may see frames that occupy several buffers.
    pub multi_buffer: bool,
    /// It can receive directly into the memory of a socket.
    pub zero_copy: bool,
}
