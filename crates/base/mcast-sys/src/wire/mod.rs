//! Receiving past the socket: the datagrams of listed groups are taken off an interface before the kernel's network
//! stack (`AF_XDP`), everything else continues to it. Linux only; elsewhere, opening fails.

mod bystanders;
mod link;
mod program;
mod ring;
mod sharing;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mcast_group::{GroupAddr, InterfaceIndex};

pub use crate::values::wire::{WireFeatures, WireSettings};

use crate::bpf::{self, Attachment, BpfProgram, Map, ProgramKind};
pub use bystanders::{Bystander, Bystanders, inode};
use link::Link;
pub use link::in_namespace;
use program::{KEY_BYTES, Plan, QUICK, QUICK_BYTES, Tags};
pub use ring::{FrameRing, WireFrame};

/// The most groups that an interface's program can list.
const MAX_GROUPS: u32 = 1 << 16;
/// The most queues of an interface that are read.
const MAX_QUEUES: u32 = 64;
/// Sizes of a slot, which holds a frame and what the kernel leaves free before it.
const SLOT_BYTES: [u32; 2] = [2048, 4096];
/// The largest MTU of the other end of a veth pair that the driver allows beside an XDP program; a little more with some kernels.
const LONGEST_OF_VETH: u32 = 3_506;
/// How long the kernel may take to free a queue.
const RELEASE: Duration = Duration::from_millis(500);
/// The function by which a program asks the driver for a removed VLAN tag.
const TAG_FUNCTION: &str = "bpf_xdp_metadata_rx_vlan_tag";

/// The program of an interface, until it is dropped or the process ends.
#[derive(Debug)]
pub struct WireProgram {
    /// The first IPv4 groups, and the map in which the program reads them.
    quick: Mutex<[u64; QUICK]>,
    quick_map: Map,
    groups: Map,
    _sockets: Map,
    attachment: Attachment,
    /// Whether frames may hold the sum of the pseudo-header in place of the UDP checksum.
    leaves_checksums: bool,
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

impl WireProbe {
    /// Finds out what an interface of the calling thread's network namespace offers, and whether this process may use
    /// it with a ring of the usual size. Nothing is changed: no program is loaded, and no socket is bound.
    ///
    /// # Errors
    /// If the interface does not exist, or the system does not describe it.
    pub fn read(interface: InterfaceIndex) -> io::Result<Self> {
        let link = Link::read(interface)?;
        let features = link::features(interface)?;
        let refusal = refusal(&link, features);
        Ok(Self { driver: link.driver, features, refusal })
    }
}

/// Returns the first of the reasons for which [`WireProgram::open`] would fail, as far as one can see without trying.
fn refusal(link: &Link, features: Option<WireFeatures>) -> Option<WireRefusal> {
    if let Err(refusal) = link.check() {
        return Some(refusal);
    }
    if features.is_some_and(|features| !features.native) {
        return Some(WireRefusal::NoDriverSupport { driver: link.driver.clone() });
    }
    if link.removes_tags && (!link.reports_tags() || tag_function().is_none()) {
        return Some(WireRefusal::RemovesTags);
    }
    if link.has_program {
        return Some(WireRefusal::OtherProgram);
    }
    if let Some(mtu) = link.peer_mtu.filter(|mtu| *mtu > LONGEST_OF_VETH) {
        return Some(WireRefusal::LongFrames { mtu });
    }
    // A map for these sockets needs the rights that a program needs, outside of any namespace of users.
    let map = Map::xdp_sockets(1).map(drop);
    map.and_then(|()| FrameRing::probe(WireSettings::DEFAULT_SLOTS, SLOT_BYTES[0]))
        .err()
        .map(WireRefusal::from)
}

impl WireFeatures {
    /// Reads the bits of `enum netdev_xdp_act`.
    const fn from_bits(bits: u64) -> Self {
        const BASIC: u64 = 1;
        const REDIRECT: u64 = 1 << 1;
        const ZERO_COPY: u64 = 1 << 3;
        const SEVERAL_BUFFERS: u64 = 1 << 5;
        Self {
            native: bits & (BASIC | REDIRECT) == BASIC | REDIRECT,
            multi_buffer: bits & SEVERAL_BUFFERS != 0,
            zero_copy: bits & ZERO_COPY != 0,
        }
    }
}

/// Why the datagrams of an interface cannot be taken off it.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireRefusal {
    /// The interface is not an Ethernet device, such as the loopback interface or a tunnel.
    NotEthernet,
    /// It passes frames on to this other interface: a bridge, a bond or a VRF.
    PortOf(String),
    /// This other interface receives its frames, too.
    Below(String),
    /// Something that is not visible in this network namespace receives its frames, too, such as an interface of kind macvlan
    /// or ipvlan in a container.
    SharedElsewhere,
    /// Traffic control or nftables has rules for frames that arrive, which may drop them or pass them on.
    IngressRules,
    /// The driver removes VLAN tags, and the program cannot ask it for them.
    RemovesTags,
    /// The driver has no XDP of its own.
    NoDriverSupport {
        /// The name of the driver.
        driver: String,
    },
    /// Another XDP program runs there.
    OtherProgram,
    /// The process lacks a right.
    Rights,
    /// The rings need more locked memory than `RLIMIT_MEMLOCK` allows without `CAP_IPC_LOCK`.
    LockedMemory,
    /// The kernel or the system does not support it.
    Unsupported,
    /// Its frames, or those that the other end of a virtual link sends, are too long for an XDP program.
    LongFrames {
        /// The MTU of the other end, if it is known; else of the interface.
        mtu: u32,
    },
    /// The interface does not exist any more, or is in another network namespace.
    Gone,
    /// Any other reason.
    Other(io::Error),
}

/// Returns what prevents frames from being taken off an interface, as far as it depends on other interfaces.
///
/// # Errors
/// [`WireRefusal::PortOf`], [`WireRefusal::Below`], [`WireRefusal::SharedElsewhere`], [`WireRefusal::IngressRules`] or
/// [`WireRefusal::Gone`], or that the system does not report it.
pub fn check(interface: InterfaceIndex) -> Result<(), WireRefusal> {
    Link::read(interface)?.check()
}

impl WireProgram {
    /// Starts a program that takes nothing yet, and opens a ring for each queue of the interface, in the calling thread's
    /// network namespace.
    ///
    /// # Errors
    /// See [`WireRefusal`]; nothing remains.
    pub fn open(
        interface: InterfaceIndex,
        settings: WireSettings,
    ) -> Result<(Self, Vec<FrameRing>), WireRefusal> {
        let link = Link::read(interface)?;
        link.check()?;
        let longest_possible = link.mtu.saturating_add(14);
        let fits = |bytes: &u32| bytes - ring::HEADROOM >= longest_possible;
        // Longer frames continue to the kernel.
        let slot_bytes = SLOT_BYTES.into_iter().find(fits).unwrap_or(SLOT_BYTES[1]);
        let quick_map = Map::single(QUICK_BYTES)?;
        let groups = Map::hash(KEY_BYTES, size_of::<u32>(), MAX_GROUPS)?;
        let sockets = Map::xdp_sockets(MAX_QUEUES)?;
        let longest = slot_bytes - ring::HEADROOM;
        let program = load(interface, &link, [&quick_map, &groups, &sockets], longest, settings.times)?;
        // It comes first, because it fails at once where another program runs.
        let attachment = program.attach_to_driver(interface).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => WireRefusal::NoDriverSupport { driver: link.driver.clone() },
            Some(libc::EBUSY | libc::EEXIST) => WireRefusal::OtherProgram,
            Some(libc::ERANGE) => WireRefusal::LongFrames { mtu: link.peer_mtu.unwrap_or(link.mtu) },
            _ => error.into(),
        })?;
        let rings = open_rings(interface, ring_slots(settings.slots), slot_bytes)?;
        for (queue, ring) in (0_u32..).zip(&rings) {
            let descriptor = ring.as_fd().as_raw_fd();
            sockets.insert(&queue.to_ne_bytes(), &descriptor.to_ne_bytes())?;
        }
        let leaves_checksums = link.leaves_checksums();
        let quick = Mutex::default();
        let program = Self { quick, quick_map, groups, _sockets: sockets, attachment, leaves_checksums };
        Ok((program, rings))
    }

    /// Takes the datagrams of a group from now on.
    pub fn take(&self, address: GroupAddr) -> io::Result<()> {
        let mut quick = self.quick.lock().unwrap_or_else(PoisonError::into_inner);
        let key = program::quick_key(address).filter(|key| !quick.contains(key));
        match (key, quick.iter().position(|other| *other == 0)) {
            (Some(key), Some(free)) => self.set_quick(&mut quick, free, key),
            _ => self.groups.insert(&program::key(address), &1_u32.to_ne_bytes()),
        }
    }

    /// Leaves the datagrams of a group to the kernel from now on.
    pub fn leave(&self, address: GroupAddr) -> io::Result<()> {
        let mut quick = self.quick.lock().unwrap_or_else(PoisonError::into_inner);
        let key = program::quick_key(address);
        if let Some(position) = quick.iter().position(|other| Some(*other) == key) {
            self.set_quick(&mut quick, position, 0)?;
        }
        self.groups.remove(&program::key(address))
    }

    /// Lets the program take frames for another two seconds. Without it, because this process is stopped, they continue to the
    /// kernel, so that others receive them.
    ///
    /// # Errors
    /// If the system refuses it.
    pub fn renew(&self) -> io::Result<()> {
        self.write_quick(&self.quick.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the program: all frames continue to the kernel from now on. It is necessary once the interface is in another network
    /// namespace, because the program moves with it.
    ///
    /// # Errors
    /// If the interface does not exist any more, and so neither the program.
    pub fn end(&self) -> io::Result<()> {
        self.attachment.detach()
    }

    fn set_quick(&self, quick: &mut [u64; QUICK], position: usize, key: u64) -> io::Result<()> {
        let mut changed = *quick;
        changed[position] = key;
        self.write_quick(&changed)?;
        *quick = changed;
        Ok(())
    }

    fn write_quick(&self, quick: &[u64; QUICK]) -> io::Result<()> {
        const RENEWED: u64 = 0;
        let numbers = quick.iter().chain([&RENEWED]);
        let bytes: Vec<u8> = numbers.flat_map(|number| number.to_ne_bytes()).collect();
        self.quick_map.insert(&0_u32.to_ne_bytes(), &bytes)
    }

    /// Returns whether frames may hold the sum of the pseudo-header in place of the UDP checksum, because the sender's
    /// kernel left computing it to a virtual device.
    #[must_use]
    pub const fn leaves_checksums(&self) -> bool {
        self.leaves_checksums
    }
}

impl Drop for WireProgram {
    /// A process that is just being started has copies of all descriptors for a moment. Without this, the program would
    /// take frames until then, which nobody would receive.
    fn drop(&mut self) {
        // If it fails, the interface is gone, or closing the descriptor detaches the program.
        let _ = self.end();
    }
}

/// Returns the number of slots of a ring that holds this many frames.
fn ring_slots(frames: u32) -> u32 {
    frames.clamp(64, 1 << 20).next_power_of_two()
}

/// Opens a ring for each queue that the interface uses.
fn open_rings(interface: InterfaceIndex, slots: u32, slot_bytes: u32) -> Result<Vec<FrameRing>, WireRefusal> {
    let mut rings = Vec::new();
    for queue in 0..MAX_QUEUES {
        match open_ring(interface, queue, slots, slot_bytes) {
            Ok(ring) => rings.push(ring),
            // There are only as many queues as rings.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && queue > 0 => break,
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(WireRefusal::OtherProgram),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rings)
}

/// Opens a ring. The kernel frees a queue some time after its last socket was closed.
fn open_ring(interface: InterfaceIndex, queue: u32, slots: u32, slot_bytes: u32) -> io::Result<FrameRing> {
    let deadline = Instant::now() + RELEASE;
    loop {
        match FrameRing::open(interface, queue, slots, slot_bytes) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(RELEASE / 100);
            }
            opened => return opened,
        }
    }
}

fn load(
    interface: InterfaceIndex,
    link: &Link,
    [quick, groups, sockets]: [&Map; 3],
    longest: u32,
    times: bool,
) -> Result<BpfProgram, WireRefusal> {
    let plan = |tags| {
        let (quick, groups, sockets) = (quick.as_fd(), groups.as_fd(), sockets.as_fd());
        program::assemble(&Plan { quick, groups, sockets, longest, tags, times })
    };
    if !link.removes_tags {
        return Ok(BpfProgram::load(ProgramKind::Xdp, &plan(Tags::InFrames))?);
    }
    if !link.reports_tags() {
        return Err(WireRefusal::RemovesTags);
    }
    let function = tag_function().ok_or(WireRefusal::RemovesTags)?;
    match BpfProgram::load_for(interface, &plan(Tags::Ask(function))) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(WireRefusal::Rights),
        Err(_) => Err(WireRefusal::RemovesTags),
        Ok(program) => Ok(program),
    }
}

/// Returns the identifier of the function that asks for VLAN tags; `None` if the kernel has none.
fn tag_function() -> Option<u32> {
    static FUNCTION: OnceLock<Option<u32>> = OnceLock::new();
    *FUNCTION.get_or_init(|| {
        let information = std::fs::read(bpf::btf::KERNEL).ok()?;
        bpf::btf::function(&information, TAG_FUNCTION)
    })
}

impl From<io::Error> for WireRefusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Rights,
            Some(libc::ENOBUFS) => Self::LockedMemory,
            Some(libc::ENODEV) => Self::Gone,
            Some(libc::EAFNOSUPPORT | libc::ENOSYS | libc::EPROTONOSUPPORT) => Self::Unsupported,
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for WireRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEthernet => f.write_str("it is not an Ethernet interface"),
            Self::PortOf(master) => write!(f, "it is a port of {master}"),
            Self::Below(upper) => write!(f, "{upper} receives its frames, too"),
            Self::SharedElsewhere => {
                f.write_str("something outside of this network namespace receives its frames, too, such as a macvlan of a container")
            }
            Self::IngressRules => {
                f.write_str("rules at its ingress see its frames first (`tc filter show dev INTERFACE ingress`, `nft list ruleset`)")
            }
            Self::RemovesTags => {
                f.write_str("its driver removes VLAN tags (`ethtool -K INTERFACE rxvlan off` prevents that)")
            }
            Self::NoDriverSupport { driver } => write!(f, "its driver ({driver}) has no XDP"),
            Self::OtherProgram => f.write_str("another XDP program or AF_XDP socket uses it"),
            Self::Rights => f.write_str("CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed"),
            Self::LockedMemory => f.write_str(
                "its ring exceeds the limit on locked memory (`ulimit -l`), and CAP_IPC_LOCK is missing",
            ),
            Self::Unsupported => f.write_str("this kernel has no AF_XDP"),
            Self::LongFrames { mtu } => {
                write!(
                    f,
                    "the MTU of the link, {mtu}, is too large for an XDP program (a veth pair allows 3500)"
                )
            }
            Self::Gone => f.write_str("it does not exist any more"),
            Self::Other(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl std::error::Error for WireRefusal {}
