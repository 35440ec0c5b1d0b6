//! The heads of responses.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest, Sha1};

use crate::{HttpAccess, HttpRefusal, HttpRefused, HttpRequest, Preflight};

/// On every response: each connection serves one request, and nothing may reinterpret it.
const COMMON: &str = "X-Content-Type-Options: nosniff\r\nConnection: close\r\n";
/// On what is live.
const LIVE: &str = "Cache-Control: no-store\r\n";
/// On what may be kept if it is asked for before each use.
const CHECKED: &str = "Cache-Control: private, no-cache\r\n";

/// Returns the head of a stream, which lasts until the connection ends.
#[must_use]
pub fn stream_head(content_type: &str, access: &HttpAccess) -> Vec<u8> {
    let origin = allow(access.origin.as_deref());
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{origin}{LIVE}{COMMON}\r\n").into_bytes()
}

/// Returns the response to the handshake of a WebSocket.
#[must_use]
pub fn upgrade(accept: &str) -> Vec<u8> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes()
}

/// Returns a whole page, without its body for HEAD.
#[must_use]
pub fn page(content_type: &str, body: &str, access: &HttpAccess, request: &HttpRequest) -> Vec<u8> {
    page_with("200 OK", content_type, "", body, access, request)
}

/// Returns a whole page with this status and further headers, each of which ends its line.
#[must_use]
pub fn page_with(
    status: &str,
    content_type: &str,
    headers: &str,
    body: &str,
    access: &HttpAccess,
    request: &HttpRequest,
) -> Vec<u8> {
    let headers = format!("{}{}{headers}{LIVE}", allow(access.origin.as_deref()), access.cookie());
    whole(status, content_type, &headers, body, request.is_head())
}

/// Returns a page that a client may keep, or that what it has is still right.
#[must_use]
pub fn kept_page(content_type: &str, body: &str, access: &HttpAccess, request: &HttpRequest) -> Vec<u8> {
    let tag = URL_SAFE_NO_PAD.encode(Sha1::digest(body));
    let origin = allow(access.origin.as_deref());
    let headers = format!("{origin}{}ETag: \"{tag}\"\r\n{CHECKED}", access.cookie());
    let is_known = |given: &str| {
        let mut tags = given.split(',').map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
        tags.any(|known| known == tag || known == "*")
    };
    match request.if_none_match.as_deref().is_some_and(is_known) {
        true => format!("HTTP/1.1 304 Not Modified\r\n{headers}{COMMON}\r\n").into_bytes(),
        false => whole("200 OK", content_type, &headers, body, request.is_head()),
    }
}

/// Returns what a browser may send for a page of this origin; without one, what anybody may.
#[must_use]
pub fn preflight(preflight: &Preflight, origin: Option<&str>) -> Vec<u8> {
    // They become a line as they are. What is not a list of names is not sent by a browser.
    let is_list =
        |headers: &&str| headers.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_, ".contains(&byte));
    let headers = preflight.headers.as_deref().filter(is_list).unwrap_or("Authorization, Last-Event-ID");
    let network = match preflight.is_to_private_network {
        true => "Access-Control-Allow-Private-Network: true\r\n",
        false => "",
    };
    let allowed = origin.map_or_else(String::new, |_| {
        format!(
            "Access-Control-Allow-Methods: GET, HEAD\r\nAccess-Control-Allow-Headers: {headers}\r\n\
             Access-Control-Max-Age: 86400\r\n{network}"
        )
    });
    let allow = allow(origin);
    format!("HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS\r\n{allow}{allowed}{LIVE}{COMMON}\r\n")
        .into_bytes()
}

/// Returns the response to a request for an icon: there is none.
#[must_use]
pub fn no_icon() -> Vec<u8> {
    format!("HTTP/1.1 204 No Content\r\nCache-Control: max-age=86400\r\n{COMMON}\r\n").into_bytes()
}

/// Returns the response that states a refusal. `realm` names the server for clients that it asks for a token.
pub(crate) fn refusal(refusal: &HttpRefused, realm: &str, is_head: bool) -> Vec<u8> {
    let (status, header) = (refusal.reason.status(), refusal.reason.header());
    let token = match refusal.reason {
        HttpRefusal::Token => format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n"),
        _ => String::new(),
    };
    let headers = format!("{header}{token}{LIVE}");
    whole(status, "text/plain; charset=utf-8", &headers, &format!("{}\n", refusal.text), is_head)
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
