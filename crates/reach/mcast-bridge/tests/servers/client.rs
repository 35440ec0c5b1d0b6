//! A client of an engine that others wrote, in Python: it reads a JSON array per line, and writes a JSON value in return.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};

use mcast_lab::{Child, Host};
use serde_json::Value;

/// Returns a program of the virtual environment that `cargo verify` makes for the tests of engines, or of the one that
/// `MCAST_TEST_ENGINES` names.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/engines");
    let home = std::env::var_os("MCAST_TEST_ENGINES").map_or_else(made, PathBuf::from);
    let program = home.join("bin").join(name);
    program.exists().then_some(program)
}

/// Reports that a server is not installed, which is a failure if it is required. Returns nothing.
pub(crate) fn absent<T>(name: &str) -> Option<T> {
    mcast_lab::skip(format_args!("{name} is not installed (cargo verify --install installs it)"));
    None
}

/// A running client.
pub(crate) struct PythonClient(Mutex<Running>);

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl PythonClient {
    /// Starts a script on a host.
    pub(crate) fn start(host: &Host, python: &Path, script: &str, arguments: &[&str]) -> Self {
        let mut command = host.command(python).unwrap();
        command.args(["-c", script]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self(Mutex::new(Running { child, input, output }))
    }

    /// Has it do something; returns its reply.
    pub(crate) fn request(&self, request: &Value) -> Value {
        let mut running = self.0.lock().unwrap();
        writeln!(running.input, "{request}").unwrap();
        let mut reply = String::new();
        running.output.read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|_| panic!("{request} failed"))
    }
}

impl Drop for PythonClient {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
}
