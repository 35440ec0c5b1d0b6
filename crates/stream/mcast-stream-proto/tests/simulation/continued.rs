//! Publishers that read the same messages from an engine, one after another, and subscribers that follow all of them
//! over a network that loses datagrams.

use std::time::Duration;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{Fec, PublisherConfig, Transmit};
use mcast_stream_proto::sign::{PinnedKeys, Signer};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, Start, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{
    DatagramView, EngineKey, Heartbeat, Incarnation, Kind, MessageNumber, Origin, Sequence, StreamId,
    VisitedEngines,
};
use mcast_stream_proto::{ClockTime, Target};

use crate::plan::{MILLISECOND, SECOND};
use crate::signer;
use mcast_sim::Dice;

const STREAM: StreamId = StreamId(7);
/// How long a publisher sends only heartbeats at first: until the subscribers of the former one have joined, but no
/// longer than this. Until then it would not wait for them.
const CLAIM: u64 = 700 * MILLISECOND;

fn origin(publisher: u32, incarnation: u32) -> Origin {
    let (stream, incarnation) = (StreamId(3), Incarnation(incarnation));
    Origin::new(stream, incarnation, publisher, VisitedEngines::of([EngineKey(1)]).unwrap())
}

/// What the engine holds.
#[derive(Clone, PartialEq, Eq)]
enum Record {
    Message(u64, Vec<u8>),
    Gap(u64, u64),
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(number, bytes) => write!(f, "{number} ({} bytes)", bytes.len()),
            Self::Gap(first, end) => write!(f, "gap {first}..{end}"),
        }
    }
}

impl Record {
    fn first(&self) -> u64 {
        match self {
            Self::Message(first, _) | Self::Gap(first, _) => *first,
        }
    }

    /// What it takes in the retransmission buffer, at most.
    fn size(&self) -> usize {
        match self {
            Self::Message(_, bytes) => bytes.len() + 64,
            Self::Gap(..) => 64,
        }
    }

    fn end(&self) -> u64 {
        match self {
            Self::Message(number, _) => number + 1,
            Self::Gap(_, end) => *end,
        }
    }
}

fn records(dice: &mut Dice) -> Vec<Record> {
    let mut next = dice.below(1_000);
    (0..dice.between(20, 1_500))
        .map(|_| {
            let first = next;
            if dice.chance(0.02) {
                next += dice.between(1, 50);
                return Record::Gap(first, next);
            }
            next += 1;
            let length = if dice.chance(0.02) { dice.below(6_000) } else { dice.below(100) };
            Record::Message(first, vec![first as u8; length as usize])
        })
        .collect()
}

struct Publisher {
    machine: PublisherMachine,
    address: SocketAddr,
    since: u64,
    /// The next record to publish.
    next: usize,
    /// What its log remembers: before which message its subscribers had everything.
    confirmed: u64,
    /// When it started, and when it sent data for the first time.
    began: u64,
    first_data: Option<u64>,
}

/// What publishers with a log differ in.
#[derive(Clone, Copy, Debug)]
struct Settings {
    is_signed: bool,
    rate: Option<u64>,
    fec: Fec,
}

impl Publisher {
    fn new(now: u64, number: u32, from: u64, records: &[Record], origin: Origin) -> Self {
        let next = records.iter().position(|record| record.end() > from).unwrap_or(records.len());
        let config = PublisherConfig::new(STREAM, Incarnation(number)).with(|config| {
            config.first_message = MessageNumber(from);
            config.origin = Some(origin);
            config.idle_interval = Duration::from_millis(250);
            config.retransmission_buffer = 64 << 10;
            config.seed = number.into();
        });
        let machine = PublisherMachine::new(config, ClockTime(now)).unwrap();
        let address = SocketAddr::from(([10, 0, 0, number as u8], 7000));
        Self { machine, address, since: now, next, confirmed: from, first_data: None, began: now }
    }

    /// A publisher with a log, after one that had accepted the records before `accepted`. Its subscribers had confirmed
    /// everything before `confirmed`.
    fn continued(
        now: u64,
        number: u32,
        (confirmed, accepted): (u64, usize),
        records: &[Record],
        settings: Settings,
    ) -> Self {
        let old = records[..accepted].iter().filter(|record| record.end() > confirmed);
        let size: usize = old.clone().map(Record::size).sum();
        let config = PublisherConfig::new(STREAM, Incarnation(number)).with(|config| {
            config.first_message = MessageNumber(old.clone().next().map_or(confirmed, Record::first));
            config.origin = Some(origin(1, 5));
            config.idle_interval = Duration::from_millis(250);
            config.retransmission_buffer = (64 << 10).max(size + (16 << 10));
            config.seed = number.into();
            config.signer = settings.is_signed.then(|| signer::key(1, false) as Arc<dyn Signer>);
            config.rate = settings.rate.into();
            config.fec = settings.fec;
        });
        let mut machine = PublisherMachine::new(config, ClockTime(now)).unwrap();
        for record in old {
            match record {
                Record::Message(number, bytes) => {
                    assert_eq!(machine.recall(ClockTime(now), None, bytes).unwrap().0, *number);
                }
                Record::Gap(_, end) => machine.skip_to(ClockTime(now), MessageNumber(*end)).unwrap(),
            }
        }
        if number > 1 {
            machine.end_recall(ClockTime(now));
        }
        let address = SocketAddr::from(([10, 0, 0, number as u8], 7000));
        Self { machine, address, since: 0, next: accepted, confirmed, first_data: None, began: now }
    }

    fn publish(&mut self, now: u64, records: &[Record], count: u64, subscribers: u64) {
        if now < self.since + CLAIM && self.machine.statistics().subscribers < subscribers {
            return;
        }
        for _ in 0..count {
            let accepted = match records.get(self.next) {
                Some(Record::Message(number, bytes)) => {
                    assert!(self.machine.next_message().0 <= *number);
                    self.machine.publish(ClockTime(now), bytes).map(|given| assert_eq!(given.0, *number))
                }
                Some(Record::Gap(_, end)) => self.machine.skip_to(ClockTime(now), MessageNumber(*end)),
                None => break,
            };
            match accepted {
                Ok(()) => self.next += 1,
                Err(refusal) if refusal.is_temporary() => break,
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }
}

#[derive(Debug)]
struct Subscriber {
    machine: SubscriberMachine,
    address: SocketAddr,
    delivered: Vec<Record>,
    events: Vec<SubscriberEvent>,
}

struct World {
    dice: Dice,
    now: u64,
    loss: f64,
    records: Vec<Record>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// The latest position that the standby heard: an incarnation, and the oldest message that it retains.
    heard: Option<(Incarnation, u64)>,
    in_flight: VecDeque<(u64, SocketAddr, Target, Vec<u8>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, PinnedKeys::none())
    }

    /// A world whose subscribers trust these keys, if there are any.
    fn with(seed: u64, signed_by: PinnedKeys) -> Self {
        let mut dice = Dice::new(seed);
        let records = records(&mut dice);
        let loss = dice.pick(&[0.0, 0.01, 0.05]);
        let subscribers = (0..dice.between(1, 3)).map(|index| Subscriber {
            machine: SubscriberMachine::new(
                SubscriberConfig::new(STREAM).with(|config| {
                    config.start = Start::Oldest;
                    config.seed = seed * 8 + index;
                    config.signed_by = signed_by.clone();
                }),
                ClockTime(SECOND),
            ),
            address: SocketAddr::from(([10, 0, 1, index as u8], 7000)),
            delivered: Vec::new(),
            events: Vec::new(),
        });
        Self {
            now: SECOND,
            loss,
            publishers: Vec::new(),
            subscribers: subscribers.collect(),
            heard: None,
            in_flight: VecDeque::new(),
            records,
            dice,
        }
    }

    /// Sends what all publishers (from `first` on) and subscribers have to send, and delivers what has arrived.
    fn step(&mut self, first: usize, publishes: u64) {
        let now = ClockTime(self.now);
        for publisher in &mut self.publishers[first..] {
            publisher.publish(self.now, &self.records, publishes, self.subscribers.len() as u64);
            while let Some(transmit) = publisher.machine.poll_transmit(now) {
                let address = publisher.address;
                let mut send =
                    |to, bytes: &[u8]| self.in_flight.push_back((self.now, address, to, bytes.to_vec()));
                if matches!(transmit, Transmit::Data { .. }) {
                    publisher.first_data.get_or_insert(self.now);
                }
                match transmit {
                    Transmit::Data { first, count } => Sequence::each(first..first + count)
                        .for_each(|sequence| send(Target::Group, publisher.machine.datagram(sequence))),
                    Transmit::Repair { sequence, to } => send(to, publisher.machine.datagram(sequence)),
                    Transmit::Control(control) => send(control.to, control.bytes()),
                }
            }
        }
        while self.in_flight.front().is_some_and(|(sent, ..)| *sent < self.now) {
            let Some((_, from, to, bytes)) = self.in_flight.pop_front() else { break };
            self.hear(&bytes);
            for subscriber in &mut self.subscribers {
                let own = subscriber.address;
                let is_for_it = [Target::Group, Target::Address(own), Target::Aside(own)].contains(&to);
                if is_for_it && !self.dice.chance(self.loss) {
                    subscriber.take(now, from, &bytes);
                }
            }
        }
        for subscriber in &mut self.subscribers {
            subscriber.take_items(now, &[]);
            while let Some(control) = subscriber.machine.poll_transmit(now) {
                let (Target::Address(to) | Target::Aside(to)) = control.to else { continue };
                for publisher in &mut self.publishers[first..] {
                    if publisher.address == to && !self.dice.chance(self.loss) {
                        publisher.machine.handle_datagram(now, subscriber.address, control.bytes());
                    }
                }
            }
        }
        self.now += MILLISECOND;
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Ok(view) = DatagramView::parse(bytes) else { return };
        if view.header.kind == Kind::Heartbeat && !self.dice.chance(self.loss) {
            let heard = (view.header.incarnation, Heartbeat::read(view.body).unwrap().oldest_message.0);
            // Of an older one that was woken, nothing counts.
            self.heard = self.heard.max(Some(heard));
        }
    }

    fn is_done(&self) -> bool {
        let end = self.records.last().map_or(0, Record::end);
        self.subscribers.iter().all(|subscriber| subscriber.machine.next_message().0 == end)
    }
}

impl Subscriber {
    fn take(&mut self, now: ClockTime, from: SocketAddr, bytes: &[u8]) {
        self.machine.handle_datagram(now, 0, from, bytes);
        self.take_items(now, bytes);
    }

    fn take_items(&mut self, now: ClockTime, bytes: &[u8]) {
        while let Some(item) = self.machine.poll_item(now, bytes) {
            match item {
                Item::Message(message) => {
                    self.delivered.push(Record::Message(message.number.0, message.bytes.to_vec()));
                }
                Item::Event(SubscriberEvent::Lost { first, end, .. }) => {
                    // Adjacent gaps in the engine may be reported together or apart.
                    match self.delivered.last_mut() {
                        Some(Record::Gap(_, last)) if *last == first.0 => *last = end.0,
                        _ => self.delivered.push(Record::Gap(first.0, end.0)),
                    }
                }
                Item::Event(event) => self.events.push(event),
            }
        }
    }
}

/// Joins adjacent gaps.
fn joined(records: &[Record]) -> Vec<Record> {
    let mut joined: Vec<Record> = Vec::new();
    for record in records {
        match (joined.last_mut(), record) {
            (Some(Record::Gap(_, last)), Record::Gap(first, end)) if last == first => *last = *end,
            _ => joined.push(record.clone()),
        }
    }
    joined
}

fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("MCAST_SEEDS").map_or(200, |text| text.parse().unwrap())
}

#[test]
fn subscribers_deliver_what_the_engine_holds_once_and_in_order_from_all_publishers() {
    let mut continued = 0;
    for seed in seeds() {
        let mut world = World::new(seed);
        let from = match world.records[0] {
            Record::Message(first, _) | Record::Gap(first, _) => first,
        };
        world.publishers.push(Publisher::new(world.now, 1, from, &world.records, origin(1, 5)));
        for number in 2..=world.dice.between(1, 4) as u32 {
            let (pace, time) = (world.dice.pick(&[1, 20]), world.dice.between(250, 1_500) * MILLISECOND);
            let until = world.now + time;
            let first = world.publishers.len() - 1;
            while world.now < until {
                world.step(first, pace);
            }
            // It is killed. Another one takes over, and sometimes the old one was only stopped.
            world.now += 2 * SECOND;
            let (_, from) = world.heard.unwrap();
            world.publishers.push(Publisher::new(world.now, number, from, &world.records, origin(number, 5)));
            if world.dice.chance(0.5) {
                let until = world.now + world.dice.below(900) * MILLISECOND;
                while world.now < until {
                    world.step(first, pace);
                }
            }
        }
        let first = world.publishers.len() - 1;
        let until = world.now + 120 * SECOND;
        while !world.is_done() && world.now < until {
            world.step(first, 20);
        }
        let expected = joined(&world.records);
        for subscriber in &world.subscribers {
            let mut pairs = subscriber.delivered.iter().zip(&expected);
            if let Some((delivered, stored)) = pairs.find(|(delivered, stored)| delivered != stored) {
                panic!("seed {seed}: {delivered:?} instead of {stored:?}: {:?}", subscriber.events);
            }
            let counts = (subscriber.delivered.len(), expected.len());
            assert_eq!(counts.0, counts.1, "seed {seed}: {:?}", subscriber.events);
            let is_continued = |event: &&SubscriberEvent| matches!(event, SubscriberEvent::Continued { .. });
            continued += subscriber.events.iter().filter(is_continued).count();
            let is_expected = |event: &SubscriberEvent| {
                use SubscriberEvent::{
                    Continued, Evicted, Joined, PublisherBack, PublisherSilent, SecondPublisher, Stalled,
                };
                matches!(
                    event,
                    Continued { .. }
                        | Evicted
                        | Joined { .. }
                        | PublisherBack
                        | PublisherSilent
                        | SecondPublisher { .. }
                        | Stalled { .. }
                )
            };
            assert!(subscriber.events.iter().all(is_expected), "seed {seed}: {:?}", subscriber.events);
        }
    }
    assert!(continued > 100, "only {continued}");
}

/// Publishers with a log are killed, and the next ones remember a little late how far their subscribers were.
#[test]
fn a_restarted_publisher_sends_what_is_new_at_once_and_subscribers_lose_nothing() {
    let (mut recalled, mut continued) = (0, 0);
    for seed in 0..5 * seeds().end {
        let mut dice = Dice::new(!seed);
        let settings = Settings {
            is_signed: dice.chance(0.3),
            rate: dice.chance(0.5).then(|| dice.pick(&[20_000, 200_000])),
            fec: dice.pick(&[Fec::Off, Fec::Auto, Fec::Fixed { data: 8, parity: 2 }]),
        };
        let trusted = if settings.is_signed { signer::pinned(1) } else { PinnedKeys::none() };
        let mut world = World::with(seed, trusted);
        let mut left = (world.records[0].first(), 0);
        let count = dice.between(2, 5) as u32;
        for number in 1..=count {
            let publisher = Publisher::continued(world.now, number, left, &world.records, settings);
            world.publishers.push(publisher);
            let first = number as usize - 1;
            let pace = dice.pick(&[1, 20, 200]);
            let accepts = number == count || dice.chance(0.9);
            // Without a subscriber, it would not wait for any.
            let joined = if number == 1 { SECOND } else { 0 };
            let until = match number == count {
                true => world.now + 300 * SECOND,
                false => world.now + joined + dice.between(1, 1_500) * MILLISECOND,
            };
            while world.now < until && !(number == count && world.is_done()) {
                let publishes =
                    if accepts && world.now >= world.publishers[first].began + joined { pace } else { 0 };
                world.step(first, publishes);
                let publisher = &mut world.publishers[first];
                if let Some(confirmed) = publisher.machine.confirmed().filter(|_| dice.chance(0.02)) {
                    publisher.confirmed = confirmed.0;
                }
            }
            let publisher = &world.publishers[first];
            let unconfirmed = world.records[..left.1].iter().filter(|record| record.end() > left.0).count();
            recalled += unconfirmed;
            if number > 1 && publisher.next > left.1 && until > publisher.began + 2 * SECOND {
                let delay = publisher.first_data.unwrap() - publisher.began;
                assert!(delay <= 1_200 * MILLISECOND, "seed {seed}: {delay} ns with {unconfirmed} recalled");
            }
            left = (publisher.confirmed, publisher.next);
        }
        let expected = joined(&world.records);
        for subscriber in &world.subscribers {
            let mut pairs = subscriber.delivered.iter().zip(&expected);
            if let Some((delivered, stored)) = pairs.find(|(delivered, stored)| delivered != stored) {
                panic!("seed {seed}: {delivered:?} instead of {stored:?}: {:?}", subscriber.events);
            }
            let counts = (subscriber.delivered.len(), expected.len());
            assert_eq!(counts.0, counts.1, "seed {seed}: {:?} {settings:?}", subscriber.events);
            let is_continued = |event: &&SubscriberEvent| matches!(event, SubscriberEvent::Continued { .. });
            continued += subscriber.events.iter().filter(is_continued).count();
        }
    }
    assert!(continued > 100 && recalled > 1_000, "only {continued} and {recalled}");
}

/// Another incarnation in the engine is another incarnation for subscribers: nothing is taken for a continuation.
#[test]
fn another_incarnation_in_the_engine_is_not_a_continuation() {
    let mut world = World::new(1);
    (world.loss, world.records) = (0.0, vec![Record::Message(0, b"a".to_vec())]);
    for number in 1..=2 {
        let publisher = Publisher::new(world.now, number, 0, &world.records, origin(number, 4 + number));
        world.publishers.push(publisher);
        for _ in 0..1_000 {
            world.step(number as usize - 1, 1);
        }
    }
    let restarted = SubscriberEvent::Restarted { from: Incarnation(1), to: Incarnation(2) };
    let unknown = SubscriberEvent::LostUnknown { first: MessageNumber(1) };
    for subscriber in &world.subscribers {
        assert_eq!(subscriber.delivered.len(), 2);
        assert!(subscriber.events.contains(&restarted) && subscriber.events.contains(&unknown));
    }
}
