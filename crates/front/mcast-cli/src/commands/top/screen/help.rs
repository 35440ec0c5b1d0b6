//! The help for keys and columns.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::network::scrolled;
use super::state::State;

const KEYS: [(&str, &str); 11] = [
    ("q, Ctrl-C", "quit"),
    ("↑ ↓ PgUp PgDn Home End", "select a stream, scroll; ← → move long lines"),
    ("Enter", "details of the selected stream; again: back"),
    ("Tab, n", "queriers, routers, members, messages; again: back"),
    ("Esc", "back; among the streams: show all again"),
    ("s, S; r", "sort by the next column, the previous one; reverse the order"),
    ("/", "show only streams with this text in a column"),
    ("p, Space", "pause the screen; counting continues"),
    ("w", "record the selected stream to a file; again: end it"),
    ("x", "reset all counters"),
    ("", ""),
];

const COLUMNS: [(&str, &str); 9] = [
    ("dgram/s, bit/s", "in the last interval; bits are those of the payload"),
    ("trend", "bytes in each of the last intervals, the highest full"),
    ("loss", "share that is missing, by sequence numbers: RTP, MPEG-TS,"),
    ("", "MoldUDP64, mcast perf, or --seq; – where there are none"),
    ("ttl", "TTL or hop limit on arrival here"),
    ("jitter", "as in RFC 3550 where datagrams have a timestamp, such as RTP in"),
    ("", "formats whose clock is known; ~ jitter of the gaps between them"),
    ("joined", "processes here, then hosts whose reports were seen: with"),
    ("", "IGMPv2 and MLDv1, a host is silent when another has reported"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State<'_>) {
    let theme = state.theme;
    let line = |(key, what): &(&str, &str), width| {
        Line::from(vec![Span::styled(format!("{key:<width$}"), theme.key), Span::raw((*what).to_owned())])
    };
    let mut lines: Vec<Line<'_>> = KEYS.iter().map(|pair| line(pair, 24)).collect();
    lines.extend(COLUMNS.iter().map(|pair| line(pair, 16)));
    scrolled(frame, area, state, lines);
}
