//! The section of a table: what is compared, the values, and a picture.

use std::fmt::Write;

use super::chart::{Chart, Group, Mark, Panel, Scale};
use super::figures::{Figures, Row};
use super::numbers;
use super::statistics::Spread;

/// The ratio of the greatest value to the smallest above which times are drawn on a logarithmic axis.
const WIDE: f64 = 50.0;

/// Writes the section; returns its picture, if it has one.
pub(super) fn write(text: &mut String, figures: &Figures) -> Option<String> {
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
    let plural = if rounds == 1 { "round" } else { "rounds" };
    let _ = write!(text, "\n{rounds} {plural}{window}, {discarded} more discarded. `{}`\n", figures.command);
    for (name, why) in &figures.absent {
        let _ = write!(text, "\nNot available: `{name}`: {}\n", why.replace('\n', " "));
    }
    for (name, faults) in &figures.faults {
        let last = faults.last().map(|why| why.replace('\n', " ")).unwrap_or_default();
        let times = if faults.len() == 1 { "once" } else { "twice, and was then excluded" };
        let _ = write!(text, "\n`{name}` failed {times}: {last}\n");
    }
    // Contestants without loss would not be visible on the scale.
    let drawn = (figures.main != "loss").then(|| picture(figures, &layout).svg()).flatten();
    if drawn.is_some() {
        let _ = write!(text, "\n![{}]({}.svg)\n", figures.title, figures.table);
    }
    drawn
}

fn picture(figures: &Figures, layout: &Layout) -> Chart {
    let rows = figures.rows.iter().filter_map(|row| Some((&row.name, row.spread(&figures.main)?)));
    let rows: Vec<_> = rows.filter(|(_, spread)| spread.lower > 0.0).collect();
    let medians = || rows.iter().map(|(_, spread)| spread.median);
    let is_wide = medians().fold(0.0, f64::max) > WIDE * medians().fold(f64::INFINITY, f64::min);
    let groups = rows.iter().map(|(name, spread)| Group {
        name: (*name).clone(),
        marks: vec![Mark { label: String::new(), spread: *spread }],
    });
    let panel = Panel {
        heading: String::new(),
        axis: layout.axis.to_owned(),
        scale: if figures.main == "p50" && is_wide { Scale::Logarithmic } else { Scale::Linear },
        notation: layout.notation,
        groups: groups.collect(),
    };
    Chart { title: figures.title.clone(), panels: vec![panel] }
}

/// How a table is written and drawn.
struct Layout {
    columns: Vec<(&'static str, &'static str)>,
    notation: fn(f64) -> String,
    /// What the main series is, with its unit, for the axis of its picture.
    axis: &'static str,
}

impl Layout {
    fn of(figures: &Figures) -> Self {
        let (columns, notation, axis): (Vec<_>, fn(f64) -> String, _) = match figures.main.as_str() {
            "rate" => (
                vec![
                    ("rate", "datagrams/s"),
                    ("cpu_ns", "its CPU, ns each"),
                    ("offered", "offered/s"),
                    ("half_loss", "% lost at half of that"),
                ],
                numbers::rate,
                "datagrams per second",
            ),
            "goodput" => (
                vec![
                    ("goodput", "messages/s"),
                    ("payload", "Gbit/s of payload"),
                    ("drawn", "% lost on the way"),
                    ("without", "receivers without all"),
                ],
                numbers::rate,
                "messages per second",
            ),
            "stored" => (
                vec![("stored", "messages/s"), ("p50", "p50 until stored, µs"), ("p99", "p99, µs")],
                numbers::rate,
                "messages stored per second",
            ),
            "written" => (vec![("written", "MB/s")], numbers::short, "megabytes per second"),
            "core" => (
                vec![
                    ("core", "% of a processor"),
                    ("resident", "resident MB"),
                    ("own", "of these not of files"),
                    ("missing", "% that did not arrive"),
                ],
                numbers::short,
                "percent of a processor",
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
                "Mbit/s of payload",
            ),
            "loss" => (vec![("loss", "% lost"), ("rate", "sent/s")], numbers::short, "percent lost"),
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
                "p50, microseconds",
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
                "nanoseconds of processor time per datagram",
            ),
        };
        let present =
            |(series, _): &(&str, &str)| figures.rows.iter().any(|row| row.series.contains_key(*series));
        Self { columns: columns.into_iter().filter(present).collect(), notation, axis }
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
