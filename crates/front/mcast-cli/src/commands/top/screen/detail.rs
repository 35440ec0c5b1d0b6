//! The details of one stream.

use std::net::SocketAddr;

use mcast_watch::{Row, SequenceStatistics};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::faults;
use super::super::text::{self, short, sources, trend};
use super::state::State;
use super::streams::scrolled;
use crate::output::{SafeText, count, count_of, span};
use crate::screen::Theme;
use mcast_watch::live::MonitorReport;

/// The width of labels.
const LABEL: usize = 12;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let lines = match state.selected_row() {
        Some(row) => describe(row, &state.picture, state.theme, usize::from(area.width)),
        None => vec![Line::raw("No stream is selected.")],
    };
    scrolled(frame, area, state, lines);
}

fn describe(row: &Row, picture: &MonitorReport, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut lines = Lines { lines: Vec::new(), theme };
    identity(&mut lines, row, picture);
    traffic(&mut lines, row, picture);
    faults(&mut lines, row);
    joined(&mut lines, row, picture);
    let bars = text::sparkline(&trend(row), width.saturating_sub(LABEL).min(row.history.len().max(1)));
    lines.add("trend", bars, theme.trend);
    if let Some(bars) = text::loss_trend(row, row.history.len()) {
        lines.add("lost", bars, theme.bad);
    }
    lines.lines
}

fn identity(lines: &mut Lines, row: &Row, picture: &MonitorReport) {
    let (key, theme) = (&row.key, lines.theme);
    let name = key.group.name_at(key.port).map_or_else(String::new, |name| format!("  {name}"));
    lines.add("group", format!("{}{name}", SocketAddr::new(key.group.addr(), key.port)), theme.group);
    lines.plain("kind", key.group.kind().to_string());
    let sent_here = if row.outgoing { "  (this machine)" } else { "" };
    lines.add(
        "source",
        format!("{}{sent_here}", SocketAddr::new(key.source, key.source_port)),
        theme.address,
    );
    let vlan = key.vlan.map_or_else(String::new, |vlan| format!(", VLAN {vlan}"));
    lines.add("interface", format!("{}{vlan}", picture.interface(key.interface)), theme.interface);
}

fn traffic(lines: &mut Lines, row: &Row, picture: &MonitorReport) {
    let (now, mean) = (picture.rate(row), row.mean);
    lines.plain(
        "rate",
        format!("{} datagrams/s, {}", short(now.datagrams_per_second), text::bits(now.bits_per_second)),
    );
    lines.plain(
        "mean",
        format!("{} datagrams/s, {}", short(mean.datagrams_per_second), text::bits(mean.bits_per_second)),
    );
    lines.plain(
        "total",
        format!(
            "{}, {} bytes of payload, {} of frames",
            count_of(row.datagrams, "datagram"),
            count(row.bytes),
            count(row.frame_bytes)
        ),
    );
    lines.plain("since", format!("{}; the latest {} ago", span(row.age), span(row.quiet)));
    let (lowest, highest) = row.hop_limits;
    let range = if lowest == highest { String::new() } else { format!(" ({lowest} to {highest})") };
    lines.plain("ttl", format!("{}{range}", row.hop_limit));
    let payload = row.format.map_or_else(|| "unknown".into(), |format| format.to_string());
    lines.plain("payload", payload);
    if let Some(identity) = row.identity {
        let name =
            picture.watch.announced_name(row).map(|name| format!("\"{}\"  ", SafeText::new(name.as_bytes())));
        let sealed = if identity.sealed { ", sealed" } else { "" };
        let described = format!("{:016x}, incarnation {}{sealed}", identity.stream, identity.incarnation);
        lines.plain("stream", format!("{}{described}", name.unwrap_or_default()));
    }
    lines.plain("jitter", text::jitter(row.jitter));
}

fn faults(lines: &mut Lines, row: &Row) {
    let theme = lines.theme;
    match &row.numbers {
        Some(numbers) => {
            let style = if numbers.missing > 0 { theme.bad } else { Style::new() };
            lines.add("loss", describe_numbers(numbers), style);
            if text::may_be_repaired_unseen(row) {
                lines.plain("", format!("this {}", text::MISSING_IN_THE_GROUP));
            }
        }
        None => lines.plain(
            "loss",
            "unknown: its datagrams are not numbered (--seq gives the position of a \
            number)"
                .into(),
        ),
    }
    if let Some(errors) = row.continuity_errors {
        let style = if errors > 0 { theme.warning } else { Style::new() };
        lines.add("continuity", count_of(errors, "continuity error"), style);
    }
    if row.bad_checksums > 0 {
        let described = format!("{} wrong: not delivered to programs", count(row.bad_checksums));
        lines.add("checksums", described, theme.bad);
    }
    if row.fragmented > 0 {
        let described =
            format!("{} arrived in fragments: too long for the path", count_of(row.fragmented, "datagram"));
        lines.add("fragments", described, theme.warning);
    }
    if let Some(described) = faults::incomplete(row) {
        lines.add("incomplete", described, theme.bad);
    }
}

fn describe_numbers(numbers: &SequenceStatistics) -> String {
    let mut described = format!(
        "{}: {} of {} {} missing",
        text::loss(Some(numbers)),
        count(numbers.missing),
        count(numbers.received.saturating_sub(numbers.duplicates).saturating_add(numbers.missing)),
        numbers.unit,
    );
    let mut add = |number: u64, what: &str| {
        if number > 0 {
            described += &format!(", {} {what}", count(number));
        }
    };
    add(numbers.duplicates, "duplicated");
    add(numbers.reordered.unwrap_or(0), "out of order");
    add(numbers.repairs.unwrap_or(0), "sent again");
    add(numbers.restarts, "restarts");
    described
}

fn joined(lines: &mut Lines, row: &Row, picture: &MonitorReport) {
    let locals = picture.local_members(row);
    for local in locals {
        let port = local.port.map_or_else(String::new, |port| format!(", port {port}"));
        let from = local
            .filter
            .as_ref()
            .map_or_else(String::new, |filter| format!(", sources {}", sources(filter, false)));
        lines.plain("joined here", format!("{}{port}{from}", local.name));
    }
    let mut members = 0;
    for member in picture.watch.members_of(&row.key) {
        members += 1;
        let filter = sources(&member.filter, member.more_sources);
        lines.plain("member", format!("{}, sources {filter}, {} ago", member.host, span(member.quiet)));
    }
    if locals.is_empty() && members == 0 && !picture.is_file {
        lines.plain("joined", "no process here, and no other host has reported a membership yet".into());
    }
}

/// Lines with labels.
struct Lines {
    lines: Vec<Line<'static>>,
    theme: Theme,
}

impl Lines {
    fn plain(&mut self, label: &'static str, text: String) {
        self.add(label, text, Style::new());
    }

    fn add(&mut self, label: &'static str, text: String, style: Style) {
        let label = Span::styled(format!("{label:<LABEL$}"), self.theme.dim);
        self.lines.push(Line::from(vec![label, Span::styled(text, style)]));
    }
}
