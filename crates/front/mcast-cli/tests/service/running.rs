//! The command line of each unit in a lab, with exactly the rights that the unit gives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mcast_lab::Host;

use crate::manager::{ServiceManager, allow};
use crate::rights::{
    BPF, DAC_OVERRIDE, DAC_READ_SEARCH, NET_ADMIN, NET_BIND_SERVICE, NET_RAW, PERFMON, Rights, SYS_PTRACE,
    SYSLOG,
};
use crate::support::{Lan, MCAST, Running, eventually, mcast, program, send};
use crate::unit::{UNITS, Unit};

const GROUP: &str = "239.255.1.3:5000";

/// A unit's service on host `b`, and the manager that has started it.
struct Served {
    lan: Lan,
    manager: ServiceManager,
    unit: Unit,
    running: Running,
    /// The engine of a bridge.
    _engine: Option<Running>,
}

impl Served {
    /// Starts it, and waits until it is ready.
    fn start(name: &str) -> Self {
        let (_, _, settings) = UNITS.into_iter().find(|(each, ..)| *each == name).unwrap();
        Self::start_with(name, Lan::new(), ServiceManager::new(), settings)
    }

    fn start_with(name: &str, lan: Lan, manager: ServiceManager, settings: &str) -> Self {
        let (_, instance, _) = UNITS.into_iter().find(|(each, ..)| *each == name).unwrap();
        let unit = Unit::read(name, instance, settings);
        let engine = (name == "bridge").then(|| redis(&lan.b));
        let running = serve(&lan.b, &unit, &manager);
        let ready = manager.next_report();
        assert!(ready.starts_with("READY=1\nSTATUS="), "{name}: {ready}");
        Self { lan, manager, unit, running, _engine: engine }
    }

    /// Makes it reload, and waits until it is ready again.
    fn reload(&self) {
        assert_eq!(self.unit.value("ExecReload"), "/bin/sh -c \"kill -HUP $MAINPID\"");
        self.running.child.signal(libc::SIGHUP).unwrap();
        let reloading = self.manager.next_report();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        let ready = self.manager.next_report();
        assert!(ready.starts_with("READY=1\n"), "{ready}");
    }

    /// Stops it as systemd does.
    fn stop(self) {
        self.running.child.signal(libc::SIGTERM).unwrap();
        assert_eq!(self.manager.next_report(), "STOPPING=1");
        let ended = self.running.end();
        assert_eq!(ended.status, Some(143), "{ended:?}");
        assert_eq!(self.unit.value("SuccessExitStatus"), "143");
    }

    fn metrics(&self) -> String {
        let address =
            self.unit.words().iter().skip_while(|word| *word != "--metrics").nth(1).unwrap().clone();
        self.lan.b.run(|| fetch(&address)).unwrap()
    }
}

/// Starts a Redis server on the host's loopback.
pub(crate) fn redis(host: &Host) -> Running {
    let server = program(host, "redis-server", &["--save", "", "--dir", "/"], false);
    eventually("a server that replies", || {
        host.run(|| TcpStream::connect("127.0.0.1:6379").is_ok()).unwrap()
    });
    server
}

/// Starts a unit as systemd would: as another user if the test runs as root, with the rights of the unit only, and without
/// a way to get more.
fn serve(host: &Host, unit: &Unit, manager: &ServiceManager) -> Running {
    let folder = manager.folder.path();
    let state = folder.join("state");
    std::fs::create_dir(&state).unwrap();
    allow(&state, 0o777);
    let mut words = vec![format!("NOTIFY_SOCKET={}", manager.path().display())];
    words.push("WATCHDOG_USEC=200000".into());
    words.extend(as_nobody(&unit.capabilities()));
    let own = unit.words();
    assert_eq!(own[0], "/usr/bin/mcast");
    words.push(copied(folder));
    words.extend(own[1..].iter().map(|word| word.replace("/var/lib/mcast", state.to_str().unwrap())));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The standard input stays open, as a FIFO does.
    program(host, "env", &words, true)
}

/// Runs what follows without any right but these.
pub(crate) fn as_nobody(capabilities: &[String]) -> Vec<String> {
    let kept: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let mut words: Vec<String> = ["setpriv", "--no-new-privs"].map(str::to_owned).into();
    // A user namespace has no other user to change to.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        words.extend(["--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned));
    }
    for set in ["bounding-set", "inh-caps", "ambient-caps"] {
        words.push(format!("--{set}=-all{kept}"));
    }
    words
}

/// The command, at a path where every user may run it.
pub(crate) fn copied(folder: &Path) -> String {
    let path = folder.join("mcast");
    std::fs::hard_link(MCAST, &path).or_else(|_| std::fs::copy(MCAST, &path).map(drop)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn fetch(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    answer
}

#[test]
fn every_unit_starts_sends_keep_alives_reloads_and_stops() {
    for (name, ..) in UNITS {
        let served = Served::start(name);
        eventually("a keep-alive", || served.manager.next() == "WATCHDOG=1");
        served.reload();
        eventually("a keep-alive", || served.manager.next() == "WATCHDOG=1");
        served.stop();
    }
}

#[test]
fn every_unit_keeps_only_the_rights_it_needs() {
    let kept = [
        ("record", NET_RAW),
        ("querier", NET_RAW),
        ("relay", NET_BIND_SERVICE | NET_RAW),
        ("top", 0),
        ("doctor", NET_BIND_SERVICE | NET_RAW | NET_ADMIN | BPF | PERFMON | SYSLOG),
        ("bridge", 0),
        ("publish", 0),
        ("subscribe", 0),
        (
            "repair",
            NET_BIND_SERVICE | NET_RAW | NET_ADMIN | BPF | PERFMON | SYSLOG | SYS_PTRACE | DAC_READ_SEARCH,
        ),
    ];
    for (name, ..) in UNITS {
        let left = kept.iter().find(|(each, _)| *each == name).unwrap().1;
        let served = Served::start(name);
        let rights = Rights::of(&served.running.child);
        assert!(rights.threads.len() >= 2, "{name}: {rights:x?}");
        for thread in &rights.threads {
            // What writes the output needs none.
            let left = if thread.name == "output" { 0 } else { left };
            // The thread that finds the owners of sockets would keep more, which the unit does not grant.
            assert_eq!((thread.effective, thread.permitted), (left, left), "{name}: {rights:x?}");
            // Remedies may be other programs, which need the rights.
            let inherited = if name == "repair" { left } else { 0 };
            assert_eq!((thread.inheritable, thread.ambient), (inherited, inherited), "{name}: {rights:x?}");
            assert_eq!(thread.bounding & DAC_OVERRIDE, 0, "{name}: {rights:x?}");
        }
        served.stop();
    }
}

#[test]
fn a_relay_with_tunnels_reads_a_key_file_that_only_its_user_can_read() {
    let (lan, manager) = (Lan::new(), ServiceManager::new());
    let key = manager.folder.path().join("relay-home.key").to_str().unwrap().to_owned();
    let made = mcast(&lan.b, &["keys", "make", "--tunnel", &key]).succeeded();
    let private = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, format!("{private}peer paris {}\n", made.text().trim())).unwrap();
    let metadata = std::fs::metadata(&key).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    if metadata.uid() == 0 {
        std::os::unix::fs::chown(&key, Some(65_534), None).unwrap();
    }
    let settings = format!(
        "ARGUMENTS=239.255.1.3:5000 from tunnel:paris to udp://127.0.0.1:9 --tunnel-key {key} --listen-tunnel 127.0.0.1:5700"
    );
    let served = Served::start_with("relay", lan, manager, &settings);
    served.reload();
    served.running.stdout.wait_for("reread the rules");
    assert!(!served.running.stderr.text().contains("keeping"), "{}", served.running.stderr.text());
    served.stop();
}

#[test]
fn a_reload_starts_another_capture_file() {
    let served = Served::start("record");
    let state = served.manager.folder.path().join("state");
    let files = || std::fs::read_dir(&state).unwrap().count();
    assert_eq!(files(), 1);
    served.reload();
    eventually("another file", || files() == 2);
    served.stop();
}

#[test]
fn a_reload_makes_a_querier_query_at_once() {
    let served = Served::start("querier");
    let asked = || served.running.stdout.text().matches("sent IGMPv3 general query").count();
    eventually("the first query", || asked() == 1);
    served.reload();
    // The next one would be due after 31 s.
    eventually("another query", || asked() == 2);
    served.stop();
}

#[test]
fn a_reload_resets_the_metrics_of_streams() {
    let served = Served::start("top");
    send(&served.lan.a, &["-i", "eth0", GROUP, "hello"]);
    eventually("the stream", || {
        served.metrics().contains("mcast_stream_datagrams_total{group=\"239.255.1.3\"")
    });
    served.reload();
    let figures = served.metrics();
    assert!(!figures.contains("mcast_stream_datagrams_total{"), "{figures}");
    served.stop();
}

#[test]
fn a_vanished_interface_ends_the_metrics_service() {
    let served = Served::start("top");
    served.lan.b.delete_interface("eth0").unwrap();
    let ended = served.running.end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("eth0 has gone"), "{ended:?}");
    assert_eq!(served.unit.value("Restart"), "on-failure");
}

#[test]
fn a_reload_makes_the_doctor_report_all_findings_again() {
    let served = Served::start("doctor");
    // No host sends to the group.
    eventually("an examination", || !served.metrics().contains("mcast_doctor_examinations_total 0\n"));
    let figures = served.metrics();
    assert!(figures.contains("mcast_doctor_findings{severity=\"fault\"} "), "{figures}");
    let finding =
        figures.lines().find(|line| line.starts_with("mcast_doctor_finding{")).unwrap_or_else(|| {
            panic!("{figures}");
        });
    assert!(finding.ends_with(",program=\"\"} 1"), "{finding}");
    let count = figures.matches("\nmcast_doctor_finding{").count();
    let reported = || served.running.stdout.text().matches(" found ").count();
    // The metrics change before the text is printed.
    eventually("all findings as text", || reported() == count);
    served.reload();
    eventually("all findings again", || reported() >= 2 * count);
    served.stop();
}

#[test]
fn a_watching_doctor_survives_a_vanished_interface() {
    let served = Served::start("doctor");
    let examinations = || number(&served.metrics(), "mcast_doctor_examinations_total");
    let failures = || number(&served.metrics(), "mcast_doctor_examination_failures_total");
    eventually("an examination", || examinations() > 0);
    assert_eq!(failures(), 0);
    served.lan.b.delete_interface("eth0").unwrap();
    let printed = |text: &str| served.running.stderr.text().matches(text).count();
    eventually("failures", || failures() >= 3);
    // The first one may have failed for another reason, while the interface was being removed.
    let reported = printed("cannot examine: ");
    eventually("more failures", || failures() >= 6);
    assert!((1..=2).contains(&reported), "{}", served.running.stderr.text());
    assert_eq!(printed("cannot examine: "), reported, "{}", served.running.stderr.text());
    let before = examinations();
    served.lan.b.connect("eth0", &served.lan.switch, &["10.0.0.2/24"]).unwrap();
    eventually("a successful examination", || examinations() > before && printed("can examine again") > 0);
    assert_eq!(printed("examining"), 1, "{}", served.running.stderr.text());
    served.stop();
}

/// Returns the value of a metric without labels.
fn number(figures: &str, name: &str) -> u64 {
    let value = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}: {figures}")).parse().unwrap()
}
