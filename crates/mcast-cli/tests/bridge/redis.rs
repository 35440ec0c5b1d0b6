//! A Redis server on a socket in a folder of its own, and what `redis-cli` reads from it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::eventually;

pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

/// An entry of a stream.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) incarnation: u64,
    /// The number of its last message.
    pub(crate) number: u64,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Redis {
    /// Starts a server with these options; `None` if it is not installed, unless that is required.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "redis-server is not installed");
            eprintln!("SKIPPED: redis-server is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let child = spawn(&folder, &options);
        let redis = Self { child, folder, options };
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

    /// Returns the URL of the key `prices`.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}?key=prices", self.socket().display())
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Kills the server without notice.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, &self.options);
        self.wait();
    }

    pub(crate) fn signal(&self, signal: i32) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn length(&self) -> u64 {
        self.cli(&["XLEN", "prices"]).trim().parse().unwrap_or(0)
    }

    /// Returns all entries.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let text = self.cli(&["--json", "XRANGE", "prices", "-", "+"]);
        let entries: Vec<(String, Vec<String>)> = serde_json::from_str(&text).unwrap();
        let entry = |(id, fields): (String, Vec<String>)| {
            let (incarnation, number) = id.split_once('-').unwrap();
            let number: u64 = number.parse().unwrap();
            let fields = fields.chunks(2).map(|field| (field[0].clone(), field[1].clone())).collect();
            Entry { incarnation: incarnation.parse().unwrap(), number: number - 1, fields }
        };
        entries.into_iter().map(entry).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &tempfile::TempDir, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket", "redis.sock"])
        .args(options)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Entry {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Returns the first message number that it accounts for.
    fn first(&self) -> u64 {
        self.field("first").map_or(self.number, |first| first.parse().unwrap())
    }

    fn closes(&self) -> bool {
        self.field("kind") == Some("end") || self.field("kind") == Some("gap") && self.field("end").is_none()
    }
}

/// What a stream in Redis contains.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) messages: u64,
    /// The ranges of gaps; the end is `None` if it is unknown.
    pub(crate) gaps: Vec<(u64, Option<u64>, String)>,
    pub(crate) ends: u64,
}

/// Checks that the entries account for each number once and in order, and that each message has the payload that
/// `payload` returns for its incarnation and number.
pub(crate) fn audit(entries: &[Entry], payload: impl Fn(u64, u64) -> Option<String>) -> Audit {
    let mut audit = Audit::default();
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let expected = match before {
            Some(before) if before.incarnation == entry.incarnation => before.number + 1,
            Some(before) => {
                assert!(before.closes(), "{entry:?} follows {before:?}");
                0
            }
            None => 0,
        };
        assert_eq!(entry.first(), expected, "{entry:?} follows {before:?}");
        match entry.field("kind") {
            None => {
                audit.messages += 1;
                let expected = payload(entry.incarnation, entry.number);
                assert!(expected.is_none() || entry.field("d") == expected.as_deref(), "{entry:?}");
            }
            Some("gap") => {
                let end = entry.field("end").map(|end| end.parse().unwrap());
                assert!(end.is_none_or(|end| end == entry.number + 1), "{entry:?}");
                audit.gaps.push((entry.first(), end, entry.field("cause").unwrap().to_owned()));
            }
            Some("end") => audit.ends += 1,
            Some(other) => panic!("an entry of the kind {other}"),
        }
        before = Some(entry);
    }
    audit
}

/// Returns the records that a bridge printed, checked against their schemas, and the summary.
pub(crate) fn records(ended: &crate::support::Ended) -> (Vec<Value>, Value) {
    let mut records = ended.json();
    let summary = records.pop().unwrap();
    crate::schemas::assert_valid("bridge-summary", &summary);
    let own = ["connected", "disconnected", "waiting", "gap", "superseded", "engine-lost", "engine-healed"];
    for record in &records {
        let is_own = own.contains(&record["event"].as_str().unwrap());
        crate::schemas::assert_valid(if is_own { "bridge-event" } else { "stream-event" }, record);
    }
    (records, summary)
}
