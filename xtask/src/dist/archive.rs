//! Archives of the program and its manual: `.tar.gz`, and `.zip` for Windows.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::Release;
use super::program::Build;
use super::tree::{self, File};
use crate::{docs, folder};

pub(super) fn write(release: &Release, build: &Build, program: &Path, out: &Path) -> Result<()> {
    let name = release.name(build.label);
    let windows = build.file.ends_with(".exe");
    let files = contents(release, &name, build, program)?;
    let (path, bytes) = match windows {
        true => (out.join(format!("{name}.zip")), zip(release, &files)?),
        false => (out.join(format!("{name}.tar.gz")), tree::gzip(&tar(release, &files)?)?),
    };
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn contents(release: &Release, name: &str, build: &Build, program: &Path) -> Result<Vec<File>> {
    let mut files = vec![File::program(format!("{name}/{}", build.file), program)?];
    for text in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
        files.push(File::plain(format!("{name}/{text}"), tree::read(&release.root.join(text))?));
    }
    for kind in ["completions", "man"] {
        for (file, bytes) in folder::files(&docs::folder().join(kind))? {
            files.push(File::plain(format!("{name}/{kind}/{file}"), bytes));
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn tar(release: &Release, files: &[File]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(file.bytes.len() as u64);
        header.set_mtime(release.time);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, &file.path, file.bytes.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

fn zip(release: &Release, files: &[File]) -> Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let time = zip_time(release.time)?;
    for file in files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(time)
            .unix_permissions(mode);
        writer.start_file(file.path.as_str(), options)?;
        writer.write_all(&file.bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

/// Converts a time for a zip file, which stores a date and time in units of 2 s without a time zone; this is UTC.
fn zip_time(seconds: u64) -> Result<zip::DateTime> {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let time = zip::DateTime::from_date_and_time(
        u16::try_from(year)?,
        u8::try_from(month)?,
        u8::try_from(day)?,
        u8::try_from(hour)?,
        u8::try_from(minute)?,
        u8::try_from(second)?,
    );
    time.context("the commit is older than the first date of zip files")
}

/// Returns year, month and day of the Gregorian calendar, `days` after 1970-01-01.
pub(super) fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
        assert_eq!(civil(20_818), (2026, 12, 31));
    }

    #[test]
    fn a_zip_contains_its_files() {
        let release = Release::of(&crate::root()).unwrap();
        let files = [File::plain("a/b.txt", b"hello".to_vec())];

        let mut archive = zip::ZipArchive::new(Cursor::new(zip(&release, &files).unwrap())).unwrap();

        let mut text = String::new();
        std::io::Read::read_to_string(&mut archive.by_name("a/b.txt").unwrap(), &mut text).unwrap();
        assert_eq!(text, "hello");
    }
}
