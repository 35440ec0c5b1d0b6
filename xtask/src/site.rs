//! The documentation as a site: the pages of `docs`, made by mdBook, with every link and picture checked in what it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{finish, program, succeeds};

/// The files of the repository, for links from the pages to what is not in `docs`.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main");
/// Where it is written, as `docs/book.toml` says.
const FOLDER: &str = "target/book";

/// Builds the site and shows where it is; returns whether all its links lead somewhere.
pub(crate) fn build() -> Result<bool> {
    if !has_mdbook() {
        bail!("mdBook is not installed (`cargo install --locked mdbook`)");
    }
    let site = write()?;
    for link in &site.broken {
        anstream::eprintln!("broken: {link}");
    }
    anstream::println!("{} pages: {}", site.pages, site.folder.join("index.html").display());
    Ok(site.broken.is_empty())
}

/// Returns whether mdBook is installed.
pub(crate) fn has_mdbook() -> bool {
    succeeds(program("mdbook", ["--version"]))
}

/// A site that was written.
pub(crate) struct Site {
    folder: PathBuf,
    pub(crate) pages: usize,
    /// The links that lead nowhere, each with its page.
    pub(crate) broken: Vec<String>,
}

/// Builds the site.
pub(crate) fn write() -> Result<Site> {
    let root = crate::root();
    let built = finish(program("mdbook", ["build".as_ref(), root.join("docs").as_os_str()]), false)?;
    if !built.success {
        bail!("mdBook failed ({}):\n{}", built.status, built.output);
    }
    let site = root.join(FOLDER);
    let files = files(&site)?;
    if !files.iter().any(|file| file.to_string_lossy().starts_with("searchindex")) {
        bail!("the site has no index to search in");
    }
    let mut pages = pages(&site, &files)?;
    for (page, text) in &mut pages {
        let linked = with_repository_links(&root, page, text, &files);
        fs::write(site.join(page), &linked).with_context(|| format!("writing {}", page.display()))?;
        *text = linked;
    }
    Ok(Site { pages: pages.len(), broken: broken(&pages, &files), folder: site })
}

/// All files below a folder, relative to it.
fn files(top: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(top)?.to_path_buf());
            }
        }
    }
    Ok(found)
}

/// The text of each page.
fn pages(site: &Path, files: &BTreeSet<PathBuf>) -> Result<BTreeMap<PathBuf, String>> {
    let is_page = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "html");
    // Links of the page for unknown addresses begin at the top of a server.
    let pages = files.iter().filter(is_page).filter(|file| !file.ends_with("404.html"));
    pages
        .map(|file| {
            let text = fs::read_to_string(site.join(file));
            Ok((file.clone(), text.with_context(|| format!("reading {}", file.display()))?))
        })
        .collect()
}

/// The text of a page in which links to files beside the pages, such as tests, lead to the repository.
fn with_repository_links(root: &Path, page: &Path, text: &str, files: &BTreeSet<PathBuf>) -> String {
    let folder = page.parent().unwrap_or_else(|| Path::new(""));
    let mut linked = text.to_owned();
    for link in attributes(text, " href=\"").collect::<BTreeSet<_>>() {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        if path.is_empty() || path.contains(':') || files.contains(&resolved(&folder.join(path))) {
            continue;
        }
        let file = resolved(&Path::new("docs").join(folder).join(path));
        let candidates = [file.clone(), file.with_extension("md")];
        if let Some(file) = candidates.iter().find(|file| root.join(file).exists()) {
            let anchor = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
            let (from, to) =
                (format!(" href=\"{link}\""), format!(" href=\"{REPOSITORY}/{}{anchor}\"", file.display()));
            linked = linked.replace(&from, &to);
        }
    }
    linked
}

/// The links within the site that have no target, with their pages.
fn broken(pages: &BTreeMap<PathBuf, String>, files: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut broken = Vec::new();
    for (page, text) in pages {
        let links = [" href=\"", " src=\""].into_iter().flat_map(|name| attributes(text, name));
        for link in links.filter(|link| !link.contains(':') && !link.starts_with("//")) {
            if !leads_somewhere(page, link, pages, files) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    broken
}

fn leads_somewhere(
    page: &Path,
    link: &str,
    pages: &BTreeMap<PathBuf, String>,
    files: &BTreeSet<PathBuf>,
) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let path = path.split('?').next().unwrap_or_default();
    let target = match path {
        "" => page.to_path_buf(),
        _ => resolved(&page.parent().unwrap_or_else(|| Path::new("")).join(path)),
    };
    if !files.contains(&target) {
        return false;
    }
    let Some(text) = pages.get(&target).filter(|_| !anchor.is_empty()) else { return true };
    attributes(text, " id=\"").any(|id| id == anchor)
}

/// The values of an attribute.
fn attributes<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(name).skip(1).filter_map(|rest| rest.split('"').next())
}

/// The path without `.` and `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_without_a_target_are_found() {
        let index = r#"<a href="how/a.html">, <a href="how/a.html#there">, <a href="https://elsewhere.org/">, <img src="p.svg">,
            <a href="how/b.html">, <a href="how/a.html#gone">, <img src="q.svg">, <a href="../p.svg">"#;
        let page = r##"<h2 id="there">, <a href="../index.html">, <a href="#there">, <a href="#gone">"##;
        let pages: BTreeMap<PathBuf, String> =
            [("index.html".into(), index.to_owned()), ("how/a.html".into(), page.to_owned())].into();
        let files = pages.keys().cloned().chain(["p.svg".into()]).collect();
        assert_eq!(
            broken(&pages, &files),
            [
                "how/a.html: #gone",
                "index.html: how/b.html",
                "index.html: how/a.html#gone",
                "index.html: q.svg"
            ]
        );
    }
}
