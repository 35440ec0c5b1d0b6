//! The document: a page of plots, and the pages behind it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::pages::{Files, GOALS, METHOD, PAGES, WRITTEN};
use super::results::Results;
use super::{claims, front, goals, outdated, reasons, table};
use crate::machine::Machine;

/// Writes the document, its pages and pictures, and the claims of the README; returns the document's path.
///
/// # Errors
/// If a file cannot be written.
pub fn document(results: &Results) -> Result<PathBuf> {
    let path = results.document.clone();
    let folder = path.with_extension("");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (file, text) in files(results)? {
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(path)
}

/// Returns everything that is written, by path.
pub(super) fn files(results: &Results) -> Result<Files> {
    let goals = goals::goals(results)?;
    let folder = results.document.with_extension("");
    let mut files = Files::new();
    let first = front::write(results, &goals, &folder, &mut files);
    files.insert(results.document.clone(), first);
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
    if let Some(readme) = &results.readme {
        let text = fs::read_to_string(readme).with_context(|| format!("reading {}", readme.display()))?;
        files.insert(readme.clone(), claims::updated(&text, results)?);
    }
    Ok(files)
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
