//! The text protocol of NATS, without sockets.

use std::fmt::Write;

/// The longest line, and the largest message, that is accepted. Servers allow messages of at most 64 MiB, and JetStream
/// returns stored ones in base64.
const LINE: usize = 1 << 20;
const MESSAGE: usize = 128 << 20;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// What the server is, as JSON.
    Info(String),
    Message(Delivery),
    Ping,
    Pong,
    Ok,
    /// The server rejects something, and may close the connection.
    Error(String),
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) subject: String,
    pub(super) headers: Headers,
    pub(super) payload: Vec<u8>,
}

/// The headers of a message: names and values, and a status such as 404 in a response of the server itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) status: Option<u16>,
    fields: Vec<(String, String)>,
}

/// The server does not follow the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak the protocol of NATS: {0}")]
pub(super) struct ProtocolError(&'static str);

/// Returns the first operation in these bytes and its length; `None` if it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Operation, usize)>, ProtocolError> {
    let Some(end) = bytes.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE { Ok(None) } else { Err(ProtocolError("a line is too long")) };
    };
    let line =
        std::str::from_utf8(&bytes[..end]).map_err(|_| ProtocolError("a line is not UTF-8"))?.trim_end();
    let (name, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let operation = match name.to_ascii_uppercase().as_str() {
        "INFO" => Operation::Info(rest.trim().to_owned()),
        "PING" => Operation::Ping,
        "PONG" => Operation::Pong,
        "+OK" => Operation::Ok,
        "-ERR" => Operation::Error(rest.trim().trim_matches('\'').to_owned()),
        "MSG" => return message(rest, false, bytes, end + 1),
        "HMSG" => return message(rest, true, bytes, end + 1),
        _ => return Err(ProtocolError("an operation is unknown")),
    };
    Ok(Some((operation, end + 1)))
}

/// Returns the message whose arguments these are, and which begins at `start`.
fn message(
    arguments: &str,
    has_headers: bool,
    bytes: &[u8],
    start: usize,
) -> Result<Option<(Operation, usize)>, ProtocolError> {
    let invalid = ProtocolError("a message has invalid arguments");
    let arguments: Vec<&str> = arguments.split_ascii_whitespace().collect();
    // SUBJECT SID [REPLY] [HEADERS] TOTAL
    let sizes = 1 + usize::from(has_headers);
    if arguments.len() != 2 + sizes && arguments.len() != 3 + sizes {
        return Err(invalid);
    }
    let size = |text: &str| text.parse().ok().filter(|size| *size <= MESSAGE).ok_or_else(|| invalid.clone());
    let total: usize = size(arguments[arguments.len() - 1])?;
    let head: usize = if has_headers { size(arguments[arguments.len() - 2])? } else { 0 };
    if head > total {
        return Err(invalid);
    }
    let end = start + total;
    let Some(rest) = bytes.get(end..end + 2) else { return Ok(None) };
    if rest != b"\r\n" {
        return Err(ProtocolError("a message has another length than stated"));
    }
    let headers = if has_headers { Headers::parse(&bytes[start..start + head])? } else { Headers::default() };
    let (subject, payload) = (arguments[0].to_owned(), bytes[start + head..end].to_vec());
    Ok(Some((Operation::Message(Delivery { subject, headers, payload }), end + 2)))
}

impl Headers {
    /// Parses a block of headers.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let invalid = ProtocolError("headers are invalid");
        let text = std::str::from_utf8(bytes).map_err(|_| invalid.clone())?;
        let mut lines = text.split("\r\n");
        let first =
            lines.next().and_then(|line| line.strip_prefix("NATS/1.0")).ok_or_else(|| invalid.clone())?;
        let status = first.split_ascii_whitespace().next().and_then(|status| status.parse().ok());
        let field = |line: &str| {
            let (name, value) = line.split_once(':').ok_or_else(|| invalid.clone())?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        let fields = lines.filter(|line| !line.is_empty()).map(field).collect::<Result<_, _>>()?;
        Ok(Self { status, fields })
    }

    /// Adds a header. Name and value contain no line breaks.
    pub(super) fn set(&mut self, name: &str, value: impl ToString) {
        self.fields.push((name.to_owned(), value.to_string()));
    }

    /// Returns the value of a header.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// Returns the block of headers; an empty one if there are none.
    pub(super) fn block(&self) -> String {
        if self.fields.is_empty() {
            return String::new();
        }
        let mut block = String::from("NATS/1.0\r\n");
        for (name, value) in &self.fields {
            // Writing to a string does not fail.
            let _ = write!(block, "{name}: {value}\r\n");
        }
        block + "\r\n"
    }
}

/// Appends a message to what must be sent.
pub(super) fn publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    headers: &Headers,
    payload: &[u8],
) {
    let block = headers.block();
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    let total = block.len() + payload.len();
    let line = match block.len() {
        0 => format!("PUB {subject} {reply}{total}\r\n"),
        head => format!("HPUB {subject} {reply}{head} {total}\r\n"),
    };
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(block.as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Turns what a client publishes into what a server delivers.
    fn delivered(published: &[u8]) -> Vec<u8> {
        let text = b"PUB s ";
        match published.strip_prefix(b"H") {
            Some(rest) => [b"HMSG s 1 ", &rest[text.len()..]].concat(),
            None => [b"MSG s 1 ", &published[text.len()..]].concat(),
        }
    }

    #[test]
    fn operations_are_parsed() {
        let parsed = |bytes: &[u8]| parse(bytes).unwrap().map(|(operation, _)| operation);
        assert_eq!(parsed(b"INFO {\"a\":1} \r\n"), Some(Operation::Info("{\"a\":1}".into())));
        assert_eq!(parsed(b"ping\r\nPONG\r\n"), Some(Operation::Ping));
        let error = Operation::Error("Authorization Violation".into());
        assert_eq!(parsed(b"-ERR 'Authorization Violation'\r\n"), Some(error));
        let Some(Operation::Message(missing)) =
            parsed(b"HMSG s 1 36 36\r\nNATS/1.0 404 Message Not Found\r\na:\r\n\r\n")
        else {
            panic!("no message")
        };
        assert_eq!((missing.headers.status, missing.headers.field("A")), (Some(404), Some("")));
        assert_eq!(parsed(b"MSG s 1 reply 5\r\nhell"), None);
        for bad in [
            &b"HELLO\r\n"[..],
            b"MSG s 1\r\n",
            b"MSG s 1 99999999999\r\n",
            b"MSG s 1 1\r\nabc",
            b"HMSG s 1 3 2\r\nab\r\n",
            b"HMSG s 1 2 2\r\nab\r\n",
            b"\xff\r\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&vec![b'a'; LINE]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            if let Ok(Some((_, length))) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn any_message_is_parsed_or_refused(rest in "(H?MSG|INFO) [ -~]{0,20}\r\n[ -~\r\n]{0,40}") {
            let _ = parse(rest.as_bytes());
        }

        #[test]
        fn messages_are_parsed_as_they_were_published_and_only_when_complete(
            payload in prop::collection::vec(any::<u8>(), 0..50),
            fields in prop::collection::vec(("[A-Za-z-]{1,8}", "[!-~]{0,8}"), 0..4),
        ) {
            let headers = Headers { status: None, fields };
            let mut out = Vec::new();
            publish(&mut out, "s", None, &headers, &payload);
            let bytes = delivered(&out);
            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end]), Ok(None));
            }
            let delivery = Delivery { subject: "s".into(), headers, payload };
            prop_assert_eq!(parse(&bytes), Ok(Some((Operation::Message(delivery), bytes.len()))));
        }
    }
}
