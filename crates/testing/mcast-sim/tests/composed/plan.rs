//! What is simulated: a publisher with a log, its subscribers, and what goes wrong. Drawn from a seed; a failing plan is
//! reduced to the fewest faults.

use mcast_sim::Dice;

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
/// When the publisher starts. Clocks do not begin at 0.
pub(crate) const BEGIN: u64 = 1_000 * SECOND;

/// A span of time, from the first point to before the second one.
pub(crate) type Span = (u64, u64);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ComposedPlan {
    pub(crate) seed: u64,
    pub(crate) feed: FeedPlan,
    pub(crate) readers: Vec<ReaderPlan>,
}

/// The publisher, its log and its history server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FeedPlan {
    pub(crate) messages: u64,
    /// The time between two messages.
    pub(crate) interval: u64,
    /// The length of a message, in bytes.
    pub(crate) length: usize,
    /// The size of the retransmission buffer, in bytes.
    pub(crate) buffer: usize,
    pub(crate) waits: bool,
    /// In bytes per second.
    pub(crate) rate: Option<u64>,
    pub(crate) parity: bool,
    pub(crate) sealed: bool,
    pub(crate) linger: u64,
    /// Whether each message is synced to the disk before it is sent.
    pub(crate) syncs_each: bool,
    /// The log is pruned to this many bytes.
    pub(crate) retained: Option<u64>,
    /// The bytes per second that the history server sends, of which each connection gets as much.
    pub(crate) serve_rate: Option<u64>,
    /// Messages that are older are removed from the log.
    pub(crate) retained_age: Option<u64>,
    pub(crate) signed: bool,
    /// The number of groups that everything is sent to.
    pub(crate) paths: u8,
    /// Without a log, each process begins the stream again, with message 0.
    pub(crate) unlogged: bool,
    /// Nothing comes back: each block of eight datagrams has four parity symbols.
    pub(crate) one_way: bool,
    pub(crate) acks: Option<AckPlan>,
    pub(crate) crowd: Option<CrowdPlan>,
    pub(crate) faults: Vec<FeedFault>,
}

/// Strangers that ask the history server, which has room for fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CrowdPlan {
    /// Every second one is hostile; those have addresses of one network, and hold what they get.
    pub(crate) strangers: usize,
    pub(crate) span: Span,
}

/// Which acknowledgements are required.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AckPlan {
    /// Of the first readers, which have names.
    pub(crate) named: usize,
    pub(crate) processed: bool,
    pub(crate) blocks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FeedFault {
    /// The process does not run.
    Stall(Span),
    /// The process dies, and another one starts after this time; or the power fails, too.
    Kill { at: u64, down: u64, power: bool },
    /// The disk is full.
    DiskFull(Span),
    /// The time of day jumps.
    ClockJump { at: u64, by: i64 },
    /// A new key is added, and seals from then on; after this time the old one is removed, and the process restarted.
    Rotate { at: u64, dropped_after: Option<u64> },
    /// A stranger sends probes from addresses that nobody has, at this interval.
    Probes(Span, u64),
    /// A stranger in the network sends altered copies of the datagrams of a signed or sealed stream.
    Forge(Span),
}

/// Where a subscriber starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Begin {
    Live,
    Oldest,
    Number(u64),
    /// With what was published at this time or later.
    Time(u64),
    /// After the message before this one, as a stored position has it.
    Resume(u64),
    /// After the state of the publisher, which is fetched by TCP, and again after each loss.
    Snapshot,
}

/// What a subscriber of the live stream does at a gap. One that uses the history waits for repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    Reliable,
    Deadline(u64),
    BestEffort,
    /// Only the latest message of each key matters.
    Latest,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReaderPlan {
    pub(crate) joins: u64,
    pub(crate) begin: Begin,
    pub(crate) gaps: Gaps,
    pub(crate) heals: bool,
    pub(crate) repairs_for_others: bool,
    /// The probability that a datagram to or from it is lost.
    pub(crate) loss: f64,
    pub(crate) loss_up: f64,
    /// The probability that an announcement is lost, in addition.
    pub(crate) loss_of_announcements: f64,
    pub(crate) duplicates: f64,
    pub(crate) delay: u64,
    pub(crate) jitter: u64,
    /// The bytes per second that its link carries.
    pub(crate) narrow: Option<u64>,
    /// How long the application takes for a message, if it acknowledges that it has processed it.
    pub(crate) processing: u64,
    pub(crate) faults: Vec<ReaderFault>,
}

/// What goes wrong at a subscriber. Spans are in absolute time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ReaderFault {
    /// Nothing passes its link, TCP included.
    Cut(Span),
    /// No datagrams of this kind pass.
    Without(Traffic, Span),
    /// Nothing arrives of this path.
    PathDown(u8, Span),
    /// The process does not run.
    Stall(Span),
    /// The process dies, and another one continues after the last message that was delivered.
    Kill { at: u64, down: u64 },
    /// A stranger sends it probes from addresses that nobody has, at this interval.
    Probes(Span, u64),
}

/// Kinds of traffic that can fail on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Announcements,
    Heartbeats,
    Data,
    Statuses,
    Naks,
    Tcp,
}

impl ReaderPlan {
    /// A subscriber of the live stream, from the beginning, behind a good link.
    pub(crate) const GOOD: Self = Self {
        joins: BEGIN,
        begin: Begin::Live,
        gaps: Gaps::Reliable,
        heals: false,
        repairs_for_others: false,
        loss: 0.0,
        loss_up: 0.0,
        loss_of_announcements: 0.0,
        duplicates: 0.0,
        delay: 100_000,
        jitter: 0,
        narrow: None,
        processing: MILLISECOND,
        faults: Vec::new(),
    };

    /// Returns for how long its process ran between two points in time.
    pub(crate) fn awake(&self, from: u64, to: u64) -> u64 {
        let mut spans: Vec<Span> = self
            .faults
            .iter()
            .filter_map(|fault| match fault {
                ReaderFault::Stall(span) => Some((span.0.max(from), span.1.min(to))),
                _ => None,
            })
            .collect();
        spans.sort_unstable();
        let (mut stalled, mut until) = (0, from);
        for (begin, end) in spans {
            stalled += end.saturating_sub(begin.max(until));
            until = until.max(end);
        }
        (to - from).saturating_sub(stalled)
    }

    /// Whether it uses the history.
    pub(crate) fn uses_history(&self) -> bool {
        self.heals || !matches!(self.begin, Begin::Live | Begin::Snapshot)
    }
}

impl FeedPlan {
    /// 4,000 messages in 4 s, a small buffer, and no faults.
    pub(crate) const GOOD: Self = Self {
        messages: 4_000,
        interval: MILLISECOND,
        length: 60,
        buffer: 64 << 10,
        waits: false,
        rate: None,
        parity: false,
        sealed: false,
        linger: 40 * SECOND,
        syncs_each: false,
        retained: None,
        serve_rate: None,
        retained_age: None,
        signed: false,
        paths: 1,
        unlogged: false,
        one_way: false,
        acks: None,
        crowd: None,
        faults: Vec::new(),
    };

    /// Whether messages are removed from the log.
    pub(crate) const fn is_pruned(&self) -> bool {
        self.retained.is_some() || self.retained_age.is_some()
    }

    /// When the last message is due.
    pub(crate) const fn ends(&self) -> u64 {
        BEGIN + self.messages * self.interval
    }
}

impl ComposedPlan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x636f_6d70);
        let mut feed = FeedPlan {
            messages: dice.pick(&[300, 1_000, 3_000]),
            interval: dice.pick(&[MILLISECOND / 2, MILLISECOND, 2 * MILLISECOND]),
            length: dice.pick(&[20, 60, 300]),
            buffer: dice.pick(&[32 << 10, 64 << 10, 1 << 20]),
            waits: dice.chance(0.4),
            rate: dice.chance(0.2).then(|| dice.pick(&[400_000, 2_000_000])),
            parity: dice.chance(0.2),
            sealed: dice.chance(0.3),
            syncs_each: dice.chance(0.5),
            retained: None,
            serve_rate: None,
            retained_age: None,
            signed: false,
            paths: 1,
            unlogged: false,
            one_way: false,
            acks: None,
            crowd: None,
            linger: 60 * SECOND,
            faults: Vec::new(),
        };
        let count = dice.between(1, 3) as usize;
        let mut readers: Vec<_> = (0..count).map(|_| ReaderPlan::draw(&mut dice, &feed)).collect();
        if dice.chance(0.4) {
            let (named, processed, blocks) =
                (dice.between(1, count as u64) as usize, dice.chance(0.5), dice.chance(0.5));
            feed.acks = Some(AckPlan { named, processed, blocks });
        }
        for _ in 0..dice.pick(&[0, 0, 1, 1, 2]) {
            let fault = FeedFault::draw(&mut dice, &feed);
            feed.faults.push(fault);
        }
        let named = feed.acks.map_or(0, |acks| acks.named);
        let mut policies = Dice::new(seed ^ 0x6761_7073);
        for reader in readers.iter_mut().skip(named).filter(|reader| !reader.uses_history()) {
            reader.gaps = policies.pick(&[
                Gaps::Reliable,
                Gaps::Reliable,
                Gaps::Deadline(20 * MILLISECOND),
                Gaps::BestEffort,
            ]);
        }
        let mut plan = Self { seed, feed, readers };
        plan.draw_transport(&mut Dice::new(seed ^ 0x7061_7468));
        plan.draw_state(&mut Dice::new(seed ^ 0x7374_6174));
        plan.draw_outages(&mut Dice::new(seed ^ 0x6f75_7461));
        plan.draw_retention();
        plan.draw_crowd(&mut Dice::new(seed ^ 0x6372_6f77));
        plan
    }

    /// Draws a crowd at the history server when the first subscriber needs it, or may need it.
    fn draw_crowd(&mut self, dice: &mut Dice) {
        let joins =
            self.readers.iter().filter(|reader| reader.uses_history()).map(|reader| reader.joins).min();
        if let Some(joins) = joins.filter(|_| dice.chance(0.15)) {
            let span = (joins, joins + 60 * SECOND);
            self.feed.crowd = Some(CrowdPlan { strangers: dice.pick(&[12, 24, 48]), span });
        }
    }

    /// Draws cuts and stops of any length up to a minute, at any moment of a start, a heal or a resume, which a slow server
    /// makes long.
    fn draw_outages(&mut self, dice: &mut Dice) {
        let Self { feed, readers, .. } = self;
        if dice.chance(0.4) {
            // All is read in about this time.
            let bytes = feed.messages * (feed.length as u64 + 20);
            feed.serve_rate = Some(bytes / dice.pick(&[2, 5, 10]));
        }
        if !dice.chance(0.4) {
            return;
        }
        let named = feed.acks.map_or(0, |acks| acks.named);
        let index = dice.below(readers.len() as u64) as usize;
        let ends = feed.ends();
        let reader = &mut readers[index];
        if !matches!(reader.begin, Begin::Live | Begin::Snapshot) && index >= named && dice.chance(0.7) {
            // There is something to read.
            reader.joins = reader.joins.max(ends - dice.below((ends - BEGIN) / 2));
        }
        let begins = match dice.chance(0.5) {
            true => reader.joins + dice.below(3 * SECOND),
            // Whenever it may be healing.
            false => BEGIN + dice.below(ends + SECOND - BEGIN),
        };
        let length = match dice.chance(0.5) {
            true => dice.pick(&[3_300 * MILLISECOND, 3_500 * MILLISECOND, 6 * SECOND, 7 * SECOND]),
            false => 2 * SECOND + dice.below(58 * SECOND),
        };
        let span = (begins, begins + length);
        match dice.below(6) {
            0 | 1 => reader.faults.push(ReaderFault::Cut(span)),
            2 => reader.faults.push(ReaderFault::Without(Traffic::Tcp, span)),
            3 => reader.faults.push(ReaderFault::Stall(span)),
            _ => feed.faults.push(FeedFault::Stall(span)),
        }
    }

    /// Draws whether there is a log, and who starts with the state of the publisher.
    fn draw_state(&mut self, dice: &mut Dice) {
        let Self { feed, readers, .. } = self;
        if feed.acks.is_none() && dice.chance(0.15) {
            (feed.unlogged, feed.retained) = (true, None);
            feed.faults.retain(|fault| !matches!(fault, FeedFault::DiskFull(_)));
            for reader in &mut *readers {
                (reader.begin, reader.heals) = (Begin::Live, false);
            }
        }
        // A state is not signed.
        if feed.signed || feed.one_way {
            return;
        }
        let named = feed.acks.map_or(0, |acks| acks.named);
        for reader in readers.iter_mut().skip(named).filter(|reader| !reader.uses_history()) {
            if dice.chance(0.2) {
                (reader.begin, reader.gaps) = (Begin::Snapshot, Gaps::Reliable);
            }
        }
    }

    /// Draws what the datagrams are sent over, and how they are protected.
    fn draw_transport(&mut self, dice: &mut Dice) {
        let Self { feed, readers, .. } = self;
        let named = feed.acks.map_or(0, |acks| acks.named);
        for reader in readers.iter_mut().skip(named).filter(|reader| !reader.uses_history()) {
            if dice.chance(0.3) {
                reader.gaps = Gaps::Latest;
            }
        }
        let (begin, ends) = (BEGIN, feed.ends());
        let span = |dice: &mut Dice| {
            let from = begin + dice.below(ends - begin);
            (from, from + dice.pick(&[300 * MILLISECOND, 3 * SECOND]))
        };
        if dice.chance(0.15) {
            feed.retained = Some(dice.pick(&[100_000, 200_000]));
        }
        feed.signed = dice.chance(0.2);
        if (feed.signed || feed.sealed) && dice.chance(0.5) {
            feed.faults.push(FeedFault::Forge(span(dice)));
        }
        if dice.chance(0.2) {
            feed.paths = 2;
            // Two paths that are down at the same time are an outage.
            let path = dice.below(2) as u8;
            for reader in &mut *readers {
                if dice.chance(0.6) {
                    reader.faults.push(ReaderFault::PathDown(path, span(dice)));
                }
            }
        }
        if dice.chance(0.1) {
            let index = dice.below(readers.len() as u64) as usize;
            readers[index].narrow = Some(dice.pick(&[60_000, 200_000]));
        }
        if feed.acks.is_none() && dice.chance(0.05) {
            (feed.one_way, feed.waits, feed.parity) = (true, false, false);
            for reader in readers {
                (reader.begin, reader.heals, reader.repairs_for_others) = (Begin::Live, false, false);
                reader.gaps = Gaps::Reliable;
            }
        }
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
        for index in 0..self.readers.len() {
            if self.readers.len() > 1 {
                add(&|plan| drop(plan.readers.remove(index)));
            }
            for fault in 0..self.readers[index].faults.len() {
                add(&|plan| {
                    plan.readers[index].faults.remove(fault);
                });
            }
            add(&|plan| plan.readers[index].loss = 0.0);
            add(&|plan| plan.readers[index].loss_up = 0.0);
            add(&|plan| plan.readers[index].loss_of_announcements = 0.0);
            add(&|plan| plan.readers[index].duplicates = 0.0);
            add(&|plan| plan.readers[index].jitter = 0);
            add(&|plan| plan.readers[index].delay = ReaderPlan::GOOD.delay);
            add(&|plan| plan.readers[index].repairs_for_others = false);
            add(&|plan| plan.readers[index].heals = false);
            add(&|plan| plan.readers[index].gaps = Gaps::Reliable);
            add(&|plan| plan.readers[index].begin = Begin::Live);
            add(&|plan| plan.readers[index].narrow = None);
        }
        for fault in 0..self.feed.faults.len() {
            add(&|plan| {
                plan.feed.faults.remove(fault);
            });
        }
        add(&|plan| plan.feed.acks = None);
        add(&|plan| plan.feed.crowd = None);
        add(&|plan| plan.feed.rate = None);
        add(&|plan| plan.feed.parity = false);
        add(&|plan| plan.feed.waits = false);
        add(&|plan| plan.feed.retained = None);
        add(&|plan| plan.feed.serve_rate = None);
        add(&|plan| plan.feed.retained_age = None);
        add(&|plan| plan.feed.one_way = false);
        add(&|plan| plan.feed.unlogged = false);
        add(&|plan| {
            plan.feed.paths = 1;
            for reader in &mut plan.readers {
                reader.faults.retain(|fault| !matches!(fault, ReaderFault::PathDown(..)));
            }
        });
        add(&|plan| {
            plan.feed.signed = false;
            plan.feed.faults.retain(|fault| !matches!(fault, FeedFault::Forge(_)));
        });
        add(&|plan| {
            plan.feed.syncs_each = false;
            plan.feed.faults.retain(|fault| !matches!(fault, FeedFault::Kill { power: true, .. }));
        });
        add(&|plan| {
            plan.feed.sealed = false;
            plan.feed.faults.retain(|fault| !matches!(fault, FeedFault::Rotate { .. } | FeedFault::Forge(_)));
        });
        add(&|plan| plan.feed.length = 20);
        plans
    }
}

impl FeedFault {
    fn draw(dice: &mut Dice, feed: &FeedPlan) -> Self {
        let at = BEGIN + dice.below(feed.ends() - BEGIN + SECOND);
        let span = (at, at + dice.pick(&[300 * MILLISECOND, 3 * SECOND, 12 * SECOND]));
        match dice.below(8) {
            0 | 1 => Self::Stall(span),
            2 | 3 => Self::Kill {
                at,
                down: dice.pick(&[50 * MILLISECOND, SECOND, 4 * SECOND]),
                power: feed.syncs_each && dice.chance(0.5),
            },
            4 => Self::DiskFull((at, at + dice.pick(&[300 * MILLISECOND, 2 * SECOND]))),
            5 => Self::ClockJump { at, by: dice.pick(&[-7_200_000_000_000, 3_600_000_000_000]) },
            6 if feed.sealed => Self::Rotate {
                at,
                dropped_after: dice.chance(0.5).then(|| dice.pick(&[200 * MILLISECOND, 2 * SECOND])),
            },
            _ => Self::Probes(span, dice.pick(&[300_000, 3 * MILLISECOND])),
        }
    }
}

impl ReaderPlan {
    fn draw(dice: &mut Dice, feed: &FeedPlan) -> Self {
        let ends = feed.ends();
        let joins = match dice.below(4) {
            0 | 1 => BEGIN,
            2 => BEGIN + dice.below(ends - BEGIN),
            // Just before the end.
            _ => ends.saturating_sub(dice.below(1_200 * MILLISECOND)).max(BEGIN),
        };
        let number = dice.below(feed.messages);
        let begin = match dice.below(6) {
            0 | 1 => Begin::Live,
            2 | 3 => Begin::Oldest,
            4 => Begin::Resume(number),
            _ if dice.chance(0.5) => Begin::Number(number),
            _ => Begin::Time(BEGIN + dice.below(joins - BEGIN)),
        };
        let mut faults = Vec::new();
        for _ in 0..dice.pick(&[0, 0, 1, 1, 2, 3]) {
            faults.push(ReaderFault::draw(dice, joins, ends));
        }
        Self {
            joins,
            begin,
            gaps: Gaps::Reliable,
            heals: dice.chance(0.5),
            repairs_for_others: dice.chance(0.2),
            loss: dice.pick(&[0.0, 0.0, 0.01, 0.05, 0.2]),
            loss_up: dice.pick(&[0.0, 0.0, 0.05]),
            loss_of_announcements: dice.pick(&[0.0, 0.0, 0.3, 0.7]),
            duplicates: dice.pick(&[0.0, 0.0, 0.05]),
            delay: dice.pick(&[50_000, 200_000, 5 * MILLISECOND]),
            jitter: dice.pick(&[0, 0, 100_000, 2 * MILLISECOND]),
            narrow: None,
            processing: dice.pick(&[0, MILLISECOND / 2]),
            faults,
        }
    }
}

impl ReaderFault {
    fn draw(dice: &mut Dice, joins: u64, ends: u64) -> Self {
        let latest = ends.max(joins) + SECOND;
        let from = match dice.chance(0.3) {
            true => joins,
            false => joins + dice.below(latest - joins),
        };
        let span = |dice: &mut Dice, longest: &[u64]| {
            let longest = dice.pick(longest);
            (from, from + dice.below(longest))
        };
        match dice.below(8) {
            0 | 1 => Self::Cut(span(dice, &[500 * MILLISECOND, 3 * SECOND])),
            2 => Self::Stall(span(dice, &[2 * SECOND, 8 * SECOND, 20 * SECOND])),
            3 => Self::Kill { at: from, down: dice.pick(&[20 * MILLISECOND, 2 * SECOND]) },
            4 => Self::Probes(span(dice, &[2 * SECOND, 5 * SECOND]), dice.pick(&[300_000, 3 * MILLISECOND])),
            _ => {
                let traffic = dice.pick(&[
                    Traffic::Announcements,
                    Traffic::Announcements,
                    Traffic::Heartbeats,
                    Traffic::Data,
                    Traffic::Statuses,
                    Traffic::Naks,
                    Traffic::Tcp,
                ]);
                Self::Without(traffic, span(dice, &[SECOND, 3_200 * MILLISECOND]))
            }
        }
    }
}
