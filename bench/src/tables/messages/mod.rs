//! Messages that must all arrive, beside Aeron, NORM and TCP.

mod delays;
mod goodput;
mod raw;
mod transfer;

use anyhow::{Result, bail};

use super::Bench;
use super::plan::Plan;
use super::rounds::Manner;
use crate::arguments::Measure;
use crate::contestants::{MESSENGERS, Messenger, messenger};
use crate::report::Figures;
use crate::tools::Need;

/// Bytes of a message that fills a frame with the header of any of them.
pub(super) const LARGE: usize = 1344;
/// Bytes of a small one.
pub(super) const SMALL: usize = 64;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// As many as go, of this size, over a plain link.
    Plain(usize),
    /// As many as go to so many receivers, over links that lose some.
    Lossy(usize),
    /// How long each takes at a steady rate, over a link that loses some.
    Delays,
}

pub(super) fn measure(bench: &Bench, plan: &Plan, subject: Subject) -> Result<Figures> {
    if let Some(why) = bench.missing(Need::Nft) {
        bail!("{why}");
    }
    match subject {
        Subject::Plain(size) => goodput::plain(bench, plan, size),
        Subject::Lossy(receivers) => goodput::lossy(bench, plan, receivers),
        Subject::Delays => delays::measure(bench, plan),
    }
}

/// What has to be there.
pub(super) fn needs(subject: Subject, options: &Measure) -> Vec<Need> {
    let raw = matches!(subject, Subject::Plain(_)).then_some(Need::Mcast);
    let wanted = MESSENGERS.iter().filter(|each| options.wants(each.name));
    wanted.filter_map(Messenger::need).chain([Need::Nft]).chain(raw).collect()
}

/// Of these, who was asked for and can take part; who can't goes into the figures with the reason. The
/// first is the reference, and always asked for.
fn present(bench: &Bench, names: &[&str], figures: &mut Figures) -> Vec<&'static Messenger> {
    let mut present = Vec::new();
    for (place, messenger) in names.iter().filter_map(|name| messenger(name)).enumerate() {
        if place > 0 && !bench.options.wants(messenger.name) {
            continue;
        }
        match bench.tools.missing(messenger.need()) {
            Some(why) => drop(figures.absent.insert(messenger.name.to_owned(), why.to_owned())),
            None => present.push(messenger),
        }
    }
    present
}

/// How long each publishes.
fn window(bench: &Bench) -> f64 {
    bench.options.window() * 2.0
}

fn manner(bench: &Bench, steady_by: &'static str) -> Manner {
    Manner {
        rounds: bench.options.rounds(),
        steady_by: Some(steady_by),
        keep_all: bench.options.keep_all || bench.options.quick,
    }
}
