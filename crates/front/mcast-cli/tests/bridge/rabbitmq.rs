//! RabbitMQ on a host of its own, which both bridges reach without loss.

use std::path::Path;

use serde_json::{Value, json};

use crate::audit::Entry;
use crate::engine::{Engine, Setup, SourceEngine, Stored, copy_folder};
use crate::network::{ENGINE, Network, close, write};
use crate::rabbitmq_server::RabbitmqServer;
use crate::support::{eventually, program, start};

pub(crate) struct Rabbitmq {
    server: RabbitmqServer,
    url: String,
    saved: Option<tempfile::TempDir>,
}

/// The names of fields in Redis for properties in RabbitMQ.
const FIELDS: [(&str, &str); 14] = [
    ("mcast-engines", "o"),
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
    ("mcast-kernel", "kernel"),
    ("mcast-ttl", "ttl"),
    ("mcast-dscp", "dscp"),
];
/// Those that are numbers.
const NUMBERS: [&str; 4] = ["mcast-time", "mcast-key", "mcast-first", "mcast-end"];

impl Rabbitmq {
    fn request(&self, request: &str) -> Value {
        self.server.request(&json!([request, "prices"]))
    }
}

impl Engine for Rabbitmq {
    const REJECTED: [&'static str; 2] = ["authentication failed", "remedy: give the right user and password"];
    const NO_ROOM: &'static str = "make room on its disk";
    const UNREACHABLE: &'static str = "rabbitmq-stream://127.0.0.1:9?stream=prices";

    fn start(network: &Network, setup: Setup) -> Option<Self> {
        let server = RabbitmqServer::start(&network.engine, setup == Setup::Small)?;
        let login = if setup == Setup::Password { "feeds" } else { "feeds:secret" };
        let url = format!("rabbitmq-stream://{login}@{ENGINE}?stream=prices");
        Some(Self { server, url, saved: None })
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn length(&self) -> u64 {
        self.server.length("prices")
    }

    fn entries(&self) -> Vec<Entry> {
        self.request("dump").as_array().into_iter().flatten().map(entry).collect()
    }

    fn last_text(&self) -> String {
        self.request("last-text").as_str().unwrap_or_default().to_owned()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn restart(&mut self) {
        self.server.restart();
    }

    fn save(&mut self) {
        // What is copied while a server writes may not be whole.
        self.server.signal(libc::SIGSTOP);
        let saved = tempfile::tempdir().unwrap();
        copy_folder(&self.server.store(), &saved.path().join("mnesia"));
        self.saved = Some(saved);
        self.server.signal(libc::SIGCONT);
    }

    fn roll_back(&mut self) {
        self.server.kill();
        let store = self.server.store();
        std::fs::remove_dir_all(&store).unwrap();
        copy_folder(&self.saved.as_ref().unwrap().path().join("mnesia"), &store);
        self.request("forget");
        self.server.restart();
    }

    fn signal(&self, signal: i32) {
        self.server.signal(signal);
    }

    fn delete_stream(&self) {
        self.request("delete");
    }

    fn make_room(&self) {
        self.server.control(&["set_disk_free_limit", "1MB"]);
    }

    fn add_other_stream(&self) {
        let properties = json!({ "mcast-stream": "00000000000000ff", "mcast-incarnation": 1, "mcast-number": 0, "mcast-time": 1 });
        self.server.request(&json!(["publish", "prices", "x", properties]));
    }
}

impl SourceEngine for Rabbitmq {
    fn store(&self, records: &[Stored]) {
        let last = self.entries().last().map(|last| Self::id(last.incarnation, last.number));
        let before = records.iter().map(|record| Some(Self::id(record.incarnation, record.number)));
        let before = std::iter::once(last).chain(before);
        let messages: Vec<Value> =
            records.iter().zip(before).map(|(record, after)| message(record, after)).collect();
        self.server.request(&json!(["publish-all", "prices", messages]));
    }

    fn id(incarnation: u64, number: u64) -> String {
        format!("{incarnation}-{number}")
    }

    fn copy_url(&self) -> String {
        self.url.replace("stream=prices", "stream=copy")
    }

    fn copied(&self) -> Vec<Entry> {
        let messages = self.server.request(&json!(["dump", "copy"]));
        messages.as_array().into_iter().flatten().map(entry).collect()
    }
}

/// Returns the text and the properties of a record that follows the one with this id.
fn message(record: &Stored, after: Option<String>) -> Value {
    let (text, mut properties) = record.named(&FIELDS);
    properties["mcast-incarnation"] = json!(record.incarnation);
    properties["mcast-number"] = json!(record.number);
    after.into_iter().for_each(|after| properties["mcast-after"] = json!(after));
    for name in NUMBERS {
        if let Some(text) = properties[name].as_str() {
            properties[name] = json!(text.parse::<u64>().unwrap());
        }
    }
    json!([text, properties])
}

/// Returns the entry that a message is: its properties and its text.
pub(crate) fn entry(message: &Value) -> Entry {
    let id = format!("{}-{}", message[0]["mcast-incarnation"], message[0]["mcast-number"]);
    Entry::of(&id, &message[0], &message[1], &FIELDS)
}

/// The program of the guide.
const READER: &str = include_str!("read_rabbitmq.py");

#[test]
fn the_program_of_the_guide_reads_what_a_bridge_stores_and_a_bridge_publishes_it_again() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = Rabbitmq::start(&network, Setup::Plain) else { return };
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..3);
    close(&mut publisher);
    publisher.end().succeeded();
    bridge.end().succeeded();

    // It connects to the name that the server advertises, "localhost".
    let script = READER.replace("10.0.0.3", "127.0.0.1");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/engines/bin/python");
    let reader = program(&network.engine, python.to_str().unwrap(), &["-c", &script], false);
    reader.stdout.wait_for("end");
    let lines = reader.stdout.text();
    let expected = ["-0 message message 0", "-1 message message 1 x", "-2 message message 2 xx", "-3 end"];
    assert!(lines.lines().zip(expected).all(|(line, end)| line.trim_end().ends_with(end)), "{lines}");
    reader.end();

    let group = "239.1.2.5%eth0:7000";
    let subscriber = start(&network.publisher, &["subscribe", group, "--name", "again"]);
    let arguments = ["bridge", &engine.url(), "to", group, "--name", "again", "--wait-for", "1"];
    start(&network.bridges[0], &arguments).end().succeeded();
    let ended = subscriber.end().succeeded();
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!((0..3).all(|number| output.contains(&format!("message {number}"))), "{output}");
    eventually("nothing is written back", || engine.length() == 4);
}
