//! Frames to write, and owned copies of those that were read.

use std::path::Path;
use std::time::{Duration, SystemTime};

use mcast_capture::{CaptureFile, CaptureWriter, Direction, FileError, Frame, WriteFormat};
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, MacAddress, UdpFrame};

/// A frame that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedFrame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) original_length: usize,
    pub(crate) link_type: LinkType,
    pub(crate) interface: u32,
    pub(crate) direction: Direction,
    pub(crate) time: SystemTime,
}

impl OwnedFrame {
    pub(crate) fn new(bytes: Vec<u8>, number: u32) -> Self {
        Self {
            original_length: bytes.len(),
            bytes,
            link_type: LinkType::Ethernet,
            interface: 1,
            direction: Direction::Multicast,
            time: at(1_700_000_000, 123_456_789) + Duration::from_millis(number.into()),
        }
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            bytes: &self.bytes,
            original_length: self.original_length,
            link_type: self.link_type,
            interface: index(self.interface),
            interface_name: None,
            direction: self.direction,
            time: self.time,
            checksums: Checksums::Computed,
            resegmented: false,
        }
    }
}

impl From<Frame<'_>> for OwnedFrame {
    fn from(frame: Frame<'_>) -> Self {
        Self {
            bytes: frame.bytes.to_vec(),
            original_length: frame.original_length,
            link_type: frame.link_type,
            interface: frame.interface.number(),
            direction: frame.direction,
            time: frame.time,
        }
    }
}

pub(crate) fn index(number: u32) -> InterfaceIndex {
    InterfaceIndex::new(number).unwrap()
}

pub(crate) fn at(seconds: u64, nanoseconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

/// Returns a datagram to 239.1.2.3:5000.
pub(crate) fn datagram(payload: &[u8]) -> Vec<u8> {
    datagram_to([239, 1, 2, 3], 5000, payload)
}

pub(crate) fn datagram_to(group: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let frame = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source: [10, 0, 0, 1].into(),
        source_port: 4000,
        group: std::net::IpAddr::from(group).try_into().unwrap(),
        destination_port: port,
        hop_limit: 1,
        payload,
    };
    let mut buffer = vec![0; 2000];
    let length = frame.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

pub(crate) fn write(path: &Path, format: WriteFormat, frames: &[OwnedFrame]) {
    let mut writer = CaptureWriter::create(path, format).unwrap();
    for frame in frames {
        writer.write(&frame.frame()).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!((writer.frames(), writer.pending()), (frames.len() as u64, 0));
    assert_eq!(writer.length(), std::fs::metadata(path).unwrap().len());
}

/// Returns all frames, and the error that ended them, if any.
pub(crate) fn read_all(mut file: CaptureFile) -> (Vec<OwnedFrame>, Option<FileError>) {
    let mut frames = Vec::new();
    loop {
        match file.next() {
            Ok(Some(frame)) => frames.push(frame.into()),
            Ok(None) => return (frames, None),
            Err(error) => {
                assert!(file.next().unwrap().is_none(), "an error ends the file");
                return (frames, Some(error));
            }
        }
    }
}

pub(crate) fn read(path: &Path) -> Vec<OwnedFrame> {
    let (frames, error) = read_all(CaptureFile::open(path).unwrap());
    assert!(error.is_none(), "{error:?}");
    frames
}

pub(crate) fn read_bytes(bytes: Vec<u8>) -> (Vec<OwnedFrame>, Option<FileError>) {
    read_all(CaptureFile::from_reader(std::io::Cursor::new(bytes), "memory").unwrap())
}
