//! Forwarding between two links.
//!
//! On veth pairs, the sender's processor also runs the router's receiving stack, so the kernel forwards there. Programs
//! that forward have the other processor, which also runs the receiver's stack. No program receives: what has arrived is
//! what the receiver's interface counts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mcast_lab::Host;

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::network::{DOWNSTREAM, INTERFACE, Link, RoutedNetwork};
use crate::report::Figures;
use crate::run::{Cpu, Running, start, start_with_input};
use crate::tools::Need;

const SIZE: usize = 1_316;
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
const GROUPS: u8 = 200;
const PORT: u16 = 7_700;
const WARM_UP: Duration = Duration::from_millis(200);
/// The time that a forwarder has until it forwards every group.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The time without arrivals after which nothing is under way.
const QUIET_TIME: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forwarder {
    Kernel,
    Mcast,
    Wire,
    Socat,
}

impl Forwarder {
    const ALL: [Self; 4] = [Self::Kernel, Self::Mcast, Self::Wire, Self::Socat];

    const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Mcast => "mcast relay",
            Self::Wire => "mcast relay --wire",
            Self::Socat => "socat",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Kernel => "Linux's own forwarding of multicast, set up by smcroute",
            Self::Mcast => "one rule for all groups, in one process",
            Self::Wire => "the same, with the groups taken off the interface (`AF_XDP`)",
            Self::Socat => "a process for each group",
        }
    }

    const fn need(self) -> Need {
        match self {
            Self::Kernel => Need::Smcroute,
            Self::Mcast | Self::Wire => Need::Mcast,
            Self::Socat => Need::Socat,
        }
    }

    fn programs(self, bench: &Bench) -> Result<Vec<Vec<OsString>>> {
        let of = |program: &[&str]| program.iter().map(OsString::from).collect::<Vec<_>>();
        Ok(match self {
            Self::Kernel => {
                let made = bench.tools.made();
                let (settings, socket) = (made.join("smcroute.conf"), made.join("smcroute.socket"));
                let route = format!("mroute from {INTERFACE} group 239.77.0.0/24 to {DOWNSTREAM}\n");
                fs::write(&settings, route).context("writing the settings of smcroute")?;
                let mut program = of(&["smcrouted", "-n", "-l", "none"]);
                let files = [("-f", settings), ("-u", socket), ("-P", made.join("smcroute.pid"))];
                program.extend(files.into_iter().flat_map(|(option, path)| [option.into(), path.into()]));
                vec![program]
            }
            Self::Mcast | Self::Wire => {
                let rule = format!("239.77.0.1+{GROUPS}:{PORT} from {INTERFACE} to {DOWNSTREAM} always");
                let mut program = vec![bench.tools.mcast().into()];
                program.extend(of(&["relay", &rule]));
                program.extend((self == Self::Wire).then(|| of(&["--wire", "require"])).into_iter().flatten());
                vec![program]
            }
            Self::Socat => groups()
                .map(|group| {
                    let from = format!("UDP4-RECV:{PORT},bind={group},ip-add-membership={group}:{INTERFACE}");
                    let to = format!(
                        "UDP4-DATAGRAM:{group}:{PORT},ip-multicast-if=10.77.1.1,ip-multicast-ttl=8,ip-multicast-loop=0"
                    );
                    of(&["socat", "-u", "-b", "65536", &from, &to])
                })
                .collect(),
        })
    }
}

pub(super) fn measure(bench: &Bench, plan: &Plan, link: Link) -> Result<Figures> {
    let about = "As many datagrams as possible to 200 groups in turn, from one link to another. The sender has the first \
                 processor, the forwarder the second one; the kernel forwards on the first one. What has arrived is \
                 counted by the receiver's interface. Then half of that rate is sent again, and what is lost is counted.";
    let network = &RoutedNetwork::new(link)?;
    let mut figures = bench.figures(plan, about.to_owned(), "rate", Forwarder::Kernel.name());
    // Only frames of one datagram each can be taken.
    let takes_part = |forwarder: &Forwarder| *forwarder != Forwarder::Wire || link == Link::Frames;
    let ways = Forwarder::ALL.into_iter().filter(takes_part).map(|forwarder| Forwarding {
        name: forwarder.name(),
        what: forwarder.what(),
        need: forwarder.need(),
        run: Box::new(move || run_once(network, bench, forwarder, link)),
    });
    compare(bench, &mut figures, ways)?;
    Ok(figures)
}

/// A way to forward that is measured beside others.
pub(super) struct Forwarding<'a> {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) need: Need,
    pub(super) run: Box<dyn Fn() -> Result<Values> + 'a>,
}

/// Measures those that are available in turn, and adds them to the figures.
pub(super) fn compare<'a>(
    bench: &Bench,
    figures: &mut Figures,
    ways: impl IntoIterator<Item = Forwarding<'a>>,
) -> Result<()> {
    let (mut turns, mut texts) = (Vec::new(), BTreeMap::new());
    for Forwarding { name, what, need, run } in ways {
        match bench.missing(need) {
            Some(why) => drop(figures.absent.insert(name.to_owned(), why.to_owned())),
            None => turns.push(Turn { name: name.to_owned(), run }),
        }
        texts.insert(name, what);
    }
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("rate"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&turns, options)?;
    fill(figures, rounds, |name| texts.get(name).copied().unwrap_or_default().to_owned());
    Ok(())
}

fn groups() -> impl Iterator<Item = Ipv4Addr> {
    (1..=GROUPS).map(|last| Ipv4Addr::new(239, 77, 0, last))
}

fn run_once(network: &RoutedNetwork, bench: &Bench, forwarder: Forwarder, link: Link) -> Result<Values> {
    let programs = forwarder.programs(bench)?;
    let running = programs.iter().map(|program| start_with_input(&network.router, Cpu::Receiver, program));
    let running: Vec<Running> = running.collect::<Result<_>>()?;
    wait_until_forwarding(network)?;
    let seconds = bench.options.window();
    let sending = start(&network.sender, Cpu::Sender, &flood(bench, link, &[]))?;
    thread::sleep(WARM_UP);
    let (before, cpu) = (Counted::of(network)?, cpu_of(&running)?);
    let began = Instant::now();
    thread::sleep(Duration::from_secs_f64(seconds));
    let (after, window) = (Counted::of(network)?, began.elapsed().as_secs_f64());
    let cpu = cpu_of(&running)? - cpu;
    drop(sending);
    let (arrived, offered) = (after.arrived - before.arrived, after.sent - before.sent);
    let datagrams = |bytes: u64| bytes as f64 / bytes_each(link);
    let rate = datagrams(arrived) / window;
    ensure!(rate > 0.0, "nothing arrived");
    let mut values = vec![("rate", rate), ("offered", datagrams(offered) / window)];
    // What the kernel uses is that of no process.
    values.extend((forwarder != Forwarder::Kernel).then_some(("cpu_ns", cpu * 1e9 / datagrams(arrived))));
    // The headers of segmented buffers would count as losses.
    if link == Link::Frames {
        values.push(("half_loss", loss(network, bench, rate / 2.0)?));
    }
    Ok(values)
}

/// Returns the percentage that is lost at a rate, on link (b).
fn loss(network: &RoutedNetwork, bench: &Bench, rate: f64) -> Result<f64> {
    await_silence(network)?;
    let before = Counted::of(network)?;
    let seconds = bench.options.window();
    let pace = format!("{rate:.0}pps");
    let duration = format!("{seconds}s");
    let program = flood(bench, Link::Frames, &["--rate", &pace, "--duration", &duration]);
    let paced = start(&network.sender, Cpu::Sender, &program)?;
    paced.text(Duration::from_secs_f64(seconds + 20.0))?;
    await_silence(network)?;
    let after = Counted::of(network)?;
    let (sent, arrived) = (after.sent - before.sent, after.arrived - before.arrived);
    Ok(sent.saturating_sub(arrived) as f64 / sent.max(1) as f64 * 100.0)
}

/// Returns the bytes that an interface counts for a datagram: a segmented buffer has one header.
fn bytes_each(link: Link) -> f64 {
    if link == Link::Frames { (SIZE + HEADERS) as f64 } else { SIZE as f64 }
}

/// Returns the command line of the sender.
fn flood(bench: &Bench, link: Link, options: &[&str]) -> Vec<OsString> {
    let (groups, size) = (format!("239.77.0.1+{GROUPS}:{PORT}"), SIZE.to_string());
    let mut program: Vec<OsString> = vec![bench.tools.mcast().into()];
    let words = ["perf", "send", &groups, "-i", INTERFACE, "--ttl", "8", "--size", &size, "--no-loopback"];
    program.extend(words.into_iter().map(OsString::from));
    program.extend(["--expect", "0", "-q"].map(OsString::from));
    program.extend((link == Link::Frames).then(|| OsString::from("--no-gso")));
    program.extend(options.iter().map(OsString::from));
    program
}

/// Bytes that were sent, and those that have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    sent: u64,
    arrived: u64,
}

impl Counted {
    fn of(network: &RoutedNetwork) -> Result<Self> {
        let sent = interface_bytes(&network.sender, Direction::Sent)?;
        Ok(Self { sent, arrived: interface_bytes(&network.receiver, Direction::Received)? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Received,
    Sent,
}

/// Returns the bytes that the interface of a host has received.
pub(super) fn interface_received(host: &Host) -> Result<u64> {
    interface_bytes(host, Direction::Received)
}

/// Returns the bytes that an interface has counted in a direction.
fn interface_bytes(host: &Host, direction: Direction) -> Result<u64> {
    let table = host.read_proc_net("dev")?;
    let bytes = || {
        let counters =
            table.lines().find_map(|line| line.trim().strip_prefix(INTERFACE)?.strip_prefix(':'))?;
        let place = if direction == Direction::Received { 0 } else { 8 };
        counters.split_whitespace().nth(place)?.parse().ok()
    };
    bytes().with_context(|| format!("the counters of '{}'", host.name()))
}

/// Sends to each group until all of them are forwarded.
fn wait_until_forwarding(network: &RoutedNetwork) -> Result<()> {
    let socket = network.sender.run(|| UdpSocket::bind("10.77.0.1:0"))??;
    socket.set_multicast_ttl_v4(8)?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let before = Counted::of(network)?;
        for group in groups() {
            socket.send_to(&[0; SIZE], (group, PORT))?;
        }
        await_silence(network)?;
        let after = Counted::of(network)?;
        if after.arrived - before.arrived >= u64::from(GROUPS) * SIZE as u64 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not every group is forwarded");
    }
}

/// Waits until nothing arrives any more.
fn await_silence(network: &RoutedNetwork) -> Result<()> {
    let mut last = Counted::of(network)?;
    loop {
        thread::sleep(QUIET_TIME);
        let now = Counted::of(network)?;
        // Single frames are those of the networks' own protocols.
        if now.arrived - last.arrived < SIZE as u64 {
            return Ok(());
        }
        last = now;
    }
}

fn cpu_of(running: &[Running]) -> Result<f64> {
    running.iter().map(Running::cpu_seconds).sum()
}
