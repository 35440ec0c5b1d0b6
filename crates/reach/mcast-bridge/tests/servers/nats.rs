//! A NATS server or a cluster of three on a host of a lab, and what a client that others wrote reads from it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::python_client::{PythonClient, absent, installed};

const SCRIPT: &str = include_str!("nats.py");

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

/// The files of a client of servers with TLS.
const CLIENT_FILES: [&str; 3] = ["ca.pem", "bridge.pem", "bridge.key"];

/// Three servers of one cluster, at the ports 4222, 4223 and 4224.
pub(crate) struct NatsCluster {
    host: Host,
    program: PathBuf,
    folder: tempfile::TempDir,
    /// If all speak only TLS.
    pub(crate) certificates: Option<Certificates>,
    servers: [Option<Child>; 3],
}

impl NatsCluster {
    /// Starts three servers, which require TLS and certificates of clients if there are certificates.
    pub(crate) fn start(host: &Host, certificates: Option<Certificates>) -> Option<Self> {
        let (Some(program), Some(_)) = (installed("nats-server"), installed("python")) else {
            return absent("nats-server");
        };
        let (host, folder, servers) = (host.clone(), tempfile::tempdir().unwrap(), [None, None, None]);
        let mut cluster = Self { host, program, folder, certificates, servers };
        (0..3).for_each(|index| cluster.spawn(index));
        Some(cluster)
    }

    pub(crate) fn spawn(&mut self, index: usize) {
        let folder = self.folder.path().join(index.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let (port, cluster) = ((4222 + index).to_string(), format!("nats://127.0.0.1:{}", 6222 + index));
        let name = format!("server{index}");
        let options = ["--jetstream", "--store_dir", ".", "--cluster_name", "test", "--name", &name];
        let routes = "nats://127.0.0.1:6222,nats://127.0.0.1:6223,nats://127.0.0.1:6224";
        let addresses = ["--port", &port, "--cluster", &cluster, "--routes", routes];
        let mut command = self.host.command(&self.program).unwrap();
        command.args([&options[..], &addresses].concat()).current_dir(folder);
        if let Some(own) = &self.certificates {
            let files = [["--tlscacert", "ca.pem"], ["--tlscert", "server.pem"], ["--tlskey", "server.key"]];
            command.arg("--tlsverify");
            for [name, file] in files {
                command.args([name, &own.text(file)]);
            }
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.servers[index] = Some(child);
    }

    /// Kills a server without notice.
    pub(crate) fn kill(&mut self, index: usize) {
        let mut child = self.servers[index].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a client for the stream of this name.
    pub(crate) fn client(&self, stream: &str) -> PythonClient {
        let urls = [0, 1, 2].map(|index| format!("nats://127.0.0.1:{}", 4222 + index)).join(",");
        let files = self.certificates.iter().flat_map(|own| CLIENT_FILES.map(|file| own.text(file)));
        let arguments: Vec<String> = [urls, stream.to_owned()].into_iter().chain(files).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        PythonClient::start(&self.host, &installed("python").unwrap(), SCRIPT, &arguments)
    }

    /// Returns the folder in which a server keeps streams.
    #[allow(dead_code)]
    pub(crate) fn store(&self, index: usize) -> PathBuf {
        self.folder.path().join(index.to_string()).join("jetstream")
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for server in self.servers.iter_mut().flatten() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Creates a stream with a copy on each server of a cluster, which may still elect its leader.
pub(crate) fn create_copies(client: &PythonClient, stream: &str, takes_batches: bool) {
    let settings = json!({
        "name": stream, "subjects": [format!("mcast.{stream}")], "storage": "file", "num_replicas": 3,
        "allow_direct": true, "allow_atomic": takes_batches, "duplicate_window": 100_000_000,
    });
    let request = json!(["api", format!("STREAM.CREATE.{stream}"), settings]);
    let until = Instant::now() + Duration::from_secs(60);
    while !client.request(&request)["config"].is_object() {
        assert!(Instant::now() < until, "the stream cannot be created");
    }
}

/// Returns the server that leads a stream, once each copy is up to date.
pub(crate) fn leader(client: &PythonClient, stream: &str) -> usize {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let info = client.request(&json!(["api", format!("STREAM.INFO.{stream}"), null]));
        let cluster = &info["cluster"];
        let copies = cluster["replicas"].as_array().into_iter().flatten();
        let number = || cluster["leader"].as_str()?.strip_prefix("server")?.parse().ok();
        if let Some(leader) = number()
            && copies.filter(|copy| copy["current"] == true).count() == 2
        {
            return leader;
        }
        assert!(Instant::now() < until, "the copies are not up to date: {info}");
    }
}
