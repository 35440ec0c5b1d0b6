//! A simulated network: gateways behind one NAT, and a relay in the Internet.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::{Group, SourceFilter};
use mcast_pace::ClockTime;
use mcast_relay::amt::{AmtGateway, AmtRelay, AmtRelayLimits, GatewayOutput, encapsulate};
use mcast_sim::{Dice, EventQueue};

pub(crate) const RELAY: &str = "203.0.113.1:2268";
/// The public address of the NAT.
pub(crate) const NAT: &str = "198.51.100.1";

pub(crate) fn at(second: u64) -> ClockTime {
    ClockTime::START + seconds(second)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn group(text: &str) -> Group {
    text.parse().unwrap()
}

pub(crate) fn only(source: &str) -> SourceFilter {
    SourceFilter::Include([source.parse().unwrap()].into())
}

/// A datagram under way: its source, its destination, its bytes.
type Flight = (SocketAddr, SocketAddr, Vec<u8>);

pub(crate) struct World {
    pub(crate) now: ClockTime,
    pub(crate) dice: Dice,
    pub(crate) relay: Option<AmtRelay>,
    pub(crate) gateways: Vec<AmtGateway>,
    /// The public port of each gateway.
    pub(crate) ports: Vec<u16>,
    /// Datagrams of 1,000 that are lost.
    pub(crate) loss: u64,
    pub(crate) delay: (u64, u64),
    /// Payloads that each gateway has received.
    pub(crate) received: Vec<BTreeMap<(IpAddr, Group), u64>>,
    /// Bytes that the relay has received and sent as answers.
    pub(crate) relay_bytes: (usize, usize),
    flights: EventQueue<ClockTime, Flight>,
}

impl World {
    pub(crate) fn new(seed: u64, gateways: usize) -> Self {
        let mut dice = Dice::new(seed);
        let gateway = |_| {
            let mut own = Dice::new(dice.next());
            AmtGateway::new(move || own.next() as u32)
        };
        Self {
            now: ClockTime::START,
            gateways: (0..gateways).map(gateway).collect(),
            ports: (0..gateways).map(|number| 10_000 + number as u16).collect(),
            relay: Some(new_relay()),
            loss: 0,
            delay: (5, 20),
            received: vec![BTreeMap::new(); gateways],
            relay_bytes: (0, 0),
            flights: EventQueue::new(),
            dice,
        }
    }

    pub(crate) fn join(&mut self, gateway: usize, group: Group, sources: SourceFilter) {
        self.gateways[gateway].set_membership(self.now, group, sources);
        self.take_outputs(gateway);
    }

    pub(crate) fn leave(&mut self, gateway: usize, group: Group) {
        self.join(gateway, group, SourceFilter::NONE);
    }

    /// Sends a datagram, which may be lost.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if self.dice.below(1_000) < self.loss {
            return;
        }
        let (shortest, longest) = self.delay;
        let delay = shortest + self.dice.below(longest - shortest + 1);
        self.flights.push(self.now + Duration::from_millis(delay), (from, to, bytes));
    }

    /// The relay sends a datagram of a source to those who want it.
    pub(crate) fn multicast(&mut self, source: &str, group: Group) {
        let source = SocketAddr::new(source.parse().unwrap(), 4_000);
        let Some(relay) = &self.relay else { return };
        let receivers: Vec<_> = relay.receivers(group, source.ip()).collect();
        let bytes = encapsulate(source, SocketAddr::new(group.addr(), 5_000), 7, b"data").unwrap();
        for gateway in receivers {
            self.send(RELAY.parse().unwrap(), gateway, bytes.clone());
        }
    }

    /// Lets the time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let flight = self.flights.next_time();
            let timers = self.gateways.iter().filter_map(AmtGateway::poll_timeout);
            let relay = self.relay.as_ref().and_then(AmtRelay::poll_timeout);
            let next = timers.chain(flight).chain(relay).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if flight == Some(next) {
                let Some((_, (from, to, bytes))) = self.flights.pop() else { continue };
                self.deliver(from, to, &bytes);
            }
            self.relay.as_mut().map(|relay| relay.handle_timeout(self.now));
            for gateway in 0..self.gateways.len() {
                self.gateways[gateway].handle_timeout(self.now);
                self.take_outputs(gateway);
            }
            if next >= end && self.flights.next_time().is_none_or(|at| at > end) {
                self.now = end;
                return;
            }
        }
    }

    /// Sends a datagram of a source to a group every 100 ms.
    pub(crate) fn stream(&mut self, time: Duration, flows: &[(&str, Group)]) {
        for _ in 0..time.as_millis() / 100 {
            flows.iter().for_each(|(source, group)| self.multicast(source, *group));
            self.run(Duration::from_millis(100));
        }
    }

    /// Forgets what has been received.
    pub(crate) fn forget(&mut self) {
        self.received.iter_mut().for_each(BTreeMap::clear);
    }

    pub(crate) fn count(&self, gateway: usize, source: &str, group: Group) -> u64 {
        self.received[gateway].get(&(source.parse().unwrap(), group)).copied().unwrap_or(0)
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to == RELAY.parse().unwrap() {
            let Some(relay) = &mut self.relay else {
                // Its machine answers with ICMP, which is lost as often.
                let gateway = self.ports.iter().position(|port| *port == from.port());
                if let Some(gateway) = gateway.filter(|_| self.dice.below(1_000) >= self.loss) {
                    self.gateways[gateway].handle_unreachable(self.now, to);
                    self.take_outputs(gateway);
                }
                return;
            };
            self.relay_bytes.0 += bytes.len();
            let (answer, _) = relay.handle_datagram(self.now, from, bytes);
            if let Some(answer) = answer {
                self.relay_bytes.1 += answer.len();
                self.send(to, from, answer);
            }
            return;
        }
        let is_behind_nat = to.ip() == NAT.parse::<IpAddr>().unwrap();
        let Some(number) = self.ports.iter().position(|port| *port == to.port()).filter(|_| is_behind_nat)
        else {
            return;
        };
        if let Some(datagram) = self.gateways[number].handle_datagram(self.now, from, bytes) {
            let flow = (datagram.source.ip(), datagram.group.group);
            *self.received[number].entry(flow).or_default() += 1;
        }
        self.take_outputs(number);
    }

    fn take_outputs(&mut self, gateway: usize) {
        let own = SocketAddr::new(NAT.parse().unwrap(), self.ports[gateway]);
        while let Some(output) = self.gateways[gateway].poll_output() {
            match output {
                GatewayOutput::FindRelays => {
                    self.gateways[gateway].use_relays(self.now, vec![RELAY.parse().unwrap()]);
                }
                GatewayOutput::Send { to, bytes } => self.send(own, to, bytes),
                GatewayOutput::Event(_) => {}
            }
        }
    }
}

pub(crate) fn new_relay() -> AmtRelay {
    AmtRelay::new(RELAY.parse().unwrap(), AmtRelayLimits::default()).unwrap()
}
