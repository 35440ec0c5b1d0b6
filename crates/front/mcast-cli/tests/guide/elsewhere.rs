//! The commands of blocks of `sh elsewhere`, which name interfaces, hosts and files that the reader has: each test takes them from a
//! page, with those of a network of tests in their place.
//!
//! What is not run says so beside its block: `<!-- not run: WHY -->`.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::markdown::{blocks, top};
use crate::nats_server::{NatsCluster, NatsServer};
use crate::network::Network;
use crate::python_client::absent;
use crate::rabbitmq_server::RabbitmqServer;
use crate::support::{MCAST, Running, TIMEOUT, eventually, eventually_within, program};

/// What a bridge prints when it uses its engine.
const KEEPING: &str = "keeping the stream in";
/// The page of a network with VLANs.
const VLANS: &str = "<!-- lab: vlans -->";
/// The commands that tests here run: pages, and how the commands begin.
const RUN: [(&str, &[&str]); 11] = [
    ("across-vlans", &["mcast relay mdns"]),
    ("amt", &["mcast relay 198.51.100.7"]),
    ("into-containers", &["sudo mcast relay mdns"]),
    (
        "iptv-in-a-browser",
        &["mcast relay 239.255.1.0/24:5000 from eth1", "mpv http", "(umask", "mpv \"", "curl -H"],
    ),
    ("keep-in-kafka", &["mcast bridge kafka://", "mcast bridge prices to 'kafka+tls"]),
    ("keep-in-nats", &["mcast bridge prices"]),
    ("keep-in-rabbitmq", &["rabbitmqctl", "mcast bridge"]),
    ("keep-in-redis", &["redis-server", "mcast bridge", "redis-cli"]),
    ("operate-a-feed", &["mcast subscribe", "curl"]),
    ("reach-an-engine", &["mcast bridge"]),
    ("two-bridges", &["mcast bridge"]),
];

fn page(name: &str) -> String {
    fs::read_to_string(top().join(format!("how-to/{name}.md"))).unwrap()
}

/// Returns the commands of a page that are not for its network, each with the line of its block.
fn commands(name: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    for block in blocks(&page(name)).into_iter().filter(|block| block.info == "sh elsewhere") {
        let mut command = String::new();
        for line in &block.lines {
            command.push_str(line.trim());
            match command.strip_suffix('\\') {
                Some(begun) => command.truncate(begun.len()),
                None => commands.push((block.line, std::mem::take(&mut command))),
            }
        }
    }
    commands
}

/// Returns the only command of a page that begins so, with other words in the place of these.
fn command(name: &str, beginning: &str, words: &[(&str, &str)]) -> String {
    let mut found = commands(name).into_iter().filter(|(_, command)| command.starts_with(beginning));
    let (_, mut command) = found.next().unwrap_or_else(|| panic!("{name} has no command {beginning}"));
    assert!(found.next().is_none(), "{name} has several commands {beginning}");
    for (word, other) in words {
        assert!(command.contains(word), "{command} does not contain {word}");
        command = command.replace(word, other);
    }
    command
}

/// Starts a command in a folder.
fn run(host: &Host, folder: &Path, command: &str) -> Running {
    let programs = Path::new(MCAST).parent().unwrap().display();
    let exec = if command.contains(['|', ';', '&', '>', '(']) { "" } else { "exec " };
    let script = format!("PATH={programs}:$PATH; cd {}; {exec}{command}", folder.display());
    program(host, "sh", &["-c", &script], false)
}

/// Waits until a command prints this.
fn shows(running: &Running, text: &str) {
    let all = || running.stdout.text() + &running.stderr.text();
    let until = Instant::now() + 2 * TIMEOUT;
    while !all().contains(text) {
        assert!(Instant::now() < until, "waited for {text} in vain; received: {}", all());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Interrupts a command, which ends as it should.
fn interrupt(running: Running) -> String {
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    ended.text().to_owned() + &ended.stderr
}

/// Announces a stream on the sender, which writes a message when somebody has joined, and ends when its input is closed.
fn publish(network: &Network, options: &[&str]) -> Running {
    let arguments =
        ["publish", "239.255.1.3:5000", "--announce", "prices", "--linger", "20s", "--wait-for", "1"];
    let mut publisher = program(network.host("sender"), MCAST, &[&arguments, options].concat(), true);
    publisher.child.stdin.as_mut().unwrap().write_all(b"oil 81\n").unwrap();
    publisher
}

/// Ends a stream.
fn finish(mut publisher: Running) {
    drop(publisher.child.stdin.take());
    publisher.end().succeeded();
}

/// A server of others, which ends with the lab.
fn server(host: &Host, folder: &Path, program: &str, arguments: &[String]) -> Child {
    let mut command = host.command(program).unwrap();
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn has_redis() -> bool {
    let is_there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    is_there || absent::<()>("redis-server").is_some()
}

/// Returns what `redis-cli` prints.
fn redis_cli(host: &Host, port: &str, arguments: &[&str]) -> String {
    let mut command = host.command("redis-cli").unwrap();
    let output = command.args(["-p", port]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a server of Redis with these settings.
fn redis(host: &Host, folder: &Path, port: &str, more: &[&str]) -> Child {
    let own = ["--port", port, "--save", "", "--protected-mode", "no"];
    let arguments: Vec<String> = [&own, more].concat().iter().map(ToString::to_string).collect();
    let child = server(host, folder, "redis-server", &arguments);
    eventually("a server", || {
        let reply = redis_cli(host, port, &["PING"]);
        reply.starts_with("PONG") || reply.starts_with("NOAUTH")
    });
    child
}

#[test]
fn every_command_for_elsewhere_is_run_or_says_why_not() {
    for (name, beginnings) in RUN {
        let text = page(name);
        let all = commands(name);
        for beginning in beginnings {
            assert!(all.iter().any(|(_, command)| command.starts_with(beginning)), "{name}: {beginning}");
        }
        let lines: Vec<&str> = text.lines().collect();
        for (line, command) in all {
            let before = line.checked_sub(2).map_or("", |above| lines[above]);
            let is_run = beginnings.iter().any(|beginning| command.starts_with(beginning));
            let says_why = before.starts_with("<!-- not run: ");
            assert!(is_run || says_why, "{name}, line {line}: {command}");
        }
    }
}

#[test]
fn a_relay_forwards_what_finds_printers_and_into_a_container() {
    let (network, folder) = (Network::of(VLANS), tempfile::tempdir().unwrap());
    let gateway = network.host("gateway");
    let relay = run(gateway, folder.path(), &command("across-vlans", "mcast relay mdns", &[]));
    shows(&relay, "forwarding from vlan20 to vlan10");
    interrupt(relay);

    // What the interface of container engines says of one, whose process is in the namespace of `web`.
    let inside = program(network.host("web"), "sleep", &["1000"], false);
    let (socket, process) = (folder.path().join("engine.sock"), inside.child.id());
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut request) = (client.unwrap(), [0; 1_024]);
            let length = client.read(&mut request).unwrap_or(0);
            let is_named = String::from_utf8_lossy(&request[..length]).contains("/containers/homeassistant/");
            let status = if is_named { "200 OK" } else { "404 Not Found" };
            let _ = write!(client, "HTTP/1.0 {status}\r\n\r\n{{\"State\": {{\"Pid\": {process}}}}}");
        }
    });
    let engine = format!("DOCKER_HOST=unix://{} mcast", socket.display());
    let words = [("sudo mcast", engine.as_str()), ("eth0 ", "vlan20 ")];
    let relay = run(gateway, folder.path(), &format!("env {}", command("into-containers", "sudo", &words)));
    shows(&relay, "forwarding from vlan20 to docker:homeassistant");
    interrupt(relay);
    inside.signalled(libc::SIGTERM);
}

#[test]
fn a_rule_takes_a_relay_of_amt_as_its_source() {
    let (network, folder) = (Network::of(VLANS), tempfile::tempdir().unwrap());
    let serving = "mcast relay 232.1.2.0/24:5000 from vlan20 to amt-listen:10.1.0.254";
    let serving = run(network.host("gateway"), folder.path(), serving);
    shows(&serving, "forwarding from vlan20");
    let words = [("198.51.100.7", "10.2.0.1"), ("relay.example.net", "10.1.0.254")];
    let relay =
        run(network.host("laptop"), folder.path(), &command("amt", "mcast relay 198.51.100.7", &words));
    shows(&relay, "forwarding from amt:10.1.0.254 to eth0");
    interrupt(relay);
    interrupt(serving);
}

/// The place of the relay of the page about IPTV.
const AT: [(&str, &str); 2] = [("eth1", "vlan20"), ("192.168.1.1", "10.1.0.254")];

#[test]
fn players_get_a_stream_with_and_without_a_token() {
    let (network, folder) = (Network::of(VLANS), tempfile::tempdir().unwrap());
    let (gateway, laptop) = (network.host("gateway"), network.host("laptop"));
    let all = commands("iptv-in-a-browser");
    // The one behind a proxy is not run here.
    let relays = all.iter().filter(|(_, command)| command.starts_with("mcast relay 239."));
    let relays = relays.map(|(_, command)| {
        AT.iter().fold(command.clone(), |command, (word, other)| {
            assert!(command.contains(word), "{command}");
            command.replace(word, other)
        })
    });
    let relays: Vec<String> = relays.collect();
    let [plain, with_token, with_origin] = relays.as_slice() else { panic!("{relays:?}") };
    // Another client in the place of a player, which shows what it gets.
    let play = |player: &str| {
        let command = command("iptv-in-a-browser", player, &AT[1..]);
        let address = command.strip_prefix("mpv ").unwrap();
        let client = run(laptop, folder.path(), &format!("curl -sN --max-time 20 {address} | head -c 9"));
        let camera = network.host("camera").run(|| UdpSocket::bind("10.2.0.1:0")).unwrap().unwrap();
        let mut number = 0_u16;
        eventually("a stream", || {
            number += 1;
            let header = [&[0x80, 33][..], &number.to_be_bytes(), &[0; 4], &[1; 4]].concat();
            camera.send_to(&[&header[..], b"a picture"].concat(), "239.255.1.3:5000").unwrap();
            client.stdout.text().len() >= 9
        });
        assert_eq!(client.end().text(), "a picture");
    };
    let serve = |command: &str| {
        let relay = run(gateway, folder.path(), command);
        shows(&relay, "serving HTTP clients at http://10.1.0.254:4022/status");
        relay
    };
    let relay = serve(plain);
    play("mpv http");
    interrupt(relay);

    run(gateway, folder.path(), &command("iptv-in-a-browser", "(umask", &[])).end().succeeded();
    let relay = serve(with_token);
    play("mpv \"");
    let asking = command("iptv-in-a-browser", "curl -H", &AT[1..]);
    let status = run(laptop, folder.path(), &asking).end().succeeded();
    assert!(status.text().contains("239.255.1.3:5000"), "{status:?}");
    let refused = asking.replace("$(cat token)", "guessed").replace("curl", "curl -s -w '%{http_code}'");
    let refused = run(laptop, folder.path(), &refused).end();
    assert!(refused.text().ends_with("401"), "{refused:?}");
    interrupt(relay);

    let relay = serve(with_origin);
    let of_page = "curl -si -H 'Origin: https://tv.example' -H 'Host: tv.lan' http://10.1.0.254:4022/status";
    let response = run(laptop, folder.path(), of_page).end().succeeded();
    assert!(response.text().starts_with("HTTP/1.1 200"), "{response:?}");
    let response = run(laptop, folder.path(), &of_page.replace("tv.example", "other.example")).end();
    assert!(response.text().starts_with("HTTP/1.1 403"), "{response:?}");
    interrupt(relay);
}

#[test]
fn a_feed_shows_its_health() {
    let (network, folder) = (Network::new(), tempfile::tempdir().unwrap());
    let store = folder.path().join("store");
    fs::write(&store, "#!/bin/sh\ncat >> stored\n").unwrap();
    fs::set_permissions(&store, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let receiver = network.host("receiver");
    let publisher = publish(&network, &[]);
    let subscriber = run(receiver, folder.path(), &command("operate-a-feed", "mcast subscribe", &[]));
    let ask = || run(receiver, folder.path(), &command("operate-a-feed", "curl", &[])).end();
    eventually("a subscriber that is ready", || ask().text() == "ready\n");
    let stored = || fs::read_to_string(folder.path().join("stored")).unwrap_or_default();
    eventually("a message", || stored().contains("oil 81"));
    finish(publisher);
    subscriber.end().succeeded();
}

#[test]
fn a_stream_is_kept_in_redis_and_published_by_one_of_two_bridges() {
    if !has_redis() {
        return;
    }
    let (network, folder) = (Network::new(), tempfile::tempdir().unwrap());
    let [receiver, other] = ["receiver", "other"].map(|name| network.host(name));
    let keep = |beginning: &str| command("keep-in-redis", beginning, &[]);
    let redis_server = run(receiver, folder.path(), &keep("redis-server"));
    eventually("a server", || redis_cli(receiver, "6379", &["PING"]).starts_with("PONG"));
    let publisher = publish(&network, &[]);
    let bridge = run(receiver, folder.path(), &keep("mcast bridge"));
    shows(&bridge, KEEPING);
    finish(publisher);
    let read = || run(receiver, folder.path(), &keep("redis-cli")).end().succeeded();
    eventually("the message and the end", || read().text().contains("end"));
    assert!(read().text().contains("oil 81"));
    interrupt(bridge);

    // From there, where only programs on the same host reach it.
    redis_cli(receiver, "6379", &["CONFIG", "SET", "protected-mode", "no"]);
    let again = command("two-bridges", "mcast bridge", &[("10.0.0.9", "10.0.0.2")]);
    let first = run(receiver, folder.path(), &again);
    shows(&first, "publishing");
    let second = run(other, folder.path(), &again);
    let shown = page("two-bridges");
    let shown = shown.lines().find(|line| line.contains("under incarnation")).unwrap();
    shows(&second, shown.strip_prefix("mcast: ").unwrap().split_once(" 3").unwrap().0);
    interrupt(second);
    interrupt(first);
    redis_server.signalled(libc::SIGTERM);
}

/// Redis by TLS with a certificate, at 10.0.0.3, for the user `feeds` with the password `secret`; alone, as a primary that a
/// sentinel knows, and as a cluster of one server.
struct Engines {
    network: Network,
    folder: tempfile::TempDir,
    _servers: Vec<Child>,
}

impl Engines {
    fn start() -> Self {
        let (network, folder, certificates) =
            (Network::new(), tempfile::tempdir().unwrap(), Certificates::make());
        certificates.name_server(&["10.0.0.3"]);
        for name in ["ca.pem", "server.pem", "server.key"] {
            fs::copy(certificates.path(name), folder.path().join(name)).unwrap();
        }
        for name in ["redis.password", "password"] {
            fs::write(folder.path().join(name), "secret\n").unwrap();
        }
        let files =
            ["--tls-ca-cert-file", "ca.pem", "--tls-cert-file", "server.pem", "--tls-key-file", "server.key"];
        let safe = |port: &'static str| {
            let by_tls = ["--tls-port", port, "--tls-auth-clients", "no", "--tls-replication", "yes"];
            [&files[..], &by_tls, &["--user", "feeds", "on", ">secret", "~*", "&*", "+@all"]].concat()
        };
        let host = network.host("other");
        let single = redis(host, folder.path(), "7001", &safe("6379"));
        let plain = redis(host, folder.path(), "7002", &[]);
        let clustered = folder.path().join("cluster");
        fs::create_dir(&clustered).unwrap();
        let cluster = redis(
            host,
            &clustered,
            "7003",
            &["--cluster-enabled", "yes", "--cluster-announce-ip", "10.0.0.3"],
        );
        redis_cli(host, "7003", &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        eventually("a cluster", || {
            redis_cli(host, "7003", &["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
        let tls = "tls-ca-cert-file ca.pem\ntls-cert-file server.pem\ntls-key-file server.key\ntls-auth-clients no\n";
        let sentinel = |name: &str, ports: &str, primary: u16, more: &str| {
            let settings =
                format!("{ports}protected-mode no\n{more}sentinel monitor primary 10.0.0.3 {primary} 1\n");
            fs::write(folder.path().join(name), settings).unwrap();
            server(host, folder.path(), "redis-server", &[name.to_owned(), "--sentinel".to_owned()])
        };
        let of_plain = sentinel("plain.conf", "port 26379\n", 7002, "");
        let login =
            "tls-replication yes\nsentinel auth-user primary feeds\nsentinel auth-pass primary secret\n";
        // The options of a primary follow its name.
        let settings = format!(
            "port 26381\ntls-port 26380\nprotected-mode no\n{tls}sentinel monitor primary 10.0.0.3 6379 1\n{login}"
        );
        fs::write(folder.path().join("safe.conf"), settings).unwrap();
        let of_safe =
            server(host, folder.path(), "redis-server", &["safe.conf".to_owned(), "--sentinel".to_owned()]);
        for port in ["26379", "26381"] {
            eventually("a sentinel", || {
                redis_cli(host, port, &["SENTINEL", "master", "primary"]).contains("flags\nmaster\n")
            });
        }
        let _servers = vec![single, plain, cluster, of_plain, of_safe];
        Self { network, folder, _servers }
    }

    /// Runs a bridge until it uses its engine.
    fn is_kept(&self, command: &str) {
        let publisher = publish(&self.network, &[]);
        let bridge = run(self.network.host("receiver"), self.folder.path(), command);
        shows(&bridge, KEEPING);
        finish(publisher);
        bridge.end().succeeded();
    }
}

#[test]
fn engines_are_reached_safely_and_at_several_addresses() {
    if !has_redis() {
        return;
    }
    let engines = Engines::start();
    let all: Vec<String> = commands("reach-an-engine").into_iter().map(|(_, command)| command).collect();
    let files = format!("{}/", engines.folder.path().display());
    let [by_tls, check, sentinel, cluster, nats, rabbitmq] = all.as_slice() else { panic!("{all:?}") };
    let at = |command: &str| command.replace("redis.example", "10.0.0.3").replace("/etc/mcast/", &files);
    // The authority is not one of the system.
    let check = format!("{} --tls ca={files}ca.pem", at(check));
    let publisher = publish(&engines.network, &[]);
    let checked = run(engines.network.host("receiver"), engines.folder.path(), &check).end().succeeded();
    assert!(checked.text().contains("nothing is stored there"), "{checked:?}");
    publisher.signalled(libc::SIGKILL);
    engines.is_kept(&at(by_tls));
    assert!(sentinel.contains("10.0.0.3,10.0.0.4,10.0.0.5/primary"));
    engines.is_kept(sentinel);
    engines.is_kept(&cluster.replacen("10.0.0.3,", "10.0.0.3:7003,", 1));
    let host = engines.network.host("other");
    if let Some(_server) = NatsServer::start(host, "prices", &[], "") {
        engines.is_kept(nats);
    }
    if let Some(server) = RabbitmqServer::start(host, false) {
        engines.is_kept(&format!("MCAST_ENGINE_PASSWORD=secret {rabbitmq}").replace("MCAST", "env MCAST"));
        // What an administrator of RabbitMQ does first, for another user.
        for (_, command) in commands("keep-in-rabbitmq") {
            if let Some(arguments) = command.strip_prefix("rabbitmqctl ") {
                let arguments = arguments.replace('\'', "").replace("feeds", "desk");
                server.control(&arguments.split_whitespace().collect::<Vec<_>>());
            }
        }
        fs::write(engines.folder.path().join("rabbitmq.password"), "secret\n").unwrap();
        let words = [("feeds@", "desk@"), ("/etc/mcast/", files.as_str())];
        engines.is_kept(&command("keep-in-rabbitmq", "mcast bridge", &words));
    }
}

/// The manifest of Kubernetes, whose list of arguments has one on each line.
#[test]
fn the_bridge_of_a_pod_keeps_a_stream_and_is_ready() {
    if !has_redis() {
        return;
    }
    let engines = Engines::start();
    let manifest = fs::read_to_string(top().join("../packaging/kubernetes/bridge.yaml")).unwrap();
    let (_, rest) = manifest.split_once("          args:\n").unwrap();
    let arguments = rest.lines().map_while(|line| line.strip_prefix("            - "));
    let files = engines.folder.path().display().to_string();
    let arguments = arguments.map(|argument| {
        let argument = argument.trim_matches('"').replace("/etc/mcast", &files);
        argument.replace("redis.example/", "10.0.0.3:26380/")
    });
    let arguments: Vec<String> = arguments.collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(arguments[0], "bridge");
    // Users other than root read what a secret of mode 0444 has.
    fs::set_permissions(engines.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let user = ["--no-new-privs", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    let user = [&user[..], &["--reuid=65534", "--regid=65534", MCAST]].concat();
    assert!(manifest.contains("runAsUser: 65534") && manifest.contains(r#"drop: ["ALL"]"#));
    let host = engines.network.host("receiver");
    let is_root = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    let bridge = match is_root {
        true => program(host, "setpriv", &[&user, &arguments[..]].concat(), false),
        false => program(host, MCAST, &arguments, false),
    };
    let get = |path: &str| {
        let Ok(mut client) = host.run(|| TcpStream::connect("127.0.0.1:9480")).unwrap() else {
            return String::new();
        };
        let mut text = String::new();
        client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        client.read_to_string(&mut text).unwrap();
        text
    };
    eventually("a bridge that is ready", || get("/ready").starts_with("HTTP/1.1 200 "));
    assert!(get("/live").starts_with("HTTP/1.1 200 "));
    finish(publish(&engines.network, &["--name", "prices"]));
    let stored = || redis_cli(engines.network.host("other"), "7001", &["XRANGE", "prices", "-", "+"]);
    eventually("the message in the broker", || stored().contains("oil 81"));
    // As the kubelet ends it.
    let ended = bridge.signalled(libc::SIGTERM);
    assert_eq!(ended.status, Some(143), "{ended:?}");
}

#[test]
fn a_stream_with_three_copies_is_made_as_the_page_says() {
    let (network, folder) = (Network::new(), tempfile::tempdir().unwrap());
    let Some(cluster) = NatsCluster::start(network.host("other"), None) else { return };
    let client = cluster.client("prices");
    let text = page("keep-in-nats");
    let settings = blocks(&text).into_iter().find(|block| block.info == "json").unwrap();
    let settings: Value = serde_json::from_str(&settings.lines.join("\n")).unwrap();
    // What `nats stream add` requests.
    eventually_within(2 * TIMEOUT, "a stream", || {
        client.request(&json!(["api", "STREAM.CREATE.prices", settings]))["config"]["num_replicas"] == 3
    });
    let words =
        [("10.0.0.3,", "10.0.0.3:4222,"), ("10.0.0.4,", "10.0.0.3:4223,"), ("10.0.0.5", "10.0.0.3:4224")];
    let publisher = publish(&network, &[]);
    let bridge =
        run(network.host("receiver"), folder.path(), &command("keep-in-nats", "mcast bridge", &words));
    shows(&bridge, KEEPING);
    finish(publisher);
    bridge.end().succeeded();
    assert_eq!(client.request(&json!(["length"])), 2, "a message and the end");
}

#[cfg(feature = "kafka-tls")]
#[test]
fn a_stream_is_kept_in_kafka_by_tls_and_published_again() {
    use crate::kafka_server::{KafkaServer, Security};
    use crate::support::start;

    let (network, folder, certificates) =
        (Network::new(), tempfile::tempdir().unwrap(), Certificates::make());
    certificates.name_server(&["127.0.0.1", "10.0.0.3"]);
    let (receiver, other) = (network.host("receiver"), network.host("other"));
    let security = Security {
        password: Some("secret"),
        mechanism: Some("SCRAM-SHA-512"),
        certificates: Some(&certificates),
        ..Security::default()
    };
    let Some(safe) = KafkaServer::start(other, "10.0.0.3", "prices", &security) else { return };
    fs::write(folder.path().join("kafka.password"), "secret\n").unwrap();
    fs::copy(certificates.path("ca.pem"), folder.path().join("ca.pem")).unwrap();
    let files = format!("{}/", folder.path().display());
    let words = [("kafka.example:9093", safe.address()), ("/etc/mcast/", files.as_str())];
    let publisher = publish(&network, &[]);
    let bridge = run(receiver, folder.path(), &command("keep-in-kafka", "mcast bridge prices", &words));
    shows(&bridge, KEEPING);
    finish(publisher);
    bridge.end().succeeded();
    assert_eq!(safe.length(), 2, "a message and the end");
    drop(safe);

    let Some(plain) = KafkaServer::start(other, "10.0.0.3", "prices", &Security::default()) else { return };
    let publisher = publish(&network, &[]);
    let keeping = run(receiver, folder.path(), "mcast bridge prices to kafka://10.0.0.3/prices");
    shows(&keeping, KEEPING);
    finish(publisher);
    keeping.end().succeeded();
    assert_eq!(plain.length(), 2);
    let again = command("keep-in-kafka", "mcast bridge kafka://", &[]);
    let subscriber =
        start(network.host("sender"), &["subscribe", "239.255.1.3:7000", "--name", "again", "-c", "1"]);
    let publishing = run(receiver, folder.path(), &format!("{again} --wait-for 1"));
    assert_eq!(subscriber.end().succeeded().text(), "oil 81\n");
    publishing.end().succeeded();
}
