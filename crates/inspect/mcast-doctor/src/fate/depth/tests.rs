//! No observation in which an expected flow is lost is judged healthy.

use mcast::{Family, SourceFilter};
use proptest::prelude::*;

use super::*;
use crate::causes::fixtures::{
    ETH0, ETH1, add_sender, flow, for_udp, joined_socket, membership, program, ruleset, with_counters,
};
use crate::causes::judge;
use crate::netfilter::{CountedTraffic, Hook, HookCount, Layer, RuleEffect};
use crate::observation::ReceivedCount;
use crate::snapshot::{JoinedGroup, UdpSocket};
use crate::{Report, Severity, Verdict};

const TO: &str = "239.1.2.3:5000";

fn depths(observation: &Observation) -> Vec<Depth> {
    observation.expected_flows().into_iter().map(|flow| flow.status.depth).collect()
}

#[test]
fn each_source_has_a_depth_of_its_own() {
    let flows = vec![flow(ETH0, "10.9.0.1:6000", TO), flow(ETH0, "10.9.0.7:6000", TO)];
    let mut observation = membership(TO, flows, 10);
    assert_eq!(depths(&observation), [Depth::Arrives, Depth::Arrives]);
    observation.trial_mut().received.remove(0);
    assert_eq!(depths(&observation), [Depth::OnWire, Depth::Arrives]);
    let statuses = observation.expected_flows().into_iter().map(|flow| flow.status).collect::<Vec<_>>();
    assert_eq!(arrival(&statuses), ArrivalStatus::Incomplete);
}

#[test]
fn source_may_change_on_the_way_to_the_socket() {
    let depth_of = |datagrams, others: &[&str]| {
        let flows = ["10.9.0.1:6000"].iter().chain(others).map(|source| flow(ETH0, source, TO)).collect();
        let mut observation = membership(TO, flows, 0);
        let source = "10.9.0.99:6000".parse().unwrap();
        observation.trial_mut().received = vec![ReceivedCount { interface: ETH0, source, datagrams }];
        depths(&observation)[0]
    };
    assert_eq!((depth_of(10, &[]), depth_of(3, &[])), (Depth::Arrives, Depth::OnWire));
    assert_eq!(depth_of(10, &["10.9.0.7:6000"]), Depth::OnWire, "which of the two arrives is not known");
}

#[test]
fn counter_for_groups_shows_what_the_ip_layer_accepted() {
    let lost = |accepted| {
        let observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
        depths(&with_counters(observation, &[("IpExtInMcastPkts", accepted)]))
    };
    assert_eq!((lost(0), lost(10)), (vec![Depth::OnWire], vec![Depth::AtIp]));
}

#[test]
fn packets_that_were_accepted_before_the_capture_began_are_of_no_captured_flow() {
    let flows = ["10.9.0.1:6000", "10.9.0.7:6000"].map(|source| flow(ETH0, source, TO));
    let mut observation = with_counters(membership(TO, flows.to_vec(), 10), &[("IpExtInMcastPkts", 20)]);
    observation.trial_mut().received.pop();
    assert_eq!(depths(&observation), [Depth::Arrives, Depth::AtIp]);
    observation.wire.accepted.insert(Family::V4, 10);
    assert_eq!(depths(&observation), [Depth::Arrives, Depth::OnWire]);
}

#[test]
fn silence_is_certain_only_where_the_wire_was_captured() {
    let mut observation = membership(TO, Vec::new(), 0);
    assert_eq!(depths(&observation), [Depth::NotOnWire]);
    observation.trial_mut().joined.push(ETH1);
    assert_eq!(depths(&observation), [Depth::NotOnWire; 2]);
    observation.wire.taps[1].refused = Some("no right".into());
    assert_eq!(depths(&observation), [Depth::Unknown; 2]);
}

#[test]
fn silent_interface_does_not_matter_if_the_group_arrives_on_another() {
    let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
    observation.trial_mut().joined.push(ETH1);
    assert_eq!(depths(&observation), [Depth::Arrives]);
}

#[test]
fn group_that_this_machine_sends_elsewhere_left_by_another_interface() {
    let mut sent = flow(ETH1, "10.8.0.2:6000", TO);
    sent.key.outgoing = true;
    assert_eq!(depths(&membership(TO, vec![sent], 0)), [Depth::OtherInterface]);
}

/// A relay does not receive what it sends, and a program beside it does, from the same port.
#[test]
fn part_of_what_this_machine_sends_is_lost_unless_a_socket_of_that_port_is_not_looped_back() {
    let depths_with = |loopback| {
        let mut sent = flow(ETH0, "10.9.0.2:5000", TO);
        sent.key.outgoing = true;
        let mut observation = membership(TO, vec![sent], 5);
        add_sender(&mut observation, 8, true);
        add_sender(&mut observation, 9, loopback);
        depths(&observation)
    };
    assert_eq!(depths_with(true), [Depth::OnWire]);
    assert_eq!(depths_with(false), [Depth::Arrives]);
}

#[test]
fn receipts_on_an_interface_that_was_not_captured_count() {
    let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
    observation.trial_mut().received[0].interface = mcast::InterfaceIndex::new(9).unwrap();
    assert_eq!(depths(&observation), [Depth::Arrives]);
}

#[test]
fn full_buffer_does_not_explain_a_source_that_is_missing_altogether() {
    let flows = vec![flow(ETH0, "10.9.0.1:6000", TO), flow(ETH0, "10.9.0.7:6000", TO)];
    let mut observation = membership(TO, flows, 5);
    observation.trial_mut().dropped = 10;
    assert_eq!(depths(&observation), [Depth::Arrives, Depth::Arrives]);
    observation.trial_mut().received.pop();
    assert_eq!(depths(&observation), [Depth::Arrives, Depth::OnWire]);
    observation.trial_mut().received.clear();
    assert_eq!(depths(&observation), [Depth::OnWire; 2], "the buffer had room for the first");
}

/// Returns the observation of a program with one socket, for which 10 datagrams arrived.
fn listening(rises: &[(&str, u64)]) -> Observation {
    let socket = joined_socket(ETH0, SourceFilter::ANY);
    let mut observation = program(vec![socket], vec![flow(ETH0, "10.9.0.1:6000", TO)]);
    observation.after.udp_sockets = vec![UdpSocket {
        local: "0.0.0.0:5000".parse().unwrap(),
        peer: None,
        inode: 9,
        drops: 0,
        programs: Vec::new(),
    }];
    with_counters(observation, rises)
}

#[test]
fn program_reads_what_nothing_else_can_have_been() {
    let rises = |received, read| {
        listening(&[
            ("IpInReceives", received),
            ("IpExtInMcastPkts", 10),
            ("TcpInSegs", 20),
            ("UdpInDatagrams", read),
        ])
    };
    assert_eq!(depths(&rises(30, 10)), [Depth::Arrives]);
    assert_eq!(depths(&rises(30, 5)), [Depth::Unknown]);
    assert_eq!(depths(&rises(40, 10)), [Depth::Unknown], "10 may have been unicast");
    assert_eq!(depths(&rises(40, 20)), [Depth::Arrives]);
    let mut second = rises(30, 10);
    second.after.udp_sockets.push(second.after.udp_sockets[0].clone());
    assert_eq!(depths(&second), [Depth::Unknown], "the other socket may have read them");
}

/// A host with 1,000 unicast packets that UDP does not deliver, such as answers to pings.
fn beside_unicast(dropped: u64, queued: &[u64], passed: u64) -> Observation {
    let mut observation = listening(&[
        ("IpInReceives", 1_010),
        ("IpExtInMcastPkts", 10),
        ("TcpInSegs", 0),
        ("UdpInDatagrams", 10),
    ]);
    let ExaminationTarget::Program(program) = &mut observation.target else { panic!("{observation:?}") };
    program.sockets[0].drops = (7, 7 + dropped);
    program.sockets[0].queued = queued.to_vec();
    let group = TO.parse::<SocketAddr>().unwrap().ip();
    observation.before.joined = vec![JoinedGroup { group, interface: ETH0 }];
    let traffic = CountedTraffic::Datagrams(TO.parse().unwrap());
    observation.hooks.hooks.push((Layer::Ip, Hook::Input, traffic));
    observation.hooks.counts.push(HookCount {
        layer: Layer::Ip,
        hook: Hook::Input,
        traffic,
        interface: ETH0,
        peer: "10.9.0.1:6000".parse().unwrap(),
        reached: 10,
        passed,
    });
    observation
}

#[test]
fn what_passed_the_firewall_and_left_the_queue_was_read() {
    let depth = |dropped, queued: &[u64], passed| depths(&beside_unicast(dropped, queued, passed));
    assert_eq!(depth(0, &[0, 0], 10), [Depth::Arrives]);
    assert_eq!(depth(0, &[], 10), [Depth::Unknown], "the queue was not seen");
    assert_eq!(depth(0, &[0, 7_680], 10), [Depth::Unknown], "they wait in the queue");
    assert_eq!(depth(0, &[0, 0], 5), [Depth::Unknown], "the firewall dropped some");
    assert_eq!(depth(0, &[0, 0], 0), [Depth::AtIp], "the firewall dropped all");
    assert_eq!(depth(10, &[0, 0], 10), [Depth::AtSocket], "the socket dropped them");
    let mut connected = beside_unicast(0, &[0, 0], 10);
    let ExaminationTarget::Program(program) = &mut connected.target else { panic!("{connected:?}") };
    program.sockets[0].peer = Some("10.9.0.7:6000".parse().unwrap());
    assert_eq!(depths(&connected), [Depth::Unknown], "the socket does not take them");
}

#[test]
fn what_an_earlier_hook_drops_was_not_read_although_all_that_is_left_passes_the_last_one() {
    let depth = |passed| {
        let mut observation = beside_unicast(0, &[0, 0], 10);
        let mut count = observation.hooks.counts[0];
        (count.hook, count.reached, count.passed) = (Hook::Prerouting, 11, passed);
        observation.hooks.hooks.push((Layer::Ip, Hook::Prerouting, count.traffic));
        observation.hooks.counts.push(count);
        depths(&observation)
    };
    assert_eq!(depth(11), [Depth::Arrives]);
    assert_eq!(depth(10), [Depth::Unknown]);
}

#[test]
fn datagrams_of_another_source_do_not_stand_in_for_what_the_firewall_drops() {
    let mut observation = beside_unicast(0, &[0, 0], 0);
    // More than the taps saw, as the counters are read before and after they are open.
    observation = with_counters(observation, &[("IpInReceives", 30), ("UdpInDatagrams", 30)]);
    assert_eq!(depths(&observation), [Depth::AtIp]);
}

#[test]
fn unicast_that_no_socket_receives_does_not_hide_what_is_read() {
    let read = |others: &[(&str, u64)]| {
        let own = [("IpInReceives", 110), ("IpExtInMcastPkts", 10), ("UdpInDatagrams", 10)];
        depths(&listening(&[&own, others].concat()))
    };
    assert_eq!(read(&[]), [Depth::Unknown]);
    assert_eq!(read(&[("UdpNoPorts", 60), ("IpForwDatagrams", 40)]), [Depth::Arrives]);
    assert_eq!(read(&[("UdpNoPorts", 60), ("IpForwDatagrams", 30)]), [Depth::Unknown]);
}

#[test]
fn nothing_read_is_certain() {
    let unread = |received, accepted, delivered, ignored| {
        let rises = [
            ("IpInReceives", received),
            ("IpExtInMcastPkts", accepted),
            ("IpInDelivers", delivered),
            ("UdpIgnoredMulti", ignored),
            ("UdpInDatagrams", 0),
        ];
        let observation = listening(&rises.map(|(name, rise)| (name, rise)));
        let mut observation = observation;
        observation.after.joined = membership(TO, Vec::new(), 0).after.joined;
        depths(&observation)[0]
    };
    assert_eq!(unread(10, 10, 10, 0), Depth::AtSocket);
    assert_eq!(unread(10, 10, 10, 10), Depth::AtIp);
    assert_eq!(unread(10, 10, 0, 0), Depth::AtIp);
    assert_eq!(unread(10, 0, 0, 0), Depth::OnWire);
    assert_eq!(unread(0, 0, 0, 0), Depth::OnWire);
}

#[test]
fn drops_of_a_socket_are_lost_at_the_socket() {
    let mut observation = listening(&[("UdpInDatagrams", 9)]);
    let ExaminationTarget::Program(program) = &mut observation.target else { panic!("{observation:?}") };
    program.sockets[0].drops = (7, 8);
    assert_eq!(depths(&observation), [Depth::AtSocket]);
}

/// How far the datagrams of one flow came.
#[derive(Clone, Copy, Debug)]
struct Fate {
    source: u8,
    /// The interface: `eth0` or `eth1`.
    second: bool,
    /// How many of 10 were accepted by the IP layer, delivered to UDP, and received by the socket.
    accepted: u64,
    delivered: u64,
    received: u64,
}

impl Fate {
    fn is_lost(self) -> bool {
        self.received < 10
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    let counts = (0..=10_u64, 0..=10_u64, prop_oneof![Just(0), Just(10), 0..=10_u64]);
    (1..=250_u8, any::<bool>(), counts).prop_map(|(source, second, (one, other, received))| {
        let mut counts = [one, other, received];
        if received == 10 {
            counts = [10; 3];
        }
        counts.sort_unstable();
        let [received, delivered, accepted] = counts;
        Fate { source, second, accepted, delivered, received }
    })
}

/// Other traffic: packets that arrived, were accepted as multicast, and were delivered.
type Noise = (u64, u64, u64);

fn observe(fates: &[Fate], noise: Noise, rule: u64, reverse: u64, dropped: u64) -> Observation {
    let interface = |fate: &Fate| if fate.second { ETH1 } else { ETH0 };
    let source = |fate: &Fate| {
        let net = if fate.second { 8 } else { 9 };
        format!("10.{net}.{}.77:6000", fate.source)
    };
    let flows = fates.iter().map(|fate| flow(interface(fate), &source(fate), TO)).collect();
    let mut observation = membership(TO, flows, 0);
    let group = "239.1.2.3".parse().unwrap();
    observation.after.joined.push(JoinedGroup { group, interface: ETH1 });
    let trial = observation.trial_mut();
    trial.joined.push(ETH1);
    trial.already_joined.push(ETH1);
    trial.dropped = dropped;
    let received = fates.iter().filter(|fate| fate.received > 0).map(|fate| ReceivedCount {
        interface: interface(fate),
        source: source(fate).parse().unwrap(),
        datagrams: fate.received,
    });
    trial.received = received.collect();
    let sum = |count: fn(&Fate) -> u64| fates.iter().map(count).sum::<u64>();
    let mut observation = with_counters(
        observation,
        &[
            ("IpInReceives", sum(|fate| fate.accepted) + noise.0 + noise.1),
            ("IpExtInMcastPkts", sum(|fate| fate.accepted) + noise.1),
            ("IpInDelivers", sum(|fate| fate.delivered) + noise.2),
            ("TcpExtIPReversePathFilter", reverse),
        ],
    );
    // Only UDP, so that the answers to queries are not at stake.
    let dropping = |packets| for_udp(ruleset(Hook::Input, RuleEffect::Drop, Some(packets)));
    observation.before.ruleset = dropping(0);
    observation.after.ruleset = dropping(rule);
    observation
}

fn verdict(observation: &Observation) -> Verdict {
    let flows: Vec<_> = observation.expected_flows().into_iter().map(|flow| flow.status).collect();
    let arrival = arrival(&flows);
    Report { findings: judge(observation), flows, arrival, ..Report::default() }.verdict()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn lost_flow_is_a_fault_that_names_it(
        fates in proptest::collection::vec(fate(), 1..6),
        noise in (0..40_u64, 0..40_u64, 0..40_u64),
        others in (0..60_u64, 0..60_u64),
    ) {
        let mut fates = fates;
        fates.sort_by_key(|fate| (fate.second, fate.source));
        fates.dedup_by_key(|fate| (fate.second, fate.source));
        let observation = observe(&fates, noise, others.0, others.1, 0);
        let is_lost = fates.iter().any(|fate| fate.is_lost());
        prop_assert_eq!(verdict(&observation) == Verdict::Healthy, !is_lost);
        let findings = judge(&observation);
        for flow in observation.expected_flows() {
            let is_lost = flow.status.depth.is_lost_here();
            prop_assert_eq!(is_lost, flow.status.received != Some(10), "{:?}", flow.status);
            let is_explained = findings.iter().any(|finding| finding.explains(&flow.status));
            prop_assert!(!is_lost || is_explained, "{:?}\n{:#?}", flow.status, findings);
        }
    }

    #[test]
    fn silent_group_is_a_fault(noise in (0..40_u64, 0..40_u64, 0..40_u64), reverse in 0..40_u64) {
        let findings = judge(&observe(&[], noise, 0, reverse, 0));
        let faults = findings.iter().filter(|finding| finding.severity == Severity::Fault);
        prop_assert_eq!(faults.count(), 1);
    }

    #[test]
    fn program_arrives_only_if_it_may_have_read_everything(
        read_by_program in 0..=10_u64,
        unicast in 0..40_u64,
        unicast_read in 0..40_u64,
    ) {
        let unicast_read = unicast_read.min(unicast);
        let observation = listening(&[
            ("IpInReceives", 10 + unicast),
            ("IpExtInMcastPkts", 10),
            ("IpInDelivers", 10 + unicast),
            ("UdpInDatagrams", read_by_program + unicast_read),
        ]);
        let arrives = depths(&observation) == [Depth::Arrives];
        prop_assert!(!arrives || read_by_program == 10);
        prop_assert!(read_by_program > 0 || unicast_read > 0 || depths(&observation)[0].is_lost_here());
    }
}
