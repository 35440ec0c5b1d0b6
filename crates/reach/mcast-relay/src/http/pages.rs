//! The pages, which share one style.

/// Their content type.
pub(super) const HTML: &str = "text/html; charset=utf-8";

const STYLE: (&str, &str) = ("/* style.css */", include_str!("style.css"));
const PLAYER: (&str, &str) = ("/* player.js */", include_str!("player.js"));
/// Where a page has the path under which clients reach the server.
const ROOT: &str = "/* root */";

/// Returns the page with the channels.
pub(super) fn index(root: &str) -> String {
    filled(include_str!("index.html"), &[STYLE, PLAYER, (ROOT, root)])
}

/// Returns the page with these tables of the status.
pub(super) fn status(root: &str, tables: &str) -> String {
    filled(include_str!("status.html"), &[STYLE, (ROOT, root), ("<!-- status -->", tables)])
}

fn filled(page: &str, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(page.to_owned(), |page, (place, part)| page.replacen(place, part, 1))
}
