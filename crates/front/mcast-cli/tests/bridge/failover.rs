//! Engines of several servers, of which the one that a bridge uses is killed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mcast_lab::{Child, Host};

use crate::audit::audit;
use crate::certificates::Certificates;
use crate::engine::{Engine, Setup};
use crate::network::{ENGINE, Network, close, text, write};
use crate::python_client::{absent, installed};
use crate::rabbitmq_server::{self, PROGRAMS, users};
use crate::redis::{Redis, parse_entries};
use crate::support::{eventually, eventually_within, start};

const MESSAGES: u64 = 20_000;

/// A server in a folder of its own.
struct Server {
    child: Child,
    host: Host,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    fn start(host: &Host, program: &Path, port: u16, arguments: &[&str], files: &[(&str, &str)]) -> Self {
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
    fn cli(&self, arguments: &[&str]) -> String {
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
    assert!(ended.stderr.contains("messages are buffered until the engine can be used"), "{ended:?}");
    let entries = parse_entries(&replica.cli(&["--json", "XRANGE", "prices", "-", "+"]));
    let audit = audit(&entries, |_, number| Some(text(number)));
    assert_eq!((audit.messages, audit.gaps.len()), (rounds * MESSAGES, 0), "{audit:?}");
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
    let options = [
        ["--tls-ca", &authority],
        ["--tls-certificate", &own],
        ["--tls-key", &own_key],
        // The certificate is for the address that the server has for itself.
        ["--tls-server-name", "127.0.0.1"],
    ];
    let start = || {
        let bridge = network.start_bridge(0, &url, options.as_flattened());
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
    assert!(ended.stderr.contains("messages are buffered until the engine can be used"), "{ended:?}");
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert!(stdout.contains(&format!(r#""appended":{}"#, MESSAGES + 1)), "{ended:?}");
}

/// Returns three servers of one cluster of RabbitMQ.
fn rabbitmq(host: &Host) -> Option<Vec<Server>> {
    let server = Path::new(PROGRAMS).join("rabbitmq-server");
    if !server.exists() {
        return absent("rabbitmq-server");
    }
    let start = |index: u16| {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: String| std::fs::write(folder.path().join(name), content).unwrap();
        let port = 5552 + index;
        write(
            "rabbitmq.conf",
            format!(
                "listeners.tcp = none\nstream.listeners.tcp.1 = 0.0.0.0:{port}\nstream.advertised_host = {ENGINE}\n\
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
        let mut command = rabbitmq_server::program(host, folder.path(), &server);
        command.env("RABBITMQ_NODENAME", format!("r{index}@localhost"));
        command.env("RABBITMQ_DIST_PORT", (25672 + index).to_string());
        let server = Server { child: command.own_group().spawn().unwrap(), host: host.clone(), folder, port };
        eventually_within(Duration::from_secs(120), "a server", || {
            host.run(|| TcpStream::connect(("127.0.0.1", port))).unwrap().is_ok()
        });
        server
    };
    Some((0..3).map(start).collect())
}

#[test]
fn a_bridge_follows_the_leader_of_a_stream_in_a_cluster_of_rabbitmq() {
    let network = Network::new([0.0, 0.0]);
    let Some(servers) = rabbitmq(&network.engine) else { return };
    let url = |ports: &[u16]| {
        let addresses: Vec<String> = ports.iter().map(|port| format!("{ENGINE}:{port}")).collect();
        format!("rabbitmq-stream://feeds:secret@{}?stream=prices", addresses.join(","))
    };
    // The first one creates the stream, with copies on the others, and leads it.
    eventually_within(Duration::from_secs(60), "a stream", || {
        let ended = network.start_bridge(0, &url(&[5552]), &["-W", "5s"]).end();
        String::from_utf8_lossy(&ended.stdout).contains(r#""event":"connected""#)
    });
    let bridge = network.start_bridge(0, &url(&[5553, 5554]), &[]);
    bridge.stdout.wait_for(r#""event":"connected""#);
    let mut publisher = network.publish(&["--wait-for", "1", "--evict-after", "60s"]);
    write(&mut publisher, 0..MESSAGES / 2);
    servers[0].kill();
    write(&mut publisher, MESSAGES / 2..MESSAGES);
    close(&mut publisher);
    publisher.end().succeeded();
    let ended = bridge.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    // It wrote to the leader, which no URL named, and found the next one.
    assert!(ended.stderr.contains("messages are buffered until the engine can be used"), "{ended:?}");
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
        get("/ready").ends_with("\r\n\r\nnot ready: there is no connection to the engine\n")
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
