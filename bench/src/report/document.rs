//! The document: a page of plots, and the pages behind it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::pages::{FIRST, FOLDER, Files, GOALS, Links, METHOD, PAGES, WRITTEN};
use super::results::Results;
use super::{claims, front, goals, outdated, reasons, table};
use crate::machine::Machine;

/// Writes what was measured; returns the path of the first page. A quick run writes only the pages, in its own folder.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn document(results: &Results, made: &Path) -> Result<PathBuf> {
    if results.quick {
        return pages(results, &made.join("quick"));
    }
    render(results)?;
    pages(results, made)
}

/// Writes what is committed.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn render(results: &Results) -> Result<()> {
    write(committed(results)?)
}

/// Writes the first page and those behind it into a folder; returns the path of the first.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn pages(results: &Results, folder: &Path) -> Result<PathBuf> {
    write(all_pages(results, folder)?)?;
    Ok(folder.join(FIRST))
}

fn write(files: Files) -> Result<()> {
    for (file, text) in files {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Returns the first page with its plots, and the README with its claims, by path.
pub(super) fn committed(results: &Results) -> Result<Files> {
    let mut files = Files::new();
    let root = root();
    front::write(results, &goals::goals(results)?, Links::Figures, &root.join("docs"), &mut files);
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).with_context(|| format!("reading {}", readme.display()))?;
    files.insert(readme, claims::updated(&text, results)?);
    Ok(files)
}

/// Returns the first page and all behind it, by path in a folder.
fn all_pages(results: &Results, folder: &Path) -> Result<Files> {
    let goals = goals::goals(results)?;
    let mut files = Files::new();
    front::write(results, &goals, Links::Pages, folder, &mut files);
    let folder = folder.join(FOLDER);
    let mut text = format!("# Benchmarks: goals\n\n{WRITTEN}");
    goals::write(&mut text, &goals, &reasons::reasons()?);
    files.insert(folder.join(GOALS), text);
    files.insert(folder.join(METHOD), method(results));
    for page in &PAGES {
        let mut text = format!(
            "# {}\n\n{WRITTEN}Tables: {}. [How they are measured]({METHOD}); [goals]({GOALS}).\n",
            page.title, page.about
        );
        let mut tables = results.tables().filter(|figures| page.has(&figures.table)).peekable();
        if tables.peek().is_none() {
            continue;
        }
        for figures in tables {
            if let Some(svg) = table::write(&mut text, figures) {
                files.insert(folder.join(format!("{}.svg", figures.table)), svg);
            }
        }
        files.insert(folder.join(page.file), text);
    }
    Ok(files)
}

/// Returns the top of this checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn method(results: &Results) -> String {
    let mut text = format!("# Benchmarks: how they are measured\n\n{WRITTEN}");
    text.push_str(
        "Every contestant does the same work between the same two hosts: network namespaces connected by a veth pair, \
         with the sending program on the first processor and the receiving one on the second. On such a pair, the sender's \
         processor also runs the receiving host's network stack. Contestants take turns within a round, and a round counts \
         only if the results of the C reference at its start and end are within 10 %; ratios are between runs of the same \
         round. Values are medians with their quartiles. The speed of machines like this one changes by factors, for minutes \
         at a time: compare within a table, not across tables.\n\n\
         Every table names its link: (a) a plain veth pair, which never splits a segmented buffer, as between containers and \
         virtual machines; (b) segmentation offload (GSO) off at the sender and receive offload (GRO) off at the receiver, so \
         that each datagram is a frame; (c) GSO off at the sender and GRO on at the receiver, as with most network \
         cards.\n\n",
    );
    text.push_str(&commits(results));
    machines(&mut text, results);
    contestants(&mut text, results);
    text
}

/// Names the commits that were measured.
fn commits(results: &Results) -> String {
    let mut commits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for figures in results.tables() {
        commits.entry(&figures.machine.commit).or_default().push(&figures.table);
    }
    match commits.keys().collect::<Vec<_>>()[..] {
        [] => String::new(),
        [commit] => format!("All tables were measured on commit `{commit}`.\n\n"),
        _ => {
            let each = commits.iter().map(|(commit, tables)| format!("`{commit}` ({})", tables.join(", ")));
            format!("The tables were measured on commits {}.\n\n", each.collect::<Vec<_>>().join("; "))
        }
    }
}

fn machines(text: &mut String, results: &Results) {
    let mut machines: Vec<(&Machine, Vec<&str>)> = Vec::new();
    for figures in results.tables() {
        match machines.iter_mut().find(|(machine, _)| **machine == figures.machine) {
            Some((_, tables)) => tables.push(&figures.table),
            None => machines.push((&figures.machine, vec![&figures.table])),
        }
    }
    text.push_str("\n## Machine and options\n\n");
    let alone = machines.len() == 1;
    for (machine, tables) in machines {
        let Machine { processor, processors, kernel, system, rmem_max, date, commit, .. } = machine;
        // Some print more than the version, on further lines.
        let versions: Vec<_> = machine.versions.iter().filter_map(|version| version.lines().next()).collect();
        let _ = writeln!(
            text,
            "- {processor}, {processors} processors; Linux {kernel}, {system}; `net.core.rmem_max` {rmem_max}; \
             commit {commit}, {date}.{}{}",
            if versions.is_empty() { String::new() } else { format!(" {}.", versions.join("; ")) },
            if alone { String::new() } else { format!(" For: {}.", tables.join(", ")) },
        );
    }
    text.push_str(
        "- Receive buffers: 4 MiB requested in every table except `loss-defaults`, which the kernel doubles (in the tables \
         `messages-*`, each contestant chooses, and those with an option use 4 MiB); with `SO_RCVBUFFORCE` if the \
         contestant supports it.\n\
         - mcast and the C reference set the same options: bound to the group, `IP_MULTICAST_ALL` 0, packet info, \
         TTL, TOS, `SO_TIMESTAMPNS`, `SO_RXQ_OVFL`, and read them for each buffer; the description of a contestant says if it does \
         less. Senders: TTL 1, no loopback.\n",
    );
}

fn contestants(text: &mut String, results: &Results) {
    let rows = results.tables().flat_map(|figures| &figures.rows);
    // A contestant that takes part with several losses is one.
    let described: BTreeMap<_, _> = rows.map(|row| (row.contestant(), &row.what)).collect();
    text.push_str("\n## Contestants\n\n");
    for (name, what) in described.into_iter().filter(|(_, what)| !what.is_empty()) {
        let _ = writeln!(text, "- `{name}`: {what}");
    }
    let outdated = outdated::contestants(results);
    if !outdated.is_empty() {
        text.push_str("\nThese have changed since they were measured. Now:\n\n");
    }
    for outdated in outdated {
        let _ = writeln!(text, "- `{}`: {}", outdated.name, outdated.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_links_to_figures_and_the_pages_to_each_other() {
        let results = Results::stored().unwrap();
        let first = committed(&results).unwrap().remove(&root().join("docs").join(FIRST)).unwrap();
        let folder = Path::new("site");
        let pages = all_pages(&results, folder).unwrap();
        let behind = pages.keys().filter(|file| file.extension().is_some_and(|kind| kind == "md"));

        assert!(first.contains("(../bench/results/receive-c-64.json)"), "{first}");
        assert!(!first.contains("(benchmarks/datagrams.md"), "{first}");
        let front = &pages[&folder.join(FIRST)];
        assert!(front.contains("(benchmarks/datagrams.md#receive-c-64)"), "{front}");
        assert_eq!(behind.count(), 1 + PAGES.len() + 2);
    }
}
