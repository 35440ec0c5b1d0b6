//! A cluster of RabbitMQ with a copy of the stream on each of three servers, whose leader is killed.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::audit::Entry;
use crate::certificates::Certificates;
use crate::killed::{Victim, is_complete_after_kills};
use crate::network::{ENGINE, Network, close, write};
use crate::python_client::{PythonClient, absent, installed};
use crate::rabbitmq::entry;
use crate::rabbitmq_server::{self, PROGRAMS, users};
use crate::support::eventually_within;

const MESSAGES: u64 = 20_000;
/// The ports of servers without TLS, and with it.
const PORTS: [u16; 3] = [5552, 5553, 5554];
const PORTS_BY_TLS: [u16; 3] = [6552, 6553, 6554];
/// Longer than a server takes to start on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Three servers, which end with the lab, like everything that they have started.
struct Cluster {
    host: Host,
    folders: [tempfile::TempDir; 3],
    certificates: Certificates,
    servers: [Option<Child>; 3],
    client: PythonClient,
    /// The server that was killed last.
    killed: Option<usize>,
}

impl Cluster {
    fn start(host: &Host) -> Option<Self> {
        let Some(python) = installed("python").filter(|_| Path::new(PROGRAMS).exists()) else {
            return absent("rabbitmq-server");
        };
        let certificates = Certificates::make();
        certificates.name_server(&["127.0.0.1", ENGINE]);
        let client =
            PythonClient::start(host, &python, rabbitmq_server::SCRIPT, &["127.0.0.1", "feeds", "secret"]);
        let folders = [0, 1, 2].map(|index| configure(index, &certificates));
        let servers = [None, None, None];
        let mut cluster = Self { host: host.clone(), folders, certificates, servers, client, killed: None };
        (0..3).for_each(|index| cluster.spawn(index));
        Some(cluster)
    }

    /// Starts a server, and waits until it accepts clients.
    fn spawn(&mut self, index: usize) {
        let server = Path::new(PROGRAMS).join("rabbitmq-server");
        let mut command = rabbitmq_server::program(&self.host, self.folders[index].path(), &server);
        command.env("RABBITMQ_NODENAME", node(index));
        command.env("RABBITMQ_DIST_PORT", (25672 + index).to_string());
        self.servers[index] = Some(command.own_group().spawn().unwrap());
        eventually_within(START, "a server", || {
            self.host.run(|| TcpStream::connect(("127.0.0.1", PORTS[index]))).unwrap().is_ok()
        });
    }

    fn kill_server(&mut self, index: usize) {
        rabbitmq_server::wait_coordinated(self.folders[index].path(), &node(index));
        let mut child = self.servers[index].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Returns the URL of these servers.
    fn url_of(scheme: &str, ports: &[u16]) -> String {
        let addresses: Vec<String> = ports.iter().map(|port| format!("{ENGINE}:{port}")).collect();
        format!("{scheme}://feeds:secret@{}?stream=prices", addresses.join(","))
    }

    /// Has a bridge create the stream at the first server, which then leads it, with copies on the others.
    fn create(&self, network: &Network) {
        eventually_within(Duration::from_secs(60), "a stream", || {
            let url = Self::url_of("rabbitmq-stream", &PORTS[..1]);
            let ended = network.start_bridge(0, &url, &["-W", "5s"]).end();
            String::from_utf8_lossy(&ended.stdout).contains(r#""event":"connected""#)
        });
    }

    fn request(&self, what: &str) -> Value {
        self.client.request(&json!([what, "prices"]))
    }

    /// Returns the server that leads the stream, once there is one.
    fn leader(&self) -> usize {
        let mut leader = None;
        eventually_within(START, "a leader", || {
            let port = self.request("leader").as_u64();
            leader = port.and_then(|port| PORTS.iter().position(|known| u64::from(*known) == port));
            leader.is_some()
        });
        leader.unwrap()
    }
}

/// Returns the name of the node of a server.
fn node(index: usize) -> String {
    format!("r{index}@localhost")
}

/// Returns the folder of a server, with its settings.
fn configure(index: u16, certificates: &Certificates) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: String| std::fs::write(folder.path().join(name), content).unwrap();
    let [authority, certificate, key] =
        ["ca.pem", "server.pem", "server.key"].map(|file| certificates.text(file));
    let [port, port_by_tls] = [PORTS, PORTS_BY_TLS].map(|ports| ports[usize::from(index)]);
    write(
        "rabbitmq.conf",
        format!(
            "listeners.tcp = none\nstream.listeners.tcp.1 = 0.0.0.0:{port}\nstream.advertised_host = {ENGINE}\n\
             stream.listeners.ssl.1 = 0.0.0.0:{port_by_tls}\nstream.advertised_tls_host = {ENGINE}\n\
             ssl_options.cacertfile = {authority}\nssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
             loopback_users = none\nlog.console = false\nload_definitions = {}\ndisk_free_limit.absolute = 1MB\n\
             cluster_formation.peer_discovery_backend = classic_config\n\
             cluster_formation.classic_config.nodes.1 = r0@localhost\n\
             cluster_formation.classic_config.nodes.2 = r1@localhost\n\
             cluster_formation.classic_config.nodes.3 = r2@localhost\n\
             cluster_formation.randomized_startup_delay_range.min = 0\n\
             cluster_formation.randomized_startup_delay_range.max = 0\n",
            folder.path().join("users.json").display(),
        ),
    );
    write("users.json", users().to_string());
    write("plugins", "[rabbitmq_stream].".into());
    // The secret that nodes share.
    write(".erlang.cookie", "TEST".into());
    let cookie = folder.path().join(".erlang.cookie");
    std::fs::set_permissions(cookie, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    folder
}

impl Victim for Cluster {
    fn url(&self) -> String {
        Self::url_of("rabbitmq-stream+tls", &PORTS_BY_TLS)
    }

    fn options(&self) -> Vec<String> {
        self.certificates.arguments()
    }

    /// Kills the leader of the stream.
    fn kill(&mut self) {
        let leader = self.leader();
        self.kill_server(leader);
        self.killed = Some(leader);
    }

    fn restart(&mut self) {
        let killed = self.killed.take().unwrap();
        self.spawn(killed);
        self.leader();
    }

    fn entries(&self) -> Vec<Entry> {
        self.request("dump").as_array().into_iter().flatten().map(entry).collect()
    }

    fn last_text(&self) -> String {
        self.request("last-text").as_str().unwrap_or_default().to_owned()
    }
}

#[test]
#[ignore = "the servers take long to start: cargo soak --only bridge"]
fn three_copies_in_rabbitmq_by_tls_are_complete_after_kills_of_everything() {
    let network = Network::new([0.01, 0.01]);
    let Some(mut cluster) = Cluster::start(&network.engine) else { return };
    cluster.create(&network);
    is_complete_after_kills(&network, &mut cluster);
}

#[test]
fn a_bridge_follows_the_leader_of_a_stream_in_a_cluster_of_rabbitmq() {
    let network = Network::new([0.0, 0.0]);
    let Some(mut cluster) = Cluster::start(&network.engine) else { return };
    cluster.create(&network);
    let bridge = network.start_bridge(0, &Cluster::url_of("rabbitmq-stream", &PORTS[1..]), &[]);
    bridge.stdout.wait_for(r#""event":"connected""#);
    let mut publisher = network.publish(&["--wait-for", "1", "--evict-after", "60s"]);
    write(&mut publisher, 0..MESSAGES / 2);
    cluster.kill_server(0);
    write(&mut publisher, MESSAGES / 2..MESSAGES);
    close(&mut publisher);
    publisher.end().succeeded();
    let ended = bridge.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    // It wrote to the leader, which no URL named, and found the next one.
    assert!(ended.stderr.contains("messages are buffered until the broker can be used"), "{ended:?}");
    let summary = ended.json().pop().unwrap_or_default();
    // What the killed leader had stored without confirming it was sent to the next one again.
    let stored = summary["appended"].as_u64().zip(summary["already_stored"].as_u64());
    assert_eq!(stored.map(|(new, known)| new + known), Some(MESSAGES + 1), "{ended:?}");
}
