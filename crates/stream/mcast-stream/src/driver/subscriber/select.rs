//! Selects the stream to follow by the first datagrams that arrive, and maps datagrams to paths.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::{Arrival, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, MembershipStatus, Receiver};

use super::Subscriber;
use crate::ClockTime;
use crate::driver::clock;
use crate::subscriber::{SubscriberConfig, SubscriberEvent, VerificationFailure};
use crate::wire::{Header, Heartbeat, KeyEpoch, Kind, StreamId};

/// The state before a stream is followed: datagrams that were refused, and reports about missing and wrong keys.
#[derive(Debug, Default)]
pub(super) struct StreamSelector {
    /// Datagrams that the keys do not open.
    pub(super) refused: u64,
    /// The last epoch whose key is missing, and whether that is still to be reported.
    missing: Option<(KeyEpoch, bool)>,
    /// The last epoch whose key did not open a datagram, and whether that is still to be reported.
    wrong: Option<(KeyEpoch, bool)>,
    verifications: Verifications,
    /// Heartbeats that no trusted key has signed.
    pub(super) not_verified: u64,
    /// Why the first of them was not followed, and whether that is still to be reported.
    distrust: Option<(VerificationFailure, bool)>,
}

impl StreamSelector {
    /// Returns a state machine for the stream of a datagram, if that stream must be followed.
    ///
    /// With keys, datagrams that they do not open have no effect, because any host can forge a header.
    pub(super) fn select(
        &mut self,
        chosen: Option<StreamId>,
        config: &SubscriberConfig,
        datagram: &[u8],
        now: ClockTime,
    ) -> Option<crate::SubscriberMachine> {
        let (header, _) = Header::read(datagram).ok()?;
        if header.kind.is_from_subscribers() || chosen.is_some_and(|chosen| chosen != header.stream) {
            return None;
        }
        if !config.keys.is_empty() && config.keys.open(&mut datagram.to_vec()).is_none() {
            self.refuse(config, header.epoch);
            return None;
        }
        // Only a heartbeat selects a stream, so that a stray datagram does not.
        if chosen.is_none() {
            if config.verifies() && !self.verifications.may_verify(now) {
                return None;
            }
            if let Err(distrust) = check_heartbeat(config, datagram) {
                self.not_verified += u64::from(distrust.is_some());
                let distrust = distrust.map(|distrust| (distrust, true));
                self.distrust = self.distrust.or(distrust);
                // Without its key, a sealed stream that must be verified cannot be followed.
                if config.keys.is_empty() && config.verifies() && header.epoch != KeyEpoch::CLEAR {
                    self.refuse(config, header.epoch);
                }
                return None;
            }
        }
        let config = config.clone().with(|config| {
            config.stream = header.stream;
            config.seed = clock::seed();
        });
        Some(crate::SubscriberMachine::new(config, now))
    }

    /// Returns the next event to report.
    pub(super) fn event(&mut self) -> Option<SubscriberEvent> {
        report(&mut self.distrust)
            .map(SubscriberEvent::NotVerified)
            .or_else(|| report(&mut self.missing).map(SubscriberEvent::KeyMissing))
            .or_else(|| report(&mut self.wrong).map(SubscriberEvent::KeyWrong))
    }

    fn refuse(&mut self, config: &SubscriberConfig, epoch: KeyEpoch) {
        self.refused += 1;
        let reported = if config.keys.has(epoch) { &mut self.wrong } else { &mut self.missing };
        if epoch != KeyEpoch::CLEAR && reported.is_none_or(|(reported, _)| reported != epoch) {
            *reported = Some((epoch, true));
        }
    }
}

/// Returns what is still to be reported.
fn report<T: Copy>(of: &mut Option<(T, bool)>) -> Option<T> {
    let (what, is_new) = of.as_mut()?;
    core::mem::take(is_new).then_some(*what)
}

/// When the next signature may be checked of a stream that is not followed yet, so that a forger cannot use up the
/// processor.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    next: ClockTime,
}

impl Verifications {
    /// The shortest time between two.
    const INTERVAL: Duration = Duration::from_millis(1);

    fn may_verify(&mut self, now: ClockTime) -> bool {
        let may = now >= self.next;
        if may {
            self.next = now + Self::INTERVAL;
        }
        may
    }
}

/// Checks that this is a complete heartbeat, sealed with one of the keys and signed with one of the public keys, if there
/// are any.
///
/// # Errors
/// Why a heartbeat is not trusted; `None` if it is not a complete heartbeat, or cannot be opened.
fn check_heartbeat(config: &SubscriberConfig, datagram: &[u8]) -> Result<(), Option<VerificationFailure>> {
    let keys = &config.keys;
    let (header, head) = Header::read(datagram).map_err(|_| None)?;
    if header.kind != Kind::Heartbeat {
        return Err(None);
    }
    let mut bytes = datagram.to_vec();
    let end = match (keys.is_empty(), header.epoch) {
        (true, KeyEpoch::CLEAR) => Some(bytes.len()),
        // It cannot be decrypted. Its stream is followed nevertheless, so that the missing key is reported.
        (true, _) => return (!config.verifies()).then_some(()).ok_or(None),
        (false, _) => keys.open(&mut bytes),
    };
    let body = end.and_then(|end| bytes.get(head..end)).ok_or(None)?;
    Heartbeat::read(body).map_err(|_| None)?;
    #[cfg(feature = "signatures")]
    if config.verifies() {
        return config.signed_by.verify(&datagram[..head], body).map_err(Some);
    }
    Ok(())
}

/// Limit of reported streams, against forged ones.
const MAX_REPORTED: usize = 16;
/// A stream is active if a datagram of it arrived within this time, which is more than two heartbeats.
const ACTIVE_TIME: Duration = Duration::from_millis(2_500);

#[derive(Debug, Default)]
pub(super) struct OtherStreams {
    /// When a datagram of the followed stream last arrived.
    followed_heard_at: ClockTime,
    /// The other stream with the latest datagram, and when that arrived.
    last: Option<(StreamId, ClockTime)>,
    reported: Vec<StreamId>,
    events: VecDeque<SubscriberEvent>,
    verifications: Verifications,
}

impl OtherStreams {
    /// Notes a datagram that arrived on the group.
    #[inline]
    pub(super) fn note(
        &mut self,
        followed: StreamId,
        config: &SubscriberConfig,
        datagram: &[u8],
        sender: SocketAddr,
        now: ClockTime,
    ) {
        let Ok((header, _)) = Header::read(datagram) else { return };
        if header.stream == followed {
            self.followed_heard_at = now;
        } else if (!config.verifies() || self.verifications.may_verify(now))
            && check_heartbeat(config, datagram).is_ok()
        {
            self.record_other(header.stream, sender, now);
        }
    }

    fn record_other(&mut self, stream: StreamId, sender: SocketAddr, now: ClockTime) {
        self.last = Some((stream, now));
        if self.reported.len() < MAX_REPORTED && !self.reported.contains(&stream) {
            self.reported.push(stream);
            self.events.push_back(SubscriberEvent::OtherStream { stream, publisher: sender });
        }
    }

    /// Returns the stream to follow instead: an active one, if the followed stream has ended or was silent for
    /// `silence`.
    pub(super) fn successor(&self, now: ClockTime, silence: Duration, has_ended: bool) -> Option<StreamId> {
        let (stream, at) = self.last?;
        let is_over = has_ended || now >= self.followed_heard_at + silence;
        (is_over && now < at + ACTIVE_TIME).then_some(stream)
    }

    /// Notes that the stream `to` is followed from now on.
    pub(super) fn follow(&mut self, from: StreamId, to: StreamId, now: ClockTime) {
        (self.followed_heard_at, self.last) = (now, None);
        self.reported.retain(|stream| *stream != to);
        self.events.push_back(SubscriberEvent::StreamChanged { from, to });
    }

    #[inline]
    pub(super) fn event(&mut self) -> Option<SubscriberEvent> {
        self.events.pop_front()
    }
}

/// The shortest time between two lookups of unknown interfaces.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(10);

/// The paths of a stream, in the order in which they were named.
#[derive(Debug)]
pub(super) struct Paths {
    all: Vec<Path>,
    /// Whether one more path carries what is sent to this host.
    listens: bool,
    /// The earliest time of the next lookup of the interfaces.
    lookup_allowed_at: ClockTime,
}

#[derive(Debug)]
struct Path {
    membership: Membership,
    /// The present index of the interface that it names; `None` if it does not name a single one.
    interface: Option<InterfaceIndex>,
}

impl Paths {
    /// Returns paths with their interfaces' present indexes, and one for this host if the subscriber listens there.
    pub(super) fn new(
        paths: impl IntoIterator<Item = (Membership, Option<InterfaceIndex>)>,
        listens: bool,
    ) -> Self {
        let path = |(membership, interface)| Path { membership, interface };
        Self { all: paths.into_iter().map(path).collect(), listens, lookup_allowed_at: ClockTime(0) }
    }

    pub(super) const fn count(&self) -> u8 {
        self.all.len() as u8 + self.listens as u8
    }

    /// Returns the path of a datagram. An unknown interface may be one that was created again with another index, so
    /// the interfaces are then looked up.
    #[inline]
    pub(super) fn of(&mut self, arrival: &Arrival, now: ClockTime, receiver: &Receiver) -> u8 {
        if self.count() == 1 {
            return 0;
        }
        let Some(group) = arrival.group() else { return self.all.len() as u8 };
        let interface = arrival.interface;
        let mut path = self.find(group, interface);
        if path.is_none() && now >= self.lookup_allowed_at {
            self.lookup_allowed_at = now + LOOKUP_INTERVAL;
            self.refresh_interfaces(&receiver.memberships());
            path = self.find(group, interface);
        }
        let of_the_group = || self.all.iter().position(|path| path.membership.address == group);
        path.or_else(of_the_group).unwrap_or(0) as u8
    }

    fn find(&self, group: GroupAddr, interface: InterfaceIndex) -> Option<usize> {
        let on =
            |interface| move |path: &Path| path.membership.address == group && path.interface == interface;
        self.all.iter().position(on(Some(interface))).or_else(|| self.all.iter().position(on(None)))
    }

    /// Updates the interfaces from the memberships.
    fn refresh_interfaces(&mut self, statuses: &[MembershipStatus]) {
        for path in self.all.iter_mut().filter(|path| path.interface.is_some()) {
            let status = statuses.iter().find(|status| status.membership == path.membership);
            if let Some(on) = status.and_then(|status| status.interfaces.first()) {
                path.interface = Some(on.index);
            }
        }
    }
}

/// Why a subscriber does not receive what it is missing. `Display` writes a sentence without the final period.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StallCause {
    /// The publisher has not sent a unicast datagram to this subscriber. It replies to the first datagram of each
    /// subscriber, so the usual reason is a firewall between them, in either direction.
    Unanswered {
        /// The publisher's address.
        publisher: IpAddr,
    },
    /// A local interface does not accept the publisher's longest packets.
    MtuTooSmall {
        /// The name of the interface.
        interface: String,
        /// Its MTU, in bytes.
        mtu: u32,
        /// The length of the publisher's longest packets, in bytes.
        packet: u32,
    },
    /// No datagram with data has arrived from the publisher, although short ones do.
    OnlyShort {
        /// The publisher's address.
        publisher: IpAddr,
        /// The length of its longest packets, in bytes.
        packet: u32,
    },
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { publisher } => write!(
                f,
                "{publisher} does not answer this subscriber, so nothing can be repaired: a firewall on either \
                 machine or between them may drop their unicast UDP datagrams"
            ),
            Self::MtuTooSmall { interface, mtu, packet } => write!(
                f,
                "the publisher sends packets of up to {packet} bytes, but {interface} accepts at most {mtu}: \
                 longer ones cannot arrive; set the same MTU at both ends and between"
            ),
            Self::OnlyShort { publisher, packet } => write!(
                f,
                "nothing of {publisher} has arrived except short packets: those with data have up to {packet} bytes, which a link \
                 on the way may not carry; publish shorter datagrams, or set the same MTU at both ends and between"
            ),
        }
    }
}

impl Subscriber {
    /// Returns why repairs of missing datagrams do not arrive, if this machine can determine the cause. Returns `None`
    /// if it cannot, or if no publisher has been found. Call it after
    /// [`SubscriberEvent::Stalled`](crate::subscriber::SubscriberEvent::Stalled).
    #[must_use]
    pub fn stall_cause(&self) -> Option<StallCause> {
        let publisher = self.machine.as_ref()?.publisher()?.ip();
        if !self.is_answered() {
            return Some(StallCause::Unanswered { publisher });
        }
        let headers = if publisher.is_ipv4() { 28 } else { 48 };
        let packet = u32::from(self.longest_datagram()?) + headers;
        let memberships = self.receiver.memberships();
        let indexes = memberships.iter().flat_map(|membership| &membership.interfaces).map(|on| on.index);
        let mut interfaces =
            indexes.filter_map(|index| mcast::interface::find(&InterfaceSelector::Index(index)).ok());
        if let Some(narrow) = interfaces.find(|interface| interface.mtu < packet) {
            return Some(StallCause::MtuTooSmall { interface: narrow.name, mtu: narrow.mtu, packet });
        }
        (self.statistics().received == 0).then_some(StallCause::OnlyShort { publisher, packet })
    }
}
