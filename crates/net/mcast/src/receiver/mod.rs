//! Receiving exactly the groups that were joined, with the metadata of each datagram.

mod builder;
mod control;
mod data_socket;
mod reader;
mod receive;
mod sockets;
mod status;
mod table;
mod waiting;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use mcast_group::{Family, GroupAddr, HostAddr, InterfaceIndex, Membership, SourceFilter};

pub use builder::ReceiverBuilder;
pub use reader::Reader;
pub use status::{Drops, InterfaceStatus, MembershipStatus, Statistics};
pub use waiting::Waker;
#[cfg(feature = "tokio")]
pub(crate) use waiting::{PollResult, PollerCheck};
pub use wire::{Wire, WireStatus, WireSupport, wire_support};

use crate::batch::Batch;
use crate::datagram::{Arrival, Datagram};
use crate::error::{Error, ErrorKind, Operation, Result};
use control::{Control, SocketsContext};
use data_socket::DataSocket;
use mcast_sys::SendRequest;
use mcast_sys::poller::Poller;
use mcast_sys::ready::WakeReason;
use receive::SegmentBuffer;
use sockets::Sockets;
use status::Counters;
use table::Key;
use wire::Wires;

/// Receives the datagrams of the groups that it joined, and no others. Each datagram is delivered
/// once, with its group, interface and source. On networks without multicast, it can also
/// [listen](ReceiverBuilder::listen) at addresses of this host.
///
/// The type is `Send + Sync` and its methods take `&self`. Threads may share it; each datagram goes
/// to one of them. The descriptor is readable while there is anything to receive, including the
/// rest of a coalesced buffer.
///
/// On Linux, the network namespace is that of the thread that built the receiver; call
/// [`join`](Self::join) from a thread in the same namespace.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = mcast::Receiver::builder()
///     .join("239.255.2.3:7000".parse()?)
///     .join("10.0.0.7@232.1.2.3%eth1:7000".parse()?)
///     .build()?;
/// for status in receiver.memberships() {
///     println!("{status}");
/// }
/// let mut buffer = [0; 65_536];
/// let datagram = receiver.recv(&mut buffer)?;
/// println!("{} bytes for {} from {}", datagram.length, datagram.destination, datagram.source.ip());
/// receiver.reply(&datagram, b"here")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Receiver {
    poller: Arc<Poller>,
    woken: Arc<AtomicBool>,
    sockets: RwLock<Sockets>,
    control: Mutex<Control>,
    counters: Counters,
    /// Whether the system coalesces datagrams.
    gro: bool,
    /// With GRO, and where rings are read, datagrams that were received and not delivered yet.
    segments: Option<SegmentBuffer>,
    /// Whether interfaces are followed. A receiver that is never idle must then check for changes,
    /// too.
    follows: bool,
    /// Whether datagrams may be taken off interfaces, so that sockets are not all that is read.
    wired: bool,
    busy: AtomicU32,
    /// Whether registering all sockets with the poller failed and must be retried.
    pool_pending: AtomicBool,
    /// How long a wait polls in a loop before it sleeps.
    spin: Duration,
}

impl Receiver {
    /// Creates a receiver of one membership with default settings.
    ///
    /// # Errors
    /// As [`ReceiverBuilder::build`].
    pub fn join_one(membership: Membership) -> Result<Self> {
        Self::builder().join(membership).build()
    }

    /// Returns a builder.
    pub fn builder() -> ReceiverBuilder {
        ReceiverBuilder::new()
    }

    pub(crate) fn new(
        memberships: Vec<Membership>,
        hosts: &[HostAddr],
        control: Control,
        sockets: Sockets,
        gro: bool,
        spin: Duration,
        wires: Option<Wires>,
    ) -> Result<Self> {
        let poller = Arc::new(Poller::new().map_err(|error| Error::os(Operation::Open, error))?);
        if let Some(watch) = control.watch() {
            poller.add_watch(watch).map_err(|error| Error::os(Operation::Open, error))?;
        }
        let wired = wires.is_some();
        let mut sockets = sockets;
        sockets.wires = wires;
        let receiver = Self {
            poller,
            wired,
            woken: Arc::new(AtomicBool::new(false)),
            follows: control.watch().is_some(),
            sockets: RwLock::new(sockets),
            control: Mutex::new(control),
            counters: Counters::default(),
            // Rings are read into batches only.
            segments: (gro || wired).then(SegmentBuffer::default),
            gro,
            spin,
            busy: AtomicU32::new(0),
            pool_pending: AtomicBool::new(false),
        };
        receiver.with_control(|control, context| {
            for host in hosts {
                // Otherwise the port could not be bound for the group, too.
                let is_joined = memberships.iter().any(|other| other.address.port == host.port);
                context.sockets.listen(context.poller, host, is_joined)?;
            }
            control.join(context, memberships)?;
            context.sockets.prepare_to_wait(context.poller).map_err(|error| Error::os(Operation::Open, error))
        })?;
        receiver.require_wire(|_| true)?;
        Ok(receiver)
    }

    /// Waits for a datagram and receives it into this buffer.
    ///
    /// A datagram larger than the buffer is truncated and marked as such.
    ///
    /// # Errors
    /// [`ErrorKind::Woken`] when a [`Waker`] ended the wait; otherwise the system's error.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Datagram<'b>> {
        match self.recv_until(buffer, None) {
            Ok(Some(datagram)) => Ok(datagram),
            // Without a deadline the wait ends with a datagram or an error.
            Ok(None) => Err(Error::new(Operation::Receive, ErrorKind::Woken)),
            Err(error) => Err(error),
        }
    }

    /// Like [`recv`](Self::recv), but waits at most `timeout` and then returns `None`. A timeout of zero does not wait.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_timeout<'b>(&self, buffer: &'b mut [u8], timeout: Duration) -> Result<Option<Datagram<'b>>> {
        match timeout.is_zero() {
            // Without a wait, nothing needs the clock.
            true => self.try_receive(buffer),
            false => self.recv_until(buffer, Instant::now().checked_add(timeout)),
        }
    }

    /// Receives as many datagrams as are available and fit the batch, and returns their number. Waits at most `timeout`
    /// for the first one (`None`: without limit), and then returns 0; a timeout of zero does not wait. The previous contents
    /// of the batch are removed.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_batch(&self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize> {
        match timeout {
            Some(Duration::ZERO) => self.try_receive_batch(batch),
            timeout => {
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                self.recv_batch_until(batch, deadline)
            }
        }
    }

    /// Waits at most `timeout` until a receive has work to do. Returns `false` on timeout or when a
    /// signal arrived. `true` does not guarantee a datagram, because another thread may be faster.
    ///
    /// This is for programs that must react to signals, such as interpreters.
    ///
    /// # Errors
    /// The system's error.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        match self.sleep(timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(Error::os(Operation::Receive, error)),
            Ok(reason) => Ok(reason != WakeReason::Nothing),
        }
    }

    /// Returns a reader with a batch of its own: a plain loop over datagrams that is as fast as
    /// batches. For the lowest latency, run it in a thread of its own, on a receiver that polls
    /// ([`ReceiverBuilder::spin`]), and pin the thread to a processor (`mcast_sys::timing::pin_to_processor`, on Linux).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let receiver = mcast::Receiver::join_one("239.255.2.3:7000".parse()?)?;
    /// let mut reader = receiver.reader();
    /// while let Some(datagram) = reader.next()? {
    ///     println!("{} from {}", datagram.length, datagram.source.ip());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    /// Sends a reply to a datagram's source, by the interface on which the datagram arrived and
    /// from the port it was sent to, so that the peer sees the service's port.
    ///
    /// # Errors
    /// If the receiver has no socket for the group any more, or the system cannot send.
    pub fn reply(&self, to: &Arrival, payload: &[u8]) -> Result<()> {
        self.send_from(to, payload, None)
    }

    /// Sends a datagram to a joined group, by this interface and from the group's port, so that the answers of
    /// protocols such as mDNS are sent to the group, too. The hop limit is 255, as protocols that stay on the link
    /// use it.
    ///
    /// # Errors
    /// [`ErrorKind::NotJoined`] if the group is not joined, or the system cannot send.
    pub fn ask(&self, group: GroupAddr, interface: InterfaceIndex, payload: &[u8]) -> Result<()> {
        let group = SocketAddr::new(group.group.addr(), group.port);
        self.send_from(&Arrival::new(group, interface, group), payload, Some(255))
    }

    /// Sends a datagram to the source of `to` from the socket that received it.
    fn send_from(&self, to: &Arrival, payload: &[u8], hop_limit: Option<u8>) -> Result<()> {
        let failed = |error: Error| error.on_address(to.destination).on_interface(to.interface);
        let sockets = self.sockets();
        let (family, port) = (Family::of(to.destination.ip()), to.destination.port());
        let serving = |data: &&DataSocket| data.port() == port && data.family() == family;
        let data = sockets
            .iter()
            .find(|data| serving(data) && data.has(to))
            .or_else(|| sockets.iter().find(serving))
            .ok_or_else(|| failed(Error::new(Operation::Send, ErrorKind::NotJoined)))?;
        // Every datagram that the socket sends names its interface.
        data.socket.set_default_interface(to.interface);
        let transmit = SendRequest {
            payload,
            to: to.source,
            interface: Some(to.interface),
            source: None,
            hop_limit,
            traffic_class: None,
            launch: None,
        };
        crate::sender::send_patiently(&data.socket, &transmit, || {})
            .map_err(|error| failed(Error::os(Operation::Send, error)))
    }

    /// Joins a group while receiving.
    ///
    /// A membership that is joined twice must be left twice. Memberships of the same group on the
    /// same interface are merged: a source that either admits is admitted.
    ///
    /// # Errors
    /// Those of [`ReceiverBuilder::build`]. After an error, nothing has changed.
    pub fn join(&self, membership: Membership) -> Result<()> {
        let address = membership.address;
        self.with_control(|control, context| control.join(context, vec![membership.clone()]))?;
        self.require_wire(|key| key.0 == address).inspect_err(|_| {
            // The refusal is what the caller must know; a failure to leave adds nothing.
            let _ = self.leave(&membership);
        })
    }

    /// Leaves a group while receiving. After this returns, no datagram of the membership is
    /// delivered.
    ///
    /// # Errors
    /// [`ErrorKind::NotJoined`] if no membership equals this one.
    pub fn leave(&self, membership: &Membership) -> Result<()> {
        self.with_control(|control, context| control.leave(context, membership))
    }

    /// Replaces the sources of a membership, atomically and while receiving. From then on, it is
    /// identified by the membership with the new sources, also after an error: if the system refuses the new sources, it leaves
    /// the group, [`memberships`](Self::memberships) shows the failure, and setting them again joins it.
    ///
    /// # Errors
    /// [`ErrorKind::NotJoined`] if no membership equals this one; otherwise those of
    /// [`ReceiverBuilder::build`].
    pub fn set_sources(&self, membership: &Membership, sources: SourceFilter) -> Result<()> {
        self.with_control(|control, context| control.set_sources(context, membership, sources))
    }

    /// Returns the state of each membership on each of its interfaces.
    ///
    /// An interface that was deleted is reported with a failure of kind
    /// [`ErrorKind::NoSuchInterface`]. A receiver that follows interfaces joins again while it
    /// receives.
    #[must_use]
    pub fn memberships(&self) -> Vec<MembershipStatus> {
        let mut statuses = self.control().statuses();
        let sockets = self.sockets();
        if let Some(data) = sockets.iter().next() {
            statuses.iter_mut().for_each(|status| status.report_deleted(&data.socket));
        }
        statuses
    }

    /// Returns how the datagrams of each group are received on each interface, and why, if the receiver was built with a
    /// [`Wire`] other than `Off`. Empty otherwise.
    #[must_use]
    pub fn wire_status(&self) -> Vec<WireStatus> {
        self.sockets().wires.as_ref().map_or_else(Vec::new, Wires::statuses)
    }

    /// Returns counts of datagrams received, refused, truncated and dropped.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let sockets = self.sockets();
        self.counters.statistics((sockets.drops(), sockets.ring_drops()), sockets.receives_others(), self.gro)
    }

    /// Returns the smallest receive buffer that the system granted to one of the sockets, in bytes.
    ///
    /// It is less than requested if a limit applies (Linux: `net.core.rmem_max`).
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.sockets().iter().map(DataSocket::granted).min().unwrap_or(0)
    }

    /// Returns the number of sockets in use, including those that only hold memberships.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.sockets().descriptors()
    }

    /// Returns a handle that ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { poller: Arc::clone(&self.poller), woken: Arc::clone(&self.woken) }
    }

    /// Returns the poller, with all sockets registered.
    #[cfg(all(feature = "tokio", not(unix)))]
    pub(crate) fn poller(&self) -> Arc<Poller> {
        self.pool();
        Arc::clone(&self.poller)
    }

    /// Changes memberships. Receiving threads wait until the system has finished.
    fn with_control<T>(&self, change: impl FnOnce(&mut Control, &mut SocketsContext<'_>) -> T) -> T {
        let mut control = self.control();
        let mut sockets = self.sockets_mut();
        // Sockets that are opened now must not be taken for those of others.
        let shared = sockets.wires.as_ref().map(Wires::shared);
        let mut shared_guard = shared.as_deref().map(wire::lock);
        let result =
            change(&mut control, &mut SocketsContext { sockets: &mut sockets, poller: &self.poller });
        if let Some(shared) = &mut shared_guard {
            sockets.sync_wires(shared, &self.poller);
        }
        if let Some(stored) = &self.segments {
            stored.outdate();
        }
        drop((shared_guard, sockets, control));
        wire::yield_to_own_receivers();
        result
    }

    /// Fails if the frames of a group that concerns the caller must be taken and are not.
    fn require_wire(&self, concerns: impl Fn(&Key) -> bool) -> Result<()> {
        self.sockets().wires.as_ref().map_or(Ok(()), |wires| wires.require(concerns))
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> RwLockReadGuard<'_, Sockets> {
        self.sockets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets_mut(&self) -> RwLockWriteGuard<'_, Sockets> {
        self.sockets.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One descriptor for all sockets: readable when a receive has work to do.
#[cfg(unix)]
impl std::os::fd::AsFd for Receiver {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pool();
        self.poller.as_fd()
    }
}
