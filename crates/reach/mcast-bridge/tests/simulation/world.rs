//! Bridges, their connections to the engine, and faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mcast_bridge::{BridgeConfig, BridgeEvent, BridgeMachine, Position, Request, Response, UnixMillis};
use mcast_sim::Dice;
use mcast_stream::ClockTime;
use mcast_stream::subscriber::{Message, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber};

use crate::engine::{Engine, STREAM};
use crate::publisher::{Input, Life, Reception, deliveries};
use crate::{MILLISECOND, SECOND};

/// What happens to bridges and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Start(usize),
    Kill(usize),
    /// The connection breaks. What was sent on it may still be executed.
    Disconnect(usize),
    /// The engine loses up to this many of its last records.
    LoseTail(u64),
    /// The engine evicts the stream.
    Evict,
    /// The engine executes nothing for this time.
    Stall(Duration),
    /// The engine rejects everything for this time.
    Reject(Duration),
}

#[derive(Debug)]
enum Event {
    Fault(Fault),
    /// The subscriber of this life of a bridge delivers something.
    Input(usize, u64),
    Wake(usize, u64),
    Connect(usize, u64),
    /// A request arrives at the engine, on this connection of a bridge.
    Request(usize, u64, Request),
    Response(usize, u64, Option<Response>),
}

#[derive(Debug)]
pub(crate) struct StreamBridge {
    pub(crate) machine: Option<BridgeMachine>,
    pub(crate) events: Vec<BridgeEvent>,
    /// What was acknowledged to it.
    pub(crate) acknowledged: Vec<Position>,
    /// What its subscriber delivered, over all its lives.
    pub(crate) received: BTreeSet<Position>,
    /// What its subscriber reported as lost.
    pub(crate) losses: Vec<(MessageNumber, MessageNumber)>,
    incarnation: Option<Incarnation>,
    reception: Reception,
    inputs: VecDeque<(ClockTime, Input)>,
    life: u64,
    connection: u64,
    /// When the latest request on the connection arrives, and the latest response.
    floors: (ClockTime, ClockTime),
    in_flight: VecDeque<Option<Position>>,
    /// When it is called next.
    wake: ClockTime,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: ClockTime,
    pub(crate) engine: Engine,
    pub(crate) bridges: Vec<StreamBridge>,
    pub(crate) lives: Vec<Life>,
    dice: Dice,
    config: BridgeConfig,
    queue: BTreeMap<(ClockTime, u64), Event>,
    count: u64,
    /// The longest delay on the way to the engine and back.
    latency: Duration,
    stalled_until: ClockTime,
    rejects_until: ClockTime,
    /// The greatest memory of a bridge, beyond its longest record.
    pub(crate) most_bytes: usize,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        lives: Vec<Life>,
        receptions: &[Reception],
        change: impl FnOnce(&mut BridgeConfig),
    ) -> Self {
        let mut dice = Dice::new(seed);
        let mut config = BridgeConfig::new(STREAM, 0);
        change(&mut config);
        let bridge = |reception: &Reception| StreamBridge {
            machine: None,
            events: Vec::new(),
            acknowledged: Vec::new(),
            received: BTreeSet::new(),
            losses: Vec::new(),
            incarnation: None,
            reception: *reception,
            inputs: VecDeque::new(),
            life: 0,
            connection: 0,
            floors: (ClockTime(0), ClockTime(0)),
            in_flight: VecDeque::new(),
            wake: ClockTime::NEVER,
        };
        Self {
            now: ClockTime(0),
            engine: Engine::default(),
            bridges: receptions.iter().map(bridge).collect(),
            lives,
            latency: Duration::from_micros(dice.pick(&[100, 1_000, 30_000])),
            dice,
            config,
            queue: BTreeMap::new(),
            count: 0,
            stalled_until: ClockTime(0),
            rejects_until: ClockTime(0),
            most_bytes: 0,
        }
    }

    pub(crate) fn fault(&mut self, at: ClockTime, fault: Fault) {
        self.schedule(at, Event::Fault(fault));
    }

    /// Runs until this time.
    pub(crate) fn run(&mut self, until: ClockTime) {
        let mut steps = 0;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            self.now = entry.key().0;
            let event = entry.remove();
            self.handle(event);
            steps += 1;
            assert!(steps < 3_000_000, "a busy loop at {:?}", self.now);
        }
        self.now = until;
    }

    fn schedule(&mut self, at: ClockTime, event: Event) {
        self.count += 1;
        self.queue.insert((at.max(self.now), self.count), event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Fault(fault) => self.apply(fault),
            Event::Input(index, life) if self.bridges[index].life == life => self.deliver(index),
            Event::Wake(index, life)
                if self.bridges[index].life == life && self.bridges[index].wake == self.now =>
            {
                self.send_requests(index);
            }
            Event::Connect(index, connection) if self.bridges[index].connection == connection => {
                if let Some(machine) = &mut self.bridges[index].machine {
                    machine.handle_connected();
                    let asked = self.engine.execute(self.now, &Request::Retention);
                    let Response::Retention(retention) = asked else { panic!("{asked:?}") };
                    machine.handle_retention(self.now, retention);
                }
                self.send_requests(index);
            }
            Event::Request(index, connection, request) => self.execute(index, connection, request),
            Event::Response(index, connection, response) if self.bridges[index].connection == connection => {
                self.respond(index, response);
            }
            _ => {}
        }
    }

    fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::Start(index) => self.start(index),
            Fault::Kill(index) => {
                let bridge = &mut self.bridges[index];
                bridge.machine = None;
                bridge.in_flight.clear();
                bridge.life += 1;
                bridge.connection += 1;
            }
            Fault::Disconnect(index) => self.disconnect(index),
            Fault::LoseTail(most) => {
                let length = self.engine.records.len();
                let lost = self.dice.below(most + 1) as usize;
                self.engine.records.truncate(length.saturating_sub(lost));
            }
            Fault::Evict => {
                self.engine.records.clear();
                self.engine.evictions += 1;
            }
            Fault::Stall(time) => self.stalled_until = self.stalled_until.max(self.now + time),
            Fault::Reject(time) => self.rejects_until = self.now + time,
        }
    }

    fn start(&mut self, index: usize) {
        let reception = self.bridges[index].reception;
        let inputs = deliveries(&mut self.dice, &self.lives, self.now, reception);
        let bridge = &mut self.bridges[index];
        if bridge.machine.is_some() {
            return;
        }
        let id = self.dice.next();
        bridge.machine = Some(BridgeMachine::new(BridgeConfig { id, ..self.config.clone() }));
        bridge.inputs = inputs;
        bridge.life += 1;
        bridge.connection += 1;
        let (life, connection) = (bridge.life, bridge.connection);
        self.schedule(self.now + MILLISECOND, Event::Connect(index, connection));
        self.schedule(self.now, Event::Input(index, life));
    }

    /// Passes what the subscriber delivers until now, unless the bridge is full.
    fn deliver(&mut self, index: usize) {
        let now = self.now;
        let bridge = &mut self.bridges[index];
        let Some(machine) = &mut bridge.machine else { return };
        let life = bridge.life;
        let mut next = None;
        while let Some((at, _)) = bridge.inputs.front() {
            if *at > now || machine.is_full() {
                next = Some((*at).max(now + MILLISECOND));
                break;
            }
            let Some((_, input)) = bridge.inputs.pop_front() else { break };
            match input {
                Input::Message(number, bytes) => {
                    let incarnation = bridge.incarnation.unwrap();
                    bridge.received.insert(Position { incarnation, number });
                    machine.handle_message(
                        now,
                        UnixMillis(now.0 / 1_000_000),
                        &Message { incarnation, number, key: None, bytes: &bytes },
                    );
                }
                Input::Event(event) => {
                    match event {
                        SubscriberEvent::Joined { incarnation, .. }
                        | SubscriberEvent::Restarted { to: incarnation, .. } => {
                            bridge.incarnation = Some(incarnation);
                        }
                        SubscriberEvent::Lost { first, end, .. } => bridge.losses.push((first, end)),
                        _ => {}
                    }
                    machine.handle_event(now, UnixMillis(now.0 / 1_000_000), &event);
                }
            }
        }
        let bytes = machine.statistics().buffered_bytes;
        self.most_bytes = self.most_bytes.max(bytes);
        if let Some(at) = next {
            self.schedule(at, Event::Input(index, life));
        }
        self.send_requests(index);
    }

    /// Sends what the bridge requests.
    fn send_requests(&mut self, index: usize) {
        let now = self.now;
        while let Some(request) =
            self.bridges[index].machine.as_mut().and_then(|machine| machine.poll_request(now))
        {
            let delay = Duration::from_nanos(self.dice.below(self.latency.as_nanos() as u64 + 1));
            let bridge = &mut self.bridges[index];
            let last = match &request {
                Request::Append(batch) => batch.records.last().map(|record| record.position),
                Request::LastRecord(_) | Request::Retention => None,
            };
            bridge.in_flight.push_back(last);
            assert!(bridge.in_flight.len() <= 2, "more than two requests are under way");
            bridge.floors.0 = bridge.floors.0.max(now + delay);
            let (at, connection) = (bridge.floors.0, bridge.connection);
            if self.dice.chance(0.002) {
                // As if the network had repeated it, or a proxy.
                let later = at + Duration::from_millis(self.dice.below(3_000));
                self.schedule(later, Event::Request(index, u64::MAX, request.clone()));
            }
            self.schedule(at, Event::Request(index, connection, request));
        }
        let bridge = &mut self.bridges[index];
        let Some(machine) = &mut bridge.machine else { return };
        bridge.events.extend(std::iter::from_fn(|| machine.poll_event()));
        let (deadline, life) = (machine.poll_timeout().unwrap_or(ClockTime::NEVER), bridge.life);
        if deadline != ClockTime::NEVER {
            assert!(deadline > now, "a deadline that is over: {deadline:?} at {now:?}");
            if bridge.wake != deadline {
                bridge.wake = deadline;
                self.schedule(deadline, Event::Wake(index, life));
            }
        }
    }

    fn execute(&mut self, index: usize, connection: u64, request: Request) {
        if self.now < self.stalled_until {
            let at = self.stalled_until;
            return self.schedule(at, Event::Request(index, connection, request));
        }
        let is_rejected = self.now < self.rejects_until;
        let response = (!is_rejected).then(|| self.engine.execute(self.now, &request));
        let delay = Duration::from_nanos(self.dice.below(self.latency.as_nanos() as u64 + 1));
        let floor = &mut self.bridges[index].floors.1;
        *floor = (*floor).max(self.now + delay);
        let at = *floor;
        self.schedule(at, Event::Response(index, connection, response));
    }

    fn respond(&mut self, index: usize, response: Option<Response>) {
        let now = self.now;
        let Some(response) = response else { return self.disconnect(index) };
        let bridge = &mut self.bridges[index];
        let Some(machine) = &mut bridge.machine else { return };
        let last = bridge.in_flight.pop_front().flatten();
        if response == Response::Appended {
            bridge.acknowledged.extend(last);
        }
        machine.handle_response(now, response).unwrap();
        self.send_requests(index);
    }

    fn disconnect(&mut self, index: usize) {
        let bridge = &mut self.bridges[index];
        bridge.connection += 1;
        bridge.in_flight.clear();
        bridge.floors = (self.now, self.now);
        let connection = bridge.connection;
        if let Some(machine) = &mut bridge.machine {
            machine.handle_disconnected();
            let at = self.now + Duration::from_millis(self.dice.between(1, 300));
            self.schedule(at, Event::Connect(index, connection));
        }
    }

    /// Runs until everything that was published is stored, or for too long.
    pub(crate) fn finish(&mut self) {
        let published = self.lives.last().map_or(ClockTime(0), Life::end);
        self.run(self.now.max(published) + 60 * SECOND);
        for _ in 0..60 {
            if self.bridges.iter().all(StreamBridge::is_done) {
                return;
            }
            // A small buffer and many losses take their time: a hole is known only once its record is in the buffer.
            self.run(self.now + 60 * SECOND);
        }
        panic!("a bridge is not done: {:?}", self.bridges);
    }
}

impl StreamBridge {
    fn is_done(&self) -> bool {
        self.inputs.is_empty() && self.machine.as_ref().is_none_or(BridgeMachine::is_idle)
    }
}
