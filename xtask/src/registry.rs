//! The registries in `crates/base/mcast-group/registry`, and the tables made from them.
//!
//! Registry files have one of two formats: our own (`addresses,description,references,registered`, optionally
//! preceded by a column `block` or `scope`), or that of the CSV files that IANA publishes for each part of its two
//! multicast registries.

mod csv;
mod rows;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use rows::{Registry, Row, Space};

const IPV4_STEM: &str = "iana-ipv4-multicast-";
const IPV6_STEM: &str = "iana-ipv6-multicast-";

/// Imports newer registry files, if any are given, and regenerates the tables.
///
/// All parts of a registry must be given together: an import that loses more than a tenth of the rows is rejected.
pub(crate) fn refresh(from: &[PathBuf]) -> Result<()> {
    let home = Home::find()?;
    if !from.is_empty() {
        home.import(from)?;
    }
    for (path, text) in home.tables()? {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Fails unless the committed tables match the committed registry files.
pub(crate) fn check() -> Result<()> {
    let stale: Vec<String> = Home::find()?
        .tables()?
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_deref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    ensure!(
        stale.is_empty(),
        "out of date: {}; run `cargo xtask registry` and commit the result",
        stale.join(", ")
    );
    Ok(())
}

/// The folders of the registry files and of the tables.
struct Home {
    files: PathBuf,
    tables: PathBuf,
}

impl Home {
    fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
        let crate_folder = root.join("crates/base/mcast-group");
        Ok(Self { files: crate_folder.join("registry"), tables: crate_folder.join("src/registry") })
    }

    /// Generates every table from the registry files; returns them with their paths.
    fn tables(&self) -> Result<Vec<(PathBuf, String)>> {
        let ipv4 = self.registry(IPV4_STEM)?;
        let ipv6 = self.registry(IPV6_STEM)?;
        let de_facto = rows::read_de_facto(&self.files.join("de-facto.csv"))?;
        let names = rows::read_names(&self.files.join("names.csv"))?;
        Ok(vec![
            (self.tables.join("table_v4.rs"), tables::ipv4(&ipv4)?),
            (self.tables.join("table_v6.rs"), tables::ipv6(&ipv6)?),
            (self.tables.join("table_de_facto.rs"), tables::de_facto(&de_facto)),
            (self.tables.join("table_names.rs"), tables::names(names)?),
        ])
    }

    /// Reads the registry file whose name starts with `stem`; the rest of the name is its date.
    fn registry(&self, stem: &str) -> Result<Registry> {
        let path = self.registry_file(stem)?;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let as_of = name.strip_prefix(stem).unwrap_or_default().to_owned();
        Ok(Registry { as_of, rows: rows::read_registry(&path)? })
    }

    fn registry_file(&self, stem: &str) -> Result<PathBuf> {
        let mut found = Vec::new();
        for entry in
            fs::read_dir(&self.files).with_context(|| format!("cannot list {}", self.files.display()))?
        {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(stem)) {
                found.push(path);
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(path), true) => Ok(path),
            _ => bail!("expected one file {stem}DATE.csv in {}", self.files.display()),
        }
    }

    fn import(&self, from: &[PathBuf]) -> Result<()> {
        let mut rows = Vec::new();
        for path in from {
            rows.extend(rows::read_registry(path)?);
        }
        let (ipv6, ipv4): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.space == Space::V6);
        if !ipv4.is_empty() {
            self.replace(IPV4_STEM, from, ipv4)?;
        }
        if !ipv6.is_empty() {
            self.replace(IPV6_STEM, from, ipv6)?;
        }
        Ok(())
    }

    fn replace(&self, stem: &str, from: &[PathBuf], mut rows: Vec<Row>) -> Result<()> {
        let old_path = self.registry_file(stem)?;
        let old = rows::read_registry(&old_path)?.len();
        ensure!(
            rows.len() * 10 >= old * 9,
            "{} rows are too few to replace the {old} of {}: give all parts of the registry together",
            rows.len(),
            old_path.display()
        );
        rows.sort_by_key(|row| (row.space, row.first, row.last));
        let as_of = date_of(from, &rows)?;
        // Check that a table can be generated before the old file is removed.
        let registry = Registry { as_of: as_of.clone(), rows };
        if stem == IPV4_STEM {
            tables::ipv4(&registry)?
        } else {
            tables::ipv6(&registry)?
        };
        let path = self.files.join(format!("{stem}{as_of}.csv"));
        fs::remove_file(&old_path).with_context(|| format!("cannot remove {}", old_path.display()))?;
        fs::write(&path, rows::write_registry(&registry.rows))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{} rows in {}, {old} before", registry.rows.len(), path.display());
        Ok(())
    }
}

/// Returns the date in the name of a single file, or else that of the newest registration.
fn date_of(from: &[PathBuf], rows: &[Row]) -> Result<String> {
    if let [path] = from
        && let Some(date) = date_in(&path.file_stem().unwrap_or_default().to_string_lossy())
    {
        return Ok(date);
    }
    let newest = rows.iter().map(|row| row.registered.as_str()).max().unwrap_or_default();
    ensure!(
        !newest.is_empty(),
        "neither the file name nor a row has a date: add the date of the registry to the name, as in \
         registry-2024-02-02.csv"
    );
    Ok(newest.to_owned())
}

/// Returns a date such as `2024-02-02` or `2015-10` at the end of a name.
fn date_in(name: &str) -> Option<String> {
    [10, 7].into_iter().find_map(|length| {
        let date = name.get(name.len().checked_sub(length)?..)?;
        let well_formed = date.bytes().enumerate().all(|(position, byte)| match position {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        well_formed.then(|| date.to_owned())
    })
}

#[cfg(test)]
mod tests;
