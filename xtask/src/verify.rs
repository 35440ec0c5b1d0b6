//! `cargo verify`: every check that must pass before a merge.

pub(crate) mod built;
mod dependencies;
pub(crate) mod engines;
mod environment;
mod install;
mod instructions;
pub(crate) mod kernel;
mod ordinary_user;
pub(crate) mod packages;
mod python;
mod skips;
mod sources;
pub(crate) mod targets;
pub(crate) mod tests;
mod wine;

use std::iter;

use anyhow::{Result, bail};

use crate::command::is_ci;
use crate::products::Product;
use crate::step::{RunOptions, Step};
use crate::{api, docs, report, site};
pub(crate) use targets::host;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step, or this family of steps (`cross`); repeatable
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Build and test only the crates of this product, a folder of `crates`
    #[arg(long, value_name = "PRODUCT", conflicts_with = "only")]
    product: Option<String>,
    /// Install what is missing, after showing it: Debian's packages as root or by sudo, and tools of cargo. Then run
    /// everything without skips
    #[arg(long, conflicts_with = "list")]
    install: bool,
    /// Install without asking
    #[arg(long, requires = "install")]
    yes: bool,
    /// List the steps without running them
    #[arg(long)]
    list: bool,
    /// Treat skipped steps and tests as failures; the default if CI is set
    #[arg(long)]
    no_skip: bool,
    /// Stop at the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// Print the output of all steps, not only of those that fail
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the selected steps; returns whether none failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let all = || steps().into_iter().chain(on_request());
    if arguments.list {
        list(&chosen(all().collect(), &arguments.only)?);
        return Ok(true);
    }
    if arguments.install {
        install::install(arguments.yes)?;
    }
    let steps = match &arguments.product {
        Some(product) => steps_of(Product::named(product)?)?,
        None if arguments.only.is_empty() => steps(),
        None => chosen(all().collect(), &arguments.only)?,
    };
    let options = RunOptions {
        require_all: arguments.no_skip || arguments.install || is_ci(),
        verbose: arguments.verbose,
        fail_fast: arguments.fail_fast,
    };
    Ok(report::run(&steps, options))
}

/// The steps in an order that finds simple errors first and avoids rebuilding: the documentation uses the output of
/// clippy, the demonstration that of the tests.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(environment::steps());
    // The first two of the lane beside are those that cargo does not make wait for the main lane, the next those that the
    // second lane waits for.
    steps.push(packages::system_step());
    steps.push(instructions::build_step());
    steps.push(python::build_step());
    steps.push(wine::build_step());
    steps.push(api::step());
    steps.extend(targets::steps());
    steps.extend(sources::steps());
    steps.extend(dependencies::steps());
    steps.extend(tests::steps());
    // The second lane.
    steps.push(instructions::step());
    steps.extend(python::steps());
    steps.push(packages::wheel_step());
    steps.extend(wine::steps());
    steps.extend(packages::tested());
    // What is left of the main lane.
    steps.extend(ordinary_user::steps());
    steps.push(docs::step());
    steps.push(site::step());
    steps
}

/// The steps for the crates of one product: lints, tests and examples.
fn steps_of(product: &Product) -> Result<Vec<Step>> {
    let crates = product.crates()?;
    let packages: Vec<_> = crates.into_iter().flat_map(|name| ["--package".to_owned(), name]).collect();
    let of = packages.clone();
    let clippy = Step::new("clippy", "no warning in any target, all features on", move |options| {
        let packages: Vec<_> = of.iter().map(String::as_str).collect();
        sources::check(
            sources::clippy(&[&packages[..], &["--all-targets", "--all-features"]].concat()),
            options,
        )
    });
    Ok(iter::once(clippy).chain(tests::steps_of(packages)).collect())
}

/// Steps that take too long for every merge. They run only with `--only`, and in `cargo soak`.
fn on_request() -> Vec<Step> {
    vec![kernel::step()]
}

/// The crates that `Cargo.toml` optimizes in the profile `dev`, for their simulations.
const OPTIMIZED: [&str; 7] = [
    "mcast-bridge",
    "mcast-sim",
    "mcast-disk",
    "mcast-log",
    "mcast-relay",
    "mcast-tunnel",
    "mcast-stream-proto",
];

/// Returns options with which cargo compiles crates without optimizations, for builds that run no simulation of them.
fn unoptimized(except: &[&str]) -> impl Iterator<Item = String> {
    let option = |package| ["--config".to_owned(), format!("profile.dev.package.{package}.opt-level=0")];
    OPTIMIZED.into_iter().filter(move |package| !except.contains(package)).flat_map(option)
}

pub(crate) fn chosen(steps: Vec<Step>, only: &[String]) -> Result<Vec<Step>> {
    if let Some(unknown) = only.iter().find(|name| !steps.iter().any(|step| step.matches(name))) {
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        bail!("there is no step {unknown:?}; the steps are: {}", names.join(", "));
    }
    let is_chosen = |step: &Step| only.is_empty() || only.iter().any(|name| step.matches(name));
    Ok(steps.into_iter().filter(is_chosen).collect())
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
    fn the_optimized_crates_are_those_of_the_manifest() {
        let manifest = std::fs::read_to_string(crate::root().join("Cargo.toml")).unwrap();
        let sections = manifest.split("[profile.dev.package.").skip(1);
        let optimized = sections.filter(|section| section.contains("\nopt-level = "));
        let names: Vec<_> = optimized.filter_map(|section| section.split(']').next()).collect();

        assert_eq!(names, OPTIMIZED);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_steps() {
        let error = chosen(steps(), &["speling".to_owned()]).err().unwrap().to_string();

        assert!(error.contains("speling") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn a_family_selects_exactly_its_members() {
        let cross = chosen(steps(), &["cross".to_owned()]).unwrap();

        assert!(cross.len() > 2);
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
