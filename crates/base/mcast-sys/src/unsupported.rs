//! The backend for unsupported systems: every operation fails with a reason.
#![allow(missing_docs, reason = "the contract at the head of the crate describes these items")]

use std::io;

use crate::{ErrorKind, Operation};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}

/// Returns the meaning of a system error of this operation.
pub fn error_kind(_operation: Operation, error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

/// Returns whether leaving failed because the interface, and the membership with it, is gone.
pub fn is_gone(_error: &io::Error) -> bool {
    false
}

/// Returns the error of every operation.
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this library does not support this operating system yet"))
}

pub mod interface {
    use std::io;

    use mcast_group::InterfaceIndex;

    use crate::Interface;

    pub fn list() -> io::Result<Vec<Interface>> {
        super::unsupported()
    }

    pub fn index_of(_name: &str) -> io::Result<InterfaceIndex> {
        super::unsupported()
    }

    pub fn name_of(_interface: InterfaceIndex) -> io::Result<String> {
        super::unsupported()
    }
}

pub mod route {
    use std::io;
    use std::net::IpAddr;

    use mcast_group::InterfaceIndex;

    pub fn interface_towards(_address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        super::unsupported()
    }
}

pub mod joined {
    use std::io;

    pub use crate::fallbacks::plain::Notices;
    use crate::{Holding, Visibility};

    pub fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
        super::unsupported()
    }
}

pub mod remedies {
    /// After reaching a limit of the system.
    pub const LIMIT: &str = "raise the limit that was reached";

    /// To add a route to groups.
    pub const ROUTE: &str = "with the system's own tools";

    /// To see what rejects.
    pub const ROUTES: &str = "the system's own tools list the routes";

    /// To bring an interface up.
    pub fn up(_: &str) -> String {
        "with the system's own tools".to_owned()
    }

    /// To add an address to an interface.
    pub fn address(_: &str) -> String {
        "with the system's own tools".to_owned()
    }

    /// To enable IPv6 on an interface.
    pub fn ipv6(_: &str) -> String {
        "with the system's own tools".to_owned()
    }
}

pub mod layout {
    //! The distribution of groups over sockets: the one with the fewest requirements.

    use mcast_group::{Family, Group};

    pub const BINDS_TO_GROUP: bool = false;
    pub const BINDS_TO_BROADCAST: bool = false;
    pub const HOLDS_APART: bool = false;
    pub const FILTERS_BY_INTERFACE_V6: bool = true;
    pub const COUNTS_DROPS: bool = false;

    pub fn implies_interface(_family: Family) -> bool {
        false
    }

    pub fn held_above(_family: Family) -> usize {
        usize::MAX
    }

    pub fn is_scoped(_group: Group) -> bool {
        false
    }

    /// Returns the maximum number of descriptors under this hard limit.
    #[cfg(unix)]
    pub fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
        hard_limit
    }
}

pub mod poller {
    //! Waiting is not supported.

    use std::io;
    use std::time::Duration;

    use super::socket::Socket;
    use crate::ready::{Ready, WakeReason};

    pub const WAITS_BESIDE: bool = false;

    /// An uninhabited type, because creating a poller fails.
    #[derive(Debug)]
    pub enum Poller {}

    impl Poller {
        pub fn new() -> io::Result<Self> {
            super::unsupported()
        }

        pub fn add(&self, _socket: &Socket, _token: usize) -> io::Result<()> {
            match *self {}
        }

        pub fn remove(&self, _socket: &Socket) -> io::Result<()> {
            match *self {}
        }

        pub fn add_watch<T>(&self, _watch: &T) -> io::Result<()> {
            match *self {}
        }

        pub fn wait(&self, _timeout: Option<Duration>) -> io::Result<bool> {
            match *self {}
        }

        pub fn wait_beside(&self, _socket: &Socket, _timeout: Option<Duration>) -> io::Result<WakeReason> {
            match *self {}
        }

        pub fn ready(&self, _limit: usize, _found: &mut Ready) -> io::Result<()> {
            match *self {}
        }

        pub fn wake(&self) -> io::Result<()> {
            match *self {}
        }
    }

    #[cfg(unix)]
    impl std::os::fd::AsFd for Poller {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            match *self {}
        }
    }

    pub fn wait_writable(socket: &Socket, _timeout: Option<Duration>) -> io::Result<bool> {
        match *socket {}
    }

    pub fn wait_readable(socket: &Socket, _timeout: Option<Duration>) -> io::Result<bool> {
        match *socket {}
    }
}

pub mod watch {
    //! Watching interfaces is not supported.

    use std::io;
    use std::net::IpAddr;
    use std::time::Duration;

    use mcast_group::InterfaceIndex;

    use crate::{Interface, Notice};

    /// An uninhabited type, because opening a watch fails.
    pub enum InterfaceWatch {}

    impl InterfaceWatch {
        /// Starts watching.
        pub fn open() -> io::Result<Self> {
            super::unsupported()
        }

        pub fn wait(&self, _timeout: Option<Duration>) -> io::Result<Option<Notice>> {
            match *self {}
        }

        /// Returns all interfaces, ordered by index.
        pub fn list(&self) -> io::Result<Vec<Interface>> {
            match *self {}
        }

        /// Returns the interface that the routing table selects for an address; `None` without a route.
        pub fn interface_towards(&self, _address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
            match *self {}
        }
    }

    #[cfg(unix)]
    impl std::os::fd::AsFd for InterfaceWatch {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            match *self {}
        }
    }
}

pub mod socket {
    //! Opening sockets is not supported.

    use std::io;
    use std::net::SocketAddr;

    use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

    pub use crate::fallbacks::plain::ReceiveSlots;
    use crate::{Received, SendRequest};

    /// An uninhabited type, because opening a socket fails.
    #[derive(Debug)]
    pub enum Socket {}

    impl Socket {
        pub fn open(_family: Family) -> io::Result<Self> {
            super::unsupported()
        }

        pub fn bound_to_group(
            _group: Group,
            _port: u16,
            _interface: Option<InterfaceIndex>,
        ) -> io::Result<Self> {
            super::unsupported()
        }

        pub fn wildcard(_family: Family, _port: u16) -> io::Result<Self> {
            super::unsupported()
        }

        pub fn holder(_family: Family) -> io::Result<Self> {
            super::unsupported()
        }

        pub fn bind(&self, _address: SocketAddr) -> io::Result<()> {
            match *self {}
        }

        pub fn share_port(&self) -> io::Result<()> {
            match *self {}
        }

        pub fn send_as_others(&self) -> io::Result<()> {
            match *self {}
        }

        pub fn local_address(&self) -> io::Result<SocketAddr> {
            match *self {}
        }

        pub fn receive_bare(&self, _buffer: &mut [u8]) -> io::Result<Received> {
            match *self {}
        }

        pub fn set_default_interface(&self, _index: InterfaceIndex) {
            match *self {}
        }

        pub fn disable_details(&self) -> io::Result<()> {
            match *self {}
        }

        pub fn set_pktinfo(&self, _on: bool) -> io::Result<()> {
            match *self {}
        }

        pub fn receive_details(&self) -> io::Result<()> {
            match *self {}
        }

        pub fn only_own_memberships(&self, _only: bool) -> io::Result<()> {
            match *self {}
        }

        pub fn join(
            &self,
            _group: Group,
            _interface: InterfaceIndex,
            _filter: &SourceFilter,
        ) -> io::Result<()> {
            match *self {}
        }

        pub fn change_filter(
            &self,
            _group: Group,
            _interface: InterfaceIndex,
            _filter: &SourceFilter,
        ) -> io::Result<()> {
            match *self {}
        }

        pub fn leave(&self, _group: Group, _interface: InterfaceIndex) -> io::Result<()> {
            match *self {}
        }

        pub fn set_hop_limit(&self, _hops: u8) -> io::Result<()> {
            match *self {}
        }

        pub fn set_unicast_hop_limit(&self, _hops: u8) -> io::Result<()> {
            match *self {}
        }

        pub fn allow_broadcast(&self) -> io::Result<()> {
            match *self {}
        }

        pub fn set_traffic_class(&self, _class: u8) -> io::Result<()> {
            match *self {}
        }

        pub fn set_send_loopback(&self, _on: bool) -> io::Result<()> {
            match *self {}
        }

        pub fn set_receive_loopback(&self, _on: bool) -> io::Result<()> {
            match *self {}
        }

        pub fn set_dont_fragment(&self, _on: bool) -> io::Result<()> {
            match *self {}
        }

        pub fn report_queue_drops(&self) -> io::Result<()> {
            match *self {}
        }

        pub fn set_receive_buffer(&self, _bytes: usize) -> io::Result<usize> {
            match *self {}
        }

        pub fn set_send_buffer(&self, _bytes: usize) -> io::Result<usize> {
            match *self {}
        }

        pub fn drops(&self) -> io::Result<Option<u32>> {
            match *self {}
        }

        pub fn receive(&self, _buffer: &mut [u8]) -> io::Result<Received> {
            match *self {}
        }

        pub fn send(&self, _transmit: &SendRequest<'_>) -> io::Result<()> {
            match *self {}
        }
    }

    #[cfg(unix)]
    impl std::os::fd::AsFd for Socket {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            match *self {}
        }
    }
}
