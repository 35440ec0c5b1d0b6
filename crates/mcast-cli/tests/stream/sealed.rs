//! Secrets.

use std::fs;

use crate::support::{Lan, mcast};
use crate::{GROUP, publisher, subscriber};

#[test]
fn only_who_has_the_secret_reads_it() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (right, wrong) = (path("right.key"), path("wrong.key"));
    for key in [&right, &wrong] {
        mcast(&lan.a, &["publish", "--new-key", key]).succeeded();
    }
    let knows = subscriber(&lan.b, &[GROUP, "--key", &right]);
    let others =
        [&["--key", &wrong][..], &[]].map(|key| subscriber(&lan.c, &[&[GROUP, "-W", "8s"], key].concat()));
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "--key", &right, "secret"]).end().succeeded();
    assert_eq!(knows.end().succeeded().text(), "secret\n");
    for (other, why) in others.into_iter().zip(["none was sealed with these secrets", "see --key"]) {
        let ended = other.end();
        assert_eq!((ended.status, ended.text()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}

#[test]
fn a_secret_is_made_for_its_owner_alone_and_never_over_another() {
    use std::os::unix::fs::PermissionsExt;

    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.key");
    let name = path.display().to_string();
    let ended = mcast(&lan.a, &["publish", "--new-key", &name]).succeeded();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let secret = text.split_whitespace().last().unwrap();
    assert!(secret.len() == 64 && !ended.stderr.contains(secret));

    let again = mcast(&lan.a, &["publish", "--new-key", &name]);
    assert_eq!(again.status, Some(4), "{again:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    fs::write(&path, "1 aes-128-gcm 123").unwrap();
    let broken = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--key", &name, "x"]);
    assert_eq!(broken.status, Some(2), "{broken:?}");
    assert!(broken.stderr.contains("line 1"), "{broken:?}");
}
