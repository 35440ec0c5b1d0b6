//! Kafka on a host of its own, which both bridges reach without loss.

use serde_json::{Value, json};

use crate::audit::{Entry, audit, records};
use crate::engine::{Engine, Setup, SourceEngine, Stored};
use crate::kafka_server::KafkaServer;
#[cfg(feature = "kafka-tls")]
use crate::killed::{Victim, is_complete_after_kills};
use crate::network::{ENGINE, Network, close, text, write};
use crate::support::{eventually, start};

pub(crate) struct Kafka {
    server: KafkaServer,
    url: String,
    saved: Option<Vec<u8>>,
}

/// The names of fields in Redis for headers in Kafka.
const FIELDS: [(&str, &str); 14] = [
    ("mcast-origin", "o"),
    ("mcast-stream", "s"),
    ("mcast-time", "t"),
    ("mcast-key", "k"),
    ("mcast-kind", "kind"),
    ("mcast-first", "first"),
    ("mcast-end", "end"),
    ("mcast-cause", "cause"),
    ("mcast-source", "source"),
    ("mcast-group", "group"),
    ("mcast-interface", "interface"),
    ("mcast-kernel-time", "kernel"),
    ("mcast-ttl", "ttl"),
    ("mcast-dscp", "dscp"),
];

impl Engine for Kafka {
    const REJECTED: [&'static str; 2] = ["no password was given", "remedy: give the right user and password"];
    const NO_ROOM: &'static str = "remedy: make room";
    const UNREACHABLE: &'static str = "kafka://127.0.0.1:9/prices";

    fn start(network: &Network, setup: Setup) -> Option<Self> {
        let (password, user) = match setup {
            Setup::Password => (Some("secret"), "feeds@"),
            _ => (None, ""),
        };
        let server = KafkaServer::of_user_or_start(&network.engine, ENGINE, "prices", password)?;
        if setup == Setup::Restorable && !server.is_of_tests() {
            return None;
        }
        network.bridges.iter().for_each(|host| server.open_on(host));
        let url = format!("kafka://{user}{}/{}", server.address(), server.topic());
        Some(Self { server, url, saved: None })
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn length(&self) -> u64 {
        self.server.length()
    }

    fn entries(&self) -> Vec<Entry> {
        let messages = self.server.request(&json!(["dump"]));
        messages.as_array().into_iter().flatten().map(entry).collect()
    }

    fn last_text(&self) -> String {
        self.server.request(&json!(["last"]))[2].as_str().unwrap_or_default().to_owned()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn restart(&mut self) {
        self.server.restart();
    }

    fn save(&mut self) {
        self.saved = Some(std::fs::read(self.server.journal().unwrap()).unwrap());
    }

    fn roll_back(&mut self) {
        self.server.kill();
        std::fs::write(self.server.journal().unwrap(), self.saved.as_ref().unwrap()).unwrap();
        self.server.restart();
    }

    fn signal(&self, signal: i32) {
        self.server.signal(signal, signal == libc::SIGSTOP);
    }

    fn delete_stream(&self) {
        self.server.request(&json!(["delete"]));
    }

    fn make_room(&self) {}

    fn add_other_stream(&self) {
        self.server.request(&json!(["create", 1, {}]));
        let headers = json!({ "mcast-stream": "00000000000000ff", "mcast-time": "1" });
        self.server.request(&json!(["produce", "1-0", "x", headers]));
    }
}

impl SourceEngine for Kafka {
    fn store(&self, records: &[Stored]) {
        let messages: Vec<Value> = records.iter().map(message).collect();
        self.server.request(&json!(["produce-all", messages]));
    }

    fn id(incarnation: u64, number: u64) -> String {
        format!("{incarnation}-{number}")
    }

    fn copy_url(&self) -> String {
        format!("{}-copy", self.url)
    }

    fn copied(&self) -> Vec<Entry> {
        let messages = self.server.request(&json!(["dump", format!("{}-copy", self.server.topic())]));
        messages.as_array().into_iter().flatten().map(entry).collect()
    }
}

/// Returns the key, the text and the headers of a record.
fn message(record: &Stored) -> Value {
    let (text, headers) = record.named(&FIELDS);
    json!([Kafka::id(record.incarnation, record.number), text, headers])
}

/// Returns the entry that a record is: its key, its headers and its value.
fn entry(record: &Value) -> Entry {
    Entry::of(record[0].as_str().unwrap(), &record[1], &record[2], &FIELDS)
}

#[test]
fn subscribers_deliver_what_kafka_holds() {
    let network = Network::new([0.0, 0.0]);
    let Some(kafka) = Kafka::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &kafka, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..3_000);
    close(&mut publisher);
    publisher.end().succeeded();
    bridge.end().succeeded();
    let stored = audit(&kafka.entries(), |_, number| Some(text(number)));
    assert_eq!((stored.messages, stored.gaps.len(), stored.ends), (3_000, 0, 1));
    // Out of Kafka, from an id as Kafka shows it. The publisher's host subscribes, over the link of the bridge.
    let from = format!("{}-1000", kafka.entries()[0].incarnation);
    let subscribed = ["subscribe", "239.1.2.5%eth0:7000", "--name", "again", "--from", "oldest", "--json"];
    let subscriber = start(&network.publisher, &subscribed);
    let url = kafka.url();
    let group = "239.1.2.5%eth0:7000";
    let arguments = ["bridge", &url, "to", group, "--name", "again", "--from", &from, "--wait-for", "1"];
    start(&network.bridges[0], &arguments).end().succeeded();
    let messages: Vec<_> =
        subscriber.end().json().into_iter().filter(|record| record["event"] == "message").collect();
    assert_eq!(messages.len(), 2_000);
    assert_eq!(messages[0]["text"], text(1_000));
}

#[test]
fn of_two_bridges_one_appends_and_the_other_takes_over_when_it_is_killed() {
    let network = Network::new([0.0, 0.0]);
    let Some(kafka) = Kafka::start(&network, Setup::Plain) else { return };
    let mut bridges = vec![network.bridge(0, &kafka, &[])];
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..1_000);
    eventually("1,000 messages", || kafka.length() == 1_000);
    bridges.push(network.bridge(1, &kafka, &[]));
    write(&mut publisher, 1_000..2_000);
    eventually("2,000 messages", || kafka.length() == 2_000);
    // The first one is active.
    bridges[0].child.kill().unwrap();
    write(&mut publisher, 2_000..3_000);
    eventually("3,000 messages", || kafka.length() == 3_000);
    close(&mut publisher);
    publisher.end();
    let (_, summary) = records(&bridges.pop().unwrap().end().succeeded());
    assert_eq!(summary["gaps"], 0);
    let stored = audit(&kafka.entries(), |_, number| Some(text(number)));
    assert_eq!((stored.messages, stored.gaps.len(), stored.ends), (3_000, 0, 1));
}

/// A broker with TLS, certificates of clients and SCRAM.
#[cfg(feature = "kafka-tls")]
struct SafeKafka {
    server: KafkaServer,
    certificates: crate::certificates::Certificates,
    /// The file of the password.
    password: tempfile::NamedTempFile,
}

#[cfg(feature = "kafka-tls")]
impl SafeKafka {
    fn start(network: &Network) -> Option<Self> {
        let certificates = crate::certificates::Certificates::make();
        certificates.name_server(&["127.0.0.1", ENGINE]);
        let security = crate::kafka_server::Security {
            password: Some("secret"),
            mechanism: Some("SCRAM-SHA-256"),
            certificates: Some(&certificates),
            proves_clients: true,
        };
        let server = KafkaServer::start(&network.engine, ENGINE, "prices", &security)?;
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "secret\n").unwrap();
        Some(Self { server, certificates, password })
    }
}

#[cfg(feature = "kafka-tls")]
impl Victim for SafeKafka {
    fn url(&self) -> String {
        format!("kafka+tls://feeds@{}/prices?sasl=scram-sha-256", self.server.address())
    }

    fn options(&self) -> Vec<String> {
        let password = self.password.path().to_str().unwrap();
        let password = ["--password-file", password].map(str::to_owned);
        self.certificates.arguments().into_iter().chain(password).collect()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn restart(&mut self) {
        self.server.restart();
    }

    fn entries(&self) -> Vec<Entry> {
        let messages = self.server.request(&json!(["dump"]));
        messages.as_array().into_iter().flatten().map(entry).collect()
    }

    fn last_text(&self) -> String {
        self.server.request(&json!(["last"]))[2].as_str().unwrap_or_default().to_owned()
    }
}

#[cfg(feature = "kafka-tls")]
#[test]
fn kafka_by_tls_and_scram_is_complete_after_kills_of_everything() {
    let network = Network::new([0.01, 0.01]);
    let Some(mut kafka) = SafeKafka::start(&network) else { return };
    is_complete_after_kills(&network, &mut kafka);
}

/// What an operator types for a broker with TLS, certificates of clients and SCRAM.
#[cfg(feature = "kafka-tls")]
#[test]
fn the_command_stores_everything_by_tls_and_scram_although_the_broker_and_the_bridge_are_killed() {
    let network = Network::new([0.01, 0.0]);
    let Some(mut kafka) = SafeKafka::start(&network) else { return };
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "guessed\n").unwrap();
    let (url, right) = (kafka.url(), kafka.options());
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    let mut refused = right.clone();
    *refused.last_mut().unwrap() = wrong.path().to_str().unwrap();
    let refused = network.start_bridge(0, &url, &refused).end();
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("remedy: ") && !refused.stderr.contains("guessed"), "{refused:?}");
    let connected = || {
        let bridge = network.start_bridge(0, &url, &right);
        bridge.stdout.wait_for(r#""event":"connected""#);
        bridge
    };
    let mut running = connected();
    let mut publisher = network.publish(&["--wait-for", "1", "--linger", "60s", "--evict-after", "60s"]);
    let rounds = mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(4);
    for round in 0..rounds {
        write(&mut publisher, round * 1_000..round * 1_000 + 500);
        match round % 2 {
            0 => {
                kafka.kill();
                write(&mut publisher, round * 1_000 + 500..(round + 1) * 1_000);
                kafka.restart();
            }
            _ => {
                running.child.kill().unwrap();
                write(&mut publisher, round * 1_000 + 500..(round + 1) * 1_000);
                running = connected();
            }
        }
    }
    close(&mut publisher);
    publisher.end();
    running.end().succeeded();
    let stored = audit(&kafka.entries(), |_, number| Some(text(number)));
    assert_eq!((stored.messages, stored.gaps.len()), (rounds * 1_000, 0), "{stored:?}");
}
