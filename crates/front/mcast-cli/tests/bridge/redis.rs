//! A Redis server on a socket in a folder of its own, and what `redis-cli` reads from it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::audit::Entry;
use crate::engine::{Engine, Setup, SourceEngine, Stored};
use crate::network::Network;
use crate::support::eventually;

pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    options: &'static [&'static str],
    /// What `redis-cli` logs in with.
    login: &'static [&'static str],
}

impl Redis {
    /// Starts a server; `None` if it is not installed, unless that is required.
    pub(crate) fn launch(setup: Setup) -> Option<Self> {
        let (options, login): (&[&str], &[&str]) = match setup {
            Setup::Plain | Setup::Restorable => (&[], &[]),
            Setup::Durable => (&["--appendonly", "yes"], &[]),
            Setup::Small => (&["--maxmemory", "3mb"], &[]),
            Setup::Password => (&["--requirepass", "secret"], &["-a", "secret"]),
        };
        Self::with(options, login)
    }

    /// Starts one with these options, to which `redis-cli` logs in so.
    pub(crate) fn with(options: &'static [&'static str], login: &'static [&'static str]) -> Option<Self> {
        if !mcast_lab::has_program("redis-server", "--version", "a bridge to Redis") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(&folder, options);
        let redis = Self { child, folder, options, login };
        redis.wait();
        Some(redis)
    }

    fn wait(&self) {
        eventually("a server that replies", || {
            let ping = Command::new("redis-cli").arg("-s").arg(self.socket()).arg("PING").output().unwrap();
            ping.stdout.starts_with(b"PONG") || ping.stdout.starts_with(b"NOAUTH")
        });
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.arg("-s").arg(self.socket()).args(self.login).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn entries_of(&self, key: &str) -> Vec<Entry> {
        parse_entries(&self.cli(&["--json", "XRANGE", key, "-", "+"]))
    }
}

/// Returns the entries that `redis-cli --json XRANGE` prints.
pub(crate) fn parse_entries(text: &str) -> Vec<Entry> {
    let entries: Vec<(String, Vec<String>)> = serde_json::from_str(text).unwrap();
    let entry = |(id, fields): (String, Vec<String>)| {
        let (incarnation, number) = id.split_once('-').unwrap();
        let number: u64 = number.parse().unwrap();
        let fields = fields.chunks(2).map(|field| (field[0].clone(), field[1].clone())).collect();
        Entry { incarnation: incarnation.parse().unwrap(), number: number - 1, fields }
    };
    entries.into_iter().map(entry).collect()
}

/// Returns the text of the entry that `redis-cli XREVRANGE` prints last.
pub(crate) fn last_text(printed: &str) -> String {
    printed.trim().lines().last().unwrap_or_default().to_owned()
}

impl Engine for Redis {
    const REJECTED: [&'static str; 2] = ["NOAUTH", "remedy: give the right user and password"];
    const NO_ROOM: &'static str = "remedy: raise `maxmemory`";
    const UNREACHABLE: &'static str = "redis://127.0.0.1:9?key=prices";

    fn start(_: &Network, setup: Setup) -> Option<Self> {
        Self::launch(setup)
    }

    fn url(&self) -> String {
        format!("redis+unix://{}?key=prices", self.socket().display())
    }

    fn length(&self) -> u64 {
        self.cli(&["XLEN", "prices"]).trim().parse().unwrap_or(0)
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries_of("prices")
    }

    fn last_text(&self) -> String {
        last_text(&self.cli(&["XREVRANGE", "prices", "+", "-", "COUNT", "1"]))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = spawn(&self.folder, self.options);
        self.wait();
    }

    fn save(&mut self) {
        self.cli(&["SAVE"]);
    }

    fn roll_back(&mut self) {
        self.kill();
        self.restart();
    }

    fn signal(&self, signal: i32) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    fn delete_stream(&self) {
        self.cli(&["DEL", "prices"]);
    }

    fn make_room(&self) {
        self.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    fn add_other_stream(&self) {
        self.cli(&["XADD", "prices", "1-1", "s", "00000000000000ff", "t", "1", "d", "x"]);
    }
}

impl SourceEngine for Redis {
    fn store(&self, records: &[Stored]) {
        let command = |record: &Stored| {
            let fields = record.fields.iter().map(|(name, value)| format!("{name} \"{value}\""));
            let fields: Vec<String> = fields.collect();
            format!("XADD prices {} {}\n", Self::id(record.incarnation, record.number), fields.join(" "))
        };
        let commands: String = records.iter().map(command).collect();
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let has_failed = String::from_utf8_lossy(&output.stdout).contains("ERR");
        assert!(output.status.success() && !has_failed, "{output:?}");
    }

    fn id(incarnation: u64, number: u64) -> String {
        format!("{incarnation}-{}", number + 1)
    }

    fn copy_url(&self) -> String {
        self.url().replace("key=prices", "key=copy")
    }

    fn copied(&self) -> Vec<Entry> {
        self.entries_of("copy")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &tempfile::TempDir, options: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket", "redis.sock", "--proto-max-bulk-len", "1mb"])
        .args(options)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
