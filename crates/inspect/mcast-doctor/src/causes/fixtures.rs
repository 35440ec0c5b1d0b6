//! Fixtures for the tests of the causes: machines and captured traffic.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast::{Family, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, SourceFilter};
use mcast_sys::{GroupOptions, SocketOptions};

use super::Cause;
use crate::Severity;
use crate::observation::{
    ExaminationTarget, Observation, Program, ProgramSocket, ReceivedCount, TrialMembership,
};
use crate::snapshot::{Counter, Counters, JoinedGroup, Snapshot, UdpSocket};
use crate::wire::{ControlMessage, ControlPacket, DatagramSummary, Flow, FlowKey, Tap, Wire};
pub(crate) use mcast_host::fixtures::{ETH0, ETH1, LO, for_udp, kernel_drop, machine, ruleset};

/// Returns a flow of 10 datagrams per second for one second, each with a distinct payload.
pub(crate) fn flow(interface: InterfaceIndex, source: &str, to: &str) -> Flow {
    let (source, to): (SocketAddr, SocketAddr) = (source.parse().unwrap(), to.parse().unwrap());
    let key = FlowKey { interface, outgoing: false, source, group: to.ip(), port: to.port(), vlan: None };
    let summary = |number| datagram(begin() + Duration::from_millis(number * 100), number);
    let mut flow = Flow::new(key, &summary(0));
    (0..10).for_each(|number| flow.add(summary(number)));
    flow
}

/// Returns a datagram with this hash of its payload.
pub(crate) const fn datagram(time: SystemTime, hash: u64) -> DatagramSummary {
    DatagramSummary {
        time,
        mac: None,
        ethernet_destination: None,
        hop_limit: 4,
        identification: 0,
        hash,
        length: 100,
        bad_checksum: false,
        defect: None,
        fragmented: false,
        resegmented: false,
        without_checksum: false,
        like_esp: false,
        network: None,
        domain: None,
    }
}

/// Returns an RTP datagram.
pub(crate) fn rtp(number: u16, ssrc: u32) -> Vec<u8> {
    [&[0x80, 96][..], &number.to_be_bytes(), &[0, 0, 0, 1], &ssrc.to_be_bytes(), &[1, 2, 3, 4]].concat()
}

pub(crate) fn begin() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Returns an observation of a membership that the doctor joined on `eth0`, with the flows on the wire (10
/// datagrams each), of which `received` each reached the socket.
pub(crate) fn membership(to: &str, flows: Vec<Flow>, received: u64) -> Observation {
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
    let membership = Membership::try_from(to).unwrap().on(InterfaceSelector::Index(ETH0));
    let trial = TrialMembership {
        joined: vec![ETH0],
        already_joined: vec![ETH0],
        received,
        ..TrialMembership::new(membership)
    };
    let joined = vec![JoinedGroup { group: to.ip(), interface: ETH0 }];
    let after = Snapshot { joined, ..machine() };
    Observation {
        before: machine(),
        after,
        wire: wire(flows),
        target: ExaminationTarget::Membership(trial),
        ..Observation::default()
    }
}

/// Returns an observation of a program with these sockets, with the flows on the wire.
pub(crate) fn program(sockets: Vec<ProgramSocket>, flows: Vec<Flow>) -> Observation {
    let program =
        Program { name: "listener (7)".into(), sockets, visible: true, is_one: true, ..Program::default() };
    Observation {
        before: machine(),
        after: machine(),
        wire: wire(flows),
        target: ExaminationTarget::Program(program),
        ..Observation::default()
    }
}

fn wire(flows: Vec<Flow>) -> Wire {
    let span = Some((begin(), begin() + Duration::from_secs(2)));
    Wire { taps: machine().links[1..].iter().map(Tap::on).collect(), flows, span, ..Wire::default() }
}

/// Returns an IGMP or MLD message that arrived on `eth0`.
pub(crate) fn control(time: SystemTime, source: &str, message: ControlMessage) -> ControlPacket {
    let source = source.parse().unwrap();
    ControlPacket { time, interface: ETH0, outgoing: false, source, message, vlan: None }
}

/// Returns a general query with a response time of 10 s.
pub(crate) const fn query(version: u8, interval: Option<Duration>) -> ControlMessage {
    ControlMessage::Query { version, group: None, interval, response_time: Duration::from_secs(10) }
}

/// Returns a report of a member of a group.
pub(crate) fn report(group: &str) -> ControlMessage {
    let joined = vec![group.parse().unwrap()];
    ControlMessage::Report { version: 3, joined, left: Vec::new(), sources: Vec::new() }
}

/// Returns the severities of what a cause finds.
pub(super) fn severities(cause: &Cause, observation: &Observation) -> Vec<Severity> {
    cause.judge(observation).iter().map(|finding| finding.severity).collect()
}

/// Adds counters that increased from zero by these values while listening.
pub(crate) fn with_counters(mut observation: Observation, rises: &[(&str, u64)]) -> Observation {
    for (name, rise) in rises {
        observation.before.counters = std::mem::take(&mut observation.before.counters).with(name, 0);
        observation.after.counters = std::mem::take(&mut observation.after.counters).with(name, *rise);
        let family =
            [Family::V4, Family::V6].into_iter().find(|family| Counter::InMulticast.name(*family) == *name);
        observation.wire.accepted.extend(family.map(|family| (family, *rise)));
    }
    observation
}

#[test]
fn counters_increase_by_the_given_values() {
    let observation = with_counters(membership("239.1.2.3:5000", Vec::new(), 0), &[("IpInReceives", 7)]);
    assert_eq!(observation.rise_of("IpInReceives"), Some(7));
    assert_eq!(observation.before.counters, Counters::default().with("IpInReceives", 0));
}

/// Adds a socket of this machine that sends from port 5000, with its loopback on or off.
pub(crate) fn add_sender(observation: &mut Observation, inode: u64, loopback: bool) {
    let group = GroupOptions { all: true, loopback, hop_limit: 4, sends_by: None };
    let options = SocketOptions {
        family: Family::V4,
        v6_only: false,
        bound_interface: None,
        receive_buffer: 4096,
        filter: None,
        encapsulation: None,
        groups: [(Family::V4, group)].into(),
    };
    let local = SocketAddr::from(([0; 4], 5000));
    let socket = UdpSocket { local, peer: None, inode, drops: 0, programs: Vec::new() };
    observation.before.udp_sockets.push(socket);
    observation.before.socket_options.insert(inode, options);
}

/// Returns a socket of another program, bound to port 5000, that has joined 239.1.2.3 on an interface.
pub(crate) fn joined_socket(interface: InterfaceIndex, sources: SourceFilter) -> ProgramSocket {
    let address = GroupAddr::new("239.1.2.3".parse().unwrap(), 5000);
    let membership = Membership::new(address).on(InterfaceSelector::Index(interface)).from_sources(sources);
    ProgramSocket {
        local: Some("0.0.0.0:5000".parse().unwrap()),
        memberships: vec![membership.clone()],
        memberships_after: vec![membership],
        ..ProgramSocket::new(9, "player (7)".into())
    }
}
