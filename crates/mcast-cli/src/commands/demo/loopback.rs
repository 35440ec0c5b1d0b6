//! The demonstration on the loopback interface: two receivers on one port, each with a group of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use mcast::{
    Datagram, Destination, Family, GroupAddr, Interface, InterfaceSelector, Membership, Receiver, Sender,
};

use super::event::Event;
use super::narrator::Narrator;
use super::receiving::{PATIENCE, SILENCE, joined, left};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

pub(super) const CAST: &[&str] = &["alice", "bob", "carol"];

const FIRST: &str = "239.255.56.1:50001";
const SECOND: &str = "239.255.56.2:50001";
const PICTURE: &str = "
     alice               bob                 carol
     receives            receives            sends to the one,
     239.255.56.1        239.255.56.2        then to the other
         │                   │                   │
    ─────┴───────────────────┴───────────────────┴─────  the loopback interface
";

/// Two receivers and a sender on the loopback interface.
struct Trio {
    interface: Interface,
    /// Its address.
    own: IpAddr,
    alice: Receiver,
    bob: Receiver,
    carol: Sender,
}

pub(super) fn play(mut narrator: Narrator, console: &Console) -> anyhow::Result<Outcome> {
    let (first, second): (GroupAddr, GroupAddr) = (FIRST.parse()?, SECOND.parse()?);
    narrator.title("mcast demo", "real datagrams between three sockets on the loopback interface")?;
    narrator.draw(PICTURE)?;
    narrator.act("loopback", "One port, two groups")?;
    let trio = Trio::open(first, second, &mut narrator)?;
    trio.send(first, "Hello, World!", &mut narrator)?;
    narrator.check(
        "alice",
        &trio.receive(&trio.alice, first, PATIENCE)?,
        &trio.expected_arrival(first, "Hello, World!"),
    )?;
    trio.send(second, "Hello, bob!", &mut narrator)?;
    narrator.check(
        "bob",
        &trio.receive(&trio.bob, second, PATIENCE)?,
        &trio.expected_arrival(second, "Hello, bob!"),
    )?;
    let quiet_until = Instant::now() + SILENCE;
    for (host, receiver, group) in [("alice", &trio.alice, first), ("bob", &trio.bob, second)] {
        let silence = Event::ReceivedNothing { group: group.into() };
        narrator.check(host, &trio.receive(receiver, group, left(quiet_until))?, &silence)?;
    }
    narrator.explain(
        "Both receivers use the same port, and each receives only what was sent to the group that it joined: \
         bob did not receive the first datagram, and alice did not receive the second.",
    )?;
    Ok(Outcome::of(narrator.end(
        "loopback",
        "The rest of the demonstration needs Linux namespaces.",
        console,
    )?))
}

impl Trio {
    fn open(first: GroupAddr, second: GroupAddr, narrator: &mut Narrator) -> anyhow::Result<Self> {
        let interface = loopback()?;
        let selector = InterfaceSelector::Index(interface.index);
        let join = |group| Receiver::join_one(Membership::new(group).on(selector.clone()));
        let (alice, bob) = (join(first)?, join(second)?);
        for (host, receiver, group) in [("alice", &alice, first), ("bob", &bob, second)] {
            let expected = Event::Joined { group: group.into(), interfaces: vec![interface.name.clone()] };
            narrator.check(host, &joined(receiver, group), &expected)?;
        }
        let to = |address| Destination { address, interface: Some(selector.clone()) };
        // Otherwise the system may choose an address of another interface to send from.
        let own = interface.addresses_of(Family::V4).next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let carol = Sender::builder().to(to(first)).to(to(second)).source_address(own).build()?;
        Ok(Self { interface, own, alice, bob, carol })
    }

    fn send(&self, group: GroupAddr, text: &str, narrator: &mut Narrator) -> anyhow::Result<()> {
        self.carol.send_to(text.as_bytes(), group)?;
        let (interface, text) = (self.interface.name.clone(), text.to_owned());
        narrator.report("carol", &Event::Sent { group: group.into(), interface, text })?;
        Ok(())
    }

    /// Returns what a receiver receives from carol. It ignores other senders, because the demonstration may run several
    /// times on this machine.
    fn receive(&self, receiver: &Receiver, group: GroupAddr, timeout: Duration) -> anyhow::Result<Event> {
        let carol = self.carol.local_address(group.group.family())?.port();
        let until = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        while let Some(datagram) = receiver.recv_timeout(&mut buffer, left(until))? {
            if datagram.source.port() == carol {
                return Ok(self.event(&datagram));
            }
        }
        Ok(Event::ReceivedNothing { group: group.into() })
    }

    fn event(&self, datagram: &Datagram<'_>) -> Event {
        let here = datagram.interface() == self.interface.index;
        let name = if here { self.interface.name.clone() } else { datagram.interface().to_string() };
        // Not every system reports the TTL.
        let mut arrival = *datagram.arrival();
        arrival.hop_limit = None;
        Event::received(&arrival, datagram.payload(), name)
    }

    fn expected_arrival(&self, group: GroupAddr, text: &str) -> Event {
        let interface = self.interface.name.clone();
        Event::Received { group: group.into(), interface, source: self.own, ttl: None, text: text.to_owned() }
    }
}

fn loopback() -> anyhow::Result<Interface> {
    let interfaces = mcast::interfaces()?;
    let loopback = interfaces.into_iter().find(|interface| interface.loopback && interface.up);
    loopback.ok_or_else(|| {
        Failure::environment("no loopback interface is up")
            .remedy("bring it up, on Linux: `ip link set lo up`")
            .into()
    })
}
