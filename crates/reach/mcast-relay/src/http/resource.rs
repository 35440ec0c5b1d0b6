//! What a path stands for, and the heads of responses.

use std::borrow::Cow;

use mcast_group::{Membership, SourceFilter};

use super::refusal::{HttpRefusal, Refusal};
use super::request::Request;

/// The largest number of sources of a request. The kernel admits ten per membership by default.
const MAX_SOURCES: usize = 16;

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
    Status { json: bool },
    Stream { kind: StreamKind, membership: Membership },
}

/// Returns what the request is about.
pub(super) fn find(request: &Request) -> Result<Resource, Refusal> {
    let path = request.path.trim_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let kind = match first {
        "" => return Ok(Resource::Index),
        "playlist.m3u" if rest.is_empty() => return Ok(Resource::Playlist),
        "status" if rest.is_empty() => return Ok(Resource::Status { json: request.accepts_json }),
        "status.json" if rest.is_empty() => return Ok(Resource::Status { json: true }),
        "udp" => StreamKind::Udp,
        "rtp" => StreamKind::Rtp,
        "sse" => StreamKind::Sse,
        "ws" if request.parameter("raw").is_some() => StreamKind::RawWebSocket,
        "ws" => StreamKind::WebSocket,
        _ => {
            let text = "there is nothing here: request /udp/GROUP:PORT/, /rtp/GROUP:PORT/, /sse/GROUP:PORT, \
                        /ws/GROUP:PORT, /playlist.m3u or /status";
            return Err(Refusal::new(HttpRefusal::NotFound, text));
        }
    };
    let membership = parse_membership(rest).map_err(|text| Refusal::new(HttpRefusal::Invalid, text))?;
    Ok(Resource::Stream { kind, membership })
}

fn parse_membership(text: &str) -> Result<Membership, String> {
    let membership: Membership = with_colon(text).parse().map_err(|error: mcast_group::ParseError| {
        // It becomes a line of the response.
        format!("{error}").replace(char::is_control, " ")
    })?;
    if membership.interface.is_some() {
        return Err("the interface is that of the relay's rule: request GROUP:PORT without one".into());
    }
    match &membership.sources {
        SourceFilter::Exclude(sources) if !sources.is_empty() => {
            Err("sources cannot be excluded here: name those to receive, as SOURCE@GROUP:PORT".into())
        }
        sources if sources.sources().len() > MAX_SOURCES => {
            Err(format!("at most {MAX_SOURCES} sources can be received"))
        }
        _ => Ok(membership),
    }
}

/// udpxy accepts other signs before the port of an IPv4 group as well, because some programs cannot send a colon.
fn with_colon(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(['~', '+', '-', '^']) {
        Some((group, port)) if !text.contains(':') => format!("{group}:{port}").into(),
        _ => text.into(),
    }
}

/// On every response: each connection serves one request, and nothing may keep or reinterpret what is live.
const COMMON: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";

/// Returns the head of a stream, which lasts until the connection ends. `origin` may read it.
pub(super) fn stream_head(kind: StreamKind, origin: Option<&str>) -> Vec<u8> {
    let origin = allow(origin);
    format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{origin}{COMMON}\r\n", kind.content_type()).into_bytes()
}

/// Returns the response to the handshake of a WebSocket.
pub(super) fn upgrade(accept: &str) -> Vec<u8> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes()
}

/// Returns a whole response, without its body for HEAD.
pub(super) fn page(content_type: &str, body: &str, origin: Option<&str>, is_head: bool) -> Vec<u8> {
    whole("200 OK", content_type, &allow(origin), body, is_head)
}

/// Returns the response that states a refusal.
pub(super) fn refusal(refusal: &Refusal, is_head: bool) -> Vec<u8> {
    let (status, header) = (refusal.reason.status(), refusal.reason.header());
    whole(status, "text/plain; charset=utf-8", header, &format!("{}\n", refusal.text), is_head)
}

fn whole(status: &str, content_type: &str, headers: &str, body: &str, is_head: bool) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{headers}{COMMON}\r\n"
    );
    let body = if is_head { "" } else { body };
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Returns the headers with which a browser shows the response to a page of this origin.
fn allow(origin: Option<&str>) -> String {
    // It was compared with the allowed ones, or all are allowed; then it still is one line, as all headers are.
    origin.map_or_else(String::new, |origin| {
        format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Result<Resource, HttpRefusal> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request { path: path.into(), query: query.into(), ..Request::default() };
        find(&request).map_err(|refusal| {
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
        ] {
            let Ok(Resource::Stream { kind, membership }) = found(path) else { panic!("{path}") };
            assert_eq!((kind, membership.to_string().as_str()), (expected_kind, expected));
        }
        assert_eq!(found("/status/"), Ok(Resource::Status { json: false }));
        assert_eq!(found("/status.json"), Ok(Resource::Status { json: true }));
    }

    #[test]
    fn other_paths_say_what_there_is() {
        assert_eq!((found("/"), found("/playlist.m3u")), (Ok(Resource::Index), Ok(Resource::Playlist)));
        for path in ["/x", "/playlist.m3u/x", "/status/x", "/udp", "/UDP/239.1.2.3:5000", "/restart/"] {
            let reason = found(path).unwrap_err();
            assert!([HttpRefusal::NotFound, HttpRefusal::Invalid].contains(&reason), "{path}: {reason:?}");
        }
        for path in [
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
