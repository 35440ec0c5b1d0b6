//! Passes frames to the table.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mcast::{Group, InterfaceIndex};
use mcast_capture::Frame;
use mcast_packet::{Packet, Transport};
use mcast_stream::seal::Keys;
use mcast_watch::{ObservedPacket, StreamKey, Time, Watch};

use super::announced::Announcements;
use super::numbered::numbered;
use super::recording::Recording;
use super::selection::Selection;

/// The table, and the state for filling it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) watch: Watch,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    pub(super) recording: Option<Recording>,
    pub(super) announcements: Announcements,
    keys: Keys,
    selection: Selection,
    /// Whether `--seq` gives the position of sequence numbers.
    has_field: bool,
    pub(super) loopbacks: Vec<InterfaceIndex>,
}

impl Feed {
    pub(super) fn new(
        watch: Watch,
        selection: Selection,
        keys: Keys,
        has_field: bool,
        loopbacks: Vec<InterfaceIndex>,
    ) -> Self {
        Self {
            watch,
            names: HashMap::new(),
            recording: None,
            announcements: Announcements::default(),
            keys,
            selection,
            has_field,
            loopbacks,
        }
    }

    /// Starts to record a stream to a file.
    pub(super) fn record(&mut self, key: StreamKey, path: PathBuf) -> anyhow::Result<()> {
        let name =
            self.names.get(&key.interface).map_or_else(|| key.interface.to_string(), ToString::to_string);
        self.recording = Some(Recording::start(key, path, name)?);
        Ok(())
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>, interface: &Arc<str>) {
        self.names.entry(frame.interface).or_insert_with(|| Arc::clone(interface));
        let is_duplicate = frame.direction.is_outgoing() && self.loopbacks.contains(&frame.interface);
        if is_duplicate || !self.selection.watches(interface) {
            return;
        }
        let packet = frame.packet();
        let numbered = numbered(&packet, &self.keys);
        // Before the selection, because announcements contain the names of selected streams.
        if numbered.is_some_and(|numbered| numbered.number.is_none()) {
            self.observe_announcement(frame, &packet);
        }
        if let (Some(ip), Some(Transport::Udp(udp))) = (packet.ip_layer(), &packet.transport) {
            let Ok(group) = Group::new(ip.destination) else { return };
            if !self.selection.admits(interface, group, udp.destination_port, ip.source) {
                return;
            }
        }
        let key = self.watch.observe(&ObservedPacket {
            time: Time::from(frame.time),
            interface: frame.interface,
            outgoing: frame.direction.is_outgoing(),
            length: frame.original_length,
            packet: &packet,
            sequence_info: numbered.filter(|_| !self.has_field),
        });
        if let Some(recording) = &mut self.recording {
            recording.write(frame, &packet, key);
        }
    }

    fn observe_announcement(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return };
        let source = SocketAddr::new(ip.source, udp.source_port);
        let now = Time::from(frame.time);
        self.announcements.observe(udp.payload, source, frame.interface, now, &self.keys);
    }
}
