//! Records from sockets, without privileges: header fields that the kernel does not report are reconstructed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mcast::{Arrival, Batch, MembershipStatus, Receiver};
use mcast_capture::{Direction, Frame};
use mcast_packet::{Checksums, LinkType, UdpPacket};

use super::super::Reception;
use super::{FrameKind, Losses, Next, RecordedFrame, Source, SourceKind};
use crate::output::InterfaceNames;

/// Datagrams in a batch, each in a buffer for the largest datagram.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// The size of the largest datagram with its headers.
const LONGEST_PACKET: usize = BUFFER + 48;

/// A receiver, and its last batch.
#[derive(Debug)]
pub(super) struct Sockets {
    receiver: Receiver,
    batch: Batch,
    /// The number of datagrams of the batch already returned.
    taken: usize,
    filled: usize,
    packet: Vec<u8>,
    names: InterfaceNames,
    /// The name of the interface of the latest datagram.
    name: Rc<str>,
    unreadable: u64,
}

impl Sockets {
    pub(super) fn open(reception: &Reception) -> anyhow::Result<Self> {
        // Without GRO, because coalesced datagrams would share one timestamp.
        let builder = Receiver::builder()
            .join_all(reception.memberships.clone())
            .follow(reception.follow)
            .gro(false)
            .allow_any_source(reception.any_source);
        let builder = match reception.buffer {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        Ok(Self {
            receiver: crate::arguments::build_receiver(builder)?,
            batch: Batch::new(BUFFERS, BUFFER),
            taken: 0,
            filled: 0,
            packet: vec![0; LONGEST_PACKET],
            names: InterfaceNames::new(),
            name: Rc::default(),
            unreadable: 0,
        })
    }
}

impl Source for Sockets {
    fn kind(&self) -> SourceKind {
        SourceKind::Sockets
    }

    fn next(&mut self, timeout: Duration) -> anyhow::Result<Next<'_>> {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
            self.filled = self.receiver.recv_batch_timeout(&mut self.batch, timeout)?;
        }
        let Some(datagram) = self.batch.iter().nth(self.taken) else { return Ok(Next::Nothing) };
        self.taken += 1;
        let arrival = *datagram.arrival();
        let Ok(length) = packet(&arrival, datagram.payload()).emit(&mut self.packet) else {
            // An IPv6 datagram that is longer than its header can express.
            self.unreadable += 1;
            return Ok(Next::Passed);
        };
        self.name = self.names.of(arrival.interface);
        let bytes = self.packet.get(..length).unwrap_or_default();
        let frame = Frame {
            bytes,
            original_length: length + arrival.length.saturating_sub(datagram.payload().len()),
            link_type: LinkType::Ip,
            interface: arrival.interface,
            interface_name: Some(&self.name),
            direction: Direction::Multicast,
            time: arrival.time.unwrap_or_else(SystemTime::now),
            checksums: Checksums::Computed,
            resegmented: false,
        };
        Ok(Next::Frame(RecordedFrame { frame, kind: FrameKind::Datagram(arrival) }))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        self.receiver.memberships()
    }

    fn buffer(&self) -> anyhow::Result<usize> {
        Ok(self.receiver.receive_buffer())
    }

    fn losses(&mut self) -> anyhow::Result<Losses> {
        Ok(Losses { dropped: self.receiver.statistics().dropped, unreadable: self.unreadable })
    }
}

/// Reconstructs the headers of a datagram. An unknown hop limit becomes zero.
fn packet<'a>(arrival: &Arrival, payload: &'a [u8]) -> UdpPacket<'a> {
    UdpPacket {
        source: SocketAddr::new(arrival.source.ip(), arrival.source.port()),
        destination: arrival.group.into(),
        hop_limit: arrival.hop_limit.unwrap_or(0),
        traffic_class: arrival.traffic_class.unwrap_or(0),
        payload,
    }
}
