//! The head of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use crate::{HttpRefusal, HttpRefused};

/// The longest head. Browsers send less than 1 KiB to a server that sets one cookie.
pub(crate) const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// The name of the token as a cookie and in the query.
pub(crate) const TOKEN: &str = "token";

/// What a request is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMethod {
    /// Return what is at the path.
    #[default]
    Get,
    /// The same without the body.
    Head,
    /// A browser asks what it may send for a page of another origin.
    Options,
}

/// The head of a request that was received whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// What to do.
    pub method: HttpMethod,
    /// The path, decoded.
    pub path: String,
    /// What follows `?`, with escapes.
    pub query: String,
    /// The host that it names.
    pub host: Option<String>,
    /// The origin of the page that caused it.
    pub origin: Option<String>,
    /// Whether a page of another site caused it, according to the browser, other than by a link.
    pub is_cross_site: bool,
    /// Whether the client accepts JSON.
    pub accepts_json: bool,
    /// Tokens in headers: of `Authorization: Bearer`, of the cookie, and of `User-Agent`, for players that can set only that.
    pub tokens: Vec<String>,
    /// The last event that the client of a stream has received.
    pub last_event_id: Option<String>,
    /// The versions of the page that the client has.
    pub if_none_match: Option<String>,
    /// The key of a WebSocket's handshake.
    pub websocket_key: Option<String>,
    /// What a browser asks before it sends the request.
    pub preflight: Preflight,
    /// What a proxy says about it.
    pub forwarded: Forwarded,
    /// The number of bytes.
    pub length: usize,
}

/// What a browser wants to send for a page of another origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// The headers that it wants to send.
    pub headers: Option<String>,
    /// Whether the page is from the Internet and this server is not.
    pub is_to_private_network: bool,
}

/// What a proxy says about the request. Anybody can send this: it counts if a trusted proxy does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The scheme that the client used.
    pub proto: Option<String>,
    host: Option<String>,
    port: Option<String>,
    /// The path under which the proxy has the server.
    pub prefix: Option<String>,
    /// The addresses of the client and of proxies, the latest last.
    pub clients: Vec<IpAddr>,
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

pub(crate) fn parse(bytes: &[u8]) -> Result<Option<HttpRequest>, HttpRefused> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpRefused::new(HttpRefusal::TooLarge, "the request has too many headers"));
        }
        Err(error) => return Err(invalid(format!("this is not a request of HTTP/1.1: {error}"))),
    };
    let method = match head.method.unwrap_or_default() {
        "GET" => HttpMethod::Get,
        "HEAD" => HttpMethod::Head,
        "OPTIONS" => HttpMethod::Options,
        _ => return Err(HttpRefused::new(HttpRefusal::Method, "only GET and HEAD are served here")),
    };
    let (authority, target) = split_target(head.path.unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decode(path).ok_or_else(|| invalid("the path is not valid UTF-8"))?.into_owned();
    let mut request = HttpRequest { method, path, query: query.to_owned(), length, ..HttpRequest::default() };
    let mut details = Details::default();
    for header in head.headers.iter() {
        read_header(&mut request, &mut details, header)?;
    }
    // RFC 9112 section 3.2.
    if head.version == Some(1) && request.host.is_none() {
        return Err(invalid("a request of HTTP/1.1 needs the header Host"));
    }
    request.host = authority.map(str::to_owned).or(request.host);
    let is_link = details.mode == "navigate" && details.destination == "document";
    request.is_cross_site = ["cross-site", "same-site"].contains(&details.site.as_str()) && !is_link;
    let is_handshake = details.upgrade.eq_ignore_ascii_case("websocket") && details.version == "13";
    request.websocket_key = details.key.filter(|_| is_handshake);
    Ok(Some(request))
}

/// Splits the host off a target as it is sent to proxies, which then counts instead of the header (RFC 9112 section 3.2.2).
fn split_target(target: &str) -> (Option<&str>, &str) {
    match target.strip_prefix("http://") {
        None => (None, target),
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
    }
}

fn read_header(
    request: &mut HttpRequest,
    details: &mut Details,
    header: &httparse::Header<'_>,
) -> Result<(), HttpRefused> {
    let name = header.name.to_ascii_lowercase();
    let value = || String::from_utf8_lossy(header.value).trim().to_owned();
    // Each proxy of a chain adds its own at the end.
    let last = || value().rsplit(',').next().map(|value| value.trim().to_owned());
    match name.as_str() {
        "host" if request.host.is_some() => return Err(invalid("the header Host occurs twice")),
        "host" => request.host = Some(value()),
        "origin" => request.origin = Some(value()),
        "authorization" => {
            let value = value();
            let scheme = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
            request.tokens.extend(scheme.and_then(|_| value.get(7..)).map(|token| token.trim().to_owned()));
        }
        "cookie" => {
            let value = value();
            let cookies = value.split(';').filter_map(|cookie| cookie.trim().split_once('='));
            let tokens = cookies.filter(|(name, _)| *name == TOKEN).filter_map(|(_, token)| decode(token));
            request.tokens.extend(tokens.map(Cow::into_owned));
        }
        "user-agent" => request.tokens.extend(value().split_whitespace().filter_map(token_of_product)),
        "accept" => request.accepts_json = value().contains("application/json"),
        "last-event-id" => request.last_event_id = Some(value()),
        "if-none-match" => request.if_none_match = Some(value()),
        "access-control-request-headers" => request.preflight.headers = Some(value()),
        "access-control-request-private-network" => {
            request.preflight.is_to_private_network = value() == "true";
        }
        "x-forwarded-proto" => request.forwarded.proto = last(),
        "x-forwarded-host" => request.forwarded.host = last(),
        "x-forwarded-port" => request.forwarded.port = last(),
        "x-forwarded-prefix" => request.forwarded.prefix = last(),
        "x-forwarded-for" => {
            request
                .forwarded
                .clients
                .extend(value().split(',').filter_map(|client| client.trim().parse::<IpAddr>().ok()));
        }
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

/// Returns the token in `token/TOKEN`, or in the form of rtp2httpd.
fn token_of_product(product: &str) -> Option<String> {
    let (name, token) = product.split_once('/')?;
    let is_token = [TOKEN, "r2htoken"].iter().any(|known| name.eq_ignore_ascii_case(known));
    is_token.then(|| token.to_owned())
}

impl HttpRequest {
    /// Parses the head of a request; returns `None` if it is not complete.
    ///
    /// # Errors
    /// If it is not a valid request (RFC 9112), has too many headers, or has another method than GET, HEAD and OPTIONS.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HttpRefused> {
        parse(bytes)
    }

    /// Returns whether only the head of the response is requested.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == HttpMethod::Head
    }

    /// Returns the value of a parameter of the query; an empty one if it has none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        // A player may leave the label of a channel there, which follows everything else.
        let (query, _) = split_label(&self.query);
        let mut parts = query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")));
        parts.find(|(key, _)| *key == name).and_then(|(_, value)| decode(value))
    }
}

impl Forwarded {
    /// Returns the host with its port. Some proxies pass them apart.
    #[must_use]
    pub fn host(&self) -> Option<Cow<'_, str>> {
        let host = self.host.as_deref()?;
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let is_default = |port: &str| ["80", "443"].contains(&port);
        match self.port.as_deref().filter(|port| !has_port && !is_default(port)) {
            Some(port) => Some(format!("{host}:{port}").into()),
            None => Some(host.into()),
        }
    }
}

/// Splits a label off, which some lists add to an address and some players send with it: `239.1.2.3:5000$HD`. What players fill
/// in (`${start}`) is not one.
#[must_use]
pub fn split_label(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('$') {
        Some((rest, label)) if !label.contains(['{', '}']) => (rest, Some(label)),
        _ => (text, None),
    }
}

fn invalid(text: impl Into<String>) -> HttpRefused {
    HttpRefused::new(HttpRefusal::Invalid, text)
}

/// Replaces `%XX`. What is not of that form stays as it is.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> HttpRequest {
        parse(format!("{head}\r\n\r\n").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_token_may_be_a_header_a_cookie_or_a_part_of_the_program_s_name() {
        for (header, expected) in [
            ("Authorization: bearer s3cret", "s3cret"),
            ("Cookie: a=b; token=s3%3Bcret; tokens=x", "s3;cret"),
            ("User-Agent: VLC/3.0 token/s3;cret LibVLC/3.0", "s3;cret"),
            ("User-Agent: R2HTOKEN/s3cret", "s3cret"),
        ] {
            assert_eq!(parsed(&format!("GET / HTTP/1.0\r\n{header}")).tokens, [expected], "{header}");
        }
        let request = parsed("GET /rtp/239.1.2.3:5000/?token=s3%24cret$HD HTTP/1.0\r\nUser-Agent: VLC/3.0");
        assert_eq!((request.parameter("token").as_deref(), request.tokens.len()), (Some("s3$cret"), 0));
    }

    #[test]
    fn a_target_may_contain_the_host() {
        let request = parsed("GET http://10.0.0.9:4022/udp/239.1.2.3:5000/?x HTTP/1.1\r\nHost: evil.example");
        assert_eq!(
            (request.host.as_deref(), request.path.as_str()),
            (Some("10.0.0.9:4022"), "/udp/239.1.2.3:5000/")
        );
        assert_eq!(parsed("GET http://10.0.0.9 HTTP/1.0").path, "");
    }

    #[test]
    fn what_the_nearest_proxy_says_is_at_the_end() {
        let request = parsed(
            "GET / HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4, unknown\r\nX-Forwarded-For: 10.0.0.5\r\n\
             X-Forwarded-Host: evil.example, tv.example\r\nX-Forwarded-Port: 8443\r\nX-Forwarded-Proto: http, https",
        );
        let forwarded = request.forwarded;
        assert_eq!(
            forwarded.clients,
            ["1.2.3.4", "10.0.0.5"].map(|address| address.parse::<IpAddr>().unwrap())
        );
        assert_eq!(forwarded.host().as_deref(), Some("tv.example:8443"));
        assert_eq!(forwarded.proto.as_deref(), Some("https"));
        let host = |host: &str, port: &str| Forwarded {
            host: Some(host.into()),
            port: Some(port.into()),
            ..Forwarded::default()
        };
        assert_eq!(host("[fd00::1]", "443").host().as_deref(), Some("[fd00::1]"));
        assert_eq!(host("[fd00::1]:1", "8443").host().as_deref(), Some("[fd00::1]:1"));
    }
}
