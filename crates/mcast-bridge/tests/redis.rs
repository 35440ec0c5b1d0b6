//! The sink and the source of Redis, with a real server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast_bridge::redis::{RedisSource, RedisTarget};
use mcast_bridge::{
    Content, GapCause, Hole, Position, Presence, RecordBatch, Request, Response, Sink, SinkConnector, Source,
    StreamRecord, Tail,
};
use mcast_stream::wire::{EngineTrail, Incarnation, MessageKey, MessageNumber, StreamId};

const STREAM: StreamId = StreamId(0xfeed);

/// A server on a socket in a folder of its own, without a network.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server; `None` if it is not installed, unless that is required.
    fn start(options: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--daemonize", "no", "--unixsocket"])
            .arg(&socket)
            .args(options)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "redis-server is not installed");
            eprintln!("SKIPPED: redis-server is not installed");
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

    fn target(&self) -> RedisTarget {
        RedisTarget::parse(&format!("redis+unix://{}?key=prices", self.socket().display())).unwrap()
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.target().connect().unwrap()
    }

    /// Returns what redis-cli prints.
    fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn position(incarnation: u32, number: u64) -> Position {
    Position { incarnation: Incarnation(incarnation), number: MessageNumber(number) }
}

fn message(incarnation: u32, number: u64, bytes: &[u8]) -> StreamRecord {
    let content = Content::Message { key: None, bytes: Arc::from(bytes) };
    StreamRecord {
        position: position(incarnation, number),
        time: 1_000 * u64::from(incarnation) + 10 * number,
        content,
    }
}

fn call(sink: &mut dyn Sink, request: &Request) -> Response {
    sink.send(request).unwrap();
    sink.receive().unwrap()
}

fn append(sink: &mut dyn Sink, expected: Option<Position>, records: Vec<StreamRecord>) -> Response {
    call(
        sink,
        &Request::Append(RecordBatch { stream: STREAM, expected, engines: EngineTrail::default(), records }),
    )
}

fn tail(position: Position, closes: bool) -> Option<Tail> {
    Some(Tail { position, stream: Some(STREAM), closes })
}

fn presence(bridge: u64, hole: Option<Hole>) -> Request {
    Request::Tail(Presence { bridge, hole })
}

/// A message with any bytes, a keyed one, a gap, an end, and the next incarnation.
fn records() -> Vec<StreamRecord> {
    let bytes: Vec<u8> = (0..=255).collect();
    let keyed = Content::Message { key: Some(MessageKey(u64::MAX)), bytes: Arc::from(&b""[..]) };
    let gap = Content::Gap { first: MessageNumber(2), cause: GapCause::JoinedLate };
    let open = Content::OpenGap { cause: GapCause::EngineLost };
    vec![
        message(1, 0, &bytes),
        StreamRecord { content: keyed, ..message(1, 1, b"") },
        StreamRecord { content: gap, ..message(1, 9, b"") },
        StreamRecord { content: Content::End, ..message(1, 10, b"") },
        message(2, 0, b"a"),
        StreamRecord { content: open, ..message(2, 1, b"") },
    ]
}

#[test]
fn a_batch_is_appended_only_behind_the_expected_record() {
    let Some(server) = Server::start(&[]) else { return };
    let mut sink = server.sink();
    assert_eq!(call(&mut *sink, &presence(1, None)), Response::Tail { tail: None, others: Vec::new() });
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]), Response::Appended);
    let known = tail(position(1, 1), false);
    for expected in [None, Some(position(1, 0)), Some(position(2, 0))] {
        assert_eq!(
            append(&mut *sink, expected, vec![message(3, 0, b"x")]),
            Response::Refused { tail: known }
        );
    }
    assert_eq!(append(&mut *sink, Some(position(1, 1)), vec![message(1, 2, b"c")]), Response::Appended);
    assert_eq!(server.cli(&["XLEN", "prices"]), "3");
    let entries = server.cli(&["XRANGE", "prices", "1-3", "1-3"]);
    assert_eq!(entries, "1-3\ns\n000000000000feed\nt\n1020\nd\nc");
}

#[test]
fn two_batches_under_way_are_executed_in_order() {
    let Some(server) = Server::start(&[]) else { return };
    let mut sink = server.sink();
    let batch = |expected, number| {
        Request::Append(RecordBatch {
            stream: STREAM,
            expected,
            engines: EngineTrail::default(),
            records: vec![message(1, number, b"x")],
        })
    };
    sink.send(&batch(None, 0)).unwrap();
    sink.send(&batch(Some(position(1, 0)), 1)).unwrap();
    assert_eq!((sink.receive().unwrap(), sink.receive().unwrap()), (Response::Appended, Response::Appended));
}

#[test]
fn records_are_read_back_as_they_were_appended() {
    let Some(server) = Server::start(&[]) else { return };
    let mut sink = server.sink();
    let all = records();
    assert_eq!(append(&mut *sink, None, all.clone()), Response::Appended);
    let mut source = RedisSource::connect(&server.target()).unwrap();
    assert_eq!(source.last().unwrap().as_ref(), all.last());
    assert_eq!(source.read(position(0, 0), 100).unwrap(), all);
    assert_eq!(source.read(position(1, 5), 1).unwrap(), all[2..3], "the gap that contains it");
    for (time, index) in [(0, 0), (1_001, 1), (1_011, 2), (1_091, 3), (1_101, 4)] {
        assert_eq!(source.find_time(time).unwrap().as_ref(), Some(&all[index]), "{time}");
    }
    assert_eq!(source.find_time(2_011).unwrap(), None);
    let response = call(&mut *sink, &presence(1, None));
    assert_eq!(response, Response::Tail { tail: tail(position(2, 1), true), others: Vec::new() });
}

#[test]
fn bridges_see_what_the_others_wait_for() {
    let Some(server) = Server::start(&[]) else { return };
    let (mut one, mut other) = (server.sink(), server.sink());
    let hole = Hole { start: position(1, 7), end: MessageNumber::MAX };
    call(&mut *one, &presence(1, Some(hole)));
    let response = call(&mut *other, &presence(2, None));
    assert_eq!(response, Response::Tail { tail: None, others: vec![Some(hole)] });
    let response = call(&mut *one, &presence(1, None));
    assert_eq!(response, Response::Tail { tail: None, others: vec![None] });
    let remaining: i64 = server.cli(&["PTTL", "prices:bridges"]).parse().unwrap();
    assert!((1..=5_000).contains(&remaining), "{remaining} ms");
    // As if it had been noted long ago.
    server.cli(&["HSET", "prices:bridges", "0000000000000002", "1 "]);
    assert_eq!(call(&mut *one, &presence(1, None)), Response::Tail { tail: None, others: Vec::new() });
}

#[test]
fn a_deleted_stream_and_a_deleted_record_are_noticed() {
    let Some(server) = Server::start(&[]) else { return };
    let mut sink = server.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]);
    server.cli(&["XDEL", "prices", "1-2"]);
    let deleted = Some(Tail { position: position(1, 1), stream: None, closes: false });
    let refused = append(&mut *sink, None, vec![message(1, 2, b"c")]);
    assert_eq!(refused, Response::Refused { tail: deleted });
    server.cli(&["DEL", "prices"]);
    let refused = append(&mut *sink, Some(position(1, 1)), vec![message(1, 2, b"c")]);
    assert_eq!(refused, Response::Refused { tail: None });
}

#[test]
fn what_no_bridge_wrote_is_an_error_that_does_not_pass() {
    let Some(server) = Server::start(&[]) else { return };
    let mut sink = server.sink();
    server.cli(&["XADD", "prices", "*", "field", "value"]);
    sink.send(&presence(1, None)).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(!error.is_passing && error.what.contains("no bridge wrote"), "{error:?}");
    server.cli(&["DEL", "prices"]);
    server.cli(&["SET", "prices", "text"]);
    let mut sink = server.sink();
    sink.send(&presence(1, None)).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(!error.is_passing && error.remedy.unwrap().contains("?key="));
}

#[test]
fn a_wrong_password_does_not_pass_and_a_full_memory_does() {
    let Some(server) = Server::start(&["--requirepass", "secret"]) else { return };
    let error = server.target().connect().err().unwrap();
    assert!(!error.is_passing && error.remedy.as_ref().unwrap().contains("password"), "{error:?}");
    let error = server.target().password("wrong").unwrap().connect().err().unwrap();
    assert!(!error.is_passing, "{error:?}");
    let mut sink = server.target().password("secret").unwrap().connect().unwrap();
    append(&mut *sink, None, vec![message(1, 0, b"a")]);
    server.cli(&["-a", "secret", "CONFIG", "SET", "maxmemory", "1"]);
    let batch = RecordBatch {
        stream: STREAM,
        expected: Some(position(1, 0)),
        engines: EngineTrail::default(),
        records: vec![message(1, 1, b"b")],
    };
    sink.send(&Request::Append(batch)).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(error.is_passing && error.remedy.as_ref().unwrap().contains("maxmemory"), "{error:?}");
}

#[test]
fn a_server_that_is_gone_is_an_error_that_passes() {
    let Some(mut server) = Server::start(&[]) else { return };
    let mut sink = server.sink();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let lost = sink.send(&presence(1, None)).and_then(|()| sink.receive().map(|_| ()));
    assert!(lost.unwrap_err().is_passing);
    let error = server.target().connect().err().unwrap();
    assert!(error.is_passing && error.what.contains("cannot be reached"), "{error:?}");
}
