//! The head of a request.

use std::borrow::Cow;

use super::refusal::{HttpRefusal, Refusal};

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
