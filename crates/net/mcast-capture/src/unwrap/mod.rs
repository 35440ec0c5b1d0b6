//! Takes frames apart: packets in tunnels and behind labels, and datagrams from their fragments.

mod reassembler;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use mcast_group::InterfaceIndex;
use mcast_packet::{
    Carried, Checksums, EncapsulationId, EncapsulationProtocol, Enclosing, LinkType, Packet, Tunnel,
    UnexaminedReason,
};

use crate::packet_filter::PacketContext;
use crate::{Direction, Frame};
use reassembler::{Datagram, Origin, Reassembler};

/// Takes the frames of a capture apart, in the order in which they were captured.
///
/// Each packet is visited: the one that the frame starts with, those that it carries in tunnels, and the datagrams that are
/// put together from fragments. What may contain packets and is not decoded is counted. Memory and time are bounded: a
/// datagram waits for its fragments for 30 s of the capture, and the oldest is given up if too many wait.
///
/// ```
/// use mcast_capture::{CaptureFile, FileError, Part, Unwrapper};
///
/// /// Returns how many datagrams a file contains, and how many lack fragments.
/// fn datagrams(file: &mut CaptureFile) -> Result<(u64, u64), FileError> {
///     let (mut unwrapper, mut whole, mut incomplete) = (Unwrapper::new(), 0, 0);
///     let mut count = |packet: &mcast_capture::UnwrappedPacket<'_>| match packet.part {
///         Part::Whole | Part::Reassembled { .. } => whole += u64::from(packet.packet.udp().is_some()),
///         Part::Incomplete { .. } => incomplete += 1,
///         Part::Fragment => {}
///     };
///     while let Some(frame) = file.next()? {
///         unwrapper.visit(&frame, &mut count);
///     }
///     unwrapper.finish(&mut count);
///     Ok((whole, incomplete))
/// }
/// ```
#[derive(Debug, Default)]
pub struct Unwrapper {
    reassembler: Reassembler,
    unexamined: UnexaminedFrames,
    /// The name of the interface of the latest fragment.
    name: Option<(InterfaceIndex, Option<Arc<str>>)>,
}

/// A packet of a frame, or of the frames that its fragments were in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnwrappedPacket<'p> {
    /// The packet. One that was put together starts with its IP header, and has the Ethernet header of its first fragment.
    pub packet: &'p Packet<'p>,
    /// Whether it is whole.
    pub part: Part,
    /// The packets around it; `None` also if it is incomplete.
    pub enclosing: Option<&'p Enclosing<'p>>,
    /// The tunnel that it was in.
    pub tunnel: Option<Tunnel>,
    /// The interface.
    pub interface: InterfaceIndex,
    /// The name of the interface, if it is known.
    pub interface_name: Option<&'p str>,
    /// Whether it was received or sent.
    pub direction: Direction,
    /// When it was captured; of a datagram from fragments, the first of them.
    pub time: SystemTime,
    /// The length of its frame; of a datagram from fragments, of all their frames.
    pub length: usize,
}

/// Whether a packet is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is a whole packet, not IP, or a fragment that cannot belong to a datagram to a group.
    Whole,
    /// It is a fragment. Its datagram follows, whole or incomplete, unless it is a copy of one that was whole.
    Fragment,
    /// It is a datagram that was put together from this number of fragments.
    Reassembled {
        /// The number of fragments, with copies.
        fragments: u32,
    },
    /// It is what there is of a datagram whose other fragments did not come. Without the first fragment, it has no ports.
    Incomplete {
        /// The number of fragments that came.
        fragments: u32,
    },
}

/// The number of frames with packets that were not decoded, by what is around these and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnexaminedFrames(BTreeMap<(EncapsulationProtocol, UnexaminedReason), u64>);

/// The greatest number of packets inside each other that are decoded.
const MAX_DEPTH: usize = 8;

type Visitor<'v> = &'v mut dyn FnMut(&UnwrappedPacket<'_>);

impl Unwrapper {
    /// Creates an unwrapper that has seen no frames.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Visits the packets of the next frame, the outermost first, and the datagrams that end with it.
    pub fn visit(&mut self, frame: &Frame<'_>, visit: &mut dyn FnMut(&UnwrappedPacket<'_>)) {
        let packet = frame.packet();
        if !self.reassembler.is_empty() {
            self.reassembler.expire(frame.time);
            self.visit_incomplete(visit);
        }
        let level = Level {
            origin: CapturePoint {
                interface: frame.interface,
                interface_name: frame.interface_name,
                direction: frame.direction,
                time: frame.time,
                length: frame.original_length,
            },
            checksums: frame.checksums,
            part: Part::Whole,
            enclosing: None,
            tunnel: None,
            depth: 0,
        };
        self.visit_packet(&packet, &level, visit);
        if !self.reassembler.is_empty() {
            self.visit_incomplete(visit);
        }
    }

    /// Visits the datagrams that lack fragments when 30 s have passed without them. Only needed if no frames come.
    pub fn expire(&mut self, now: SystemTime, visit: &mut dyn FnMut(&UnwrappedPacket<'_>)) {
        if !self.reassembler.is_empty() {
            self.reassembler.expire(now);
            self.visit_incomplete(visit);
        }
    }

    /// Visits the datagrams that lack fragments at the end of the capture.
    pub fn finish(&mut self, visit: &mut dyn FnMut(&UnwrappedPacket<'_>)) {
        self.reassembler.finish();
        self.visit_incomplete(visit);
    }

    /// Returns the frames with packets that were not decoded so far.
    #[must_use]
    pub const fn unexamined(&self) -> &UnexaminedFrames {
        &self.unexamined
    }

    fn visit_packet(&mut self, packet: &Packet<'_>, level: &Level<'_>, visit: Visitor<'_>) {
        let fragment = packet.ip_layer().and_then(|ip| Some((ip, Reassembler::parts(ip)?)));
        let Some((ip, parts)) = fragment else {
            visit(&level.unwrapped(packet));
            return self.visit_carried(packet, level, visit);
        };
        visit(&Level { part: Part::Fragment, ..*level }.unwrapped(packet));
        let origin = self.origin(level);
        let Some(whole) = self.reassembler.add(packet, ip, parts, origin) else { return };
        let Datagram { origin, bytes, fragments, ethernet } = whole;
        let mut packet = Packet::decode(&bytes, LinkType::Ip, level.checksums);
        packet.ethernet = ethernet;
        let level = Level {
            origin: CapturePoint { time: origin.time, length: origin.length, ..level.origin },
            part: Part::Reassembled { fragments },
            ..*level
        };
        visit(&level.unwrapped(&packet));
        self.visit_carried(&packet, &level, visit);
        self.reassembler.recycle(bytes);
    }

    fn visit_carried(&mut self, packet: &Packet<'_>, level: &Level<'_>, visit: Visitor<'_>) {
        let inner = match packet.carried() {
            None => return,
            Some(Carried::Packet(inner)) => inner,
            Some(Carried::Unexamined(encapsulation, reason)) => {
                return self.unexamined.add(encapsulation, reason, 1);
            }
        };
        let encapsulation = inner.encapsulation;
        if level.depth + 1 >= MAX_DEPTH {
            return self.unexamined.add(encapsulation, UnexaminedReason::TooDeep, 1);
        }
        let carried = Packet::decode(inner.bytes, inner.link_type, Checksums::Computed);
        if carried.network.is_none() && carried.malformed.is_some() {
            let reason = match inner.link_type {
                // Another protocol than IP, or compressed or encrypted.
                LinkType::Ppp => UnexaminedReason::Unsupported,
                _ => UnexaminedReason::Malformed,
            };
            return self.unexamined.add(encapsulation, reason, 1);
        }
        let enclosing = Enclosing { packet, encapsulation, outer: level.enclosing };
        let tunnel = Tunnel::of(packet, encapsulation, level.tunnel.as_ref());
        let part = match level.part {
            Part::Reassembled { .. } => Part::Whole,
            part => part,
        };
        let level = Level {
            checksums: Checksums::Computed,
            part,
            enclosing: Some(&enclosing),
            tunnel: Some(tunnel),
            depth: level.depth + 1,
            ..*level
        };
        self.visit_packet(&carried, &level, visit);
    }

    /// Visits what there is of the datagrams that were given up.
    fn visit_incomplete(&mut self, visit: Visitor<'_>) {
        while let Some(Datagram { origin, bytes, fragments, ethernet }) = self.reassembler.next_incomplete() {
            let mut packet = Packet::decode(&bytes, LinkType::Ip, Checksums::LeftToDevice);
            packet.ethernet = ethernet;
            let encapsulation = packet.carried().map(|carried| match carried {
                Carried::Packet(inner) => inner.encapsulation,
                Carried::Unexamined(encapsulation, _) => encapsulation,
            });
            if let Some(encapsulation) = encapsulation {
                self.unexamined.add(encapsulation, UnexaminedReason::Incomplete, fragments.into());
            }
            visit(&UnwrappedPacket {
                packet: &packet,
                part: Part::Incomplete { fragments },
                enclosing: None,
                tunnel: origin.tunnel,
                interface: origin.interface,
                interface_name: origin.interface_name.as_deref(),
                direction: origin.direction,
                time: origin.time,
                length: origin.length,
            });
            self.reassembler.recycle(bytes);
        }
    }

    fn origin(&mut self, level: &Level<'_>) -> Origin {
        let CapturePoint { interface, interface_name, direction, time, length } = level.origin;
        let is_known = self
            .name
            .as_ref()
            .is_some_and(|(latest, name)| *latest == interface && name.as_deref() == interface_name);
        if !is_known {
            self.name = Some((interface, interface_name.map(Arc::from)));
        }
        let interface_name = self.name.as_ref().and_then(|(_, name)| name.clone());
        Origin { interface, interface_name, direction, time, length, tunnel: level.tunnel }
    }
}

/// Where and when a packet was captured.
#[derive(Clone, Copy)]
struct CapturePoint<'p> {
    interface: InterfaceIndex,
    interface_name: Option<&'p str>,
    direction: Direction,
    time: SystemTime,
    length: usize,
}

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy)]
struct Level<'p> {
    origin: CapturePoint<'p>,
    checksums: Checksums,
    part: Part,
    enclosing: Option<&'p Enclosing<'p>>,
    tunnel: Option<Tunnel>,
    depth: usize,
}

impl Level<'_> {
    fn unwrapped<'p>(&'p self, packet: &'p Packet<'_>) -> UnwrappedPacket<'p> {
        let CapturePoint { interface, interface_name, direction, time, length } = self.origin;
        UnwrappedPacket {
            packet,
            part: self.part,
            enclosing: self.enclosing,
            tunnel: self.tunnel,
            interface,
            interface_name,
            direction,
            time,
            length,
        }
    }
}

impl<'p> UnwrappedPacket<'p> {
    /// Returns the context of the packet. `port` is its destination UDP port, also of a fragment that does not contain it.
    #[must_use]
    pub fn context(&self, port: Option<u16>) -> PacketContext<'p> {
        let interface_name = self.interface_name.unwrap_or_default();
        PacketContext { interface: self.interface, interface_name, port }
    }
}

impl UnexaminedFrames {
    fn add(&mut self, encapsulation: EncapsulationId, reason: UnexaminedReason, frames: u64) {
        *self.0.entry((encapsulation.protocol, reason)).or_default() += frames;
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns whether everything was decoded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of frames by what is around their packets and why these were not decoded.
    pub fn iter(&self) -> impl Iterator<Item = (EncapsulationProtocol, UnexaminedReason, u64)> + '_ {
        self.0.iter().map(|((protocol, reason), frames)| (*protocol, *reason, *frames))
    }
}
