//! A table or objects at the end, and changes as they happen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use mcast_terminal::{Console, Output};
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveredKind, DiscoveryEvent, DiscoveryProtocol};
use mcast_watch::live::{
    DescribeError, DiscoveredRecord, DiscoveryEventRecord, DiscoverySummaryRecord, add_descriptions,
};

use super::{DiscoverPlan, Display, text};
use crate::arguments::Goal;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count, count_of, seconds, write_record};
use crate::session::{Control, End, SessionSteps, Step};

/// The time in which each switch has announced itself, which cannot be asked.
const ANNOUNCED_BY_THEN: Duration = Duration::from_secs(60);

/// The longest wait for a change before looking for an interrupt.
const WAIT: Duration = Duration::from_millis(50);

pub(super) fn run(
    plan: &DiscoverPlan<'_>,
    discovery: &Discovery,
    interrupt: Interrupt,
    start: Instant,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let mut session = DiscoverSession { plan, discovery, console, out: console.output(), shown: 0 };
    session.print_start();
    if plan.selection.is_only_of(&discovery.coverage().unseen()) {
        return Err(Failure::permission("what is selected is only visible with the permission to capture")
            .remedy("run it as root, or with CAP_NET_RAW")
            .into());
    }
    let mut control = Control::new(interrupt, Goal::until(plan.timeout, start), console);
    let end = control.run(&mut session)?;
    if let Some(error) = discovery.failure() {
        return Err(error.into());
    }
    let found = session.finish(start.elapsed())?;
    Ok(match end {
        End::Interrupted => control.interrupt.outcome().unwrap_or(Outcome::Yes),
        End::ReaderGone => Outcome::Yes,
        _ => Outcome::of(found || (plan.selection.is_everything() && plan.resolve.is_none())),
    })
}

struct DiscoverSession<'a> {
    plan: &'a DiscoverPlan<'a>,
    discovery: &'a Discovery,
    console: &'a Console,
    out: Output,
    /// The number of changes printed.
    shown: u64,
}

impl SessionSteps for DiscoverSession<'_> {
    fn step(&mut self, _control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        let Some(event) = self.discovery.next_event(Some(wait)) else {
            let is_over = self.discovery.is_over();
            return Ok(if is_over { Step::Over(End::SourceEnded) } else { Step::Idle });
        };
        if let Display::Watch { json } = self.plan.display {
            self.print_change(&event, json)?;
        }
        if self.plan.resolve.is_some()
            && !self.plan.is_file
            && self.discovery.entries().iter().any(|entry| self.is_wanted(entry))
        {
            return Ok(Step::Over(End::Enough));
        }
        Ok(Step::Handled)
    }

    fn longest_wait(&mut self) -> Duration {
        WAIT
    }

    fn is_unflushed(&self) -> bool {
        true
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

impl DiscoverSession<'_> {
    /// Notes what it does, and for how long.
    fn print_start(&self) {
        let coverage = self.discovery.coverage();
        if coverage.is_file || self.plan.resolve.is_some() {
            return;
        }
        let on = coverage.interfaces.join(", ");
        let time = self.plan.timeout.map(|time| format!(" for {}", seconds(time))).unwrap_or_default();
        if self.plan.asks {
            self.console.note(format_args!("asking on {on}, and listening{time}"));
        } else {
            self.console.note(format_args!("listening on {on}{time}; --ask also sends queries"));
        }
        text::describe_coverage(coverage, self.console);
    }

    fn print_change(&mut self, event: &DiscoveryEvent, json: bool) -> anyhow::Result<()> {
        if let DiscoveryEvent::Omitted(number) = event {
            self.console.warn(format_args!(
                "{number} changes are not shown: they came faster than they were printed"
            ));
        }
        let Some(entry) = event.entry().filter(|entry| self.plan.selection.admits(entry)) else {
            return Ok(());
        };
        self.shown += 1;
        let now = SystemTime::now();
        if json {
            let interface = self.discovery.interface(entry.key.place.interface);
            if let Some((event, record)) = DiscoveryEventRecord::of(now, event, &interface) {
                write_record(&mut self.out, event, &record)?;
            }
        } else if let Some(line) = text::change(now, event, self.discovery, self.console.palette()) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// Returns whether an entry is selected, and has the name that is resolved, with what it needs to be reached.
    fn is_wanted(&self, entry: &Discovered) -> bool {
        let needs_port = !matches!(entry.kind, DiscoveredKind::Host | DiscoveredKind::Device);
        let is_resolved = |name: &str| {
            entry.is_named(name) && !entry.addresses.is_empty() && (entry.port.is_some() || !needs_port)
        };
        self.plan.resolve.is_none_or(is_resolved) && self.plan.selection.admits(entry)
    }

    /// Prints the entries, and what was dropped; returns whether there are any.
    fn finish(&mut self, elapsed: Duration) -> anyhow::Result<bool> {
        let DiscoverPlan { resolve, selection, display, asks, .. } = self.plan;
        let entries = self.discovery.entries();
        let is_sought = match resolve {
            Some(_) => !entries.iter().any(|entry| self.is_wanted(entry)),
            None => selection.name().is_some(),
        };
        let needs_description = |entry: &Discovered| {
            let is_asked = *asks && matches!(display, Display::Once { .. });
            let is_shown = self.console.is_verbose() && self.is_wanted(entry);
            is_asked && (is_shown || (is_sought && selection.may_admit(entry)))
        };
        let (mut asked, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(needs_description);
        let undescribed = add_descriptions(&mut asked);
        let (entries, others): (Vec<_>, Vec<_>) =
            asked.into_iter().chain(rest).partition(|entry| self.is_wanted(entry));
        let found = entries.len() as u64;
        match self.plan.display {
            Display::Once { json: true } => {
                for entry in &entries {
                    let interface = self.discovery.interface(entry.key.place.interface);
                    write_record(&mut self.out, "present", &DiscoveredRecord::new(entry, &interface))?;
                }
            }
            Display::Once { json: false } if self.plan.resolve.is_some() => {
                let mut printed = BTreeSet::new();
                for endpoint in entries.iter().flat_map(|entry| text::addresses(entry, self.discovery)) {
                    if printed.insert(endpoint.clone()) {
                        writeln!(self.out, "{endpoint}")?;
                    }
                }
            }
            Display::Once { json: false } if found > 0 => {
                text::table(&entries, self.discovery, self.console).write(&mut self.out)?;
            }
            _ => {}
        }
        if matches!(self.plan.display, Display::Once { json: true } | Display::Watch { json: true }) {
            let summary = DiscoverySummaryRecord::new(self.discovery, found, elapsed.as_secs_f64());
            write_record(&mut self.out, "summary", &summary)?;
        }
        self.out.flush()?;
        self.print_end(found, elapsed);
        if found == 0 && !(selection.is_everything() && resolve.is_none()) {
            self.print_others(&others, &undescribed);
        }
        Ok(found > 0 || self.shown > 0)
    }

    /// Notes what else announced itself, and which names are the closest to the one that was not found.
    fn print_others(&self, others: &[Discovered], undescribed: &[DescribeError]) {
        // A host that appears reports memberships.
        let others: Vec<_> = others.iter().filter(|entry| entry.kind != DiscoveredKind::Group).collect();
        let mut numbers = BTreeMap::new();
        others.iter().for_each(|entry| *numbers.entry(entry.key.protocol).or_insert(0_u64) += 1);
        let numbers: Vec<_> =
            numbers.iter().map(|(protocol, number)| format!("{protocol}: {}", count(*number))).collect();
        let by = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
        self.console.note(format_args!("{}{by}", count_of(others.len() as u64, "other announcement")));
        if let Some(name) = self.plan.resolve.or_else(|| self.plan.selection.name()) {
            let closest = Discovered::closest(others, name);
            let closest: Vec<_> = closest.iter().map(|(_, name)| format!("\"{name}\"")).collect();
            if !closest.is_empty() {
                self.console.note(format_args!("the closest names: {}", closest.join(", ")));
            }
        }
        if let Some(first) = undescribed.first() {
            let devices = count_of(undescribed.len() as u64, "device");
            self.console.note(format_args!("the names of {devices} were not read: {first}"));
        }
    }

    /// Notes how much was found, and what was dropped.
    fn print_end(&self, found: u64, elapsed: Duration) {
        let coverage = self.discovery.coverage();
        let place = match coverage.is_file {
            true => "in the file".to_owned(),
            false => format!("in {} on {}", seconds(elapsed), coverage.interfaces.join(", ")),
        };
        match (self.plan.resolve, found) {
            (Some(name), 0) => {
                self.console.note(format_args!("\"{name}\" was not found {place}"));
                text::describe_coverage(coverage, self.console);
            }
            (Some(_), _) => {}
            (None, 0) if self.plan.selection.is_everything() => {
                self.console.note(format_args!("nothing announced itself {place}"));
            }
            (None, 0) => {
                self.console.note(format_args!("nothing selected announced itself {place}"));
                let is_visible = self.plan.selection.names_neighbors()
                    && !coverage.is_file
                    && !coverage.unseen().contains(&DiscoveryProtocol::Lldp);
                if is_visible && elapsed < ANNOUNCED_BY_THEN {
                    self.console.note("switches (LLDP, CDP) announce themselves every 30 s or 60 s: listen longer, with `-W 61`");
                }
            }
            (None, found) => self.console.note(format_args!("{} {place}", count_of(found, "announcement"))),
        }
        let entries = self.discovery.entries();
        let groups = entries.iter().filter(|entry| self.plan.selection.hides(entry)).count() as u64;
        if groups > 0 && self.plan.resolve.is_none() && matches!(self.plan.display, Display::Once { .. }) {
            let groups = count_of(groups, "group");
            self.console
                .note(format_args!("{groups} with traffic or members not shown (`mcast discover group`)"));
        }
        if self.plan.asks && entries.iter().any(|entry| entry.key.place.vlan.is_some()) {
            self.console.note(
                "VLANs were listened to and not asked: questions are untagged; name an interface of the VLAN",
            );
        }
        if let Some(drops) = text::drops(self.discovery) {
            self.console.warn(drops);
        }
    }
}
