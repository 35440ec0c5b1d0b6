//! Frames from sockets, without privileges: header fields that the kernel does not report are reconstructed.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast::{Arrival, Batch, Family, Interface, InterfaceIndex, MembershipStatus, Receiver};
use mcast_capture::{Direction, Frame};
use mcast_packet::{Checksums, LinkType, UdpPacket};

use super::{FrameLosses, GroupFrameKind, GroupFrames, GroupFramesOptions, NextGroupFrame};
use crate::live::LiveError;

/// Datagrams in a batch, each in a buffer for the largest datagram.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// The size of the largest datagram with its headers.
const LONGEST_PACKET: usize = BUFFER + 48;

/// Datagrams as sockets receive them, with reconstructed headers: payload, addresses, ports, hop limit, DSCP and times
/// are those that the kernel reported, and fragmented datagrams are whole.
#[derive(Debug)]
pub struct SocketFrames {
    receiver: Receiver,
    batch: Batch,
    /// The number of datagrams of the batch already returned.
    taken: usize,
    filled: usize,
    packet: Vec<u8>,
    /// The interface of the latest datagram, and its name.
    interface: Option<(InterfaceIndex, String)>,
    unreadable: u64,
}

impl SocketFrames {
    /// Joins the groups and starts to receive.
    ///
    /// # Errors
    /// [`LiveError::Multicast`] if a group cannot be joined.
    pub fn open(options: &GroupFramesOptions) -> Result<Self, LiveError> {
        // Without GRO, because coalesced datagrams would share one timestamp.
        let builder = Receiver::builder()
            .join_all(options.memberships.clone())
            .follow(options.follow)
            .gro(false)
            .allow_any_source(options.any_source);
        let builder = match options.buffer_size {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        Ok(Self {
            receiver: builder.build_raising_limit()?,
            batch: Batch::new(BUFFERS, BUFFER),
            taken: 0,
            filled: 0,
            packet: vec![0; LONGEST_PACKET],
            interface: None,
            unreadable: 0,
        })
    }
}

impl GroupFrames for SocketFrames {
    fn next(&mut self, timeout: Duration) -> Result<NextGroupFrame<'_>, LiveError> {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
            self.filled = self.receiver.recv_batch_timeout(&mut self.batch, timeout)?;
        }
        let Some(datagram) = self.batch.iter().nth(self.taken) else { return Ok(NextGroupFrame::Nothing) };
        self.taken += 1;
        let arrival = *datagram.arrival();
        let Ok(length) = packet(&arrival, datagram.payload()).emit(&mut self.packet) else {
            // An IPv6 datagram that is longer than its header can express.
            self.unreadable += 1;
            return Ok(NextGroupFrame::Other);
        };
        if self.interface.as_ref().is_none_or(|(index, _)| *index != arrival.interface) {
            self.interface = Some((arrival.interface, name_of(arrival.interface)));
        }
        let bytes = self.packet.get(..length).unwrap_or_default();
        let frame = Frame {
            bytes,
            original_length: length + arrival.length.saturating_sub(datagram.payload().len()),
            link_type: LinkType::Ip,
            interface: arrival.interface,
            interface_name: self.interface.as_ref().map(|(_, name)| name.as_str()),
            direction: Direction::Multicast,
            time: arrival.time.unwrap_or_else(SystemTime::now),
            checksums: Checksums::Computed,
            resegmented: false,
        };
        Ok(NextGroupFrame::Frame(frame, GroupFrameKind::Datagram(arrival)))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        self.receiver.memberships()
    }

    fn buffer_size(&self) -> Result<usize, LiveError> {
        Ok(self.receiver.receive_buffer())
    }

    fn losses(&mut self) -> Result<FrameLosses, LiveError> {
        Ok(FrameLosses { dropped: self.receiver.statistics().dropped, unreadable: self.unreadable })
    }
}

/// Returns the name of an interface, or its index if it has vanished.
fn name_of(index: InterfaceIndex) -> String {
    let families = [Family::V4, Family::V6];
    let is_it = |interface: &Interface| families.iter().any(|family| interface.index_for(*family) == index);
    let found = mcast::interfaces().ok().and_then(|interfaces| interfaces.into_iter().find(is_it));
    found.map_or_else(|| index.to_string(), |interface| interface.name)
}

/// Reconstructs the headers of a datagram. An unknown hop limit becomes zero.
fn packet<'a>(arrival: &Arrival, payload: &'a [u8]) -> UdpPacket<'a> {
    UdpPacket {
        source: SocketAddr::new(arrival.source.ip(), arrival.source.port()),
        destination: arrival.destination,
        hop_limit: arrival.hop_limit.unwrap_or(0),
        traffic_class: arrival.traffic_class.unwrap_or(0),
        payload,
    }
}
