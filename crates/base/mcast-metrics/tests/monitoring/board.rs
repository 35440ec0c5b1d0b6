//! The board for Grafana: what it shows, as a list, and the file that follows from it.
//!
//! `MCAST_BLESS=1 cargo test -p mcast-metrics --test monitoring` writes the file.

use serde_json::{Value, json};

use Kind::{Figure, Series, States, Table};

/// Metrics of which every process of a kind serves one with each label that variables choose by.
const INSTANCES: &str = "label_values({__name__=~\"mcast_.+\"}, instance)";
const STREAMS: &str = "label_values({__name__=~\"mcast_stream_publisher_messages_total|mcast_stream_subscriber_messages_total\"}, stream)";
const GROUPS: &str = "label_values(mcast_stream_bytes_total, group)";

const GREEN: &str = "green";
const ORANGE: &str = "orange";
const RED: &str = "red";

/// How a panel shows its queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// One number, whose colour is that of its threshold.
    Figure,
    /// The labels of present series.
    Table,
    /// Which state each series was in, and when: 0 is bad or over, 1 is what the texts say.
    States(&'static str, &'static str),
    /// Curves, and a line at each threshold.
    Series,
}

/// A panel.
pub(crate) struct Panel {
    title: &'static str,
    kind: Kind,
    unit: &'static str,
    /// Columns of 24.
    width: u32,
    description: &'static str,
    /// Expressions, in which `{i}` stands for the selected instances, `{s}` also for the selected streams, and `{g}` also for the selected
    /// groups; and the legend of each.
    queries: &'static [(&'static str, &'static str)],
    /// From which value on a colour holds.
    thresholds: &'static [(f64, &'static str)],
}

const fn panel(
    (title, kind, unit, width): (&'static str, Kind, &'static str, u32),
    description: &'static str,
    queries: &'static [(&'static str, &'static str)],
    thresholds: &'static [(f64, &'static str)],
) -> Panel {
    Panel { title, kind, unit, width, description, queries, thresholds }
}

const UP: Kind = States("down", "up");

/// The rows, with their panels. A number that is 0 where all is well is 0 there, and missing where nothing of its kind runs.
const ROWS: [(&str, &[Panel]); 7] = [
    (
        "At a glance",
        &[
            panel(
                ("Alerts firing", Figure, "none", 4),
                "Alerts of mcast.rules.yml that fire; those that are pending are not counted.",
                &[("count(ALERTS{i,alertname=~\"Mcast.+\",alertstate=\"firing\"}) or vector(0)", "")],
                &[(1.0, RED)],
            ),
            panel(
                ("Processes that do not respond", Figure, "none", 4),
                "Of the scrape jobs whose names begin with mcast.",
                &[("sum(1 - up{i,job=~\"mcast.*\"})", "")],
                &[(1.0, RED)],
            ),
            panel(
                ("Faults found by doctors", Figure, "none", 4),
                "The tables below name them.",
                &[("sum(mcast_doctor_findings{i,severity=\"fault\"})", "")],
                &[(1.0, RED)],
            ),
            panel(
                ("Messages lost", Figure, "none", 4),
                "By subscribers, in the selected time.",
                &[("sum(increase(mcast_stream_subscriber_lost_messages_total{s}[$__range]))", "")],
                &[(1.0, RED)],
            ),
            panel(
                ("Legs and tunnels down", Figure, "none", 4),
                "Of relays.",
                &[("sum(1 - (mcast_relay_leg_up{i} or mcast_relay_tunnel_up{i}))", "")],
                &[(1.0, RED)],
            ),
            panel(
                ("Engines without connection", Figure, "none", 4),
                "Of bridges.",
                &[("sum(1 - mcast_bridge_engine_connected{i})", "")],
                &[(1.0, RED)],
            ),
            panel(
                ("Alerts", Table, "none", 12),
                "Alerts that fire. Each has a remedy in its annotations.",
                &[("ALERTS{i,alertname=~\"Mcast.+\",alertstate=\"firing\"}", "")],
                &[],
            ),
            panel(
                ("Findings", Table, "none", 12),
                "Findings of the latest examinations by name: mcast explain FINDING describes each, and mcast doctor GROUP:PORT has the \
                 commands that repair it.",
                &[("mcast_doctor_finding{i}", "")],
                &[],
            ),
            panel(
                ("Processes", UP, "none", 12),
                "Scrape jobs whose names begin with mcast.",
                &[("up{i,job=~\"mcast.*\"}", "{{job}} {{instance}}")],
                &[],
            ),
            panel(
                ("Findings over time", States("gone", "found"), "none", 12),
                "A finding that is gone is shown as such for the rest of the selected time.",
                &[(
                    "max by (finding, group, interface, instance) (mcast_doctor_finding{i}) or 0 * max by (finding, group, \
                     interface, instance) (max_over_time(mcast_doctor_finding{i}[$__range]))",
                    "{{finding}} {{group}} {{interface}} {{instance}}",
                )],
                &[],
            ),
        ],
    ),
    (
        "Streams",
        &[
            panel(
                ("Messages", Series, "ops", 8),
                "Published and delivered per second.",
                &[
                    (
                        "sum by (instance) (rate(mcast_stream_publisher_messages_total{s}[$__rate_interval]))",
                        "published {{instance}}",
                    ),
                    (
                        "sum by (instance) (rate(mcast_stream_subscriber_messages_total{s}[$__rate_interval]))",
                        "delivered {{instance}}",
                    ),
                ],
                &[],
            ),
            panel(
                ("Losses and repairs", Series, "none", 8),
                "What was lost is also in the log of the subscriber, with its numbers.",
                &[
                    (
                        "sum by (instance) (increase(mcast_stream_subscriber_lost_messages_total{s}[$__rate_interval]))",
                        "messages lost {{instance}}",
                    ),
                    (
                        "sum by (instance) (increase(mcast_stream_subscriber_repaired_total{s}[$__rate_interval]))",
                        "datagrams repaired {{instance}}",
                    ),
                ],
                &[],
            ),
            panel(
                ("Subscribers", Series, "none", 8),
                "Present subscribers of each publisher.",
                &[("mcast_stream_publisher_subscribers{s}", "{{instance}} {{stream}}")],
                &[],
            ),
            panel(
                ("Publishers that wait for acknowledgements", States("no", "quorum lost"), "none", 12),
                "Too few subscribers can acknowledge messages (publish --ack).",
                &[("mcast_stream_publisher_quorum_lost{s}", "{{instance}} {{stream}}")],
                &[],
            ),
            panel(
                ("Logs above their limits", States("no", "held"), "none", 12),
                "The log has messages that were not sent, acknowledged or received, and exceeds --max-size or --max-age.",
                &[("mcast_stream_publisher_log_held{s}", "{{instance}} {{stream}}")],
                &[],
            ),
        ],
    ),
    (
        "Doctor",
        &[
            panel(
                ("Findings by severity", Series, "none", 12),
                "",
                &[("mcast_doctor_findings{i}", "{{severity}} {{instance}}")],
                &[],
            ),
            panel(
                ("Age of the latest examination", Series, "s", 12),
                "",
                &[("time() - mcast_doctor_examination_end_seconds{i}", "{{instance}}")],
                &[(1800.0, ORANGE)],
            ),
        ],
    ),
    (
        "Relay",
        &[
            panel(
                ("Legs and tunnels", UP, "none", 12),
                "",
                &[
                    ("mcast_relay_leg_up{i}", "leg {{leg}} {{instance}}"),
                    ("mcast_relay_tunnel_up{i}", "tunnel {{tunnel}} {{instance}}"),
                ],
                &[],
            ),
            panel(
                ("Who forwards", States("stands by", "forwards"), "none", 12),
                "Of several relays with a rule, one forwards.",
                &[("mcast_relay_forwarding{i}", "{{instance}} {{from}} to {{to}}: {{rule}}")],
                &[],
            ),
            panel(
                ("Datagrams", Series, "pps", 8),
                "",
                &[
                    (
                        "sum by (instance) (rate(mcast_relay_received_datagrams_total{i}[$__rate_interval]))",
                        "received {{instance}}",
                    ),
                    (
                        "sum by (instance) (rate(mcast_relay_copies_total{i}[$__rate_interval]))",
                        "copies {{instance}}",
                    ),
                ],
                &[],
            ),
            panel(
                ("Refused", Series, "pps", 8),
                "By reason.",
                &[(
                    "sum by (instance, reason) (rate(mcast_relay_refused_datagrams_total{i}[$__rate_interval]))",
                    "{{reason}} {{instance}}",
                )],
                &[],
            ),
            panel(
                ("Lost, and loops", Series, "none", 8),
                "Datagrams that sockets of the relay dropped, and other relays that sent datagrams back.",
                &[
                    (
                        "sum by (instance) (increase(mcast_relay_lost_datagrams_total{i}[$__rate_interval]))",
                        "datagrams lost {{instance}}",
                    ),
                    (
                        "sum by (instance) (increase(mcast_relay_loops_total{i}[$__rate_interval]))",
                        "loops {{instance}}",
                    ),
                ],
                &[],
            ),
        ],
    ),
    (
        "HTTP clients of relays",
        &[
            panel(
                ("Clients and groups", Series, "none", 8),
                "",
                &[
                    ("mcast_relay_http_clients{i}", "clients {{instance}}"),
                    ("mcast_relay_http_groups{i}", "groups {{instance}}"),
                ],
                &[],
            ),
            panel(
                ("Sent", Series, "Bps", 8),
                "",
                &[("rate(mcast_relay_http_sent_bytes_total{i}[$__rate_interval])", "{{instance}}")],
                &[],
            ),
            panel(
                ("Skipped and refused", Series, "none", 8),
                "Datagrams that a client missed because it had fallen behind; requests that were refused and clients that were dropped.",
                &[
                    (
                        "increase(mcast_relay_http_skipped_datagrams_total{i}[$__rate_interval])",
                        "skipped {{instance}}",
                    ),
                    (
                        "increase(mcast_relay_http_refused_total{i}[$__rate_interval])",
                        "{{reason}} {{instance}}",
                    ),
                ],
                &[],
            ),
        ],
    ),
    (
        "Bridge",
        &[
            panel(
                ("Engines", UP, "none", 12),
                "",
                &[("mcast_bridge_engine_connected{i}", "{{bridge}} {{instance}}")],
                &[],
            ),
            panel(
                ("Who publishes", States("stands by", "publishes"), "none", 12),
                "Of several bridges from a broker, one publishes.",
                &[("mcast_bridge_publishing{i}", "{{bridge}} {{instance}}")],
                &[],
            ),
            panel(
                ("Lag", Series, "s", 6),
                "Age of the oldest message that is not stored.",
                &[("mcast_bridge_lag_seconds{i}", "{{bridge}} {{instance}}")],
                &[(30.0, ORANGE)],
            ),
            panel(
                ("Records", Series, "ops", 6),
                "",
                &[
                    (
                        "rate(mcast_bridge_appended_records_total{i}[$__rate_interval])",
                        "appended {{instance}}",
                    ),
                    (
                        "rate(mcast_bridge_published_messages_total{i}[$__rate_interval])",
                        "published {{instance}}",
                    ),
                ],
                &[],
            ),
            panel(
                ("Gaps and losses", Series, "none", 6),
                "",
                &[
                    ("increase(mcast_bridge_gap_records_total{i}[$__rate_interval])", "gaps {{instance}}"),
                    (
                        "increase(mcast_bridge_engine_losses_total{i}[$__rate_interval])",
                        "losses of the broker {{instance}}",
                    ),
                    ("mcast_bridge_not_stored_messages{i}", "stored nowhere {{instance}}"),
                ],
                &[],
            ),
            panel(
                ("Buffer", Series, "bytes", 6),
                "",
                &[
                    ("mcast_bridge_buffered_bytes{i}", "in memory {{instance}}"),
                    ("mcast_bridge_pending_bytes{i}", "not stored {{instance}}"),
                ],
                &[],
            ),
        ],
    ),
    (
        "Streams, seen by mcast top",
        &[
            panel(
                ("Rate", Series, "Bps", 8),
                "",
                &[("rate(mcast_stream_bytes_total{g}[$__rate_interval])", "{{group}} {{instance}}")],
                &[],
            ),
            panel(
                ("Quiet", Series, "s", 8),
                "Time since the latest datagram of each stream.",
                &[("mcast_stream_quiet_seconds{g}", "{{group}} {{instance}}")],
                &[(10.0, ORANGE)],
            ),
            panel(
                ("Frames that mcast top missed", Series, "none", 8),
                "Its figures are too low then.",
                &[("increase(mcast_capture_dropped_total{i}[$__rate_interval])", "{{instance}}")],
                &[],
            ),
        ],
    ),
];

/// Returns the board.
pub(crate) fn board() -> Value {
    let mut panels = Vec::new();
    let mut top = 0;
    for (title, row) in ROWS {
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": top, "w": 24, "h": 1 },
        }));
        let (mut left, mut height) = (0, 0);
        top += 1;
        for panel in row {
            if left + panel.width > 24 {
                (left, top) = (0, top + height);
            }
            height = if panel.kind == Figure { 4 } else { 7 };
            let place = json!({ "x": left, "y": top, "w": panel.width, "h": height });
            panels.push(panel.json(panels.len() + 1, &place));
            left += panel.width;
        }
        top += height;
    }
    json!({
        "title": "mcast", "uid": "mcast", "schemaVersion": 39, "tags": ["multicast"],
        "time": { "from": "now-1h", "to": "now" }, "refresh": "10s",
        "templating": { "list": [
            { "name": "datasource", "type": "datasource", "query": "prometheus" },
            variable("instance", INSTANCES), variable("stream", STREAMS), variable("group", GROUPS),
        ] },
        "annotations": { "list": [{
            "name": "Alerts", "datasource": source(), "enable": true, "iconColor": RED, "step": "30s",
            "expr": selected("ALERTS{i,alertname=~\"Mcast.+\",alertstate=\"firing\"}"),
            "titleFormat": "{{alertname}}", "textFormat": "{{instance}} {{finding}} {{group}}", "tagKeys": "severity",
        }] },
        "panels": panels,
    })
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A variable that is everything unless something is selected, also for series without its label.
fn variable(name: &str, query: &str) -> Value {
    json!({
        "name": name, "type": "query", "datasource": source(), "definition": query,
        "query": { "query": query, "refId": name }, "refresh": 2, "sort": 1,
        "multi": true, "includeAll": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
    })
}

fn selected(expression: &str) -> String {
    let (instance, stream, group) =
        ("{instance=~\"$instance\"", ",stream=~\"$stream\"", ",group=~\"$group\"");
    expression
        .replace("{i", instance)
        .replace("{s}", &format!("{instance}{stream}}}"))
        .replace("{g}", &format!("{instance}{group}}}"))
}

impl Panel {
    fn json(&self, id: usize, place: &Value) -> Value {
        let targets = self.queries.iter().zip('A'..).map(|((expression, legend), letter)| {
            let mut target = json!({ "refId": letter, "datasource": source(), "expr": selected(expression) });
            match self.kind {
                Figure => target["instant"] = true.into(),
                Table => {
                    target["instant"] = true.into();
                    target["format"] = "table".into();
                }
                Series | States(..) => target["legendFormat"] = (*legend).into(),
            }
            target
        });
        let steps = [json!({ "value": null, "color": GREEN })]
            .into_iter()
            .chain(self.thresholds.iter().map(|(value, color)| json!({ "value": value, "color": color })));
        let mut defaults = json!({
            "unit": self.unit, "min": 0, "thresholds": { "mode": "absolute", "steps": steps.collect::<Vec<_>>() },
        });
        let mut panel = json!({
            "id": id, "title": self.title, "datasource": source(), "gridPos": place,
            "targets": targets.collect::<Vec<_>>(),
        });
        if !self.description.is_empty() {
            panel["description"] = self.description.into();
        }
        let kind = match self.kind {
            Figure => {
                panel["options"] = json!({ "colorMode": "background", "graphMode": "none" });
                defaults["decimals"] = 0.into();
                defaults["noValue"] = "none runs".into();
                "stat"
            }
            Table => {
                defaults["noValue"] = "none".into();
                panel["transformations"] = json!([
                    { "id": "organize", "options": {
                        "excludeByName": { "Time": true, "Value": true, "__name__": true, "alertstate": true, "job": true },
                        "indexByName": { "alertname": 0, "finding": 1, "severity": 2, "group": 3, "interface": 4, "source": 5,
                                         "program": 6, "instance": 7 },
                    } },
                ]);
                "table"
            }
            States(off, on) => {
                // What is good is green: a state that is named `up` or `forwards`.
                let is_good = ["up", "forwards", "publishes"].contains(&on);
                let (bad, good) = if off == "down" { (RED, GREEN) } else { ("transparent", GREEN) };
                let (zero, one) = if is_good { (bad, good) } else { ("transparent", RED) };
                defaults["mappings"] = json!([{ "type": "value", "options": {
                    "0": { "index": 0, "text": off, "color": zero }, "1": { "index": 1, "text": on, "color": one },
                } }]);
                panel["options"] = json!({ "mergeValues": true, "showValue": "auto", "rowHeight": 0.8 });
                "state-timeline"
            }
            Series => {
                if !self.thresholds.is_empty() {
                    defaults["custom"] = json!({ "thresholdsStyle": { "mode": "dashed" } });
                }
                "timeseries"
            }
        };
        let severities = json!([{ "matcher": { "id": "byName", "options": "severity" }, "properties": [
            { "id": "custom.cellOptions", "value": { "type": "color-text" } },
            { "id": "mappings", "value": [{ "type": "value", "options": {
                "fault": { "color": RED }, "critical": { "color": RED }, "warning": { "color": ORANGE }, "note": { "color": "blue" },
            } }] },
        ] }]);
        let overrides = if self.kind == Table { severities } else { json!([]) };
        panel["type"] = kind.into();
        panel["fieldConfig"] = json!({ "defaults": defaults, "overrides": overrides });
        panel
    }

    /// Whether a query has this metric and a threshold of this value is shown with it.
    fn shows_threshold(&self, metric: &str, value: f64) -> bool {
        self.queries.iter().any(|(expression, _)| expression.contains(metric))
            && self.thresholds.iter().any(|(threshold, _)| *threshold == value)
    }
}

/// Returns whether a panel shows this metric with a threshold of this value.
pub(crate) fn shows_threshold(metric: &str, value: f64) -> bool {
    ROWS.iter().flat_map(|(_, panels)| *panels).any(|panel| panel.shows_threshold(metric, value))
}
