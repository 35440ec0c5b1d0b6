//! Templates for package collections, filled in with the version and checksums of the release.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Release;
use super::archive::civil;
use super::checksums;

/// The templates under `packaging/`.
const TEMPLATES: [&str; 3] = ["container/Containerfile", "homebrew/mcast.rb", "winget/mcast.yaml"];

pub(super) fn fill(release: &Release, out: &Path) -> Result<()> {
    let sums = checksums::sums(out)?;
    for template in TEMPLATES {
        let path = release.root.join("packaging").join(template);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let filled = filled(&text, release, |file| sums.get(file).map(|(sum, _)| sum.clone()))
            .with_context(|| format!("filling {template}"))?;
        let name = template.rsplit('/').next().unwrap_or(template);
        fs::write(out.join(name), filled).with_context(|| format!("writing {name}"))?;
    }
    Ok(())
}

/// Replaces `@VERSION@`, `@DATE@`, and `@SHA256:FILE@`, where FILE may contain `@VERSION@`.
fn filled(text: &str, release: &Release, sum: impl Fn(&str) -> Option<String>) -> Result<String> {
    let (year, month, day) = civil(release.time / 86_400);
    let text = text
        .replace("@VERSION@", &release.version)
        .replace("@DATE@", &format!("{year:04}-{month:02}-{day:02}"));
    let mut parts = text.split("@SHA256:");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((file, rest)) = part.split_once('@') else { bail!("a checksum mark is not closed") };
        // Packages that were not built here have no checksum; the maintainer who publishes has all of them.
        filled += &sum(file).unwrap_or_else(|| format!("MISSING-{file}"));
        filled += rest;
    }
    Ok(filled)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn version_and_checksums_are_filled_in() {
        let release = Release::of(&crate::root()).unwrap();
        let sum = |file: &str| (file == "a.zip").then(|| "5e1f".to_owned());

        let text = filled("v@VERSION@ @SHA256:a.zip@ @SHA256:b.zip@.", &release, sum).unwrap();

        assert_eq!(text, format!("v{} 5e1f MISSING-b.zip.", release.version));
    }

    #[test]
    fn every_template_can_be_filled() {
        let release = Release::of(&crate::root()).unwrap();
        for template in TEMPLATES {
            let text = fs::read_to_string(release.root.join("packaging").join(template)).unwrap();
            let filled = filled(&text, &release, |_| Some("5e1f".to_owned())).unwrap();
            assert!(!filled.contains('@') || template.ends_with(".rb"), "{template}: {filled}");
        }
    }
}
