//! Hosts on a switch, and programs running on them.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host, Lab};
use serde_json::Value;

pub(crate) const MCAST: &str = env!("CARGO_BIN_EXE_mcast");

/// Longer than any step takes, even on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Three hosts on one switch: `eth0` with 10.0.0.1, .2, .3 and fd00::1, ::2, ::3.
pub(crate) struct Lan {
    pub(crate) lab: Lab,
    pub(crate) switch: mcast_lab::Switch,
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) c: Host,
}

impl Lan {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("lan").unwrap();
        let host = |name: &str, number: u8| {
            let host = lab.host(name).unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            host.connect("eth0", &switch, &addresses.each_ref().map(String::as_str)).unwrap();
            host.add_route("224.0.0.0/4", "eth0").unwrap();
            host
        };
        let (a, b, c) = (host("a", 1), host("b", 2), host("c", 3));
        Self { lab, switch, a, b, c }
    }
}

/// A running program and its output so far.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Tail,
    pub(crate) stderr: Tail,
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Output as text, for readable messages of failed tests.
impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(
            f,
            "ended with {:?}; standard output:\n{stdout}\nstandard error:\n{}",
            self.status, self.stderr
        )
    }
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Asserts success, and returns the output.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }
}

/// `mcast` with these arguments on a host, to its end.
pub(crate) fn mcast(host: &Host, arguments: &[&str]) -> Ended {
    start(host, arguments).end()
}

/// Sends with `mcast`, which must succeed.
pub(crate) fn send(host: &Host, arguments: &[&str]) {
    mcast(host, &[&["send", "-q"], arguments].concat()).succeeded();
}

/// `mcast` with this on its standard input, to its end.
pub(crate) fn mcast_with_input(host: &Host, arguments: &[&str], input: &[u8]) -> Ended {
    let mut running = program(host, MCAST, arguments, true);
    running.child.stdin.take().unwrap().write_all(input).unwrap();
    running.end()
}

/// `mcast` with these arguments on a host.
pub(crate) fn start(host: &Host, arguments: &[&str]) -> Running {
    program(host, MCAST, arguments, false)
}

/// `mcast recv` with these arguments on a host, once it has joined.
pub(crate) fn recv(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["recv"], arguments].concat());
    running.stderr.wait_for("joined");
    running
}

/// A program on a host.
pub(crate) fn program(
    host: &Host,
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    with_input: bool,
) -> Running {
    let mut command = host.command(program).unwrap();
    command.args(arguments).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
    command.stdin(if with_input { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = Tail::of(child.stdout.take().unwrap());
    let stderr = Tail::of(child.stderr.take().unwrap());
    Running { child, stdout, stderr }
}

/// `mcast` with these arguments on a host, as a user who may have no more than this many processes and threads.
#[allow(dead_code)]
pub(crate) fn start_with_processes(
    host: &Host,
    most: u32,
    arguments: &[&str],
) -> (tempfile::TempDir, Running) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    // Where every user may run it.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mcast = folder.path().join("mcast");
    fs::hard_link(MCAST, &mcast).or_else(|_| fs::copy(MCAST, &mcast).map(drop)).unwrap();
    // The limit does not hold root, and counts what others with the same id have; in a user namespace the
    // caller is neither.
    let user = format!("--reuid={}", 1_000_000 + std::process::id());
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let ordinary = ["--no-new-privs", &user, "--regid=65534", "--clear-groups"];
    let limit = format!("--nproc={most}");
    let mut words = if is_root { ordinary.to_vec() } else { ordinary[..1].to_vec() };
    words.extend(["prlimit", &limit, mcast.to_str().unwrap()]);
    words.extend(arguments);
    let running = program(host, "setpriv", &words, false);
    (folder, running)
}

impl Running {
    /// Waits for its end.
    pub(crate) fn end(self) -> Ended {
        self.end_within(TIMEOUT)
    }

    /// Waits for its end for at most this time.
    pub(crate) fn end_within(mut self, limit: Duration) -> Ended {
        let status = self.child.wait_timeout(limit);
        let status = status.unwrap_or_else(|error| panic!("{error}: {}", self.stderr.text()));
        Ended { status: status.code(), stdout: self.stdout.all(), stderr: self.stderr.all_text() }
    }

    /// Sends it a signal, and waits for its end.
    pub(crate) fn signalled(self, signal: i32) -> Ended {
        self.child.signal(signal).unwrap();
        self.end()
    }
}

/// The output of a pipe so far.
#[derive(Clone)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    closed: bool,
}

impl Tail {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let tail = Self { shared: Arc::clone(&shared) };
        thread::spawn(move || shared.follow(pipe));
        tail
    }

    pub(crate) fn text(&self) -> String {
        self.shared.state.lock().unwrap().text()
    }

    #[allow(dead_code)]
    pub(crate) fn len(&self) -> usize {
        self.shared.state.lock().unwrap().bytes.len()
    }

    /// Waits until this text was written.
    pub(crate) fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + TIMEOUT;
        let mut state = self.shared.state.lock().unwrap();
        // Megabytes arrive in chunks of a page, so text that was searched once is not searched again.
        let mut searched = 0;
        while !contains(&state.bytes[searched..], text.as_bytes()) {
            searched = state.bytes.len().saturating_sub(text.len());
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !state.closed && !left.is_zero(),
                "waited for {text} in vain; received: {}",
                state.text()
            );
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Everything, once the pipe is closed.
    fn all(&self) -> Vec<u8> {
        let state = self.shared.state.lock().unwrap();
        self.shared.changed.wait_while(state, |state| !state.closed).unwrap().bytes.clone()
    }

    fn all_text(&self) -> String {
        String::from_utf8_lossy(&self.all()).into_owned()
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

impl Shared {
    fn follow(&self, mut pipe: impl Read) {
        let mut chunk = [0; 65_536];
        loop {
            let count = pipe.read(&mut chunk).unwrap_or(0);
            let mut state = self.state.lock().unwrap();
            state.bytes.extend_from_slice(&chunk[..count]);
            state.closed = count == 0;
            self.changed.notify_all();
            if state.closed {
                return;
            }
        }
    }
}

impl State {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Returns the number of IPv4 packets that a host has received. They are counted just after captures get them.
#[allow(dead_code)]
pub(crate) fn packets_received(host: &Host) -> u64 {
    let text = host.read_proc_net("snmp").unwrap();
    let numbers = text.lines().filter(|line| line.starts_with("Ip:")).nth(1).unwrap();
    numbers.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// Waits until the condition holds.
pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    eventually_within(TIMEOUT, what, is_so);
}

/// Waits until the condition holds, for at most this time.
pub(crate) fn eventually_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
