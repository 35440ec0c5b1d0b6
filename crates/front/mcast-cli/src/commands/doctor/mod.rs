//! `mcast doctor`: finds out why multicast does not arrive, and suggests remedies.

mod apply;
mod fleet;
mod json;

mod path;
mod subject;
mod text;
mod watch;

use std::cell::Cell;
use std::ffi::OsString;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcast::InterfaceSelector;
use mcast_doctor::{Effect, Error, HostError, Id, IpProtocol, Options, Report, Severity, Verdict};
use mcast_metrics::ExporterAddress;
use mcast_terminal::Console;

use crate::arguments::{Admission, hide, parse_duration, parse_positive_duration};
use crate::exit::{Failure, Outcome};
use crate::interrupt::{Interrupt, Service};
use crate::metrics;
use crate::sys::{self, Capability};

use apply::Repairer;
use subject::Subject;
use text::Progress;

/// Find out why multicast does not arrive, and how to fix it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(|option| hide(option, HIDDEN)))]
pub(crate) struct Arguments {
    /// What should arrive, or the name of a service, device or host to find [default: examine this machine, and every
    /// program that has joined groups]
    #[arg(value_name = "GROUP:PORT|NAME")]
    memberships: Vec<String>,

    /// Run this program and examine its sockets, and those of its child processes
    ///
    /// All are stopped afterwards. Their output goes to standard error.
    ///
    /// With --watch or --repair it keeps its own input, output and exit status, and runs until it ends, even if mcast
    /// is stopped; mcast reports on standard error
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Join on this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    admission: Admission,

    /// Change nothing on this machine or network: no temporary nftables rules that count packets, and no second report
    /// for a silent group
    #[arg(long)]
    no_experiments: bool,

    #[command(flatten)]
    other: OtherSubject,

    #[command(flatten)]
    path: PathOptions,

    #[command(flatten)]
    fleet: fleet::FleetOptions,

    #[command(flatten)]
    timing: TimingOptions,

    #[command(flatten)]
    results: ResultOptions,
}

/// Other subjects than memberships.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Examine something else")]
struct OtherSubject {
    /// Examine the sockets of this process and its children, in their network namespace
    #[arg(long, value_name = "ID", conflicts_with_all = ["memberships", "command"])]
    pid: Option<u32>,

    /// Expect packets of this protocol, without ports, instead of UDP: a name such as vrrp, ospf, pim or icmpv6, or its
    /// number [default: that of the group, if it is known]
    #[arg(long, value_name = "PROTOCOL", requires = "memberships", conflicts_with_all = ["listen", "probe"])]
    protocol: Option<IpProtocol>,

    /// Examine the sockets bound to this UDP port
    #[arg(long, value_name = "PORT", conflicts_with_all = ["memberships", "command", "pid"])]
    port: Option<u16>,

    /// Read packets from this file, pcap or pcapng, also compressed (.gz)
    ///
    /// With a group without ports, such as vrrp, its packets are examined.
    #[arg(short, long = "read", value_name = "FILE", conflicts_with_all = ["command", "pid", "port"])]
    read: Option<PathBuf>,
}

/// Both ends of a path.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Test the path between two machines")]
struct PathOptions {
    /// Receive and answer another machine's probes, until Ctrl-C; by default on two well-known groups, one IPv4 and one
    /// IPv6
    #[arg(long, conflicts_with_all = ["probe", "pid", "port", "read", "command", "soak", "watch", "apply", "json"])]
    listen: bool,

    /// Probe the path to all machines with --listen: which sizes, hop limits and families arrive
    ///
    /// Also by unicast to these machines (`--probe=10.0.0.7`), even if they do not answer probes to the group.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', num_args = 0..=1, require_equals = true, group = "prober", conflicts_with_all = ["pid", "port", "read", "command", "sources", "soak", "watch", "apply", "timeout"])]
    probe: Option<Vec<IpAddr>>,

    /// How many networks to cross [default: 1, this network]
    #[arg(short, long, value_name = "HOPS", requires = "prober", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,

    /// Stop after N probes of each size and hop limit
    #[arg(short, long, value_name = "N", requires = "prober", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
}

/// Durations.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How long")]
struct TimingOptions {
    /// Stop listening after TIME [default: 5s, or 3s once 50 datagrams have arrived, 2s if none of 20 reaches the
    /// socket; with --listen until Ctrl-C]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_positive_duration)]
    timeout: Option<Duration>,

    /// Listen until memberships expire that no querier refreshes (275 s), or for TIME (`--soak=300s`); with --fleet,
    /// probe again after that time, which shows whether switches forget memberships
    #[arg(long, value_name = "TIME", value_parser = parse_duration, num_args = 0..=1, require_equals = true, conflicts_with = "read")]
    soak: Option<Option<Duration>>,

    /// Keep running: repeat the examination every minute (or TIME: `--watch=5m`), and report changes
    #[arg(
        long,
        value_name = "TIME",
        value_parser = parse_duration,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1m",
        overrides_with = "watch",
        conflicts_with_all = ["read", "apply"]
    )]
    watch: Option<Duration>,

    /// Record each examination of --watch in this file, and report since when something fails; without --watch, print
    /// this history
    #[arg(long, value_name = "FILE", conflicts_with_all = ["read", "apply", "listen", "probe"])]
    journal: Option<PathBuf>,

    /// Serve Prometheus metrics at http://ADDRESS/metrics, with --watch
    #[arg(long, value_name = "ADDRESS", requires = "watch")]
    metrics: Option<ExporterAddress>,
}

/// What to do with the findings.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Results")]
struct ResultOptions {
    /// Exit status 1 also for warnings
    #[arg(long)]
    strict: bool,

    /// Ask, apply the remedy of this finding, and examine again; undo it if datagrams still do not arrive
    ///
    /// Repeatable, for faults that hide each other.
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["read", "json"])]
    apply: Vec<Id>,

    /// With --watch or a program to run, apply the remedy of this finding whenever it occurs, and do not ask: also
    /// after the program has restarted. Repeatable
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["read", "apply"])]
    repair: Vec<Id>,

    /// Do not ask, and apply only remedies that can be undone
    #[arg(long, requires = "apply")]
    yes: bool,

    /// Undo the changes that --apply and --change have made in this network namespace, except those that were changed
    /// again since
    ///
    /// Changes of a killed --apply are undone, too
    #[arg(long, conflicts_with_all = ["memberships", "command", "pid", "port", "read", "apply", "watch", "listen", "probe", "soak"])]
    undo: bool,

    /// Change one option or membership of a socket of the running process of --pid (Linux). A finding states the
    /// change: `INODE join GROUP%INTERFACE`, `INODE hops ipv4 16`
    #[arg(long, value_name = "CHANGE", requires = "pid", conflicts_with_all = ["apply", "watch", "json", "soak"])]
    change: Option<String>,

    /// Print one JSON object per finding, and a verdict at the end
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
A group is observed at three levels at once: on the wire, in the counters of the IP layer, and at the
socket. The verdict (on a terminal the first line, otherwise the last) states whether datagrams arrive.
Exit status 0 if they do, 1 if there is a fault, 5 if there are only warnings or a stream has stopped.
If something could not be observed, the verdict begins with unknown, and the exit status is 3 if only
a permission is missing (the wire needs root or CAP_NET_RAW), otherwise 6.

Several groups are examined one after the other, because all of them share the counters of the kernel:
with --watch, an interval is at least the sum of their times (-W).

-s SOURCE admits only this source, like SOURCE@ before the group. -4 and -6 select the family of a name. With --fleet,
--lldp TIME is how long to wait for LLDP, which names switch ports, if a path fails (30 s), and --ssh-config FILE replaces
the configuration of ssh.

Examples:
  mcast doctor                                this machine: interfaces, routes, settings
  mcast doctor 239.255.1.3:5000               why this does not arrive
  mcast doctor 10.0.0.7@232.1.2.3%eth1:5000   from this source, on this interface
  mcast doctor 239.255.1.3:5000 --soak        why it stops after four minutes
  mcast doctor vrrp%eth1                      packets of a protocol without UDP and ports
  mcast doctor 'Office printer'               why this is not found, or cannot be reached
  mcast doctor /chatter                       why nodes of ROS 2 do not exchange this topic
  mcast doctor --port 5000                    why the program on that port does not receive
  mcast doctor --pid 4711 --strict            why this process does not receive; warnings count as faults
  mcast doctor -- ./player udp://@239.255.1.3:5000  start this program, and examine it
  mcast doctor --repair not-joined -- ./player      run it, and join the groups that it does not join
  mcast doctor -r capture.pcapng              what a capture shows
  mcast doctor --listen                       wait for the probes of another machine
  mcast doctor --probe -t 8                   probe the path from that machine, across routers
  mcast doctor --fleet a,b,c                  the paths between all of these, over ssh
  mcast doctor --fleet a,b,c --watch --journal FILE   since when a path fails
  mcast doctor --apply reverse-path-filter 239.255.1.3:5000   apply the remedy
  mcast doctor --pid 4711 --apply not-joined  let a running program join the group
  mcast doctor --port 5000 --watch --repair not-joined   also after it has restarted
  mcast doctor --undo                         undo the changes of --apply
  mcast doctor --json --watch                 for programs, repeatedly
  mcast doctor 239.255.1.3:5000 --watch --metrics :9478   for Prometheus";

/// The options that the notes describe; scripts and tests use them.
const HIDDEN: &[&str] = &["lldp", "sources", "ssh_config", "v4", "v6"];

/// The capabilities for repeated examinations: to capture, to receive at any port, to read firewall rules, to find the processes of
/// sockets, to count what the kernel drops, and to name the functions that drop it.
pub(super) const RIGHTS: [Capability; 8] = [
    Capability::NetRaw,
    Capability::NetBindService,
    Capability::NetAdmin,
    Capability::SysPtrace,
    Capability::DacReadSearch,
    Capability::Bpf,
    Capability::PerfMon,
    Capability::SysLog,
];

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.fleet.is_given() {
        return fleet::run(arguments, console);
    }
    arguments.timing.check_journal()?;
    if let Some(end) = arguments.path.end() {
        return path::run(end, arguments, console);
    }
    if arguments.results.undo {
        return apply::undo_all(console);
    }
    if let (Some(text), Some(pid)) = (&arguments.results.change, arguments.other.pid) {
        return apply::change(pid, text, console);
    }
    if let (Some(path), false) = (&arguments.timing.journal, arguments.watches()) {
        return show_history(path, arguments, console);
    }
    let beside = arguments.runs_a_program().then(|| console.beside_a_program());
    let console = beside.as_ref().unwrap_or(console);
    arguments.check()?;
    let subject = Subject::of(arguments, console)?;
    let bound = arguments.timing.metrics.as_ref().map(metrics::bind).transpose()?;
    if arguments.results.apply.is_empty() && arguments.results.repair.is_empty() {
        let elsewhere = subject.may_be_elsewhere().then_some(Capability::SysAdmin);
        sys::keep_rights(&RIGHTS.into_iter().chain(elsewhere).collect::<Vec<_>>())?;
    }
    let interrupt = Interrupt::catch(|| {})?;
    let service = Service::begin();
    let options = arguments.options();
    let doctor = Doctor {
        subject,
        options,
        interrupt,
        service,
        console,
        is_repeating: Cell::new(false),
        network_of: Cell::new(None),
        repairs: !arguments.results.repair.is_empty(),
        ends_early: arguments.timing.may_end_early() || arguments.runs_a_program(),
    };
    if arguments.watches() || arguments.runs_a_program() {
        let history = arguments.timing.journal.as_ref();
        let history = history.map(|path| watch::open_journal(path, console)).transpose()?;
        let repairer = Repairer::new(&arguments.results.repair, console);
        let every = arguments.timing.watch.unwrap_or(WATCH_INTERVAL);
        return watch::run(&doctor, every, repairer, bound, history, arguments.results.json);
    }
    let report = doctor.examine()?;
    if !arguments.results.apply.is_empty() {
        return apply::run(&doctor, &report, &arguments.results.apply, arguments.results.yes);
    }
    doctor.print(&report, arguments.results.json)?;
    Ok(doctor.interrupt.outcome().unwrap_or_else(|| arguments.results.outcome(&report)))
}

/// The time between two examinations of a program that runs.
const WATCH_INTERVAL: Duration = Duration::from_secs(60);

impl TimingOptions {
    /// Refuses a journal beside a single long examination, which is not recorded.
    fn check_journal(&self) -> Result<(), Failure> {
        match self.journal.is_some() && self.soak.is_some() {
            true => {
                Err(Failure::usage("--journal does not record what --soak examines")
                    .remedy("remove one of them"))
            }
            false => Ok(()),
        }
    }

    /// Returns whether the user has not chosen how long to listen.
    const fn may_end_early(&self) -> bool {
        self.timeout.is_none() && self.soak.is_none() && self.watch.is_none()
    }
}

fn show_history(path: &Path, arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let OtherSubject { pid, port, .. } = arguments.other;
    if !arguments.memberships.is_empty() || pid.is_some() || port.is_some() {
        return Err(Failure::usage("--journal without --watch prints the file, and examines nothing")
            .remedy("add --watch, or name only the file")
            .into());
    }
    watch::show_journal(path, arguments.results.json, console)
}

impl PathOptions {
    const fn end(&self) -> Option<path::End> {
        match (self.listen, self.probe.is_some()) {
            (true, _) => Some(path::End::Listen),
            (_, true) => Some(path::End::Probe),
            _ => None,
        }
    }
}

impl Arguments {
    /// Returns whether it examines repeatedly.
    pub(crate) const fn watches(&self) -> bool {
        self.timing.watch.is_some()
    }

    /// Returns whether a program is run until it ends, and examined meanwhile.
    fn runs_a_program(&self) -> bool {
        !self.command.is_empty() && (self.watches() || !self.results.repair.is_empty())
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(Some(_)) = self.timing.soak {
            return Err(Failure::usage("the time of --soak is when the machines of --fleet probe again")
                .remedy("write --soak, or -W TIME to listen for another time")
                .into());
        }
        if !self.results.repair.is_empty() && !self.watches() && self.command.is_empty() {
            return Err(Failure::usage("--repair applies remedies for as long as something runs")
                .remedy("add --watch, or name a program to run: -- COMMAND")
                .into());
        }
        if !self.results.apply.is_empty() && !self.command.is_empty() {
            return Err(Failure::usage(
                "a program that is started only for the examination is stopped afterwards, so no remedy can be applied to it",
            )
            .remedy("use --repair instead of --apply: the program then runs until it ends")
            .into());
        }
        if self.runs_a_program() && self.results.json {
            return Err(Failure::usage("--json would mix with the output of the program")
                .remedy("start the program on its own, and examine it with --pid or --port")
                .into());
        }
        Ok(())
    }

    fn options(&self) -> Options {
        let options = match self.timing.timeout {
            Some(timeout) => Options::default().listening(timeout),
            None => Options::default(),
        };
        let options = if self.timing.soak.is_some() { options.soaking() } else { options };
        options.with(|options| options.experiments = !self.no_experiments)
    }
}

impl ResultOptions {
    fn outcome(&self, report: &Report) -> Outcome {
        match report.verdict() {
            Verdict::Healthy => Outcome::Yes,
            Verdict::Warnings if self.strict => Outcome::No,
            _ if self.strict && report.worst() >= Some(Severity::Warning) => Outcome::No,
            Verdict::Warnings => Outcome::Warnings,
            Verdict::Unknown if report.undecided().all(|open| open.effect == Effect::NeedsRights) => {
                Outcome::NotPermitted
            }
            Verdict::Unknown => Outcome::Undecided,
            _ => Outcome::No,
        }
    }
}

/// An examination of a subject, and its environment.
struct Doctor<'a> {
    subject: Subject,
    options: Options,
    interrupt: Interrupt,
    service: Service,
    console: &'a Console,
    /// Whether this is a repeated examination.
    is_repeating: Cell<bool>,
    /// The process whose network namespace this thread has entered.
    network_of: Cell<Option<u32>>,
    /// Whether findings are repaired whenever they are found.
    repairs: bool,
    /// Whether to listen only until enough has arrived for a verdict.
    ends_early: bool,
}

impl Doctor<'_> {
    /// Examines the subject. A program in another network namespace is followed there.
    fn examine(&self) -> anyhow::Result<Report> {
        let mut progress = Progress::new(self);
        let examined = self.subject.examine(&self.options, &mut progress);
        let elsewhere = examined.as_ref().err().and_then(|error| error.downcast_ref());
        let examined = match elsewhere {
            Some(Error::Host(HostError::OtherNamespace { name, pid })) if self.may_follow() => {
                // Without the right to enter it, the error explains how to do it.
                if mcast_doctor::enter_network_of(*pid).is_err() {
                    return examined;
                }
                self.console.note(format_args!("examining in the network namespace of {name}"));
                self.network_of.set(Some(*pid));
                self.subject.examine(&self.options, &mut progress)
            }
            _ => examined,
        };
        let report = match self.network_of.get() {
            Some(pid) => examined?.with_remedies_in_network_of(pid),
            None => examined?,
        };
        Ok(if self.interrupt.has_arrived() { report.interrupted() } else { report })
    }

    /// Returns whether to follow a program to another network namespace. A port that nobody here has open, because the program
    /// has ended or was not started yet, is that of another program elsewhere only by chance.
    fn may_follow(&self) -> bool {
        let waits_here = self.subject.is_port() && (self.is_repeating.get() || self.repairs);
        self.network_of.get().is_none() && !waits_here
    }

    fn print(&self, report: &Report, is_json: bool) -> anyhow::Result<()> {
        let mut out = self.console.output();
        if is_json {
            json::write(report, &mut out)?;
        } else {
            text::write(report, self.subject.is_listened_to(), self.console, &mut out)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// The schemas of its records.
#[cfg(feature = "schema")]
pub(super) fn schemas() -> Vec<mcast_json::RecordSchema> {
    [json::schemas(), path::schemas(), watch::schemas(), fleet::schemas()].concat()
}

#[cfg(test)]
mod tests {
    /// This program accepts its own commands that the doctor suggests, in both families.
    #[test]
    fn suggested_commands_of_mcast_are_accepted() {
        for (to, source) in [("239.255.1.3:5000", "10.0.0.7"), ("[ff15::1234]:5000", "fd00::7")] {
            let sources = [source.parse().unwrap(), source.parse().unwrap()];
            for words in mcast_doctor::suggestions(to.parse().unwrap(), &sources, "eth0") {
                let line = ["mcast".to_owned()].into_iter().chain(words.clone()).map(Into::into);
                assert!(crate::cli::parse(line).is_ok(), "{words:?}");
                for group in words.iter().filter(|word| word.ends_with(":5000")) {
                    group.parse::<mcast::Membership>().unwrap();
                }
            }
        }
    }
}
