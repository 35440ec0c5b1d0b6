//! NATS JetStream.

use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab};
use serde_json::{Value, json};

use super::*;
use crate::certificates::Certificates;
use crate::nats_server::NatsServer;

/// A server on a host of its own.
pub(crate) struct Nats {
    server: NatsServer,
    pub(crate) host: Host,
    /// If it requires TLS.
    pub(crate) certificates: Option<Certificates>,
    _lab: Lab,
}

impl Nats {
    fn with(options: &[&str], login: &str) -> Option<Self> {
        let lab = Lab::new().unwrap();
        let host = lab.host("engine").unwrap();
        let server = NatsServer::start(&host, "prices", options, login)?;
        Some(Self { server, host, certificates: None, _lab: lab })
    }

    /// Starts a server that requires TLS and a certificate.
    pub(crate) fn with_tls() -> Option<Self> {
        let (lab, certificates) = (Lab::new().unwrap(), Certificates::make());
        let host = lab.host("engine").unwrap();
        let [authority, certificate, key, bridge, bridge_key] =
            ["ca.pem", "server.pem", "server.key", "bridge.pem", "bridge.key"]
                .map(|file| certificates.text(file));
        let options = ["--tlsverify", "--tlscacert", &authority, "--tlscert", &certificate, "--tlskey", &key];
        let server =
            NatsServer::start_for(&host, "prices", &options, "", &[&authority, &bridge, &bridge_key])?;
        Some(Self { server, host, certificates: Some(certificates), _lab: lab })
    }

    fn target(&self) -> Arc<dyn mcast_bridge::Engine> {
        match &self.certificates {
            Some(certificates) => with_tls(URL, certificates.proving()),
            None => at(URL),
        }
    }

    /// Creates the stream with these settings besides its own.
    fn create(&self, settings: Value) {
        let mut all = json!({ "name": "prices", "subjects": ["mcast.prices"], "storage": "file" });
        if let (Some(all), Value::Object(settings)) = (all.as_object_mut(), settings) {
            all.extend(settings);
        }
        let created = self.server.request(&json!(["api", "STREAM.CREATE.prices", all]));
        assert!(created["config"].is_object(), "{created}");
    }

    fn connect_to(&self, url: &str) -> Result<Box<dyn Sink>, EngineError> {
        self.host.run(|| at(url).sink()).unwrap()
    }
}

#[test]
fn tls_comes_first_where_servers_require_that() {
    let (lab, certificates) = (Lab::new().unwrap(), Certificates::make());
    let host = lab.host("engine").unwrap();
    let settings = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", handshake_first: true }}",
        certificates.text("server.pem"),
        certificates.text("server.key")
    );
    std::fs::write(certificates.path("nats.conf"), settings).unwrap();
    let options = ["--config", &certificates.text("nats.conf")];
    let Some(_server) = NatsServer::start(&host, "prices", &options, "") else { return };
    let target = |scheme: &str| with_tls(&URL.replace("nats", scheme), certificates.trusting());
    let connect = |scheme| host.run(|| target(scheme).sink()).unwrap();
    let mut sink = connect("tls+first").unwrap();
    let all = vec![message(1, 0, b"x"), message(1, 1, b"y")];
    assert_eq!(append(&mut *sink, None, all.clone()), Response::Appended);
    let mut source = host.run(|| target("tls+first").source()).unwrap().unwrap();
    assert_eq!(source.read(position(1, 0), 10).unwrap(), all);
    let error = connect("tls").err().unwrap();
    assert!(error.remedy.as_ref().is_some_and(|remedy| remedy.contains("tls+first://HOST")), "{error:?}");
}

const URL: &str = "nats://127.0.0.1?stream=prices";

impl Engine for Nats {
    fn start() -> Option<Self> {
        Self::with(&[], "")
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.host.run(|| self.target().sink()).unwrap()
    }

    fn source(&self) -> Box<dyn Source> {
        let target = self.target();
        // It connects again when the stream is created later.
        let source = self.host.run(|| target.source()).unwrap().unwrap();
        Box::new(InHost(self.host.clone(), source))
    }

    fn length(&self) -> u64 {
        self.server.length()
    }

    fn delete_stream(&self) {
        // A busy server may not do it at once.
        while !self.server.request(&json!(["info"])).is_null() {
            self.server.request(&json!(["delete"]));
        }
        // The server removes the files later, and takes what is left of them for those of the next stream of that name.
        let files = self.server.store().join("$G/streams/prices");
        let until = Instant::now() + Duration::from_secs(30);
        while files.exists() {
            assert!(Instant::now() < until, "the server does not remove the files of the stream");
            std::thread::yield_now();
        }
    }

    fn delete_records(&self, _: &mut Box<dyn Sink>) -> Option<LastRecord> {
        self.server.request(&json!(["purge"]));
        Some(LastRecord { position: position(1, 1), stream: None, closes: false })
    }

    fn add_foreign(&self) {
        self.server.request(&json!(["publish", "text", {}]));
    }

    fn age_notes(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.server.request(&json!(["notes"])) != 0 {
            assert!(Instant::now() < until, "notes are kept for too long");
        }
    }

    fn kill(&mut self) {
        self.server.kill();
    }
}

#[test]
fn ids_and_headers_are_as_documented() {
    let Some(nats) = Nats::start() else { return };
    let mut sink = nats.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]);
    let expected = json!({
        "Nats-Msg-Id": "1-1", "Mcast-Stream": "000000000000feed", "Mcast-Time": "1010",
        "Nats-Expected-Last-Msg-Id": "1-0",
    });
    assert_eq!(nats.server.request(&json!(["last"])), expected);
}

#[test]
fn a_stream_that_is_deleted_is_created_again_with_its_settings() {
    let Some(nats) = Nats::start() else { return };
    nats.server.request(&json!(["create", { "max_bytes": 123_456, "allow_direct": true }]));
    let mut sink = nats.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a")]);
    nats.delete_stream();
    append(&mut *sink, Some(position(1, 0)), vec![message(1, 1, b"b")]);
    assert_eq!(nats.server.request(&json!(["info"]))["max_bytes"], 123_456);
}

#[test]
fn a_wrong_password_does_not_pass() {
    let Some(nats) = Nats::with(&["--user", "feeds", "--pass", "secret"], "feeds:secret@") else { return };
    for url in [URL, "nats://feeds@127.0.0.1?stream=prices", "nats://feeds:wrong@127.0.0.1?stream=prices"] {
        let error = nats.connect_to(url).err().unwrap();
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("password"), "{error:?}");
    }
    let access = EngineAccess::default().with_password("secret");
    let target = engine_at("nats://feeds@127.0.0.1?stream=prices", access, None).unwrap();
    let mut sink = nats.host.run(|| target.sink()).unwrap().unwrap();
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a")]), Response::Appended);
}

#[test]
fn a_full_stream_is_an_error_that_passes() {
    let Some(nats) = Nats::start() else { return };
    nats.server.request(&json!(["create", { "max_msgs": 2, "discard": "new" }]));
    let mut sink = nats.sink();
    let records = (0..4).map(|number| message(1, number, b"x")).collect();
    // The reason is known when the first message of a batch is refused.
    assert_eq!(append(&mut *sink, None, records), Response::Refused { tail: tail(position(1, 1), false) });
    sink.send(&batch(Some(position(1, 1)), vec![message(1, 2, b"x")])).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(error.is_transient() && error.remedy.as_ref().unwrap().starts_with("make room"), "{error:?}");
    let mut sink = nats.sink();
    nats.server.request(&json!(["edit", { "max_msgs": -1 }]));
    assert_eq!(append(&mut *sink, Some(position(1, 1)), vec![message(1, 2, b"x")]), Response::Appended);
}

#[test]
fn what_can_not_be_used_is_an_error_with_a_remedy() {
    let Some(nats) = Nats::start() else { return };
    nats.server.request(&json!(["create", { "subjects": ["a.*"] }]));
    let error = nats.connect().err().unwrap();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("?stream="), "{error:?}");
    let mut sink = nats.connect_to("nats://127.0.0.1?stream=others").unwrap();
    let refused = call(&mut *sink, &batch(None, vec![message(1, 0, &vec![b'x'; 1 << 20])]));
    let Response::Unstorable(refused) = refused else { panic!("{refused:?}") };
    assert!(refused.most == Some(1 << 20) && refused.remedy.contains("max_payload"), "{refused:?}");
}

#[test]
fn streams_that_report_nothing_or_take_nothing_are_an_error_that_does_not_pass() {
    let Some(nats) = Nats::start() else { return };
    let subject_transform = json!({ "src": "mcast.prices", "dest": "others.prices" });
    let cases = [
        (json!({ "no_ack": true }), "--ack"),
        (json!({ "subject_transform": subject_transform }), "transform"),
    ];
    for (settings, remedy) in cases {
        nats.create(settings);
        let error = nats.connect().err().unwrap();
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains(remedy), "{error:?}");
        nats.delete_stream();
    }
}

#[test]
fn a_sealed_stream_is_read_but_not_appended_to() {
    let Some(nats) = Nats::start() else { return };
    let mut sink = nats.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a")]);
    nats.server.request(&json!(["edit", { "sealed": true, "discard": "new" }]));
    sink.send(&batch(Some(position(1, 0)), vec![message(1, 1, b"b")])).unwrap();
    for error in [sink.receive().unwrap_err(), nats.connect().err().unwrap()] {
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("?stream="), "{error:?}");
    }
    assert_eq!(nats.source().last().unwrap(), Some(message(1, 0, b"a")));
}

#[test]
fn a_subject_that_the_account_maps_to_another_is_an_error_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, "mappings: { \"mcast.prices\": \"others.prices\" }").unwrap();
    let Some(nats) = Nats::with(&["--config", file.to_str().unwrap()], "") else { return };
    let mut sink = nats.sink();
    sink.send(&batch(None, vec![message(1, 0, b"a")])).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(error.is_transient() && error.remedy.as_ref().unwrap().contains("mappings"), "{error:?}");
}

#[test]
fn the_last_record_is_known_after_it_was_removed() {
    let Some(mut nats) = Nats::start() else { return };
    let mut sink = nats.sink();
    append(&mut *sink, None, vec![message(1, 0, b"a"), message(1, 1, b"b")]);
    nats.server.request(&json!(["delete-last"]));
    let removed = Some(LastRecord { position: position(1, 1), stream: None, closes: false });
    assert_eq!(
        call(&mut *sink, &presence(1, None)),
        Response::LastRecord { tail: removed, others: Vec::new() }
    );
    assert_eq!(append(&mut *sink, Some(position(1, 1)), vec![message(1, 2, b"c")]), Response::Appended);
    // A server that restarts knows only what it has.
    nats.server.request(&json!(["delete-last"]));
    nats.server.kill();
    nats.server.restart();
    let mut sink = nats.sink();
    let last = Response::LastRecord { tail: tail(position(1, 0), false), others: Vec::new() };
    assert_eq!(call(&mut *sink, &presence(1, None)), last);
    assert_eq!(append(&mut *sink, Some(position(1, 0)), vec![message(1, 1, b"b")]), Response::Appended);
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let Some(nats) = Nats::with(&["size=4m"], "") else { return };
    let mut sink = nats.sink();
    let (mut expected, mut number) = (None, 0);
    let error = loop {
        let records: Vec<_> =
            (number..number + 10).map(|number| message(1, number, &[b'x'; 10_000])).collect();
        let last = records.last().map(|record| record.position);
        assert!(number < 2_000, "the disk is not full after 20 MB");
        match sink.send(&batch(expected, records)).and_then(|()| sink.receive()) {
            Ok(Response::Appended) => (expected, number) = (last, number + 10),
            Ok(Response::Refused { tail: Some(tail) }) => {
                (expected, number) = (Some(tail.position), tail.position.number.0 + 1);
            }
            Ok(response) => panic!("{response:?}"),
            Err(error) => break error,
        }
    };
    assert!(error.is_transient(), "{error:?}");
    let remedy = error.remedy.as_ref().expect("a remedy");
    assert!(remedy.starts_with("make room") || remedy.contains("because the disk is full"), "{error:?}");
}

/// Options of a server whose user `feeds` may publish to these subjects only.
fn permissions(folder: &tempfile::TempDir, publish: &str) -> [String; 2] {
    let file = folder.path().join("nats.conf");
    let users = format!(
        "authorization {{ users: [\n\
         {{ user: feeds, password: secret, permissions: {{ publish: [{publish}], subscribe: [\"_INBOX.>\"] }} }}\n\
         {{ user: admin, password: secret }}\n] }}"
    );
    std::fs::write(&file, users).unwrap();
    ["--config".to_owned(), file.to_str().unwrap().to_owned()]
}

#[test]
fn the_documented_permissions_are_enough_and_others_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let url = "nats://feeds:secret@127.0.0.1?stream=prices";
    let options = permissions(&folder, "\"$JS.API.>\", \"$KV.mcast-bridges.>\", \"mcast.prices\"");
    let Some(nats) = Nats::with(&options.each_ref().map(String::as_str), "admin:secret@") else { return };
    let mut sink = nats.connect_to(url).unwrap();
    call(&mut *sink, &presence(1, None));
    assert_eq!(append(&mut *sink, None, vec![message(1, 0, b"a")]), Response::Appended);
    drop(nats);
    let options = permissions(&folder, "\"mcast.prices\"");
    let nats = Nats::with(&options.each_ref().map(String::as_str), "admin:secret@").unwrap();
    let error = nats.connect_to(url).err().unwrap();
    assert!(
        !error.is_transient() && error.remedy.as_ref().unwrap().contains("$KV.mcast-bridges.>"),
        "{error:?}"
    );
}
