//! Receiving past the socket (Linux, `AF_XDP`): frames of joined groups are taken off an interface before the kernel's
//! network stack. The sockets stay joined, and receive what is not taken, so each datagram arrives by one of both ways.
//!
//! A frame that is taken reaches no other socket. So a group is taken only while nobody else would receive it, which a
//! thread checks every [`watch::INTERVAL`].

mod frame;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{fmt, io};

use mcast_group::{Family, Group, GroupAddr, InterfaceIndex, SourceFilter};

use super::table::Key;
use crate::error::{Error, ErrorKind, Operation, Result};
use mcast_sys::poller::Poller;
use mcast_sys::wire::{Bystanders, WireProgram, WireRefusal, WireSettings, in_namespace};
use port::Watch;
pub(crate) use port::{RingCount, WirePort};

/// Tokens of rings start here, far above those of sockets.
const FIRST_TOKEN: usize = 1 << 24;
/// The tokens of one interface: at most this many rings.
const RINGS: usize = 1 << 8;

/// Whether a receiver takes datagrams off the interface, past the kernel's network stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// Where it is possible and nobody else would miss them; otherwise by the socket.
    /// [`Receiver::wire_status`](crate::Receiver::wire_status) reports which, and why.
    Auto,
    /// Everywhere, or joining fails with the reason.
    Require,
    /// Never.
    #[default]
    Off,
}

/// How the datagrams of a group on an interface are received.
///
/// The `Display` form is one line for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireStatus {
    /// The group and port.
    pub address: GroupAddr,
    /// The interface.
    pub interface: InterfaceIndex,
    /// Its name when the group was joined.
    pub name: String,
    /// Why they are received by the socket; `None` if they are taken off the interface.
    pub reason: Option<String>,
}

/// What an interface offers for taking datagrams off it ([`Wire`]).
///
/// The `Display` form is one line for people to read: `yes`, or the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireSupport {
    /// The name of the driver; the kind of interface if the driver has none.
    pub driver: String,
    /// Whether the driver runs XDP programs itself and passes frames to `AF_XDP` sockets, which is necessary; `None` if
    /// the kernel does not report it (before Linux 6.3), also for the others.
    pub native: Option<bool>,
    /// Whether XDP programs may see frames that occupy several buffers. Such frames are left to the socket anyway.
    pub multi_buffer: Option<bool>,
    /// Whether the driver can receive directly into the memory of a socket, which is not used.
    pub zero_copy: Option<bool>,
    /// Why nothing can be taken; `None` if nothing is known to prevent it. Whether somebody else would miss the datagrams
    /// of a group is checked when it is joined.
    pub reason: Option<String>,
}

/// Finds out what an interface offers for taking datagrams off it, and whether this process may do that; on Linux, an
/// interface of the calling thread's network namespace. Nothing is changed.
///
/// # Errors
/// [`ErrorKind::Unsupported`] except on Linux, or the system's error, such as that the interface does not exist.
pub fn wire_support(interface: InterfaceIndex) -> Result<WireSupport> {
    let support = mcast_sys::wire::WireProbe::read(interface)
        .map_err(|error| Error::os(Operation::TakeFrames, error).on_interface(interface.to_string()))?;
    let features = support.features;
    Ok(WireSupport {
        driver: support.driver,
        native: features.map(|features| features.native),
        multi_buffer: features.map(|features| features.multi_buffer),
        zero_copy: features.map(|features| features.zero_copy),
        reason: support.refusal.map(|refusal| refusal.to_string()),
    })
}

/// The interfaces of a receiver from which frames are taken.
#[derive(Debug)]
pub(crate) struct Wires {
    policy: Wire,
    settings: WireSettings,
    ports: Vec<Option<WirePort>>,
    shared: Arc<Mutex<Shared>>,
    own: OwnAddresses,
    /// The drops of rings that were closed.
    retired_drops: u64,
    _watch: Watch,
}

/// The IPv4 addresses of all interfaces, sorted. The watching thread reads them when an interface changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnAddresses(Arc<Mutex<Arc<[Ipv4Addr]>>>);

/// What the watching thread needs.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The network namespace in which interfaces have their indexes; `None` where the system has none.
    namespace: Option<u64>,
    /// The inodes of this receiver's sockets.
    own: BTreeSet<u64>,
    groups: BTreeMap<Key, WireGroup>,
}

#[derive(Debug)]
struct WireGroup {
    name: String,
    state: WireState,
}

#[derive(Debug)]
enum WireState {
    Taken(Arc<WireProgram>),
    BySocket { reason: String, kind: ErrorKind },
}

/// A joined group with the sources that are admitted.
pub(crate) type Joined<'a> = (GroupAddr, InterfaceIndex, &'a SourceFilter);

impl Wires {
    /// Prepares to take frames in the calling thread's network namespace.
    pub(crate) fn new(policy: Wire, settings: WireSettings) -> Result<Self> {
        let failed = |error| Error::os(Operation::TakeFrames, error);
        let namespace = in_namespace().ok();
        let shared = Shared { namespace, own: BTreeSet::new(), groups: BTreeMap::new() };
        let shared = Arc::new(Mutex::new(shared));
        let mut all = all();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        drop(all);
        let own = OwnAddresses::default();
        Ok(Self {
            policy,
            settings,
            ports: Vec::new(),
            _watch: Watch::start(Arc::clone(&shared), own.clone()).map_err(failed)?,
            shared,
            own,
            retired_drops: 0,
        })
    }

    /// Returns what the watching thread shares. It does not look at sockets while this is locked.
    pub(crate) fn shared(&self) -> Arc<Mutex<Shared>> {
        Arc::clone(&self.shared)
    }

    /// Takes the frames of the groups that are joined now, as far as possible, and of no others.
    pub(crate) fn sync<'a>(
        &mut self,
        shared: &mut Shared,
        poller: &Poller,
        own: BTreeSet<u64>,
        joined: impl Iterator<Item = Joined<'a>> + Clone,
    ) {
        shared.own = own;
        self.close_failed(shared, poller);
        let keys: BTreeSet<Key> = joined.clone().map(|(address, index, _)| (address, index)).collect();
        shared.groups.retain(|key, group| keys.contains(key) || !group.leave(key.0));
        let fresh: Vec<Key> = keys.iter().filter(|key| !shared.groups.contains_key(key)).copied().collect();
        if !fresh.is_empty() {
            // One reading serves all.
            let bystanders = Bystanders::read();
            // A program that runs already may be on an interface whose frames others need by now.
            let check = |port: &WirePort| {
                let refusal = mcast_sys::wire::check(port.interface).err()?;
                Some((port.interface, refusal.to_string()))
            };
            let mut refused: BTreeMap<_, _> = self.ports().filter_map(check).collect();
            for key in fresh {
                let name = mcast_sys::interface::name_of(key.1).unwrap_or_else(|_| key.1.to_string());
                let state = self.begin(shared, poller, key, &bystanders, &mut refused);
                shared.groups.insert(key, WireGroup { name, state });
            }
        }
        self.close_unused(poller, &keys);
        if self.ports().next().is_some() {
            self.own.read();
        }
        for port in self.ports.iter_mut().flatten() {
            port.admit(joined.clone());
        }
    }

    /// Returns the port with the ring of this token, and the ring's number.
    pub(crate) fn ring(&self, token: usize) -> Option<(&WirePort, usize)> {
        let position = token.checked_sub(FIRST_TOKEN)?;
        Some((self.ports.get(position / RINGS)?.as_ref()?, position % RINGS))
    }

    /// Returns the interfaces from which frames are taken.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &WirePort> + '_ {
        self.ports.iter().flatten()
    }

    /// Returns how many frames were dropped because a ring was full; `None` if the system cannot say.
    pub(crate) fn drops(&self) -> Option<u64> {
        self.ports().try_fold(self.retired_drops, |sum, port| Some(sum + port.drops()?))
    }

    pub(crate) fn statuses(&self) -> Vec<WireStatus> {
        let shared = lock(&self.shared);
        shared
            .groups
            .iter()
            .map(|((address, interface), group)| WireStatus {
                address: *address,
                interface: *interface,
                name: group.name.clone(),
                reason: group.reason().map(|(reason, _)| reason.to_owned()),
            })
            .collect()
    }

    /// Returns an error for a group that had to be taken, of those for which `concerns` holds.
    pub(crate) fn require(&self, concerns: impl Fn(&Key) -> bool) -> Result<()> {
        if self.policy != Wire::Require {
            return Ok(());
        }
        let shared = lock(&self.shared);
        let failed = shared.groups.iter().filter(|(key, _)| concerns(key)).find_map(|(key, group)| {
            let (reason, kind) = group.reason()?;
            let error = Error::new(Operation::TakeFrames, kind)
                .on_address(key.0)
                .on_interface(&group.name)
                .detail(reason);
            Some(error.remedied(match kind {
                ErrorKind::Permission => {
                    "run it as root, grant it with `setcap cap_bpf,cap_net_admin,cap_net_raw,cap_ipc_lock+ep PROGRAM`, or fall back to the socket (`auto`)"
                }
                _ => "fall back to the socket where it is not possible (`auto`)",
            }))
        });
        failed.map_or(Ok(()), Err)
    }

    /// Begins to take the frames of a group, if nothing prevents it.
    fn begin(
        &mut self,
        shared: &Shared,
        poller: &Poller,
        key: Key,
        bystanders: &io::Result<Bystanders>,
        refused: &mut BTreeMap<InterfaceIndex, String>,
    ) -> WireState {
        let by_socket = |reason: String, kind| WireState::BySocket { reason, kind };
        if is_never_from_the_wire(key.0.group) {
            return by_socket("the group never leaves a machine".into(), ErrorKind::Unsupported);
        }
        if shared.namespace.is_none() {
            return by_socket(WireRefusal::Unsupported.to_string(), ErrorKind::Unsupported);
        }
        // Before the program is attached: what it takes reaches no socket any more.
        match bystanders {
            Err(error) => {
                return by_socket(format!("the sockets here cannot be listed: {error}"), ErrorKind::Other);
            }
            Ok(bystanders) => {
                if let Some(other) = bystanders.of(key.0, key.1, &shared.own) {
                    return by_socket(bystanders.describe(other), ErrorKind::AddressInUse);
                }
            }
        }
        // Several groups of an interface: it is tried once, and refuses all of them for the same reason.
        if let Some(reason) = refused.get(&key.1) {
            return by_socket(reason.clone(), ErrorKind::Unsupported);
        }
        match self.program(shared.namespace, poller, key.1) {
            Ok(program) => match program.take(key.0) {
                Ok(()) => WireState::Taken(program),
                Err(error) => by_socket(format!("the system refused: {error}"), ErrorKind::Other),
            },
            Err(refusal) => {
                let kind = match refusal {
                    WireRefusal::Rights | WireRefusal::LockedMemory => ErrorKind::Permission,
                    _ => ErrorKind::Unsupported,
                };
                refused.insert(key.1, refusal.to_string());
                by_socket(refusal.to_string(), kind)
            }
        }
    }

    /// Returns the program of an interface, and starts it if necessary.
    fn program(
        &mut self,
        namespace: Option<u64>,
        poller: &Poller,
        interface: InterfaceIndex,
    ) -> std::result::Result<Arc<WireProgram>, WireRefusal> {
        if let Some(port) = self.ports().find(|port| port.interface == interface) {
            return Ok(Arc::clone(&port.program));
        }
        if in_namespace().ok() != namespace {
            // The index may be that of another interface here.
            return Err(WireRefusal::Unsupported);
        }
        let vacant = self.ports.iter().position(Option::is_none).unwrap_or(self.ports.len());
        let (program, rings) = WireProgram::open(interface, self.settings)?;
        for (number, ring) in rings.iter().enumerate() {
            ring.register(poller, FIRST_TOKEN + vacant * RINGS + number).map_err(refused)?;
        }
        let port = WirePort::new(interface, Arc::new(program), rings, self.own.clone(), self.settings.times);
        let program = Arc::clone(&port.program);
        if vacant == self.ports.len() {
            self.ports.push(Some(port));
        } else {
            self.ports[vacant] = Some(port);
        }
        Ok(program)
    }

    /// Closes the rings of interfaces that are gone, even if they exist again, and forgets their groups.
    fn close_failed(&mut self, shared: &mut Shared, poller: &Poller) {
        for slot in &mut self.ports {
            if let Some(port) = slot.take_if(|port| port.has_failed()) {
                shared.groups.retain(|key, _| key.1 != port.interface);
                self.retired_drops += port.drops().unwrap_or(0);
                port.unregister(poller);
            }
        }
    }

    /// Closes the rings of interfaces on which nothing is joined any more.
    fn close_unused(&mut self, poller: &Poller, keys: &BTreeSet<Key>) {
        for slot in &mut self.ports {
            if let Some(port) = slot.take_if(|port| !keys.iter().any(|key| key.1 == port.interface)) {
                self.retired_drops += port.drops().unwrap_or(0);
                port.unregister(poller);
            }
        }
    }
}

impl Shared {
    /// Returns the interfaces from which frames are taken, with their programs.
    fn programs(&self) -> BTreeMap<InterfaceIndex, Arc<WireProgram>> {
        let taken = self.groups.iter().filter_map(|(key, group)| match &group.state {
            WireState::Taken(program) => Some((key.1, Arc::clone(program))),
            WireState::BySocket { .. } => None,
        });
        taken.collect()
    }

    /// Lets the programs take frames for another while.
    fn renew(&self) {
        for program in self.programs().values() {
            // If it fails, frames continue to the sockets.
            let _ = program.renew();
        }
    }

    /// Returns the groups of interfaces to the sockets whose frames another interface receives now, and of those that are gone.
    fn yield_to_links(&mut self) {
        for (interface, program) in self.programs() {
            let Err(refusal) = mcast_sys::wire::check(interface) else { continue };
            if matches!(refusal, WireRefusal::Gone) {
                // It fails if the program is gone, too, and not if the interface has only left this namespace.
                let _ = program.end();
            }
            let here = self.groups.iter_mut().filter(|(key, _)| key.1 == interface);
            here.for_each(|(key, group)| group.give_up(key.0, refusal.to_string(), ErrorKind::Unsupported));
        }
    }

    /// Returns groups to the sockets that somebody else would receive, too.
    fn yield_to_others(&mut self) {
        if !self.groups.values().any(WireGroup::is_taken) {
            return;
        }
        let own = &self.own;
        let taken = self.groups.iter_mut().filter(|(_, group)| group.is_taken());
        match Bystanders::read() {
            Ok(bystanders) => {
                let others = taken.filter_map(|(key, group)| {
                    let other = bystanders.of(key.0, key.1, own)?;
                    Some((group.leave(key.0), group, other))
                });
                // All return before anybody is named, which takes long.
                let left: Vec<_> = others.collect();
                for (_, group, other) in left.into_iter().filter(|(is_left, ..)| *is_left) {
                    let (reason, kind) = (bystanders.describe(other), ErrorKind::AddressInUse);
                    group.state = WireState::BySocket { reason, kind };
                }
            }
            Err(error) => {
                let reason = format!("the sockets here cannot be listed: {error}");
                taken.for_each(|(key, group)| group.give_up(key.0, reason.clone(), ErrorKind::Other));
            }
        }
    }
}

impl OwnAddresses {
    /// Reads them. If they cannot be listed now, those that are known remain.
    fn read(&self) {
        if let Ok(addresses) = own_addresses() {
            *self.lock() = addresses;
        }
    }

    fn get(&self) -> Arc<[Ipv4Addr]> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Ipv4Addr]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WireGroup {
    fn is_taken(&self) -> bool {
        matches!(self.state, WireState::Taken(_))
    }

    /// Leaves the frames to the socket; returns whether they are left to it from now on.
    fn leave(&self, address: GroupAddr) -> bool {
        match &self.state {
            WireState::Taken(program) => program.leave(address).is_ok(),
            WireState::BySocket { .. } => true,
        }
    }

    /// Leaves the frames to the socket for a reason, if the system allows it.
    fn give_up(&mut self, address: GroupAddr, reason: String, kind: ErrorKind) {
        if self.is_taken() && self.leave(address) {
            self.state = WireState::BySocket { reason, kind };
        }
    }

    fn reason(&self) -> Option<(&str, ErrorKind)> {
        match &self.state {
            WireState::Taken(_) => None,
            WireState::BySocket { reason, kind } => Some((reason, *kind)),
        }
    }
}

impl WireStatus {
    /// Creates a status, for a program that leaves some groups to a receiver without [`Wire`] and reports all of them.
    #[must_use]
    pub const fn new(
        address: GroupAddr,
        interface: InterfaceIndex,
        name: String,
        reason: Option<String>,
    ) -> Self {
        Self { address, interface, name, reason }
    }

    /// Returns whether datagrams are taken off the interface.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.reason.is_none()
    }
}

impl fmt::Display for WireSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_deref().unwrap_or("yes"))
    }
}

impl fmt::Display for WireStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: ", self.address, self.name)?;
        match &self.reason {
            None => f.write_str("taken off the interface (AF_XDP)"),
            Some(reason) => write!(f, "received by the socket: {reason}"),
        }
    }
}

/// The receivers of this program that take frames.
static ALL: Mutex<Vec<Weak<Mutex<Shared>>>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Weak<Mutex<Shared>>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns groups to the sockets that a receiver of this program has joined meanwhile, so that it misses nothing: the
/// watching threads would notice it later.
pub(crate) fn yield_to_own_receivers() {
    let others: Vec<_> = all().iter().filter_map(Weak::upgrade).collect();
    if others.is_empty() {
        return;
    }
    let Ok(namespace) = in_namespace() else { return };
    for other in others {
        let mut other = lock(&other);
        if other.namespace == Some(namespace) {
            other.yield_to_others();
        }
    }
}

/// Locks what the watching thread shares.
pub(crate) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether the kernel discards frames to this group from the network: IPv6 groups of interface-local or reserved
/// scope (RFC 4291, section 2.7).
fn is_never_from_the_wire(group: Group) -> bool {
    matches!(group.addr(), IpAddr::V6(v6) if v6.octets()[1] & 0x0f <= 1)
}

/// Returns the IPv4 addresses of all interfaces, sorted.
fn own_addresses() -> io::Result<Arc<[Ipv4Addr]>> {
    let interfaces = mcast_sys::interface::list()?;
    let mut own: Vec<_> = interfaces
        .iter()
        .flat_map(|interface| interface.addresses_of(Family::V4))
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect();
    own.sort_unstable();
    Ok(own.into())
}

fn refused(error: io::Error) -> WireRefusal {
    match error.kind() {
        io::ErrorKind::PermissionDenied => WireRefusal::Rights,
        _ => WireRefusal::Unsupported,
    }
}
