//! The summary as text: datagrams sent, timing accuracy, and omitted frames.

use mcast_capture::SkippedFrames;
use mcast_terminal::Console;
use mcast_traffic::{DispatchCounts, ReplayReport, TransmitErrors};

use crate::output::{count, count_of, seconds, traffic_in};

pub(super) fn print(report: &ReplayReport, console: &Console) {
    let DispatchCounts { sent, bytes, refused } = report.counts;
    let text = traffic_in(sent, "datagram", bytes, report.elapsed, 2);
    console.note(format_args!("sent {text}; refused by the kernel: {}", count(refused)));
    print_timing(report, console);
    if let Some(words) = skipped_text(&report.skipped) {
        console.note(format_args!("not sent: {words}"));
    }
    if report.bad_checksums > 0 {
        console.note(format_args!(
            "{} had a wrong checksum in the file; sent with a correct one",
            count_of(report.bad_checksums, "datagram")
        ));
    }
    if report.clock_jumps > 0 {
        let times = count_of(report.clock_jumps, "time");
        console.warn(format_args!("the clock was set back {times} during the recording; sent without a gap"));
    }
    if sent == 0 && refused == 0 {
        console.error("the file contains nothing that can be sent");
    }
}

fn print_timing(report: &ReplayReport, console: &Console) {
    if let Some(late) = report.late.percentiles() {
        console.note(format_args!(
            "send lateness: p50 {}, p99 {}, max {}",
            seconds(late.p50),
            seconds(late.p99),
            seconds(late.max)
        ));
    }
    let measured = match &report.transmit_errors {
        TransmitErrors::NotMeasured => return,
        TransmitErrors::Unknown => None,
        TransmitErrors::Known(errors) => {
            errors.percentiles().map(|percentiles| (errors.count(), percentiles))
        }
    };
    match measured {
        Some((datagrams, errors)) => console.note(format_args!(
            "kernel transmit times of {} are off by {} (half), {} (99%), {} (all)",
            count_of(datagrams, "datagram"),
            seconds(errors.p50),
            seconds(errors.p99),
            seconds(errors.max)
        )),
        None => console.warn("not every datagram was captured when it was sent: the accuracy is unknown"),
    }
}

/// Returns the counts of skipped frames as text; `None` if nothing was skipped.
fn skipped_text(skipped: &SkippedFrames) -> Option<String> {
    let reasons = [
        (skipped.not_udp, "not UDP"),
        (skipped.not_multicast, "not to a group"),
        (skipped.fragments, "fragments"),
        (skipped.truncated, "truncated by the capture"),
        (skipped.malformed, "malformed"),
        (skipped.unsupported_link_type, "of an unsupported link type"),
        (skipped.not_selected, "not selected"),
    ];
    let parts: Vec<_> = reasons
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, reason)| format!("{} {reason}", count(*number)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
