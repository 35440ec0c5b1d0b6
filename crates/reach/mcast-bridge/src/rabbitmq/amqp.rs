//! The part of AMQP 1.0 that messages of a stream are encoded in: application properties, then data.

use std::sync::Arc;

use mcast_stream::wire::{Incarnation, MessageNumber, StreamId, VisitedEngines};

use super::protocol::{ProtocolError, Reader, Write};
use crate::engine::{LastRecord, parse_trail, trail_text};
pub(super) use crate::engine::{id, position};
use crate::record::{Content, FieldValue, Position, StoredFields, StreamRecord, UnixMillis};

/// The sections of a message that are read, and the formats of values (AMQP 1.0, parts 1.6 and 3.2).
const PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;
const DESCRIBED: u8 = 0x00;
const SMALL_ULONG: u8 = 0x53;
const ULONG: u8 = 0x80;
const ULONG_0: u8 = 0x44;
const TEXT: u8 = 0xa1;
const LONG_TEXT: u8 = 0xb1;
const MAP: u8 = 0xc1;
const LONG_MAP: u8 = 0xd1;
const BINARY: u8 = 0xa0;
const LONG_BINARY: u8 = 0xb0;

/// The most application properties that are read.
const MOST: u32 = 64;

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    /// Of a type that bridges do not write.
    Other,
}

/// A message: its application properties and its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    properties: Vec<(String, Value)>,
    pub(super) bytes: Arc<[u8]>,
}

impl Message {
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.properties.push((name.to_owned(), value));
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Adds the encoded message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut map = Vec::new();
        for (name, value) in &self.properties {
            write_bytes(&mut map, TEXT, LONG_TEXT, name.as_bytes());
            match value {
                Value::Number(number) => match u8::try_from(*number) {
                    Ok(number) => map.number([SMALL_ULONG, number]),
                    Err(_) => {
                        map.push(ULONG);
                        map.number(number.to_be_bytes());
                    }
                },
                Value::Text(text) => write_bytes(&mut map, TEXT, LONG_TEXT, text.as_bytes()),
                // Null.
                Value::Other => map.push(0x40),
            }
        }
        out.number([DESCRIBED, SMALL_ULONG, PROPERTIES]);
        let count = 2 * self.properties.len();
        match (u8::try_from(map.len() + 1), u8::try_from(count)) {
            (Ok(length), Ok(count)) => out.number([MAP, length, count]),
            _ => {
                out.push(LONG_MAP);
                out.number(u32::try_from(map.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
                out.number(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        out.extend(map);
        out.number([DESCRIBED, SMALL_ULONG, DATA]);
        write_bytes(out, BINARY, LONG_BINARY, &self.bytes);
    }

    /// Reads an encoded message.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let mut reader = Reader(bytes);
        let (mut message, mut data) = (Self::default(), None);
        while !reader.0.is_empty() {
            match section(&mut reader)? {
                PROPERTIES => message.properties = properties(&mut reader)?,
                DATA if data.is_none() => data = Some(body(&mut reader)?),
                _ => skip(&mut reader)?,
            }
        }
        // Some clients write no section for empty data.
        message.bytes = Arc::from(data.unwrap_or_default());
        Ok(message)
    }
}

fn write_bytes(out: &mut Vec<u8>, short: u8, long: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.number([short, length]),
        Err(_) => {
            out.push(long);
            out.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Takes the descriptor of a section. Those of messages are numbers below 256.
fn section(reader: &mut Reader<'_>) -> Result<u8, ProtocolError> {
    match (reader.u8()?, reader.u8()?) {
        (DESCRIBED, SMALL_ULONG) => reader.u8(),
        (DESCRIBED, ULONG) => {
            u8::try_from(reader.u64()?).map_err(|_| ProtocolError("a message has an unknown section"))
        }
        _ => Err(ProtocolError("a message is not one of AMQP 1.0")),
    }
}

/// Takes a value of which only the length matters.
fn skip(reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
    let format = reader.u8()?;
    let length = match format >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xc | 0xe => usize::from(reader.u8()?),
        0xb | 0xd | 0xf => reader.length()?,
        _ => return Err(ProtocolError("a value has an unknown type")),
    };
    reader.bytes(length).map(|_| ())
}

fn properties(reader: &mut Reader<'_>) -> Result<Vec<(String, Value)>, ProtocolError> {
    let (mut map, count) = match reader.u8()? {
        MAP => {
            let length = usize::from(reader.u8()?);
            let mut map = Reader(reader.bytes(length)?);
            let count = u32::from(map.u8()?);
            (map, count)
        }
        LONG_MAP => {
            let length = reader.length()?;
            let mut map = Reader(reader.bytes(length)?);
            let count = map.u32()?;
            (map, count)
        }
        _ => return Err(ProtocolError("application properties are not a map")),
    };
    if count > 2 * MOST {
        return Err(ProtocolError("a message has too many properties"));
    }
    let mut properties = Vec::new();
    for _ in 0..count / 2 {
        let Value::Text(name) = value(&mut map)? else {
            return Err(ProtocolError("the name of a property is not a text"));
        };
        properties.push((name, value(&mut map)?));
    }
    Ok(properties)
}

fn value(reader: &mut Reader<'_>) -> Result<Value, ProtocolError> {
    let mut at = *reader;
    let value = match at.u8()? {
        ULONG_0 | 0x43 => Value::Number(0),
        SMALL_ULONG | 0x52 => Value::Number(at.u8()?.into()),
        ULONG => Value::Number(at.u64()?),
        0x70 => Value::Number(at.u32()?.into()),
        // Signed numbers, which clients of some languages write.
        0x54 | 0x55 => signed(at.u8()?.cast_signed().into()),
        0x71 => signed(at.u32()?.cast_signed().into()),
        0x81 => signed(at.u64()?.cast_signed()),
        TEXT => {
            let length = usize::from(at.u8()?);
            Value::Text(String::from_utf8_lossy(at.bytes(length)?).into_owned())
        }
        LONG_TEXT => {
            let length = at.length()?;
            Value::Text(String::from_utf8_lossy(at.bytes(length)?).into_owned())
        }
        _ => {
            skip(reader)?;
            return Ok(Value::Other);
        }
    };
    *reader = at;
    Ok(value)
}

fn signed(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Number)
}

fn body<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], ProtocolError> {
    let length = match reader.u8()? {
        BINARY => usize::from(reader.u8()?),
        LONG_BINARY => reader.length()?,
        _ => return Err(ProtocolError("the data of a message is not binary")),
    };
    reader.bytes(length)
}

/// A record with what decides whether it is effective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stream: StreamId,
    pub(super) record: StreamRecord,
    /// The position of the record that it follows; `None` if it is the first one.
    pub(super) after: Option<Position>,
    /// The offset of an effective record before it; `None` if the bridge that wrote it knew none.
    pub(super) known: Option<u64>,
    /// Who wrote a gap: a random number.
    pub(super) writer: Option<u64>,
    pub(super) engines: VisitedEngines,
}

impl Entry {
    /// Returns the last record as a bridge sees it.
    pub(super) fn tail(&self) -> LastRecord {
        LastRecord { position: self.record.position, stream: Some(self.stream), closes: self.record.closes() }
    }

    /// Returns the message that it is stored as.
    pub(super) fn message(&self) -> Message {
        let StreamRecord { position, time, content } = &self.record;
        let mut message = Message::default();
        let mut number = |name: &str, number: u64| message.set(name, Value::Number(number));
        number("mcast-incarnation", position.incarnation.0.into());
        number("mcast-number", position.number.0);
        number("mcast-time", time.0);
        self.known.iter().for_each(|known| number("mcast-known", *known));
        self.writer.iter().for_each(|writer| number("mcast-bridge", *writer));
        content.write(*position, |name, value| {
            message.set(
                &format!("mcast-{name}"),
                match value {
                    FieldValue::Number(number) => Value::Number(number),
                    FieldValue::Text(text) => Value::Text(text),
                },
            );
        });
        message.bytes = content.bytes().cloned().unwrap_or_default();
        message.set("mcast-stream", Value::Text(self.stream.to_string()));
        self.after.iter().for_each(|after| message.set("mcast-after", Value::Text(id(*after))));
        if !self.engines.is_empty() {
            message.set("mcast-engines", Value::Text(trail_text(&self.engines)));
        }
        message
    }

    /// Returns the entry that a message is; `None` if no bridge wrote it.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let stream = StreamId(u64::from_str_radix(message.text("mcast-stream")?, 16).ok()?);
        let incarnation = Incarnation(message.number("mcast-incarnation")?.try_into().ok()?);
        let position_of = Position::new(incarnation, MessageNumber(message.number("mcast-number")?));
        let content = Content::read(&Fields(message), || Some(message.bytes.clone()))?;
        let after = match message.has("mcast-after") {
            true => Some(position(message.text("mcast-after")?)?),
            false => None,
        };
        Some(Self {
            stream,
            record: StreamRecord {
                position: position_of,
                time: UnixMillis(message.number("mcast-time")?),
                content,
            },
            after,
            known: message.number("mcast-known"),
            writer: message.number("mcast-bridge"),
            engines: engines(message)?,
        })
    }
}

/// The properties of a message by the names of fields.
struct Fields<'a>(&'a Message);

impl<'a> StoredFields<'a> for Fields<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.text(&format!("mcast-{name}"))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.number(&format!("mcast-{name}"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.has(&format!("mcast-{name}"))
    }
}

fn engines(message: &Message) -> Option<VisitedEngines> {
    match message.has("mcast-engines") {
        true => parse_trail(message.text("mcast-engines")?),
        false => Some(VisitedEngines::EMPTY),
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::EngineKey;
    use proptest::prelude::*;

    use super::*;
    use crate::record::contents;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(Value::Number),
            any::<u8>().prop_map(|number| Value::Number(number.into())),
            any::<String>().prop_map(Value::Text),
            Just(Value::Other),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            properties in prop::collection::vec((any::<String>(), values()), 0..9),
            bytes in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let message = Message { properties, bytes: bytes.into() };
            let mut out = Vec::new();
            message.write(&mut out);
            prop_assert_eq!(Message::parse(&out), Ok(message));
            for end in 0..out.len() {
                // Without data, it may be a message with none.
                let part = Message::parse(&out[..end]);
                prop_assert!(part.is_err() || part.is_ok_and(|part| part.bytes.is_empty()), "{} bytes", end);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, section in 0x70_u8..0x79) {
            let _ = Message::parse(&bytes);
            bytes.splice(0..0, [DESCRIBED, SMALL_ULONG, section]);
            let _ = Message::parse(&bytes);
        }
    }

    #[test]
    fn signed_numbers_are_read() {
        let read = |bytes: &[u8]| value(&mut Reader(bytes));
        assert_eq!(read(&[0x55, 7]), Ok(Value::Number(7)));
        assert_eq!(read(&[0x54, 0xff]), Ok(Value::Other), "-1");
        assert_eq!(read(&[0x71, 0, 0, 1, 0]), Ok(Value::Number(256)));
        assert_eq!(read(&[0x81, 0, 0, 0, 1, 0, 0, 0, 0]), Ok(Value::Number(1 << 32)));
        assert_eq!(read(&[0x81, 0x80, 0, 0, 1, 0, 0, 0, 0]), Ok(Value::Other));
    }

    #[test]
    fn a_message_without_data_is_empty() {
        let message = Message::parse(&[0, 0x53, 0x74, 0xc1, 5, 2, 0xa1, 1, b'a', 0x44]).unwrap();
        assert_eq!((message.number("a"), message.bytes.len()), (Some(0), 0));
    }

    #[test]
    fn other_sections_and_types_are_skipped() {
        // A header with a list, properties with a boolean, data.
        let bytes = [
            0, 0x53, 0x70, 0xc0, 2, 1, 0x41, 0, 0x53, 0x74, 0xc1, 9, 4, 0xa1, 1, b'a', 0x41, 0xa1, 1, b'b',
            0x44, 0, 0x53, 0x75, 0xa0, 1, b'x',
        ];
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.value("a"), message.number("b")), (Some(&Value::Other), Some(0)));
        assert_eq!(&*message.bytes, b"x");
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            content in contents(),
            (incarnation, number, time) in (any::<u32>(), 0..u64::MAX - 1, any::<u64>()),
            after: Option<(u32, u64)>,
            (known, writer) in (any::<Option<u64>>(), any::<Option<u64>>()),
            keys in prop::collection::vec(any::<u64>(), 0..=VisitedEngines::MAX),
        ) {
            let place = |(incarnation, number)| Position::new(Incarnation(incarnation), MessageNumber(number));
            let entry = Entry {
                stream: StreamId(255),
                record: StreamRecord { position: place((incarnation, number)), time: UnixMillis(time), content },
                after: after.map(place),
                known,
                writer,
                engines: VisitedEngines::of(keys.into_iter().map(EngineKey)).unwrap(),
            };
            let mut bytes = Vec::new();
            entry.message().write(&mut bytes);
            prop_assert_eq!(Entry::of(&Message::parse(&bytes).unwrap()), Some(entry));
        }

        #[test]
        fn any_message_is_read_or_refused(kind: Option<String>, text: String, number: u64, is_number: bool) {
            let mut message = Message::default();
            for name in ["mcast-stream", "mcast-incarnation", "mcast-number", "mcast-time", "mcast-after", "mcast-first"] {
                let value = if is_number { Value::Number(number) } else { Value::Text(text.clone()) };
                message.set(name, value);
            }
            kind.iter().for_each(|kind| message.set("mcast-kind", Value::Text(kind.clone())));
            let _ = Entry::of(&message);
        }
    }
}
