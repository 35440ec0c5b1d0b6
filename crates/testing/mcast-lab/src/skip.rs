//! What a test leaves out where it cannot be tried: recorded, and a failure where nothing may be left out.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// With this variable, a test fails instead of leaving something out.
const REQUIRE_ALL: &str = "MCAST_REQUIRE_ALL";
/// The file to which what is left out is appended, one [`Skip`] a line as JSON.
const SKIPS: &str = "MCAST_SKIPS";

/// A test that was not tried.
#[derive(serde::Serialize)]
struct Skip {
    /// The test: the name of the thread that it runs on.
    test: String,
    /// What it lacks.
    reason: String,
}

/// Records that the test that runs now is not tried any further, and why: on standard error, and as a line of JSON in the file
/// that the environment variable `MCAST_SKIPS` names, if it is set. The caller returns from the test.
///
/// # Panics
///
/// If the environment has `MCAST_REQUIRE_ALL`, or the file that `MCAST_SKIPS` names cannot be written.
pub fn skip(reason: impl Display) {
    assert!(std::env::var_os(REQUIRE_ALL).is_none(), "nothing may be left out: {reason}");
    let skip = Skip {
        test: std::thread::current().name().unwrap_or_default().to_owned(),
        reason: reason.to_string(),
    };
    eprintln!("{} is not tried: {}", skip.test, skip.reason);
    let Some(path) = std::env::var_os(SKIPS) else { return };
    let written = serde_json::to_string(&skip).map_err(std::io::Error::from).and_then(|line| {
        // One write: tests of several processes append to the file.
        OpenOptions::new().append(true).create(true).open(&path)?.write_all(format!("{line}\n").as_bytes())
    });
    assert!(written.is_ok(), "{}: {written:?}", path.display());
}

/// Returns whether a program is on the path, which is found out by running it with an option that ends it. Without it,
/// `purpose` is [skipped](skip).
///
/// # Panics
///
/// As [`skip`].
#[must_use]
pub fn has_program(name: &str, ending: &str, purpose: &str) -> bool {
    let started = Command::new(name)
        .arg(ending)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if started.is_err() {
        skip(format_args!("{purpose}: {name} is not installed"));
    }
    started.is_ok()
}
