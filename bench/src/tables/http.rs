//! Groups for HTTP clients: what eight streams of 40 Mbit/s cost.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::network::{INTERFACE, Link, RoutedNetwork};
use crate::report::Figures;
use crate::run::{Cpu, Running, start};

/// Seven packets of a transport stream, and how many of these make 40 Mbit/s.
const SIZE: usize = 1_316;
const RATE: u32 = 3_800;
const CLIENTS: u8 = 8;
const GROUP: &str = "239.77.0.1";
const PORT: u16 = 7_700;
/// The router, as the clients see it.
const SERVER: &str = "10.77.1.1";
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Windows of other tables: processor time is counted in ticks.
const WINDOWS: f64 = 4.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Reference,
    Gathering,
    Mcast,
}

impl Proxy {
    const ALL: [Self; 3] = [Self::Reference, Self::Gathering, Self::Mcast];

    const fn name(self) -> &'static str {
        match self {
            Self::Reference => "C recvmmsg, writev",
            Self::Gathering => "C, every 4 ms",
            Self::Mcast => "mcast relay",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Reference => "one thread; what it receives at once is written at once to each client",
            Self::Gathering => "the same, with a pause of 4 ms after each time",
            Self::Mcast => "one rule for all groups; writes at most every 4 ms to each client",
        }
    }

    fn program(self, bench: &Bench, groups: u8) -> Vec<OsString> {
        match self {
            Self::Reference | Self::Gathering => {
                let (groups, port) = (groups.to_string(), PORT.to_string());
                let words = ["http", "--group", GROUP, "--groups", &groups, "--port", &port];
                let place = ["--interface", INTERFACE, "--address", SERVER, "--bare"];
                let pause: &[&str] = if self == Self::Gathering { &["--gather", "4"] } else { &[] };
                let words = words.into_iter().chain(place).chain(pause.iter().copied()).map(OsString::from);
                [bench.tools.reference().into()].into_iter().chain(words).collect()
            }
            Self::Mcast => {
                let rule = format!("{GROUP}+{groups}:{PORT} from {INTERFACE} to http://{SERVER}:{PORT}");
                vec![bench.tools.mcast().into(), "relay".into(), rule.into()]
            }
        }
    }
}

/// Measures eight clients of as many groups as given.
pub(super) fn measure(bench: &Bench, plan: &Plan, groups: u8) -> Result<Figures> {
    let about = format!(
        "{CLIENTS} clients receive {} of 40 Mbit/s, in datagrams of {SIZE} bytes that are frames, by HTTP. The processor time \
         of the server, the memory that it has at the end, and what did not reach the clients.",
        if groups == 1 { "the same group".to_owned() } else { format!("{groups} groups") }
    );
    let network = &RoutedNetwork::new(Link::Frames)?;
    let mut figures = bench.figures(plan, about, "core", Proxy::Reference.name());
    let turn = |proxy: Proxy| Turn {
        name: proxy.name().to_owned(),
        run: Box::new(move || run_once(network, bench, proxy, groups)),
    };
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("core"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&Proxy::ALL.map(turn), options)?;
    fill(&mut figures, rounds, |name| {
        let proxy = Proxy::ALL.into_iter().find(|proxy| proxy.name() == name);
        proxy.map_or("", Proxy::what).to_owned()
    });
    Ok(figures)
}

fn run_once(network: &RoutedNetwork, bench: &Bench, proxy: Proxy, groups: u8) -> Result<Values> {
    let server = start(&network.router, Cpu::Receiver, &proxy.program(bench, groups))?;
    let received = Arc::new(AtomicU64::new(0));
    for number in 0..CLIENTS {
        let stream = connect(network)?;
        let group = format!("239.77.0.{}", 1 + number % groups);
        receive(stream, &group, Arc::clone(&received))?;
    }
    let _sending = start(&network.sender, Cpu::Sender, &stream(bench, groups))?;
    let deadline = Instant::now() + START_TIMEOUT;
    // Each client has received for a while, and connections are as fast as they become.
    while received.load(Ordering::Relaxed) < u64::from(CLIENTS) * 2_000_000 {
        ensure!(Instant::now() < deadline, "the clients received {} bytes", received.load(Ordering::Relaxed));
        thread::sleep(Duration::from_millis(10));
    }
    let before = (received.load(Ordering::Relaxed), server.cpu_seconds()?, Instant::now());
    thread::sleep(Duration::from_secs_f64(bench.options.window() * WINDOWS));
    let window = before.2.elapsed().as_secs_f64();
    let bytes = received.load(Ordering::Relaxed) - before.0;
    let core = (server.cpu_seconds()? - before.1) / window * 100.0;
    let expected = f64::from(RATE) * SIZE as f64 * f64::from(CLIENTS) * window;
    let missing = (1.0 - bytes as f64 / expected).max(0.0) * 100.0;
    let [resident, own] = [memory(&server, "VmRSS:")?, memory(&server, "RssAnon:")?];
    Ok(vec![("core", core), ("resident", resident), ("own", own), ("missing", missing)])
}

/// Connects to the server, which may not listen yet.
fn connect(network: &RoutedNetwork) -> Result<TcpStream> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match network.receiver.run(|| TcpStream::connect((SERVER, PORT)))? {
            Ok(stream) => return Ok(stream),
            Err(error) => ensure!(Instant::now() < deadline, "the server does not listen: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Requests a group, and counts what arrives in a thread until the server ends.
fn receive(mut stream: TcpStream, group: &str, received: Arc<AtomicU64>) -> Result<()> {
    let request = format!("GET /udp/{group}:{PORT} HTTP/1.1\r\nHost: {SERVER}\r\n\r\n");
    stream.write_all(request.as_bytes()).context("sending a request")?;
    thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            received.fetch_add(count as u64, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Returns the command line of the sender.
fn stream(bench: &Bench, groups: u8) -> Vec<OsString> {
    let pace = format!("{}pps", RATE * u32::from(groups));
    let (groups, size) = (format!("{GROUP}+{groups}:{PORT}"), SIZE.to_string());
    let words = ["perf", "send", &groups, "-i", INTERFACE, "--ttl", "8", "--size", &size, "--rate", &pace];
    let options = ["--no-loopback", "--expect", "0", "-q", "--no-gso"];
    let words = words.into_iter().chain(options).map(OsString::from);
    [bench.tools.mcast().into()].into_iter().chain(words).collect()
}

/// Returns the resident memory in megabytes: all, or without the pages of files.
fn memory(server: &Running, line: &str) -> Result<f64> {
    let path = format!("/proc/{}/status", server.id());
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kilobytes = status.lines().find_map(|each| each.strip_prefix(line)?.split_whitespace().next());
    let kilobytes: f64 =
        kilobytes.and_then(|text| text.parse().ok()).with_context(|| format!("{line} is missing"))?;
    Ok(kilobytes * 1_024.0 / 1e6)
}
