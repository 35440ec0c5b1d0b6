//! What is being served, as a page and as JSON.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::Serialize;

use mcast_pace::ClockTime;

use super::channel::{Channel, ChannelKey};
use super::client::{Client, Subscription};
use super::playlist::HttpChannel;
use super::server::HttpServer;

#[derive(Serialize)]
struct Status {
    event: &'static str,
    clients: Vec<ClientStatus>,
    groups: Vec<GroupStatus>,
    channels: Vec<ChannelStatus>,
    rules: Vec<RuleStatus>,
    served: u64,
    datagrams: u64,
    sent_bytes: u64,
    skipped: u64,
    refused: Vec<RefusedCount>,
}

#[derive(Serialize)]
struct ClientStatus {
    address: String,
    form: &'static str,
    group: String,
    seconds: f64,
    sent_bytes: u64,
    skipped: u64,
    waiting: u64,
}

#[derive(Serialize)]
struct GroupStatus {
    group: String,
    from: String,
    clients: usize,
    datagrams: u64,
    bytes: u64,
    bits_per_second: u64,
    lost: u64,
    rtp_missing: u64,
    rtp_discarded: u64,
}

#[derive(Serialize)]
struct ChannelStatus {
    name: String,
    group: String,
    path: String,
}

#[derive(Serialize)]
struct RuleStatus {
    traffic: String,
    from: String,
    to: String,
    is_up: bool,
}

#[derive(Serialize)]
struct RefusedCount {
    reason: &'static str,
    count: u64,
}

const STYLE: &str = "body{font-family:sans-serif}table{border-collapse:collapse}td,th{padding:.2em .8em;\
    border-bottom:1px solid #ccc;text-align:right}td:first-child,th:first-child{text-align:left}";

impl HttpServer {
    /// Returns the status, and its content type.
    pub(super) fn status(&self, now: ClockTime, listener: SocketAddr, json: bool) -> (&'static str, String) {
        let status = self.current(now, listener);
        match json {
            // Strings and numbers can always be written.
            true => ("application/json", serde_json::to_string(&status).unwrap_or_default() + "\n"),
            false => ("text/html; charset=utf-8", status.page()),
        }
    }

    fn current(&self, now: ClockTime, listener: SocketAddr) -> Status {
        let counts = &self.counts;
        let refused = counts.refusals().map(|(reason, count)| RefusedCount { reason: reason.name(), count });
        let client = |client: &Client| {
            let subscription = client.subscription()?;
            Some(self.client_status(now, client, subscription))
        };
        let rules = self.rules.iter().map(|rule| RuleStatus {
            traffic: rule.traffic.to_string(),
            from: rule.leg_name.clone(),
            to: format!("http://{}", rule.listener),
            is_up: rule.is_up,
        });
        Status {
            event: "status",
            clients: self.clients.values().filter_map(client).collect(),
            groups: self.channels.iter().map(|(key, channel)| self.group_status(now, key, channel)).collect(),
            channels: self.channels_at(listener).iter().map(ChannelStatus::of).collect(),
            rules: rules.collect(),
            served: counts.served,
            datagrams: counts.datagrams,
            sent_bytes: counts.sent_bytes,
            skipped: counts.skipped,
            refused: refused.collect(),
        }
    }

    fn client_status(&self, now: ClockTime, client: &Client, subscription: &Subscription) -> ClientStatus {
        let feed =
            self.channels.get(&subscription.channel).and_then(|channel| channel.feed(subscription.kind));
        ClientStatus {
            address: client.address.to_string(),
            form: subscription.kind.name(),
            group: text(&subscription.channel),
            seconds: (now - client.since).as_secs_f64(),
            sent_bytes: client.sent,
            skipped: subscription.skipped,
            waiting: feed.map_or(0, |feed| feed.end().saturating_sub(subscription.cursor.position)),
        }
    }

    fn group_status(&self, now: ClockTime, key: &ChannelKey, channel: &Channel) -> GroupStatus {
        let rule = self.rules.iter().find(|rule| rule.leg == key.leg);
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
    fn page(&self) -> String {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mcast relay</title>\
             <style>{STYLE}</style></head><body>\n<h1>mcast relay</h1>\n"
        );
        let rules: Vec<_> = self.rules.iter().map(RuleStatus::cells).collect();
        table(&mut page, "Rules", &["traffic", "from", "to", "usable"], &rules);
        let groups: Vec<_> = self.groups.iter().map(GroupStatus::cells).collect();
        let columns =
            ["group", "from", "clients", "datagrams", "kbit/s", "lost here", "RTP missing", "RTP discarded"];
        table(&mut page, "Groups", &columns, &groups);
        let clients: Vec<_> = self.clients.iter().map(ClientStatus::cells).collect();
        let columns = ["client", "form", "group", "seconds", "bytes sent", "waiting", "skipped"];
        table(&mut page, "Clients", &columns, &clients);
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|refused| vec![refused.reason.into(), refused.count.to_string()])
            .collect();
        table(&mut page, "Refused or dropped", &["reason", "number"], &refused);
        page + "</body></html>\n"
    }
}

impl ChannelStatus {
    fn of(channel: &HttpChannel) -> Self {
        Self { name: channel.name.clone(), group: channel.membership.to_string(), path: channel.path() }
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
        first.into_iter().chain(numbers.map(|number| number.to_string())).collect()
    }
}

impl ClientStatus {
    fn cells(&self) -> Vec<String> {
        let first =
            [self.address.clone(), self.form.into(), self.group.clone(), format!("{:.0}", self.seconds)];
        let numbers = [self.sent_bytes, self.waiting, self.skipped];
        first.into_iter().chain(numbers.map(|number| number.to_string())).collect()
    }
}

fn text(key: &ChannelKey) -> String {
    key.membership().to_string()
}

fn table(page: &mut String, title: &str, columns: &[&str], rows: &[Vec<String>]) {
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String = cells.map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    // Writing to a string does not fail.
    let _ = writeln!(page, "<h2>{title}</h2>\n<table>");
    page.push_str(&row("th", &mut columns.iter().copied()));
    rows.iter().for_each(|cells| page.push_str(&row("td", &mut cells.iter().map(String::as_str))));
    page.push_str("</table>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
