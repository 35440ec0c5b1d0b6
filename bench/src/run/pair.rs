//! Runs a sender and a receiver, and counts the datagrams.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mcast_lab::Host;
use serde::Deserialize;

use super::process::{Cpu, Running, start};
use super::{Counted, UdpCounters};
use crate::contestants::{Contestant, Counts, Groups, Task};
use crate::network::Network;
use crate::tools::Tools;

/// How much longer the side that is not measured runs, in seconds. Their windows start within milliseconds of each
/// other.
const SLACK: f64 = 0.2;
/// How long a program may take beyond its window.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The side whose count is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasuredSide {
    /// The datagrams sent.
    Sender,
    /// The datagrams received.
    Receiver,
}

/// The result of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The counts of the sender; `None` if it was not waited for.
    pub sent: Option<Counted>,
    /// The counts of the receiver; `None` if it was not waited for.
    pub received: Option<Counted>,
}

/// Runs a sender and a receiver as fast as possible.
///
/// # Errors
/// If a program cannot be started, exits early, or reports impossible counts.
pub fn run_pair(
    network: &Network,
    tools: &Tools,
    (sender, receiver): (&Contestant, &Contestant),
    judged: MeasuredSide,
    task: &Task,
) -> Result<Reading> {
    let longer = Task { seconds: task.seconds + SLACK, ..*task };
    let (sending, receiving) = match judged {
        MeasuredSide::Sender => (*task, longer),
        MeasuredSide::Receiver => (longer, *task),
    };
    let listening = start_receiver(network, tools, receiver, &receiving)?;
    let idle = listening.cpu_seconds()?;
    let talking = start_sender(network, tools, sender, &sending)?;
    let reading = match judged {
        MeasuredSide::Sender => {
            Reading { sent: Some(count_sent(network, sender, talking, &sending)?), received: None }
        }
        MeasuredSide::Receiver => {
            let received = count_received(network, receiver, (listening, idle), &receiving)?;
            let sent = match sender.counts() {
                Counts::Itself => Some(count_sent(network, sender, talking, &sending)?),
                Counts::Kernel | Counts::Whole => None,
            };
            Reading { sent, received: Some(received) }
        }
    };
    for counted in [reading.sent, reading.received].into_iter().flatten() {
        check(&counted, task)?;
    }
    Ok(reading)
}

fn start_receiver(network: &Network, tools: &Tools, who: &Contestant, task: &Task) -> Result<Running> {
    let mut running = start(&network.receiver, Cpu::Receiver, &who.receiver(tools, task))?;
    match who.counts() {
        Counts::Itself => running.wait_ready()?,
        Counts::Kernel => wait_until_joined(&network.receiver, task.groups)?,
        Counts::Whole => running.wait_for_text("joined on")?,
    }
    Ok(running)
}

fn start_sender(network: &Network, tools: &Tools, who: &Contestant, task: &Task) -> Result<Running> {
    let mut running = start(&network.sender, Cpu::Sender, &who.sender(tools, task))?;
    if who.counts() == Counts::Itself {
        running.wait_ready()?;
    }
    Ok(running)
}

/// Counts what was received. `idle`: the processor time that the program had used before.
fn count_received(
    network: &Network,
    who: &Contestant,
    (mut running, idle): (Running, f64),
    task: &Task,
) -> Result<Counted> {
    match who.counts() {
        Counts::Whole => count_until_interrupted(running, idle, task),
        Counts::Itself => running.result(time_limit(task)),
        Counts::Kernel => count_in_kernel(&network.receiver, &running, task, |counters| counters.received),
    }
}

fn count_sent(network: &Network, who: &Contestant, mut running: Running, task: &Task) -> Result<Counted> {
    match who.counts() {
        Counts::Itself => running.result(time_limit(task)),
        Counts::Kernel | Counts::Whole => {
            count_in_kernel(&network.sender, &running, task, |counters| counters.sent)
        }
    }
}

fn time_limit(task: &Task) -> Duration {
    TIMEOUT + Duration::from_secs_f64(task.warm_up + task.seconds)
}

/// The summary of `mcast recv --discard --json`.
#[derive(Deserialize)]
struct Summary {
    datagrams: u64,
    bytes: u64,
}

/// Counts all that a program receives until it is interrupted after the window, and the processor time that all of it took: the
/// warm-up counts as well.
fn count_until_interrupted(mut running: Running, idle: f64, task: &Task) -> Result<Counted> {
    let begun = Instant::now();
    thread::sleep(Duration::from_secs_f64(task.warm_up + task.seconds));
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), running.cpu_seconds()?);
    running.interrupt()?;
    let Summary { datagrams, bytes } = running.result(time_limit(task))?;
    Ok(Counted { datagrams, bytes, seconds, cpu_seconds: cpu - idle })
}

/// Counts for a program that does not, with the kernel's counters at both ends of the window.
fn count_in_kernel(
    host: &Host,
    running: &Running,
    task: &Task,
    which: impl Fn(UdpCounters) -> u64,
) -> Result<Counted> {
    let sample = || -> Result<_> { Ok((UdpCounters::of(host)?, running.cpu_seconds()?, Instant::now())) };
    let begun = Instant::now();
    let idle = UdpCounters::of(host)?;
    while which(UdpCounters::of(host)?) == which(idle) {
        ensure!(begun.elapsed() < TIMEOUT, "no datagrams at '{}'", host.name());
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_secs_f64(task.warm_up));
    let (before, cpu_before, from) = sample()?;
    thread::sleep(Duration::from_secs_f64(task.seconds));
    let (after, cpu_after, to) = sample()?;
    let datagrams = which(after.since(before));
    Ok(Counted {
        datagrams,
        bytes: datagrams * task.size as u64,
        seconds: (to - from).as_secs_f64(),
        cpu_seconds: cpu_after - cpu_before,
    })
}

/// Waits until a host has joined the first of these IPv4 groups.
///
/// # Errors
/// If that takes too long.
pub fn wait_until_joined(host: &Host, groups: Groups) -> Result<()> {
    let group: std::net::Ipv4Addr = groups.first.parse().context("an IPv4 group")?;
    // The kernel prints the address as a number in host byte order.
    let written = format!("{:08X}", u32::from_ne_bytes(group.octets()));
    let deadline = Instant::now() + TIMEOUT;
    while !host.read_proc_net("igmp")?.contains(&written) {
        if Instant::now() > deadline {
            bail!("'{}' did not join {group}", host.name());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Checks that the number of bytes matches that of the datagrams.
fn check(counted: &Counted, task: &Task) -> Result<()> {
    // The counters are read without synchronization, so they may differ by a batch.
    let expected = counted.datagrams as f64 * task.size as f64;
    let difference = (counted.bytes as f64 - expected).abs();
    ensure!(counted.datagrams > 0, "no datagrams in the window");
    ensure!(
        difference <= expected * 0.001 + 20_000.0 * task.size as f64,
        "{} datagrams of {} bytes cannot have {} bytes",
        counted.datagrams,
        task.size,
        counted.bytes
    );
    Ok(())
}
