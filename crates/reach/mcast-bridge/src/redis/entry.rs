//! Entries of a Redis stream: their ids and fields.

use std::sync::Arc;

use mcast_stream::wire::{Incarnation, MessageNumber, StreamId, VisitedEngines};
use redis::Value;

use super::wire::Commands;
use crate::engine::{LastRecord, parse_trail, trail_text};
use crate::error::{EngineError, any};
use crate::record::{Content, FieldValue, Position, StoredFields, StreamRecord, UnixMillis};

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

/// Returns the number of the fields and values of a record, except for `s`.
pub(super) fn words(record: &StreamRecord, engines: &VisitedEngines) -> usize {
    let mut words = if engines.is_empty() { 2 } else { 4 };
    record.content.write(record.position, |_, _| words += 2);
    words + if record.content.bytes().is_some() { 2 } else { 0 }
}

/// Appends the fields and values of a record, except for `s`.
pub(super) fn write(record: &StreamRecord, engines: &VisitedEngines, commands: &mut Commands) {
    commands.word("t").number(record.time.0);
    if !engines.is_empty() {
        commands.word("o").word(trail_text(engines));
    }
    record.content.write(record.position, |name, value| {
        let commands = commands.word(short(name));
        match value {
            FieldValue::Number(number) => commands.number(number),
            FieldValue::Text(text) => commands.word(text),
        };
    });
    if let Some(bytes) = record.content.bytes() {
        commands.word("d").word(bytes);
    }
}

/// Returns the name of a field in Redis.
fn short(name: &str) -> &str {
    if name == "key" { "k" } else { name }
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
}

impl<'a> StoredFields<'a> for Fields<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(short(name))?).ok()
    }

    fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
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
    let content = Content::read(&fields, || fields.bytes("d").map(Arc::from))?;
    Some((stream, StreamRecord { position: position(id)?, time: UnixMillis(fields.number("t")?), content }))
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
    any::foreign(format_args!("the entry {id} there"), "give each stream a key of its own: ?key=KEY")
}

/// The error for a response of an unexpected form.
pub(super) fn unexpected() -> EngineError {
    any::unexpected("the server")
}

/// Reads entries: arrays of an id and an array of fields and values.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedEntries<'a> {
    bytes: &'a [u8],
    /// The number of entries that follow.
    left: usize,
}

impl<'a> PackedEntries<'a> {
    /// Returns the entries of a part of a response; `None` if it has another form.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut entries = Self { bytes, left: 0 };
        entries.left = entries.array()?;
        Some(entries)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Returns the id of the next entry, and replaces the fields by its own; `None` if it has another form.
    pub(super) fn next(&mut self, fields: &mut Vec<Field<'a>>) -> Option<&'a str> {
        fields.clear();
        self.left = self.left.checked_sub(1)?;
        if self.array()? != 2 {
            return None;
        }
        let id = std::str::from_utf8(self.text()?).ok()?;
        let count = self.array()?;
        if count % 2 != 0 {
            return None;
        }
        for _ in 0..count / 2 {
            fields.push((self.text()?, self.text()?));
        }
        Some(id)
    }

    /// Returns the length of an array.
    fn array(&mut self) -> Option<usize> {
        match self.number(1)? {
            tag @ 0x90..=0x9f => Some(tag & 0x0f),
            0xdc => self.number(2),
            0xdd => self.number(4),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = match self.number(1)? {
            tag @ 0xa0..=0xbf => tag & 0x1f,
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            0xdb => self.number(4)?,
            _ => return None,
        };
        self.take(length)
    }

    /// Returns a number of this many bytes.
    fn number(&mut self, length: usize) -> Option<usize> {
        Some(self.take(length)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
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
            let record = StreamRecord { position, time: UnixMillis(time), content };
            let mut commands = Commands::default();
            commands.command(3 + words(&record, &trail)).id(position).word("s").word("00000000000000ff");
            write(&record, &trail, &mut commands);
            // A command has the form of a response.
            let Value::Array(mut fields) = redis::parse_redis_value(commands.bytes()).unwrap() else { unreachable!() };
            let id: String = redis::from_redis_value(fields.remove(0)).unwrap();
            prop_assert_eq!(&id, &super::id(position));
            let fields = Value::Array(fields);
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

    fn array(length: usize) -> Vec<u8> {
        match length {
            0..=15 => vec![0x90 | length as u8],
            _ => [&[0xdc][..], &(length as u16).to_be_bytes()].concat(),
        }
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len();
        let head = match length {
            0..=31 => vec![0xa0 | length as u8],
            32..=255 => vec![0xd9, length as u8],
            256..=65_535 => [&[0xda][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[0xdb][..], &(length as u32).to_be_bytes()].concat(),
        };
        [&head[..], bytes].concat()
    }

    /// The id of an entry, and its fields.
    type ReadEntry = (String, Vec<(Vec<u8>, Vec<u8>)>);

    fn read_all(bytes: &[u8]) -> Option<Vec<ReadEntry>> {
        let (mut entries, mut fields, mut all) = (PackedEntries::new(bytes)?, Vec::new(), Vec::new());
        while !entries.is_empty() {
            let id = entries.next(&mut fields)?.to_owned();
            all.push((id, fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()));
        }
        Some(all)
    }

    /// Texts of all lengths that differ in how they are packed.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0..40_usize, 200..300_usize, Just(65_535_usize), Just(70_000_usize)];
        length.prop_map(|length| (0..length).map(|at| at as u8).collect())
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_were_packed(
            entries in prop::collection::vec((".{0,40}", prop::collection::vec((texts(), texts()), 0..20)), 0..20),
        ) {
            let mut bytes = array(entries.len());
            for (id, fields) in &entries {
                bytes.extend([array(2), text(id.as_bytes()), array(2 * fields.len())].concat());
                fields.iter().for_each(|(name, value)| bytes.extend([text(name), text(value)].concat()));
            }
            prop_assert_eq!(read_all(&bytes), Some(entries));
        }

        #[test]
        fn any_bytes_are_read_or_refused(head in prop::sample::select(vec![0x92_u8, 0x9f, 0xdc, 0xdd]), bytes: Vec<u8>) {
            let bytes = [&[head], &bytes[..]].concat();
            if let Some(all) = read_all(&bytes) {
                prop_assert!(all.len() <= bytes.len());
            }
        }
    }
}
