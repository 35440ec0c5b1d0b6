//! Fallbacks for what only some systems have: each module here replaces the one of the same name, with the same items, on
//! the systems that lack it. It reports the lack, or does the same with more calls.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub mod bridge {
    //! The fallback for systems whose bridges and queues are not listed.

    use std::io;

    use mcast_group::InterfaceIndex;

    use crate::Bridge;

    /// Fails: the bridges of these systems are not known.
    pub fn list() -> io::Result<Vec<Bridge>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "bridges are listed on Linux only"))
    }

    /// Fails: these systems have no queue disciplines.
    pub fn queue_disciplines(_interface: InterfaceIndex) -> io::Result<Vec<String>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "queue disciplines exist on Linux only"))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
pub(crate) mod gso {
    //! The fallback for systems without segmentation offload: one call per datagram.

    use std::io;

    use crate::OutgoingDatagram;
    use crate::socket::Socket;
    use crate::{SendRequest, Sent};

    impl Socket {
        /// Does nothing: segmentation is not supported.
        pub fn set_segmentation(&self, _on: bool) {}

        /// Returns the maximum number of datagrams in one segmented buffer.
        pub fn segments_at_once(&self) -> usize {
            1
        }

        /// Sends the datagrams at the start of `outgoing`, in order, up to one for which `transmit`
        /// returns `None` because this call cannot send it. An error concerns the first datagram.
        pub fn send_run<'a, D: OutgoingDatagram>(
            &self,
            outgoing: &'a [D],
            transmit: impl FnMut(&'a D) -> Option<SendRequest<'a>>,
        ) -> io::Result<Sent> {
            let mut sent = Sent::default();
            for transmit in outgoing.iter().map_while(transmit) {
                match self.send(&transmit) {
                    Ok(()) => sent.datagrams += 1,
                    Err(error) if sent.datagrams == 0 => return Err(error),
                    // Sending the rest returns the error.
                    Err(_) => break,
                }
            }
            Ok(sent)
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod plain {
    //! The fallbacks for systems without GRO, batched receives and membership notices: one call per datagram, and waiting.
    //! On all of them, a socket receives only the groups that it joined itself, and the interface and the hop limit of
    //! outgoing multicast are options of the whole socket.

    use std::io;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::time::Duration;

    use mcast_group::{Family, Group, InterfaceIndex};
    use socket2::{Domain, Protocol, SockAddr, Type};

    use crate::ReceiveBuffer;
    use crate::Received;
    use crate::poller::Poller;
    use crate::socket::Socket;

    /// The socket options for outgoing multicast.
    #[derive(Debug)]
    pub(crate) struct MulticastOptions {
        /// The default hop limit of the socket.
        pub(crate) hop_limit: u8,
        /// The hop limit that is set now.
        pub(crate) hop_limit_set: u8,
        /// The interface that is set now; `None` for the routing table's choice.
        pub(crate) interface_set: Option<InterfaceIndex>,
    }

    impl MulticastOptions {
        /// The options of a new socket.
        pub(crate) const INITIAL: Self = Self { hop_limit: 1, hop_limit_set: 1, interface_set: None };
    }

    /// Opens an unbound, nonblocking UDP socket of this family.
    pub(crate) fn open_udp(family: Family) -> io::Result<socket2::Socket> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    }

    pub(crate) fn unspecified(family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    pub(crate) mod layout {
        //! What these systems have in common in the distribution of groups over sockets.

        use mcast_group::Family;

        /// These systems bind sockets only to addresses of the machine itself.
        pub const BINDS_TO_BROADCAST: bool = false;

        /// A socket only receives what it joined itself, so other sockets cannot hold its memberships.
        pub const HOLDS_APART: bool = false;

        /// Never; see [`HOLDS_APART`].
        pub fn held_above(_family: Family) -> usize {
            usize::MAX
        }

        /// The system considers the interface when it filters sources, for both families.
        pub const FILTERS_BY_INTERFACE_V6: bool = true;

        /// The receiver never relies on a socket to receive on one interface only.
        pub fn implies_interface(_family: Family) -> bool {
            false
        }

        /// These systems do not count drops per socket.
        pub const COUNTS_DROPS: bool = false;
    }

    impl Socket {
        /// Opens a receiving socket for all groups that it joins on this port.
        pub fn wildcard(family: Family, port: u16) -> io::Result<Self> {
            let socket = Self::open(family)?;
            socket.share_port()?;
            socket.receive_details()?;
            socket.bind(SocketAddr::new(unspecified(family), port))?;
            Ok(socket)
        }

        /// Binds to this address; with port 0 the system chooses the port.
        pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
            self.socket.bind(&SockAddr::from(address))
        }

        /// Returns the address that the socket is bound to.
        pub fn local_address(&self) -> io::Result<SocketAddr> {
            let address = self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
            Ok(SocketAddr::new(address.ip(), address.port()))
        }

        /// Excludes groups that only other sockets have joined. These systems always exclude them.
        pub fn only_own_memberships(&self, only: bool) -> io::Result<()> {
            if only { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
        }

        /// These systems do not coalesce datagrams.
        pub const COALESCES: bool = false;

        /// Does nothing; see [`COALESCES`](Self::COALESCES).
        pub fn enable_gro(&self) -> io::Result<()> {
            Ok(())
        }

        /// Returns whether the interface still exists. These systems have no network namespaces.
        pub fn has_interface(&self, index: InterfaceIndex) -> io::Result<bool> {
            Ok(crate::interface::list()?.iter().any(|interface| interface.index == index))
        }

        /// Does nothing: these systems have no error queue.
        pub fn forget_errors(&self) -> bool {
            false
        }

        /// Receives one datagram into `buffer`. Nothing is ever left for the second one, because these systems do not
        /// coalesce datagrams.
        pub fn receive_into(
            &self,
            buffer: &mut [u8],
            _rest: &mut [u8],
            received: &mut Received,
        ) -> io::Result<()> {
            *received = self.receive(buffer)?;
            Ok(())
        }

        /// Receives into as many of `buffers` as there are datagrams, and returns the number.
        ///
        /// [`ReceiveSlots::received`] returns the results. FreeBSD's `recvmmsg` is such a loop in its C
        /// library, and Apple's `recvmsg_x` is a private API.
        pub fn receive_many(
            &self,
            slots: &mut ReceiveSlots,
            buffers: &mut [ReceiveBuffer],
        ) -> io::Result<usize> {
            slots.received.clear();
            for buffer in buffers.iter_mut().take(slots.count) {
                match self.receive(buffer.bytes_mut()) {
                    Ok(received) => slots.received.push(received),
                    Err(error) if slots.received.is_empty() => return Err(error),
                    // An error other than "nothing available" occurs again with the next receive.
                    Err(_) => break,
                }
            }
            Ok(slots.received.len())
        }
    }

    impl Poller {
        /// Does nothing: receivers without GRO deliver every datagram at once.
        pub fn set_pending(&self, _pending: bool) -> io::Result<()> {
            Ok(())
        }
    }

    /// The result of a batched receive.
    #[derive(Debug)]
    pub struct ReceiveSlots {
        received: Vec<Received>,
        count: usize,
    }

    impl ReceiveSlots {
        /// Creates slots for this number of datagrams.
        pub fn new(count: usize) -> Self {
            Self { received: Vec::with_capacity(count), count }
        }

        /// Returns the result of the last `receive_many` for the buffer with this index.
        pub fn received(&self, index: usize) -> io::Result<Received> {
            self.received.get(index).copied().ok_or_else(|| io::ErrorKind::InvalidInput.into())
        }

        /// Like [`received`](Self::received), but writes the result to `received`.
        pub fn read(&self, index: usize, received: &mut Received) -> io::Result<()> {
            *received = self.received(index)?;
            Ok(())
        }
    }

    /// Returns nothing: these systems do not count the sockets that have joined a group.
    pub fn shared() -> io::Result<Vec<(InterfaceIndex, Group)>> {
        Ok(Vec::new())
    }

    /// Never reports a notice.
    #[derive(Debug)]
    pub struct Notices(());

    impl Notices {
        /// Starts to receive notices.
        pub fn open() -> io::Result<Self> {
            Ok(Self(()))
        }

        /// Waits for `timeout`; returns whether a notice arrived, which is never the case.
        pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
            std::thread::sleep(timeout);
            Ok(false)
        }
    }
}

#[cfg(not(unix))]
pub mod process {
    //! Processes on systems that have no limit on descriptors to raise, and where the standard library is the only way to end one.

    use std::io;
    use std::process::{Child, Command, ExitStatus};

    /// Returns `false`: there is no limit that a process could raise.
    pub fn raise_descriptor_limit() -> bool {
        false
    }

    /// Returns `None`: there is no limit.
    pub fn descriptor_limit() -> Option<u64> {
        None
    }

    /// Returns `false`: there is no limit.
    pub fn is_out_of_descriptors(_error: &io::Error) -> bool {
        false
    }

    /// Returns an error: this system has no network namespaces.
    pub fn enter_network_of(_pid: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns `None`: this system has no network namespaces.
    pub fn network() -> Option<crate::NetworkId> {
        None
    }

    /// Returns `None`: this system has no network namespaces.
    pub fn network_of(_pid: u32) -> Option<crate::NetworkId> {
        None
    }

    /// Returns no ids: the standard library cannot list processes.
    pub fn ids() -> io::Result<impl Iterator<Item = u32>> {
        Ok(std::iter::empty())
    }

    /// Does nothing: there are no process groups.
    pub fn lead_group(_command: &mut Command) {}

    /// Kills the child alone.
    pub fn end_group(child: &mut Child, _force: bool) {
        let _ = child.kill();
    }

    /// Does nothing: the standard library cannot end a process by its id.
    pub fn end_all(_ids: &[u32], _force: bool) {}

    /// Returns how a child ended; `None` if it runs.
    pub fn exit_status(child: &mut Child) -> io::Result<Option<ExitStatus>> {
        child.try_wait()
    }
}

#[cfg(not(target_os = "linux"))]
pub mod service {
    //! Systems without a supported service manager.

    use std::time::Duration;

    /// Never exists.
    #[derive(Debug)]
    pub enum ManagerConnection {}

    impl ManagerConnection {
        /// Returns `None`: there is no manager.
        #[must_use]
        pub const fn of_environment() -> Option<Self> {
            None
        }

        /// Is never called.
        pub fn send_state(&self, _state: &str) {
            match *self {}
        }

        /// Is never called.
        pub fn keep_alive(&self) {
            match *self {}
        }
    }

    /// Returns `None`: no service manager waits for a keep-alive.
    #[must_use]
    pub const fn watchdog_interval() -> Option<Duration> {
        None
    }

    /// Returns `false`: there is no journal.
    #[must_use]
    pub const fn journal_reads(_descriptor: i32) -> bool {
        false
    }
}

#[cfg(any(not(unix), target_os = "android"))]
pub mod terminal {
    //! Systems on which programs cannot print to a pseudoterminal.

    use std::fs::File;
    use std::io;

    /// A pseudoterminal, which these systems do not have, or which needs more than a descriptor.
    #[derive(Debug)]
    pub struct PseudoTerminal {
        /// What a program prints to.
        pub program: File,
        /// What is read from.
        pub reader: File,
    }

    impl PseudoTerminal {
        /// Returns an error.
        ///
        /// # Errors
        /// Always.
        pub fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub mod timing {
    //! The fallback for systems without Linux's options for precise timing.

    use std::io;
    use std::time::Duration;

    use crate::KernelClock;
    use crate::socket::Socket;

    impl Socket {
        /// Fails: not supported.
        pub fn set_busy_poll(&self, _time: Duration) -> io::Result<()> {
            unsupported()
        }

        /// Fails: not supported.
        pub fn enable_hardware_time(&self) -> io::Result<()> {
            unsupported()
        }

        /// Fails: not supported.
        pub fn set_launch_clock(&self, _clock: KernelClock) -> io::Result<()> {
            unsupported()
        }
    }

    /// Fails: not supported.
    pub fn clock_time(_clock: KernelClock) -> io::Result<Duration> {
        unsupported()
    }

    /// Fails: not supported.
    pub fn pin_to_processor(_processor: usize) -> io::Result<()> {
        unsupported()
    }

    fn unsupported<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub mod unicast {
    //! Systems without segmentation offload for unicast: one call per datagram.

    use std::io::{self, IoSlice};
    use std::net::{SocketAddr, UdpSocket};

    use socket2::SockRef;

    /// Requests a receive buffer of this size and returns the size granted.
    pub fn set_receive_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<usize> {
        let socket = SockRef::from(socket);
        socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
        socket.recv_buffer_size()
    }

    /// Requests a send buffer of this size.
    pub fn set_send_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<()> {
        SockRef::from(socket).set_send_buffer_size(bytes.min(i32::MAX as usize))
    }

    /// Returns `Ok(false)`: these systems do not count a datagram that waits for address resolution as part of the send buffer.
    pub fn is_send_buffer_half_full(_socket: &UdpSocket) -> io::Result<bool> {
        Ok(false)
    }

    /// The maximum number of segments.
    pub const MAX_SEGMENTS: usize = 1;

    /// Sends datagrams, one after the other.
    pub fn send_segments(socket: &UdpSocket, to: SocketAddr, segments: &[IoSlice<'_>]) -> io::Result<()> {
        segments.iter().try_for_each(|each| socket.send_to(each, to).map(drop))
    }

    /// Returns `false`: nothing is segmented.
    pub fn is_refusal(_error: &io::Error) -> bool {
        false
    }
}

#[cfg(not(target_os = "linux"))]
pub mod wire {
    //! Systems on which datagrams are received by sockets only.

    use std::collections::BTreeSet;
    use std::fmt;
    use std::io;

    use mcast_group::{GroupAddr, InterfaceIndex};

    use crate::poller::Poller;
    use crate::socket::Socket;
    pub use crate::values::wire::{WireFeatures, WireSettings};

    /// Never exists.
    #[derive(Debug)]
    pub enum WireProgram {}

    /// Never exists.
    #[derive(Debug)]
    pub enum FrameRing {}

    /// Never exists.
    #[derive(Clone, Debug)]
    pub enum Bystanders {}

    /// Never exists.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Bystander {}

    /// A frame taken off an interface.
    #[derive(Clone, Copy, Debug)]
    pub struct WireFrame<'a> {
        /// The frame from the link layer on.
        pub bytes: &'a [u8],
        /// When the driver received it.
        pub time: Option<u64>,
    }

    /// Never exists.
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
        /// Returns an error.
        pub fn read(_interface: InterfaceIndex) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Returns an error.
    pub fn check(_interface: InterfaceIndex) -> Result<(), WireRefusal> {
        Err(WireRefusal::Unsupported)
    }

    /// Why the datagrams of an interface cannot be taken off it.
    #[derive(Debug)]
    #[non_exhaustive]
    pub enum WireRefusal {
        /// The process lacks a right. Never the reason here.
        Rights,
        /// The rings need more locked memory than is allowed. Never the reason here.
        LockedMemory,
        /// The interface does not exist any more. Never the reason here.
        Gone,
        /// The system does not support it.
        Unsupported,
    }

    impl WireProgram {
        /// Returns an error.
        pub fn open(
            _interface: InterfaceIndex,
            _settings: WireSettings,
        ) -> Result<(Self, Vec<FrameRing>), WireRefusal> {
            Err(WireRefusal::Unsupported)
        }

        /// Is never called.
        pub fn take(&self, _address: GroupAddr) -> io::Result<()> {
            match *self {}
        }

        /// Is never called.
        pub fn leave(&self, _address: GroupAddr) -> io::Result<()> {
            match *self {}
        }

        /// Is never called.
        pub fn renew(&self) -> io::Result<()> {
            match *self {}
        }

        /// Is never called.
        pub fn end(&self) -> io::Result<()> {
            match *self {}
        }

        /// Is never called.
        #[must_use]
        pub const fn leaves_checksums(&self) -> bool {
            match *self {}
        }
    }

    impl FrameRing {
        /// Is never called.
        pub fn take(&mut self, _limit: usize, _handle: impl FnMut(u32, WireFrame<'_>) -> bool) -> usize {
            match *self {}
        }

        /// Is never called.
        #[must_use]
        pub const fn is_readable(&self) -> bool {
            match *self {}
        }

        /// Is never called.
        #[must_use]
        pub const fn may_have_been_full(&self) -> bool {
            match *self {}
        }

        /// Is never called.
        #[must_use]
        pub const fn next_number(&self) -> u32 {
            match *self {}
        }

        /// Is never called.
        pub fn drops(&self) -> io::Result<u64> {
            match *self {}
        }

        /// Is never called.
        pub fn failure(&self) -> Option<io::Error> {
            match *self {}
        }

        /// Is never called.
        pub fn register(&self, _poller: &Poller, _token: usize) -> io::Result<()> {
            match *self {}
        }

        /// Is never called.
        pub fn unregister(&self, _poller: &Poller) -> io::Result<()> {
            match *self {}
        }
    }

    impl Bystanders {
        /// Returns an error.
        pub fn read() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Is never called.
        #[must_use]
        pub fn of(
            &self,
            _address: GroupAddr,
            _interface: InterfaceIndex,
            _own: &BTreeSet<u64>,
        ) -> Option<Bystander> {
            match *self {}
        }

        /// Is never called.
        #[must_use]
        pub fn describe(&self, _bystander: Bystander) -> String {
            match *self {}
        }
    }

    /// Returns an error.
    pub fn inode(_socket: &Socket) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns an error.
    pub fn in_namespace() -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    impl fmt::Display for WireRefusal {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("this system has no AF_XDP")
        }
    }

    impl std::error::Error for WireRefusal {}
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub mod protocol {
    //! The fallback for systems on which only UDP is received.

    use std::io;
    use std::net::IpAddr;

    use mcast_group::Group;

    use crate::{Interface, RawSocket};

    /// A receiver of an IP protocol, of which these systems have none.
    #[derive(Debug)]
    pub struct ProtocolReceiver(std::convert::Infallible);

    impl ProtocolReceiver {
        /// Fails: other protocols than UDP are received on Linux only.
        pub fn join(_group: Group, _protocol: u8, _interface: &Interface) -> io::Result<Self> {
            Err(unsupported())
        }

        /// Returns nothing, because there is no such receiver.
        pub fn try_receive(&self) -> io::Result<Option<IpAddr>> {
            match self.0 {}
        }
    }

    /// Fails: the raw sockets of these systems are not known.
    pub fn raw_sockets() -> io::Result<Vec<RawSocket>> {
        Err(unsupported())
    }

    /// Fails like [`raw_sockets`].
    pub fn raw_sockets_around(_pid: u32) -> io::Result<Vec<RawSocket>> {
        Err(unsupported())
    }

    fn unsupported() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "protocols other than UDP are examined on Linux only")
    }
}
