//! A cluster of Redis: primaries that are killed, and slots that move.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mcast_lab::Host;

use crate::audit::{Entry, audit};
use crate::certificates::Certificates;
use crate::failover::tls_files;
use crate::killed::{Victim, is_complete_after_kills};
use crate::network::{ENGINE, Network, close, text, write};
use crate::python_client::absent;
use crate::redis::{last_text, parse_entries};
use crate::support::eventually_within;

const PORTS: std::ops::Range<u16> = 7001..7007;
/// The keys of a stream, which move together.
const KEYS: [&str; 3] = ["prices", "{prices}:bridges", "{prices}:engine"];
/// The messages of a round.
const MESSAGES: u64 = 2_000;

/// Three primaries, each with a replica.
struct Cluster {
    host: Host,
    folder: tempfile::TempDir,
    /// If all speak only TLS.
    certificates: Option<Certificates>,
    servers: Vec<Option<mcast_lab::Child>>,
    /// The port of the server that was killed last.
    killed: Option<u16>,
}

impl Cluster {
    fn start(host: &Host, certificates: Option<Certificates>) -> Option<Self> {
        if !Path::new("/usr/bin/redis-server").exists() {
            return absent("redis-server");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut cluster =
            Self { host: host.clone(), folder, certificates, servers: Vec::new(), killed: None };
        cluster.servers = PORTS.map(|port| Some(cluster.spawn(port))).collect();
        PORTS.for_each(|port| {
            eventually_within(Duration::from_secs(30), "a server", || {
                cluster.cli(port, &["PING"]).starts_with("PONG")
            });
        });
        let addresses: Vec<String> = PORTS.map(|port| format!("{ENGINE}:{port}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let create =
            [&["--cluster", "create"], &addresses[..], &["--cluster-replicas", "1", "--cluster-yes"]];
        let mut command = cluster.host.command("redis-cli").unwrap();
        let made = command.args(cluster.client_options()).args(create.concat()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        cluster.wait();
        Some(cluster)
    }

    fn spawn(&self, port: u16) -> mcast_lab::Child {
        let folder = self.folder.path().join(port.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let port = port.to_string();
        let at = match self.certificates {
            Some(_) => ["--tls-port", &port, "--port", "0"],
            None => ["--port", &port, "--tls-port", "0"],
        };
        let own = ["--save", "", "--appendonly", "yes", "--protected-mode", "no"];
        let of_cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let open = ["--cluster-announce-ip", ENGINE, "--repl-diskless-sync-delay", "0"];
        let mut command = self.host.command("redis-server").unwrap();
        command.args([&at[..], &own, &of_cluster, &open].concat()).current_dir(folder);
        if let Some(certificates) = &self.certificates {
            command.args(["--tls-cluster", "yes", "--tls-replication", "yes"]);
            for [name, value] in tls_files(certificates) {
                command.args([format!("--{name}"), value]);
            }
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Returns what `redis-cli` prints.
    fn cli(&self, port: u16, arguments: &[&str]) -> String {
        let mut command = self.host.command("redis-cli").unwrap();
        command.args(self.client_options()).args(["-p", &port.to_string()]);
        let output = command.args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Returns what `redis-cli` needs to connect.
    fn client_options(&self) -> Vec<String> {
        let Some(certificates) = &self.certificates else { return Vec::new() };
        let files = [["--cacert", "ca.pem"], ["--cert", "bridge.pem"], ["--key", "bridge.key"]];
        let files = files.into_iter().flat_map(|[name, file]| [name.to_owned(), certificates.text(file)]);
        std::iter::once("--tls".to_owned()).chain(files).collect()
    }

    /// Waits until all servers run, each primary has a replica that is up to date, and all agree on that.
    fn wait(&self) {
        eventually_within(Duration::from_secs(60), "a cluster that is complete", || {
            PORTS.into_iter().all(|port| {
                let nodes = self.cli(port, &["CLUSTER", "NODES"]);
                let role = self.cli(port, &["INFO", "replication"]);
                self.cli(port, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && nodes.lines().count() == 6
                    && !nodes.contains("fail")
                    && (role.contains("connected_slaves:1") || role.contains("master_link_status:up"))
            })
        });
    }

    /// Returns the port of the primary that has the stream.
    fn owner(&self) -> Option<u16> {
        PORTS.into_iter().find(|port| {
            let exists = self.cli(*port, &["EXISTS", "prices"]);
            exists.parse::<u8>().is_ok() && self.cli(*port, &["ROLE"]).starts_with("master")
        })
    }

    fn id(&self, port: u16) -> String {
        self.cli(port, &["CLUSTER", "MYID"])
    }

    /// Kills the primary that has the stream.
    fn kill_owner(&mut self) {
        let port = self.owner().unwrap();
        let mut child = self.servers[usize::from(port - PORTS.start)].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.killed = Some(port);
    }

    /// Starts the server that was killed again, once another one has the stream.
    fn restart_killed(&mut self) {
        let killed = self.killed.take().unwrap();
        eventually_within(Duration::from_secs(30), "another primary", || {
            self.owner().is_some_and(|port| port != killed)
        });
        self.servers[usize::from(killed - PORTS.start)] = Some(self.spawn(killed));
        self.wait();
    }

    fn all(&self) -> Vec<Entry> {
        let owner = self.owner().unwrap();
        parse_entries(&self.cli(owner, &["--json", "XRANGE", "prices", "-", "+"]))
    }

    /// Moves the slot of the stream to another primary, with this beside each key.
    fn move_slot(&self, mut beside: impl FnMut()) {
        let from = self.owner().unwrap();
        let is_primary = |port: &u16| self.cli(*port, &["ROLE"]).starts_with("master");
        let to = PORTS.filter(is_primary).find(|port| *port != from).unwrap();
        let slot = self.cli(from, &["CLUSTER", "KEYSLOT", "prices"]);
        let set = |port: u16, what: &[&str]| {
            let reply = self.cli(port, &[&["CLUSTER", "SETSLOT", &slot], what].concat());
            assert_eq!(reply, "OK", "{what:?}");
        };
        set(to, &["IMPORTING", &self.id(from)]);
        set(from, &["MIGRATING", &self.id(to)]);
        for key in KEYS {
            let reply = self.cli(from, &["MIGRATE", ENGINE, &to.to_string(), key, "0", "5000"]);
            assert!(["OK", "NOKEY"].contains(&&*reply), "{key}: {reply}");
            beside();
        }
        set(to, &["NODE", &self.id(to)]);
        set(from, &["NODE", &self.id(to)]);
        eventually_within(Duration::from_secs(10), "the slot at its new place", || self.owner() == Some(to));
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

impl Victim for Cluster {
    fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "rediss+cluster" } else { "redis+cluster" };
        format!("{scheme}://{ENGINE}:9,{ENGINE}:7001,{ENGINE}:7002,{ENGINE}:7004?key=prices")
    }

    fn options(&self) -> Vec<String> {
        self.certificates.as_ref().map(Certificates::arguments).unwrap_or_default()
    }

    fn kill(&mut self) {
        self.kill_owner();
    }

    fn restart(&mut self) {
        self.restart_killed();
    }

    fn entries(&self) -> Vec<Entry> {
        self.all()
    }

    fn last_text(&self) -> String {
        let newest = |owner| self.cli(owner, &["XREVRANGE", "prices", "+", "-", "COUNT", "1"]);
        self.owner().map(|owner| last_text(&newest(owner))).unwrap_or_default()
    }
}

#[test]
fn a_cluster_of_redis_by_tls_is_complete_after_kills_of_everything() {
    let network = Network::new([0.01, 0.01]);
    let certificates = Certificates::make();
    certificates.name_server(&["127.0.0.1", ENGINE]);
    let Some(mut cluster) = Cluster::start(&network.engine, Some(certificates)) else { return };
    is_complete_after_kills(&network, &mut cluster);
}

#[test]
fn everything_is_stored_although_slots_move_and_primaries_are_killed() {
    let network = Network::new([0.0, 0.0]);
    let Some(mut cluster) = Cluster::start(&network.engine, None) else { return };
    let url = cluster.url();
    // Two bridges on two paths.
    let bridges = [0, 1].map(|index| network.start_bridge(index, &url, &[]));
    bridges.iter().for_each(|bridge| bridge.stdout.wait_for(r#""event":"connected""#));
    let mut publisher = network.publish(&["--wait-for", "2", "--evict-after", "60s"]);
    let rounds = mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(3).max(1);
    let mut written = 0;
    for round in 0..rounds {
        write(&mut publisher, written..written + MESSAGES / 2);
        written += MESSAGES / 2;
        match round % 3 {
            0 => cluster.move_slot(|| {
                write(&mut publisher, written..written + 100);
                written += 100;
            }),
            _ => {
                cluster.kill_owner();
                write(&mut publisher, written..written + MESSAGES / 2);
                written += MESSAGES / 2;
                cluster.restart_killed();
            }
        }
    }
    close(&mut publisher);
    publisher.end().succeeded();
    for bridge in bridges {
        let ended = bridge.end();
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
    let audit = audit(&cluster.all(), |_, number| Some(text(number)));
    assert_eq!((audit.messages, audit.gaps.len()), (written, 0), "{audit:?}");
    let owner = cluster.owner().unwrap();
    let at = |key: &str| cluster.cli(owner, &["EXISTS", key]);
    assert_eq!(KEYS.map(at), ["1", "1", "1"]);
}

#[test]
fn a_cluster_is_named_to_bridges_that_do_not_expect_one() {
    let network = Network::new([0.0, 0.0]);
    let Some(cluster) = Cluster::start(&network.engine, None) else { return };
    let other = PORTS.into_iter().find(|port| Some(*port) != cluster.owner()).unwrap();
    let ended = network.start_bridge(0, &format!("redis://{ENGINE}:{other}?key=prices"), &[]).end();
    assert!(ended.status == Some(4) && ended.stderr.contains("redis+cluster://HOST"), "{ended:?}");
    let url = format!("redis+cluster://{ENGINE}:{other}?key=x{{}}");
    let ended = network.start_bridge(0, &url, &[]).end();
    assert!(ended.status == Some(4) && ended.stderr.contains("choose a key without braces"), "{ended:?}");
}
