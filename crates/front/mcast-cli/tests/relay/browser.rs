//! A page in Chromium, as its readers see it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcast_lab::Host;

use crate::support::program;

/// Returns the browser that is there.
pub(crate) fn browser() -> Option<&'static str> {
    let has = |name: &&&str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    let found = ["chromium", "chromium-browser", "google-chrome"].iter().find(has).copied();
    if found.is_none() {
        mcast_lab::skip("this test needs chromium");
    }
    found
}

/// Opens a page until the expression holds, at several widths and in light and dark if there is a folder for pictures; returns its
/// text.
pub(crate) fn opened(
    host: &Host,
    browser: &str,
    url: &str,
    expression: &str,
    pictures: Option<&Path>,
) -> String {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("browser.py");
    std::fs::write(&script, include_str!("browser.py")).unwrap();
    let (script, profile) = (script.display().to_string(), folder.path().display().to_string());
    let pictures = pictures.map(|folder| folder.display().to_string());
    let arguments = [&script, browser, &profile, url, expression].into_iter().chain(pictures.as_deref());
    let ended = program(host, "python3", &arguments.collect::<Vec<_>>(), false).end();
    assert_eq!(ended.status, Some(0), "{url}: {ended:?}");
    ended.text().to_owned()
}

/// Returns a folder for pictures, which stays if somebody wants to look at them.
pub(crate) fn picture_folder(name: &str) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let folder =
        std::env::var_os("MCAST_PICTURES").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    (temporary, folder)
}
