//! `cargo dist-local`: builds all packages of a release, without publishing them.
//!
//! Builds are reproducible: times are those of the commit, paths of folders are removed from the programs, and files in
//! archives are sorted and have no owner. `--check` builds everything twice and compares.

mod archive;
mod bill;
mod checksums;
mod debian;
mod program;
mod release;
mod startup;
mod templates;
mod tree;
mod wheels;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::docs;
pub(crate) use debian::package as debian_package;
pub(crate) use program::{PROGRAMS, build};
pub(crate) use release::Release;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder for the packages
    #[arg(long, value_name = "FOLDER", default_value = "target/packages")]
    out: PathBuf,
    /// Build only these kinds; repeatable
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Build everything again in other folders, and fail if a byte differs
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// The command for Linux and Windows, static, in an archive with its manual
    Programs,
    /// Debian packages of the static Linux programs
    Debian,
    /// The Python package: wheels and the source distribution
    Wheels,
    /// The templates for Homebrew, winget and containers, filled in
    Templates,
}

/// Builds the selected kinds; returns false if some could not be built here.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let release = Release::of(&crate::root())?;
    docs::generate()?;
    let out = crate::root().join(&arguments.out);
    let mut missing = make(&release, arguments, &out, "first")?;
    if arguments.check {
        let again = crate::root().join("target/packages-again");
        missing.extend(make(&release, arguments, &again, "second")?);
        let differing = checksums::differences(&out, &again)?;
        if !differing.is_empty() {
            bail!("not reproducible: {}", differing.join(", "));
        }
        anstream::println!("built twice, with identical results");
    }
    for (name, size) in checksums::write(&out)? {
        anstream::println!("{size:>12}  {name}");
    }
    missing.sort();
    missing.dedup();
    for what in &missing {
        anstream::println!("not built: {what}");
    }
    Ok(missing.is_empty())
}

/// Builds all selected kinds in `out`; returns those that cannot be built here, with the reason.
fn make(release: &Release, arguments: &Arguments, out: &Path, attempt: &str) -> Result<Vec<String>> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("emptying {}", out.display()))?;
    }
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let chosen = |kind| arguments.only.is_empty() || arguments.only.contains(&kind);
    let mut missing = Vec::new();
    for build in PROGRAMS.iter().filter(|_| chosen(Kind::Programs) || chosen(Kind::Debian)) {
        let program = match program::build(release, build, attempt)? {
            Ok(program) => program,
            Err(why) => {
                missing.push(format!("{}: {why}", build.label));
                continue;
            }
        };
        missing.extend(build.fallback_note());
        if build.runs_here() && attempt == "first" {
            let (median, best) = startup::measure(&program)?;
            let bytes = fs::metadata(&program)?.len();
            anstream::println!(
                "{}: {bytes} bytes; `--version` takes {median:.1?} (median), {best:.1?} (minimum)",
                build.label
            );
        }
        if chosen(Kind::Programs) {
            archive::write(release, build, &program, out)?;
        }
        if let (true, Some(architecture)) = (chosen(Kind::Debian), build.debian)
            && let Err(why) = debian::package(release, architecture, &program, out)?
        {
            missing.push(format!("Debian package for {architecture}: {why}"));
        }
    }
    if chosen(Kind::Wheels) {
        missing.extend(wheels::make(release, out, attempt)?);
    }
    if chosen(Kind::Templates) {
        templates::fill(release, out)?;
    }
    bill::write(release, out)?;
    Ok(missing)
}
