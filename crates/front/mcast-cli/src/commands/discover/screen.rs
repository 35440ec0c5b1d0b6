//! The live list on a terminal.

use std::time::{Duration, Instant};

use mcast_terminal::Console;
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryKey};
use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use super::{DiscoverPlan, text};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, count_of};
use crate::screen::{
    Filter, INTERRUPTED, Interactive, KeyAction, Screen, Theme, WAIT, cut, first_row, rows_moved,
};

/// How often the list is updated.
const INTERVAL: Duration = Duration::from_secs(1);
/// The width of names in the details.
const LABEL: usize = 16;

/// Shows the screen until `q`, Ctrl-C, a request to terminate, or the timeout.
pub(super) fn run(
    plan: &DiscoverPlan<'_>,
    discovery: &Discovery,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let mut state = State::new(discovery, plan, Theme::new(console.palette().is_coloured()));
    let mut screen = Screen::open()?;
    let outcome = show(&mut screen, &mut state, interrupt);
    drop(screen);
    let outcome = outcome?;
    discovery.failure().map_or(Ok(outcome), |error| Err(error.into()))
}

fn show(screen: &mut Screen, state: &mut State<'_>, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let mut due = start;
    loop {
        let now = Instant::now();
        let has_changed = now >= due;
        if has_changed {
            state.refresh();
            // In the first second much appears.
            let interval = if start.elapsed() < INTERVAL { WAIT } else { INTERVAL };
            due = (due + interval).max(now);
        }
        match screen.turn(state, has_changed, due)? {
            KeyAction::Continue => {}
            KeyAction::Quit => return Ok(Outcome::Yes),
            KeyAction::Interrupted => return Ok(INTERRUPTED),
        }
        if let Some(outcome) = interrupt.outcome() {
            return Ok(outcome);
        }
        let is_over = state.plan.timeout.is_some_and(|timeout| start.elapsed() >= timeout);
        if is_over || state.discovery.is_over() {
            return Ok(Outcome::Yes);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    List,
    /// One entry.
    Detail,
    Help,
}

struct State<'a> {
    discovery: &'a Discovery,
    theme: Theme,
    plan: &'a DiscoverPlan<'a>,
    entries: Vec<Discovered>,
    /// The indexes of the entries shown.
    shown: Vec<usize>,
    view: View,
    filter: Filter,
    is_paused: bool,
    /// Whether it has asked.
    asks: bool,
    selected: Option<DiscoveryKey>,
    /// The number of the selected row, which is selected next when the entry is gone.
    position: usize,
    /// The number of the first row that is shown.
    top: usize,
    /// The number of rows that fit.
    page: usize,
    /// The scroll position of the other views.
    scroll: usize,
}

const KEYS: [(&str, &str); 7] = [
    ("q, Ctrl-C", "quit"),
    ("↑ ↓ PgUp PgDn Home End", "select an entry, scroll"),
    ("Enter", "everything that the selected entry announced; again: back"),
    ("/", "show only entries with this text"),
    ("Esc", "back; in the list: show all again"),
    ("a", "send queries now, by the protocols that have them"),
    ("p, Space", "pause the screen; listening continues"),
];

impl<'a> State<'a> {
    fn new(discovery: &'a Discovery, plan: &'a DiscoverPlan<'a>, theme: Theme) -> Self {
        Self {
            discovery,
            theme,
            plan,
            entries: Vec::new(),
            shown: Vec::new(),
            view: View::List,
            filter: Filter::default(),
            is_paused: false,
            asks: plan.asks,
            selected: None,
            position: 0,
            top: 0,
            page: 1,
            scroll: 0,
        }
    }

    fn refresh(&mut self) {
        // The list is read as a whole, so single changes are of no interest.
        while self.discovery.next_event(Some(Duration::ZERO)).is_some() {}
        if !self.is_paused {
            self.entries = self.discovery.entries();
            self.entries.retain(|entry| self.plan.selection.admits(entry));
            self.arrange();
        }
    }

    fn arrange(&mut self) {
        let filter = &self.filter.text;
        let admits = |entry: &Discovered| filter.is_empty() || entry.matches(filter) || self.shows(entry);
        let shown = self.entries.iter().enumerate().filter(|(_, entry)| admits(entry));
        self.shown = shown.map(|(place, _)| place).collect();
    }

    /// Returns whether the filter is in a column that names the kind, place or protocol.
    fn shows(&self, entry: &Discovered) -> bool {
        let columns =
            [text::kind(entry), text::place(entry, self.discovery), entry.key.protocol.name().to_owned()];
        columns.iter().any(|column| column.to_lowercase().contains(&self.filter.text))
    }

    /// Returns the number of the selected row.
    fn selected_row(&self) -> usize {
        let selected = self.selected.as_ref();
        let row = selected.and_then(|key| {
            self.shown
                .iter()
                .position(|place| self.entries.get(*place).is_some_and(|entry| entry.key == *key))
        });
        row.unwrap_or(self.position).min(self.shown.len().saturating_sub(1))
    }

    fn entry(&self, row: usize) -> Option<&Discovered> {
        self.entries.get(*self.shown.get(row)?)
    }

    fn step(&mut self, by: isize) {
        let last = self.shown.len().saturating_sub(1);
        self.position = self.selected_row().saturating_add_signed(by).min(last);
        self.selected = self.entry(self.position).map(|entry| entry.key.clone());
    }

    fn switch(&mut self, view: View) {
        self.view = if self.view == view { View::List } else { view };
        self.scroll = 0;
        // From now on the selection follows the entry, even if its row moves.
        self.step(0);
    }

    fn go(&mut self, code: KeyCode) {
        let Some(by) = rows_moved(code, self.page) else { return };
        match self.view {
            View::List => self.step(by),
            _ => self.scroll = self.scroll.saturating_add_signed(by),
        }
    }

    fn title(&self) -> Line<'static> {
        let on = self.discovery.coverage().interfaces.join(", ");
        let all = count(self.shown.len() as u64);
        let mut line = Line::from(vec![
            Span::styled("mcast discover", self.theme.title),
            Span::raw("  "),
            Span::styled(on, self.theme.interface),
            Span::raw(format!("  {all} of {}", count_of(self.entries.len() as u64, "announcement"))),
        ]);
        if self.is_paused {
            line.push_span(Span::styled("  paused", self.theme.warning));
        }
        line
    }

    /// Returns the most important status.
    fn status(&self) -> Line<'static> {
        let drops = text::drops(self.discovery).map(|drops| Line::styled(drops, self.theme.warning));
        if let Some(line) = self.filter.status(self.theme, drops) {
            return line;
        }
        let unseen = self.discovery.coverage().unseen();
        let mut status =
            if self.asks { "asked and listening".to_owned() } else { "listening; a asks".to_owned() };
        if !unseen.is_empty() {
            let names: Vec<_> = unseen.iter().map(|protocol| protocol.name()).collect();
            status += &format!("; not visible without permission to capture: {}", names.join(", "));
        }
        Line::styled(status, self.theme.dim)
    }

    fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let page = usize::from(area.height).saturating_sub(1).max(1);
        self.page = page;
        if self.shown.is_empty() {
            let why = match self.entries.len() {
                0 => "Nothing has announced itself yet. Some protocols announce rarely: press a to query.",
                _ => "No entry is selected by this text. Esc shows all.",
            };
            return frame.render_widget(Paragraph::new(why).wrap(Wrap { trim: true }), area);
        }
        let selected = self.selected_row();
        let top = first_row(self.top, selected, page, self.shown.len());
        let rows: Vec<_> = (top..self.shown.len().min(top + page))
            .filter_map(|row| Some((row, self.cells(self.entry(row)?))))
            .collect();
        let widths = widths(rows.iter().map(|(_, cells)| cells), area.width);
        let styles = self.styles();
        let table_rows = rows.into_iter().map(|(row, cells)| {
            let shown = cells.into_iter().zip(widths).zip(styles);
            let cells = shown
                .filter(|((_, width), _)| *width > 0)
                .map(|((text, width), style)| Cell::from(cut(text, usize::from(width))).style(style));
            let style = if row == selected { self.theme.selected } else { Style::new() };
            Row::new(cells.collect::<Vec<_>>()).style(style)
        });
        let titles = TITLES.iter().zip(widths).filter(|(_, width)| *width > 0);
        let header = Row::new(titles.map(|(title, _)| Cell::from(*title).style(self.theme.title)));
        let shown_widths = widths.into_iter().filter(|width| *width > 0).map(Constraint::Length);
        let table = Table::new(table_rows.collect::<Vec<_>>(), shown_widths.collect::<Vec<_>>())
            .header(header)
            .column_spacing(GAP);
        frame.render_widget(table, area);
        (self.top, self.position) = (top, selected);
    }

    fn cells(&self, entry: &Discovered) -> [String; COLUMNS] {
        [
            text::name(entry),
            text::kind(entry),
            text::address(entry, self.discovery),
            text::place(entry, self.discovery),
            text::seen(entry.first_seen, self.discovery),
            text::seen(entry.last_seen, self.discovery),
            entry.key.protocol.name().to_owned(),
        ]
    }

    fn styles(&self) -> [Style; COLUMNS] {
        let Theme { group, address, interface, dim, .. } = self.theme;
        [group, Style::new(), address, interface, dim, dim, dim]
    }

    fn details(&self) -> Vec<Line<'static>> {
        let Some(entry) = self.entry(self.selected_row()) else {
            return vec![Line::raw("No entry is selected.")];
        };
        let line = |name: &str, value: String, style| {
            Line::from(vec![
                Span::styled(format!("{name:<LABEL$} "), self.theme.dim),
                Span::styled(value, style),
            ])
        };
        let mut lines = vec![
            line("name", text::name(entry), self.theme.group),
            line("kind", text::kind(entry), Style::new()),
            line("interface", text::place(entry, self.discovery), self.theme.interface),
        ];
        let addresses = text::addresses(entry, self.discovery);
        lines.extend(addresses.into_iter().map(|address| line("address", address, self.theme.address)));
        let seen = [("first seen", entry.first_seen), ("last seen", entry.last_seen)];
        lines.extend(seen.map(|(name, time)| {
            line(name, format!("{} ago", text::seen(time, self.discovery)), Style::new())
        }));
        lines.push(line("announcements", count(entry.announcements), Style::new()));
        lines.push(line("by", entry.key.protocol.name().to_owned(), Style::new()));
        lines.extend(text::details(entry).into_iter().map(|(name, value)| line(&name, value, Style::new())));
        lines
    }

    /// Draws lines at the scroll position, which is limited to their end.
    fn draw_lines(&mut self, frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
        self.page = usize::from(area.height);
        self.scroll = self.scroll.min(lines.len().saturating_sub(self.page));
        let shown: Vec<_> = lines.into_iter().skip(self.scroll).collect();
        frame.render_widget(Paragraph::new(shown).wrap(Wrap { trim: false }), area);
    }
}

impl Interactive for State<'_> {
    fn handle(&mut self, key: KeyCode) -> KeyAction {
        if self.filter.is_typing {
            if !self.filter.handle(key) {
                self.go(key);
            }
            self.arrange();
            return KeyAction::Continue;
        }
        match key {
            KeyCode::Char('q') => return KeyAction::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.switch(View::Help),
            KeyCode::Enter => self.switch(View::Detail),
            KeyCode::Esc if self.view == View::List => {
                self.filter.text.clear();
                self.arrange();
            }
            KeyCode::Esc => self.view = View::List,
            KeyCode::Char('/') => {
                self.view = View::List;
                self.filter.is_typing = true;
            }
            KeyCode::Char('a') => {
                self.asks = true;
                self.discovery.ask();
            }
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            key => self.go(key),
        }
        KeyAction::Continue
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]);
        let [head, body, foot] = rows.areas(frame.area());
        frame.render_widget(Paragraph::new(vec![self.title(), self.status()]), head);
        match self.view {
            View::List => self.draw_list(frame, body),
            View::Detail => self.draw_lines(frame, body, self.details()),
            View::Help => self.draw_lines(frame, body, KEYS.map(|pair| self.theme.help(pair, 24)).into()),
        }
        let keys = self.theme.keys(&[
            ("q", "quit"),
            ("?", "help"),
            ("Enter", "details"),
            ("/", "filter"),
            ("a", "ask"),
            ("p", "pause"),
        ]);
        frame.render_widget(keys, foot);
    }
}

const COLUMNS: usize = 7;
const TITLES: [&str; COLUMNS] = ["name", "kind", "address", "interface", "first", "last", "by"];
/// Spaces between two columns.
const GAP: u16 = 1;

/// Returns the width of each column; 0 if it has no room. The name gets what is left.
fn widths<'a>(rows: impl Iterator<Item = &'a [String; COLUMNS]>, width: u16) -> [u16; COLUMNS] {
    /// The widest that a column becomes.
    const MOST: [usize; COLUMNS] = [60, 28, 30, 18, 7, 7, 12];
    /// The order in which columns get room: the name, address, kind, interface, last seen, protocol, first seen.
    const ORDER: [usize; COLUMNS] = [0, 2, 1, 3, 5, 6, 4];
    /// What the name keeps for the others.
    const NAME: u16 = 20;

    let mut widest = TITLES.map(str::len);
    for row in rows {
        for (most, text) in widest.iter_mut().zip(row) {
            *most = (*most).max(text.chars().count());
        }
    }
    let mut wanted = [0_u16; COLUMNS];
    for (place, (most, limit)) in widest.iter().zip(MOST).enumerate() {
        wanted[place] = u16::try_from((*most).min(limit)).unwrap_or(u16::MAX);
    }
    let mut widths = [0; COLUMNS];
    let mut left = width;
    for place in ORDER {
        let gap = if place == 0 { 0 } else { GAP };
        let granted = if place == 0 { wanted[0].min(NAME).min(left) } else { wanted[place] };
        if granted + gap > left {
            continue;
        }
        widths[place] = granted;
        left -= granted + gap;
    }
    widths[0] += left.min(wanted[0].saturating_sub(widths[0]));
    widths
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use mcast_capture::CaptureFile;
    use mcast_packet::{MacAddress, UdpFrame};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::Display;
    use super::super::selection::Selection;
    use super::*;

    /// A capture file in which printers announce themselves by mDNS, each with its name only.
    fn printers(number: usize) -> Vec<u8> {
        let mut file = Vec::new();
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        file.extend(words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]));
        for number in 0..number {
            let name = format!("Printer {number:04}");
            let mut payload = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x04_ipp\x04_tcp\x05local\0".to_vec();
            // A pointer, valid for 4,500 s, to the name before the type.
            payload.extend(b"\0\x0c\0\x01\0\0\x11\x94\0\x0f\x0c");
            payload.extend(name.bytes().chain([0xc0, 12]));
            let datagram = UdpFrame {
                mac: MacAddress([2, 0, 0, 0, 0, 1]),
                source: [10, 0, 0, 7].into(),
                source_port: 5353,
                group: "224.0.0.251".parse().unwrap(),
                destination_port: 5353,
                hop_limit: 255,
                payload: &payload,
            };
            let mut frame = [0; 256];
            let length = datagram.emit(&mut frame).unwrap();
            file.extend(words(&[1_700_000_000, 0, length as u32, length as u32]));
            file.extend(&frame[..length]);
        }
        file
    }

    /// Returns the processor time of this thread; where the system does not list it, the time.
    fn processor_time() -> Duration {
        match std::fs::read_to_string("/proc/thread-self/schedstat") {
            Ok(statistics) => Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap()),
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap(),
        }
    }

    /// The list is redrawn once per second, so that 50 ms are 5 % of a core. A build for tests takes several times as long.
    #[test]
    fn five_thousand_services_are_redrawn_in_time_and_can_be_filtered() {
        let most = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });
        let file = CaptureFile::from_reader(Cursor::new(printers(5_000)), "printers").unwrap();
        let discovery = Discovery::start(file.into()).unwrap();
        while !discovery.is_over() {
            let _ = discovery.next_event(None);
        }
        let plan = DiscoverPlan {
            selection: Selection::new(&[], &[], &[]),
            resolve: None,
            display: Display::Screen,
            timeout: None,
            asks: false,
            is_file: false,
        };
        let mut state = State::new(&discovery, &plan, Theme::new(true));
        let mut terminal = Terminal::new(TestBackend::new(160, 50)).unwrap();
        let mut redraw = |state: &mut State<'_>| {
            let start = processor_time();
            state.refresh();
            terminal.draw(|frame| state.draw(frame)).unwrap();
            (processor_time() - start, terminal.backend().to_string())
        };
        let (fastest, picture) = (0..10).map(|_| redraw(&mut state)).min().unwrap();
        assert!(picture.contains("5,000 of 5,000") && picture.contains("Printer 0045"), "{picture}");
        state.filter.text = "printer 49".into();
        let (filtered, picture) = (0..10).map(|_| redraw(&mut state)).min().unwrap();
        assert!(picture.contains("100 of 5,000") && picture.contains("Printer 4900"), "{picture}");
        eprintln!("{fastest:?}, filtered {filtered:?}");
        assert!(fastest <= most && filtered <= most, "{fastest:?}, filtered {filtered:?}");
    }

    #[test]
    fn columns_fit_every_width() {
        let row = [
            "a".repeat(50),
            "b".repeat(20),
            "c".repeat(22),
            "eth0".into(),
            "2 min".into(),
            "3 s".into(),
            "mdns".into(),
        ];
        for width in 1..200 {
            let widths = widths([&row].into_iter(), width);
            let shown = widths.iter().filter(|width| **width > 0).count() as u16;
            assert!(
                widths[0] > 0 && widths.iter().sum::<u16>() + (shown - 1) * GAP <= width,
                "{width}: {widths:?}"
            );
        }
        assert_eq!(widths([&row].into_iter(), 199), [50, 20, 22, 9, 5, 4, 4]);
    }
}
