//! A sender, receivers, the links between them, and a clock that goes on when all is done.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;

use mcast_stream::receiver::{Cause, Item, Policy, ReceiverConfig};
use mcast_stream::seal::Keys;
use mcast_stream::sender::{Breaker, SenderConfig, SenderEvent, SenderStatistics, Transmit};
use mcast_stream::wire::{
    FlowControl, Header, Heartbeat, Incarnation, KeyEpoch, Kind, Packet, PacketWriter, ReceiverId, StreamId,
};
use mcast_stream::{Receiver, Sender, Target};

use crate::audit::Audit;
use crate::cipher::Notary;
use crate::content;
use crate::dice::Dice;
use crate::link::{Link, Quality};
use crate::plan::{MILLISECOND, Plan, SECOND};

const STREAM: StreamId = StreamId(0x5157);
/// When all links become good.
const QUIET_AFTER: u64 = 6 * SECOND;
/// No run is longer.
const LONGEST: u64 = 900 * SECOND;
/// Datagrams that a sleeping receiver's buffer holds.
const BUFFER: usize = 300;

/// What happens at a time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Publish,
    SenderWakes,
    ReceiverWakes(usize),
    Joins(usize),
    Restarts(usize),
    ToReceiver(usize, u8, Vec<u8>),
    ToSender(usize, Vec<u8>),
    Hostile,
    Quiet,
}

struct Node {
    receiver: Option<Receiver>,
    inbox: VecDeque<(u8, Vec<u8>)>,
    down: Vec<Link>,
    up: Link,
    audit: Audit,
    lives: u64,
    wakes_at: u64,
    past: Vec<Audit>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) naks: u64,
    pub(crate) data: u64,
    pub(crate) messages: u64,
    pub(crate) statistics: SenderStatistics,
    pub(crate) finished: u64,
    pub(crate) lost_in_trunk: u64,
    /// The longest time from publishing to handing out.
    pub(crate) slowest: u64,
}

pub(crate) struct World<'p> {
    plan: &'p Plan,
    now: u64,
    order: u64,
    happenings: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    dice: Dice,
    notary: Notary,
    keys: Keys,
    sender: Sender,
    sender_clock: u64,
    sender_wakes_at: u64,
    life: u32,
    published: u64,
    published_at: Vec<u64>,
    closed: bool,
    trunks: Vec<Link>,
    lost_in_trunk: u64,
    slowest: u64,
    nodes: Vec<Node>,
    waited_since: HashMap<ReceiverId, u64>,
    excused: HashMap<ReceiverId, bool>,
    begun: u64,
    recorded: Vec<Vec<u8>>,
    naks: u64,
    traffic: Vec<(u64, Kind)>,
    tally: HashMap<&'static str, u64>,
}

impl<'p> World<'p> {
    pub(crate) fn run(plan: &'p Plan) -> Result<Outcome, String> {
        let mut world = Self::new(plan);
        world.begin();
        while let Some(Reverse((at, _, happening))) = world.happenings.pop() {
            world.now = at;
            *world.tally.entry(name(&happening)).or_default() += 1;
            if at > LONGEST {
                break;
            }
            world.happen(happening)?;
            if world.is_over() {
                break;
            }
        }
        world.judge()
    }

    fn new(plan: &'p Plan) -> Self {
        let notary = Notary::default();
        let keys = match plan.sealed {
            true => Keys::one(KeyEpoch(1), notary.secret(plan.seed)),
            false => Keys::none(),
        };
        let mut dice = Dice::new(plan.seed ^ 0xa5a5);
        let node = |receiver: &crate::plan::ReceiverPlan| Node {
            receiver: None,
            inbox: VecDeque::new(),
            down: (0..plan.paths).map(|_| Link::new(receiver.down.clone(), dice.next())).collect(),
            up: Link::new(receiver.up.clone(), dice.next()),
            audit: Audit::new(receiver.policy),
            lives: 0,
            wakes_at: u64::MAX,
            past: Vec::new(),
        };
        let nodes = plan.receivers.iter().map(node).collect();
        let trunks = (0..plan.paths).map(|_| Link::new(plan.trunk.clone(), dice.next())).collect();
        let sender = new_sender(plan, 1, &keys, 0);
        Self {
            plan,
            now: 0,
            order: 0,
            happenings: BinaryHeap::new(),
            dice: Dice::new(plan.seed ^ 0x77),
            notary,
            keys,
            sender,
            sender_clock: 0,
            sender_wakes_at: u64::MAX,
            life: 1,
            published: 0,
            published_at: Vec::new(),
            closed: false,
            trunks,
            lost_in_trunk: 0,
            slowest: 0,
            nodes,
            waited_since: HashMap::new(),
            excused: HashMap::new(),
            begun: 0,
            recorded: Vec::new(),
            naks: 0,
            traffic: Vec::new(),
            tally: HashMap::new(),
        }
    }

    fn begin(&mut self) {
        for (index, receiver) in self.plan.receivers.iter().enumerate() {
            self.at(receiver.joins, Happening::Joins(index));
            if let Some(at) = receiver.restarts {
                self.at(receiver.joins + at, Happening::Restarts(index));
            }
            if let Some((_, end)) = receiver.sleeps {
                self.at(end + 1, Happening::ReceiverWakes(index));
            }
        }
        self.at(0, Happening::SenderWakes);
        self.at(2 * MILLISECOND, Happening::Publish);
        self.at(QUIET_AFTER, Happening::Quiet);
        if self.plan.hostile.is_some() {
            self.at(MILLISECOND, Happening::Hostile);
        }
    }

    fn at(&mut self, time: u64, happening: Happening) {
        self.order += 1;
        self.happenings.push(Reverse((time, self.order, happening)));
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Publish => self.publish()?,
            Happening::SenderWakes => {
                if self.sender_wakes_at <= self.now {
                    self.sender_wakes_at = u64::MAX;
                }
            }
            Happening::ReceiverWakes(index) => {
                if self.nodes[index].wakes_at <= self.now {
                    self.nodes[index].wakes_at = u64::MAX;
                }
                return self.serve(index);
            }
            Happening::Joins(index) => {
                self.start(index);
                return self.serve(index);
            }
            Happening::Restarts(index) => {
                self.start(index);
                return self.serve(index);
            }
            Happening::ToReceiver(index, path, bytes) => {
                let node = &mut self.nodes[index];
                if node.receiver.is_some() && node.inbox.len() < BUFFER {
                    node.inbox.push_back((path, bytes));
                }
                return self.serve(index);
            }
            Happening::ToSender(index, bytes) => {
                let now = self.sender_now();
                self.sender.handle(now, address(index), &bytes);
            }
            Happening::Hostile => self.hostile(),
            Happening::Quiet => self.make_quiet(),
        }
        self.serve_sender()
    }

    fn sender_now(&self) -> u64 {
        self.now + self.sender_clock
    }

    fn publish(&mut self) -> Result<(), String> {
        if self.closed {
            return Ok(());
        }
        if self.published == self.plan.messages {
            self.closed = true;
            let now = self.sender_now();
            self.sender.close(now);
            return Ok(());
        }
        let now = self.sender_now();
        let (key, bytes) = content::message(self.plan, self.life, self.published);
        let published = match key {
            Some(key) => self.sender.publish_keyed(now, key, &bytes),
            None => self.sender.publish(now, &bytes),
        };
        let pause = match published {
            Ok(number) if number != self.published => {
                return Err(format!("{number} follows {}", self.published));
            }
            Ok(_) => {
                self.published += 1;
                self.published_at.push(self.now);
                if self.plan.flush || self.dice.chance(0.1) {
                    self.sender.flush(now);
                }
                self.on_published();
                self.plan.pause
            }
            Err(refusal) if refusal.is_temporary() => MILLISECOND,
            Err(refusal) => return Err(format!("message {} was refused: {refusal}", self.published)),
        };
        self.at(self.now + pause.max(1), Happening::Publish);
        Ok(())
    }

    fn on_published(&mut self) {
        let now = self.sender_now();
        if self.plan.rotate == Some(self.published) && self.life == 1 {
            self.keys.add(KeyEpoch(2), self.notary.secret(self.plan.seed ^ 1));
            let keys = self.keys.clone();
            for node in &mut self.nodes {
                if let Some(receiver) = &mut node.receiver {
                    receiver.set_keys(keys.clone());
                }
            }
            self.sender.set_keys(now, keys);
        }
        if let Some((_, forward)) = self.plan.jump.filter(|(at, _)| *at == self.published && self.life == 1) {
            self.sender_clock += forward;
        }
        if self.plan.restart == Some(self.published) && self.life == 1 {
            self.life = 2;
            self.sender = new_sender(self.plan, 2, &self.keys, now);
            (self.published, self.begun) = (0, self.now);
            self.published_at.clear();
            self.waited_since.clear();
        }
    }

    /// Starts a receiver, for the first time or again.
    fn start(&mut self, index: usize) {
        let plan = &self.plan.receivers[index];
        let node = &mut self.nodes[index];
        node.lives += 1;
        let config = ReceiverConfig {
            start: plan.start,
            policy: plan.policy,
            window: plan.window,
            paths: self.plan.paths,
            keys: self.keys.clone(),
            unix_offset: Some(SECOND),
            seed: self.plan.seed ^ (index as u64) << 32 ^ node.lives << 20,
            ..ReceiverConfig::new(STREAM)
        };
        node.receiver = Some(Receiver::new(config, self.now));
        node.inbox.clear();
        let audit = std::mem::replace(&mut node.audit, Audit::new(plan.policy));
        node.past.push(audit);
    }

    /// Lets a receiver take what is in its buffer, and say what it has to say.
    fn serve(&mut self, index: usize) -> Result<(), String> {
        let sleeps = self.plan.receivers[index].sleeps;
        if sleeps.is_some_and(|(from, to)| (from..to).contains(&self.now)) {
            return Ok(());
        }
        self.take_all(index, &[])?;
        while let Some((path, bytes)) = self.nodes[index].inbox.pop_front() {
            let now = self.now;
            let Some(receiver) = &mut self.nodes[index].receiver else { return Ok(()) };
            receiver.handle(now, path, SENDER, &bytes);
            self.take_all(index, &bytes)?;
        }
        self.send_from(index);
        self.take_all(index, &[])?;
        self.wake_receiver(index);
        Ok(())
    }

    fn take_all(&mut self, index: usize, bytes: &[u8]) -> Result<(), String> {
        let (plan, now) = (self.plan, self.now);
        let (published, life) = (self.published, self.life);
        let node = &mut self.nodes[index];
        let Some(receiver) = &mut node.receiver else { return Ok(()) };
        let id = receiver.id();
        let blame = |what: String| format!("receiver {index} at {now}: {what}");
        let mut lost = Vec::new();
        loop {
            resume(&mut node.audit, receiver, life, published);
            let Some(item) = receiver.next(now, bytes) else { break };
            match item {
                Item::Message(message) => {
                    node.audit.message(plan, &message).map_err(blame)?;
                    if let Some(at) = self.published_at.get(message.number as usize) {
                        self.slowest = self.slowest.max(now.saturating_sub(*at));
                    }
                }
                Item::Event(event) => {
                    node.audit.event(&event).map_err(blame)?;
                    if let mcast_stream::receiver::Event::Lost { first, cause, .. } = event {
                        lost.push((first, cause));
                    }
                }
            }
        }
        if receiver.kept() > receiver.config().window.max(16).next_power_of_two() {
            return Err(blame("it keeps more than its window".into()));
        }
        let audited = node.audit.life;
        for (first, cause) in lost {
            self.check_excuse(index, id, audited, first, cause)?;
        }
        Ok(())
    }

    /// Who is waited for loses nothing that was published since.
    fn check_excuse(
        &self,
        index: usize,
        id: ReceiverId,
        life: Option<u32>,
        first: u64,
        cause: Cause,
    ) -> Result<(), String> {
        let is_waited = self.plan.waits && life == Some(self.life) && !self.excused.contains_key(&id);
        let Some(since) = self.waited_since.get(&id).filter(|_| is_waited && cause == Cause::Unrecoverable)
        else {
            return Ok(());
        };
        match self.published_at.get(first as usize) {
            Some(at) if at > since => {
                Err(format!("receiver {index} lost {first} although it was waited for since {since}"))
            }
            _ => Ok(()),
        }
    }

    fn send_from(&mut self, index: usize) {
        let now = self.now;
        let mut sent = Vec::new();
        if let Some(receiver) = &mut self.nodes[index].receiver {
            while let Some(control) = receiver.poll(now) {
                sent.push(control.bytes().to_vec());
                receiver.reuse(control);
            }
        }
        for bytes in sent {
            let kind = Packet::parse(&bytes).map(|packet| packet.header.kind);
            self.naks += u64::from(kind == Ok(Kind::Nak));
            self.traffic.extend(kind.ok().map(|kind| (now, kind)));
            let arrivals = self.nodes[index].up.pass(now, bytes.len());
            for (at, corrupt) in arrivals {
                let bytes = if corrupt { self.corrupted(&bytes) } else { bytes.clone() };
                self.at(at, Happening::ToSender(index, bytes));
            }
        }
    }

    fn wake_receiver(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(receiver) = &node.receiver else { return };
        let at = receiver.next_deadline().max(self.now + 1_000);
        if at < node.wakes_at {
            node.wakes_at = at;
            self.at(at, Happening::ReceiverWakes(index));
        }
    }

    fn serve_sender(&mut self) -> Result<(), String> {
        let now = self.sender_now();
        while let Some(transmit) = self.sender.poll(now) {
            match transmit {
                Transmit::Data { first, count } => self.send_data(first, count),
                Transmit::Repair { sequence, to } => {
                    let bytes = self.sender.datagram(sequence).to_vec();
                    self.send_to(to, &bytes);
                }
                Transmit::Control(control) => {
                    let bytes = control.bytes().to_vec();
                    self.send_to(control.to, &bytes);
                    self.sender.reuse(control);
                }
            }
        }
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::ReceiverJoined(id, _) => {
                    self.waited_since.entry(id).or_insert(self.now);
                }
                SenderEvent::ReceiverSilent(id) | SenderEvent::ReceiverEvicted(id, _) => {
                    self.excused.insert(id, true);
                }
                _ => {}
            }
        }
        let at = self.sender.next_deadline().saturating_sub(self.sender_clock).max(self.now + 1_000);
        if at < self.sender_wakes_at {
            self.sender_wakes_at = at;
            self.at(at, Happening::SenderWakes);
        }
        Ok(())
    }

    fn send_data(&mut self, first: u64, count: u64) {
        for path in 0..self.plan.paths {
            self.sender.mark_path(first, count, path, false);
            for sequence in first..first + count {
                let bytes = self.sender.datagram(sequence).to_vec();
                self.reach_group(path, &bytes);
            }
        }
    }

    fn send_to(&mut self, to: Target, bytes: &[u8]) {
        match to {
            Target::Discovery => {}
            Target::Group => (0..self.plan.paths).for_each(|path| self.reach_group(path, bytes)),
            Target::Address(address) => {
                self.record(bytes);
                self.reach_node(usize::from(address.port() - 1), 0, bytes);
            }
        }
    }

    fn reach_group(&mut self, path: u8, bytes: &[u8]) {
        if self.recorded.len() < 4_000 && self.plan.hostile.is_some() {
            self.recorded.push(bytes.to_vec());
        }
        self.record(bytes);
        let now = self.now;
        if self.trunks[usize::from(path)].pass(now, bytes.len()).is_empty() {
            let is_data = Packet::parse(bytes).is_ok_and(|packet| packet.header.kind == Kind::Data);
            self.lost_in_trunk += u64::from(is_data);
            return;
        }
        for index in 0..self.nodes.len() {
            self.reach_node(index, path, bytes);
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        if let Ok(packet) = Packet::parse(bytes) {
            self.traffic.push((self.now, packet.header.kind));
        }
    }

    fn reach_node(&mut self, index: usize, path: u8, bytes: &[u8]) {
        let now = self.now;
        let link = &mut self.nodes[index].down[usize::from(path)];
        for (at, corrupt) in link.pass(now, bytes.len()) {
            let bytes = if corrupt { self.corrupted(bytes) } else { bytes.to_vec() };
            self.at(at, Happening::ToReceiver(index, path, bytes));
        }
    }

    fn corrupted(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.dice.between(1, 4) {
            let at = self.dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= self.dice.between(1, 255) as u8;
        }
        bytes
    }

    /// Noise, changed copies, and copies from long ago, to everybody.
    fn hostile(&mut self) {
        let Some(every) = self.plan.hostile.filter(|_| self.now < QUIET_AFTER) else { return };
        let bytes = match (self.dice.below(4), self.recorded.len() as u64) {
            (0, _) | (_, 0) => (0..self.dice.below(100)).map(|_| self.dice.next() as u8).collect(),
            (3, _) => self.forged(),
            (1, count) => self.recorded[self.dice.below(count) as usize].clone(),
            (_, count) => {
                let old = self.recorded[self.dice.below(count) as usize].clone();
                self.corrupted(&old)
            }
        };
        for index in 0..self.nodes.len() {
            self.at(self.now, Happening::ToReceiver(index, 0, bytes.clone()));
            self.at(self.now, Happening::ToSender(index, bytes.clone()));
        }
        self.at(self.now + every, Happening::Hostile);
    }

    /// What a stranger says without a seal: a later life of the sender, or data of this one.
    fn forged(&mut self) -> Vec<u8> {
        let life = Incarnation(self.life + self.dice.below(2) as u32);
        let kind = self.dice.pick(&[Kind::Heartbeat, Kind::Data, Kind::Ncf]);
        let header = Header::new(kind, STREAM, life, self.dice.between(1, 100));
        let heartbeat =
            Heartbeat { next: 90, next_message: 200, trail: 80, trail_message: 100, ..Heartbeat::default() };
        let mut bytes = vec![0; 200];
        let mut writer = PacketWriter::new(&mut bytes, &header).unwrap();
        heartbeat.write(&mut writer).unwrap();
        let length = writer.finish();
        bytes.truncate(length);
        bytes
    }

    fn make_quiet(&mut self) {
        for node in &mut self.nodes {
            for link in node.down.iter_mut().chain([&mut node.up]).chain(&mut self.trunks) {
                let delay = link.quality.delay;
                link.quality = Quality { delay, ..Quality::GOOD };
            }
        }
    }

    /// Whether all is published, and everybody has heard the end of it, and some time has passed.
    fn is_over(&self) -> bool {
        if !self.closed || self.now < QUIET_AFTER {
            return false;
        }
        let last = self.traffic.iter().rev().find(|(_, kind)| *kind == Kind::Data).map_or(0, |(at, _)| *at);
        self.all_done() && self.now > last.max(QUIET_AFTER) + 3 * SECOND
    }

    fn all_done(&self) -> bool {
        self.nodes.iter().all(|node| node.audit.ended || node.audit.may_have_stopped())
    }

    fn judge(self) -> Result<Outcome, String> {
        for (index, node) in self.nodes.iter().enumerate() {
            self.judge_receiver(index, node)?;
        }
        let statistics = self.sender.statistics();
        if self.notary.saw_reuse() {
            return Err("a count was used twice for different texts".into());
        }
        self.judge_repairs(&statistics)?;
        self.judge_wakes()?;
        self.judge_quiet()?;
        let messages = self.nodes.iter().map(|node| node.audit.messages).sum();
        let data = statistics.datagrams;
        Ok(Outcome {
            naks: self.naks,
            data,
            messages,
            statistics,
            finished: self.now,
            lost_in_trunk: self.lost_in_trunk,
            slowest: self.slowest,
        })
    }

    fn judge_receiver(&self, index: usize, node: &Node) -> Result<(), String> {
        if node.audit.may_have_stopped() {
            return Ok(());
        }
        if !node.audit.ended {
            let state = format!("{:?}\n{:?}\n{:?}", node.receiver, node.audit, self.sender);
            return Err(format!("receiver {index} has not ended by {}: {state}", self.now));
        }
        if node.audit.policy == Policy::Latest {
            for key in 0..7 {
                let last = (0..self.published)
                    .rev()
                    .find(|number| content::message(self.plan, self.life, *number).0 == Some(key));
                let known = node.audit.latest(key);
                // Before it joined, or lost for good, it need not have it; then it has an older one or none.
                let excused = !node.audit.lost.is_empty() || known.is_none();
                if known != last && !excused {
                    return Err(format!("receiver {index} has {known:?} of key {key}, not {last:?}"));
                }
            }
        }
        Ok(())
    }

    fn judge_repairs(&self, statistics: &SenderStatistics) -> Result<(), String> {
        let config = self.sender.config();
        let elapsed = self.sender_now() - self.begun + self.sender_clock;
        let burst = (self.plan.slots * config.datagram / 4) as u64;
        let floor = config.repair_floor * (elapsed / MILLISECOND + 1) / 1_000;
        let share = statistics.datagram_bytes * u64::from(config.repair_percent) / 100;
        match statistics.repair_bytes <= burst + floor + share {
            true => Ok(()),
            false => Err(format!(
                "repairs took {} bytes, more than {burst} + {floor} + {share}",
                statistics.repair_bytes
            )),
        }
    }

    /// Nobody wakes again and again for nothing.
    fn judge_wakes(&self) -> Result<(), String> {
        let count = |name| self.tally.get(name).copied().unwrap_or(0);
        let seconds = self.now / SECOND + 1;
        let datagrams = count("to receiver") + count("to sender") + count("publish");
        let most = 3 * datagrams + 400 * seconds * (self.nodes.len() as u64 + 1);
        match count("receiver wakes") + count("sender wakes") <= most {
            true => Ok(()),
            false => Err(format!("more than {most} wakes (limit): {:?}", self.tally)),
        }
    }

    /// When everybody has everything, nobody says more than that it is there.
    fn judge_quiet(&self) -> Result<(), String> {
        let from = self.now.saturating_sub(2 * SECOND);
        let late: Vec<Kind> =
            self.traffic.iter().filter(|(at, _)| *at > from).map(|(_, kind)| *kind).collect();
        if let Some(loud) = late.iter().find(|kind| matches!(kind, Kind::Data | Kind::Nak | Kind::Ncf)) {
            return Err(format!("{loud:?} when everything was over"));
        }
        let most = 12 * usize::from(self.plan.paths) + 8 * self.nodes.len();
        match late.len() <= most {
            true => Ok(()),
            false => {
                Err(format!("{} datagrams in the last two seconds, when everything was over", late.len()))
            }
        }
    }
}

fn name(happening: &Happening) -> &'static str {
    match happening {
        Happening::Publish => "publish",
        Happening::SenderWakes => "sender wakes",
        Happening::ReceiverWakes(_) => "receiver wakes",
        Happening::ToReceiver(..) => "to receiver",
        Happening::ToSender(..) => "to sender",
        Happening::Hostile => "hostile",
        _ => "other",
    }
}

/// A snapshot that is wanted is there at once, of what was published by now.
fn resume(audit: &mut Audit, receiver: &mut Receiver, life: u32, published: u64) {
    let is_possible = |message: &u64| audit.life == Some(life) && published >= *message;
    if audit.wants_snapshot.filter(is_possible).is_some() {
        (audit.wants_snapshot, audit.cursor) = (None, Some(published));
        receiver.resume(published);
    }
}

const SENDER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 9);

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 1], index as u16 + 1))
}

fn new_sender(plan: &Plan, life: u32, keys: &Keys, now: u64) -> Sender {
    let config = SenderConfig {
        datagram: plan.datagram,
        history: plan.slots * plan.datagram,
        flow: if plan.waits { FlowControl::Slowest } else { FlowControl::None },
        rate: plan.rate,
        unix_offset: Some(SECOND),
        seed: plan.seed ^ u64::from(life),
        keys: keys.clone(),
        breaker: Some(Breaker { loss: 250_000, time: 3 * SECOND }),
        ..SenderConfig::new(STREAM, Incarnation(life))
    };
    Sender::new(config, now).unwrap()
}
