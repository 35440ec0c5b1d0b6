//! The state of the screen.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use mcast_terminal::Console;
use mcast_watch::{Row, StreamKey};

use super::super::TopPlan;
use super::super::text::{self, Column};
use crate::output::{count_of, rfc3339};
use crate::screen::{Filter, Theme};
use mcast_watch::live::{Monitor, MonitorReport, RecordingStatus};

/// The view in the middle of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Streams,
    /// One stream.
    Detail,
    /// Queriers, routers, members, messages.
    Network,
    /// Which columns are shown.
    Columns,
    Help,
}

/// The state of the screen.
pub(super) struct State<'a> {
    pub(super) monitor: &'a Monitor,
    pub(super) theme: Theme,
    pub(super) picture: MonitorReport,
    pub(super) view: View,
    pub(super) plan: TopPlan<'a>,
    /// The columns that are shown if there is room, in their order.
    pub(super) columns: Vec<Column>,
    /// The number of the selected one of all columns.
    pub(super) column: usize,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    pub(super) filter: Filter,
    pub(super) is_paused: bool,
    pub(super) selected: Option<StreamKey>,
    /// The number of the selected row, which is selected next when the stream is gone.
    pub(super) position: usize,
    /// The number of the first row that is shown.
    pub(super) top: usize,
    /// The number of rows that fit.
    pub(super) page: usize,
    /// The scroll position of other views, down and to the side.
    pub(super) scroll: usize,
    pub(super) sideways: usize,
    /// The indexes of the streams shown, in order.
    order: Vec<usize>,
    message: Option<(String, Instant)>,
}

impl<'a> State<'a> {
    /// How long a message stays.
    const MESSAGE: Duration = Duration::from_secs(8);

    pub(super) fn new(plan: TopPlan<'a>, monitor: &'a Monitor, console: &Console) -> Self {
        let mut state = Self {
            monitor,
            theme: Theme::new(console.palette().is_coloured()),
            picture: monitor.report(SystemTime::now()),
            view: View::Streams,
            plan,
            columns: match plan.columns {
                [] => Column::SHOWN.to_vec(),
                chosen => chosen.to_vec(),
            },
            column: 0,
            sort: plan.sort,
            reversed: false,
            filter: Filter::default(),
            is_paused: false,
            selected: None,
            position: 0,
            top: 0,
            page: 1,
            scroll: 0,
            sideways: 0,
            order: Vec::new(),
            message: None,
        };
        state.arrange();
        state
    }

    /// Updates the picture, unless the screen is paused.
    pub(super) fn refresh(&mut self, now: SystemTime) {
        if !self.is_paused {
            self.picture = self.monitor.report(now);
            self.arrange();
        }
    }

    /// Shows a message for a while.
    pub(super) fn show_message(&mut self, message: String) {
        self.message = Some((message, Instant::now()));
    }

    pub(super) fn message(&self) -> Option<&str> {
        let (message, since) = self.message.as_ref()?;
        (since.elapsed() < Self::MESSAGE).then_some(message)
    }

    pub(super) fn source_has_failed(&self) -> bool {
        self.picture.is_over && !self.picture.is_file
    }

    /// Returns the streams shown, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        self.order.iter().filter_map(|place| self.picture.watch.streams.get(*place)).collect()
    }

    /// Returns the selected stream, or the one now at its position.
    pub(super) fn selected_row(&self) -> Option<&Row> {
        let rows = self.rows();
        let selected = rows.iter().find(|row| Some(row.key) == self.selected);
        selected.or_else(|| rows.get(self.position.min(rows.len().saturating_sub(1)))).copied()
    }

    /// Moves the selection by a number of rows, down or up.
    pub(super) fn step(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let selected = rows.iter().position(|row| Some(row.key) == self.selected);
        let position = selected.unwrap_or(self.position).min(last).saturating_add_signed(by).min(last);
        self.selected = rows.get(position).map(|row| row.key);
        self.position = position;
    }

    /// Shows or hides the selected column. One remains.
    pub(super) fn toggle_column(&mut self) {
        let column = Column::SHOWN[self.column.min(Column::SHOWN.len() - 1)];
        match self.columns.iter().position(|shown| *shown == column) {
            Some(_) if self.columns.len() == 1 => self.show_message("one column remains".into()),
            Some(position) => drop(self.columns.remove(position)),
            None => self.columns.push(column),
        }
        if self.plan.columns.is_empty() {
            self.columns.sort_by_key(|shown| Column::SHOWN.iter().position(|column| column == shown));
        }
    }

    /// Sorts by the next column, or the previous one.
    pub(super) fn sort_by_next(&mut self, by: isize) {
        let columns = &self.columns;
        // From a column that is hidden, the next one is the first.
        let position = columns.iter().position(|column| *column == self.sort).map(usize::cast_signed);
        let position = position.unwrap_or(if by > 0 { -1 } else { 0 });
        let next = position.saturating_add(by).rem_euclid(columns.len().cast_signed());
        self.sort = columns[next.unsigned_abs()];
        self.arrange();
        self.show_message(format!("sorted by {}", self.sort.title()));
    }

    /// Reverses the order.
    pub(super) fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.arrange();
    }

    /// Starts to record the selected stream, or ends the recording.
    pub(super) fn record_or_end(&mut self) {
        if let Some(ended) = self.monitor.end_recording() {
            self.show_message(describe_recording(&ended));
        } else if self.picture.is_file {
            self.show_message(
                "this is already a file: `mcast sniff -r FILE -w FILE` extracts a stream".into(),
            );
        } else if let Some(key) = self.selected_row().map(|row| row.key) {
            let path = file_name(&key, SystemTime::now());
            let message = match self.monitor.record(key, path.clone()) {
                Ok(()) => format!("recording into {}; w ends it", path.display()),
                Err(error) => error.to_string(),
            };
            self.show_message(message);
        }
        self.refresh(SystemTime::now());
    }

    /// Resets all counters.
    pub(super) fn clear(&mut self) {
        self.monitor.clear();
        self.refresh(SystemTime::now());
        self.show_message("counters reset".into());
    }

    /// Filters and sorts the streams.
    pub(super) fn arrange(&mut self) {
        let streams = self.picture.watch.streams.iter().enumerate();
        let mut rows: Vec<_> = streams.filter(|(_, row)| self.admits(row)).collect();
        text::sort(&mut rows, |(_, row)| row, self.sort, self.reversed, &self.picture);
        self.order = rows.into_iter().map(|(place, _)| place).collect();
    }

    fn admits(&self, row: &Row) -> bool {
        const SEARCHED: [Column; 6] =
            [Column::Group, Column::Name, Column::Source, Column::Interface, Column::Payload, Column::Joined];
        let holds =
            |column: &Column| column.text(row, &self.picture).to_lowercase().contains(&self.filter.text);
        self.filter.text.is_empty() || SEARCHED.iter().any(holds)
    }
}

/// Describes a recording: its file, the number of frames, and a failure.
pub(super) fn describe_recording(recording: &RecordingStatus) -> String {
    let RecordingStatus { path, frames, failure, .. } = recording;
    let text = format!("{}: {}", path.display(), count_of(*frames, "frame"));
    match failure {
        Some(failure) => format!("{text}, then: {failure}"),
        None => text,
    }
}

/// Returns a name such as `mcast-239.255.1.3-5000-20240501T123456Z.pcapng`, without colons, which not every file system
/// supports.
fn file_name(key: &StreamKey, now: SystemTime) -> PathBuf {
    let group = key.group.to_string().replace(':', "_");
    let seconds = rfc3339(now);
    let time = seconds.split('.').next().unwrap_or_default().replace(['-', ':'], "");
    format!("mcast-{group}-{}-{time}Z.pcapng", key.port).into()
}
