//! Playlists: the entries of an M3U list of an operator or provider, what of it the relay serves, and the list that players get.
//!
//! Lists come from providers and from hand. A line that cannot be used is passed over and named; everything else is served.

mod encoding;
mod line;
mod read;
mod target;
mod write;

use std::fmt;
use std::sync::Arc;

use mcast_group::Membership;

pub(super) use write::write;

/// The most bytes of a list that are read.
const MAX_BYTES: usize = 16 << 20;
/// The largest number of entries.
const MAX_ENTRIES: usize = 65_536;
/// The largest number of lines that are named among those that were passed over.
const MAX_NAMED: usize = 8;

/// A list of channels in the M3U format.
///
/// Entries are `udp://@GROUP:PORT`, `rtp://SOURCE@GROUP:PORT`, `igmp://GROUP:PORT`, and the URLs of udpxy
/// (`http://HOST/udp/GROUP:PORT/`), each with its attributes and its name in the line `#EXTINF` before it. Entries on servers, such
/// as films, remain as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playlist {
    /// The attributes of the list, such as `url-tvg="…"`.
    attributes: String,
    entries: Vec<PlaylistEntry>,
    passed_over: PassedOver,
    encoding: Option<&'static str>,
}

/// A group that the pages of an [`HttpServer`](super::HttpServer) list under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpChannel {
    /// Its name.
    pub name: String,
    /// The group and port, with sources.
    pub membership: Membership,
    /// Whether it carries RTP.
    pub is_rtp: bool,
    /// What distinguishes it from others with its name: `HD`.
    label: Option<String>,
    lines: Arc<EntryLines>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlaylistEntry {
    Channel(HttpChannel),
    /// Something on a server.
    Other {
        name: String,
        url: String,
        lines: Arc<EntryLines>,
    },
}

/// What the lines before an address say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EntryLines {
    /// Duration and attributes; empty if there is no line `#EXTINF`.
    attributes: String,
    /// The group of `#EXTGRP`, which applies to all that follow.
    group: Option<Arc<str>>,
    /// Whether that line is before this entry.
    has_group: bool,
    /// Others, such as `#EXTVLCOPT`.
    options: Vec<String>,
}

/// Lines that were passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver {
    count: u64,
    first: Vec<OddLine>,
}

/// A line that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddLine {
    /// Its number, from 1 on.
    pub line: usize,
    /// Why it cannot be used, in one line.
    pub reason: String,
}

impl Playlist {
    /// Reads a list in any encoding. Of a list that is very long, the first 16 MiB and 65,536 entries are read, and the rest counts
    /// as passed over.
    ///
    /// ```
    /// use mcast_relay::http::Playlist;
    ///
    /// let playlist = Playlist::read(b"#EXTM3U\n#EXTINF:-1,News\nrtp://@239.255.2.3:5000\nrtp://239.255.2.4\n");
    /// let news = playlist.channels().next().unwrap();
    /// assert_eq!((news.name.as_str(), news.is_rtp), ("News", true));
    /// assert_eq!(playlist.passed_over().first()[0].line, 4);
    /// ```
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        read::read(bytes)
    }

    /// Returns its channels that are groups, in order.
    pub fn channels(&self) -> impl Iterator<Item = &HttpChannel> {
        self.entries.iter().filter_map(PlaylistEntry::channel)
    }

    /// Returns the lines that were passed over.
    #[must_use]
    pub const fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    /// Returns the name of the encoding, if it is not UTF-8. Unless the list declares it (`#EXTENC:`), it is guessed.
    #[must_use]
    pub const fn encoding(&self) -> Option<&'static str> {
        self.encoding
    }

    pub(super) fn attributes(&self) -> &str {
        &self.attributes
    }

    pub(super) fn entries(&self) -> &[PlaylistEntry] {
        &self.entries
    }
}

impl HttpChannel {
    /// Returns a channel that has no name but its group.
    pub(super) fn unnamed(membership: Membership) -> Self {
        let (name, lines) = (membership.to_string(), Arc::default());
        Self { name, membership, is_rtp: false, label: None, lines }
    }

    pub(super) fn with_membership(self, membership: Membership) -> Self {
        Self { membership, ..self }
    }

    /// Returns its path.
    pub(super) fn path(&self) -> String {
        format!("/{}/{}/", if self.is_rtp { "rtp" } else { "udp" }, self.membership)
    }

    /// Returns whether a path names it: by its name, which may follow its group and be followed by its label.
    pub(super) fn has_name(&self, path: &str) -> bool {
        let in_group = || {
            let title = line::attribute(&self.lines.attributes, "group-title");
            let rest = path.strip_prefix(title.or(self.lines.group.as_deref())?)?;
            rest.strip_prefix('/')
        };
        let is_name = |text: &str| {
            let rest = text.strip_prefix(self.name.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('/') == self.label.as_deref().or(Some("/"))
            })
        };
        is_name(path) || in_group().is_some_and(is_name)
    }

    /// Returns whether it has this label.
    pub(super) fn has_label(&self, label: &str) -> bool {
        self.label.as_deref() == Some(label)
    }
}

impl PlaylistEntry {
    pub(super) const fn channel(&self) -> Option<&HttpChannel> {
        match self {
            Self::Channel(channel) => Some(channel),
            Self::Other { .. } => None,
        }
    }
}

impl PassedOver {
    /// Returns how many lines it were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the first of them: at most eight.
    #[must_use]
    pub fn first(&self) -> &[OddLine] {
        &self.first
    }

    fn add(&mut self, line: usize, reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < MAX_NAMED {
            self.first.push(OddLine { line, reason: reason() });
        }
    }
}

impl fmt::Display for OddLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}
