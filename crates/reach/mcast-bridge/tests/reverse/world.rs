//! Bridges, subscribers, the engine and the network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_bridge::{
    Content, ObservedHeartbeat, PublisherAction, PublisherState, ReverseConfig, ReverseEvent, ReverseMachine,
    SourceRequest, SourceResponse, StartAt,
};
use mcast_stream::publisher::PublisherMachine;
use mcast_stream::publisher::{PublisherConfig, Transmit};
use mcast_stream::subscriber::SubscriberMachine;
use mcast_stream::subscriber::{Item, Start, SubscriberConfig, SubscriberEvent};
use mcast_stream::wire::{
    DatagramView, Flags, Heartbeat, Incarnation, Kind, MessageNumber, Origin, Sequence, StreamId,
};
use mcast_stream::{ClockTime, Target};

use crate::engine::{DESCRIPTION, Engine};
use crate::{MILLISECOND, SECOND};
use mcast_sim::Dice;

/// The stream that is published.
pub(crate) const STREAM: StreamId = StreamId(7);
/// The most datagrams that wait for a process that does not run.
const SOCKET: usize = 2_000;

/// What a subscriber has delivered or reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    Message(Incarnation, MessageNumber, Vec<u8>),
    Lost(Incarnation, MessageNumber, MessageNumber),
    Unknown(Incarnation),
    Ended(Incarnation, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// As by SIGSTOP.
    Stopped,
    Dead,
}

pub(crate) struct Bridge {
    pub(crate) state: State,
    pub(crate) machine: ReverseMachine,
    publisher: Option<PublisherMachine>,
    address: SocketAddr,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    /// The response of the engine, and when it arrives.
    response: Option<(ClockTime, u64, SourceResponse)>,
    pub(crate) events: Vec<ReverseEvent>,
    /// How many datagrams of data it has sent, and when the last one.
    pub(crate) sent: (u64, ClockTime),
}

pub(crate) struct Subscriber {
    pub(crate) machine: SubscriberMachine,
    address: SocketAddr,
    incarnation: Incarnation,
    pub(crate) delivered: Vec<Delivered>,
    pub(crate) events: Vec<SubscriberEvent>,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: ClockTime,
    pub(crate) loss: f64,
    pub(crate) engine: Engine,
    pub(crate) bridges: Vec<Bridge>,
    pub(crate) subscribers: Vec<Subscriber>,
    in_flight: VecDeque<(SocketAddr, Target, Vec<u8>)>,
    latency: u64,
}

impl World {
    pub(crate) fn new(seed: u64, subscribers: u64) -> Self {
        let mut dice = Dice::new(seed);
        let engine = Engine::new(&mut dice);
        let subscriber = |index: u64| Subscriber {
            machine: SubscriberMachine::new(
                SubscriberConfig::new(STREAM).with(|config| {
                    config.start = Start::Oldest;
                    config.seed = seed * 8 + index;
                }),
                ClockTime(0),
            ),
            address: SocketAddr::from(([10, 0, 1, index as u8], 7000)),
            incarnation: Incarnation(0),
            delivered: Vec::new(),
            events: Vec::new(),
        };
        Self {
            now: ClockTime(0),
            loss: dice.pick(&[0.0, 0.01, 0.05]),
            engine,
            bridges: Vec::new(),
            subscribers: (0..subscribers).map(subscriber).collect(),
            in_flight: VecDeque::new(),
            latency: dice.pick(&[0, 1, 20]),
            dice,
        }
    }

    /// Starts a bridge.
    pub(crate) fn start(&mut self, change: impl FnOnce(&mut ReverseConfig)) -> usize {
        let id = self.dice.next() as u32;
        let index = self.bridges.len();
        // As from the time of day, in quarters of a second.
        let incarnation = Incarnation(100 + (self.now.0 / 250_000_000) as u32);
        let mut config = ReverseConfig {
            step: self.dice.below(4) as u32,
            jitter: Duration::from_millis(self.dice.below(200)),
            stay: true,
            // Later, subscribers may be ahead of a bridge that begins again, and do not join it.
            wait_for: if index < 2 { self.subscribers.len() as u64 } else { 0 },
            ..ReverseConfig::new(STREAM, id, incarnation)
        };
        change(&mut config);
        let mut machine = ReverseMachine::new(config, self.now);
        machine.handle_connected(self.now);
        self.bridges.push(Bridge {
            state: State::Running,
            machine,
            publisher: None,
            address: SocketAddr::from(([10, 0, 0, index as u8 + 1], 7000)),
            inbox: VecDeque::new(),
            response: None,
            events: Vec::new(),
            sent: (0, ClockTime(0)),
        });
        index
    }

    pub(crate) fn publishing(&self) -> Vec<usize> {
        let is_publishing = |index: &usize| {
            let bridge = &self.bridges[*index];
            bridge.state == State::Running && bridge.machine.is_publishing()
        };
        (0..self.bridges.len()).filter(is_publishing).collect()
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    fn step(&mut self) {
        for index in 0..self.bridges.len() {
            if self.bridges[index].state == State::Running {
                self.step_bridge(index);
            }
        }
        for (from, to, bytes) in std::mem::take(&mut self.in_flight) {
            self.deliver(from, to, &bytes);
        }
        let now = self.now;
        for subscriber in &mut self.subscribers {
            subscriber.take_items(now, &[]);
            while let Some(control) = subscriber.machine.poll_transmit(now) {
                let (Target::Address(to) | Target::Aside(to)) = control.to else { continue };
                for bridge in self.bridges.iter_mut().filter(|bridge| bridge.address == to) {
                    if bridge.state != State::Dead
                        && bridge.inbox.len() < SOCKET
                        && !self.dice.chance(self.loss)
                    {
                        bridge.inbox.push_back((subscriber.address, control.bytes().to_vec()));
                    }
                }
            }
        }
        self.now = self.now + MILLISECOND;
    }

    fn deliver(&mut self, from: SocketAddr, to: Target, bytes: &[u8]) {
        let now = self.now;
        if to == Target::Group {
            for bridge in self.bridges.iter_mut().filter(|bridge| bridge.state != State::Dead) {
                if bridge.inbox.len() < SOCKET && !self.dice.chance(self.loss) {
                    bridge.inbox.push_back((from, bytes.to_vec()));
                }
            }
        }
        for subscriber in &mut self.subscribers {
            let own = subscriber.address;
            let is_for_it = [Target::Group, Target::Address(own), Target::Aside(own)].contains(&to);
            if is_for_it && !self.dice.chance(self.loss) {
                subscriber.machine.handle_datagram(now, 0, from, bytes);
                subscriber.take_items(now, bytes);
            }
        }
    }

    fn step_bridge(&mut self, index: usize) {
        let (now, bridge) = (self.now, &mut self.bridges[index]);
        while let Some((from, bytes)) = bridge.inbox.pop_front() {
            bridge.hear(now, from, &bytes);
        }
        if let Some((_, number, response)) = bridge.response.take_if(|(at, ..)| *at <= now) {
            match self.dice.chance(0.002) {
                true => {
                    bridge.machine.handle_disconnected();
                    bridge.machine.handle_connected(now);
                }
                false => bridge.machine.handle_response(now, number, response).unwrap(),
            }
        }
        bridge.publish(now);
        if let Some((number, request)) = bridge.machine.poll_request(now) {
            let count = self.dice.between(1, 300) as usize;
            let response = match request {
                SourceRequest::Describe => {
                    SourceResponse::Described((!self.engine.is_empty(now)).then_some(DESCRIPTION))
                }
                SourceRequest::Locate(StartAt::Oldest) => {
                    let first = self.engine.read(now, self.engine.records[0].1.position, 1).pop();
                    let position = first.map(|first| (first.position, first.first()));
                    let position =
                        position.map(|(position, number)| mcast_bridge::Position { number, ..position });
                    SourceResponse::Located(position.map(|position| (position, false)))
                }
                SourceRequest::Locate(other) => panic!("{other:?}"),
                SourceRequest::Read(from) => SourceResponse::Records(self.engine.read(now, from, count)),
            };
            let at = now + Duration::from_millis(self.dice.below(self.latency + 1));
            bridge.response = Some((at, number, response));
        }
        let deadline = bridge.machine.poll_timeout(now).unwrap_or(ClockTime::NEVER);
        assert!(deadline.0 > 0, "{:?}", bridge.machine);
        bridge.events.extend(std::iter::from_fn(|| bridge.machine.poll_event()));
        let Some(publisher) = &mut bridge.publisher else { return };
        while let Some(transmit) = publisher.poll_transmit(now) {
            let mut send = |to, bytes: &[u8]| self.in_flight.push_back((bridge.address, to, bytes.to_vec()));
            match transmit {
                Transmit::Data { first, count } => {
                    Sequence::each(first..first + count)
                        .for_each(|sequence| send(Target::Group, publisher.datagram(sequence)));
                    bridge.sent = (bridge.sent.0 + count, now);
                }
                Transmit::Repair { sequence, to } => send(to, publisher.datagram(sequence)),
                Transmit::Control(control) => send(control.to, control.bytes()),
            }
        }
    }

    /// Runs until all subscribers have delivered or reported as much as the engine holds.
    pub(crate) fn finish(&mut self) {
        let until = self.now.max(self.engine.end()) + 120 * SECOND;
        let last = &self.engine.records.last().unwrap().1;
        let end = match last.content {
            Content::Message { .. } | Content::Gap { .. } => last.position.number + 1,
            _ => last.position.number,
        };
        let incarnation = last.position.incarnation;
        let must_end = last.content == Content::End;
        let is_done = |subscriber: &Subscriber| {
            let is_there = subscriber.incarnation == incarnation && subscriber.machine.next_message() >= end;
            is_there && (!must_end || subscriber.machine.has_ended())
        };
        while self.now < until && !self.subscribers.iter().all(is_done) {
            self.step();
        }
        self.run(SECOND);
    }
}

impl Bridge {
    fn hear(&mut self, now: ClockTime, from: SocketAddr, bytes: &[u8]) {
        let Ok(view) = DatagramView::parse(bytes) else { return };
        if view.header.kind.is_from_subscribers() {
            if let Some(publisher) = &mut self.publisher {
                publisher.handle_datagram(now, from, bytes);
            }
        } else if view.header.kind == Kind::Heartbeat {
            let heartbeat = Heartbeat::read(view.body).unwrap();
            let heard = ObservedHeartbeat {
                incarnation: view.header.incarnation,
                origin: Origin::of(&view),
                oldest: heartbeat.oldest_message,
                next: heartbeat.next_message,
                subscribers: heartbeat.group_size,
                is_end: view.header.flags.has(Flags::END_OF_STREAM),
            };
            self.machine.handle_heartbeat(now, heard).unwrap();
        }
    }

    fn publish(&mut self, now: ClockTime) {
        let state = match &self.publisher {
            Some(publisher) => PublisherState {
                subscribers: publisher.statistics().subscribers,
                is_complete: self.machine.is_draining()
                    && publisher.is_sent()
                    && publisher.behind().next().is_none(),
            },
            None => PublisherState { subscribers: 0, is_complete: true },
        };
        for _ in 0..50 {
            if let Some(action) = self.machine.poll_action(now, state) {
                self.act(now, action);
                continue;
            }
            let (Some(publisher), Some(record)) = (&mut self.publisher, self.machine.poll_record(now)) else {
                break;
            };
            let Content::Message { bytes, .. } = &record.content else { panic!("{record:?}") };
            match publisher.publish(now, bytes) {
                Ok(number) => assert_eq!(number, record.position.number),
                Err(refusal) => {
                    assert!(refusal.is_temporary(), "{refusal}");
                    break;
                }
            }
            self.machine.handle_published(now);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.flush(now);
        }
    }

    fn act(&mut self, now: ClockTime, action: PublisherAction) {
        match (action, &mut self.publisher) {
            (PublisherAction::Begin { incarnation, origin, first }, _) => {
                let config = PublisherConfig::new(STREAM, incarnation).with(|config| {
                    config.first_message = first;
                    config.origin = Some(origin);
                    config.idle_interval = 250 * MILLISECOND;
                    config.retransmission_buffer = 256 << 10;
                    config.seed = u64::from(incarnation.0) << 32 | u64::from(origin.publisher);
                });
                self.publisher = Some(PublisherMachine::new(config, now).unwrap());
            }
            (PublisherAction::Skip(number), Some(publisher)) => publisher.skip_to(now, number).unwrap(),
            (PublisherAction::Close, Some(publisher)) => publisher.close(now),
            (PublisherAction::Discard, _) => self.publisher = None,
            (action, None) => panic!("{action:?} without a publisher"),
        }
    }
}

impl Subscriber {
    fn take_items(&mut self, now: ClockTime, bytes: &[u8]) {
        while let Some(item) = self.machine.poll_item(now, bytes) {
            let delivered = match item {
                Item::Message(message) => {
                    Delivered::Message(self.incarnation, message.number, message.bytes.to_vec())
                }
                Item::Event(SubscriberEvent::Lost { first, end, .. }) => match self.delivered.last_mut() {
                    // Adjacent gaps may be reported together or apart.
                    Some(Delivered::Lost(incarnation, _, last))
                        if *incarnation == self.incarnation && *last == first =>
                    {
                        *last = end;
                        continue;
                    }
                    _ => Delivered::Lost(self.incarnation, first, end),
                },
                Item::Event(SubscriberEvent::LostUnknown { .. }) => Delivered::Unknown(self.incarnation),
                Item::Event(SubscriberEvent::Ended { messages }) => {
                    Delivered::Ended(self.incarnation, messages)
                }
                Item::Event(event) => {
                    if let SubscriberEvent::Joined { .. } | SubscriberEvent::Restarted { .. } = event {
                        self.incarnation = self.machine.origin().unwrap().incarnation;
                    }
                    self.events.push(event);
                    continue;
                }
            };
            self.delivered.push(delivered);
        }
    }
}
