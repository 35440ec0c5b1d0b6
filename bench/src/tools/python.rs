//! Python, and an environment of its own for what comes from its package index.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::output_of;

/// The version that is measured.
const MULTICAST_EXPERT: &str = "multicast_expert==1.6.0";

/// The interpreter's version.
pub(super) fn version() -> Result<String> {
    let version = output_of(Command::new("python3").arg("--version"))?;
    Ok(version.trim().to_owned())
}

/// Makes the environment, if it isn't there; says what is in it.
pub(super) fn environment(place: &Path, install: bool) -> Result<String> {
    if is_there(place) {
        return Ok(MULTICAST_EXPERT.to_owned());
    }
    if !install {
        bail!("{MULTICAST_EXPERT} is not installed");
    }
    eprintln!("installing {MULTICAST_EXPERT}");
    output_of(Command::new("python3").args(["-m", "venv"]).arg(place))
        .context("making a Python environment")?;
    let mut pip = Command::new(place.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MULTICAST_EXPERT]);
    output_of(&mut pip).with_context(|| format!("installing {MULTICAST_EXPERT}"))?;
    if !is_there(place) {
        bail!("{MULTICAST_EXPERT} was installed and cannot be imported");
    }
    Ok(MULTICAST_EXPERT.to_owned())
}

fn is_there(place: &Path) -> bool {
    let mut python = Command::new(place.join("bin/python"));
    output_of(python.args(["-c", "import multicast_expert"])).is_ok()
}
