//! `cargo bench-peers capture`: compares programs that write all packets on a link to a file, by the share they lose at
//! different rates. The result is docs/capture.md.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mcast_lab::Child;
use serde_json::Value;

use crate::arguments::CaptureOptions;
use crate::machine::Machine;
use crate::network::{INTERFACE, Link, Network};
use crate::tools::{Need, Tools};

const GROUP: &str = "239.255.77.1:5000";

/// Datagrams per second.
const RATES: [u64; 3] = [200_000, 280_000, 400_000];

/// Bytes of payload: small, so that the number of packets is the limit.
const PAYLOAD: usize = 64;

/// The time limit of each step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A program that captures to a file.
struct Contestant {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// What it prints on standard error when it is capturing.
    ready: &'static str,
    remark: &'static str,
}

const CONTESTANTS: [Contestant; 6] = [
    Contestant {
        name: "mcast sniff",
        program: "mcast",
        arguments: &["sniff", "-i", INTERFACE, "-w"],
        ready: "capturing on",
        remark: "in blocks, from a ring that is shared with the kernel (`TPACKET_V3`), as tcpdump does",
    },
    Contestant {
        name: "mcast sniff, by calls",
        program: "mcast",
        arguments: &["sniff", "-i", INTERFACE, "-i", "lo", "-w"],
        ready: "capturing on",
        remark: "on two interfaces, where frames are taken by `recvmmsg` so that they keep their order",
    },
    Contestant {
        name: "tcpdump",
        program: "tcpdump",
        arguments: &["-n", "-i", INTERFACE, "-w"],
        ready: "listening on",
        remark: "its own buffer of 2 MiB",
    },
    Contestant {
        name: "tcpdump -B",
        program: "tcpdump",
        arguments: &["-n", "-B", "32768", "-i", INTERFACE, "-w"],
        ready: "listening on",
        remark: "a buffer of 32 MiB, as mcast sniff asks for",
    },
    Contestant {
        name: "tshark",
        program: "tshark",
        arguments: &["-q", "-i", INTERFACE, "-w"],
        ready: "Capturing on",
        remark: "its own buffer of 2 MiB",
    },
    Contestant {
        name: "tshark -B",
        program: "tshark",
        arguments: &["-q", "-B", "32", "-i", INTERFACE, "-w"],
        ready: "Capturing on",
        remark: "a buffer of 32 MiB",
    },
];

const TAIL: &str = "
Unlike tcpdump, `mcast sniff` decodes every packet, to count groups and sources. The ring has a cost: a frame may take up to
100 ms to reach the file, and the buffer (`--buffer`, 32 MiB) is memory that the kernel allocates. Before `mcast sniff`
exits, it waits for the frames received before.
";

/// The result of one run.
#[derive(Clone, Copy, Debug)]
struct CaptureRun {
    sent: u64,
    captured: u64,
    /// Datagrams sent per second.
    rate: f64,
    /// CPU time of the program per datagram, in nanoseconds.
    cost: f64,
}

/// Runs all measurements and writes the document.
///
/// # Errors
/// If a lab cannot be created, or a program fails.
pub fn measure(options: &CaptureOptions) -> Result<()> {
    let bench = Bench::new(options)?;
    let present: Vec<&Contestant> = CONTESTANTS.iter().filter(|each| bench.has(each)).collect();
    let mut text = head(&bench);
    for rate in RATES {
        let _ = write!(
            text,
            "\n## {} a second\n\n| | lost, median | lost, worst | its CPU, ns each | sent/s |\n|---|---:|---:|---:|---:|\n",
            thousands(rate)
        );
        // Alternate, so that disturbances affect all programs.
        let mut runs: Vec<Vec<CaptureRun>> = vec![Vec::new(); present.len()];
        for _ in 0..options.rounds {
            for (contestant, runs) in present.iter().zip(&mut runs) {
                runs.push(bench.run(contestant, rate)?);
            }
        }
        for (contestant, runs) in present.iter().zip(&runs) {
            let row = row(contestant, runs);
            eprint!("{rate:>7}  {row}");
            text += &row;
        }
    }
    text += TAIL;
    match &options.write {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn head(bench: &Bench) -> String {
    let machine = Machine::here(Vec::new());
    let mut text = format!(
        "# Capturing without loss\n\nWritten by `cargo bench-peers capture`. One host sends datagrams of {PAYLOAD} bytes \
         (frames of {} bytes) for {} s, evenly paced, over a veth pair with offload off, so that each is a frame; the other \
         runs the program, which writes all that crosses its interface into a file on this machine's disk. Sender on \
         the first processor, program on the second, in turns. Lost is what was sent and is not in the file.\n\n\
         {}, {} processors; Linux {}; {}; commit {}.\n\n",
        PAYLOAD + 42,
        bench.seconds,
        machine.processor,
        machine.processors,
        machine.kernel,
        machine.date,
        machine.commit,
    );
    for contestant in CONTESTANTS.iter().filter(|each| !each.remark.is_empty()) {
        let _ = writeln!(text, "- {}: {}.", contestant.name, contestant.remark);
    }
    text
}

fn row(contestant: &Contestant, runs: &[CaptureRun]) -> String {
    let mut lost: Vec<f64> = runs
        .iter()
        .map(|run| run.sent.saturating_sub(run.captured) as f64 * 100.0 / run.sent as f64)
        .collect();
    lost.sort_by(f64::total_cmp);
    let mut costs: Vec<f64> = runs.iter().map(|run| run.cost).collect();
    costs.sort_by(f64::total_cmp);
    let mut rates: Vec<f64> = runs.iter().map(|run| run.rate).collect();
    rates.sort_by(f64::total_cmp);
    let median = |values: &[f64]| values.get(values.len() / 2).copied().unwrap_or_default();
    format!(
        "| {} | {} | {} | {:.0} | {} |\n",
        contestant.name,
        percent(median(&lost)),
        percent(lost.last().copied().unwrap_or_default()),
        median(&costs),
        thousands(median(&rates) as u64)
    )
}

fn percent(share: f64) -> String {
    if share == 0.0 { "none".into() } else { format!("{share:.3} %") }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// The hosts and paths of a measurement.
struct Bench {
    network: Network,
    mcast: PathBuf,
    folder: PathBuf,
    seconds: f64,
}

impl Bench {
    fn new(options: &CaptureOptions) -> Result<Self> {
        let tools = Tools::gather(&[Need::Mcast].into(), false)?;
        if let Some(why) = tools.missing(Some(Need::Mcast)) {
            bail!("{why}");
        }
        let folder = tools.made().join("capture");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            network: Network::new(Link::Frames)?,
            mcast: tools.mcast(),
            folder,
            seconds: options.seconds,
        })
    }

    fn has(&self, contestant: &Contestant) -> bool {
        let found = contestant.program == "mcast"
            || std::process::Command::new(contestant.program)
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success());
        if !found {
            eprintln!("{} is not installed: omitted", contestant.program);
        }
        found
    }

    fn path(&self, program: &str) -> PathBuf {
        if program == "mcast" { self.mcast.clone() } else { program.into() }
    }

    fn run(&self, contestant: &Contestant, rate: u64) -> Result<CaptureRun> {
        let file = self.folder.join("capture.pcapng");
        let mut command = self.network.receiver.command("taskset")?;
        command.args(["-c", "1"]).arg(self.path(contestant.program)).args(contestant.arguments).arg(&file);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        wait_for(&mut child, contestant.ready)?;
        let sent = (rate as f64 * self.seconds) as u64;
        let seconds = self.send(rate, sent)?;
        wait_until_complete(&file)?;
        let cost = processor_time(child.id())?;
        child.signal(libc::SIGINT)?;
        child.wait_timeout(TIMEOUT)?;
        let captured = self.count(&file)?;
        fs::remove_file(&file)?;
        let cost = cost.as_nanos() as f64 / captured.max(1) as f64;
        Ok(CaptureRun { sent, captured, rate: sent as f64 / seconds, cost })
    }

    /// Sends datagrams; returns how long that took, in seconds.
    fn send(&self, rate: u64, count: u64) -> Result<f64> {
        let mut command = self.network.sender.command("taskset")?;
        command.args(["-c", "0"]).arg(&self.mcast).args(["send", GROUP, "-i", INTERFACE, "--json"]);
        command.args(["--random", &PAYLOAD.to_string(), "-c", &count.to_string()]);
        command.args(["--rate", &format!("{rate}pps")]).stderr(Stdio::inherit());
        let output = command.stdout(Stdio::piped()).output()?;
        let summary: Value = serde_json::from_slice(&output.stdout).context("the sender's summary")?;
        summary["seconds"].as_f64().context("how long it was sent")
    }

    /// Returns the number of datagrams in a file.
    fn count(&self, file: &Path) -> Result<u64> {
        let mut command = std::process::Command::new(&self.mcast);
        let output = command.args(["sniff", "-q", "--discard", "--json", GROUP, "-r"]).arg(file).output()?;
        let summary: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        summary["packets"].as_u64().context("how many packets there are")
    }
}

/// Waits until a program reports that it is capturing; discards its later output.
fn wait_for(child: &mut Child, ready: &str) -> Result<()> {
    let mut stderr = child.stderr.take().context("standard error")?;
    let (mut text, mut chunk) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&text).contains(ready) {
        match stderr.read(&mut chunk)? {
            0 => bail!("it ended: {}", String::from_utf8_lossy(&text)),
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    thread::spawn(move || while stderr.read(&mut chunk).is_ok_and(|length| length > 0) {});
    // tshark prints this before its capture process has opened the interface.
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Waits until the file stops growing.
fn wait_until_complete(file: &Path) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let mut last = (0, Instant::now());
    while Instant::now() < deadline {
        let length = fs::metadata(file)?.len();
        if length != last.0 {
            last = (length, Instant::now());
        } else if last.1.elapsed() > Duration::from_secs(1) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("{} is still growing", file.display())
}

/// Returns the CPU time of a process and its children so far.
fn processor_time(id: u32) -> Result<Duration> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // After the name in parentheses: state, parent, …, user and system time as the 12th and 13th.
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = tail.split(' ').collect();
        let own = head.split(' ').next().and_then(|own| own.parse().ok()) == Some(id);
        let is_child = fields.get(1).and_then(|parent| parent.parse().ok()) == Some(id);
        if own || is_child {
            let field =
                |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
            ticks += field(11) + field(12);
        }
    }
    // 100 ticks per second (USER_HZ) on all current Linux systems.
    Ok(Duration::from_millis(ticks * 10))
}
