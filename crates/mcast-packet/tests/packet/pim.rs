//! PIM: what is built is what is parsed, what is damaged is noticed, and nothing makes it panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_packet::pim::{
    Assert, Bootstrap, CandidateRp, DfElection, DfStep, EncodedGroup, EncodedSource, GroupMapping, GroupSet,
    HelloOption, JoinPrune, List, Message, Metric, ParseError, Register, RendezvousPoint, all_routers,
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

fn emitted(message: Message<'_>, source: IpAddr) -> Vec<u8> {
    let mut buffer = vec![0xaa; 4096];
    let length = message.emit(&mut buffer, source, all_routers(source)).unwrap();
    buffer.truncate(length);
    buffer
}

/// Builds, checks the checksum, parses, compares, and gives the summary of the message in a frame.
fn round_trip(message: Message<'_>, source: IpAddr) -> String {
    let bytes = emitted(message, source);
    assert_eq!(Message::parse(&bytes), Ok(message));
    assert_eq!(Message::checksum(&bytes, source, all_routers(source)), ChecksumStatus::Valid);
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
fn a_message_is_about_the_groups_that_it_names_or_about_all() {
    let about = |message: Message<'_>, group: IpAddr| {
        let mut frame = vec![0; 4096];
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let length = PimFrame::to_neighbors(mac, ROUTER, message).emit(&mut frame).unwrap();
        Packet::ethernet(&frame[..length]).is_control_about(|named| named == group)
    };
    let other = IpAddr::from([239, 9, 9, 9]);
    let joined = [EncodedSource::of_source(SOURCE)];
    let wishes =
        [GroupSet { group: EncodedGroup::single(GROUP), joined: (&joined).into(), pruned: List::none() }];
    let join = Message::JoinPrune(JoinPrune {
        upstream_neighbor: NEIGHBOR,
        hold_time: 210,
        groups: (&wishes).into(),
    });
    assert!(about(join, GROUP) && !about(join, other));
    let stop = Message::RegisterStop { group: EncodedGroup::single(GROUP), source: SOURCE };
    assert!(about(stop, GROUP) && !about(stop, other));
    assert!(about(Message::Hello(List::none()), other));
}

#[test]
fn a_hello_carries_its_options() {
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
        round_trip(Message::Hello((&options).into()), ROUTER),
        "Ether / IP / PIMv2 hello 10.0.0.1: hold 105 s, prune delay 500 ms, override 2500 ms, \
         DR priority 1, generation 0x1234abcd, bidirectional, also 10.0.0.2 and 10.9.9.9, option 65001"
    );
    let goodbye = [HelloOption::HoldTime(0)];
    assert_eq!(
        round_trip(Message::Hello((&goodbye).into()), ROUTER_6),
        "Ether / IPv6 / PIMv2 hello fe80::1: goodbye"
    );
}

#[test]
fn a_hello_has_the_bytes_of_the_rfc() {
    let options = [HelloOption::HoldTime(105), HelloOption::DrPriority(1)];
    let bytes = emitted(Message::Hello((&options).into()), ROUTER);
    assert_eq!(bytes, [0x20, 0, 0xdf, 0x7b, 0, 1, 0, 2, 0, 105, 0, 19, 0, 4, 0, 0, 0, 1]);
}

#[test]
fn an_option_of_a_wrong_length_is_kept_as_it_is() {
    let bytes = [0x20, 0, 0, 0, 0, 1, 0, 1, 9];
    let options = [HelloOption::Other { kind: 1, value: &[9] }];
    assert_eq!(Message::parse(&bytes), Ok(Message::Hello((&options).into())));
}

#[test]
fn joins_and_prunes_name_sources_and_shared_trees() {
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
    let wishes = JoinPrune { upstream_neighbor: NEIGHBOR, hold_time: 210, groups: (&groups).into() };
    assert_eq!(
        round_trip(Message::JoinPrune(wishes), ROUTER),
        "Ether / IP / PIMv2 join/prune 10.0.0.1: join 10.0.1.7 and prune anybody (through 10.9.9.9) to \
         232.1.2.3; join anybody (through 10.9.9.9) and prune 10.0.1.7 on the shared tree to 239.1.1.1, \
         by 10.0.0.2, for 210 s"
    );
    for message in [Message::Graft(wishes), Message::GraftAck(wishes)] {
        assert!(round_trip(message, ROUTER).contains("graft"));
    }
}

#[test]
fn the_checksum_of_a_register_covers_its_header_or_all_of_it() {
    let mut packet = Packet::ethernet(&crate::frames::HELLO).ip_layer().unwrap().header.to_vec();
    packet.extend_from_slice(Packet::ethernet(&crate::frames::HELLO).ip_layer().unwrap().payload);
    let message = Message::Register(Register { border: false, null: true, packet: &packet });
    let mut bytes = emitted(message, ROUTER);
    let status = |bytes: &[u8]| Message::checksum(bytes, ROUTER, RP);
    *bytes.last_mut().unwrap() ^= 0xff;
    assert_eq!(status(&bytes), ChecksumStatus::Valid, "the packet inside is not covered");
    bytes[4] ^= 0x80;
    assert!(status(&bytes).is_invalid());

    bytes[2..4].fill(0);
    let whole = mcast_packet::InternetChecksum::new().bytes(&bytes).finish();
    bytes[2..4].copy_from_slice(&whole.to_be_bytes());
    assert_eq!(status(&bytes), ChecksumStatus::Valid, "as some routers send it");

    for source in [ROUTER, ROUTER_6] {
        assert!(round_trip(message, source).ends_with("asks for 192.168.56.103 to 224.1.1.5"));
    }
}

#[test]
fn all_other_messages_survive_too() {
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
    let election = |step| Message::DfElection(DfElection { rendezvous_point: RP, metric, step });
    let expected = [
        (
            Message::Bootstrap(bootstrap),
            "bootstrap 10.0.0.1: 10.0.0.1 with priority 64; 232.1.2.3/8 by 10.9.9.9; 232.1.2.3 by nobody",
        ),
        (
            Message::CandidateRp(candidate),
            "candidate-RP 10.0.0.1: 10.9.9.9 with priority 192, for 150 s, of 232.1.2.3/8",
        ),
        (Message::RegisterStop { group, source: SOURCE }, "register-stop 10.0.0.1: 10.0.1.7 to 232.1.2.3"),
        (Message::Assert(assert), "assert 10.0.0.1: 10.0.1.7 to 232.1.2.3, metric 110/20"),
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
        (Message::Other { kind: 9, body: &[1, 2, 3] }, "PIMv2 10.0.0.1: type 9, 3 bytes"),
    ];
    for (message, text) in expected {
        let found = round_trip(message, ROUTER);
        assert!(found.ends_with(text), "{found}");
    }
}

#[test]
fn what_is_cut_off_or_of_another_version_is_refused() {
    assert_eq!(Message::parse(&[]), Err(ParseError::TooShort(0)));
    assert_eq!(Message::parse(&[0x20, 0, 0]), Err(ParseError::TooShort(3)));
    assert_eq!(Message::parse(&[0x13, 0, 0, 0]), Err(ParseError::Version(1)));
    assert_eq!(Message::parse(&[0x20, 0, 0, 0, 0, 1, 0, 2, 0]), Err(ParseError::Incomplete("hello")));
    let strange_family = [0x23, 0, 0, 0, 9, 0, 10, 0, 0, 2, 0, 0, 0, 0];
    assert_eq!(Message::parse(&strange_family), Err(ParseError::Incomplete("join/prune")));
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let mut buffer = [0; 64];
    let other = Message::Other { kind: 16, body: &[] };
    assert_eq!(other.emit(&mut buffer, ROUTER, NEIGHBOR), Err(EmitError::NoSuchMessage));
    let hello = Message::Hello(List::none());
    assert_eq!(hello.emit(&mut buffer, ROUTER, ROUTER_6), Err(EmitError::MixedFamilies));
    assert_eq!(hello.emit(&mut buffer[..3], ROUTER, NEIGHBOR), Err(EmitError::BufferTooShort));
    let set = GroupSet { group: EncodedGroup::single(GROUP_6), joined: List::none(), pruned: List::none() };
    let many = vec![set; 256];
    let groups = many.as_slice().into();
    let wishes = Message::JoinPrune(JoinPrune { upstream_neighbor: NEIGHBOR, hold_time: 1, groups });
    assert_eq!(wishes.emit(&mut vec![0; 9000], ROUTER, NEIGHBOR), Err(EmitError::TooMany));
}

proptest! {
    #[test]
    fn what_parses_is_written_to_something_that_parses_to_the_same(
        kind in 0u8..16,
        subtype in 0u8..6,
        body in vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..120),
    ) {
        let mut bytes = vec![0x20 | kind, subtype << 4, 0, 0];
        bytes.extend(body);
        if let Ok(message) = Message::parse(&bytes) {
            let _ = message.to_string();
            let written = emitted(message, ROUTER);
            prop_assert_eq!(Message::parse(&written), Ok(message));
        }
        let _ = Message::checksum(&bytes, ROUTER, ROUTER_6);
    }

    #[test]
    fn joins_of_any_addresses_survive(
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
        round_trip(Message::JoinPrune(JoinPrune { upstream_neighbor: upstream, hold_time, groups }), ROUTER_6);
    }
}
