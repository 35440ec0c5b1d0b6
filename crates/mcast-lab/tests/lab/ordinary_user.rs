//! All of it again as an ordinary user, when root runs the tests.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

const NOBODY: u32 = 65534;

#[test]
fn everything_works_for_an_ordinary_user_too() {
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        return; // this is one already
    }
    // A copy that nobody may read, wherever the tests were built.
    let directory = std::env::temp_dir().join(format!("mcast-lab-test-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let copy = directory.join("lab");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    for path in [&directory, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(&copy)
        .args(["--skip", "ordinary_user"])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    fs::remove_dir_all(&directory).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("hosts::multicast_crosses_a_switch ... ok"), "{text}");
}
