//! Counts the packets to groups that the kernel drops, by its reasons.
//!
//! The kernel runs a small program at its tracepoint `skb:kfree_skb`, which counts in a map that this process reads at
//! the end. Needs `CAP_BPF` and `CAP_PERFMON` (or root), and Linux 5.17 or later with type information (BTF).

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use mcast::InterfaceIndex;
use mcast_packet::MacAddress;
use mcast_sys::bpf::{Attachment, BpfProgram, Map, ProgramKind};

use crate::ObservationRefusal;
use crate::kernel_drops::{KernelDrop, KernelDrops, UNSPECIFIED};
use program::KernelLayout;

/// The number of kinds of drops to distinguish. A busy host has a few hundred.
const MAX_KINDS: u32 = 4096;

/// Counts the drops of the kernel until it is finished or dropped.
#[derive(Debug)]
#[must_use = "dropping it stops counting"]
pub struct DropCounter(Result<Counting, ObservationRefusal>);

#[derive(Debug)]
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
    pub fn prepare() -> Self {
        Self(Counting::prepare())
    }

    /// Counts from now on.
    pub fn start(&mut self) {
        if let Ok(counting) = &mut self.0
            && let Err(error) = counting.start()
        {
            self.0 = Err(refusal(&error));
        }
    }

    /// Returns what was dropped since the start.
    pub fn finish(self) -> KernelDrops {
        match self.0.and_then(|counting| counting.finish().map_err(|error| refusal(&error))) {
            Ok(drops) => drops,
            Err(refused) => KernelDrops { refused: Some(refused), ..KernelDrops::default() },
        }
    }
}

impl Counting {
    fn prepare() -> Result<Self, ObservationRefusal> {
        let (layout, reasons) = KernelLayout::of_this_kernel().map_err(ObservationRefusal::unsupported)?;
        let load = || {
            // The low half of the number is all that the kernel keeps.
            let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.ino() as u32;
            let map = Map::hash(KEY_BYTES, VALUE_BYTES, MAX_KINDS)?;
            map.insert(&UNCOUNTED, &[0; VALUE_BYTES])?;
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
            let packets = self.map.value(&key)?.map_or(0, |value| count(&value));
            if key == UNCOUNTED {
                uncounted = packets;
            } else {
                drops.extend(parse(&key, packets, &self.reasons));
            }
        }
        Ok(KernelDrops { drops: with_functions(drops), uncounted, refused: None })
    }
}

/// Adds the names of the functions to the drops for which the kernel specifies no reason.
fn with_functions(drops: Vec<(KernelDrop, u64)>) -> Vec<KernelDrop> {
    let unknown = drops.iter().filter(|(drop, _)| drop.reason == UNSPECIFIED);
    let functions = functions(&unknown.map(|(_, location)| *location).collect());
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

fn refusal(error: &io::Error) -> ObservationRefusal {
    let needs_rights = error.kind() == io::ErrorKind::PermissionDenied;
    let why = if needs_rights {
        "it needs permission to trace the kernel (CAP_BPF and CAP_PERFMON)".to_owned()
    } else {
        format!("the kernel refuses to count its drops: {error}")
    };
    ObservationRefusal { why, needs_rights }
}

impl ObservationRefusal {
    fn unsupported(why: String) -> Self {
        Self { why, needs_rights: false }
    }
}

/// The offsets in a key. Multi-byte numbers of the kernel are in its byte order, those of packets as on the wire.
const LOCATION: i16 = 0;
const REASON: i16 = 8;
const INTERFACE: i16 = 12;
const ARRIVED_ON: i16 = 16;
/// 4 or 6, in a byte.
const VERSION: i16 = 20;
/// The IP protocol, in a byte.
const PROTOCOL: i16 = 21;
const SOURCE: i16 = 24;
const DESTINATION: i16 = 40;
/// The source port, then the destination port.
const PORTS: i16 = 56;
const MAC: i16 = 60;
const KEY_BYTES: usize = 72;
const VALUE_BYTES: usize = 8;

/// The key that counts the packets for which there was no room.
const UNCOUNTED: [u8; KEY_BYTES] = [0; KEY_BYTES];

/// Names of reasons with which nothing is lost: the packet was used up, the reader of a capture was too slow, or a socket
/// was closed with unread datagrams.
const HARMLESS: [&str; 5] =
    ["SKB_NOT_DROPPED_YET", "SKB_CONSUMED", "PACKET_SOCK_ERROR", "QUEUE_PURGE", "SOCKET_CLOSE"];

/// Returns the drop that a key describes and the address of the instruction that dropped; `None` if nothing was lost or
/// the key is damaged.
fn parse(key: &[u8], packets: u64, reasons: &BTreeMap<u32, String>) -> Option<(KernelDrop, u64)> {
    let number = u32_at(key, REASON)?;
    let reason = reasons.get(&number).cloned().unwrap_or_else(|| format!("reason {number:#x}"));
    if HARMLESS.contains(&reason.as_str()) {
        return None;
    }
    let interface = |offset| Some(InterfaceIndex::new(u32_at(key, offset)?));
    // In a damaged header, the ports may be anywhere.
    let is_damaged = reason == "IP_INHDR" && bytes_at::<1>(key, VERSION) == Some(&[4]);
    let port = |offset| bytes_at(key, offset).map_or(0, |port| u16::from_be_bytes(*port));
    let [source_port, destination_port] = [PORTS, PORTS + 2].map(|at| if is_damaged { 0 } else { port(at) });
    let mac: [u8; 6] = *bytes_at(key, MAC)?;
    let drop = KernelDrop {
        reason,
        function: None,
        interface: interface(INTERFACE)?,
        arrived_on: interface(ARRIVED_ON)?,
        source: SocketAddr::new(address_at(key, SOURCE)?, source_port),
        destination: SocketAddr::new(address_at(key, DESTINATION)?, destination_port),
        protocol: bytes_at::<1>(key, PROTOCOL)?[0],
        mac: (mac != [0; 6]).then_some(MacAddress(mac)),
        packets,
    };
    Some((drop, u64::from_ne_bytes(*bytes_at(key, LOCATION)?)))
}

/// Returns the number of packets that a value counts.
fn count(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |count| u64::from_ne_bytes(*count))
}

fn address_at(key: &[u8], offset: i16) -> Option<IpAddr> {
    match bytes_at::<1>(key, VERSION)?[0] {
        4 => Some(IpAddr::V4(Ipv4Addr::from(*bytes_at::<4>(key, offset)?))),
        6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes_at::<16>(key, offset)?))),
        _ => None,
    }
}

fn u32_at(key: &[u8], offset: i16) -> Option<u32> {
    bytes_at(key, offset).map(|bytes| u32::from_ne_bytes(*bytes))
}

fn bytes_at<const LENGTH: usize>(key: &[u8], offset: i16) -> Option<&[u8; LENGTH]> {
    key.get(usize::try_from(offset).ok()?..)?.first_chunk()
}

/// No function is longer, so an instruction further behind a name belongs to none.
const MAX_FUNCTION_BYTES: u64 = 1 << 16;

/// Returns the functions that contain these instructions. Those that the kernel does not show are missing.
fn functions(instructions: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    // Reading the table takes a tenth of a second.
    if instructions.is_empty() {
        return BTreeMap::new();
    }
    File::open("/proc/kallsyms").map(|table| find(BufReader::new(table), instructions)).unwrap_or_default()
}

/// Finds the functions in a table of lines `ADDRESS TYPE NAME [MODULE]`, in any order.
fn find(mut table: impl BufRead, instructions: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut best: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    // The table has more than 100,000 lines, of which few matter.
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // Without the right to see them, all addresses are 0.
        if let Some(address) = address(&line).filter(|address| *address > 0) {
            for instruction in instructions.range(address..address.saturating_add(MAX_FUNCTION_BYTES)) {
                if best.get(instruction).is_none_or(|(nearest, _)| *nearest < address)
                    && let Some(name) = name(&line)
                {
                    best.insert(*instruction, (address, name));
                }
            }
        }
        line.clear();
    }
    best.into_iter().map(|(instruction, (_, name))| (instruction, name)).collect()
}
fn address(line: &[u8]) -> Option<u64> {
    let digits = line.get(..line.iter().position(|byte| *byte == b' ')?)?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn name(line: &[u8]) -> Option<String> {
    str::from_utf8(line).ok()?.split_ascii_whitespace().nth(2).map(base_name)
}

/// Returns the name in the source, without what the compiler has appended: `ip_rcv.isra.0`.
fn base_name(name: &str) -> String {
    name.split('.').find(|part| !part.is_empty()).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel_drops::DropDirection;

    fn reasons() -> BTreeMap<u32, String> {
        [(1, "SKB_CONSUMED"), (12, "NETFILTER_DROP")].map(|(number, name)| (number, name.to_owned())).into()
    }

    /// Returns the key of a datagram from 10.9.0.1:6000 to 239.1.2.3:5000, dropped by a firewall on interface 2.
    fn key() -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let mut put = |offset: i16, bytes: &[u8]| {
            let start = usize::try_from(offset).unwrap();
            key[start..start + bytes.len()].copy_from_slice(bytes);
        };
        put(LOCATION, &77_u64.to_ne_bytes());
        put(REASON, &12_u32.to_ne_bytes());
        put(INTERFACE, &2_u32.to_ne_bytes());
        put(ARRIVED_ON, &2_u32.to_ne_bytes());
        put(VERSION, &[4, 17]);
        put(SOURCE, &[10, 9, 0, 1]);
        put(DESTINATION, &[239, 1, 2, 3]);
        put(PORTS, &[0x17, 0x70, 0x13, 0x88]);
        put(MAC, &[1, 0, 0x5e, 1, 2, 3]);
        key
    }

    #[test]
    fn key_has_the_reason_the_addresses_and_the_interface() {
        let (drop, location) = parse(&key(), 9, &reasons()).unwrap();
        assert_eq!((drop.reason.as_str(), drop.packets, location), ("NETFILTER_DROP", 9, 77));
        assert_eq!(drop.source, "10.9.0.1:6000".parse().unwrap());
        assert_eq!(drop.destination, "239.1.2.3:5000".parse().unwrap());
        assert_eq!((drop.arrived_on, drop.direction()), (InterfaceIndex::new(2), DropDirection::Incoming));
        assert_eq!((drop.protocol, drop.mac.unwrap().to_string().as_str()), (17, "01:00:5e:01:02:03"));
    }

    #[test]
    fn packet_that_was_not_lost_is_no_drop() {
        let mut consumed = key();
        consumed[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        assert_eq!(parse(&consumed, 9, &reasons()), None);
        assert_eq!(parse(&UNCOUNTED, 9, &reasons()), None);
    }

    #[test]
    fn unknown_reason_is_reported_by_its_number() {
        let (drop, _) = parse(&key(), 9, &BTreeMap::new()).unwrap();
        assert_eq!(drop.reason, "reason 0xc");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(key in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = parse(&key, count(&key), &reasons());
        }
    }

    const TABLE: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t ip_rcv.isra.0
ffffffffc0000000 t veth_xdp_rcv_skb\t[veth]
ffffffff81000080 T late
0000000000000000 T hidden
";

    #[test]
    fn function_is_the_nearest_name_before_the_instruction() {
        let instructions = [0xffff_ffff_8100_0100, 0xffff_ffff_8100_01ff, 0xffff_ffff_c000_0010, 5].into();
        let functions: Vec<_> = find(TABLE.as_bytes(), &instructions).into_values().collect();
        assert_eq!(functions, ["ip_rcv", "ip_rcv", "veth_xdp_rcv_skb"]);
        assert_eq!(
            find(TABLE.as_bytes(), &[0xffff_ffff_8100_00ff].into()).into_values().next().unwrap(),
            "late"
        );
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(table in "[0-9a-f tT.\n\\PC]{0,200}", instruction in any::<u64>()) {
            let _ = find(table.as_bytes(), &[instruction, 0xff].into());
        }
    }
}
