//! Streams that announce themselves by name, as `mcast publish --announce` does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_stream::seal::Keys;
use mcast_stream::wire::{Announce, Kind, StreamId};
use mcast_watch::Time;

use crate::message_layer::{Body, StreamDatagram, opened};

/// A stream that was announced, or several of its announcements that no key opens.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) stream: StreamId,
    pub(super) interface: InterfaceIndex,
    pub(super) incarnation: u32,
    /// Who announces it.
    pub(super) source: SocketAddr,
    pub(super) is_sealed: bool,
    /// What it says; `None` where it is hidden.
    pub(super) said: Option<Said>,
    pub(super) latest: Time,
}

/// What an announcement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) name: String,
    /// Where it is sent: the address that it is sent from, if told, and the group.
    pub(super) paths: Vec<(Option<IpAddr>, SocketAddr)>,
    pub(super) snapshot: Option<SocketAddr>,
    /// Bytes a second; `None`: as fast as it goes.
    pub(super) rate: Option<u64>,
}

/// All that were announced of late. A flood of made-up ones drives none out that is there.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    all: HashMap<(StreamId, InterfaceIndex), Announced>,
    left_out: u64,
}

impl Announcements {
    const MOST: usize = 1_024;
    /// Announcements come each second; after so many in vain a stream is over.
    const LIFETIME: Duration = Duration::from_secs(10);

    /// Takes note of a datagram, if it is an announcement.
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
        let said = match &whole.body {
            Body::Announcement(announce) => Some(Said::new(announce)),
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
            said,
            latest: now,
        };
        let has_room = self.all.len() < Self::MOST;
        match self.all.get_mut(&key) {
            // What an old life of it says comes late.
            Some(known) if known.incarnation > announced.incarnation => {}
            Some(known) => *known = announced,
            None if has_room => {
                self.all.insert(key, announced);
            }
            None => self.left_out += 1,
        }
    }

    /// Forgets what has not been announced for long.
    pub(super) fn forget_the_silent(&mut self, now: Time) {
        self.all.retain(|_, announced| now.since(announced.latest) < Self::LIFETIME);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All that are known: by name, those without one last.
    pub(super) fn list(&self) -> Vec<Announced> {
        let mut list: Vec<_> = self.all.values().cloned().collect();
        list.sort_by(|a, b| a.order().cmp(&b.order()));
        list
    }

    /// How many times one was left out for want of room.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Announced {
    pub(super) fn name(&self) -> Option<&str> {
        self.said.as_ref().map(|said| said.name.as_str())
    }

    fn order(&self) -> (bool, Option<&str>, StreamId, InterfaceIndex) {
        (self.said.is_none(), self.name(), self.stream, self.interface)
    }
}

impl Said {
    fn new(announce: &Announce<'_>) -> Self {
        let path = |place: &mcast_stream::wire::Place| (place.source, place.group);
        Self {
            name: announce.name.to_owned(),
            paths: announce.paths.iter().flatten().map(path).collect(),
            snapshot: announce.snapshot,
            rate: (announce.rate > 0).then_some(announce.rate),
        }
    }

    /// Its groups, as they are joined.
    pub(super) fn places(&self) -> Vec<String> {
        let place = |(source, group): &(Option<IpAddr>, SocketAddr)| match source {
            Some(source) => format!("{source}@{group}"),
            None => group.to_string(),
        };
        self.paths.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::{Header, Incarnation, PacketWriter, Place};

    use super::*;

    fn announcement(stream: u64, incarnation: u32, name: &str) -> Vec<u8> {
        let mut announce = Announce::new(name);
        announce.paths[0] = Some(Place { group: ([239, 1, 2, 3], 5000).into(), source: None });
        let header = Header::new(Kind::Announce, StreamId(stream), Incarnation(incarnation), 1);
        let mut buffer = vec![0; 400];
        let mut writer = PacketWriter::new(&mut buffer, &header).unwrap();
        announce.write(&mut writer).unwrap();
        let length = writer.finish();
        buffer.truncate(length);
        buffer
    }

    fn hear(announcements: &mut Announcements, bytes: &[u8], second: u64) {
        let source = ([10, 0, 0, 1], 4000).into();
        let interface = InterfaceIndex::new(2).unwrap();
        announcements.observe(bytes, source, interface, Time::from_secs(second), &Keys::none());
    }

    fn names(announcements: &Announcements) -> Vec<String> {
        announcements.list().iter().map(|each| each.name().unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn the_latest_life_of_a_stream_is_told_until_it_is_silent() {
        let mut announcements = Announcements::default();
        hear(&mut announcements, &announcement(1, 5, "old"), 100);
        hear(&mut announcements, &announcement(1, 6, "prices"), 100);
        hear(&mut announcements, &announcement(1, 5, "old"), 101);
        hear(&mut announcements, &announcement(2, 1, "again"), 105);
        hear(&mut announcements, b"MC nothing of ours", 105);
        assert_eq!(names(&announcements), ["again", "prices"]);
        announcements.forget_the_silent(Time::from_secs(112));
        assert_eq!(names(&announcements), ["again"]);
    }

    #[test]
    fn sealed_ones_are_listed_without_a_name() {
        let mut announcements = Announcements::default();
        let mut sealed = announcement(1, 5, "secret");
        sealed[7] = 3;
        hear(&mut announcements, &sealed, 100);
        assert!(announcements.list()[0].is_sealed);
        assert_eq!(names(&announcements), ["-"]);
    }

    #[test]
    fn a_flood_drives_nobody_out_and_is_counted() {
        let mut announcements = Announcements::default();
        for stream in 0..2_000 {
            hear(&mut announcements, &announcement(stream, 1, &format!("{stream:04}")), 100);
        }
        assert_eq!((announcements.list().len(), announcements.left_out()), (1_024, 976));
        assert_eq!(names(&announcements)[0], "0000");
    }
}
