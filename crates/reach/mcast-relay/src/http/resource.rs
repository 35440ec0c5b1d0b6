//! What the path of a request stands for.

use mcast_group::Membership;
use mcast_http::{HttpRefusal, HttpRefused, HttpRequest, split_label};

use super::address;

/// The form in which a group is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum StreamKind {
    /// Payloads.
    Udp,
    /// Payloads of RTP.
    Rtp,
    /// Server-sent events.
    Sse,
    /// Messages of a WebSocket.
    WebSocket,
    /// The same, with the bytes of the datagrams.
    RawWebSocket,
}

impl StreamKind {
    /// Returns its name in paths and on the status page.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Rtp => "rtp",
            Self::Sse => "sse",
            Self::WebSocket | Self::RawWebSocket => "ws",
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            // As udpxy does. Players examine the content.
            Self::Udp => "application/octet-stream",
            Self::Rtp => "video/mp2t",
            Self::Sse => "text/event-stream",
            Self::WebSocket | Self::RawWebSocket => "",
        }
    }

    pub(super) const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::RawWebSocket)
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Index,
    Playlist,
    Status {
        json: bool,
    },
    Stream {
        kind: StreamKind,
        membership: Membership,
    },
    /// The stream of the channel with this name, if there is one.
    Channel(String),
}

/// Returns what the request is about. The path is that below the prefix of the server.
pub(super) fn find(request: &HttpRequest, path: &str) -> Result<Resource, HttpRefused> {
    let path = path.trim_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let kind = match first {
        "" => return Ok(Resource::Index),
        "player" if rest.is_empty() => return Ok(Resource::Index),
        "playlist.m3u" if rest.is_empty() => return Ok(Resource::Playlist),
        "status" if rest.is_empty() => return Ok(Resource::Status { json: request.accepts_json }),
        "status.json" if rest.is_empty() => return Ok(Resource::Status { json: true }),
        "udp" => StreamKind::Udp,
        "rtp" => StreamKind::Rtp,
        "sse" => StreamKind::Sse,
        "ws" if request.parameter("raw").is_some() => StreamKind::RawWebSocket,
        "ws" => StreamKind::WebSocket,
        _ => return Ok(Resource::Channel(path.to_owned())),
    };
    let (group, _) = split_label(rest);
    let group = group.split('/').next().unwrap_or_default();
    let membership = address::parse(group).map_err(|text| HttpRefused::new(HttpRefusal::Invalid, text))?;
    Ok(Resource::Stream { kind, membership })
}

/// Returns the refusal of a path at which there is nothing.
pub(super) fn nothing() -> HttpRefused {
    let text = "there is nothing here: request /udp/GROUP:PORT/, /rtp/GROUP:PORT/, /sse/GROUP:PORT, /ws/GROUP:PORT, the name of a \
                channel, /playlist.m3u or /status";
    HttpRefused::new(HttpRefusal::NotFound, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Result<Resource, HttpRefusal> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = HttpRequest { query: query.into(), ..HttpRequest::default() };
        find(&request, path).map_err(|refusal| {
            assert!(!refusal.text.contains('\n'));
            refusal.reason
        })
    }

    #[test]
    fn paths_are_those_of_udpxy_and_more() {
        for (path, expected_kind, expected) in [
            ("/udp/239.1.2.3:5000/", StreamKind::Udp, "239.1.2.3:5000"),
            ("/udp/239.1.2.3:5000", StreamKind::Udp, "239.1.2.3:5000"),
            ("/udp/239.1.2.3~5000/", StreamKind::Udp, "239.1.2.3:5000"),
            ("/rtp/10.0.0.7@232.1.2.3:5000/", StreamKind::Rtp, "10.0.0.7@232.1.2.3:5000"),
            ("/sse/[ff15::1]:5000", StreamKind::Sse, "[ff15::1]:5000"),
            ("/ws/fd00::7@[ff3e::1]:5000", StreamKind::WebSocket, "fd00::7@[ff3e::1]:5000"),
            ("/ws/239.1.2.3:5000?x=1&raw", StreamKind::RawWebSocket, "239.1.2.3:5000"),
            ("//udp/@239.1.2.3:5000/", StreamKind::Udp, "239.1.2.3:5000"),
            ("/rtp/239.1.2.3:5000/$HD", StreamKind::Rtp, "239.1.2.3:5000"),
            ("/rtp/239.1.2.3:5000$Line 1", StreamKind::Rtp, "239.1.2.3:5000"),
            ("/rtp/239.1.2.3:5000/index.ts?fcc=1", StreamKind::Rtp, "239.1.2.3:5000"),
        ] {
            let Ok(Resource::Stream { kind, membership }) = found(path) else { panic!("{path}") };
            assert_eq!((kind, membership.to_string().as_str()), (expected_kind, expected));
        }
        assert_eq!(found("/status/"), Ok(Resource::Status { json: false }));
        assert_eq!(found("/status.json"), Ok(Resource::Status { json: true }));
    }

    #[test]
    fn other_paths_are_pages_names_of_channels_or_wrong() {
        assert_eq!((found("/"), found("/playlist.m3u")), (Ok(Resource::Index), Ok(Resource::Playlist)));
        assert_eq!(found("/player/"), Ok(Resource::Index));
        for path in ["x", "playlist.m3u/x", "status/x", "UDP/239.1.2.3:5000", "restart"] {
            assert_eq!(found(&format!("/{path}/")), Ok(Resource::Channel(path.into())));
        }
        for path in [
            "/udp",
            "/udp/239.1.2.3",
            "/udp/10.0.0.1:5000",
            "/udp/239.1.2.3%eth0:5000",
            "/udp/!10.0.0.7@239.1.2.3:5000",
            "/udp/239.1.2.3:5000\r\nX: y",
        ] {
            assert_eq!(found(path), Err(HttpRefusal::Invalid), "{path}");
        }
    }
}
