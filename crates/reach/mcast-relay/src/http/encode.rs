//! Datagrams as events and messages.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use super::HttpDatagram;
use super::resource::StreamKind;
use super::websocket::{Opcode, frame};

/// Why a client does not receive datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GapReason {
    /// The datagrams after the last event of the client are no longer kept.
    Expired,
    /// The last event of the client is of another time, since which the group was left, or of another relay.
    Unknown,
    /// The client was too slow.
    Slow,
    /// They were lost on this host, before they reached the server.
    Lost,
}

impl GapReason {
    const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unknown => "unknown-id",
            Self::Slow => "too-slow",
            Self::Lost => "lost-on-this-host",
        }
    }
}

#[derive(Serialize)]
struct DatagramEvent<'a> {
    event: &'static str,
    id: &'a str,
    source: String,
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize)]
struct GapEvent<'a> {
    event: &'static str,
    id: &'a str,
    gap: &'static str,
    missed: Option<u64>,
}

/// Returns the chunk of a datagram for clients of this kind.
pub(super) fn datagram(kind: StreamKind, id: &str, datagram: &HttpDatagram) -> Vec<u8> {
    if kind == StreamKind::RawWebSocket {
        return frame(Opcode::Binary, &datagram.payload);
    }
    let text = std::str::from_utf8(&datagram.payload).ok();
    let event = DatagramEvent {
        event: "datagram",
        id,
        source: datagram.source.to_string(),
        time: datagram.time.and_then(rfc3339),
        text,
        base64: text.is_none().then(|| STANDARD.encode(&datagram.payload)),
    };
    wrap(kind, id, "", &to_json(&event))
}

/// Returns the chunk of a gap; `missed` is `None` if the number of datagrams is not known. `id` is that of the last one.
pub(super) fn gap(kind: StreamKind, id: &str, reason: GapReason, missed: Option<u64>) -> Vec<u8> {
    let event = GapEvent { event: "gap", id, gap: reason.name(), missed };
    wrap(kind, id, "event: gap\n", &to_json(&event))
}

/// Returns what shows a client without datagrams, and boxes between, that the connection is in use.
pub(super) fn keep_alive(kind: StreamKind) -> Vec<u8> {
    match kind {
        StreamKind::Udp | StreamKind::Rtp => Vec::new(),
        // A comment.
        StreamKind::Sse => b":\n\n".to_vec(),
        StreamKind::WebSocket | StreamKind::RawWebSocket => frame(Opcode::Ping, &[]),
    }
}

fn wrap(kind: StreamKind, id: &str, event: &str, json: &str) -> Vec<u8> {
    match kind {
        StreamKind::Udp | StreamKind::Rtp => Vec::new(),
        StreamKind::Sse => format!("id: {id}\n{event}data: {json}\n\n").into_bytes(),
        StreamKind::WebSocket | StreamKind::RawWebSocket => frame(Opcode::Text, json.as_bytes()),
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Strings and numbers can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns a time as RFC 3339 with nanoseconds; `None` outside the years that it can express.
fn rfc3339(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| format!("{time:.9}"))
}
