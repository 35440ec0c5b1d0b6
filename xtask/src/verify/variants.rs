//! The tests of the doctor that are left to hosted CI and `cargo soak`: of those in which one module injects the same cause, each
//! merge runs the first.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

/// Where the tables of injected causes are: a line has the name of the test, the cause, and in words how it is injected.
const FOLDER: &str = "crates/inspect/mcast-doctor/tests/lab";
pub(super) const PACKAGE: &str = "mcast-doctor";

/// Returns a filter of nextest that selects them.
pub(super) fn filter() -> Result<String> {
    let names = names()?;
    ensure!(!names.is_empty(), "no table of causes was found in {FOLDER}");
    Ok(format!("package({PACKAGE}) & binary(lab) & test(/^({})$/)", names.join("|")))
}

fn names() -> Result<Vec<String>> {
    let folder = crate::root().join(FOLDER);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("listing {FOLDER}"))? {
        let file = entry.with_context(|| format!("listing {FOLDER}"))?.path();
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let module = file.file_stem().unwrap_or_default().to_string_lossy();
        names.extend(variants(&source).map(|name| format!("{module}::cases::{name}")));
    }
    names.sort();
    Ok(names)
}

/// Returns the tests of a module that inject what one before them does.
fn variants(source: &str) -> impl Iterator<Item = &str> {
    let tables = source.split("cases! {\n").skip(1);
    let lines = tables.flat_map(|table| table.lines().take_while(|line| *line != "}"));
    let cases = lines.filter_map(|line| {
        let (name, rest) = line.trim_start().split_once(": ")?;
        let (cause, _) = rest.split_once(", \"")?;
        Some((name, cause))
    });
    let mut causes = BTreeSet::new();
    cases.filter(move |(_, cause)| !causes.insert(*cause)).map(|(name, _)| name)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn the_first_test_of_each_cause_is_kept() {
        let source = "crate::table::cases! {\n    no_route: NoRoute, \"a route: none\", none;\n    ttl: Ttl, \"0\", ttl;\n    \
                      no_route_v6: NoRoute, \"the same, IPv6\", none_v6;\n}\nfn none() {}\n";

        assert_eq!(variants(source).collect::<Vec<_>>(), ["no_route_v6"]);
    }

    #[test]
    fn each_of_them_is_a_test_in_a_table() {
        let names = names().unwrap();

        assert!(names.len() > 100, "{names:?}");
        for name in &names {
            let (module, name) = name.split_once("::cases::").unwrap();
            let source = fs::read_to_string(crate::root().join(format!("{FOLDER}/{module}.rs"))).unwrap();
            assert_eq!(source.matches(&format!("\n    {name}: ")).count(), 1, "{module}::{name}");
        }
    }
}
