//! A broker of Kafka on a host of a lab, and what a client that others wrote reads from it.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::python_client::{PythonClient, absent, installed};

const BROKER: &str = include_str!("kafka_broker.py");
const SCRIPT: &str = include_str!("kafka.py");

/// A broker, which listens on all addresses of its host.
pub(crate) struct KafkaServer {
    host: Host,
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
    client: PythonClient,
}

/// Returns Python of the virtual environment, if it has the client.
fn python() -> Option<PathBuf> {
    let python = installed("python")?;
    let libraries = std::fs::read_dir(python.parent()?.parent()?.join("lib")).ok()?.flatten();
    let is_client = |folder: PathBuf| folder.join("site-packages/confluent_kafka").exists();
    libraries.map(|entry| entry.path()).any(is_client).then_some(python)
}

impl KafkaServer {
    /// Starts a broker with this address and password, and a client for the topic of this name; `None` if the client is
    /// not installed, unless that is required.
    pub(crate) fn start(host: &Host, address: &str, topic: &str, password: Option<&str>) -> Option<Self> {
        let Some(python) = python() else {
            return absent("confluent-kafka");
        };
        let mut options = vec!["--host".to_owned(), address.to_owned()];
        options.extend(password.iter().flat_map(|password| ["--password".to_owned(), password.to_string()]));
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(host, &folder, &options);
        let arguments = ["127.0.0.1:9092", topic, password.unwrap_or_default()];
        let client = PythonClient::start(host, &python, SCRIPT, &arguments);
        let server = Self { host: host.clone(), child, folder, options, client };
        server.wait();
        Some(server)
    }

    /// Waits until it accepts connections.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.host.run(|| TcpStream::connect(("127.0.0.1", 9093))).unwrap().is_err() {
            assert!(Instant::now() < until, "the broker does not start");
            std::thread::yield_now();
        }
    }

    /// Has the client do something; returns its reply.
    pub(crate) fn request(&self, request: &Value) -> Value {
        let reply = self.client.request(request);
        assert!(reply.get("error").is_none(), "{request}: {reply}");
        reply
    }

    /// Returns the number of committed records.
    pub(crate) fn length(&self) -> u64 {
        self.request(&json!(["length"])).as_u64().unwrap()
    }

    /// Moves the clock of the broker.
    #[allow(dead_code)]
    pub(crate) fn advance(&self, time: Duration) {
        let mut control = self.host.run(|| TcpStream::connect(("127.0.0.1", 9093))).unwrap().unwrap();
        writeln!(control, "{}", time.as_millis()).unwrap();
        // It has read the line when it closes the connection.
        control.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut control, &mut std::io::sink());
    }

    /// Returns the file in which it keeps everything.
    #[allow(dead_code)]
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Kills the broker without notice.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the broker again.
    #[allow(dead_code)]
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.host, &self.folder, &self.options);
        self.wait();
    }

    #[allow(dead_code)]
    pub(crate) fn signal(&self, signal: i32) {
        self.child.signal(signal).unwrap();
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(host: &Host, folder: &tempfile::TempDir, options: &[String]) -> Child {
    let mut command = host.command("python3").unwrap();
    command.args(["-c", BROKER]).args(options).current_dir(folder.path());
    command.stdout(Stdio::null()).spawn().unwrap()
}
