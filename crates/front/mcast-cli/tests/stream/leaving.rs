//! Subscribers that leave before the end, on their own or because of an error: the publisher says so, with exit status 1.

use crate::support::{Lan, MCAST, program};
use crate::{GROUP, publisher, subscriber};

const COUNT: [&str; 4] = ["--wait-for", "1", "--rate", "50pps"];

/// Publishes for two seconds.
fn arguments(words: &[String]) -> Vec<&str> {
    [GROUP].into_iter().chain(COUNT).chain(words.iter().map(String::as_str)).collect()
}

fn words() -> Vec<String> {
    (0..100).map(|number| number.to_string()).collect()
}

#[test]
fn a_subscriber_that_has_enough_does_not_have_everything() {
    let lan = Lan::new();
    let subscribing = subscriber(&lan.b, &[GROUP, "-c", "2"]);
    let ended = publisher(&lan.a, &arguments(&words())).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("0 of 1 subscriber has everything"), "{ended:?}");
    assert!(ended.stderr.contains("left before the end"), "{ended:?}");
    assert_eq!(subscribing.end().succeeded().lines(), ["0", "1"]);
}

#[test]
fn a_subscriber_whose_reader_has_enough_leaves_as_with_a_count() {
    let lan = Lan::new();
    let script = format!("{{ {MCAST} subscribe -i eth0 {GROUP}; echo \"status $?\" >&2; }} | head -n 1");
    let subscribing = program(&lan.b, "sh", &["-c", &script], false);
    subscribing.stderr.wait_for("joined");
    let ended = publisher(&lan.a, &arguments(&words())).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("left before the end"), "{ended:?}");
    let ended = subscribing.end();
    assert_eq!(ended.lines(), ["0"], "{ended:?}");
    assert!(ended.stderr.contains("status 0") && ended.stderr.contains("received "), "{ended:?}");
}

#[test]
fn a_subscriber_that_cannot_write_its_output_has_failed() {
    let lan = Lan::new();
    let script = format!("exec {MCAST} subscribe -i eth0 {GROUP} > /dev/full");
    let subscribing = program(&lan.b, "sh", &["-c", &script], false);
    subscribing.stderr.wait_for("joined");
    let ended = publisher(&lan.a, &arguments(&words())).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("0 of 1 subscriber has everything"), "{ended:?}");
    assert!(ended.stderr.contains("left because of an error"), "{ended:?}");
    let ended = subscribing.end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
}

#[test]
fn a_file_that_is_no_key_file_is_not_to_be_changed() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    std::fs::write(&path, "not a key\n").unwrap();
    let path = path.to_str().unwrap();
    for arguments in [
        &["subscribe", GROUP, "--key", path][..],
        &["publish", GROUP, "--key", path, "a"],
        &["publish", GROUP, "--sign", path, "a"],
    ] {
        let ended = crate::mcast(&lan.a, arguments);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(!ended.stderr.contains("chmod"), "{ended:?}");
    }
}

#[test]
fn a_subscriber_that_left_with_the_last_message_has_everything() {
    let lan = Lan::new();
    let subscribing = subscriber(&lan.b, &[GROUP, "-c", "2"]);
    let ended = publisher(&lan.a, &[GROUP, "--wait-for", "1", "--rate", "50pps", "a", "b"]).end().succeeded();
    assert!(ended.stderr.contains("1 of 1 subscriber has everything"), "{ended:?}");
    assert_eq!(subscribing.end().succeeded().lines(), ["a", "b"]);
}
