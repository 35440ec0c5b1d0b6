//! Reliable messages, compared with Aeron, NORM and TCP.

mod acknowledged;
mod delays;
mod goodput;
mod raw;
mod transfer;

use anyhow::{Result, bail};

use super::Bench;
use super::plan::Plan;
use super::rounds::RoundOptions;
use crate::arguments::Measure;
use crate::contestants::{MESSENGERS, Messenger, messenger};
use crate::report::Figures;
use crate::tools::Need;

/// Bytes of a message that fills a frame together with the header of any contestant.
pub(super) const LARGE: usize = 1344;
/// Bytes of a small message.
pub(super) const SMALL: usize = 64;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Throughput of messages of this size, on a plain link.
    Plain(usize),
    /// Throughput to this number of subscribers, on links with loss.
    Lossy(usize),
    /// Throughput through a log.
    Durable,
    /// Latency at a constant rate, on a link with loss.
    Delays,
    /// Latency at a low rate, on a link without loss.
    SlowDelays,
    /// Time until this number of subscribers have acknowledged a message.
    Acknowledged(usize),
}

pub(super) fn measure(bench: &Bench, plan: &Plan, subject: Subject) -> Result<Figures> {
    if let Some(why) = bench.missing(Need::Nft) {
        bail!("{why}");
    }
    match subject {
        Subject::Plain(size) => goodput::plain(bench, plan, size),
        Subject::Lossy(receivers) => goodput::lossy(bench, plan, receivers),
        Subject::Durable => goodput::durable(bench, plan),
        Subject::Delays => delays::measure(bench, plan),
        Subject::SlowDelays => delays::slow(bench, plan),
        Subject::Acknowledged(receivers) => acknowledged::measure(bench, plan, receivers),
    }
}

/// Returns the tools that are needed.
pub(super) fn needs(subject: Subject, options: &Measure) -> Vec<Need> {
    let raw: &[Need] =
        if matches!(subject, Subject::Plain(_)) { &[Need::Mcast, Need::Reference] } else { &[] };
    let selected = MESSENGERS.iter().filter(|each| options.wants(each.name));
    selected.filter_map(Messenger::need).chain([Need::Nft]).chain(raw.iter().copied()).collect()
}

/// Returns the contestants that are selected and available; adds those that are not available to the figures with the
/// reason. The first is the reference, which is always selected.
fn present(bench: &Bench, names: &[&str], figures: &mut Figures) -> Vec<&'static Messenger> {
    let mut present = Vec::new();
    for (index, messenger) in names.iter().filter_map(|name| messenger(name)).enumerate() {
        if index > 0 && !bench.options.wants(messenger.name) {
            continue;
        }
        match bench.tools.missing(messenger.need()) {
            Some(why) => drop(figures.absent.insert(messenger.name.to_owned(), why.to_owned())),
            None => present.push(messenger),
        }
    }
    present
}

/// Returns how long each contestant publishes, in seconds.
fn window(bench: &Bench) -> f64 {
    bench.options.window() * 2.0
}

fn round_options(bench: &Bench, steady_by: &'static str) -> RoundOptions {
    RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some(steady_by),
        keep_all: bench.options.keep_all || bench.options.quick,
    }
}
