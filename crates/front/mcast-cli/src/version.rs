//! The text of `mcast --version`: the build, and its capabilities on the system it was built for.

use std::sync::LazyLock;

/// The commit, if the build was given it.
const COMMIT: Option<&str> = option_env!("MCAST_COMMIT");

/// Returns the text of `--version`; `-V` prints only the number.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    &TEXT
}

fn text() -> String {
    let commit = COMMIT.map_or_else(|| "built from source".to_owned(), |commit| format!("commit {commit}"));
    let mut text = format!("{} ({}, {commit})", env!("CARGO_PKG_VERSION"), system());
    for (capability, description) in capabilities() {
        text += &format!("\n{capability:<10}{description}");
    }
    text
}

/// `x86_64 linux musl`
fn system() -> String {
    let library = if cfg!(target_env = "musl") {
        " musl"
    } else if cfg!(target_env = "msvc") {
        " msvc"
    } else if cfg!(target_env = "gnu") {
        " gnu"
    } else {
        ""
    };
    format!("{} {}{library}", std::env::consts::ARCH, std::env::consts::OS)
}

fn capabilities() -> [(&'static str, &'static str); 4] {
    let linux = cfg!(target_os = "linux");
    let batches = if cfg!(any(target_os = "linux", target_os = "android")) {
        "recvmmsg, sendmmsg, UDP segmentation and receive offload where the kernel has them"
    } else if cfg!(windows) {
        "UDP segmentation offload where the system has it"
    } else {
        "one system call per datagram"
    };
    let capture = if linux {
        "live with packet sockets and kernel ring buffers; pcap and pcapng files"
    } else if cfg!(any(target_vendor = "apple", target_os = "freebsd")) {
        "live with BPF devices; pcap and pcapng files"
    } else {
        "pcap and pcapng files"
    };
    let ciphers =
        if cfg!(feature = "seal") { "AES-128-GCM, ChaCha20-Poly1305" } else { "none: built without `seal`" };
    let lab = if linux { "network namespaces" } else { "none: it needs Linux" };
    [("batches", batches), ("capture", capture), ("ciphers", ciphers), ("lab", lab)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_has_number_system_and_commit() {
        let text = long();
        let first = text.lines().next().unwrap_or_default();

        assert!(first.starts_with(env!("CARGO_PKG_VERSION")), "{first}");
        assert!(first.contains(std::env::consts::ARCH) && first.contains(std::env::consts::OS), "{first}");
        assert!(first.contains("commit") || first.contains("built from source"), "{first}");
    }
}
