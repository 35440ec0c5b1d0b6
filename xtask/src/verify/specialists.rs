//! The tests that compare what is discovered with what programs for one protocol each show. They are left to hosted CI and
//! `cargo soak`, because they need many programs.

use std::env;
use std::ffi::OsString;
use std::iter;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::environment;
use super::tests::run_selected;
use crate::command::{finish, program};
use crate::step::{Outcome, RunOptions, Step};

/// Packages of Debian that only these tests need, and what they show.
pub(super) const PACKAGES: [(&str, &str); 12] = [
    ("bird2", "speaks OSPF"),
    ("gir1.2-gssdp-1.6", "announces devices by SSDP"),
    ("gupnp-tools", "lists devices by SSDP"),
    ("keepalived", "speaks VRRP"),
    ("knxd", "answers as a KNX server"),
    ("libcoap3-bin", "has a CoAP server and client"),
    ("linuxptp", "is a PTP clock"),
    ("lldpd", "lists neighbors by LLDP and CDP"),
    ("miniupnpd", "announces a router by SSDP"),
    ("ola", "is an Art-Net node"),
    ("python3-gi", "announces devices by SSDP"),
    ("wsdd", "announces and finds hosts by WS-Discovery"),
];

/// Packages of Python.
const MODULES: [&str; 4] = ["cyclonedds", "dust-dds", "pi-fastdds", "sacn"];
pub(super) const PACKAGE: &str = "mcast-watch";

/// Returns a filter of nextest that selects the tests.
pub(super) fn filter() -> String {
    format!("package({PACKAGE}) & (binary(discovery_foreign) | binary(specialists))")
}

pub(crate) fn step() -> Step {
    Step::new("specialists", "what is discovered is what the programs for each protocol show", |options| {
        if !environment::has_namespaces() {
            return Ok(Outcome::skipped(environment::NO_NAMESPACES));
        }
        match install_modules(options)? {
            Some(skipped) => Ok(skipped),
            None => {
                let python = home().join("bin/python").display().to_string();
                let path = path()?.to_string_lossy().into_owned();
                let environment = [("MCAST_DDS_PYTHON", python), ("PATH", path)];
                run_selected(filter(), PACKAGE, &environment, options)
            }
        }
    })
}

fn home() -> PathBuf {
    crate::root().join("target/specialists")
}

/// Returns the path with the virtual environment first.
fn path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(iter::once(home().join("bin")).chain(env::split_paths(&path))).context("PATH")
}

/// Installs the packages of Python in a virtual environment; returns why the tests are skipped if it cannot.
fn install_modules(options: &RunOptions) -> Result<Option<Outcome>> {
    if home().join("installed").exists() {
        return Ok(None);
    }
    let mut environment = program("python3", ["-m", "venv", "--clear"]);
    environment.arg(home());
    if !finish(environment, options.verbose)?.success {
        return Ok(Some(Outcome::skipped("Python's venv is not installed (Debian's python3-venv)")));
    }
    let mut pip = program(
        home().join("bin/python"),
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"],
    );
    pip.args(MODULES);
    let fetched = finish(pip, options.verbose)?;
    if !fetched.success {
        let why = fetched.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Ok(Some(Outcome::skipped(format!("pip cannot install {}: {why}", MODULES.join(", ")))));
    }
    std::fs::write(home().join("installed"), "").context("writing target/specialists/installed")?;
    Ok(None)
}
