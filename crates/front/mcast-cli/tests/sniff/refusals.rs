//! Errors, with their exit status and text.

use std::process::Command;

use crate::support::{Lan, MCAST, mcast};

#[test]
fn invalid_combinations_are_refused() {
    let lan = Lan::new();
    for (arguments, words) in [
        (&["--join"][..], "--join needs a group to join"),
        (&["10.0.0.1:5000"], "is not a multicast address"),
        (&["239.1.2.0/33"], "239.1.2.0/33"),
        (&["--port", "5003-5000"], "before the first"),
        (&["--protocol", "pigeon"], "write udp, igmp"),
        (&["-w", "-", "--json"], "cannot both go to standard output"),
        (&["-s", "news.example"], "is not a valid source"),
        (&["--join", "239.0.0.0/8"], "too many groups"),
    ] {
        let ended = mcast(&lan.a, &[&["sniff"], arguments].concat());
        assert_eq!((ended.status, ended.text()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn missing_files_and_interfaces_are_named() {
    let lan = Lan::new();
    for (arguments, words) in [
        (&["-i", "eth9"][..], "eth9"),
        (&["-r", "/nowhere/x.pcap"], "/nowhere/x.pcap"),
        (&["-w", "/nowhere/x.pcap"], "/nowhere/x.pcap"),
    ] {
        let ended = mcast(&lan.a, &[&["sniff"], arguments].concat());
        assert_eq!(ended.status, Some(4), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn a_missing_right_is_reported_with_the_remedy() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        mcast_lab::skip("this test needs root, to become another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("mcast");
    assert!(Command::new("install").args(["-m", "755", MCAST]).arg(&program).status().unwrap().success());
    assert!(Command::new("chmod").arg("755").arg(folder.path()).status().unwrap().success());
    let lan = Lan::new();
    let mut command = lan.a.command("setpriv").unwrap();
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("sniff");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("cannot capture on eth0: it needs permission to capture (CAP_NET_RAW)"), "{text}");
    assert!(
        text.contains("remedy:") && text.contains("setcap cap_net_raw+ep \"$(command -v mcast)\""),
        "{text}"
    );
}
