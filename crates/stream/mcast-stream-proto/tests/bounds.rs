//! The page `docs/explanation/bounds.md` has the values of the sources, and every constant that bounds something.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Constants that bound nothing that a load reaches: the reason, the file, and the names.
const OTHERS: &[(&str, &str, &str)] = &[
    ("format", "dissect/mod.rs", "LONGEST RANGES"),
    ("format", "driver/discovery_group.rs", "PORT"),
    ("format", "driver/history/reader.rs", "FRAME_OVERHEAD"),
    ("format", "driver/history/subscription.rs", "LONGEST"),
    ("format", "driver/logged/waiting.rs", "BLOCK OVERHEAD"),
    ("format", "driver/publisher/builder.rs", "IPV6_MINIMUM"),
    ("format", "driver/side_channel.rs", "FIRST_ANSWER HELLO LENGTH"),
    ("format", "driver/unicast.rs", "MAX_BYTES"),
    ("format", "fec.rs", "BLOCK CHUNK KIND_AT MESSAGE_AT REDUCTION SYMBOL_HEAD"),
    ("format", "history/machine/live.rs", "ITEM"),
    ("format", "history/search.rs", "ADDRESS LENGTH"),
    (
        "format",
        "history/wire.rs",
        "CLOSED END GAP HEAD HISTORY_REQUEST KEYED LATER MAX_HISTORY_FRAME MAX_SNAPSHOT_FRAME MAX_TEXT MESSAGE OPEN_GAP RECORDS SNAPSHOT SNAPSHOT_HEAD",
    ),
    ("format", "outbox.rs", "LONGEST"),
    ("format", "publisher/feedback.rs", "SEALED_EXTRA"),
    ("format", "publisher/intake.rs", "FRAGMENTED_EXTRA KEYED_EXTENSION TOTAL_EXTENSION"),
    ("format", "publisher/mod.rs", "MAX_SKIP"),
    ("format", "publisher/directory.rs", "NEITHER"),
    ("format", "publisher/sealer.rs", "SALT_EXTENSION"),
    ("format", "repairer/mod.rs", "EXTRA"),
    ("format", "seal/mod.rs", "BLOCK"),
    ("format", "sign/mod.rs", "SIGNATURE_EXTENSION SIGNATURE_LENGTH"),
    ("format", "span.rs", "NANOS_PER_SECOND"),
    ("format", "subscriber/reporter.rs", "JOINING_PADDING NEWS"),
    ("format", "subscriber/sequencer/requests.rs", "LONGEST_RUN"),
    ("format", "subscriber/naks.rs", "NAK"),
    ("format", "subscriber/sequencer/recovery.rs", "BEFORE"),
    ("format", "wire/announce.rs", "KEY NAME PATH PUBLIC_KEY RATE SNAPSHOT VERSIONS"),
    ("format", "wire/header.rs", "CRITICAL FLAGS_AT HEADER_LENGTH LENGTH_AT LONGEST_HEADER MAJOR MINOR"),
    ("format", "wire/heartbeat.rs", "LARGEST LENGTH"),
    ("format", "wire/identity.rs", "LENGTH PRIME"),
    ("format", "wire/mod.rs", "TAG_LENGTH"),
    ("format", "wire/nak.rs", "ENTRY LIST_HEADER LONGEST_BODY LONGEST_RANGE"),
    ("format", "wire/options/manifest.rs", "HEAD LENGTH MOST"),
    ("format", "wire/options/parity.rs", "HEAD SHORTEST SYMBOLS"),
    ("format", "wire/options/repairers.rs", "LONGEST_ENTRY"),
    ("format", "wire/options/origin.rs", "ENTRY FIXED LENGTH MAX"),
    (
        "format",
        "wire/status.rs",
        "CATCHING_UP DELIVERED ENDED FAILED JOINING LEAVING LENGTH PASSIVE READING REPAIRS SUPERSEDED UNKNOWN_LOSS",
    ),
    ("work", "driver/heartbeats.rs", "BUFFERS BYTES MAX_BATCHES RECEIVE_BUFFER"),
    ("work", "driver/history/reader.rs", "QUEUE"),
    ("work", "driver/history/server.rs", "FIRST_RECORDS READ_AHEAD RECORDS"),
    ("work", "driver/history/subscription.rs", "BUFFER CHECK_INTERVAL POLL"),
    ("work", "driver/logged/waiting.rs", "MOST_FREE"),
    ("work", "driver/side_channel.rs", "CHECK_INTERVAL PIECES_PER_SECOND SHORTEST_PIECE"),
    ("work", "driver/subscriber/builder.rs", "LEAST_RETAINED"),
    ("work", "driver/subscriber/mod.rs", "BUFFERS BYTES"),
    ("work", "driver/tokio.rs", "LONGEST_WAIT RECHECK_INTERVAL RETRY_INTERVAL YIELDS"),
    ("work", "driver/transmit.rs", "FEW"),
    ("work", "history/reading.rs", "WAIT_JITTER"),
    ("work", "history/wire.rs", "MAX_SNAPSHOT_PART"),
    ("work", "side_channel/mod.rs", "BURST"),
    ("work", "subscriber/sequencer/recovery.rs", "MAX_SPARE"),
    ("work", "subscriber/window.rs", "MAX_SPARE"),
    ("estimate", "publisher/auto_rate/congestion.rs", "STEP TRIAL_DATAGRAMS"),
    ("estimate", "publisher/auto_rate/credit.rs", "MAX_LOSS SAMPLE_REPAIRS SAMPLE_TIME"),
    (
        "estimate",
        "publisher/auto_rate/flow.rs",
        "BETA C CONCLUSIVE ENOUGH FIRST_HOLD FRIENDLY LEAST LONG_HOLD SEGMENT SEVERE",
    ),
    (
        "estimate",
        "publisher/auto_rate/losses.rs",
        "SAMPLE_TIME FEWEST_DATAGRAMS FIRST_SAMPLE SAMPLE_DATAGRAMS",
    ),
    (
        "estimate",
        "publisher/auto_rate/model.rs",
        "BASE_PERIOD FASTEST FIRST_TIMEOUT FRESH GREATEST_BACKGROUND GREATEST_CUT GREATEST_GAIN GREATEST_OVERHEAD GROWTH_DATAGRAMS LEAST_TARGET LONGEST_TIMEOUT LONG_SAMPLE MEMORY SAMPLE_DATAGRAMS SAMPLE_TIME SEVERE SHORTEST_QUEUE STALLED START_MEMORY TARGET_GROWTH TRIAL_DATAGRAMS",
    ),
    ("estimate", "publisher/auto_rate/paths.rs", "EVENT_INTERVAL"),
    ("estimate", "publisher/parity/loss.rs", "SAMPLE"),
    ("estimate", "publisher/parity/mod.rs", "HALF"),
    ("estimate", "publisher/repair_scheduler.rs", "HALF"),
    ("estimate", "subscriber/naks.rs", "SHRINKING"),
    ("clock", "driver/clock.rs", "QUARTER START"),
    ("clock", "driver/publisher/shared.rs", "LONGEST_SLEEP"),
    ("clock", "driver/subscriber/mod.rs", "MAX_WAIT"),
    ("clock", "driver/subscriber/receive.rs", "CLOCK_INTERVAL"),
    ("clock", "history/reading.rs", "LONGEST_STEP"),
    ("clock", "subscriber/peer.rs", "PLAUSIBLE_GROWTH"),
    ("outage", "driver/health.rs", "HOST_RETRY REPORT_FULL RETRY"),
    ("outage", "driver/history/reader.rs", "POSTPONEMENTS"),
    ("outage", "driver/side_channel.rs", "ACCEPT_BACKOFF"),
    ("outage", "driver/subscriber/select.rs", "ACTIVE_TIME"),
    ("outage", "history/machine.rs", "ABSENCE LIVE_WAIT STALL"),
    (
        "outage",
        "history/reading.rs",
        "LONGEST_EXPECTED LONGEST_OPENING LONGEST_STALL LONGEST_WAIT SHORTEST_STALL SHORTEST_WAIT",
    ),
    ("outage", "history/search.rs", "AVOIDANCE MOST_FAILED"),
    ("outage", "publisher/acknowledgements/mod.rs", "MOST_DOUBLINGS"),
    ("outage", "publisher/subscribers.rs", "RECENT_STATUSES"),
    ("outage", "side_channel/mod.rs", "NO_ROOM REQUEST_TIME SHORTEST_WAIT SILENCE STALL"),
    ("outage", "subscriber/peer.rs", "FAILOVER_DATAGRAMS"),
    ("outage", "subscriber/sequencer/repairers.rs", "MAX_DOUBLINGS"),
    ("outage", "subscriber/sequencer/verify/mod.rs", "MOST_DOUBLINGS"),
    ("forgery", "driver/heartbeats.rs", "MAX_SKEW"),
    ("forgery", "driver/history/mod.rs", "MOST_FRAMES"),
    ("forgery", "driver/subscriber/select.rs", "LOOKUP_INTERVAL"),
    ("forgery", "proof.rs", "TOKEN_TIME"),
    ("forgery", "repairer/mod.rs", "IDLE_TIME"),
    ("forgery", "subscriber/peer.rs", "REMEMBERED_PROBES"),
    ("forgery", "subscriber/sequencer/recovery.rs", "REMEMBERED_PARITY"),
    ("work", "times.rs", "END_CONFIRMATION_INTERVAL"),
    (
        "estimate",
        "times.rs",
        "LONGEST_ROUND_TRIP MAX_PAUSE MAX_ROUND_TRIP MAX_SILENCE MIN_ROUND_TRIP PERIOD SHRINK_INTERVAL SLACK",
    ),
    ("clock", "times.rs", "LONGEST_QUEUE LONGEST_REFILL MAX_CHECK_DELAY MAX_QUEUEING PLAUSIBLE_ROUND_TRIP"),
    ("outage", "times.rs", "ADDRESS_TIME FAILOVER_TIME OUTAGE RECENT"),
    ("forgery", "times.rs", "MAX_SKEW REPORT_INTERVAL RIVAL_TIME UNEXPECTED_ECHO_INTERVAL"),
];

/// The files with settings: the defaults, and the limits of servers.
const SETTINGS: [&str; 4] =
    ["publisher/config.rs", "subscriber/config.rs", "history/record.rs", "side_channel/mod.rs"];

/// A file, a name in it, and its value as the page has it.
type Bound = (String, String, String);

#[test]
fn the_page_has_each_bound_with_its_value() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut constants, mut settings) = (BTreeSet::new(), BTreeSet::new());
    read(&sources.join("src"), "", &mut constants, &mut settings);
    read(&sources.join("../mcast-stream/src/driver"), "driver/", &mut constants, &mut settings);
    assert!(constants.len() > 400 && settings.len() > 20, "{} and {}", constants.len(), settings.len());

    let page = fs::read_to_string(sources.join("../../../docs/explanation/bounds.md")).unwrap();
    let listed: BTreeSet<Bound> = page.lines().filter(|line| line.starts_with("| `")).flat_map(row).collect();
    let is_there = |bound: &&Bound| constants.contains(*bound) || settings.contains(*bound);
    let wrong: Vec<_> = listed.iter().filter(|bound| !is_there(bound)).collect();
    assert!(wrong.is_empty(), "the page has values that the sources do not have: {wrong:#?}");

    let others: BTreeSet<_> = OTHERS
        .iter()
        .flat_map(|(_, file, names)| names.split(' ').map(|name| ((*file).to_owned(), name.to_owned())))
        .collect();
    let is_other = |(file, name, _): &&Bound| others.contains(&(file.clone(), name.clone()));
    let missing: Vec<_> = constants
        .difference(&listed)
        .filter(|constant| !is_other(constant))
        .map(|(file, name, value)| format!("{file} {name} = {value}"))
        .collect();
    assert!(
        missing.is_empty(),
        "add these to a table of the page, or, if they bound nothing, to OTHERS: {missing:#?}"
    );
    let both: Vec<_> = listed.iter().filter(is_other).collect();
    assert!(both.is_empty(), "on the page and in OTHERS: {both:#?}");
    let names: BTreeSet<_> = constants.into_iter().map(|(file, name, _)| (file, name)).collect();
    let gone: Vec<_> = others.difference(&names).collect();
    assert!(gone.is_empty(), "in OTHERS and not in the sources: {gone:#?}");
}

/// Returns the bounds of a row of the page: names in code, the file in parentheses, and as many values.
fn row(line: &str) -> Vec<Bound> {
    let cells: Vec<_> = line.split(" | ").collect();
    assert_eq!(cells.len(), 6, "a row has six cells: {line}");
    let (names, file) = cells[0].trim_start_matches("| ").trim_end_matches(')').split_once(" (").unwrap();
    let (names, values): (Vec<_>, Vec<_>) = (names.split("; ").collect(), cells[1].split("; ").collect());
    assert_eq!(names.len(), values.len(), "as many values as names: {line}");
    let plain = |text: &str| text.trim_matches('`').to_owned();
    names.iter().zip(values).map(|(name, value)| (file.to_owned(), plain(name), plain(value))).collect()
}

/// Adds the constants that count or measure something, and the settings, of the files of a folder.
fn read(folder: &Path, path: &str, constants: &mut BTreeSet<Bound>, settings: &mut BTreeSet<Bound>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let file = format!("{path}{name}");
        if name == "off" {
            // What stands for an option that is left out has no bounds of its own.
        } else if entry.path().is_dir() {
            read(&entry.path(), &format!("{file}/"), constants, settings);
        } else if !["tests.rs", "simulation.rs", "goodput.rs"].contains(&&*name) {
            let text = without_tests(&fs::read_to_string(entry.path()).unwrap());
            constants.extend(
                text.split(';').filter_map(constant).map(|(name, value)| (file.clone(), name, value)),
            );
            if SETTINGS.contains(&&*file) {
                let all = text.split([',', '{', '}']).filter_map(setting);
                settings.extend(all.map(|(name, value)| (file.clone(), name, value)));
            }
        }
    }
}

/// Removes the modules with tests, comments, and the features that fields belong to.
fn without_tests(text: &str) -> String {
    let (mut kept, mut is_for_tests, mut is_test) = (String::new(), false, false);
    let is_read =
        |line: &&str| !["//", "#[cfg(feature"].iter().any(|head| line.trim_start().starts_with(head));
    for line in text.lines().filter(is_read) {
        if line.starts_with("#[cfg(") && line.contains("test") {
            is_for_tests = true;
        } else if is_for_tests && !line.starts_with("#[") {
            (is_for_tests, is_test) = (false, line.starts_with("mod ") && line.ends_with('{'));
        }
        if !is_test {
            kept.push_str(line);
            kept.push('\n');
        }
        is_test &= line != "}";
    }
    kept
}

/// Returns the name and the value of the constant that ends here, if it is a number or a time.
fn constant(text: &str) -> Option<(String, String)> {
    let (declared, value) = text.rsplit_once("const ")?.1.split_once(" = ")?;
    let (name, kind) = declared.split_once(": ")?;
    let counts = ["u8", "u16", "u32", "u64", "usize", "i32", "f64", "Duration", "NonZeroU64", "(u64, u64)"];
    let is_name = name.chars().all(|letter| matches!(letter, 'A'..='Z' | '0'..='9' | '_'));
    (is_name && counts.contains(&kind.rsplit("::").next()?)).then(|| (name.to_owned(), shown(value)))
}

/// Returns the name and the value of a field that is set to a number or a time.
fn setting(text: &str) -> Option<(String, String)> {
    let (name, value) = text.trim().split_once(": ")?;
    let is_name = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    let is_number =
        value.starts_with(|first: char| first.is_ascii_digit()) || value.starts_with("Duration::from_");
    (is_name && is_number).then(|| (name.to_owned(), shown(value)))
}

/// Returns a value as the page shows it: `64 KiB` for `64 << 10`, `1,500 ms` for `Duration::from_millis(1_500)`; an expression that
/// is none of these as it is.
fn shown(value: &str) -> String {
    let value = value.trim();
    let time = value.rsplit_once("Duration::from_").map_or("", |(_, time)| time);
    let time = ["secs s", "millis ms", "micros µs"].into_iter().find_map(|unit| {
        let (function, unit) = unit.split_once(' ')?;
        let number = time.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')')?;
        Some(if number == "6 * 3_600" {
            "6 h".to_owned()
        } else {
            format!("{} {unit}", number.replace('_', ","))
        })
    });
    let size = [(" << 10", "KiB"), (" << 20", "MiB")]
        .into_iter()
        .find_map(|(shift, unit)| Some(format!("{} {unit}", value.strip_suffix(shift)?)));
    let number =
        value.strip_prefix("NonZeroU64::new(").and_then(|rest| rest.split_once(')')).map_or(value, |of| of.0);
    let is_number = number.chars().all(|digit| digit.is_ascii_digit() || digit == '_');
    let power = (value == "1 << 16").then(|| "65,536".to_owned());
    time.or(size)
        .or(power)
        .unwrap_or_else(|| if is_number { number.replace('_', ",") } else { value.to_owned() })
}
