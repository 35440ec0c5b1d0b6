//! A subscriber's process: its machine, its history, the client of history servers, and its application.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_stream_proto::history::{
    AnswerFrame, HistoryConfig, HistoryMachine, HistoryQuery, HistoryStart, Position,
};
use mcast_stream_proto::sign::PinnedKeys;
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{
    Item, LocalRepair, OnLoss, Policy, Start, SubscriberConfig, SubscriberEvent,
};
use mcast_stream_proto::wire::{Incarnation, MessageNumber, SubscriberId};
use mcast_stream_proto::{ClockTime, Target};

use crate::audit::Audit;
use crate::connection::Connection;
use crate::feed::{Destination, Feed, STREAM, name_of};
use crate::link::{Link, SendBuffer};
use crate::plan::{Begin, Gaps, MILLISECOND, ReaderPlan, SECOND};
use crate::signer;

/// The capacity of its socket, in datagrams.
const INBOX: usize = 2_000;
/// How many datagrams it keeps at most.
const WINDOW: usize = 1_024;
/// How long a start in the past waits for a server.
/// A time in which the process did not run counts as a quarter of a second.
const START_TIMEOUT: u64 = 14 * SECOND;
/// How long a client waits for each step of a server.
const TIMEOUT: u64 = 10 * SECOND;

/// The client of history servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Client {
    Idle,
    /// The request is under way.
    Asking {
        id: u64,
        until: u64,
    },
}

#[derive(Debug)]
pub(crate) enum Report {
    Frame(u64, Vec<u8>),
    /// Some bytes of a frame have arrived.
    Part(u64),
    Failed(u64),
    /// The server has closed the connection.
    Closed,
}

/// How a subscriber ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderExit {
    pub(crate) at: u64,
    /// Whether its exit status is 0.
    pub(crate) is_success: bool,
}

pub(crate) struct Reader {
    pub(crate) plan: ReaderPlan,
    pub(crate) index: usize,
    pub(crate) address: SocketAddr,
    pub(crate) process: Option<Process>,
    pub(crate) link: Link,
    pub(crate) audit: Audit,
    pub(crate) exit: Option<ReaderExit>,
    pub(crate) lives: u64,
    /// When a history server answered it for the first time.
    pub(crate) answered_at: Option<u64>,
    /// The first number that no process of it has processed.
    pub(crate) processed: u64,
    /// The ids of its former processes.
    pub(crate) former: Vec<SubscriberId>,
    /// The datagrams that it has sent, and those that it has received.
    pub(crate) feedback: u64,
    pub(crate) received: u64,
    seed: u64,
}

pub(crate) struct Process {
    pub(crate) core: SubscriberMachine,
    history: Option<HistoryMachine>,
    /// Events of the live stream that do not belong to a position.
    events: VecDeque<SubscriberEvent>,
    is_joining: bool,
    pub(crate) client: Client,
    pub(crate) connection: Option<Connection>,
    reports: VecDeque<Report>,
    /// The request of whose answer bytes have arrived.
    has_part: Option<u64>,
    pub(crate) inbox: VecDeque<(SocketAddr, u8, Vec<u8>)>,
    control: SendBuffer,
    unprocessed: VecDeque<Position>,
    /// When the application has processed the first of these.
    processes_at: u64,
    started: u64,
    /// Whether a server has answered a request.
    is_answered: bool,
    /// The state that was asked for last.
    wanted: Option<StateRequest>,
    has_asked: bool,
}

/// A state of this incarnation, with this many messages at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateRequest {
    pub(crate) incarnation: Incarnation,
    pub(crate) messages: u64,
}

/// What a process sends.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Datagram(SocketAddr, Vec<u8>),
    /// A request to the history server; the connection is opened if it is not.
    Request(HistoryQuery),
    /// A search for history servers.
    Search,
    /// A request for the state of the publisher.
    Fetch(StateRequest),
}

impl Reader {
    pub(crate) fn new(plan: ReaderPlan, index: usize, feed: &Feed, seed: u64) -> Self {
        Self {
            link: Link::new(plan.clone(), seed ^ 0x6c69_6e6b),
            audit: Audit::new(&plan, &feed.plan, feed.bases.clone()),
            address: crate::world::address(index),
            plan,
            index,
            process: None,
            exit: None,
            lives: 0,
            answered_at: None,
            processed: 0,
            former: Vec::new(),
            feedback: 0,
            received: 0,
            seed,
        }
    }

    pub(crate) fn start(&mut self, now: u64, feed: &Feed) {
        let (wall, keys, feed_seed, feed) = (feed.wall, &feed.keys, feed.seed, &feed.plan);
        self.lives += 1;
        self.audit.joined_at = None;
        let begin = match (self.lives, self.audit.cursor) {
            (1, _) => self.plan.begin,
            (_, Some(cursor)) if self.plan.uses_history() => Begin::Resume(cursor),
            _ if self.plan.uses_history() => self.plan.begin,
            _ => self.plan.begin,
        };
        match begin {
            // The application had processed and stored all that it was given.
            Begin::Resume(number) if self.lives > 1 => self.processed = self.processed.max(number),
            _ if self.lives > 1 => self.audit.start_again(begin),
            _ => {}
        }
        // The first publisher's incarnation stands for all that continue it.
        let content = Incarnation(101);
        let start = match begin {
            Begin::Live | Begin::Snapshot => None,
            Begin::Oldest => Some(HistoryStart::Oldest),
            Begin::Number(number) => Some(HistoryStart::Number(MessageNumber(number))),
            Begin::Time(time) => Some(HistoryStart::Time((time as i64 + wall) as u64 / MILLISECOND)),
            Begin::Resume(number) => Some(HistoryStart::At(Position::new(content, MessageNumber(number)))),
        };
        let seed = self.seed ^ self.lives << 20;
        let is_named = feed.acks.is_some_and(|acks| self.index < acks.named);
        // It has the new key before the publisher signs with it.
        let signed_by = if feed.signed { signer::pinned(feed_seed) } else { PinnedKeys::none() };
        let core_start = match start {
            Some(HistoryStart::Oldest | HistoryStart::Number(_) | HistoryStart::At(_)) => Start::Oldest,
            _ if begin == Begin::Snapshot => Start::Snapshot,
            _ => Start::Now,
        };
        let on_loss = if begin == Begin::Snapshot { OnLoss::Snapshot } else { OnLoss::Continue };
        let config = SubscriberConfig::new(STREAM).with(|config| {
            config.start = core_start;
            config.policy = match self.plan.gaps {
                Gaps::Reliable => Policy::Reliable(on_loss),
                Gaps::Deadline(time) => Policy::Deadline(Duration::from_nanos(time)),
                Gaps::BestEffort => Policy::BestEffort(Duration::from_millis(1)),
                Gaps::Latest => Policy::Latest,
            };
            config.paths = feed.paths;
            config.mute = feed.one_way;
            config.signed_by = signed_by;
            config.window = WINDOW;
            config.unix_offset = u64::try_from(1_700_000_000 * SECOND as i64 + wall).ok();
            config.name = is_named.then(|| name_of(self.index));
            config.keys = keys.clone();
            config.repair_for_others = self
                .plan
                .repairs_for_others
                .then_some(LocalRepair { bytes: LocalRepair::BYTES, seed: seed ^ 1 });
            config.has_history = self.plan.uses_history();
            config.seed = seed;
        });
        let history = self.plan.uses_history().then(|| {
            let config = HistoryConfig::default().with(|config| {
                config.start = start;
                config.heal = self.plan.heals;
                config.searches = true;
                // Acknowledgements count by name.
                config.processed_since = self.audit.unbroken_since().filter(|_| is_named).map(MessageNumber);
                config.seed = seed;
            });
            HistoryMachine::new(config, ClockTime(now))
        });
        let core = SubscriberMachine::new(config, ClockTime(now));
        self.process = Some(Process {
            core,
            is_joining: history.as_ref().is_some_and(|history| !history.is_live()),
            history,
            events: VecDeque::new(),
            client: Client::Idle,
            connection: None,
            reports: VecDeque::new(),
            has_part: None,
            inbox: VecDeque::new(),
            control: SendBuffer::of(1),
            unprocessed: VecDeque::new(),
            processes_at: u64::MAX,
            started: now,
            is_answered: false,
            wanted: None,
            has_asked: false,
        });
    }

    /// Takes the state of the publisher, if it is what was asked for last.
    pub(crate) fn take_state(&mut self, now: u64, wanted: StateRequest, number: u64) {
        let Some(process) = self.process.as_mut().filter(|process| process.wanted == Some(wanted)) else {
            return;
        };
        process.wanted = None;
        self.audit.state(now, wanted.incarnation, number);
        process.core.resume(MessageNumber(number));
    }

    /// What state it waits for.
    pub(crate) fn wanted(&self) -> Option<StateRequest> {
        self.process.as_ref()?.wanted
    }

    /// Whether its application is given messages of a history.
    pub(crate) fn is_reading(&self) -> bool {
        let history = self.process.as_ref().and_then(|process| process.history.as_ref());
        history.is_some_and(|history| !history.is_idle())
    }

    /// Ends the process without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            self.former.push(process.core.id());
        }
    }

    /// Takes a datagram that arrives at its socket.
    pub(crate) fn receive(&mut self, from: SocketAddr, path: u8, bytes: Vec<u8>) {
        self.received += 1;
        if let Some(process) = self.process.as_mut().filter(|process| process.inbox.len() < INBOX) {
            process.inbox.push_back((from, path, bytes));
        }
    }

    /// Hears of the history server.
    pub(crate) fn hear_announcement(&mut self, now: u64) {
        let history = self.process.as_mut().and_then(|process| process.history.as_mut());
        if let Some(history) = history.filter(|history| history.is_searching()) {
            history.handle_server(ClockTime(now), crate::world::FEED);
        }
    }

    /// Hears that another subscriber searches the history server.
    pub(crate) fn hear_search(&mut self, now: u64) {
        let history = self.process.as_mut().and_then(|process| process.history.as_mut());
        if let Some(history) = history.filter(|history| history.is_searching()) {
            history.handle_search(ClockTime(now));
        }
    }

    /// Does what is due; returns what to send.
    pub(crate) fn run(&mut self, now: u64) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let Self { process: Some(process), audit, plan, processed, answered_at, .. } = self else {
            return out;
        };
        let failures = audit.history_failed.len();
        process.process_messages(now, plan, processed);
        process.receive(now, audit, plan);
        process.read_history(now, audit, plan, &mut out);
        process.step_all(now, audit, plan, &[]);
        process.send(now, &mut out);
        process.step_all(now, audit, plan, &[]);
        if process.is_answered {
            answered_at.get_or_insert(now);
        }
        if process.core.kept() > WINDOW {
            audit.violations.push(format!("it keeps {} datagrams at {now}", process.core.kept()));
        }
        let is_start = audit.joined_at.is_none_or(|at| at == now) && !process.is_answered;
        if audit.history_failed.len() > failures
            && is_start
            && plan.awake(process.started, now) < START_TIMEOUT
        {
            audit.violations.push(format!("its start gives up after {} ns", now - process.started));
        }
        // The application ends once it has processed everything.
        if process.is_over() && process.unprocessed.is_empty() {
            self.leave(now, &mut out);
        }
        out
    }

    fn leave(&mut self, now: u64, out: &mut Vec<Outgoing>) {
        let Some(mut process) = self.process.take() else { return };
        // What it has processed is acknowledged before it ends.
        process.core.leave(ClockTime(now));
        process.send(now, out);
        let statistics = process.statistics();
        let lost = self.audit.lost_messages();
        // The counters are those of the last process.
        if self.lives == 1
            && (statistics.lost_messages != lost || statistics.unknown_losses != self.audit.unknown)
        {
            self.audit.violations.push(format!(
                "its counters show {} lost and {} unknown, its events {lost} and {}",
                statistics.lost_messages, statistics.unknown_losses, self.audit.unknown
            ));
        }
        if self.lives == 1 && statistics.messages != self.audit.delivered {
            let (counted, delivered) = (statistics.messages, self.audit.delivered);
            self.audit.violations.push(format!("it counts {counted} messages, {delivered} were delivered"));
        }
        let audit = &mut self.audit;
        if self.lives == 1
            && !matches!(self.plan.begin, Begin::Live | Begin::Snapshot)
            && !process.is_answered
            && audit.unknown > 0
            && audit.history_failed.is_empty()
        {
            audit.violations.push("no server answered its start, which is not reported".to_owned());
        }
        let is_success = statistics.lost_messages == 0 && statistics.unknown_losses == 0;
        self.former.push(process.core.id());
        self.exit = Some(ReaderExit { at: now, is_success });
    }

    /// Returns what it waits for, for messages: the live stream, the history, its client, and the application.
    pub(crate) fn due_times(&self) -> Option<(u64, u64, Client, u64)> {
        let process = self.process.as_ref()?;
        let history = process
            .history
            .as_ref()
            .map_or(u64::MAX, |history| history.poll_timeout().unwrap_or(ClockTime::NEVER).0);
        Some((
            process.core.poll_timeout().unwrap_or(ClockTime::NEVER).0,
            history,
            process.client,
            process.processes_at,
        ))
    }

    pub(crate) fn wakes_at(&self) -> u64 {
        let Some(process) = &self.process else { return u64::MAX };
        let history = process.history.as_ref().filter(|_| process.is_joining);
        let client = match process.client {
            _ if !process.is_joining => u64::MAX,
            Client::Asking { until, .. } => until,
            Client::Idle => u64::MAX,
        };
        let history =
            history.map_or(u64::MAX, |history| history.poll_timeout().unwrap_or(ClockTime::NEVER).0);
        process
            .core
            .poll_timeout()
            .unwrap_or(ClockTime::NEVER)
            .0
            .min(history)
            .min(client)
            .min(process.processes_at)
    }
}

impl Process {
    fn is_over(&self) -> bool {
        let is_end_confirmed = self.core.is_end_confirmed();
        match &self.history {
            None => is_end_confirmed,
            Some(history) => history.has_ended() || is_end_confirmed && history.is_idle(),
        }
    }

    fn statistics(&self) -> mcast_stream_proto::subscriber::SubscriberStatistics {
        let mut statistics = self.core.statistics();
        if let Some(history) = &self.history {
            history.statistics().add_to(&mut statistics);
        }
        statistics
    }

    /// Reads its socket.
    fn receive(&mut self, now: u64, audit: &mut Audit, plan: &ReaderPlan) {
        while let Some((from, path, bytes)) = self.inbox.pop_front() {
            self.core.handle_datagram(ClockTime(now), path, from, &bytes);
            self.step_all(now, audit, plan, &bytes);
        }
    }

    /// Takes what the live stream delivers: to the history while that is read, and else to the application.
    fn step_all(&mut self, now: u64, audit: &mut Audit, plan: &ReaderPlan, bytes: &[u8]) {
        if self.is_joining {
            return self.take_live(now, bytes);
        }
        let mut wanted = None;
        while let Some(step) = self.core.poll_step(ClockTime(now), bytes) {
            match (step.event(), &mut self.history) {
                (Some(event), Some(history)) => {
                    if let Some(event) = history.handle_event(ClockTime(now), &mut self.core, event) {
                        audit.event(now, &event);
                    }
                    self.is_joining = !history.is_live();
                    if self.is_joining {
                        return self.take_live(now, bytes);
                    }
                }
                _ => {
                    let item = self.core.item(&step, bytes);
                    if let Item::Event(SubscriberEvent::SnapshotWanted { message }) = item {
                        wanted = Some(message.0);
                    }
                    let position = deliver(now, audit, item);
                    self.record_delivered(now, plan, position);
                }
            }
            if let Some(messages) = wanted.take() {
                let incarnation = audit.incarnation();
                self.wanted = Some(StateRequest { incarnation, messages });
                self.has_asked = false;
            }
        }
    }

    fn take_live(&mut self, now: u64, bytes: &[u8]) {
        let Some(history) = &mut self.history else { return };
        let events = &mut self.events;
        history.take_live(ClockTime(now), &mut self.core, bytes, |event| events.push_back(event));
    }

    /// Exchanges with the history server, and delivers what is there.
    fn read_history(&mut self, now: u64, audit: &mut Audit, plan: &ReaderPlan, out: &mut Vec<Outgoing>) {
        let time = ClockTime(now);
        while self.is_joining {
            self.exchange(now, out);
            if let Some(event) = self.events.pop_front() {
                audit.event(now, &event);
                continue;
            }
            let Some(history) = &mut self.history else { return };
            let step = history.poll_step(time);
            self.core.join_history(time, history.account());
            self.is_joining = step.is_some() || !history.is_live();
            let Some(step) = step else {
                self.take_live(now, &[]);
                if self.events.is_empty() {
                    return;
                }
                self.is_joining = true;
                continue;
            };
            let item = match (step.event(), history.item()) {
                (Some(event), _) => Item::Event(event),
                (None, Some(item)) => item,
                (None, None) => {
                    audit.violations.push(format!("a step of the history has no item at {now}"));
                    return;
                }
            };
            let position = deliver(now, audit, item);
            self.record_delivered(now, plan, position);
        }
    }

    fn exchange(&mut self, now: u64, out: &mut Vec<Outgoing>) {
        let time = ClockTime(now);
        let Some(history) = &mut self.history else { return };
        history.handle_publisher(time, &self.core);
        if let Some(id) = self.has_part.take() {
            history.handle_progress(time, id);
        }
        history.handle_timeout(time);
        if let Client::Asking { id, .. } = self.client
            && history.request() != Some(id)
        {
            // The machine has given it up, and with it the connection.
            (self.client, self.connection) = (Client::Idle, None);
        }
        if let Some(query) = history.poll_query(time) {
            out.push(Outgoing::Request(query));
            self.client = Client::Asking { id: query.id, until: now + TIMEOUT };
        }
        if history.poll_search(time) {
            out.push(Outgoing::Search);
        }
        match self.client {
            Client::Asking { id, until } if now >= until => {
                self.reports.push_back(Report::Failed(id));
                (self.client, self.connection) = (Client::Idle, None);
            }
            _ => {}
        }
        if history.is_live() {
            self.connection = None;
        }
        while history.wants_frame()
            && let Some(report) = self.reports.pop_front()
        {
            match report {
                Report::Frame(id, frame) => {
                    let is_end = matches!(AnswerFrame::read(&frame), Ok(AnswerFrame::End { .. }));
                    let is_away = matches!(AnswerFrame::read(&frame), Ok(AnswerFrame::Retry { .. }));
                    if let Client::Asking { id: of, until } = &mut self.client
                        && *of == id
                    {
                        *until = now + TIMEOUT;
                    }
                    if is_end && matches!(self.client, Client::Asking { id: of, .. } if of == id) {
                        self.client = Client::Idle;
                    }
                    self.is_answered |= !is_away;
                    history.handle_frame(time, id, crate::world::FEED, frame);
                }
                Report::Part(_) | Report::Closed => {}
                Report::Failed(id) => {
                    if matches!(self.client, Client::Asking { id: of, .. } if of == id) {
                        self.client = Client::Idle;
                    }
                    history.handle_failure(time, id);
                }
            }
        }
    }

    /// Takes what arrives on its connection.
    pub(crate) fn take_report(&mut self, report: Report) {
        match (report, self.client) {
            (Report::Part(id), _) => self.has_part = Some(id),
            (Report::Closed, client) => {
                self.connection = None;
                if let Client::Asking { id, .. } = client {
                    self.reports.push_back(Report::Failed(id));
                }
            }
            (Report::Failed(id), _) => {
                self.connection = None;
                self.reports.push_back(Report::Failed(id));
            }
            (report @ Report::Frame(..), _) => self.reports.push_back(report),
        }
    }

    fn record_delivered(&mut self, now: u64, plan: &ReaderPlan, position: Option<Position>) {
        if let Some(position) = position {
            if self.unprocessed.is_empty() {
                self.processes_at = now + plan.processing;
            }
            self.unprocessed.push_back(position);
        }
    }

    /// The application processes a message after the other, and acknowledges each.
    fn process_messages(&mut self, now: u64, plan: &ReaderPlan, processed: &mut u64) {
        while self.processes_at <= now {
            if let Some(position) = self.unprocessed.pop_front() {
                self.core.acknowledge(ClockTime(now), position);
                *processed = (*processed).max(position.number.0 + 1);
            }
            self.processes_at = match self.unprocessed.is_empty() {
                true => u64::MAX,
                false => self.processes_at + plan.processing,
            };
        }
    }

    fn send(&mut self, now: u64, out: &mut Vec<Outgoing>) {
        let time = ClockTime(now);
        if let Some(wanted) = self.wanted.filter(|_| !core::mem::replace(&mut self.has_asked, true)) {
            out.push(Outgoing::Fetch(wanted));
        }
        if let Some(history) = &self.history {
            self.core.join_history(time, history.account());
        }
        let mut sent = Vec::new();
        while let Some(control) = self.core.poll_transmit(time) {
            let bytes = control.bytes().to_vec();
            let is_sent = match control.to {
                Target::Address(address) => self.control.send(now, address, bytes, &mut sent),
                Target::Aside(address) => {
                    self.control.is_half_free() && self.control.send(now, address, bytes, &mut sent)
                }
                Target::Group | Target::Discovery => false,
            };
            self.core.on_not_sent(u64::from(!is_sent));
            self.core.reuse(control);
        }
        out.extend(sent.into_iter().filter_map(|(to, bytes)| match to {
            Destination::One(address) => Some(Outgoing::Datagram(address, bytes)),
            Destination::Group(_) => None,
        }));
    }
}

/// Gives the application a message or an event; returns the position of a message.
fn deliver(now: u64, audit: &mut Audit, item: Item<'_>) -> Option<Position> {
    match item {
        Item::Message(message) => {
            audit.message(now, &message);
            Some(message.position())
        }
        Item::Event(event) => {
            audit.event(now, &event);
            None
        }
    }
}
