//! The Debian package of the static program. It has no dependencies; its scripts only manage services.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Release;
use super::archive::civil;
use super::tree::{self, File};
use crate::command::{finish, program, succeeds};
use crate::{docs, folder};

/// The maintainer scripts, which only manage services and their settings.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Writes `mcast_VERSION_ARCHITECTURE.deb`, with the manual and the completions that were generated; returns its path, or why it cannot be built here.
pub(crate) fn package(
    release: &Release,
    architecture: &str,
    binary: &Path,
    out: &Path,
) -> Result<Result<PathBuf, String>> {
    if !succeeds(program("dpkg-deb", ["--version"])) {
        return Ok(Err("dpkg-deb is not installed".to_owned()));
    }
    let tree = release.root.join("target/dist/debian").join(architecture);
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("emptying {}", tree.display()))?;
    }
    let files = contents(release, binary)?;
    for file in &files {
        write_file(&tree, file)?;
    }
    let size: usize = files.iter().map(|file| file.bytes.len().div_ceil(1024)).sum();
    write_file(&tree, &File::plain("DEBIAN/control", control(release, architecture, size)?.into_bytes()))?;
    for name in SCRIPTS {
        let path = release.root.join("packaging/debian").join(name);
        write_file(&tree, &File::program(format!("DEBIAN/{name}"), &path)?)?;
    }
    let path = out.join(format!("mcast_{}_{architecture}.deb", release.version));
    let mut build = program("dpkg-deb", ["--root-owner-group", "-Zxz", "--build"]);
    build.arg(&tree).arg(&path).env("SOURCE_DATE_EPOCH", release.time.to_string());
    let finished = finish(build, false)?;
    if !finished.success {
        bail!("dpkg-deb failed:\n{}", finished.output);
    }
    Ok(Ok(path))
}

fn contents(release: &Release, binary: &Path) -> Result<Vec<File>> {
    let mut files = vec![File::program("usr/bin/mcast", binary)?];
    for (name, bytes) in folder::files(&docs::folder().join("man"))? {
        files.push(File::plain(format!("usr/share/man/man1/{name}.gz"), tree::gzip(&bytes)?));
    }
    for (from, to) in [
        ("mcast.bash", "bash-completion/completions/mcast"),
        ("_mcast", "zsh/vendor-completions/_mcast"),
        ("mcast.fish", "fish/vendor_completions.d/mcast.fish"),
    ] {
        let bytes = tree::read(&docs::folder().join("completions").join(from))?;
        files.push(File::plain(format!("usr/share/{to}"), bytes));
    }
    let changes = tree::gzip(&tree::read(&release.root.join("CHANGELOG.md"))?)?;
    files.push(File::plain("usr/share/doc/mcast/CHANGELOG.md.gz", changes));
    let changelog = filled(release, "changelog", &[("@DATE@", &mail_time(release.time))])?;
    files.push(File::plain("usr/share/doc/mcast/changelog.gz", tree::gzip(changelog.as_bytes())?));
    for (from, to) in [("copyright", "doc/mcast/copyright"), ("lintian-overrides", "lintian/overrides/mcast")]
    {
        let bytes = tree::read(&release.root.join("packaging/debian").join(from))?;
        files.push(File::plain(format!("usr/share/{to}"), bytes));
    }
    // Units are installed but not enabled.
    if release.root.join("packaging/systemd").is_dir() {
        for (name, bytes) in folder::files(&release.root.join("packaging/systemd"))? {
            if name.ends_with(".service") || name.ends_with(".socket") {
                files.push(File::plain(format!("lib/systemd/system/{name}"), bytes));
            }
        }
    }
    Ok(files)
}

fn write_file(tree: &Path, file: &File) -> Result<()> {
    let path = tree.join(&file.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(&path, &file.bytes).with_context(|| format!("writing {}", path.display()))?;
    set_mode(&path, file.executable)
}

/// Sets modes explicitly, independent of the umask.
#[cfg(unix)]
fn set_mode(path: &Path, executable: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = |bits| fs::Permissions::from_mode(bits);
    fs::set_permissions(path, mode(if executable { 0o755 } else { 0o644 }))?;
    let folders = path.ancestors().skip(1).take_while(|folder| !folder.ends_with("target/dist/debian"));
    for folder in folders {
        fs::set_permissions(folder, mode(0o755))?;
    }
    Ok(())
}

/// Not reached: dpkg-deb exists only on Unix.
#[cfg(not(unix))]
fn set_mode(_: &Path, _: bool) -> Result<()> {
    Ok(())
}

fn control(release: &Release, architecture: &str, kilobytes: usize) -> Result<String> {
    let kilobytes = kilobytes.to_string();
    filled(release, "control", &[("@ARCHITECTURE@", architecture), ("@KILOBYTES@", &kilobytes)])
}

/// Fills in a template in `packaging/debian` with the version and `values`.
fn filled(release: &Release, template: &str, values: &[(&str, &str)]) -> Result<String> {
    let text = String::from_utf8(tree::read(&release.root.join("packaging/debian").join(template))?)
        .with_context(|| format!("reading the template {template}"))?;
    let text = text.replace("@VERSION@", &release.version);
    Ok(values.iter().fold(text, |text, (name, value)| text.replace(name, value)))
}

/// Formats a time like `Thu, 01 Jan 1970 00:00:00 +0000`.
fn mail_time(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], index: u64| names.get(index as usize).copied().unwrap_or_default();
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} +0000",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn times_are_formatted_as_in_mail() {
        assert_eq!(mail_time(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(mail_time(951_825_599), "Tue, 29 Feb 2000 11:59:59 +0000");
    }

    #[test]
    fn every_template_can_be_filled() {
        let release = Release::of(&crate::root()).unwrap();
        let changelog = filled(&release, "changelog", &[("@DATE@", &mail_time(release.time))]).unwrap();
        assert!(changelog.starts_with(&format!("mcast ({}) ", release.version)), "{changelog}");
        for text in [changelog, control(&release, "amd64", 1).unwrap()] {
            let is_mark = |word: &str| word.starts_with('@') && word.trim_end_matches('.').ends_with('@');
            assert!(!text.split_whitespace().any(is_mark), "{text}");
        }
    }
}
