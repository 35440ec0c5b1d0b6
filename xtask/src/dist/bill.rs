//! Bills of materials: every crate that is in the command, or in the Python package, in CycloneDX 1.5.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Package, PackageId};
use serde_json::{Value, json};

use super::Release;

/// Writes the one of the command.
pub(super) fn write(release: &Release, out: &Path) -> Result<()> {
    write_of(release, "mcast-cli", &out.join(format!("{}.cdx.json", release.name("sbom"))))
}

/// Writes the one of a package of the workspace.
pub(super) fn write_of(release: &Release, package: &str, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(&bill(release, package)?)? + "\n";
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn bill(release: &Release, name: &str) -> Result<Value> {
    let packages: BTreeMap<&PackageId, &Package> =
        release.metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let command = release
        .metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == name)
        .with_context(|| format!("the workspace has no package {name}"))?;
    let edges = edges(release)?;
    let included = closure(&edges, &command.id);
    let described = |id: &&PackageId| packages.get(*id).map(|package| component(package));
    let components: Vec<Value> =
        included.iter().filter(|id| **id != &command.id).filter_map(described).collect();
    let dependencies: Vec<Value> = included
        .iter()
        .filter_map(|id| {
            let needs: Vec<String> =
                edges.get(*id)?.iter().filter_map(|id| Some(url(packages.get(*id)?))).collect();
            Some(json!({ "ref": url(packages.get(*id)?), "dependsOn": needs }))
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(command) },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// The dependency graph, without dependencies of tests and build scripts.
fn edges(release: &Release) -> Result<BTreeMap<&PackageId, BTreeSet<&PackageId>>> {
    let graph = release.metadata.resolve.as_ref().context("cargo resolved no dependencies")?;
    let normal = |dependency: &&cargo_metadata::NodeDep| {
        dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
    };
    Ok(graph
        .nodes
        .iter()
        .map(|node| (&node.id, node.deps.iter().filter(normal).map(|dependency| &dependency.pkg).collect()))
        .collect())
}

fn closure<'a>(
    edges: &BTreeMap<&'a PackageId, BTreeSet<&'a PackageId>>,
    top: &'a PackageId,
) -> BTreeSet<&'a PackageId> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![top];
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            waiting.extend(edges.get(id).into_iter().flatten().copied());
        }
    }
    found
}

fn component(package: &Package) -> Value {
    let licence = package.license.clone().unwrap_or_else(|| "NOASSERTION".to_owned());
    json!({
        "type": if package.name.as_str() == "mcast-cli" { "application" } else { "library" },
        "bom-ref": url(package),
        "name": package.name.as_str(),
        "version": package.version.to_string(),
        "licenses": [{ "expression": licence.replace('/', " OR ") }],
        "purl": url(package),
    })
}

/// Formats the package as a package URL.
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn the_bill_lists_dependencies_of_the_command_but_not_of_its_tests() {
        let release = Release::of(&crate::root()).unwrap();
        let bill = bill(&release, "mcast-cli").unwrap();
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|component| component["name"].as_str())
            .collect();

        assert!(names.contains(&"mcast") && names.contains(&"clap"), "{names:?}");
        assert!(!names.contains(&"snapbox") && !names.contains(&"xtask"), "{names:?}");
    }

    #[test]
    fn every_dependency_in_the_bill_is_described_in_it() {
        let release = Release::of(&crate::root()).unwrap();
        let bill = bill(&release, "mcast-cli").unwrap();
        let described: BTreeSet<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|component| component["bom-ref"].as_str())
            .collect();

        for edge in bill["dependencies"].as_array().unwrap() {
            for needed in edge["dependsOn"].as_array().unwrap() {
                assert!(described.contains(needed.as_str().unwrap()), "{needed}");
            }
        }
    }
}
