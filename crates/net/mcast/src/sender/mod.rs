//! Sending by the requested interface, with the requested hop limit, or failing with an error.

mod builder;
mod egress;
mod expand;
mod pace;
mod reply;

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mcast_group::{Family, GroupAddr};

pub use builder::SenderBuilder;
#[cfg(feature = "tokio")]
pub(crate) use expand::RunOutcome;
#[cfg(feature = "tokio")]
pub(crate) use expand::is_stale;
pub(crate) use pace::send_patiently;
pub use pace::{PaceDecision, Pacer, ParseRateError, Rate};
pub use reply::{Reply, SendStatistics};

use crate::datagram::Outgoing;
use crate::error::{Error, ErrorKind, Operation, Result};
use builder::{Addressee, Settings};
use egress::{Addressed, Egress};
use mcast_sys::Sent;
use mcast_sys::socket::Socket;
use reply::Counters;

/// A single datagram, for the counters.
const ONE: Sent = Sent { datagrams: 1, segmented: 0 };

/// Sends datagrams to groups, and on networks without multicast to hosts.
///
/// The type is `Send + Sync` and its methods take `&self`, so threads may share it. The default hop
/// limit is 1: datagrams stay in the local network.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sender = mcast::Sender::to("239.255.2.3%eth1:7000".parse()?)?;
/// sender.send(b"hello")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Sender {
    settings: Settings,
    destinations: Vec<(SocketAddr, Egress)>,
    /// The outgoing interfaces for destinations that name none.
    egress: Egress,
    addressed: Addressed,
    v4: OnceLock<Socket>,
    v6: OnceLock<Socket>,
    counters: Counters,
    pacer: Option<Mutex<Pacer>>,
}

impl Sender {
    /// Creates a sender to this group with default settings.
    ///
    /// # Errors
    /// As [`SenderBuilder::build`].
    pub fn to(destination: mcast_group::Destination) -> Result<Self> {
        Self::builder().to(destination).build()
    }

    /// Returns a builder.
    pub fn builder() -> SenderBuilder {
        SenderBuilder::new()
    }

    pub(crate) fn new(settings: Settings, destinations: Vec<Addressee>) -> Result<Self> {
        let egress = Egress::resolve(&settings.interfaces, None, settings.follow)?;
        let resolved = destinations.into_iter().map(|(address, interface)| {
            let own = interface.as_slice();
            let interfaces = if own.is_empty() { &settings.interfaces } else { own };
            if address.ip().is_unspecified() {
                let error = Error::new(Operation::Send, ErrorKind::Mismatch).on_address(address);
                return Err(error.detail("it is not the address of a host"));
            }
            Ok((address, Egress::resolve(interfaces, Some(address), settings.follow)?))
        });
        let destinations: Vec<(SocketAddr, Egress)> = resolved.collect::<Result<_>>()?;
        let pacer = settings.pace.map(|rate| Mutex::new(Pacer::new(rate)));
        let sender = Self {
            settings,
            destinations,
            egress,
            addressed: Addressed::default(),
            v4: OnceLock::new(),
            v6: OnceLock::new(),
            counters: Counters::default(),
            pacer,
        };
        for (address, egress) in &sender.destinations {
            sender.socket(Family::of(address.ip()))?;
            if !sender.settings.follow {
                egress.each(|interface| sender.source(*address, interface).map(|_| ()))?;
            }
        }
        Ok(sender)
    }

    /// Sends a datagram to every destination of the sender, by every interface requested.
    ///
    /// # Errors
    /// The first failure, if the system cannot send to one of the destinations; the datagram has
    /// still been sent to the others. [`ErrorKind::QueueFull`] if the interface's queue dropped the
    /// datagram, which Linux reports.
    pub fn send(&self, payload: &[u8]) -> Result<()> {
        self.send_one(&Outgoing::new(payload))
    }

    /// Sends a datagram to this group.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_to(&self, payload: &[u8], to: GroupAddr) -> Result<()> {
        self.send_one(&Outgoing::new(payload).to(to))
    }

    /// Sends a datagram with settings of its own.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_one(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        if self.pacer.is_some() {
            self.keep_pace(std::slice::from_ref(outgoing), || true);
        }
        self.send_everywhere(outgoing)
    }

    /// Sends datagrams in order, each with its own group, interface and hop limit, with as few
    /// system calls as possible. Returns the number sent.
    ///
    /// If the system refuses a datagram after the first, the number is smaller than the number of
    /// datagrams; sending the rest again returns the error. A full system queue is waited for.
    ///
    /// # Errors
    /// If the first datagram cannot be sent.
    pub fn send_batch(&self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        self.send_batch_while(outgoing, || true)
    }

    /// Like [`send_batch`](Self::send_batch), but can be cancelled: while the sender waits to keep
    /// its pace, `keep_going` is called every 20 ms, and `false` cancels. Returns the number of
    /// datagrams sent.
    ///
    /// # Errors
    /// If the first datagram cannot be sent.
    pub fn send_batch_while(
        &self,
        outgoing: &[Outgoing<'_>],
        mut keep_going: impl FnMut() -> bool,
    ) -> Result<usize> {
        let mut sent = 0;
        while sent < outgoing.len() {
            let rest = &outgoing[sent..];
            let Some(count) = self.keep_pace(rest, &mut keep_going) else { break };
            match self.send_all(&rest[..count]) {
                (some, None) => sent += some,
                (0, Some(error)) if sent == 0 => return Err(error),
                (some, Some(_)) => return Ok(sent + some),
            }
        }
        Ok(sent)
    }

    /// Sends datagrams that are due; returns the number sent, and the error that stopped it.
    fn send_all(&self, outgoing: &[Outgoing<'_>]) -> (usize, Option<Error>) {
        let mut sent = 0;
        while sent < outgoing.len() {
            match self.send_run(&outgoing[sent..]) {
                Ok(count) => sent += count,
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    }

    /// Waits until the first of these datagrams is due, if there is a pace. Returns the number that
    /// is due, or `None` if `keep_going` returned `false`.
    fn keep_pace(&self, outgoing: &[Outgoing<'_>], mut keep_going: impl FnMut() -> bool) -> Option<usize> {
        loop {
            match self.allowance(outgoing) {
                PaceDecision::Now(count) => return Some(count),
                PaceDecision::After(wait) => {
                    // Waits in slices, after each of which the pacer computes the rest.
                    pace::sleep_until(Instant::now() + wait.min(pace::SLICE));
                    if !keep_going() {
                        return None;
                    }
                }
            }
        }
    }

    /// Returns how many of these datagrams are due.
    pub(crate) fn allowance(&self, outgoing: &[Outgoing<'_>]) -> PaceDecision {
        let Some(pacer) = &self.pacer else {
            return PaceDecision::Now(outgoing.len());
        };
        let sizes = outgoing.iter().map(|each| each.payload.len());
        pacer.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now(), sizes)
    }

    /// Returns the number of datagrams sent so far, and of system calls.
    #[must_use]
    pub fn statistics(&self) -> SendStatistics {
        self.counters.statistics()
    }

    /// Returns how many equally long datagrams of this family the system takes as one buffer (Linux
    /// and Windows: UDP segmentation offload); 1 if it is not supported or was found not to work.
    ///
    /// # Errors
    /// If the family's socket cannot be opened.
    pub fn segments_at_once(&self, family: Family) -> Result<usize> {
        Ok(self.socket(family)?.segments_at_once())
    }

    /// Returns the local address of the family's socket; the address is unspecified where the
    /// system chooses one per datagram.
    ///
    /// # Errors
    /// If the family's socket cannot be opened.
    pub fn local_address(&self, family: Family) -> Result<SocketAddr> {
        self.socket(family)?.local_address().map_err(|error| Error::os(Operation::Open, error))
    }

    /// Returns the descriptor of the family's socket, for waiting.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) fn descriptor(&self, family: Family) -> Result<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        Ok(self.socket(family)?.as_fd())
    }

    /// Waits until the family's socket accepts another datagram; returns whether it does.
    #[cfg(all(feature = "tokio", not(unix)))]
    pub(crate) fn wait_writable(&self, family: Family, timeout: Option<std::time::Duration>) -> Result<bool> {
        match mcast_sys::poller::wait_writable(self.socket(family)?, timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            result => result.map_err(|error| Error::os(Operation::Send, error)),
        }
    }

    /// Discards the errors that are queued on the socket; returns whether hosts reported some of them, about datagrams
    /// sent earlier.
    fn forget_errors(&self, socket: &Socket) -> bool {
        let is_reported = socket.forget_errors();
        if is_reported {
            self.counters.unreachable();
        }
        is_reported
    }

    #[inline]
    fn check_launch(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        if outgoing.launch.is_some() && !self.settings.has_launch_clock() {
            let error = Error::new(Operation::Send, ErrorKind::Mismatch);
            return Err(error.detail("the datagram has a launch time, but the sender has no launch clock"));
        }
        Ok(())
    }

    // Inlining must not depend on the compiler's choice: the instructions of the hot path are
    // counted.
    #[inline(always)]
    fn socket(&self, family: Family) -> Result<&Socket> {
        let cell = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        if let Some(socket) = cell.get() {
            return Ok(socket);
        }
        let socket = self.settings.open(family)?;
        // Without an interface of its own, a datagram goes by the sender's, or by the route: then none may be set.
        let by_route = self.destinations.iter().any(|(_, egress)| egress.single() == Some(None));
        if let Some(Some(interface)) = self.egress.single()
            && !by_route
        {
            socket.set_default_interface(interface);
        }
        // If another thread was first, its socket is used.
        Ok(cell.get_or_init(|| socket))
    }
}

/// Consumes all results and returns the first failure.
fn first_error(results: impl Iterator<Item = Result<()>>) -> Result<()> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

fn no_destination() -> Error {
    Error::new(Operation::Send, ErrorKind::Mismatch)
        .detail("the sender has no destination and the datagram names none")
}
