//! What is discovered in networks of a lab, beside the program that is made for each protocol: both must list the same.
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod clocks;
mod dds;
mod links;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host};
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::DiscoveryOptions;

/// Starts to look on a host.
fn discover(host: &Host, ask: bool) -> Discovery {
    let options = DiscoveryOptions { interfaces: vec!["eth0".parse().unwrap()], ask, ..Default::default() };
    host.run(move || Discovery::open(&options).unwrap()).unwrap()
}

/// Returns the entries of a protocol.
fn entries(discovery: &Discovery, protocol: DiscoveryProtocol) -> Vec<Discovered> {
    discovery.entries().into_iter().filter(|entry| entry.key.protocol == protocol).collect()
}

fn field(entry: &Discovered, name: &str) -> String {
    entry.field(name).map(ToString::to_string).unwrap_or_default()
}

/// Waits until both list the same and it is what is expected of them, and returns how long that took.
fn agree<T: Ord + Debug>(
    what: &str,
    discovery: &Discovery,
    limit: Duration,
    mut specialist: impl FnMut() -> BTreeSet<T>,
    mut found: impl FnMut() -> BTreeSet<T>,
    is_expected: impl Fn(&BTreeSet<T>) -> bool,
) -> Duration {
    let start = Instant::now();
    loop {
        let (theirs, ours) = (specialist(), found());
        if theirs == ours && is_expected(&ours) {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "{what}: the specialist lists {theirs:#?}, discovery {ours:#?}");
        // Woken by the next change.
        drop(discovery.next_event(Some(Duration::from_millis(200))));
    }
}

/// A program that answers each line with one.
struct Conversation {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Conversation {
    fn start(host: &Host, program: &str, arguments: &[&str]) -> Self {
        let mut command = host.command(program).unwrap();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the program has ended");
        line.trim_end().to_owned()
    }

    fn ask(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line()
    }

    /// Lets the program end as it wants to.
    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}
