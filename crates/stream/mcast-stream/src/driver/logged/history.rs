//! The log as a history of the stream.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use mcast_log::{Lineage, Lineages, LogError, LogReader};

use super::load;
use crate::driver::history::{HistoryProvider, HistorySource, HistoryUnavailable};
use crate::history::{GapCause, HistoryContent, HistoryRecord, Position, RequestedStart};
use crate::seal::Keys;
use crate::subscriber::Cause;
use crate::wire::StreamId;

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
        let reader = LogReader::open(&self.directory, keys).map_err(|error| unreadable(&error))?;
        let (lineages, sendable) = (self.lineages.clone(), Arc::clone(&self.sendable));
        Ok(Box::new(LogSource { reader, lineages, sendable, mark: None }))
    }
}

struct LogSource {
    reader: LogReader,
    lineages: Lineages,
    sendable: Arc<AtomicU64>,
    /// Where the next read continues.
    mark: Option<Mark>,
}

/// A position in the stream, and the same place in the log, where positions have the incarnation of the publisher that
/// wrote them, and numbers continue over the ends of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: Position,
    in_log: Position,
    /// The lineage that was read, unless its end was.
    open_lineage: Option<Lineage>,
}

impl HistorySource for LogSource {
    fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
        let start = match start {
            RequestedStart::At(position) => return Ok(Some(position)),
            RequestedStart::Latest(number) => {
                return Ok(Some(Position::new(self.lineages.present().incarnation, number)));
            }
            RequestedStart::Oldest | RequestedStart::Time(_) => start,
        };
        let found = self.reader.seek(start).map_err(|error| unreadable(&error))?;
        Ok(found.map(|found| in_stream(self.lineages.of(found.incarnation), found)))
    }

    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
        let mark = match self.mark.filter(|mark| mark.position == from) {
            Some(mark) => mark,
            None => match self.find(from).map_err(|error| unreadable(&error))? {
                Some(mark) => mark,
                None => return Ok(Vec::new()),
            },
        };
        let records = self.reader.read(mark.in_log, count).map_err(|error| unreadable(&error))?;
        let sendable = load(&self.sendable);
        let is_sent = |record: &HistoryRecord<Arc<[u8]>>| match record.content {
            HistoryContent::Message { .. } => record.first.number < sendable,
            _ => record.first.number <= sendable,
        };
        let mut mark = mark;
        let mut translated = Vec::with_capacity(records.len());
        for record in records.into_iter().take_while(is_sent) {
            self.pass(record, &mut mark, &mut translated);
        }
        self.mark = Some(mark);
        Ok(translated)
    }
}

impl LogSource {
    /// Translates a record, and moves the mark behind it.
    fn pass(
        &self,
        record: HistoryRecord<Arc<[u8]>>,
        mark: &mut Mark,
        translated: &mut Vec<HistoryRecord<Arc<[u8]>>>,
    ) {
        let lineage = self.lineages.of(record.first.incarnation);
        if let Some(open) = mark.open_lineage.filter(|open| *open != lineage) {
            // It did not end: what subscribers have received of it beyond the log is unknown.
            let content = HistoryContent::OpenGap { cause: GapCause::Lost(Cause::Restart) };
            let first = in_stream(open, record.first);
            translated.push(HistoryRecord { first, content });
        }
        let closes = matches!(record.content, HistoryContent::End | HistoryContent::OpenGap { .. });
        mark.open_lineage = (!closes).then_some(lineage);
        let end = if closes { record.first.following() } else { record.end() };
        mark.in_log = end;
        mark.position = in_stream(lineage, end);
        let first = in_stream(lineage, record.first);
        let content = match record.content {
            HistoryContent::Gap { end, cause } => HistoryContent::Gap { end: lineage.in_stream(end), cause },
            content => content,
        };
        translated.push(HistoryRecord { first, content });
    }

    /// Finds where a position is in the log; `None` if the log is empty.
    fn find(&mut self, from: Position) -> Result<Option<Mark>, LogError> {
        let starts = self.reader.starts()?;
        let number = self.lineages.of(from.incarnation).in_log(from.number);
        let lineage = |start: &Position| self.lineages.of(start.incarnation);
        let later = starts.iter().find(|start| lineage(start).incarnation > from.incarnation);
        let is_past =
            |start: &Position| lineage(start).incarnation <= from.incarnation && start.number <= number;
        let (in_log, open_lineage) = match (starts.iter().rfind(|start| is_past(start)), later) {
            // Everything of this lineage, and its end, comes before.
            (_, Some(later)) if number > later.number => (*later, None),
            (Some(start), _) => {
                let open = Some(lineage(start)).filter(|of| of.incarnation == from.incarnation);
                (Position { number, ..*start }, open)
            }
            (None, later) => match starts.first().or(later) {
                Some(first) => (*first, None),
                None => return Ok(None),
            },
        };
        Ok(Some(Mark { position: from, in_log, open_lineage }))
    }
}

/// Returns the position in the stream of one in the log.
const fn in_stream(lineage: Lineage, in_log: Position) -> Position {
    Position { incarnation: lineage.incarnation, number: lineage.in_stream(in_log.number) }
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
