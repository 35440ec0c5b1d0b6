//! Output for the journal, with a level before each line.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use mcast_lab::Host;
use tempfile::tempdir;

use crate::support::{Lan, MCAST, TIMEOUT, eventually};

/// Starts `mcast` with both outputs connected to a file that it takes for the journal.
fn start(host: &Host, arguments: &[&str], path: &Path) -> mcast_lab::Child {
    let journal = File::create(path).unwrap();
    let stream = format!("{}:{}", journal.metadata().unwrap().dev(), journal.metadata().unwrap().ino());
    let mut command = host.command(MCAST).unwrap();
    command.args(arguments).env("JOURNAL_STREAM", &stream);
    command.stdout(Stdio::from(journal.try_clone().unwrap())).stderr(Stdio::from(journal));
    command.spawn().unwrap()
}

#[test]
fn notes_for_the_journal_carry_their_level() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let (path, file) = (folder.path().join("journal"), folder.path().join("x.pcapng"));
    let arguments = ["record", "239.255.1.3:5000", "-i", "eth0", "-W", "100ms", "-w", file.to_str().unwrap()];
    let mut child = start(&lan.b, &arguments, &path);
    child.wait_timeout(TIMEOUT).unwrap();
    let printed = std::fs::read_to_string(&path).unwrap();
    assert!(printed.lines().count() >= 3 && printed.lines().all(|line| line.starts_with("<6>")), "{printed}");
}

#[test]
fn findings_have_the_level_of_their_severity() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    lan.b.remove_route("224.0.0.0/4", "eth0").unwrap();
    let child = start(&lan.b, &["doctor", "--watch"], &path);
    let mut printed = String::new();
    eventually("a finding in the journal", || {
        printed = std::fs::read_to_string(&path).unwrap();
        // The last line may be incomplete.
        printed.truncate(printed.rfind('\n').map_or(0, |end| end + 1));
        printed.contains(" found ")
    });
    child.kill().unwrap();
    for line in printed.lines().filter(|line| line.contains(" found ")) {
        let level = if line.contains(" fault ") {
            "<3>"
        } else if line.contains(" warning ") {
            "<4>"
        } else {
            "<6>"
        };
        assert!(line.starts_with(level), "{printed}");
    }
}
