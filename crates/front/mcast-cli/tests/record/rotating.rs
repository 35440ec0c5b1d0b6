//! Rotation of files.

use tempfile::tempdir;

use crate::files::{Datagram, listed, read, read_as_far_as_it_goes, record};
use crate::schemas::assert_valid;
use crate::support::{Lan, Running, eventually, send};

const GROUP: &str = "239.1.2.3:5000";

#[test]
fn rotated_files_stay_below_the_limit_and_lose_nothing() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("day.pcapng");
    let running = record(
        &lan.b,
        &[GROUP, "-w", path.to_str().unwrap(), "--rotate", "64k", "-c", "200", "-W", "30s", "--json"],
    );
    send(&lan.a, &[GROUP, "-i", "eth0", "--random", "1200", "-c", "200", "--rate", "2kpps"]);
    let objects = running.end().succeeded().json();
    let files = listed(folder.path());
    assert_eq!(files.len(), objects.len() - 1);
    assert!(files.len() >= 4, "{files:?}");
    let mut last = None;
    let mut all = 0;
    for (file, object) in files.iter().zip(&objects) {
        assert_valid("record-file", object);
        assert_eq!(object["path"], file.to_str().unwrap());
        let length = std::fs::metadata(file).unwrap().len();
        assert!(length <= 64 << 10, "{}: {length}", file.display());
        assert_eq!(object["bytes"], length);
        let datagrams = read(file);
        assert_eq!(object["frames"], datagrams.len());
        assert!(datagrams.iter().all(|each| last.replace(each.time).is_none_or(|last| last <= each.time)));
        all += datagrams.len();
    }
    assert_eq!(all, 200);
}

#[test]
fn the_oldest_files_are_deleted_including_those_of_earlier_runs() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("ring.pcapng");
    let others = folder.path().join("ring_of_another.pcapng");
    std::fs::write(&others, "not ours").unwrap();
    for _ in 0..2 {
        let running = record(
            &lan.b,
            &[
                GROUP,
                "-w",
                path.to_str().unwrap(),
                "--rotate",
                "64k",
                "--keep",
                "2",
                "-c",
                "200",
                "-W",
                "30s",
            ],
        );
        send(&lan.a, &[GROUP, "-i", "eth0", "--random", "1200", "-c", "200", "--rate", "2kpps"]);
        running.end().succeeded();
    }
    assert!(others.exists());
    std::fs::remove_file(others).unwrap();
    let files = listed(folder.path());
    assert_eq!(files.len(), 2, "{files:?}");
    let number = |place: usize| -> u64 {
        let name = files[place].file_name().unwrap().to_str().unwrap();
        name.split('_').nth(1).unwrap().parse().unwrap()
    };
    assert!(number(0) > 5 && number(1) == number(0) + 1, "{files:?}");
    assert_eq!(read(&files[1]).last().unwrap().payload.len(), 1200);
}

/// Records with this limit: a datagram, what shall begin another file, and a second datagram.
fn in_two_files(limit: &str, begin_another: impl FnOnce(&Running)) {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("hour.pcapng");
    let running = record(&lan.b, &[GROUP, "-w", path.to_str().unwrap(), "--rotate", limit]);
    let holds = |file: usize, text: &str| {
        let files = listed(folder.path());
        files.get(file).is_some_and(|file| {
            read_as_far_as_it_goes(file).0.iter().map(Datagram::text).collect::<Vec<_>>() == [text]
        })
    };
    send(&lan.a, &[GROUP, "-i", "eth0", "first"]);
    eventually("the first datagram", || holds(0, "first"));
    begin_another(&running);
    eventually("the second file", || listed(folder.path()).len() == 2);
    send(&lan.a, &[GROUP, "-i", "eth0", "second"]);
    eventually("the second datagram", || holds(1, "second"));
    let ended = running.signalled(libc::SIGTERM);
    assert_eq!(ended.status, Some(143), "{ended:?}");
    let files: Vec<_> = listed(folder.path()).iter().map(|file| read(file).len()).collect();
    assert_eq!(files[..2], [1, 1], "{files:?}");
}

#[test]
fn a_file_ends_at_its_age() {
    in_two_files("1s", |_| {});
}

#[test]
fn a_file_ends_at_a_hang_up() {
    in_two_files("1h", |running| running.child.signal(libc::SIGHUP).unwrap());
}
