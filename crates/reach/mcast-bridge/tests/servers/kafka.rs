//! A broker of Kafka on a host of a lab, and what a client that others wrote reads from it. With `MCAST_TEST_KAFKA`, it
//! is a broker of the user.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::python_client::{PythonClient, absent, installed};
use crate::tunnel::Tunnel;

const BROKER: &str = include_str!("kafka_broker.py");
const SCRIPT: &str = include_str!("kafka.py");
/// The user of the client at a broker with a password, and the password of that user.
const READER: &str = "reader";
/// `HOST:PORT` of a broker of the user, as it names itself to clients.
const USERS: &str = "MCAST_TEST_KAFKA";

/// A broker, which listens on all addresses of its host, or is reached from there.
pub(crate) struct KafkaServer {
    broker: Broker,
    /// Where clients find it.
    address: String,
    topic: String,
    client: PythonClient,
}

enum Broker {
    Tests(OwnBroker),
    Users(Tunnel),
}

/// The broker of the tests.
struct OwnBroker {
    host: Host,
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

/// What the broker of the tests requires of clients.
#[derive(Default)]
pub(crate) struct Security<'a> {
    pub(crate) password: Option<&'a str>,
    /// Of SASL; PLAIN unless it is given.
    pub(crate) mechanism: Option<&'a str>,
    pub(crate) certificates: Option<&'a Certificates>,
    /// Whether clients must have a certificate.
    pub(crate) proves_clients: bool,
}

impl Security<'_> {
    /// Returns the options of the broker.
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let mut add = |name: &str, value: &str| options.extend([name.to_owned(), value.to_owned()]);
        self.password.iter().for_each(|password| add("--password", password));
        self.mechanism.iter().for_each(|mechanism| add("--mechanism", mechanism));
        if let Some(certificates) = self.certificates {
            add("--certificate", &certificates.text("server.pem"));
            add("--key", &certificates.text("server.key"));
            if self.proves_clients {
                add("--authority", &certificates.text("ca.pem"));
            }
        }
        options
    }

    /// Returns the settings of a client.
    fn settings(&self) -> Value {
        let protocol = match (self.certificates, self.password) {
            (None, None) => "plaintext",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), None) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        let mut settings = json!({ "security.protocol": protocol });
        if self.password.is_some() {
            settings["sasl.mechanisms"] = self.mechanism.unwrap_or("PLAIN").into();
            settings["sasl.username"] = READER.into();
            settings["sasl.password"] = READER.into();
        }
        if let Some(certificates) = self.certificates {
            settings["ssl.ca.location"] = certificates.text("ca.pem").into();
            if self.proves_clients {
                settings["ssl.certificate.location"] = certificates.text("bridge.pem").into();
                settings["ssl.key.location"] = certificates.text("bridge.key").into();
            }
        }
        settings
    }
}

/// Returns the broker of the user and its address, if there is one.
fn users_broker() -> Option<(String, SocketAddr)> {
    let address = std::env::var(USERS).ok()?;
    let resolved = address.to_socket_addrs().unwrap_or_else(|error| panic!("{USERS}={address}: {error}"));
    let resolved = resolved.into_iter().next().unwrap_or_else(|| panic!("{USERS}={address} has no address"));
    Some((address, resolved))
}

/// Returns Python of the virtual environment, if it has the client.
fn python() -> Option<PathBuf> {
    let python = installed("python")?;
    let libraries = std::fs::read_dir(python.parent()?.parent()?.join("lib")).ok()?.flatten();
    let is_client = |folder: PathBuf| folder.join("site-packages/confluent_kafka").exists();
    libraries.map(|entry| entry.path()).any(is_client).then_some(python)
}

impl KafkaServer {
    /// Starts a broker with this address, and a client for the topic of this name; `None` if the client is not installed,
    /// unless that is required.
    pub(crate) fn start(host: &Host, address: &str, topic: &str, security: &Security<'_>) -> Option<Self> {
        let python = python().or_else(|| absent("confluent-kafka"))?;
        let broker = Broker::Tests(OwnBroker::start(host, address, security));
        let arguments = ["127.0.0.1:9092", topic, &security.settings().to_string()];
        let client = PythonClient::start(host, &python, SCRIPT, &arguments);
        Some(Self { broker, address: format!("{address}:9092"), topic: topic.to_owned(), client })
    }

    /// As [`start`](Self::start), unless there is a broker of the user: on that, the topic has a name with a random number,
    /// and there is no password, so that tests that set one are skipped.
    #[allow(dead_code)]
    pub(crate) fn of_user_or_start(
        host: &Host,
        address: &str,
        topic: &str,
        password: Option<&str>,
    ) -> Option<Self> {
        let Some((users, server)) = users_broker() else {
            return Self::start(host, address, topic, &Security { password, ..Security::default() });
        };
        if password.is_some() {
            mcast_lab::skip(format_args!("the broker of {USERS} is used without a password"));
            return None;
        }
        let python = python().or_else(|| absent("confluent-kafka"))?;
        let tunnel = Tunnel::to(server);
        tunnel.open_on(host);
        let topic = format!("mcast-test-{topic}-{:016x}", RandomState::new().build_hasher().finish());
        let client = PythonClient::start(host, &python, SCRIPT, &[&users, &topic, "{}"]);
        Some(Self { broker: Broker::Users(tunnel), address: users, topic, client })
    }

    /// Returns the addresses that clients are given: `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Lets programs on another host reach the broker.
    #[allow(dead_code)]
    pub(crate) fn open_on(&self, host: &Host) {
        if let Broker::Users(tunnel) = &self.broker {
            tunnel.open_on(host);
        }
    }

    /// Returns whether it is the broker of the tests, for what that of a user does not have or must not be asked for.
    pub(crate) fn is_of_tests(&self) -> bool {
        let is_of_tests = matches!(self.broker, Broker::Tests(_));
        if !is_of_tests {
            mcast_lab::skip(format_args!("only with the broker of the tests, not with that of {USERS}"));
        }
        is_of_tests
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

    /// Has the broker of the tests refuse the next requests to append to this topic with this error.
    #[allow(dead_code)]
    pub(crate) fn refuse(&self, topic: &str, error: i16, times: u32) {
        if let Broker::Tests(broker) = &self.broker {
            broker.control(&format!("refuse {topic} {error} {times}"));
        }
    }

    /// Has the broker of the tests lack the requests with this key: no version of them is supported.
    #[allow(dead_code)]
    pub(crate) fn lack(&self, key: i16) {
        if let Broker::Tests(broker) = &self.broker {
            broker.control(&format!("unsupported {key}"));
        }
    }

    /// Moves the clock of the broker of the tests, or waits.
    #[allow(dead_code)]
    pub(crate) fn advance(&self, time: Duration) {
        match &self.broker {
            Broker::Tests(broker) => broker.control(&format!("advance {}", time.as_millis())),
            Broker::Users(_) => std::thread::sleep(time),
        }
    }

    /// Has the broker of the tests require another password of the user `feeds`, who remains connected, as with Kafka.
    #[allow(dead_code)]
    pub(crate) fn set_password(&self, password: &str) {
        if let Broker::Tests(broker) = &self.broker {
            broker.control(&format!("password {password}"));
        }
    }

    /// Has the broker of the tests end all connections.
    #[allow(dead_code)]
    pub(crate) fn disconnect(&self) {
        if let Broker::Tests(broker) = &self.broker {
            broker.control("disconnect");
        }
    }

    /// Returns the file in which the broker of the tests keeps everything.
    #[allow(dead_code)]
    pub(crate) fn journal(&self) -> Option<PathBuf> {
        match &self.broker {
            Broker::Tests(broker) => Some(broker.folder.path().join("journal")),
            Broker::Users(_) => None,
        }
    }

    /// Kills the broker without notice, or ends all connections to that of the user.
    pub(crate) fn kill(&mut self) {
        match &mut self.broker {
            Broker::Tests(broker) => {
                broker.child.kill().unwrap();
                broker.child.wait().unwrap();
            }
            Broker::Users(tunnel) => tunnel.cut(),
        }
    }

    /// Starts the broker again.
    #[allow(dead_code)]
    pub(crate) fn restart(&mut self) {
        match &mut self.broker {
            Broker::Tests(broker) => {
                broker.child = spawn(&broker.host, &broker.folder, &broker.options);
                broker.wait();
            }
            Broker::Users(tunnel) => tunnel.restore(),
        }
    }

    /// Sends the broker a signal to stand still, or to continue.
    #[allow(dead_code)]
    pub(crate) fn signal(&self, signal: i32, is_to_stand_still: bool) {
        match &self.broker {
            Broker::Tests(broker) => broker.child.signal(signal).unwrap(),
            Broker::Users(tunnel) => tunnel.pause(is_to_stand_still),
        }
    }
}

impl OwnBroker {
    fn start(host: &Host, address: &str, security: &Security<'_>) -> Self {
        let mut options = vec!["--host".to_owned(), address.to_owned()];
        options.extend(security.options());
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(host, &folder, &options);
        let broker = Self { host: host.clone(), child, folder, options };
        broker.wait();
        broker
    }

    /// Has it do something of its own.
    fn control(&self, line: &str) {
        let mut control = self.host.run(|| TcpStream::connect(("127.0.0.1", 9093))).unwrap().unwrap();
        writeln!(control, "{line}").unwrap();
        // It has done so when it closes the connection.
        control.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut control, &mut std::io::sink());
    }

    /// Waits until it accepts connections.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.host.run(|| TcpStream::connect(("127.0.0.1", 9093))).unwrap().is_err() {
            assert!(Instant::now() < until, "the broker does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        match &mut self.broker {
            Broker::Tests(broker) => {
                let _ = broker.child.kill();
                let _ = broker.child.wait();
            }
            Broker::Users(tunnel) => {
                tunnel.pause(false);
                tunnel.restore();
                let _ = self.client.request(&json!(["delete-all"]));
            }
        }
    }
}

fn spawn(host: &Host, folder: &tempfile::TempDir, options: &[String]) -> Child {
    let mut command = host.command("python3").unwrap();
    command.args(["-c", BROKER]).args(options).current_dir(folder.path());
    command.stdout(Stdio::null()).spawn().unwrap()
}
