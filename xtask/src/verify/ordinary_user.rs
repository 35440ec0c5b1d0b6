//! Root may do what most users may not. Where the checks run as root, this runs again, as an
//! ordinary user, what is promised to need no rights: sending and receiving, and the demonstration.

use std::path::PathBuf;

use anyhow::Result;

use super::built::{self, Built};
use super::tests;
use crate::command::{finish, program, succeeds};
use crate::step::{Manner, Outcome, Step};

/// The tests of mcast-lab are not among them: they see to this themselves.
const PACKAGE: &str = "mcast";

/// Runs each program in its folder; its arguments are pairs of both. All of them run, also after a failure.
const RUN_ALL: &str = r#"status=0
runner=$1
shift
while [ $# -gt 0 ]; do
    (cd "$1" && "$runner" "$2" --show-output) || status=$?
    shift 2
done
exit $status"#;

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("user:tests", "sending and receiving need no root, and neither do labs", |manner| {
            as_ordinary_user(|| library_tests(manner))
        }),
        Step::new("user:demo", "the demonstration needs no root", |manner| {
            as_ordinary_user(|| match built::program("mcast")? {
                Ok(mcast) => {
                    let mut command = program(runner(), [&mcast]);
                    command.arg("demo");
                    tests::run_demo(command, manner)
                }
                Err(failed) => Ok(failed),
            })
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

fn library_tests(manner: &Manner) -> Result<Outcome> {
    let programs = match built::build()? {
        Built::Programs(programs) => programs,
        Built::Failed(said) => return Ok(Outcome::failed("it does not compile", said)),
    };
    let mut command = program("sh", ["-c", RUN_ALL, "sh"]);
    command.arg(runner());
    for each in programs.iter().filter(|program| program.tests(PACKAGE)) {
        command.arg(&each.folder).arg(&each.executable);
    }
    tests::outcome(command, "libtest", manner)
}

/// Runs a program as nobody.
fn runner() -> PathBuf {
    crate::root().join("xtask/runners/ordinary-user")
}

fn user_namespaces_are_allowed() -> bool {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let unshare = ["unshare", "--user", "--map-root-user", "--net", "true"];
    succeeds(program("setpriv", nobody.into_iter().chain(unshare)))
}

pub(super) fn is_root() -> Result<bool> {
    Ok(finish(program("id", ["-u"]), false)?.output.trim() == "0")
}
