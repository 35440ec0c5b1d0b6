//! RabbitMQ Streams.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast_bridge::UnixMillis;
use mcast_lab::{Host, Lab};
use serde_json::{Value, json};

use super::*;
use crate::rabbitmq_server::RabbitmqServer;

/// A server takes seconds to start, so the tests share one. Each has a stream of its own.
static NODE: Mutex<Option<Arc<Node>>> = Mutex::new(None);
static STREAMS: AtomicU32 = AtomicU32::new(0);

struct Node {
    server: Mutex<RabbitmqServer>,
    host: Host,
    _lab: Lab,
}

/// Runs tests with a server, if it is installed. It does not outlast them.
pub(crate) fn with_node(tests: impl FnOnce()) {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            *NODE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
    let lab = Lab::new().unwrap();
    let host = lab.host("engine").unwrap();
    let began = Instant::now();
    let Some(server) = RabbitmqServer::start(&host, false) else { return };
    eprintln!("the server started in {:?}", began.elapsed());
    let _guard = Guard;
    *NODE.lock().unwrap() = Some(Arc::new(Node { server: Mutex::new(server), host, _lab: lab }));
    tests();
}

/// A stream of the server.
pub(crate) struct Rabbitmq {
    node: Arc<Node>,
    stream: String,
}

impl Rabbitmq {
    fn request(&self, request: &str, more: &[Value]) -> Value {
        let mut all = vec![json!(request), json!(self.stream)];
        all.extend_from_slice(more);
        self.node.server.lock().unwrap().request(&Value::from(all))
    }

    fn target(&self, login: &str) -> Arc<dyn mcast_bridge::Engine> {
        at(&format!("rabbitmq-stream://{login}@127.0.0.1?stream={}", self.stream))
    }

    fn connect_to(&self, target: Arc<dyn mcast_bridge::Engine>) -> Result<Box<dyn Sink>, EngineError> {
        self.node.host.run(|| target.sink()).unwrap()
    }

    /// Returns the number of messages, also of those that are not effective.
    fn stored(&self) -> u64 {
        self.request("stored", &[]).as_u64().unwrap()
    }
}

impl Engine for Rabbitmq {
    fn start() -> Option<Self> {
        let stream = format!("prices{}", STREAMS.fetch_add(1, Ordering::Relaxed));
        Some(Self { node: NODE.lock().unwrap().clone()?, stream })
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.connect_to(self.target("feeds:secret"))
    }

    fn source(&self) -> Box<dyn Source> {
        let target = self.target("feeds:secret");
        self.node.host.run(|| target.source()).unwrap().unwrap()
    }

    fn length(&self) -> u64 {
        self.node.server.lock().unwrap().length(&self.stream)
    }

    fn delete_stream(&self) {
        self.request("delete", &[]);
    }

    /// RabbitMQ removes whole segments, and never the last one.
    fn delete_records(&self, sink: &mut Box<dyn Sink>) -> Option<LastRecord> {
        self.delete_stream();
        let settings = json!({ "stream-max-segment-size-bytes": 20_000, "max-length-bytes": 40_000 });
        self.request("create", &[settings]);
        *sink = self.sink();
        let mut last = None;
        while self.request("first", &[]).as_u64().unwrap_or(0) == 0 {
            let next = last.map_or(0, |Position { number, .. }| number.0 + 1);
            assert!(next < 1_000, "nothing is removed");
            let records: Vec<_> =
                (next..next + 10).map(|number| message(1, number, &[b'x'; 1_000])).collect();
            assert_eq!(append(&mut **sink, last, records), Response::Appended);
            last = Some(position(1, next + 9));
        }
        tail(last.unwrap(), false)
    }

    fn add_foreign(&self) {
        self.request("publish", &[json!("text"), json!(null)]);
    }

    fn age_notes(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        let notes = json!(["age", format!("{}.bridges", self.stream)]);
        while self.node.server.lock().unwrap().request(&notes).as_f64().unwrap() < 5.1 {
            assert!(Instant::now() < until, "notes are not getting older");
        }
    }

    fn kill(&mut self) {
        self.node.server.lock().unwrap().kill();
    }
}

/// What other engines need not do.
pub(crate) fn own_tests() {
    for test in [
        properties_are_as_documented,
        messages_that_two_bridges_append_are_stored_once,
        a_gap_that_comes_too_late_is_not_effective,
        messages_that_come_after_a_gap_are_not_effective,
        a_message_that_the_server_would_drop_is_appended_without_a_name,
        names_that_the_server_has_forgotten_do_no_harm,
        the_end_of_a_long_stream_is_found_without_reading_it,
        a_time_and_a_position_are_found_in_a_long_stream,
        what_can_not_be_used_is_an_error_with_a_remedy,
        messages_are_stored_and_read_by_tls,
        the_first_server_that_accepts_is_used,
    ] {
        test(&Rabbitmq::start().unwrap());
    }
}

fn the_first_server_that_accepts_is_used(engine: &Rabbitmq) {
    let url = |hosts| format!("rabbitmq-stream://feeds:secret@{hosts}?stream={}", engine.stream);
    let connect = |hosts| engine.connect_to(at(&url(hosts)));
    let mut sink = connect("127.0.0.1:9,127.0.0.1").unwrap();
    assert_eq!(append(&mut *sink, None, messages(0..1)), Response::Appended);
    let error = connect("127.0.0.1:9,127.0.0.1:8").err().unwrap();
    assert!(
        error.what.contains("127.0.0.1:9 cannot") && error.what.contains("127.0.0.1:8 cannot"),
        "{error:?}"
    );
}

fn messages_are_stored_and_read_by_tls(engine: &Rabbitmq) {
    let url = format!("rabbitmq-stream+tls://feeds:secret@127.0.0.1?stream={}", engine.stream);
    let target = |options: TlsOptions| with_tls(&url, options);
    let server = engine.node.server.lock().unwrap();
    let (trusting, proving) = (server.certificates.trusting(), server.certificates.proving());
    drop(server);
    let error = engine.connect_to(target(trusting)).err().unwrap();
    assert!(
        error.is_transient() && error.remedy.as_ref().unwrap().contains("--tls certificate="),
        "{error:?}"
    );
    let mut sink = engine.connect_to(target(proving.clone())).unwrap();
    // More than the sockets have room for, while the server sends it back.
    let large = |number| message(1, number, &vec![b'x'; 500_000]);
    let mut last = None;
    for start in (0..200).step_by(20) {
        let records: Vec<_> = (start..start + 20).map(large).collect();
        assert_eq!(append(&mut *sink, last, records), Response::Appended);
        last = Some(position(1, start + 19));
    }
    let source = engine.node.host.run(|| target(proving).source()).unwrap();
    let read = source.unwrap().read(position(1, 199), 10).unwrap();
    assert_eq!((read, engine.length()), (vec![large(199)], 200));
}

fn messages(numbers: std::ops::Range<u64>) -> Vec<StreamRecord> {
    numbers.map(|number| message(1, number, b"x")).collect()
}

fn gap(first: u64, last: u64) -> StreamRecord {
    let content = Content::Gap { first: MessageNumber(first), cause: GapCause::JoinedLate };
    StreamRecord { content, ..message(1, last, b"") }
}

fn all(engine: &Rabbitmq) -> Vec<StreamRecord> {
    let mut source = engine.source();
    let mut all: Vec<StreamRecord> = Vec::new();
    loop {
        let from = all.last().map_or_else(|| position(0, 0), |last| last.position.following());
        match source.read(from, 1_000).unwrap() {
            more if more.is_empty() => return all,
            more => all.extend(more),
        }
    }
}

fn properties_are_as_documented(engine: &Rabbitmq) {
    let mut sink = engine.sink();
    append(&mut *sink, None, messages(0..2));
    append(&mut *sink, Some(position(1, 1)), vec![gap(2, 4)]);
    let stored = engine.request("dump", &[]);
    let message = json!({
        "mcast-stream": "000000000000feed", "mcast-incarnation": 1, "mcast-number": 1, "mcast-time": 1010,
        "mcast-after": "1-0",
    });
    assert_eq!(stored[1], json!([message, "x"]));
    let mut gap = stored[2][0].clone();
    assert!(gap.as_object_mut().unwrap().remove("mcast-bridge").unwrap().is_u64());
    let expected = json!({
        "mcast-stream": "000000000000feed", "mcast-incarnation": 1, "mcast-number": 4, "mcast-time": 1040,
        "mcast-after": "1-1", "mcast-known": 1, "mcast-kind": "gap", "mcast-first": 2, "mcast-end": 5,
        "mcast-cause": "joined-late",
    });
    assert_eq!(gap, expected);
}

fn messages_that_two_bridges_append_are_stored_once(engine: &Rabbitmq) {
    let mut sinks = [engine.sink(), engine.sink()];
    for sink in &mut sinks {
        append(&mut **sink, None, messages(0..1));
    }
    let before = engine.stored();
    for start in (1..1_001).step_by(100) {
        // Neither knows what the other one does.
        for sink in &mut sinks {
            sink.send(&batch(Some(position(1, start - 1)), messages(start..start + 100))).unwrap();
        }
        for sink in &mut sinks {
            assert_eq!(sink.receive().unwrap(), Response::Appended);
        }
    }
    assert_eq!((engine.length(), engine.stored()), (1_001, before + 1_000));
}

fn a_gap_that_comes_too_late_is_not_effective(engine: &Rabbitmq) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    append(&mut *one, None, messages(0..5));
    call(&mut *other, &presence(2, None));
    append(&mut *one, Some(position(1, 4)), messages(5..7));
    // The other bridge does not know yet.
    let refused = append(&mut *other, Some(position(1, 4)), vec![gap(5, 9), message(1, 10, b"x")]);
    assert_eq!(refused, Response::Refused { tail: tail(position(1, 6), false) });
    assert_eq!(append(&mut *one, Some(position(1, 6)), messages(7..12)), Response::Appended);
    assert_eq!((engine.length(), engine.stored()), (12, 13));
    assert_eq!(all(engine), messages(0..12));
}

fn messages_that_come_after_a_gap_are_not_effective(engine: &Rabbitmq) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    append(&mut *one, None, messages(0..5));
    call(&mut *other, &presence(2, None));
    assert_eq!(append(&mut *other, Some(position(1, 4)), vec![gap(5, 9)]), Response::Appended);
    let refused = append(&mut *one, Some(position(1, 4)), messages(5..12));
    assert_eq!(
        refused,
        Response::Refused { tail: tail(position(1, 11), false) },
        "what is behind the gap fits"
    );
    let expected = [messages(0..5), vec![gap(5, 9)], messages(10..12)].concat();
    assert_eq!(all(engine), expected);
    assert_eq!(engine.length(), 8);
}

fn a_message_that_the_server_would_drop_is_appended_without_a_name(engine: &Rabbitmq) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    let open = Content::OpenGap { cause: GapCause::EngineLost };
    append(
        &mut *one,
        None,
        [messages(0..5), vec![StreamRecord { content: open, ..message(1, 5, b"") }]].concat(),
    );
    call(&mut *other, &presence(2, None));
    append(&mut *one, Some(position(1, 5)), messages(6..7));
    // The record is stored under its number, but it is not effective.
    let refused = append(&mut *other, Some(position(1, 5)), vec![message(2, 0, b"x")]);
    assert_eq!(refused, Response::Refused { tail: tail(position(1, 6), false) });
    assert_eq!(append(&mut *other, Some(position(1, 6)), vec![message(2, 0, b"x")]), Response::Appended);
    assert_eq!((engine.length(), engine.stored()), (8, 9));
}

fn names_that_the_server_has_forgotten_do_no_harm(engine: &Rabbitmq) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    append(&mut *one, None, vec![message(1, 0, b"x")]);
    call(&mut *other, &presence(2, None));
    let mut last = position(1, 0);
    for incarnation in 2..300 {
        let records = vec![message(incarnation, 0, b"x"), message(incarnation, 1, b"x")];
        assert_eq!(append(&mut *one, Some(last), records), Response::Appended);
        last = position(incarnation, 1);
    }
    let stored = engine.stored();
    let repeated = vec![message(2, 0, b"x"), message(2, 1, b"x")];
    let refused = append(&mut *other, Some(position(1, 0)), repeated.clone());
    assert!(matches!(refused, Response::Appended | Response::Refused { .. }), "{refused:?}");
    assert_eq!(
        call(&mut *other, &presence(2, None)),
        Response::LastRecord { tail: tail(last, false), others: Vec::new() }
    );
    eprintln!("{} messages were stored again", engine.stored() - stored);
    assert_eq!(engine.length(), 2 * 298 + 1);
}

/// Appends messages in batches of 500.
fn long(engine: &Rabbitmq, count: u64) {
    let mut sink = engine.sink();
    for start in (0..count).step_by(500) {
        let expected = start.checked_sub(1).map(|number| position(1, number));
        let response = append(&mut *sink, expected, messages(start..start + 500));
        assert_eq!(response, Response::Appended);
    }
}

fn the_end_of_a_long_stream_is_found_without_reading_it(engine: &Rabbitmq) {
    long(engine, 50_000);
    let began = Instant::now();
    let mut sink = engine.sink();
    let last = Response::LastRecord { tail: tail(position(1, 49_999), false), others: Vec::new() };
    assert_eq!(call(&mut *sink, &presence(1, None)), last);
    let short = began.elapsed();
    let began = Instant::now();
    assert_eq!(all(engine).len(), 50_000);
    eprintln!("the end after {short:?}, everything after {:?}", began.elapsed());
}

fn a_time_and_a_position_are_found_in_a_long_stream(engine: &Rabbitmq) {
    long(engine, 20_000);
    let mut source = engine.source();
    for number in [0, 1, 499, 500, 501, 7_777, 19_999] {
        let found = source.read(position(1, number), 2).unwrap();
        assert_eq!(found, messages(number..(number + 2).min(20_000)));
        // Messages are 10 ms apart.
        let found = source.find_time(UnixMillis(1_000 + 10 * number - 5)).unwrap();
        assert_eq!(found, Some(message(1, number, b"x")));
    }
    assert_eq!(source.read(position(1, 20_000), 2).unwrap(), []);
    assert_eq!(source.find_time(UnixMillis(1_000 + 10 * 20_000)).unwrap(), None);
}

fn what_can_not_be_used_is_an_error_with_a_remedy(engine: &Rabbitmq) {
    let error = engine.connect_to(engine.target("feeds:wrong")).err().unwrap();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("password"), "{error:?}");
    let mut sink = engine.connect_to(engine.target("limited:secret")).unwrap();
    call(&mut *sink, &presence(1, None));
    assert_eq!(append(&mut *sink, None, messages(0..1)), Response::Appended, "as documented");
    let error = engine.connect_to(engine.target("stranger:secret")).err().unwrap();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("set_permissions"), "{error:?}");
    let other = at("rabbitmq-stream://feeds:secret@127.0.0.1/other?stream=x");
    let error = engine.connect_to(other).err().unwrap();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("/VHOST"), "{error:?}");
    let other = at("rabbitmq-stream://127.0.0.1:4369?stream=x");
    let error = engine.connect_to(other).err().unwrap();
    assert!(error.is_transient(), "a port of another service: {error:?}");
    let refused = call(&mut *sink, &batch(Some(position(1, 0)), vec![message(1, 1, &vec![b'x'; 1 << 20])]));
    let Response::Unstorable(refused) = refused else { panic!("{refused:?}") };
    assert!(refused.most < Some(1 << 20) && refused.remedy.contains("frame_max"), "{refused:?}");
}
