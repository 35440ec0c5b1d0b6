//! Applies the remedy of a finding in the network where its cause was injected, and examines again.
//!
//! [`examine_and_treat`] is part of every examination in `net`, so that each case is treated as it was injected: with
//! its family, on its host, with its program.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use mcast::Membership;
use mcast_doctor::{
    Action, AppliedRemedies, ArrivalStatus, Finding, FlowStatus, Id, Journal, Options, Persistence, Remedy,
    RemedyEffect, Report, Severity, Tool, UndoneEntry, Verdict, examine_membership,
};
use mcast_lab::Host;

use crate::net::{LISTEN, run};

thread_local! {
    /// The cause whose remedy the next examination applies.
    static CAUSE: Cell<Option<Id>> = const { Cell::new(None) };
    /// The command that the last examination applied, and the examination after it.
    static TREATED: RefCell<Option<(String, Report)>> = const { RefCell::new(None) };
    /// How long the first examination took.
    static TIME: Cell<Option<Duration>> = const { Cell::new(None) };
    /// How long the last examination waited for a processor.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Runs an examination on a host.
pub(crate) fn on<T: Send>(host: &Host, examine: impl FnOnce() -> T + Send) -> T {
    let (result, waited) = host.run(|| (examine(), waited())).unwrap();
    WAITED.set(waited);
    result
}

/// Returns how long this thread has waited for a processor, as far as the kernel counts it.
fn waited() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = counts.split(' ').nth(1).and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
}

/// Measures an examination as on a machine with processors to spare, and asserts that it does not call lost datagrams
/// healthy.
pub(crate) fn timed(examine: impl FnOnce() -> Report) -> Report {
    let begin = Instant::now();
    let report = examine();
    let time = begin.elapsed().saturating_sub(WAITED.take());
    TIME.set(TIME.get().or(Some(time)));
    let counts = |flow: &FlowStatus| flow.on_wire.zip(flow.received);
    let is_lost = |flow: &&FlowStatus| {
        flow.depth.is_lost_here() || counts(flow).is_some_and(|(wire, socket)| wire > 10 && socket < wire / 2)
    };
    let lost: Vec<_> = report.flows.iter().filter(is_lost).collect();
    let is_clear = report.arrival == ArrivalStatus::Arrives || report.verdict() == Verdict::Healthy;
    assert!(lost.is_empty() || !is_clear, "{lost:#?} are called healthy: {report:#?}");
    report
}

/// Returns how long the first examination since the last call took.
pub(crate) fn time() -> Option<Duration> {
    TIME.take()
}

/// Causes with a remedy that the doctor can apply, and that a lab does not, with the reason.
const NOT_APPLIED: &[(&str, &[Id])] = &[
    ("the advice names a filter, and only its owner knows what it is for", &[Id::TcDrops, Id::XdpDrops]),
    ("a setting of the whole machine, not of one network namespace", &[Id::ReceiveBufferOverflow]),
    ("the command creates an interface, on which the program must join", &[Id::MacvlanIsolation]),
    ("not every kernel of a lab has VLAN interfaces", &[Id::VlanTagged]),
    ("the command needs iproute2 6.3; `boxes` has a test that does the same", &[Id::PortGroupLimit]),
    ("what is left of it afterwards is a note: 1 is a hop limit, too", &[Id::TtlTooSmall]),
];

/// Single cases of other causes, the same.
const CASES_NOT_APPLIED: &[(&str, &str)] = &[
    ("membership_limit_printed", "the program has ended"),
    ("no_route_printed", "the program has ended"),
    ("no_route_to_send_printed", "the program has ended"),
];

/// Injects a cause, and applies its remedy where it is found, if it has one. Returns the report with the finding.
pub(crate) fn inject_and_treat(case: &str, id: Id, inject: fn() -> Report) -> Report {
    let is_applied = !CASES_NOT_APPLIED.iter().any(|(other, _)| *other == case)
        && !NOT_APPLIED.iter().any(|(_, ids)| ids.contains(&id));
    CAUSE.set(Some(id).filter(|_| is_applied));
    let report = inject();
    CAUSE.set(None);
    assert_scopes(&report);
    let own = report.findings.iter().find(|finding| finding.id == id);
    match (TREATED.take(), own.and_then(Finding::applicable_remedy)) {
        (Some((command, after)), _) => assert_healed(id, &command, &report, &after),
        (None, remedy) => assert!(!is_applied || remedy.is_none(), "{remedy:#?} of {id} was not applied"),
    }
    report
}

/// Examines; if a remedy must be applied, applies it, examines again, and undoes it.
pub(crate) fn examine_and_treat(host: &Host, examine: impl Fn() -> Report) -> Report {
    let report = timed(&examine);
    let Some(id) = CAUSE.get() else { return report };
    let Some(finding) = report.findings.iter().find(|finding| finding.id == id) else { return report };
    let remedy = finding.applicable_remedy();
    // A permanent remedy would change files of this machine.
    let Some(remedy) = remedy.filter(|remedy| remedy.persistence == Persistence::Now) else {
        let received = finding.remedies.iter().find_map(membership_of);
        if let Some((command, membership)) = received {
            let options = Options::default().listening(LISTEN);
            let mut report_progress = |_| ControlFlow::Continue(());
            let examine = || examine_membership(&membership, &options, &mut report_progress).unwrap();
            TREATED.set(Some((command, host.run(examine).unwrap())));
        }
        return report;
    };
    assert!(remedy.undo.is_some(), "{remedy:#?}");
    let before = machine(host);
    let mut applied = AppliedRemedies::default();
    host.run(|| applied.apply(remedy, |_| ()).unwrap()).unwrap();
    let after = examine();
    host.run(|| applied.undo().unwrap()).unwrap();
    assert_as_before(host, &before, remedy);
    MEANWHILE.into_iter().for_each(|others| assert_undone_later(host, &before, remedy, others));
    TREATED.set(Some((remedy.command().unwrap(), after)));
    report
}

/// A journal in a folder of its own.
pub(crate) struct Kept {
    folder: tempfile::TempDir,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn journal(&self) -> Journal {
        Journal::at(self.folder.path().join("doctor.jsonl"))
    }

    /// Applies a remedy, and ends as if the doctor had been killed: nothing is undone.
    pub(crate) fn apply(&self, host: &Host, remedy: &Remedy) {
        let mut applied = AppliedRemedies::recorded_in(self.journal());
        host.run(|| applied.apply(remedy, |_| ()).unwrap()).unwrap();
        std::mem::forget(applied);
    }

    pub(crate) fn undo(&self, host: &Host) -> Vec<UndoneEntry> {
        host.run(|| self.journal().undo(|_| ()).unwrap()).unwrap()
    }
}

/// Applies a remedy as a doctor that is killed then, and asserts that its journal undoes it after what others have done
/// meanwhile, which stays.
fn assert_undone_later(host: &Host, before: &Machine, remedy: &Remedy, [meanwhile, taken_back]: [&str; 2]) {
    let kept = Kept::new();
    kept.apply(host, remedy);
    run(host, meanwhile);
    let undone = kept.undo(host);
    assert!(undone.iter().all(UndoneEntry::is_settled), "{undone:?}");
    run(host, taken_back);
    assert_as_before(host, before, remedy);
    assert_eq!(kept.undo(host).len(), 0, "what is undone does not stay in the journal");
}

/// What others do between a remedy and its undo, and how they take it back: nothing; loading all rules again, with one more
/// address. What `nft` prints of matches of iptables cannot be loaded again.
const MEANWHILE: [[&str; 2]; 2] = [
    ["true", "true"],
    [
        "folder=$(mktemp -d) && cd $folder; \
         if nft list ruleset > rules && ! nft -j list ruleset | grep -q '\"xt\"'; then \
             nft flush ruleset && nft -f rules || exit 1; \
         fi; \
         for program in iptables-legacy ip6tables-legacy; do \
             if $program-save > rules && test -s rules; then $program-restore < rules || exit 1; fi; \
         done; \
         rm -r $folder && ip address add 192.0.2.77/32 dev lo",
        "ip address del 192.0.2.77/32 dev lo",
    ],
];

/// What programs print about the network of a host: everything that a remedy may change.
pub(crate) type Machine = Vec<(&'static str, String)>;

/// Reads the state of a host.
pub(crate) fn machine(host: &Host) -> Machine {
    const COMMANDS: [&str; 14] = [
        "ip -j -d link show",
        "ip -j address show",
        "ip -j -4 route show table all",
        "ip -j -6 route show table all",
        "ip -j rule",
        "ip -6 -j rule",
        "ip xfrm policy",
        "bridge -j -d link show",
        "bridge -j fdb show",
        "tc -j qdisc show",
        "nft -j list ruleset",
        "grep -rs . /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/core /proc/sys/net/bridge",
        // Counters and times are in brackets and comments.
        "iptables-legacy-save | grep ^-",
        "ip6tables-legacy-save | grep ^-",
    ];
    const SEPARATOR: char = '\x1e';
    // A shell starts programs in a small part of the time that the process of the tests takes, whose memory is large. A
    // program that is not installed prints nothing, before and after.
    let script = COMMANDS.map(|command| format!("{command}; printf '\\036'\n")).concat();
    let mut shell = host.command("sh").unwrap();
    let output = shell.args(["-c", &script]).output().unwrap();
    let texts = String::from_utf8(output.stdout).unwrap();
    let listing = |(command, text): (&'static str, &str)| {
        let settled = serde_json::from_str(text).map(|value| settled(command, value));
        (command, settled.unwrap_or_else(|_| text.to_owned()))
    };
    let listings: Machine = COMMANDS.into_iter().zip(texts.split(SEPARATOR)).map(listing).collect();
    assert_eq!(listings.len(), COMMANDS.len(), "{texts}");
    listings
}

/// Returns what a program printed without what changes on its own: counters, timers, learnt addresses, handles of rules.
fn settled(command: &str, mut value: serde_json::Value) -> String {
    // The last two are those of a capture, which the kernel ends some time after its socket is closed.
    const MOVING: [&str; 18] = [
        "valid_life_time",
        "preferred_life_time",
        "expires",
        "handle",
        "packets",
        "bytes",
        "updated",
        "used",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "mcast_querier_ipv4_addr",
        "hold_timer",
        "message_age_timer",
        "forward_delay_timer",
        "allmulti",
        "promiscuity",
    ];
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, _| !MOVING.contains(&name.as_str()));
                fields.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    let items = value.as_array().cloned().unwrap_or_default().into_iter();
    // What a router has announced lasts as long as the router says.
    let is_lasting = |item: &serde_json::Value| match command {
        "ip -j -6 route show table all" => item["protocol"] != "ra",
        command if command.starts_with("bridge -j fdb") => {
            item["state"] == "permanent" || item["state"] == "static"
        }
        _ => true,
    };
    // The order of routes and addresses is that in which they were made.
    let mut lines: Vec<_> = items.filter(is_lasting).map(|item| item.to_string()).collect();
    lines.sort();
    lines.join("\n")
}

/// Asserts that a host is as it was before, as soon as the kernel has settled: addresses take time to become usable.
pub(crate) fn assert_as_before(host: &Host, before: &Machine, remedy: &Remedy) {
    let begin = Instant::now();
    loop {
        let now = machine(host);
        let differs = |((command, before), (_, now)): (&(&str, String), &(&str, String))| {
            let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), now.lines().collect());
            let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
            let new = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
            let lines: Vec<_> = gone.chain(new).collect();
            (!lines.is_empty()).then(|| format!("{command}:\n{}", lines.join("\n")))
        };
        let differences: Vec<_> = before.iter().zip(&now).filter_map(differs).collect();
        if differences.is_empty() {
            return;
        }
        let text = differences.join("\n");
        assert!(begin.elapsed() < Duration::from_secs(10), "after undoing {:?}:\n{text}", remedy.command());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the membership that a remedy receives, if it runs `mcast recv`: such a remedy is verified by joining the same.
fn membership_of(remedy: &Remedy) -> Option<(String, Membership)> {
    let [Action::Run { args, .. }] = remedy.actions() else { return None };
    let text = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["recv", to] => to.to_owned(),
        ["recv", to, "-i", interface] => {
            let (group, port) = to.rsplit_once(':').unwrap();
            match group.strip_suffix(']') {
                Some(group) => format!("{group}%{interface}]:{port}"),
                None => format!("{group}%{interface}:{port}"),
            }
        }
        _ => return None,
    };
    Some((remedy.command().unwrap(), text.parse().unwrap()))
}

fn assert_healed(id: Id, command: &str, before: &Report, after: &Report) {
    let is_about_traffic = before.arrival != ArrivalStatus::NotObserved;
    let effect = RemedyEffect::of(id, before, after, is_about_traffic);
    // A warning loses nothing yet: the flows of which it warns may be silent before and after.
    let is_fault =
        before.findings.iter().any(|finding| finding.id == id && finding.severity == Severity::Fault);
    let is_same = !is_fault && effect != RemedyEffect::StillThere && before.arrival == after.arrival;
    assert!(effect.is_success() || is_same, "{id} {effect} after {command}:\n{after:#?}");
}

/// Asserts that every command that changes this machine says what it affects.
fn assert_scopes(report: &Report) {
    for remedy in report.findings.iter().flat_map(|finding| &finding.remedies) {
        let changes = remedy.tool != Tool::Mcast && !remedy.actions().is_empty();
        assert!(!changes || remedy.scope.is_some(), "{remedy:#?}");
    }
}
