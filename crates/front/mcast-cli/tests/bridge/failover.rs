//! Engines of several servers, of which the one that a bridge uses is killed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mcast_lab::{Child, Host};

use crate::audit::{Entry, audit};
use crate::certificates::Certificates;
use crate::engine::{Engine, Setup};
use crate::killed::{Victim, is_complete_after_kills};
use crate::network::{ENGINE, Network, close, text, write};
use crate::python_client::{absent, installed};
use crate::redis::{Redis, last_text, parse_entries};
use crate::support::{eventually, eventually_within, start};

const MESSAGES: u64 = 20_000;

/// A server in a folder of its own.
pub(crate) struct Server {
    child: Child,
    host: Host,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    pub(crate) fn start(
        host: &Host,
        program: &Path,
        port: u16,
        arguments: &[&str],
        files: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut command = host.command(program).unwrap();
        command.args(arguments).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), host: host.clone(), folder, port }
    }

    fn kill(&self) {
        self.child.kill().unwrap();
    }

    /// Returns what `redis-cli` prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = self.host.command("redis-cli").unwrap();
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server of Redis at this port, which keeps nothing on disk.
fn redis_server(host: &Host, port: u16, more: &[&str]) -> Server {
    let port_text = port.to_string();
    let options =
        ["--port", &port_text, "--save", "", "--protected-mode", "no", "--repl-diskless-sync-delay", "0"];
    Server::start(host, Path::new("/usr/bin/redis-server"), port, &[&options, more].concat(), &[])
}

/// Returns a primary, its replica, and a sentinel that promotes that.
fn redis(host: &Host) -> Option<[Server; 3]> {
    let program = Path::new("/usr/bin/redis-server");
    if !program.exists() {
        return absent("redis-server");
    }
    let start = |port: u16, more: &[&str]| redis_server(host, port, more);
    let (primary, replica) = (start(7001, &[]), start(7002, &["--replicaof", ENGINE, "7001"]));
    eventually("a replica", || replica.cli(&["INFO", "replication"]).contains("master_link_status:up"));
    let settings = format!(
        "port 26379\nprotected-mode no\nsentinel monitor prices {ENGINE} 7001 1\n\
         sentinel down-after-milliseconds prices 500\nsentinel failover-timeout prices 3000\n"
    );
    let arguments = ["sentinel.conf", "--sentinel"];
    let sentinel = Server::start(host, program, 26379, &arguments, &[("sentinel.conf", &settings)]);
    eventually("a sentinel that knows the replica", || {
        sentinel.cli(&["SENTINEL", "replicas", "prices"]).contains("7002")
    });
    Some([primary, replica, sentinel])
}

#[test]
fn a_bridge_follows_the_primary_that_sentinels_name_and_stores_what_the_old_one_took_with_it() {
    let network = Network::new([0.0, 0.0]);
    let Some([mut primary, mut replica, _sentinel]) = redis(&network.engine) else { return };
    // The first one does not exist.
    let url = format!("redis+sentinel://{ENGINE}:9,{ENGINE}/prices?key=prices");
    let bridge = network.start_bridge(0, &url, &[]);
    bridge.stdout.wait_for(r#""event":"connected""#);
    let mut publisher = network.publish(&["--wait-for", "1", "--evict-after", "60s"]);
    let rounds = mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(1).max(1);
    let length = |server: &Server| server.cli(&["XLEN", "prices"]).trim().parse().unwrap_or(0);
    for round in 0..rounds {
        let first = round * MESSAGES;
        write(&mut publisher, first..first + MESSAGES / 2);
        eventually("messages in the primary", || length(&primary) > first);
        let port = primary.port;
        primary.kill();
        write(&mut publisher, first + MESSAGES / 2..first + MESSAGES);
        if round + 1 < rounds {
            let role = |server: &Server, line: &str| server.cli(&["INFO", "replication"]).contains(line);
            eventually_within(Duration::from_secs(60), "another primary", || role(&replica, "role:master"));
            let new_port = replica.port.to_string();
            primary = replica;
            replica = redis_server(&network.engine, port, &["--replicaof", ENGINE, &new_port]);
            eventually_within(Duration::from_secs(60), "another replica", || {
                role(&replica, "role:slave") && role(&replica, "master_link_status:up")
            });
        }
    }
    close(&mut publisher);
    publisher.end().succeeded();
    let ended = bridge.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("messages are buffered until the broker can be used"), "{ended:?}");
    let entries = parse_entries(&replica.cli(&["--json", "XRANGE", "prices", "-", "+"]));
    let audit = audit(&entries, |_, number| Some(text(number)));
    assert_eq!((audit.messages, audit.gaps.len()), (rounds * MESSAGES, 0), "{audit:?}");
}

/// A primary, its replica, and a sentinel, which all require TLS and certificates.
struct SafeRedis {
    host: Host,
    certificates: Certificates,
    /// One of them is the primary.
    servers: [Server; 2],
    sentinel: Server,
    /// The port of the primary that was killed last.
    killed: Option<u16>,
}

impl SafeRedis {
    fn start(host: &Host) -> Option<Self> {
        let program = Path::new("/usr/bin/redis-server");
        if !program.exists() {
            return absent("redis-server");
        }
        let certificates = Certificates::make();
        certificates.name_server(&["127.0.0.1", ENGINE]);
        let start = |port, more: &[&str]| Self::server(host, &certificates, port, more);
        let servers = [start(7001, &[]), start(7002, &["--replicaof", ENGINE, "8001"])];
        let files: String =
            tls_files(&certificates).iter().map(|[name, file]| format!("{name} {file}\n")).collect();
        // Without TLS it listens for `redis-cli` alone.
        let settings = format!(
            "port 26380\ntls-port 26379\nprotected-mode no\ntls-replication yes\n{files}\
             sentinel monitor prices {ENGINE} 8001 1\n\
             sentinel down-after-milliseconds prices 1000\nsentinel failover-timeout prices 5000\n"
        );
        let arguments = ["sentinel.conf", "--sentinel"];
        let sentinel = Server::start(host, program, 26380, &arguments, &[("sentinel.conf", &settings)]);
        let safe = Self { host: host.clone(), certificates, servers, sentinel, killed: None };
        safe.wait();
        Some(safe)
    }

    /// Starts a server, by TLS at a port that is greater by 1,000, and without it for `redis-cli` alone.
    fn server(host: &Host, certificates: &Certificates, port: u16, more: &[&str]) -> Server {
        let files = tls_files(certificates);
        let files: Vec<String> =
            files.into_iter().flat_map(|[name, file]| [format!("--{name}"), file]).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let port_by_tls = (port + 1_000).to_string();
        let by_tls = ["--tls-port", &port_by_tls, "--tls-replication", "yes"];
        redis_server(host, port, &[&by_tls[..], &files, more].concat())
    }

    /// Waits until the sentinel knows a primary, and a replica that is up to date and could replace it.
    fn wait(&self) {
        eventually_within(Duration::from_secs(120), "a primary and a replica", || {
            let Some(primary) = self.primary() else { return false };
            let replica = &self.servers[1 - primary];
            let replication = replica.cli(&["INFO", "replication"]);
            let known = self.sentinel.cli(&["SENTINEL", "replicas", "prices"]);
            let at = |name: &str, value: &str| known.contains(&format!("{name}\n{value}\n"));
            let is_known = at("port", &(replica.port + 1_000).to_string()) && at("flags", "slave");
            is_known
                && at("master-link-status", "ok")
                && replication.contains("role:slave")
                && replication.contains("master_link_status:up")
                && self.servers[primary].cli(&["ROLE"]).starts_with("master")
        });
    }

    /// Returns the index of the primary that the sentinel names, if it regards that as healthy.
    fn primary(&self) -> Option<usize> {
        let named = self.sentinel.cli(&["SENTINEL", "master", "prices"]);
        let port = named.split("port\n").nth(1)?.lines().next()?.parse::<u16>().ok()?;
        let is_healthy = named.contains("flags\nmaster\n");
        self.servers.iter().position(|server| is_healthy && server.port + 1_000 == port)
    }
}

/// Returns the settings of Redis that name the files of certificates.
pub(crate) fn tls_files(certificates: &Certificates) -> [[String; 2]; 6] {
    [
        ["tls-ca-cert-file", "ca.pem"],
        ["tls-cert-file", "server.pem"],
        ["tls-key-file", "server.key"],
        ["tls-client-cert-file", "bridge.pem"],
        ["tls-client-key-file", "bridge.key"],
        ["tls-auth-clients", "yes"],
    ]
    .map(|[name, value]| {
        let value = if value == "yes" { value.to_owned() } else { certificates.text(value) };
        [name.to_owned(), value]
    })
}

impl Victim for SafeRedis {
    fn url(&self) -> String {
        format!("rediss+sentinel://{ENGINE}:9,{ENGINE}/prices?key=prices")
    }

    fn options(&self) -> Vec<String> {
        self.certificates.arguments()
    }

    fn kill(&mut self) {
        let primary = self.primary().unwrap();
        self.servers[primary].kill();
        self.killed = Some(self.servers[primary].port);
    }

    /// As when the unit of the server is started again, it is a replica, of the primary that the sentinel names now.
    fn restart(&mut self) {
        let killed = self.killed.take().unwrap();
        let at_present = |redis: &Self| redis.primary().map(|primary| redis.servers[primary].port);
        eventually_within(Duration::from_secs(120), "another primary", || {
            at_present(self).is_some_and(|port| port != killed)
        });
        let primary = self.primary().unwrap();
        let port = (self.servers[primary].port + 1_000).to_string();
        self.servers[1 - primary] =
            Self::server(&self.host, &self.certificates, killed, &["--replicaof", ENGINE, &port]);
        self.wait();
    }

    fn entries(&self) -> Vec<Entry> {
        let primary = &self.servers[self.primary().unwrap()];
        parse_entries(&primary.cli(&["--json", "XRANGE", "prices", "-", "+"]))
    }

    fn last_text(&self) -> String {
        let newest =
            |primary: usize| self.servers[primary].cli(&["XREVRANGE", "prices", "+", "-", "COUNT", "1"]);
        self.primary().map(|primary| last_text(&newest(primary))).unwrap_or_default()
    }
}

#[test]
fn redis_by_tls_with_a_sentinel_is_complete_after_kills_of_everything() {
    let network = Network::new([0.01, 0.01]);
    let Some(mut redis) = SafeRedis::start(&network.engine) else { return };
    is_complete_after_kills(&network, &mut redis);
}

#[test]
fn a_bridge_uses_the_primary_of_several_servers() {
    let network = Network::new([0.0, 0.0]);
    let Some([primary, _replica, _sentinel]) = redis(&network.engine) else { return };
    let url = format!("redis://{ENGINE}:9,{ENGINE}:7002,{ENGINE}:7001?key=prices");
    let bridge = network.start_bridge(0, &url, &[]);
    bridge.stdout.wait_for(r#""event":"connected""#);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..10);
    close(&mut publisher);
    publisher.end().succeeded();
    bridge.end().succeeded();
    assert_eq!(primary.cli(&["XLEN", "prices"]).trim(), "11", "10 messages and the end");
}

#[test]
fn everything_is_stored_by_tls_although_the_bridge_is_killed_and_connections_are_cut() {
    let network = Network::new([0.01, 0.0]);
    let program = Path::new("/usr/bin/redis-server");
    if !program.exists() {
        return absent("redis-server").unwrap_or_default();
    }
    let certificates = Certificates::make();
    let [authority, certificate, key, own, own_key] =
        ["ca.pem", "server.pem", "server.key", "bridge.pem", "bridge.key"]
            .map(|file| certificates.text(file));
    let plain = ["--port", "7003", "--save", "", "--tls-port", "6390", "--tls-auth-clients", "yes"];
    let files = ["--tls-ca-cert-file", &authority, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let open = ["--protected-mode", "no"];
    let server = Server::start(&network.engine, program, 7003, &[&plain[..], &files, &open].concat(), &[]);
    eventually("a server", || server.cli(&["PING"]).starts_with("PONG"));
    let url = format!("rediss://{ENGINE}:6390?key=prices");
    // The certificate is for the address that the server has for itself.
    let tls = format!("ca={authority},certificate={own},key={own_key},name=127.0.0.1");
    let start = || {
        let bridge = network.start_bridge(0, &url, &["--tls", &tls]);
        bridge.stdout.wait_for(r#""event":"connected""#);
        bridge
    };
    let mut bridge = start();
    let mut publisher = network.publish(&["--wait-for", "1", "--linger", "60s"]);
    let rounds = mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(10);
    for round in 0..rounds {
        write(&mut publisher, round * 1_000..(round + 1) * 1_000);
        match round % 2 {
            0 => drop(server.cli(&["CLIENT", "KILL", "TYPE", "normal"])),
            _ => {
                bridge.child.kill().unwrap();
                bridge = start();
            }
        }
    }
    close(&mut publisher);
    publisher.end();
    bridge.end().succeeded();
    let entries = parse_entries(&server.cli(&["--json", "XRANGE", "prices", "-", "+"]));
    let audit = audit(&entries, |_, number| Some(text(number)));
    assert_eq!((audit.messages, audit.gaps.len()), (rounds * 1_000, 0), "{audit:?}");
}

/// Returns three servers of one cluster of NATS.
fn nats(host: &Host) -> Option<Vec<Server>> {
    let Some(program) = installed("nats-server") else { return absent("nats-server") };
    let start = |index: u16| {
        let (port, cluster) = ((4222 + index).to_string(), format!("nats://127.0.0.1:{}", 6222 + index));
        let name = format!("server{index}");
        let options = ["--jetstream", "--store_dir", ".", "--cluster_name", "test", "--name", &name];
        let routes = "nats://127.0.0.1:6222,nats://127.0.0.1:6223,nats://127.0.0.1:6224";
        let addresses = ["--port", &port, "--cluster", &cluster, "--routes", routes];
        Server::start(host, &program, 4222 + index, &[&options[..], &addresses].concat(), &[])
    };
    Some((0..3).map(start).collect())
}

#[test]
fn a_bridge_uses_another_server_of_a_cluster_of_nats() {
    let network = Network::new([0.0, 0.0]);
    let Some(servers) = nats(&network.engine) else { return };
    let url = |servers: &[&Server]| {
        let addresses: Vec<String> =
            servers.iter().map(|server| format!("{ENGINE}:{}", server.port)).collect();
        format!("nats://{}?stream=prices", addresses.join(","))
    };
    // The cluster elects a leader first.
    let all: Vec<&Server> = servers.iter().collect();
    eventually("a stream", || {
        let ended = network.start_bridge(0, &url(&all), &["-W", "500ms"]).end();
        String::from_utf8_lossy(&ended.stdout).contains(r#""event":"connected""#)
    });
    // What has one copy is at one server.
    let has = |server: &Server, stream: &str| server.path("jetstream/$G/streams").join(stream).exists();
    let is_needed = |server: &&Server| has(server, "prices") || has(server, "KV_mcast-bridges");
    let (needed, spare): (Vec<&Server>, Vec<&Server>) = servers.iter().partition(is_needed);
    assert!(!needed.is_empty() && !spare.is_empty(), "{} of 3 servers have a stream", needed.len());
    let bridge = network.start_bridge(0, &url(&[spare[0], needed[0], needed[needed.len() - 1]]), &[]);
    bridge.stdout.wait_for(r#""event":"connected""#);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..MESSAGES / 2);
    spare[0].kill();
    write(&mut publisher, MESSAGES / 2..MESSAGES);
    close(&mut publisher);
    publisher.end().succeeded();
    let ended = bridge.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("messages are buffered until the broker can be used"), "{ended:?}");
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert!(stdout.contains(&format!(r#""appended":{}"#, MESSAGES + 1)), "{ended:?}");
}

#[test]
fn a_bridge_is_live_and_ready_only_while_it_is_connected() {
    let network = Network::new([0.0, 0.0]);
    let Some(mut engine) = Redis::launch(Setup::Durable) else { return };
    let bridge = network.bridge(0, &engine, &["--metrics", "127.0.0.1:9480"]);
    let get = |path: &str| {
        let connected = network.bridges[0].run(|| TcpStream::connect("127.0.0.1:9480"));
        let (mut client, mut text) = (connected.unwrap().unwrap(), String::new());
        client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        client.read_to_string(&mut text).unwrap();
        text
    };
    eventually("a bridge that is ready", || get("/ready").ends_with("\r\n\r\nready\n"));
    engine.kill();
    eventually("a bridge that is not ready", || {
        get("/ready").ends_with("\r\n\r\nnot ready: there is no connection to the broker\n")
    });
    assert!(get("/live").starts_with("HTTP/1.1 200 "));
    engine.restart();
    eventually("a bridge that is ready again", || get("/ready").starts_with("HTTP/1.1 200 "));
    bridge.signalled(libc::SIGTERM);
}

#[test]
fn a_check_shows_what_an_engine_holds_and_changes_nothing() {
    let network = Network::new([0.0, 0.0]);
    let Some(mut engine) = Redis::launch(Setup::Durable) else { return };
    let check = |engine: &Redis, name: &str| {
        let arguments = ["bridge", "239.1.2.3:7000", "to", &engine.url(), "--name", name, "--check"];
        let ended = start(&network.bridges[0], &arguments).end();
        (ended.status, String::from_utf8(ended.stdout).unwrap(), ended.stderr)
    };
    let (status, stdout, _) = check(&engine, "prices");
    assert_eq!((status, stdout.trim_end().ends_with("nothing is stored there")), (Some(0), true), "{stdout}");
    assert_eq!(engine.cli(&["DBSIZE"]).trim(), "0");
    let bridge = network.bridge(0, &engine, &[]);
    let mut publisher = network.publish(&["--wait-for", "1"]);
    write(&mut publisher, 0..10);
    close(&mut publisher);
    publisher.end().succeeded();
    bridge.end().succeeded();
    let (status, stdout, _) = check(&engine, "prices");
    assert!(status == Some(0) && stdout.contains(", number 10, at 2"), "{stdout}");
    let (status, stdout, stderr) = check(&engine, "other");
    assert!(status == Some(1) && stderr.contains("it is not the stream \"other\""), "{stdout}{stderr}");
    engine.kill();
    assert_eq!(check(&engine, "prices").0, Some(4));
}

#[test]
fn no_secret_of_a_url_is_printed() {
    let network = Network::new([0.0, 0.0]);
    for url in [
        "redis://feeds:geheim@127.0.0.1:9?key=prices",
        "redis+sentinel://feeds:geheim@127.0.0.1:9/prices?key=prices",
        "rediss://feeds:geheim@127.0.0.1:9/x",
        "nats://feeds:geheim@127.0.0.1:9?stream=prices",
        "nats://geheim@127.0.0.1:9/x",
        "rabbitmq-stream://feeds:geheim@127.0.0.1:9?stream=prices",
        "rabbitmq-stream+tls://feeds:geheim@127.0.0.1:port",
        "amqp://feeds:geheim@127.0.0.1",
        "feeds:geheim@127.0.0.1",
    ] {
        let ended = network.start_bridge(0, url, &["-v"]).end();
        assert!(matches!(ended.status, Some(2 | 4)), "{url}: {ended:?}");
        let stdout = String::from_utf8_lossy(&ended.stdout);
        assert!(!ended.stderr.contains("geheim") && !stdout.contains("geheim"), "{url}: {ended:?}");
    }
}
