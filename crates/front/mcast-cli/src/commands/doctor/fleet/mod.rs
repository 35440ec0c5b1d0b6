//! `mcast doctor --fleet`: the doctor on many machines, and the paths between all of them, once or repeatedly.

mod html;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mcast::group::Destination;
use mcast::{Family, InterfaceSelector, Membership, SourceFilter};
use mcast_fleet::{
    FleetHost, FleetMember, FleetPlan, FleetReport, FleetVerdict, History, MemberTarget, examine_fleet,
    parse_fleet,
};
use mcast_terminal::{Console, Output};

use super::path::{groups, interface_of, is_here};
use super::text::{LiveLine, safe};
use super::watch::{Next, open_journal, wait, write_onset};
use super::{Arguments, RIGHTS};
use crate::arguments::{parse_duration, select_destinations, select_memberships};
use crate::exit::{Failure, Outcome};
use crate::interrupt::{Interrupt, Service};
use crate::output::clock_time;
use crate::{sending, sys};

#[cfg(feature = "schema")]
pub(super) use text::schemas;

/// Many machines.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Test the paths between many machines, over ssh")]
pub(super) struct FleetOptions {
    /// Let these machines probe each other and examine themselves: [user@]host[:port], or @FILE with one per line,
    /// optionally with interface=NAME
    #[arg(long, value_name = "HOST,...|@FILE", value_delimiter = ',', group = "prober", conflicts_with_all = [
        "listen", "pid", "port", "read", "command", "sources", "metrics", "apply", "timeout",
    ])]
    fleet: Vec<Machines>,

    /// How to run mcast on the machines; with sudo, they can see their own drops
    #[arg(long, value_name = "[sudo ]PATH", requires = "fleet", default_value = "mcast")]
    remote_command: String,

    /// Use this ssh configuration instead of your own
    #[arg(long, value_name = "FILE", requires = "fleet")]
    ssh_config: Option<PathBuf>,

    /// If a path fails, wait up to TIME for LLDP, which names switch ports
    #[arg(long, value_name = "TIME", requires = "fleet", value_parser = parse_duration, default_value = "30s")]
    lldp: Duration,

    /// Also write the report to this file, as an HTML page with a matrix of the paths
    #[arg(long, value_name = "FILE", requires = "fleet")]
    html: Option<PathBuf>,

    /// Run as a machine of `--fleet`, which sends commands on standard input
    #[arg(long, hide = true)]
    fleet_member: bool,
}

impl FleetOptions {
    pub(super) const fn is_given(&self) -> bool {
        !self.fleet.is_empty() || self.fleet_member
    }
}

/// A machine, or a file of machines.
#[derive(Clone, Debug)]
enum Machines {
    One(FleetHost),
    File(PathBuf),
}

impl FromStr for Machines {
    type Err = <FleetHost as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('@') {
            Some(path) => Ok(Self::File(path.into())),
            None => text.parse().map(Self::One),
        }
    }
}

impl Machines {
    fn read(&self) -> anyhow::Result<Vec<FleetHost>> {
        match self {
            Self::One(host) => Ok(vec![host.clone()]),
            Self::File(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let hosts = parse_fleet(&text);
                Ok(hosts.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?)
            }
        }
    }
}

/// When the machines probe again, if the option has no time: memberships that no querier refreshes have expired by then.
const PROBE_AGAIN: Duration = Duration::from_secs(275);

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.fleet.fleet_member {
        return be_member(arguments, console);
    }
    let plan = plan(arguments)?;
    let page = arguments.fleet.html.as_deref();
    // Before the examination takes its time.
    page.map(create).transpose()?;
    let fleet =
        Fleet { plan, page, is_json: arguments.results.json, interrupt: Interrupt::catch(|| {})?, console };
    if let Some(every) = arguments.timing.watch {
        let history = arguments.timing.journal.as_deref();
        let history = history.map(|path| open_journal(path, console)).transpose()?;
        return watch(&fleet, every, history);
    }
    let report = fleet.examine();
    fleet.write(&report, &mut console.output())?;
    Ok(fleet.interrupt.outcome().unwrap_or_else(|| outcome(&report, arguments.results.strict)))
}

fn create(page: &Path) -> anyhow::Result<fs::File> {
    fs::File::create(page).with_context(|| format!("cannot write {}", page.display()))
}

/// A fleet, and how to report on it.
struct Fleet<'a> {
    plan: FleetPlan,
    /// The HTML page to write.
    page: Option<&'a Path>,
    is_json: bool,
    interrupt: Interrupt,
    console: &'a Console,
}

impl Fleet<'_> {
    fn examine(&self) -> FleetReport {
        let mut line = LiveLine::new(self.console);
        examine_fleet(&self.plan, &|| !self.interrupt.has_arrived(), &mut |step| match line.is_live {
            true => line.show(safe(step)),
            false => self.console.detail(step),
        })
    }

    fn write(&self, report: &FleetReport, out: &mut Output) -> anyhow::Result<()> {
        match self.is_json {
            true => text::write_objects(report, out)?,
            false => text::write(report, self.console, out)?,
        }
        out.flush()?;
        // Last: the report is not lost if the disk is full.
        match self.page {
            Some(path) => html::write(report, &mut create(path)?)
                .with_context(|| format!("cannot write {}", path.display())),
            None => Ok(()),
        }
    }
}

fn outcome(report: &FleetReport, is_strict: bool) -> Outcome {
    match report.verdict() {
        FleetVerdict::Healthy => Outcome::Yes,
        FleetVerdict::Warnings if is_strict => Outcome::No,
        FleetVerdict::Warnings => Outcome::Warnings,
        FleetVerdict::Unknown => Outcome::Undecided,
        FleetVerdict::NeedsRights => Outcome::NotPermitted,
        FleetVerdict::Faults => Outcome::No,
    }
}

fn plan(arguments: &Arguments) -> anyhow::Result<FleetPlan> {
    let options = &arguments.fleet;
    let again_after = arguments.timing.soak.map(|time| time.unwrap_or(PROBE_AGAIN));
    let hosts = options.fleet.iter().map(Machines::read).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let mut names = BTreeSet::new();
    if let Some(host) = hosts.iter().find(|host| !names.insert(&host.name)) {
        return Err(Failure::usage(format!("{} is listed twice", host.name)).into());
    }
    if hosts.len() < 2 {
        let why = format!("a fleet has at least two machines, and this one {}", hosts.len());
        return Err(Failure::usage(why)
            .remedy("name more, separated by commas, or @FILE, which lists them")
            .into());
    }
    check_groups(arguments)?;
    let mut words: Vec<String> = ["doctor", "--fleet-member"].map(str::to_owned).into();
    words.extend(arguments.admission.families.flag().map(str::to_owned));
    // A member ends with its session. If the machine does not notice that, it ends after this time.
    let limit = Duration::from_secs(3_600) + again_after.unwrap_or_default();
    words.extend(["-W".into(), format!("{}s", limit.as_secs())]);
    words.extend(arguments.memberships.iter().cloned());
    let mut plan = FleetPlan::new(hosts, words);
    plan.interfaces = arguments.interfaces.iter().map(ToString::to_string).collect();
    let (sudo, command) = match options.remote_command.strip_prefix("sudo ") {
        Some(command) => (true, command),
        None => (false, options.remote_command.as_str()),
    };
    plan.ssh.sudo = sudo;
    plan.ssh.config.clone_from(&options.ssh_config);
    plan.ssh.remote_command = command.trim().to_owned();
    plan.count = arguments.path.count;
    plan.ttl = arguments.path.ttl.unwrap_or(1);
    plan.again_after = again_after;
    plan.lldp_wait = options.lldp;
    Ok(plan)
}

/// Finds groups that no machine could probe.
fn check_groups(arguments: &Arguments) -> Result<(), Failure> {
    for text in &arguments.memberships {
        // Names and addresses without a port are for the machines to judge.
        let Ok(membership) = text.parse::<Membership>() else { continue };
        if membership.sources != SourceFilter::ANY {
            let why = format!("{text} names a source, and all machines of a fleet send");
            return Err(Failure::usage(why).remedy("name a group that needs no source"));
        }
    }
    Ok(())
}

/// Runs on each machine of a fleet.
fn be_member(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { interfaces, admission, .. } = arguments;
    let mut groups = groups(arguments)?;
    let families = admission.families;
    if arguments.memberships.is_empty() {
        // This machine may lack one of the two families.
        let (has_v4, has_v6) = (is_here(Family::V4)?, is_here(Family::V6)?);
        groups.retain(|group| if group.starts_with('[') { has_v6 } else { has_v4 });
    }
    let memberships = select_memberships(&groups, interfaces, &admission.sources, families, console)?.items;
    let mut probed = Vec::new();
    for destination in &select_destinations(&groups, families, console)?.items {
        for target in targets_of(destination, interfaces)? {
            let address = destination.address;
            // Without it, an interface of the usual MTU is assumed.
            let interface = interface_of(std::slice::from_ref(&target), address.group).unwrap_or_default();
            probed.push(MemberTarget { address, interface, outgoing: target.template() });
        }
    }
    let member = FleetMember::join(memberships, probed)?;
    sys::keep_rights(&RIGHTS)?;
    member.run(io::stdin(), io::stdout(), arguments.timing.timeout)?;
    Ok(Outcome::Yes)
}

/// Returns how to send to a destination. Without a route to groups, as in closed networks, it is sent on all interfaces, on which the
/// system joins it as well.
fn targets_of(
    destination: &Destination,
    interfaces: &[InterfaceSelector],
) -> anyhow::Result<Vec<sending::Target>> {
    let one = std::slice::from_ref(destination);
    let is_unrouted =
        || mcast::interface::towards(destination.address.group.addr()).is_ok_and(|found| found.is_none());
    if interfaces.is_empty()
        && is_unrouted()
        // If there is none, the failing probe is reported.
        && let Ok(targets) = sending::resolve(one, &[InterfaceSelector::All])
    {
        return Ok(targets);
    }
    Ok(sending::resolve(one, interfaces)?)
}

fn watch(fleet: &Fleet<'_>, every: Duration, mut history: Option<History>) -> anyhow::Result<Outcome> {
    let (console, service) = (fleet.console, Service::begin());
    let hangup = service.hangups()?;
    console.note("repeating the examination until Ctrl-C");
    let status = format!("Examines every {} s", every.as_secs_f64());
    service.ready(&status);
    let mut last: Option<FleetReport> = None;
    let outcome = loop {
        let start = Instant::now();
        let report = fleet.examine();
        if let Some(outcome) = fleet.interrupt.outcome() {
            // What an interrupted examination has not tested is not broken.
            break outcome;
        }
        if let Some(Err(error)) = history.as_mut().map(|history| history.record_fleet(&report)) {
            console.warn(format_args!("the history ends: {error}"));
            history = None;
        }
        if last.as_ref().is_none_or(|last| !report.has_same_outcome(last)) {
            write(fleet, &report, history.as_ref())?;
        } else {
            console.detail(format_args!(
                "{} unchanged: {}",
                clock_time(SystemTime::now()),
                text::summary(&report)
            ));
        }
        last = Some(report);
        match wait(&fleet.interrupt, &service, hangup.as_ref(), start + every) {
            Next::Examine => {}
            Next::Reload => {
                console.note("received SIGHUP: examining now and reporting everything");
                service.reloading();
                last = None;
                service.ready(&status);
            }
            Next::End => break fleet.interrupt.outcome().unwrap_or(Outcome::Yes),
        }
    };
    service.stopping();
    Ok(outcome)
}

/// Writes a report that differs from the last one, and since when something is wrong.
fn write(fleet: &Fleet<'_>, report: &FleetReport, history: Option<&History>) -> anyhow::Result<()> {
    let mut out = fleet.console.output();
    if !fleet.is_json {
        let dim = fleet.console.palette().dim;
        writeln!(out, "{dim}{}{dim:#}", clock_time(SystemTime::now()))?;
    }
    fleet.write(report, &mut out)?;
    if let Some(onset) = history.and_then(History::onset) {
        write_onset(&onset, fleet.is_json, &mut out)?;
    }
    out.flush()?;
    Ok(())
}
