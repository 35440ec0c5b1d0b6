//! A broker of Kafka on a host of a lab, and what a client that others wrote reads from it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

const BROKER: &str = include_str!("kafka_broker.py");
const SCRIPT: &str = include_str!("kafka.py");

/// A broker, which listens on all addresses of its host.
pub(crate) struct KafkaServer {
    host: Host,
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
    tool: Mutex<Tool>,
}

/// The client.
struct Tool {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Returns Python of the virtual environment that `cargo verify` makes for the tests of engines, if it has the client.
fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines");
    let libraries = std::fs::read_dir(home.join("lib")).ok()?.flatten();
    let is_client = |folder: PathBuf| folder.join("site-packages/confluent_kafka").exists();
    libraries.map(|entry| entry.path()).any(is_client).then(|| home.join("bin/python"))
}

impl KafkaServer {
    /// Starts a broker with this address and password, and a client for the topic of this name; `None` if the client is
    /// not installed, unless that is required.
    pub(crate) fn start(host: &Host, address: &str, topic: &str, password: Option<&str>) -> Option<Self> {
        let Some(python) = python() else {
            assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "confluent-kafka is not installed");
            eprintln!("SKIPPED: confluent-kafka is not installed (cargo verify has:engines installs it)");
            return None;
        };
        let mut options = vec!["--host".to_owned(), address.to_owned()];
        options.extend(password.iter().flat_map(|password| ["--password".to_owned(), password.to_string()]));
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(host, &folder, &options);
        let mut command = host.command(python).unwrap();
        command.args(["-c", SCRIPT, "127.0.0.1:9092", topic, password.unwrap_or_default()]);
        let mut tool = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (tool.stdin.take().unwrap(), BufReader::new(tool.stdout.take().unwrap()));
        let tool = Mutex::new(Tool { child: tool, input, output });
        let server = Self { host: host.clone(), child, folder, options, tool };
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
        let mut tool = self.tool.lock().unwrap();
        writeln!(tool.input, "{request}").unwrap();
        let mut reply = String::new();
        tool.output.read_line(&mut reply).unwrap();
        let reply: Value = serde_json::from_str(&reply).unwrap_or_else(|_| panic!("{request} failed"));
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
        let tool = self.tool.get_mut().unwrap();
        for child in [&mut self.child, &mut tool.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(host: &Host, folder: &tempfile::TempDir, options: &[String]) -> Child {
    let mut command = host.command("python3").unwrap();
    command.args(["-c", BROKER]).args(options).current_dir(folder.path());
    command.stdout(Stdio::null()).spawn().unwrap()
}
