//! What the scenarios need of an engine.

use std::path::Path;

use serde_json::{Value, json};

use crate::audit::Entry;
use crate::network::Network;

/// How an engine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    Plain,
    /// It keeps what it acknowledged when it is killed.
    Durable,
    /// It can be rolled back.
    Restorable,
    /// It has room for fewer than 60,000 messages.
    Small,
    /// It requires the password `secret`.
    Password,
}

/// A server with a stream, and a client that others wrote.
pub(crate) trait Engine: Sized {
    /// What a bridge prints that is rejected: the cause, and the remedy.
    const REJECTED: [&'static str; 2];
    /// The remedy that it prints while there is no room.
    const NO_ROOM: &'static str;
    /// The URL of port 9 of the bridge's host.
    const UNREACHABLE: &'static str;

    /// Starts a server; `None` if it is not installed, unless that is required.
    fn start(network: &Network, setup: Setup) -> Option<Self>;
    /// Returns the URL of the stream, without a password.
    fn url(&self) -> String;
    /// Returns the number of records.
    fn length(&self) -> u64;
    fn entries(&self) -> Vec<Entry>;
    /// Returns the text of the last message.
    fn last_text(&self) -> String;
    /// Kills the server without notice.
    fn kill(&mut self);
    /// Starts the server again.
    fn restart(&mut self);
    /// Keeps a copy of what the server has.
    fn save(&mut self);
    /// Kills the server, and starts it again with what it had when it was saved.
    fn roll_back(&mut self);
    fn signal(&self, signal: i32);
    fn delete_stream(&self);
    /// Gives a small server more room.
    fn make_room(&self);
    /// Adds a message of the stream 00000000000000ff.
    fn add_other_stream(&self);
}

/// A record to store, as a bridge would have: its position, and its fields by their names in Redis.
pub(crate) struct Stored {
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Stored {
    /// Returns the text of a message or a datagram, and the other fields by the names that an engine has for them.
    pub(crate) fn named(&self, fields: &[(&str, &str)]) -> (&str, Value) {
        let (mut text, mut named) = ("", json!({}));
        for (name, value) in &self.fields {
            match fields.iter().find(|(_, field)| field == name) {
                Some((header, _)) => named[header] = json!(value),
                None => text = value,
            }
        }
        (text, named)
    }
}

/// Copies a folder.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// An engine that bridges publish from.
pub(crate) trait SourceEngine: Engine {
    /// Stores records with a client that others wrote.
    fn store(&self, records: &[Stored]);
    /// Returns what the engine shows as the id of this record.
    fn id(incarnation: u64, number: u64) -> String;
    /// Returns the URL of another stream, which is named `copy`.
    fn copy_url(&self) -> String;
    /// Returns the records of that stream.
    fn copied(&self) -> Vec<Entry>;
}

/// Defines tests from these scenarios, with each engine. Those `without kafka` need something that its broker in tests
/// does not have. RabbitMQ takes long to start, so `cargo soak` runs those with it.
macro_rules! scenarios {
    ($($scenario:ident)* $(; without kafka: $($other:ident)*)?) => {
        mod redis {
            $(#[test] fn $scenario() { super::$scenario::<crate::redis::Redis>(); })*
            $($(#[test] fn $other() { super::$other::<crate::redis::Redis>(); })*)?
        }
        mod nats {
            $(#[test] fn $scenario() { super::$scenario::<crate::nats::Nats>(); })*
            $($(#[test] fn $other() { super::$other::<crate::nats::Nats>(); })*)?
        }
        #[cfg(feature = "kafka")]
        mod kafka {
            $(#[test] fn $scenario() { super::$scenario::<crate::kafka::Kafka>(); })*
        }
        mod rabbitmq {
            $(
                #[test]
                #[ignore = "the server takes long to start: cargo soak --only bridge"]
                fn $scenario() {
                    super::$scenario::<crate::rabbitmq::Rabbitmq>();
                }
            )*
        }
    };
}
pub(crate) use scenarios;
