//! A control group for a system in namespaces; its processes see no other control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long killed processes may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A control group, which is removed with all its descendants when this is dropped.
#[derive(Debug)]
pub(super) struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    /// Creates a group below that of this process; or returns why that is not possible.
    pub(super) fn new() -> Result<Result<Self, String>> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let (Some(hierarchy), Some(path)) = (hierarchy(&mounts), path(&own)) else {
            return Ok(Err("this machine has no control groups of version 2".to_owned()));
        };
        let folder = hierarchy.join(path).join(format!("mcast-trial-{}", std::process::id()));
        Ok(match fs::create_dir(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(why) => Err(format!("no control group can be made here: {}: {why}", folder.display())),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn is_empty(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "populated 0"))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let end = Instant::now() + EXIT_TIMEOUT;
        while !self.is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        remove(&self.folder);
    }
}

/// Removes descendants first, because only groups without children can be removed.
fn remove(folder: &Path) {
    let within = fs::read_dir(folder).into_iter().flatten().flatten();
    within.map(|entry| entry.path()).filter(|path| path.is_dir()).for_each(|path| remove(&path));
    let _ = fs::remove_dir(folder);
}

/// Returns the mount point of the version 2 hierarchy.
fn hierarchy(mounts: &str) -> Option<&Path> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut found = fields.filter(|fields| fields.get(2) == Some(&"cgroup2"));
    found.find_map(|fields| fields.get(1).copied()).map(Path::new)
}

/// Returns the path of this process's group in that hierarchy.
fn path(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_beside_version_1() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(hierarchy(mounts), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(hierarchy("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), None);
        assert_eq!(path("4:memory:/x\n0::/user.slice/a.scope\n"), Some("user.slice/a.scope"));
        assert_eq!(path("4:memory:/x\n"), None);
    }
}
