//! Sealed streams.

use std::fs;

use crate::support::{Lan, MCAST, mcast, program};
use crate::{GROUP, publisher, rotate_while_messages_arrive, subscriber};

#[test]
fn only_a_subscriber_with_the_secret_reads_it() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (right, wrong) = (path("right.key"), path("wrong.key"));
    for key in [&right, &wrong] {
        mcast(&lan.a, &["keys", "make", key]).succeeded();
    }
    let knows = subscriber(&lan.b, &[GROUP, "--key", &right]);
    let others =
        [&["--key", &wrong][..], &[]].map(|key| subscriber(&lan.c, &[&[GROUP, "-W", "8s"], key].concat()));
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "--key", &right, "secret"]).end().succeeded();
    assert_eq!(knows.end().succeeded().text(), "secret\n");
    for (other, why) in
        others.into_iter().zip(["none was sealed with these secrets", "check --name, and --key"])
    {
        let ended = other.end();
        assert_eq!((ended.status, ended.text()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}

#[test]
fn a_new_key_file_is_private_and_never_overwrites() {
    use std::os::unix::fs::PermissionsExt;

    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.key");
    let name = path.display().to_string();
    let ended = mcast(&lan.a, &["keys", "make", &name]).succeeded();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let secret = text.split_whitespace().last().unwrap();
    assert!(secret.len() == 64 && !ended.stderr.contains(secret));

    let again = mcast(&lan.a, &["keys", "make", &name]);
    assert_eq!(again.status, Some(4), "{again:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    fs::write(&path, "1 aes-128-gcm 123").unwrap();
    let broken = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--key", &name, "x"]);
    assert_eq!(broken.status, Some(2), "{broken:?}");
    assert!(broken.stderr.contains("line 1"), "{broken:?}");
}

#[test]
fn a_full_disk_leaves_no_file_that_is_in_the_way_and_no_half_key() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, state) = (path("a.key"), path("state"));
    // A limit of file sizes, in 512 bytes, acts as a full disk does.
    let on_full_disk = |limit: u32, arguments: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec {MCAST} {arguments}");
        program(&lan.a, "sh", &["-c", &script], false).end()
    };
    for _ in 0..2 {
        let failed = on_full_disk(0, &format!("keys make {key}"));
        assert!(failed.stderr.contains(&format!("cannot write {key}")), "{failed:?}");
    }
    let failed = on_full_disk(0, &format!("publish -i eth0 {GROUP} --name a --state {state} x"));
    assert_eq!(failed.status, Some(4), "{failed:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    mcast(&lan.a, &["keys", "make", &key]).succeeded();
    let text = format!("# {}\n{}", "x".repeat(300), fs::read_to_string(&key).unwrap());
    fs::write(&key, &text).unwrap();
    let failed = on_full_disk(1, &format!("keys rotate {key}"));
    assert!(failed.stderr.contains(&format!("cannot write {key}")), "{failed:?}");
    assert_eq!(fs::read_to_string(&key).unwrap(), text);
}

/// The steps of `docs/how-to/rotate-keys.md`, with a file of keys per host, and nothing is lost.
#[test]
fn keys_are_rotated_while_messages_arrive() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ours, theirs) = (path("publisher.key"), path("subscriber.key"));
    let give = |_: &str| fs::copy(&ours, &theirs).map(drop).unwrap();
    rotate_while_messages_arrive(
        &lan,
        &["make", &ours],
        ["--key", &ours],
        ["--key", &theirs],
        give,
        ["sealing with epoch 2", "its latest epoch is 2"],
    );
}

#[test]
fn an_invalid_key_file_is_ignored_on_reload() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("a.key").display().to_string();
    mcast(&lan.a, &["keys", "make", &key]).succeeded();
    let whole = fs::read_to_string(&key).unwrap();
    let running = subscriber(&lan.b, &[GROUP, "--key", &key]);
    fs::write(&key, "1 aes-128-gcm 123").unwrap();
    running.child.signal(libc::SIGHUP).unwrap();
    running.stderr.wait_for("keeping the current keys");
    fs::write(&key, whole).unwrap();
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "--key", &key, "secret"]).end().succeeded();
    assert_eq!(running.end().succeeded().text(), "secret\n");
}
