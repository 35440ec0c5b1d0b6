//! Ends what programs of a lab have left running in it: in the background, in sessions of their own.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    sync::Arc,
};

use crate::{namespace::Alive, sys::process as sys};

/// Processes that are started while others are being killed are met in a further round.
const MOST_ROUNDS: usize = 16;

/// A namespace, as the kernel tells it from others.
type Identity = (u64, u64);

/// Kills every other process that is in one of these namespaces.
pub(crate) fn end(namespaces: &[Arc<Alive>]) {
    let ours: Vec<Identity> = namespaces.iter().filter_map(|alive| identity(alive).ok()).collect();
    for _ in 0..MOST_ROUNDS {
        let found = processes().filter(|process| kill_if_in(*process, &ours).unwrap_or(false)).count();
        if found == 0 {
            return;
        }
    }
}

fn identity(namespace: &Alive) -> io::Result<Identity> {
    identity_at(&format!("/proc/self/fd/{}", namespace.descriptor().as_raw_fd()))
}

fn identity_at(path: &str) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// All processes but this one, whose threads live in the namespaces of its labs.
fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| *id != std::process::id())
}

/// Kills a process if it is in one of the namespaces; whether it was. Its descriptor is had before the look, so
/// that the one that is killed is the one that was looked at.
fn kill_if_in(process: u32, namespaces: &[Identity]) -> io::Result<bool> {
    let is_ours = || identity_at(&format!("/proc/{process}/ns/net")).map(|found| namespaces.contains(&found));
    if !is_ours()? {
        return Ok(false);
    }
    let descriptor = sys::descriptor_of(process)?;
    let is_ours = is_ours()?;
    if is_ours {
        sys::kill(descriptor.as_fd())?;
    }
    Ok(is_ours)
}
