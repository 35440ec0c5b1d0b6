//! A network of segments with relays: ours, and foreign ones without a guard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use mcast_group::Group;
use mcast_pace::ClockTime;
use mcast_relay::{
    ANNOUNCEMENT_PORT, CopyPayload, LegArrival, LegId, PathId, PathPort, PathSide, Relay, RelayConfig,
    RelayEvent, RelayOutput, RelayPath, Subnet,
};
use mcast_sim::{Dice, EventQueue};

pub(crate) type Segment = usize;
type Node = usize;

/// A relay of another make: it forwards every datagram of the group between its segments.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) segments: Vec<Segment>,
    /// Only from the first segment to the others.
    pub(crate) one_way: bool,
    pub(crate) keeps_source: bool,
    /// It drops a datagram whose hop limit is used up, and sends the others with one less.
    pub(crate) decrements: bool,
    /// The least and the longest time that it takes for a datagram, in microseconds.
    pub(crate) delay: (u64, u64),
    pub(crate) is_running: bool,
}

impl Foreign {
    /// Forwards both ways at once, as `socat` does.
    pub(crate) fn between(segments: Vec<Segment>) -> Self {
        Self {
            segments,
            one_way: false,
            keeps_source: false,
            decrements: false,
            delay: (0, 0),
            is_running: true,
        }
    }
}

/// One of our relays: its rules name leg number n `sn`, and it is on `segments[n]`.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    pub(crate) segments: Vec<Segment>,
    pub(crate) rules: String,
    pub(crate) priority: u8,
    pub(crate) start: u64,
}

/// A datagram on a segment.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) segment: Segment,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) hop_limit: u8,
    pub(crate) payload: Rc<[u8]>,
}

/// What happens to a relay or to the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The relay stops without a word.
    Kill(Node),
    /// It says goodbye.
    Stop(Node),
    Start(Node),
    /// The relay is cut off from a segment, although its interface is up, or joined again.
    Cut(Node, Segment),
    Join(Node, Segment),
    /// Its interface goes down, or up again.
    Down(Node, Segment),
    Up(Node, Segment),
    /// The relay of another make with this number starts, or ends.
    Appear(usize),
    Vanish(usize),
}

#[derive(Debug)]
enum Step {
    Original(Rc<Frame>),
    Arrive { node: Node, leg: usize, frame: Rc<Frame> },
    Coalesced { node: Node, flow: Flow },
    Timer { node: Node, life: u64 },
    Fault(Fault),
}

/// The datagrams that an interface may coalesce: those with the same leg, source, destination and hop limit.
type Flow = (usize, SocketAddr, SocketAddr, u8);

struct OurNode {
    plan: Ours,
    /// It is large, and moves at each call.
    relay: Option<Box<Relay>>,
    life: u64,
    timer: Option<u64>,
    /// What has arrived and was not passed to the relay yet.
    gathering: BTreeMap<Flow, Vec<Rc<[u8]>>>,
    /// With the source, if it is that of the sender, and the port.
    paths: BTreeMap<PathId, (PathSide, Option<SocketAddr>, u16)>,
    joined: BTreeSet<(LegId, Group)>,
    /// The number that the relay has given to each leg of the plan, if its rules name it.
    legs: BTreeMap<usize, LegId>,
}

impl OurNode {
    fn segment(&self, leg: LegId) -> Segment {
        let (number, _) = self.legs.iter().find(|(_, known)| **known == leg).unwrap();
        self.plan.segments[*number]
    }
}

/// A datagram that was on a segment, and the relay of ours that sent it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) time: u64,
    pub(crate) by: Option<Node>,
    pub(crate) frame: Rc<Frame>,
}

pub(crate) struct World {
    now: u64,
    steps: EventQueue<u64, Step>,
    ours: Vec<OurNode>,
    foreign: Vec<Foreign>,
    cut: BTreeSet<(Node, Segment)>,
    /// Room for where a datagram arrives.
    arrivals: Vec<(Node, usize)>,
    pub(crate) dice: Dice,
    /// Announcements that are lost, per thousand.
    pub(crate) announcement_loss: u64,
    /// The longest time from a segment to a relay and through it, in microseconds.
    pub(crate) longest_delay: u64,
    /// Whether the relays know the networks of their legs. Without them, no source is kept.
    has_subnets: bool,
    /// How long datagrams gather in a coalesced buffer at most, in microseconds; 0: each is passed on its own.
    gather_within: u64,
    /// The datagrams that were forwarded together with others.
    pub(crate) forwarded_together: usize,
    pub(crate) sent: Vec<Sent>,
    pub(crate) events: Vec<(u64, Node, RelayEvent)>,
    /// The simulation ends once this many datagrams were sent.
    pub(crate) most: usize,
}

pub(crate) const MILLISECOND: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

pub(crate) fn host(segment: Segment, number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, segment as u8, number], 40_000 + u16::from(number)))
}

/// Returns the address of a relay: the numbers of those of another make follow ours.
pub(crate) fn address(segment: Segment, node: Node) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, segment as u8, 200 + node as u8)
}

impl World {
    pub(crate) fn new(seed: u64, ours: Vec<Ours>, foreign: Vec<Foreign>) -> Self {
        let has_subnets = ours.iter().any(|ours| ours.rules.contains("keep-source"));
        let mut world = Self {
            has_subnets,
            now: 0,
            steps: EventQueue::new(),
            ours: Vec::new(),
            foreign,
            cut: BTreeSet::new(),
            arrivals: Vec::new(),
            dice: Dice::new(seed),
            announcement_loss: 0,
            longest_delay: 3_000,
            gather_within: if seed.is_multiple_of(3) { 0 } else { 2_000 },
            forwarded_together: 0,
            sent: Vec::new(),
            events: Vec::new(),
            most: 200_000,
        };
        for (node, plan) in ours.into_iter().enumerate() {
            world.fault(plan.start, Fault::Start(node));
            let (gathering, paths, joined, legs) = Default::default();
            world.ours.push(OurNode {
                plan,
                relay: None,
                life: 0,
                timer: None,
                gathering,
                paths,
                joined,
                legs,
            });
        }
        world
    }

    pub(crate) fn original(&mut self, time: u64, frame: Frame) {
        self.push(time, Step::Original(Rc::new(frame)));
    }

    pub(crate) fn fault(&mut self, time: u64, fault: Fault) {
        self.push(time, Step::Fault(fault));
    }

    /// Runs until this time. Returns whether there were fewer datagrams than the limit.
    pub(crate) fn run(&mut self, end: u64) -> bool {
        while let Some((time, step)) = self.steps.pop_until(end) {
            if self.sent.len() >= self.most {
                return false;
            }
            self.now = time;
            match step {
                Step::Original(frame) => self.wire(None, None, frame),
                Step::Arrive { node, leg, frame } if node < self.ours.len() => self.arrive(node, leg, &frame),
                Step::Arrive { node, leg, frame } => self.arrive_foreign(node, leg, &frame),
                Step::Coalesced { node, flow } => self.pass_coalesced(node, flow),
                Step::Timer { node, life } => {
                    if self.ours[node].life == life && self.ours[node].timer == Some(self.now) {
                        self.ours[node].timer = None;
                        self.with(node, Relay::handle_timeout);
                    }
                }
                Step::Fault(fault) => self.apply(fault),
            }
        }
        self.now = end;
        true
    }

    /// Returns the copies that our relays have sent of a datagram with this payload on a segment.
    pub(crate) fn copies(&self, segment: Segment, payload: &[u8]) -> usize {
        let is_copy = |sent: &&Sent| {
            sent.by.is_some() && sent.frame.segment == segment && *sent.frame.payload == *payload
        };
        self.sent.iter().filter(is_copy).count()
    }

    pub(crate) fn sent_by_ours(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.by.is_some())
    }

    fn push(&mut self, time: u64, step: Step) {
        self.steps.push(time, step);
    }

    /// Puts a datagram on a segment: it arrives at all relays there, also at the one that sent it.
    fn wire(&mut self, by: Option<Node>, foreign: Option<usize>, frame: Rc<Frame>) {
        let is_announcement = frame.destination.port() == ANNOUNCEMENT_PORT;
        if by.is_some_and(|by| self.cut.contains(&(by, frame.segment))) {
            return;
        }
        if !is_announcement {
            self.sent.push(Sent { time: self.now, by, frame: frame.clone() });
        }
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for (node, ours) in self.ours.iter().enumerate() {
            let on = |(_, segment): &(usize, &Segment)| **segment == frame.segment;
            arrivals.extend(ours.plan.segments.iter().enumerate().filter(on).map(|(leg, _)| (node, leg)));
        }
        let foreign_relays = self.foreign.iter().enumerate().filter(|(_, relay)| relay.is_running);
        for (number, relay) in foreign_relays.filter(|_| !is_announcement) {
            let on = |(_, segment): &(usize, &Segment)| **segment == frame.segment && foreign != Some(number);
            let node = self.ours.len() + number;
            arrivals.extend(relay.segments.iter().enumerate().filter(on).map(|(leg, _)| (node, leg)));
        }
        for (node, leg) in arrivals.drain(..) {
            let is_lost = is_announcement && self.dice.below(1_000) < self.announcement_loss;
            if !is_lost && !self.cut.contains(&(node, frame.segment)) {
                let (least, most) = match node.checked_sub(self.ours.len()) {
                    Some(number) => self.foreign[number].delay,
                    None => (0, 0),
                };
                let within = if most == 0 { 0 } else { self.dice.between(least, most) };
                let time = self.now + self.dice.between(20, self.longest_delay) + within;
                self.push(time, Step::Arrive { node, leg, frame: frame.clone() });
            }
        }
        self.arrivals = arrivals;
    }

    fn arrive(&mut self, node: Node, leg_number: usize, frame: &Frame) {
        let Some(leg) = self.ours[node].legs.get(&leg_number).copied() else { return };
        if frame.destination.port() == ANNOUNCEMENT_PORT {
            let bytes = frame.payload.clone();
            self.with(node, |relay, now| relay.handle_announcement(now, leg, &bytes).unwrap());
            return;
        }
        let group = Group::new(frame.destination.ip()).unwrap();
        if !self.ours[node].joined.contains(&(leg, group)) {
            return;
        }
        let flow = (leg_number, frame.source, frame.destination, frame.hop_limit);
        let gathering = self.ours[node].gathering.entry(flow).or_default();
        gathering.push(frame.payload.clone());
        if gathering.len() == 1 {
            let within = if self.gather_within == 0 { 0 } else { self.dice.below(self.gather_within) };
            self.push(self.now + within, Step::Coalesced { node, flow });
        }
    }

    /// Passes what has gathered: datagrams of one length, of which the last may be shorter, in each buffer.
    fn pass_coalesced(&mut self, node: Node, flow: Flow) {
        let gathered = self.ours[node].gathering.remove(&flow).unwrap_or_default();
        let Some(leg) = self.ours[node].legs.get(&flow.0).copied() else { return };
        let mut left = &gathered[..];
        while let Some(first) = left.first() {
            let is_whole = |datagram: &&Rc<[u8]>| datagram.len() == first.len();
            let whole = left.iter().take_while(is_whole).count();
            let has_short = left.get(whole).is_some_and(|last| (1..first.len()).contains(&last.len()));
            let (buffer, rest) = left.split_at(whole + usize::from(has_short));
            self.pass_buffer(node, leg, flow, buffer);
            left = rest;
        }
    }

    fn pass_buffer(&mut self, node: Node, leg: LegId, flow: Flow, buffer: &[Rc<[u8]>]) {
        let (_, source, destination, hop_limit) = flow;
        let (mac, trail) = (None, RelayPath::default());
        let whole = buffer.concat();
        let together = NonZeroUsize::new(buffer[0].len()).map_or(0, |segment| {
            let arrival = LegArrival { leg, source, destination, hop_limit, mac, trail, payload: &whole };
            let mut together = 0;
            self.with_datagrams(node, |relay, now| {
                together = relay.handle_coalesced(now, &arrival, segment);
                buffer[..together].to_vec()
            });
            together
        });
        if together > 1 {
            self.forwarded_together += together;
        }
        for payload in &buffer[together..] {
            let arrival = LegArrival { leg, source, destination, hop_limit, mac, trail, payload };
            self.with_datagrams(node, |relay, now| {
                relay.handle_datagram(now, &arrival);
                vec![payload.clone()]
            });
        }
    }

    fn arrive_foreign(&mut self, node: Node, leg: usize, frame: &Frame) {
        let number = node - self.ours.len();
        let relay = &self.foreign[number];
        let hop_limit = if relay.decrements { frame.hop_limit - 1 } else { 64 };
        if !relay.is_running || (relay.one_way && leg != 0) || hop_limit == 0 {
            return;
        }
        let keeps_source = relay.keeps_source;
        for place in 0..relay.segments.len() {
            let segment = self.foreign[number].segments[place];
            if segment == frame.segment {
                continue;
            }
            let source = match keeps_source {
                true => frame.source,
                false => SocketAddr::from((address(segment, node), 45_000)),
            };
            let copy = Frame { segment, source, hop_limit, ..frame.clone() };
            self.wire(None, Some(number), Rc::new(copy));
        }
    }

    fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(node) => self.stop(node),
            Fault::Stop(node) => {
                self.with(node, Relay::stop);
                self.stop(node);
            }
            Fault::Start(node) => self.start(node),
            Fault::Appear(number) => self.foreign[number].is_running = true,
            Fault::Vanish(number) => self.foreign[number].is_running = false,
            Fault::Cut(node, segment) => {
                self.cut.insert((node, segment));
            }
            Fault::Join(node, segment) => {
                self.cut.remove(&(node, segment));
            }
            Fault::Down(node, segment) => {
                for leg in self.legs_on(node, segment) {
                    self.with(node, |relay, now| relay.handle_leg_down(now, leg));
                }
            }
            Fault::Up(node, segment) => {
                for leg in self.legs_on(node, segment) {
                    let own = IpAddr::from(address(segment, node));
                    let subnet = Subnet { address: own, prefix: 24 };
                    let subnets = if self.has_subnets { &[subnet][..] } else { &[] };
                    self.with(node, |relay, now| {
                        relay.set_subnets(leg, subnets);
                        relay.handle_leg_up(now, leg, &[own]);
                    });
                }
            }
        }
    }

    fn legs_on(&self, node: Node, segment: Segment) -> Vec<LegId> {
        let ours = &self.ours[node];
        ours.legs.values().copied().filter(|leg| ours.segment(*leg) == segment).collect()
    }

    fn stop(&mut self, node: Node) {
        let ours = &mut self.ours[node];
        (ours.relay, ours.timer) = (None, None);
        ours.life += 1;
        ours.gathering.clear();
        ours.paths.clear();
        ours.joined.clear();
    }

    fn start(&mut self, node: Node) {
        // It may not have been stopped: then it crashes now.
        self.stop(node);
        let seed = self.dice.next();
        let plan = self.ours[node].plan.clone();
        let rules = mcast_relay::parse_rules(&plan.rules).unwrap();
        let config = RelayConfig { priority: plan.priority, ..RelayConfig::new(rules, seed) };
        let relay = Relay::new(config).unwrap();
        let number = |name: String| name.strip_prefix('s').unwrap().parse().unwrap();
        self.ours[node].legs = relay.legs().map(|(id, leg)| (number(leg.to_string()), id)).collect();
        self.ours[node].relay = Some(Box::new(relay));
        for segment in BTreeSet::from_iter(plan.segments) {
            self.apply(Fault::Up(node, segment));
        }
    }

    /// Calls the relay about something else than datagrams, and does what it asks for.
    fn with(&mut self, node: Node, call: impl FnOnce(&mut Relay, ClockTime)) {
        self.with_datagrams(node, |relay, now| {
            call(relay, now);
            Vec::new()
        });
    }

    /// Calls the relay, and does what it asks for. `call` returns the datagrams that the relay has handled.
    fn with_datagrams(&mut self, node: Node, call: impl FnOnce(&mut Relay, ClockTime) -> Vec<Rc<[u8]>>) {
        let now = ClockTime::START + Duration::from_micros(self.now);
        let Some(mut relay) = self.ours[node].relay.take() else { return };
        let received = call(&mut relay, now);
        while let Some(output) = relay.poll_output() {
            self.output(node, &received, output);
        }
        let deadline = relay.poll_timeout().unwrap();
        self.ours[node].relay = Some(relay);
        // Rounded up, so that the time has come.
        let timer = deadline.0.div_ceil(1_000).max(self.now + 1);
        if self.ours[node].timer.is_none_or(|known| timer < known || known <= self.now) {
            self.ours[node].timer = Some(timer);
            let life = self.ours[node].life;
            self.push(timer, Step::Timer { node, life });
        }
    }

    fn output(&mut self, node: Node, received: &[Rc<[u8]>], output: RelayOutput) {
        match output {
            RelayOutput::OpenPath { path, side, port, .. } => {
                let (kept, port) = match port {
                    PathPort::Own(port) | PathPort::Shared(port) | PathPort::Preferred(port) => (None, port),
                    PathPort::Sender(sender) => (Some(sender), sender.port()),
                };
                assert!(self.ours[node].paths.insert(path, (side, kept, port)).is_none());
            }
            RelayOutput::ClosePath(path) => assert!(self.ours[node].paths.remove(&path).is_some()),
            RelayOutput::Send { path, destination, hop_limit, payload, .. } => {
                let (side, kept, port) = self.ours[node].paths[&path];
                let PathSide::Leg(leg) = side else { panic!("no unicast here") };
                let segment = self.ours[node].segment(leg);
                let source = kept.unwrap_or_else(|| SocketAddr::from((address(segment, node), port)));
                let hop_limit = hop_limit.unwrap_or(64);
                let payloads = match payload {
                    CopyPayload::AsReceived => received.to_vec(),
                    CopyPayload::Other(bytes) => vec![bytes.into()],
                };
                assert!(!payloads.is_empty(), "a copy of nothing");
                for payload in payloads {
                    let frame = Frame { segment, source, destination, hop_limit, payload };
                    self.wire(Some(node), None, Rc::new(frame));
                }
            }
            RelayOutput::Join { leg, group, sources } => {
                match sources.is_none() {
                    true => assert!(self.ours[node].joined.remove(&(leg, group))),
                    false => assert!(self.ours[node].joined.insert((leg, group))),
                };
            }
            RelayOutput::Announce { leg, bytes } => {
                let segment = self.ours[node].segment(leg);
                let source = SocketAddr::from((address(segment, node), ANNOUNCEMENT_PORT));
                let destination = SocketAddr::new(mcast_relay::ANNOUNCEMENT_GROUPS[0], ANNOUNCEMENT_PORT);
                let payload = Rc::from(&*bytes);
                let frame = Frame { segment, source, destination, hop_limit: 1, payload };
                self.wire(Some(node), None, Rc::new(frame));
            }
            RelayOutput::Encapsulate { .. } => panic!("no gateways of AMT here"),
            RelayOutput::Event(event) => self.events.push((self.now, node, event)),
        }
    }
}
