//! The error type: what was attempted, on which group and interface, why it failed, and what to do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::{fmt, io};

use mcast_group::GroupAddr;

use mcast_sys::{ClassifiedError, FailureClass, remedies};
#[doc(inline)]
pub use mcast_sys::{ErrorKind, Operation};

/// The result of this library's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, on which group and interface, why, and what to do about it.
///
/// It is one pointer wide, so that a `Result` stays small on the hot path.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    operation: Operation,
    kind: ErrorKind,
    /// The address of a group or host.
    address: Option<SocketAddr>,
    interface: Option<String>,
    detail: Option<String>,
    /// Overrides the remedy of the kind.
    remedy: Option<&'static str>,
    os: Option<Arc<io::Error>>,
}

impl Error {
    pub(crate) fn new(operation: Operation, kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            operation,
            kind,
            address: None,
            interface: None,
            detail: None,
            remedy: None,
            os: None,
        }))
    }

    /// Creates an error from the system's error, whose number determines the kind.
    pub(crate) fn os(operation: Operation, os: io::Error) -> Self {
        let kind = mcast_sys::error_kind(operation, &os);
        let mut error = Self::new(operation, kind);
        error.0.os = Some(Arc::new(os));
        error
    }

    /// Replaces the port of the address concerned, for callers that join groups at another port than the one requested.
    #[must_use]
    pub fn at_port(mut self, port: u16) -> Self {
        self.0.address.iter_mut().for_each(|address| address.set_port(port));
        self
    }

    /// Adds the address of the group or host concerned.
    pub(crate) fn on_address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.0.address = Some(address.into());
        self
    }

    pub(crate) fn on_interface(mut self, interface: impl fmt::Display) -> Self {
        self.0.interface = Some(interface.to_string());
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub(crate) fn remedied(mut self, remedy: &'static str) -> Self {
        self.0.remedy = Some(remedy);
        self
    }

    /// Changes the operation to the one that the caller requested.
    pub(crate) fn during(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// Changes the kind, where the caller knows more than the error number says.
    pub(crate) fn because(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Returns the operation that failed.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// Returns the reason for the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the group and port concerned, if any.
    #[must_use]
    pub fn group(&self) -> Option<GroupAddr> {
        self.0.address?.try_into().ok()
    }

    /// Returns the address and port of the group or host concerned, if any.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Returns what to do about a missing route.
    fn no_route(&self) -> String {
        match self.host() {
            Some(_) if self.is_about_broadcasts() => "name the interface to send on".into(),
            Some(host) => format!(
                "check the address, that the host is up, and that the routing table of this machine has a route to it (Linux: `ip route get {host}`)"
            ),
            None if self.0.interface.is_some() => remedies::ROUTES.into(),
            None => {
                let way = if self.0.operation == Operation::Join { "join on" } else { "leave by" };
                let route = remedies::ROUTE;
                format!("name the interface to {way} (no route is needed then), or add a route: {route}")
            }
        }
    }

    /// Adds the reason if the address is that of a host on a link, and the link is not known.
    pub(crate) fn on_link(self, has_interface: bool) -> Self {
        match self.host() {
            Some(IpAddr::V6(host)) if host.is_unicast_link_local() && !has_interface => self
                .detail("a link-local address needs its interface")
                .remedied("name the interface: `[ADDRESS%INTERFACE]:PORT`, such as `[fe80::1%eth0]:5000`"),
            _ => self,
        }
    }

    /// Returns the address of the host concerned; `None` if it is a group.
    fn host(&self) -> Option<IpAddr> {
        self.0.address.map(|address| address.ip()).filter(|address| !address.is_multicast())
    }

    fn is_about_broadcasts(&self) -> bool {
        self.host() == Some(Ipv4Addr::BROADCAST.into())
    }

    /// Returns the interface concerned, if any, as the caller named it.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.0.interface.as_deref()
    }

    /// Returns the system's error, if there was one.
    #[must_use]
    pub fn os_error(&self) -> Option<&io::Error> {
        self.0.os.as_deref()
    }

    /// Returns a suggestion in one sentence; `None` where there is no general one.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        if let Some(remedy) = self.0.remedy {
            return Some(remedy.into());
        }
        let interface = self.0.interface.as_deref().unwrap_or("INTERFACE");
        let text = match self.0.kind {
            ErrorKind::NoSuchInterface => "`mcast interfaces` lists the interfaces of this machine".into(),
            ErrorKind::NoUsableInterface => {
                let up = remedies::up("INTERFACE");
                format!("bring an interface up ({up}), or name one, such as the loopback interface")
            }
            ErrorKind::InterfaceDown => format!("bring it up: {}", remedies::up(interface)),
            ErrorKind::NoRoute => self.no_route(),
            ErrorKind::RouteRejects => remedies::ROUTES.into(),
            ErrorKind::NoAddress => format!("give the interface an address: {}", remedies::address(interface)),
            ErrorKind::FamilyUnavailable => format!("enable it: {}", remedies::ipv6(interface)),
            ErrorKind::SourceNeeded => {
                "name the source: SOURCE@GROUP:PORT, or allow any source explicitly (RFC 4607 reserves 232.0.0.0/8 and ff3x::/32 for source-specific multicast)".into()
            }
            ErrorKind::NotJoined => "leave a membership exactly as it was joined: with the same group, port and interface".into(),
            ErrorKind::AddressInUse => {
                "another program uses the port without sharing it (SO_REUSEADDR): stop it, or make it share the port".into()
            }
            ErrorKind::AddressNotAvailable => "use one of this machine's addresses: `mcast interfaces` lists them".into(),
            ErrorKind::LimitReached => remedies::LIMIT.into(),
            ErrorKind::TooLarge => {
                "send less at once: UDP carries 65,507 bytes over IPv4 and 65,527 over IPv6, and with don't-fragment no more than the interface's MTU less 28 or 48".into()
            }
            ErrorKind::QueueFull => "send more slowly (pace the sender), or lengthen the interface's queue".into(),
            ErrorKind::Permission if self.0.operation == Operation::Open => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE: run it as root, grant it, or use a higher port".into()
            }
            ErrorKind::Permission if self.0.operation == Operation::Send => {
                "a firewall on this machine, or a program of a control group, rejects it: allow outgoing multicast there (`nft list ruleset`, `bpftool cgroup tree`)".into()
            }
            _ => return None,
        };
        Some(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "cannot {}", inner.operation)?;
        if let Some(address) = inner.address {
            match inner.operation {
                Operation::Join | Operation::Leave => write!(f, " {address}")?,
                Operation::Send | Operation::Route => write!(f, " to {address}")?,
                _ => write!(f, " for {address}")?,
            }
        }
        if let Some(interface) = &inner.interface {
            match inner.operation {
                Operation::Find => write!(f, " {interface}")?,
                _ => write!(f, " on {interface}")?,
            }
        }
        match inner.kind {
            ErrorKind::NoRoute if self.is_about_broadcasts() => f.write_str(": no route for broadcasts")?,
            ErrorKind::NoRoute if self.host().is_some() => f.write_str(": no route to the host")?,
            ErrorKind::NoRoute if inner.interface.is_some() && inner.operation == Operation::Send => {
                f.write_str(": no route to the group on this interface")?;
            }
            kind => write!(f, ": {kind}")?,
        }
        if let Some(detail) = &inner.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(os) = &inner.os {
            write!(f, " ({os})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}: {self}", self.0.operation, self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.os_error().map(|os| os as _)
    }
}

impl ClassifiedError for Error {
    fn class(&self) -> Option<FailureClass> {
        Some(self.kind().class())
    }

    fn remedy(&self) -> Option<String> {
        Self::remedy(self)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (&error.0.kind, &error.0.os) {
            (_, Some(os)) => os.kind(),
            (ErrorKind::Unsupported, None) => io::ErrorKind::Unsupported,
            (ErrorKind::Woken, None) => io::ErrorKind::Interrupted,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
