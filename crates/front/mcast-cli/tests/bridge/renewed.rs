//! Passwords and certificates that are renewed while a bridge runs: the engine refuses the old ones first.

use std::path::Path;

use serde_json::json;

use crate::audit::records;
use crate::certificates::Certificates;
use crate::failover::Server;
use crate::nats_server::NatsServer;
use crate::network::{ENGINE, Network, close, write};
use crate::python_client::absent;
use crate::support::{Running, eventually};

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
    let access = ["--tls-ca", &authority, "--tls-certificate", &certificate, "--tls-key", &key];
    let bridge = network.start_bridge(0, &url, &[&access[..], &["--password-file", &password]].concat());
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
