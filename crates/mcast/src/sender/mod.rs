//! Sending: by the interface that is meant, with the hop limit that is meant, and told if not.

mod answer;
mod builder;
mod egress;
mod pace;
mod statistics;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mcast_group::{Destination, Family, GroupAddr, InterfaceIndex};

pub use answer::Answer;
pub use builder::SenderBuilder;
pub use pace::{Allowance, Pacer, Rate};
pub use statistics::SendStatistics;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::outgoing::Outgoing;
use crate::sys::poller::wait_writable;
use crate::sys::socket::Socket;
use crate::sys::{Sent, Transmit};
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

    /// Sends a datagram to each place that it goes to.
    fn send_everywhere(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        self.check_launch(outgoing)?;
        match outgoing.to {
            Some(to) => self.transmit(outgoing, to, self.egress_to(to)),
            None if self.destinations.is_empty() => Err(no_destination()),
            None => {
                first_error(self.destinations.iter().map(|(to, egress)| self.transmit(outgoing, *to, egress)))
            }
        }
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

    /// Every single place that a datagram goes to: a datagram for each, with its group and, where
    /// one is meant, its interface. For those who send with [`try_send_one`](Self::try_send_one).
    ///
    /// # Errors
    /// When an interface that is meant cannot be found, or there is no destination.
    pub fn places<'a>(&self, outgoing: &Outgoing<'a>) -> Result<Vec<Outgoing<'a>>> {
        match self.places_now(outgoing) {
            Err(error) if is_stale(&error) && self.look_again(outgoing)? => self.places_now(outgoing),
            result => result,
        }
    }

    fn places_now<'a>(&self, outgoing: &Outgoing<'a>) -> Result<Vec<Outgoing<'a>>> {
        let mut places = Vec::new();
        let mut add = |to: GroupAddr, egress: &Egress| match outgoing.interface {
            Some(_) => {
                places.push(outgoing.to(to));
                Ok(())
            }
            None => egress.each(|interface| {
                places.push(Outgoing { interface, ..outgoing.to(to) });
                Ok(())
            }),
        };
        match outgoing.to {
            Some(to) => add(to, self.egress_to(to))?,
            None if self.destinations.is_empty() => return Err(no_destination()),
            None => self.destinations.iter().try_for_each(|(to, egress)| add(*to, egress))?,
        }
        Ok(places)
    }

    /// Sends a datagram that has been given its one place ([`places`](Self::places)), unless the
    /// socket's buffer is full: then `false`. It never waits, so that it keeps no pace.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send_one(&self, outgoing: &Outgoing<'_>) -> Result<bool> {
        self.check_launch(outgoing)?;
        let to = outgoing.to.ok_or_else(no_destination)?;
        let source = self.source(to, outgoing.interface)?;
        let transmit = transmit(outgoing, to, outgoing.interface, source);
        let socket = self.socket(to.group.family())?;
        loop {
            match socket.send(&transmit) {
                Ok(()) => {
                    self.counters.sent(ONE);
                    return Ok(true);
                }
                Err(error) if is_busy(&error) => return Ok(false),
                Err(_) if socket.forget_errors() => {}
                Err(error) => return Err(self.failed(error, outgoing, to, outgoing.interface)),
            }
        }
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
        match wait_writable(self.socket(family)?, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            result => result.map_err(|error| Error::os(Operation::Send, error)),
        }
    }

    /// By which interfaces datagrams go to this group.
    fn egress_to(&self, to: GroupAddr) -> &Egress {
        let own = self.destinations.iter().find(|(address, _)| *address == to);
        own.map_or(&self.egress, |(_, egress)| egress)
    }

    /// Sends the run at the start of `outgoing` that one system call can take.
    fn send_run<'a>(&self, outgoing: &[Outgoing<'a>]) -> Result<usize> {
        loop {
            match self.try_send_run(outgoing)? {
                Run::Sent(count) => return Ok(count),
                // To several places at once: one after the other.
                Run::Several => return self.send_everywhere(&outgoing[0]).map(|()| 1),
                Run::Full(family) => {
                    wait(self.socket(family)?).map_err(|error| Error::os(Operation::Send, error))?;
                }
            }
        }
    }

    /// The same without waiting.
    pub(crate) fn try_send_run(&self, outgoing: &[Outgoing<'_>]) -> Result<Run> {
        let Some((to, interface)) = self.simple(&outgoing[0]) else {
            return Ok(Run::Several);
        };
        match self.try_send_simple(outgoing, to, interface) {
            // The interface may have been made again under another index.
            Err(error) if is_stale(&error) && self.look_again(&outgoing[0])? => self
                .simple(&outgoing[0])
                .map_or(Ok(Run::Several), |(to, interface)| self.try_send_simple(outgoing, to, interface)),
            result => result,
        }
    }

    fn try_send_simple<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        first: GroupAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<Run> {
        self.check_launch(&outgoing[0])?;
        let family = first.group.family();
        let socket = self.socket(family)?;
        self.source(first, interface)?;
        // What doesn't fit begins the next run, or tells there why it cannot go.
        let transmit = |each: &Outgoing<'a>| {
            let (to, interface) = self.simple(each)?;
            let fits = to.group.family() == family && self.check_launch(each).is_ok();
            let source = if fits { self.known_source(family, interface) } else { None };
            source.map(|source| transmit(each, to, interface, source))
        };
        match socket.send_run(outgoing, &transmit) {
            Ok(sent) => {
                self.counters.sent(sent);
                Ok(Run::Sent(sent.datagrams))
            }
            Err(error) if is_busy(&error) => Ok(Run::Full(family)),
            // What the network said about an earlier datagram; none of these has gone yet.
            Err(_) if socket.forget_errors() => Ok(Run::Sent(0)),
            Err(error) => Err(self.failed(error, &outgoing[0], first, interface)),
        }
    }

    /// The one place to which a datagram goes, if it is one.
    fn simple(&self, outgoing: &Outgoing<'_>) -> Option<(GroupAddr, Option<InterfaceIndex>)> {
        let (to, egress) = match outgoing.to {
            Some(to) => (to, self.egress_to(to)),
            None => match &self.destinations[..] {
                [(to, egress)] => (*to, egress),
                _ => return None,
            },
        };
        match outgoing.interface {
            Some(interface) => Some((to, Some(interface))),
            None => Some((to, egress.single()?)),
        }
    }

    fn transmit(&self, outgoing: &Outgoing<'_>, to: GroupAddr, egress: &Egress) -> Result<()> {
        if let Some(interface) = outgoing.interface {
            return self.transmit_by(outgoing, to, Some(interface));
        }
        let mut sent = Vec::new();
        match self.transmit_all(outgoing, to, egress, &mut sent) {
            // The interface may have been made again under another index.
            Err(error) if is_stale(&error) && egress.look_again(Some(to))? => {
                self.transmit_all(outgoing, to, egress, &mut sent)
            }
            result => result,
        }
    }

    /// Sends by every interface but those by which it was sent already. One that fails keeps it
    /// from none of the others.
    fn transmit_all(
        &self,
        outgoing: &Outgoing<'_>,
        to: GroupAddr,
        egress: &Egress,
        sent: &mut Vec<InterfaceIndex>,
    ) -> Result<()> {
        egress.each(|interface| {
            if interface.is_some_and(|index| sent.contains(&index)) {
                return Ok(());
            }
            self.transmit_by(outgoing, to, interface)?;
            sent.extend(interface.filter(|_| self.settings.follow));
            Ok(())
        })
    }

    /// Looks again for the interfaces by which a datagram goes, if they are followed; says whether
    /// they are others now.
    pub(crate) fn look_again(&self, outgoing: &Outgoing<'_>) -> Result<bool> {
        match (outgoing.interface, outgoing.to) {
            (Some(_), _) => Ok(false),
            (None, Some(to)) => self.egress_to(to).look_again(Some(to)),
            (None, None) => {
                let again = self.destinations.iter().map(|(to, egress)| egress.look_again(Some(*to)));
                again.into_iter().try_fold(false, |changed, again| Ok(changed | again?))
            }
        }
    }

    fn transmit_by(
        &self,
        outgoing: &Outgoing<'_>,
        to: GroupAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<()> {
        let source = self.source(to, interface)?;
        let socket = self.socket(to.group.family())?;
        let transmit = transmit(outgoing, to, interface, source);
        send_patiently(socket, &transmit).map_err(|error| self.failed(error, outgoing, to, interface))?;
        self.counters.sent(ONE);
        Ok(())
    }

    fn check_launch(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        if outgoing.launch.is_some() && !self.settings.has_launch_clock() {
            let error = Error::new(Operation::Send, ErrorKind::Mismatch);
            return Err(error.detail("the datagram names a launch time, but the sender has no launch clock"));
        }
        Ok(())
    }

    /// The address to send from; `None` leaves it to the system. Sending by an interface needs
    /// one: without, the kernel would take another interface's, or none.
    fn source(&self, to: GroupAddr, interface: Option<InterfaceIndex>) -> Result<Option<IpAddr>> {
        match (self.known_source(to.group.family(), interface), interface) {
            (Some(source), _) => Ok(source),
            (None, Some(index)) => self.settings.addressed.look(to, index),
            (None, None) => Ok(None),
        }
    }

    /// The same, as far as it can be said without looking at the interface.
    fn known_source(&self, family: Family, interface: Option<InterfaceIndex>) -> Option<Option<IpAddr>> {
        let given = self.settings.source_address.filter(|source| Family::of(*source) == family);
        match interface {
            Some(index) if given.is_none() => self.settings.addressed.find(family, index),
            _ => Some(given),
        }
    }

    fn failed(
        &self,
        error: io::Error,
        outgoing: &Outgoing<'_>,
        to: GroupAddr,
        interface: Option<InterfaceIndex>,
    ) -> Error {
        let error = Error::os(Operation::Send, error).on_group(to);
        let error = match interface {
            Some(index) => error.on_interface(egress::name_of(index)),
            None => error,
        };
        match error.kind() {
            ErrorKind::TooLarge => error.detail(format!("{} bytes", outgoing.payload.len())),
            ErrorKind::NoRoute if interface.is_some() => egress::why_unreachable(error, to, interface),
            _ => error,
        }
    }

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

/// What became of a run of datagrams.
pub(crate) enum Run {
    /// So many went.
    Sent(usize),
    /// The buffer of this family's socket is full.
    Full(Family),
    /// The first goes to several places, which no run does.
    Several,
}

/// Does all, whichever fail, and tells the first failure.
fn first_error(results: impl Iterator<Item = Result<()>>) -> Result<()> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

fn transmit<'a>(
    outgoing: &Outgoing<'a>,
    to: GroupAddr,
    interface: Option<InterfaceIndex>,
    source: Option<IpAddr>,
) -> Transmit<'a> {
    Transmit {
        payload: outgoing.payload,
        to: to.into(),
        interface,
        source,
        hop_limit: outgoing.hop_limit,
        traffic_class: outgoing.traffic_class,
        launch: outgoing.launch,
    }
}

fn no_destination() -> Error {
    Error::new(Operation::Send, ErrorKind::Mismatch)
        .detail("the sender has no destination and the datagram names none")
}

/// Sends, waiting while the socket's own buffer is full.
pub(crate) fn send_patiently(socket: &Socket, transmit: &Transmit<'_>) -> io::Result<()> {
    loop {
        match socket.send(transmit) {
            Err(error) if is_busy(&error) => wait(socket)?,
            // What the network said about an earlier datagram; this one has not gone yet.
            Err(_) if socket.forget_errors() => {}
            result => return result,
        }
    }
}

fn wait(socket: &Socket) -> io::Result<()> {
    socket.forget_errors();
    match wait_writable(socket, None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the interface that was meant may be another one now.
pub(crate) fn is_stale(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSuchInterface | ErrorKind::NoAddress | ErrorKind::NoRoute)
}
