//! Processes that a cgroup has frozen, as `docker pause` and `systemctl freeze` do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::observation::RunState;

/// Where the unified hierarchy (cgroup v2) is mounted: alone, or beside those of version 1.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Where the freezer of version 1 is mounted.
const FREEZER: &str = "/sys/fs/cgroup/freezer";

/// Returns the frozen state of a process; `None` if no cgroup has frozen it.
pub(super) fn state(pid: u32) -> Option<RunState> {
    let table = table(pid);
    let unified = UNIFIED.iter().find_map(|root| {
        let path = path_in(&table, "")?;
        frozen_by(Path::new(root), path, "cgroup.freeze", "1", "0")
    });
    unified.or_else(|| {
        let path = path_in(&table, "freezer")?;
        frozen_by(Path::new(FREEZER), path, "freezer.self_freezing", "1", "THAWED").map(|state| match state {
            RunState::Frozen { file, thaw } => {
                RunState::Frozen { file: file.with_file_name("freezer.state"), thaw }
            }
            other => other,
        })
    })
}

/// Returns the path of a process in the unified hierarchy.
pub(super) fn unified_path(pid: u32) -> Option<String> {
    path_in(&table(pid), "").map(str::to_owned)
}

fn table(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

/// Returns the path in the hierarchy of a controller, from lines `NUMBER:CONTROLLERS:PATH`. The unified hierarchy lists no
/// controllers.
fn path_in<'a>(table: &'a str, controller: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|each| each == controller).then_some(path)
    })
}

/// Returns the frozen state if the cgroup or one above it is frozen. The file of the one that is decides for all below.
fn frozen_by(root: &Path, path: &str, name: &str, frozen: &str, thaw: &'static str) -> Option<RunState> {
    let own = Path::new(path.trim_start_matches('/'));
    let is_frozen = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.trim() == frozen);
    let file = own.ancestors().map(|cgroup| root.join(cgroup).join(name)).find(is_frozen)?;
    Some(RunState::Frozen { file, thaw })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "12:pids:/a\n3:cpu,freezer:/docker/7f\n1:name=systemd:/b\n0::/user.slice/x:y.scope\n";

    #[test]
    fn path_is_found_by_controller() {
        assert_eq!(path_in(TABLE, "freezer"), Some("/docker/7f"));
        assert_eq!(path_in(TABLE, ""), Some("/user.slice/x:y.scope"));
        assert_eq!(path_in(TABLE, "memory"), None);
    }

    #[test]
    fn cgroup_above_may_be_the_frozen_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/cgroup.freeze"), "1\n").unwrap();
        fs::write(folder.path().join("a/b/cgroup.freeze"), "0\n").unwrap();
        let state = |path| frozen_by(folder.path(), path, "cgroup.freeze", "1", "0");
        let file = folder.path().join("a/cgroup.freeze");
        assert_eq!(state("/a/b"), Some(RunState::Frozen { file, thaw: "0" }));
        assert_eq!(state("/c"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[0-9:a-z,/\\s\\PC]{0,100}") {
            let _ = path_in(&table, "freezer");
        }
    }
}
