//! Debian's kernel, and the first files that it sees.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{must, runners, shell};
use crate::command::{finish, program};
use crate::step::Manner;

/// Depends on the package of the newest kernel.
const KERNEL: &str = "linux-image-amd64";
const BUSYBOX: &str = "busybox-static";

/// What the first files need to reach those of the machine outside. The kernel loads everything else by itself.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_rng", "9pnet_virtio", "9p", "overlay"];

/// What is booted.
#[derive(Debug)]
pub(super) struct System {
    /// Where the packages are unpacked.
    root: PathBuf,
    release: String,
}

impl System {
    pub(super) fn kernel(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules")
    }

    pub(super) fn first_files(&self) -> PathBuf {
        self.root.join("first-files.cpio")
    }
}

/// Fetches and unpacks what is not there yet; or says why that can't be.
pub(super) fn prepare(home: &Path, manner: &Manner) -> Result<Result<System, String>> {
    let depends = finish(program("apt-cache", ["depends", "--important", KERNEL]), false)?;
    let Some(package) = depends.output.lines().find_map(|line| line.trim().strip_prefix("Depends: ")) else {
        return Ok(Err(format!("apt knows no package {KERNEL} (run apt-get update)")));
    };
    let release = package.trim_start_matches("linux-image-").to_owned();
    let system = System { root: home.join(&release), release };
    let complete = system.root.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&system.root);
        fs::create_dir_all(&system.root).with_context(|| format!("making {}", system.root.display()))?;
        let mut fetch = program("apt-get", ["download", package, BUSYBOX]);
        let fetched = finish(
            {
                fetch.current_dir(&system.root);
                fetch
            },
            manner.verbose,
        )?;
        if !fetched.success {
            return Ok(Err(format!(
                "apt-get cannot download {package} and {BUSYBOX}: {}",
                fetched.output.trim()
            )));
        }
        must(
            shell(&system.root, "for each in *.deb; do dpkg-deb --extract \"$each\" .; rm \"$each\"; done"),
            manner,
        )?;
        must(shell(&system.root, &format!("bin/busybox depmod -b . {}", system.release)), manner)?;
        fs::write(&complete, "").with_context(|| format!("writing {}", complete.display()))?;
    }
    pack_first_files(&system, manner)?;
    Ok(Ok(system))
}

/// Packs `init`, BusyBox and the modules of [`MODULES`].
fn pack_first_files(system: &System, manner: &Manner) -> Result<()> {
    let folder = system.root.join("first-files");
    let _ = fs::remove_dir_all(&folder);
    for each in ["bin", "modules"] {
        fs::create_dir_all(folder.join(each)).with_context(|| format!("making {}", folder.display()))?;
    }
    let modules = system.modules().join(&system.release);
    let order = load_order(&fs::read_to_string(modules.join("modules.dep"))?)?;
    let mut names = String::new();
    for path in order {
        let name = Path::new(&path).file_name().context("a module without a name")?;
        fs::copy(modules.join(&path), folder.join("modules").join(name))
            .with_context(|| format!("copying {path}"))?;
        names = names + &name.to_string_lossy() + "\n";
    }
    fs::write(folder.join("modules/order"), names)?;
    fs::copy(system.root.join("bin/busybox"), folder.join("bin/busybox")).context("copying BusyBox")?;
    fs::copy(runners().join("init"), folder.join("init")).context("copying init")?;
    must(
        shell(&folder, "chmod +x init; find . | ../bin/busybox cpio -o -H newc >../first-files.cpio"),
        manner,
    )
}

/// The files of [`MODULES`], each after those that it needs, by what depmod wrote.
fn load_order(dependencies: &str) -> Result<Vec<String>> {
    let needs: BTreeMap<&str, Vec<&str>> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, needs)| (module, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for wanted in MODULES {
        let path = needs.keys().find(|path| module_name(path) == wanted);
        let path = path.with_context(|| format!("the kernel has no module {wanted}"))?;
        // depmod lists what a module needs directly and indirectly, what is to be loaded first at the end.
        for each in needs[path].iter().rev().chain([path]).map(|path| (*path).to_owned()) {
            if !order.contains(&each) {
                order.push(each);
            }
        }
    }
    Ok(order)
}

/// What the kernel calls a module, which its file may spell with hyphens.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn modules_are_loaded_after_those_that_they_need() {
        let dependencies = "a/virtio_pci.ko: a/virtio.ko a/ring.ko\na/virtio.ko: a/ring.ko\na/ring.ko:\n\
                            a/virtio-rng.ko.xz: a/virtio.ko a/ring.ko\nn/9pnet.ko:\nn/9pnet_virtio.ko: n/9pnet.ko\n\
                            f/9p.ko: n/9pnet.ko\nf/overlay.ko:\n";

        let order = load_order(dependencies).unwrap();

        let expected = ["a/ring.ko", "a/virtio.ko", "a/virtio_pci.ko", "a/virtio-rng.ko.xz", "n/9pnet.ko"];
        assert_eq!(order[..5], expected);
        assert_eq!(order[5..], ["n/9pnet_virtio.ko", "f/9p.ko", "f/overlay.ko"]);
        assert!(load_order("a/ring.ko:\n").is_err());
    }
}
