//! Signed streams.

use std::fs;

use crate::schemas::assert_valid;
use crate::support::{Lan, mcast, start};
use crate::{GROUP, publisher, rotate_while_messages_arrive, subscriber};

#[test]
fn only_what_the_publisher_signs_is_delivered() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (right, wrong, public) = (path("right.key"), path("wrong.key"), path("publisher.pub"));
    let made = mcast(&lan.a, &["keys", "make", "--signing", &right]).succeeded();
    let key = made.text().trim().to_owned();
    mcast(&lan.a, &["keys", "make", "--signing", &wrong]).succeeded();
    fs::write(&public, &key).unwrap();
    let by_file = subscriber(&lan.b, &[GROUP, "--signed-by", &public]);
    let by_key = subscriber(&lan.c, &[GROUP, "--signed-by", &key]);
    let unverified = subscriber(&lan.c, &[GROUP]);

    let arguments = [GROUP, "--name", "prices", "--wait-for", "3", "--sign", &right, "signed"];
    publisher(&lan.a, &arguments).end().succeeded();
    for verified in [by_file, by_key] {
        let ended = verified.end().succeeded();
        assert_eq!(ended.text(), "signed\n");
        assert!(!ended.stderr.contains("ignoring"), "{ended:?}");
    }
    let ended = unverified.end().succeeded();
    assert_eq!(ended.text(), "signed\n");
    assert!(ended.stderr.contains("the stream is signed, which is not verified"), "{ended:?}");

    for arguments in [&["--sign", &wrong][..], &[]] {
        let distrusts = subscriber(&lan.b, &[GROUP, "--name", "prices", "--signed-by", &public, "-W", "3s"]);
        publisher(&lan.a, &[&[GROUP, "--name", "prices", "--linger", "1s"], arguments, &["forged"]].concat());
        let ended = distrusts.end();
        assert_eq!((ended.status, ended.text()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains("ignoring datagrams"), "{ended:?}");
    }
}

#[test]
fn a_signing_key_is_rotated_while_messages_arrive() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ours, theirs) = (path("signing.key"), path("publisher.pub"));
    rotate_while_messages_arrive(
        &lan,
        &["make", "--signing", &ours],
        ["--sign", &ours],
        ["--signed-by", &theirs],
        |public| fs::write(&theirs, public).unwrap(),
        ["signing with ed25519:", "read the public keys again"],
    );
}

#[test]
fn the_key_of_an_announcement_is_trusted_if_that_is_chosen() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("signing.key").display().to_string();
    let public = mcast(&lan.a, &["keys", "make", "--signing", &key]).succeeded().text().trim().to_owned();
    let trusts = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--signed-by", "announced"]);
    let pins = start(&lan.c, &["subscribe", "-i", "eth0", "prices", "--signed-by", &public]);
    let arguments = [GROUP, "--announce", "prices", "--wait-for", "2", "--sign", &key, "signed"];
    publisher(&lan.a, &arguments).end().succeeded();
    let ended = trusts.end().succeeded();
    assert_eq!(ended.text(), "signed\n");
    assert!(ended.stderr.contains(&format!("trusting {public}")), "{ended:?}");
    assert_eq!(pins.end().succeeded().text(), "signed\n");
}

#[test]
fn what_is_not_signed_cannot_be_combined_with_a_public_key() {
    let lan = Lan::new();
    let key = format!("ed25519:{}", "ab".repeat(32));
    for arguments in [&["--from", "7"][..], &["--from", "1h"], &["--heal"]] {
        let ended =
            mcast(&lan.b, &[&["subscribe", "-i", "eth0", GROUP, "--signed-by", &key], arguments].concat());
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("histories and snapshots are not signed"), "{ended:?}");
    }
    let ended = mcast(&lan.b, &["subscribe", "-i", "eth0", GROUP, "--signed-by", "announced"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
}

#[test]
fn keys_are_private_and_never_printed() {
    use std::os::unix::fs::PermissionsExt;

    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    for signing in [&["--signing"][..], &[]] {
        let path = folder.path().join(format!("{}.key", signing.len()));
        let name = path.display().to_string();
        let mut outputs = vec![mcast(&lan.a, &[&["keys", "make", &name], signing].concat()).succeeded()];
        assert_eq!(mcast(&lan.a, &[&["keys", "make", &name], signing].concat()).status, Some(4));
        for action in ["show", "rotate", "drop", "show"] {
            outputs.push(mcast(&lan.a, &["keys", action, &name]).succeeded());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{action}");
        }
        assert_eq!(outputs.iter().map(|ended| ended.lines().len()).collect::<Vec<_>>(), [1, 1, 2, 1, 1]);
        let shown = mcast(&lan.a, &["keys", "show", &name, "--json"]).succeeded();
        shown.json().iter().for_each(|key| assert_valid("key", key));
        outputs.push(shown);
        let text = fs::read_to_string(&path).unwrap();
        let secret = text.split_whitespace().last().unwrap();
        assert_eq!(secret.len(), 64);
        assert!(outputs.iter().all(|ended| !ended.text().contains(secret) && !ended.stderr.contains(secret)));
        assert_eq!(mcast(&lan.a, &["keys", "drop", &name]).status, Some(2));
    }
}
