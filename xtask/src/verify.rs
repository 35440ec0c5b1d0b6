//! `cargo verify`: every check that must pass before a merge.

pub(crate) mod built;
mod changed;
mod dependencies;
pub(crate) mod engines;
mod environment;
mod install;
pub(crate) mod instructions;
pub(crate) mod kernel;
mod ordinary_user;
pub(crate) mod packages;
pub(crate) mod python;
mod skips;
mod sources;
mod specialists;
pub(crate) mod targets;
pub(crate) mod tests;
mod variants;
pub(crate) mod wine;

use std::collections::BTreeSet;
use std::iter;

use anyhow::{Result, bail};

use crate::command::is_ci;
use crate::products::Product;
use crate::report::Elsewhere;
use crate::step::{RunOptions, Step};
use crate::{api, docs, report, site};
use changed::Changed;
pub(crate) use sources::documentation;
pub(crate) use targets::host;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step, or this family of steps (`cross`); repeatable
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Build and test only the crates of this product, a folder of `crates`
    #[arg(long, value_name = "PRODUCT", conflicts_with = "only")]
    product: Option<String>,
    /// Check the sources, and test only the crates that differ from BASE and those that use them
    #[arg(
        long,
        value_name = "BASE",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["only", "product", "list"]
    )]
    changed: Option<String>,
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
        let needs_specialists = arguments.only.iter().any(|name| name == "specialists");
        install::install(needs_specialists, arguments.yes)?;
    }
    let (steps, elsewhere) = match (&arguments.product, &arguments.changed) {
        (Some(product), _) => (steps_of(Product::named(product)?)?, None),
        (None, Some(base)) => (steps_for(base)?, Some(Elsewhere::new("everything else", "cargo verify"))),
        (None, None) if arguments.only.is_empty() => (
            steps(),
            Some(Elsewhere::new(
                names(&on_request(), &steps()),
                "cargo soak, and hosted CI except the kernel",
            )),
        ),
        (None, None) => (chosen(all().collect(), &arguments.only)?, None),
    };
    let options = RunOptions {
        require_all: arguments.no_skip || arguments.install || is_ci(),
        verbose: arguments.verbose,
        fail_fast: arguments.fail_fast,
    };
    Ok(report::run_in_part(&steps, options, elsewhere.as_ref()))
}

/// The steps in an order that finds simple errors first and avoids rebuilding: the documentation uses the output of
/// clippy, the demonstration that of the tests.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(environment::steps());
    // The lane beside. The second lane waits for its first step.
    steps.push(python::build_step());
    steps.extend(targets::steps());
    steps.extend(sources::of_text());
    steps.extend(dependencies::of_text());
    steps.extend(sources::compiled());
    steps.push(api::step());
    steps.extend(tests::steps());
    // The second lane.
    steps.extend(python::steps());
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

/// Steps that take too long for every merge. They run only with `--only`, in `cargo soak` and, except the kernel, in hosted CI.
pub(crate) fn on_request() -> Vec<Step> {
    let mut steps = vec![packages::system_step(), instructions::build_step(), wine::build_step()];
    steps.extend(targets::other_systems());
    steps.extend(postponed());
    steps.push(tests::specialists_step());
    steps.push(kernel::step());
    steps.push(instructions::step());
    steps.push(packages::wheel_step());
    steps.extend(wine::steps());
    steps.extend(packages::tested());
    steps
}

/// Steps that compile dependencies again, with another compiler or other features, and the seeds and tests that the step `tests`
/// leaves out.
pub(crate) fn postponed() -> [Step; 6] {
    [
        dependencies::minimum_version_step(),
        sources::fuzz_step(),
        tests::core_step(),
        tests::second_half_step(),
        tests::variants_step(),
        tests::engines_step(),
    ]
}

/// Returns the names of these steps; a family of which none is among `others` is one name.
fn names(steps: &[Step], others: &[Step]) -> String {
    let is_whole = |step: &Step| others.iter().all(|other| other.family() != step.family());
    let name = |step: &Step| if is_whole(step) { step.family().to_owned() } else { step.name.clone() };
    let names: BTreeSet<_> = steps.iter().map(name).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The steps for what differs from `base`, or from the main branch if that is empty: checks of all sources, and the tests of the crates
/// that the change concerns.
fn steps_for(base: &str) -> Result<Vec<Step>> {
    let changed = Changed::since(base)?;
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    anstream::println!("changed: {}\nabove:   {}", list(&changed.touched), list(&changed.above));
    for (name, programs) in &changed.left_out {
        anstream::println!("without: the tests of {name} that examine none of these: {}", list(programs));
    }
    let mut steps = sources::of_text();
    steps.extend(dependencies::of_text());
    if !changed.touched.is_empty() || changed.has_pages {
        steps.push(sources::clippy_for(changed.programs.iter().cloned().collect()));
        steps.extend(tests::steps_for(&changed)?);
    }
    Ok(steps)
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
        let all = steps().into_iter().chain(on_request()).collect();
        let cross = chosen(all, &["cross".to_owned()]).unwrap();

        assert!(cross.len() > 2);
        assert!(cross.iter().all(|step| step.name.starts_with("cross:")));
    }

    #[test]
    fn what_runs_elsewhere_is_named_by_family_where_no_member_runs_here() {
        let names = names(&on_request(), &steps());

        assert_eq!(
            names,
            "core, cross:aarch64-apple-darwin, cross:x86_64-unknown-freebsd, engines, fuzz-clippy, instructions, kernel, msrv, packages, seeds, specialists, variants, wine"
        );
    }

    #[test]
    fn no_two_steps_share_a_name() {
        let mut names: Vec<_> = steps().into_iter().chain(on_request()).map(|step| step.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();

        assert_eq!(names.len(), all);
    }
}
