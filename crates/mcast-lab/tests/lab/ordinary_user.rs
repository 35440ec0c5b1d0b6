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

/// Not a test of its own: [`a_refusal_says_why_and_what_helps`] runs it where user namespaces are forbidden.
#[test]
#[ignore = "is started by a_refusal_says_why_and_what_helps"]
fn say_why_not() {
    let error = mcast_lab::Lab::new().unwrap_err();
    assert!(matches!(error.kind(), mcast_lab::LabErrorKind::Refused { .. }), "{error}");
    println!("WHY {error}");
    println!("REMEDY {}", error.remedy().unwrap());
}

#[test]
fn a_refusal_says_why_and_what_helps() {
    // A user namespace that allows no other inside it, and a root there without any capability.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "ordinary_user::say_why_not", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("WHY make a lab: ") && text.contains("max_user_namespaces is 0"), "{text}");
    assert!(text.contains("REMEDY ") && text.contains("sysctl user.max_user_namespaces="), "{text}");
}
