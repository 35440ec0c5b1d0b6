//! The log as a history of the stream.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use mcast_log::{LogError, Reader};

use super::lineage::Lineages;
use super::load;
use crate::driver::history::{HistoryProvider, HistorySource, HistoryUnavailable};
use crate::history::{GapCause, HistoryContent, HistoryRecord, Position, RequestedStart};
use crate::seal::Keys;
use crate::subscriber::Cause;
use crate::wire::{Incarnation, StreamId};

/// The log of a publisher, for the clients of a history server.
pub(super) struct LogHistory {
    pub(super) stream: StreamId,
    pub(super) directory: PathBuf,
    pub(super) keys: Arc<Mutex<Keys>>,
    pub(super) lineages: Lineages,
    /// The number before which everything may be sent.
    pub(super) sendable: Arc<AtomicU64>,
}

impl HistoryProvider for LogHistory {
    fn open(&self, stream: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
        if stream != self.stream {
            return Err(HistoryUnavailable::OtherStream);
        }
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reader = Reader::open(&self.directory, keys).map_err(|error| unreadable(&error))?;
        let (lineages, sendable) = (self.lineages.clone(), Arc::clone(&self.sendable));
        Ok(Box::new(LogSource { reader, lineages, sendable, place: None }))
    }
}

struct LogSource {
    reader: Reader,
    lineages: Lineages,
    sendable: Arc<AtomicU64>,
    /// Where the next read continues.
    place: Option<Place>,
}

/// A position in the stream, and the same place in the log, where positions have the incarnation of the publisher that
/// wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: Position,
    in_log: Position,
    /// The lineage that was read, unless its end was.
    open_lineage: Option<Incarnation>,
}

impl HistorySource for LogSource {
    fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
        let start = match start {
            RequestedStart::At(position) => return Ok(Some(position)),
            RequestedStart::Latest(number) => {
                return Ok(Some(Position::new(self.lineages.present(), number)));
            }
            RequestedStart::Oldest | RequestedStart::Time(_) => start,
        };
        let found = self.reader.seek(start).map_err(|error| unreadable(&error))?;
        Ok(found.map(|found| Position { incarnation: self.lineages.of(found.incarnation), ..found }))
    }

    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
        let place = match self.place.filter(|place| place.position == from) {
            Some(place) => place,
            None => match self.find(from).map_err(|error| unreadable(&error))? {
                Some(place) => place,
                None => return Ok(Vec::new()),
            },
        };
        let records = self.reader.read(place.in_log, count).map_err(|error| unreadable(&error))?;
        let sendable = load(&self.sendable);
        let is_sent = |record: &HistoryRecord<Arc<[u8]>>| match record.content {
            HistoryContent::Message { .. } => record.first.number < sendable,
            _ => record.first.number <= sendable,
        };
        let mut place = place;
        let mut translated = Vec::with_capacity(records.len());
        for record in records.into_iter().take_while(is_sent) {
            self.pass(record, &mut place, &mut translated);
        }
        self.place = Some(place);
        Ok(translated)
    }
}

impl LogSource {
    /// Translates a record, and advances the place behind it.
    fn pass(
        &self,
        record: HistoryRecord<Arc<[u8]>>,
        place: &mut Place,
        translated: &mut Vec<HistoryRecord<Arc<[u8]>>>,
    ) {
        let lineage = self.lineages.of(record.first.incarnation);
        if let Some(open) = place.open_lineage.filter(|open| *open != lineage) {
            // It did not end: what subscribers have received of it beyond the log is unknown.
            let content = HistoryContent::OpenGap { cause: GapCause::Lost(Cause::Restart) };
            let first = Position::new(open, place.position.number.min(record.first.number));
            translated.push(HistoryRecord { first, content });
        }
        let closes = matches!(record.content, HistoryContent::End | HistoryContent::OpenGap { .. });
        place.open_lineage = (!closes).then_some(lineage);
        let end = if closes { record.first.following() } else { record.end() };
        place.in_log = end;
        place.position = Position { incarnation: lineage, ..end };
        translated.push(HistoryRecord { first: Position { incarnation: lineage, ..record.first }, ..record });
    }

    /// Finds the place of a position in the log; `None` if the log is empty.
    fn find(&mut self, from: Position) -> Result<Option<Place>, LogError> {
        let starts = self.reader.starts()?;
        let lineage = |start: &Position| self.lineages.of(start.incarnation);
        let later = starts.iter().find(|start| lineage(start) > from.incarnation);
        let is_past = |start: &Position| lineage(start) <= from.incarnation && start.number <= from.number;
        let (in_log, open_lineage) = match (starts.iter().rfind(|start| is_past(start)), later) {
            // Everything of this lineage, and its end, comes before.
            (_, Some(later)) if from.number > later.number => (*later, None),
            (Some(start), _) => (
                Position { number: from.number, ..*start },
                Some(lineage(start)).filter(|of| *of == from.incarnation),
            ),
            (None, later) => match starts.first().or(later) {
                Some(first) => (*first, None),
                None => return Ok(None),
            },
        };
        Ok(Some(Place { position: from, in_log, open_lineage }))
    }
}

fn unreadable(error: &LogError) -> HistoryUnavailable {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    HistoryUnavailable::Unreadable(text)
}
