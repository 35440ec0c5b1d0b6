//! NATS JetStream.
//!
//! A stream of NATS has one subject and one message for each record. Its id (`Nats-Msg-Id`) is `INCARNATION-NUMBER`; a
//! gap's is that of the last missing message. Its headers are `Mcast-Stream`, `Mcast-Time` (when a bridge received it,
//! in milliseconds since 1970), of a message `Mcast-Key` (its key, if it has one), and of a stream that came out of engines
//! `Mcast-Origin` (which ones, 16 hexadecimal digits each, the latest first, separated by commas). Other records have
//! `Mcast-Kind`: a `gap` has `Mcast-First`, `Mcast-End` (one past the last; absent if unknown) and `Mcast-Cause`, an `end` has
//! nothing else.
//!
//! A datagram of a plain group has `Mcast-Source`, `Mcast-Group`, `Mcast-Interface`, `Mcast-Kernel-Time` (when the kernel
//! received it, in nanoseconds since 1970), `Mcast-TTL` and `Mcast-DSCP`, as far as they are known.

mod client;
#[cfg(feature = "tls")]
mod nkeys;
mod protocol;
mod sink;
mod stream;
mod target;

use mcast_stream::wire::StreamId;

use crate::engine::{Engine, Sink, Source, StoredStream, same_stream};
use crate::error::{EngineError, any};
use crate::limits::EngineRetention;
use crate::record::{Position, StreamRecord, UnixMillis};
use client::Client;
use stream::{Stored, Stream};
pub use target::NatsTarget;

impl Engine for NatsTarget {
    fn sink(&self) -> Result<Box<dyn Sink>, EngineError> {
        let stream = Stream::open(Client::connect(self)?, self)?;
        Ok(Box::new(sink::NatsSink::new(stream)))
    }

    fn source(&self) -> Result<Box<dyn Source>, EngineError> {
        Ok(Box::new(NatsSource::connect(self)?))
    }

    fn name(&self) -> &str {
        &self.stream
    }

    fn address(&self) -> String {
        self.url.servers.to_string()
    }

    fn renews_login(&self) -> bool {
        self.url.renews_login()
    }
}

/// Reads the records of a stream in NATS.
#[derive(Debug)]
pub struct NatsSource {
    /// `None` as long as it does not exist.
    stream: Option<Stream>,
    target: NatsTarget,
    /// What was stored there when that was asked, so that another stream there is an error.
    known: Option<StreamId>,
    /// The sequence after the last record that was read, and the position after it.
    next: Option<(Position, u64)>,
}

impl NatsSource {
    /// Connects to the server.
    ///
    /// # Errors
    /// If it cannot be reached or rejects the user.
    pub fn connect(target: &NatsTarget) -> Result<Self, EngineError> {
        let stream = Stream::find(Client::connect(target)?, target)?;
        Ok(Self { stream, target: target.clone(), known: None, next: None })
    }

    /// Returns the stream; `None` if it does not exist.
    fn stream(&mut self) -> Result<Option<&mut Stream>, EngineError> {
        if self.stream.is_none() {
            self.stream = Stream::find(Client::connect(&self.target)?, &self.target)?;
        }
        Ok(self.stream.as_mut())
    }
}

/// Returns the record that a message is. It is an error if that is of another stream than `known`.
fn record(stream: &Stream, known: Option<StreamId>, stored: &Stored) -> Result<StreamRecord, EngineError> {
    let (id, record) = stream.record(stored)?;
    same_stream(known, id).map(|()| record)
}

/// Returns the first message for which `is_before` is false, by bisection: its sequence and its record.
fn first_not(
    stream: &mut Stream,
    is_before: impl Fn(&StreamRecord) -> bool,
) -> Result<Option<(u64, StreamRecord)>, EngineError> {
    let Some((first, last)) = stream.info()? else { return Ok(None) };
    let (mut low, mut high) = (first, last.saturating_add(1));
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match stream.first_from(middle)? {
            Some(stored) => {
                let (_, record) = stream.record(&stored)?;
                if is_before(&record) {
                    low = stored.sequence.saturating_add(1);
                } else {
                    high = middle;
                    found = Some((stored.sequence, record));
                }
            }
            None => high = middle,
        }
    }
    Ok(found)
}

impl Source for NatsSource {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        let Some(stream) = self.stream()? else { return Ok(None) };
        let Some(last) = stream.last()? else { return Ok(None) };
        let (id, _) = stream.record(&last)?;
        let earlier = stream.engines(&last)?;
        let missing = any::unexpected(stream.client.address());
        let key = stream.key.ok_or(missing)?;
        self.known = Some(id);
        Ok(Some(StoredStream { stream: id, key, earlier }))
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        let Some(stream) = self.stream()? else { return Ok(EngineRetention::default()) };
        stream.info()?;
        Ok(stream.retention())
    }

    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        let known = self.known;
        let Some(stream) = self.stream()? else { return Ok(None) };
        let Some(last) = stream.last()? else { return Ok(None) };
        record(stream, known, &last).map(Some)
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        let (stream_id, next) = (self.known, self.next);
        let known = next.filter(|(position, _)| *position == from).map(|(_, sequence)| sequence);
        let Some(stream) = self.stream()? else { return Ok(Vec::new()) };
        let last = stream.info()?.map_or(0, |(_, last)| last);
        let sequence = match known {
            Some(sequence) if sequence > last.saturating_add(1) => None,
            known => known,
        };
        let sequence_is_known = sequence.is_some();
        let sequence = match sequence {
            // There is nothing behind it yet.
            Some(sequence) if sequence > last => return Ok(Vec::new()),
            Some(sequence) => sequence,
            None => match first_not(stream, |record| record.position < from)? {
                Some((sequence, _)) => sequence,
                None => return Ok(Vec::new()),
            },
        };
        let messages = stream.messages(sequence, count)?;
        let mut records = Vec::with_capacity(messages.len());
        for stored in &messages {
            records.push(record(stream, stream_id, stored)?);
        }
        // A stream that was deleted or set back, and appended to again, may have other sequences.
        let is_next = |record: &StreamRecord| {
            record.position.incarnation == from.incarnation
                && record.first() <= from.number
                && from <= record.position
        };
        if sequence_is_known && records.first().is_some_and(|record| !is_next(record)) {
            self.next = None;
            return self.read(from, count);
        }
        if let (Some(record), Some(stored)) = (records.last(), messages.last()) {
            self.next = Some((record.position.following(), stored.sequence.saturating_add(1)));
        }
        Ok(records)
    }

    fn find_time(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, EngineError> {
        let Some(stream) = self.stream()? else { return Ok(None) };
        Ok(first_not(stream, |record| record.time < time)?.map(|(_, record)| record))
    }
}

/// What stands for keys in a build without them.
#[cfg(not(feature = "tls"))]
mod nkeys {
    use crate::error::{EngineError, any};

    /// Credentials, of which there are none.
    pub(super) struct Credentials(std::convert::Infallible);

    impl Credentials {
        pub(super) fn find(text: &str) -> Result<Option<Self>, EngineError> {
            let remedy = "build it with the feature tls, which needs a C compiler";
            match super::target::are_credentials(text) {
                true => Err(any::not_built("keys of NATS", remedy)),
                false => Ok(None),
            }
        }

        pub(super) const fn add_to(&self, _: &mut serde_json::Value, _: &str) {
            match self.0 {}
        }
    }
}
