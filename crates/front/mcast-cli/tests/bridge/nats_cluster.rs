//! A cluster of NATS with a copy of the stream on each of three servers, whose leader is killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::audit::{Entry, audit};
use crate::nats::entry;
use crate::nats_server::SCRIPT;
use crate::network::{ENGINE, Network, close, text, write};
use crate::python_client::{PythonClient, absent, installed};
use crate::support::eventually_within;

const MESSAGES: u64 = 2_000;

struct Cluster {
    host: Host,
    program: PathBuf,
    folder: tempfile::TempDir,
    servers: [Option<Child>; 3],
    client: PythonClient,
}

impl Cluster {
    /// Starts three servers.
    fn start(host: &Host) -> Option<Self> {
        let (Some(program), Some(python)) = (installed("nats-server"), installed("python")) else {
            return absent("nats-server");
        };
        let urls = [0, 1, 2].map(|index| format!("nats://127.0.0.1:{}", 4222 + index)).join(",");
        let client = PythonClient::start(host, &python, SCRIPT, &[&urls, "prices"]);
        let (host, folder) = (host.clone(), tempfile::tempdir().unwrap());
        let mut cluster = Self { host, program, folder, servers: [None, None, None], client };
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
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.servers[index] = Some(child);
    }

    fn kill(&mut self, index: usize) {
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

    fn entries(&self) -> Vec<Entry> {
        let messages = self.client.request(&json!(["dump"]));
        messages.as_array().into_iter().flatten().map(entry).collect()
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
    let Some(mut cluster) = Cluster::start(&network.engine) else { return };
    cluster.create(true);
    cluster.leader();
    let url = format!("nats://{ENGINE}:4222,{ENGINE}:4223,{ENGINE}:4224?stream=prices");
    let bridges = [0, 1].map(|index| network.start_bridge(index, &url, &[]));
    bridges.iter().for_each(|bridge| bridge.stdout.wait_for(r#""event":"connected""#));
    let mut publisher = network.publish(&["--wait-for", "2", "--evict-after", "60s"]);
    let rounds = mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(2).max(1);
    for round in 0..rounds {
        let first = round * MESSAGES;
        write(&mut publisher, first..first + MESSAGES / 2);
        let leader = cluster.leader();
        cluster.kill(leader);
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
fn copies_of_a_stream_need_batches() {
    let network = Network::new([0.0, 0.0]);
    let Some(cluster) = Cluster::start(&network.engine) else { return };
    cluster.create(false);
    let ended = network.start_bridge(0, &format!("nats://{ENGINE}?stream=prices"), &[]).end();
    assert!(ended.status == Some(4) && ended.stderr.contains("set `allow_atomic`"), "{ended:?}");
}
