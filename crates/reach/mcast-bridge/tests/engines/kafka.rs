//! Kafka.

use mcast_lab::{Host, Lab};
use serde_json::json;

use super::*;
use crate::certificates::Certificates;
use crate::kafka_server::{KafkaServer, Security};

/// A broker on a host of its own.
pub(crate) struct Kafka {
    server: KafkaServer,
    host: Host,
    _lab: Lab,
}

impl Kafka {
    fn with(password: Option<&str>) -> Option<Self> {
        let lab = Lab::new().unwrap();
        let host = lab.host("engine").unwrap();
        let server = KafkaServer::of_user_or_start(&host, "127.0.0.1", "prices", password)?;
        Some(Self { server, host, _lab: lab })
    }

    /// Returns the URL of the topic.
    fn url(&self) -> String {
        format!("kafka://{}/{}", self.server.address(), self.server.topic())
    }

    fn connect_to(&self, url: &str) -> Result<Box<dyn Sink>, EngineError> {
        self.host.run(|| at(url).sink()).unwrap().map(|sink| self.in_host(sink))
    }

    /// Returns a sink whose threads start in the host.
    fn in_host(&self, sink: Box<dyn Sink>) -> Box<dyn Sink> {
        Box::new(InHost(self.host.clone(), sink))
    }

    /// Appends a message for each of these numbers.
    fn append(&self, sink: &mut dyn Sink, numbers: std::ops::Range<u64>) {
        let expected = numbers.start.checked_sub(1).map(|number| position(1, number));
        let records = numbers.map(|number| message(1, number, b"x")).collect();
        assert_eq!(append(sink, expected, records), Response::Appended);
    }
}

impl Engine for Kafka {
    fn start() -> Option<Self> {
        Self::with(None)
    }

    fn connect(&self) -> Result<Box<dyn Sink>, EngineError> {
        self.connect_to(&self.url())
    }

    fn source(&self) -> Box<dyn Source> {
        let source = self.host.run(|| at(&self.url()).source()).unwrap().unwrap();
        Box::new(InHost(self.host.clone(), source))
    }

    fn length(&self) -> u64 {
        self.server.length()
    }

    fn delete_stream(&self) {
        self.server.request(&json!(["delete"]));
    }

    fn delete_records(&self, _: &mut Box<dyn Sink>) -> Option<LastRecord> {
        self.server.request(&json!(["purge"]));
        Some(LastRecord { position: position(1, 1), stream: None, closes: false })
    }

    fn add_foreign(&self) {
        self.server.request(&json!(["produce", "key", "text", {}]));
    }

    fn age_notes(&self) {
        self.server.advance(mcast_bridge::BridgeBeacon::KEPT_FOR);
    }

    fn kill(&mut self) {
        self.server.kill();
    }
}

#[test]
fn keys_and_headers_are_as_documented() {
    let Some(kafka) = Kafka::start() else { return };
    let mut sink = kafka.sink();
    kafka.append(&mut *sink, 0..3);
    let headers = json!({ "mcast-stream": "000000000000feed", "mcast-time": "1020" });
    assert_eq!(kafka.server.request(&json!(["last"])), json!(["1-2", headers, "x"]));
    let topic = kafka.server.topic();
    assert_eq!(kafka.server.request(&json!(["topics"])), json!([topic, format!("{topic}-bridges")]));
}

#[test]
fn a_bridge_that_takes_over_fences_the_active_one() {
    let Some(kafka) = Kafka::start() else { return };
    let (mut one, mut other) = (kafka.sink(), kafka.sink());
    call(&mut *one, &presence(1, None));
    kafka.append(&mut *one, 0..3);
    let since = Instant::now();
    kafka.append(&mut *other, 3..5);
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(3), "it stood by for {took:?}");
    // The first one expects a record that is no longer the last one, and then stands by.
    let refused = call(&mut *one, &batch(Some(position(1, 2)), vec![message(1, 3, b"late")]));
    assert_eq!(refused, Response::Refused { tail: tail(position(1, 4), false) });
    let refused = call(&mut *one, &batch(Some(position(1, 4)), vec![message(1, 5, b"x")]));
    assert_eq!(refused, Response::Refused { tail: tail(position(1, 4), false) });
    kafka.append(&mut *other, 5..6);
    let stored: Vec<_> = (0..6).map(|number| message(1, number, b"x")).collect();
    assert_eq!(kafka.source().read(position(1, 0), 100).unwrap(), stored);
}

#[test]
fn a_bridge_that_has_what_the_active_one_lacks_takes_over_at_once() {
    let Some(kafka) = Kafka::start() else { return };
    let (mut one, mut other) = (kafka.sink(), kafka.sink());
    call(&mut *one, &presence(1, None));
    kafka.append(&mut *one, 0..3);
    call(&mut *one, &presence(1, Some(PendingGap { start: position(1, 3), end: MessageNumber(5) })));
    let since = Instant::now();
    kafka.append(&mut *other, 3..5);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    // The first one has what follows.
    call(&mut *other, &presence(2, Some(PendingGap { start: position(1, 5), end: MessageNumber(7) })));
    kafka.append(&mut *one, 5..7);
    assert_eq!(kafka.length(), 7);
}

#[test]
fn what_a_bridge_left_uncommitted_is_not_stored() {
    let Some(kafka) = Kafka::start() else { return };
    let mut sink = kafka.sink();
    kafka.append(&mut *sink, 0..3);
    let transaction = format!("mcast-bridge.{}", kafka.server.topic());
    kafka.server.request(&json!(["leave", transaction, "1-3", "left"]));
    drop(sink);
    kafka.age_notes();
    let mut sink = kafka.sink();
    let known = Response::LastRecord { tail: tail(position(1, 2), false), others: vec![] };
    assert_eq!(call(&mut *sink, &presence(1, None)), known);
    kafka.append(&mut *sink, 3..5);
    assert_eq!(kafka.server.request(&json!(["last"]))[2], "x");
    assert_eq!(kafka.length(), 5);
}

/// As that of a program which hangs: readers of committed records see nothing behind its beginning.
#[test]
fn an_open_transaction_of_another_program_hides_nothing_before_it() {
    let Some(kafka) = Kafka::start() else { return };
    let mut sink = kafka.sink();
    kafka.append(&mut *sink, 0..3);
    kafka.server.request(&json!(["leave", "other", "1-3", "left"]));
    let mut source = kafka.source();
    assert_eq!(source.last().unwrap(), Some(message(1, 2, b"x")));
    let all: Vec<_> = (0..3).map(|number| message(1, number, b"x")).collect();
    assert_eq!(source.read(position(0, 0), 100).unwrap(), all);
    assert_eq!(source.read(position(1, 3), 100).unwrap(), vec![]);
}

#[test]
fn the_last_record_is_found_before_many_aborted_ones() {
    let Some(kafka) = Kafka::start() else { return };
    let mut sink = kafka.sink();
    // Otherwise it notes its presence under a random number, and is taken for two bridges for some seconds.
    call(&mut *sink, &presence(1, None));
    kafka.append(&mut *sink, 0..3);
    for _ in 0..50 {
        kafka.server.request(&json!(["abort", "other", "1-3", "aborted"]));
    }
    assert_eq!(kafka.source().last().unwrap(), Some(message(1, 2, b"x")));
    let mut fresh = kafka.sink();
    let known = Response::LastRecord { tail: tail(position(1, 2), false), others: vec![None] };
    call(&mut *sink, &presence(1, None));
    assert_eq!(call(&mut *fresh, &presence(2, None)), known);
    kafka.append(&mut *sink, 3..4);
    assert_eq!(kafka.length(), 4);
}

#[test]
fn one_of_several_brokers_may_be_down() {
    let Some(kafka) = Kafka::start() else { return };
    let url = kafka.url().replace("kafka://", "kafka://127.0.0.1:9,");
    let mut sink = kafka.connect_to(&url).unwrap();
    call(&mut *sink, &presence(1, None));
    kafka.append(&mut *sink, 0..3);
    assert_eq!(kafka.length(), 3);
}

#[test]
fn several_partitions_are_refused() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.server.request(&json!(["create", 3, {}]));
    let error = kafka.connect().err().unwrap();
    assert!(!error.is_transient() && error.what.contains("has 3 partitions"), "{error:?}");
}

#[test]
fn a_topic_that_may_not_be_used_or_created_is_an_error_that_does_not_pass() {
    let Some(kafka) = Kafka::start().filter(|kafka| kafka.server.is_of_tests()) else { return };
    let error = kafka.connect_to("kafka://127.0.0.1/denied").err().unwrap();
    assert!(
        !error.is_transient() && error.remedy.as_ref().unwrap().contains("mcast-bridge.TOPIC"),
        "{error:?}"
    );
    let error = kafka.connect_to("kafka://127.0.0.1/refused").err().unwrap();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("--partitions 1"), "{error:?}");
}

#[test]
fn the_limit_of_a_topic_is_that_of_its_messages() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.server.request(&json!(["create", 1, { "max.message.bytes": "1000" }]));
    let mut sink = kafka.sink();
    let noise: Vec<u8> = (0..4_000_u32).map(|number| (number * number / 7) as u8).collect();
    let refused = append(&mut *sink, None, vec![message(1, 0, &noise)]);
    let Response::Unstorable(refused) = refused else { panic!("{refused:?}") };
    assert!(refused.size == Some(4_000) && refused.remedy.contains("max.message.bytes"), "{refused:?}");
    kafka.append(&mut *sink, 0..1);
    assert_eq!(kafka.length(), 1);
}

#[test]
fn a_wrong_password_does_not_pass() {
    let Some(kafka) = Kafka::with(Some("secret")) else { return };
    for url in ["kafka://feeds@127.0.0.1/prices", "kafka://feeds:wrong@127.0.0.1/prices"] {
        let error = kafka.connect_to(url).err().unwrap();
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("password"), "{error:?}");
    }
    let mut sink = kafka.connect_to("kafka://feeds:secret@127.0.0.1/prices").unwrap();
    kafka.append(&mut *sink, 0..1);
    assert_eq!(kafka.length(), 1);
}

impl Kafka {
    /// A broker that requires these, with the options of TLS that a bridge needs.
    fn secured(security: &Security<'_>) -> Option<Self> {
        let lab = Lab::new().unwrap();
        let host = lab.host("engine").unwrap();
        let server = KafkaServer::start(&host, "127.0.0.1", "prices", security)?;
        Some(Self { server, host, _lab: lab })
    }

    /// Connects by TLS with these options.
    fn connect_by_tls(&self, url: &str, options: TlsOptions) -> Result<Box<dyn Sink>, EngineError> {
        self.host.run(|| with_tls(url, options).sink()).unwrap().map(|sink| self.in_host(sink))
    }
}

#[test]
fn passwords_are_proven_by_scram_and_by_tls() {
    let certificates = Certificates::make();
    for (mechanism, is_tls) in
        [("SCRAM-SHA-256", false), ("SCRAM-SHA-512", false), ("SCRAM-SHA-512", true), ("PLAIN", true)]
    {
        let security = Security {
            password: Some("secret"),
            mechanism: Some(mechanism),
            certificates: is_tls.then_some(&certificates),
            proves_clients: false,
        };
        let Some(kafka) = Kafka::secured(&security) else { return };
        let connect = |password: &str, mechanism: &str| {
            let place = format!("feeds:{password}@127.0.0.1:9092/prices?sasl={}", mechanism.to_lowercase());
            match is_tls {
                true => kafka.connect_by_tls(&format!("kafka+tls://{place}"), certificates.trusting()),
                false => kafka.connect_to(&format!("kafka://{place}")),
            }
        };
        let error = connect("wrong", mechanism).err().unwrap();
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("password"), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
        let other = if mechanism == "PLAIN" { "SCRAM-SHA-256" } else { "PLAIN" };
        let error = connect("secret", other).err().unwrap();
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("?sasl="), "{error:?}");
        let mut sink = connect("secret", mechanism).unwrap();
        kafka.append(&mut *sink, 0..3);
        assert_eq!(kafka.length(), 3, "{mechanism} {is_tls}");
    }
}

#[test]
fn brokers_and_bridges_prove_who_they_are_by_certificates() {
    let (certificates, others) = (Certificates::make(), Certificates::make());
    let security =
        Security { certificates: Some(&certificates), proves_clients: true, ..Security::default() };
    let Some(kafka) = Kafka::secured(&security) else { return };
    let url = "kafka+tls://127.0.0.1:9092/prices";
    let mut sink = kafka.connect_by_tls(url, certificates.proving()).unwrap();
    kafka.append(&mut *sink, 0..3);
    assert_eq!(kafka.length(), 3);
    let stranger = TlsOptions { authorities: Some(others.path("ca.pem")), ..certificates.proving() };
    for (options, expected) in
        [(stranger, "certificate verify failed"), (TlsOptions::default(), "certificate verify failed")]
    {
        let error = kafka.connect_by_tls(url, options).err().unwrap();
        assert!(error.what.contains(expected), "{error:?}");
        assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("--tls ca="), "{error:?}");
    }
    let error = kafka.connect_by_tls(url, certificates.trusting()).err().unwrap();
    assert!(error.remedy.as_ref().unwrap().contains("--tls certificate="), "{error:?}");
    // The certificate is for 127.0.0.1.
    let error =
        kafka.connect_by_tls("kafka+tls://localhost:9092/prices", certificates.proving()).err().unwrap();
    assert!(error.what.contains("certificate verify failed"), "{error:?}");
    let error = kafka.connect_to("kafka://127.0.0.1:9092/prices").err().unwrap();
    assert!(error.remedy.is_some(), "{error:?}");
}

#[test]
fn headers_that_are_not_text_are_an_error() {
    let Some(kafka) = Kafka::start() else { return };
    let mut sink = kafka.sink();
    kafka.server.request(&json!(["garbage", "1-0"]));
    sink.send(&presence(1, None)).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(!error.is_transient() && error.what.contains("no bridge wrote"), "{error:?}");
}

/// Starts the broker of the tests, which refers clients to itself by this host.
fn broker(name: &str) -> Option<Kafka> {
    let lab = Lab::new().unwrap();
    let host = lab.host("engine").unwrap();
    let server = KafkaServer::start(&host, name, "prices", &Security::default())?;
    Some(Kafka { server, host, _lab: lab })
}

#[test]
fn a_broker_that_cannot_be_reached_by_its_own_name_is_named() {
    let Some(kafka) = broker("broker.invalid") else { return };
    let error = kafka.connect_to("kafka://127.0.0.1:9092/prices").err().unwrap();
    assert!(error.is_transient() && error.what.contains("broker.invalid"), "{error:?}");
    assert!(error.remedy.as_ref().unwrap().contains("advertised.listeners"), "{error:?}");
}

#[test]
fn records_that_are_refused_for_missing_copies_are_an_error_that_says_so() {
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    let Some(kafka) = broker("127.0.0.1") else { return };
    let mut sink = kafka.sink();
    kafka.append(&mut *sink, 0..1);
    kafka.server.refuse("prices", NOT_ENOUGH_REPLICAS, u32::MAX);
    sink.send(&batch(Some(position(1, 0)), vec![message(1, 1, b"x")])).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(error.is_transient() && error.remedy.as_ref().unwrap().contains("copies"), "{error:?}");
}

#[test]
fn records_are_stored_once_when_their_partition_has_a_leader_again() {
    const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    let Some(kafka) = broker("127.0.0.1") else { return };
    let mut sink = kafka.sink();
    kafka.append(&mut *sink, 0..1);
    kafka.server.refuse("prices", NOT_LEADER_OR_FOLLOWER, 5);
    sink.send(&batch(Some(position(1, 0)), vec![message(1, 1, b"x")])).unwrap();
    assert_eq!(sink.receive().unwrap(), Response::Appended);
    assert_eq!(kafka.length(), 2);
}

#[test]
fn a_broker_without_transactions_is_refused() {
    const END_TXN: i16 = 26;
    let Some(kafka) = broker("127.0.0.1") else { return };
    kafka.server.lack(END_TXN);
    let mut sink = kafka.sink();
    sink.send(&batch(None, vec![message(1, 0, b"x")])).unwrap();
    let error = sink.receive().unwrap_err();
    assert!(!error.is_transient() && error.remedy.as_ref().unwrap().contains("transactions"), "{error:?}");
}

/// A cluster of the client's library, which is another implementation of the protocol. It has neither fencing nor
/// aborted transactions, loses its content with the process, and has no requests that create topics.
#[test]
fn one_bridge_appends_to_the_cluster_of_the_library() {
    let lab = Lab::new().unwrap();
    let host = lab.host("engine").unwrap();
    host.run(|| {
        let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
        cluster.create_topic("prices", 1, 1).unwrap();
        cluster.create_topic("prices-bridges", 1, 1).unwrap();
        let target = at(&format!("kafka://{}/prices", cluster.bootstrap_servers()));
        let mut sink = target.sink().unwrap();
        let all = records();
        call(&mut *sink, &presence(1, None));
        assert_eq!(append(&mut *sink, None, all.clone()), Response::Appended);
        let last = Response::LastRecord { tail: tail(position(2, 1), true), others: Vec::new() };
        assert_eq!(call(&mut *sink, &presence(1, None)), last);
        assert_eq!(target.source().unwrap().read(position(0, 0), 100).unwrap(), all);
    })
    .unwrap();
}
