//! Where the kernel's structures have what the program reads, from the kernel's type information.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use mcast_sys::bpf::btf::{self, Btf};

/// The offsets of members, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelLayout {
    /// `struct sk_buff`: the buffer, and the offsets of headers in it.
    pub(super) head: i32,
    pub(super) network_header: i32,
    pub(super) mac_header: i32,
    /// The `EtherType`.
    pub(super) protocol: i32,
    pub(super) device: i32,
    pub(super) socket: i32,
    /// The interface that the packet arrived on.
    pub(super) arrived_on: i32,
    /// The route, with flags in its low bits.
    pub(super) route: i32,
    /// `struct dst_entry`.
    pub(super) route_device: i32,
    /// `struct net_device`.
    pub(super) device_index: i32,
    pub(super) device_namespace: i32,
    /// `struct sock`.
    pub(super) socket_namespace: i32,
    /// `struct net`.
    pub(super) namespace_inode: i32,
    /// Whether the tracepoint has the receiving socket as its fourth argument (Linux 6.11 and later).
    pub(super) has_receiving_socket: bool,
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
