//! Root may do what most users may not. Where the checks run as root, this runs again, as an
//! ordinary user, what is promised to need no rights: sending and receiving, and the demonstration.

use std::process::Command;

use anyhow::Result;

use super::{targets, tests};
use crate::command::{cargo, finish, program, succeeds};
use crate::step::{Outcome, Step};

/// The tests of mcast-lab are not among them: they see to this themselves.
const PACKAGES: [&str; 1] = ["mcast"];

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("user:tests", "sending and receiving need no root, and neither do labs", |manner| {
            as_ordinary_user(|| tests::outcome(library_tests(), "cargo test", manner))
        }),
        Step::new("user:demo", "the demonstration needs no root", |manner| {
            as_ordinary_user(|| tests::run_demo(run_by_nobody(tests::demo_command()), manner))
        }),
    ]
}

fn as_ordinary_user(work: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    if !is_root()? {
        return Ok(Outcome::passed("everything here runs as an ordinary user"));
    }
    if !user_namespaces_are_allowed() {
        return Ok(Outcome::skipped("this machine refuses user namespaces to ordinary users"));
    }
    work()
}

fn library_tests() -> Command {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let head = ["test", "--quiet", "--all-features", "--no-fail-fast", "--lib", "--tests"];
    run_by_nobody(cargo(head.into_iter().chain(packages).chain(["--", "--show-output"])))
}

/// Has cargo hand what it built to the runner.
fn run_by_nobody(mut command: Command) -> Command {
    let host = targets::host().to_uppercase().replace('-', "_");
    command.env(format!("CARGO_TARGET_{host}_RUNNER"), crate::root().join("xtask/runners/ordinary-user"));
    command
}

fn user_namespaces_are_allowed() -> bool {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let unshare = ["unshare", "--user", "--map-root-user", "--net", "true"];
    succeeds(program("setpriv", nobody.into_iter().chain(unshare)))
}

pub(super) fn is_root() -> Result<bool> {
    Ok(finish(program("id", ["-u"]), false)?.output.trim() == "0")
}
