//! A history server and its clients: the machines of both are the real ones, TCP is simulated.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use mcast_sim::{Dice, EventQueue};
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::history::{
    AnswerFrame, AnswerStatus, FrameWriter, HistoryConfig, HistoryContent, HistoryMachine, HistoryRecord,
    HistoryStart, LiveIdentity, Position, RequestedStart,
};
use mcast_stream_proto::side_channel::{
    Admission, AdmissionControl, AdmissionLimits, ClientId, ConnectDecision, SharedPace,
};
use mcast_stream_proto::subscriber::{Item, Message, SubscriberEvent};
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use super::catch_up::Case;
use crate::plan::{MILLISECOND, SECOND};

/// The link of the server, in bytes per second.
pub(super) const LINK: u64 = 125_000_000;
const SLOW_LINK: u64 = 125_000;
const LENGTH: usize = 1_000;
/// The live stream has many datagrams, of which few are passed to subscribers, so that the simulation is fast.
const DATAGRAM_PAUSE: u64 = MILLISECOND;
const DATAGRAMS_PER_MESSAGE: u64 = 200;
/// Connections that the system keeps until they are accepted, and the time to accept one.
const ACCEPT_QUEUE: usize = 4_096;
const ACCEPT_TIME: u64 = 50_000;
/// When a SYN without an answer is repeated, and when connecting fails.
const SYN_REPEATS: [u64; 3] = [SECOND, 2 * SECOND, 4 * SECOND];
const CONNECT_TIMEOUT: u64 = 10 * SECOND;
/// The bytes of a connection that are sent and not taken by the client.
const TCP_WINDOW: usize = 256 << 10;
/// How long a client takes to notice that it needs no more of an answer.
const CHECK_INTERVAL: u64 = 50 * MILLISECOND;
const ABSENCE: u64 = 2 * SECOND;
const CONTENT: Incarnation = Incarnation(7);
const START: u64 = SECOND;
/// A run that takes longer has come to a standstill.
const LONGEST: u64 = 4 * 3_600 * SECOND;

#[derive(Debug)]
enum Happening {
    Datagram,
    Wakes(usize),
    Vanishes(usize),
    /// The number of the connection, and that of the SYN.
    Syn(usize, u64, usize),
    ConnectFails(usize, u64),
    Accept,
    /// The server has received a request: the first message, and the one after the last.
    Request(usize, u64, (u64, u64)),
    Send(usize, u64),
    Arrives(usize, u64, Vec<u8>),
    /// The server notices that the client has closed the connection.
    Closed(usize, u64),
    ServerStops,
}

/// A connection of a subscriber, as both ends see it.
#[derive(Debug, Default)]
struct Connection {
    number: u64,
    is_open: bool,
    client: Option<ClientId>,
    /// The request that waits for the connection.
    request: (u64, u64),
    /// The next message of an answer that is being sent, and the one after its last.
    sending: Option<(u64, u64)>,
    in_flight: usize,
    is_blocked: bool,
}

struct Reader {
    machine: HistoryMachine,
    has_joined: bool,
    is_gone: bool,
    connection: Connection,
    link: u64,
    link_free_at: u64,
    wakes_at: u64,
    /// The next message to deliver.
    next: u64,
    attempts: u64,
    turns: u64,
    finished: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// When each subscriber had everything, after its start.
    pub(super) finished: Vec<u64>,
    pub(super) vanished: usize,
    /// How often each subscriber asked, and how often it was answered.
    pub(super) attempts: Vec<u64>,
    pub(super) turns: Vec<u64>,
    pub(super) connections_per_second: BTreeMap<u64, u64>,
    pub(super) most_connections: usize,
    /// The longest time from publishing to the end of the server's link.
    pub(super) slowest_live: u64,
    pub(super) bytes: u64,
    pub(super) delivered_bytes: u64,
    pub(super) longest_log: u64,
}

impl Outcome {
    /// Returns the time within which this share, in thousandths, has everything.
    pub(super) fn finished_at(&self, part: usize) -> u64 {
        self.finished[(self.finished.len() - 1) * part / 1_000]
    }
}

pub(super) struct SideChannel {
    case: Case,
    now: u64,
    events: EventQueue<u64, Happening>,
    readers: Vec<Reader>,
    dice: Dice,
    published: u64,
    datagrams: u64,
    /// Until when the link of the server is busy.
    link_free_at: u64,
    admission: AdmissionControl,
    pace: SharedPace,
    back_at: u64,
    accept_queue: VecDeque<(usize, u64)>,
    is_accepting: bool,
    unfinished: usize,
    outcome: Outcome,
}

const fn server() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7_768)
}

impl SideChannel {
    pub(super) fn run(case: Case, subscribers: usize) -> Outcome {
        let mut world = Self {
            case,
            now: START,
            events: EventQueue::new(),
            readers: Vec::new(),
            dice: Dice::new(subscribers as u64),
            published: case.messages,
            datagrams: 0,
            link_free_at: 0,
            admission: AdmissionControl::new(AdmissionLimits::HISTORY),
            pace: SharedPace::new(ClockTime(START), SharedPace::RATE),
            back_at: 0,
            accept_queue: VecDeque::new(),
            is_accepting: false,
            unfinished: 0,
            outcome: Outcome::default(),
        };
        for index in 0..subscribers {
            world.add_reader(index);
        }
        world.at(START, Happening::Datagram);
        if let Some(at) = case.restarts_at {
            world.at(START + at, Happening::ServerStops);
        }
        while world.unfinished > 0 {
            let Some((at, happening)) = world.events.pop() else { break };
            assert!(at < LONGEST, "{case:?} does not end: {} are without the log", world.unfinished);
            world.now = at;
            world.happens(happening);
        }
        world.finish()
    }

    fn add_reader(&mut self, index: usize) {
        let is_one_in = |every: Option<usize>| every.is_some_and(|every| index.is_multiple_of(every));
        let at = START + self.dice.below(self.case.spread + 1);
        let config = HistoryConfig::default().with(|config| {
            config.start = Some(HistoryStart::Oldest);
            config.backlog = self.case.backlog;
            config.seed = index as u64;
        });
        self.readers.push(Reader {
            machine: HistoryMachine::new(config, ClockTime(at)),
            has_joined: false,
            is_gone: false,
            connection: Connection::default(),
            link: if is_one_in(self.case.slow) { SLOW_LINK } else { LINK },
            link_free_at: 0,
            wakes_at: at,
            next: 0,
            attempts: 0,
            turns: 0,
            finished: None,
        });
        self.at(at, Happening::Wakes(index));
        if is_one_in(self.case.vanishes) {
            let at = at + self.dice.below(SECOND);
            self.at(at, Happening::Vanishes(index));
        }
        self.unfinished += 1;
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.events.push(at.max(self.now), happening);
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram => self.live_datagram(),
            Happening::Wakes(index) => {
                self.readers[index].wakes_at = u64::MAX;
                self.serve_reader(index);
            }
            Happening::Vanishes(index) => {
                if self.readers[index].finished.is_none() {
                    self.readers[index].finished = Some(0);
                    self.unfinished -= 1;
                }
                self.readers[index].is_gone = true;
                self.close(index);
            }
            Happening::Syn(index, number, turn) => self.syn(index, number, turn),
            Happening::ConnectFails(index, number) => {
                if self.is_current(index, number) {
                    self.fail(index);
                }
            }
            Happening::Accept => self.accept(),
            Happening::Request(index, number, range) => {
                if self.is_current(index, number) && self.readers[index].connection.client.is_some() {
                    self.request(index, range);
                }
            }
            Happening::Send(index, number) => {
                if self.is_current(index, number) {
                    self.send(index);
                }
            }
            Happening::Arrives(index, number, frame) => {
                if self.is_current(index, number) && !self.readers[index].is_gone {
                    self.arrives(index, frame);
                }
            }
            Happening::Closed(index, number) => {
                if self.is_current(index, number) {
                    self.close(index);
                }
            }
            Happening::ServerStops => self.stop_server(),
        }
    }

    fn is_current(&self, index: usize, number: u64) -> bool {
        let connection = &self.readers[index].connection;
        connection.is_open && connection.number == number
    }

    // The live stream.

    fn live_datagram(&mut self) {
        let sent = self.occupy_link(LENGTH);
        self.outcome.slowest_live = self.outcome.slowest_live.max(sent - self.now);
        self.datagrams += 1;
        if self.datagrams.is_multiple_of(DATAGRAMS_PER_MESSAGE) {
            let number = self.published;
            self.published += 1;
            for index in 0..self.readers.len() {
                self.live_message(index, number);
            }
        }
        self.at(self.now + DATAGRAM_PAUSE, Happening::Datagram);
    }

    fn live_message(&mut self, index: usize, number: u64) {
        let (now, reader) = (ClockTime(self.now), &mut self.readers[index]);
        if !reader.has_joined || reader.is_gone {
            return;
        }
        if reader.machine.is_live() {
            return reader.take(number, &number.to_be_bytes());
        }
        let bytes = &number.to_be_bytes();
        let message = Message { incarnation: CONTENT, number: MessageNumber(number), key: None, bytes };
        reader.machine.handle_live_message(now, IDENTITY, &message);
        reader.drain(now);
    }

    /// Returns when these bytes have left the server.
    fn occupy_link(&mut self, bytes: usize) -> u64 {
        self.link_free_at = self.link_free_at.max(self.now) + bytes as u64 * SECOND / LINK;
        self.link_free_at
    }

    // The clients.

    fn serve_reader(&mut self, index: usize) {
        let (now, published) = (ClockTime(self.now), self.published);
        let reader = &mut self.readers[index];
        if reader.is_gone {
            return;
        }
        if !reader.has_joined {
            reader.has_joined = true;
            let message = MessageNumber(published);
            let joined = SubscriberEvent::Joined { incarnation: CONTENT, publisher: server(), message };
            assert_eq!(reader.machine.handle_live_event(now, IDENTITY, joined), None);
        }
        reader.drain(now);
        if reader.machine.is_live() && reader.finished.is_none() {
            reader.finished = Some(self.now);
            self.unfinished -= 1;
        }
        let (number, is_open) = (reader.connection.number, reader.connection.is_open);
        if reader.machine.is_live() && is_open {
            // It needs no more; if it has requested more than that, it takes some time to notice.
            let notices = if reader.connection.sending.is_some() { CHECK_INTERVAL } else { 0 };
            self.at(self.now + notices + self.case.round_trip / 2, Happening::Closed(index, number));
        }
        // The publisher is heard all the time.
        self.readers[index].machine.handle_heartbeat(now);
        if let Some(query) = self.readers[index].machine.poll_query(now) {
            let from = match query.start {
                RequestedStart::At(position) => position.number.0,
                _ => 0,
            };
            self.ask(index, (from, from + u64::from(query.count)));
        }
        let reader = &mut self.readers[index];
        let deadline = reader.machine.poll_timeout().unwrap_or(ClockTime::NEVER).0;
        if deadline < reader.wakes_at {
            reader.wakes_at = deadline;
            self.at(deadline, Happening::Wakes(index));
        }
    }

    /// Sends a request, on a new connection if there is none.
    fn ask(&mut self, index: usize, range: (u64, u64)) {
        let now = self.now;
        let reader = &mut self.readers[index];
        reader.attempts += 1;
        if reader.connection.is_open {
            let number = reader.connection.number;
            return self.at(now + self.case.round_trip / 2, Happening::Request(index, number, range));
        }
        *self.outcome.connections_per_second.entry(now / SECOND).or_default() += 1;
        let number = reader.connection.number + 1;
        reader.connection = Connection { number, is_open: true, request: range, ..Connection::default() };
        self.at(now + self.case.round_trip / 2, Happening::Syn(index, number, 0));
        self.at(now + CONNECT_TIMEOUT, Happening::Syn(index, number, SYN_REPEATS.len() + 1));
    }

    fn syn(&mut self, index: usize, number: u64, turn: usize) {
        let is_pending = self.accept_queue.contains(&(index, number));
        if !self.is_current(index, number) || is_pending || self.readers[index].connection.client.is_some() {
            return;
        }
        if self.now < self.back_at || turn > SYN_REPEATS.len() {
            return self.at(self.now + self.case.round_trip / 2, Happening::ConnectFails(index, number));
        }
        if self.accept_queue.len() >= ACCEPT_QUEUE {
            if let Some(pause) = SYN_REPEATS.get(turn) {
                self.at(self.now + pause, Happening::Syn(index, number, turn + 1));
            }
            return;
        }
        self.accept_queue.push_back((index, number));
        if !self.is_accepting {
            self.is_accepting = true;
            self.at(self.now + ACCEPT_TIME, Happening::Accept);
        }
    }

    fn arrives(&mut self, index: usize, frame: Vec<u8>) {
        let (now, reader) = (ClockTime(self.now), &mut self.readers[index]);
        reader.connection.in_flight -= frame.len();
        if std::mem::take(&mut reader.connection.is_blocked) {
            let number = reader.connection.number;
            self.at(self.now, Happening::Send(index, number));
        }
        let reader = &mut self.readers[index];
        if let Ok(AnswerFrame::Retry { .. }) = AnswerFrame::read(&frame) {
            reader.connection.is_open = false;
        }
        if let Some(id) = reader.machine.request() {
            assert!(reader.machine.wants_frame() && reader.machine.handle_frame(now, id, server(), frame));
        }
        self.serve_reader(index);
    }

    /// The connection of a client has failed.
    fn fail(&mut self, index: usize) {
        self.close(index);
        let reader = &mut self.readers[index];
        if let Some(id) = reader.machine.request() {
            reader.machine.handle_failure(ClockTime(self.now), id);
        }
        self.serve_reader(index);
    }

    fn close(&mut self, index: usize) {
        let connection = &mut self.readers[index].connection;
        connection.is_open = false;
        if let Some(client) = connection.client.take() {
            self.admission.disconnected(client);
        }
    }

    // The server.

    fn accept(&mut self) {
        self.is_accepting = false;
        let Some((index, number)) = self.accept_queue.pop_front() else { return };
        let mut pause = ACCEPT_TIME;
        if self.is_current(index, number) {
            let host = (index / self.case.per_host) as u32;
            let address = Ipv4Addr::from(0x0a01_0000 + host).into();
            match self.admission.connect(ClockTime(self.now), address) {
                ConnectDecision::Admitted(client, replaced) => {
                    if let Some(replaced) = replaced {
                        let of = |reader: &Reader| reader.connection.client == Some(replaced);
                        let replaced = self.readers.iter().position(of).unwrap();
                        self.readers[replaced].connection.client = None;
                        self.fail(replaced);
                    }
                    self.readers[index].connection.client = Some(client);
                    // The greetings; the client sends its request together with its own.
                    let range = self.readers[index].connection.request;
                    self.at(self.now + self.case.round_trip, Happening::Request(index, number, range));
                }
                ConnectDecision::Refused => self.fail(index),
                ConnectDecision::Full(wait) => {
                    self.accept_queue.push_front((index, number));
                    pause = wait.as_nanos() as u64;
                }
            }
            let connections = self.admission.connections();
            self.outcome.most_connections = self.outcome.most_connections.max(connections);
        }
        if !self.accept_queue.is_empty() && !self.is_accepting {
            self.is_accepting = true;
            self.at(self.now + pause, Happening::Accept);
        }
    }

    fn request(&mut self, index: usize, range: (u64, u64)) {
        let Some(client) = self.readers[index].connection.client else { return };
        match self.admission.request(ClockTime(self.now), client) {
            Admission::Now => {
                let reader = &mut self.readers[index];
                reader.turns += 1;
                reader.connection.sending = Some(range);
                self.send(index);
            }
            Admission::Retry(wait) => {
                let frame = AnswerFrame::later(wait);
                self.transmit(index, frame);
                // The server closes it; what it has sent arrives.
                self.admission.disconnected(client);
                self.readers[index].connection.client = None;
            }
        }
    }

    fn transmit(&mut self, index: usize, frame: Vec<u8>) {
        let arrives_at = self.occupy_link(frame.len()) + self.case.round_trip / 2;
        self.outcome.bytes += frame.len() as u64;
        let reader = &mut self.readers[index];
        reader.link_free_at = reader.link_free_at.max(arrives_at) + frame.len() as u64 * SECOND / reader.link;
        reader.connection.in_flight += frame.len();
        let (at, number) = (reader.link_free_at, reader.connection.number);
        self.at(at, Happening::Arrives(index, number, frame));
    }

    /// Sends the next frame of an answer.
    fn send(&mut self, index: usize) {
        let now = ClockTime(self.now);
        let connection = &mut self.readers[index].connection;
        let (Some((from, end)), Some(client)) = (connection.sending, connection.client) else { return };
        if connection.in_flight >= TCP_WINDOW {
            connection.is_blocked = true;
            return;
        }
        let is_over = self.admission.is_over(now, client);
        self.admission.record_progress(now, client);
        if is_over || from >= end.min(self.published) {
            connection.sending = None;
            let is_at_end = !is_over && from < end;
            self.admission.answered(now, client, is_at_end);
            let status = if is_at_end { AnswerStatus::Edge } else { AnswerStatus::More };
            return self.transmit(index, AnswerFrame::end(status, ""));
        }
        let number = connection.number;
        let (frame, next) = records(from, end.min(self.published));
        connection.sending = Some((next, end));
        self.outcome.longest_log = self.outcome.longest_log.max(next * LENGTH as u64);
        let wait = self.pace.spend(now, frame.len());
        self.transmit(index, frame);
        self.at(self.now + wait.as_nanos() as u64, Happening::Send(index, number));
    }

    fn stop_server(&mut self) {
        self.admission = AdmissionControl::new(AdmissionLimits::HISTORY);
        self.back_at = self.now + ABSENCE;
        self.accept_queue.clear();
        for index in 0..self.readers.len() {
            let reader = &mut self.readers[index];
            reader.connection.client = None;
            if reader.connection.is_open && !reader.is_gone {
                self.fail(index);
            }
        }
    }

    fn finish(mut self) -> Outcome {
        let case = self.case;
        let finished = self.readers.iter().filter(|reader| !reader.is_gone);
        self.outcome.finished =
            finished.clone().filter_map(|reader| reader.finished).map(|at| at - START).collect();
        self.outcome.finished.sort_unstable();
        self.outcome.vanished = self.readers.len() - self.outcome.finished.len();
        for reader in finished {
            assert_eq!(reader.next, self.published, "{case:?}");
        }
        self.outcome.attempts = self.readers.iter().map(|reader| reader.attempts).collect();
        self.outcome.turns = self.readers.iter().map(|reader| reader.turns).collect();
        let from_log = |reader: &Reader| {
            let mut statistics = mcast_stream_proto::subscriber::SubscriberStatistics::default();
            reader.machine.statistics().add_to(&mut statistics);
            statistics.from_history * LENGTH as u64
        };
        self.outcome.delivered_bytes = self.readers.iter().map(from_log).sum();
        self.outcome
    }
}

const IDENTITY: LiveIdentity = LiveIdentity { content: CONTENT, own: CONTENT };

impl Reader {
    /// Takes everything that the machine delivers.
    fn drain(&mut self, now: ClockTime) {
        while let Some(step) = self.machine.poll_step(now) {
            match (step.event(), self.machine.item()) {
                // Where an address has too many connections, a server may answer none of its clients for a while.
                (
                    Some(
                        SubscriberEvent::Joined { .. }
                        | SubscriberEvent::HistoryQueued { .. }
                        | SubscriberEvent::HistoryWaiting { .. },
                    ),
                    _,
                ) => {}
                (None, Some(Item::Message(message))) => {
                    assert_eq!(message.number.0, self.next, "a message is missing or comes twice");
                    assert_eq!(message.bytes[..8], self.next.to_be_bytes());
                    self.next += 1;
                }
                (event, item) => panic!("{event:?}, {item:?} at message {}", self.next),
            }
        }
    }

    /// Takes a message of the live stream.
    fn take(&mut self, number: u64, bytes: &[u8]) {
        assert_eq!(number, self.next, "a message is missing or comes twice");
        assert_eq!(bytes, self.next.to_be_bytes());
        self.next += 1;
    }
}

/// Returns a frame with messages from this one on, and the number of the message after it.
fn records(from: u64, end: u64) -> (Vec<u8>, u64) {
    let (mut writer, mut bytes) = (FrameWriter::default(), [0; LENGTH]);
    let mut next = from;
    while next < end {
        bytes[..8].copy_from_slice(&next.to_be_bytes());
        let content = HistoryContent::Message { key: None, bytes: &bytes[..] };
        if !writer.push(&HistoryRecord { first: Position::new(CONTENT, MessageNumber(next)), content }) {
            break;
        }
        next += 1;
    }
    (writer.take().unwrap_or_default(), next)
}
