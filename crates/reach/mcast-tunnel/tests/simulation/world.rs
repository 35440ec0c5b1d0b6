//! A site behind a NAT, a hub, and what is between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_sim::{Dice, EventQueue};
use mcast_tunnel::{
    EndpointConfig, EndpointRole, LinkCounts, LinkId, RelayPath, TunnelDatagram, TunnelEndpoint, TunnelEvent,
    TunnelKey, TunnelKeys,
};

pub(crate) const LINK: LinkId = LinkId(0);

/// The ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Site,
    Hub,
}

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    /// Per thousand.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) flips: u64,
    /// Datagrams that somebody records and sends again, later and from elsewhere.
    pub(crate) replays: u64,
    /// One way, in milliseconds.
    pub(crate) delay: (u64, u64),
    /// The longest datagram that passes.
    pub(crate) carries: usize,
}

#[derive(Debug)]
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) now: ClockTime,
    pub(crate) dice: Dice,
    pub(crate) network: Network,
    ends: BTreeMap<End, TunnelEndpoint>,
    flights: EventQueue<ClockTime, Flight>,
    /// The address that the site has outside.
    pub(crate) outside: SocketAddr,
    pub(crate) received: BTreeMap<End, Vec<(ClockTime, TunnelDatagram)>>,
    pub(crate) events: Vec<(ClockTime, End, TunnelEvent)>,
    /// Bytes that were sent to addresses of nobody, and bytes that came from there.
    pub(crate) reflected: BTreeMap<SocketAddr, (usize, usize)>,
    /// Everything that was on the wire.
    pub(crate) wire: Vec<Vec<u8>>,
}

/// Returns the keys of an end; those of the site with this seed.
pub(crate) fn keys(end: End, of_site: u8) -> TunnelKeys {
    let [hub, known, site] = [100, OF_SITE, of_site].map(|seed| TunnelKey::from_seed([seed; 32]).unwrap());
    match end {
        End::Site => TunnelKeys::new(site).with_peer("paris", hub.public()),
        End::Hub => TunnelKeys::new(hub).with_peer("paris", known.public()),
    }
}

/// The seed of the site's key that the hub knows.
pub(crate) const OF_SITE: u8 = 7;

pub(crate) fn hub_address() -> SocketAddr {
    "203.0.113.1:5700".parse().unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, network: Network) -> Self {
        let mut world = Self {
            now: ClockTime::START,
            dice: Dice::new(seed),
            network,
            ends: BTreeMap::new(),
            flights: EventQueue::new(),
            outside: "198.51.100.7:40000".parse().unwrap(),
            received: BTreeMap::from([(End::Site, Vec::new()), (End::Hub, Vec::new())]),
            events: Vec::new(),
            reflected: BTreeMap::new(),
            wire: Vec::new(),
        };
        world.start(End::Hub, OF_SITE);
        world.start(End::Site, OF_SITE);
        world
    }

    /// Starts an end, or starts it again without a word.
    pub(crate) fn start(&mut self, end: End, of_site: u8) {
        let role = match end {
            End::Site => EndpointRole::Dialer("paris".into()),
            End::Hub => EndpointRole::Listener,
        };
        let mut random = self.dice.clone();
        let relay = self.dice.next();
        let random = Box::new(move || random.next());
        let keys = keys(end, of_site);
        let mut endpoint = TunnelEndpoint::new(EndpointConfig { keys, relay, random, role });
        endpoint.set_names(self.now, &["paris".to_owned()].into());
        endpoint.set_address(self.now, hub_address());
        self.ends.insert(end, endpoint);
    }

    pub(crate) fn end(&mut self, end: End) -> &mut TunnelEndpoint {
        self.ends.get_mut(&end).unwrap()
    }

    pub(crate) fn counts(&mut self, end: End) -> LinkCounts {
        self.end(end).links().next().unwrap().1.counts
    }

    pub(crate) fn is_up(&mut self, end: End) -> bool {
        self.end(end).links().next().unwrap().1.peer.is_some()
    }

    /// Sends a datagram with this number from an end.
    pub(crate) fn send(&mut self, end: End, number: u64, length: usize, bound: Option<Duration>) -> bool {
        let datagram = datagram(number, length);
        let now = self.now;
        let is_sent = self.end(end).send(now, LINK, &datagram, bound);
        self.take(end);
        is_sent
    }

    /// Sends something from an address of nobody.
    pub(crate) fn forge(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.reflected.entry(from).or_default().1 += bytes.len();
        self.fly(from, to, bytes, Duration::ZERO);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let flight = self.flights.next_time();
            let timers = self.ends.values().filter_map(TunnelEndpoint::poll_timeout);
            let Some(next) = timers.chain(flight).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            for end in [End::Site, End::Hub] {
                let now = self.now;
                if self.end(end).poll_timeout().is_some_and(|deadline| deadline <= now) {
                    self.end(end).handle_timeout(now);
                    self.take(end);
                    let deadline = self.end(end).poll_timeout();
                    assert!(deadline.is_none_or(|deadline| deadline > now), "what is due has been done");
                }
            }
            while let Some((_, flight)) = self.flights.pop_until(self.now) {
                self.land(flight);
            }
        }
        self.now = until;
    }

    fn land(&mut self, flight: Flight) {
        let Flight { from, to, bytes } = flight;
        let end = match to {
            to if to == hub_address() => End::Hub,
            to if to == self.outside => End::Site,
            _ => {
                self.reflected.entry(to).or_default().0 += bytes.len();
                return;
            }
        };
        let now = self.now;
        self.end(end).handle_datagram(now, from, &bytes);
        self.take(end);
    }

    /// Takes what an end has to say.
    fn take(&mut self, end: End) {
        let (now, mut buffer) = (self.now, Vec::new());
        while let Some(transmit) = self.end(end).poll_transmit(now, &mut buffer) {
            let from = if end == End::Hub { hub_address() } else { self.outside };
            buffer.chunks(transmit.segment).for_each(|bytes| self.network(from, transmit.to, bytes.to_vec()));
        }
        while let Some(event) = self.end(end).poll_event() {
            let now = self.now;
            match event {
                TunnelEvent::Datagram { datagram, .. } => {
                    self.received.get_mut(&end).unwrap().push((now, datagram));
                }
                event => self.events.push((now, end, event)),
            }
        }
    }

    fn network(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.wire.push(bytes.clone());
        if bytes.len() > self.network.carries {
            return;
        }
        if self.dice.below(1_000) < self.network.replays {
            let from = SocketAddr::from(([192, 0, 2, self.dice.below(4) as u8], 9));
            let later = Duration::from_millis(self.dice.below(20_000));
            self.reflected.entry(from).or_default().1 += bytes.len();
            self.fly(from, to, bytes.clone(), later);
        }
        if self.dice.below(1_000) < self.network.duplicates {
            self.fly(from, to, bytes.clone(), Duration::ZERO);
        }
        if self.dice.below(1_000) >= self.network.loss {
            let mut bytes = bytes;
            if self.dice.below(1_000) < self.network.flips {
                let at = self.dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.dice.below(8);
            }
            self.fly(from, to, bytes, Duration::ZERO);
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>, later: Duration) {
        let (shortest, longest) = self.network.delay;
        let delay = Duration::from_millis(self.dice.between(shortest, longest));
        self.flights.push(self.now + later + delay, Flight { from, to, bytes });
    }
}

/// Returns a datagram of which everything follows from its number and length.
pub(crate) fn datagram(number: u64, length: usize) -> TunnelDatagram {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend(b"a text in clear".iter().cycle().take(length));
    TunnelDatagram {
        trail: RelayPath::new(1, number, &[1, 2]).unwrap(),
        path: 3,
        to_path: None,
        hop_limit: 4,
        source: "10.0.0.1:40000".parse().unwrap(),
        destination: "[ff15::1]:5000".parse().unwrap(),
        payload: payload.into(),
    }
}
