//! Records a stream to a file.

use std::collections::HashSet;
use std::path::PathBuf;

use mcast_capture::{CaptureWriter, FileError, Frame, PacketContext, PacketFilter, WriteFormat};
use mcast_packet::{Packet, Transport};
use mcast_stream_proto::dissect::StreamDatagram;
use mcast_stream_proto::wire::StreamId;

use crate::StreamKey;

/// A stream that is written to a pcapng file.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) key: StreamKey,
    pub(super) path: PathBuf,
    writer: CaptureWriter,
    /// The error that ended the recording, if any.
    pub(super) failure: Option<String>,
}

impl Recording {
    /// Creates a new file; fails if the file exists.
    pub(super) fn start(key: StreamKey, path: PathBuf) -> Result<Self, FileError> {
        let writer = CaptureWriter::create_new(&path, WriteFormat::PcapNg)?;
        Ok(Self { key, path, writer, failure: None })
    }

    /// Writes a frame if it belongs to the stream, or is a later fragment that may belong to it.
    pub(super) fn write(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, key: Option<StreamKey>) {
        let belongs_to_stream =
            key == Some(self.key) || (key.is_none() && self.may_be_fragment(frame, packet));
        if !belongs_to_stream || self.failure.is_some() {
            return;
        }
        if let Err(error) = self.writer.write(frame) {
            self.failure = Some(error.to_string());
        }
    }

    /// Writes buffered data.
    pub(super) fn flush(&mut self) {
        if let Err(error) = self.writer.flush()
            && self.failure.is_none()
        {
            self.failure = Some(error.to_string());
        }
    }

    /// Returns the number of frames written.
    pub(super) fn frames(&self) -> u64 {
        self.writer.frames() - self.writer.unwritten()
    }

    /// Returns whether a packet is a fragment of the stream; of a later one, nothing but the addresses is known.
    fn may_be_fragment(&self, frame: &Frame<'_>, packet: &Packet<'_>) -> bool {
        let is_piece = match &packet.transport {
            Some(Transport::Udp(udp)) => {
                packet.ip_layer().is_some_and(|ip| ip.fragment.is_some())
                    && (udp.source_port, udp.destination_port) == (self.key.source_port, self.key.port)
            }
            transport => matches!(transport, Some(Transport::Fragment(_))),
        };
        let ends = packet.ip_layer().map(|ip| (ip.source, ip.destination));
        is_piece
            && frame.interface == self.key.interface
            && ends == Some((self.key.source, self.key.group.addr()))
    }
}

/// Selects the datagrams of the message layer. Remembers the streams seen on the selected groups.
///
/// Datagrams from subscribers, and some repairs, are sent by unicast. They are recognized by the id of a stream that
/// was seen on a group.
#[derive(Debug, Default)]
pub struct StreamFilter {
    known: HashSet<StreamId>,
}

impl StreamFilter {
    /// The maximum number of remembered streams, because ids can be forged.
    const MAX_STREAMS: usize = 4_096;

    /// Returns whether a packet belongs to the selected groups, or to a stream that was seen there.
    pub fn admit(&mut self, packet: &Packet<'_>, filter: &PacketFilter, context: &PacketContext<'_>) -> bool {
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return false };
        let Some(datagram) = StreamDatagram::recognize(udp.payload, None) else { return false };
        let stream = datagram.header().map(|header| header.stream);
        if !ip.destination.is_multicast() {
            return filter.is_unrestricted() || stream.is_some_and(|stream| self.known.contains(&stream));
        }
        let is_selected = filter.admits(packet, context);
        if let Some(stream) = stream.filter(|_| is_selected && self.known.len() < Self::MAX_STREAMS) {
            self.known.insert(stream);
        }
        is_selected
    }
}
