//! Faults drawn by seed: each kind with random addresses, ports, hooks, priorities, matches and verdicts, in IPv4 and IPv6,
//! beside things that are in order. The fault is named, nothing else is claimed, and nothing that is lost gets the all-clear.
//!
//! `MCAST_INJECTIONS=400` draws 400 instead of [`DRAWN`], from `MCAST_FIRST_SEED` on; `MCAST_INJECTION=17` repeats one,
//! and `MCAST_KIND=NAME` draws of one kind only.

mod faults;
mod orderly;
mod scene;
mod way;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mcast_doctor::{ArrivalStatus, Finding, Id, Report, Severity, Verdict};
use mcast_sim::number;

use crate::net::has_programs;
use faults::{KINDS, Kind};
use orderly::ORDERLY;
use scene::Scene;
use way::Role;

/// How many are drawn.
const DRAWN: u64 = 20;
/// How many networks are examined at a time.
const AT_A_TIME: usize = 6;

/// Returns what is wrong with the report.
fn judge(report: &Report, id: Id, is_known: bool) -> Vec<String> {
    let is_fault = |finding: &&Finding| finding.severity == Severity::Fault;
    let is_named =
        report.findings.iter().any(|finding| finding.id == id && finding.severity >= Severity::Warning);
    let is_other = |finding: &&Finding| finding.id != id && (is_named || finding.id != Id::NothingArrives);
    let mut problems: Vec<_> =
        (is_known && !is_named).then(|| format!("{id} is not named")).into_iter().collect();
    let others = report.findings.iter().filter(is_fault).filter(is_other);
    problems.extend(others.map(|finding| format!("{} is claimed", finding.id)));
    if report.verdict() == Verdict::Healthy {
        problems.push(format!("all-clear: {:?}", report.arrival));
    }
    problems
}

fn examine_one(seed: u64) -> Result<(), String> {
    let mut scene = Scene::new(seed);
    // One kind can be selected.
    let selected = std::env::var("MCAST_KIND").ok();
    let kinds: Vec<Kind> =
        KINDS.iter().filter(|kind| selected.as_deref().is_none_or(|only| only == kind.0)).copied().collect();
    assert!(!kinds.is_empty(), "MCAST_KIND={selected:?} is none of the kinds");
    let (name, kind) = scene.dice.pick(&kinds);
    let id = kind(&mut scene);
    scene.decorate();
    let report = scene.examine();
    let problems = judge(&report, id, scene.is_known(id));
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{name}, {}", scene.describe(&problems, &report)))
}

fn examine_orderly(seed: u64) -> Result<(), String> {
    let mut scene = Scene::new(seed);
    let (first, second) = (scene.dice.pick(ORDERLY), scene.dice.below(ORDERLY.len() as u64) as usize);
    first(&mut scene);
    // The same one twice would add a table that exists.
    if !std::ptr::fn_addr_eq(first, ORDERLY[second]) {
        ORDERLY[second](&mut scene);
    }
    scene.decorate();
    let report = scene.examine();
    let is_claimed = |finding: &&Finding| finding.severity >= Severity::Warning;
    let mut problems: Vec<_> = report
        .findings
        .iter()
        .filter(is_claimed)
        .map(|finding| format!("{} is claimed", finding.id))
        .collect();
    if (report.arrival, report.verdict()) != (ArrivalStatus::Arrives, Verdict::Healthy) {
        problems.push(format!("no all-clear: {:?}, {:?}", report.arrival, report.verdict()));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(format!("in order, {}", scene.describe(&problems, &report))),
    }
}

/// Returns the row of these faults in the table of goals.
pub(crate) fn row() -> String {
    let kinds: BTreeSet<_> = KINDS.iter().map(|(name, _)| name).collect();
    let [sender, router] = [Role::Sender, Role::Router].map(way::counts);
    format!(
        "| faults that are drawn by seed are named, nothing else is claimed, nothing lost gets the all-clear, and what is in order gets it | {} kinds of faults at a receiver, {} at a sender and {} at a router (there, two at once in a third of the draws, of which one is named at least), and {} things that are in order at a receiver (two at a time), {} at a sender and {} at a router | a sample by `cargo nextest run -p mcast-doctor -E 'test(drawn::)'`, 400 of each with `MCAST_INJECTIONS=400` |",
        kinds.len(),
        sender[0],
        router[0],
        ORDERLY.len(),
        sender[1],
        router[1],
    )
}

#[test]
fn faults_at_a_sender_are_named() {
    for_drawn(|seed| way::examine_faults(Role::Sender, seed));
}

#[test]
fn faults_at_a_router_are_named() {
    for_drawn(|seed| way::examine_faults(Role::Router, seed));
}

#[test]
fn senders_in_order_get_the_all_clear() {
    for_drawn(|seed| way::examine_orderly(Role::Sender, seed));
}

#[test]
fn routers_in_order_get_the_all_clear() {
    for_drawn(|seed| way::examine_orderly(Role::Router, seed));
}

#[test]
fn faults_that_are_drawn_are_named() {
    for_drawn(examine_one);
}

#[test]
fn what_is_in_order_gets_the_all_clear() {
    for_drawn(examine_orderly);
}

fn for_drawn(examine: impl Fn(u64) -> Result<(), String> + Sync) {
    if !has_programs() || !crate::drops::can_trace() {
        return;
    }
    let one = number("MCAST_INJECTION");
    let count = if one.is_some() { 1 } else { number("MCAST_INJECTIONS").unwrap_or(DRAWN) };
    let first = one.or_else(|| number("MCAST_FIRST_SEED")).unwrap_or(1);
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
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
