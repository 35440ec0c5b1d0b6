//! Programs and permissions that the tests need.

use std::path::PathBuf;

use super::engines;
use crate::command::{finish, program, succeeds};
use crate::step::{Outcome, Step};

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("namespaces", "network namespaces for the labs", |_| Ok(namespaces())),
        interop("python3", "the tests against Python's socket module"),
        interop("socat", "the tests against socat"),
        interop("tshark", "the tests against tshark's dissectors"),
        interop("tcpdump", "the tests against tcpdump's captures"),
        python_module("scapy", "the tests of AMT with gateways and relays of others"),
        python_module("zeroconf", "the test of services that others list"),
        interop(
            "/usr/sbin/avahi-daemon",
            "the tests of a relay between avahi daemons, and of services that others list",
        ),
        interop("/usr/sbin/igmpproxy", "the test of a relay behind a multicast router"),
        interop("iperf", "the test of a relay into a network namespace"),
        interop("redis-server", "the tests of bridges to Redis"),
        interop("/usr/lib/rabbitmq/bin/rabbitmq-server", "the tests of bridges to RabbitMQ"),
        engines::step(),
        interop("/usr/sbin/sshd", "the tests of fleets"),
        interop("sudo", "the test of fleets with sudo"),
        interop("chromium", "the test of a fleet's page"),
    ]
}

/// The message for machines without network namespaces, which labs and Wine need.
pub(super) const NO_NAMESPACES: &str =
    "this machine does not allow network namespaces (run as root, or allow user namespaces)";

/// Whether labs can run. Tries it as they do: as root, else in a user namespace.
pub(super) fn has_namespaces() -> bool {
    is_allowed(&["--net"]) || is_allowed(&["--user", "--map-root-user", "--net"])
}

/// Returns the full path of a program, if it is installed.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let found = finish(program("sh", ["-c", "command -v \"$0\"", name]), false).ok()?;
    found.success.then(|| PathBuf::from(found.output.trim()))
}

fn is_allowed(namespaces: &[&str]) -> bool {
    succeeds(program("unshare", namespaces.iter().chain(&["true"])))
}

fn namespaces() -> Outcome {
    match has_namespaces() {
        true if is_allowed(&["--net"]) => Outcome::passed("as root"),
        true => Outcome::passed("as an ordinary user, in a user namespace"),
        false => Outcome::skipped(NO_NAMESPACES),
    }
}

fn python_module(name: &'static str, serves: &'static str) -> Step {
    Step::new(format!("has:{name}"), format!("{name}, for {serves}"), move |_| {
        // Another Python than that of the system may be the first one.
        let import = format!("import {name}");
        let has_module = |python: &&str| succeeds(program(python, ["-c", &import]));
        Ok(match ["python3", "/usr/bin/python3"].iter().any(has_module) {
            true => Outcome::passed("installed"),
            false => Outcome::skipped(format!("{name} is not installed, so {serves} cannot run")),
        })
    })
}

fn interop(name: &'static str, serves: &'static str) -> Step {
    Step::new(format!("has:{name}"), format!("{name}, for {serves}"), move |_| {
        Ok(match installed(name).is_some() {
            true => Outcome::passed("installed"),
            false => Outcome::skipped(format!("{name} is not installed, so {serves} cannot run")),
        })
    })
}
