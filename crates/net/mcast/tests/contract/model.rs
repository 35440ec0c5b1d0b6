//! Guarantees 1 and 7, tested at random: memberships are joined, left and changed in any order,
//! beside those of another receiver, and the datagrams received match a simple model, however they
//! are received.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{Batch, Datagram, Membership, Receiver, Sender, SourceFilter};

use crate::net::{Net, TIMEOUT, both_families};

both_families!(few_groups_match_the_model, groups_beyond_the_limits_match_the_model);

const GROUPS: u16 = 3;
const INTERFACES: [&str; 2] = ["eth0", "eth1"];
const SOURCES: usize = 2;
/// Always joined, so that a datagram sent to it last shows that all others have arrived.
const LAST: u16 = 999;

fn few_groups_match_the_model(net: &Net) {
    for seed in 1..=20 {
        World::new(net, seed, 0).run(40);
    }
}

/// With enough groups on the port that one socket receives for all (IPv4).
fn groups_beyond_the_limits_match_the_model(net: &Net) {
    for seed in 101..=110 {
        World::new(net, seed, 80).run(40);
    }
}

/// A reproducible sequence of numbers (xorshift).
struct Choice(u64);

impl Choice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % count
    }
}

/// The parameters of a datagram, by number: group, interface and source.
type Probe = (u16, usize, usize);

struct World<'n> {
    net: &'n Net,
    choice: Choice,
    /// Indexed by interface and source.
    senders: Vec<Vec<(IpAddr, Sender)>>,
    receiver: Receiver,
    other: Receiver,
    joined: Vec<Membership>,
    joined_by_other: Vec<Membership>,
}

impl<'n> World<'n> {
    fn new(net: &'n Net, seed: u64, more: u16) -> Self {
        let senders = (0..INTERFACES.len())
            .map(|interface| (0..SOURCES).map(|source| sender(net, interface, source)).collect());
        let always: Vec<_> = INTERFACES.map(|name| net.on(name, net.group(LAST))).into();
        let more = (0..more).map(|number| net.on("eth0", net.group(1_000 + number)));
        Self {
            net,
            choice: Choice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            senders: senders.collect(),
            receiver: net.receiver(|builder| {
                builder.join_all(always.iter().cloned().chain(more)).gro(seed.is_multiple_of(2))
            }),
            other: net.joined(&always),
            joined: Vec::new(),
            joined_by_other: Vec::new(),
        }
    }

    fn run(mut self, changes: usize) {
        for change in 0..changes {
            let what = self.change();
            let (sent, expected) = self.probe(change as u32);
            let received = self.receive();
            let text = format!("change {change}: {what}; joined: {:?}", self.joined);
            assert_eq!(
                received.len(),
                received.iter().collect::<BTreeSet<_>>().len(),
                "duplicates: {received:?} after {text}"
            );
            let received: BTreeSet<Vec<u8>> = received.into_iter().collect();
            assert!(received == expected, "received {received:?} of {sent}, not {expected:?} after {text}");
        }
    }

    /// Joins, leaves or changes a membership; returns a description.
    fn change(&mut self) -> String {
        let others = self.choice.below(4) == 0;
        let (receiver, joined) = match others {
            true => (&self.other, &mut self.joined_by_other),
            false => (&self.receiver, &mut self.joined),
        };
        let filter = filter(&mut self.choice, &self.senders);
        let what = self.choice.below(3);
        let (description, result) = if what == 0 && !joined.is_empty() {
            let left = joined.swap_remove(self.choice.below(joined.len()));
            (format!("left {left}"), self.net.receiver.run(|| receiver.leave(&left)))
        } else if what == 1 && !joined.is_empty() {
            let position = self.choice.below(joined.len());
            let before = joined[position].clone();
            joined[position] = before.clone().from_sources(filter.clone());
            let description = format!("{before} became {}", joined[position]);
            (description, self.net.receiver.run(|| receiver.set_sources(&before, filter)))
        } else {
            let group = self.net.group(self.choice.below(GROUPS.into()) as u16);
            let membership = match self.choice.below(3) {
                2 => Membership::new(group),
                interface => self.net.on(INTERFACES[interface], group),
            };
            let membership = membership.from_sources(filter);
            joined.push(membership.clone());
            (format!("joined {membership}"), self.net.receiver.run(|| receiver.join(membership)))
        };
        result.unwrap().unwrap_or_else(|error| panic!("{description}: {error}"));
        format!("{}{description}", if others { "another " } else { "" })
    }

    /// Sends a datagram of every kind, then the last ones; returns the number sent, and the
    /// expected payloads.
    fn probe(&self, change: u32) -> (usize, BTreeSet<Vec<u8>>) {
        let mut expected = BTreeSet::new();
        let mut sent = 0;
        for (interface, senders) in self.senders.iter().enumerate() {
            for (source, (_, sender)) in senders.iter().enumerate() {
                for group in 0..GROUPS {
                    let payload = payload(change, (group, interface, source));
                    sender.send_to(&payload, self.net.group(group)).unwrap();
                    sent += 1;
                    if self.is_admitted((group, interface, source)) {
                        expected.insert(payload);
                    }
                }
            }
            senders[0].1.send_to(b"last", self.net.group(LAST)).unwrap();
        }
        (sent, expected)
    }

    /// The model: a membership is of this group, on this interface, and admits this source.
    fn is_admitted(&self, (group, interface, source): Probe) -> bool {
        self.joined.iter().any(|membership| {
            let on_interface =
                membership.interface.as_ref().is_none_or(|on| on.to_string() == INTERFACES[interface]);
            let admits = membership.sources.admits(self.senders[interface][source].0);
            membership.address == self.net.group(group) && on_interface && admits
        })
    }

    /// Receives in varying ways, until the last ones have arrived and nothing is left. A busy
    /// kernel delivers datagrams some time after they were sent.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + TIMEOUT;
        let (mut received, mut last) = (Vec::new(), 0);
        loop {
            let mut record = |datagram: &Datagram<'_>| match datagram.payload() {
                b"last" => last += 1,
                payload => received.push(payload.to_vec()),
            };
            let count = match self.choice.below(3) {
                0 => {
                    let mut buffer = [0; 64];
                    let one = self.receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap();
                    one.iter().for_each(&mut record);
                    one.iter().count()
                }
                size => {
                    let mut batch = Batch::new(3, [128, 65_536][size - 1]);
                    let count = self.receiver.recv_batch(&mut batch, Some(Duration::ZERO)).unwrap();
                    batch.iter().for_each(|datagram| record(&datagram));
                    count
                }
            };
            if count == 0 && last == INTERFACES.len() {
                return received;
            }
            assert!(Instant::now() < deadline, "not all datagrams arrived: {received:?}");
        }
    }
}

fn payload(change: u32, (group, interface, source): Probe) -> Vec<u8> {
    format!("{change}: group {group} by {} from {source}", INTERFACES[interface]).into_bytes()
}

/// Creates a sender by an interface, with an address of its own.
fn sender(net: &Net, interface: usize, source: usize) -> (IpAddr, Sender) {
    let (address, prefix): (IpAddr, u8) = match net.family {
        mcast::Family::V4 => (format!("10.0.{interface}.{}", 50 + source).parse().unwrap(), 24),
        mcast::Family::V6 => (format!("fd00:{interface}::{}", 50 + source).parse().unwrap(), 64),
    };
    let name = INTERFACES[interface];
    let addresses = net.sender.addresses(name).unwrap();
    if !addresses.iter().any(|each| each.address == address) {
        net.sender.add_address(name, &format!("{address}/{prefix}")).unwrap();
    }
    let selector = mcast::InterfaceSelector::Name(name.into());
    let build = || {
        let sender = Sender::builder().interface(selector).source_address(address).build().unwrap();
        // The socket is opened on first use: here, on its host.
        sender.local_address(net.family).unwrap();
        sender
    };
    (address, net.sender.run(build).unwrap())
}

/// Returns a filter for any source, or a random list of sources to admit or exclude.
fn filter(choice: &mut Choice, senders: &[Vec<(IpAddr, Sender)>]) -> SourceFilter {
    let named: BTreeSet<usize> = (0..=choice.below(SOURCES)).map(|_| choice.below(SOURCES)).collect();
    let addresses = senders.iter().flat_map(|by| named.iter().map(|source| by[*source].0));
    match choice.below(3) {
        0 => SourceFilter::ANY,
        1 => SourceFilter::Include(addresses.collect()),
        _ => SourceFilter::Exclude(addresses.collect()),
    }
}
