//! `cargo verify`: every check that must hold at every landing.

pub(crate) mod built;
mod dependencies;
mod environment;
mod instructions;
pub(crate) mod kernel;
mod ordinary_user;
mod packages;
mod python;
mod sources;
mod targets;
pub(crate) mod tests;
mod wine;

use anyhow::{Result, bail};

use crate::step::{Manner, Step};
use crate::{docs, report};
pub(crate) use targets::host;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step, or this family of steps (`cross`); repeatable
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Show the steps, run none
    #[arg(long)]
    list: bool,
    /// Count what is skipped as failed; the default where CI is set
    #[arg(long)]
    no_skip: bool,
    /// Stop at the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// Show what runs as it comes, not only where it fails
    #[arg(short, long)]
    verbose: bool,
}

/// Runs what was asked for; true when nothing failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let all = || steps().into_iter().chain(on_request());
    if arguments.list {
        list(&chosen(all().collect(), &arguments.only)?);
        return Ok(true);
    }
    let steps = match arguments.only.is_empty() {
        true => steps(),
        false => chosen(all().collect(), &arguments.only)?,
    };
    let manner = Manner {
        require_all: arguments.no_skip || environment::is_ci(),
        verbose: arguments.verbose,
        fail_fast: arguments.fail_fast,
    };
    Ok(report::run(&steps, manner))
}

/// In an order that finds cheap faults first and builds each thing once: what clippy checked, the
/// documentation reads; what the tests built, the demonstration runs.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(environment::steps());
    steps.extend(sources::steps());
    steps.extend(dependencies::steps());
    steps.extend(tests::steps());
    steps.extend(ordinary_user::steps());
    steps.extend(instructions::steps());
    steps.extend(python::steps());
    steps.push(docs::step());
    steps.extend(targets::steps());
    steps.extend(wine::steps());
    steps.extend(packages::steps());
    steps
}

/// What takes too long for every landing: `--only` runs it here, and `cargo soak` always.
fn on_request() -> Vec<Step> {
    vec![kernel::step()]
}

pub(crate) fn chosen(steps: Vec<Step>, only: &[String]) -> Result<Vec<Step>> {
    if let Some(unknown) = only.iter().find(|wanted| !steps.iter().any(|step| step.answers_to(wanted))) {
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        bail!("no step is called {unknown:?}; there are: {}", names.join(", "));
    }
    let wanted = |step: &Step| only.is_empty() || only.iter().any(|name| step.answers_to(name));
    Ok(steps.into_iter().filter(wanted).collect())
}

fn list(steps: &[Step]) {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    for step in steps {
        anstream::println!("{:<width$}  {}", step.name, step.about);
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn a_name_that_no_step_has_is_an_error_that_lists_the_steps() {
        let error = chosen(steps(), &["speling".to_owned()]).err().unwrap().to_string();

        assert!(error.contains("speling") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn a_family_chooses_all_its_members_and_nothing_else() {
        let cross = chosen(steps(), &["cross".to_owned()]).unwrap();

        assert!(cross.len() > 3);
        assert!(cross.iter().all(|step| step.name.starts_with("cross:")));
    }

    #[test]
    fn no_two_steps_share_a_name() {
        let mut names: Vec<_> = steps().into_iter().map(|step| step.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();

        assert_eq!(names.len(), all);
    }
}
