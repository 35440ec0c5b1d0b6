//! The products of the workspace: the folders of `crates`, with the crates of each.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The products. A crate may use crates of its own product and of those that its product may use, directly or not.
pub(crate) const PRODUCTS: [Product; 7] = [
    Product { name: "base", uses: &[] },
    Product { name: "net", uses: &["base"] },
    Product { name: "stream", uses: &["net"] },
    Product { name: "inspect", uses: &["stream"] },
    Product { name: "reach", uses: &["stream"] },
    Product { name: "testing", uses: &["stream"] },
    Product { name: "front", uses: &["inspect", "reach", "testing"] },
];

/// Crates that do without a product which others of their own product use: the relay needs no message layer.
const WITHOUT: [(&str, &str); 2] = [("mcast-relay", "stream"), ("mcast-tunnel", "stream")];

/// A folder of `crates`.
#[derive(Debug)]
pub(crate) struct Product {
    /// The name of the folder.
    pub(crate) name: &'static str,
    /// The products directly below.
    uses: &'static [&'static str],
}

impl Product {
    /// Returns the product with this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        let names = || PRODUCTS.iter().map(|product| product.name).collect::<Vec<_>>().join(", ");
        PRODUCTS
            .iter()
            .find(|product| product.name == name)
            .with_context(|| format!("there is no product {name:?}; the products are: {}", names()))
    }

    /// Returns whether crates of this product may use those of another.
    fn may_use(&self, other: &str) -> bool {
        self.name == other
            || PRODUCTS.iter().any(|below| self.uses.contains(&below.name) && below.may_use(other))
    }

    /// Returns the names of its crates.
    pub(crate) fn crates(&self) -> Result<Vec<String>> {
        let metadata = metadata()?;
        let ours = |package: &&Package| product_of(package) == Some(self.name);
        Ok(metadata.packages.iter().filter(ours).map(|package| package.name.to_string()).collect())
    }
}

/// Returns the names of the crates that are published, in order of their names.
pub(crate) fn published() -> Result<Vec<String>> {
    let metadata = metadata()?;
    // `publish = false` is a list of no registries.
    let is_published = |package: &&Package| is_in_crates(package) && package.publish.is_none();
    let mut names: Vec<_> =
        metadata.packages.iter().filter(is_published).map(|package| package.name.to_string()).collect();
    names.sort();
    Ok(names)
}

/// Returns the minimum version of Rust, which all published crates share.
pub(crate) fn minimum_version() -> Result<String> {
    let metadata = metadata()?;
    let library = metadata.packages.iter().find(|package| package.name.as_str() == "mcast");
    let version = library.and_then(|library| library.rust_version.as_ref());
    let version = version.context("the manifest of mcast has no rust-version")?;
    Ok(format!("{}.{}", version.major, version.minor))
}

/// Returns the folder of a crate, relative to the root.
pub(crate) fn folder_of(name: &str) -> Result<PathBuf> {
    let folders = PRODUCTS.iter().map(|product| PathBuf::from("crates").join(product.name).join(name));
    let found = folders.into_iter().find(|folder| crate::root().join(folder).is_dir());
    found.with_context(|| format!("there is no crate {name}"))
}

/// Fails unless every crate is in a product, and uses only what its product may use. Tests may use everything.
pub(crate) fn check_arrows() -> Result<()> {
    let wrong = wrong_arrows(&metadata()?)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn wrong_arrows(metadata: &Metadata) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|package| is_in_crates(package)) {
        let name = product_of(package).with_context(|| format!("{} is in no product", package.name))?;
        let product = Product::named(name)?;
        let used = package.dependencies.iter().filter(|used| used.kind != DependencyKind::Development);
        for used in used {
            let target = metadata.packages.iter().find(|other| other.name.as_str() == used.name);
            let Some(other) = target.and_then(product_of) else { continue };
            let (from, to) = (&package.name, &used.name);
            if !product.may_use(other) {
                wrong.push(format!("{from} uses {to}, but `{name}` may not use `{other}`"));
            } else if WITHOUT.contains(&(from.as_str(), other)) {
                wrong.push(format!("{from} uses {to}, but does without `{other}`"));
            }
        }
    }
    Ok(wrong)
}

fn is_in_crates(package: &Package) -> bool {
    package.manifest_path.starts_with(crate::root().join("crates"))
}

/// Returns the product of a crate.
fn product_of(package: &Package) -> Option<&'static str> {
    let folder = package.manifest_path.parent()?.parent()?;
    let name = folder.file_name()?;
    let product = PRODUCTS.iter().find(|product| product.name == name)?;
    is_in_crates(package).then_some(product.name)
}

/// Returns the packages of the workspace, without those of others.
/// Returns the folder in which cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    Ok(metadata()?.target_directory.into_std_path_buf())
}

fn metadata() -> Result<Metadata> {
    let manifest = crate::root().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().context("reading the workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_use_what_is_below_and_nothing_above() {
        let may = |from: &str, to: &str| Product::named(from).unwrap().may_use(to);
        assert!(may("front", "base") && may("reach", "net") && may("stream", "stream"));
        assert!(!may("base", "net") && !may("reach", "inspect") && !may("stream", "reach"));
    }

    #[test]
    fn an_arrow_that_points_up_is_named() {
        let mut metadata = metadata().unwrap();
        assert_eq!(wrong_arrows(&metadata).unwrap(), [""; 0]);
        let cli = metadata.packages.iter().find(|package| package.name.as_str() == "mcast-cli").unwrap();
        let uses_all = cli.dependencies.clone();
        let group = metadata.packages.iter_mut().find(|package| package.name.as_str() == "mcast-group");
        group.unwrap().dependencies = uses_all;
        let wrong = wrong_arrows(&metadata).unwrap();
        let expected = "mcast-group uses mcast-relay, but `base` may not use `reach`";
        assert!(wrong.iter().any(|arrow| arrow == expected), "{wrong:?}");
    }

    #[test]
    fn a_relay_that_uses_the_message_layer_is_named() {
        let mut metadata = metadata().unwrap();
        let of = |name: &str| metadata.packages.iter().position(|package| package.name.as_str() == name);
        let (bridge, relay) = (of("mcast-bridge").unwrap(), of("mcast-relay").unwrap());
        metadata.packages[relay].dependencies = metadata.packages[bridge].dependencies.clone();
        let expected = "mcast-relay uses mcast-stream, but does without `stream`";
        assert!(wrong_arrows(&metadata).unwrap().iter().any(|arrow| arrow == expected));
    }

    #[test]
    fn an_unknown_product_is_an_error_that_lists_the_products() {
        let error = Product::named("steam").unwrap_err().to_string();
        assert!(error.contains("steam") && error.contains("stream, inspect"), "{error}");
    }
}
