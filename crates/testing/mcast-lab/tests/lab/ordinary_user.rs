//! All tests again as an ordinary user, when root runs the tests.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

const NOBODY: u32 = 65534;

#[test]
fn all_tests_pass_as_an_ordinary_user() {
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        return; // this is an ordinary user already
    }
    // A copy that the user `nobody` may read, wherever the tests were built.
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

/// Not a test of its own: [`a_refusal_reports_its_reason_and_a_remedy`] runs it where user namespaces are forbidden.
#[test]
#[ignore = "is started by a_refusal_reports_its_reason_and_a_remedy"]
fn print_refusal() {
    let error = mcast_lab::Lab::new().unwrap_err();
    assert!(matches!(error.kind(), mcast_lab::LabErrorKind::Refused { .. }), "{error}");
    println!("WHY {error}");
    println!("REMEDY {}", error.remedy().unwrap());
}

#[test]
fn a_refusal_reports_its_reason_and_a_remedy() {
    // A user namespace that does not allow nested ones, with a root user that has no capabilities.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "ordinary_user::print_refusal", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("WHY create a lab: ") && text.contains("max_user_namespaces is 0"), "{text}");
    assert!(text.contains("REMEDY ") && text.contains("sysctl user.max_user_namespaces="), "{text}");
}
