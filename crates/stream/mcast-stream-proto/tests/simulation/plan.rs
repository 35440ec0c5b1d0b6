//! The plan of a run: drawn from a seed, with simpler variants to find the cause of a failure.

mod troubles;

use core::time::Duration;

use mcast_sim::Dice;
use mcast_stream_proto::publisher::Fec;
use mcast_stream_proto::subscriber::{OnLoss, Policy, Start};

use crate::link::Quality;

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
/// When all links of a random plan become good, in nanoseconds.
const GOOD_FROM: u64 = 6 * SECOND;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkPlan {
    pub(crate) seed: u64,
    pub(crate) subscribers: Vec<SubscriberPlan>,
    pub(crate) paths: u8,
    /// The link that all subscribers share.
    pub(crate) trunk: Quality,
    pub(crate) messages: u64,
    /// The time between two messages, in nanoseconds.
    pub(crate) pause: u64,
    pub(crate) sizes: Sizes,
    pub(crate) keyed: bool,
    pub(crate) datagram: usize,
    pub(crate) slots: usize,
    pub(crate) waits: bool,
    pub(crate) rate: Option<u64>,
    /// The rate is automatic, if none is configured.
    pub(crate) auto: bool,
    pub(crate) sealed: bool,
    /// The number of messages after which the key changes.
    pub(crate) rotate: Option<u64>,
    /// The number of messages after which the publisher restarts, and its next incarnation.
    pub(crate) restart: Option<(u64, NextIncarnation)>,
    /// The number of messages after which the publisher's clock jumps, and by how many nanoseconds.
    pub(crate) jump: Option<(u64, u64)>,
    /// The interval of hostile datagrams to all parties, in nanoseconds.
    pub(crate) hostile: Option<u64>,
    /// Messages are flushed at once.
    pub(crate) flush: bool,
    /// The time in which nothing passes on the second path.
    pub(crate) cut_path: Option<(u64, u64)>,
    /// When all links become good.
    pub(crate) good_from: u64,
    /// A narrow link after the publisher. Data and repairs pass it; feedback does not.
    pub(crate) bottleneck: Option<Bottleneck>,
    /// The number of messages that the former publisher still publishes after the restart, before it is killed.
    pub(crate) overlap: Option<u64>,
    /// A host without a key, with its own address.
    pub(crate) stranger: Option<Stranger>,
    /// Who must acknowledge messages.
    pub(crate) acknowledge: Option<AckPlan>,
    /// Whether the publisher signs.
    pub(crate) signed: bool,
    /// The number of messages after which its signing key changes.
    pub(crate) new_signer: Option<u64>,
    /// The interval of the forgeries of a member of the group, in nanoseconds.
    pub(crate) forger: Option<u64>,
    pub(crate) fec: Fec,
    /// There is no feedback.
    pub(crate) one_way: bool,
    /// The links between subscribers.
    pub(crate) aside: Quality,
}

/// How a subscriber repairs for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Repairing {
    Honest,
    /// It sends no repairs.
    Silent,
    /// What it sends is garbage.
    Garbled,
    /// It answers ever later, to be given more time.
    Dawdling,
    /// It answers, and sends wrong data that nobody has requested.
    Meddling,
}

/// Who must acknowledge messages, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AckPlan {
    pub(crate) by: Acknowledge,
    /// Messages are acknowledged when they are processed, and not when they are received.
    pub(crate) processed: bool,
    /// How long processing takes, in nanoseconds.
    pub(crate) processing: u64,
    pub(crate) blocks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Acknowledge {
    Count(usize),
    /// The same of subscribers with names.
    NamedCount(usize),
    All,
    /// The first of the subscribers, by name.
    Named(usize),
}

impl AckPlan {
    pub(crate) const fn has_names(self) -> bool {
        matches!(self.by, Acknowledge::NamedCount(_) | Acknowledge::Named(_))
    }

    fn draw(dice: &mut Dice, subscribers: usize) -> Self {
        let count = dice.between(1, subscribers as u64) as usize;
        let all = [
            Acknowledge::Count(count),
            Acknowledge::NamedCount(count),
            Acknowledge::All,
            Acknowledge::Named(count),
        ];
        Self {
            by: dice.pick(&all),
            processed: dice.chance(0.5),
            processing: dice.pick(&[0, MILLISECOND, 300 * MILLISECOND]),
            blocks: dice.chance(0.4),
        }
    }
}

/// A link with this rate in bytes per second, and a drop-tail queue of this size in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bottleneck {
    pub(crate) rate: u64,
    pub(crate) queue: u64,
}

/// What a host without a key sends to the publisher, with the interval in nanoseconds. It never replies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stranger {
    /// Copies of datagrams that subscribers sent to the publisher.
    Replays(u64),
    /// In a clear stream, NAKs for everything that was sent.
    ForgesNaks(u64),
    /// In a clear stream, statuses of subscribers that do not exist, have nothing and have no room.
    ForgesStatuses(u64),
}

impl Stranger {
    pub(crate) const fn every(self) -> u64 {
        match self {
            Self::Replays(every) | Self::ForgesNaks(every) | Self::ForgesStatuses(every) => every,
        }
    }
}

/// An application that stops reading after `after` messages for `time` nanoseconds, while its subscriber continues.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stuck {
    pub(crate) after: u64,
    pub(crate) time: u64,
}

impl Stuck {
    pub(crate) const FOREVER: u64 = u64::MAX;
}

/// How a restarted publisher chooses its next incarnation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NextIncarnation {
    /// One more than the former, from a state file.
    Remembered,
    /// From the clock, in quarters of a second.
    ByClock,
    /// From a clock that was set back, so that subscribers cannot know that it is newer.
    ByClockSetBack,
}

impl NextIncarnation {
    pub(crate) fn after(self, former: u32, elapsed: u64) -> u32 {
        match self {
            Self::Remembered => former + 1,
            Self::ByClock => former + 1 + (elapsed / (SECOND / 4)) as u32,
            Self::ByClockSetBack => former - 50,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubscriberPlan {
    pub(crate) joins: u64,
    pub(crate) start: Start,
    pub(crate) policy: Policy,
    pub(crate) window: usize,
    pub(crate) down: Quality,
    pub(crate) up: Quality,
    /// The time in which it reads nothing from its socket buffer.
    pub(crate) sleeps: Option<(u64, u64)>,
    /// When it restarts without any state.
    pub(crate) restarts: Option<u64>,
    /// The interval at which it reads one datagram from its socket buffer, in nanoseconds.
    pub(crate) slow: Option<u64>,
    /// The number of messages after which its application is busy each time, and for how many nanoseconds. Meanwhile it
    /// buffers what arrives.
    pub(crate) busy: Option<(u64, u64)>,
    /// When its clock jumps, and by how many nanoseconds.
    pub(crate) jump: Option<(u64, u64)>,
    /// How much later than the others it gets a new key, in nanoseconds.
    pub(crate) key_late: u64,
    /// Its application stops reading.
    pub(crate) stuck: Option<Stuck>,
    /// The time in which nothing passes in either direction.
    pub(crate) partition: Option<(u64, u64)>,
    /// Whether a firewall drops everything that it sends.
    pub(crate) firewalled: bool,
    /// When it leaves the stream regularly.
    pub(crate) leaves: Option<u64>,
    /// Whether it knows the size of its socket buffer.
    pub(crate) knows_buffer: bool,
    /// Whether it knows the publisher's public keys.
    pub(crate) verifies: bool,
    /// Whether it repairs for others.
    pub(crate) repairs: Option<Repairing>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sizes {
    Small,
    Mixed,
    Large,
    Exactly(usize),
}

impl Sizes {
    pub(crate) fn draw(self, dice: &mut Dice) -> usize {
        let most = match self {
            Self::Small => 40,
            Self::Mixed if dice.chance(0.9) => 300,
            Self::Mixed => 6_000,
            Self::Large => 20_000,
            Self::Exactly(length) => return length,
        };
        dice.below(most) as usize
    }
}

impl NetworkPlan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let sealed = dice.chance(0.5);
        let count = if dice.chance(0.05) { dice.between(7, 24) } else { dice.between(1, 5) };
        let keyed = dice.chance(0.3);
        let mut further = Dice::new(seed ^ 0x6675_7274);
        let mut subscribers: Vec<_> =
            (0..count).map(|_| SubscriberPlan::draw(&mut dice, sealed, keyed)).collect();
        subscribers.iter_mut().for_each(|subscriber| subscriber.draw_further(&mut further));
        let mut others = Dice::new(seed ^ 0x6275_7379);
        subscribers.iter_mut().for_each(|subscriber| subscriber.busy = busy(&mut others));
        let mut buffers = Dice::new(seed ^ 0x6275_6666);
        subscribers.iter_mut().for_each(|subscriber| subscriber.knows_buffer = buffers.chance(0.5));
        if further.chance(0.05) {
            lose_feedback_only(&mut subscribers, &mut further);
        }
        let plan = Self {
            seed,
            subscribers,
            paths: if dice.chance(0.25) { 2 } else { 1 },
            trunk: trunk(&mut dice),
            messages: dice.between(20, 500),
            pause: dice.pick(&[0, 10_000, 50_000, 300_000, 3 * MILLISECOND]),
            sizes: dice.pick(&[Sizes::Small, Sizes::Small, Sizes::Mixed, Sizes::Mixed, Sizes::Large]),
            keyed,
            datagram: dice.pick(&[256, 700, 1232, 1472]),
            slots: dice.pick(&[128, 256, 1024]),
            waits: dice.chance(0.7),
            rate: dice.chance(0.3).then(|| dice.pick(&[300_000, 2_000_000, 50_000_000])),
            auto: false,
            sealed,
            rotate: (sealed && dice.chance(0.3)).then(|| dice.between(1, 300)),
            restart: dice.chance(0.15).then(|| (dice.between(1, 300), next_incarnation(&mut further))),
            jump: dice.chance(0.1).then(|| (dice.between(1, 300), dice.between(1, 30 * SECOND))),
            hostile: dice.chance(if sealed { 0.5 } else { 0.2 }).then(|| dice.pick(&[100_000, MILLISECOND])),
            flush: dice.chance(0.5),
            cut_path: further.chance(0.5).then(|| {
                let from = further.below(300 * MILLISECOND);
                (from, from + further.below(2 * SECOND))
            }),
            good_from: GOOD_FROM,
            bottleneck: None,
            overlap: None,
            stranger: None,
            acknowledge: None,
            signed: false,
            new_signer: None,
            forger: None,
            fec: Fec::Off,
            one_way: false,
            aside: Quality::GOOD,
        };
        let mut acks = Dice::new(seed ^ 0x6163_6b73);
        let plan = troubles::added(plan);
        let mut acknowledge = acks.chance(0.4).then(|| AckPlan::draw(&mut acks, plan.subscribers.len()));
        // A publisher that blocks ends its stream late, and neither strangers nor its predecessor are quiet before that.
        if let Some(known) =
            acknowledge.as_mut().filter(|_| plan.stranger.is_some() || plan.overlap.is_some())
        {
            known.blocks = false;
        }
        let mut parity = Dice::new(seed ^ 0x0066_6563);
        let fec = fec(&mut parity);
        let one_way = parity.chance(0.15);
        let one_way = one_way && fec != Fec::Auto;
        let acknowledge = acknowledge.filter(|_| !one_way);
        let auto = plan.rate.is_none() && !one_way && Dice::new(seed ^ 0x6175_746f).chance(0.25);
        Self { acknowledge, auto, fec, one_way, waits: plan.waits && !one_way, ..plan }
            .draw_signing()
            .draw_repairers()
    }

    /// Draws whether the publisher signs.
    fn draw_signing(mut self) -> Self {
        let mut dice = Dice::new(self.seed ^ 0x7369_676e);
        self.signed = dice.chance(0.5);
        if self.signed && self.fec != Fec::Off && self.datagram < 700 {
            // So that the longest messages fit the retransmission buffer, with their manifests.
            self.slots = self.slots.max(256);
        }
        let everyone = dice.chance(0.7);
        for subscriber in &mut self.subscribers {
            subscriber.verifies = self.signed && (everyone || dice.chance(0.5));
        }
        self.new_signer = (self.signed && dice.chance(0.3)).then(|| dice.between(1, 300));
        let has_forger = dice.chance(0.4) && self.subscribers.iter().all(|subscriber| subscriber.verifies);
        self.forger = has_forger.then(|| dice.pick(&[300_000, 2 * MILLISECOND, 30 * MILLISECOND]));
        self
    }

    /// Draws who repairs for others, after all that plans had before.
    fn draw_repairers(mut self) -> Self {
        let mut dice = Dice::new(self.seed ^ 0x6c6f_6361);
        if !dice.chance(0.5) {
            return self;
        }
        self.aside = quality(&mut dice, self.sealed);
        let kinds = [
            Repairing::Honest,
            Repairing::Honest,
            Repairing::Silent,
            Repairing::Garbled,
            Repairing::Dawdling,
        ];
        for subscriber in &mut self.subscribers {
            subscriber.repairs = dice.chance(0.6).then(|| dice.pick(&kinds));
        }
        self
    }

    /// A short plan without faults.
    pub(crate) fn simple(subscribers: Vec<SubscriberPlan>) -> Self {
        Self {
            seed: 1,
            subscribers,
            paths: 1,
            trunk: Quality::FREE,
            messages: 100,
            pause: 0,
            sizes: Sizes::Small,
            keyed: false,
            datagram: 1232,
            slots: 1024,
            waits: true,
            rate: None,
            auto: false,
            sealed: false,
            rotate: None,
            restart: None,
            jump: None,
            hostile: None,
            flush: true,
            cut_path: None,
            good_from: GOOD_FROM,
            bottleneck: None,
            overlap: None,
            stranger: None,
            acknowledge: None,
            signed: false,
            new_signer: None,
            forger: None,
            fec: Fec::Off,
            one_way: false,
            aside: Quality::GOOD,
        }
    }

    /// This plan without faults of links, subscribers or clocks.
    pub(crate) fn calm(self) -> Self {
        let calm = |SubscriberPlan { start, window, verifies, repairs, .. }| SubscriberPlan {
            start,
            window,
            verifies,
            repairs,
            ..SubscriberPlan::simple()
        };
        let subscribers = self.subscribers.into_iter().map(calm).collect();
        let (trunk, hostile) = (Quality::FREE, None);
        Self {
            subscribers,
            trunk,
            hostile,
            forger: None,
            paths: 1,
            restart: None,
            rotate: None,
            jump: None,
            rate: None,
            ..self
        }
    }

    /// Whether readers that stop are the only faults.
    pub(crate) fn is_calm(&self) -> bool {
        let mut other = self.clone();
        other.subscribers.iter_mut().for_each(|subscriber| subscriber.stuck = None);
        self.bottleneck.is_none() && self.stranger.is_none() && other == other.clone().calm()
    }

    /// Whether no datagrams are lost by congestion, or in a way that looks like it.
    pub(crate) fn is_uncongested(&self) -> bool {
        let is_fast = |subscriber: &SubscriberPlan| {
            let pauses = [
                subscriber.slow,
                subscriber.sleeps.map(|(from, _)| from),
                subscriber.partition.map(|(from, _)| from),
            ];
            subscriber.down.rate.is_none() && pauses.iter().all(Option::is_none)
        };
        // The publisher compares losses as if they were independent. Those of a burst are one event: a sample of 64
        // datagrams has 3 bursts of 20, whose number varies by a factor of two by chance, as if a link were too narrow.
        let has_bursts =
            |subscriber: &SubscriberPlan| subscriber.down.burst.is_some_and(|(_, end)| end * 64.0 < 10.0);
        // A window that is smaller than a burst drops datagrams like a narrow link.
        let is_wide = |subscriber: &SubscriberPlan| subscriber.window >= 1_024;
        let is_free = |subscriber: &SubscriberPlan| {
            is_fast(subscriber) && is_wide(subscriber) && !has_bursts(subscriber)
        };
        self.bottleneck.is_none() && self.forger.is_none() && self.subscribers.iter().all(is_free)
    }

    /// Plans that lack one fault or feature each.
    pub(crate) fn simpler(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                plans.push(plan);
            }
        };
        for index in 0..self.subscribers.len() {
            if self.subscribers.len() > 1 {
                add(&|plan| {
                    plan.subscribers.remove(index);
                });
            }
            add(&|plan| plan.subscribers[index].down = Quality::GOOD);
            add(&|plan| plan.subscribers[index].up = Quality::GOOD);
            add(&|plan| plan.subscribers[index].down.jitter = 0);
            add(&|plan| plan.subscribers[index].down.duplicate = 0.0);
            add(&|plan| plan.subscribers[index].down.cut = None);
            add(&|plan| plan.subscribers[index].down.burst = None);
            add(&|plan| plan.subscribers[index].sleeps = None);
            add(&|plan| plan.subscribers[index].restarts = None);
            add(&|plan| plan.subscribers[index].joins = 0);
            add(&|plan| plan.subscribers[index].slow = None);
            add(&|plan| plan.subscribers[index].busy = None);
            add(&|plan| plan.subscribers[index].jump = None);
            add(&|plan| plan.subscribers[index].key_late = 0);
            add(&|plan| plan.subscribers[index].stuck = None);
            add(&|plan| plan.subscribers[index].partition = None);
            add(&|plan| plan.subscribers[index].firewalled = false);
            add(&|plan| plan.subscribers[index].leaves = None);
            add(&|plan| plan.subscribers[index].knows_buffer = false);
            add(&|plan| plan.subscribers[index].repairs = None);
            add(&|plan| {
                plan.subscribers[index].repairs = plan.subscribers[index].repairs.map(|_| Repairing::Honest);
            });
        }
        add(&|plan| plan.trunk = Quality::FREE);
        add(&|plan| plan.aside = Quality::GOOD);
        add(&|plan| plan.paths = 1);
        add(&|plan| plan.cut_path = None);
        add(&|plan| plan.messages = plan.messages / 2 + 1);
        add(&|plan| plan.messages = plan.messages.max(2) - 1);
        add(&|plan| plan.rate = None);
        add(&|plan| plan.auto = false);
        add(&|plan| plan.rotate = None);
        add(&|plan| (plan.restart, plan.overlap) = (None, None));
        add(&|plan| plan.overlap = None);
        add(&|plan| plan.bottleneck = None);
        add(&|plan| plan.stranger = None);
        add(&|plan| plan.acknowledge = None);
        add(&|plan| plan.fec = Fec::Off);
        add(&|plan| plan.one_way = false);
        add(&|plan| plan.acknowledge = plan.acknowledge.map(|known| AckPlan { processed: false, ..known }));
        add(&|plan| plan.jump = None);
        add(&|plan| plan.hostile = None);
        add(&|plan| plan.forger = None);
        add(&|plan| plan.new_signer = None);
        add(&|plan| {
            (plan.signed, plan.new_signer, plan.forger) = (false, None, None);
            plan.subscribers.iter_mut().for_each(|subscriber| subscriber.verifies = false);
        });
        add(&|plan| plan.sizes = Sizes::Small);
        add(&|plan| plan.keyed = false);
        add(&|plan| plan.flush = true);
        add(&|plan| {
            (plan.sealed, plan.rotate, plan.hostile) = (false, None, None);
            for subscriber in &mut plan.subscribers {
                (subscriber.down.corrupt, subscriber.up.corrupt) = (0.0, 0.0);
            }
        });
        plans
    }
}

impl SubscriberPlan {
    /// A subscriber that joins at the start, behind good links.
    pub(crate) fn simple() -> Self {
        Self {
            joins: 0,
            start: Start::Now,
            policy: Policy::Reliable(OnLoss::Continue),
            window: 128,
            down: Quality::GOOD,
            up: Quality::GOOD,
            sleeps: None,
            restarts: None,
            slow: None,
            busy: None,
            jump: None,
            key_late: 0,
            stuck: None,
            partition: None,
            firewalled: false,
            leaves: None,
            knows_buffer: false,
            verifies: false,
            repairs: None,
        }
    }

    fn draw(dice: &mut Dice, sealed: bool, keyed: bool) -> Self {
        let reliable = [OnLoss::Continue, OnLoss::Continue, OnLoss::Snapshot, OnLoss::Stop];
        let policy = match dice.below(8) {
            0 => Policy::Deadline(Duration::from_nanos(dice.pick(&[MILLISECOND, 20 * MILLISECOND]))),
            1 => Policy::BestEffort(Duration::from_nanos(dice.pick(&[0, MILLISECOND]))),
            2 if keyed => Policy::Latest,
            _ => Policy::Reliable(dice.pick(&reliable)),
        };
        let joins = if dice.chance(0.7) { 0 } else { dice.below(200 * MILLISECOND) };
        Self {
            joins,
            start: dice.pick(&[Start::Now, Start::Oldest, Start::Snapshot]),
            policy,
            window: dice.pick(&[16, 128, 1024]),
            down: quality(dice, sealed),
            up: quality(dice, sealed),
            sleeps: dice.chance(0.15).then(|| {
                let from = dice.below(300 * MILLISECOND);
                (from, from + dice.below(3 * SECOND))
            }),
            restarts: dice.chance(0.08).then(|| dice.below(300 * MILLISECOND)),
            ..Self::simple()
        }
    }

    fn draw_further(&mut self, dice: &mut Dice) {
        self.slow = dice.chance(0.08).then(|| dice.pick(&[20_000, 200_000, 5 * MILLISECOND]));
        self.jump = dice.chance(0.08).then(|| (dice.below(400 * MILLISECOND), dice.between(1, 30 * SECOND)));
        self.key_late = if dice.chance(0.3) { dice.below(500 * MILLISECOND) } else { 0 };
        self.down.kth = dice.chance(0.1).then(|| dice.between(1, 60));
        self.up.kth = dice.chance(0.1).then(|| dice.between(1, 12));
    }
}

/// In three of four plans.
fn fec(dice: &mut Dice) -> Fec {
    match dice.below(4) {
        0 | 1 => Fec::Fixed { data: dice.pick(&[1, 4, 20, 64]), parity: dice.pick(&[1, 2, 4, 8]) },
        2 => Fec::Auto,
        _ => Fec::Crowd,
    }
}

fn busy(dice: &mut Dice) -> Option<(u64, u64)> {
    let pauses = [200_000, 20 * MILLISECOND, 700 * MILLISECOND, 3 * SECOND];
    dice.chance(0.2).then(|| (dice.pick(&[1, 2, 7, 40, 150]), dice.pick(&pauses)))
}

fn next_incarnation(dice: &mut Dice) -> NextIncarnation {
    dice.pick(&[NextIncarnation::Remembered, NextIncarnation::ByClock, NextIncarnation::ByClockSetBack])
}

/// All data arrives, but hardly any feedback.
fn lose_feedback_only(subscribers: &mut [SubscriberPlan], dice: &mut Dice) {
    for subscriber in subscribers {
        subscriber.down = Quality { delay: subscriber.down.delay, ..Quality::GOOD };
        subscriber.up.loss = dice.pick(&[0.5, 0.9, 1.0]);
    }
}

/// In most cases without loss.
fn trunk(dice: &mut Dice) -> Quality {
    let loss = dice.pick(&[0.0, 0.0, 0.0, 0.02, 0.1]);
    Quality { loss, every: dice.chance(0.1).then(|| dice.between(3, 60)), ..Quality::FREE }
}

fn quality(dice: &mut Dice, sealed: bool) -> Quality {
    if dice.chance(0.25) {
        return Quality::GOOD;
    }
    let start = dice.below(300 * MILLISECOND);
    Quality {
        loss: dice.pick(&[0.0, 0.0, 0.01, 0.05, 0.2, 0.4]),
        burst: dice.chance(0.2).then(|| (0.01, dice.pick(&[0.05, 0.3]))),
        every: dice.chance(0.1).then(|| dice.between(2, 40)),
        kth: None,
        duplicate: dice.pick(&[0.0, 0.0, 0.1]),
        delay: dice.pick(&[20_000, 100_000, MILLISECOND, 20 * MILLISECOND]),
        jitter: dice.pick(&[0, 0, 50_000, 2 * MILLISECOND]),
        // In clear, UDP's checksum would drop corrupted datagrams.
        corrupt: if sealed { dice.pick(&[0.0, 0.0, 0.02]) } else { 0.0 },
        rate: dice.chance(0.15).then(|| dice.pick(&[1_000_000, 20_000_000])),
        queue: Quality::GOOD.queue,
        cut: dice.chance(0.15).then(|| (start, start + dice.below(2 * SECOND))),
    }
}
