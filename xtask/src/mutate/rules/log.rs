//! The rules of the log.

use super::Rule;
use crate::mutate::package::LOG;

pub(super) const RULES: &[Rule] = &[
    LOG.rule(
        "what is found in a log is synced before it is called durable",
        "rewrite(&*files, scanner, &name, index.length)?;",
        "",
    ),
    LOG.rule(
        "incarnations in a log grow, whatever the clock does",
        "let incarnation = proposed.max(least);",
        "let incarnation = proposed;",
    ),
    LOG.rule(
        "a segment is synced before the next one begins",
        "segment.file.sync().map_err(",
        "Ok::<(), io::Error>(()).map_err(",
    ),
    LOG.rule(
        "a segment is not written again after a failed write",
        "self.state = State::Broken(segment);",
        "self.state = State::Writing(segment);",
    ),
    LOG.rule(
        "after a failed sync nothing is accepted",
        "self.state = State::Failed;\n            return Err(error);",
        "return Err(error);",
    ),
    LOG.rule(
        "the name of a segment is durable before its records",
        "if let Err(cause) = self.files.sync_directory() {",
        "if let Err(cause) = Ok::<(), io::Error>(()) {",
    ),
    LOG.rule(
        "the header of a segment is durable before its name",
        "&header.bytes(), true)?;",
        "&header.bytes(), false)?;",
    ),
    LOG.rule(
        "no two segments have the same salt",
        "salt: self.salts.draw(segment),",
        "salt: 7,",
    ),
    LOG.rule(
        "a log has one writer",
        "lock.ok_or(LogError::InUse(directory))?;",
        "lock.unwrap_or_else(|| Box::new(directory));",
    ),
    LOG.rule(
        "a segment without records is removed after the next one has begun",
        "self.empty = Some(name);",
        "let _ = self.files.remove(&name.segment_file());",
    ),
    LOG.rule(
        "a batch that was refused has no numbers",
        "segment.index.restore(before);\n",
        "segment.index.restore(before);\n                self.next.number.0 += 1;\n",
    ),
    LOG.rule(
        "records of a refused batch do not count",
        "Parsed::Record(head) if end.is_some_and(|end| !head.is_before(incarnation, end)) => Parsed::End,",
        "",
    ),
    LOG.rule(
        "a reader looks again before it leaves a segment",
        "cursor.end = SegmentEnd::Suspected { next_segment, closed_before };",
        "if parsed == Parsed::End {\n            return Ok(next_segment.map_or_else(\n                || self.edge(&cursor.path, cursor.at, closed_before),\n                |_| Progress::Leave,\n            ));\n        }\n        cursor.end = SegmentEnd::Suspected { next_segment, closed_before };",
    ),
    LOG.rule(
        "a reader looks again before it reports damage",
        "if matches!(self.parse(cursor)?, Parsed::Record(_)) {",
        "if false {",
    ),
    LOG.rule(
        "damaged records are not delivered",
        "if checksum(record, salt, offset) != u32_at(bytes, CHECKSUM_AT) {",
        "if false {",
    ),
    LOG.rule(
        "an index by time is right although clocks go back",
        "latest_before: self.state.latest",
        "latest_before: time",
    ),
    LOG.rule(
        "removed segments leave no hole",
        "files.sync_directory().map_err(LogError::io(FileOperation::Sync, files.path(\"\")))?; total",
        "Ok::<(), std::io::Error>(()).map_err(LogError::io(FileOperation::Sync, files.path(\"\")))?; total",
    ),
    LOG.rule(
        "a segment that a listing lacks is not reported as lost",
        "if pairs.all(",
        "if true || pairs.all(",
    ),
    LOG.rule(
        "what is sealed with a secret that is still to be added is not passed",
        "if epoch < self.keys.latest() => (None, Some(epoch)),",
        "=> (None, Some(epoch)),",
    ),
    LOG.rule(
        "what a removed secret sealed is reported from the requested time on",
        "matches!(self.skip, Skip::Earlier(time) if head.time >= time)",
        "false",
    ),
    LOG.rule(
        "messages that subscribers may lack are in the tail",
        "Unconfirmed::Unknown => false,",
        "Unconfirmed::Unknown => true,",
    ),
    LOG.rule(
        "what was not sent is in the tail, however much it is",
        "let is_sent = unsent.is_none_or(|unsent| first.first() < unsent);",
        "let is_sent = unsent.is_none() || unsent.is_some();",
    ),
    LOG.rule(
        "retention removes nothing that is needed",
        "if end > needed {",
        "if end > NOTHING_NEEDED {",
    ),
    LOG.rule(
        "what was removed while it was read is not damage",
        "let is_removed = self.catalog.segments.first() == Some(&name);",
        "let is_removed = false;",
    ),
    LOG.rule(
        "a newest segment that was removed is noticed by its index",
        "let mut is_missing = removed.is_some();",
        "let (removed, mut is_missing) = (removed.filter(|_| false), false);",
    ),
    LOG.rule(
        "what is missing at the end of an incarnation is reported",
        "Ok(Some(scanner)) => Ok(scanner.header().follows),",
        "Ok(Some(_)) => Ok(self.next),",
    ),
    LOG.rule(
        "a damaged end that is repaired is not continued by the next publisher",
        "if self.start == LogStart::NotWhatWasLeft",
        "if false",
    ),
    LOG.rule(
        "a write that was ended is not taken for damage",
        "let is_cut = recovery.cut_bytes > 0 && !recovery.is_unfinished;",
        "let is_cut = recovery.cut_bytes > 0;",
    ),
    LOG.rule(
        "only a file that ends with a page ends with a write that was ended",
        "if length <= offset || !length.is_multiple_of(WRITE_UNIT) {",
        "if length <= offset {",
    ),
    LOG.rule(
        "a log that has less than its subscribers is not continued",
        "received.is_some_and(|received| received > recovery.next)",
        "false",
    ),
];
