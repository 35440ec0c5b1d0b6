//! What a running relay reports, and why it stops.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mcast_group::GroupAddr;
use mcast_sys::{ClassifiedError, FailureClass};
use mcast_tunnel::{DownReason, LinkStatus, RefusedBy};

use crate::amt::GatewayEvent;
use crate::http::{HttpEvent, HttpRule};
use crate::{Leg, LegId, Namespace, PairStatus, PeerStatus, RelayEvent, RelayId, TooManyLegs};

/// What happened.
///
/// It is exhaustive: a program that shows events shows each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverEvent {
    /// The state machine reports it.
    Relay(RelayEvent),
    /// An interface is up, or its addresses have changed.
    LegUp {
        /// The leg.
        leg: LegId,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// An interface is down or gone, or its namespace is.
    LegDown {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: String,
    },
    /// HTTP clients can connect to this address.
    HttpListening(SocketAddr),
    /// HTTP clients cannot connect to this address, at present.
    HttpFailed {
        /// The address.
        address: SocketAddr,
        /// Why.
        problem: String,
    },
    /// A request of an HTTP client was refused, or a client dropped.
    Http(HttpEvent),
    /// Something happened with the relay of AMT that is a leg.
    Amt {
        /// The leg.
        leg: LegId,
        /// What happened.
        event: GatewayEvent,
    },
    /// The system dropped datagrams on a leg, because the receive buffer was full. Reported at most once per minute, with
    /// the number since the last report.
    ReceiveLost {
        /// The leg.
        leg: LegId,
        /// The number of datagrams.
        count: u64,
    },
    /// Something does not work on a leg, while the rest continues.
    Problem {
        /// The leg.
        leg: LegId,
        /// What does not work, and why.
        problem: String,
        /// What to do about it, if anything general helps.
        remedy: Option<String>,
    },
    /// A tunnel is up, with another relay at its other end than before.
    TunnelUp {
        /// The tunnel.
        leg: LegId,
        /// The relay at the other end.
        relay: RelayId,
        /// Its address.
        address: SocketAddr,
    },
    /// A tunnel is down.
    TunnelDown {
        /// The tunnel.
        leg: LegId,
        /// Why.
        reason: DownReason,
    },
    /// The other end of a tunnel has another address.
    TunnelMoved {
        /// The tunnel.
        leg: LegId,
        /// The address.
        address: SocketAddr,
    },
    /// The other end refuses a tunnel.
    TunnelRefused {
        /// The tunnel.
        leg: LegId,
        /// Why.
        reason: RefusedBy,
    },
    /// The other end of a tunnel does not answer.
    TunnelUnanswered {
        /// The tunnel.
        leg: LegId,
        /// The address that is dialed.
        host: String,
    },
    /// Somebody dials with another key.
    WrongTunnelKey {
        /// The address, unproven; the last one of several.
        address: SocketAddr,
        /// How many datagrams it stands for: more than 1 if there were more than
        /// [`ReportQuota::LOG`](mcast_pace::ReportQuota::LOG) allows.
        count: u64,
    },
    /// A member dials a tunnel that no rule names.
    UnknownTunnel {
        /// Its name.
        name: String,
        /// The address; the last one of several.
        address: SocketAddr,
        /// How many attempts it stands for, as above.
        count: u64,
    },
}

impl DriverEvent {
    /// Returns whether something does not work that did, or should.
    pub(super) const fn is_problem(&self) -> bool {
        matches!(
            self,
            Self::LegDown { .. }
                | Self::HttpFailed { .. }
                | Self::ReceiveLost { .. }
                | Self::Problem { .. }
                | Self::TunnelDown { .. }
                | Self::TunnelRefused { .. }
                | Self::TunnelUnanswered { .. }
                | Self::WrongTunnelKey { .. }
                | Self::UnknownTunnel { .. }
        )
    }
}

/// Counters beside those of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// Datagrams that the system dropped, because a receive buffer of the relay was full. It counts a coalesced buffer of
    /// several once.
    pub lost: u64,
    /// Copies and replies that the system did not take: queues were full, or there was no route.
    pub unsent: u64,
    /// Datagrams to the port of announcements that were not valid announcements.
    pub invalid_announcements: u64,
}

/// Counters of AMT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmtStatistics {
    /// Gateways that have joined something here.
    pub gateways: u64,
    /// Datagrams sent to gateways.
    pub sent: u64,
    /// Datagrams to gateways that the system did not take.
    pub unsent: u64,
    /// What arrived and was not used, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl AmtStatistics {
    pub(super) fn refuse(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// What a relay would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The pairs of the rules.
    pub pairs: Vec<PairStatus>,
    /// The other relays.
    pub peers: Vec<PeerStatus>,
    /// The tunnels.
    pub tunnels: Vec<LinkStatus>,
    /// What is served to HTTP clients.
    pub http: Vec<HttpRule>,
    /// What cannot be received, at most one for each rule and leg.
    pub unreceivable: Vec<Unreceivable>,
}

/// Something that a rule forwards and that cannot be received on a leg, although its interface is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreceivable {
    /// The number of the rule.
    pub rule: usize,
    /// The leg that it arrives on.
    pub from: LegId,
    /// What cannot be received, and why.
    pub problem: String,
    /// What to do about it, if anything general helps.
    pub remedy: Option<String>,
}

/// What fails without the right to send with the sources of others.
pub(super) const KEEP_SOURCE: &str = "send with the address of the sender, as keep-source requires";

/// Why a relay cannot run, or a leg cannot be used at present.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The rules name too many legs.
    #[error(transparent)]
    TooManyLegs(#[from] TooManyLegs),
    /// The system reported an error.
    #[error("cannot {operation}")]
    System {
        /// What failed.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The port of a group, or of broadcasts, cannot be used.
    #[error("cannot receive {what}")]
    Bind {
        /// What cannot be received.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// HTTP clients cannot connect.
    #[error("cannot listen for HTTP clients at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A network namespace cannot be opened or entered.
    #[error("cannot enter the network namespace of {leg}")]
    Namespace {
        /// A leg in it.
        leg: Leg,
        /// The system's error.
        source: io::Error,
    },
    /// The process or the name whose network namespace a leg is in does not exist, or no longer.
    #[error("{}", absent(.leg))]
    NoNamespace {
        /// A leg in it.
        leg: Leg,
    },
    /// A container was not found.
    #[error("cannot find the container of {leg}")]
    Container {
        /// A leg in it.
        leg: Leg,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Gateways of AMT cannot be served at an address.
    #[error("cannot serve gateways of AMT at {address}")]
    AmtListener {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Other ends of tunnels cannot dial.
    #[error("cannot listen for tunnels at {address}")]
    TunnelListener {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A group that has to be taken off an interface cannot be.
    #[error("cannot take {address} off {interface}: {reason}")]
    NotTaken {
        /// The group.
        address: GroupAddr,
        /// The interface.
        interface: String,
        /// Why not.
        reason: String,
        /// Whether a permission is missing.
        is_permission: bool,
    },
    /// A group cannot be joined.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// Reports of memberships cannot be received, or queries not be sent.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
}

impl DriverError {
    pub(super) fn system(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { operation, source }
    }

    /// Returns whether a permission is missing, which waiting does not change.
    pub(super) fn is_permission(&self) -> bool {
        match self {
            Self::System { source, .. }
            | Self::Bind { source, .. }
            | Self::Namespace { source, .. }
            | Self::Listen { source, .. }
            | Self::TunnelListener { source, .. }
            | Self::AmtListener { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Multicast(error) => error.kind() == mcast::ErrorKind::Permission,
            Self::Capture(error) => error.kind() == mcast_capture::ErrorKind::Permission,
            Self::Container { source, .. } => source
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied),
            Self::NotTaken { is_permission, .. } => *is_permission,
            Self::TooManyLegs(_) | Self::NoNamespace { .. } => false,
        }
    }
}

/// Returns why the network namespace of a leg does not exist.
fn absent(leg: &Leg) -> String {
    match &leg.namespace {
        Namespace::Process(number) => format!("process {number} has ended, or never ran"),
        Namespace::Named(name) => format!("there is no network namespace named {name}"),
        Namespace::Container(name) => format!("container {name} does not run"),
        Namespace::Own | Namespace::Amt(_) | Namespace::Tunnel => "its network namespace has gone".into(),
    }
}

impl ClassifiedError for DriverError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::TooManyLegs(_) => Some(FailureClass::Usage),
            Self::NoNamespace { .. } => Some(FailureClass::Environment),
            Self::Container { .. } | Self::Listen { .. } | Self::NotTaken { .. } if !self.is_permission() => {
                Some(FailureClass::Environment)
            }
            // The cause decides.
            _ => self.is_permission().then_some(FailureClass::Permission),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Namespace { .. } if self.is_permission() => "entering network namespaces needs CAP_SYS_ADMIN, and \
                CAP_SYS_PTRACE for those of other users' processes: run it as root"
                .into(),
            Self::NoNamespace { leg: Leg { namespace: Namespace::Named(name), .. } } => {
                format!("`ip netns list` lists the namespaces with a name; `ip netns add {name}` creates this one")
            }
            Self::NoNamespace { .. } => "name its network namespace with `ip netns attach NAME PID` while it runs, and write \
                netns:NAME: it then outlives the process"
                .into(),
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program uses the port without sharing it (SO_REUSEADDR): stop it, or make it share the port; \
                 `ss -ulpn` shows which"
                    .into()
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program uses this port: name another one in the rule, or stop that program".into()
            }
            Self::AmtListener { source, .. } | Self::TunnelListener { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "another program has this port; `ss -ulpn` shows which".into(),
                io::ErrorKind::AddrNotAvailable => "write an address of this machine: `mcast interfaces`".into(),
                io::ErrorKind::Unsupported => "this build has no hashes, which a relay of AMT needs".into(),
                _ => return None,
            },
            Self::NotTaken { is_permission: true, .. } => "run it as root, grant it with `setcap \
                cap_bpf,cap_net_admin,cap_net_raw,cap_ipc_lock+ep PROGRAM`, or use --wire auto"
                .into(),
            Self::NotTaken { .. } => "receive by the sockets where it is not possible: --wire auto".into(),
            Self::System { operation: KEEP_SOURCE, .. } if self.is_permission() => "keep-source needs CAP_NET_RAW: run it \
                as root, grant it with `setcap cap_net_raw+ep PROGRAM`, or remove keep-source"
                .into(),
            Self::Capture(_) if self.is_permission() => "receiving reports of memberships needs CAP_NET_RAW: run it as \
                root, grant it with `setcap cap_net_raw+ep PROGRAM`, or add the option `always` to the rule, which \
                then does not wait for members"
                .into(),
            _ => return None,
        })
    }

    fn transparent(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Multicast(error) => Some(error),
            Self::Capture(error) if !self.is_permission() => Some(error),
            _ => None,
        }
    }
}
