//! Records of the older format, pcap (draft-ietf-opsawg-pcap).

use std::time::Duration;

use byteorder_slice::{BigEndian, LittleEndian};
use pcap_file::pcap::{PcapHeader, RawPcapPacket};
use pcap_file::{Endianness, PcapError, TsResolution};

use super::interface::{FileInterface, LinkNumber};
use super::reader::{ParseOutcome, Record};
use crate::Direction;

/// The contents of the file header.
#[derive(Debug)]
pub(super) struct Pcap {
    endianness: Endianness,
    nanoseconds: bool,
    pub(super) interface: FileInterface,
}

impl Pcap {
    pub(super) const HEADER_LENGTH: usize = 24;

    /// Length of seconds, fraction, captured and original length.
    const RECORD_HEADER: usize = 16;

    /// Returns `None` if the file does not start with pcap's magic number.
    pub(super) fn new(header: &[u8]) -> Option<Self> {
        let (_, header) = PcapHeader::from_slice(header).ok()?;
        // The upper bits may describe frame check sequences.
        let link = LinkNumber(u32::from(header.datalink) & 0x03ff_ffff);
        Some(Self {
            endianness: header.endianness,
            nanoseconds: header.ts_resolution == TsResolution::NanoSecond,
            interface: FileInterface { link, ..FileInterface::default() },
        })
    }

    pub(super) const fn nanoseconds(&self) -> bool {
        self.nanoseconds
    }

    /// Parses the record at the start of the bytes.
    pub(super) fn parse(&self, bytes: &[u8]) -> ParseOutcome {
        let parsed = match self.endianness {
            Endianness::Big => RawPcapPacket::from_slice::<BigEndian>(bytes),
            Endianness::Little => RawPcapPacket::from_slice::<LittleEndian>(bytes),
        };
        match parsed {
            Ok((rest, packet)) => {
                let length = bytes.len() - rest.len();
                ParseOutcome::Frame(Record {
                    length,
                    data: Self::RECORD_HEADER..length,
                    original_length: packet.orig_len as usize,
                    interface: 0,
                    time: self.time(packet.ts_sec, packet.ts_frac),
                    direction: Direction::Unknown,
                })
            }
            Err(PcapError::IncompleteBuffer) => ParseOutcome::NeedsMore(self.needed(bytes)),
            Err(_) => ParseOutcome::Malformed("is malformed"),
        }
    }

    /// Returns the length of the record, as far as it is known.
    fn needed(&self, bytes: &[u8]) -> usize {
        let field: Option<[u8; 4]> = bytes.get(8..12).and_then(|field| field.try_into().ok());
        let length = field.map_or(0, |field| match self.endianness {
            Endianness::Big => u32::from_be_bytes(field),
            Endianness::Little => u32::from_le_bytes(field),
        });
        Self::RECORD_HEADER.saturating_add(length as usize)
    }

    /// Returns the time; a fraction of more than a second carries over.
    fn time(&self, seconds: u32, fraction: u32) -> Duration {
        let unit = if self.nanoseconds { 1 } else { 1000 };
        Duration::from_secs(seconds.into()) + Duration::from_nanos(u64::from(fraction) * unit)
    }
}
