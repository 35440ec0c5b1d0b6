//! A RabbitMQ server on a host of a lab, and what a client that others wrote reads from it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::python_client::{PythonClient, absent, installed};

pub(crate) const SCRIPT: &str = include_str!("rabbitmq.py");
/// The programs of the package, which do not change to another user.
pub(crate) const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// The name of the node of a single server.
const NODE: &str = "rabbit@localhost";

/// A server, which listens on all addresses of its host. It ends with the lab, like everything that it has started.
pub(crate) struct RabbitmqServer {
    host: Host,
    child: Child,
    folder: tempfile::TempDir,
    client: PythonClient,
    /// Those of its listener for TLS.
    #[allow(dead_code)]
    pub(crate) certificates: Certificates,
}

impl RabbitmqServer {
    /// Starts a server that also speaks TLS, with the user `feeds` and the password `secret`, and a client; `None` if they are not installed, unless that is
    /// required. A small one has room for 6 MB.
    pub(crate) fn start(host: &Host, is_small: bool) -> Option<Self> {
        let Some(python) = installed("python").filter(|_| Path::new(PROGRAMS).exists()) else {
            return absent("rabbitmq-server");
        };
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::make();
        let [authority, certificate, key] =
            ["ca.pem", "server.pem", "server.key"].map(|file| certificates.text(file));
        let settings = format!(
            "listeners.tcp = none\nstream.listeners.tcp.1 = 0.0.0.0:5552\nstream.listeners.ssl.1 = 0.0.0.0:5551\n\
             ssl_options.cacertfile = {authority}\nssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\nloopback_users = none\n\
             log.console = false\nload_definitions = {}\ndisk_free_limit.absolute = {}\n",
            folder.path().join("users.json").display(),
            if is_small { "58MB" } else { "1MB" },
        );
        std::fs::write(folder.path().join("users.json"), users().to_string()).unwrap();
        std::fs::write(folder.path().join("rabbitmq.conf"), settings).unwrap();
        std::fs::write(folder.path().join("plugins"), "[rabbitmq_stream].").unwrap();
        let child = spawn(host, folder.path(), is_small);
        let client = PythonClient::start(host, &python, SCRIPT, &["127.0.0.1", "feeds", "secret"]);
        let server = Self { host: host.clone(), child, folder, client, certificates };
        server.wait();
        Some(server)
    }

    /// Waits until it accepts logins.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(90);
        while self.request(&json!(["ping", ""])).is_null() {
            assert!(Instant::now() < until, "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has the client do something; returns its reply, null if the server or the stream is not there.
    pub(crate) fn request(&self, request: &Value) -> Value {
        self.client.request(request)
    }

    /// Returns the number of effective records of a stream.
    pub(crate) fn length(&self, stream: &str) -> u64 {
        self.request(&json!(["length", stream])).as_u64().unwrap_or(0)
    }

    /// Returns the folder in which it keeps streams.
    #[allow(dead_code)]
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("mnesia")
    }

    /// Has rabbitmqctl change a setting.
    #[allow(dead_code)]
    pub(crate) fn control(&self, arguments: &[&str]) {
        let mut control = program(&self.host, self.folder.path(), &Path::new(PROGRAMS).join("rabbitmqctl"));
        let status = control.args(arguments).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    /// Kills the server without notice, once it would lead its streams again.
    pub(crate) fn kill(&mut self) {
        wait_coordinated(self.folder.path(), NODE);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again.
    #[allow(dead_code)]
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.host, self.folder.path(), false);
        self.wait();
    }

    #[allow(dead_code)]
    pub(crate) fn signal(&self, signal: i32) {
        self.child.signal(signal).unwrap();
    }
}

impl Drop for RabbitmqServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The password `secret`: a salt, and the hash (SHA-256) of both.
const SECRET: &str = "c2FsdL7ekDhtRQzqi3e4IviIcGXk5avxMsL53M/Mf71Mul41";

/// Returns a user who may do everything, `limited`, who may do what the guide says, and `stranger`, who may do nothing; each
/// with the password `secret`.
pub(crate) fn users() -> Value {
    let all = [("feeds", ".*"), ("limited", "^prices"), ("stranger", "^$")];
    json!({
        "vhosts": [{ "name": "/" }],
        "users": all.map(|(name, _)| json!({ "name": name, "password_hash": SECRET, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "" })),
        "permissions": all.map(|(user, names)| {
            json!({ "user": user, "vhost": "/", "configure": names, "write": names, "read": names })
        }),
    })
}

/// Waits until a server with a stream has stored what coordinates its streams, which it does a second after the first one was
/// created. RabbitMQ 3.10.8 that is killed before refuses all streams permanently, with "nodedown" in its log.
pub(crate) fn wait_coordinated(folder: &Path, node: &str) {
    /// What the table of names has at its eighth byte once it is written.
    const WRITTEN: [u8; 4] = [0, 0, 0, 1];
    let folder = folder.join("mnesia").join(node).join("coordination").join(node);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let names = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let coordinators =
            names.map(std::ffi::OsString::into_encoded_bytes).filter(|name| !name.contains(&b'.'));
        let table = std::fs::read(folder.join("names.dets")).unwrap_or_default();
        let is_known = |name: Vec<u8>| {
            table.get(8..12) == Some(&WRITTEN) && table.windows(name.len()).any(|bytes| bytes == name)
        };
        if { coordinators }.all(is_known) {
            return;
        }
        assert!(Instant::now() < until, "the server does not store what coordinates its streams");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn spawn(host: &Host, folder: &Path, is_small: bool) -> Child {
    let server = Path::new(PROGRAMS).join("rabbitmq-server");
    if !is_small {
        return program(host, folder, &server).own_group().spawn().unwrap();
    }
    // On a disk of its own.
    std::fs::create_dir_all(folder.join("mnesia")).unwrap();
    let script = "mount -t tmpfs -o size=64m tmpfs mnesia && exec \"$1\"";
    let mut command = program(host, folder, Path::new("unshare"));
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(server).own_group().spawn().unwrap()
}

/// Returns a program of the package, with everything that it reads and writes in this folder.
pub(crate) fn program(host: &Host, folder: &Path, path: &Path) -> mcast_lab::Command {
    let mut command = host.command(path).unwrap();
    let within = |name: &str| folder.join(name).into_os_string();
    let places = [
        ("HOME", within("")),
        ("RABBITMQ_MNESIA_BASE", within("mnesia")),
        ("RABBITMQ_LOG_BASE", within("log")),
        ("RABBITMQ_PID_FILE", within("pid")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", within("plugins")),
        ("RABBITMQ_CONFIG_FILE", within("rabbitmq.conf")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
        ("RABBITMQ_NODENAME", NODE.into()),
        // One scheduler, which does not spin.
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none".into()),
    ];
    for (name, value) in places {
        command.env(name, value);
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
