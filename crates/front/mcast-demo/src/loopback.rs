//! The demonstration on the loopback interface: two receivers on one port, each with a group of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use mcast::{Destination, Family, GroupAddr, Interface, InterfaceSelector, Membership, Receiver, Sender};

use crate::listener::{Listener, Origin, SILENCE};
use crate::stage::{Scene, Show, Stage};
use crate::{DemoError, Event};

const GROUPS: [&str; 2] = ["239.255.56.1:50001", "239.255.56.2:50001"];
const PICTURE: &str = "
     alice               bob                 carol
     receives            receives            sends to the one,
     239.255.56.1        239.255.56.2        then to the other
         │                   │                   │
    ─────┴───────────────────┴───────────────────┴─────  the loopback interface
";
const WHY: &str = "Both receivers use the same port, and each receives only what was sent to the group that it \
    joined: bob did not receive the first datagram, and alice did not receive the second.";

/// Shows one act on the loopback interface: two receivers of one port, each with its own group.
///
/// # Errors
/// An error of the system, or of `show`.
pub fn play(show: Show<'_>) -> Result<(), DemoError> {
    let [first, second] = GROUPS.map(str::parse::<GroupAddr>);
    let (first, second) = (first?, second?);
    let mut stage = Stage(show);
    stage.show(Scene::Title("real datagrams between three sockets on the loopback interface"))?;
    stage.show(Scene::Picture(PICTURE))?;
    stage.show(Scene::Act { name: "loopback", title: "One port, two groups" })?;

    let interface = loopback()?;
    let selector = InterfaceSelector::Index(interface.index);
    let to = |address| Destination { address, interface: Some(selector.clone()) };
    // Otherwise the system may choose an address of another interface to send from.
    let own = interface.addresses_of(Family::V4).next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let carol = Sender::builder().to(to(first)).to(to(second)).source_address(own).build()?;
    let origin = Origin { address: own, port: carol.local_address(Family::V4)?.port(), ttl: None };
    let mut listen = |host, group| {
        let receiver = Receiver::join_one(Membership::new(group).on(selector.clone()))?;
        let interfaces = vec![(interface.index.number(), interface.name.clone())];
        Listener::new(host, receiver, (group, &[&interface.name]), interfaces, origin, &mut stage)
    };
    let (alice, bob) = (listen("alice", first)?, listen("bob", second)?);
    for (listener, text) in [(&alice, "Hello, World!"), (&bob, "Hello, bob!")] {
        carol.send_to(text.as_bytes(), listener.group)?;
        let (group, name) = (listener.group.into(), interface.name.clone());
        stage.report("carol", &Event::Sent { group, interface: name, text: text.to_owned() })?;
        listener.check_received(text, &interface.name, &mut stage)?;
    }
    let quiet_until = Instant::now() + SILENCE;
    alice.check_silence(quiet_until, &mut stage)?;
    bob.check_silence(quiet_until, &mut stage)?;
    Ok(stage.show(Scene::Explanation(WHY))?)
}

fn loopback() -> Result<Interface, DemoError> {
    let mut interfaces = mcast::interfaces()?.into_iter();
    interfaces.find(|interface| interface.loopback && interface.up).ok_or(DemoError::NoLoopback)
}
