//! Datagrams as events and messages, and the frames of WebSocket (RFC 6455).

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use sha1::{Digest, Sha1};

use super::HttpDatagram;
use super::resource::StreamKind;

/// Why a client does not receive datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum GapReason {
    /// The datagrams after the last event of the client are no longer kept.
    Expired,
    /// The last event of the client is of another time, since which the group was left, or of another relay.
    #[serde(rename = "unknown-id")]
    Unknown,
    /// The client was too slow.
    #[serde(rename = "too-slow")]
    Slow,
    /// They were lost on this host, before they reached the server.
    #[serde(rename = "lost-on-this-host")]
    Lost,
}

/// One object per datagram, or per gap.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct DatagramEvent<'a> {
    /// Kind of the event
    event: &'static str,
    /// Identifies the datagram, or the last one of a gap
    id: &'a str,
    /// Source of the datagram, address and port
    source: String,
    /// When the kernel received the datagram (RFC 3339, UTC)
    time: Option<String>,
    /// Payload, if it is UTF-8
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Payload in base64, if it is not UTF-8
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GapEvent<'a> {
    event: &'static str,
    id: &'a str,
    /// Why datagrams are missing
    gap: GapReason,
    /// Number of missing datagrams, if known
    missed: Option<u64>,
}

/// The schema of the events.
#[cfg(feature = "schema")]
pub(super) fn schema() -> mcast_json::RecordSchema {
    let title = "Event of a group for HTTP clients of a relay (`/sse/`, `/ws/`)";
    mcast_json::RecordSchema::new::<DatagramEvent<'_>>("relay-http-event", title)
        .or::<GapEvent<'_>>()
        .events(["datagram", "gap"])
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
    let event = GapEvent { event: "gap", id, gap: reason, missed };
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

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;

/// The type of a frame (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Why the server closes a connection (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    GoingAway = 1001,
    Protocol = 1002,
    Data = 1003,
}

/// Returns what proves that the handshake was understood; `None` if its key is not one.
pub(super) fn accept_key(key: &str) -> Option<String> {
    let is_key = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    is_key.then(|| STANDARD.encode(Sha1::digest([key, GUID].concat())))
}

/// Returns a whole frame.
pub(super) fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(FIN | opcode as u8);
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// Returns a frame that closes the connection.
pub(super) fn close(code: CloseCode) -> Vec<u8> {
    frame(Opcode::Close, &(code as u16).to_be_bytes())
}

/// What a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientFrame {
    /// It wants this back.
    Ping(Vec<u8>),
    Pong,
    /// It closes the connection.
    Close,
    /// It has sent something that the server does not accept.
    Refused(CloseCode),
}

/// Takes frames of a client from bytes. Only control frames are accepted, so that it keeps little.
#[derive(Debug, Default)]
pub(super) struct FrameReader(Vec<u8>);

impl FrameReader {
    /// Takes bytes, and returns the first frame that is complete with the bytes behind it, if there is one.
    pub(super) fn read<'b>(&mut self, bytes: &'b [u8]) -> Option<(ClientFrame, &'b [u8])> {
        for (position, byte) in bytes.iter().enumerate() {
            self.0.push(*byte);
            if let Some(frame) = self.complete() {
                self.0.clear();
                return Some((frame, &bytes[position + 1..]));
            }
        }
        None
    }

    fn complete(&self) -> Option<ClientFrame> {
        let refused = |code| Some(ClientFrame::Refused(code));
        let (first, second) = (*self.0.first()?, *self.0.get(1)?);
        let length = usize::from(second & !MASK);
        // Clients mask what they send (section 5.1), and do not fragment control frames (section 5.5).
        match first & 0x0f {
            0..=2 => return refused(CloseCode::Data),
            8..=10 if second & MASK != 0 && first & !0x0f == FIN && length <= MAX_CONTROL => {}
            _ => return refused(CloseCode::Protocol),
        }
        let mask = self.0.get(2..6)?;
        let masked = self.0.get(6..6 + length)?;
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        Some(match first & 0x0f {
            8 => ClientFrame::Close,
            9 => ClientFrame::Ping(payload),
            _ => ClientFrame::Pong,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_that_of_the_rfc() {
        // RFC 6455 section 1.3.
        let accepted = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(accept_key("dGhlIHNhbXBsZQ=="), None);
        assert_eq!(accept_key("\r\n"), None);
    }

    #[test]
    fn frames_have_the_shortest_length() {
        // RFC 6455 section 5.7.
        assert_eq!(frame(Opcode::Text, b"Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(frame(Opcode::Binary, &[0; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(frame(Opcode::Binary, &[0; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(close(CloseCode::GoingAway), [0x88, 2, 0x03, 0xe9]);
    }

    #[test]
    fn control_frames_of_clients_are_read_in_any_pieces() {
        // A masked Pong and Ping with "Hello" (section 5.7), and a Close.
        let frames = [
            &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58][..],
            &[0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
            &[0x88, 0x80, 1, 2, 3, 4],
        ]
        .concat();
        for size in 1..frames.len() {
            let (mut reader, mut read) = (FrameReader::default(), Vec::new());
            for piece in frames.chunks(size) {
                let mut rest = piece;
                while let Some((frame, after)) = reader.read(rest) {
                    read.push(frame);
                    rest = after;
                }
            }
            assert_eq!(read, [ClientFrame::Pong, ClientFrame::Ping(b"Hello".to_vec()), ClientFrame::Close]);
        }
    }

    #[test]
    fn other_frames_are_refused() {
        for (bytes, code) in [
            (&[0x81, 0x85][..], CloseCode::Data),
            (&[0x02, 0xff], CloseCode::Data),
            (&[0x89, 0x05], CloseCode::Protocol),
            (&[0x09, 0x80], CloseCode::Protocol),
            (&[0x89, 0xfe], CloseCode::Protocol),
            (&[0xc9, 0x80], CloseCode::Protocol),
            (&[0x8b, 0x80], CloseCode::Protocol),
        ] {
            let read = FrameReader::default().read(bytes);
            assert_eq!(read, Some((ClientFrame::Refused(code), &[][..])), "{bytes:?}");
        }
    }
}
