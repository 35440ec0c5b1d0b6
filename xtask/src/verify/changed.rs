//! `cargo verify --changed`: the crates that a change touches, and those above them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::command::{finish, program};

/// Files that can change how every crate is compiled.
const OF_ALL: [&str; 4] = ["Cargo.toml", "Cargo.lock", "clippy.toml", ".cargo/config.toml"];
/// The crate whose test of this name reads the pages and runs what they show.
pub(super) const READER: (&str, &str) = ("mcast-cli", "guide");

/// The crates to check for a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Those with a changed file, or whose sources read one that is in no crate.
    pub(super) touched: BTreeSet<String>,
    /// Those that use one of them, directly or not, also only in tests.
    pub(super) above: BTreeSet<String>,
    /// The programs of tests of those above that examine none of these crates, by the crate that has them.
    pub(super) left_out: BTreeMap<String, BTreeSet<String>>,
    /// The names of the other programs of tests.
    pub(super) programs: BTreeSet<String>,
    /// Whether a page of the guide differs.
    pub(super) has_pages: bool,
    /// Whether one of these crates has examples in its documentation that are tested.
    pub(super) has_examples: bool,
}

impl Changed {
    /// Returns the crates that differ from where this branch left `base`, with what is not committed.
    pub(super) fn since(base: &str) -> Result<Self> {
        let manifest = crate::root().join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
        Self::of(&files(base)?, &metadata.context("reading the workspace")?, naming)
    }

    /// Returns the crates that these files concern. `naming` finds the files that name another one.
    fn of(
        files: &BTreeSet<PathBuf>,
        metadata: &Metadata,
        naming: impl Fn(&Path) -> Result<Vec<PathBuf>>,
    ) -> Result<Self> {
        let crates = Crates::of(metadata)?;
        let (mut touched, mut has_pages) = (BTreeSet::new(), false);
        for file in files {
            if OF_ALL.iter().any(|name| file == Path::new(name)) {
                touched.extend(crates.folders.values().cloned());
            } else if let Some(owner) = crates.owner(file) {
                touched.insert(owner.to_owned());
            } else {
                touched.extend(naming(file)?.iter().filter_map(|file| crates.owner(file)).map(str::to_owned));
                has_pages |= file.starts_with("docs") || file == Path::new("README.md");
            }
        }
        let above = crates.above(&touched);
        let has_examples = touched.union(&above).any(|name| crates.with_examples.contains(name));
        let mut changed = Self { touched, above, has_pages, has_examples, ..Self::default() };
        changed.choose_programs(&crates);
        Ok(changed)
    }

    fn choose_programs(&mut self, crates: &Crates) {
        let concerned: BTreeSet<_> = self.touched.union(&self.above).cloned().collect();
        for name in &concerned {
            let is_above = self.above.contains(name);
            for (program, examined) in crates.tests.get(name).into_iter().flatten() {
                let reads_pages = self.has_pages && (name.as_str(), program.as_str()) == READER;
                let is_left_out = is_above
                    && !reads_pages
                    && examined.as_ref().is_some_and(|examined| examined.is_disjoint(&concerned));
                if is_left_out {
                    self.left_out.entry(name.clone()).or_default().insert(program.clone());
                } else {
                    self.programs.insert(program.clone());
                }
            }
        }
        if self.has_pages {
            self.programs.insert(READER.1.to_owned());
        }
    }

    /// Returns the options of cargo that select all of them.
    pub(super) fn packages(&self) -> Vec<String> {
        let names = self.touched.iter().chain(&self.above);
        names.flat_map(|name| ["--package".to_owned(), name.clone()]).collect()
    }
}

/// The crates of the workspace.
#[derive(Debug)]
struct Crates {
    /// Their names, by their folders and by the sources that they have elsewhere, relative to the root.
    folders: BTreeMap<PathBuf, String>,
    /// The crates that each one uses in its program or library, and those that only its tests use.
    uses: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
    /// Those whose documentation is tested.
    with_examples: BTreeSet<String>,
    /// Their programs of tests, with the crates that each examines, if the manifest names them.
    tests: BTreeMap<String, BTreeMap<String, Option<BTreeSet<String>>>>,
}

impl Crates {
    fn of(metadata: &Metadata) -> Result<Self> {
        let root = crate::root();
        let relative = |path: &Path| path.strip_prefix(&root).map(Path::to_path_buf);
        let mut folders = BTreeMap::new();
        let (mut uses, mut tests) = (BTreeMap::new(), BTreeMap::new());
        let mut with_examples = BTreeSet::new();
        for package in &metadata.packages {
            let name = package.name.to_string();
            let folder = package.manifest_path.parent().context("a manifest without a folder")?;
            folders.insert(relative(folder.as_std_path())?, name.clone());
            for target in package.targets.iter().filter(|target| !target.src_path.starts_with(folder)) {
                let source = target.src_path.as_std_path().canonicalize()?;
                folders.insert(relative(&source)?, name.clone());
            }
            if package.targets.iter().any(|target| target.doctest) {
                with_examples.insert(name.clone());
            }
            tests.insert(name.clone(), programs(package)?);
            let of_kind = |of_tests: bool| used(package, of_tests);
            uses.insert(name, (of_kind(false), of_kind(true)));
        }
        Ok(Self { folders, uses, with_examples, tests })
    }

    /// Returns the crate that a file belongs to.
    fn owner(&self, file: &Path) -> Option<&str> {
        file.ancestors().find_map(|folder| self.folders.get(folder)).map(String::as_str)
    }

    /// Returns the crates that use one of these, without these.
    fn above(&self, touched: &BTreeSet<String>) -> BTreeSet<String> {
        let mut reached = touched.clone();
        loop {
            let using = |(_, (used, _)): &(&String, &(BTreeSet<String>, BTreeSet<String>))| {
                !used.is_disjoint(&reached)
            };
            let more: BTreeSet<_> = self.uses.iter().filter(using).map(|(name, _)| name.clone()).collect();
            if more.is_subset(&reached) {
                break;
            }
            reached.extend(more);
        }
        // What only tests use does not change the crates that use the tested one.
        let in_tests = self.uses.iter().filter(|(_, (_, used))| !used.is_disjoint(&reached));
        let in_tests: Vec<_> = in_tests.map(|(name, _)| name.clone()).collect();
        reached.extend(in_tests);
        reached.difference(touched).cloned().collect()
    }
}

/// Returns the programs of tests of a package, with the crates that each examines, from `package.metadata.tests` of its manifest.
fn programs(package: &Package) -> Result<BTreeMap<String, Option<BTreeSet<String>>>> {
    let named = package.metadata.get("tests").cloned().unwrap_or_default();
    let mut named: BTreeMap<String, BTreeSet<String>> = match named {
        serde_json::Value::Null => BTreeMap::new(),
        named => serde_json::from_value(named)
            .with_context(|| format!("the table of tests of {}", package.name))?,
    };
    let targets = package.targets.iter().filter(|target| target.is_test());
    let programs = targets.map(|target| (target.name.clone(), named.remove(&target.name))).collect();
    if let Some(unknown) = named.keys().next() {
        bail!("{} has no tests {unknown:?}, which its manifest names", package.name);
    }
    Ok(programs)
}

fn used(package: &Package, of_tests: bool) -> BTreeSet<String> {
    let is_of_tests = |kind| kind == DependencyKind::Development;
    let used = package.dependencies.iter().filter(|used| is_of_tests(used.kind) == of_tests);
    used.map(|used| used.name.clone()).collect()
}

/// Returns the changed files, relative to the root.
fn files(base: &str) -> Result<BTreeSet<PathBuf>> {
    let base = if base.is_empty() { main_branch() } else { base };
    let left = git(&["merge-base", base, "HEAD"]).with_context(|| {
        format!("finding where this branch left {base:?} (`--changed BASE` names another one)")
    })?;
    let changed = git(&["diff", "--name-only", "--no-renames", left.trim()])?;
    let new = git(&["ls-files", "--others", "--exclude-standard"])?;
    Ok(changed.lines().chain(new.lines()).map(PathBuf::from).collect())
}

/// The main branch as it was fetched last, or else the local one.
fn main_branch() -> &'static str {
    let fetched = "origin/main";
    if git(&["rev-parse", "--verify", "--quiet", fetched]).is_ok() { fetched } else { "main" }
}

/// Returns the sources that read a file or its folder: its path is at the start of a text, or behind a `/`. Comments only mention it.
fn naming(file: &Path) -> Result<Vec<PathBuf>> {
    let path = |path: &Path| path.to_string_lossy().replace('.', "\\.");
    let mut pattern = format!("[\"/]{}", path(file));
    if let Some(folder) = file.parent().filter(|folder| folder.components().count() > 1) {
        pattern += &format!("|[\"/]{}\"", path(folder));
    }
    let search =
        ["grep", "--files-with-matches", "--extended-regexp", "-e", &pattern, "--", "*.rs", "*.toml"];
    // Nothing found is status 1, without output.
    Ok(finish(program("git", search), false)?.output.lines().map(PathBuf::from).collect())
}

fn git(arguments: &[&str]) -> Result<String> {
    let finished = finish(program("git", arguments), false)?;
    if !finished.success {
        bail!("`git {}` failed, {}:\n{}", arguments.join(" "), finished.status, finished.output);
    }
    Ok(finished.output)
}

#[cfg(test)]
mod checks {
    use super::*;

    /// The crates of one small command each, whose tests run after each change.
    const NOT_NAMED: [&str; 2] = ["mcast-demo", "mcast-terminal"];

    fn changed(files: &[&str], named_in: &[&str]) -> Changed {
        let manifest = crate::root().join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
        let naming = |_: &Path| Ok(named_in.iter().map(PathBuf::from).collect());
        Changed::of(&files.iter().map(PathBuf::from).collect(), &metadata, naming).unwrap()
    }

    fn has(names: &BTreeSet<String>, name: &str) -> bool {
        names.contains(name)
    }

    #[test]
    fn a_change_concerns_its_crate_and_those_above() {
        let changed = changed(&["crates/stream/mcast-log/src/lib.rs"], &[]);

        assert_eq!(changed.touched, ["mcast-log".to_owned()].into());
        assert!(has(&changed.above, "mcast-stream") && has(&changed.above, "mcast-cli"), "{changed:?}");
        assert!(!has(&changed.above, "mcast-group") && !has(&changed.above, "xtask"), "{changed:?}");
        assert!(changed.has_examples);
    }

    #[test]
    fn what_tests_use_concerns_only_the_crates_with_these_tests() {
        let changed = changed(&["crates/testing/mcast-disk/src/lib.rs"], &[]);

        assert!(has(&changed.above, "mcast-log"), "{changed:?}");
        assert!(!has(&changed.above, "mcast-stream"), "its library does not use the disk: {changed:?}");
    }

    #[test]
    fn a_file_without_a_crate_concerns_those_that_name_it() {
        let page =
            changed(&["docs/log-format.md"], &["crates/stream/mcast-log/src/format/mod.rs", "deny.toml"]);
        assert_eq!((page.touched, page.has_pages), (["mcast-log".to_owned()].into(), true));

        let script = changed(&["packaging/debian/postinst"], &["xtask/src/dist/debian.rs"]);
        assert_eq!((script.touched, script.has_pages), (["xtask".to_owned()].into(), false));
    }

    #[test]
    fn a_change_of_the_command_tests_no_examples_in_documentation() {
        let changed = changed(&["crates/front/mcast-cli/src/lib.rs"], &[]);

        assert!(has(&changed.touched, "mcast-cli") && !changed.has_examples, "{changed:?}");
    }

    #[test]
    fn tests_that_examine_other_crates_are_left_out() {
        let program = |name: &str| name.to_owned();
        let relay = changed(&["crates/reach/mcast-relay/src/lib.rs"], &[]);
        let left_out = &relay.left_out["mcast-cli"];
        assert!(
            left_out.is_superset(&["bridge", "discover", "guide", "stream"].map(program).into()),
            "{relay:?}"
        );
        assert!(left_out.is_disjoint(&["command", "relay"].map(program).into()), "{relay:?}");
        assert!(relay.programs.is_superset(&["command", "relay"].map(program).into()), "{relay:?}");

        // All use it, by others.
        let group = changed(&["crates/base/mcast-group/src/lib.rs", "docs/index.md"], &[]);
        assert_eq!(group.left_out, BTreeMap::new());
        // A page does not change the crates above its reader.
        let page = changed(&["docs/index.md"], &[]);
        assert_eq!((page.left_out, page.programs), (BTreeMap::new(), [program("guide")].into()));
        let command = changed(&["crates/front/mcast-cli/src/lib.rs"], &[]);
        assert_eq!(command.left_out, BTreeMap::new());
    }

    /// Otherwise a change of it would run none of the programs that examine only some crates.
    #[test]
    fn each_crate_below_the_command_is_examined_by_its_tests() {
        let manifest = crate::root().join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
        let crates = Crates::of(&metadata).unwrap();
        let examined: BTreeSet<_> = crates.tests["mcast-cli"].values().flatten().flatten().cloned().collect();
        assert!(examined.iter().all(|name| crates.tests.contains_key(name)), "{examined:?}");
        let direct = &crates.uses["mcast-cli"].0;
        let unexamined = direct.iter().filter(|name| crates.tests.contains_key(*name)).filter(|name| {
            !examined.contains(*name) && crates.above(&[(*name).clone()].into()).is_disjoint(&examined)
        });
        assert_eq!(unexamined.collect::<Vec<_>>(), NOT_NAMED, "examined only by what runs after each change");
    }

    #[test]
    fn what_changes_the_build_concerns_every_crate() {
        let all = changed(&["Cargo.lock"], &[]);

        assert!(has(&all.touched, "mcast-group") && has(&all.touched, "xtask"), "{all:?}");
        assert_eq!(all.above, BTreeSet::new());
    }

    #[test]
    fn the_sources_that_read_a_page_are_found() {
        let found = naming(Path::new("docs/log-format.md")).unwrap();

        assert!(found.contains(&PathBuf::from("crates/stream/mcast-log/src/format/mod.rs")), "{found:?}");
        let units = naming(Path::new("packaging/systemd/mcast-relay@.service")).unwrap();
        assert!(units.contains(&PathBuf::from("xtask/src/dist/debian.rs")), "{units:?}");
        let mentioned = naming(Path::new("docs/design/dependencies.md")).unwrap();
        assert_eq!(mentioned, [PathBuf::from("xtask/src/verify/changed.rs")], "only by this test");
    }

    #[test]
    fn an_unknown_base_is_an_error_that_names_the_option() {
        let error = format!("{:#}", files("no-such-branch").unwrap_err());

        assert!(error.contains("no-such-branch") && error.contains("--changed BASE"), "{error}");
    }
}
