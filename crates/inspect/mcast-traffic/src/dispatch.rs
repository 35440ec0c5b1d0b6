//! When the next datagrams are due, where each goes, and passing it to the system, which accepts or refuses it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast::interface::Interface;
use mcast::{
    Destination, Error, ErrorKind, Family, HostAddr, InterfaceIndex, InterfaceSelector, Outgoing,
    PaceDecision, Pacer, Rate, Sender,
};

use crate::TrafficError;

/// Counts of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DispatchCounts {
    /// Datagrams that the system accepted.
    pub sent: u64,
    /// The bytes of their payload.
    pub bytes: u64,
    /// Datagrams that the system refused.
    pub refused: u64,
}

/// Sends datagrams, and continues after errors of single ones.
#[derive(Debug)]
pub struct Dispatch<'a> {
    sender: &'a Sender,
    counts: DispatchCounts,
    /// The kinds of errors reported so far.
    reported: Vec<ErrorKind>,
}

impl<'a> Dispatch<'a> {
    /// Creates a dispatch with this sender.
    #[must_use]
    pub fn new(sender: &'a Sender) -> Self {
        Self { sender, counts: DispatchCounts::default(), reported: Vec::new() }
    }

    /// Sends all of these datagrams. A refused one is counted, and passed to `on_refusal` if it is the first with an
    /// error of this kind: interfaces may come back, and queues become free.
    ///
    /// # Errors
    /// If the system refuses the first datagram of all, unless its queue is full.
    pub fn send(
        &mut self,
        outgoing: &[Outgoing<'_>],
        mut on_refusal: impl FnMut(&Error),
    ) -> mcast::Result<()> {
        let mut rest = outgoing;
        while !rest.is_empty() {
            match self.sender.send_batch(rest) {
                Ok(count) => {
                    let (sent, left) = rest.split_at(count);
                    self.counts.sent += sent.len() as u64;
                    self.counts.bytes += sent.iter().map(|each| each.payload().len() as u64).sum::<u64>();
                    rest = left;
                }
                Err(error) if self.counts.sent == 0 && error.kind() != ErrorKind::QueueFull => {
                    return Err(error);
                }
                Err(error) => {
                    self.counts.refused += 1;
                    if !self.reported.contains(&error.kind()) {
                        self.reported.push(error.kind());
                        on_refusal(&error);
                    }
                    rest = &rest[1..];
                }
            }
        }
        Ok(())
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> DispatchCounts {
        self.counts
    }
}

/// A group or host, and the interface to send on.
#[derive(Clone, Debug)]
pub struct SendTarget {
    address: SocketAddr,
    by: Option<(InterfaceIndex, String)>,
    /// The address by which the interface is named.
    source: Option<IpAddr>,
}

impl SendTarget {
    /// Sends from this address instead of the one that names the interface.
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Returns the group or host, and the port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.address.ip())
    }

    /// Returns the interface to send on; `None` means that the route decides.
    #[must_use]
    pub fn interface(&self) -> Option<InterfaceIndex> {
        self.by.as_ref().map(|(index, _)| *index)
    }

    /// Returns the name of the interface to send on; `None` means that the route decides.
    #[must_use]
    pub fn interface_name(&self) -> Option<&str> {
        self.by.as_ref().map(|(_, name)| name.as_str())
    }

    /// Returns a datagram to this target without payload.
    #[must_use]
    pub fn template(&self) -> Outgoing<'static> {
        self.outgoing(&[])
    }

    /// Returns a datagram to this target.
    #[must_use]
    pub fn outgoing<'a>(&self, payload: &'a [u8]) -> Outgoing<'a> {
        let outgoing = Outgoing::new(payload).to_address(self.address);
        let outgoing = self.source.into_iter().fold(outgoing, Outgoing::from_address);
        match self.by {
            Some((index, _)) => outgoing.by(index),
            None => outgoing,
        }
    }
}

/// Returns the name of the interface that has vanished according to an error of sending to one of these targets: the
/// error itself has only the interface's index. `None` for other errors.
#[must_use]
pub fn vanished_interface<'a>(
    error: &Error,
    mut targets: impl Iterator<Item = &'a SendTarget>,
) -> Option<&'a str> {
    let number = error.interface().filter(|_| error.kind() == ErrorKind::NoSuchInterface)?;
    let gone = targets.find(|target| target.interface().is_some_and(|index| index.to_string() == number));
    gone?.interface_name()
}

/// Returns a target for each destination and each of its interfaces, without duplicates. A destination without an
/// interface of its own is sent on `interfaces`; without those, the route decides. An interface that is named by one of its addresses
/// sends from that address.
///
/// # Errors
/// [`TrafficError::Target`] if there is no such interface, [`TrafficError::NoInterface`] if `all` are selected and none
/// can send.
pub fn resolve_targets(
    destinations: &[Destination],
    interfaces: &[InterfaceSelector],
) -> Result<Vec<SendTarget>, TrafficError> {
    resolve_targets_with_hosts(destinations, &[], interfaces)
}

/// As [`resolve_targets`], for groups and hosts.
///
/// # Errors
/// As for [`resolve_targets`], and [`TrafficError::NoHost`] for an unspecified address.
pub fn resolve_targets_with_hosts(
    groups: &[Destination],
    hosts: &[HostAddr],
    interfaces: &[InterfaceSelector],
) -> Result<Vec<SendTarget>, TrafficError> {
    let groups = groups.iter().map(|group| (SocketAddr::from(group.address), &group.interface));
    let hosts = hosts.iter().map(|host| (SocketAddr::from(host), &host.interface));
    let mut targets = Vec::new();
    for (address, interface) in groups.chain(hosts) {
        if address.ip().is_unspecified() {
            return Err(TrafficError::NoHost(address));
        }
        let own = interface.as_slice();
        let chosen = if own.is_empty() { interfaces } else { own };
        if chosen.is_empty() {
            targets.push(SendTarget { address, by: None, source: None });
        }
        for selector in chosen {
            targets.extend(targets_by(address, selector)?);
        }
    }
    Ok(without_duplicates(targets))
}

/// Keeps one of the targets that differ at most in that one names the address to send from.
fn without_duplicates(targets: Vec<SendTarget>) -> Vec<SendTarget> {
    let mut kept: Vec<SendTarget> = Vec::with_capacity(targets.len());
    let mut known: HashMap<_, Vec<usize>> = HashMap::new();
    for target in targets {
        let alike = known.entry((target.address, target.interface())).or_default();
        let is_same = |kept: &SendTarget| {
            kept.source == target.source || kept.source.is_none() || target.source.is_none()
        };
        match alike.iter().find(|number| is_same(&kept[**number])) {
            Some(number) => kept[*number].source = kept[*number].source.or(target.source),
            None => {
                alike.push(kept.len());
                kept.push(target);
            }
        }
    }
    kept
}

fn targets_by(address: SocketAddr, selector: &InterfaceSelector) -> Result<Vec<SendTarget>, TrafficError> {
    let family = Family::of(address.ip());
    let by = |interface: &Interface| SendTarget {
        address,
        by: Some((interface.index_for(family), interface.name.clone())),
        source: None,
    };
    Ok(match selector {
        InterfaceSelector::Default => vec![SendTarget { address, by: None, source: None }],
        InterfaceSelector::All => all_for(family)?.iter().map(by).collect(),
        named => {
            let found = mcast::interface::find(named);
            let target = by(&found.map_err(|source| TrafficError::Target { to: address, source })?);
            let source = match named {
                InterfaceSelector::Address(own) if Family::of(*own) == family => Some(*own),
                _ => None,
            };
            vec![SendTarget { source, ..target }]
        }
    })
}

/// Returns all interfaces on which datagrams of this family can be sent.
fn all_for(family: Family) -> Result<Vec<Interface>, TrafficError> {
    let mut interfaces = mcast::interface::list()?;
    interfaces.retain(|each| each.is_joined_by_default() && each.addresses_of(family).next().is_some());
    if interfaces.is_empty() { Err(TrafficError::NoInterface(family)) } else { Ok(interfaces) }
}

/// The times at which datagrams are due.
#[derive(Debug)]
pub struct Pace {
    pacer: Option<Pacer>,
    together: usize,
    deadline: Option<Instant>,
    stop: StopSignal,
}

impl Pace {
    /// Creates a pace; without a rate, datagrams are always due. `together` datagrams count as one, and must be at least
    /// one.
    #[must_use]
    pub fn new(
        rate: Option<Rate>,
        together: usize,
        deadline: Option<Instant>,
        stop: impl Into<StopSignal>,
    ) -> Self {
        Self { pacer: rate.map(Pacer::new), together: together.max(1), deadline, stop: stop.into() }
    }

    /// Waits until some of these datagrams are due, and returns how many; `None` after the deadline or the signal.
    pub fn wait(&mut self, datagrams: &[Outgoing<'_>]) -> Option<usize> {
        loop {
            let now = Instant::now();
            if self.stop.is_set() || self.deadline.is_some_and(|deadline| now >= deadline) {
                return None;
            }
            let Some(pacer) = &mut self.pacer else { return Some(datagrams.len()) };
            let sizes = datagrams.chunks(self.together).map(|chunk| chunk[0].payload().len());
            match pacer.allow(now, sizes) {
                PaceDecision::Now(count) => return Some((count * self.together).min(datagrams.len())),
                PaceDecision::After(time) => {
                    let end = self.deadline.map_or(time, |end| end.saturating_duration_since(now));
                    self.stop.pause(time.min(end));
                }
            }
        }
    }
}

/// The times at which messages are due. A rate in bits is the publisher's own.
#[derive(Debug)]
pub struct MessagePacer(Option<Pacer>);

impl MessagePacer {
    /// The longest wait for a message before `meanwhile` is called again.
    const POLL_INTERVAL: Duration = Duration::from_millis(50);

    /// Creates a pacer; without a rate of messages, they are always due.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        Self(rate.filter(|rate| matches!(rate, Rate::Datagrams(_))).map(Pacer::new))
    }

    /// Waits until the next message is due, and calls `meanwhile` at least every 50 ms. Returns `false` after the
    /// signal.
    pub fn wait(&mut self, stop: &StopSignal, mut meanwhile: impl FnMut()) -> bool {
        let Some(pacer) = &mut self.0 else { return true };
        while let PaceDecision::After(time) = pacer.allow(Instant::now(), [0]) {
            meanwhile();
            if stop.sleep(time.min(Self::POLL_INTERVAL)) {
                return false;
            }
        }
        true
    }
}

/// Waits longer than this end early when the signal is set.
const LONG: Duration = Duration::from_millis(20);

/// A request to stop, which ends the waits of this crate. Clones share it. A signal handler on a thread of its own may
/// set it.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl StopSignal {
    /// Sets the signal, and wakes threads that sleep.
    pub fn set(&self) {
        self.state.is_set.store(true, Ordering::Release);
        // A thread that has checked the flag and does not sleep yet holds the lock.
        drop(self.state.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.changed.notify_all();
    }

    /// Returns whether the signal is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.is_set.load(Ordering::Acquire)
    }

    /// Sleeps for this time or until the signal is set; returns whether it is set.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.state.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.changed.wait_timeout_while(guard, time, |()| !self.is_set()));
        self.is_set()
    }

    /// Waits for a part of `time`, which the signal may end early. A caller that repeats this until a moment is
    /// reached waits with a precision of microseconds.
    pub(crate) fn pause(&self, time: Duration) {
        if time > LONG {
            self.sleep(time - LONG);
        } else {
            mcast_sys::pause(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(Rate::Datagrams(1_000.0)), 1, None, StopSignal::default());
        for number in 0..20 {
            assert_eq!(pace.wait(&[Outgoing::new(b"x")]), Some(1));
            assert!(start.elapsed() >= Duration::from_millis(number));
        }
    }

    #[test]
    fn datagrams_sent_together_count_once() {
        let mut pace = Pace::new(Some(Rate::Datagrams(10.0)), 3, None, StopSignal::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x"); 6]), Some(3));
    }

    #[test]
    fn the_deadline_ends_the_wait() {
        let deadline = Some(Instant::now() + Duration::from_millis(5));
        let mut pace = Pace::new(Some(Rate::Datagrams(0.001)), 1, deadline, StopSignal::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x")]), Some(1));
        assert_eq!(pace.wait(&[Outgoing::new(b"x")]), None);
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        let mut pace = Pace::new(None, 1, None, StopSignal::default());
        assert_eq!(pace.wait(&[Outgoing::new(b"x"); 5]), Some(5));
    }

    #[test]
    fn tiny_rates_do_not_overflow_the_clock() {
        for rate in [f64::MIN_POSITIVE, 1e-30, 1e-10] {
            let mut pacer = MessagePacer::new(Some(Rate::Datagrams(rate)));
            assert!(pacer.wait(&StopSignal::default(), || {}));
            assert!(matches!(pacer.0.unwrap().allow(Instant::now(), [0]), PaceDecision::After(_)));
        }
    }

    #[test]
    fn messages_are_paced_while_something_else_happens() {
        let mut pacer = MessagePacer::new(Some(Rate::Datagrams(50.0)));
        let (start, mut calls) = (Instant::now(), 0);
        (0..3).for_each(|_| assert!(pacer.wait(&StopSignal::default(), || calls += 1)));
        assert!(start.elapsed() >= Duration::from_millis(40) && calls >= 2, "{calls}");
    }
}
