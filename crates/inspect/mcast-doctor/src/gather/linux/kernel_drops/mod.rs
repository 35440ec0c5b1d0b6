//! Counts the packets to groups that the kernel drops, by its reasons.
//!
//! The kernel runs a small program at its tracepoint `skb:kfree_skb`, which counts in a map that this process reads at
//! the end. Needs `CAP_BPF` and `CAP_PERFMON` (or root), and Linux 5.17 or later with type information (BTF).

mod layout;
mod program;
mod record;
mod symbols;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;

use mcast_sys::bpf::{Attachment, BpfProgram, Map, ProgramKind};

use self::layout::KernelLayout;
use crate::kernel_drops::{KernelDrop, KernelDrops, UNSPECIFIED};
use crate::wire::Refusal;

/// The number of kinds of drops to distinguish. A busy host has a few hundred.
const MAX_KINDS: u32 = 4096;

/// Counts drops until it is finished or dropped.
pub(crate) struct DropCounter(Result<Counting, Refusal>);

struct Counting {
    map: Map,
    program: BpfProgram,
    /// `None` until it was started.
    attached: Option<Attachment>,
    /// The names of the reasons.
    reasons: BTreeMap<u32, String>,
}

impl DropCounter {
    /// Loads the program, which takes some milliseconds, without counting yet.
    pub(crate) fn prepare() -> Self {
        Self(Counting::prepare())
    }

    /// Counts from now on.
    pub(crate) fn start(&mut self) {
        if let Ok(counting) = &mut self.0
            && let Err(error) = counting.start()
        {
            self.0 = Err(refusal(&error));
        }
    }

    /// Returns what was dropped since the start.
    pub(crate) fn finish(self) -> KernelDrops {
        match self.0.and_then(|counting| counting.finish().map_err(|error| refusal(&error))) {
            Ok(drops) => drops,
            Err(refused) => KernelDrops { refused: Some(refused), ..KernelDrops::default() },
        }
    }
}

impl Counting {
    fn prepare() -> Result<Self, Refusal> {
        let (layout, reasons) = KernelLayout::of_this_kernel().map_err(Refusal::unsupported)?;
        let load = || {
            // The low half of the number is all that the kernel keeps.
            let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.ino() as u32;
            let map = Map::hash(record::KEY_BYTES, record::VALUE_BYTES, MAX_KINDS)?;
            map.insert(&record::UNCOUNTED, &[0; record::VALUE_BYTES])?;
            let program = program::assemble(&layout, namespace, &map);
            Ok((BpfProgram::load(ProgramKind::RawTracepoint, &program)?, map))
        };
        let (program, map) = load().map_err(|error| refusal(&error))?;
        Ok(Self { map, program, attached: None, reasons })
    }

    fn start(&mut self) -> io::Result<()> {
        self.attached = Some(self.program.attach(c"kfree_skb")?);
        Ok(())
    }

    fn finish(mut self) -> io::Result<KernelDrops> {
        self.attached = None;
        let (mut drops, mut uncounted) = (Vec::new(), 0);
        for key in self.map.keys()? {
            let packets = self.map.value(&key)?.map_or(0, |value| record::count(&value));
            if key == record::UNCOUNTED {
                uncounted = packets;
            } else {
                drops.extend(record::parse(&key, packets, &self.reasons));
            }
        }
        Ok(KernelDrops { drops: with_functions(drops), uncounted, refused: None })
    }
}

/// Adds the names of the functions to the drops for which the kernel specifies no reason.
fn with_functions(drops: Vec<(KernelDrop, u64)>) -> Vec<KernelDrop> {
    let unknown = drops.iter().filter(|(drop, _)| drop.reason == UNSPECIFIED);
    let functions = symbols::functions(&unknown.map(|(_, location)| *location).collect());
    let named = |(drop, location)| {
        let drop = KernelDrop { function: functions.get(&location).cloned(), ..drop };
        // An XDP program gets packets before the kernel has noted where they arrived.
        let arrived_on = drop.arrived_on.or_else(|| drop.interface.filter(|_| drop.is_by_xdp()));
        KernelDrop { arrived_on, ..drop }
    };
    drops.into_iter().map(named).filter(|drop| !is_harmless(drop)).collect()
}

/// Returns whether nothing was lost, although an older kernel gives no reason: a capture was too slow, a socket was
/// closed with unread datagrams, or what was coalesced had been read.
fn is_harmless(drop: &KernelDrop) -> bool {
    let is_harmless = |function: &String| {
        function.ends_with("packet_rcv")
            || ["skb_queue_purge", "skb_release_data"].iter().any(|own| function.starts_with(own))
    };
    drop.function.as_ref().is_some_and(is_harmless)
}

fn refusal(error: &io::Error) -> Refusal {
    let needs_rights = error.kind() == io::ErrorKind::PermissionDenied;
    let why = if needs_rights {
        "it needs the right to trace the kernel (CAP_BPF and CAP_PERFMON)".to_owned()
    } else {
        format!("the kernel refuses to count its drops: {error}")
    };
    Refusal { why, needs_rights }
}

impl Refusal {
    fn unsupported(why: String) -> Self {
        Self { why, needs_rights: false }
    }
}
