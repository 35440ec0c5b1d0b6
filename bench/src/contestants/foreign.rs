//! Third-party programs, with their own options.

use std::ffi::OsString;

use super::{PORT, Pace, Task, words};
use crate::network::{INTERFACE, RECEIVER, SENDER};
use crate::tools::Tools;

pub(super) fn socat_receiver(_tools: &Tools, task: &Task) -> Vec<OsString> {
    let mut from = format!("UDP4-RECV:{PORT},reuseaddr,ip-add-membership={}:{RECEIVER}", task.groups.first);
    if task.buffer > 0 {
        from += &format!(",rcvbuf={}", task.buffer);
    }
    words(["socat", "-u", "-b", "65536", &from, "OPEN:/dev/null"]).collect()
}

pub(super) fn socat_sender(_tools: &Tools, task: &Task) -> Vec<OsString> {
    let group = task.groups.first;
    let to = format!(
        "UDP4-DATAGRAM:{group}:{PORT},ip-multicast-if={SENDER},ip-multicast-ttl=1,ip-multicast-loop=0"
    );
    words(["socat", "-u", "-b", &task.size.to_string(), "OPEN:/dev/zero", &to]).collect()
}

pub(super) fn iperf_receiver(_tools: &Tools, task: &Task) -> Vec<OsString> {
    let bound = format!("{}%{INTERFACE}", task.groups.first);
    let mut program: Vec<OsString> =
        words(["iperf", "-s", "-u", "-B", &bound, "-p", &PORT.to_string()]).collect();
    if task.buffer > 0 {
        program.extend(words(["-w", &task.buffer.to_string()]));
    }
    program
}

pub(super) fn iperf_sender(_tools: &Tools, task: &Task) -> Vec<OsString> {
    let (rate, seconds) = match task.pace {
        Pace::Flood => ("100g".to_owned(), task.warm_up + task.seconds + 2.0),
        Pace::Even { rate, count } => (format!("{rate}pps"), count as f64 / f64::from(rate)),
    };
    let program = words([
        "iperf",
        "-c",
        task.groups.first,
        "-u",
        "-T",
        "1",
        "-p",
        &PORT.to_string(),
        "-l",
        &task.size.to_string(),
        "-b",
        &rate,
        "-t",
        &seconds.to_string(),
    ]);
    program.collect()
}
