//! Offloads of interfaces.

use mcast_sys::lab as sys;

use crate::{Host, LabError, error::ErrorContext, host::Node};

/// The work that an interface offloads to its device. The default is that of new virtual interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// Checksums of sent packets (`tx-checksum-ip-generic`).
    pub tx_checksum: bool,
    /// Segmentation of large UDP sends into datagrams (`tx-udp-segmentation`, UDP GSO).
    pub tx_udp_segmentation: bool,
    /// Segmentation of large TCP sends (`tx-tcp-segmentation`, TSO).
    pub tso: bool,
    /// Segmentation in software just before the device (`tx-generic-segmentation`, GSO).
    pub gso: bool,
    /// Coalescing of received packets (`rx-gro`). Virtual interfaces then receive as real ones do (NAPI).
    pub gro: bool,
}

impl Default for Offload {
    fn default() -> Self {
        Self { tx_checksum: true, tx_udp_segmentation: true, tso: true, gso: true, gro: false }
    }
}

impl Offload {
    /// Returns the setting without any offload: each frame is one complete datagram.
    #[must_use]
    pub fn none() -> Self {
        Self { tx_checksum: false, tx_udp_segmentation: false, tso: false, gso: false, gro: false }
    }

    /// Returns the kernel's names of the features, and whether each is on.
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
    /// Sets the offloads of an interface.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or when its features cannot be changed.
    pub fn offload(&self, interface: &str, offload: Offload) -> Result<(), LabError> {
        self.node.set_offload(interface, offload)
    }
}

impl Node {
    pub(crate) fn set_offload(&self, interface: &str, offload: Offload) -> Result<(), LabError> {
        let set = || sys::offload::set_features(interface, &offload.features());
        let operation = || format!("set the offloads of {interface} on '{}'", self.namespace.name());
        self.namespace.call(set)?.context(operation)
    }
}
