//! Memberships that are held without receiving their datagrams, those of this machine, and whether their traffic arrives.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use mcast::joined::{Holder, Memberships, Watcher};
use mcast::{Group, InterfaceIndex, Membership, MembershipStatus, Receiver, ReceiverBuilder, SourceFilter};
use mcast_capture::Frame;
use mcast_group::SafeText;
use mcast_packet::Packet;

use super::LiveError;

/// Memberships for the sake of the network: switches and routers forward the groups. The receiver is bound to an unused
/// port, so that no datagrams are delivered to it.
#[derive(Debug)]
pub struct HeldMemberships {
    receiver: Receiver,
    /// The requested ports of each membership of the receiver.
    ports: Vec<Vec<u16>>,
}

impl HeldMemberships {
    /// Joins the groups. `any_source` allows source-specific groups without a source; `follow` is for interfaces that
    /// appear and vanish ([`Self::refresh`]).
    ///
    /// # Errors
    /// [`LiveError::Port`], and [`LiveError::Multicast`] if a group cannot be joined.
    pub fn join(memberships: &[Membership], any_source: bool, follow: bool) -> Result<Self, LiveError> {
        let port = unused_port().map_err(LiveError::Port)?;
        let mut positions = HashMap::new();
        let (mut held, mut ports) = (Vec::new(), Vec::<Vec<u16>>::new());
        for membership in memberships {
            let mut elsewhere = membership.clone();
            elsewhere.address.port = port;
            let position = *positions.entry(elsewhere).or_insert_with_key(|elsewhere| {
                held.push(elsewhere.clone());
                ports.push(Vec::new());
                ports.len() - 1
            });
            ports[position].push(membership.address.port);
        }
        let builder = Self::builder().join_all(held).follow(follow).allow_any_source(any_source);
        let receiver =
            builder.build_raising_limit().map_err(|error| with_requested_port(error, memberships))?;
        Ok(Self { receiver, ports })
    }

    /// Returns the builder of such a receiver. The smallest receive buffer shows everybody that nothing is received: the doctor
    /// does not expect it of such a socket.
    pub(super) fn builder() -> ReceiverBuilder {
        Receiver::builder().receive_buffer(1)
    }

    /// Returns the state of the memberships, with the ports requested.
    #[must_use]
    pub fn statuses(&self) -> Vec<MembershipStatus> {
        let held = self.receiver.memberships().into_iter().zip(&self.ports);
        let at_each = held.flat_map(|(status, ports)| {
            ports.iter().map(move |port| {
                let mut status = status.clone();
                status.membership.address.port = *port;
                status
            })
        });
        at_each.collect()
    }

    /// Joins on interfaces that have appeared. A receiver follows its interfaces only while it receives, and this one
    /// gets no datagrams.
    ///
    /// # Errors
    /// If the system refuses to list the interfaces.
    pub fn refresh(&self) -> mcast::Result<()> {
        while self.receiver.recv_timeout(&mut [0; 1], Duration::ZERO)?.is_some() {}
        Ok(())
    }
}

/// Returns an error with the port that was requested, instead of the one at which the group is held.
fn with_requested_port(error: mcast::Error, memberships: &[Membership]) -> mcast::Error {
    let group = error.group().map(|address| address.group);
    match memberships.iter().find(|membership| Some(membership.address.group) == group) {
        Some(requested) => error.at_port(requested.address.port),
        None => error,
    }
}

/// Returns a port that is currently unused.
pub(super) fn unused_port() -> io::Result<u16> {
    let any = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))];
    Ok(UdpSocket::bind(&any[..])?.local_addr()?.port())
}

/// The members on this machine, by group and interface.
#[derive(Clone, Debug, Default)]
pub struct LocalMembers(HashMap<(Group, InterfaceIndex), Vec<LocalMember>>);

/// A holder of a membership on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalMember {
    /// The id and name of the process, if known. The name is escaped.
    pub process: Option<(u32, String)>,
    /// The name to show.
    pub name: String,
    /// The sources that it accepts, if known.
    pub filter: Option<SourceFilter>,
    /// The local port of its socket.
    pub port: Option<u16>,
}

/// Keeps [`LocalMembers`] up to date.
#[derive(Clone, Debug)]
pub struct LocalMembersWatcher(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    members: Arc<LocalMembers>,
    failure: Option<String>,
}

impl LocalMembers {
    /// Returns the members of a group on an interface.
    #[must_use]
    pub fn of(&self, group: Group, interface: InterfaceIndex) -> &[LocalMember] {
        self.0.get(&(group, interface)).map_or(&[], Vec::as_slice)
    }

    fn new(memberships: &Memberships) -> Self {
        let mut members: HashMap<_, Vec<LocalMember>> = HashMap::new();
        for holding in &memberships.holdings {
            members.entry((holding.group, holding.interface)).or_default().extend(locals(&holding.holder));
        }
        Self(members)
    }
}

fn locals(holder: &Holder) -> Vec<LocalMember> {
    let without_process =
        |name: &str| vec![LocalMember { process: None, name: name.into(), filter: None, port: None }];
    match holder {
        Holder::Socket(holder) => {
            let processes = holder.socket.processes.iter().map(|process| {
                let name = SafeText::new(process.name.as_bytes()).to_string();
                LocalMember {
                    name: format!("{name} ({})", process.pid),
                    process: Some((process.pid, name)),
                    filter: Some(holder.filter.clone()),
                    port: holder.socket.port(),
                }
            });
            processes.collect()
        }
        Holder::Kernel => without_process("kernel"),
        Holder::Unseen { .. } => without_process("unknown process"),
        _ => without_process("unknown"),
    }
}

impl LocalMembersWatcher {
    /// Starts a thread in the network namespace and with the capabilities of this one.
    #[must_use]
    pub fn start() -> Self {
        let started = Self(Arc::default());
        let watcher = started.clone();
        let work = move || watcher.watch().unwrap_or_else(|error| watcher.fail(&error));
        if let Err(error) = thread::Builder::new().name("joined".into()).spawn(work) {
            started.fail(&error);
        }
        started
    }

    /// Returns the members that are known now.
    #[must_use]
    pub fn known(&self) -> Arc<LocalMembers> {
        Arc::clone(&self.lock().members)
    }

    /// Returns why members are no longer updated.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    fn fail(&self, error: &impl ToString) {
        self.lock().failure = Some(error.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> mcast::Result<()> {
        let mut watcher = Watcher::new()?;
        loop {
            self.lock().members = Arc::new(LocalMembers::new(watcher.known()));
            if watcher.wait(None)?.is_none() {
                return Ok(());
            }
        }
    }
}

/// The groups of memberships whose traffic has not arrived yet, by group and interface.
#[derive(Clone, Debug)]
pub struct TrafficMonitor {
    missing: BTreeMap<(Group, InterfaceIndex), String>,
}

impl TrafficMonitor {
    /// Expects the groups that are joined.
    #[must_use]
    pub fn new(statuses: &[MembershipStatus]) -> Self {
        let mut missing = BTreeMap::new();
        for status in statuses {
            for interface in status.interfaces.iter().filter(|each| each.failure.is_none()) {
                missing.insert((status.membership.address.group, interface.index), interface.name.clone());
            }
        }
        Self { missing }
    }

    /// Records a data packet. Packets sent by this machine are ignored, because they prove nothing.
    pub fn observe(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        if self.missing.is_empty() || frame.direction.is_outgoing() {
            return;
        }
        let group = packet.ip_layer().and_then(|ip| Group::new(ip.destination).ok());
        if let Some(group) = group {
            self.missing.remove(&(group, frame.interface));
        }
    }

    /// Returns whether the traffic of all groups has arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the groups whose traffic has not arrived, each with the name of the interface.
    #[must_use]
    pub fn missing(&self) -> Vec<(Group, &str)> {
        self.missing.iter().map(|((group, _), interface)| (*group, interface.as_str())).collect()
    }
}
