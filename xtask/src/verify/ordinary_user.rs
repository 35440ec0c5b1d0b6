//! If the checks run as root, runs again as an ordinary user what must not need privileges: sending and receiving, and
//! the demonstration.

use std::path::PathBuf;

use anyhow::Result;

use super::built::{self, Built};
use super::tests;
use crate::command::{finish, program, succeeds};
use crate::step::{Outcome, RunOptions, Step};

/// The tests of mcast-lab drop privileges themselves.
const PACKAGE: &str = "mcast";

/// Runs each program in its folder; the arguments are pairs of folder and program. A failure does not stop the others.
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
        Step::new("user:tests", "sending, receiving and labs do not need root", |options| {
            as_ordinary_user(|| library_tests(options))
        }),
        Step::new("user:demo", "the demonstration does not need root", |options| {
            as_ordinary_user(|| match built::program("mcast")? {
                Ok(mcast) => {
                    let mut command = program(runner(), [&mcast]);
                    command.arg("demo");
                    tests::run_demo(command, options)
                }
                Err(failed) => Ok(failed),
            })
        }),
    ]
}

fn as_ordinary_user(work: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    if !is_root()? {
        return Ok(Outcome::passed("all steps run as an ordinary user"));
    }
    if !user_namespaces_are_allowed() {
        return Ok(Outcome::skipped("this machine does not allow user namespaces for ordinary users"));
    }
    work()
}

fn library_tests(options: &RunOptions) -> Result<Outcome> {
    let programs = match built::build()? {
        Built::Programs(programs) => programs,
        Built::Failed(messages) => return Ok(Outcome::failed("it does not compile", messages)),
    };
    let mut command = program("sh", ["-c", RUN_ALL, "sh"]);
    command.arg(runner());
    for each in programs.iter().filter(|program| program.tests(PACKAGE)) {
        command.arg(&each.folder).arg(&each.executable);
    }
    tests::outcome(command, "libtest", options)
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
