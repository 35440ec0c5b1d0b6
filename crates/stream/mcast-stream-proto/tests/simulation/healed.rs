//! A publisher, its log as a history, and subscribers that heal or start in the past: what the publisher knows of a
//! subscriber is what was reported to the subscriber's application.

use std::time::Duration;

use std::net::SocketAddr;

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::history::{
    AnswerFrame, AnswerStatus, FrameWriter, HistoryConfig, HistoryContent, HistoryMachine, HistoryRecord,
    HistoryStart, Position, RequestedStart,
};
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{
    AckLevel, Acknowledgers, Congestion, PublisherConfig, Quorum, QuorumLoss, SubscriberProgress, Transmit,
};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, Start, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{FlowControl, Incarnation, MessageNumber, Sequence, StreamId};

use crate::plan::{MILLISECOND, SECOND};

const STREAM: StreamId = StreamId(3);
const CONTENT: Incarnation = Incarnation(1);
/// One in two milliseconds.
const MESSAGES: u64 = 2_000;
const LENGTH: usize = 500;
const LINGER: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
struct Scene {
    start: Option<HistoryStart>,
    /// In milliseconds: when the link is cut, and for how long.
    cut: (u64, u64),
    /// Records that the history sends in a millisecond.
    speed: u64,
    /// Messages that the history does not have.
    holes: (u64, u64),
    quorum: Option<(AckLevel, QuorumLoss)>,
    /// Whether the application acknowledges what it has been given.
    acknowledges: bool,
}

impl Scene {
    const CUT: Self =
        Self { start: None, cut: (1_000, 1_500), speed: 5, holes: (0, 0), quorum: None, acknowledges: true };
}

/// A request that is answered a few records at a time.
struct Answer {
    id: u64,
    next: u64,
    end: u64,
}

struct World {
    scene: Scene,
    now: u64,
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    history: HistoryMachine,
    answer: Option<Answer>,
    published: u64,
    /// The next message of the application, and what was reported to it as lost.
    next: Option<u64>,
    delivered: u64,
    lost: u64,
    /// Whether the publisher ever reported what the subscriber never said.
    was_wrong: Option<SubscriberProgress>,
    over_at: Option<u64>,
}

const fn address(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, host)), 7_000)
}

impl World {
    fn new(scene: Scene) -> Self {
        let now = ClockTime(SECOND);
        let quorum = scene.quorum.map(|(level, on_loss)| Quorum {
            level,
            on_loss,
            ..Quorum::new(Acknowledgers::Named(["db".parse().unwrap()].into()))
        });
        let publisher = PublisherConfig::new(STREAM, CONTENT).with(|config| {
            config.retransmission_buffer = 64 << 10;
            config.flow = FlowControl::None;
            config.congestion = Congestion::Ignore;
            config.quorum = quorum;
        });
        let start = if scene.start.is_some() { Start::Oldest } else { Start::Now };
        let subscriber = SubscriberConfig::new(STREAM).with(|config| {
            config.name = Some("db".parse().unwrap());
            config.has_history = true;
            config.seed = 7;
            config.start = start;
        });
        let timeout = Duration::from_secs(30);
        let history = HistoryConfig::default().with(|config| {
            config.start = scene.start;
            config.heal = true;
            config.timeout = timeout;
        });
        Self {
            scene,
            now: SECOND,
            publisher: PublisherMachine::new(publisher, now).unwrap(),
            subscriber: SubscriberMachine::new(subscriber, now),
            history: HistoryMachine::new(history, now),
            answer: None,
            published: 0,
            next: None,
            delivered: 0,
            lost: 0,
            was_wrong: None,
            over_at: None,
        }
    }

    const fn now(&self) -> ClockTime {
        ClockTime(self.now)
    }

    /// Publishes all messages, finishes, and runs until the publisher is over and the subscriber has ended.
    fn run(scene: Scene) -> Self {
        let mut world = Self::new(scene);
        world.steps(20);
        let mut pending = 0;
        while world.published < MESSAGES && world.now < 100 * SECOND {
            pending += u64::from(world.now.is_multiple_of(2 * MILLISECOND));
            while pending > 0 && world.publisher.publish(world.now(), &[1; LENGTH]).is_ok() {
                pending -= 1;
                world.published += 1;
            }
            world.steps(1);
        }
        assert_eq!(world.published, MESSAGES, "{:?}", world.publisher.ack_wait());
        world.publisher.finish(world.now(), LINGER);
        let closed = world.now;
        while world.now < closed + 60 * SECOND && !(world.over_at.is_some() && world.has_ended()) {
            world.steps(1);
        }
        world
    }

    fn has_ended(&self) -> bool {
        self.subscriber.has_ended() && self.history.is_idle()
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
            self.now += MILLISECOND;
        }
    }

    fn is_cut(&self) -> bool {
        let (from, time) = self.scene.cut;
        let at = (self.now - SECOND) / MILLISECOND;
        (from..from + time).contains(&at)
    }

    fn step(&mut self) {
        let now = self.now();
        if self.over_at.is_none() && self.publisher.is_over(now) {
            self.over_at = Some(self.now);
        }
        while let Some(transmit) = self.publisher.poll_transmit(now) {
            let sent: Vec<Vec<u8>> = match transmit {
                Transmit::Control(control) => {
                    let bytes = control.bytes().to_vec();
                    self.publisher.reuse(control);
                    vec![bytes]
                }
                Transmit::Data { first, count } => Sequence::each(first..first + count)
                    .map(|number| self.publisher.datagram(number).to_vec())
                    .collect(),
                Transmit::Repair { sequence, .. } => vec![self.publisher.datagram(sequence).to_vec()],
            };
            let arrives = !self.is_cut() && self.over_at.is_none();
            for bytes in sent.iter().filter(|_| arrives) {
                self.subscriber.handle_datagram(now, 0, address(1), bytes);
                self.read(bytes);
            }
        }
        self.read(&[]);
        self.serve();
        self.subscriber.join_history(now, self.history.account());
        while let Some(control) = self.subscriber.poll_transmit(now) {
            if !self.is_cut() && self.over_at.is_none() {
                self.publisher.handle_datagram(now, address(2), control.bytes());
            }
        }
        while self.publisher.poll_event().is_some() {}
        // Nothing is said of it that was not reported to the application.
        self.was_wrong = self.was_wrong.or_else(|| {
            let standing = self.standing()?;
            let is_wrong = match standing {
                SubscriberProgress::Incomplete { messages, .. } => messages == 0 || messages > self.lost,
                SubscriberProgress::Complete => self.lost > 0,
                _ => false,
            };
            is_wrong.then_some(standing)
        });
    }

    fn standing(&self) -> Option<SubscriberProgress> {
        self.publisher.subscriber_progress().next().map(|(.., standing)| standing)
    }

    /// Does what a driver does: delivers what the live stream and the history have.
    fn read(&mut self, datagram: &[u8]) {
        let now = self.now();
        loop {
            if self.history.is_live() {
                let Some(step) = self.subscriber.poll_step(now, datagram) else { return };
                let item = match self.subscriber.item(&step, datagram) {
                    Item::Message(message) => Delivered::Message(message.position()),
                    Item::Event(event) => match self.history.handle_event(now, &mut self.subscriber, event) {
                        Some(event) => Delivered::Event(event),
                        None => continue,
                    },
                };
                self.deliver(item);
                continue;
            }
            self.history.take_live(now, &mut self.subscriber, datagram, |_| {});
            while let Some(step) = self.history.poll_step(now) {
                self.subscriber.join_history(now, self.history.account());
                let item = match (step.event(), self.history.item()) {
                    (Some(event), _) => Delivered::Event(event),
                    (None, Some(Item::Message(message))) => Delivered::Message(message.position()),
                    (None, _) => unreachable!("a step of the history has an item"),
                };
                self.deliver(item);
            }
            if !self.history.is_live() {
                return;
            }
        }
    }

    fn deliver(&mut self, item: Delivered) {
        match item {
            Delivered::Message(at) => {
                assert!(
                    self.next.is_none_or(|next| next == at.number.0),
                    "{} after {:?}",
                    at.number,
                    self.next
                );
                self.next = Some(at.number.0 + 1);
                self.delivered += 1;
                if self.scene.acknowledges {
                    self.subscriber.acknowledge(self.now(), at);
                }
            }
            Delivered::Event(SubscriberEvent::Lost { first, end, .. }) => {
                self.lost += end.ahead_of(first);
                self.next = Some(end.0);
            }
            Delivered::Event(_) => {}
        }
    }

    /// The history: it has what was published.
    fn serve(&mut self) {
        let now = self.now();
        if let Some(query) = self.history.poll_query(now) {
            let next = match query.start {
                RequestedStart::At(position) => position.number.0,
                _ => 0,
            };
            self.answer = Some(Answer { id: query.id, next, end: next.saturating_add(query.count.into()) });
        }
        let Some(answer) = &mut self.answer else { return };
        if !self.history.wants_frame() {
            return;
        }
        let end = answer.end.min(self.published);
        let mut writer = FrameWriter::default();
        for number in (answer.next..end).take(self.scene.speed as usize) {
            answer.next = number + 1;
            let content = HistoryContent::Message { key: None, bytes: [1_u8; LENGTH] };
            if !(self.scene.holes.0..self.scene.holes.1).contains(&number) {
                let first = Position::new(CONTENT, MessageNumber(number));
                assert!(writer.push(&HistoryRecord { first, content }));
            }
        }
        let id = answer.id;
        let is_done = answer.next >= end;
        if let Some(frame) = writer.take() {
            self.history.handle_frame(now, id, address(1), frame);
        }
        if is_done {
            let status = if self.answer.take().is_some_and(|answer| answer.next < answer.end) {
                AnswerStatus::Edge
            } else {
                AnswerStatus::More
            };
            self.history.handle_frame(now, id, address(1), AnswerFrame::end(status, ""));
        }
    }
}

enum Delivered {
    Message(Position),
    Event(SubscriberEvent),
}

/// Checks that both ends say the same of a subscriber that has everything.
#[track_caller]
fn assert_complete(world: &World, from: u64) {
    let reported = (world.delivered, world.lost, world.next);
    assert_eq!(reported, (MESSAGES - from, 0, Some(MESSAGES)), "{:?}", world.history);
    assert_eq!(world.was_wrong, None);
    assert_eq!(world.standing(), Some(SubscriberProgress::Complete), "{:?}", world.subscriber);
}

#[test]
fn what_a_history_heals_counts_as_lost_on_neither_end() {
    assert_complete(&World::run(Scene::CUT), 0);
}

#[test]
fn a_start_in_the_past_counts_as_lost_on_neither_end() {
    // It joins when the stream runs, and the publisher retains little of it.
    let scene = Scene { start: Some(HistoryStart::Oldest), cut: (0, 1_500), ..Scene::CUT };
    assert_complete(&World::run(scene), 0);
}

#[test]
fn a_publisher_waits_at_its_end_for_subscribers_that_read_its_log() {
    // The link is back half a second before the end, and the history takes several seconds.
    let world = World::run(Scene { cut: (1_000, 2_500), speed: 1, ..Scene::CUT });
    assert_complete(&world, 0);
    let scene = Scene { start: Some(HistoryStart::Oldest), cut: (0, 3_900), speed: 1, ..Scene::CUT };
    assert_complete(&World::run(scene), 0);
}

#[test]
fn what_no_history_has_is_lost_on_both_ends() {
    let world = World::run(Scene { holes: (800, 900), ..Scene::CUT });
    assert_eq!((world.delivered, world.lost), (MESSAGES - 100, 100));
    assert_eq!(world.was_wrong, None);
    assert_eq!(world.standing(), Some(SubscriberProgress::Incomplete { datagrams: 0, messages: 100 }));
}

#[test]
fn what_a_history_heals_is_acknowledged() {
    for level in [AckLevel::Received, AckLevel::Processed] {
        for on_loss in [QuorumLoss::Block, QuorumLoss::Report] {
            let world = World::run(Scene { quorum: Some((level, on_loss)), ..Scene::CUT });
            assert_complete(&world, 0);
            let progress = world.publisher.ack_progress().unwrap();
            assert!(progress.is_complete(), "{level:?} {on_loss:?}: {progress:?}");
        }
    }
}

#[test]
fn what_the_application_has_not_processed_is_not_acknowledged() {
    for scene in [Scene::CUT, Scene { start: Some(HistoryStart::Oldest), cut: (0, 1_500), ..Scene::CUT }] {
        let quorum = Some((AckLevel::Processed, QuorumLoss::Report));
        let world = World::run(Scene { acknowledges: false, quorum, ..scene });
        assert_eq!((world.delivered, world.lost), (MESSAGES, 0));
        let progress = world.publisher.ack_progress().unwrap();
        assert_eq!(progress.acknowledged, 0, "{progress:?}");
    }
}

#[test]
fn a_publisher_without_subscribers_is_over_soon_and_one_that_waits_when_its_time_is_over() {
    let mut world = World::new(Scene { cut: (0, 100_000), ..Scene::CUT });
    world.publisher.publish(world.now(), &[1; LENGTH]).unwrap();
    world.publisher.finish(world.now(), LINGER);
    world.steps(40);
    assert!(world.over_at.is_some());
    // The history never answers.
    let mut world = World::new(Scene {
        speed: 0,
        start: Some(HistoryStart::Number(MessageNumber(0))),
        cut: (0, 500),
        ..Scene::CUT
    });
    for _ in 0..1_000 {
        let _ = world.publisher.publish(world.now(), &[1; LENGTH]);
        world.steps(1);
    }
    world.publisher.finish(world.now(), Duration::from_secs(3));
    world.steps(2_500);
    assert_eq!((world.over_at, world.standing()), (None, Some(SubscriberProgress::Unread)));
    // Time in which the publisher does not run does not count.
    world.now += 10 * SECOND;
    world.steps(50);
    assert_eq!((world.over_at, world.standing()), (None, Some(SubscriberProgress::Unread)));
    world.steps(600);
    assert!(world.over_at.is_some());
}
