//! The documentation as a site: the pages of `docs` and those that are generated, made by mdBook, with every link and
//! picture checked in what it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, finish, program, succeeds};
use crate::docs;
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::built;

/// How committed pages link to what the site has a page for, after the way to their own folder, and where the site has it.
const ELSEWHERE: [(&str, &str); 2] = [
    ("../crates/inspect/mcast-doctor/pages/", "findings/"),
    ("../crates/inspect/mcast-doctor/tests/lab/results.md", "doctor-table.md"),
];
/// The files of the repository, for links from the pages to what is not in `docs`.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main");
/// Where it is written.
const FOLDER: &str = "target/book";
/// The committed and the generated pages together, which mdBook reads.
const SOURCE: &str = "target/book-source";

/// What is generated from the command for the site.
const GENERATED: [&str; 4] = ["SUMMARY.md", "doctor-table.md", "findings", "reference"];
/// The program that writes the pages of benchmarks, and the folder into which it does.
const BENCHMARKS: &str = "mcast-bench";
const BENCHMARK_PAGES: &str = "target/benchmark-pages";
/// The page of benchmarks in the contents. Those behind it follow, one level below.
const BENCHMARKS_ENTRY: &str = "- [Benchmarks](benchmarks.md)\n";
/// How a committed page links to the page of a command, `mcast-NAME`. Without the site, such a link leads to the page that
/// describes where the reference is.
const COMMAND: &str = "reference/index.md#mcast-";

/// Builds the site and shows where it is; returns whether all its links lead somewhere.
pub(crate) fn build() -> Result<bool> {
    if !has_mdbook() {
        bail!("mdBook is not installed (`cargo install --locked mdbook`)");
    }
    docs::generate()?;
    let site = write(cargo(["run", "--quiet", "--package", BENCHMARKS, "--"]))?;
    for link in &site.broken {
        anstream::eprintln!("broken: {link}");
    }
    anstream::println!("{} pages: {}", site.pages, site.folder.join("index.html").display());
    Ok(site.broken.is_empty())
}

/// A step that builds the site of the pages that the step `docs` generates.
pub(crate) fn step() -> Step {
    Step::new("site", "the pages are a site whose links and pictures exist", check)
}

fn check(_: &RunOptions) -> Result<Outcome> {
    if !has_mdbook() {
        return Ok(Outcome::skipped("mdBook is not installed"));
    }
    if let Some(failed) = docs::generate_once()? {
        return Ok(failed);
    }
    let benchmarks = match built::program(BENCHMARKS)? {
        Ok(found) => program(found, [""; 0]),
        Err(failed) => return Ok(failed),
    };
    let site = write(benchmarks)?;
    Ok(match site.broken.is_empty() {
        true => Outcome::passed(format!("{} pages", site.pages)),
        false => Outcome::failed("links lead nowhere", site.broken.join("\n") + "\n"),
    })
}

/// Returns whether mdBook is installed.
fn has_mdbook() -> bool {
    succeeds(program("mdbook", ["--version"]))
}

/// A site that was written.
struct Site {
    folder: PathBuf,
    pages: usize,
    /// The links that lead nowhere, each with its page.
    broken: Vec<String>,
}

/// Builds the site with the pages that were generated last, and those of benchmarks, which a program writes.
fn write(mut benchmarks: Command) -> Result<Site> {
    let root = crate::root();
    let (source, measured) = (root.join(SOURCE), root.join(BENCHMARK_PAGES));
    empty(&measured)?;
    benchmarks.arg("pages").arg(&measured);
    let finished = finish(benchmarks, false)?;
    if !finished.success {
        bail!("the pages of benchmarks were not written ({}):\n{}", finished.status, finished.output);
    }
    gather(&root.join("docs"), &docs::folder(), &measured, &source)?;
    let built = finish(program("mdbook", ["build".as_ref(), source.as_os_str()]), false)?;
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

/// Copies the committed pages, and the generated ones and those of benchmarks, which replace committed ones, into an empty
/// folder.
fn gather(committed: &Path, generated: &Path, measured: &Path, into: &Path) -> Result<()> {
    empty(into)?;
    let for_site = |name: &PathBuf| GENERATED.iter().any(|top| name.starts_with(top));
    let benchmarks = files(measured)?;
    let listed = benchmarks_entries(measured, &benchmarks)?;
    let pages = files(committed)?.into_iter().map(|name| (committed, name));
    let pages = pages.chain(files(generated)?.into_iter().filter(for_site).map(|name| (generated, name)));
    for (from, name) in pages.chain(benchmarks.into_iter().map(|name| (measured, name))) {
        let (from, to) = (from.join(&name), into.join(&name));
        fs::create_dir_all(to.parent().unwrap_or(into))?;
        if name.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
            fs::write(&to, for_the_site(&text).replace(BENCHMARKS_ENTRY, &listed))
        } else {
            fs::copy(&from, &to).map(|_| ())
        }
        .with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

/// Removes a folder with everything in it, if there is one.
fn empty(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display())),
        false => Ok(()),
    }
}

/// The entry of the benchmarks in the contents, at the second level, with the pages behind it.
fn benchmarks_entries(measured: &Path, pages: &BTreeSet<PathBuf>) -> Result<String> {
    let mut entries = BENCHMARKS_ENTRY.to_owned();
    let behind = pages.iter().filter(|page| page.components().count() > 1);
    for page in behind.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(measured.join(page))?;
        let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        entries += &format!("    - [{title}]({})\n", page.display());
    }
    Ok(entries)
}

/// The text of a page whose links to commands, findings and the doctor's results lead to their generated pages.
fn for_the_site(text: &str) -> String {
    let text = ELSEWHERE.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let mut parts = text.split(COMMAND);
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(')').unwrap_or(part.len());
        linked += &format!("reference/mcast-{}.md{}", &part[..end], &part[end..]);
    }
    linked
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
    fn links_to_commands_and_findings_lead_to_their_pages() {
        let text = "[`mcast log list`](reference/index.md#mcast-log-list), [all](../reference/index.md), [`send`](../reference/index.md#mcast-send),
            [no-querier](../../crates/inspect/mcast-doctor/pages/no-querier.md).";
        assert_eq!(
            for_the_site(text),
            "[`mcast log list`](reference/mcast-log-list.md), [all](../reference/index.md), [`send`](../reference/mcast-send.md),
            [no-querier](../findings/no-querier.md)."
        );
    }

    #[test]
    fn generated_pages_replace_committed_ones() {
        let top = std::env::temp_dir().join(format!("xtask-site-{}", std::process::id()));
        let [committed, generated, measured, source] =
            ["committed", "generated", "measured", "source"].map(|name| top.join(name));
        let put = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(committed.join("a.md"), "[send](reference/index.md#mcast-send)");
        put(committed.join("reference/index.md"), "elsewhere");
        put(generated.join("reference/index.md"), "here");
        put(generated.join("man/mcast.1"), "not for the site");
        put(
            generated.join("SUMMARY.md"),
            &format!("- [For contributors](c.md)\n  {BENCHMARKS_ENTRY}- [B](b.md)\n"),
        );
        put(measured.join("benchmarks/log.md"), "# Benchmarks: logs\n");
        put(measured.join("benchmarks/log.svg"), "a picture");
        put(source.join("gone.md"), "of an earlier run");
        gather(&committed, &generated, &measured, &source).unwrap();
        let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
        assert_eq!(read("a.md"), "[send](reference/mcast-send.md)");
        assert_eq!(read("reference/index.md"), "here");
        assert_eq!(
            read("SUMMARY.md"),
            "- [For contributors](c.md)\n  - [Benchmarks](benchmarks.md)\n    - [Benchmarks: logs](benchmarks/log.md)\n- [B](b.md)\n"
        );
        assert_eq!(files(&source).unwrap().len(), 5);
        fs::remove_dir_all(&top).unwrap();
    }

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
