//! The tables: what is measured.

mod bridge;
mod engine;
mod fairness;
mod groups;
mod http;
mod latency;
mod log;
mod loss;
mod messages;
mod perf;
mod plan;
mod queue;
mod relay;
mod relay_targets;
mod relay_tunnel;
mod rounds;
mod sockperf;
mod throughput;

use anyhow::{Result, bail};

use crate::arguments::Measure;
use crate::contestants::{ALL, COMMAND, Contestant, MESSENGERS, PYTHON};
use crate::machine::Machine;
use crate::report::{self, Figures, Results, Row};
use crate::tools::{Need, Tools};
use plan::Plan;
use rounds::Rounds;

/// The context of all measurements.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tools: Tools,
    pub(crate) options: Measure,
    pub(crate) machine: Machine,
}

/// Measures the selected tables, and writes the document.
///
/// # Errors
/// Without namespaces or a C compiler, if no table matches, or if writing fails.
pub fn measure(options: &Measure) -> Result<()> {
    let plans: Vec<_> = plan::all().into_iter().filter(|plan| is_selected(options, &plan.name)).collect();
    if plans.is_empty() {
        bail!("no table's name begins with {}; --list shows them", options.tables.join(" or "));
    }
    let needs = plans.iter().flat_map(|plan| plan.needs(options)).collect();
    let tools = Tools::gather(&needs, !options.no_install)?;
    let machine = Machine::here(tools.versions().map(str::to_owned).collect());
    let bench = Bench { tools, options: options.clone(), machine };
    if options.list {
        return list(&bench, &plans);
    }
    let mut results = Results::load(&bench)?;
    let mut failed = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        eprintln!("[{}/{}] {}: {}", number + 1, plans.len(), plan.name, plan.title);
        match plan.measure(&bench) {
            Ok(figures) => {
                if options.json {
                    println!("{}", serde_json::to_string(&figures)?);
                }
                results.put(figures)?;
            }
            // Continue with the other tables.
            Err(error) => {
                eprintln!("  {error:#}");
                failed.push(plan.name.as_str());
            }
        }
    }
    eprintln!("written: {}", report::document(&results, bench.tools.made())?.display());
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

fn is_selected(options: &Measure, name: &str) -> bool {
    options.tables.is_empty() || options.tables.iter().any(|asked| name.starts_with(asked.as_str()))
}

fn list(bench: &Bench, plans: &[Plan]) -> Result<()> {
    println!("tables:");
    plans.iter().for_each(|plan| println!("  {:22} {}", plan.name, plan.title));
    println!("contestants:");
    let others = PYTHON.iter().chain(COMMAND);
    let others = others.filter(|each| !ALL.iter().any(|other| other.name == each.name));
    for contestant in ALL.iter().chain(others) {
        let missing = bench.tools.missing(contestant.need());
        let missing = missing.map(|why| format!(" (missing: {why})")).unwrap_or_default();
        println!("  {:22} {}{missing}", contestant.name, contestant.what);
    }
    println!("contestants for messages:");
    for messenger in MESSENGERS {
        let missing = bench.tools.missing(messenger.need());
        let missing = missing.map(|why| format!(" (missing: {why})")).unwrap_or_default();
        println!("  {:22} {}{missing}", messenger.name, messenger.what);
    }
    Ok(())
}

impl Bench {
    /// Returns the contestants that are available; adds the others to the figures with the reason.
    fn present<'c>(
        &self,
        all: impl Iterator<Item = &'c Contestant>,
        figures: &mut Figures,
    ) -> Vec<&'c Contestant> {
        let mut present = Vec::new();
        for contestant in all {
            match self.tools.missing(contestant.need()) {
                Some(why) => drop(figures.absent.insert(contestant.name.to_owned(), why.to_owned())),
                None => present.push(contestant),
            }
        }
        present
    }

    /// Returns why a tool is missing; `None` if it is available.
    fn missing(&self, need: Need) -> Option<&str> {
        self.tools.missing(Some(need))
    }

    /// Creates figures without rows.
    fn figures(&self, plan: &Plan, about: String, main: &str, reference: &str) -> Figures {
        Figures {
            table: plan.name.clone(),
            title: plan.title.clone(),
            about,
            main: main.to_owned(),
            reference: reference.to_owned(),
            seconds: self.options.window(),
            discarded: 0,
            unsteady: false,
            rows: Vec::new(),
            absent: std::collections::BTreeMap::new(),
            faults: std::collections::BTreeMap::new(),
            machine: self.machine.clone(),
            command: format!("cargo bench-peers --table {}", plan.name),
        }
    }
}

/// Adds the results of the rounds to the figures.
fn fill(figures: &mut Figures, rounds: Rounds, what: impl Fn(&str) -> String) {
    figures.discarded = rounds.discarded;
    figures.unsteady = rounds.unsteady;
    for (name, series) in rounds.series {
        let row = Row { series, ..Row::new(&name, &what(&name)) };
        figures.rows.push(row);
    }
    figures.absent.extend(rounds.failed);
    figures.faults.extend(rounds.faults);
}

/// Returns the names of all tables, in the order of the document.
pub(crate) fn names() -> Vec<String> {
    plan::all().into_iter().map(|plan| plan.name).collect()
}
