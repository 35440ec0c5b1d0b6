//! NATS JetStream with a copy of each stream on three servers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab};
use serde_json::{Value, json};

use super::*;
use crate::nats_server::{NatsCluster, create_copies, leader};
use crate::python_client::PythonClient;

/// A cluster elects leaders first, so the tests share one. Each has a stream of its own.
static CLUSTER: Mutex<Option<Arc<Shared>>> = Mutex::new(None);
static STREAMS: AtomicU32 = AtomicU32::new(0);

struct Shared {
    cluster: Mutex<NatsCluster>,
    host: Host,
    _lab: Lab,
}

/// Runs tests with a cluster, if it is installed. It does not outlast them.
pub(crate) fn with_cluster(tests: impl FnOnce()) {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            *CLUSTER.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
    let lab = Lab::new().unwrap();
    let host = lab.host("engine").unwrap();
    let Some(cluster) = NatsCluster::start(&host, None) else { return };
    let _guard = Guard;
    *CLUSTER.lock().unwrap() = Some(Arc::new(Shared { cluster: Mutex::new(cluster), host, _lab: lab }));
    tests();
}

/// A stream of the cluster.
pub(crate) struct ThreeCopies {
    shared: Arc<Shared>,
    stream: String,
    client: PythonClient,
}

impl ThreeCopies {
    fn request(&self, request: &Value) -> Value {
        self.client.request(request)
    }

    fn target(&self) -> Arc<dyn mcast_bridge::Engine> {
        let hosts = "127.0.0.1:4222,127.0.0.1:4223,127.0.0.1:4224";
        at(&format!("nats://{hosts}?stream={}", self.stream))
    }
}

impl Engine for ThreeCopies {
    fn start() -> Option<Self> {
        let shared = CLUSTER.lock().unwrap().clone()?;
        let stream = format!("prices{}", STREAMS.fetch_add(1, Ordering::Relaxed));
        let client = shared.cluster.lock().unwrap().client(&stream);
        create_copies(&client, &stream, true);
        leader(&client, &stream);
        Some(Self { shared, stream, client })
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.shared.host.run(|| self.target().sink()).unwrap()
    }

    fn source(&self) -> Box<dyn Source> {
        let target = self.target();
        let source = self.shared.host.run(|| target.source()).unwrap().unwrap();
        Box::new(InHost(self.shared.host.clone(), source))
    }

    fn length(&self) -> u64 {
        self.request(&json!(["length"])).as_u64().unwrap_or(0)
    }

    fn delete_stream(&self) {
        // A busy server may not do it at once.
        while !self.request(&json!(["info"])).is_null() {
            self.request(&json!(["delete"]));
        }
        // Servers remove the files later, and take what is left of them for those of the next stream of that name.
        let until = Instant::now() + Duration::from_secs(30);
        for index in 0..3 {
            let store = self.shared.cluster.lock().unwrap().store(index);
            while store.join("$G/streams").join(&self.stream).exists() {
                assert!(Instant::now() < until, "the servers do not remove the files of the stream");
                std::thread::yield_now();
            }
        }
    }

    fn delete_records(&self, _: &mut Box<dyn Sink>) -> Option<LastRecord> {
        self.request(&json!(["purge"]));
        Some(LastRecord { position: position(1, 1), stream: None, closes: false })
    }

    fn add_foreign(&self) {
        self.request(&json!(["publish", "text", {}]));
    }

    /// Each server removes notes at a moment of its own.
    fn age_notes(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        let mut without = 0;
        while without < 20 {
            assert!(Instant::now() < until, "notes are kept for too long");
            let has_none = self.request(&json!(["has-note"])) == false;
            without = if has_none { without + 1 } else { 0 };
        }
    }

    fn kill(&mut self) {
        (0..3).for_each(|index| self.shared.cluster.lock().unwrap().kill(index));
    }
}

/// What a stream with one copy need not do.
pub(crate) fn own_tests() {
    for test in [
        a_stream_and_its_notes_have_three_copies,
        of_two_bridges_that_know_the_same_record_one_appends,
        a_large_batch_is_stored_in_parts,
        a_batch_is_stored_by_the_next_leader,
    ] {
        test(ThreeCopies::start().unwrap());
    }
}

fn a_batch_is_stored_by_the_next_leader(engine: ThreeCopies) {
    let mut sink = engine.sink();
    let all: Vec<_> = (0..3_000).map(|number| message(1, number, b"x")).collect();
    assert_eq!(append(&mut *sink, None, all[..1_000].to_vec()), Response::Appended);
    let first = leader(&engine.client, &engine.stream);
    engine.shared.cluster.lock().unwrap().kill(first);
    // As a bridge does: it connects again, and appends behind what is stored.
    let until = Instant::now() + Duration::from_secs(60);
    let mut stored = 1_000;
    while stored < all.len() {
        assert!(Instant::now() < until, "{stored} records are stored");
        let Ok(mut sink) = engine.connect() else { continue };
        let Ok(()) = sink.send(&presence(1, None)) else { continue };
        let Ok(Response::LastRecord { tail, .. }) = sink.receive() else { continue };
        let known = tail.unwrap().position;
        stored = known.number.0 as usize + 1;
        let end = (stored + 1_500).min(all.len());
        let request = batch(Some(known), all[stored..end].to_vec());
        if sink.send(&request).is_ok() && matches!(sink.receive(), Ok(Response::Appended)) {
            stored = end;
        }
    }
    engine.shared.cluster.lock().unwrap().spawn(first);
    leader(&engine.client, &engine.stream);
    let mut read: Vec<StreamRecord> = Vec::new();
    while read.len() < all.len() {
        let part = engine.source().read(position(1, read.len() as u64), 1_000).unwrap();
        assert!(!part.is_empty(), "{} records", read.len());
        read.extend(part);
    }
    assert!(read == all);
}

fn a_stream_and_its_notes_have_three_copies(engine: ThreeCopies) {
    let mut sink = engine.sink();
    call(&mut *sink, &presence(1, None));
    engine.delete_stream();
    append(&mut *sink, None, vec![message(1, 0, b"x")]);
    for stream in [engine.stream.as_str(), "KV_mcast-bridges"] {
        let info = engine.request(&json!(["api", format!("STREAM.INFO.{stream}"), null]));
        assert_eq!(info["config"]["num_replicas"], 3, "{info}");
    }
}

fn of_two_bridges_that_know_the_same_record_one_appends(engine: ThreeCopies) {
    let (mut one, mut other) = (engine.sink(), engine.sink());
    assert_eq!(append(&mut *one, None, vec![message(1, 0, b"a")]), Response::Appended);
    let known = Some(position(1, 0));
    let last = Response::LastRecord { tail: tail(position(1, 0), false), others: vec![None] };
    call(&mut *one, &presence(1, None));
    assert_eq!(call(&mut *other, &presence(2, None)), last);
    let all: Vec<_> = (1..4).map(|number| message(1, number, b"x")).collect();
    assert_eq!(call(&mut *one, &batch(known, all)), Response::Appended);
    // Its id is another one, so that the server does not refuse it as a repetition.
    let gap = Content::Gap { first: MessageNumber(1), cause: GapCause::JoinedLate };
    let gap = StreamRecord { content: gap, ..message(1, 9, b"") };
    let refused = Response::Refused { tail: tail(position(1, 3), false) };
    assert_eq!(call(&mut *other, &batch(known, vec![gap])), refused);
    assert_eq!(engine.length(), 4);
}

fn a_large_batch_is_stored_in_parts(engine: ThreeCopies) {
    let all: Vec<_> = (0..2_500).map(|number| message(1, number, b"x")).collect();
    assert_eq!(append(&mut *engine.sink(), None, all), Response::Appended);
    assert_eq!(engine.length(), 2_500);
}
