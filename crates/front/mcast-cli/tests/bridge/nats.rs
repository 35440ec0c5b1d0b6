//! NATS JetStream on a host of its own, which both bridges reach without loss.

use serde_json::{Value, json};

use crate::audit::Entry;
use crate::engine::{Engine, Setup, SourceEngine, Stored, copy_folder};
use crate::nats_server::NatsServer;
use crate::network::{ENGINE, Network};

pub(crate) struct Nats {
    server: NatsServer,
    url: String,
    saved: Option<tempfile::TempDir>,
}

/// The names of fields in Redis for headers in NATS.
const FIELDS: [(&str, &str); 14] = [
    ("Mcast-Stream", "s"),
    ("Mcast-Time", "t"),
    ("Mcast-Key", "k"),
    ("Mcast-Origin", "o"),
    ("Mcast-Source", "source"),
    ("Mcast-Group", "group"),
    ("Mcast-Interface", "interface"),
    ("Mcast-Kernel-Time", "kernel"),
    ("Mcast-TTL", "ttl"),
    ("Mcast-DSCP", "dscp"),
    ("Mcast-Kind", "kind"),
    ("Mcast-First", "first"),
    ("Mcast-End", "end"),
    ("Mcast-Cause", "cause"),
];

impl Engine for Nats {
    const REJECTED: [&'static str; 2] =
        ["Authorization Violation", "remedy: give the right user and password"];
    const NO_ROOM: &'static str = "remedy: make room";
    const UNREACHABLE: &'static str = "nats://127.0.0.1:9?stream=prices";

    fn start(network: &Network, setup: Setup) -> Option<Self> {
        let (options, login, user): (&[&str], _, _) = match setup {
            Setup::Password => (&["--user", "feeds", "--pass", "secret"], "feeds:secret@", "feeds@"),
            _ => (&[], "", ""),
        };
        let server = NatsServer::start(&network.engine, "prices", options, login)?;
        if setup == Setup::Small {
            server.request(&json!(["create", { "max_bytes": 3 << 20, "discard": "new" }]));
        }
        Some(Self { server, url: format!("nats://{user}{ENGINE}?stream=prices"), saved: None })
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
        self.server.request(&json!(["last-text"])).as_str().unwrap_or_default().to_owned()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn restart(&mut self) {
        self.server.restart();
    }

    fn save(&mut self) {
        let saved = tempfile::tempdir().unwrap();
        copy_folder(&self.server.store(), &saved.path().join("jetstream"));
        self.saved = Some(saved);
    }

    fn roll_back(&mut self) {
        self.server.kill();
        let store = self.server.store();
        std::fs::remove_dir_all(&store).unwrap();
        copy_folder(&self.saved.as_ref().unwrap().path().join("jetstream"), &store);
        self.server.restart();
    }

    fn signal(&self, signal: i32) {
        self.server.signal(signal);
    }

    fn delete_stream(&self) {
        self.server.request(&json!(["delete"]));
    }

    fn make_room(&self) {
        self.server.request(&json!(["edit", { "max_bytes": -1 }]));
    }

    fn add_other_stream(&self) {
        self.server.request(&json!(["create", {}]));
        let headers = json!({ "Nats-Msg-Id": "1-0", "Mcast-Stream": "00000000000000ff", "Mcast-Time": "1" });
        self.server.request(&json!(["publish", "x", headers]));
    }
}

impl SourceEngine for Nats {
    fn store(&self, records: &[Stored]) {
        if self.length() == 0 {
            self.server.request(&json!(["create", { "allow_direct": true }]));
        }
        let messages: Vec<Value> = records.iter().map(message).collect();
        self.server.request(&json!(["publish-all", messages]));
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

/// Returns the text and the headers of a record.
fn message(record: &Stored) -> Value {
    let (text, mut headers) = record.named(&FIELDS);
    headers["Nats-Msg-Id"] = json!(Nats::id(record.incarnation, record.number));
    json!([text, headers])
}

/// Returns the entry that a message is: its headers and its text.
pub(crate) fn entry(message: &Value) -> Entry {
    Entry::of(message[0]["Nats-Msg-Id"].as_str().unwrap(), &message[0], &message[1], &FIELDS)
}
