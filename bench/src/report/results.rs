//! The stored figures that the document is generated from: one JSON file per table, next to the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::figures::Figures;
use crate::tables::Bench;

/// The folder of the figures and of what is stated about them, relative to this crate.
const FOLDER: &str = "results";

/// Figures by table, and the path of their files.
#[derive(Debug)]
pub struct Results {
    figures: BTreeMap<String, Figures>,
    results: PathBuf,
    /// Whether this is a quick run.
    pub(super) quick: bool,
}

impl Results {
    /// Loads the stored figures. A quick run starts empty, and uses its own folder.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn load(bench: &Bench) -> Result<Self> {
        if !bench.options.quick {
            return Self::stored();
        }
        let results = bench.tools.made().join("quick");
        fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
        Ok(Self { figures: BTreeMap::new(), results, quick: true })
    }

    /// Loads the stored figures of this checkout.
    pub(super) fn stored() -> Result<Self> {
        let results = top().join(FOLDER);
        fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
        let mut figures = BTreeMap::new();
        for entry in fs::read_dir(&results).with_context(|| format!("reading {}", results.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let read: Figures = read(&path)?;
                figures.insert(read.table.clone(), read);
            }
        }
        Ok(Self { figures, results, quick: false })
    }

    /// Stores the figures of a table.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn put(&mut self, figures: Figures) -> Result<()> {
        let path = self.results.join(format!("{}.json", figures.table));
        let text = serde_json::to_string_pretty(&rounded(&figures)?)?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        self.figures.insert(figures.table.clone(), figures);
        Ok(())
    }

    /// Returns the figures of a table.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Figures> {
        self.figures.get(name)
    }

    /// Returns the tables with figures, in the order of the document.
    pub fn tables(&self) -> impl Iterator<Item = &Figures> {
        crate::tables::names().into_iter().filter_map(|name| self.figures.get(&name))
    }
}

/// Regenerates what is committed from the stored figures.
///
/// # Errors
/// If files cannot be read or written.
pub fn render() -> Result<()> {
    super::document::render(&Results::stored()?)
}

/// Writes the first page and those behind it into a folder, from the stored figures.
///
/// # Errors
/// If files cannot be read or written.
pub fn pages(folder: &Path) -> Result<()> {
    println!("written: {}", super::document::pages(&Results::stored()?, folder)?.display());
    Ok(())
}

/// Reads a file beside the figures, such as that of the goals.
pub(super) fn data<T: DeserializeOwned>(name: &str) -> Result<T> {
    let path = top().join(FOLDER).join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Result<Figures> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// Rounds values to five digits; more would be noise.
fn rounded(figures: &Figures) -> Result<serde_json::Value> {
    let mut figures = figures.clone();
    let values = figures.rows.iter_mut().flat_map(|row| row.series.values_mut()).flatten().flatten();
    for value in values {
        *value = super::numbers::to_digits(*value, 5);
    }
    Ok(serde_json::to_value(&figures)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_and_the_claims_of_the_readme_are_those_of_the_stored_figures() {
        let results = Results::stored().unwrap();
        for (file, text) in crate::report::document::committed(&results).unwrap() {
            let written = fs::read_to_string(&file).unwrap_or_default();
            assert!(text == written, "{}: run `cargo bench-peers render`", file.display());
        }
    }
}
