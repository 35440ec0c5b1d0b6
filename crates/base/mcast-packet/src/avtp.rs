//! AVTP (IEEE 1722): streams of audio and video in Ethernet frames, and the devices that send them (IEEE 1722.1).

use core::fmt;

use crate::list::{u8_at, u16_at, u32_at, u64_at};

/// An AVTP frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Avtp {
    /// Data of a stream.
    Stream {
        /// The stream: the address of the sender and a number.
        stream: u64,
        /// The format.
        format: AvtpFormat,
    },
    /// A device announces itself.
    Device(AvtpDevice),
    /// A device leaves.
    Departing {
        /// The device.
        device: u64,
    },
    /// A question, or a message between devices.
    Other,
}

/// The format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AvtpFormat(pub u8);

/// A device that sends or receives streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvtpDevice {
    /// The identity of the device.
    pub device: u64,
    /// The identity of its model.
    pub model: u64,
    /// How long the announcement is valid, in seconds.
    pub lifetime: u8,
    /// The number of streams that it can send.
    pub talker_streams: u16,
    /// The number of streams that it can receive.
    pub listener_streams: u16,
    /// Whether it controls others.
    pub is_controller: bool,
    /// The clock that it follows.
    pub grandmaster: u64,
}

impl Avtp {
    const DISCOVERY: u8 = 0xfa;

    /// Parses the payload of a frame of type [`ether_type::AVTP`](crate::ether_type::AVTP).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (subtype, second) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?);
        let is_stream_valid = second & 0x80 != 0;
        Some(match subtype {
            Self::DISCOVERY => {
                let device = u64_at(bytes, 4)?;
                match second & 0x0f {
                    0 => Self::Device(AvtpDevice {
                        device,
                        model: u64_at(bytes, 12)?,
                        // Units of 2 s, of which every device sends an announcement before one half has passed.
                        lifetime: (u8_at(bytes, 2)? >> 3) * 2,
                        talker_streams: u16_at(bytes, 24)?,
                        listener_streams: u16_at(bytes, 28)?,
                        is_controller: u32_at(bytes, 32)? & 1 != 0,
                        grandmaster: u64_at(bytes, 40)?,
                    }),
                    1 => Self::Departing { device },
                    _ => Self::Other,
                }
            }
            0..=0x7f | 0x82 if is_stream_valid => {
                Self::Stream { stream: u64_at(bytes, 4)?, format: AvtpFormat(subtype) }
            }
            _ => Self::Other,
        })
    }
}

impl fmt::Display for AvtpFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x00 => "IEC 61883",
            0x01 => "MMA",
            0x02 => "AAF audio",
            0x03 => "compressed video",
            0x04 => "clock reference",
            0x05 | 0x82 => "control",
            0x06 => "SDI video",
            0x07 => "raw video",
            other => return write!(f, "format {other:#04x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    fn announcement(message: u8) -> Vec<u8> {
        let mut bytes = std::vec![0; 68];
        bytes[..4].copy_from_slice(&[0xfa, message, 31 << 3, 56]);
        bytes[4..12].copy_from_slice(&[0, 0x1b, 0x92, 0xff, 0xfe, 1, 2, 3]);
        bytes[24..26].copy_from_slice(&[0, 8]);
        bytes[28..30].copy_from_slice(&[0, 4]);
        bytes[35] = 1;
        bytes[47] = 5;
        bytes
    }

    #[test]
    fn devices_announce_themselves_and_leave() {
        let Some(Avtp::Device(device)) = Avtp::parse(&announcement(0)) else { panic!("no device") };
        assert_eq!((device.device, device.lifetime), (0x001b_92ff_fe01_0203, 62));
        assert_eq!((device.talker_streams, device.listener_streams), (8, 4));
        assert_eq!((device.is_controller, device.grandmaster), (true, 5));
        assert_eq!(Avtp::parse(&announcement(1)), Some(Avtp::Departing { device: 0x001b_92ff_fe01_0203 }));
        assert_eq!(Avtp::parse(&announcement(2)), Some(Avtp::Other));
        assert_eq!(Avtp::parse(&announcement(0)[..47]), None);
    }

    #[test]
    fn streams_have_their_identity_and_format() {
        let bytes = [2, 0x81, 0, 0, 0, 0x1b, 0x92, 1, 2, 3, 0, 9];
        let Some(Avtp::Stream { stream, format }) = Avtp::parse(&bytes) else { panic!("no stream") };
        assert_eq!((stream, format.to_string()), (0x001b_9201_0203_0009, "AAF audio".to_string()));
        assert_eq!(Avtp::parse(&bytes[..11]), None);
        assert_eq!(Avtp::parse(&[2, 0x01, 0, 0]), Some(Avtp::Other));
    }
}
