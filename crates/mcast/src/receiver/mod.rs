//! Receiving: exactly what was joined, and how it came.

mod builder;
mod claims;
mod control;
mod data_socket;
mod descriptors;
mod holders;
mod merging;
mod reader;
mod receive;
mod sockets;
mod statistics;
mod status;
mod table;
mod thread;
mod waiting;
mod waker;

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use mcast_group::{Membership, SourceFilter};

pub use builder::ReceiverBuilder;
pub use reader::Reader;
pub use statistics::{Drops, Statistics};
pub use status::{InterfaceStatus, MembershipStatus};
pub use thread::ReaderThread;
#[cfg(feature = "tokio")]
pub(crate) use waiting::{Attempt, Look};
pub use waker::Waker;

use crate::batch::Batch;
use crate::datagram::{Arrival, Datagram};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::sys::Transmit;
use crate::sys::poller::Poller;
use crate::sys::ready::Roused;
use control::{Control, Plant};
use data_socket::DataSocket;
use merging::Merging;
use sockets::Sockets;
use statistics::Counters;

/// Receives the datagrams of the groups that it joined: exactly those, each once, each with the
/// group, interface and source it came by.
///
/// It is `Send + Sync` and takes `&self`: threads may share it, each datagram goes to one of
/// them. Nothing is held back in user space: what the descriptor says is what there is.
///
/// The network namespace (Linux) is that of the thread that built it; call
/// [`join`](Self::join) from a thread of the same.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = mcast::Receiver::builder()
///     .join("239.1.2.3:7000".parse()?)
///     .join("10.0.0.7@232.1.2.3%eth1:7000".parse()?)
///     .build()?;
/// for status in receiver.memberships() {
///     println!("{status}");
/// }
/// let mut buffer = [0; 65_536];
/// let datagram = receiver.recv(&mut buffer)?;
/// println!("{} bytes for {} from {}", datagram.length, datagram.group(), datagram.source());
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
    merging: Merging,
    /// Interfaces are followed: a receiver that is never idle must look for changes, too.
    follows: bool,
    busy: AtomicU32,
    /// The descriptor that was asked for does not stand for all sockets yet.
    unpooled: AtomicBool,
    /// How long a wait looks again and again before it sleeps.
    spin: Duration,
}

impl Receiver {
    /// A receiver of this membership, with default settings.
    ///
    /// # Errors
    /// As [`ReceiverBuilder::build`].
    pub fn join_one(membership: Membership) -> Result<Self> {
        Self::builder().join(membership).build()
    }

    /// Settings for a receiver.
    pub fn builder() -> ReceiverBuilder {
        ReceiverBuilder::new()
    }

    pub(crate) fn new(
        memberships: Vec<Membership>,
        control: Control,
        sockets: Sockets,
        merging: bool,
        spin: Duration,
    ) -> Result<Self> {
        let poller = Arc::new(Poller::new().map_err(|error| Error::os(Operation::Open, error))?);
        if let Some(watch) = control.watch() {
            poller.add_watch(watch).map_err(|error| Error::os(Operation::Open, error))?;
        }
        let receiver = Self {
            poller,
            woken: Arc::new(AtomicBool::new(false)),
            follows: control.watch().is_some(),
            sockets: RwLock::new(sockets),
            control: Mutex::new(control),
            counters: Counters::default(),
            merging: Merging::new(merging),
            spin,
            busy: AtomicU32::new(0),
            unpooled: AtomicBool::new(false),
        };
        receiver.steer(|control, plant| {
            control.join(plant, memberships)?;
            plant.sockets.begin(plant.poller).map_err(|error| Error::os(Operation::Open, error))
        })?;
        Ok(receiver)
    }

    /// Waits for a datagram and receives it into this buffer.
    ///
    /// A datagram larger than the buffer is cut off and says so.
    ///
    /// # Errors
    /// [`ErrorKind::Woken`] when a [`Waker`] ended the wait; what the system says otherwise.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Datagram<'b>> {
        match self.recv_until(buffer, None)? {
            Some(datagram) => Ok(datagram),
            // Without a deadline the wait ends with a datagram or an error.
            None => Err(Error::new(Operation::Receive, ErrorKind::Woken)),
        }
    }

    /// The same, for no longer than this; `None` when the time is over.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_timeout<'b>(&self, buffer: &'b mut [u8], timeout: Duration) -> Result<Option<Datagram<'b>>> {
        self.recv_until(buffer, Instant::now().checked_add(timeout))
    }

    /// Receives a datagram if one is there; `None` if not.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<Datagram<'b>>> {
        let arrived = self.try_receive(buffer)?;
        Ok(arrived.map(|(arrival, length)| Datagram::new(&buffer[..length], arrival)))
    }

    /// Waits for datagrams and receives as many as are there, up to what the batch holds; says
    /// how many. What the batch held before is forgotten.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_batch(&self, batch: &mut Batch) -> Result<usize> {
        self.recv_batch_until(batch, None)
    }

    /// The same, for no longer than this; 0 when the time is over.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_batch_timeout(&self, batch: &mut Batch, timeout: Duration) -> Result<usize> {
        self.recv_batch_until(batch, Instant::now().checked_add(timeout))
    }

    /// Receives what is there, up to what the batch holds; says how many datagrams.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv_batch(&self, batch: &mut Batch) -> Result<usize> {
        self.try_receive_batch(batch)
    }

    /// Waits until a receive would find something to do, for no longer than this; `false` when the
    /// time is over, or a signal came. `true` promises no datagram: another thread may be faster.
    ///
    /// For those who must look at something else whenever a signal comes, as interpreters must.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        match self.sleep(timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(Error::os(Operation::Receive, error)),
            Ok(roused) => Ok(roused != Roused::Nothing),
        }
    }

    /// A reader with a batch of its own: a plain loop over datagrams that is as fast as batches.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let receiver = mcast::Receiver::join_one("239.1.2.3:7000".parse()?)?;
    /// let mut reader = receiver.reader();
    /// while let Some(datagram) = reader.next()? {
    ///     println!("{} from {}", datagram.length, datagram.source());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    /// Sends an answer to a datagram's source: by the interface it came in by, from the port it
    /// was sent to, so that the asker sees the service's port.
    ///
    /// # Errors
    /// When no socket of the group is left, or the system cannot send.
    pub fn reply(&self, to: &Arrival, payload: &[u8]) -> Result<()> {
        let failed = |error: Error| error.on_group(to.group).on_interface(to.interface);
        let sockets = self.sockets();
        let family = to.group.group.family();
        let serving = |data: &&DataSocket| data.port() == to.group.port && data.family() == family;
        let data = sockets
            .iter()
            .find(|data| serving(data) && data.has(to.group.group, to.interface))
            .or_else(|| sockets.iter().find(serving))
            .ok_or_else(|| failed(Error::new(Operation::Send, ErrorKind::NotJoined)))?;
        let transmit = Transmit {
            payload,
            to: to.source,
            interface: Some(to.interface),
            source: None,
            hop_limit: None,
            traffic_class: None,
            launch: None,
        };
        crate::sender::send_patiently(&data.socket, &transmit)
            .map_err(|error| failed(Error::os(Operation::Send, error)))
    }

    /// Joins, while receiving.
    ///
    /// Joined twice, something must be left twice. What several memberships ask for of one group
    /// on one interface is merged: what either admits is admitted.
    ///
    /// # Errors
    /// As [`ReceiverBuilder::build`]; then nothing has changed.
    pub fn join(&self, membership: Membership) -> Result<()> {
        self.steer(|control, plant| control.join(plant, vec![membership]))
    }

    /// Leaves, while receiving. Once it returns, nothing of the membership is handed out any more.
    ///
    /// # Errors
    /// [`ErrorKind::NotJoined`] if no membership is exactly this one.
    pub fn leave(&self, membership: &Membership) -> Result<()> {
        self.steer(|control, plant| control.leave(plant, membership))
    }

    /// Replaces the sources of a membership, at once and while receiving. From then on it is
    /// known as the membership with the new sources.
    ///
    /// # Errors
    /// [`ErrorKind::NotJoined`] if no membership is exactly this one; otherwise as
    /// [`ReceiverBuilder::build`].
    pub fn set_sources(&self, membership: &Membership, sources: SourceFilter) -> Result<()> {
        self.steer(|control, plant| control.set_sources(plant, membership, sources))
    }

    /// What became of each membership, on each of its interfaces.
    #[must_use]
    pub fn memberships(&self) -> Vec<MembershipStatus> {
        self.control().statuses()
    }

    /// What was received, refused, cut off and dropped so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let sockets = self.sockets();
        self.counters.statistics(sockets.drops(), sockets.hears_others(), self.merging.has_merged())
    }

    /// The smallest receive buffer that the system granted to one of the sockets, in bytes.
    ///
    /// Less than was asked for where a limit is in the way (Linux: `net.core.rmem_max`).
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.sockets().iter().map(DataSocket::granted).min().unwrap_or(0)
    }

    /// How many sockets it takes, those that only keep memberships included.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.sockets().descriptors()
    }

    /// What ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { poller: Arc::clone(&self.poller), woken: Arc::clone(&self.woken) }
    }

    /// What waits for all sockets.
    #[cfg(all(feature = "tokio", not(unix)))]
    pub(crate) fn poller(&self) -> Arc<Poller> {
        self.pool();
        Arc::clone(&self.poller)
    }

    /// Changes memberships. Who receives meanwhile waits for as long as the system takes.
    fn steer<T>(&self, change: impl FnOnce(&mut Control, &mut Plant<'_>) -> T) -> T {
        let mut control = self.control();
        let mut sockets = self.sockets_mut();
        change(&mut control, &mut Plant { sockets: &mut sockets, poller: &self.poller })
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

/// One descriptor for all sockets: readable when a receive would find something to do.
#[cfg(unix)]
impl std::os::fd::AsFd for Receiver {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pool();
        self.poller.as_fd()
    }
}
