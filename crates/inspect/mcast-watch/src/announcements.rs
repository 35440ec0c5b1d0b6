//! Streams that announce themselves.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::InterfaceIndex;

use crate::clock::Time;
use crate::ledger::StreamIdentity;

/// An announcement of a stream, read by a caller that knows its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAnnouncement {
    /// When it arrived; in a report, when the latest one did.
    pub time: Time,
    /// The interface on which it arrived.
    pub interface: InterfaceIndex,
    /// The address of the publisher.
    pub source: SocketAddr,
    /// The stream.
    pub identity: StreamIdentity,
    /// The content; `None` if it is sealed and cannot be read.
    pub content: Option<AnnouncementContent>,
}

/// The content of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncementContent {
    /// The name of the stream.
    pub name: String,
    /// The paths of the stream: its source, if announced, and its group.
    pub paths: Vec<(Option<IpAddr>, SocketAddr)>,
    /// Where the publisher offers snapshots.
    pub snapshot: Option<SocketAddr>,
    /// Bytes per second; `None` means unlimited.
    pub rate: Option<u64>,
}

/// Recently announced streams. Their number is bounded; forged announcements do not displace known streams.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    latest: HashMap<(u64, InterfaceIndex), StreamAnnouncement>,
    omitted: u64,
}

impl StreamAnnouncement {
    /// Returns the announced name, if it can be read.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.content.as_ref().map(|content| content.name.as_str())
    }

    fn order(&self) -> (bool, Option<&str>, u64, InterfaceIndex) {
        (self.content.is_none(), self.name(), self.identity.stream, self.interface)
    }
}

impl AnnouncementContent {
    /// Returns the memberships for the paths, such as `10.0.0.1@232.1.2.3:5000`.
    #[must_use]
    pub fn memberships(&self) -> Vec<String> {
        let membership = |(source, group): &(Option<IpAddr>, SocketAddr)| match source {
            Some(source) => format!("{source}@{group}"),
            None => group.to_string(),
        };
        self.paths.iter().map(membership).collect()
    }
}

impl Announcements {
    const MAX_STREAMS: usize = 1_024;

    pub(crate) fn observe(&mut self, announcement: StreamAnnouncement) {
        let key = (announcement.identity.stream, announcement.interface);
        let has_room = self.latest.len() < Self::MAX_STREAMS;
        match self.latest.get_mut(&key) {
            // An announcement of an earlier incarnation has arrived late.
            Some(known) if known.identity.incarnation > announcement.identity.incarnation => {}
            Some(known) => *known = announcement,
            None if has_room => {
                self.latest.insert(key, announcement);
            }
            None => self.omitted += 1,
        }
    }

    /// Removes streams that have not been announced for `keep`.
    pub(crate) fn remove_expired(&mut self, now: Time, keep: Duration) {
        self.latest.retain(|_, announcement| now.since(announcement.time) < keep);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns all streams by name, those without a name last.
    pub(crate) fn report(&self) -> Vec<StreamAnnouncement> {
        let mut list: Vec<_> = self.latest.values().cloned().collect();
        list.sort_by(|a, b| a.order().cmp(&b.order()));
        list
    }

    /// Returns how many announcements were omitted for lack of room.
    pub(crate) const fn omitted(&self) -> u64 {
        self.omitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(10);

    fn announcement(stream: u64, incarnation: u32, name: Option<&str>, second: u64) -> StreamAnnouncement {
        let content = name.map(|name| AnnouncementContent {
            name: name.into(),
            paths: vec![(None, ([239, 1, 2, 3], 5000).into())],
            snapshot: None,
            rate: None,
        });
        StreamAnnouncement {
            time: Time::from_secs(second),
            interface: InterfaceIndex::new(2).unwrap(),
            source: ([10, 0, 0, 1], 4000).into(),
            identity: StreamIdentity { stream, incarnation, sealed: name.is_none() },
            content,
        }
    }

    fn names(announcements: &Announcements) -> Vec<String> {
        announcements.report().iter().map(|each| each.name().unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn latest_incarnation_is_listed_until_it_is_silent() {
        let mut announcements = Announcements::default();
        announcements.observe(announcement(1, 5, Some("old"), 100));
        announcements.observe(announcement(1, 6, Some("prices"), 100));
        announcements.observe(announcement(1, 5, Some("old"), 101));
        announcements.observe(announcement(3, 1, None, 105));
        announcements.observe(announcement(2, 1, Some("again"), 105));
        assert_eq!(names(&announcements), ["again", "prices", "-"]);
        announcements.remove_expired(Time::from_secs(112), KEEP);
        assert_eq!(names(&announcements), ["again", "-"]);
        announcements.remove_expired(Time::from_secs(1_000), Duration::MAX);
        assert_eq!(names(&announcements), ["again", "-"]);
    }

    #[test]
    fn forged_announcements_do_not_displace_known_streams() {
        let mut announcements = Announcements::default();
        for stream in 0..2_000 {
            announcements.observe(announcement(stream, 1, Some(&format!("{stream:04}")), 100));
        }
        assert_eq!((announcements.report().len(), announcements.omitted()), (1_024, 976));
        assert_eq!(names(&announcements)[0], "0000");
    }

    #[test]
    fn memberships_have_the_source_that_is_announced() {
        let (source, group) = ("10.0.0.1".parse().unwrap(), ([232, 1, 2, 3], 5000).into());
        let content = announcement(1, 1, Some("a"), 1).content.unwrap();
        let content = AnnouncementContent { paths: vec![(Some(source), group), (None, group)], ..content };
        assert_eq!(content.memberships(), ["10.0.0.1@232.1.2.3:5000", "232.1.2.3:5000"]);
    }
}
