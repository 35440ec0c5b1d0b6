//! Why a relay cannot run.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use mcast_sys::{ClassifiedError, FailureClass};

use crate::{Leg, Namespace, TooManyLegs};

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
            | Self::Namespace { source, .. }
            | Self::Listen { source, .. }
            | Self::AmtListener { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Multicast(error) => error.kind() == mcast::ErrorKind::Permission,
            Self::Capture(error) => error.kind() == mcast_capture::ErrorKind::Permission,
            Self::Container { source, .. } => source
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied),
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
            Self::Container { .. } | Self::Listen { .. } if !self.is_permission() => {
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
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program uses this port: name another one in the rule, or stop that program".into()
            }
            Self::AmtListener { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "another program has this port; `ss -ulpn` shows which".into(),
                io::ErrorKind::AddrNotAvailable => "write an address of this machine: `mcast interfaces`".into(),
                io::ErrorKind::Unsupported => "this build has no hashes, which a relay of AMT needs".into(),
                _ => return None,
            },
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
