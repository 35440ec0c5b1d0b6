//! The services under a systemd of their own: the first process of namespaces, in a clean Debian system.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::clean::CleanSystem;
use super::control_group::ControlGroup;
use super::scripts;
use crate::command::{finish_within, program, succeeds};
use crate::step::{Manner, Outcome};
use crate::verify::ordinary_user;

/// All that systemd gets for itself.
const NAMESPACES: [&str; 6] = ["--cgroup", "--ipc", "--mount", "--net", "--pid", "--uts"];
/// Somewhat more than `trial.service` takes at most.
const LIMIT: Duration = Duration::from_secs(330);

/// Installs `package` there and has `services.py` try what it brings.
pub(super) fn outcome(package: &Path, manner: &Manner) -> Result<Outcome> {
    if !ordinary_user::is_root()? {
        return Ok(Outcome::skipped("only root can start a systemd"));
    }
    if !can_start_systemd() {
        return Ok(Outcome::refused("this machine refuses the namespaces that systemd is started in"));
    }
    let group = match ControlGroup::new()? {
        Ok(group) => group,
        Err(why) => return Ok(Outcome::refused(why)),
    };
    let unit = scripts().join("trial.service");
    let system = match CleanSystem::with(&[package, &unit, &scripts().join("services.py")], manner)? {
        Ok(system) => system,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    // With whoever started it systemd ends, and all that it has started.
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
    // Nothing of it runs any more before its files go.
    drop(group);
    let said = fs::read_to_string(system.root().join("given/said")).unwrap_or_default();
    if manner.verbose {
        anstream::print!("{said}");
    }
    Ok(match finished {
        // A system that ended well for another reason has not said so.
        Some(finished) if finished.success => match said.lines().last() {
            Some(last) if last.ends_with(" trials passed") => Outcome::passed(last),
            _ => Outcome::failed("the system ended before its trial", finished.output + &said),
        },
        Some(finished) => Outcome::failed(finished.status, finished.output + &said),
        None => Outcome::failed(format!("not at its end after {} s", LIMIT.as_secs()), said),
    })
}

/// Whether there are such namespaces, and control groups in them.
fn can_start_systemd() -> bool {
    let mut mount = program("unshare", NAMESPACES);
    mount.args(["--fork", "mount", "-t", "cgroup2", "cgroup2"]).arg(scripts());
    succeeds(mount)
}
