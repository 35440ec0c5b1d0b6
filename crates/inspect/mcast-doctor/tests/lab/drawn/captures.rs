//! Kinds of faults in capture files, and files in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use mcast_doctor::{Id, Report, explain_capture};
use mcast_packet::gmp::{Address, GmpMessage, Query, SourceQuery, Sources};
use mcast_packet::{ControlFrame, MacAddress, UdpFrame};
use mcast_sim::Dice;

use super::flow::{FROM, Flow};
use super::{Drawn, Family, Kind, Orderly, Part, kinds};
use crate::files::{gzipped, pcap};
use crate::net::rtp;

/// Where the IP header begins, and the UDP headers of both families.
const IP: usize = 14;
const UDP: [usize; 2] = [IP + 20, IP + 40];
/// The number of the link type in files.
const ETHERNET: u8 = 1;

/// A capture of a stream of RTP.
pub(super) struct Capture {
    flow: Flow,
    frames: Vec<Vec<u8>>,
    link: u8,
    of_file: fn(Vec<u8>) -> Vec<u8>,
}

impl Deref for Capture {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.flow
    }
}

impl DerefMut for Capture {
    fn deref_mut(&mut self) -> &mut Flow {
        &mut self.flow
    }
}

impl Drawn for Capture {
    fn examine(&mut self) -> Report {
        let mut bytes = pcap(&self.frames);
        bytes[20] = self.link;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        std::fs::write(&path, (self.of_file)(bytes)).unwrap();
        explain_capture(&path).unwrap()
    }
}

impl Capture {
    pub(super) fn new(dice: Dice, is_v6: bool) -> Self {
        let flow = Flow::new(dice, is_v6, ["10.9.0.1", "fd09::1"]);
        let mut capture = Self { flow, frames: Vec::new(), link: ETHERNET, of_file: |bytes| bytes };
        let (group, source) = (capture.group, capture.source);
        capture.frames = capture.stream(group, source, 1);
        capture
    }

    /// Returns the frames of a stream.
    fn stream(&mut self, group: IpAddr, source: IpAddr, host: u8) -> Vec<Vec<u8>> {
        let (port, count, ssrc) = (self.port, self.dice.between(310, 350) as u16, self.dice.next() as u32);
        let frame = |number| {
            let mut buffer = [0; 256];
            let frame = UdpFrame {
                mac: MacAddress([2, 0, 0, 0, 0, host]),
                source,
                source_port: FROM,
                group: mcast::Group::new(group).unwrap(),
                destination_port: port,
                hop_limit: 4,
                payload: &rtp(number, ssrc),
            };
            let length = frame.emit(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        (0..count).map(frame).collect()
    }

    /// Sends the stream from another source.
    fn send_from(&mut self, source: IpAddr) {
        self.source = source;
        let group = self.group;
        self.frames = self.stream(group, source, 1);
    }

    fn change(&mut self, change: impl Fn(&mut Vec<u8>)) {
        self.frames.iter_mut().for_each(change);
    }

    fn udp(&self) -> usize {
        UDP[usize::from(self.is_v6())]
    }

    /// Adds these frames, each after as many others.
    fn mix(&mut self, others: Vec<Vec<u8>>) {
        let every = (self.frames.len() / others.len()).max(1);
        for (number, frame) in others.into_iter().enumerate() {
            let place = (number * (every + 1)).min(self.frames.len());
            self.frames.insert(place, frame);
        }
    }

    /// Returns what a host sends about groups.
    fn control(&self, host: u8, control: Control) -> Vec<u8> {
        match control {
            Control::Report(IpAddr::V4(group)) => frame(host, v4(host), GmpMessage::Report { group }),
            Control::Report(IpAddr::V6(group)) => frame(host, v6(host), GmpMessage::Report { group }),
            Control::Query if self.is_v6() => frame(host, v6(host), GmpMessage::Query(general_query())),
            Control::Query => frame(host, v4(host), GmpMessage::Query(general_query())),
        }
    }
}

const fn v4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, host)
}

const fn v6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host as u16)
}

const fn general_query<A: Address>() -> Query<'static, A> {
    let interval = Duration::from_secs(125);
    let source_query = SourceQuery { suppress: false, robustness: 2, interval, sources: Sources::none() };
    Query { group: None, max_response_time: Duration::from_secs(10), source_query: Some(source_query) }
}

fn frame<A: Address>(host: u8, source: A, message: GmpMessage<'_, A>) -> Vec<u8> {
    let (mac, mut buffer) = (MacAddress([2, 0, 0, 0, 0, host]), [0; 128]);
    let length = ControlFrame { mac, source, message }.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// What a host sends about groups.
#[derive(Clone, Copy)]
enum Control {
    Report(IpAddr),
    Query,
}

kinds! {
    Capture;
    "no source": SourceZero, Source, V4, |capture| capture.send_from(Ipv4Addr::UNSPECIFIED.into());
    "a group as the source": InvalidSource, Source, Any, |capture| {
        let group = capture.another_group();
        capture.send_from(group);
    };
    "a source on the loopback": InvalidSource, Source, Any, |capture| {
        let last = capture.dice.between(1, 250) as u8;
        let source = if capture.is_v6() { "::1".parse().unwrap() } else { Ipv4Addr::new(127, 0, 0, last).into() };
        capture.send_from(source);
    };
    "the address of another host": FramesToAnotherHost, Device, Any, |capture| {
        let last = capture.dice.between(10, 250) as u8;
        capture.change(|frame| frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, last]));
    };
    "the address of another group": FramesToAnotherHost, Device, Any, |capture| {
        let prefix = if capture.is_v6() { [0x33, 0x33, 0xee] } else { [1, 0, 0x5e] };
        capture.change(|frame| {
            frame[..3].copy_from_slice(&prefix);
            frame[3..6].iter_mut().for_each(|byte| *byte ^= 0x2a);
        });
    };
    "the checksum": BadChecksum, Frame, Any, |capture| {
        let (place, bit) = (capture.udp() + 6, capture.dice.below(8));
        capture.change(|frame| frame[place] ^= 1 << bit);
    };
    "the checksum of a part": BadChecksum, Frame, Any, |capture| {
        let (place, every) = (capture.udp() + 7, capture.dice.between(2, 5) as usize);
        capture.frames.iter_mut().step_by(every).for_each(|frame| frame[place] ^= 0x11);
    };
    "no checksum": BadChecksum, Frame, V6, |capture| {
        let place = capture.udp() + 6;
        capture.change(|frame| frame[place..place + 2].fill(0));
    };
    "a damaged header": MalformedPackets, Frame, V4, |capture| {
        let bit = capture.dice.below(8);
        capture.change(|frame| frame[IP + 10] ^= 1 << bit);
    };
    "a length beyond the packet": MalformedPackets, Frame, Any, |capture| {
        let place = capture.udp() + 4;
        capture.change(|frame| frame[place] = 1);
    };
    "losses": LostBeforeThisMachine, Size, Any, |capture| {
        let every = capture.dice.between(3, 25) as usize;
        let mut number = 0;
        capture.frames.retain(|_| {
            number += 1;
            number % every != 1
        });
    };
    "a gap": LostBeforeThisMachine, Size, Any, |capture| {
        let (begin, length) = (capture.dice.between(50, 100) as usize, capture.dice.between(10, 60) as usize);
        drop(capture.frames.drain(begin..begin + length));
    };
    "everything twice": DuplicatePath, Size, Any, |capture| {
        capture.frames = capture.frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
    };
    "a member that gets nothing": MembersGetNothing, Join, Any, |capture| {
        let other = capture.another_group();
        let report = capture.control(2, Control::Report(other));
        capture.frames.insert(0, report);
    };
    "two hosts with one address": ConflictingStreams, Join, Any, |capture| {
        // Two words of the payload change places, which keeps the checksum.
        let place = capture.udp() + 8 + 12;
        let twice = capture.frames.iter().flat_map(|frame| {
            let mut other = frame.clone();
            other.swap(place, place + 2);
            other[11] = 2;
            [frame.clone(), other]
        });
        capture.frames = twice.collect();
    };
    "two queriers": TwoQueriers, Port, Any, |capture| {
        let queries = (0..6).map(|number| capture.control(250 + number % 2, Control::Query)).collect();
        capture.mix(queries);
    };
    "frequent queries": QuerierMisconfigured, Port, Any, |capture| {
        let queries = vec![capture.control(250, Control::Query); 100];
        capture.mix(queries);
    };
}

/// Returns whether something shows a fault beside another one: the numbers of damaged datagrams are not read.
pub(super) fn is_shown(kind: &Kind<Capture>, other: &Kind<Capture>) -> bool {
    kind.id != Id::ConflictingStreams || other.part != Part::Frame
}

pub(super) const ORDERLY: &[Orderly<Capture>] = &[
    (Family::Any, |capture| capture.of_file = gzipped),
    (Family::Any, |capture| {
        capture.of_file = gzipped;
        let (group, source) = (capture.another_group(), capture.source);
        let other = capture.stream(group, source, 1);
        capture.mix(other);
    }),
    (Family::Any, |capture| {
        let (group, host) = (capture.group, capture.dice.between(2, 200) as u8);
        let report = capture.control(host, Control::Report(group));
        capture.frames.insert(0, report);
    }),
    (Family::Any, |capture| {
        let query = capture.control(250, Control::Query);
        capture.frames.insert(0, query);
    }),
    (Family::Any, |capture| capture.change(|frame| frame[..6].fill(0xff))),
    (Family::Any, |capture| capture.frames.truncate(20)),
    (Family::Any, |capture| {
        // A point-to-point link, or packets without a link layer.
        const PPP: u8 = 9;
        const RAW: u8 = 101;
        let protocol = if capture.is_v6() { 0x57 } else { 0x21 };
        let headers: [(u8, &[u8]); 2] = [(PPP, &[0xff, 3, 0, protocol]), (RAW, &[])];
        let (link, header) = capture.dice.pick(&headers);
        capture.link = link;
        capture.change(|frame| drop(frame.splice(..IP, header.iter().copied())));
    }),
    (Family::Any, |capture| capture.of_file = big_endian),
    (Family::Any, |capture| {
        let tag = capture.dice.between(1, 250) as u8;
        // Other links have no tags.
        if capture.link == ETHERNET {
            capture.change(|frame| drop(frame.splice(12..12, [0x81, 0, 0, tag])));
        }
    }),
];

/// Writes the file's headers in the other order of bytes.
fn big_endian(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[..4].reverse();
    [4..6, 6..8, 8..12, 12..16, 16..20, 20..24].into_iter().for_each(|range| bytes[range].reverse());
    let mut place = 24;
    while place < bytes.len() {
        let length = u32::from_le_bytes(bytes[place + 8..place + 12].try_into().unwrap());
        (0..4).for_each(|word| bytes[place + word * 4..place + word * 4 + 4].reverse());
        place += 16 + length as usize;
    }
    bytes
}
