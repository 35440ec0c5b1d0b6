//! What tests left out because it could not be tried, as they recorded it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Names the file to which tests append what they leave out.
const VARIABLE: &str = "MCAST_SKIPS";

/// The file to which the tests of one run append what they leave out.
pub(super) struct Skips(PathBuf);

/// A line of the file.
#[derive(serde::Deserialize)]
struct Skip {
    reason: String,
}

impl Skips {
    /// Has the tests that `command` runs record what they leave out.
    pub(super) fn of(command: &mut Command) -> Result<Self> {
        static RUN: AtomicU32 = AtomicU32::new(0);
        let folder = crate::root().join("target/skips");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{run}", std::process::id()));
        fs::write(&path, "").with_context(|| format!("making {}", path.display()))?;
        // Some tests run as another user.
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .with_context(|| format!("opening {} to others", path.display()))?;
        command.env(VARIABLE, &path);
        Ok(Self(path))
    }

    /// Returns the reasons, one for each test, and removes the file.
    pub(super) fn read(self) -> Result<Vec<String>> {
        let reasons = read(&self.0)?;
        fs::remove_file(&self.0).with_context(|| format!("removing {}", self.0.display()))?;
        Ok(reasons)
    }
}

/// Returns the reasons in a file, which need not exist.
pub(super) fn read(path: &Path) -> Result<Vec<String>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let reason = |line: &str| serde_json::from_str(line).map(|skip: Skip| skip.reason);
    let reasons: Result<Vec<_>, _> = text.lines().map(reason).collect();
    reasons.with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `mcast_lab::skip` writes them, here by a shell.
    #[test]
    fn what_tests_append_is_read_and_removed() {
        let mut command = Command::new("sh");
        let line = r#"{"test":"a::b","reason":"no \"socat\""}"#;
        command.args(["-c", "for each in 1 2; do printf '%s\n' \"$0\" >>\"$MCAST_SKIPS\"; done", line]);
        let skips = Skips::of(&mut command).unwrap();
        let path = skips.0.clone();
        assert!(command.status().unwrap().success());
        assert_eq!(skips.read().unwrap(), [r#"no "socat""#; 2]);
        assert!(!path.exists());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let skips = Skips::of(&mut Command::new("true")).unwrap();
        fs::write(&skips.0, "socat\n").unwrap();
        assert!(skips.read().is_err());
    }
}
