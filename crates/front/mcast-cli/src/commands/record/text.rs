//! A recording as text.

use std::time::Duration;

use mcast_capture::{FileErrorKind, RecordedFile};
use mcast_terminal::Console;
use mcast_watch::live::FrameLosses;

use super::recording::Totals;
use crate::output::{InterfaceNames, bytes, count, count_of, seconds};
use crate::receiving::{Tally, drops_text};

/// Prints a complete file.
pub(super) fn print_file(file: &RecordedFile, console: &Console) {
    match &file.failure {
        // The reader closed the pipe, so nothing is missing.
        Some(failure) if failure.kind() == FileErrorKind::BrokenPipe => console.note(failure),
        Some(failure) => console.error(failure),
        None => {}
    }
    let (frames, length) = (count_of(file.frames, "frame"), bytes(file.bytes));
    console.note(format_args!("{}: {frames}, {length}", file.path.display()));
}

/// Prints the summary.
pub(super) fn print_summary(
    tally: &Tally,
    totals: &Totals,
    losses: FrameLosses,
    time: Duration,
    names: &mut InterfaceNames,
    console: &Console,
) {
    if console.is_quiet() {
        return;
    }
    let mut text = format!(
        "recorded {} ({} of payload) as {} in {}",
        count_of(tally.datagrams(), "datagram"),
        bytes(tally.bytes()),
        count_of(totals.frames, "frame"),
        seconds(time)
    );
    if totals.fragments > 0 {
        text += &format!(", of which {}", count_of(totals.fragments, "later fragment"));
    }
    text += &format!("; {}, {}", count_of(totals.files, "file"), bytes(totals.file_bytes));
    text += &format!("; dropped by this machine: {}", drops_text(losses.dropped));
    if losses.unreadable > 0 {
        text += &format!("; unreadable: {}", count(losses.unreadable));
    }
    console.note(text);
    if totals.unwritten > 0 {
        console.error(format_args!("{} could not be written", count_of(totals.unwritten, "frame")));
    }
    if tally.datagrams() > 0 {
        console.note(tally.table(names, console));
    }
}
