//! `mcast top` on hosts of a lab, with real packets, and on a real terminal.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../relay/browser.rs"]
mod browser;
mod captures;
mod files;
#[path = "../command/film.rs"]
mod film;
mod following;
mod help;
mod metrics;
mod once;
mod pseudoterminal;
mod published;
#[path = "../command/schemas.rs"]
mod schemas;
mod screen;
mod streams;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod terminal;
mod web;
