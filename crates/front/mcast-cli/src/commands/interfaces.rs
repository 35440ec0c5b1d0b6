//! `mcast interfaces`: lists interfaces, and whether multicast works on them.

use std::io::Write;
use std::time::{Duration, SystemTime};

use mcast::interface::{AddressState, Interface, InterfaceChange, InterfaceWatcher, Warning};
use mcast::{ErrorKind, Family, InterfaceIndex, WireSupport};
use mcast_terminal::{Console, Output};
use serde::Serialize;

use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{Cell, Palette, Table, clock_time, record, rfc3339, write_json};

/// List network interfaces and whether multicast works on them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print one JSON object per interface
    #[arg(long)]
    json: bool,

    /// Keep running and report interfaces that appear, vanish or change
    #[arg(long)]
    watch: bool,
}

const EXAMPLES: &str = "\
With -v, the column `wire` shows whether datagrams can be taken off the interface past the network stack (`recv --wire`),
or why not (Linux).

Examples:
  mcast interfaces                    all, and the default one for multicast
  mcast interfaces --json             the same for programs
  mcast interfaces --watch            report changes until Ctrl-C";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut out = console.output();
    if arguments.watch {
        return watch(arguments, console, &mut out);
    }
    let interfaces = mcast::interface::list()?;
    let defaults = show_all(arguments, console, &mut out, &interfaces, None)?;
    out.flush()?;
    if !arguments.json {
        defaults.missing(&interfaces).iter().for_each(|missing| console.note(missing));
    }
    Ok(Outcome::Yes)
}

fn watch(arguments: &Arguments, console: &Console, out: &mut Output) -> anyhow::Result<Outcome> {
    /// The longest wait before checking for Ctrl-C.
    const POLL_INTERVAL: Duration = Duration::from_millis(100);

    let watcher = InterfaceWatcher::new()?;
    let interrupt = Interrupt::catch(|| {})?;
    show_all(arguments, console, out, &watcher.known(), Some(SystemTime::now()))?;
    if !arguments.json {
        writeln!(out)?;
    }
    out.flush()?;
    loop {
        if let Some(outcome) = interrupt.outcome() {
            return Ok(outcome);
        }
        if let Some(changes) = watcher.wait(Some(POLL_INTERVAL))? {
            show_changes(arguments, console, out, &changes)?;
            out.flush()?;
        }
    }
}

/// Writes all interfaces. `--watch` gives the time.
fn show_all(
    arguments: &Arguments,
    console: &Console,
    out: &mut Output,
    interfaces: &[Interface],
    time: Option<SystemTime>,
) -> anyhow::Result<Defaults> {
    let defaults = Defaults::now(console)?;
    if arguments.json {
        for interface in interfaces {
            match time {
                Some(time) => write_json(out, &ChangeRecord::new(time, "present", interface, defaults))?,
                None => write_json(out, &InterfaceRecord::new("present", interface, defaults))?,
            }
        }
    } else {
        table(interfaces, defaults, console).write(out)?;
    }
    Ok(defaults)
}

fn show_changes(
    arguments: &Arguments,
    console: &Console,
    out: &mut Output,
    changes: &[InterfaceChange],
) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let defaults = Defaults::now(console)?;
    for change in changes {
        let Some((event, interface)) = event_of(change) else {
            console.warn("the system reported too many changes at once: some may be missing here");
            continue;
        };
        if arguments.json {
            write_json(out, &ChangeRecord::new(now, event, interface, defaults))?;
            continue;
        }
        let Palette { interface: name_style, dim, .. } = console.palette();
        let (time, name) = (clock_time(now), &interface.name);
        let details = differences(change).join(", ");
        writeln!(out, "{dim}{time}{dim:#} {name_style}{name}{name_style:#} {event}{details}")?;
    }
    Ok(())
}

/// Returns the type of a change, and the interface as it is now or was last; `None` if the interface is unknown.
fn event_of(change: &InterfaceChange) -> Option<(&'static str, &Interface)> {
    match change {
        InterfaceChange::Appeared(interface) => Some(("appeared", interface)),
        InterfaceChange::Vanished(interface) => Some(("vanished", interface)),
        InterfaceChange::Changed { after, .. } => Some(("changed", after)),
        InterfaceChange::Recreated { after, .. } => Some(("recreated", after)),
        _ => None,
    }
}

/// Returns the differences as text.
fn differences(change: &InterfaceChange) -> Vec<String> {
    let mut differences = Vec::new();
    let after = change.after();
    match (change.before(), after) {
        (None, Some(after)) => differences.push(format!(": index {}, {}", after.index, state(after))),
        (Some(before), Some(after)) => {
            let mut compare = |what: &str, old: String, new: String| {
                if old != new {
                    differences.push(format!("{what} {old} -> {new}"));
                }
            };
            compare("name", before.name.clone(), after.name.clone());
            compare("index", before.index.to_string(), after.index.to_string());
            compare("state", state(before).into(), state(after).into());
            compare("multicast", yes(before.multicast).into(), yes(after.multicast).into());
            compare("mtu", before.mtu.to_string(), after.mtu.to_string());
            compare("hardware address", hardware_address(before), hardware_address(after));
            compare("addresses", addresses(before).join(" "), addresses(after).join(" "));
            if let Some(first) = differences.first_mut() {
                first.insert_str(0, ": ");
            }
        }
        _ => {}
    }
    differences
}

/// The default interfaces for multicast. The outer `None` means that the system does not report one.
#[derive(Clone, Copy)]
struct Defaults {
    v4: Option<Option<InterfaceIndex>>,
    v6: Option<Option<InterfaceIndex>>,
}

impl Defaults {
    fn now(console: &Console) -> mcast::Result<Self> {
        let of = |family| match mcast::interface::default_of(family) {
            Ok(interface) => Ok(Some(interface.map(|interface| interface.index))),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                console.warn(format_args!("which interface {family} multicast takes by default: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        };
        Ok(Self { v4: of(Family::V4)?, v6: of(Family::V6)? })
    }

    /// Returns notes for families that could send multicast but have no default interface.
    fn missing(self, interfaces: &[Interface]) -> Vec<String> {
        let sends = |family| {
            let has_address = |each: &Interface| each.addresses_of(family).next().is_some();
            interfaces.iter().any(|each| each.is_joined_by_default() && has_address(each))
        };
        let without =
            self.each().into_iter().filter(|(default, family)| *default == Some(None) && sends(*family));
        without
            .map(|(_, family)| format!("{family}: there is no route to groups, so a sender must name an interface (`mcast send -i`)"))
            .collect()
    }

    fn families(self, interface: &Interface) -> String {
        let is_default = |default| default == Some(Some(interface.index));
        let families = self.each().into_iter().filter(|(default, _)| is_default(*default));
        families.map(|(_, family)| family.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn each(self) -> [(Option<Option<InterfaceIndex>>, Family); 2] {
        [(self.v4, Family::V4), (self.v6, Family::V6)]
    }
}

fn table(interfaces: &[Interface], defaults: Defaults, console: &Console) -> Table {
    let palette = console.palette();
    let titles = [
        "name",
        "index",
        "state",
        "multicast",
        "default",
        "mtu",
        "hardware address",
        "addresses",
        "note",
        "wire",
    ];
    // The widest column matters to few.
    let shown = titles.len() - usize::from(!console.is_verbose());
    let mut table = Table::new(&titles[..shown], palette.heading);
    for interface in interfaces {
        let state_style = if interface.running { palette.good } else { palette.dim };
        let warnings = interface.warnings().iter().map(|each| note(each, interfaces)).collect::<Vec<_>>();
        let row = [
            Cell::new(&interface.name).style(palette.interface),
            Cell::new(interface.index.to_string()).right(),
            Cell::new(state(interface)).style(state_style),
            Cell::new(yes(interface.multicast)),
            Cell::new(defaults.families(interface)).style(palette.good),
            Cell::new(interface.mtu.to_string()).right(),
            Cell::new(hardware_address(interface)).style(palette.dim),
            Cell::of_lines(addresses(interface)).style(palette.address),
            Cell::of_lines(warnings).style(palette.warning),
            Cell::new(wire(interface).map_or_else(String::new, |support| support.to_string()))
                .style(palette.dim),
        ];
        table.row(row.into_iter().take(shown));
    }
    table
}

/// Returns what an interface offers for `--wire`; `None` if it is gone, or the system has nothing of that kind.
fn wire(interface: &Interface) -> Option<WireSupport> {
    mcast::wire_support(interface.index).ok()
}

/// Returns a warning, with the name of the bridge or bond that it is about.
fn note(warning: &Warning, interfaces: &[Interface]) -> String {
    let named = match warning {
        Warning::PortOf(master) => interfaces.iter().find(|each| each.index == *master),
        _ => None,
    };
    match named {
        Some(Interface { name, .. }) => format!("port of {name}: join on {name}"),
        None => warning.to_string(),
    }
}

fn state(interface: &Interface) -> &'static str {
    match (interface.up, interface.running) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    }
}

fn yes(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

fn hardware_address(interface: &Interface) -> String {
    interface.hardware_address.map(|address| address.to_string()).unwrap_or_default()
}

fn addresses(interface: &Interface) -> Vec<String> {
    let shown = interface.addresses.iter().map(|entry| match entry.state {
        AddressState::Ready => entry.to_string(),
        AddressState::Tentative => format!("{entry} (tentative)"),
        _ => format!("{entry} (duplicate)"),
    });
    shown.collect()
}

record! {
    fn new(event: &'static str, interface: &'a Interface, defaults: Defaults) {
        let addresses = interface.addresses.iter();
        let is_it = |default| default == Some(interface.index);
    }

    /// One object per interface.
    struct InterfaceRecord<'a> {
        /// Record type
        event: &'static str = event,
        /// Name of the interface
        name: &'a str = &interface.name,
        /// Interface index
        index: u32 = interface.index.number(),
        /// Whether the interface is administratively up; on Windows, also connected
        up: bool = interface.up,
        /// Whether the interface is up and has a carrier
        running: bool = interface.running,
        /// Whether the system marks the interface as capable of multicast
        multicast: bool = interface.multicast,
        /// Whether this is a loopback interface
        loopback: bool = interface.loopback,
        /// MTU: size of the largest IP packet, in bytes
        mtu: u32 = interface.mtu,
        /// Hardware address; null unless it has six bytes
        mac: Option<String> = interface.hardware_address.map(|address| address.to_string()),
        /// IPv4 and IPv6 addresses
        addresses: Vec<Address> =
            addresses.map(|each| Address { address: each.address, prefix: each.prefix }).collect(),
        /// Whether this is the default interface for IPv4 multicast; null if the system does not report the default
        default_v4: Option<bool> = defaults.v4.map(is_it),
        /// Whether this is the default interface for IPv6 multicast; null if the system does not report the default
        default_v6: Option<bool> = defaults.v6.map(is_it),
        /// Problems that multicast has on this interface
        warnings: Vec<String> = interface.warnings().iter().map(ToString::to_string).collect(),
        /// What the interface offers for taking datagrams off it (`--wire`); null on systems without AF_XDP
        wire: Option<WireRecord> = wire(interface).map(WireRecord::new),
    }
}

record! {
    fn new(time: SystemTime, event: &'static str, interface: &'a Interface, defaults: Defaults) {}

    /// First one object for each present interface, then one object per change. Each describes the interface after
    /// the change; for an interface that vanished, its last known state.
    struct ChangeRecord<'a> {
        /// Time at which the change was noticed (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(time),
        #[serde(flatten)]
        interface: InterfaceRecord<'a> = InterfaceRecord::new(event, interface, defaults),
    }
}

record! {
    fn new(support: WireSupport) {}

    /// What an interface offers for `--wire`.
    struct WireRecord {
        /// Whether nothing is known to prevent it; who else receives a group is checked when it is joined
        possible: bool = support.reason.is_none(),
        /// Why it is not possible
        reason: Option<String> = support.reason,
        /// Name of the driver, or kind of the interface
        driver: String = support.driver,
        /// Whether the driver runs XDP programs itself and passes frames to AF_XDP sockets; null if the kernel does
        /// not report it (before Linux 6.3)
        native: Option<bool> = support.native,
        /// Whether XDP programs may see frames that occupy several buffers; null if the kernel does not report it
        /// (before Linux 6.3)
        multi_buffer: Option<bool> = support.multi_buffer,
        /// Whether the driver can receive directly into the memory of a socket; null if the kernel does not report
        /// it (before Linux 6.3)
        zero_copy: Option<bool> = support.zero_copy,
    }
}

/// Address with its prefix length
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Address {
    /// IPv4 or IPv6 address
    address: std::net::IpAddr,
    /// Prefix length in bits
    prefix: u8,
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<InterfaceRecord<'_>>("interface", "Interface (`mcast interfaces --json`)")
        .events(["present"])
        .describe("warnings[]", "Warning"),
    RecordSchema::new::<ChangeRecord<'_>>(
        "interface-event",
        "Interface change (`mcast interfaces --watch --json`)",
    )
    .events(["present", "appeared", "vanished", "changed", "recreated"])
    .describe("event", "Type of change")
    .describe("warnings[]", "Warning"),
}
