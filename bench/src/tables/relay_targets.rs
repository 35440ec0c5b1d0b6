//! Forwarding to unicast targets of which one cannot be reached: what the others notice.

use std::ffi::OsString;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::network::{BEHIND_ROUTER, INTERFACE, Link, RoutedNetwork};
use crate::report::Figures;
use crate::run::{Cpu, start};

const SIZE: usize = 1_316;
const GROUP: &str = "239.77.0.1:7700";
/// The port of the first target; those of the others follow.
const FIRST_PORT: u16 = 8_000;
const TARGETS: u16 = 10;
/// The time between datagrams: 5,000 per second.
const INTERVAL: Duration = Duration::from_micros(200);
/// Windows of other tables: there are many slices.
const WINDOWS: f64 = 8.0;
/// Datagrams of a slice: a quarter of a second.
const SLICE: usize = 1_250;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const READ_TIMEOUT: Duration = Duration::from_millis(300);

/// The first target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Reachable,
    /// No host has the address, so it is not resolved.
    NoHost,
    /// No program has the port, so the host refuses it.
    NoProgram,
}

impl First {
    const ALL: [Self; 3] = [Self::Reachable, Self::NoHost, Self::NoProgram];

    const fn name(self) -> &'static str {
        match self {
            Self::Reachable => "all reachable",
            Self::NoHost => "one without a host",
            Self::NoProgram => "one without a program",
        }
    }
}

pub(super) fn measure(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = "`mcast relay` forwards 5,000 datagrams per second to ten targets on a host. How long they take from the \
                 sender to the last target, in microseconds, on link (a), while all targets can be reached, or the first \
                 one cannot. Each percentile is the median of those of slices of a quarter of a second, so that it shows \
                 the relay rather than the pauses of the machine.";
    let network = &RoutedNetwork::new(Link::Whole)?;
    let mut figures = bench.figures(plan, about.to_owned(), "p50", First::Reachable.name());
    let turn = |first: First| Turn {
        name: first.name().to_owned(),
        run: Box::new(move || run_once(network, bench, first)),
    };
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("p99"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&First::ALL.map(turn), options)?;
    fill(&mut figures, rounds, |_| String::new());
    Ok(figures)
}

fn run_once(network: &RoutedNetwork, bench: &Bench, first: First) -> Result<Values> {
    let ports = FIRST_PORT..FIRST_PORT + TARGETS;
    let bind = |port| UdpSocket::bind((BEHIND_ROUTER, port));
    let bind_all = || ports.clone().map(bind).collect::<std::io::Result<Vec<_>>>();
    let mut targets = network.receiver.run(bind_all)??;
    if first == First::NoProgram {
        drop(targets.remove(0));
    }
    let Some(last) = targets.pop() else { anyhow::bail!("there are no targets") };
    let addresses = ports.map(|port| {
        let address = if first == First::NoHost && port == FIRST_PORT { "10.77.1.99" } else { BEHIND_ROUTER };
        format!("udp://{address}:{port}")
    });
    let rule = format!("{GROUP} from {INTERFACE} to {}", addresses.collect::<Vec<_>>().join(","));
    let mut program: Vec<OsString> = vec![bench.tools.mcast().into()];
    program.extend(["relay", &rule].map(OsString::from));
    let _relay = start(&network.router, Cpu::Receiver, &program)?;
    let sender = network.sender.run(|| UdpSocket::bind("10.77.0.1:0"))??;
    sender.set_multicast_ttl_v4(8)?;
    wait_until_forwarding(&sender, &last)?;

    let start = Instant::now();
    let count = (bench.options.window() * WINDOWS / INTERVAL.as_secs_f64()) as u32;
    let receiver = thread::spawn(move || receive(&last, start));
    for number in 0..count {
        let due = start + INTERVAL * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut payload = [0; SIZE];
        payload[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
        sender.send_to(&payload, GROUP)?;
    }
    let Ok(times) = receiver.join() else { anyhow::bail!("the receiver ended") };
    ensure!(times.len() >= SLICE, "only {} datagrams arrived", times.len());
    let lost = f64::from(count) - times.len() as f64;
    let slices: Vec<Vec<f64>> = times.chunks_exact(SLICE).map(|slice| sorted(slice.to_vec())).collect();
    let percentile =
        |share: f64| at(&sorted(slices.iter().map(|slice| at(slice, share)).collect::<Vec<_>>()), 0.5);
    Ok(vec![("p50", percentile(0.5)), ("p90", percentile(0.9)), ("p99", percentile(0.99)), ("lost", lost)])
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

/// Returns the value that this share of the others is below, of one or more sorted ones.
fn at(times: &[f64], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share) as usize]
}

/// Receives until nothing has come for a while; returns how long each has taken, in microseconds.
fn receive(target: &UdpSocket, start: Instant) -> Vec<f64> {
    let (mut times, mut buffer) = (Vec::new(), [0; 2_048]);
    while target.recv(&mut buffer).is_ok() {
        let now = start.elapsed().as_nanos() as f64;
        let sent = buffer.first_chunk().copied().map_or(0, u64::from_be_bytes);
        times.push((now - sent as f64) / 1e3);
    }
    times
}

/// Sends until the last target receives, and nothing is under way.
fn wait_until_forwarding(sender: &UdpSocket, last: &UdpSocket) -> Result<()> {
    let (deadline, mut buffer) = (Instant::now() + START_TIMEOUT, [0; 2_048]);
    last.set_read_timeout(Some(READ_TIMEOUT))?;
    loop {
        sender.send_to(&[0; 1], GROUP)?;
        if last.recv(&mut buffer).is_ok() {
            // An error about the first target arrives meanwhile.
            while last.recv(&mut buffer).is_ok() {}
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nothing is forwarded");
    }
}
