//! PIM: round trips, detection of damage, and arbitrary bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_packet::pim::{
    Assert, Bootstrap, CandidateRp, DfElection, DfStep, EncodedGroup, EncodedSource, GroupMapping, GroupSet,
    HelloOption, JoinPrune, List, Metric, PimError, PimMessage, Register, RendezvousPoint, all_routers,
};
use mcast_packet::{ChecksumStatus, EmitError, MacAddress, Packet, PimFrame, Transport};
use proptest::collection::vec;
use proptest::prelude::*;

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const NEIGHBOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 7));
const RP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(232, 1, 2, 3));
const ROUTER_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const GROUP_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0, 3));

fn emit(message: PimMessage<'_>, source: IpAddr) -> Vec<u8> {
    let mut buffer = vec![0xaa; 4096];
    let length = message.emit(&mut buffer, source, all_routers(source)).unwrap();
    buffer.truncate(length);
    buffer
}

/// Builds a message, verifies its checksum, parses and compares it, and returns its summary in a frame.
fn round_trip(message: PimMessage<'_>, source: IpAddr) -> String {
    let bytes = emit(message, source);
    assert_eq!(PimMessage::parse(&bytes), Ok(message));
    assert_eq!(PimMessage::checksum(&bytes, source, all_routers(source)), ChecksumStatus::Valid);
    let mut frame = vec![0; 4096];
    let length =
        PimFrame::to_neighbors(MacAddress([2, 0, 0, 0, 0, 1]), source, message).emit(&mut frame).unwrap();
    let packet = Packet::ethernet(&frame[..length]);
    let Some(Transport::Pim(pim)) = packet.transport else { panic!("{packet}") };
    assert_eq!((pim.message, pim.checksum), (message, ChecksumStatus::Valid));
    assert_eq!(packet.ip_layer().unwrap().hop_limit, 1);
    packet.to_string()
}

#[test]
fn message_refers_to_its_groups_or_to_all() {
    let refers_to = |message: PimMessage<'_>, group: IpAddr| {
        let mut frame = vec![0; 4096];
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let length = PimFrame::to_neighbors(mac, ROUTER, message).emit(&mut frame).unwrap();
        Packet::ethernet(&frame[..length]).is_control_about(|address| address == group)
    };
    let other = IpAddr::from([239, 9, 9, 9]);
    let joined = [EncodedSource::of_source(SOURCE)];
    let sets =
        [GroupSet { group: EncodedGroup::single(GROUP), joined: (&joined).into(), pruned: List::none() }];
    let join = PimMessage::JoinPrune(JoinPrune {
        upstream_neighbor: NEIGHBOR,
        hold_time: 210,
        groups: (&sets).into(),
    });
    assert!(refers_to(join, GROUP) && !refers_to(join, other));
    let stop = PimMessage::RegisterStop { group: EncodedGroup::single(GROUP), source: SOURCE };
    assert!(refers_to(stop, GROUP) && !refers_to(stop, other));
    assert!(refers_to(PimMessage::Hello(List::none()), other));
}

#[test]
fn hello_options_round_trip() {
    let others = [NEIGHBOR, RP];
    let options = [
        HelloOption::HoldTime(105),
        HelloOption::LanPruneDelay { tracking: true, propagation_delay: 500, override_interval: 2500 },
        HelloOption::DrPriority(1),
        HelloOption::GenerationId(0x1234_abcd),
        HelloOption::BidirectionalCapable,
        HelloOption::AddressList((&others).into()),
        HelloOption::Other { kind: 65_001, value: &[1, 2, 3] },
    ];
    assert_eq!(
        round_trip(PimMessage::Hello((&options).into()), ROUTER),
        "Ether / IP / PIMv2 hello 10.0.0.1: hold 105 s, prune delay 500 ms, override 2500 ms, \
         DR priority 1, generation 0x1234abcd, bidirectional, secondary addresses 10.0.0.2 and 10.9.9.9, option 65001"
    );
    let goodbye = [HelloOption::HoldTime(0)];
    assert_eq!(
        round_trip(PimMessage::Hello((&goodbye).into()), ROUTER_6),
        "Ether / IPv6 / PIMv2 hello fe80::1: goodbye"
    );
}

#[test]
fn hello_has_the_bytes_that_the_rfc_defines() {
    let options = [HelloOption::HoldTime(105), HelloOption::DrPriority(1)];
    let bytes = emit(PimMessage::Hello((&options).into()), ROUTER);
    assert_eq!(bytes, [0x20, 0, 0xdf, 0x7b, 0, 1, 0, 2, 0, 105, 0, 19, 0, 4, 0, 0, 0, 1]);
}

#[test]
fn option_of_unexpected_length_is_not_decoded() {
    let bytes = [0x20, 0, 0, 0, 0, 1, 0, 1, 9];
    let options = [HelloOption::Other { kind: 1, value: &[9] }];
    assert_eq!(PimMessage::parse(&bytes), Ok(PimMessage::Hello((&options).into())));
}

#[test]
fn joins_and_prunes_of_sources_and_shared_trees_round_trip() {
    let (joined, pruned) = ([EncodedSource::of_source(SOURCE)], [EncodedSource::any_through(RP)]);
    let other = EncodedSource { rendezvous_tree: true, ..EncodedSource::of_source(SOURCE) };
    let (shared, branch) = ([EncodedSource::any_through(RP)], [other]);
    let groups = [
        GroupSet { group: EncodedGroup::single(GROUP), joined: (&joined).into(), pruned: (&pruned).into() },
        GroupSet {
            group: EncodedGroup::single(IpAddr::from([239, 1, 1, 1])),
            joined: (&shared).into(),
            pruned: (&branch).into(),
        },
    ];
    let join_prune = JoinPrune { upstream_neighbor: NEIGHBOR, hold_time: 210, groups: (&groups).into() };
    assert_eq!(
        round_trip(PimMessage::JoinPrune(join_prune), ROUTER),
        "Ether / IP / PIMv2 join/prune 10.0.0.1: join 10.0.1.7 and prune any source (through 10.9.9.9) to \
         232.1.2.3; join any source (through 10.9.9.9) and prune 10.0.1.7 on the shared tree to 239.1.1.1, \
         upstream 10.0.0.2, hold 210 s"
    );
    for message in [PimMessage::Graft(join_prune), PimMessage::GraftAck(join_prune)] {
        assert!(round_trip(message, ROUTER).contains("graft"));
    }
}

#[test]
fn checksum_of_a_register_covers_its_header_or_the_whole_message() {
    let mut packet = Packet::ethernet(&crate::frames::HELLO).ip_layer().unwrap().header.to_vec();
    packet.extend_from_slice(Packet::ethernet(&crate::frames::HELLO).ip_layer().unwrap().payload);
    let message = PimMessage::Register(Register { border: false, null: true, packet: &packet });
    let mut bytes = emit(message, ROUTER);
    let status = |bytes: &[u8]| PimMessage::checksum(bytes, ROUTER, RP);
    *bytes.last_mut().unwrap() ^= 0xff;
    assert_eq!(status(&bytes), ChecksumStatus::Valid, "the encapsulated packet is not covered");
    bytes[4] ^= 0x80;
    assert!(status(&bytes).is_invalid());

    bytes[2..4].fill(0);
    let whole = mcast_packet::InternetChecksum::new().bytes(&bytes).finish();
    bytes[2..4].copy_from_slice(&whole.to_be_bytes());
    assert_eq!(status(&bytes), ChecksumStatus::Valid, "as some routers send it");

    for source in [ROUTER, ROUTER_6] {
        assert!(round_trip(message, source).ends_with("null, 192.168.56.103 to 224.1.1.5"));
    }
}

#[test]
fn all_other_messages_round_trip() {
    let group = EncodedGroup::single(GROUP);
    let range = EncodedGroup { prefix: 8, bidirectional: true, scope_zone: true, ..group };
    let metric = Metric { preference: 110, metric: 20 };
    let points = [RendezvousPoint { address: RP, hold_time: 150, priority: 192 }];
    let mappings = [
        GroupMapping { groups: range, total: 2, rendezvous_points: (&points).into() },
        GroupMapping { groups: group, total: 0, rendezvous_points: List::none() },
    ];
    let bootstrap = Bootstrap {
        fragment_tag: 7,
        hash_mask_length: 30,
        priority: 64,
        router: ROUTER,
        mappings: (&mappings).into(),
    };
    let groups = [range];
    let candidate = CandidateRp { priority: 192, hold_time: 150, address: RP, groups: (&groups).into() };
    let assert = Assert { group, source: SOURCE, rendezvous_tree: true, metric };
    let election = |step| PimMessage::DfElection(DfElection { rendezvous_point: RP, metric, step });
    let expected = [
        (
            PimMessage::Bootstrap(bootstrap),
            "bootstrap 10.0.0.1: 10.0.0.1, priority 64; 232.1.2.3/8 through 10.9.9.9; 232.1.2.3 through none",
        ),
        (
            PimMessage::CandidateRp(candidate),
            "candidate-RP 10.0.0.1: 10.9.9.9, priority 192, hold 150 s, 232.1.2.3/8",
        ),
        (PimMessage::RegisterStop { group, source: SOURCE }, "register-stop 10.0.0.1: 10.0.1.7 to 232.1.2.3"),
        (PimMessage::Assert(assert), "assert 10.0.0.1: 10.0.1.7 to 232.1.2.3, metric 110/20"),
        (election(DfStep::Offer), "DF election 10.0.0.1: offer, towards 10.9.9.9, metric 110/20"),
        (election(DfStep::Winner), "DF election 10.0.0.1: winner, towards 10.9.9.9, metric 110/20"),
        (
            election(DfStep::Backoff { offering: NEIGHBOR, metric, interval: 1000 }),
            "DF election 10.0.0.1: back off 1000 ms for 10.0.0.2, towards 10.9.9.9, metric 110/20",
        ),
        (
            election(DfStep::Pass { new_winner: NEIGHBOR, metric }),
            "DF election 10.0.0.1: pass to 10.0.0.2, towards 10.9.9.9, metric 110/20",
        ),
        (PimMessage::Other { kind: 9, body: &[1, 2, 3] }, "PIMv2 10.0.0.1: type 9, 3 bytes"),
    ];
    for (message, text) in expected {
        let summary = round_trip(message, ROUTER);
        assert!(summary.ends_with(text), "{summary}");
    }
}

#[test]
fn truncated_messages_and_other_versions_are_rejected() {
    assert_eq!(PimMessage::parse(&[]), Err(PimError::TooShort(0)));
    assert_eq!(PimMessage::parse(&[0x20, 0, 0]), Err(PimError::TooShort(3)));
    assert_eq!(PimMessage::parse(&[0x13, 0, 0, 0]), Err(PimError::Version(1)));
    assert_eq!(PimMessage::parse(&[0x20, 0, 0, 0, 0, 1, 0, 2, 0]), Err(PimError::Incomplete("hello")));
    let unknown_family = [0x23, 0, 0, 0, 9, 0, 10, 0, 0, 2, 0, 0, 0, 0];
    assert_eq!(PimMessage::parse(&unknown_family), Err(PimError::Incomplete("join/prune")));
}

#[test]
fn unrepresentable_messages_are_errors() {
    let mut buffer = [0; 64];
    let other = PimMessage::Other { kind: 16, body: &[] };
    assert_eq!(other.emit(&mut buffer, ROUTER, NEIGHBOR), Err(EmitError::NoSuchMessage));
    let hello = PimMessage::Hello(List::none());
    assert_eq!(hello.emit(&mut buffer, ROUTER, ROUTER_6), Err(EmitError::MixedFamilies));
    assert_eq!(hello.emit(&mut buffer[..3], ROUTER, NEIGHBOR), Err(EmitError::BufferTooShort));
    let set = GroupSet { group: EncodedGroup::single(GROUP_6), joined: List::none(), pruned: List::none() };
    let many = vec![set; 256];
    let groups = many.as_slice().into();
    let join_prune = PimMessage::JoinPrune(JoinPrune { upstream_neighbor: NEIGHBOR, hold_time: 1, groups });
    assert_eq!(join_prune.emit(&mut vec![0; 9000], ROUTER, NEIGHBOR), Err(EmitError::TooMany));
}

proptest! {
    #[test]
    fn parsed_messages_round_trip(
        kind in 0u8..16,
        subtype in 0u8..6,
        body in vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..120),
    ) {
        let mut bytes = vec![0x20 | kind, subtype << 4, 0, 0];
        bytes.extend(body);
        if let Ok(message) = PimMessage::parse(&bytes) {
            let _ = message.to_string();
            let written = emit(message, ROUTER);
            prop_assert_eq!(PimMessage::parse(&written), Ok(message));
        }
        let _ = PimMessage::checksum(&bytes, ROUTER, ROUTER_6);
    }

    #[test]
    fn joins_of_any_addresses_round_trip(
        upstream in any::<IpAddr>(),
        hold_time: u16,
        sets in vec((any::<IpAddr>(), any::<u8>(), vec((any::<IpAddr>(), 0u8..8), 0..5), 0usize..5), 0..5),
    ) {
        let sources: Vec<Vec<EncodedSource>> = sets
            .iter()
            .map(|(_, _, sources, _)| {
                sources
                    .iter()
                    .map(|(address, flags)| EncodedSource {
                        sparse: flags & 4 != 0,
                        wildcard: flags & 2 != 0,
                        rendezvous_tree: flags & 1 != 0,
                        ..EncodedSource::of_source(*address)
                    })
                    .collect()
            })
            .collect();
        let groups: Vec<GroupSet<'_>> = sets
            .iter()
            .zip(&sources)
            .map(|((address, prefix, _, split), sources)| {
                let (joined, pruned) = sources.split_at(*split.min(&sources.len()));
                let group = EncodedGroup { prefix: *prefix, ..EncodedGroup::single(*address) };
                GroupSet { group, joined: joined.into(), pruned: pruned.into() }
            })
            .collect();
        let groups = groups.as_slice().into();
        round_trip(PimMessage::JoinPrune(JoinPrune { upstream_neighbor: upstream, hold_time, groups }), ROUTER_6);
    }
}
