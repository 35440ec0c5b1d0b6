//! SAP and SDP (RFC 2974, RFC 8866): sessions of audio and video.

use mcast_group::SessionDescription;
use mcast_packet::payload::Sap;
use std::time::Duration;

use super::entry::{DiscoveredKind, DiscoveryKey, DiscoveryProtocol, DiscoverySource, UntrustedText};
use super::registry::Registry;
use super::support::{announced_by, read};
use super::{DiscoveryDatagram, Observer};
use crate::clock::Time;
use crate::lru::Lru;

/// The lines of a description that are fields, beside its streams.
const LINES: [(&str, &str); 9] = [
    ("i=", "information"),
    ("u=", "page"),
    ("a=tool:", "tool"),
    ("a=rtpmap:", "format"),
    ("a=ptime:", "packet time"),
    ("a=ts-refclk:", "clock"),
    ("a=mediaclk:", "media clock"),
    ("a=keywds:", "keywords"),
    ("a=x-plgroup:", "playlist group"),
];

/// Reads SAP.
#[derive(Debug)]
pub(super) struct SapObserver {
    /// The sessions by origin and hash, by which a deletion without an origin line names one.
    hashes: Lru<(DiscoveryKey, u16), DiscoveryKey>,
}

impl SapObserver {
    /// A session lapses after ten intervals of its announcement, or this time, whichever is longer (RFC 2974 section 4).
    const LIFETIME: Duration = Duration::from_secs(3_600);
    const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
    /// The longest description of which the streams are read, in bytes, and the streams that are read. Each stream may have all
    /// sources of the text, so that the limits bound the work.
    const MAX_TEXT: usize = 8_192;
    const MAX_STREAMS: usize = 16;
    const MAX_HASHES: usize = 2_000;

    pub(super) fn new() -> Self {
        Self { hashes: Lru::new(Self::MAX_HASHES) }
    }

    fn announce(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        message: &Sap<'_>,
        registry: &mut Registry,
    ) {
        let id = session_id(message).unwrap_or_else(|| hash_id(message));
        let mut announced = announced_by(now, datagram, DiscoveryProtocol::Sap, DiscoveredKind::Session, id);
        let interval =
            registry.get(&announced.key).map(|known| now.since(known.last_seen)).unwrap_or_default();
        announced.expires = Some(now.after((interval * 10).clamp(Self::LIFETIME, Self::MAX_LIFETIME)));
        let name = message.lines("s=").next().unwrap_or_default();
        announced.name = match name {
            b"" | b"-" => format!("session of {}", message.origin).into(),
            name => UntrustedText::new(name),
        };
        announced.host = message.origin.to_string().into();
        announced.addresses.clear();
        match describe(message) {
            Ok(description) => {
                announced.port = description.streams.first().map(|stream| stream.membership.address.port);
                let kinds = description.streams.iter().map(|stream| stream.media.as_str());
                let mut kinds: Vec<&str> = kinds.collect();
                kinds.dedup();
                announced.service = kinds.join(" ").into();
                for stream in &description.streams {
                    let group = stream.membership.address.group.addr();
                    if !announced.addresses.contains(&group) {
                        announced.addresses.push(group);
                    }
                    announced.add("stream", &stream.membership);
                }
                for media in &description.skipped_media {
                    announced.add_text("other media", media.as_bytes());
                }
            }
            Err(problem) => announced.add("not read", problem),
        }
        for (start, name) in LINES {
            message.lines(start).take(Registry::MAX_FIELDS).for_each(|line| announced.add_text(name, line));
        }
        // The key of a hash is that of the session, if its text had no origin line.
        let by_hash = DiscoveryKey { id: hash_id(message), ..announced.key.clone() };
        *self.hashes.touch((by_hash, message.hash), || announced.key.clone()).0 = announced.key.clone();
        registry.announce(now, announced);
    }
}

impl Observer for SapObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(message) = read(datagram, Sap::PORT, registry, Sap::parse) else { return };
        if !message.is_deletion {
            return self.announce(now, datagram, &message, registry);
        }
        let key = |id| DiscoveryKey { protocol: DiscoveryProtocol::Sap, place: datagram.place, id };
        let by_hash = key(hash_id(&message));
        let session = match session_id(&message) {
            Some(id) => Some(key(id)),
            None => self.hashes.get(&(by_hash, message.hash)).cloned(),
        };
        if let Some(session) = session {
            registry.goodbye(&session, DiscoverySource::Ip(datagram.source));
        }
    }
}

/// Returns what identifies a session: its origin line without the version (RFC 8866 section 5.2), on the host that announces it. A line
/// that does not identify the session, such as that of ffmpeg, which is the same on all hosts, is not used.
fn session_id(message: &Sap<'_>) -> Option<UntrustedText> {
    let line = message.lines("o=").next()?;
    let words: Vec<&[u8]> =
        line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(7).collect();
    match words.as_slice() {
        [_, b"0", ..] => None,
        [user, id, _, rest @ ..] if !rest.is_empty() => {
            let origin = message.origin.to_string();
            Some(UntrustedText::new([&[origin.as_bytes(), *user, *id], rest].concat().join(&b' ')))
        }
        _ => None,
    }
}

/// Returns what identifies a session that has no readable text.
fn hash_id(message: &Sap<'_>) -> UntrustedText {
    format!("{} {:#06x}", message.origin, message.hash).into()
}

/// Reads the streams of a session.
fn describe(message: &Sap<'_>) -> Result<SessionDescription, String> {
    if message.is_encrypted {
        return Err("the description is encrypted".into());
    }
    if message.is_compressed {
        return Err("the description is compressed".into());
    }
    if let Some(other) = message.payload_type.filter(|kind| !kind.eq_ignore_ascii_case(b"application/sdp")) {
        return Err(format!("the description is of another type: {}", UntrustedText::new(other)));
    }
    if message.payload.len() > SapObserver::MAX_TEXT {
        return Err(format!("the description is longer than {} bytes", SapObserver::MAX_TEXT));
    }
    let text = String::from_utf8_lossy(message.payload);
    let text = text.trim_end_matches('\0');
    SessionDescription::parse_bounded(text, SapObserver::MAX_STREAMS).map_err(|error| error.to_string())
}
