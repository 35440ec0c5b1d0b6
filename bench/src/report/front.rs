//! The first page: six plots, what was missed, and where everything else is.

use std::fmt::Write;
use std::path::Path;

use super::chart::{Chart, Group, Mark, Panel, Scale};
use super::figures::Figures;
use super::goals::{Goal, Verdict};
use super::pages::{FIRST, FOLDER, Files, Links, PAGES, WRITTEN};
use super::results::Results;
use super::{numbers, outdated};

/// A plot, and its part of the page.
struct Plot {
    /// Its file, without extension.
    file: &'static str,
    heading: &'static str,
    /// What is done, and how to read it.
    about: &'static str,
    /// The tables that it is drawn from.
    tables: &'static [&'static str],
    /// The beginnings of the names of tables whose missed goals are listed with it.
    goals: &'static [&'static str],
    draw: fn(&Results) -> Chart,
}

const PLOTS: [Plot; 6] = [
    Plot {
        file: "plot-receive",
        heading: "Receiving datagrams",
        about: "One program receives 64-byte datagrams on a link set up like most NICs: \
                offload off at the sender, coalescing on at the receiver. The table also lists the rate that the sender offered, \
                which limits every receiver, and the processor time per datagram.",
        tables: &["receive-c-64"],
        goals: &["receive-", "send-", "pairs-"],
        draw: receiving,
    },
    Plot {
        file: "plot-messages",
        heading: "Publishing messages",
        about: "One publisher calls once per message, as fast as it can, and one receiver gets every message in order. TCP is \
                given 64 KiB of messages per call.",
        tables: &["messages-plain-64", "messages-plain-1344"],
        goals: &["messages-plain-", "messages-durable", "log"],
        draw: publishing,
    },
    Plot {
        file: "plot-loss",
        heading: "Publishing on a link that loses frames",
        about: "Messages of 1,344 bytes to one receiver, one frame per datagram. Both ends drop frames at random; every message \
                must be repaired and delivered in order.",
        tables: &["messages-lossy-1"],
        goals: &["messages-lossy-1"],
        draw: |results| lossy(results, "messages-lossy-1", "one receiver"),
    },
    Plot {
        file: "plot-latency",
        heading: "Latency of messages",
        about: "From the call that publishes to delivery, for 224-byte messages at a constant rate. The axis is logarithmic, \
                because the values differ by factors of up to ten thousand: read the numbers, not the lengths of the bars.",
        tables: &["messages-latency"],
        goals: &["messages-latency", "messages-acknowledged", "latency"],
        draw: latency,
    },
    Plot {
        file: "plot-receivers",
        heading: "Eight receivers with loss",
        about: "As with one receiver, but each of the eight loses different frames. The slowest one counts, and all share one \
                processor. The table also lists receivers that did not get everything in time.",
        tables: &["messages-lossy-8"],
        goals: &["messages-lossy-4", "messages-lossy-8"],
        draw: |results| lossy(results, "messages-lossy-8", "eight receivers"),
    },
    Plot {
        file: "plot-relay",
        heading: "Forwarding",
        about: "`mcast relay` forwards 200 groups from one network to another, compared with kernel forwarding and one socat \
                per group.",
        tables: &["relay-b", "relay-a", "relay-tunnel-a"],
        goals: &["relay-", "http-", "bridge-"],
        draw: forwarding,
    },
];

/// Adds the page and its plots to the files, in a folder.
pub(super) fn write(results: &Results, goals: &[Goal], links: Links, folder: &Path, files: &mut Files) {
    let mut text = format!(
        "# Benchmarks\n\n{WRITTEN}All contestants in a plot do the same work in the same rounds, between two network \
         namespaces of one machine with two processors ([how it is measured]({})). Green is mcast; values are \
         medians, and the black lines are quartiles. Compare only within a plot: the speed of the machine changes from hour to \
         hour. Below each plot are the [goals]({}) that were **missed**; the [reasons]({}) explain why.\n",
        links.method(),
        links.goals(),
        links.reasons()
    );
    if results.quick {
        text.push_str(
            "\n**Quick run**: short windows and a single round, which counts even if it was unsteady. It only shows that \
             everything runs.\n",
        );
    }
    outdated_note(&mut text, results);
    for plot in &PLOTS {
        let Some(svg) = (plot.draw)(results).svg() else { continue };
        files.insert(folder.join(FOLDER).join(format!("{}.svg", plot.file)), svg);
        let tables = plot.tables.iter().filter(|table| results.table(table).is_some());
        let tables: Vec<_> = tables.map(|table| format!("[{table}]({})", links.table(table))).collect();
        let _ = write!(
            text,
            "\n## {}\n\n![{}]({FOLDER}/{}.svg)\n\n{} Tables: {}.\n",
            plot.heading,
            plot.heading,
            plot.file,
            plot.about,
            tables.join(", ")
        );
        missed(&mut text, "Missed", links, goals.iter().filter(|goal| plot.explains(goal)));
    }
    text.push_str("\n## Everything else\n\n");
    match links {
        Links::Pages => {
            for page in &PAGES {
                let _ = writeln!(text, "- [{}]({FOLDER}/{}): {}", page.title, page.file, page.about);
            }
            let method = links.method();
            let _ = writeln!(
                text,
                "- [Benchmarks: how they are measured]({method}): links, machine, options, contestants"
            );
        }
        Links::Figures => text.push_str(
            "The guide as a site (`cargo xtask site`) has all tables. `cargo bench-peers pages FOLDER` writes them from \
             the figures that this page links to.\n",
        ),
    }
    let met = goals.iter().filter(|goal| goal.verdict == Verdict::Met).count();
    let judged = goals.iter().filter(|goal| goal.verdict != Verdict::NotMeasured).count();
    let _ = writeln!(text, "\n{met} of {judged} [goals]({}) are met.", links.goals());
    let others = goals.iter().filter(|goal| !PLOTS.iter().any(|plot| plot.explains(goal)));
    missed(&mut text, "Also missed", links, others);
    files.insert(folder.join(FIRST), text);
}

impl Plot {
    fn explains(&self, goal: &Goal) -> bool {
        self.goals.iter().any(|start| goal.table.starts_with(start))
    }
}

/// Names the contestants of the plots that have changed since.
fn outdated_note(text: &mut String, results: &Results) {
    let outdated = outdated::contestants(results);
    let names: Vec<_> = outdated.iter().map(|each| format!("`{}` ({})", each.name, each.then)).collect();
    if !names.is_empty() {
        let _ = write!(
            text,
            "\n**Measured on an earlier commit**, and marked as *earlier*, because they have changed since: {}.\n",
            names.join("; ")
        );
    }
}

/// Writes one line with the missed goals, each promise once with what was measured.
fn missed<'g>(text: &mut String, word: &str, links: Links, goals: impl Iterator<Item = &'g Goal>) {
    let mut promises: Vec<(&str, Vec<String>)> = Vec::new();
    for goal in goals.filter(|goal| goal.verdict == Verdict::Missed) {
        let measured = format!("[{}]({})", goal.measured, links.table(&goal.table));
        match promises.iter_mut().find(|(promise, _)| *promise == goal.promise) {
            Some((_, all)) => all.push(measured),
            None => promises.push((&goal.promise, vec![measured])),
        }
    }
    let all: Vec<_> =
        promises.iter().map(|(promise, all)| format!("{promise}: {}", all.join(", "))).collect();
    match all.is_empty() {
        true => text.push_str(&format!("\n**{word}**: nothing.\n")),
        false => text.push_str(&format!("\n**{word}**: {}.\n", all.join("; "))),
    }
}

/// Marks what was measured with another description than it has now.
const EARLIER: &str = " (earlier)";

/// Rows with their labels.
type Named = &'static [(&'static str, &'static str)];

fn receiving(results: &Results) -> Chart {
    const ROWS: Named = &[
        ("mcast-batches", "mcast, recv_batch"),
        ("mcast-reader", "mcast, Reader::next"),
        ("mcast-single", "mcast, recv"),
        ("c-trains", "C, recvmmsg with UDP GRO"),
        ("c-plain", "C, recvmsg"),
        ("quinn-udp", "quinn-udp"),
        ("std", "std::net::UdpSocket"),
        ("tokio", "tokio::net::UdpSocket"),
        ("python", "Python, socket"),
        ("multicast_expert", "Python, multicast_expert"),
        ("socat", "socat"),
    ];
    let panel = bars(results.table("receive-c-64"), "rate", ROWS);
    chart("Receiving 64-byte datagrams", [("", "datagrams received per second", panel)])
}

fn publishing(results: &Results) -> Chart {
    const ROWS: Named = &[
        ("mcast-stream", "mcast, publish"),
        ("mcast-stream-4-threads", "mcast, publish, 4 threads"),
        ("mcast-stream-each", "mcast, publish, each at once"),
        ("aeron", "Aeron"),
        ("norm", "NORM"),
        ("tcp", "TCP"),
    ];
    let axis = "messages received per second";
    let panels = [("64 bytes", "messages-plain-64"), ("1,344 bytes", "messages-plain-1344")];
    let panels = panels.map(|(size, table)| (size, axis, bars(results.table(table), "goodput", ROWS)));
    chart("Publishing messages to one receiver", panels)
}

fn lossy(results: &Results, table: &str, receivers: &str) -> Chart {
    const ROWS: Named = &[
        ("mcast-stream", "mcast, publish"),
        ("mcast-stream-fec", "mcast, publish, Fec::Auto"),
        ("aeron-tuned", "Aeron, tuned NAK delay"),
        ("aeron", "Aeron"),
        ("norm", "NORM"),
        ("norm-fec", "NORM with its FEC"),
        ("tcp", "TCP"),
    ];
    let figures = results.table(table);
    let marks: &[(&str, &str, &str)] =
        &[("0 %", "goodput", "no loss"), ("1 %", "goodput", "1 % loss"), ("5 %", "goodput", "5 % loss")];
    let groups = figures.map(|figures| groups(figures, ROWS, marks)).unwrap_or_default();
    let title = format!("Messages of 1,344 bytes to {receivers}, by loss");
    chart(&title, [("", "messages received per second by the slowest receiver", groups)])
}

fn latency(results: &Results) -> Chart {
    const ROWS: Named = &[
        ("mcast-stream", "mcast, publish"),
        ("mcast-stream-each", "mcast, publish, each at once"),
        ("aeron", "Aeron"),
        ("aeron-tuned", "Aeron, tuned NAK delay"),
        ("norm", "NORM"),
        ("tcp", "TCP"),
    ];
    let panel = |loss: &'static str| {
        let marks = [(loss, "p50", "p50"), (loss, "p99", "p99")];
        let figures = results.table("messages-latency");
        Panel {
            heading: if loss == "0 %" { "no loss".to_owned() } else { format!("{loss} loss") },
            axis: "time from publishing to delivery, logarithmic".to_owned(),
            scale: Scale::Logarithmic,
            notation: numbers::microseconds,
            groups: figures.map(|figures| groups(figures, ROWS, &marks)).unwrap_or_default(),
        }
    };
    Chart {
        title: "Latency of messages, 20,000 per second to one receiver".to_owned(),
        panels: ["0 %", "1 %"].map(panel).into(),
    }
}

fn forwarding(results: &Results) -> Chart {
    const ROWS: Named = &[
        ("mcast relay", "mcast relay"),
        ("mcast relay --wire", "mcast relay --wire"),
        ("kernel", "Linux's own forwarding"),
        ("socat", "socat"),
    ];
    let axis = "datagrams forwarded per second";
    let panels = [("each datagram a frame, link (b)", "relay-b"), ("merged datagrams, link (a)", "relay-a")];
    let panels = panels.map(|(link, table)| (link, axis, bars(results.table(table), "rate", ROWS)));
    chart("Forwarding 1,316-byte datagrams of 200 groups", panels)
}

/// A chart of rates.
fn chart<const N: usize>(title: &str, panels: [(&str, &str, Vec<Group>); N]) -> Chart {
    let panels = panels.map(|(heading, axis, groups)| Panel {
        heading: heading.to_owned(),
        axis: axis.to_owned(),
        scale: Scale::Linear,
        notation: numbers::rate,
        groups,
    });
    Chart { title: title.to_owned(), panels: panels.into() }
}

/// One bar for each row that was measured.
fn bars(figures: Option<&Figures>, series: &str, rows: Named) -> Vec<Group> {
    figures.map(|figures| groups(figures, rows, &[("", series, "")])).unwrap_or_default()
}

/// Groups of marks, each with its loss, series and label.
fn groups(figures: &Figures, rows: Named, marks: &[(&str, &str, &str)]) -> Vec<Group> {
    let group = |(row, name): &(&str, &str)| {
        let mut name = (*name).to_owned();
        let marks = marks.iter().filter_map(|(loss, series, label)| {
            let row = if loss.is_empty() { (*row).to_owned() } else { format!("{row}, {loss}") };
            let row = figures.row(&row)?;
            if outdated::is_outdated(row) && !name.ends_with(EARLIER) {
                name.push_str(EARLIER);
            }
            Some(Mark { label: (*label).to_owned(), spread: row.spread(series)? })
        });
        let marks = marks.collect();
        Group { name, marks }
    };
    rows.iter().map(group).filter(|group| !group.marks.is_empty()).collect()
}
