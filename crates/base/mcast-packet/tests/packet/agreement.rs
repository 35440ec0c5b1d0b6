//! Comparison with the decoder of etherparse.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use etherparse::{IgmpSlice, Ipv4Header, LinkSlice, PacketBuilder, SlicedPacket, TransportSlice, UdpHeader};
use mcast_packet::gmp::{GmpMessage, IgmpMessage, RecordKind, Records};
use mcast_packet::{ChecksumStatus, Checksums, Cooked, CookedKind, LinkType, MacAddress, Packet, ether_type};
use proptest::collection::vec;
use proptest::prelude::*;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

/// Compares the results of both decoders.
fn assert_agree(ours: &IgmpMessage<'_>, theirs: &IgmpSlice<'_>) {
    match (ours, theirs) {
        (GmpMessage::Query(query), IgmpSlice::MembershipQuery(slice)) => {
            assert!(query.source_query.is_none());
            assert_eq!(query.group.unwrap_or(Ipv4Addr::UNSPECIFIED).octets(), slice.group_address().octets);
            assert_eq!(query.max_response_time.as_millis(), u128::from(slice.max_response_time()) * 100);
        }
        (GmpMessage::Query(query), IgmpSlice::MembershipQueryWithSources(slice)) => {
            let extension = query.source_query.unwrap();
            assert_eq!(query.group.unwrap_or(Ipv4Addr::UNSPECIFIED).octets(), slice.group_address().octets);
            let tenths = u128::from(slice.max_response_code().as_10th_secs());
            assert_eq!(query.max_response_time.as_millis(), tenths * 100);
            assert_eq!((extension.suppress, extension.robustness), (slice.s_flag(), slice.qrv().value()));
            assert!(extension.sources.iter().map(|source| source.octets()).eq(slice.source_addresses()));
        }
        (GmpMessage::V1Report { group }, IgmpSlice::MembershipReportV1(slice)) => {
            assert_eq!(group.octets(), slice.group_address().octets);
        }
        (GmpMessage::Report { group }, IgmpSlice::MembershipReportV2(slice)) => {
            assert_eq!(group.octets(), slice.group_address().octets);
        }
        (GmpMessage::Leave { group }, IgmpSlice::LeaveGroup(slice)) => {
            assert_eq!(group.octets(), slice.group_address().octets);
        }
        (GmpMessage::V3Report(records), IgmpSlice::MembershipReportV3(slice)) => {
            assert_records_agree(*records, slice);
        }
        other => panic!("different message types: {other:?}"),
    }
}

fn assert_records_agree(ours: Records<'_, Ipv4Addr>, theirs: &etherparse::igmp::MembershipReportV3Slice<'_>) {
    assert_eq!(ours.len(), usize::from(theirs.num_of_records()));
    for (ours, theirs) in ours.iter().zip(theirs.group_records()) {
        let theirs = theirs.unwrap();
        assert_eq!(ours.kind, RecordKind::from(theirs.record_type().0));
        assert_eq!(ours.group.octets(), theirs.multicast_address());
        assert!(ours.sources.iter().map(|source| source.octets()).eq(theirs.source_addresses()));
    }
}

proptest! {
    #[test]
    fn decoders_agree_on_every_igmp_message(message in crate::support::message(crate::support::v4())) {
        message.with(Duration::from_millis(100), |message| {
            let mut buffer = vec![0; 4096];
            let length = message.emit(&mut buffer, HOST, message.destination()).unwrap();
            let theirs = IgmpSlice::from_slice(&buffer[..length]).unwrap();
            assert_agree(&message, &theirs);
            assert!(theirs.is_checksum_valid());
        });
    }

    #[test]
    fn decoders_agree_on_bytes_that_both_accept(bytes in vec(any::<u8>(), 8..64), kind: prop::sample::Index) {
        let mut bytes = bytes;
        bytes[0] = *kind.get(&[0x11, 0x12, 0x16, 0x17, 0x22]);
        if let (Ok(ours), Ok(theirs)) = (IgmpMessage::parse(&bytes), IgmpSlice::from_slice(&bytes)) {
            assert_agree(&ours, &theirs);
            let valid = GmpMessage::checksum(&bytes, HOST, HOST) == ChecksumStatus::Valid;
            prop_assert_eq!(valid, theirs.is_checksum_valid());
        }
    }

    #[test]
    fn decoders_agree_on_cooked_headers(kind in 0u16..5, address: [u8; 6], payload in vec(any::<u8>(), 0..50)) {
        let cooked = Cooked::new(CookedKind::from(kind), MacAddress(address), ether_type::IPV4, None);
        let mut bytes = vec![0; 16];
        cooked.emit(&mut bytes).unwrap();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [239, 1, 2, 3], 4).udp(1, 2);
        bytes.resize(16 + builder.size(payload.len()), 0);
        builder.write_to_slice(&mut bytes[16..], &payload).unwrap();
        let ours = Packet::decode(&bytes, LinkType::LinuxCooked, Checksums::Computed);
        let theirs = SlicedPacket::from_linux_sll(&bytes).unwrap();
        let Some(LinkSlice::LinuxSll(header)) = &theirs.link else { panic!() };
        prop_assert_eq!(u16::from(header.packet_type()), kind);
        prop_assert_eq!(header.sender_address(), &ours.cooked.unwrap().address[..6]);
        prop_assert_eq!(header.arp_hardware_type().0, ours.cooked.unwrap().hardware);
        let Some(TransportSlice::Udp(udp)) = theirs.transport else { panic!() };
        prop_assert_eq!(ours.udp().unwrap().payload, udp.payload());
        prop_assert_eq!(ours.udp().unwrap().checksum, ChecksumStatus::Valid);
    }

    #[test]
    fn decoders_agree_on_addresses_hop_limits_and_tags(
        source: [u8; 16],
        destination: [u8; 16],
        hop_limit: u8,
        vlan in 0u16..4096,
        payload in vec(any::<u8>(), 0..50),
    ) {
        let id = etherparse::VlanId::try_new(vlan).unwrap();
        let builder = PacketBuilder::ethernet2([2; 6], [0x33, 0x33, 0, 0, 0, 1])
            .single_vlan(id)
            .ipv6(source, destination, hop_limit)
            .udp(5000, 5001);
        let mut frame = vec![0; builder.size(payload.len())];
        builder.write_to_slice(&mut frame, &payload).unwrap();
        let packet = Packet::ethernet(&frame);
        let (ip, udp) = (packet.ip_layer().unwrap(), packet.udp().unwrap());
        prop_assert_eq!(packet.vlans().map(|tag| tag.id).collect::<Vec<_>>(), [vlan]);
        prop_assert_eq!(ip.source, IpAddr::from(source));
        prop_assert_eq!(ip.destination, IpAddr::from(destination));
        prop_assert_eq!((ip.hop_limit, udp.source_port, udp.destination_port), (hop_limit, 5000, 5001));
        prop_assert_eq!((udp.payload, udp.checksum), (&payload[..], ChecksumStatus::Valid));
    }

    #[test]
    fn decoders_agree_on_udp_checksums(payload in vec(any::<u8>(), 0..200), source: [u8; 4], destination: [u8; 4], wrong: bool) {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, destination, 1).udp(1, 2);
        let mut frame = vec![0; builder.size(payload.len())];
        let length = builder.write_to_slice(&mut frame, &payload).unwrap();
        let frame = &mut frame[..length];
        if wrong {
            frame[40] ^= 0x11;
        }
        let packet = Packet::ethernet(frame);
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!() };
        let header: UdpHeader = udp.to_header();
        let ip = Ipv4Header::new(0, 1, etherparse::IpNumber::UDP, source, destination).unwrap();
        let expected = header.calc_checksum_ipv4(&ip, udp.payload()).unwrap();
        prop_assert_eq!(packet.udp().unwrap().payload, udp.payload());
        match packet.udp().unwrap().checksum {
            ChecksumStatus::Valid => prop_assert_eq!(header.checksum, expected),
            ChecksumStatus::Invalid { expected: ours, .. } => {
                prop_assert!(wrong);
                prop_assert_eq!(if ours == 0 { 0xffff } else { ours }, expected);
            }
            ChecksumStatus::Absent => prop_assert!(wrong && header.checksum == 0),
            // By chance the sum of the pseudo-header, as stored for checksum offload.
            ChecksumStatus::NotComputed => prop_assert!(wrong && header.checksum != expected),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
