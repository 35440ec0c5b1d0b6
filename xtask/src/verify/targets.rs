//! Checks that everything compiles for other systems without warnings.

use super::sources::{check, clippy};
use crate::command::{cargo, finish};
use crate::step::{Lane, Outcome, Step};
use crate::target;

/// The crates with code for macOS and FreeBSD.
const UNIX: [&str; 4] = ["mcast-sys", "mcast-capture", "mcast-host", "mcast-doctor"];
/// The same for Windows, the only other system of each merge: its code has least in common with that of Linux.
const OF_WINDOWS: [&str; 4] = ["mcast-sys", "mcast", "mcast-host", "mcast-doctor"];
const WINDOWS: &str = "x86_64-pc-windows-gnu";
const MACOS: &str = "aarch64-apple-darwin";
const FREEBSD: &str = "x86_64-unknown-freebsd";

/// All targets to check the whole workspace for, now and then.
const ALL_SYSTEMS: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    WINDOWS,
    MACOS,
    FREEBSD,
    "aarch64-linux-android",
];

/// The package that only runs on development machines.
const HOST_ONLY: &str = "xtask";

/// All features except the ciphers, TLS and the client of Kafka, whose C and assembly code needs a compiler for each target.
const FEATURES: &str = "mcast-bridge/nats,mcast-bridge/rabbitmq,mcast-bridge/redis,mcast-bridge/tracing,mcast-doctor/tracing,\
    mcast-group/serde,mcast-host/fixtures,mcast-http/driver,mcast-measure/std,mcast-metrics/serde,mcast-metrics/server,mcast-relay/driver,mcast-relay/http,\
    mcast-relay/tracing,mcast-stream-proto/acknowledgements,mcast-stream-proto/auto-rate,mcast-stream-proto/dissect,mcast-stream-proto/history,mcast-stream-proto/local-repair,\
    mcast-stream-proto/parity,mcast-stream-proto/reports,mcast-stream-proto/serde,mcast-stream-proto/signatures,mcast-stream/acknowledgements,mcast-stream/auto-rate,\
    mcast-stream/dissect,mcast-stream/futures,mcast-stream/history,mcast-stream/local-repair,mcast-stream/log,\
    mcast-stream/metrics,mcast-stream/parity,mcast-stream/serde,mcast-stream/signatures,mcast-stream/tokio,\
    mcast-stream/tracing,mcast-sys/tokio,mcast-sys/tracing,mcast-watch/json,mcast-watch/live,mcast-watch/metrics,\
    mcast/bytes,mcast/futures,mcast/serde,mcast/tokio,mcast/tracing";
/// Features that are built from C, and that of the generator of documents, which runs on the developer's system.
#[cfg(test)]
const NOT_CHECKED: [&str; 6] = ["kafka", "kafka-tls", "quic", "schema", "seal", "tls"];

/// A target without an operating system, for the no_std crates.
const BARE_METAL: &str = "thumbv7em-none-eabi";
const BARE_FEATURES: &str = "mcast-group/serde,mcast-stream-proto/default,mcast-stream-proto/serde";
const NO_STD_CRATES: [&str; 5] =
    ["mcast-group", "mcast-measure", "mcast-metrics", "mcast-packet", "mcast-stream-proto"];

pub(super) fn steps() -> Vec<Step> {
    let packages = NO_STD_CRATES.iter().flat_map(|package| ["--package", package]);
    let bare = step(
        BARE_METAL,
        "the no_std crates compile without an operating system",
        packages.chain(["--lib", "--no-default-features", "--features", BARE_FEATURES]).collect(),
    );
    foreign(WINDOWS, &OF_WINDOWS).into_iter().chain([bare.on(Lane::Beside)]).collect()
}

/// The steps for other systems that are not part of each merge.
pub(super) fn other_systems() -> impl Iterator<Item = Step> {
    [MACOS, FREEBSD].into_iter().filter_map(|system| foreign(system, &UNIX))
}

/// Checks the crates with code for a system, unless this is one.
fn foreign(system: &'static str, with_code_for_it: &'static [&'static str]) -> Option<Step> {
    let packages = with_code_for_it.iter().flat_map(|package| ["--package", package]);
    let about = "the crates with code for it compile without warnings";
    let step = step(system, about, packages.chain(["--lib", "--all-features"]).collect());
    (system != host()).then(|| step.on(Lane::Beside))
}

/// The steps of `cargo soak`.
pub(crate) fn all_systems() -> Vec<Step> {
    // Omit the host, which the step `clippy` covers.
    ALL_SYSTEMS.into_iter().filter(|system| *system != host()).map(whole_workspace).collect()
}

/// One call for all crates: a second one with other features would check most of them again.
fn whole_workspace(target: &'static str) -> Step {
    let packages = ["--workspace", "--exclude", HOST_ONLY, "--lib", "--bins"];
    let features = ["--no-default-features", "--features", FEATURES];
    step(target, "all crates compile without warnings", [&packages[..], &features].concat())
}

fn step(target: &'static str, about: &str, packages: Vec<&'static str>) -> Step {
    Step::new(format!("cross:{target}"), about, move |options| {
        if !target::ensure_installed(target) {
            return Ok(Outcome::skipped(format!("rustup cannot add the target {target}")));
        }
        // Clippy includes the checks of `cargo check`.
        check(clippy(&[&["--target", target], packages.as_slice()].concat()), options)
    })
}

/// Returns the default target of the compiler.
pub(crate) fn host() -> String {
    let version = finish(cargo(["--version", "--verbose"]), false).map(|finished| finished.output);
    let version = version.unwrap_or_default();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod checks {
    use std::collections::BTreeSet;

    use crate::command::program;

    use super::*;

    #[test]
    fn all_features_that_other_systems_can_use_are_checked_for_them() {
        let manifest = crate::root().join("Cargo.toml");
        let metadata =
            cargo_metadata::MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
        let packages = metadata.packages.iter().filter(|package| package.name.as_str() != HOST_ONLY);
        let features = packages.flat_map(|package| {
            let named = package.features.keys().map(String::as_str);
            let named = named.filter(|name| *name != "default" && !NOT_CHECKED.contains(name));
            named.map(|name| format!("{}/{name}", package.name))
        });

        assert_eq!(features.collect::<BTreeSet<_>>(), FEATURES.split(',').map(str::to_owned).collect());
    }

    /// The crate that only chooses words by the system.
    const NAME_ONLY: [&str; 1] = ["mcast-cli"];

    /// A crate whose code names a system is checked for it.
    #[test]
    fn crates_with_code_for_a_unix_system_are_checked_for_it() {
        for system in ["target_os = \"freebsd\"", "target_vendor = \"apple\""] {
            let search = ["grep", "--files-with-matches", system, "--", "crates/*/src/*.rs"];
            let found = finish(program("git", search), false).unwrap();
            let crates = found.output.lines().filter_map(|path| path.split('/').nth(2));
            let checked = UNIX.into_iter().chain(NAME_ONLY).collect::<BTreeSet<_>>();

            assert_eq!(crates.collect::<BTreeSet<_>>(), checked, "{system}");
        }
    }
}
