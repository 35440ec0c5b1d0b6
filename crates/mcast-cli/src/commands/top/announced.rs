//! Streams announced by name, as by `mcast publish --announce`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_stream::seal::Keys;
use mcast_stream::wire::{Announce, Kind, StreamId};
use mcast_watch::Time;

use crate::message_layer::{Body, StreamDatagram, opened};

/// An announced stream. Sealed announcements may be known only by their headers.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) stream: StreamId,
    pub(super) interface: InterfaceIndex,
    pub(super) incarnation: u32,
    /// The address of the publisher.
    pub(super) source: SocketAddr,
    pub(super) is_sealed: bool,
    /// The content of the announcement; `None` if no key opens it.
    pub(super) content: Option<AnnouncementContent>,
    pub(super) latest: Time,
}

/// The content of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnnouncementContent {
    pub(super) name: String,
    /// The paths of the stream: its source, if announced, and its group.
    pub(super) paths: Vec<(Option<IpAddr>, SocketAddr)>,
    pub(super) snapshot: Option<SocketAddr>,
    /// Bytes per second; `None` means unlimited.
    pub(super) rate: Option<u64>,
}

/// Recently announced streams. Their number is bounded; forged announcements do not displace known streams.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    all: HashMap<(StreamId, InterfaceIndex), Announced>,
    omitted: u64,
}

impl Announcements {
    const MAX_STREAMS: usize = 1_024;
    /// How long a stream is listed without an announcement, which publishers normally repeat every second.
    const LIFETIME: Duration = Duration::from_secs(10);

    /// Records a datagram, if it is an announcement.
    pub(super) fn observe(
        &mut self,
        payload: &[u8],
        source: SocketAddr,
        interface: InterfaceIndex,
        now: Time,
        keys: &Keys,
    ) {
        let opened = opened(payload, keys);
        let Some(StreamDatagram::Whole(whole)) = StreamDatagram::recognize(payload, opened.as_deref()) else {
            return;
        };
        let content = match &whole.body {
            Body::Announcement(announce) => Some(AnnouncementContent::new(announce)),
            Body::Hidden if whole.header.kind == Kind::Announce => None,
            _ => return,
        };
        let key = (whole.header.stream, interface);
        let announced = Announced {
            stream: whole.header.stream,
            interface,
            incarnation: whole.header.incarnation.0,
            source,
            is_sealed: whole.header.epoch.0 > 0,
            content,
            latest: now,
        };
        let has_room = self.all.len() < Self::MAX_STREAMS;
        match self.all.get_mut(&key) {
            // An announcement of an earlier incarnation has arrived late.
            Some(known) if known.incarnation > announced.incarnation => {}
            Some(known) => *known = announced,
            None if has_room => {
                self.all.insert(key, announced);
            }
            None => self.omitted += 1,
        }
    }

    /// Removes streams that have not been announced for [`Self::LIFETIME`].
    pub(super) fn remove_expired(&mut self, now: Time) {
        self.all.retain(|_, announced| now.since(announced.latest) < Self::LIFETIME);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns all streams by name, those without a name last.
    pub(super) fn list(&self) -> Vec<Announced> {
        let mut list: Vec<_> = self.all.values().cloned().collect();
        list.sort_by(|a, b| a.order().cmp(&b.order()));
        list
    }

    /// Returns how many announcements were omitted for lack of room.
    pub(super) const fn omitted(&self) -> u64 {
        self.omitted
    }
}

impl Announced {
    pub(super) fn name(&self) -> Option<&str> {
        self.content.as_ref().map(|content| content.name.as_str())
    }

    fn order(&self) -> (bool, Option<&str>, StreamId, InterfaceIndex) {
        (self.content.is_none(), self.name(), self.stream, self.interface)
    }
}

impl AnnouncementContent {
    fn new(announce: &Announce<'_>) -> Self {
        let path = |place: &mcast_stream::wire::AnnouncedPath| (place.source, place.group);
        Self {
            name: announce.name.to_owned(),
            paths: announce.paths.iter().flatten().map(path).collect(),
            snapshot: announce.snapshot,
            rate: (announce.rate > 0).then_some(announce.rate),
        }
    }

    /// Returns the memberships for its paths.
    pub(super) fn memberships(&self) -> Vec<String> {
        let place = |(source, group): &(Option<IpAddr>, SocketAddr)| match source {
            Some(source) => format!("{source}@{group}"),
            None => group.to_string(),
        };
        self.paths.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{AnnouncedPath, Header, Incarnation, PacketWriter};

    use super::*;

    fn announcement(stream: u64, incarnation: u32, name: &str) -> Vec<u8> {
        let mut announce = Announce::new(name);
        announce.paths[0] = Some(AnnouncedPath { group: ([239, 1, 2, 3], 5000).into(), source: None });
        let header = Header::new(Kind::Announce, StreamId(stream), Incarnation(incarnation), 1);
        let mut buffer = vec![0; 400];
        let mut writer = PacketWriter::new(&mut buffer, &header).unwrap();
        announce.write(&mut writer).unwrap();
        let length = writer.finish();
        buffer.truncate(length);
        buffer
    }

    fn observe(announcements: &mut Announcements, bytes: &[u8], second: u64) {
        let source = ([10, 0, 0, 1], 4000).into();
        let interface = InterfaceIndex::new(2).unwrap();
        announcements.observe(bytes, source, interface, Time::from_secs(second), &Keys::none());
    }

    fn names(announcements: &Announcements) -> Vec<String> {
        announcements.list().iter().map(|each| each.name().unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn the_latest_incarnation_is_listed_until_it_is_silent() {
        let mut announcements = Announcements::default();
        observe(&mut announcements, &announcement(1, 5, "old"), 100);
        observe(&mut announcements, &announcement(1, 6, "prices"), 100);
        observe(&mut announcements, &announcement(1, 5, "old"), 101);
        observe(&mut announcements, &announcement(2, 1, "again"), 105);
        observe(&mut announcements, b"MC nothing of ours", 105);
        assert_eq!(names(&announcements), ["again", "prices"]);
        announcements.remove_expired(Time::from_secs(112));
        assert_eq!(names(&announcements), ["again"]);
    }

    #[test]
    fn sealed_streams_are_listed_without_a_name() {
        let mut announcements = Announcements::default();
        let mut sealed = announcement(1, 5, "secret");
        sealed[7] = 3;
        observe(&mut announcements, &sealed, 100);
        assert!(announcements.list()[0].is_sealed);
        assert_eq!(names(&announcements), ["-"]);
    }

    #[test]
    fn forged_announcements_do_not_displace_known_streams() {
        let mut announcements = Announcements::default();
        for stream in 0..2_000 {
            observe(&mut announcements, &announcement(stream, 1, &format!("{stream:04}")), 100);
        }
        assert_eq!((announcements.list().len(), announcements.omitted()), (1_024, 976));
        assert_eq!(names(&announcements)[0], "0000");
    }
}
