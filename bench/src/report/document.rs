//! The document.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::figures::{Figures, Row};
use super::results::Results;
use super::statistics::Spread;
use super::{goals, numbers, picture};
use crate::machine::Machine;

/// Writes the document and its pictures; returns its path.
///
/// # Errors
/// If a file cannot be written.
pub fn document(results: &Results) -> Result<PathBuf> {
    let path = results.document.clone();
    let pictures = path.with_extension("");
    fs::create_dir_all(&pictures).with_context(|| format!("making {}", pictures.display()))?;
    let mut text = head(results);
    for figures in results.tables() {
        table(&mut text, figures, &pictures)?;
    }
    contestants(&mut text, results);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn head(results: &Results) -> String {
    let mut text = "# Benchmarks\n\n\
        Written by `cargo bench-peers`, from figures in `bench/results/`; `cargo bench-peers render` \
        regenerates it from the same figures. Do not edit either.\n\n\
        Every contestant does the same work between the same two hosts: network namespaces connected by a veth pair, \
        with the sending program on the first processor and the receiving one on the second. On such a pair, the sender's \
        processor also runs the receiving host's network stack. Contestants take turns within a round, and a round counts \
        only if the results of the C reference at its start and end are within 10 %; ratios are between runs of the same \
        round. Values are medians with their quartiles. The speed of machines like this one changes by factors, for minutes \
        at a time: compare within a table, not across tables.\n\n\
        Every table names its link: (a) a plain veth pair, which never splits a segmented buffer, as between containers and \
        virtual machines; (b) segmentation offload (GSO) off at the sender and receive offload (GRO) off at the receiver, so \
        that each datagram is a frame; (c) GSO off at the sender and GRO on at the receiver, as with most network \
        cards.\n\n"
        .to_owned();
    if results.quick {
        text.push_str(
            "**Quick run**: short windows and a single round, which counts even if it was unsteady. It only shows that \
             everything runs.\n\n",
        );
    }
    text.push_str(&commits(results));
    goals::write(&mut text, &goals::goals(results));
    machines(&mut text, results);
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

fn table(text: &mut String, figures: &Figures, pictures: &Path) -> Result<()> {
    let _ = write!(text, "\n## {}\n\n**{}.** {}\n\n", figures.table, figures.title, figures.about);
    if figures.unsteady {
        text.push_str(
            "**No round was steady**: the reference moved by more than 10 % in each; read with care.\n\n",
        );
    }
    let layout = Layout::of(figures);
    layout.write(text, figures);
    let window = if figures.seconds > 0.0 { format!(" of {} s", figures.seconds) } else { String::new() };
    let (rounds, discarded) = (figures.rounds(), figures.discarded);
    let _ = write!(text, "\n{rounds} rounds{window}, {discarded} more discarded. `{}`\n", figures.command);
    for (name, why) in &figures.absent {
        let _ = write!(text, "\nNot available: `{name}`: {}\n", why.replace('\n', " "));
    }
    for (name, faults) in &figures.faults {
        let last = faults.last().map(|why| why.replace('\n', " ")).unwrap_or_default();
        let times = if faults.len() == 1 { "once" } else { "twice, and was then excluded" };
        let _ = write!(text, "\n`{name}` failed {times}: {last}\n");
    }
    // Contestants without loss would not be visible on the scale.
    let drawn = (figures.main != "loss").then(|| picture::svg(figures, layout.notation)).flatten();
    if let Some(svg) = drawn {
        let file = pictures.join(format!("{}.svg", figures.table));
        fs::write(&file, svg).with_context(|| format!("writing {}", file.display()))?;
        let folder = pictures.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(text, "\n![{}]({folder}/{}.svg)\n", figures.title, figures.table);
    }
    Ok(())
}

/// The columns of a table.
struct Layout {
    columns: Vec<(&'static str, &'static str)>,
    notation: fn(f64) -> String,
}

impl Layout {
    fn of(figures: &Figures) -> Self {
        let (columns, notation): (Vec<_>, fn(f64) -> String) = match figures.main.as_str() {
            "rate" => (
                vec![
                    ("rate", "datagrams/s"),
                    ("cpu_ns", "its CPU, ns each"),
                    ("offered", "offered/s"),
                    ("half_loss", "% lost at half of that"),
                ],
                numbers::rate,
            ),
            "goodput" => (
                vec![
                    ("goodput", "messages/s"),
                    ("payload", "Gbit/s of payload"),
                    ("drawn", "% lost on the way"),
                    ("without", "receivers without all"),
                ],
                numbers::rate,
            ),
            "stored" => (
                vec![("stored", "messages/s"), ("p50", "p50 until stored, µs"), ("p99", "p99, µs")],
                numbers::rate,
            ),
            "written" => (vec![("written", "MB/s")], numbers::short),
            "core" => (
                vec![
                    ("core", "% of a processor"),
                    ("resident", "resident MB"),
                    ("own", "of these not of files"),
                    ("missing", "% that did not arrive"),
                ],
                numbers::short,
            ),
            "stream" => (
                vec![
                    ("stream", "stream, Mbit/s"),
                    ("flow", "a TCP flow, Mbit/s"),
                    ("share", "stream to flow"),
                    ("queue", "queue p50, ms"),
                    ("queue_p95", "p95, ms"),
                ],
                numbers::short,
            ),
            "loss" => (vec![("loss", "% lost"), ("rate", "sent/s")], numbers::short),
            "p50" => (
                vec![
                    ("p50", "p50"),
                    ("p90", "p90"),
                    ("p99", "p99"),
                    ("p999", "p99.9"),
                    ("p9999", "p99.99"),
                    ("tail", "p99.99 to p50"),
                    ("one_way_p50", "one way p50"),
                    ("one_way_p9999", "one way p99.99"),
                    ("one_way_tail", "one way p99.99 to p50"),
                    ("max", "most"),
                    ("lost", "lost"),
                    ("drawn", "% lost on the way"),
                    ("without", "receivers without all"),
                ],
                numbers::short,
            ),
            _ => (
                vec![
                    ("total_ns", "program + walk, ns"),
                    ("program_ns", "program, ns"),
                    ("sender_ns", "sender with them, ns"),
                    ("alone_ns", "sender with none, ns"),
                    ("rate", "received/s"),
                ],
                numbers::short,
            ),
        };
        let present =
            |(series, _): &(&str, &str)| figures.rows.iter().any(|row| row.series.contains_key(*series));
        Self { columns: columns.into_iter().filter(present).collect(), notation }
    }

    fn write(&self, text: &mut String, figures: &Figures) {
        let heads: Vec<_> = self.columns.iter().map(|(_, head)| *head).collect();
        let own = figures.rows.iter().any(|row| row.beside.is_some());
        let (own_head, own_rule) = if own { (" ratio to its own without loss |", "---:|") } else { ("", "") };
        let _ = writeln!(text, "| | {} | ratio to {} |{own_head}", heads.join(" | "), figures.reference);
        let _ = writeln!(text, "|---|{}---:|{own_rule}", "---:|".repeat(heads.len()));
        for row in &figures.rows {
            let cells: Vec<_> = self.columns.iter().map(|(series, _)| self.cell(row, series)).collect();
            let ratio = |to: &str| {
                let ratio = figures.ratio(&row.name, to, &figures.main);
                ratio.map_or_else(|| "–".to_owned(), numbers::ratio)
            };
            let own = row.beside.as_deref().map(|to| format!(" {} |", ratio(to))).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {} |{own}",
                row.name,
                cells.join(" | "),
                ratio(&figures.reference)
            );
        }
    }

    fn cell(&self, row: &Row, series: &str) -> String {
        let notation = if matches!(series, "rate" | "offered" | "goodput" | "stored") {
            numbers::rate
        } else {
            numbers::short
        };
        row.spread(series).map_or_else(|| "–".to_owned(), |spread: Spread| numbers::spread(spread, notation))
    }
}

fn contestants(text: &mut String, results: &Results) {
    let rows = results.tables().flat_map(|figures| &figures.rows);
    // A contestant that takes part with several losses is one.
    let described: BTreeMap<_, _> = rows.map(|row| (row.contestant(), &row.what)).collect();
    text.push_str("\n## Contestants\n\n");
    for (name, what) in described.into_iter().filter(|(_, what)| !what.is_empty()) {
        let _ = writeln!(text, "- `{name}`: {what}");
    }
}
