//! Where and when something was measured.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// A machine, in words.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of it can be used.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The system.
    pub system: String,
    /// The limit of receive buffers, in bytes (`net.core.rmem_max`).
    pub rmem_max: String,
    /// Compiler and peers, with versions.
    pub versions: Vec<String>,
    /// The day (UTC).
    pub date: String,
    /// The last commit of what was measured, with a `+` where files of it were changed.
    pub commit: String,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here(versions: Vec<String>) -> Self {
        Self {
            processor: field("/proc/cpuinfo", "model name", ':').unwrap_or_else(unknown),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            system: field("/etc/os-release", "PRETTY_NAME", '=')
                .map_or_else(unknown, |name| name.trim_matches('"').to_owned()),
            rmem_max: line("/proc/sys/net/core/rmem_max"),
            versions,
            date: said_by(Command::new("date").args(["--utc", "+%Y-%m-%d"])).unwrap_or_else(unknown),
            commit: commit().unwrap_or_else(unknown),
        }
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        said_by(Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments))
    };
    // Later commits, such as those of figures, have not changed what is measured.
    let commit = git(&["log", "-1", "--format=%h", "--", "../crates", "../Cargo.lock"])?;
    let changed = git(&["status", "--porcelain", "--", "../crates", "../Cargo.lock"])?;
    Some(if changed.is_empty() { commit } else { commit + "+" })
}

fn said_by(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn field(path: &str, name: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(separator)?.1.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}
