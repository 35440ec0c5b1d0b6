//! Capture files with given frames.

use std::path::Path;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_capture::{CaptureWriter, Direction, Frame, WriteFormat};
use mcast_packet::gmp::IgmpMessage;
use mcast_packet::{Checksums, ControlFrame, LinkType, MacAddress, UdpFrame};

/// A frame, and when it came after the first.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) link_type: LinkType,
    pub(crate) after: Duration,
    pub(crate) original_length: usize,
}

impl Made {
    pub(crate) fn new(bytes: Vec<u8>, milliseconds: u64) -> Self {
        let after = Duration::from_millis(milliseconds);
        Self { original_length: bytes.len(), bytes, link_type: LinkType::Ethernet, after }
    }
}

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

/// A datagram to 239.1.2.3:5000 in an Ethernet frame.
pub(crate) fn datagram(text: &str) -> Vec<u8> {
    let frame = UdpFrame {
        mac: MAC,
        source: [10, 9, 9, 9].into(),
        source_port: 4000,
        group: "239.1.2.3".parse().unwrap(),
        destination_port: 5000,
        hop_limit: 5,
        payload: text.as_bytes(),
    };
    emitted(|buffer| frame.emit(buffer).unwrap())
}

pub(crate) fn igmp() -> Vec<u8> {
    let message = IgmpMessage::Report { group: [239, 1, 2, 3].into() };
    let frame = ControlFrame { mac: MAC, source: [10, 9, 9, 9].into(), message };
    emitted(|buffer| frame.emit(buffer).unwrap())
}

/// The same frame to one host instead of the group.
pub(crate) fn to_one_host(mut frame: Vec<u8>) -> Vec<u8> {
    frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
    frame
}

/// The same frame as the first piece of more.
pub(crate) fn fragment(mut frame: Vec<u8>) -> Vec<u8> {
    frame[20] = 0x20;
    frame
}

/// The same frame with VLAN tags, of a provider and of a customer.
pub(crate) fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x88, 0xa8, 0, 7, 0x81, 0, 0, 42]);
    frame
}

/// The same frame as captured on all interfaces together: Linux' cooked header of version 2.
pub(crate) fn cooked(frame: &[u8]) -> Vec<u8> {
    let header = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 2, 6, 2, 0, 0, 0, 0, 9, 0, 0];
    [&header, &frame[14..]].concat()
}

pub(crate) fn write(path: &Path, format: WriteFormat, frames: &[Made]) {
    let mut writer = CaptureWriter::create(path, format).unwrap();
    for made in frames {
        writer
            .write(&Frame {
                bytes: &made.bytes,
                original_length: made.original_length,
                link_type: made.link_type,
                interface: InterfaceIndex::new(1).unwrap(),
                interface_name: None,
                direction: Direction::Unknown,
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + made.after,
                checksums: Checksums::Computed,
                resegmented: false,
            })
            .unwrap();
    }
    writer.flush().unwrap();
}

fn emitted(emit: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let length = emit(&mut buffer);
    buffer.truncate(length);
    buffer
}
