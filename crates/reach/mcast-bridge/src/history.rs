//! Serving what an engine stores to subscribers, as the history of a stream.

use std::sync::{Arc, Mutex, PoisonError};

use mcast_stream::history::{HistoryContent, HistoryRecord, RequestedStart};
use mcast_stream::wire::StreamId;
use mcast_stream::{HistoryProvider, HistorySource, HistoryUnavailable};

use crate::engine::{EngineError, Source, SourceConnector};
use crate::record::{Content, Position, StreamRecord};

/// The history of a stream in an engine, for [`HistoryListener::serve`](mcast_stream::HistoryListener::serve). Each
/// client of the server has a connection to the engine of its own.
pub struct EngineHistory {
    connector: Mutex<Box<dyn SourceConnector>>,
}

struct EngineHistorySource(Box<dyn Source>);

impl EngineHistory {
    /// Returns the history in this engine.
    #[must_use]
    pub fn new(connector: Box<dyn SourceConnector>) -> Self {
        Self { connector: Mutex::new(connector) }
    }
}

impl HistoryProvider for EngineHistory {
    fn open(&self, stream: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
        let mut source =
            self.connector.lock().unwrap_or_else(PoisonError::into_inner).connect().map_err(unreadable)?;
        match source.stored().map_err(unreadable)? {
            Some(stored) if stored.stream != stream => Err(HistoryUnavailable::OtherStream),
            // If nothing is stored yet, there is nothing to read.
            _ => Ok(Box::new(EngineHistorySource(source))),
        }
    }
}

impl HistorySource for EngineHistorySource {
    fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
        let first = |record: StreamRecord| Position::new(record.position.incarnation, record.first());
        Ok(match start {
            RequestedStart::At(position) => Some(position),
            RequestedStart::Oldest => {
                self.0.read(Position::START, 1).map_err(unreadable)?.into_iter().next().map(first)
            }
            RequestedStart::Time(time) => self.0.find_time(time).map_err(unreadable)?.map(first),
            RequestedStart::Latest(number) => {
                let last = self.0.last().map_err(unreadable)?;
                last.map(|last| Position::new(last.position.incarnation, number))
            }
        })
    }

    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
        let records = self.0.read(from, count).map_err(unreadable)?;
        records.into_iter().map(history_record).collect()
    }
}

fn history_record(record: StreamRecord) -> Result<HistoryRecord<Arc<[u8]>>, HistoryUnavailable> {
    let first = Position::new(record.position.incarnation, record.first());
    let content = match record.content {
        Content::Message { key, bytes } => HistoryContent::Message { key, bytes },
        Content::Gap { cause, .. } => HistoryContent::Gap { end: record.position.following().number, cause },
        Content::OpenGap { cause } => HistoryContent::OpenGap { cause },
        Content::End => HistoryContent::End,
        Content::Datagram { .. } => {
            return Err(HistoryUnavailable::Unreadable("it has datagrams of groups, not a stream".into()));
        }
    };
    Ok(HistoryRecord { first, content })
}

fn unreadable(error: EngineError) -> HistoryUnavailable {
    HistoryUnavailable::Unreadable(error.what)
}

impl std::fmt::Debug for EngineHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHistory").finish_non_exhaustive()
    }
}
