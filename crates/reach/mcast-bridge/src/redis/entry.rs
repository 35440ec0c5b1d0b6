//! Entries of a Redis stream: their ids and fields.

use std::sync::Arc;

use mcast_stream::wire::{Incarnation, MessageKey, MessageNumber, StreamId, VisitedEngines};
use redis::Value;

use crate::engine::{EngineError, LastRecord, parse_trail, trail_text};
use crate::metadata::DatagramMetadata;
use crate::record::{Content, GapCause, Position, StreamRecord};

/// Returns the id of the record at a position. Redis has no id 0-0, so that numbers start with 1 there.
pub(super) fn id(position: Position) -> String {
    format!("{}-{}", position.incarnation, position.number + 1)
}

/// Returns the position of the record with this id.
pub(super) fn position(id: &str) -> Option<Position> {
    let (incarnation, number) = id.split_once('-')?;
    let number: u64 = number.parse().ok()?;
    Some(Position::new(Incarnation(incarnation.parse().ok()?), MessageNumber(number.checked_sub(1)?)))
}

/// Appends the id of a record, the count of its fields and values, and those, except `s`.
pub(super) fn write(record: &StreamRecord, engines: &VisitedEngines, command: &mut redis::Cmd) {
    let fields = match &record.content {
        Content::Message { key: None, .. } | Content::End => 4,
        Content::Message { key: Some(_), .. } => 6,
        Content::Datagram { metadata, .. } => 4 + 2 * metadata.fields().count(),
        Content::OpenGap { .. } => 8,
        Content::Gap { .. } => 10,
    };
    let origin = if engines.is_empty() { 0 } else { 2 };
    command.arg(id(record.position)).arg(fields + origin).arg("t").arg(record.time);
    if !engines.is_empty() {
        command.arg("o").arg(trail_text(engines));
    }
    match &record.content {
        Content::Message { key: None, bytes } => command.arg("d").arg(&**bytes),
        Content::Message { key: Some(key), bytes } => command.arg("k").arg(key.0).arg("d").arg(&**bytes),
        Content::Datagram { metadata, bytes } => {
            metadata.fields().for_each(|(name, value)| {
                command.arg(name).arg(value);
            });
            command.arg("d").arg(&**bytes)
        }
        Content::Gap { first, cause } => {
            let end = record.position.number + 1;
            command.arg("kind").arg("gap").arg("first").arg(first.0);
            command.arg("end").arg(end.0).arg("cause").arg(cause.name())
        }
        Content::OpenGap { cause } => {
            command.arg("kind").arg("gap").arg("first").arg(record.position.number.0);
            command.arg("cause").arg(cause.name())
        }
        Content::End => command.arg("kind").arg("end"),
    };
}

/// The name and the value of a field of an entry.
pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

/// The fields of an entry.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [Field<'a>]);

impl<'a> Fields<'a> {
    fn bytes(self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(field, _)| *field == name.as_bytes()).map(|(_, value)| *value)
    }

    fn text(self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    fn number(self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

/// Returns the id and the fields of an entry in a reply.
pub(super) fn parts(entry: &Value) -> Option<(&str, Vec<Field<'_>>)> {
    let Value::Array(parts) = entry else { return None };
    match &parts[..] {
        [Value::BulkString(id), fields] => Some((std::str::from_utf8(id).ok()?, fields_of(fields)?)),
        _ => None,
    }
}

/// Returns the fields in a reply.
fn fields_of(fields: &Value) -> Option<Vec<Field<'_>>> {
    let Value::Array(parts) = fields else { return None };
    let fields = parts.chunks(2).map(|field| match field {
        [Value::BulkString(name), Value::BulkString(value)] => Some((&name[..], &value[..])),
        _ => None,
    });
    fields.collect()
}

/// Returns the engines that a record came out of before; `None` if no bridge wrote it.
pub(super) fn engines(fields: &[Field<'_>]) -> Option<VisitedEngines> {
    match Fields(fields).bytes("o") {
        Some(text) => parse_trail(std::str::from_utf8(text).ok()?),
        None => Some(VisitedEngines::default()),
    }
}

/// Returns the record with this id and these fields; `None` if no bridge wrote it.
pub(super) fn read(id: &str, fields: &[Field<'_>]) -> Option<(StreamId, StreamRecord)> {
    let fields = Fields(fields);
    let stream = StreamId(u64::from_str_radix(fields.text("s")?, 16).ok()?);
    let content = match fields.text("kind") {
        None if fields.bytes("group").is_some() => {
            let metadata = Box::new(DatagramMetadata::parse(|name| fields.text(name))?);
            Content::Datagram { metadata, bytes: Arc::from(fields.bytes("d")?) }
        }
        None => {
            Content::Message { key: fields.number("k").map(MessageKey), bytes: Arc::from(fields.bytes("d")?) }
        }
        Some("end") => Content::End,
        Some("gap") => {
            let (first, cause) =
                (MessageNumber(fields.number("first")?), GapCause::from_name(fields.text("cause")?)?);
            if fields.bytes("end").is_some() {
                Content::Gap { first, cause }
            } else {
                Content::OpenGap { cause }
            }
        }
        Some(_) => return None,
    };
    Some((stream, StreamRecord { position: position(id)?, time: fields.number("t")?, content }))
}

/// Returns the last record as the script describes it.
pub(super) fn tail(id: &Value, fields: &Value) -> Result<Option<LastRecord>, EngineError> {
    let id: String = redis::from_redis_value_ref(id).map_err(|_| unexpected())?;
    if id.is_empty() {
        return Ok(None);
    }
    let position = position(&id).ok_or_else(|| foreign(&id))?;
    if matches!(fields, Value::Array(fields) if fields.is_empty()) {
        // It was deleted or trimmed.
        return Ok(Some(LastRecord { position, stream: None, closes: false }));
    }
    let fields = fields_of(fields).ok_or_else(unexpected)?;
    let (stream, record) = read(&id, &fields).ok_or_else(|| foreign(&id))?;
    Ok(Some(LastRecord { position, stream: Some(stream), closes: record.closes() }))
}

/// The error for an entry that no bridge wrote.
pub(super) fn foreign(id: &str) -> EngineError {
    EngineError {
        what: format!("no bridge wrote the entry {id} there"),
        remedy: Some("give each stream a key of its own: ?key=KEY".into()),
        is_transient: false,
    }
}

/// The error for a response of an unexpected form.
pub(super) fn unexpected() -> EngineError {
    EngineError {
        what: "the server's response has an unexpected form".into(),
        remedy: None,
        is_transient: true,
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::EngineKey;
    use proptest::prelude::*;

    use super::*;
    use crate::record::contents;

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            content in contents(),
            incarnation: u32,
            number in 0..u64::MAX - 1,
            time: u64,
            keys in prop::collection::vec(any::<u64>(), 0..=VisitedEngines::MAX),
        ) {
            let trail = VisitedEngines::of(keys.into_iter().map(EngineKey)).unwrap();
            let position = Position::new(Incarnation(incarnation), MessageNumber(number));
            let record = StreamRecord { position, time, content };
            let mut command = redis::Cmd::new();
            write(&record, &trail, &mut command);
            let mut arguments = command.args_iter().filter_map(|argument| match argument {
                redis::Arg::Simple(bytes) => Some(bytes.to_vec()),
                _ => None,
            });
            let id = String::from_utf8(arguments.next().unwrap()).unwrap();
            let count: usize = String::from_utf8(arguments.next().unwrap()).unwrap().parse().unwrap();
            let mut fields = vec![b"s".to_vec(), b"00000000000000ff".to_vec()];
            fields.extend(arguments);
            prop_assert_eq!(fields.len(), count + 2);
            let fields = Value::Array(fields.into_iter().map(Value::BulkString).collect());
            let fields = fields_of(&fields).unwrap();
            prop_assert_eq!(engines(&fields), Some(trail));
            prop_assert_eq!(read(&id, &fields), Some((StreamId(255), record)));
        }

        #[test]
        fn any_entry_is_read_or_refused(id: String, fields in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let fields = Value::Array(fields.into_iter().map(Value::BulkString).collect());
            let _ = tail(&Value::BulkString(id.clone().into_bytes()), &fields);
            if let Some(fields) = fields_of(&fields) {
                let _ = (read(&id, &fields), engines(&fields));
            }
        }
    }
}
