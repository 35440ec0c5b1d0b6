//! A NATS server on a host of a lab, and what a client that others wrote reads from it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::python_client::{PythonClient, absent, installed};

pub(crate) const SCRIPT: &str = include_str!("nats.py");

/// A server, which listens on all addresses of its host.
pub(crate) struct NatsServer {
    host: Host,
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
    client: PythonClient,
}

impl NatsServer {
    /// Starts a server with these options, and a client for the stream of this name; `None` if they are not installed,
    /// unless that is required. `login` is what precedes the host in the client's URL.
    pub(crate) fn start(host: &Host, stream: &str, options: &[&str], login: &str) -> Option<Self> {
        Self::start_for(host, stream, options, login, &[])
    }

    /// As [`start`](Self::start), for a client with these files: an authority, a certificate and its key.
    pub(crate) fn start_for(
        host: &Host,
        stream: &str,
        options: &[&str],
        login: &str,
        files: &[&str],
    ) -> Option<Self> {
        let (Some(server), Some(python)) = (installed("nats-server"), installed("python")) else {
            return absent("nats-server");
        };
        let folder = tempfile::tempdir().unwrap();
        let url = format!("nats://{login}127.0.0.1:4222");
        let client = PythonClient::start(host, &python, SCRIPT, &[&[&*url, stream], files].concat());
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let child = spawn(&server, host, &folder, &options);
        let server = Self { host: host.clone(), child, folder, options, client };
        server.wait();
        Some(server)
    }

    /// Waits until it accepts connections.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.host.run(|| TcpStream::connect(("127.0.0.1", 4222))).unwrap().is_err() {
            assert!(Instant::now() < until, "the server does not start");
            std::thread::yield_now();
        }
    }

    /// Has the client do something; returns its reply.
    pub(crate) fn request(&self, request: &Value) -> Value {
        self.client.request(request)
    }

    /// Returns the number of messages.
    pub(crate) fn length(&self) -> u64 {
        self.request(&json!(["length"])).as_u64().unwrap_or(0)
    }

    /// Returns the folder in which it keeps streams.
    #[allow(dead_code)]
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("jetstream")
    }

    /// Kills the server without notice.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, and waits until its streams are there.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&installed("nats-server").unwrap(), &self.host, &self.folder, &self.options);
        self.wait();
        let until = Instant::now() + Duration::from_secs(30);
        while self.request(&json!(["info"])).is_null() {
            assert!(Instant::now() < until, "the server has no stream");
        }
    }

    #[allow(dead_code)]
    pub(crate) fn signal(&self, signal: i32) {
        self.child.signal(signal).unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(server: &Path, host: &Host, folder: &tempfile::TempDir, options: &[String]) -> Child {
    // On a disk of its own, of the size that the first option states.
    let is_small = options.first().is_some_and(|option| option.starts_with("size="));
    let mut command = host.command(if is_small { Path::new("unshare") } else { server }).unwrap();
    if is_small {
        let script = "mount -t tmpfs -o $1 tmpfs jetstream && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(&options[0]).arg(server);
        std::fs::create_dir_all(folder.path().join("jetstream")).unwrap();
    }
    command.args(["--jetstream", "--store_dir", "."]).args(&options[usize::from(is_small)..]);
    command.current_dir(folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
