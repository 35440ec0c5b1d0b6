//! What `MCAST_LOG` prints.

use snapbox::{assert_data_eq, str};

use crate::support::{Lan, MCAST, program};

#[test]
fn what_the_libraries_record_is_printed_beside_the_data() {
    let lan = Lan::new();
    let recv = ["MCAST_LOG=mcast=debug", MCAST, "recv", "239.255.1.3:7000", "-W", "0.1"];
    let ended = program(&lan.a, "env", &recv, false).end();
    assert!(
        ended.stderr.contains("DEBUG receiver: mcast::receiver::control: joined group=239.255.1.3:7000"),
        "{ended:?}"
    );
    assert_eq!(ended.text(), "");

    let silent = program(&lan.a, MCAST, &["recv", "239.255.1.3:7000", "-W", "0.1"], false).end();
    assert!(!silent.stderr.contains("DEBUG"), "{silent:?}");
}

#[test]
fn the_doctor_records_each_finding_with_its_facts() {
    let lan = Lan::new();
    let down = program(&lan.a, "ip", &["link", "set", "eth0", "down"], false).end();
    assert_eq!(down.status, Some(0), "{down:?}");
    let ended = program(&lan.a, "env", &["MCAST_LOG=mcast_doctor=debug", MCAST, "doctor"], false).end();
    let records =
        |text: &str| ended.stderr.lines().any(|line| line.contains("judgement") && line.contains(text));
    assert!(records("found cause=interface-down subject=on eth0"), "{ended:?}");
    assert!(records("evidence cause=interface-down fact="), "{ended:?}");
}

#[test]
fn an_invalid_filter_is_a_usage_error() {
    let lan = Lan::new();
    let ended = program(&lan.a, "env", &["MCAST_LOG=mcast=loud", MCAST, "interfaces"], false).end();
    assert_eq!((ended.status, ended.text()), (Some(2), ""));
    assert_data_eq!(
        ended.stderr,
        str![[r#"
error: MCAST_LOG: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
remedy: write a level, such as debug, or levels of crates: mcast_stream=debug,mcast_relay=info

"#]]
    );
}
