//! Sending: by the interface that is meant, with the hop limit that is meant, and told if not.

mod answer;
mod builder;
mod egress;
mod pace;
mod patience;
mod places;
mod run;
mod statistics;

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mcast_group::{Destination, Family, GroupAddr};

pub use answer::Answer;
pub use builder::SenderBuilder;
pub use pace::{Allowance, Pacer, Rate};
pub(crate) use patience::send_patiently;
#[cfg(feature = "tokio")]
pub(crate) use places::is_stale;
#[cfg(feature = "tokio")]
pub(crate) use run::Run;
pub use statistics::SendStatistics;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::outgoing::Outgoing;
use crate::sys::Sent;
use crate::sys::socket::Socket;
use builder::Settings;
use egress::Egress;
use statistics::Counters;

/// A single datagram, for the counters.
const ONE: Sent = Sent { datagrams: 1, trains: 0 };

/// Sends datagrams to groups.
///
/// It is `Send + Sync` and takes `&self`: threads may share it. Hop limit 1 unless told
/// otherwise: what is sent stays in the local network.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sender = mcast::Sender::to("239.1.2.3%eth1:7000".parse()?)?;
/// sender.send(b"hello")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Sender {
    settings: Settings,
    destinations: Vec<(GroupAddr, Egress)>,
    /// Where datagrams go out whose destination says nothing else.
    egress: Egress,
    v4: OnceLock<Socket>,
    v6: OnceLock<Socket>,
    counters: Counters,
    pacer: Option<Mutex<Pacer>>,
}

impl Sender {
    /// A sender to this group, with default settings.
    ///
    /// # Errors
    /// As [`SenderBuilder::build`].
    pub fn to(destination: Destination) -> Result<Self> {
        Self::builder().to(destination).build()
    }

    /// Settings for a sender.
    pub fn builder() -> SenderBuilder {
        SenderBuilder::new()
    }

    pub(crate) fn new(settings: Settings, destinations: Vec<Destination>) -> Result<Self> {
        let egress = Egress::resolve(&settings.interfaces, None, settings.follow)?;
        let resolved = destinations.into_iter().map(|destination| {
            let interfaces: Vec<_> = destination.interface.into_iter().collect();
            let egress = match interfaces.is_empty() {
                true => Egress::resolve(&settings.interfaces, Some(destination.address), settings.follow)?,
                false => Egress::resolve(&interfaces, Some(destination.address), settings.follow)?,
            };
            Ok((destination.address, egress))
        });
        let destinations: Vec<(GroupAddr, Egress)> = resolved.collect::<Result<_>>()?;
        let pacer = settings.pace.map(|rate| Mutex::new(Pacer::new(rate)));
        let sender = Self {
            settings,
            destinations,
            egress,
            v4: OnceLock::new(),
            v6: OnceLock::new(),
            counters: Counters::default(),
            pacer,
        };
        for (address, egress) in &sender.destinations {
            sender.socket(address.group.family())?;
            if !sender.settings.follow {
                egress.each(|interface| sender.source(*address, interface).map(|_| ()))?;
            }
        }
        Ok(sender)
    }

    /// Sends a datagram to every destination of the sender, by every interface that is meant.
    ///
    /// # Errors
    /// When the system cannot send it to one of them, the first of which is told; it has gone to
    /// the others. [`ErrorKind::QueueFull`] when the interface's own queue dropped it, which
    /// Linux tells.
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
        self.keep_pace(std::slice::from_ref(outgoing));
        self.send_everywhere(outgoing)
    }

    /// Sends datagrams in order, each with its own group, interface and hop limit, with as few
    /// system calls as there can be; says how many of them went.
    ///
    /// Fewer than all went when the system refused one after the first: sending the rest again
    /// tells why. The system's queue being full is waited for.
    ///
    /// # Errors
    /// When the first cannot be sent.
    pub fn send_batch(&self, outgoing: &[Outgoing<'_>]) -> Result<usize> {
        let mut sent = 0;
        while sent < outgoing.len() {
            let rest = &outgoing[sent..];
            let count = self.keep_pace(rest);
            match self.send_all(&rest[..count]) {
                (some, None) => sent += some,
                (0, Some(error)) if sent == 0 => return Err(error),
                (some, Some(_)) => return Ok(sent + some),
            }
        }
        Ok(sent)
    }

    /// Sends datagrams that are due; says how many went, and why no more did.
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

    /// Waits until the first of these datagrams is due, if there is a pace; says how many are.
    fn keep_pace(&self, outgoing: &[Outgoing<'_>]) -> usize {
        loop {
            match self.allowance(outgoing) {
                Allowance::Now(count) => return count,
                Allowance::After(wait) => match Instant::now().checked_add(wait) {
                    Some(moment) => pace::sleep_until(moment),
                    None => std::thread::park(),
                },
            }
        }
    }

    /// How many of these datagrams are due.
    pub(crate) fn allowance(&self, outgoing: &[Outgoing<'_>]) -> Allowance {
        let Some(pacer) = &self.pacer else {
            return Allowance::Now(outgoing.len());
        };
        let sizes = outgoing.iter().map(|each| each.payload.len());
        pacer.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now(), sizes)
    }

    /// What was sent so far, and in how many calls.
    #[must_use]
    pub fn statistics(&self) -> SendStatistics {
        self.counters.statistics()
    }

    /// How many equal datagrams of this family may leave as one (Linux and Windows: UDP
    /// segmentation offload); 1 where there is no such thing, or it was found not to work.
    ///
    /// # Errors
    /// When the family's socket cannot be opened.
    pub fn segments_at_once(&self, family: Family) -> Result<usize> {
        Ok(self.socket(family)?.segments_at_once())
    }

    /// The address that datagrams of this family are sent from, as far as it is fixed: with an
    /// unspecified address where the system chooses one for each.
    ///
    /// # Errors
    /// When the family's socket cannot be opened.
    pub fn local_address(&self, family: Family) -> Result<SocketAddr> {
        self.socket(family)?.local_address().map_err(|error| Error::os(Operation::Open, error))
    }

    /// The descriptor of the family's socket, to wait for.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) fn descriptor(&self, family: Family) -> Result<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        Ok(self.socket(family)?.as_fd())
    }

    /// Waits until the family's socket takes another datagram; says whether it does.
    #[cfg(all(feature = "tokio", not(unix)))]
    pub(crate) fn wait_writable(&self, family: Family, timeout: Option<std::time::Duration>) -> Result<bool> {
        match crate::sys::poller::wait_writable(self.socket(family)?, timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            result => result.map_err(|error| Error::os(Operation::Send, error)),
        }
    }

    #[inline]
    fn check_launch(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        if outgoing.launch.is_some() && !self.settings.has_launch_clock() {
            let error = Error::new(Operation::Send, ErrorKind::Mismatch);
            return Err(error.detail("the datagram names a launch time, but the sender has no launch clock"));
        }
        Ok(())
    }

    // The rest of the crate decided whether a hint was followed, and the hot path is counted.
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
        // Another thread may have been first; then its socket serves.
        Ok(cell.get_or_init(|| socket))
    }
}

/// Does all, whichever fail, and tells the first failure.
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
