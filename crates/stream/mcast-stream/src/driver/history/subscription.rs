//! What a subscriber needs of a history; announcements of history servers, and the search for one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mcast::{Destination, Family, InterfaceIndex, InterfaceSelector, Membership, Waker};

use super::reader::{HistoryReader, Job, ReaderConfig, Report};
use crate::driver::clock::Clock;
use crate::driver::error::{StreamError, StreamStep};
use crate::driver::side_channel::NO_INCARNATION;
use crate::driver::{clock, discovery_group};
use crate::history::{
    AnnouncementSchedule, AnswerFrame, HistoryAnnouncement, HistoryConfig, HistoryMachine, HistorySearch,
};
use crate::seal::Keys;
use crate::subscriber::SubscriberEvent;
use crate::wire::{DatagramView, DatagramWriter, Header, IncarnationSalt, KeyEpoch, Kind, StreamId};
use crate::{ClockTime, SubscriberMachine};

/// How long to wait for frames that may arrive at any time.
const POLL: Duration = Duration::from_millis(2);
/// Limit of the events of the live stream that wait to be delivered. Further ones are dropped.
const MAX_EVENTS: usize = 256;

/// The machine that joins a history with the live stream, and the thread that talks to servers.
#[derive(Debug)]
pub(in crate::driver) struct HistorySubscription {
    pub(in crate::driver) machine: HistoryMachine,
    config: ReaderConfig,
    /// Where servers are searched; `None`: on all interfaces.
    interface: Option<InterfaceSelector>,
    searcher: Option<HistorySearcher>,
    reader: Option<HistoryReader>,
    /// The bytes that had arrived at the last look.
    received: u64,
    /// Whether the connection is closed until the next request.
    is_resting: bool,
    /// A report for which the machine has no room yet.
    held: Option<Report>,
    /// Events of the live stream that do not belong to a position.
    events: VecDeque<SubscriberEvent>,
    problem: Option<String>,
}

impl HistorySubscription {
    pub(in crate::driver) fn new(
        config: HistoryConfig,
        servers: Vec<SocketAddr>,
        interface: Option<InterfaceSelector>,
        longest_message: usize,
        now: ClockTime,
    ) -> Self {
        // Subscribers that start together do not come back together.
        let seed = config.seed ^ clock::seed();
        let config = config.with(|config| {
            config.seed = seed;
            config.searches = servers.is_empty();
        });
        Self {
            machine: HistoryMachine::new(config, now),
            config: ReaderConfig { servers, longest_message },
            interface,
            searcher: None,
            reader: None,
            received: 0,
            is_resting: true,
            held: None,
            events: VecDeque::new(),
            problem: None,
        }
    }

    /// Returns why the servers that were asked last could not be used.
    pub(in crate::driver) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Returns the next event of the live stream that does not belong to a position.
    pub(in crate::driver) fn event(&mut self) -> Option<SubscriberEvent> {
        self.events.pop_front()
    }

    /// Takes what the live stream delivers. `datagram` is the one that it handled last.
    pub(in crate::driver) fn take_live(
        &mut self,
        now: ClockTime,
        core: &mut SubscriberMachine,
        datagram: &[u8],
    ) {
        let Self { machine, events, .. } = self;
        machine.take_live(now, core, datagram, |event| {
            if events.len() < MAX_EVENTS {
                events.push_back(event);
            }
        });
    }

    /// Passes what the publisher shows: that it is there, and its history.
    pub(in crate::driver) fn record_publisher(&mut self, now: ClockTime, core: &SubscriberMachine) {
        self.machine.handle_publisher(now, core);
    }

    /// Notes the bytes that have arrived, and gives up a request without any.
    fn watch(&mut self, now: ClockTime) {
        let Some((reader, id)) = self.reader.as_ref().zip(self.machine.request()) else { return };
        let received = reader.received();
        if core::mem::replace(&mut self.received, received) != received {
            self.machine.handle_progress(now, id);
        }
        self.machine.handle_timeout(now);
        if self.machine.request().is_none() {
            reader.set_current(None);
            self.problem = Some("the history server does not answer".to_owned());
        }
    }

    /// Searches servers while the machine needs one.
    fn search(&mut self, now: ClockTime, stream: StreamId, keys: &Keys) -> Result<(), StreamError> {
        if !self.machine.is_searching() {
            self.searcher = None;
            return Ok(());
        }
        let is_due = self.machine.poll_search(now);
        if is_due && self.searcher.as_ref().is_none_or(|searcher| searcher.stream() != stream) {
            // What is known of a server that was found says more.
            self.problem.get_or_insert_with(|| "no history server of this stream was found".to_owned());
            self.searcher = HistorySearcher::join(stream, self.interface.as_ref(), keys.clone())
                .inspect_err(|error| self.problem = Some(format!("cannot search history servers: {error}")))
                .ok();
        }
        let Some(searcher) = &mut self.searcher else { return Ok(()) };
        if is_due {
            searcher.search();
        }
        while let Some(found) = searcher.receive()? {
            match found {
                DiscoveryMessage::Server(server) => self.machine.handle_server(now, server),
                DiscoveryMessage::Search => self.machine.handle_search(now),
            }
        }
        Ok(())
    }

    /// Sends what must be requested, and passes on what has arrived.
    pub(in crate::driver) fn exchange(
        &mut self,
        now: ClockTime,
        stream: Option<StreamId>,
        keys: &Keys,
    ) -> Result<(), StreamError> {
        let Some(stream) = stream else { return Ok(()) };
        self.watch(now);
        if let Some(query) = self.machine.poll_query(now) {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => self.reader.insert(HistoryReader::start(self.config.clone())?),
            };
            reader.ask(Job { query, stream, keys: keys.clone() });
            self.is_resting = false;
        }
        self.search(now, stream, keys)?;
        let Some(reader) = &self.reader else { return Ok(()) };
        let request = self.machine.request();
        reader.set_current(request);
        while let Some(report) = self.held.take().or_else(|| reader.report()) {
            if Some(report.id()) != self.machine.request() {
                // It belongs to a request that was given up.
                continue;
            }
            match report {
                report if !self.machine.wants_frame() => {
                    self.held = Some(report);
                    break;
                }
                Report::Frame(id, server, frame) => {
                    if let Ok(AnswerFrame::Retry { .. }) = AnswerFrame::read(&frame) {
                        self.problem = Some(format!("the history server {server} serves others first"));
                    }
                    // After a malformed frame, the request is given up, and the thread ends the connection.
                    let _ = self.machine.handle_frame(now, id, server, frame);
                }
                Report::Failed(id, why) => {
                    self.problem = Some(why);
                    self.machine.handle_failure(now, id);
                }
            }
        }
        Ok(())
    }

    /// Closes the connection once the live stream is reached, so that the server has a turn for others.
    pub(in crate::driver) fn rest_if_live(&mut self) {
        if let Some(reader) = self.reader.as_ref().filter(|_| self.machine.is_live() && !self.is_resting) {
            reader.rest();
            self.is_resting = true;
        }
    }

    /// Returns the longest time to wait before the next exchange.
    pub(in crate::driver) fn wait(&self, until: impl Fn(ClockTime) -> Duration) -> Duration {
        match self.machine.request().is_some() || self.machine.is_searching() {
            true => POLL,
            false => until(self.machine.poll_timeout().unwrap_or(ClockTime::NEVER)).max(POLL),
        }
    }
}

/// The longest announcement or search, without its seal.
const LONGEST: usize = 128;
const BUFFER: usize = 65_536;

/// How often the thread of an announcer notices that it must end, if nothing wakes it.
const CHECK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// Announces a server until it is dropped: regularly, and when one is searched.
#[derive(Debug)]
pub(super) struct Announcer {
    is_stopped: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    pub(super) fn start(
        stream: StreamId,
        address: SocketAddr,
        keys: Arc<Mutex<Keys>>,
        on: &[InterfaceIndex],
    ) -> Result<Self, StreamError> {
        let group = discovery_group::group(Family::of(address.ip()));
        let places = on.iter().filter_map(|index| Some((group?, InterfaceSelector::Index(*index))));
        let builder = mcast::Sender::builder().follow(true);
        let to = |(address, interface)| Destination { address, interface: Some(interface) };
        let sender = places.clone().map(to).fold(builder, mcast::SenderBuilder::to).build()?;
        let searches = places.map(|(group, interface)| Membership::new(group).on(interface));
        let builder = mcast::Receiver::builder().share_ports(true).follow(true);
        let receiver = builder.join_all(searches).build()?;
        let (is_stopped, waker) = (Arc::new(AtomicBool::new(false)), receiver.waker());
        let must_stop = Arc::clone(&is_stopped);
        let work = move || {
            let (clock, mut buffer) = (Clock::new(), vec![0; BUFFER]);
            let mut schedule = AnnouncementSchedule::new(clock.now(), clock::seed());
            let mut writer = SideWriter::new();
            while !must_stop.load(Ordering::Acquire) {
                let keys = keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if schedule.poll_transmit(clock.now())
                    && let Some(datagram) = writer.announcement(stream, address, &keys)
                {
                    // An interface may be down at present.
                    let _ = sender.send(&datagram);
                }
                let wait =
                    clock.until(schedule.poll_timeout().unwrap_or(ClockTime::NEVER)).min(CHECK_INTERVAL);
                // If the socket fails, the regular announcements continue.
                let Ok(received) = receiver.recv_timeout(&mut buffer, wait) else {
                    std::thread::park_timeout(wait);
                    continue;
                };
                let found = received.and_then(|datagram| {
                    read(&mut datagram.payload().to_vec(), stream, &keys, datagram.arrival().source)
                });
                if found == Some(DiscoveryMessage::Search) {
                    schedule.searched(clock.now());
                }
            }
        };
        let thread = std::thread::Builder::new().name("mcast-announce".to_owned()).spawn(work);
        Ok(Self { is_stopped, waker, thread: Some(thread.map_err(StreamStep::StartThread.failed())?) })
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        // Otherwise it ends a little later.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Writes announcements and searches, sealed if there are keys.
#[derive(Debug)]
struct SideWriter {
    salt: IncarnationSalt,
    count: u64,
}

impl SideWriter {
    fn new() -> Self {
        Self { salt: IncarnationSalt(clock::seed() | 1), count: 0 }
    }

    /// Returns an announcement; `None` if it cannot be sealed.
    fn announcement(&mut self, stream: StreamId, address: SocketAddr, keys: &Keys) -> Option<Vec<u8>> {
        let write = |writer: &mut DatagramWriter<'_>| HistoryAnnouncement { address }.write(writer).ok();
        self.datagram(Kind::History, stream, keys, write)
    }

    /// Returns a search; `None` if it cannot be sealed.
    fn search(&mut self, stream: StreamId, keys: &Keys) -> Option<Vec<u8>> {
        self.datagram(Kind::HistorySearch, stream, keys, |writer| HistorySearch.write(writer).ok())
    }

    fn datagram(
        &mut self,
        kind: Kind,
        stream: StreamId,
        keys: &Keys,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Option<()>,
    ) -> Option<Vec<u8>> {
        self.count += 1;
        let epoch = keys.latest();
        let header =
            Header::new(kind, stream, NO_INCARNATION, self.count).with(|header| header.epoch = epoch);
        let mut bytes = vec![0; LONGEST];
        let mut writer = DatagramWriter::new(&mut bytes, &header).ok()?;
        if epoch != KeyEpoch::CLEAR {
            writer.salt(self.salt).ok()?;
        }
        write(&mut writer)?;
        let length = writer.finish();
        bytes.truncate(length);
        (epoch == KeyEpoch::CLEAR || keys.seal(&header, self.salt, &mut bytes)).then_some(bytes)
    }
}

/// What a datagram on the group of announcements says about the servers of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiscoveryMessage {
    Server(SocketAddr),
    /// Another subscriber searches one.
    Search,
}

/// Searches the history servers of a stream.
#[derive(Debug)]
pub(super) struct HistorySearcher {
    receiver: mcast::Receiver,
    /// One for each interface and family.
    senders: Vec<mcast::Sender>,
    writer: SideWriter,
    stream: StreamId,
    keys: Keys,
    buffer: Vec<u8>,
}

impl HistorySearcher {
    pub(super) fn join(
        stream: StreamId,
        interface: Option<&InterfaceSelector>,
        keys: Keys,
    ) -> Result<Self, StreamError> {
        let receiver = discovery_group::join(None, interface)?;
        let destinations = receiver.memberships().into_iter().flat_map(|each| {
            let joined = each.interfaces.into_iter().filter(|interface| interface.failure.is_none());
            let address = each.membership.address;
            joined.map(move |interface| Destination {
                address,
                interface: Some(InterfaceSelector::Index(interface.index)),
            })
        });
        // Of an interface that cannot be sent on, announcements are received.
        let senders = destinations.filter_map(|to| mcast::Sender::to(to).ok()).collect();
        let (writer, buffer) = (SideWriter::new(), vec![0; BUFFER]);
        Ok(Self { receiver, senders, writer, stream, keys, buffer })
    }

    /// Returns the stream that it searches the servers of.
    pub(super) const fn stream(&self) -> StreamId {
        self.stream
    }

    pub(super) fn search(&mut self) {
        let Some(datagram) = self.writer.search(self.stream, &self.keys) else { return };
        for sender in &self.senders {
            // An interface may be down at present.
            let _ = sender.send(&datagram);
        }
    }

    /// Returns what the datagrams that have arrived say.
    pub(super) fn receive(&mut self) -> Result<Option<DiscoveryMessage>, StreamError> {
        while let Some(datagram) = self.receiver.recv_timeout(&mut self.buffer, Duration::ZERO)? {
            let (source, mut bytes) = (datagram.arrival().source, datagram.payload().to_vec());
            if let Some(found) = read(&mut bytes, self.stream, &self.keys, source) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn read(bytes: &mut [u8], stream: StreamId, keys: &Keys, source: SocketAddr) -> Option<DiscoveryMessage> {
    let view = DatagramView::parse(bytes).ok()?;
    let (header, head) = (view.header, view.head.len());
    let is_sealed = header.epoch != KeyEpoch::CLEAR;
    let is_meant = matches!(header.kind, Kind::History | Kind::HistorySearch) && header.stream == stream;
    if !is_meant || is_sealed == keys.is_empty() {
        return None;
    }
    let end = if is_sealed { keys.open(bytes)? } else { bytes.len() };
    let body = bytes.get(head..end)?;
    if header.kind == Kind::HistorySearch {
        return HistorySearch::read(body).ok().map(|_| DiscoveryMessage::Search);
    }
    let announced = HistoryAnnouncement::read(body).ok()?.address;
    let mut address = if announced.ip().is_unspecified() { source } else { announced };
    address.set_port(announced.port());
    (address.port() != 0).then_some(DiscoveryMessage::Server(address))
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::seal::{Algorithm, GroupSecret};

    #[test]
    fn announcements_and_searches_are_sealed_with_the_stream() {
        let keys = |byte| Keys::one(KeyEpoch(1), GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm));
        let (own, source) = ("0.0.0.0:7768".parse().unwrap(), "10.0.0.1:999".parse().unwrap());
        let of = |keys: &Keys| SideWriter::new().announcement(StreamId(1), own, keys).unwrap();
        let read = |mut bytes: Vec<u8>, keys: &Keys| read(&mut bytes, StreamId(1), keys, source);
        let (clear, found) = (Keys::none(), Some(DiscoveryMessage::Server("10.0.0.1:7768".parse().unwrap())));
        assert_eq!(read(of(&clear), &clear), found);
        assert_eq!(read(of(&keys(1)), &keys(1)), found);
        // Subscribers of a sealed stream ignore forged announcements, and no one else learns the address.
        assert_eq!(read(of(&clear), &keys(1)), None);
        assert_eq!(read(of(&keys(2)), &keys(1)), None);
        assert_eq!(read(of(&keys(1)), &clear), None);
        assert!(!of(&keys(1)).windows(2).any(|bytes| bytes == 7768_u16.to_be_bytes()));
        // Nor does a stranger cause answers.
        let search = |keys: &Keys| SideWriter::new().search(StreamId(1), keys).unwrap();
        assert_eq!(read(search(&clear), &clear), Some(DiscoveryMessage::Search));
        assert_eq!(read(search(&keys(1)), &keys(1)), Some(DiscoveryMessage::Search));
        assert_eq!((read(search(&clear), &keys(1)), read(search(&keys(2)), &keys(1))), (None, None));
        assert!(search(&clear).len() >= of(&clear).len() && search(&keys(1)).len() >= of(&keys(1)).len());
    }
}
