//! A Debian package of a static program: it depends on nothing and runs no script.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Release;
use super::tree::{self, File};
use crate::command::{finish, program, succeeds};

/// Writes `mcast_VERSION_ARCHITECTURE.deb`; its path, or why it can't be made here.
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
        lay(&tree, file)?;
    }
    let size: usize = files.iter().map(|file| file.bytes.len().div_ceil(1024)).sum();
    lay(&tree, &File::plain("DEBIAN/control", control(release, architecture, size)?.into_bytes()))?;
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
    for (name, bytes) in tree::files(release, "docs/man")? {
        files.push(File::plain(format!("usr/share/man/man1/{name}.gz"), tree::gzip(&bytes)?));
    }
    for (from, to) in [
        ("mcast.bash", "bash-completion/completions/mcast"),
        ("_mcast", "zsh/vendor-completions/_mcast"),
        ("mcast.fish", "fish/vendor_completions.d/mcast.fish"),
    ] {
        let bytes = tree::read(&release.root.join("docs/completions").join(from))?;
        files.push(File::plain(format!("usr/share/{to}"), bytes));
    }
    let changes = tree::gzip(&tree::read(&release.root.join("CHANGELOG.md"))?)?;
    files.push(File::plain("usr/share/doc/mcast/changelog.gz", changes));
    let copyright = tree::read(&release.root.join("packaging/debian/copyright"))?;
    files.push(File::plain("usr/share/doc/mcast/copyright", copyright));
    // Units lie ready and start nothing by themselves.
    if release.root.join("packaging/systemd").is_dir() {
        for (name, bytes) in tree::files(release, "packaging/systemd")? {
            if name.ends_with(".service") {
                files.push(File::plain(format!("lib/systemd/system/{name}"), bytes));
            }
        }
    }
    Ok(files)
}

fn lay(tree: &Path, file: &File) -> Result<()> {
    let path = tree.join(&file.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(&path, &file.bytes).with_context(|| format!("writing {}", path.display()))?;
    set_mode(&path, file.executable)
}

/// Whatever mask the maintainer has set.
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

/// dpkg-deb is nowhere else.
#[cfg(not(unix))]
fn set_mode(_: &Path, _: bool) -> Result<()> {
    Ok(())
}

fn control(release: &Release, architecture: &str, kilobytes: usize) -> Result<String> {
    let template = String::from_utf8(tree::read(&release.root.join("packaging/debian/control"))?)
        .context("reading the template of the control file")?;
    Ok(template
        .replace("@VERSION@", &release.version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@KILOBYTES@", &kilobytes.to_string()))
}
