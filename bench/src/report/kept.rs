//! The figures that the document is made of: one JSON file a table, beside the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::figures::Figures;
use crate::tables::Bench;

/// Figures by table, and where they and their document lie.
#[derive(Debug)]
pub struct Kept {
    figures: BTreeMap<String, Figures>,
    results: PathBuf,
    /// Where the document goes.
    pub(super) document: PathBuf,
    /// Whether this is a look rather than a measurement.
    pub(super) quick: bool,
}

impl Kept {
    /// What was kept before. A quick look keeps to itself, and begins with nothing.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub(crate) fn load(bench: &Bench) -> Result<Self> {
        if !bench.options.quick {
            return Self::load_from(results(), document());
        }
        let results = bench.tools.made().join("quick");
        fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
        Ok(Self {
            figures: BTreeMap::new(),
            document: bench.tools.made().join("quick/benchmarks.md"),
            results,
            quick: true,
        })
    }

    fn load_from(results: PathBuf, document: PathBuf) -> Result<Self> {
        fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
        let mut figures = BTreeMap::new();
        for entry in fs::read_dir(&results).with_context(|| format!("reading {}", results.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let read: Figures = read(&path)?;
                figures.insert(read.table.clone(), read);
            }
        }
        Ok(Self { figures, results, document, quick: false })
    }

    /// Keeps a table's figures.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&mut self, figures: Figures) -> Result<()> {
        let path = self.results.join(format!("{}.json", figures.table));
        let text = serde_json::to_string_pretty(&rounded(&figures)?)?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        self.figures.insert(figures.table.clone(), figures);
        Ok(())
    }

    /// A table's figures.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Figures> {
        self.figures.get(name)
    }

    /// Those tables of which there are figures, in the order of the document.
    pub fn tables(&self) -> impl Iterator<Item = &Figures> {
        crate::tables::names().into_iter().filter_map(|name| self.figures.get(&name))
    }
}

/// Writes the document again from what is kept.
///
/// # Errors
/// When files cannot be read or written.
pub fn render_kept() -> Result<()> {
    let kept = Kept::load_from(results(), document())?;
    println!("written: {}", super::document::document(&kept)?.display());
    Ok(())
}

fn read(path: &Path) -> Result<Figures> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// The figures with values to five digits: more would be noise, and a file too large to look at.
fn rounded(figures: &Figures) -> Result<serde_json::Value> {
    let mut figures = figures.clone();
    let values = figures.rows.iter_mut().flat_map(|row| row.series.values_mut()).flatten().flatten();
    for value in values {
        *value = super::numbers::to_digits(*value, 5);
    }
    Ok(serde_json::to_value(&figures)?)
}

fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md")
}
