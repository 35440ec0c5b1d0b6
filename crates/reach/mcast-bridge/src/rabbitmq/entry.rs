//! Records of a stream in RabbitMQ, as messages.

use mcast_stream::wire::{Incarnation, MessageKey, MessageNumber, StreamId, VisitedEngines};

use super::amqp::{Message, Value};
use crate::engine::{LastRecord, parse_trail, trail_text};
pub(super) use crate::engine::{id, position};
use crate::metadata::DatagramMetadata;
use crate::record::{Content, GapCause, Position, StreamRecord};

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
        number("mcast-time", *time);
        self.known.iter().for_each(|known| number("mcast-known", *known));
        self.writer.iter().for_each(|writer| number("mcast-bridge", *writer));
        let mut gap = |first: MessageNumber, end: Option<MessageNumber>, cause: GapCause| {
            message.set("mcast-kind", Value::Text("gap".into()));
            message.set("mcast-first", Value::Number(first.0));
            end.iter().for_each(|end| message.set("mcast-end", Value::Number(end.0)));
            message.set("mcast-cause", Value::Text(cause.name().into()));
        };
        match content {
            Content::Message { key, bytes } => {
                key.iter().for_each(|key| message.set("mcast-key", Value::Number(key.0)));
                message.bytes = bytes.clone();
            }
            Content::Datagram { metadata, bytes } => {
                for (field, value) in metadata.fields() {
                    message.set(&format!("mcast-{field}"), Value::Text(value));
                }
                message.bytes = bytes.clone();
            }
            Content::Gap { first, cause } => gap(*first, Some(position.number + 1), *cause),
            Content::OpenGap { cause } => gap(position.number, None, *cause),
            Content::End => message.set("mcast-kind", Value::Text("end".into())),
        }
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
        let content = match message.text("mcast-kind") {
            None if message.has("mcast-kind") => return None,
            None if message.has("mcast-group") => {
                let metadata = DatagramMetadata::parse(|field| message.text(&format!("mcast-{field}")))?;
                Content::Datagram { metadata: Box::new(metadata), bytes: message.bytes.clone() }
            }
            None => Content::Message {
                key: message.number("mcast-key").map(MessageKey),
                bytes: message.bytes.clone(),
            },
            Some("end") => Content::End,
            Some("gap") => {
                let first = MessageNumber(message.number("mcast-first")?);
                let cause = GapCause::from_name(message.text("mcast-cause")?)?;
                match message.has("mcast-end") {
                    true => Content::Gap { first, cause },
                    false => Content::OpenGap { cause },
                }
            }
            Some(_) => return None,
        };
        let after = match message.has("mcast-after") {
            true => Some(position(message.text("mcast-after")?)?),
            false => None,
        };
        Some(Self {
            stream,
            record: StreamRecord { position: position_of, time: message.number("mcast-time")?, content },
            after,
            known: message.number("mcast-known"),
            writer: message.number("mcast-bridge"),
            engines: engines(message)?,
        })
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
                record: StreamRecord { position: place((incarnation, number)), time, content },
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
