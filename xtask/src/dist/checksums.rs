//! SHA-256 checksums of all packages, in the format of `sha256sum --check`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

const FILE: &str = "SHA256SUMS";

/// Writes the list; returns each file's name and size in bytes.
pub(super) fn write(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut list = String::new();
    let mut sizes = Vec::new();
    for (name, (sum, size)) in sums(folder)? {
        list += &format!("{sum}  {name}\n");
        sizes.push((name, size));
    }
    fs::write(folder.join(FILE), list).with_context(|| format!("writing {FILE}"))?;
    Ok(sizes)
}

/// Returns the names of files that differ between the folders.
pub(super) fn differences(one: &Path, other: &Path) -> Result<Vec<String>> {
    let (one, other) = (sums(one)?, sums(other)?);
    let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
    Ok(names.filter(|name| one.get(*name) != other.get(*name)).cloned().collect())
}

pub(super) fn sums(folder: &Path) -> Result<BTreeMap<String, (String, u64)>> {
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && name != FILE {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            sums.insert(name, (hexadecimal(&Sha256::digest(&bytes)), bytes.len() as u64));
        }
    }
    Ok(sums)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn the_sum_matches_the_example_of_the_standard() {
        // FIPS 180-4's example.
        let sum = hexadecimal(&Sha256::digest(b"abc"));
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
