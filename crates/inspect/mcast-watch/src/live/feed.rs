//! Passes frames to the table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mcast::InterfaceIndex;
use mcast_capture::{FileError, Frame, PacketFilter};
use mcast_group::SafeText;
use mcast_packet::Transport;
use mcast_stream::dissect::opened;
use mcast_stream::seal::Keys;
use mcast_stream::wire::{self, Announce, Flags, Heartbeat, KeyEpoch, Kind, WireError};

use super::monitor::MonitorOptions;
use super::recording::Recording;
use crate::{
    AnnouncementContent, ObservedPacket, SequenceInfo, StreamAnnouncement, StreamIdentity, StreamKey, Time,
    Watch,
};

/// The table, and the state for filling it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) watch: Watch,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    pub(super) recording: Option<Recording>,
    keys: Keys,
    filter: PacketFilter,
    /// Whether the position of sequence numbers is given.
    has_field: bool,
}

/// A datagram of the message layer. Its header is clear even if its body is sealed.
struct StreamPacket<'a> {
    payload: &'a [u8],
    view: wire::DatagramView<'a>,
}

impl Feed {
    pub(super) fn new(options: MonitorOptions) -> Self {
        let MonitorOptions { watch, filter, keys, .. } = options;
        Self {
            watch: Watch::new(watch),
            names: HashMap::new(),
            recording: None,
            keys,
            filter,
            has_field: watch.sequence.is_some(),
        }
    }

    /// Starts to record a stream to a file.
    pub(super) fn record(&mut self, key: StreamKey, path: PathBuf) -> Result<(), FileError> {
        self.recording = Some(Recording::start(key, path)?);
        Ok(())
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>) {
        self.names.entry(frame.interface).or_insert_with(|| name_of(frame));
        if !self.filter.watches(&frame.context(None)) {
            return;
        }
        let packet = frame.packet();
        let of_stream = packet.udp().and_then(|udp| StreamPacket::read(udp.payload));
        if let (Some(ip), Some(Transport::Udp(udp))) = (packet.ip_layer(), &packet.transport) {
            // Before the selection, because announcements contain the names of selected streams.
            if let Some(stream) = of_stream.as_ref().filter(|stream| stream.is(Kind::Announce))
                && let Ok(content) = stream.announced(&self.keys)
            {
                self.watch.announce(StreamAnnouncement {
                    time: Time::from(frame.time),
                    interface: frame.interface,
                    source: SocketAddr::new(ip.source, udp.source_port),
                    identity: stream.identity(),
                    content,
                });
            }
            if !self.filter.admits(&packet, &frame.context(Some(udp.destination_port))) {
                return;
            }
        }
        let key = self.watch.observe(&ObservedPacket {
            time: Time::from(frame.time),
            interface: frame.interface,
            outgoing: frame.direction.is_outgoing(),
            length: frame.original_length,
            packet: &packet,
            sequence_info: of_stream
                .filter(|_| !self.has_field)
                .and_then(|stream| stream.sequence_info(&self.keys)),
        });
        if let Some(recording) = &mut self.recording {
            recording.write(frame, &packet, key);
        }
    }
}

/// Returns the sequence information of a payload of the message layer, as far as it is readable without a key; `None`
/// for other payloads.
#[must_use]
pub fn sequence_info(payload: &[u8]) -> Option<SequenceInfo> {
    StreamPacket::read(payload)?.sequence_info(&Keys::none())
}

/// Returns the name of the frame's interface to show, or its number if it has none. A name in a file is untrusted.
fn name_of(frame: &Frame<'_>) -> Arc<str> {
    match frame.interface_name {
        Some(name) => SafeText::new(name.as_bytes()).to_string().into(),
        None => format!("#{}", frame.interface).into(),
    }
}

impl<'a> StreamPacket<'a> {
    fn read(payload: &'a [u8]) -> Option<Self> {
        Some(Self { payload, view: wire::DatagramView::parse(payload).ok()? })
    }

    fn is(&self, kind: Kind) -> bool {
        self.view.header.kind == kind
    }

    fn is_sealed(&self) -> bool {
        self.view.header.epoch != KeyEpoch::CLEAR
    }

    fn identity(&self) -> StreamIdentity {
        let header = &self.view.header;
        StreamIdentity {
            stream: header.stream.0,
            incarnation: header.incarnation.0,
            sealed: self.is_sealed(),
        }
    }

    /// Returns the body; `None` if it is sealed and none of the keys opens it.
    fn body(&self, keys: &Keys) -> Option<Cow<'a, [u8]>> {
        if !self.is_sealed() {
            return Some(Cow::Borrowed(self.view.body));
        }
        let mut bytes = opened(self.payload, keys)?;
        Some(Cow::Owned(bytes.split_off(self.view.head.len().min(bytes.len()))))
    }

    /// Returns the content of an announcement; `None` if it cannot be opened.
    fn announced(&self, keys: &Keys) -> Result<Option<AnnouncementContent>, WireError> {
        let Some(body) = self.body(keys) else { return Ok(None) };
        let announce = Announce::read(&body)?;
        Ok(Some(AnnouncementContent {
            name: announce.name.to_owned(),
            paths: announce.paths.iter().flatten().map(|path| (path.source, path.group)).collect(),
            snapshot: announce.snapshot,
            rate: (announce.rate > 0).then_some(announce.rate),
        }))
    }

    /// Returns the sequence information; `None` for an invalid datagram. A key is only needed for the current end of
    /// the stream, which is in the body.
    fn sequence_info(&self, keys: &Keys) -> Option<SequenceInfo> {
        let header = &self.view.header;
        let is_data = header.kind.is_in_sequence();
        let body = if self.is(Kind::Heartbeat) { self.body(keys) } else { None };
        let end = match body {
            Some(body) => Some(Heartbeat::read(&body).ok()?.next.0),
            None => None,
        };
        Some(SequenceInfo {
            identity: self.identity(),
            number: is_data.then_some(header.sequence),
            repair: is_data && header.flags.has(Flags::REPAIR),
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{AnnouncedPath, DatagramWriter, Header, Incarnation, StreamId};

    use super::*;

    #[test]
    fn sealed_announcements_have_no_content_without_the_key() {
        let group = ([239, 1, 2, 3], 5000).into();
        let mut announce = Announce::new("prices");
        announce.paths[0] = Some(AnnouncedPath { group, source: None });
        let header = Header::new(Kind::Announce, StreamId(1), Incarnation(5), 1);
        let mut buffer = vec![0; 400];
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        announce.write(&mut writer).unwrap();
        let length = writer.finish();
        buffer.truncate(length);
        let content = StreamPacket::read(&buffer).unwrap().announced(&Keys::none()).unwrap().unwrap();
        assert_eq!((content.name.as_str(), content.paths), ("prices", vec![(None, group)]));

        buffer[7] = 3;
        let sealed = StreamPacket::read(&buffer).unwrap();
        assert!(sealed.identity().sealed);
        assert_eq!(sealed.announced(&Keys::none()), Ok(None));
    }
}
