//! Runs the services under a separate systemd in its own namespaces, in a clean Debian system.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::clean::CleanSystem;
use super::control_group::ControlGroup;
use super::scripts;
use crate::command::{finish_within, program, succeeds};
use crate::step::{Outcome, RunOptions};
use crate::verify::ordinary_user;

/// The namespaces that systemd gets.
const NAMESPACES: [&str; 6] = ["--cgroup", "--ipc", "--mount", "--net", "--pid", "--uts"];
/// Slightly more than the time limit of `trial.service`.
const LIMIT: Duration = Duration::from_secs(330);

/// Installs `package` there and runs `services.py`, which tests its services.
pub(super) fn outcome(package: &Path, options: &RunOptions) -> Result<Outcome> {
    if !ordinary_user::is_root()? {
        return Ok(Outcome::skipped("only root can start a systemd"));
    }
    if !can_start_systemd() {
        return Ok(Outcome::unsupported("this machine does not allow the namespaces that systemd needs"));
    }
    let group = match ControlGroup::new()? {
        Ok(group) => group,
        Err(why) => return Ok(Outcome::unsupported(why)),
    };
    let unit = scripts().join("trial.service");
    let system = match CleanSystem::with(&[package, &unit, &scripts().join("services.py")], options)? {
        Ok(system) => system,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    // systemd and all its processes end if this process does.
    let mut command = program("sh", ["-ec"]);
    command
        .arg("echo $$ > \"$1/cgroup.procs\"; shift; exec setpriv --pdeathsig KILL unshare \"$@\"")
        .arg("sh")
        .arg(group.folder())
        .args(NAMESPACES)
        .args(["--fork", "--kill-child", "sh"])
        .arg(scripts().join("boot.sh"))
        .arg(system.root());
    let finished = finish_within(command, LIMIT)?;
    // Stop its processes before its files are deleted.
    drop(group);
    let output = fs::read_to_string(system.root().join("given/output")).unwrap_or_default();
    if options.verbose {
        anstream::print!("{output}");
    }
    Ok(match finished {
        // The system may have shut down successfully without running the tests.
        Some(finished) if finished.success => match output.lines().last() {
            Some(last) if last.ends_with(" tests passed") => Outcome::passed(last),
            _ => Outcome::failed("the system shut down before the tests finished", finished.output + &output),
        },
        Some(finished) => Outcome::failed(finished.status, finished.output + &output),
        None => Outcome::failed(format!("timed out after {} s", LIMIT.as_secs()), output),
    })
}

/// Whether these namespaces, with control groups, are available.
fn can_start_systemd() -> bool {
    let mut mount = program("unshare", NAMESPACES);
    mount.args(["--fork", "mount", "-t", "cgroup2", "cgroup2"]).arg(scripts());
    succeeds(mount)
}
