//! Invented machines and wires, for the tests of the causes.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast::SourceFilter;

use crate::Options;
use crate::observation::{About, Asked, Heard, Observation, Program, ProgramSocket};
use crate::snapshot::{Address, AddressState, Counters, Joined, Link, Snapshot};
use crate::wire::{Flow, FlowKey, Look, Tap, Wire};

pub(super) const ETH0: u32 = 2;
pub(super) const ETH1: u32 = 3;

/// A machine with `lo`, `eth0` (10.9.0.2) and `eth1` (10.8.0.2).
pub(super) fn machine() -> Snapshot {
    let link = |index, name: &str, address: &str| Link {
        index,
        name: name.into(),
        up: true,
        running: true,
        multicast: index != 1,
        loopback: index == 1,
        mtu: 1500,
        addresses: vec![Address {
            address: address.parse().unwrap(),
            prefix: 24,
            state: AddressState::Ready,
        }],
        ..Link::default()
    };
    Snapshot {
        links: vec![
            link(1, "lo", "127.0.0.1"),
            link(ETH0, "eth0", "10.9.0.2"),
            link(ETH1, "eth1", "10.8.0.2"),
        ],
        ..Snapshot::default()
    }
}

/// Ten datagrams a second for a second, each of its own payload.
pub(super) fn flow(interface: u32, source: &str, to: &str) -> Flow {
    let (source, to): (SocketAddr, SocketAddr) = (source.parse().unwrap(), to.parse().unwrap());
    let key = FlowKey { interface, outgoing: false, source, group: to.ip(), port: to.port(), vlan: None };
    let look = |number: u64| Look {
        time: begin() + Duration::from_millis(number * 100),
        mac: None,
        hop_limit: 4,
        number: 0,
        hash: number,
        length: 100,
        bad_checksum: false,
        fragmented: false,
    };
    let mut flow = Flow::new(key, &look(0));
    (0..10).for_each(|number| flow.add(look(number)));
    flow
}

fn begin() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// A membership that the doctor joined on `eth0`, and what came meanwhile: ten datagrams of each flow on the
/// wire, and `heard` of each at the socket.
pub(super) fn membership(to: &str, flows: Vec<Flow>, heard: u64) -> Observation {
    let to: SocketAddr = to.parse().unwrap();
    let heard = flows
        .iter()
        .filter(|_| heard > 0)
        .map(|flow| Heard { interface: flow.key.interface, source: flow.key.source, datagrams: heard })
        .collect();
    let asked = Asked {
        group: mcast::Group::new(to.ip()).unwrap(),
        port: to.port(),
        sources: SourceFilter::ANY,
        by_default: false,
        joined: vec![ETH0],
        joined_before: vec![ETH0],
        failures: Vec::new(),
        heard,
        dropped: 0,
    };
    let joined = vec![Joined { group: to.ip(), interface: ETH0 }];
    let after = Snapshot { joined, ..machine() };
    Observation {
        before: machine(),
        after,
        wire: wire(flows),
        about: About::Membership(asked),
        options: Options::default(),
    }
}

/// A program with these sockets, and what came meanwhile.
pub(super) fn program(sockets: Vec<ProgramSocket>, flows: Vec<Flow>) -> Observation {
    let program = Program { name: "listener (7)".into(), sockets, visible: true };
    Observation {
        before: machine(),
        after: machine(),
        wire: wire(flows),
        about: About::Program(program),
        options: Options::default(),
    }
}

fn wire(flows: Vec<Flow>) -> Wire {
    let tap = |interface, name: &str| Tap { interface, name: name.into(), refused: None, dropped: 0 };
    let span = Some((begin(), begin() + Duration::from_secs(2)));
    Wire { taps: vec![tap(ETH0, "eth0"), tap(ETH1, "eth1")], flows, span, ..Wire::default() }
}

/// Counters that all started at zero and rose by this.
pub(super) fn counted(mut seen: Observation, rises: &[(&str, u64)]) -> Observation {
    for (name, rise) in rises {
        seen.before.counters = std::mem::take(&mut seen.before.counters).with(name, 0);
        seen.after.counters = std::mem::take(&mut seen.after.counters).with(name, *rise);
    }
    seen
}

#[test]
fn counters_rise_by_what_is_said() {
    let seen = counted(membership("239.1.2.3:5000", Vec::new(), 0), &[("IpInReceives", 7)]);
    assert_eq!(seen.rise_of("IpInReceives"), Some(7));
    assert_eq!(seen.before.counters, Counters::default().with("IpInReceives", 0));
}
