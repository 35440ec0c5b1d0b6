//! The simulated world: the processes, the links between them, what goes wrong, and a clock that advances from event to
//! event.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mcast_sim::EventQueue;
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::history::HistoryQuery;
use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream_proto::wire::{DatagramWriter, Header, Incarnation, KeyEpoch, Kind, Probe, SubscriberId};

use crate::admission::Clients;
use crate::connection::{Answering, ClientOf};
use crate::feed::{Destination, Feed, STREAM};
use crate::judge;
use crate::link::{RetransmissionTimeout, is_in, traffic_of};
use crate::plan::{BEGIN, ComposedPlan, FeedFault, MILLISECOND, ReaderFault, SECOND, Span, Traffic};
use crate::reader::{Outgoing, Reader, Report, StateRequest};

pub(crate) const FEED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7000);

pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, index as u8 + 1], 9_000 + index as u16))
}

/// Whether a host has this address.
pub(crate) fn exists(address: SocketAddr) -> bool {
    !matches!(address.ip(), IpAddr::V4(ip) if ip.octets()[1] == 9)
}

#[derive(Debug)]
pub(crate) enum Event {
    FeedWakes,
    FeedResumes,
    FeedStarts,
    FeedDies {
        power: bool,
        down: u64,
    },
    FeedClockJumps(i64),
    KeyAdded,
    KeyDropped,
    DiskFull(bool),
    ReaderWakes(usize),
    ReaderResumes(usize),
    ReaderStarts(usize),
    ReaderDies(usize, u64),
    ToFeed(SocketAddr, Vec<u8>),
    ToReader(usize, SocketAddr, u8, Vec<u8>),
    Announcement(usize),
    /// A search for history servers arrives at this subscriber, or at the server.
    Search(Option<usize>),
    /// A client has connected to the server, for this request.
    Greet(ClientOf, u64),
    /// A request arrives at the server.
    Request(ClientOf, HistoryQuery),
    /// The server sends the next frame.
    Serve(Answering),
    Answer(ClientOf, Report),
    /// A request for the state of the publisher arrives, of this subscriber and its life.
    Fetch(usize, u64, StateRequest),
    State(usize, u64, StateRequest, u64),
    /// A stranger at the history server acts.
    Stranger(usize),
    /// A stranger probes the publisher, or a subscriber.
    Probe(Option<usize>, Span, u64),
}

pub(crate) struct World<'p> {
    pub(crate) plan: &'p ComposedPlan,
    pub(crate) now: u64,
    pub(crate) queue: EventQueue<u64, Event>,
    pub(crate) feed: Feed,
    pub(crate) readers: Vec<Reader>,
    feed_wakes_at: u64,
    reader_wakes_at: Vec<u64>,
    /// The number of the last connection to the history server.
    pub(crate) last_connection: u64,
    pub(crate) clients: Clients,
    strangers: u32,
    /// How often in succession each process was due at once again: the publisher, and the subscribers.
    spins: Vec<u32>,
    /// Which subscribers were reading a history when the publisher ended.
    pub(crate) reading_at_exit: Vec<bool>,
    /// Which subscribers a publisher has received something from.
    pub(crate) heard: Vec<bool>,
    pub(crate) violations: Vec<String>,
}

/// A process that is due at once again this often spins.
const SPINS: u32 = 2_000;
/// The shortest time between two runs of a process.
const PAUSE: u64 = 10_000;
/// The length of the state of a publisher, in bytes.
const STATE_LENGTH: usize = 4_000;

fn secret(epoch: u8) -> std::sync::Arc<GroupSecret> {
    GroupSecret::new(&[epoch; 32], Algorithm::Aes128Gcm)
}

/// Returns an altered copy of a datagram that arrives at this time, and how much earlier the copy does.
fn altered(bytes: &[u8], at: u64) -> (u64, Vec<u8>) {
    let mut copy = bytes.to_vec();
    if let Some(last) = copy.last_mut() {
        *last ^= 1;
    }
    (if at.is_multiple_of(2) { 1_000 } else { 0 }, copy)
}

impl<'p> World<'p> {
    /// Simulates a plan; returns what did not hold.
    pub(crate) fn run(plan: &'p ComposedPlan) -> Vec<String> {
        Self::simulate(plan).1
    }

    /// The same; also returns the world at the end.
    pub(crate) fn simulate(plan: &'p ComposedPlan) -> (Self, Vec<String>) {
        let mut world = Self::new(plan);
        world.schedule();
        let horizon = (plan.feed.ends() + plan.feed.linger).max(world.last_fault()) + 120 * SECOND;
        while let Some((at, event)) = world.queue.pop_until(horizon) {
            world.now = at;
            world.happen(event);
            if world.is_over() {
                break;
            }
        }
        let is_interrupted: Vec<_> = world.readers.iter().map(|reader| reader.process.is_some()).collect();
        world.readers.iter_mut().for_each(Reader::kill);
        let violations = judge::judge(&world, &is_interrupted);
        (world, violations)
    }

    fn new(plan: &'p ComposedPlan) -> Self {
        let keys = match plan.feed.sealed {
            true => Keys::one(KeyEpoch(1), secret(1)),
            false => Keys::none(),
        };
        let feed = Feed::new(plan.feed.clone(), keys, plan.seed ^ 0x6665_6564);
        let reader = |(index, reader): (usize, &crate::plan::ReaderPlan)| {
            Reader::new(reader.clone(), index, &feed, plan.seed ^ (index as u64 + 1) << 40)
        };
        let readers: Vec<_> = plan.readers.iter().enumerate().map(reader).collect();
        Self {
            plan,
            now: BEGIN,
            queue: EventQueue::new(),
            feed,
            feed_wakes_at: u64::MAX,
            reader_wakes_at: vec![u64::MAX; readers.len()],
            last_connection: 0,
            clients: Clients::new(plan.feed.crowd),
            spins: vec![0; readers.len() + 1],
            readers,
            strangers: 0,
            reading_at_exit: Vec::new(),
            heard: vec![false; plan.readers.len()],
            violations: Vec::new(),
        }
    }

    fn schedule(&mut self) {
        self.queue.push(BEGIN, Event::FeedStarts);
        for fault in &self.plan.feed.faults {
            match *fault {
                FeedFault::Kill { at, down, power } => self.queue.push(at, Event::FeedDies { power, down }),
                FeedFault::DiskFull((from, to)) => {
                    self.queue.push(from, Event::DiskFull(true));
                    self.queue.push(to, Event::DiskFull(false));
                }
                FeedFault::ClockJump { at, by } => self.queue.push(at, Event::FeedClockJumps(by)),
                FeedFault::Rotate { at, dropped_after } => {
                    self.queue.push(at, Event::KeyAdded);
                    if let Some(after) = dropped_after {
                        self.queue.push(at + after, Event::KeyDropped);
                    }
                }
                FeedFault::Probes(span, interval) => {
                    self.queue.push(span.0, Event::Probe(None, span, interval));
                }
                FeedFault::Stall((_, to)) => self.queue.push(to, Event::FeedResumes),
                FeedFault::Forge(_) => {}
            }
        }
        if let Some(crowd) = self.plan.feed.crowd {
            (0..crowd.strangers).for_each(|index| self.queue.push(crowd.span.0, Event::Stranger(index)));
        }
        for (index, plan) in self.plan.readers.iter().enumerate() {
            self.queue.push(plan.joins, Event::ReaderStarts(index));
            for fault in &plan.faults {
                match *fault {
                    ReaderFault::Kill { at, down } => self.queue.push(at, Event::ReaderDies(index, down)),
                    ReaderFault::Probes(span, interval) => {
                        self.queue.push(span.0, Event::Probe(Some(index), span, interval));
                    }
                    ReaderFault::Stall((_, to)) => self.queue.push(to, Event::ReaderResumes(index)),
                    ReaderFault::Cut(_) | ReaderFault::Without(..) | ReaderFault::PathDown(..) => {}
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let is_done = |reader: &Reader| reader.process.is_none() && reader.lives > 0;
        self.feed.exit.is_some() && self.readers.iter().all(is_done) && self.now > self.last_fault()
    }

    /// When the last fault ends.
    pub(crate) fn last_fault(&self) -> u64 {
        let of_feed = self.plan.feed.faults.iter().map(|fault| match *fault {
            FeedFault::Stall(span)
            | FeedFault::DiskFull(span)
            | FeedFault::Probes(span, _)
            | FeedFault::Forge(span) => span.1,
            FeedFault::Kill { at, down, .. } => at + down,
            FeedFault::ClockJump { at, .. } => at,
            FeedFault::Rotate { at, dropped_after } => at + dropped_after.unwrap_or(0) + SECOND,
        });
        let of_readers = self.plan.readers.iter().flat_map(|reader| {
            reader.faults.iter().map(|fault| match *fault {
                ReaderFault::Cut(span)
                | ReaderFault::Without(_, span)
                | ReaderFault::PathDown(_, span)
                | ReaderFault::Stall(span)
                | ReaderFault::Probes(span, _) => span.1,
                ReaderFault::Kill { at, down } => at + down,
            })
        });
        of_feed.chain(of_readers).max().unwrap_or(0)
    }

    fn feed_is_stalled(&self) -> bool {
        let is_stall = |fault: &FeedFault| matches!(fault, FeedFault::Stall(span) if is_in(*span, self.now));
        self.plan.feed.faults.iter().any(is_stall)
    }

    fn is_forged(&self) -> bool {
        let forges = |fault: &FeedFault| matches!(fault, FeedFault::Forge(span) if is_in(*span, self.now));
        self.plan.feed.faults.iter().any(forges)
    }

    fn reader_is_stalled(&self, index: usize) -> bool {
        let is_stall =
            |fault: &ReaderFault| matches!(fault, ReaderFault::Stall(span) if is_in(*span, self.now));
        self.plan.readers[index].faults.iter().any(is_stall)
    }

    fn stalled_until(&self, index: usize) -> u64 {
        let end = |fault: &ReaderFault| match *fault {
            ReaderFault::Stall(span) if is_in(span, self.now) => Some(span.1),
            _ => None,
        };
        self.plan.readers[index].faults.iter().filter_map(end).max().unwrap_or(self.now)
    }

    fn happen(&mut self, event: Event) {
        match event {
            // It was scheduled for an earlier time since.
            Event::FeedWakes if self.now != self.feed_wakes_at => {}
            Event::FeedWakes | Event::FeedResumes => {
                self.feed_wakes_at = u64::MAX;
                self.run_feed();
            }
            Event::FeedStarts => {
                if self.feed.process.is_none() && self.feed.exit.is_none() {
                    self.feed.start(self.now);
                    match self.feed.process.is_some() {
                        true => self.run_feed(),
                        // A supervisor starts it again.
                        false => self.queue.push(self.now + SECOND, Event::FeedStarts),
                    }
                }
            }
            Event::FeedDies { power, down } => self.kill_feed(power, down),
            Event::FeedClockJumps(by) => self.feed.wall += by,
            Event::KeyAdded => {
                let mut keys = self.feed.keys.clone();
                keys.add(KeyEpoch(2), secret(2));
                for reader in &mut self.readers {
                    if let Some(process) = &mut reader.process {
                        process.core.set_keys(keys.clone());
                    }
                }
                self.feed.dropped_before = self.feed.accepted;
                self.feed.set_keys(self.now, keys);
                self.run_feed();
            }
            Event::KeyDropped => {
                let mut keys = self.feed.keys.clone();
                keys.remove(KeyEpoch(1));
                self.feed.keys = keys;
                self.kill_feed(false, 50 * MILLISECOND);
            }
            Event::DiskFull(is_full) => self.feed.disk.set_free(if is_full { 0 } else { usize::MAX }),
            Event::ReaderWakes(index) if self.now != self.reader_wakes_at[index] => {}
            Event::ReaderWakes(index) | Event::ReaderResumes(index) => {
                self.reader_wakes_at[index] = u64::MAX;
                self.run_reader(index);
            }
            Event::ReaderStarts(index) => {
                let reader = &mut self.readers[index];
                if reader.exit.is_none() && reader.process.is_none() {
                    reader.start(self.now, &self.feed);
                    self.run_reader(index);
                }
            }
            Event::ReaderDies(index, down) => {
                if self.readers[index].process.is_some() {
                    self.readers[index].kill();
                    self.queue.push(self.now + down, Event::ReaderStarts(index));
                }
            }
            Event::ToFeed(from, bytes) => {
                if let Some(process) =
                    self.feed.process.as_mut().filter(|process| process.inbox.len() < 4_000)
                {
                    process.inbox.push_back((from, bytes));
                    if let Some(index) = self.readers.iter().position(|reader| reader.address == from) {
                        self.heard[index] = true;
                    }
                    self.run_feed();
                }
            }
            Event::ToReader(index, from, path, bytes) => {
                self.readers[index].receive(from, path, bytes);
                self.run_reader(index);
            }
            // They wait in its socket.
            Event::Announcement(index) | Event::Search(Some(index)) if self.reader_is_stalled(index) => {
                self.queue.push(self.stalled_until(index), event);
            }
            Event::Announcement(index) => {
                self.readers[index].hear_announcement(self.now);
                self.run_reader(index);
            }
            Event::Search(Some(index)) => {
                self.readers[index].hear_search(self.now);
                self.run_reader(index);
            }
            Event::Search(None) => {
                if let Some(process) = &mut self.feed.process {
                    process.announcements.searched(ClockTime(self.now));
                    let at = process.announcements.poll_timeout().unwrap_or(ClockTime::NEVER).0;
                    self.wake_feed(at.max(self.now));
                }
            }
            Event::Greet(to, id) => self.greet(to, id),
            Event::Request(from, query) => self.serve(from, query),
            Event::Serve(answering) => self.send_frames(answering),
            Event::Answer(to, report) => self.arrive(to, report),
            Event::Fetch(index, life, wanted) => self.fetch(index, life, wanted),
            Event::State(index, life, wanted, number) => {
                if self.readers[index].lives == life {
                    match self.reader_is_stalled(index) {
                        true => self.queue.push(self.stalled_until(index), event),
                        false => {
                            self.readers[index].take_state(self.now, wanted, number);
                            self.run_reader(index);
                        }
                    }
                }
            }
            Event::Stranger(index) => self.move_stranger(index),
            Event::Probe(target, span, interval) => self.probe(target, span, interval),
        }
    }

    /// The publisher serves its state, if it has what is wanted; if not, a subscriber that still wants it asks again.
    fn fetch(&mut self, index: usize, life: u64, wanted: StateRequest) {
        let reader = &mut self.readers[index];
        if reader.lives != life || reader.wanted() != Some(wanted) {
            return;
        }
        let state =
            if self.feed_is_stalled() { None } else { self.feed.state(wanted.incarnation, wanted.messages) };
        let reader = &mut self.readers[index];
        match state {
            Some(number) => {
                let at = reader.link.send_by_tcp(self.now, STATE_LENGTH, RetransmissionTimeout::Open);
                self.queue.push(at, Event::State(index, life, wanted, number));
            }
            None => self.queue.push(self.now + 100 * MILLISECOND, Event::Fetch(index, life, wanted)),
        }
    }

    fn kill_feed(&mut self, power: bool, down: u64) {
        if self.feed.process.is_none() || !self.feed.is_to_continue() {
            return;
        }
        match power {
            true => {
                self.feed.process = None;
                self.feed.disk.crash();
            }
            // Half of the processes are killed while they write.
            false => self.feed.kill(self.now, (self.now / MILLISECOND).is_multiple_of(2)),
        }
        self.close_connections(power);
        self.queue.push(self.now + down, Event::FeedStarts);
    }

    fn run_feed(&mut self) {
        if self.feed_is_stalled() {
            return;
        }
        let Some(process) = &self.feed.process else { return };
        let had_process = process.started;
        self.announce();
        let sent = self.feed.run(self.now);
        self.check_settled();
        if self.feed.process.is_none() && self.feed.exit.is_some() {
            self.reading_at_exit = self.readers.iter().map(Reader::is_reading).collect();
        }
        for (to, bytes) in sent {
            let traffic = traffic_of(&bytes).unwrap_or(Traffic::Data);
            let is_forged = self.is_forged() && traffic == Traffic::Data;
            for index in 0..self.readers.len() {
                let reader = &mut self.readers[index];
                let (is_for, path) = match to {
                    Destination::Group(path) => (!reader.link.is_path_down(self.now, path), path),
                    Destination::One(address) => (reader.address == address, 0),
                };
                if is_for && reader.process.is_some() {
                    for at in reader.link.deliver(self.now, traffic, bytes.len()) {
                        if is_forged {
                            let (earlier, altered) = altered(&bytes, at);
                            self.queue.push(at - earlier, Event::ToReader(index, FEED, path, altered));
                        }
                        self.queue.push(at, Event::ToReader(index, FEED, path, bytes.clone()));
                    }
                }
            }
        }
        if self.feed.process.is_none() && self.feed.exit.is_none() && had_process > 0 {
            // A supervisor starts it again.
            self.feed.disk.kill();
            self.queue.push(self.now + SECOND, Event::FeedStarts);
        }
        let due = self.feed.wakes_at(self.now);
        let at = self.pause(0, due);
        self.wake_feed(at);
    }

    /// Returns when to run a process again that is due at this time; notices one that is always due.
    fn pause(&mut self, process: usize, due: u64) -> u64 {
        let spins = &mut self.spins[process];
        *spins = if due <= self.now { *spins + 1 } else { 0 };
        match *spins {
            0..SPINS => due.max(self.now + PAUSE),
            spins => {
                if spins == SPINS {
                    let why = process.checked_sub(1).map(|index| self.readers[index].due_times());
                    self.violations.push(format!("process {process} spins at {}: {why:?}", self.now));
                }
                due.max(self.now + 20 * MILLISECOND)
            }
        }
    }

    /// What is settled was acknowledged by each of the named subscribers.
    fn check_settled(&mut self) {
        let (Some(acks), Some(process)) = (self.plan.feed.acks, &self.feed.process) else { return };
        // What is known of acknowledgements is not synced.
        let restarts = |fault: &FeedFault| matches!(fault, FeedFault::Kill { .. } | FeedFault::Rotate { .. });
        if self.plan.feed.faults.iter().any(restarts) || !self.violations.is_empty() {
            return;
        }
        let Some(progress) = process.machine.ack_progress().filter(|_| acks.blocks) else { return };
        for (index, reader) in self.readers.iter().take(acks.named).enumerate() {
            let has = if acks.processed { reader.processed } else { reader.audit.most };
            if progress.settled.0 > has && progress.unacknowledged == 0 {
                let (settled, now) = (progress.settled, self.now);
                self.violations.push(format!("{settled} are settled at {now}, subscriber {index} has {has}"));
            }
        }
    }

    fn wake_feed(&mut self, at: u64) {
        if at < self.feed_wakes_at {
            self.feed_wakes_at = at;
            self.queue.push(at, Event::FeedWakes);
        }
    }

    fn announce(&mut self) {
        let Some(process) = &mut self.feed.process else { return };
        if !process.announcements.poll_transmit(ClockTime(self.now)) {
            return;
        }
        for index in 0..self.readers.len() {
            for at in self.readers[index].link.send(self.now, Traffic::Announcements, false) {
                self.queue.push(at, Event::Announcement(index));
            }
        }
    }

    pub(crate) fn run_reader(&mut self, index: usize) {
        if self.reader_is_stalled(index) {
            return;
        }
        let delivered = self.readers[index].audit.delivered_at.len();
        let out = self.readers[index].run(self.now);
        // An application that needs no time is due again after each message.
        if self.readers[index].audit.delivered_at.len() > delivered {
            self.spins[index + 1] = 0;
        }
        for outgoing in out {
            match outgoing {
                Outgoing::Datagram(to, bytes) => self.pass(index, to, bytes),
                Outgoing::Search => self.pass_search(index),
                Outgoing::Fetch(wanted) => {
                    let life = self.readers[index].lives;
                    let link = &mut self.readers[index].link;
                    let at = link.send_by_tcp(self.now, 0, RetransmissionTimeout::Opening);
                    self.queue.push(at, Event::Fetch(index, life, wanted));
                }
                Outgoing::Request(query) => self.request(index, query),
            }
        }
        let due = self.readers[index].wakes_at();
        let at = self.pause(index + 1, due);
        if at < self.reader_wakes_at[index] {
            self.reader_wakes_at[index] = at;
            self.queue.push(at, Event::ReaderWakes(index));
        }
    }

    fn pass(&mut self, index: usize, to: SocketAddr, bytes: Vec<u8>) {
        let traffic = traffic_of(&bytes).unwrap_or(Traffic::Statuses);
        let from = self.readers[index].address;
        self.readers[index].feedback += 1;
        let arrivals = self.readers[index].link.send(self.now, traffic, true);
        for at in arrivals {
            if to == FEED {
                self.queue.push(at, Event::ToFeed(from, bytes.clone()));
            } else if let Some(other) = self.readers.iter().position(|reader| reader.address == to) {
                for at in self.readers[other].link.deliver(at, traffic, bytes.len()) {
                    self.queue.push(at, Event::ToReader(other, from, 0, bytes.clone()));
                }
            }
        }
    }

    /// Passes a search to the server and to the other subscribers.
    fn pass_search(&mut self, index: usize) {
        for at in self.readers[index].link.send(self.now, Traffic::Announcements, true) {
            self.queue.push(at, Event::Search(None));
            for other in (0..self.readers.len()).filter(|other| *other != index) {
                for at in self.readers[other].link.send(at, Traffic::Announcements, false) {
                    self.queue.push(at, Event::Search(Some(other)));
                }
            }
        }
    }

    /// A stranger sends a probe from an address that nobody has.
    fn probe(&mut self, target: Option<usize>, span: Span, interval: u64) {
        self.strangers += 1;
        let number = self.strangers;
        let incarnation = match &self.feed.process {
            Some(process) => process.machine.config().incarnation,
            None => Incarnation(101),
        };
        let header = Header::new(Kind::Probe, STREAM, incarnation, 1);
        let mut bytes = vec![0; 256];
        let id = SubscriberId(0x7374_7261_0000_0000 | u64::from(number));
        let written = DatagramWriter::new(&mut bytes, &header).and_then(|mut writer| {
            writer.subscriber(id)?;
            Probe::new(self.now, mcast_stream_proto::wire::AddressToken(0), id).write(&mut writer)?;
            Ok(writer.finish())
        });
        bytes.truncate(written.unwrap_or(0));
        let from = SocketAddr::from(([10, 9, (number >> 8) as u8, number as u8], 5_000));
        match target {
            None => self.queue.push(self.now, Event::ToFeed(from, bytes)),
            Some(index) => self.queue.push(self.now, Event::ToReader(index, from, 0, bytes)),
        }
        if self.now + interval < span.1 {
            self.queue.push(self.now + interval, Event::Probe(target, span, interval));
        }
    }
}
