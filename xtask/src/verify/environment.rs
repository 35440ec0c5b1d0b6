//! What the machine must have so that every test can run.

use crate::command::{program, succeeds};
use crate::step::{Outcome, Step};

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("namespaces", "network namespaces for the labs", |_| Ok(namespaces())),
        interop("python3", "the tests against Python's socket module"),
        interop("socat", "the tests against socat"),
    ]
}

/// True where the environment says that this is continuous integration.
pub(super) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// Asks the kernel the way the lab does: as root, else in a user namespace.
fn namespaces() -> Outcome {
    let unshare = |arguments: &[&str]| succeeds(program("unshare", arguments));
    if unshare(&["--net", "true"]) {
        return Outcome::passed("as root");
    }
    if unshare(&["--user", "--map-root-user", "--net", "true"]) {
        return Outcome::passed("as an ordinary user, in a user namespace");
    }
    Outcome::skipped(
        "this machine refuses network namespaces (run as root, or allow user namespaces), so no lab test can run",
    )
}

fn interop(name: &'static str, serves: &'static str) -> Step {
    let version = if name == "socat" { "-V" } else { "--version" };
    Step::new(format!("has:{name}"), format!("{name}, for {serves}"), move |_| {
        Ok(match succeeds(program(name, [version])) {
            true => Outcome::passed("installed"),
            false => Outcome::skipped(format!("{name} is not installed, so {serves} can't run")),
        })
    })
}
