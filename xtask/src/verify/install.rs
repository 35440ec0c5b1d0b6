//! `cargo verify --install`: Debian's packages, tools of cargo and toolchains that the checks need.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::ordinary_user::is_root;
use super::specialists;
use crate::command::{cargo, command_line, finish, is_ci, program, rustup, succeeds};
use crate::products;

/// Packages, and what the checks do with them. A linker is not among them: this program could not be built without one.
const PACKAGES: [(&str, &str); 42] = [
    ("avahi-daemon", "finds services through a relay, and beside ours"),
    ("avahi-utils", "finds services through a relay, and beside ours"),
    ("bsdutils", "has a terminal for the console of Wine"),
    ("chromium", "shows the page of a fleet, and plays a stream by HTTP"),
    ("curl", "is a client by HTTP"),
    ("dbus-daemon", "serves avahi"),
    ("debootstrap", "makes the clean system in which packages are tried"),
    ("default-jre-headless", "receives as programs of Java do"),
    ("faketime", "sets the clocks of programs"),
    ("ffmpeg", "has clients by HTTP"),
    ("fish", "completes commands as its users do"),
    ("g++", "builds the client of Kafka"),
    ("gcc-mingw-w64-x86-64", "links programs for Windows"),
    ("golang-go", "receives as programs of Go do"),
    ("igmpproxy", "routes beside a relay"),
    ("iperf", "sends into a network namespace"),
    ("iproute2", "makes the network of Wine"),
    ("iptables", "filters in labs as it did before nftables"),
    ("libssl-dev", "is TLS of the client of Kafka"),
    ("lintian", "says whether a package is one"),
    ("make", "builds the client of Kafka"),
    ("nftables", "filters in labs"),
    ("nodejs", "receives as programs of JavaScript do"),
    ("openssh-server", "receives the connections of a fleet"),
    ("prometheus", "checks alert rules"),
    ("python3", "runs the tests of the bindings, and against Python's sockets"),
    ("python3-scapy", "is the other end of AMT"),
    ("python3-venv", "keeps the bindings apart"),
    ("python3-zeroconf", "lists services beside ours"),
    ("rabbitmq-server", "stores what a bridge appends"),
    ("redis-server", "stores what a bridge appends"),
    ("socat", "sends and receives as others do"),
    ("strace", "sends signals at the worst time"),
    ("sudo", "makes the connections of a fleet root"),
    ("systemd", "says whether units are valid"),
    ("tcpdump", "captures as others do"),
    ("tshark", "dissects as others do"),
    ("valgrind", "counts instructions"),
    ("vlc-bin", "is a client by HTTP"),
    // The program does not depend on its plugins.
    ("vlc-plugin-base", "lets VLC receive"),
    ("wine64", "runs programs for Windows"),
    ("zsh", "completes commands as its users do"),
];

/// Tools of cargo, with the versions that the checks are written for.
const TOOLS: [(&str, &str); 4] = [
    ("cargo-deny", "0.20.2"),
    ("cargo-nextest", "0.9.143"),
    ("cargo-public-api", "0.52.0"),
    ("mdbook", "0.5.4"),
];

/// While this file exists and says so, Debian's packages do not start their services: what is tested runs in networks of
/// its own.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing, with the programs of the step `specialists` if that is selected, after the list was shown and,
/// on a terminal, confirmed.
pub(super) fn install(needs_specialists: bool, is_confirmed: bool) -> Result<()> {
    let packages = missing_packages(needs_specialists)?;
    let tools: Vec<_> = TOOLS.into_iter().filter(|(name, _)| !has_tool(name)).collect();
    let toolchain = missing_toolchain()?;
    if packages.is_empty() && tools.is_empty() && toolchain.is_none() {
        return Ok(());
    }
    let width = packages.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    anstream::println!("Missing on this machine:");
    for (name, purpose) in &packages {
        anstream::println!("  {name:<width$}  {purpose}");
    }
    for (name, version) in &tools {
        anstream::println!("  {name} {version}, by cargo");
    }
    if let Some(name) = &toolchain {
        anstream::println!("  Rust {name}, by rustup");
    }
    if !is_confirmed && !is_ci() && !confirm()? {
        bail!("nothing was installed: without --install, what needs them is skipped");
    }
    if !packages.is_empty() {
        let names: Vec<_> = packages.iter().map(|(name, _)| *name).collect();
        install_packages(&names)?;
    }
    if let Some(name) = &toolchain {
        // Where rustup cannot install one, such as without its server, the steps that need it say so.
        if let Err(error) = run(program("rustup", ["toolchain", "install", name, "--profile", "minimal"])) {
            anstream::eprintln!("Rust {name} cannot be installed: {error:#}");
        }
    }
    tools.iter().try_for_each(|(name, version)| install_tool(name, version))
}

/// Returns the packages, with those of the step `specialists` if it is selected.
fn wanted(needs_specialists: bool) -> Vec<(&'static str, &'static str)> {
    let more = specialists::PACKAGES.into_iter().filter(|_| needs_specialists);
    PACKAGES.into_iter().chain(more).collect()
}

/// Returns the packages that are not installed.
fn missing_packages(needs_specialists: bool) -> Result<Vec<(&'static str, &'static str)>> {
    let wanted = wanted(needs_specialists);
    let names: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
    let mut query = program("dpkg-query", ["--show", "--showformat", "${Package} ${db:Status-Status}\n"]);
    query.args(&names);
    let Ok(known) = finish(query, false) else {
        bail!(
            "--install is for Debian and its relatives, and there is no dpkg here: install what corresponds to {}",
            names.join(", ")
        );
    };
    Ok(missing(wanted, &known.output))
}

/// Returns the packages that are not installed, from what `dpkg-query` says of those that it knows.
fn missing(wanted: Vec<(&'static str, &'static str)>, known: &str) -> Vec<(&'static str, &'static str)> {
    let is_installed = |name: &str| known.lines().any(|line| line == format!("{name} installed"));
    wanted.into_iter().filter(|(name, _)| !is_installed(name)).collect()
}

/// Returns the oldest toolchain that must compile the published crates, unless it is installed.
fn missing_toolchain() -> Result<Option<String>> {
    let is_missing = |name: &String| !succeeds(rustup(&["run", name, "rustc", "--version"]));
    Ok(Some(products::minimum_version()?).filter(is_missing))
}

fn has_tool(name: &str) -> bool {
    match name.strip_prefix("cargo-") {
        Some(subcommand) => succeeds(cargo([subcommand, "--version"])),
        None => succeeds(program(name, ["--version"])),
    }
}

fn confirm() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: add --yes to install them");
    }
    anstream::print!("Install them? [y/N] ");
    std::io::stdout().flush().context("asking")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install_packages(names: &[&str]) -> Result<()> {
    run(as_root("apt-get", &["-qq", "update"])?)?;
    let starts_services = !Path::new(POLICY).exists();
    if starts_services {
        let script = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
        run(as_root("sh", &["-c", &script])?)?;
    }
    let options = ["-qq", "install", "--yes", "--no-install-recommends"];
    let installed = as_root("apt-get", &[&options[..], names].concat()).and_then(run);
    if starts_services {
        run(as_root("rm", &[POLICY])?)?;
    }
    installed
}

/// Builds a tool without optimizations: it takes a minute or two, and runs for a second.
fn install_tool(name: &str, version: &str) -> Result<()> {
    let folder = crate::root().join("target/tools");
    let mut command = cargo(["install", "--locked", "--debug", "--target-dir"]);
    command.arg(folder).arg(format!("{name}@{version}"));
    run(command)
}

/// Returns a command that runs as root: directly, or by sudo, which may ask for a password on a terminal.
fn as_root(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = match is_root()? {
        true => program(name, arguments),
        false => program("sudo", [&[name][..], arguments].concat()),
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

fn run(mut command: Command) -> Result<()> {
    let line = command_line(&command);
    anstream::println!("$ {line}");
    let status = command.stdin(Stdio::inherit()).status().with_context(|| format!("starting `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn a_package_is_missing_unless_it_is_installed() {
        let known: String =
            PACKAGES.iter().filter(|(name, _)| *name != "socat").map(|(name, _)| line(name)).collect();
        let missing = |known: &str| {
            missing(PACKAGES.into(), known).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };

        assert_eq!(missing(&format!("{known}socat config-files\n")), ["socat"]);
        assert_eq!(missing(&format!("{known}dpkg-query: no packages found matching socat\n")), ["socat"]);
        assert_eq!(missing("").len(), PACKAGES.len());
    }

    #[test]
    fn packages_are_listed_in_order() {
        assert!(PACKAGES.is_sorted());
    }

    fn line(name: &str) -> String {
        format!("{name} installed\n")
    }
}
