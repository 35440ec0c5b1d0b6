//! Who can write the settings file: it decides where keys come from, and by which interface messages leave.

use std::fs::File;
use std::io;

/// Whether a file may be used.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code, reason = "there, every file is trusted"))]
pub(super) enum Trust {
    Full,
    /// It belongs to the user of `sudo`, and root reads it only if it is named.
    NotByRoot,
    /// The reason.
    None(&'static str),
}

/// Returns whether the file may be used by the user who runs the command.
#[cfg(unix)]
pub(super) fn trust(file: &File, is_named: bool) -> io::Result<Trust> {
    use std::os::unix::fs::MetadataExt;

    let metadata = file.metadata()?;
    let invoker = std::env::var("SUDO_UID").ok().and_then(|id| id.parse().ok());
    let user = rustix::process::geteuid().as_raw();
    Ok(judge(metadata.uid(), metadata.mode(), user, invoker, is_named))
}

/// On other systems, the folder of the user's settings is protected.
#[cfg(not(unix))]
pub(super) fn trust(_: &File, _: bool) -> io::Result<Trust> {
    Ok(Trust::Full)
}

#[cfg(unix)]
fn judge(owner: u32, mode: u32, user: u32, invoker: Option<u32>, is_named: bool) -> Trust {
    const ROOT: u32 = 0;
    const OTHERS_WRITE: u32 = 0o022;

    let is_invoker = user == ROOT && invoker == Some(owner);
    match owner {
        _ if mode & OTHERS_WRITE != 0 => Trust::None("other users can write them"),
        ROOT => Trust::Full,
        owner if owner == user => Trust::Full,
        _ if is_invoker && is_named => Trust::Full,
        _ if is_invoker => Trust::NotByRoot,
        _ => Trust::None("they belong to another user"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_used_if_only_its_user_or_root_can_write_it() {
        assert_eq!(judge(1000, 0o644, 1000, None, false), Trust::Full);
        assert_eq!(judge(0, 0o644, 1000, None, false), Trust::Full);
        for mode in [0o664, 0o646] {
            assert_eq!(judge(1000, mode, 1000, None, true), Trust::None("other users can write them"));
        }
        assert_eq!(judge(1001, 0o600, 1000, None, true), Trust::None("they belong to another user"));
    }

    #[test]
    fn root_reads_the_file_of_the_user_of_sudo_only_if_it_is_named() {
        assert_eq!(judge(1000, 0o644, 0, Some(1000), false), Trust::NotByRoot);
        assert_eq!(judge(1000, 0o644, 0, Some(1000), true), Trust::Full);
        assert_eq!(judge(1001, 0o644, 0, Some(1000), true), Trust::None("they belong to another user"));
    }
}
