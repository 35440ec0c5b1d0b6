//! What is being served, as a page and as JSON.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::Serialize;

use mcast_http::{HttpConnection, Subscription};
use mcast_pace::ClockTime;

use super::channel::{Channel, ChannelKey};
use super::pages;
use super::playlist::HttpChannel;
use super::server::{HttpServer, StreamOf};

/// One object.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Status {
    /// Record type
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["status"])))]
    event: &'static str,
    /// Clients that receive a stream
    clients: Vec<ClientStatus>,
    /// Groups that are received
    groups: Vec<GroupStatus>,
    /// Channels that the rules serve: those of the playlist, single groups of rules, and what clients request
    channels: Vec<ChannelStatus>,
    /// What is served
    rules: Vec<RuleStatus>,
    /// Streams that clients have received
    served: u64,
    /// Datagrams received for them
    datagrams: u64,
    /// Bytes sent to clients
    sent_bytes: u64,
    /// Datagrams that were not sent to a client because it had fallen behind
    skipped: u64,
    /// Requests that were refused and clients that were dropped, by reason
    refused: Vec<RefusedCount>,
}

/// A client
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ClientStatus {
    /// Address and port
    address: String,
    /// Form of the stream
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["udp", "rtp", "sse", "ws"])))]
    form: &'static str,
    /// Group and port, with its sources
    group: String,
    /// Time since it connected, in seconds
    seconds: f64,
    /// Bytes sent to it
    sent_bytes: u64,
    /// Datagrams that it missed because it had fallen behind
    skipped: u64,
    /// Datagrams or events that it has not taken yet
    waiting: u64,
}

/// A group
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GroupStatus {
    /// Group and port, with its sources
    group: String,
    /// Leg that it is received on
    from: String,
    /// Number of clients
    clients: usize,
    /// Datagrams received
    datagrams: u64,
    /// Bytes of payload received
    bytes: u64,
    /// Present rate of payload
    bits_per_second: u64,
    /// Datagrams lost on this host, at most
    lost: u64,
    /// Packets of RTP that did not arrive in time
    rtp_missing: u64,
    /// Packets of RTP that were repeated, late or of another source
    rtp_discarded: u64,
}

/// One channel
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ChannelStatus {
    /// Name in the playlist of `--http-playlist`, or the group
    name: String,
    /// Group and port, with its sources
    group: String,
    /// Path of its stream
    path: String,
}

/// A rule
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RuleStatus {
    /// Groups and ports
    traffic: String,
    /// Leg
    from: String,
    /// Address that clients connect to
    to: String,
    /// Whether the leg can be used
    is_up: bool,
}

/// A reason
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RefusedCount {
    /// Name of the reason
    reason: &'static str,
    /// Number of requests or clients
    count: u64,
}

/// The schema of the status as JSON.
#[cfg(feature = "schema")]
pub(super) fn schema() -> mcast_json::RecordSchema {
    let title = "Status of the HTTP clients of a relay (`/status.json`)";
    mcast_json::RecordSchema::new::<Status>("relay-http-status", title)
}

impl HttpServer {
    /// Returns the status, and its content type.
    pub(super) fn status(
        &self,
        now: ClockTime,
        listener: SocketAddr,
        json: bool,
        root: &str,
    ) -> (&'static str, String) {
        let status = self.current(now, listener);
        match json {
            // Strings and numbers can always be written.
            true => ("application/json", serde_json::to_string(&status).unwrap_or_default() + "\n"),
            false => (pages::HTML, pages::status(root, &status.tables())),
        }
    }

    fn current(&self, now: ClockTime, listener: SocketAddr) -> Status {
        let counts = self.counts();
        let refused = counts.refusals().map(|(reason, count)| RefusedCount { reason: reason.name(), count });
        let client = |(_, client): (_, &HttpConnection<StreamOf>)| {
            let subscription = client.subscription()?;
            Some(self.client_status(now, client, subscription))
        };
        let rules = self.listing.rules().iter().map(|rule| RuleStatus {
            traffic: rule.traffic.to_string(),
            from: rule.leg_name.clone(),
            to: format!("http://{}", rule.listener),
            is_up: rule.is_up,
        });
        Status {
            event: "status",
            clients: self.connections.iter().filter_map(client).collect(),
            groups: self.channels.iter().map(|(key, channel)| self.group_status(now, key, channel)).collect(),
            channels: self.listing.channels(listener, self.channels.keys()).map(ChannelStatus::of).collect(),
            rules: rules.collect(),
            served: counts.served,
            datagrams: counts.datagrams,
            sent_bytes: counts.sent_bytes,
            skipped: counts.skipped,
            refused: refused.collect(),
        }
    }

    fn client_status(
        &self,
        now: ClockTime,
        client: &HttpConnection<StreamOf>,
        subscription: &Subscription<StreamOf>,
    ) -> ClientStatus {
        let StreamOf { channel, kind, .. } = &subscription.of;
        let feed = self.channels.get(channel).and_then(|channel| channel.feed(*kind));
        ClientStatus {
            address: client.address.to_string(),
            form: kind.name(),
            group: text(channel),
            seconds: (now - client.since).as_secs_f64(),
            sent_bytes: client.sent,
            skipped: subscription.skipped,
            waiting: feed.map_or(0, |feed| feed.end().saturating_sub(subscription.cursor.position)),
        }
    }

    fn group_status(&self, now: ClockTime, key: &ChannelKey, channel: &Channel) -> GroupStatus {
        let rule = self.listing.rules().iter().find(|rule| rule.leg == key.leg);
        let (rtp_missing, rtp_discarded) = channel.rtp_counts();
        GroupStatus {
            group: text(key),
            from: rule.map(|rule| rule.leg_name.clone()).unwrap_or_default(),
            clients: channel.clients(),
            datagrams: channel.counts.datagrams,
            bytes: channel.counts.bytes,
            bits_per_second: channel.bit_rate(now) as u64,
            lost: channel.counts.lost,
            rtp_missing,
            rtp_discarded,
        }
    }
}

impl Status {
    fn tables(&self) -> String {
        let mut page = format!(
            "<p>Served {}, sent {} bytes</p>\n",
            counted(self.served, "stream"),
            grouped(self.sent_bytes)
        );
        let rules = self.rules.iter().map(RuleStatus::cells);
        table(&mut page, "Rules", &["traffic", "from", "to", "usable"], 4, rules);
        let columns =
            ["group", "from", "clients", "datagrams", "kbit/s", "lost here", "RTP missing", "RTP discarded"];
        table(&mut page, "Groups", &columns, 2, self.groups.iter().map(GroupStatus::cells));
        let columns = ["client", "form", "group", "seconds", "bytes sent", "waiting", "skipped"];
        table(&mut page, "Clients", &columns, 3, self.clients.iter().map(ClientStatus::cells));
        let refused = self.refused.iter().map(|refused| vec![refused.reason.into(), grouped(refused.count)]);
        table(&mut page, "Refused or dropped", &["reason", "number"], 1, refused);
        page
    }
}

impl ChannelStatus {
    fn of(channel: HttpChannel) -> Self {
        let (group, path) = (channel.membership.to_string(), channel.path());
        Self { name: channel.name, group, path }
    }
}

impl RuleStatus {
    fn cells(&self) -> Vec<String> {
        let is_up = if self.is_up { "yes" } else { "no" };
        vec![self.traffic.clone(), self.from.clone(), self.to.clone(), is_up.into()]
    }
}

impl GroupStatus {
    fn cells(&self) -> Vec<String> {
        let numbers =
            [self.datagrams, self.bits_per_second / 1_000, self.lost, self.rtp_missing, self.rtp_discarded];
        let first = [self.group.clone(), self.from.clone(), self.clients.to_string()];
        first.into_iter().chain(numbers.map(grouped)).collect()
    }
}

impl ClientStatus {
    fn cells(&self) -> Vec<String> {
        let first =
            [self.address.clone(), self.form.into(), self.group.clone(), format!("{:.0}", self.seconds)];
        let numbers = [self.sent_bytes, self.waiting, self.skipped];
        first.into_iter().chain(numbers.map(grouped)).collect()
    }
}

fn text(key: &ChannelKey) -> String {
    key.membership().to_string()
}

/// Adds a table, of whose columns the first ones are text and the others numbers.
fn table(
    page: &mut String,
    title: &str,
    columns: &[&str],
    texts: usize,
    rows: impl Iterator<Item = Vec<String>>,
) {
    let class = |column: usize| if column < texts { "" } else { " class=\"number\"" };
    // Writing to a string does not fail.
    let _ = writeln!(page, "<h2>{title}</h2>\n<table>\n<thead><tr>");
    for (number, column) in columns.iter().enumerate() {
        let _ = write!(page, "<th{}>{column}</th>", class(number));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let mut count = 0;
    for row in rows {
        page.push_str("<tr>");
        for (number, (column, cell)) in columns.iter().zip(&row).enumerate() {
            let _ = write!(page, "<td data-label=\"{column}\"{}>{}</td>", class(number), escape(cell));
        }
        page.push_str("</tr>\n");
        count += 1;
    }
    if count == 0 {
        let _ = writeln!(page, "<tr><td class=\"quiet\" colspan=\"{}\">none</td></tr>", columns.len());
    }
    page.push_str("</tbody>\n</table>\n");
}

/// Returns a number with its noun, in the plural unless it is one.
fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Returns a number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
