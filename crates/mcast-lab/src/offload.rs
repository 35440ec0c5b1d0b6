//! What a host leaves to its network device.

use crate::{Host, LabError, error::Doing, host::Node, sys};

/// What an interface leaves to its device. The default is what virtual interfaces come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// Checksums of what is sent (`tx-checksum-ip-generic`).
    pub tx_checksum: bool,
    /// Cutting large sends of UDP into datagrams (`tx-udp-segmentation`, UDP GSO).
    pub tx_udp_segmentation: bool,
    /// Cutting large sends of TCP into segments (`tx-tcp-segmentation`, TSO).
    pub tso: bool,
    /// Cutting in software just before the device (`tx-generic-segmentation`, GSO).
    pub gso: bool,
    /// Merging what is received (`rx-gro`). Virtual interfaces then receive as real ones do (NAPI).
    pub gro: bool,
}

impl Default for Offload {
    fn default() -> Self {
        Self { tx_checksum: true, tx_udp_segmentation: true, tso: true, gso: true, gro: false }
    }
}

impl Offload {
    /// Nothing is left to the device: a frame is a datagram, complete.
    #[must_use]
    pub fn none() -> Self {
        Self { tx_checksum: false, tx_udp_segmentation: false, tso: false, gso: false, gro: false }
    }

    /// The kernel's names of the features.
    fn features(self) -> [(&'static str, bool); 8] {
        [
            ("tx-checksum-ip-generic", self.tx_checksum),
            ("tx-udp-segmentation", self.tx_udp_segmentation),
            ("tx-tcp-segmentation", self.tso),
            ("tx-tcp-ecn-segmentation", self.tso),
            ("tx-tcp-mangleid-segmentation", self.tso),
            ("tx-tcp6-segmentation", self.tso),
            ("tx-generic-segmentation", self.gso),
            ("rx-gro", self.gro),
        ]
    }
}

impl Host {
    /// Sets what an interface leaves to its device.
    ///
    /// # Errors
    ///
    /// A missing interface, or one whose features cannot be changed.
    pub fn offload(&self, interface: &str, offload: Offload) -> Result<(), LabError> {
        self.node.set_offload(interface, offload)
    }
}

impl Node {
    pub(crate) fn set_offload(&self, interface: &str, offload: Offload) -> Result<(), LabError> {
        let set = || sys::offload::set_features(interface, &offload.features());
        let operation = || format!("set the offloads of {interface} on '{}'", self.namespace.name());
        self.namespace.call(set)?.doing(operation)
    }
}
