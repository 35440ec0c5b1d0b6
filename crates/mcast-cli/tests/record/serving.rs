//! Life as a service: what the manager is told, and which rights are left.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mcast_lab::{Child, Host};
use tempfile::tempdir;

use crate::support::{Lan, MCAST, PATIENCE, eventually};

const GROUP: &str = "239.1.2.3:5000";

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    /// The next message that is no sign of life.
    fn told(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

fn serve(host: &Host, socket: &Path, arguments: &[&str]) -> Child {
    let mut command = host.command(MCAST).unwrap();
    command.args(arguments).env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "200000");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_manager_hears_of_beginning_reloading_living_and_ending() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let file = folder.path().join("day.pcapng");
    let arguments = ["record", GROUP, "-i", "eth0", "-w", file.to_str().unwrap(), "--rotate", "1h"];
    let mut child = serve(&lan.b, &socket, &arguments);
    let ready = manager.told();
    assert!(ready.starts_with("READY=1\nSTATUS=Recording from the wire into "), "{ready}");
    eventually("a sign of life", || manager.next() == "WATCHDOG=1");
    child.signal(libc::SIGHUP).unwrap();
    let reloading = manager.told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(manager.told().starts_with("READY=1\n"));
    child.signal(libc::SIGTERM).unwrap();
    assert_eq!(manager.told(), "STOPPING=1");
    assert_eq!(child.wait_timeout(PATIENCE).unwrap().code(), Some(143));
}

#[test]
fn a_querier_tells_its_manager_too() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let mut child = serve(&lan.b, &socket, &["querier", "--become", "-i", "eth0"]);
    assert!(manager.told().starts_with("READY=1\n"));
    child.signal(libc::SIGTERM).unwrap();
    assert_eq!(manager.told(), "STOPPING=1");
    assert_eq!(child.wait_timeout(PATIENCE).unwrap().code(), Some(143));
}

/// The capabilities of every thread of a process: effective and permitted.
fn rights(id: u32) -> Vec<(u64, u64)> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let of = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let statuses =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok());
    statuses.map(|status| (of(&status, "CapEff:"), of(&status, "CapPrm:"))).collect()
}

#[test]
fn rights_that_are_not_needed_any_more_are_given_up_by_every_thread() {
    const DAC_OVERRIDE: u64 = 1 << 1;
    const NET_RAW: u64 = 1 << 13;
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (plain, rotated, followed) = (path("plain.pcapng"), path("rotated.pcapng"), path("followed.pcapng"));
    let cases: [(&[&str], u64); 4] = [
        (&["record", GROUP, "-i", "eth0", "-w", &plain], 0),
        (&["record", GROUP, "-i", "eth0", "-w", &rotated, "--rotate", "1h"], DAC_OVERRIDE),
        (&["record", GROUP, "-i", "eth0", "--follow", "-w", &followed], NET_RAW),
        (&["querier", "--become", "-i", "eth0"], NET_RAW),
    ];
    for (number, (arguments, left)) in cases.into_iter().enumerate() {
        let socket = folder.path().join(format!("notify{number}"));
        let manager = Manager::at(&socket);
        let child = serve(&lan.b, &socket, arguments);
        assert!(manager.told().starts_with("READY=1\n"));
        let rights = rights(child.id());
        assert!(rights.len() >= 2, "{rights:?}");
        assert!(rights.iter().all(|each| *each == (left, left)), "{arguments:?}: {rights:x?}");
        child.kill().unwrap();
    }
}

#[test]
fn units_are_what_systemd_takes_and_give_few_rights() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: units as systemd reads them: it is not installed");
        assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none_or(|value| value != "1"));
        return;
    }
    let folder = tempdir().unwrap();
    for (unit, instance) in
        [("mcast-record@.service", "record@x"), ("mcast-querier@.service", "querier@eth0")]
    {
        // Neither the command nor its manual is installed where this is tested.
        let text = std::fs::read_to_string(units.join(unit)).unwrap();
        let text = text.replace("/usr/bin/mcast ", "/bin/true ");
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .map(|line| format!("{line}\n"))
            .collect();
        let path = folder.path().join(format!("mcast-{instance}.service"));
        std::fs::write(&path, text).unwrap();
        let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && !said.contains(unit), "{said}");
        let security = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", "--threshold=25"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
    }
}

#[test]
fn notes_for_the_journal_carry_their_level() {
    use std::os::unix::fs::MetadataExt;
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = std::fs::File::create(&path).unwrap();
    let stream = format!("{}:{}", journal.metadata().unwrap().dev(), journal.metadata().unwrap().ino());
    let file = folder.path().join("x.pcapng");
    let mut command = lan.b.command(MCAST).unwrap();
    command.args(["record", GROUP, "-i", "eth0", "-W", "100ms", "-w", file.to_str().unwrap()]);
    command.env("JOURNAL_STREAM", &stream).stdout(Stdio::null()).stderr(Stdio::from(journal));
    let mut child = command.spawn().unwrap();
    child.wait_timeout(Duration::from_secs(30)).unwrap();
    let said = std::fs::read_to_string(&path).unwrap();
    assert!(said.lines().count() >= 3 && said.lines().all(|line| line.starts_with("<6>")), "{said}");
}
