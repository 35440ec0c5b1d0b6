//! A sender and a receiver at work, and what went through.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mcast_lab::Host;

use super::process::{Cpu, Running, start};
use super::{Counted, UdpCounters};
use crate::contestants::{Contestant, Counts, Groups, Task};
use crate::network::Network;
use crate::tools::Tools;

/// By how much whoever isn't judged outlasts who is, in seconds: their windows open within
/// milliseconds of each other.
const SLACK: f64 = 0.2;
/// How long a program may take beyond its window.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whose count is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// What the sender sent.
    Sender,
    /// What the receiver received.
    Receiver,
}

/// What one run showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// What the sender did; `None` where it was not waited for.
    pub sent: Option<Counted>,
    /// What the receiver did; `None` where it was not waited for.
    pub received: Option<Counted>,
}

/// Runs a sender against a receiver as fast as both go.
///
/// # Errors
/// When a program cannot be started, ends early, or counts what cannot be.
pub fn run_pair(
    network: &Network,
    tools: &Tools,
    (sender, receiver): (&Contestant, &Contestant),
    judged: Judged,
    task: &Task,
) -> Result<Reading> {
    let longer = Task { seconds: task.seconds + SLACK, ..*task };
    let (sending, receiving) = match judged {
        Judged::Sender => (*task, longer),
        Judged::Receiver => (longer, *task),
    };
    let listening = start_receiver(network, tools, receiver, &receiving)?;
    let talking = start_sender(network, tools, sender, &sending)?;
    let reading = match judged {
        Judged::Sender => {
            Reading { sent: Some(count_sent(network, sender, talking, &sending)?), received: None }
        }
        Judged::Receiver => {
            let received = count_received(network, receiver, listening, &receiving)?;
            let sent = match sender.counts() {
                Counts::Itself => Some(count_sent(network, sender, talking, &sending)?),
                Counts::Kernel => None,
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

fn count_received(network: &Network, who: &Contestant, mut running: Running, task: &Task) -> Result<Counted> {
    match who.counts() {
        Counts::Itself => running.result(patience(task)),
        Counts::Kernel => count_in_kernel(&network.receiver, &running, task, |counters| counters.received),
    }
}

fn count_sent(network: &Network, who: &Contestant, mut running: Running, task: &Task) -> Result<Counted> {
    match who.counts() {
        Counts::Itself => running.result(patience(task)),
        Counts::Kernel => count_in_kernel(&network.sender, &running, task, |counters| counters.sent),
    }
}

fn patience(task: &Task) -> Duration {
    PATIENCE + Duration::from_secs_f64(task.warm_up + task.seconds)
}

/// Counts for a program that doesn't: through the window, by the kernel's counters.
fn count_in_kernel(
    host: &Host,
    running: &Running,
    task: &Task,
    which: impl Fn(UdpCounters) -> u64,
) -> Result<Counted> {
    let look = || -> Result<_> { Ok((UdpCounters::of(host)?, running.cpu_seconds()?, Instant::now())) };
    let begun = Instant::now();
    let idle = UdpCounters::of(host)?;
    while which(UdpCounters::of(host)?) == which(idle) {
        ensure!(begun.elapsed() < PATIENCE, "nothing came to '{}'", host.name());
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_secs_f64(task.warm_up));
    let (before, cpu_before, from) = look()?;
    thread::sleep(Duration::from_secs_f64(task.seconds));
    let (after, cpu_after, to) = look()?;
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
/// When it doesn't.
pub fn wait_until_joined(host: &Host, groups: Groups) -> Result<()> {
    let group: std::net::Ipv4Addr = groups.first.parse().context("an IPv4 group")?;
    // The kernel prints the address as the number it has in memory.
    let written = format!("{:08X}", u32::from_ne_bytes(group.octets()));
    let deadline = Instant::now() + PATIENCE;
    while !host.read_proc_net("igmp")?.contains(&written) {
        if Instant::now() > deadline {
            bail!("'{}' did not join {group}", host.name());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Every datagram has the size that was asked for, or something was counted that is no datagram.
fn check(counted: &Counted, task: &Task) -> Result<()> {
    // Both counters are read while they are written, so they may differ by a batch.
    let expected = counted.datagrams as f64 * task.size as f64;
    let difference = (counted.bytes as f64 - expected).abs();
    ensure!(counted.datagrams > 0, "nothing came through in the window");
    ensure!(
        difference <= expected * 0.001 + 20_000.0 * task.size as f64,
        "{} datagrams of {} bytes cannot have {} bytes",
        counted.datagrams,
        task.size,
        counted.bytes
    );
    Ok(())
}
