//! What the table of streams has no column for: fragments, order, continuity, copies, and what was not looked into.

use std::net::SocketAddr;

use mcast_watch::live::MonitorReport;
use mcast_watch::{Row, SequenceStatistics};

use crate::output::{count, count_of};

/// The maximum number of notes about streams.
const MAX_LISTED: usize = 10;

/// Returns a note for each fault of a stream, and how many there are beyond the first ones.
pub(super) fn of_streams(picture: &MonitorReport) -> (Vec<String>, usize) {
    let mut notes: Vec<_> = picture.watch.streams.iter().flat_map(|row| of_stream(row, picture)).collect();
    let more = notes.len().saturating_sub(MAX_LISTED);
    notes.truncate(MAX_LISTED);
    (notes, more)
}

fn of_stream(row: &Row, picture: &MonitorReport) -> Vec<String> {
    let to = SocketAddr::new(row.key.group.addr(), row.key.port);
    let name = format!("{to} from {} on {}", row.key.source, picture.interface(row.key.interface));
    let notes = [incomplete(row), out_of_order(row), continuity(row), copies(row)];
    notes.into_iter().flatten().map(|note| format!("{name}: {note}")).collect()
}

/// Returns a note about datagrams whose fragments did not all come.
pub(super) fn incomplete(row: &Row) -> Option<String> {
    let datagrams = count_of(row.incomplete, "datagram");
    (row.incomplete > 0).then(|| format!("{datagrams} incomplete, because fragments are missing"))
}

fn out_of_order(row: &Row) -> Option<String> {
    let numbers = row.numbers.as_ref()?;
    let late = numbers.reordered.filter(|late| *late > 0)?;
    let all = count(numbers.received);
    Some(format!("{} of {all} {} arrived out of order; they are not lost", count(late), numbers.unit))
}

/// Returns a note about faults of a transport stream that were there when it was sent.
pub(super) fn continuity(row: &Row) -> Option<String> {
    let errors = row.continuity_errors.filter(|errors| *errors > 0)?;
    let errors = count_of(errors, "continuity error");
    match row.numbers.as_ref().map(|numbers| numbers.missing) {
        Some(0) => Some(format!(
            "{errors} in the transport stream, although nothing was lost: the stream was sent with them"
        )),
        _ => Some(format!("{errors} in the transport stream")),
    }
}

/// Returns a note about copies, which hide what one of them lacks.
fn copies(row: &Row) -> Option<String> {
    /// Fewer are chance.
    const SOME: u64 = 3;
    /// In percent of what was received.
    const SHARE: u64 = 5;
    let SequenceStatistics { duplicates, received, unit, .. } = row.numbers?;
    if duplicates < SOME || duplicates.saturating_mul(100) < received.saturating_mul(SHARE) {
        return None;
    }
    let all = count(received);
    Some(format!(
        "{} of {all} {unit} are copies of others: what one copy of the stream lacks is not counted as lost if \
         another has it",
        count(duplicates)
    ))
}

/// Returns a note about frames that were not looked into.
pub(super) fn unexamined(picture: &MonitorReport) -> Option<String> {
    let frames = &picture.unexamined;
    (!frames.is_empty()).then(|| crate::output::unexamined(frames))
}

/// Returns a note about datagrams of which not even the stream is known.
pub(super) fn without_stream(picture: &MonitorReport) -> Option<String> {
    let of_streams: u64 = picture.watch.streams.iter().map(|row| row.incomplete).sum();
    let others = picture.watch.totals.incomplete.saturating_sub(of_streams);
    let datagrams = count_of(others, "further datagram");
    (others > 0).then(|| format!("{datagrams} to groups incomplete, because fragments are missing"))
}
