//! Fixtures for the tests of the causes: machines and captured traffic.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast::SourceFilter;

use crate::Options;
use crate::observation::{
    ExaminationTarget, Membership, Observation, Program, ProgramSocket, ReceivedCount, TrialMembership,
};
use crate::snapshot::{Address, AddressState, Counters, JoinedGroup, Link, Snapshot};
use crate::wire::{DatagramSummary, Flow, FlowKey, Tap, Wire};

pub(super) const ETH0: u32 = 2;
pub(super) const ETH1: u32 = 3;

/// Returns a machine with `lo`, `eth0` (10.9.0.2) and `eth1` (10.8.0.2).
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

/// Returns a flow of 10 datagrams per second for one second, each with a distinct payload.
pub(super) fn flow(interface: u32, source: &str, to: &str) -> Flow {
    let (source, to): (SocketAddr, SocketAddr) = (source.parse().unwrap(), to.parse().unwrap());
    let key = FlowKey { interface, outgoing: false, source, group: to.ip(), port: to.port(), vlan: None };
    let summary = |number: u64| DatagramSummary {
        time: begin() + Duration::from_millis(number * 100),
        mac: None,
        hop_limit: 4,
        identification: 0,
        hash: number,
        length: 100,
        bad_checksum: false,
        fragmented: false,
    };
    let mut flow = Flow::new(key, &summary(0));
    (0..10).for_each(|number| flow.add(summary(number)));
    flow
}

fn begin() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Returns an observation of a membership that the doctor joined on `eth0`, with the flows on the wire (10
/// datagrams each), of which `received` each reached the socket.
pub(super) fn membership(to: &str, flows: Vec<Flow>, received: u64) -> Observation {
    let to: SocketAddr = to.parse().unwrap();
    let received = flows
        .iter()
        .filter(|_| received > 0)
        .map(|flow| ReceivedCount {
            interface: flow.key.interface,
            source: flow.key.source,
            datagrams: received,
        })
        .collect();
    let trial = TrialMembership {
        group: mcast::Group::new(to.ip()).unwrap(),
        port: to.port(),
        sources: SourceFilter::ANY,
        by_default: false,
        on_all_interfaces: false,
        joined: vec![ETH0],
        already_joined: vec![ETH0],
        failures: Vec::new(),
        received,
        dropped: 0,
        rejoin: None,
        other_sockets: Vec::new(),
    };
    let joined = vec![JoinedGroup { group: to.ip(), interface: ETH0 }];
    let after = Snapshot { joined, ..machine() };
    Observation {
        before: machine(),
        after,
        wire: wire(flows),
        target: ExaminationTarget::Membership(trial),
        options: Options::default(),
    }
}

/// Returns an observation of a program with these sockets, with the flows on the wire.
pub(super) fn program(sockets: Vec<ProgramSocket>, flows: Vec<Flow>) -> Observation {
    let program = Program { name: "listener (7)".into(), sockets, visible: true };
    Observation {
        before: machine(),
        after: machine(),
        wire: wire(flows),
        target: ExaminationTarget::Program(program),
        options: Options::default(),
    }
}

fn wire(flows: Vec<Flow>) -> Wire {
    let tap = |interface, name: &str| Tap { interface, name: name.into(), refused: None, dropped: 0 };
    let span = Some((begin(), begin() + Duration::from_secs(2)));
    Wire { taps: vec![tap(ETH0, "eth0"), tap(ETH1, "eth1")], flows, span, ..Wire::default() }
}

/// Adds counters that increased from zero by these values.
pub(super) fn with_counters(mut observation: Observation, rises: &[(&str, u64)]) -> Observation {
    for (name, rise) in rises {
        observation.before.counters = std::mem::take(&mut observation.before.counters).with(name, 0);
        observation.after.counters = std::mem::take(&mut observation.after.counters).with(name, *rise);
    }
    observation
}

#[test]
fn counters_increase_by_the_given_values() {
    let observation = with_counters(membership("239.1.2.3:5000", Vec::new(), 0), &[("IpInReceives", 7)]);
    assert_eq!(observation.rise_of("IpInReceives"), Some(7));
    assert_eq!(observation.before.counters, Counters::default().with("IpInReceives", 0));
}

/// Returns a socket of another program, bound to port 5000, that has joined 239.1.2.3 on an interface.
pub(super) fn joined_socket(interface: u32, sources: SourceFilter) -> ProgramSocket {
    let membership = Membership {
        group: "239.1.2.3".parse().unwrap(),
        interface,
        sources,
        multicast_all: true,
        loopback: true,
    };
    ProgramSocket {
        inode: 9,
        owner: "player (7)".into(),
        local: Some("0.0.0.0:5000".parse().unwrap()),
        peer: None,
        bound_interface: None,
        receive_buffer: None,
        drops: (0, 0),
        memberships: vec![membership.clone()],
        memberships_after: vec![membership],
    }
}
