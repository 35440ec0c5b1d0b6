//! Requests: what their path stands for, who may read it, and the heads of responses.

use std::borrow::Cow;
use std::net::IpAddr;

use mcast_group::{Membership, SourceFilter};

use super::HttpConfig;
use super::refusal::{HttpRefusal, Refusal};

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

/// The longest head. Browsers send less than 1 KiB to a server that sets no cookies.
pub(super) const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 64;

/// A request that was received whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) is_head: bool,
    /// The path, decoded.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) host: Option<String>,
    pub(super) origin: Option<String>,
    /// Whether a page of another site caused it, according to the browser, other than by a link.
    pub(super) is_cross_site: bool,
    pub(super) accepts_json: bool,
    /// The token of `Authorization: Bearer`.
    pub(super) bearer: Option<String>,
    pub(super) last_event_id: Option<String>,
    /// The key of a WebSocket's handshake.
    pub(super) websocket_key: Option<String>,
    /// The number of bytes.
    pub(super) length: usize,
}

/// Headers that are evaluated together.
#[derive(Default)]
struct Details {
    site: String,
    mode: String,
    destination: String,
    upgrade: String,
    version: String,
    key: Option<String>,
}

/// Parses the head of a request; returns `None` if it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(HttpRefusal::TooLarge, "the request has too many headers"));
        }
        Err(error) => return Err(invalid(format!("this is not a request of HTTP/1.1: {error}"))),
    };
    let method = head.method.unwrap_or_default();
    if !["GET", "HEAD"].contains(&method) {
        return Err(Refusal::new(HttpRefusal::Method, "only GET and HEAD are served here"));
    }
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decode(path).ok_or_else(|| invalid("the path is not valid UTF-8"))?.into_owned();
    let is_head = method == "HEAD";
    let mut request = Request { is_head, path, query: query.to_owned(), length, ..Request::default() };
    let mut details = Details::default();
    for header in head.headers.iter() {
        read_header(&mut request, &mut details, header)?;
    }
    // RFC 9112 section 3.2.
    if head.version == Some(1) && request.host.is_none() {
        return Err(invalid("a request of HTTP/1.1 needs the header Host"));
    }
    let is_link = details.mode == "navigate" && details.destination == "document";
    request.is_cross_site = ["cross-site", "same-site"].contains(&details.site.as_str()) && !is_link;
    let is_handshake = details.upgrade.eq_ignore_ascii_case("websocket") && details.version == "13";
    request.websocket_key = details.key.filter(|_| is_handshake);
    Ok(Some(request))
}

fn read_header(
    request: &mut Request,
    details: &mut Details,
    header: &httparse::Header<'_>,
) -> Result<(), Refusal> {
    let name = header.name.to_ascii_lowercase();
    let value = || String::from_utf8_lossy(header.value).trim().to_owned();
    match name.as_str() {
        "host" if request.host.is_some() => return Err(invalid("the header Host occurs twice")),
        "host" => request.host = Some(value()),
        "origin" => request.origin = Some(value()),
        "authorization" => {
            let value = value();
            let scheme = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
            request.bearer = scheme.and_then(|_| value.get(7..)).map(|token| token.trim().to_owned());
        }
        "accept" => request.accepts_json = value().contains("application/json"),
        "last-event-id" => request.last_event_id = Some(value()),
        "sec-fetch-site" => details.site = value(),
        "sec-fetch-mode" => details.mode = value(),
        "sec-fetch-dest" => details.destination = value(),
        "upgrade" => details.upgrade = value(),
        "sec-websocket-version" => details.version = value(),
        "sec-websocket-key" => details.key = Some(value()),
        _ => {}
    }
    Ok(())
}

impl Request {
    /// Returns the value of a parameter of the query; an empty one if it has none.
    pub(super) fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let parts = self.query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")));
        parts.into_iter().find(|(key, _)| *key == name).and_then(|(_, value)| decode(value))
    }
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(HttpRefusal::Invalid, text)
}

/// Replaces `%XX`. What is not of that form stays as it is.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Returns the origin to which the response may be shown, if the request names one that is allowed.
pub(super) fn check(request: &Request, config: &HttpConfig) -> Result<Option<String>, Refusal> {
    let host = request.host.as_deref().unwrap_or_default();
    // Programs with HTTP/1.0 may omit it. Browsers do not.
    if request.host.is_some() && !is_own(host, &config.hosts) {
        let text =
            format!("the name {host:?} is not allowed: use the address, or start the relay with --http-host");
        return Err(Refusal::new(HttpRefusal::Host, text));
    }
    if let Some(token) = &config.token
        && !has_token(request, token)
    {
        let text = "this server requires a token: add ?token=TOKEN to the address, or the header `Authorization: Bearer TOKEN`";
        return Err(Refusal::new(HttpRefusal::Token, text));
    }
    let foreign = |text: String| Err(Refusal::new(HttpRefusal::Origin, text));
    match request.origin.as_deref() {
        Some(origin) if config.origins.iter().any(|allowed| allowed == origin || allowed == "*") => {
            Ok(Some(origin.to_owned()))
        }
        Some(origin) if origin.strip_prefix("http://") == request.host.as_deref() => Ok(None),
        Some(origin) => foreign(format!(
            "pages of {origin:?} may not read this: start the relay with --http-origin to allow it"
        )),
        // A picture or a script has no origin, but what it requests would make this server join a group.
        None if request.is_cross_site && !config.origins.iter().any(|allowed| allowed == "*") => {
            foreign("pages of other sites may not use this: open it in a tab of its own".into())
        }
        None => Ok(None),
    }
}

/// Returns whether a request has this token.
fn has_token(request: &Request, token: &str) -> bool {
    let given = request.bearer.as_deref().map(Into::into).or_else(|| request.parameter("token"));
    // The time does not show how much of it is right.
    given.is_some_and(|given| {
        let differences =
            given.bytes().zip(token.bytes()).fold(0, |all, (given, wanted)| all | (given ^ wanted));
        given.len() == token.len() && differences == 0
    })
}

/// Returns whether the host of a request is an address, `localhost`, or one of these names. An address is the one that
/// the client connected to, while a name can be made to point anywhere.
fn is_own(host: &str, names: &[String]) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "0"),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_address = bare.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == (bare != name));
    let is_known = |known: &str| known.eq_ignore_ascii_case(name);
    port.parse::<u16>().is_ok()
        && (is_address || is_known("localhost") || names.iter().any(|name| is_known(name)))
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

    #[test]
    fn hosts_are_addresses_localhost_and_names_that_are_allowed() {
        let names = ["tv.lan".to_owned()];
        for own in ["10.0.0.1", "10.0.0.1:4022", "[fd00::1]:4022", "[::1]", "localhost:4022", "TV.lan:80"] {
            assert!(is_own(own, &names), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:4022",
            "10.0.0.1.evil.example",
            "tv.lan.",
            "10.0.0.1:x",
            "fd00::1",
        ] {
            assert!(!is_own(other, &names), "{other}");
        }
    }

    #[test]
    fn a_token_is_required_in_the_header_or_in_the_address() {
        let config = HttpConfig { token: Some("s3cret".into()), ..HttpConfig::new(1) };
        let is_refused = |bearer: Option<&str>, query: &str| {
            let (bearer, query) = (bearer.map(Into::into), query.to_owned());
            let request = Request { bearer, query, ..Request::default() };
            check(&request, &config).is_err_and(|refusal| refusal.reason == HttpRefusal::Token)
        };
        assert!(!is_refused(Some("s3cret"), "") && !is_refused(None, "raw&token=s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3cretx"] {
            assert!(is_refused(Some(wrong), "") && is_refused(None, &format!("token={wrong}x")), "{wrong}");
        }
        assert!(is_refused(None, ""));
    }

    #[test]
    fn pages_of_other_origins_may_not_read_unless_allowed() {
        let request = |origin: Option<&str>, is_cross_site| Request {
            host: Some("10.0.0.1:4022".into()),
            origin: origin.map(Into::into),
            is_cross_site,
            ..Request::default()
        };
        let mut config = HttpConfig::new(1);
        config.origins.push("https://tv.example".into());
        assert_eq!(check(&request(None, false), &config), Ok(None));
        assert_eq!(check(&request(Some("http://10.0.0.1:4022"), false), &config), Ok(None));
        let allowed = check(&request(Some("https://tv.example"), true), &config);
        assert_eq!(allowed, Ok(Some("https://tv.example".into())));
        for (origin, is_cross_site) in [
            (Some("https://evil.example"), false),
            (Some("null"), false),
            (Some("https://10.0.0.1:4022"), false),
            (Some("http://10.0.0.1:80"), false),
            (None, true),
        ] {
            let refused = check(&request(origin, is_cross_site), &config).unwrap_err();
            assert_eq!(refused.reason, HttpRefusal::Origin, "{origin:?}");
        }
        config.origins = vec!["*".into()];
        assert_eq!(check(&request(Some("null"), true), &config), Ok(Some("null".into())));
        assert_eq!(check(&request(None, true), &config), Ok(None));
    }
}
