//! A host with a subscriber process, and the reader of its output.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mcast_lab::{BadLink, Child, Host};

use crate::ledger::Ledger;
use crate::support::MCAST;
use crate::{GROUP, NAME};

/// How long a subscriber waits for a silent publisher.
const IDLE: &str = "12s";
/// After that it has ended, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A subscriber process.
pub(crate) struct Subscriber {
    child: Child,
    gate: Arc<Gate>,
    ledger: Arc<Mutex<Ledger>>,
    reader: JoinHandle<()>,
    stderr: JoinHandle<String>,
}

/// The end of a subscriber.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) host: usize,
    /// `None`: it was killed.
    pub(crate) status: Option<i32>,
    pub(crate) is_late: bool,
    pub(crate) ledger: Ledger,
    pub(crate) stderr: String,
}

/// Keeps a reader from reading.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().unwrap() = is_closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let is_closed = self.is_closed.lock().unwrap();
        drop(self.changed.wait_while(is_closed, |is_closed| *is_closed).unwrap());
    }
}

impl Subscriber {
    pub(crate) fn start(host: &Host) -> Self {
        let mut command = host.command(MCAST).unwrap();
        command.args(["subscribe", "-i", "eth0", GROUP, "--name", NAME, "--json", "--idle", IDLE]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (gate, ledger) = (Arc::new(Gate::default()), Arc::new(Mutex::new(Ledger::default())));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (passes, notes) = (Arc::clone(&gate), Arc::clone(&ledger));
        let reader = thread::spawn(move || read(output, &passes, &notes));
        let mut errors = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self { child, gate, ledger, reader, stderr }
    }

    pub(crate) fn signal(&self, signal: i32) {
        self.child.signal(signal).unwrap();
    }

    /// Stops reading its output, or continues.
    pub(crate) fn stop_reading(&self, stop: bool) {
        self.gate.set(stop);
    }

    pub(crate) fn ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.ledger.lock().unwrap())
    }

    pub(crate) fn kill(self, host: usize) -> Finished {
        self.signal(libc::SIGKILL);
        Finished { status: None, ..self.end(host) }
    }

    /// Waits for its end; kills it if it does not end.
    pub(crate) fn end(mut self, host: usize) -> Finished {
        self.gate.set(false);
        let (status, is_late) = match self.child.wait_timeout(TIMEOUT) {
            Ok(status) => (status.code(), false),
            Err(_) => {
                self.signal(libc::SIGKILL);
                self.child.wait_timeout(TIMEOUT).unwrap();
                (None, true)
            }
        };
        self.reader.join().unwrap();
        let ledger = self.ledger.lock().unwrap().clone();
        Finished { host, status, is_late, ledger, stderr: self.stderr.join().unwrap() }
    }
}

fn read(mut output: impl BufRead, gate: &Gate, ledger: &Mutex<Ledger>) {
    let mut line = String::new();
    loop {
        gate.pass();
        line.clear();
        let count = output.read_line(&mut line).unwrap_or(0);
        // A line without an end is from a killed subscriber.
        if count == 0 || !line.ends_with('\n') {
            return;
        }
        ledger.lock().unwrap().take(Instant::now(), line.trim_end());
    }
}

/// A host for subscribers, one at a time.
pub(crate) struct Post {
    pub(crate) host: Host,
    pub(crate) link: BadLink,
    pub(crate) subscriber: Option<Subscriber>,
}
