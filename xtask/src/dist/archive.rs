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
    let bytes = match windows {
        true => zip(release, &files)?,
        false => tree::gzip(&tar(release, &files)?)?,
    };
    let path = out.join(file_name(&name, build));
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Returns the file name of an archive with this name.
fn file_name(name: &str, build: &Build) -> String {
    let extension = if build.file.ends_with(".exe") { "zip" } else { "tar.gz" };
    format!("{name}.{extension}")
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
    use crate::dist::PROGRAMS;

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

    /// Replaces the variables of cargo-binstall in a text of the metadata, for a target.
    fn rendered(text: &str, release: &Release, target: &str) -> String {
        let architecture = target.split('-').next().unwrap();
        let extension = if target.contains("windows") { ".exe" } else { "" };
        let values = [
            ("{ repo }", "REPOSITORY"),
            ("{ version }", release.version.as_str()),
            ("{ target-arch }", architecture),
            ("{ bin }", "mcast"),
            ("{ binary-ext }", extension),
        ];
        let text = values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        assert!(!text.contains('{'), "{text}");
        text
    }

    #[test]
    fn binstall_finds_each_archive_and_the_program_in_it() {
        let release = Release::of(&crate::root()).unwrap();
        let package =
            release.metadata.packages.iter().find(|package| package.name.as_str() == "mcast-cli").unwrap();
        let own = &package.metadata["binstall"];
        let targets = [
            ("x86_64-unknown-linux-gnu", "x86_64-linux"),
            ("x86_64-unknown-linux-musl", "x86_64-linux"),
            ("aarch64-unknown-linux-gnu", "aarch64-linux"),
            ("aarch64-unknown-linux-musl", "aarch64-linux"),
            ("x86_64-pc-windows-gnu", "x86_64-windows"),
            ("x86_64-pc-windows-msvc", "x86_64-windows"),
        ];
        for build in &PROGRAMS {
            assert!(targets.iter().any(|(_, label)| *label == build.label), "{}", build.label);
        }
        for (target, label) in targets {
            let build = PROGRAMS.iter().find(|build| build.label == label).unwrap();
            let name = release.name(label);
            let of =
                |key: &str| own["overrides"][target].get(key).unwrap_or_else(|| &own[key]).as_str().unwrap();
            let url =
                format!("REPOSITORY/releases/download/v{}/{}", release.version, file_name(&name, build));
            assert_eq!(rendered(of("pkg-url"), &release, target), url);
            assert_eq!(rendered(of("bin-dir"), &release, target), format!("{name}/{}", build.file));
            let format = if build.file.ends_with(".exe") { "zip" } else { "tgz" };
            assert_eq!(of("pkg-fmt"), format);
        }
    }

    /// The workflow of a release builds with the compilers and targets that the programs need.
    #[test]
    fn workflow_of_a_release_installs_what_the_programs_are_built_with() {
        let workflow = std::fs::read_to_string(crate::root().join(".github/workflows/release.yml")).unwrap();
        for build in &PROGRAMS {
            assert!(workflow.contains(build.target()), "{}", build.label);
        }
        for package in
            ["gcc-aarch64-linux-gnu", "gcc-mingw-w64-x86-64", "musl-tools", "dpkg-dev", "python3-venv"]
        {
            assert!(workflow.contains(package), "{package}");
        }
        assert!(workflow.contains("cargo dist-local") && workflow.contains("--draft"), "{workflow}");
    }
}
