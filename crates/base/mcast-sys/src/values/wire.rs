//! What an interface offers for receiving past the socket, and how that is set up.

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
