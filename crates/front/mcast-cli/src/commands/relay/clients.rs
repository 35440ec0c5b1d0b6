//! HTTP clients: how they are served, and the files that they are served from.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use mcast_http::{ProxyNetwork, PublicUrl};
use mcast_relay::http::Playlist;
use mcast_relay::{Rule, Selection};
use mcast_terminal::Console;

use crate::arguments::{parse_duration, parse_host, read_token};
use crate::exit::Failure;
use crate::output::count_of;

/// The most of a playlist that is read: a byte more than what is used, which shows that there is more.
const MAX_PLAYLIST: u64 = (16 << 20) + 1;

/// Options for HTTP clients.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "HTTP clients")]
pub(super) struct ClientOptions {
    /// Serve at most N clients at the same time
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) http_clients: u16,

    /// Disconnect a client that reads nothing, or stays too far behind, for TIME
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(super) http_stall: Duration,

    /// Also serve requests for this host name, not only for addresses and localhost; repeatable
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    pub(super) http_host: Vec<String>,

    /// Let pages of this origin (https://tv.example) read the streams; `*` for all; repeatable
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin)]
    pub(super) http_origin: Vec<String>,

    /// Serve only requests with the token in the first line of FILE, as `?token=TOKEN`, `Authorization: Bearer TOKEN`, a
    /// cookie, or `token/TOKEN` in User-Agent; SIGHUP rereads it
    #[arg(long, value_name = "FILE")]
    pub(super) http_token_file: Option<PathBuf>,

    /// List the channels of this M3U playlist by their names, at / and /playlist.m3u; SIGHUP rereads it
    #[arg(long, value_name = "FILE")]
    pub(super) http_playlist: Option<PathBuf>,

    /// Begin the URLs in playlists with URL (https://tv.example/iptv), for a reverse proxy
    #[arg(long, value_name = "URL")]
    pub(super) http_public_url: Option<PublicUrl>,

    /// Trust what the reverse proxy at this address or network says in X-Forwarded-Proto, -Host, -Prefix and -For;
    /// repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(super) http_proxy: Vec<ProxyNetwork>,
}

impl ClientOptions {
    /// Checks that what rules serve is given.
    pub(super) fn check(&self, rules: &[Rule]) -> anyhow::Result<()> {
        let serves_playlist = rules.iter().any(|rule| rule.traffic.selection == Selection::Playlist);
        if serves_playlist && self.http_playlist.is_none() {
            let text = "a rule serves the playlist, and there is none";
            return Err(Failure::usage(text).remedy("name one: --http-playlist FILE").into());
        }
        Ok(())
    }

    /// Returns what requests must have.
    pub(super) fn read_token(&self, console: &Console) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.http_token_file else { return Ok(None) };
        read_token(path, console).map(Some)
    }

    /// Returns the channels with names.
    pub(super) fn read_playlist(&self, console: &Console) -> anyhow::Result<Playlist> {
        let Some(path) = &self.http_playlist else { return Ok(Playlist::default()) };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_PLAYLIST).read_to_end(&mut bytes));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        let playlist = Playlist::read(&bytes);
        explain(&playlist, path, console);
        Ok(playlist)
    }
}

/// Names what could not be used of a playlist.
fn explain(playlist: &Playlist, path: &Path, console: &Console) {
    let path = path.display();
    if let Some(encoding) = playlist.encoding() {
        let remedy = "if names are wrong, add a line `#EXTENC: ENCODING`, or convert it to UTF-8";
        console.note(format_args!("{path} is not UTF-8: read as {encoding}; {remedy}"));
    }
    let passed_over = playlist.passed_over();
    for odd in passed_over.first() {
        console.warn(format_args!("{path}, {odd}"));
    }
    match passed_over.count() - passed_over.first().len() as u64 {
        0 => {}
        more => console.warn(format_args!("{path}: passed over {} more", count_of(more, "line"))),
    }
    if playlist.channels().next().is_none() {
        console.warn(format_args!("{path} names no group"));
    }
}

/// Parses an origin, as it is in the header `Origin`.
fn parse_origin(text: &str) -> Result<String, &'static str> {
    let is_authority = |rest: &str| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ']);
    match text.split_once("://") {
        _ if ["*", "null"].contains(&text) => Ok(text.to_owned()),
        Some(("http" | "https", authority)) if is_authority(authority) => Ok(text.to_ascii_lowercase()),
        _ => Err("write a scheme and a host without a path: https://tv.example, or * for all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_origins_are_those_that_a_browser_sends() {
        assert_eq!(parse_host("tv.lan").unwrap(), "tv.lan");
        assert!(["", "tv.lan:4022", "http://tv.lan", "[::1]"].iter().all(|text| parse_host(text).is_err()));
        for origin in ["https://tv.example", "http://10.0.0.1:8000", "null", "*"] {
            assert_eq!(parse_origin(origin).unwrap(), origin);
        }
        for other in ["tv.example", "https://tv.example/", "https://", "file://", "ftp://tv.example"] {
            assert!(parse_origin(other).is_err(), "{other}");
        }
    }
}
