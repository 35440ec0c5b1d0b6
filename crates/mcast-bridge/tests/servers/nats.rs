//! A NATS server on a host of a lab, and what a client that others wrote reads from it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("nats.py");

/// A server, which listens on all addresses of its host.
pub(crate) struct NatsServer {
    host: Host,
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
    tool: Mutex<Tool>,
}

/// The client.
struct Tool {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Returns a program of the virtual environment that `cargo verify` makes for the tests of engines.
fn installed(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = root.join("target/engines/bin").join(name);
    program.exists().then_some(program)
}

impl NatsServer {
    /// Starts a server with these options, and a client for the stream of this name; `None` if they are not installed,
    /// unless that is required. `login` is what precedes the host in the client's URL.
    pub(crate) fn start(host: &Host, stream: &str, options: &[&str], login: &str) -> Option<Self> {
        let (Some(server), Some(python)) = (installed("nats-server"), installed("python")) else {
            assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "nats-server is not installed");
            eprintln!("SKIPPED: nats-server is not installed (cargo verify has:engines installs it)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut command = host.command(python).unwrap();
        command.args(["-c", SCRIPT, &format!("nats://{login}127.0.0.1:4222"), stream]);
        let mut tool = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (tool.stdin.take().unwrap(), BufReader::new(tool.stdout.take().unwrap()));
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let child = spawn(&server, host, &folder, &options);
        let tool = Mutex::new(Tool { child: tool, input, output });
        let server = Self { host: host.clone(), child, folder, options, tool };
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
        let mut tool = self.tool.lock().unwrap();
        writeln!(tool.input, "{request}").unwrap();
        let mut reply = String::new();
        tool.output.read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|_| panic!("{request} failed"))
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
        let tool = self.tool.get_mut().unwrap();
        for child in [&mut self.child, &mut tool.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
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
