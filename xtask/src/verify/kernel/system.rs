//! Debian's kernel and its initial RAM file system.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{run_checked, runners, shell};
use crate::command::{finish, program};
use crate::step::RunOptions;

/// A metapackage that depends on the newest kernel.
const KERNEL: &str = "linux-image-amd64";
const BUSYBOX: &str = "busybox-static";

/// Modules that the initial file system needs to mount the files of the host. The kernel loads all others on its own.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_rng", "9pnet_virtio", "9p", "overlay"];

/// The system to boot.
#[derive(Debug)]
pub(super) struct System {
    /// The folder in which the packages are unpacked.
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

    pub(super) fn initramfs(&self) -> PathBuf {
        self.root.join("first-files.cpio")
    }
}

/// Downloads and unpacks the packages unless they exist; or returns why that is not possible.
pub(super) fn prepare(home: &Path, options: &RunOptions) -> Result<Result<System, String>> {
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
            options.verbose,
        )?;
        if !fetched.success {
            return Ok(Err(format!(
                "apt-get cannot download {package} and {BUSYBOX}: {}",
                fetched.output.trim()
            )));
        }
        run_checked(
            shell(&system.root, "for each in *.deb; do dpkg-deb --extract \"$each\" .; rm \"$each\"; done"),
            options,
        )?;
        run_checked(shell(&system.root, &format!("bin/busybox depmod -b . {}", system.release)), options)?;
        fs::write(&complete, "").with_context(|| format!("writing {}", complete.display()))?;
    }
    pack_initramfs(&system, options)?;
    Ok(Ok(system))
}

/// Packs `init`, BusyBox and the modules of [`MODULES`].
fn pack_initramfs(system: &System, options: &RunOptions) -> Result<()> {
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
    run_checked(
        shell(&folder, "chmod +x init; find . | ../bin/busybox cpio -o -H newc >../first-files.cpio"),
        options,
    )
}

/// Returns the files of [`MODULES`] in load order, according to the output of depmod.
fn load_order(dependencies: &str) -> Result<Vec<String>> {
    let needs: BTreeMap<&str, Vec<&str>> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, needs)| (module, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for module in MODULES {
        let path = needs.keys().find(|path| module_name(path) == module);
        let path = path.with_context(|| format!("the kernel has no module {module}"))?;
        // depmod lists direct and indirect dependencies in reverse load order.
        for each in needs[path].iter().rev().chain([path]).map(|path| (*path).to_owned()) {
            if !order.contains(&each) {
                order.push(each);
            }
        }
    }
    Ok(order)
}

/// Returns the kernel's name of a module; its file name may contain hyphens instead of underscores.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn modules_are_loaded_after_their_dependencies() {
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
