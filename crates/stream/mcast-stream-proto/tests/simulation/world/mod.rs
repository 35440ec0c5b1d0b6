//! The simulated world: a publisher, subscribers, the links between them, and a clock that advances from event to
//! event.

mod accounts;
mod acknowledgements;
mod delays;
mod forger;
mod former;
mod hostile;
mod judge;
mod meter;
mod neighbours;
mod network;
mod publisher;
mod stranger;
mod subscribers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use mcast_sim::{Dice, EventQueue};
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::PublisherStatistics;
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::subscriber::Position;
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::wire::{KeyEpoch, Kind, Sequence, Status, StreamId, SubscriberId};

use crate::audit::Audit;
use crate::cipher::Notary;
use crate::link::{Link, Quality};
use crate::plan::{Bottleneck, MILLISECOND, NetworkPlan, SubscriberPlan};
pub(crate) use acknowledgements::AckAudit;
pub(crate) use delays::EVICTION;
use delays::ReportedProgress;
use forger::Forger;
pub(crate) use forger::symbol_of;
use former::FormerPublisher;
pub(crate) use meter::Meter;
use neighbours::Exchange;
pub(crate) use neighbours::LocalTotals;
use publisher::new_publisher;
pub(crate) use stranger::Intruder;
use subscribers::address;

const STREAM: StreamId = StreamId(0x5157);
/// The publisher's first incarnation.
const FIRST_INCARNATION: u32 = 100;
/// The capacity of a subscriber's socket buffer in datagrams.
const BUFFER: usize = 300;

/// An event of the simulation.
#[derive(Debug)]
enum Happening {
    Publish,
    PublisherWakes,
    SubscriberWakes(usize),
    Joins(usize),
    Restarts(usize),
    GetsKey(usize),
    Leaves(usize),
    Stranger,
    FormerPublisherWakes,
    ClockJumps(usize),
    ToSubscriber(usize, u8, Rc<[u8]>),
    ToPublisher(usize, Vec<u8>),
    /// From one subscriber, or a stranger, to another.
    Aside(usize, usize, Rc<[u8]>),
    Hostile,
    Forger,
    Quiet,
}

struct Node {
    subscriber: Option<SubscriberMachine>,
    id: Option<SubscriberId>,
    /// The audits of the subscribers before each restart.
    former: Vec<(SubscriberId, Audit)>,
    /// Whether it has left the stream regularly.
    has_left: bool,
    /// Whether its application is about to stop and only reads what has arrived.
    has_stopped: bool,
    inbox: VecDeque<(u8, SocketAddr, Rc<[u8]>)>,
    down: Vec<Link>,
    up: Link,
    /// Its link to the other subscribers.
    aside: Link,
    /// Bytes of the stream that it has received since it started.
    received: u64,
    audit: Audit,
    starts: u64,
    wakes_at: u64,
    /// When a slow subscriber reads its next datagram.
    takes_at: u64,
    /// Until when its application is busy.
    busy_until: u64,
    /// The number of messages that were delivered.
    delivered: u64,
    /// How far its clock is ahead, in nanoseconds.
    clock: u64,
    /// The time from publishing to delivery of each message.
    latencies: Vec<u64>,
    /// Messages that its application has not processed yet, and when it has.
    unprocessed: VecDeque<(u64, Position)>,
}

/// The result of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) naks: u64,
    pub(crate) data: u64,
    pub(crate) messages: u64,
    pub(crate) statistics: PublisherStatistics,
    pub(crate) finished: u64,
    pub(crate) lost_in_trunk: u64,
    /// Data that was lost near the subscribers.
    pub(crate) lost_in_links: u64,
    /// The longest time from publishing to delivery.
    pub(crate) slowest: u64,
    /// How long publishing was refused because of a subscriber.
    pub(crate) waited: u64,
    /// How often congestion control reported a lower rate.
    pub(crate) slowed: u64,
    /// When the last message was accepted.
    pub(crate) published: u64,
    pub(crate) evicted: Vec<usize>,
    pub(crate) meter: Meter,
    pub(crate) acks: AckAudit,
    pub(crate) intruder: Intruder,
    pub(crate) local: LocalTotals,
    /// Datagrams that a member has forged, and the data that subscribers discarded because of that.
    pub(crate) forged: (u64, u64),
    pub(crate) subscribers: Vec<Delivery>,
}

impl Outcome {
    /// The longest time from publishing to delivery at one subscriber.
    pub(crate) fn slowest_of(&self, subscriber: usize) -> u64 {
        self.subscribers[subscriber].latencies.last().copied().unwrap_or_default()
    }
}

/// What one subscriber delivered.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    /// The times from publishing to delivery, in ascending order.
    pub(crate) latencies: Vec<u64>,
}

pub(crate) struct World<'p> {
    plan: &'p NetworkPlan,
    now: u64,
    happenings: EventQueue<u64, Happening>,
    dice: Dice,
    notary: Notary,
    keys: Keys,
    publisher: PublisherMachine,
    publisher_clock: u64,
    publisher_wakes_at: u64,
    incarnation: u32,
    published: u64,
    published_at: Vec<u64>,
    closed: bool,
    trunks: Vec<Link>,
    lost_in_trunk: u64,
    lost_in_links: u64,
    slowest: u64,
    nodes: Vec<Node>,
    waited_since: BTreeMap<SubscriberId, u64>,
    excused: BTreeSet<SubscriberId>,
    begun: u64,
    progress_at: u64,
    recorded: Vec<Vec<u8>>,
    naks: u64,
    traffic: Vec<(u64, Kind)>,
    /// When data, or a repair, was last sent.
    data_at: u64,
    /// The same without repairs.
    new_data_at: u64,
    tally: BTreeMap<&'static str, u64>,
    bottleneck: Option<Link>,
    /// Bytes of new data that it dropped.
    dropped: u64,
    /// Bytes of data beyond the subscribers' windows.
    without_room: u64,
    meter: Meter,
    former: Option<FormerPublisher>,
    /// The number of messages that each incarnation of the publisher accepted.
    accepted: BTreeMap<u32, u64>,
    /// Datagrams of subscribers, for an intruder to replay.
    overheard: Vec<Vec<u8>>,
    intruder: Intruder,
    forger: Forger,
    /// What passed between each repairer and each subscriber that asks it.
    exchanges: BTreeMap<(usize, usize), Exchange>,
    local: LocalTotals,
    /// Data that subscribers discarded because it was forged.
    discarded: u64,
    waited: u64,
    evicted: Vec<usize>,
    slowed: u64,
    /// The last status of each subscriber, if it is not sealed.
    statuses: BTreeMap<SubscriberId, Status>,
    /// One past the last manifest that the publisher has sent, or the first datagram before it has sent any, if it signs.
    verified_through: Option<Sequence>,
    /// The next datagram to be sent, and `verified_through`, when the publisher was last woken: evictions come before sending.
    before_sending: (Sequence, Option<Sequence>),
    /// The progress that each of them has reported.
    progress: BTreeMap<SubscriberId, ReportedProgress>,
    /// How long the publisher waited for each subscriber that is gone.
    waited_for_absent: BTreeMap<SubscriberId, u64>,
    acks: AckAudit,
    /// When each subscriber was known to the present publisher.
    present: BTreeMap<SubscriberId, Vec<(u64, u64)>>,
    /// When the publisher began to wait for subscribers that must acknowledge messages.
    blocked_since: Option<u64>,
    /// Violations that were noticed during the run.
    violations: Vec<String>,
}

impl<'p> World<'p> {
    pub(crate) fn run(plan: &'p NetworkPlan) -> Result<Outcome, String> {
        let mut world = Self::new(plan);
        world.begin();
        while let Some((at, happening)) = world.happenings.pop() {
            world.now = at;
            *world.tally.entry(name(&happening)).or_default() += 1;
            if world.takes_too_long() {
                break;
            }
            world.happen(happening)?;
            if world.is_over() {
                break;
            }
        }
        world.judge()
    }

    fn new(plan: &'p NetworkPlan) -> Self {
        let notary = Notary::default();
        let keys = match plan.sealed {
            true => Keys::one(KeyEpoch(1), notary.secret(plan.seed)),
            false => Keys::none(),
        };
        let mut dice = Dice::new(plan.seed ^ 0xa5a5);
        let mut asides = Dice::new(plan.seed ^ 0x6173_6964);
        let node = |subscriber: &SubscriberPlan| Node {
            subscriber: None,
            id: None,
            former: Vec::new(),
            has_left: false,
            has_stopped: false,
            inbox: VecDeque::new(),
            down: (0..plan.paths).map(|_| Link::new(subscriber.down.clone(), dice.next())).collect(),
            up: Link::new(subscriber.up.clone(), dice.next()),
            aside: Link::new(plan.aside.clone(), asides.next()),
            received: 0,
            audit: Audit::new(subscriber.policy, subscriber.start, plan.one_way),
            starts: 0,
            wakes_at: u64::MAX,
            takes_at: 0,
            busy_until: 0,
            delivered: 0,
            clock: 0,
            latencies: Vec::new(),
            unprocessed: VecDeque::new(),
        };
        let nodes = plan.subscribers.iter().map(node).collect();
        let trunk = |path| Quality {
            cut: plan.cut_path.filter(|_| path == 1).or(plan.trunk.cut),
            ..plan.trunk.clone()
        };
        let trunks = (0..plan.paths).map(|path| Link::new(trunk(path), dice.next())).collect();
        let publisher = new_publisher(plan, FIRST_INCARNATION, &keys, 0);
        Self {
            plan,
            now: 0,
            happenings: EventQueue::new(),
            dice: Dice::new(plan.seed ^ 0x77),
            notary,
            keys,
            publisher,
            publisher_clock: 0,
            publisher_wakes_at: u64::MAX,
            incarnation: FIRST_INCARNATION,
            published: 0,
            published_at: Vec::new(),
            closed: false,
            trunks,
            lost_in_trunk: 0,
            lost_in_links: 0,
            slowest: 0,
            nodes,
            waited_since: BTreeMap::new(),
            excused: BTreeSet::new(),
            begun: 0,
            progress_at: 0,
            recorded: Vec::new(),
            naks: 0,
            traffic: Vec::new(),
            data_at: 0,
            new_data_at: 0,
            tally: BTreeMap::new(),
            bottleneck: plan.bottleneck.map(|Bottleneck { rate, queue }| {
                Link::new(Quality { rate: Some(rate), queue, ..Quality::FREE }, 0)
            }),
            dropped: 0,
            without_room: 0,
            meter: Meter::new(plan.rate),
            former: None,
            accepted: BTreeMap::new(),
            overheard: Vec::new(),
            intruder: Intruder::default(),
            forger: Forger::default(),
            exchanges: BTreeMap::new(),
            local: LocalTotals::default(),
            discarded: 0,
            waited: 0,
            evicted: Vec::new(),
            slowed: 0,
            statuses: BTreeMap::new(),
            verified_through: nothing_verified(plan),
            before_sending: (Sequence(1), nothing_verified(plan)),
            progress: BTreeMap::new(),
            waited_for_absent: BTreeMap::new(),
            acks: AckAudit::default(),
            present: BTreeMap::new(),
            blocked_since: None,
            violations: Vec::new(),
        }
    }

    fn begin(&mut self) {
        for (index, subscriber) in self.plan.subscribers.iter().enumerate() {
            self.at(subscriber.joins, Happening::Joins(index));
            if let Some(at) = subscriber.restarts {
                self.at(subscriber.joins + at, Happening::Restarts(index));
            }
            if let Some((_, end)) = subscriber.sleeps {
                self.at(end + 1, Happening::SubscriberWakes(index));
            }
            if let Some(at) = subscriber.leaves {
                self.at(subscriber.joins + at, Happening::Leaves(index));
            }
            if let Some((_, end)) = subscriber.partition {
                self.at(end, Happening::SubscriberWakes(index));
            }
            if let Some((at, _)) = subscriber.jump {
                self.at(at, Happening::ClockJumps(index));
            }
        }
        self.at(0, Happening::PublisherWakes);
        self.at(2 * MILLISECOND, Happening::Publish);
        self.at(self.plan.good_from, Happening::Quiet);
        if self.plan.hostile.is_some() {
            self.at(MILLISECOND, Happening::Hostile);
        }
        if self.plan.forger.is_some() {
            self.at(MILLISECOND, Happening::Forger);
        }
        if let Some(stranger) = self.plan.stranger {
            self.at(100 * MILLISECOND + stranger.every(), Happening::Stranger);
        }
    }

    fn at(&mut self, time: u64, happening: Happening) {
        self.happenings.push(time, happening);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Publish => self.publish()?,
            Happening::PublisherWakes => {
                if self.publisher_wakes_at <= self.now {
                    self.publisher_wakes_at = u64::MAX;
                }
            }
            Happening::SubscriberWakes(index) => {
                if self.nodes[index].wakes_at <= self.now {
                    self.nodes[index].wakes_at = u64::MAX;
                }
                return self.serve(index);
            }
            Happening::GetsKey(index) => {
                self.set_keys_of(index);
                return self.serve(index);
            }
            Happening::ClockJumps(index) => {
                self.nodes[index].clock +=
                    self.plan.subscribers[index].jump.map_or(0, |(_, forward)| forward);
                return self.serve(index);
            }
            Happening::Leaves(index) => self.leave(index)?,
            Happening::Stranger => self.intrude(),
            Happening::FormerPublisherWakes => {
                self.as_former_publisher(Self::publish_as_former)?;
                return Ok(());
            }
            Happening::Joins(index) | Happening::Restarts(index) if self.nodes[index].has_left => {}
            Happening::Joins(index) | Happening::Restarts(index) => {
                self.start(index);
                return self.serve(index);
            }
            Happening::ToSubscriber(index, path, bytes) => {
                let node = &mut self.nodes[index];
                if node.subscriber.is_some() && node.inbox.len() < BUFFER {
                    node.inbox.push_back((path, subscribers::PUBLISHER, bytes));
                }
                return self.serve(index);
            }
            Happening::Aside(from, to, bytes) => {
                self.receive_aside(from, to, bytes);
                return self.serve(to);
            }
            Happening::ToPublisher(index, bytes) => {
                self.overhear(index, &bytes);
                self.record_status(&bytes);
                let now = self.publisher_now();
                self.publisher.handle_datagram(ClockTime(now), address(index), &bytes);
                if let Some(former) = &mut self.former {
                    former.publisher.handle_datagram(ClockTime(now), address(index), &bytes);
                }
            }
            Happening::Hostile => self.hostile(),
            Happening::Forger => self.forge(),
            Happening::Quiet => self.make_quiet(),
        }
        self.serve_publisher();
        self.check_acknowledgements()
    }
}

/// Returns `World::verified_through` of a publisher that has sent nothing.
fn nothing_verified(plan: &NetworkPlan) -> Option<Sequence> {
    plan.signed.then_some(Sequence(1))
}

fn name(happening: &Happening) -> &'static str {
    match happening {
        Happening::Publish => "publish",
        Happening::PublisherWakes => "publisher wakes",
        Happening::SubscriberWakes(_) => "subscriber wakes",
        Happening::ToSubscriber(..) => "to subscriber",
        Happening::ToPublisher(..) => "to publisher",
        Happening::Aside(..) => "aside",
        Happening::Hostile => "hostile",
        Happening::Forger => "forger",
        _ => "other",
    }
}
