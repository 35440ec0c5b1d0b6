//! A cluster of NATS with a copy of the stream on each of three servers, whose leader is killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::audit::{Entry, audit};
use crate::certificates::Certificates;
use crate::killed::{Victim, is_complete_after_kills};
use crate::nats::entry;
use crate::nats_server::SCRIPT;
use crate::network::{ENGINE, Network, close, text, write};
use crate::python_client::{PythonClient, absent, installed};
use crate::support::eventually_within;

const MESSAGES: u64 = 2_000;
const URL: &str = "nats://10.9.0.9:4222,10.9.0.9:4223,10.9.0.9:4224?stream=prices";
/// The files of a client.
const CLIENT_FILES: [&str; 3] = ["ca.pem", "bridge.pem", "bridge.key"];

struct Cluster {
    host: Host,
    program: PathBuf,
    folder: tempfile::TempDir,
    /// If all speak only TLS.
    certificates: Option<Certificates>,
    servers: [Option<Child>; 3],
    client: PythonClient,
    /// The server that was killed last.
    killed: Option<usize>,
}

impl Cluster {
    /// Starts three servers.
    fn start(host: &Host, certificates: Option<Certificates>) -> Option<Self> {
        let (Some(program), Some(python)) = (installed("nats-server"), installed("python")) else {
            return absent("nats-server");
        };
        let urls = [0, 1, 2].map(|index| format!("nats://127.0.0.1:{}", 4222 + index)).join(",");
        let files = certificates.iter().flat_map(|own| CLIENT_FILES.map(|file| own.text(file)));
        let arguments: Vec<String> = [urls, "prices".into()].into_iter().chain(files).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let client = PythonClient::start(host, &python, SCRIPT, &arguments);
        let (host, folder, servers) = (host.clone(), tempfile::tempdir().unwrap(), [None, None, None]);
        let mut cluster = Self { host, program, folder, certificates, servers, client, killed: None };
        (0..3).for_each(|index| cluster.spawn(index));
        Some(cluster)
    }

    fn spawn(&mut self, index: usize) {
        let folder = self.folder.path().join(index.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let (port, cluster) = ((4222 + index).to_string(), format!("nats://127.0.0.1:{}", 6222 + index));
        let name = format!("server{index}");
        let options = ["--jetstream", "--store_dir", ".", "--cluster_name", "test", "--name", &name];
        let routes = "nats://127.0.0.1:6222,nats://127.0.0.1:6223,nats://127.0.0.1:6224";
        let addresses = ["--port", &port, "--cluster", &cluster, "--routes", routes];
        let mut command = self.host.command(&self.program).unwrap();
        command.args([&options[..], &addresses].concat()).current_dir(folder);
        if let Some(own) = &self.certificates {
            let files = [["--tlscacert", "ca.pem"], ["--tlscert", "server.pem"], ["--tlskey", "server.key"]];
            command.arg("--tlsverify");
            for [name, file] in files {
                command.args([name, &own.text(file)]);
            }
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.servers[index] = Some(child);
    }

    fn kill_server(&mut self, index: usize) {
        let mut child = self.servers[index].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Requests something of JetStream; null if it does not respond.
    fn api(&self, what: &str, body: &Value) -> Value {
        self.client.request(&json!(["api", what, body]))
    }

    /// Creates the stream with a copy on each server.
    fn create(&self, takes_batches: bool) {
        let settings = json!({
            "name": "prices", "subjects": ["mcast.prices"], "storage": "file", "num_replicas": 3,
            "allow_direct": true, "allow_atomic": takes_batches, "duplicate_window": 100_000_000,
        });
        eventually_within(Duration::from_secs(60), "a stream", || {
            self.api("STREAM.CREATE.prices", &settings)["config"].is_object()
        });
    }

    /// Returns the server that leads the stream, once each copy is up to date.
    fn leader(&self) -> usize {
        let mut leader = None;
        eventually_within(Duration::from_secs(60), "copies that are up to date", || {
            let cluster = self.api("STREAM.INFO.prices", &Value::Null)["cluster"].take();
            let copies = cluster["replicas"].as_array().into_iter().flatten();
            leader = cluster["leader"].as_str().and_then(|name| name.strip_prefix("server")?.parse().ok());
            leader.is_some() && copies.filter(|copy| copy["current"] == true).count() == 2
        });
        leader.unwrap()
    }
}

impl Victim for Cluster {
    fn url(&self) -> String {
        if self.certificates.is_some() { URL.replace("nats:", "tls:") } else { URL.to_owned() }
    }

    fn options(&self) -> Vec<String> {
        self.certificates.as_ref().map(Certificates::arguments).unwrap_or_default()
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
        let messages = self.client.request(&json!(["dump"]));
        messages.as_array().into_iter().flatten().map(entry).collect()
    }

    fn last_text(&self) -> String {
        self.client.request(&json!(["last-text"])).as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in self.servers.iter_mut().flatten() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

#[test]
fn two_bridges_store_everything_in_three_copies_although_leaders_are_killed() {
    let network = Network::new([0.02, 0.02]);
    let Some(mut cluster) = Cluster::start(&network.engine, None) else { return };
    cluster.create(true);
    cluster.leader();
    let bridges = [0, 1].map(|index| network.start_bridge(index, URL, &[]));
    bridges.iter().for_each(|bridge| bridge.stdout.wait_for(r#""event":"connected""#));
    let mut publisher = network.publish(&["--wait-for", "2", "--evict-after", "60s"]);
    let rounds = mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(2).max(1);
    for round in 0..rounds {
        let first = round * MESSAGES;
        write(&mut publisher, first..first + MESSAGES / 2);
        let leader = cluster.leader();
        cluster.kill_server(leader);
        write(&mut publisher, first + MESSAGES / 2..first + MESSAGES);
        cluster.spawn(leader);
    }
    close(&mut publisher);
    publisher.end().succeeded();
    for bridge in bridges {
        let ended = bridge.end();
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
    cluster.leader();
    let audit = audit(&cluster.entries(), |_, number| Some(text(number)));
    assert_eq!((audit.messages, audit.gaps.len()), (rounds * MESSAGES, 0), "{audit:?}");
}

#[test]
fn three_copies_in_nats_by_tls_are_complete_after_kills_of_everything() {
    let network = Network::new([0.01, 0.01]);
    let certificates = Certificates::make();
    certificates.name_server(&["127.0.0.1", ENGINE]);
    let Some(mut cluster) = Cluster::start(&network.engine, Some(certificates)) else { return };
    cluster.create(true);
    cluster.leader();
    is_complete_after_kills(&network, &mut cluster);
}

#[test]
fn copies_of_a_stream_need_batches() {
    let network = Network::new([0.0, 0.0]);
    let Some(cluster) = Cluster::start(&network.engine, None) else { return };
    cluster.create(false);
    let ended = network.start_bridge(0, &format!("nats://{ENGINE}?stream=prices"), &[]).end();
    assert!(ended.status == Some(4) && ended.stderr.contains("set `allow_atomic`"), "{ended:?}");
}
