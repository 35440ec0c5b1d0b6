//! Queriers, routers, members, and messages of IGMP, MLD and PIM.

use std::time::Duration;

use mcast::group::GroupKind;
use mcast_stream::wire::StreamId;
use mcast_watch::{
    GroupMember, LogEntry, ObservedQuerier, PimNeighbor, Protocol, RouterAdvertisement, StreamAnnouncement,
};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::text::{self, sources, span};
use super::Theme;
use super::state::State;
use crate::output::{SafeText, clock_time, count_of};
use mcast_watch::live::MonitorReport;

/// The maximum number of messages below the members.
const MESSAGES: usize = 100;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
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
