//! Programs with our command line: those in Rust, C and Python.

use std::ffi::OsString;

use super::{Input, Kind, Metadata, PORT, Pace, Task, Trains, words};
use crate::network::{INTERFACE, RECEIVER, SENDER};
use crate::tools::Tools;

/// Datagrams per segmented buffer of a paced sender: few, so that they are evenly spaced.
const PACED_TRAIN: &str = "4";

/// Returns the command line of a program in a role.
pub(super) fn program(kind: Kind, tools: &Tools, role: &str, task: &Task) -> Vec<OsString> {
    let mut program = match kind {
        Kind::Rust(name, trains) => {
            let mut program = vec![tools.this().into(), "peer".into(), name.into(), role.into()];
            program.extend((trains == Trains::Off).then(|| "--no-trains".into()));
            program
        }
        Kind::Python(script, how, need) => {
            let mut program = vec![tools.python(need).into(), tools.script(script).into(), role.into()];
            program.extend(words(["--how", how]));
            program
        }
        Kind::Reference(..) | Kind::Socat | Kind::Iperf | Kind::Command(_) => {
            reference(kind, tools, role, task)
        }
    };
    program.extend(options(role, task));
    program
}

/// Returns the command line of `mcast recv`.
pub(super) fn command(tools: &Tools, input: Input, task: &Task) -> Vec<OsString> {
    let group = format!("{}:{PORT}", task.groups.first);
    let mut program = vec![tools.mcast().into(), "recv".into(), group.into()];
    program.extend(words(["-i", INTERFACE, "--discard", "--json"]));
    if input == Input::Wire {
        program.extend(words(["--wire", "require"]));
    }
    if task.buffer > 0 {
        program.extend(words(["--buffer", &task.buffer.to_string()]));
    }
    program
}

fn reference(kind: Kind, tools: &Tools, role: &str, task: &Task) -> Vec<OsString> {
    let Kind::Reference(calls, metadata) = kind else { return Vec::new() };
    let mut program = vec![tools.reference().into(), role.into()];
    program.extend(words(["--calls", calls]));
    program.extend((metadata == Metadata::Dropped).then(|| "--bare".into()));
    if let (Pace::Even { rate, count }, "send") = (task.pace, role) {
        program.extend(words(["--rate", &rate.to_string(), "--count", &count.to_string()]));
        program.extend(words(["--train", PACED_TRAIN]));
    }
    program
}

fn options(role: &str, task: &Task) -> Vec<OsString> {
    let address = if matches!(role, "send" | "ping") { SENDER } else { RECEIVER };
    let mut all: Vec<OsString> = words([
        "--group",
        task.groups.first,
        "--port",
        &PORT.to_string(),
        "--interface",
        INTERFACE,
        "--address",
        address,
        "--size",
        &task.size.to_string(),
        "--warm-up",
        &task.warm_up.to_string(),
        "--seconds",
        &task.seconds.to_string(),
    ])
    .collect();
    if task.groups.count > 1 {
        all.extend(words(["--groups", &task.groups.count.to_string()]));
    }
    if task.buffer > 0 {
        all.extend(words(["--buffer", &task.buffer.to_string()]));
    }
    if let (Pace::Even { .. }, "receive") = (task.pace, role) {
        all.push("--to-idle".into());
    }
    if let (Pace::Even { rate, .. }, "ping" | "pong" | "clock") = (task.pace, role) {
        all.extend(words(["--rate", &rate.to_string()]));
    }
    all
}
