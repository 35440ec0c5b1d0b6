//! A cluster of NATS with a copy of the stream on each of three servers, whose leader is killed.

use mcast_lab::Host;
use serde_json::json;

use crate::audit::{Entry, audit};
use crate::certificates::Certificates;
use crate::killed::{Victim, is_complete_after_kills};
use crate::nats::entry;
use crate::nats_server::{NatsCluster, create_copies, leader};
use crate::network::{ENGINE, Network, close, text, write};
use crate::python_client::PythonClient;

const MESSAGES: u64 = 2_000;
const URL: &str = "nats://10.9.0.9:4222,10.9.0.9:4223,10.9.0.9:4224?stream=prices";

struct Cluster {
    cluster: NatsCluster,
    client: PythonClient,
    /// The server that was killed last.
    killed: Option<usize>,
}

impl Cluster {
    /// Starts three servers.
    fn start(host: &Host, certificates: Option<Certificates>) -> Option<Self> {
        let cluster = NatsCluster::start(host, certificates)?;
        let client = cluster.client("prices");
        Some(Self { cluster, client, killed: None })
    }

    /// Creates the stream with a copy on each server.
    fn create(&self, takes_batches: bool) {
        create_copies(&self.client, "prices", takes_batches);
    }

    /// Returns the server that leads the stream, once each copy is up to date.
    fn leader(&self) -> usize {
        leader(&self.client, "prices")
    }
}

impl Victim for Cluster {
    fn url(&self) -> String {
        if self.cluster.certificates.is_some() { URL.replace("nats:", "tls:") } else { URL.to_owned() }
    }

    fn options(&self) -> Vec<String> {
        self.cluster.certificates.as_ref().map(Certificates::arguments).unwrap_or_default()
    }

    /// Kills the leader of the stream.
    fn kill(&mut self) {
        let leader = self.leader();
        self.cluster.kill(leader);
        self.killed = Some(leader);
    }

    fn restart(&mut self) {
        let killed = self.killed.take().unwrap();
        self.cluster.spawn(killed);
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
        cluster.cluster.kill(leader);
        write(&mut publisher, first + MESSAGES / 2..first + MESSAGES);
        cluster.cluster.spawn(leader);
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
