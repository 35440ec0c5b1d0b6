//! The frames of the stream protocol and the values in them, without sockets.

/// The longest frame that is accepted. A frame contains at most one chunk of a stream.
const FRAME: usize = 128 << 20;
/// Set in the key of a response.
const RESPONSE: u16 = 0x8000;
const VERSION: u16 = 1;

/// The operations.
pub(super) mod key {
    pub(in super::super) const DECLARE_PUBLISHER: u16 = 1;
    pub(in super::super) const PUBLISH: u16 = 2;
    pub(in super::super) const PUBLISH_CONFIRM: u16 = 3;
    pub(in super::super) const PUBLISH_ERROR: u16 = 4;
    pub(in super::super) const QUERY_PUBLISHER_SEQUENCE: u16 = 5;
    pub(in super::super) const DELETE_PUBLISHER: u16 = 6;
    pub(in super::super) const SUBSCRIBE: u16 = 7;
    pub(in super::super) const DELIVER: u16 = 8;
    pub(in super::super) const CREDIT: u16 = 9;
    pub(in super::super) const UNSUBSCRIBE: u16 = 12;
    pub(in super::super) const CREATE: u16 = 13;
    pub(in super::super) const METADATA: u16 = 15;
    pub(in super::super) const METADATA_UPDATE: u16 = 16;
    pub(in super::super) const PEER_PROPERTIES: u16 = 17;
    pub(in super::super) const SASL_HANDSHAKE: u16 = 18;
    pub(in super::super) const SASL_AUTHENTICATE: u16 = 19;
    pub(in super::super) const TUNE: u16 = 20;
    pub(in super::super) const OPEN: u16 = 21;
    pub(in super::super) const CLOSE: u16 = 22;
    pub(in super::super) const HEARTBEAT: u16 = 23;
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The response to a request with this number, with its code and what follows.
    Response {
        request: u32,
        body: Vec<u8>,
    },
    /// These messages of a publisher are stored.
    Confirmed {
        publisher: u8,
        ids: Vec<u64>,
    },
    /// A message of a publisher is not stored.
    Rejected {
        publisher: u8,
        code: u16,
    },
    /// A chunk for a subscription.
    Chunk {
        subscription: u8,
        chunk: Vec<u8>,
    },
    /// A stream was deleted, or its leader is another one.
    Changed {
        stream: String,
    },
    Tune {
        frame_max: u32,
        heartbeat: u32,
    },
    Close {
        request: u32,
        code: u16,
        reason: String,
    },
    Heartbeat,
    /// Something that needs no reaction.
    Other,
}

/// Returns the first frame in these bytes and its length; `None` if it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, ProtocolError> {
    let Some((size, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
    if !(4..=FRAME).contains(&size) {
        return Err(ProtocolError("a frame has an impossible length"));
    }
    let Some(body) = rest.get(..size) else { return Ok(None) };
    Ok(Some((frame(Reader(body))?, size + 4)))
}

fn frame(mut reader: Reader<'_>) -> Result<Frame, ProtocolError> {
    let (key, _version) = (reader.u16()?, reader.u16()?);
    Ok(match key & !RESPONSE {
        key::TUNE => Frame::Tune { frame_max: reader.u32()?, heartbeat: reader.u32()? },
        key::HEARTBEAT => Frame::Heartbeat,
        // A credit is responded to only if its subscription is gone, and without a number.
        key::CREDIT => Frame::Other,
        _ if key & RESPONSE != 0 => Frame::Response { request: reader.u32()?, body: reader.0.to_vec() },
        key::PUBLISH_CONFIRM => {
            let (publisher, count) = (reader.u8()?, reader.length()?);
            let ids = reader.bytes(count.checked_mul(8).ok_or(ProtocolError("too many numbers"))?)?;
            let ids = ids.as_chunks().0.iter().map(|id| u64::from_be_bytes(*id)).collect();
            Frame::Confirmed { publisher, ids }
        }
        key::PUBLISH_ERROR => {
            let (publisher, _count, _id) = (reader.u8()?, reader.u32()?, reader.u64()?);
            Frame::Rejected { publisher, code: reader.u16()? }
        }
        key::DELIVER => Frame::Chunk { subscription: reader.u8()?, chunk: reader.0.to_vec() },
        key::METADATA_UPDATE => {
            let _code = reader.u16()?;
            Frame::Changed { stream: reader.text()? }
        }
        key::CLOSE => Frame::Close { request: reader.u32()?, code: reader.u16()?, reason: reader.text()? },
        _ => Frame::Other,
    })
}

/// Adds a frame with this body.
pub(super) fn write(out: &mut Vec<u8>, key: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.number([0; 4]);
    out.number(key.to_be_bytes());
    out.number(VERSION.to_be_bytes());
    body(out);
    let size = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Adds the response to a request of the server.
pub(super) fn respond(out: &mut Vec<u8>, key: u16, request: u32) {
    write(out, RESPONSE | key, |out| {
        out.number(request.to_be_bytes());
        out.number(1_u16.to_be_bytes());
    });
}

/// Messages that are stored together, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The offset of the first message.
    pub(super) first: u64,
    /// When the server stored it, in milliseconds since 1970.
    pub(super) time: u64,
    /// `None` in place of messages in a form that bridges do not write.
    pub(super) messages: Vec<Option<&'a [u8]>>,
}

/// The first bytes of a chunk: the format, and the version 0.
const MAGIC: u8 = 0x50;

impl<'a> Chunk<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut reader = Reader(bytes);
        let (magic, kind) = (reader.u8()?, reader.u8()?);
        let (entries, records) = (reader.u16()?, reader.u32()?);
        let (time, _epoch, first) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (_crc, length, _trailer, _reserved) =
            (reader.u32()?, reader.length()?, reader.u32()?, reader.u32()?);
        if magic != MAGIC || kind != 0 {
            return Err(ProtocolError("a chunk has an unknown form"));
        }
        let mut data = Reader(reader.bytes(length)?);
        let mut messages = Vec::new();
        for _ in 0..entries {
            let size = data.u32()?;
            if size & 0x8000_0000 != 0 {
                // Compressed messages, which take offsets but are not read. Memory stays bounded by what was received.
                messages.push(None);
                break;
            }
            messages.push(Some(data.bytes(usize::try_from(size).unwrap_or(usize::MAX))?));
        }
        if messages.iter().all(Option::is_some) && u64::from(records) != messages.len() as u64 {
            return Err(ProtocolError("a chunk has another number of messages than it states"));
        }
        Ok(Self { first, time, messages })
    }

    /// Returns the offset of the message after the last one.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.messages.len() as u64)
    }
}

/// Bytes that end too early, or that do not mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak the stream protocol of RabbitMQ: {0}")]
pub(super) struct ProtocolError(pub(super) &'static str);

const SHORT: ProtocolError = ProtocolError("a frame ends too early");

/// Takes values from the front of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn length(&mut self) -> Result<usize, ProtocolError> {
        usize::try_from(self.u32()?).map_err(|_| SHORT)
    }

    /// Takes a text with its length. Those of servers are UTF-8, and are only shown or compared.
    pub(super) fn text(&mut self) -> Result<String, ProtocolError> {
        let length = usize::from(self.u16()?);
        // 65,535 means that there is no text.
        let bytes = if length == usize::from(u16::MAX) { &[] } else { self.bytes(length)? };
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Adds values at the end of bytes.
pub(super) trait Write {
    fn number<const N: usize>(&mut self, bytes: [u8; N]);
    /// Adds a text with its length. A text that is too long is cut off.
    fn text(&mut self, text: &str);
}

impl Write for Vec<u8> {
    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.extend_from_slice(&bytes);
    }

    fn text(&mut self, text: &str) {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.number(length.to_be_bytes());
        self.extend_from_slice(&text.as_bytes()[..usize::from(length.unsigned_abs())]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(first: u64, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut data = Vec::new();
        for message in messages {
            data.number((message.len() as u32).to_be_bytes());
            data.extend_from_slice(message);
        }
        let mut out = vec![MAGIC, 0];
        out.number((messages.len() as u16).to_be_bytes());
        out.number((messages.len() as u32).to_be_bytes());
        out.number(7_u64.to_be_bytes());
        out.number(1_u64.to_be_bytes());
        out.number(first.to_be_bytes());
        out.number([0; 4]);
        out.number((data.len() as u32).to_be_bytes());
        out.number([0; 8]);
        out.extend(data);
        out
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(key in 30_u16..0x7fff, request: u32, body: Vec<u8>, more: Vec<u8>) {
            let mut out = Vec::new();
            write(&mut out, RESPONSE | key, |out| {
                out.number(request.to_be_bytes());
                out.extend_from_slice(&body);
            });
            let length = out.len();
            prop_assert_eq!(parse(&out[..length - 1]), Ok(None), "it is not complete");
            out.extend(more);
            prop_assert_eq!(parse(&out), Ok(Some((Frame::Response { request, body }, length))));
        }

        #[test]
        fn chunks_are_read_as_they_were_written(first: u32, messages: Vec<Vec<u8>>) {
            let first = u64::from(first);
            let bytes = chunk(first, &messages);
            let chunk = Chunk::parse(&bytes).unwrap();
            prop_assert_eq!((chunk.first, chunk.time, chunk.end()), (first, 7, first + messages.len() as u64));
            let read: Vec<_> = chunk.messages.iter().map(|message| message.unwrap().to_vec()).collect();
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_read_or_refused(key in 0_u16..40, response: bool, body: Vec<u8>, raw: Vec<u8>) {
            let mut out = Vec::new();
            write(&mut out, if response { RESPONSE | key } else { key }, |out| out.extend_from_slice(&body));
            let _ = (parse(&out), parse(&raw), Chunk::parse(&raw), Chunk::parse(&body));
            let mut lies = chunk(0, &[body]);
            for (index, byte) in raw.iter().enumerate().take(lies.len()) {
                lies[index] ^= byte;
                let _ = Chunk::parse(&lies);
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_received() {
        for size in [0_u32, 3, (FRAME as u32) + 1, u32::MAX] {
            assert!(parse(&size.to_be_bytes()).is_err(), "{size}");
        }
        let mut out = Vec::new();
        write(&mut out, key::PUBLISH_CONFIRM, |out| {
            out.push(1);
            out.number(u32::MAX.to_be_bytes());
        });
        assert!(parse(&out).is_err(), "more numbers than bytes");
    }
}
