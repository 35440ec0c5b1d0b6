//! Heads of responses, and short responses.

use super::refusal::Refusal;
use super::resource::StreamKind;

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
