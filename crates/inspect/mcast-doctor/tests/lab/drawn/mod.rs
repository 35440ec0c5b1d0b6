//! Faults drawn by seed, alone and two at once: each kind with random addresses, ports, hooks, priorities, matches and verdicts,
//! in IPv4 and IPv6, beside things that are in order. What can be known is named, nothing else is claimed, and nothing that is
//! lost gets the all-clear.
//!
//! `MCAST_INJECTIONS=400` draws 400 instead of [`DRAWN`], from `MCAST_FIRST_SEED` on; `MCAST_INJECTION=17` repeats one,
//! and `MCAST_KIND=NAME` draws of one kind only (`MCAST_KIND=NAME;NAME` of several, and with `MCAST_ALONE=1` never two at once).

mod captures;
mod carriers;
mod faults;
mod flow;
mod orderly;
mod routers;
mod scene;
mod senders;
mod switches;
mod way;

use std::collections::BTreeSet;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mcast_doctor::{Finding, Id, Report, Severity, Verdict};
use mcast_sim::{Dice, chosen, number};

use crate::net::{describe, has_programs};
use captures::Capture;
use flow::Flow;
use scene::Scene;
use way::Way;

const DRAWN: u64 = 20;
/// How many networks are examined at a time.
const AT_A_TIME: usize = 6;

/// What a fault changes. Two faults that change the same cannot exist at once. What changes the stream is first, because rules are
/// drawn for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What nothing can exist beside.
    All,
    Source,
    Frame,
    Size,
    Device,
    TrafficControl,
    IngressRules,
    EgressRules,
    Rules,
    /// Rules that ask what earlier rules or connection tracking have done.
    States,
    LegacyRules,
    Translation,
    PolicyRules,
    ReversePath,
    Ipsec,
    HopLimit,
    Join,
    Bind,
    Filter,
    Reader,
    /// The socket of a sender, or its routes.
    Socket,
    MulticastRoute,
    EgressControl,
    Isolation,
    /// The state of a port of a switch.
    Port,
}

/// The address family of what is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

/// A kind of fault, which changes the machine or the stream so that this must be found.
struct Kind<S: 'static> {
    name: &'static str,
    id: Id,
    part: Part,
    family: Family,
    inject: fn(&mut S),
}

/// Faults that cause others, which are named, too.
const CONSEQUENCES: &[(Id, Id)] = &[(Id::FirewallDropsIgmp, Id::NoMulticastRoute)];

/// Something in order.
type Orderly<S> = (Family, fn(&mut S));
/// The same, for rules of every machine, too.
type Arrangement<S> = Box<dyn Fn(&mut S)>;

macro_rules! kinds {
    ($scene:ident; $($name:literal: $id:ident, $part:ident, $family:ident, $inject:expr;)+) => {
        pub(super) const KINDS: &[super::Kind<$scene>] = &[$(super::Kind {
            name: $name,
            id: mcast_doctor::Id::$id,
            part: super::Part::$part,
            family: super::Family::$family,
            inject: $inject,
        }),+];
    };
}
use kinds;

/// What is examined, and what can be wrong with it.
struct Role<S: 'static> {
    name: &'static str,
    new: fn(Dice, bool) -> S,
    kinds: &'static [&'static [Kind<S>]],
    /// Kinds that the doctor does not name yet: it must not give the all-clear, nor claim another one.
    unnamed: &'static [&'static str],
    orderly: &'static [Orderly<S>],
    /// Whether the rules that are in order for every machine are drawn, too.
    has_rules: bool,
    /// Returns whether something shows the first fault beside the second.
    is_shown: fn(&Kind<S>, &Kind<S>) -> bool,
}

/// A machine, a stream or a file that is changed, and then examined.
trait Drawn: DerefMut<Target = Flow> {
    fn examine(&mut self) -> Report;

    /// Adds what is in order, and must not be named.
    fn decorate(&mut self) {}

    /// Returns whether a fault can be found from this machine.
    fn is_known(&self, _: Id) -> bool {
        true
    }
}

const RECEIVER: Role<Scene> = Role {
    name: "receiver",
    new: Scene::new,
    kinds: &[faults::KINDS, carriers::KINDS],
    unnamed: &[],
    orderly: orderly::RECEIVER,
    has_rules: true,
    is_shown: faults::is_shown,
};

const SENDER: Role<Way> = Role {
    name: "sender",
    new: Way::sender,
    kinds: &[senders::KINDS],
    unnamed: senders::UNNAMED,
    orderly: senders::ORDERLY,
    has_rules: true,
    is_shown: senders::is_shown,
};

const ROUTER: Role<Way> = Role {
    name: "router",
    new: Way::router,
    kinds: &[routers::KINDS],
    unnamed: &[],
    orderly: routers::ORDERLY,
    has_rules: true,
    is_shown: routers::is_shown,
};

const SWITCH: Role<Way> = Role {
    name: "switch",
    new: Way::switch,
    kinds: &[switches::KINDS],
    unnamed: &[],
    orderly: switches::ORDERLY,
    has_rules: true,
    is_shown: switches::is_shown,
};

const FILE: Role<Capture> = Role {
    name: "file",
    new: Capture::new,
    kinds: &[captures::KINDS],
    unnamed: &[],
    orderly: captures::ORDERLY,
    has_rules: false,
    is_shown: captures::is_shown,
};

impl<S: Drawn> Role<S> {
    fn all(&self) -> impl Iterator<Item = &'static Kind<S>> {
        self.kinds.iter().copied().flatten()
    }

    /// Draws a fault, and in a third of the draws another one that can exist beside it.
    fn draw(&self, dice: &mut Dice) -> Vec<&'static Kind<S>> {
        let selected = std::env::var("MCAST_KIND").ok();
        let is_selected = |kind: &&Kind<S>| {
            selected.as_deref().is_none_or(|names| names.split(';').any(|name| name == kind.name))
        };
        let chosen: Vec<_> = self.all().filter(is_selected).collect();
        assert!(!chosen.is_empty(), "MCAST_KIND={selected:?} is none of the kinds");
        let first = dice.pick(&chosen);
        let others: Vec<_> = self.all().filter(|kind| can_exist(first, kind)).collect();
        let is_alone = std::env::var_os("MCAST_ALONE").is_some() || others.is_empty();
        let mut kinds = vec![first];
        if dice.below(3) == 0 && !is_alone {
            kinds.push(dice.pick(&others));
            kinds.sort_by_key(|kind| kind.part);
        }
        kinds
    }

    fn examine_faults(&self, seed: u64) -> Result<(), String> {
        let mut dice = Dice::new(seed);
        let kinds = self.draw(&mut dice);
        let is_v6 = draw_family(&mut dice, kinds.iter().map(|kind| kind.family));
        let mut scene = (self.new)(dice, is_v6);
        kinds.iter().for_each(|kind| (kind.inject)(&mut scene));
        scene.decorate();
        let report = scene.examine();
        let is_shown = |kind: &Kind<S>| {
            let is_known = |kind: &Kind<S>| !self.unnamed.contains(&kind.name) && scene.is_known(kind.id);
            let mut others = kinds.iter().filter(|other| other.name != kind.name);
            is_known(kind) && others.all(|other| is_known(other) && (self.is_shown)(kind, other))
        };
        let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        result(self.name, &names.join(" and "), &scene, &judge(&report, &kinds, is_shown), &report)
    }

    fn examine_orderly(&self, seed: u64) -> Result<(), String> {
        let mut dice = Dice::new(seed);
        let all = self.all_orderly();
        let drawn = [0, 1].map(|_| dice.below(all.len() as u64) as usize);
        let is_v6 = draw_family(&mut dice, drawn.iter().map(|index| all[*index].0));
        let mut scene = (self.new)(dice, is_v6);
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        // The same one twice changes nothing more, and not every two can be in one family.
        for index in BTreeSet::from(drawn) {
            let (own, arrange) = &all[index];
            if [family, Family::Any].contains(own) {
                scene.note(&format!("in order: {index}"));
                arrange(&mut scene);
            }
        }
        scene.decorate();
        let report = scene.examine();
        let claimed = report.findings.iter().filter(|finding| finding.severity >= Severity::Warning);
        let mut problems: Vec<_> = claimed.map(|finding| format!("{} is claimed", finding.id)).collect();
        if report.verdict() != Verdict::Healthy {
            problems.push(format!("no all-clear: {:?}, {:?}", report.arrival, report.verdict()));
        }
        result(self.name, "in order", &scene, &problems, &report)
    }

    fn all_orderly(&self) -> Vec<(Family, Arrangement<S>)> {
        let rules = orderly::RULES.iter().filter(|_| self.has_rules).map(|arrange| {
            let arrange: Arrangement<S> = Box::new(|scene| arrange(scene));
            (Family::Any, arrange)
        });
        let own = self.orderly.iter().map(|(family, arrange)| {
            let arrange: Arrangement<S> = Box::new(arrange);
            (*family, arrange)
        });
        rules.chain(own).collect()
    }

    /// Returns how many kinds of faults there are, and how many things in order.
    fn counts(&self) -> [usize; 2] {
        let names: BTreeSet<_> = self.all().map(|kind| kind.name).collect();
        assert_eq!(names.len(), self.all().count(), "two kinds of one name");
        [names.len() - self.unnamed.len(), self.all_orderly().len()]
    }
}

fn can_exist<S>(first: &Kind<S>, second: &Kind<S>) -> bool {
    let is_other = first.part != second.part && first.part != Part::All && second.part != Part::All;
    is_other && (first.family == second.family || [first.family, second.family].contains(&Family::Any))
}

/// Draws whether IPv6 is used, where a family is not required.
fn draw_family(dice: &mut Dice, mut families: impl Iterator<Item = Family>) -> bool {
    let by_chance = dice.chance(0.4);
    families.find(|family| *family != Family::Any).map_or(by_chance, |family| family == Family::V6)
}

/// Returns what is wrong with the report about these faults.
fn judge<S>(report: &Report, kinds: &[&Kind<S>], is_shown: impl Fn(&Kind<S>) -> bool) -> Vec<String> {
    let least = |least| move |finding: &&Finding| finding.severity >= least;
    let is_named = |kind: &Kind<S>| {
        report.findings.iter().filter(least(Severity::Warning)).any(|each| each.id == kind.id)
    };
    let is_of_kind = |finding: &&Finding| {
        kinds.iter().any(|kind| kind.id == finding.id || CONSEQUENCES.contains(&(kind.id, finding.id)))
    };
    let faults = report.findings.iter().filter(least(Severity::Fault));
    // A warning does not explain that nothing arrives.
    let is_explained = faults.clone().any(|finding| is_of_kind(&finding));
    let is_expected =
        |finding: &&Finding| is_of_kind(finding) || (!is_explained && finding.id == Id::NothingArrives);
    let others = faults.filter(|finding| !is_expected(finding));
    let mut problems: Vec<_> = others.map(|finding| format!("{} is claimed", finding.id)).collect();
    let missing = kinds.iter().filter(|kind| is_shown(kind) && !is_named(kind));
    problems.extend(missing.map(|kind| format!("{} ({}) is not named", kind.name, kind.id)));
    if report.verdict() == Verdict::Healthy {
        problems.push(format!("all-clear: {:?}", report.arrival));
    }
    problems
}

/// Returns what was drawn, and what is wrong with the report.
fn result(role: &str, what: &str, flow: &Flow, problems: &[String], report: &Report) -> Result<(), String> {
    if problems.is_empty() {
        return Ok(());
    }
    let (group, port, source, how) = (flow.group, flow.port, flow.source, &flow.how);
    let mut lines =
        vec![format!("{role}, {what}, {group}:{port} from {source} ({how}): {}", problems.join("; "))];
    lines.extend(report.findings.iter().map(describe));
    lines.extend(report.open_questions.iter().map(ToString::to_string));
    lines.push(report.summary());
    lines.extend(report.observations.iter().map(|each| format!("  {}: {}", each.layer, each.message)));
    Err(lines.join("\n    "))
}

/// Returns the row of these faults in the table of goals.
pub(crate) fn row() -> String {
    let counts = [
        (RECEIVER.name, RECEIVER.counts()),
        (SENDER.name, SENDER.counts()),
        (ROUTER.name, ROUTER.counts()),
        (SWITCH.name, SWITCH.counts()),
        (FILE.name, FILE.counts()),
    ];
    let listing = |place: usize| {
        let each: Vec<_> =
            counts.iter().map(|(name, counts)| format!("{} at a {name}", counts[place])).collect();
        let sum: usize = counts.iter().map(|(_, counts)| counts[place]).sum();
        (sum, each.join(", ").replace("at a file", "in a file"))
    };
    let ((kinds, faults), (_, in_order)) = (listing(0), listing(1));
    format!(
        "| faults that are drawn by seed are named, nothing else is claimed, nothing lost gets the all-clear, and what is in order gets it | {kinds} kinds of faults ({faults}), two at once in a third of the draws, and things that are in order, two at a time ({in_order}) | a sample by `cargo nextest run -p mcast-doctor -E 'test(drawn::)'`, 400 of each with `MCAST_INJECTIONS=400` |",
    )
}

macro_rules! tests {
    ($($role:ident: $faults:ident, $orderly:ident;)+) => {$(
        #[test]
        fn $faults() {
            for_drawn(|seed| $role.examine_faults(seed));
        }

        #[test]
        fn $orderly() {
            for_drawn(|seed| $role.examine_orderly(seed));
        }
    )+};
}

tests! {
    RECEIVER: faults_at_a_receiver_are_named, receivers_in_order_get_the_all_clear;
    SENDER: faults_at_a_sender_are_named, senders_in_order_get_the_all_clear;
    ROUTER: faults_at_a_router_are_named, routers_in_order_get_the_all_clear;
    SWITCH: faults_at_a_switch_are_named, switches_in_order_get_the_all_clear;
    FILE: faults_in_a_file_are_named, files_in_order_get_the_all_clear;
}

fn for_drawn(examine: impl Fn(u64) -> Result<(), String> + Sync) {
    if !has_programs() || !crate::drops::can_trace() {
        return;
    }
    let one = number("MCAST_INJECTION");
    let first = one.or_else(|| number("MCAST_FIRST_SEED")).unwrap_or(1);
    let all = first..first + number("MCAST_INJECTIONS").unwrap_or(DRAWN);
    let seeds = one.map_or_else(|| chosen(all), |one| one..one + 1);
    let count = seeds.end - seeds.start;
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let result = catch_unwind(AssertUnwindSafe(|| examine(seed)));
            if let Err(problem) = result.unwrap_or_else(|_| Err("the injection panicked".to_owned())) {
                println!("MCAST_INJECTION={seed}: {problem}");
                failed.lock().unwrap().push(seed);
            }
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!("{} of {count} injections are judged as expected", count - failed.len() as u64);
    assert!(failed.is_empty(), "{} of {count} injections failed: MCAST_INJECTION={failed:?}", failed.len());
}
