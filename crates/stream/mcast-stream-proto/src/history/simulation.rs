//! What is delivered and what is reported lost is everything from the start on, once and in order, whatever the history,
//! the live stream and a hostile server do.

use alloc::vec::Vec;
use core::time::Duration;
use std::cell::RefCell;
use std::collections::VecDeque;

use mcast_sim::{Dice, for_seeds};

use super::*;
use crate::ClockTime;
use crate::subscriber::{Cause, Item, Message, SubscriberEvent, SubscriberStatistics};
use crate::wire::{Incarnation, MessageNumber};

const STEP: Duration = Duration::from_millis(5);

/// A life of the publisher.
#[derive(Clone, Debug)]
struct Life {
    incarnation: Incarnation,
    messages: u64,
    is_closed: bool,
}

/// How servers are found.
#[derive(Clone, Debug)]
struct Announcements {
    /// The share of searches and of announcements that get lost.
    loss: f64,
    /// When none arrives.
    blocked: core::ops::Range<ClockTime>,
    /// When those arrive that are under way.
    under_way: VecDeque<ClockTime>,
    /// Whether the publisher advertises the server, and its address.
    advertised: Option<Option<core::net::SocketAddr>>,
}

#[derive(Clone, Debug)]
enum LiveStep {
    Message(u64),
    Event(SubscriberEvent),
}

struct World {
    dice: Dice,
    lives: Vec<Life>,
    /// The live stream: when each step arrives, and of which incarnation.
    live: VecDeque<(ClockTime, Incarnation, LiveStep)>,
    /// Records, and when each is stored.
    stored: Vec<(ClockTime, HistoryRecord<Vec<u8>>)>,
    is_hostile: bool,
    /// Whether the server serves others first now and then.
    is_busy: bool,
    /// The times for which it sends clients away, in milliseconds.
    waits: &'static [u64],
    start: Option<HistoryStart>,
    heals: bool,
    /// When the server is silent. A start waits for one that has answered.
    silent: core::ops::Range<ClockTime>,
    /// When requests fail.
    outage: core::ops::Range<ClockTime>,
    announcements: Announcements,
    /// When the process of the subscriber does not run, and until when.
    stalls: Vec<core::ops::Range<ClockTime>>,
    machine: HistoryMachine,
    config: HistoryConfig,
    /// Whether a heartbeat has arrived.
    has_heartbeat: bool,
    begins: ClockTime,
    now: ClockTime,
    /// Answers under way: the frames of a request, and when they arrive.
    answers: VecDeque<(ClockTime, u64, Vec<u8>)>,
    delivered: Vec<Delivered>,
    live_statistics: SubscriberStatistics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Delivered {
    Message(u64, Vec<u8>),
    Event(SubscriberEvent),
}

fn payload(incarnation: Incarnation, number: u64) -> Vec<u8> {
    format!("{incarnation}:{number}").into_bytes()
}

fn publisher() -> core::net::SocketAddr {
    "10.0.0.1:7000".parse().unwrap()
}

impl Announcements {
    fn new(dice: &mut Dice, begins: ClockTime) -> Self {
        let advertised = dice.pick(&[None, Some(None), Some(Some(publisher()))]);
        // Only where the server is advertised, a subscriber can know that one is missing.
        let blocked = if advertised.is_some() { dice.pick(&[0, 2_000, 9_000]) } else { 0 };
        let blocked = begins..begins + Duration::from_millis(blocked);
        Self { loss: dice.pick(&[0.0, 0.2]), blocked, under_way: VecDeque::new(), advertised }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = dice.between(1, 3) as u32;
        let lives: Vec<_> = (1..=count)
            .map(|number| Life {
                incarnation: Incarnation(10 * number),
                messages: dice.between(1, 300),
                is_closed: dice.chance(0.5),
            })
            .collect();
        // Each message is published at a time; the live stream begins at one of them.
        let mut at = ClockTime(1_000_000_000);
        let mut published = Vec::new();
        let gap =
            dice.pick(&[Duration::from_micros(200), Duration::from_millis(3), Duration::from_millis(20)]);
        for life in &lives {
            for number in 0..life.messages {
                published.push((at, life.clone(), number));
                at = at + gap;
            }
            at = at + Duration::from_millis(dice.below(1_500));
        }
        let joins_at = dice.below(published.len() as u64) as usize;
        let loss = dice.pick(&[0.0, 0.01, 0.2]);
        let live = Self::live(&mut dice, &published[joins_at..], loss);
        let lag = Duration::from_millis(dice.pick(&[0, 10, 400]));
        let (is_hostile, is_busy) = (dice.chance(0.2), dice.chance(0.3));
        let stored = Self::stored(&mut dice, &published, lag);
        let number = MessageNumber(dice.below(200));
        let reached = dice.pick(&lives);
        let reached = Position::new(reached.incarnation, MessageNumber(dice.below(reached.messages + 1)));
        let start = dice.pick(&[
            None,
            Some(HistoryStart::Oldest),
            Some(HistoryStart::Time(0)),
            Some(HistoryStart::Number(number)),
            Some(HistoryStart::At(reached)),
        ]);
        let heals = start.is_none() || dice.chance(0.5);
        let config = HistoryConfig {
            start,
            heal: heals,
            searches: dice.chance(0.7),
            backlog: dice.pick(&[2_000, 20_000, 1 << 20]),
            ..HistoryConfig::default()
        };
        let begins = published[joins_at].0;
        let silent_from = match dice.chance(0.2) {
            true => begins + Duration::from_millis(dice.below(2_000)),
            false => ClockTime::NEVER,
        };
        let silent_until = match start {
            Some(_) => silent_from + Duration::from_millis(dice.below(60_000)),
            None => ClockTime::NEVER,
        };
        let announcements = Announcements::new(&mut dice, begins);
        Self {
            announcements,
            dice,
            lives,
            live,
            stored,
            is_hostile,
            is_busy,
            waits: &[0, 40, 700, 8_000],
            start,
            heals,
            silent: silent_from..silent_until,
            outage: ClockTime(0)..ClockTime(0),
            stalls: Vec::new(),
            machine: HistoryMachine::new(config.clone(), begins),
            config,
            has_heartbeat: false,
            begins,
            now: begins,
            answers: VecDeque::new(),
            delivered: Vec::new(),
            live_statistics: SubscriberStatistics::default(),
        }
    }

    /// Returns what a subscriber without a history delivers.
    fn live(
        dice: &mut Dice,
        published: &[(ClockTime, Life, u64)],
        loss: f64,
    ) -> VecDeque<(ClockTime, Incarnation, LiveStep)> {
        let mut steps = VecDeque::new();
        let mut current: Option<Life> = None;
        let mut expected = 0;
        let mut losing = 0;
        let lost = |first: u64, end: u64, cause| {
            LiveStep::Event(SubscriberEvent::Lost {
                first: MessageNumber(first),
                end: MessageNumber(end),
                cause,
            })
        };
        let ended = |life: &Life| LiveStep::Event(SubscriberEvent::Ended { messages: life.messages });
        for (at, life, number) in published {
            let incarnation = life.incarnation;
            let joined = |message: u64| {
                LiveStep::Event(SubscriberEvent::Joined {
                    incarnation,
                    publisher: publisher(),
                    message: MessageNumber(message),
                })
            };
            match &current {
                None => {
                    steps.push_back((*at, incarnation, joined(*number)));
                    expected = *number;
                }
                Some(former) if former.incarnation != incarnation => {
                    let from = former.incarnation;
                    if expected < former.messages {
                        steps.push_back((*at, from, lost(expected, former.messages, Cause::Restart)));
                    }
                    if !former.is_closed {
                        let first = MessageNumber(former.messages);
                        steps.push_back((*at, from, LiveStep::Event(SubscriberEvent::LostUnknown { first })));
                    }
                    let restarted = SubscriberEvent::Restarted { from, to: incarnation };
                    steps.push_back((*at, incarnation, LiveStep::Event(restarted)));
                    let first = dice.pick(&[0, 0, 3.min(life.messages - 1)]);
                    steps.push_back((*at, incarnation, joined(first)));
                    (expected, losing) = (0, first);
                }
                Some(_) => {}
            }
            current = Some(life.clone());
            if losing == 0 && dice.chance(loss) {
                losing = dice.between(1, 80);
            }
            if losing > 0 {
                losing -= 1;
            } else {
                if expected < *number {
                    steps.push_back((*at, incarnation, lost(expected, *number, Cause::Unrecoverable)));
                }
                steps.push_back((*at, incarnation, LiveStep::Message(*number)));
                expected = number + 1;
            }
            if number + 1 == life.messages && life.is_closed {
                if expected < life.messages {
                    steps.push_back((*at, incarnation, lost(expected, life.messages, Cause::Unrecoverable)));
                    expected = life.messages;
                }
                steps.push_back((*at, incarnation, ended(life)));
            }
        }
        let (at, last, _) = published.last().unwrap();
        if expected < last.messages {
            steps.push_back((*at, last.incarnation, lost(expected, last.messages, Cause::Unrecoverable)));
        }
        steps
    }

    /// Returns what a bridge stores: with gaps, and possibly without the oldest records.
    fn stored(
        dice: &mut Dice,
        published: &[(ClockTime, Life, u64)],
        lag: Duration,
    ) -> Vec<(ClockTime, HistoryRecord<Vec<u8>>)> {
        let mut all = Vec::new();
        let gaps = dice.pick(&[0.0, 0.01]);
        let mut gap: Option<(ClockTime, Position)> = None;
        let cause = GapCause::JoinedLate;
        for (index, (at, life, number)) in published.iter().enumerate() {
            let first = Position::new(life.incarnation, MessageNumber(*number));
            let is_last = published.get(index + 1).is_none_or(|next| next.1.incarnation != life.incarnation);
            if gap.is_none() && dice.chance(gaps) {
                gap = Some((*at + lag, first));
            }
            let ends_here = is_last || dice.chance(0.05);
            match gap {
                Some((at, first)) if ends_here => {
                    let end = MessageNumber(number + 1);
                    all.push((at, HistoryRecord { first, content: HistoryContent::Gap { end, cause } }));
                    gap = None;
                }
                Some(_) => {}
                None => {
                    let bytes = payload(life.incarnation, *number);
                    let content = HistoryContent::Message { key: None, bytes };
                    all.push((*at + lag, HistoryRecord { first, content }));
                }
            }
            if is_last {
                let content = match life.is_closed {
                    true => HistoryContent::End,
                    false => HistoryContent::OpenGap { cause },
                };
                let is_written = life.is_closed || published.len() > index + 1;
                let record = HistoryRecord { first: first.following(), content };
                all.extend(is_written.then_some((*at + lag, record)));
            }
        }
        if dice.chance(0.3) {
            let trimmed = dice.below(all.len() as u64) as usize;
            all.drain(..trimmed);
        }
        all
    }

    fn identity(incarnation: Incarnation) -> LiveIdentity {
        LiveIdentity { content: incarnation, own: incarnation }
    }

    fn run(&mut self) {
        let end = self.live.back().unwrap().0 + Duration::from_secs(30);
        // A server can send it away for longer.
        let last = end + Duration::from_secs(600);
        while self.now < end || !(self.live.is_empty() && self.machine.is_idle()) && self.now < last {
            if let Some(stall) = self.stalls.iter().find(|stall| stall.contains(&self.now)) {
                self.now = stall.end;
            }
            if self.has_heartbeat {
                self.machine.handle_heartbeat(self.now);
            }
            self.machine.handle_timeout(self.now);
            self.pass_live();
            self.pass_announcements();
            if let Some(query) = self.machine.poll_query(self.now) {
                self.answer(&query);
            }
            while self.answers.front().is_some_and(|(at, ..)| *at <= self.now) && self.machine.wants_frame() {
                let (_, id, frame) = self.answers.pop_front().unwrap();
                let is_good = self.machine.handle_frame(self.now, id, publisher(), frame);
                assert!(is_good || self.is_hostile);
            }
            self.drain();
            self.now = self.now + STEP;
        }
    }

    fn pass_announcements(&mut self) {
        let Announcements { loss, ref blocked, .. } = self.announcements;
        let is_lost = |dice: &mut Dice| dice.chance(loss) || blocked.contains(&self.now);
        if self.machine.poll_search(self.now) && !is_lost(&mut self.dice) {
            let at = self.now + Duration::from_millis(self.dice.between(1, 50));
            self.announcements.under_way.push_back(at);
        }
        while self.announcements.under_way.front().is_some_and(|at| *at <= self.now) {
            self.announcements.under_way.pop_front();
            if !self.dice.chance(loss) {
                self.machine.handle_server(self.now, publisher());
            }
        }
        if let Some(at) = self.announcements.advertised.filter(|_| self.has_heartbeat) {
            self.machine.handle_advertisement(at);
        }
    }

    fn drain(&mut self) {
        while let Some(step) = self.machine.poll_step(self.now) {
            let delivered = match (step.event(), self.machine.item()) {
                (Some(event), _) => Delivered::Event(event),
                (None, Some(Item::Message(message))) => {
                    Delivered::Message(message.number.0, message.bytes.to_vec())
                }
                other => panic!("{other:?}"),
            };
            self.delivered.push(delivered);
            // The application is slow now and then.
            if self.dice.chance(0.001) {
                return;
            }
        }
    }

    fn pass_live(&mut self) {
        while self.live.front().is_some_and(|(at, ..)| *at <= self.now) && self.machine.has_room() {
            let (_, incarnation, step) = self.live.pop_front().unwrap();
            self.has_heartbeat = true;
            let identity = Self::identity(incarnation);
            match step {
                LiveStep::Message(number) => {
                    let bytes = payload(incarnation, number);
                    let message = Message {
                        incarnation: Incarnation(0),
                        number: MessageNumber(number),
                        key: None,
                        bytes: &bytes,
                    };
                    self.live_statistics.messages += 1;
                    self.live_statistics.message_bytes += bytes.len() as u64;
                    match self.machine.is_live() {
                        true => self.delivered.push(Delivered::Message(number, bytes)),
                        false => self.machine.handle_live_message(self.now, identity, &message),
                    }
                }
                LiveStep::Event(event) => {
                    match event {
                        SubscriberEvent::Lost { first, end, .. } => {
                            self.live_statistics.lost_messages += end.ahead_of(first);
                        }
                        SubscriberEvent::LostUnknown { .. } => self.live_statistics.unknown_losses += 1,
                        _ => {}
                    }
                    let passed = self.machine.handle_live_event(self.now, identity, event);
                    self.delivered.extend(passed.map(Delivered::Event));
                }
            }
            self.drain();
        }
    }

    fn answer(&mut self, query: &HistoryQuery) {
        let mut at = self.now + Duration::from_millis(self.dice.pick(&[0, 1, 60]));
        if self.silent.contains(&self.now) {
            return;
        }
        if self.dice.chance(0.02) || self.outage.contains(&self.now) {
            self.machine.handle_failure(self.now, query.id);
            return;
        }
        if self.is_busy && self.dice.chance(0.1) {
            let wait = Duration::from_millis(self.dice.pick(self.waits));
            let frame = AnswerFrame::later(wait);
            return self.answers.push_back((at, query.id, frame));
        }
        let count = self.dice.between(1, 120) as usize;
        let visible = |(stored, _): &&(ClockTime, HistoryRecord<Vec<u8>>)| *stored <= self.now;
        let visible: Vec<_> = self.stored.iter().take_while(visible).map(|(_, record)| record).collect();
        let accounts = |from: Position| {
            move |record: &&&HistoryRecord<Vec<u8>>| {
                record.end() > from
                    || record.first == from
                        && matches!(record.content, HistoryContent::OpenGap { .. } | HistoryContent::End)
            }
        };
        let records: Vec<_> = match query.start {
            RequestedStart::Oldest | RequestedStart::Time(_) => visible.iter().collect(),
            RequestedStart::At(from) => visible.iter().filter(accounts(from)).collect(),
            RequestedStart::Latest(number) => {
                let incarnation = visible.last().map_or(Incarnation(0), |last| last.first.incarnation);
                visible.iter().filter(accounts(Position::new(incarnation, number))).collect()
            }
        };
        let is_more = records.len() > count;
        let mut writer = FrameWriter::default();
        for record in records.into_iter().take(count) {
            let mut record = (*record).clone();
            if self.is_hostile && self.dice.chance(0.05) {
                // Another position; or the frame is not even one.
                record.first.number.0 =
                    self.dice.pick(&[0, record.first.number.0 / 2, record.first.number.0 + 7, 1 << 60]);
                record.first.incarnation.0 = self.dice.pick(&[0, 10, 20, 35, u32::MAX]);
                if let HistoryContent::Gap { end, .. } = &mut record.content {
                    *end = record.first.number + 5;
                }
                if let HistoryContent::Message { bytes, .. } = &mut record.content {
                    *bytes = payload(record.first.incarnation, record.first.number.0);
                }
                if self.dice.chance(0.2) {
                    let garbage =
                        (0..self.dice.below(60)).map(|_| self.dice.pick(&[0_u8, 1, 2, 3, 4, 255])).collect();
                    self.answers.push_back((at, query.id, garbage));
                }
            }
            if !writer.push(&record) {
                self.answers.extend(writer.take().map(|frame| (at, query.id, frame)));
                assert!(writer.push(&record));
            }
            if self.dice.chance(0.02) {
                self.answers.extend(writer.take().map(|frame| (at, query.id, frame)));
                at = at + Duration::from_millis(self.dice.below(20));
            }
        }
        self.answers.extend(writer.take().map(|frame| (at, query.id, frame)));
        let status = if is_more { AnswerStatus::More } else { AnswerStatus::Edge };
        self.answers.push_back((at, query.id, AnswerFrame::end(status, "")));
    }

    fn audit(&self) {
        let mut current: Option<Incarnation> = None;
        let mut next = 0;
        let mut is_tail_known = true;
        let (mut messages, mut lost, mut unknown) = (0, 0, 0);
        for (index, each) in self.delivered.iter().enumerate() {
            let context =
                || format!("{:?} after {:?}", each, &self.delivered[index.saturating_sub(4)..index]);
            match each {
                Delivered::Message(number, bytes) => {
                    assert_eq!(*number, next, "{}", context());
                    assert_eq!(*bytes, payload(current.unwrap(), *number), "{}", context());
                    next += 1;
                    messages += 1;
                    is_tail_known = false;
                }
                Delivered::Event(SubscriberEvent::Lost { first, end, .. }) => {
                    assert!(first.0 == next && end > first, "{}", context());
                    lost += end.ahead_of(*first);
                    next = end.0;
                }
                Delivered::Event(SubscriberEvent::LostUnknown { first }) => {
                    let of_time = self.delivered.get(index.saturating_sub(1));
                    assert!(first.0 <= next || of_time.is_some(), "{}", context());
                    unknown += 1;
                    is_tail_known = true;
                }
                Delivered::Event(SubscriberEvent::Restarted { from, to }) => {
                    assert_eq!(current, Some(*from), "{}", context());
                    let former = self.lives.iter().find(|life| life.incarnation == *from);
                    let is_complete = former.is_some_and(|life| life.is_closed && life.messages == next);
                    assert!(is_complete || is_tail_known || self.is_hostile, "{}", context());
                    assert!(to > from);
                }
                Delivered::Event(SubscriberEvent::Joined { incarnation, message, .. }) => {
                    match current {
                        None => next = message.0,
                        Some(_) => next = 0,
                    }
                    current = Some(*incarnation);
                }
                Delivered::Event(SubscriberEvent::Ended { messages }) => {
                    assert!(*messages <= next, "{}", context());
                    is_tail_known = true;
                }
                Delivered::Event(_) => {}
            }
        }
        match self.start {
            Some(HistoryStart::At(position)) => self.audit_position(position),
            Some(HistoryStart::Oldest) => self.audit_oldest(),
            _ => {}
        }
        let last = self.lives.last().unwrap();
        // A start may be after the last message.
        let end = if messages == 0 { last.messages.max(next) } else { last.messages };
        assert_eq!((current, next), (Some(last.incarnation), end), "{:?}", self.delivered.last());
        assert!(self.machine.is_idle());
        let mut statistics = self.live_statistics;
        self.machine.statistics().add_to(&mut statistics);
        assert_eq!(statistics.messages, messages, "messages");
        assert_eq!(statistics.lost_messages, lost, "lost");
        assert_eq!(statistics.unknown_losses, unknown, "unknown");
    }
}

impl World {
    /// Checks that a start with the oldest message gets the oldest record that was there, or that it is reported.
    fn audit_oldest(&self) {
        let first = self.first().expect("it has joined");
        let is_reported = self
            .delivered
            .iter()
            .any(|each| matches!(each, Delivered::Event(SubscriberEvent::HistoryFailed { .. })));
        let Some((_, oldest)) = self.stored.first().filter(|(stored, _)| *stored <= self.begins) else {
            return;
        };
        assert!(
            first <= oldest.first || is_reported || self.is_hostile,
            "{first} instead of {}",
            oldest.first
        );
    }

    /// Returns the position that it has joined at.
    fn first(&self) -> Option<Position> {
        self.delivered.iter().find_map(|each| match each {
            Delivered::Event(SubscriberEvent::Joined { incarnation, message, .. }) => {
                Some(Position::new(*incarnation, *message))
            }
            _ => None,
        })
    }

    /// Checks that an application that has come this far gets everything after it, and nothing before.
    fn audit_position(&self, position: Position) {
        let first = self.first();
        let is_unknown =
            |each: &Delivered| matches!(each, Delivered::Event(SubscriberEvent::LostUnknown { .. }));
        let was_complete = self.lives.iter().any(|life| {
            life.incarnation == position.incarnation && life.is_closed && life.messages == position.number.0
        });
        let follows = first.is_some_and(|first| first.incarnation > position.incarnation);
        let is_told = was_complete || self.delivered.iter().any(is_unknown);
        assert!(first == Some(position) || follows && is_told, "{first:?} instead of {position}");
    }
}

#[test]
fn what_is_delivered_and_what_is_lost_is_everything_from_the_start_on() {
    let seen = RefCell::new([0_u64; 6]);
    for_seeds(3_000, |seed| {
        let mut world = World::new(seed);
        world.run();
        world.audit();
        let is = |event: fn(&SubscriberEvent) -> bool| {
            let events = world.delivered.iter().filter_map(|each| match each {
                Delivered::Event(event) => Some(event),
                Delivered::Message(..) => None,
            });
            events.filter(|each| event(each)).count() as u64
        };
        let mut statistics = SubscriberStatistics::default();
        world.machine.statistics().add_to(&mut statistics);
        let counts = [
            statistics.from_history,
            is(|event| matches!(event, SubscriberEvent::Lost { .. })),
            is(|event| matches!(event, SubscriberEvent::LostUnknown { .. })),
            is(|event| matches!(event, SubscriberEvent::Restarted { .. })),
            is(|event| matches!(event, SubscriberEvent::HistoryFailed { .. })),
            statistics.malformed,
        ];
        seen.borrow_mut().iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    });
    // Otherwise the simulation shows nothing.
    if std::env::var_os("MCAST_SEED").is_none() {
        assert!(seen.borrow().iter().all(|count| *count > 100), "{seen:?}");
    }
}

/// Runs a world whose history has everything, and is served to this kind of subscriber; `None` if the seed's is another one.
fn run_healthy(seed: u64, is_kind: impl Fn(&World) -> bool) -> Option<World> {
    run_healthy_with(seed, is_kind, |_| {})
}

/// Runs such a world, changed in this way.
fn run_healthy_with(
    seed: u64,
    is_kind: impl Fn(&World) -> bool,
    change: impl FnOnce(&mut World),
) -> Option<World> {
    let mut world = World::new(seed);
    let is_start = |start| matches!(start, Some(HistoryStart::Oldest | HistoryStart::Time(_)) | None);
    if world.is_hostile
        || world.silent.start != ClockTime::NEVER
        || !is_start(world.start)
        || !is_kind(&world)
    {
        return None;
    }
    // Healing is given up if it is sent away for longer than the timeout.
    world.waits = &[0, 40, 700];
    let is_gap = |(_, record): &(ClockTime, HistoryRecord<Vec<u8>>)| {
        matches!(record.content, HistoryContent::Gap { .. })
    };
    let is_trimmed = world
        .stored
        .first()
        .is_none_or(|(_, first)| first.first != Position::new(world.lives[0].incarnation, MessageNumber(0)));
    if is_trimmed || world.stored.iter().any(is_gap) {
        return None;
    }
    // What fills the memory while a server is searched ends the healing of a loss, which has a timeout of 5 s.
    if world.config.searches && world.start.is_none() {
        world.config.backlog = 1 << 20;
        world.machine = HistoryMachine::new(world.config.clone(), world.now);
    }
    // A loss is healed only if a server is found within its timeout.
    let Announcements { loss, blocked, .. } = &mut world.announcements;
    blocked.end = blocked.end.min(world.begins + Duration::from_secs(2));
    if !blocked.is_empty() {
        *loss = 0.0;
    }
    change(&mut world);
    world.run();
    world.audit();
    Some(world)
}

#[test]
fn a_healthy_history_heals_every_loss() {
    for_seeds(2_000, |seed| {
        // What fills the memory meanwhile ends the healing of a loss.
        let is_kind = |world: &World| world.heals && !(world.is_busy && world.start.is_none());
        let Some(world) = run_healthy(seed, is_kind) else { return };
        assert_complete(&world);
    });
}

/// Checks that nothing is reported as lost.
fn assert_complete(world: &World) {
    let lost = |each: &&Delivered| matches!(each, Delivered::Event(SubscriberEvent::Lost { .. }));
    let context = || {
        let at = world.delivered.iter().position(|each| lost(&each)).unwrap_or(0);
        format!("{:?} {:?} {:?}", world.start, world.lives, &world.delivered[at.saturating_sub(5)..at + 1])
    };
    assert_eq!(world.delivered.iter().find(lost), None, "{}", context());
}

/// The process of the subscriber does not run for up to 20 s, again and again, and requests fail meanwhile and afterwards, for
/// less than the timeout.
#[test]
fn a_healthy_history_heals_every_loss_whenever_the_process_stops() {
    for_seeds(2_000, |seed| {
        let is_kind = |world: &World| world.heals && !world.is_busy;
        let change = |world: &mut World| {
            // What fills the memory meanwhile ends the healing of a loss.
            world.config.backlog = 1 << 20;
            // The search, the outage and the pauses before requests are repeated add up to less.
            world.config.timeout = Duration::from_secs(10);
            world.machine = HistoryMachine::new(world.config.clone(), world.now);
            let mut at = world.now;
            for _ in 0..world.dice.between(1, 4) {
                let from = at + Duration::from_millis(world.dice.below(3_000));
                at = from + Duration::from_millis(world.dice.below(20_000));
                world.stalls.push(from..at);
            }
            let stall = world.stalls[0].clone();
            let fails_until = stall.end + Duration::from_millis(world.dice.below(4_000));
            world.outage = stall.start..fails_until;
        };
        let Some(world) = run_healthy_with(seed, is_kind, change) else { return };
        assert_complete(&world);
    });
}

#[test]
fn a_subscriber_that_started_in_the_past_gets_what_its_publisher_discarded() {
    let lost_at_restarts = RefCell::new(0);
    for_seeds(2_000, |seed| {
        let is_kind = |world: &World| world.start.is_some() && !world.heals && !world.is_busy;
        let Some(world) = run_healthy(seed, is_kind) else { return };
        for each in &world.delivered {
            if let Delivered::Event(SubscriberEvent::Lost { first, cause, .. }) = each {
                assert_eq!(*cause, Cause::Restart, "{first} is lost");
                *lost_at_restarts.borrow_mut() += 1;
            }
        }
    });
    if std::env::var_os("MCAST_SEED").is_none() {
        assert!(*lost_at_restarts.borrow() > 0, "every other loss is healed as well");
    }
}
