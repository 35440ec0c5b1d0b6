//! The views: the table of streams, with the lines above and below every view, and queriers, routers, members, and messages of
//! IGMP, MLD and PIM.

use std::time::Duration;

use clap::ValueEnum;
use mcast::group::GroupKind;
use mcast_stream::wire::StreamId;
use mcast_watch::live::MonitorReport;
use mcast_watch::{
    GroupMember, LogEntry, ObservedQuerier, PimNeighbor, Protocol, RouterAdvertisement, Row,
    StreamAnnouncement,
};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, Wrap};

use super::state::{State, View, describe_recording};
use crate::commands::top::text::{self, Column, LossLevel, short, sources};
use crate::output::{SafeText, clock_time, count, count_of, span};
use crate::screen::{Theme, cut, first_row};

pub(super) fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State<'_>) {
    let lines = vec![title(state), status(state)];
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns the title: the interfaces and the sums.
fn title(state: &State<'_>) -> Line<'static> {
    let (theme, picture) = (state.theme, &state.picture);
    let report = &picture.watch;
    let rate = picture.total_rate();
    let seconds = report.watched.as_secs();
    let time = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let on = state.monitor.interfaces().unwrap_or_else(|| "capture file".into());
    let streams = report.streams.len() as u64;
    let mut line = Line::from(vec![
        Span::styled("mcast top", theme.title),
        Span::raw("  "),
        Span::styled(on, theme.interface),
        Span::raw(format!(
            "  {} stream{}  {} dgram/s  {}  {time}",
            count(streams),
            if streams == 1 { "" } else { "s" },
            short(rate.datagrams_per_second),
            text::bits(rate.bits_per_second),
        )),
    ]);
    if state.is_paused {
        line.push_span(Span::styled("  paused", theme.warning));
    }
    line
}

/// Returns the most important status.
fn status(state: &State<'_>) -> Line<'static> {
    let order = || {
        let order = if state.reversed { ", reversed" } else { "" };
        Line::styled(format!("by {}{order}", state.sort.title()), state.theme.dim)
    };
    state.filter.status(state.theme, warning(state)).unwrap_or_else(order)
}

fn warning(state: &State<'_>) -> Option<Line<'static>> {
    let (theme, report) = (state.theme, &state.picture.watch);
    if let Some(recording) = &state.picture.recording {
        let style = if recording.failure.is_some() { theme.bad } else { theme.warning };
        return Some(Line::styled(format!("● {}", describe_recording(recording)), style));
    }
    if let Some(message) = state.message() {
        return Some(Line::styled(message.to_owned(), theme.warning));
    }
    let mut parts = Vec::new();
    if let Some(lost) = state.picture.lost.filter(|lost| *lost > 0) {
        parts.push(format!("{} packets not seen: too fast to capture", count(lost)));
    }
    if report.totals.streams_evicted > 0 {
        parts.push(format!("{} streams omitted: the table is full", count(report.totals.streams_evicted)));
    }
    if let Some(failure) = state.monitor.local_members_failure() {
        parts.push(format!("cannot determine which processes have joined: {failure}"));
    }
    (!parts.is_empty()).then(|| Line::styled(parts.join("; "), theme.warning))
}

pub(super) fn draw_foot(frame: &mut Frame<'_>, area: Rect, state: &State<'_>) {
    let about = match state.view {
        View::Streams => state.selected_row().map(|row| about(row, state)).unwrap_or_default(),
        _ => Line::default(),
    };
    frame.render_widget(Paragraph::new(vec![about, keys(state)]), area);
}

/// Returns a line about the selected stream, with what did not fit in the table.
fn about(row: &Row, state: &State<'_>) -> Line<'static> {
    let theme = state.theme;
    let mut spans = vec![Span::styled(row.key.group.to_string(), theme.group)];
    let mut add = |text: String| spans.push(Span::raw(format!("  {text}")));
    if let Some(name) = row.key.group.name_at(row.key.port) {
        add(name.into());
    }
    add(format!("ttl {}", row.hop_limit));
    if let Some(format) = row.format {
        add(format.to_string());
    }
    if row.jitter.is_some() {
        add(format!("jitter {}", text::jitter(row.jitter)));
    }
    let members = text::members(&state.picture, row);
    if !members.is_empty() {
        add(format!("joined: {}", members.join(", ")));
    } else if !state.picture.is_file {
        add("no member known".into());
    }
    Line::from(spans)
}

fn keys(state: &State<'_>) -> Line<'static> {
    state.theme.keys(match state.view {
        _ if state.filter.is_typing => &[("Enter", "keep"), ("Esc", "show all")],
        View::Streams => &[
            ("q", "quit"),
            ("?", "help"),
            ("Enter", "details"),
            ("Tab", "network"),
            ("s", "sort"),
            ("/", "filter"),
            ("p", "pause"),
            ("w", "record"),
            ("x", "reset"),
            ("c", "columns"),
        ],
        View::Detail => &[("q", "quit"), ("Esc", "back"), ("↑↓", "scroll"), ("w", "record"), ("p", "pause")],
        View::Columns => &[("q", "quit"), ("Esc", "back"), ("↑↓", "select"), ("Space", "show or hide")],
        View::Network | View::Help => &[("q", "quit"), ("Esc", "back"), ("↑↓", "scroll"), ("p", "pause")],
    })
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let page = usize::from(area.height).saturating_sub(1).max(1);
    state.page = page;
    let rows = state.rows();
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(empty_text(state)).wrap(Wrap { trim: true }), area);
        return;
    }
    let selected = rows.iter().position(|row| Some(row.key) == state.selected);
    let selected = selected.unwrap_or(state.position).min(rows.len() - 1);
    let top = first_row(state.top, selected, page, rows.len());
    let shown = &rows[top..rows.len().min(top + page)];
    let columns = columns(shown, state, area.width);
    let table_rows = shown.iter().enumerate().map(|(number, row)| {
        let cells = columns.iter().map(|(column, width)| cell(*column, *width, row, state));
        let style = if top + number == selected { state.theme.selected } else { Style::new() };
        TableRow::new(cells.collect::<Vec<_>>()).style(style)
    });
    let header = columns.iter().map(|(column, _)| title_cell(*column, state));
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    let table = Table::new(table_rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(TableRow::new(header.collect::<Vec<_>>()))
        .column_spacing(GAP);
    frame.render_widget(table, area);
    (state.top, state.position) = (top, selected);
}

/// Spaces between two columns.
const GAP: u16 = 1;

/// Draws the list of all columns, with those that are shown marked.
pub(super) fn draw_columns(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let line = |(number, column): (usize, Column)| {
        let mark = if state.columns.contains(&column) { 'x' } else { ' ' };
        let help = column.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        let text = format!("[{mark}] {:<8} {}", column.title(), help.unwrap_or_default());
        Line::styled(text, if number == state.column { state.theme.selected } else { Style::new() })
    };
    let lines: Vec<_> = Column::SHOWN.into_iter().enumerate().map(line).collect();
    // The selected one stays visible on a low screen.
    let page = usize::from(area.height).max(1);
    state.scroll = state.scroll.clamp((state.column + 1).saturating_sub(page), state.column);
    scrolled(frame, area, state, lines);
}

/// Returns why no streams are shown.
fn empty_text(state: &State<'_>) -> String {
    if !state.filter.text.is_empty() {
        return "No stream matches this text. Esc shows all.".into();
    }
    if state.picture.is_file {
        let wait = if state.picture.is_over { "" } else { " yet" };
        return format!("No stream{wait} in this file.");
    }
    "No stream yet. A snooping switch forwards only groups that this machine has joined:\n\
     `mcast recv --discard GROUP:PORT` joins one."
        .into()
}

/// Returns the columns that fit, with their widths. More important columns get their width first.
fn columns(rows: &[&Row], state: &State<'_>, width: u16) -> Vec<(Column, u16)> {
    let mut left = width;
    let mut chosen = Vec::new();
    for column in Column::by_importance(&state.columns) {
        let widest =
            rows.iter().map(|row| column.text(row, &state.picture).chars().count()).max().unwrap_or(0);
        if widest == 0 && state.plan.columns.is_empty() {
            continue;
        }
        let (least, most) = bounds(column);
        let preferred =
            u16::try_from(widest.max(column.title().len())).unwrap_or(u16::MAX).clamp(least, most);
        let room = left.saturating_sub(if chosen.is_empty() { 0 } else { GAP });
        let granted = match column {
            // It is shown at any width, and leaves room for rate and loss if that is possible.
            Column::Group if room > RATE_AND_LOSS * 2 => preferred.min(room - RATE_AND_LOSS),
            // The last one gets the remaining width.
            Column::Group | Column::Joined => preferred.min(room),
            _ => preferred,
        };
        if granted > room || granted < least {
            continue;
        }
        left = room - granted;
        chosen.push((column, granted));
    }
    chosen.sort_by_key(|(column, _)| state.columns.iter().position(|shown| shown == column));
    chosen
}

/// The width of the rate and the loss, with their gaps.
const RATE_AND_LOSS: u16 = bounds(Column::Bits).1 + bounds(Column::Loss).1 + 2 * GAP;

/// Returns the minimum and maximum width of a column.
const fn bounds(column: Column) -> (u16, u16) {
    match column {
        Column::Group => (1, 46),
        Column::Name => (4, 24),
        Column::Source => (9, 39),
        Column::Interface => (2, 15),
        Column::Datagrams | Column::Bits => (7, 7),
        Column::Loss => (6, 6),
        Column::Trend | Column::LossTrend => (Column::TREND_WIDTH as u16, Column::TREND_WIDTH as u16),
        Column::Ttl => (3, 3),
        Column::Jitter => (8, 10),
        Column::Payload => (7, 11),
        Column::Joined => (12, 200),
    }
}

fn title_cell(column: Column, state: &State<'_>) -> Cell<'static> {
    let style = if column == state.sort { state.theme.heading } else { state.theme.title };
    Cell::from(aligned(column, column.title().into())).style(style)
}

fn cell(column: Column, width: u16, row: &Row, state: &State<'_>) -> Cell<'static> {
    let (theme, picture) = (state.theme, &state.picture);
    let text = cut(column.text(row, picture), usize::from(width));
    let style = match column {
        _ if picture.is_quiet(row) => theme.dim,
        Column::Group => theme.group,
        Column::Source => theme.address,
        Column::Interface => theme.interface,
        Column::Trend => theme.trend,
        Column::Loss | Column::LossTrend => match text::loss_level(row, state.plan.bad_loss) {
            LossLevel::None => Style::new(),
            LossLevel::Some => theme.warning,
            LossLevel::Bad => theme.bad,
        },
        _ => Style::new(),
    };
    Cell::from(aligned(column, text)).style(style)
}

fn aligned(column: Column, text: String) -> Text<'static> {
    Text::from(text).alignment(if column.is_right() { Alignment::Right } else { Alignment::Left })
}

/// The maximum number of messages below the members.
const MESSAGES: usize = 100;

pub(super) fn draw_network(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let (theme, picture) = (state.theme, &state.picture);
    let report = &picture.watch;
    let mut lines = Vec::new();
    let mut section = |title: &str, none: &str, content: Vec<Line<'static>>| {
        lines.push(Line::styled(title.to_owned(), theme.heading));
        if content.is_empty() {
            lines.push(Line::styled(format!("  {none}"), theme.dim));
        }
        lines.extend(content);
        lines.push(Line::default());
    };
    let queriers = report.queriers.iter().map(|each| querier(each, picture, theme)).collect();
    section("queriers", &no_querier(picture), queriers);
    let neighbors = report.pim_neighbors.iter().map(|each| neighbor(each, picture, theme));
    let routers = report.routers.iter().map(|each| advertisement(each, picture, theme));
    section("routers", "none seen by PIM or router discovery", neighbors.chain(routers).collect());
    section("members", "no report yet", members(picture, theme));
    let announced = report.announced.iter().map(|each| announcement(each, picture, theme)).collect();
    section("announced streams", "none announced (--announced joins the groups of announcements)", announced);
    let messages = report.log.iter().take(MESSAGES).map(|each| message(each, picture, theme)).collect();
    section("messages", "none yet", messages);
    scrolled(frame, area, state, lines);
}

/// Returns the members. Solicited-node groups, of which every IPv6 host joins one or two per address (RFC 4291 section
/// 2.7.1), are only counted.
fn members(picture: &MonitorReport, theme: Theme) -> Vec<Line<'static>> {
    let is_solicited_node =
        |member: &&GroupMember| matches!(member.group.kind(), GroupKind::SolicitedNode { .. });
    let (counted, shown): (Vec<_>, Vec<_>) = picture.watch.members.iter().partition(is_solicited_node);
    let mut lines: Vec<_> = shown.into_iter().map(|each| member(each, picture, theme)).collect();
    if !counted.is_empty() {
        let text = format!("  and {} of solicited-node groups", count_of(counted.len() as u64, "member"));
        lines.push(Line::styled(text, theme.dim));
    }
    lines
}

/// Draws lines at the scroll position, which is limited to their end.
pub(super) fn scrolled(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>, lines: Vec<Line<'static>>) {
    let page = usize::from(area.height);
    state.page = page;
    state.scroll = state.scroll.min(lines.len().saturating_sub(page));
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    state.sideways = state.sideways.min(widest.saturating_sub(usize::from(area.width)));
    let sideways = u16::try_from(state.sideways).unwrap_or(u16::MAX);
    let shown: Vec<_> = lines.into_iter().skip(state.scroll).take(page).collect();
    frame.render_widget(Paragraph::new(shown).scroll((0, sideways)), area);
}

/// Returns the text for no querier. Before the query interval has passed, silence is not a fault.
fn no_querier(picture: &MonitorReport) -> String {
    const INTERVAL: Duration = Duration::from_secs(125);
    match picture.watch.watched {
        watched if watched < INTERVAL => {
            format!("no query yet in {}; queries are normally 125 s apart", span(watched))
        }
        watched => format!("no query in {}: snooping switches may stop forwarding groups", span(watched)),
    }
}

fn querier(querier: &ObservedQuerier, picture: &MonitorReport, theme: Theme) -> Line<'static> {
    let protocol = match querier.protocol {
        Protocol::Igmp => "IGMP",
        Protocol::Mld => "MLD",
    };
    let interval =
        querier.interval.map_or_else(String::new, |interval| format!(", every {}", span(interval)));
    let text = format!(
        "  {protocol}v{}{interval}, {} ago, times out in {}{}{}",
        querier.version,
        span(querier.quiet),
        span(querier.expires),
        if querier.elected { "" } else { ", not elected" },
        this_machine(querier.is_this_machine),
    );
    line(querier.address.to_string(), on(picture.interface(querier.interface), querier.vlan), text, theme)
}

fn neighbor(neighbor: &PimNeighbor, picture: &MonitorReport, theme: Theme) -> Line<'static> {
    let priority =
        neighbor.dr_priority.map_or_else(String::new, |priority| format!(", DR priority {priority}"));
    let holds = neighbor.hold_time.map_or_else(|| "infinite".to_owned(), span);
    let text = format!(
        "  PIM{priority}, hold time {holds}, {} ago{}",
        span(neighbor.quiet),
        this_machine(neighbor.is_this_machine)
    );
    line(neighbor.address.to_string(), on(picture.interface(neighbor.interface), neighbor.vlan), text, theme)
}

fn advertisement(router: &RouterAdvertisement, picture: &MonitorReport, theme: Theme) -> Line<'static> {
    let text = format!(
        "  router discovery, every {}, {} ago{}",
        span(router.interval),
        span(router.quiet),
        this_machine(router.is_this_machine)
    );
    line(router.address.to_string(), on(picture.interface(router.interface), router.vlan), text, theme)
}

fn member(member: &GroupMember, picture: &MonitorReport, theme: Theme) -> Line<'static> {
    let protocol = if member.group.addr().is_ipv4() { "IGMP" } else { "MLD" };
    let name = member.group.usual_name().map_or_else(String::new, |name| format!(" ({name})"));
    let text = format!(
        "{name}  {}  {protocol}v{}, sources {}, {} ago{}",
        member.host,
        member.version,
        sources(&member.filter, member.more_sources),
        span(member.quiet),
        this_machine(member.is_this_machine),
    );
    let on = on(picture.interface(member.interface), member.vlan);
    Line::from(vec![
        Span::raw("  "),
        Span::styled(member.group.to_string(), theme.group),
        Span::raw(" on "),
        Span::styled(on, theme.interface),
        Span::raw(text),
    ])
}

fn announcement(announced: &StreamAnnouncement, picture: &MonitorReport, theme: Theme) -> Line<'static> {
    let sealed = if announced.identity.sealed { ", sealed" } else { "" };
    let (name, text) = match &announced.content {
        Some(content) => (SafeText::new(content.name.as_bytes()).to_string(), text::announced(content)),
        None => ("a sealed stream".into(), String::new()),
    };
    let on = picture.interface(announced.interface);
    Line::from(vec![
        Span::raw("  "),
        Span::styled(name, theme.group),
        Span::raw(text),
        Span::raw(format!(", stream {}, by ", StreamId(announced.identity.stream))),
        Span::styled(announced.source.ip().to_string(), theme.address),
        Span::raw(" on "),
        Span::styled(on, theme.interface),
        Span::raw(sealed),
    ])
}

fn message(entry: &LogEntry, picture: &MonitorReport, theme: Theme) -> Line<'static> {
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(entry.time.as_nanos());
    Line::from(vec![
        Span::styled(format!("  {} ", clock_time(time).split('.').next().unwrap_or_default()), theme.dim),
        Span::styled(picture.interface(entry.interface), theme.interface),
        Span::raw(" "),
        Span::styled(entry.source.to_string(), theme.address),
        Span::styled(format!(" {}", entry.text), Style::new()),
    ])
}

fn line(address: String, on: String, text: String, theme: Theme) -> Line<'static> {
    Line::from(vec![
        Span::raw("  "),
        Span::styled(address, theme.address),
        Span::raw(" on "),
        Span::styled(on, theme.interface),
        Span::raw(text),
    ])
}

fn on(interface: String, vlan: Option<u16>) -> String {
    match vlan {
        Some(vlan) => format!("{interface}.{vlan}"),
        None => interface,
    }
}

const fn this_machine(is_it: bool) -> &'static str {
    if is_it { ", this machine" } else { "" }
}
