//! How fast Python receives from a full queue, and sends.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::plan::Plan;
use super::{Bench, Row};
use crate::report::Figures;
use crate::tools::Need;

/// Rounds per round of other tables, because these are short.
const ROUNDS: usize = 5;

/// The result of one contestant.
#[derive(Deserialize, Debug)]
struct QueueReport {
    name: String,
    per_second: Vec<f64>,
}

pub(super) fn measure(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = "A socket queue with 4,000 datagrams is emptied as fast as possible; then 4,000 datagrams are sent to \
                 a receiver whose queue has room for them. One program does both in turn, over a plain veth pair, on \
                 one processor, so that sending includes the delivery into the receiver's queue. `merged`: the \
                 datagrams arrived coalesced. `no details`: without hop limit, traffic class, time and loss. `reader` \
                 and `writer` are called once per datagram, and use batches inside.";
    let mut figures = bench.figures(plan, about.to_owned(), "rate", "multicast_expert recvfrom");
    // Not a window but a number of datagrams.
    figures.seconds = 0.0;
    if let Some(why) = bench.missing(Need::Pymcast) {
        bail!("{why}");
    }
    if let Some(why) = bench.missing(Need::MulticastExpert) {
        figures.absent.insert("multicast_expert".to_owned(), why.to_owned());
    }
    let rounds = if bench.options.quick { 1 } else { bench.options.rounds() * ROUNDS };
    for QueueReport { name, per_second } in run(bench, rounds)? {
        let rates = per_second.into_iter().map(Some).collect();
        let series = BTreeMap::from([("rate".to_owned(), rates)]);
        figures.rows.push(Row { series, ..Row::new(&name, "") });
    }
    Ok(figures)
}

fn run(bench: &Bench, rounds: usize) -> Result<Vec<QueueReport>> {
    let mut python = Command::new(bench.tools.python(Need::Pymcast));
    python.arg(bench.tools.pymcast().join("benches/full_queue.py"));
    python.args(["--json", "--rounds", &rounds.to_string()]).stdin(Stdio::null());
    let output = python.output().context("starting full_queue.py")?;
    let messages = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "full_queue.py failed ({}): {messages}", output.status);
    let lines = String::from_utf8(output.stdout).context("reading the output of full_queue.py")?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}"))).collect()
}
