//! `cargo bench-peers capture`: compares programs that write all packets on a link to a file, or count them, by the rate up
//! to which they lose nothing. The result is docs/capture.md.

mod report;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::arguments::CaptureOptions;
use crate::machine::Machine;
use crate::network::{INTERFACE, Link, Network};
use crate::run::{Counted, Cpu, start};
use crate::tools::{Need, Tools};
use report::{CaptureRun, Measured};

const GROUP: &str = "239.255.77.1";
const PORT: &str = "5000";

/// Datagrams per second. The last ones are more than the sender reaches on most machines.
const RATES: [u64; 6] = [400_000, 560_000, 800_000, 1_000_000, 1_200_000, 1_400_000];

/// Bytes of payload: small, so that the number of packets is the limit.
const PAYLOAD: usize = 64;

/// Datagrams that are sent at once.
const TRAIN: &str = "64";

/// The time limit of each step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time between the last frame and the end of a program without a file: it has then reported all frames.
const LAST_REPORT: Duration = Duration::from_millis(2_500);

/// A program that captures.
struct Contestant {
    name: &'static str,
    program: &'static str,
    /// `{membership}` stands for the group and port.
    arguments: &'static [&'static str],
    output: CaptureOutput,
    /// What it prints when it is capturing.
    ready: &'static str,
    /// Where it reports what it dropped.
    drops: DropReport,
    remark: &'static str,
}

/// What a contestant makes of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CaptureOutput {
    /// A file, of which the name is the last argument.
    File,
    /// Numbers.
    Counts,
}

/// Where a contestant reports what it dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DropReport {
    /// In this field of the last JSON object with a summary.
    Summary(&'static str),
    /// In a line with this text after the number; none if there is no such line.
    Line(&'static str),
}

/// The name of the contestant that the goal on recording is about.
const RECORD_WIRE: &str = "mcast record --wire";
const SNIFF: &str = "mcast sniff";
const TOP: &str = "mcast top";
/// The contestants that it is compared with.
const TCPDUMP: [&str; 2] = ["tcpdump", "tcpdump -B"];

const CONTESTANTS: [Contestant; 7] = [
    Contestant {
        name: RECORD_WIRE,
        program: "mcast",
        arguments: &[
            "record",
            "{membership}",
            "-i",
            INTERFACE,
            "--json",
            "--buffer",
            "32M",
            "--wire",
            "require",
            "-w",
        ],
        output: CaptureOutput::File,
        ready: "recording from",
        drops: DropReport::Summary("dropped"),
        remark: "`record --wire require`, which joins the group and takes its frames before the network stack (`AF_XDP`); \
                 `--buffer 32M`, which gives a ring of 65,536 frames",
    },
    Contestant {
        name: "mcast record",
        program: "mcast",
        arguments: &["record", "{membership}", "-i", INTERFACE, "--json", "--buffer", "32M", "-w"],
        output: CaptureOutput::File,
        ready: "recording from",
        drops: DropReport::Summary("dropped"),
        remark: "the same without `--wire`, which captures the frames of the group",
    },
    Contestant {
        name: SNIFF,
        program: "mcast",
        arguments: &["sniff", "-i", INTERFACE, "--discard", "--json", "-w"],
        output: CaptureOutput::File,
        ready: "capturing on",
        drops: DropReport::Summary("dropped"),
        remark: "in blocks, from a ring that is shared with the kernel (`TPACKET_V3`), as tcpdump does",
    },
    Contestant {
        name: TOP,
        program: "mcast",
        arguments: &["top", "-i", INTERFACE, "--json"],
        output: CaptureOutput::Counts,
        ready: "watching",
        drops: DropReport::Summary("not_captured"),
        remark: "`top --json`, which writes no file; what it has counted is what it has seen",
    },
    Contestant {
        name: TCPDUMP[0],
        program: "tcpdump",
        arguments: &["-n", "-i", INTERFACE, "-w"],
        output: CaptureOutput::File,
        ready: "listening on",
        drops: DropReport::Line(" packets dropped by kernel"),
        remark: "its own buffer of 2 MiB",
    },
    Contestant {
        name: TCPDUMP[1],
        program: "tcpdump",
        arguments: &["-n", "-B", "32768", "-i", INTERFACE, "-w"],
        output: CaptureOutput::File,
        ready: "listening on",
        drops: DropReport::Line(" packets dropped by kernel"),
        remark: "a buffer of 32 MiB, as mcast sniff asks for",
    },
    Contestant {
        name: "tshark",
        program: "tshark",
        arguments: &["-q", "-i", INTERFACE, "-w"],
        output: CaptureOutput::File,
        ready: "Capturing on",
        drops: DropReport::Line(" packets dropped from"),
        remark: "its own buffer of 2 MiB",
    },
];

/// Measures what was selected, and writes the document from all that was measured at this commit.
///
/// # Errors
/// If a lab cannot be created, or a program fails.
pub fn measure(options: &CaptureOptions) -> Result<()> {
    let bench = Bench::new(options)?;
    let is_selected =
        |name: &str| options.contestants.is_empty() || options.contestants.iter().any(|it| it == name);
    let selected: Vec<&Contestant> = CONTESTANTS.iter().filter(|each| is_selected(each.name)).collect();
    if selected.is_empty() {
        bail!(
            "there is no contestant of this name; there are: {}",
            CONTESTANTS.map(|each| each.name).join(", ")
        );
    }
    let present: Vec<&Contestant> = selected.into_iter().filter(|each| bench.has(each)).collect();
    let machine = Machine::here(Vec::new());
    let store = bench.folder.join("runs.json");
    let mut measured = Measured::load(&store, &machine.commit);
    let rates = if options.rates.is_empty() { &RATES[..] } else { &options.rates };
    for rate in rates.iter().filter(|_| options.rounds > 0) {
        // Alternate, so that disturbances affect all programs.
        let mut runs: Vec<Vec<CaptureRun>> = vec![Vec::new(); present.len()];
        for _ in 0..options.rounds {
            for (contestant, runs) in present.iter().zip(&mut runs) {
                let run = bench.run(contestant, *rate)?;
                eprintln!("{rate:>9}  {:<20} {}", contestant.name, run.summary());
                runs.push(run);
            }
        }
        for (contestant, runs) in present.iter().zip(runs) {
            measured.put(*rate, contestant.name, runs);
        }
        // Each rate is kept, so that a run in steps adds to what there is.
        measured.store(&store)?;
    }
    let text = measured.document(&machine);
    match &options.write {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// The hosts and paths of a measurement.
struct Bench {
    network: Network,
    tools: Tools,
    folder: PathBuf,
    seconds: f64,
}

impl Bench {
    fn new(options: &CaptureOptions) -> Result<Self> {
        let tools = Tools::gather(&[Need::Mcast, Need::Reference].into(), false)?;
        if let Some(why) = tools.missing(Some(Need::Mcast)) {
            bail!("{why}");
        }
        let folder = tools.made().join("capture");
        fs::create_dir_all(&folder)?;
        Ok(Self { network: Network::new(Link::Frames)?, tools, folder, seconds: options.seconds })
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

    fn run(&self, contestant: &Contestant, rate: u64) -> Result<CaptureRun> {
        let file = self.folder.join("capture.pcapng");
        let mut running = start(&self.network.receiver, Cpu::Receiver, &self.program(contestant, &file))?;
        running.wait_for_text(contestant.ready)?;
        // tshark prints this before its capture process has opened the interface.
        thread::sleep(Duration::from_millis(500));
        let Counted { datagrams: sent, seconds, .. } = self.send(rate)?;
        match contestant.output {
            CaptureOutput::File => wait_until_complete(&file)?,
            CaptureOutput::Counts => thread::sleep(LAST_REPORT),
        }
        let processor = processor_time(running.id())?;
        running.interrupt()?;
        let text = running.text(TIMEOUT)?;
        let captured = match contestant.output {
            CaptureOutput::File => self.count(&file)?,
            CaptureOutput::Counts => last_summary(&text)
                .and_then(|summary| summary["datagrams"].as_u64())
                .with_context(|| format!("no summary of {} in {text}", contestant.name))?,
        };
        if contestant.output == CaptureOutput::File {
            fs::remove_file(&file)?;
        }
        Ok(CaptureRun {
            sent,
            captured,
            dropped: contestant.drops.read(&text),
            rate: sent as f64 / seconds,
            cost: processor.as_nanos() as f64 / captured.max(1) as f64,
        })
    }

    fn program(&self, contestant: &Contestant, file: &Path) -> Vec<OsString> {
        let path = if contestant.program == "mcast" { self.tools.mcast() } else { contestant.program.into() };
        let mut program = vec![path.into_os_string()];
        program.extend(contestant.arguments.iter().map(|argument| match *argument {
            "{membership}" => format!("{GROUP}:{PORT}").into(),
            argument => OsString::from(argument),
        }));
        program.extend((contestant.output == CaptureOutput::File).then(|| file.into()));
        program
    }

    /// Sends datagrams, evenly paced.
    fn send(&self, rate: u64) -> Result<Counted> {
        let (rate_text, size) = (rate.to_string(), PAYLOAD.to_string());
        let count = ((rate as f64 * self.seconds) as u64).to_string();
        let mut program = vec![self.tools.reference().into_os_string()];
        let to = ["send", "--group", GROUP, "--port", PORT, "--interface", INTERFACE, "--size", &size];
        let how = ["--calls", "trains", "--train", TRAIN, "--rate", &rate_text, "--count", &count];
        program.extend(to.into_iter().chain(how).map(OsString::from));
        start(&self.network.sender, Cpu::Sender, &program)?.result(TIMEOUT)
    }

    /// Returns the number of datagrams in a file.
    fn count(&self, file: &Path) -> Result<u64> {
        let mut command = std::process::Command::new(self.tools.mcast());
        let membership = format!("{GROUP}:{PORT}");
        let output =
            command.args(["sniff", "-q", "--discard", "--json", &membership, "-r"]).arg(file).output()?;
        let summary: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        summary["packets"].as_u64().context("how many packets there are")
    }
}

impl DropReport {
    /// Returns what a program says that it dropped; `None` if it does not say.
    fn read(self, text: &str) -> Option<u64> {
        match self {
            Self::Summary(field) => last_summary(text)?[field].as_u64(),
            Self::Line(after) => {
                let line = text.lines().find(|line| line.contains(after));
                line.map_or(Some(0), |line| line.split(after).next()?.split(' ').next_back()?.parse().ok())
            }
        }
    }
}

/// Returns the last JSON object that is a summary.
fn last_summary(text: &str) -> Option<Value> {
    let mut values = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.find(|value| value["event"] == "summary")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_where_each_program_reports_them() {
        let summary =
            "note\n{\"event\":\"summary\",\"dropped\":1}\n{\"event\":\"summary\",\"dropped\":7}\nend";
        assert_eq!(DropReport::Summary("dropped").read(summary), Some(7));
        assert_eq!(DropReport::Summary("not_captured").read(summary), None);
        assert_eq!(DropReport::Summary("dropped").read("no object"), None);
        let line = DropReport::Line(" packets dropped by kernel");
        assert_eq!(line.read("5 packets captured\n1234 packets dropped by kernel\n"), Some(1_234));
        assert_eq!(line.read("5 packets captured\n"), Some(0));
    }
}
