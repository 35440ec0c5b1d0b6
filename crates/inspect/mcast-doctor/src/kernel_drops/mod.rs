//! The drops of the kernel as evidence.

use crate::{Evidence, EvidenceKind};
pub(crate) use mcast_host::kernel_drops::*;

/// Returns drops as evidence, one piece for each reason and function.
pub(crate) fn evidence<'a>(
    drops: impl IntoIterator<Item = &'a KernelDrop>,
) -> impl Iterator<Item = Evidence> {
    by_reason(drops).into_iter().map(|(reason, packets)| {
        Evidence::new(EvidenceKind::Counter, "kernel drop reason", format!("{packets} packets: {reason}"))
    })
}
