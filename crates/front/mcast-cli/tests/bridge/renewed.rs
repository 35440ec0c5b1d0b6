//! Passwords and certificates that are renewed while a bridge runs: the engine refuses the old ones first.

use std::path::Path;

use serde_json::json;

use crate::audit::records;
use crate::certificates::Certificates;
use crate::failover::Server;
#[cfg(feature = "kafka")]
use crate::kafka_server::{KafkaServer, Security};
use crate::nats_server::NatsServer;
use crate::network::{ENGINE, Network, close, write};
use crate::python_client::absent;
use crate::rabbitmq_server::RabbitmqServer;
use crate::support::{Running, eventually, start};

const CONNECTED: &str = r#""event":"connected""#;
const TLS_PORT: &str = "7001";
const PORT: u16 = 7002;
/// The authority that the bridge trusts, and its own certificate with the key.
const FILES: [&str; 3] = ["ca.pem", "bridge.pem", "bridge.key"];

/// Waits until the bridge has reported `count` connections.
fn wait_connected(bridge: &Running, count: usize) {
    eventually("a connection", || bridge.stdout.text().matches(CONNECTED).count() == count);
}

/// Checks that the bridge missed nothing, and connected twice.
fn check(bridge: Running) {
    let ended = bridge.end().succeeded();
    let (events, summary) = records(&ended);
    let connected = events.iter().filter(|event| event["event"] == "connected").count();
    assert_eq!((connected, &summary["gaps"], &summary["pending"]), (2, &json!(0), &json!(0)), "{ended:?}");
}

#[test]
fn a_renewed_certificate_and_a_renewed_password_are_used_without_a_restart() {
    if !Path::new("/usr/bin/redis-server").exists() {
        absent::<()>("redis-server");
        return;
    }
    let network = Network::new([0.0; 2]);
    let (old, new) = (Certificates::make(), Certificates::make());
    [&old, &new].iter().for_each(|made| made.name_server(&[ENGINE]));
    let of_server = |made: &Certificates| {
        [("tls-ca-cert-file", "ca.pem"), ("tls-cert-file", "server.pem"), ("tls-key-file", "server.key")]
            .map(|(setting, file)| [setting.to_owned(), made.text(file)])
    };
    let (port, files) = (PORT.to_string(), of_server(&old));
    let mut options = vec!["--port", &port, "--tls-port", TLS_PORT, "--save", "", "--requirepass", "first"];
    let names: Vec<String> = files.iter().map(|[setting, _]| format!("--{setting}")).collect();
    options.extend(names.iter().zip(&files).flat_map(|(name, [_, file])| [name.as_str(), file]));
    let server = Server::start(&network.engine, Path::new("/usr/bin/redis-server"), PORT, &options, &[]);
    let cli = |password: &str, arguments: &[&str]| {
        server.cli(&[&["--no-auth-warning", "-a", password], arguments].concat())
    };
    eventually("a server", || cli("first", &["PING"]).starts_with("PONG"));

    let folder = tempfile::tempdir().unwrap();
    let own = |file: &str| folder.path().join(file).into_os_string().into_string().unwrap();
    let take = |made: &Certificates| {
        for file in FILES {
            std::fs::copy(made.path(file), own(file)).unwrap();
        }
    };
    take(&old);
    std::fs::write(own("password"), "first\n").unwrap();
    let [authority, certificate, key, password] = [FILES[0], FILES[1], FILES[2], "password"].map(own);
    let url = format!("rediss://{ENGINE}:{TLS_PORT}?key=prices");
    let tls = format!("ca={authority},certificate={certificate},key={key}");
    let bridge = network.start_bridge(0, &url, &["--tls", &tls, "--password-file", &password]);
    wait_connected(&bridge, 1);
    let mut publisher = network.publish(&["--wait-for", "1", "--evict-after", "60s"]);
    let length = |password: &str| cli(password, &["XLEN", "prices"]).trim().to_owned();
    write(&mut publisher, 0..100);
    eventually("what was published before", || length("first") == "100");

    let changed: Vec<String> = of_server(&new).concat();
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    assert_eq!(
        cli("first", &[&["CONFIG", "SET", "requirepass", "second"], &changed[..]].concat()).trim(),
        "OK"
    );
    cli("second", &["CLIENT", "KILL", "TYPE", "normal"]);
    write(&mut publisher, 100..200);
    bridge.stdout.wait_for("certificate");
    take(&new);
    bridge.stdout.wait_for("WRONGPASS");
    write(&mut publisher, 200..300);
    assert_eq!(length("second"), "100", "nothing is stored with the old password");
    std::fs::write(&password, "second\n").unwrap();
    wait_connected(&bridge, 2);
    eventually("everything", || length("second") == "300");
    close(&mut publisher);
    publisher.end().succeeded();
    check(bridge);
}

/// The server ends the connection of a user whose password has changed, with the same error as when it refuses a login.
#[test]
fn a_bridge_that_a_server_of_nats_logs_out_continues_with_the_renewed_password() {
    let network = Network::new([0.0; 2]);
    let folder = tempfile::tempdir().unwrap();
    let [settings, password] =
        ["settings", "password"].map(|name| folder.path().join(name).into_os_string().into_string().unwrap());
    let set = |password: &str| {
        let users = format!("{{user: feeds, password: {password}}}, {{user: reader, password: reader}}");
        std::fs::write(&settings, format!("authorization {{ users: [{users}] }}\n")).unwrap();
    };
    set("first");
    let options = ["--config", &settings];
    let Some(server) = NatsServer::start(&network.engine, "prices", &options, "reader:reader@") else {
        return;
    };
    std::fs::write(&password, "first\n").unwrap();
    let url = format!("nats://feeds@{ENGINE}?stream=prices");
    let bridge = network.start_bridge(0, &url, &["--password-file", &password]);
    wait_connected(&bridge, 1);
    let mut publisher = network.publish(&["--wait-for", "1", "--evict-after", "60s"]);
    write(&mut publisher, 0..100);
    eventually("what was published before", || server.length() == 100);

    set("second");
    server.signal(libc::SIGHUP);
    bridge.stdout.wait_for("Authorization Violation");
    write(&mut publisher, 100..200);
    std::fs::write(&password, "second\n").unwrap();
    wait_connected(&bridge, 2);
    eventually("everything", || server.length() == 200);
    close(&mut publisher);
    publisher.end().succeeded();
    check(bridge);
}

/// A publisher with a stream, a bridge that stores it, and one that publishes what is stored. Both log in with a password of
/// a file.
struct Login {
    bridges: [Running; 2],
    publisher: Running,
    subscriber: Running,
    /// The file of the password.
    password: tempfile::NamedTempFile,
}

impl Login {
    /// Starts everything, once the bridges are connected with the password `secret`.
    fn start(network: &Network, url: &str, options: &[&str]) -> Self {
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "secret\n").unwrap();
        let options = [options, &["--password-file", password.path().to_str().unwrap()]].concat();
        let storing = network.start_bridge(0, url, &options);
        wait_connected(&storing, 1);
        let publisher = network.publish(&["--wait-for", "1", "--evict-after", "60s"]);
        let subscribe = ["subscribe", "239.1.2.5%eth1:7000", "--name", "again", "--from", "oldest"];
        let subscriber = start(&network.publisher, &subscribe);
        let again =
            ["bridge", url, "to", "239.1.2.5%eth0:7000", "--name", "again", "--wait-for", "1", "--json"];
        let publishing = start(&network.bridges[1], &[&again[..], &options].concat());
        wait_connected(&publishing, 1);
        Self { bridges: [storing, publishing], publisher, subscriber, password }
    }

    /// Checks that the bridges continue while their connections last although the server requires the password `renewed` by
    /// now, are refused and buffer once the connections have ended, and continue with the new password of the file.
    fn check_renewal(
        mut self,
        length: impl Fn() -> u64,
        change: impl Fn(),
        disconnect: impl Fn(),
        refused: &str,
    ) {
        let last = |number: u64| format!("message {number} ");
        write(&mut self.publisher, 0..100);
        eventually("what was published before", || length() == 100);
        change();
        write(&mut self.publisher, 100..200);
        eventually("what was published after the change", || length() == 200);
        self.subscriber.stdout.wait_for(&last(199));
        let connections = |bridge: &Running| bridge.stdout.text().matches(CONNECTED).count();
        assert_eq!(self.bridges.each_ref().map(connections), [1, 1]);
        disconnect();
        self.bridges.iter().for_each(|bridge| bridge.stdout.wait_for(refused));
        write(&mut self.publisher, 200..300);
        assert_eq!(length(), 200, "nothing is stored with the old password");
        std::fs::write(self.password.path(), "renewed\n").unwrap();
        self.bridges.iter().for_each(|bridge| wait_connected(bridge, 2));
        eventually("everything", || length() == 300);
        self.subscriber.stdout.wait_for(&last(299));
        close(&mut self.publisher);
        self.publisher.end().succeeded();
        let [storing, publishing] = self.bridges;
        check(storing);
        publishing.end().succeeded();
        let ended = self.subscriber.end().succeeded();
        assert!(ended.stderr.contains("lost 0 messages"), "{ended:?}");
    }
}

/// A changed password does not end connections to RabbitMQ: an administrator does.
#[test]
#[ignore = "the server takes long to start: cargo soak --only bridge"]
fn a_bridge_that_rabbitmq_refuses_continues_with_the_renewed_password() {
    let network = Network::new([0.0; 2]);
    let Some(server) = RabbitmqServer::start(&network.engine, false) else { return };
    let url = format!("rabbitmq-stream://limited@{ENGINE}?stream=prices");
    let length = || server.length("prices");
    let change = || server.control(&["change_password", "limited", "renewed"]);
    let disconnect = || server.control(&["close_all_connections", "--vhost", "/", "renewed"]);
    Login::start(&network, &url, &[]).check_renewal(length, change, disconnect, "authentication failed");
}

/// A broker of Kafka that has another password for a user keeps the connections of that user.
#[cfg(feature = "kafka")]
fn kafka_is_renewed(security: &Security<'_>, url: impl Fn(&KafkaServer) -> String, options: &[&str]) {
    let network = Network::new([0.0; 2]);
    let Some(server) = KafkaServer::start(&network.engine, ENGINE, "prices", security) else { return };
    let (length, change) = (|| server.length(), || server.set_password("renewed"));
    let login = Login::start(&network, &url(&server), options);
    login.check_renewal(length, change, || server.disconnect(), "Invalid credentials");
}

#[cfg(feature = "kafka")]
#[test]
fn a_bridge_that_kafka_refuses_continues_with_the_renewed_password() {
    let security = Security { password: Some("secret"), ..Security::default() };
    kafka_is_renewed(&security, |server| format!("kafka://feeds@{}/prices", server.address()), &[]);
}

#[cfg(feature = "kafka-tls")]
#[test]
fn a_bridge_that_kafka_refuses_by_scram_continues_with_the_renewed_password() {
    let certificates = Certificates::make();
    certificates.name_server(&["127.0.0.1", ENGINE]);
    let security = Security {
        password: Some("secret"),
        mechanism: Some("SCRAM-SHA-512"),
        certificates: Some(&certificates),
        proves_clients: false,
    };
    let url =
        |server: &KafkaServer| format!("kafka+tls://feeds@{}/prices?sasl=scram-sha-512", server.address());
    kafka_is_renewed(&security, url, &["--tls", &format!("ca={}", certificates.text("ca.pem"))]);
}
