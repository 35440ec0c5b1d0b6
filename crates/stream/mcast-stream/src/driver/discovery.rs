//! Discovery of streams by name: publishers announce them on a well-known group, and subscribers join them by name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast::{Family, Group, GroupAddr, HostAddr, InterfaceSelector, Membership, SourceFilter};

use super::discovery_group::join;
use super::error::StreamError;
use super::subscriber::{Subscriber, SubscriberBuilder};
use super::transmit::Endpoint;
use super::unicast::any_address;
use crate::ClockTime;
use crate::seal::Keys;
use crate::wire::{Announce, AnnouncedPath, DatagramView, Incarnation, KeyEpoch, Kind, MINOR, StreamId};

/// The time between two announcements.
const INTERVAL: Duration = Duration::from_secs(1);
/// Limit of listed streams.
const MAX_STREAMS: usize = 1024;
/// Limit of listed streams that one address announces.
const MAX_STREAMS_PER_SOURCE: usize = 128;

/// A stream that was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnouncedStream {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub stream: StreamId,
    /// Its publisher's incarnation.
    pub incarnation: Incarnation,
    /// The membership of each of its paths, on the interface on which the announcement arrived.
    pub paths: Vec<Membership>,
    /// Where this host receives it, if the announcement was sent to this host rather than to a group: any of its
    /// addresses, and a port.
    pub hosts: Vec<HostAddr>,
    /// The address that serves snapshots.
    pub snapshot: Option<SocketAddr>,
    /// Its configured rate in bytes per second; 0: unlimited.
    pub rate: u64,
    /// Whether it is sealed.
    pub sealed: bool,
    /// The public key of its publisher, if the stream is signed. The announcement is signed with it, which proves that the
    /// announcer has the private key, and not that it is the publisher of this name.
    pub public_key: Option<[u8; 32]>,
    /// The address that announced it.
    pub source: SocketAddr,
}

/// Returns the streams that are announced within this time, sorted by name and then by identity; with `None` for the
/// family, those of both. Sealed streams are listed if `keys` open their announcements.
///
/// Any host can announce a stream in clear. A stream that two addresses announce is therefore listed twice, so that a
/// forged announcement cannot hide the real one, and an address is listed with at most 128 streams.
///
/// # Errors
/// If the group of announcements cannot be joined.
pub fn discover(
    family: impl Into<Option<Family>>,
    interface: Option<InterfaceSelector>,
    keys: &Keys,
    time: Duration,
) -> Result<Vec<AnnouncedStream>, StreamError> {
    let mut all = Vec::new();
    listen(family.into(), interface, keys, time, |found| {
        insert_latest(&mut all, found);
        false
    })?;
    all.sort_by(|a, b| (&a.name, a.stream, a.source).cmp(&(&b.name, b.stream, b.source)));
    Ok(all)
}

/// Adds an announcement to the list. Of each stream of an address, the latest incarnation is kept.
fn insert_latest(all: &mut Vec<AnnouncedStream>, found: AnnouncedStream) {
    let source = found.source.ip();
    let of_source = all.iter().filter(|known| known.source.ip() == source).count();
    let is_same = |known: &AnnouncedStream| known.stream == found.stream && known.source.ip() == source;
    match all.iter().position(is_same) {
        Some(index) if all[index].incarnation <= found.incarnation => all[index] = found,
        None if all.len() < MAX_STREAMS && of_source < MAX_STREAMS_PER_SOURCE => all.push(found),
        _ => {}
    }
}

/// Waits for the announcement of the stream with this name; with `None` for the family, in both families.
///
/// # Errors
/// [`StreamError::NoSuchStream`] when the time is over, and any error of joining the group of announcements.
pub fn find_stream(
    name: &str,
    family: impl Into<Option<Family>>,
    interface: Option<InterfaceSelector>,
    keys: &Keys,
    time: Duration,
) -> Result<AnnouncedStream, StreamError> {
    let mut named = None;
    listen(family.into(), interface, keys, time, |found| {
        if found.name == name {
            named = Some(found);
        }
        named.is_some()
    })?;
    named.ok_or_else(|| StreamError::NoSuchStream(name.to_owned()))
}

/// Waits for the announcement of the stream with this name that is signed with one of these keys, like [`find_stream`].
/// Other announcements of the name are ignored.
///
/// # Errors
/// As [`find_stream`].
#[cfg(feature = "seal")]
pub fn find_signed_stream(
    name: &str,
    family: impl Into<Option<Family>>,
    interface: Option<InterfaceSelector>,
    keys: &Keys,
    signed_by: &crate::sign::PinnedKeys,
    time: Duration,
) -> Result<AnnouncedStream, StreamError> {
    let is_pinned = |key: [u8; 32]| signed_by.contains(&key);
    let mut named = None;
    listen(family.into(), interface, keys, time, |found| {
        if found.name == name && found.public_key.is_some_and(is_pinned) {
            named = Some(found);
        }
        named.is_some()
    })?;
    named.ok_or_else(|| StreamError::NoSuchStream(name.to_owned()))
}

/// Receives announcements until the time is over or `done` returns `true`.
fn listen(
    family: Option<Family>,
    interface: Option<InterfaceSelector>,
    keys: &Keys,
    time: Duration,
    mut done: impl FnMut(AnnouncedStream) -> bool,
) -> Result<(), StreamError> {
    let mut announcements = Announcements::join(family, interface, keys.clone())?;
    let deadline = Instant::now().checked_add(time);
    loop {
        let left =
            deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let Some(found) = announcements.next_timeout(left)? else { return Ok(()) };
        if done(found) || left.is_zero() {
            return Ok(());
        }
    }
}

/// Receives the announcements of streams. Each stream is announced once per second.
#[derive(Debug)]
pub struct Announcements {
    receiver: mcast::Receiver,
    keys: Keys,
    buffer: Vec<u8>,
}

impl Announcements {
    /// Joins the group of announcements; with `None` for the family, those of both families.
    ///
    /// # Errors
    /// If the group of announcements cannot be joined.
    pub fn join(
        family: impl Into<Option<Family>>,
        interface: Option<InterfaceSelector>,
        keys: Keys,
    ) -> Result<Self, StreamError> {
        let receiver = join(family.into(), interface.as_ref())?;
        Ok(Self { receiver, keys, buffer: vec![0; 65_536] })
    }

    /// Returns the next announcement of a stream in clear or, with keys, of a sealed stream that they open; `None` when
    /// the time is over.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn next_timeout(&mut self, time: Duration) -> Result<Option<AnnouncedStream>, StreamError> {
        let deadline = Instant::now().checked_add(time);
        let mut left = time;
        loop {
            let Some(datagram) = self.receiver.recv_timeout(&mut self.buffer, left)? else { return Ok(None) };
            let interface = InterfaceSelector::Index(datagram.interface);
            let (arrival, mut bytes) = (*datagram.arrival(), datagram.payload().to_vec());
            if let Some(mut found) = read(&mut bytes, &self.keys, &interface, arrival.source) {
                if arrival.group().is_some() {
                    found.hosts.clear();
                }
                return Ok(Some(found));
            }
            // Other datagrams on the group do not extend the wait.
            left = deadline.map_or(time, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
        }
    }
}

fn read(
    bytes: &mut [u8],
    keys: &Keys,
    interface: &InterfaceSelector,
    source: SocketAddr,
) -> Option<AnnouncedStream> {
    let view = DatagramView::parse(bytes).ok()?;
    let (header, head) = (view.header, view.head.len());
    let sealed = header.epoch != KeyEpoch::CLEAR;
    if header.kind != Kind::Announce || sealed == keys.is_empty() {
        return None;
    }
    let end = match sealed {
        true => keys.open(bytes)?,
        false => bytes.len(),
    };
    let (head, body) = (bytes.get(..head)?, bytes.get(head..end)?);
    let announce = Announce::read(body).ok()?;
    if announce.public_key.is_some_and(|key| !is_signed_by(*key, head, body)) {
        return None;
    }
    let membership = |place: &AnnouncedPath| {
        let group = Group::new(place.group.ip()).ok()?;
        Some(Membership::new(GroupAddr::new(group, place.group.port())).on(interface.clone()))
    };
    Some(AnnouncedStream {
        name: announce.name.to_owned(),
        stream: header.stream,
        incarnation: header.incarnation,
        paths: announce.paths.iter().flatten().filter_map(membership).collect(),
        hosts: announce.paths.iter().flatten().filter_map(|path| host(path.group)).collect(),
        snapshot: announce.snapshot,
        rate: announce.rate,
        sealed,
        public_key: announce.public_key.copied(),
        source,
    })
}

/// Returns whether a datagram with this head and body is signed with the private key of this public key.
#[cfg(feature = "seal")]
fn is_signed_by(key: [u8; 32], head: &[u8], body: &[u8]) -> bool {
    crate::sign::PublicKey::new(key).pinned().verify(head, body).is_ok()
}

/// Without the feature `seal` signatures are not checked, and [`AnnouncedStream::public_key`] proves nothing.
#[cfg(not(feature = "seal"))]
fn is_signed_by(_: [u8; 32], _: &[u8], _: &[u8]) -> bool {
    true
}

/// Returns where a host receives a stream that is announced for this address.
fn host(address: SocketAddr) -> Option<HostAddr> {
    HostAddr::try_from(address).ok().filter(|host| host.addr().is_unspecified() && host.port != 0)
}

/// What a publisher announces, and when.
#[derive(Debug)]
pub(super) struct Announcement {
    name: String,
    paths: [Option<AnnouncedPath>; 4],
    pub(super) snapshot: Option<SocketAddr>,
    next: ClockTime,
}

impl Announcement {
    /// Announces the groups, and for all hosts the port of the first one at an unspecified address.
    pub(super) fn new(name: String, endpoints: &[Endpoint]) -> Self {
        let mut paths = [None; 4];
        for endpoint in endpoints.iter().rev() {
            let group = match endpoint.is_group() {
                true => endpoint.address,
                false => SocketAddr::new(any_address(endpoint.family()).ip(), endpoint.address.port()),
            };
            if let Some(path) = paths.get_mut(usize::from(endpoint.path)) {
                *path = Some(AnnouncedPath::new(group, None));
            }
        }
        Self { name, paths, snapshot: None, next: ClockTime(0) }
    }

    /// Announces the stream if an announcement is due; returns when the next one is.
    pub(super) fn announce_if_due(
        &mut self,
        machine: &mut crate::PublisherMachine,
        now: ClockTime,
    ) -> ClockTime {
        if now >= self.next {
            self.next = now + INTERVAL;
            let rate = machine.config().rate.fixed().unwrap_or(0);
            let (paths, snapshot, minors) = (self.paths, self.snapshot, (0, MINOR));
            #[cfg(feature = "signatures")]
            let public_key = machine.config().signer.as_ref().map(|signer| signer.public());
            #[cfg(not(feature = "signatures"))]
            let public_key = None;
            let public_key = public_key.as_ref();
            machine.announce(&Announce::new(&self.name).with(|announce| {
                announce.paths = paths;
                announce.snapshot = snapshot;
                announce.rate = rate;
                announce.minors = minors;
                announce.public_key = public_key;
            }));
        }
        self.next
    }
}

/// Announcements are sent once per second, and some may be lost.
const ANNOUNCEMENT_TIMEOUT: Duration = Duration::from_secs(10);

impl Subscriber {
    /// Subscribes to the stream that is announced under this name in clear, with default settings. Waits for its
    /// announcement for up to ten seconds, on every interface. For other settings, use [`find_stream`] and
    /// [`AnnouncedStream::subscriber`].
    ///
    /// ```no_run
    /// use mcast_stream::{Subscriber, subscriber::Item};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut prices = Subscriber::named("prices")?;
    ///     while let Some(item) = prices.next()? {
    ///         match item {
    ///             Item::Message(message) => println!("{}: {:?}", message.number, message.bytes),
    ///             Item::Event(event) => eprintln!("{event:?}"),       // a loss is never silent
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`find_stream`], [`AnnouncedStream::memberships`] and [`SubscriberBuilder::build`].
    pub fn named(name: &str) -> Result<Self, StreamError> {
        find_stream(name, None, None, &Keys::none(), ANNOUNCEMENT_TIMEOUT)?.subscriber()?.build()
    }
}

impl AnnouncedStream {
    /// Returns settings for a subscriber to this stream: its paths, where this host receives it, and its identity. For a sealed stream, add the
    /// [keys](SubscriberBuilder::keys).
    ///
    /// # Errors
    /// As [`memberships`](Self::memberships).
    pub fn subscriber(&self) -> Result<SubscriberBuilder, StreamError> {
        let builder = Subscriber::builder().stream(self.stream);
        let builder = self.hosts.iter().cloned().fold(builder, SubscriberBuilder::listen);
        match self.memberships() {
            Err(_) if !self.hosts.is_empty() => Ok(builder),
            memberships => Ok(memberships?.into_iter().fold(builder, SubscriberBuilder::join)),
        }
    }

    /// Returns the memberships of its paths. Source-specific groups are joined with the address that announced it.
    ///
    /// # Errors
    /// [`StreamError::NoDestination`] if it was announced without a group.
    pub fn memberships(&self) -> Result<Vec<Membership>, StreamError> {
        match self.paths.is_empty() {
            true => Err(StreamError::NoDestination),
            false => Ok(self.paths.iter().map(|path| self.with_its_source(path)).collect()),
        }
    }

    fn with_its_source(&self, path: &Membership) -> Membership {
        match path.address.group.is_source_specific() {
            true => path.clone().from_sources(SourceFilter::Include([self.source.ip()].into())),
            false => path.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn found(stream: u64, incarnation: u32, source: [u8; 4]) -> AnnouncedStream {
        AnnouncedStream {
            name: "prices".into(),
            stream: StreamId(stream),
            incarnation: Incarnation(incarnation),
            paths: Vec::new(),
            hosts: Vec::new(),
            snapshot: None,
            rate: 0,
            sealed: false,
            public_key: None,
            source: (source, 7).into(),
        }
    }

    #[test]
    fn a_forged_announcement_does_not_hide_a_stream() {
        let (real, forger) = ([10, 0, 0, 1], [10, 0, 0, 66]);
        let mut all = Vec::new();
        (0..2_000).for_each(|stream| insert_latest(&mut all, found(stream, u32::MAX, forger)));
        (1..=2).chain([1]).for_each(|incarnation| insert_latest(&mut all, found(5, incarnation, real)));
        let listed: Vec<_> =
            all.iter().filter(|each| each.source.ip() == std::net::IpAddr::from(real)).collect();
        assert_eq!(
            (listed.len(), listed[0].incarnation, all.len()),
            (1, Incarnation(2), MAX_STREAMS_PER_SOURCE + 1)
        );
    }
}
