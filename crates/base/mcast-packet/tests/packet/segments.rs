//! Splitting a large packet into the datagrams that a device puts on the wire.

use std::net::{IpAddr, Ipv6Addr};

use mcast_packet::{ChecksumStatus, Checksums, EmitError, LinkType, MacAddress, Packet, Segments, UdpFrame};
use proptest::collection::vec;
use proptest::prelude::*;

fn large(v6: bool, payload: &[u8]) -> Vec<u8> {
    let (source, group) = if v6 {
        (IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from([0xff15, 0, 0, 0, 0, 0, 0, 1]))
    } else {
        (IpAddr::from([10, 0, 0, 1]), IpAddr::from([239, 1, 2, 3]))
    };
    let frame = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source,
        source_port: 4000,
        group: group.try_into().unwrap(),
        destination_port: 5000,
        hop_limit: 1,
        payload,
    };
    let mut buffer = vec![0; 70_000];
    let length = frame.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn identification(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[18], frame[19]])
}

#[test]
fn identifications_are_incremented_like_in_the_kernel() {
    let mut frame = large(false, &[1; 100]);
    frame[18..20].copy_from_slice(&0xffffu16.to_be_bytes());
    let segments = Segments::new(&frame, LinkType::Ethernet, Checksums::LeftToDevice, 40).unwrap();
    let mut buffer = [0; 200];
    let mut identifications = Vec::new();
    for number in 0..segments.len() {
        let length = segments.emit(number, &mut buffer).unwrap();
        identifications.push(identification(&buffer[..length]));
    }
    assert_eq!(identifications, [0xffff, 0, 1]);
}

#[test]
fn segments_of_a_packet_without_checksum_have_none() {
    let mut frame = large(false, &[1; 10]);
    frame[40..42].fill(0);
    let segments = Segments::new(&frame, LinkType::Ethernet, Checksums::Computed, 5).unwrap();
    let mut buffer = [0; 100];
    let length = segments.emit(1, &mut buffer).unwrap();
    assert_eq!(Packet::ethernet(&buffer[..length]).udp().unwrap().checksum, ChecksumStatus::Absent);
}

#[test]
fn invalid_segmentations_are_errors() {
    let frame = large(false, &[1; 10]);
    assert!(Segments::new(&frame, LinkType::Ethernet, Checksums::Computed, 0).is_none());
    assert!(Segments::new(&frame[..30], LinkType::Ethernet, Checksums::Computed, 5).is_none());
    let segments = Segments::new(&frame, LinkType::Ethernet, Checksums::Computed, 5).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(segments.emit(2, &mut buffer), Err(EmitError::TooMany));
    assert_eq!(segments.emit(0, &mut buffer[..46]), Err(EmitError::BufferTooShort));
}

proptest! {
    #[test]
    fn segments_are_valid_datagrams_and_form_the_payload(
        payload in vec(any::<u8>(), 0..3000),
        size in 1..1500u16,
        v6: bool,
    ) {
        let frame = large(v6, &payload);
        let segments = Segments::new(&frame, LinkType::Ethernet, Checksums::LeftToDevice, size).unwrap();
        let mut joined = Vec::new();
        let mut buffer = vec![0; 2000];
        for number in 0..segments.len() {
            let length = segments.emit(number, &mut buffer).unwrap();
            let packet = Packet::ethernet(&buffer[..length]);
            let (ip, udp) = (packet.ip_layer().unwrap(), packet.udp().unwrap());
            prop_assert_eq!(udp.checksum, ChecksumStatus::Valid);
            prop_assert!(!ip.header_checksum.is_invalid() && !ip.truncated);
            prop_assert_eq!((packet.padding.len(), packet.malformed), (0, None));
            prop_assert!(number + 1 == segments.len() || udp.payload.len() == usize::from(size));
            joined.extend_from_slice(udp.payload);
        }
        prop_assert_eq!(joined, payload);
    }
}
