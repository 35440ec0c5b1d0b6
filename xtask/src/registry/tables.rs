//! Generates the tables as Rust source.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::rows::{DeFacto, Interval, Name, Registry, Row, Space};

const HEAD: &str = "// Made by `cargo xtask registry`; do not edit.\n";

pub(super) fn ipv4(registry: &Registry) -> Result<String> {
    let addresses = sorted(registry, |row| row.space == Space::V4)?;
    let relative = sorted(registry, |row| row.space == Space::Relative)?;
    let mut text = begin("The IPv4 registry.", "Row, rfc, row");
    as_of(&mut text, registry);
    table(&mut text, "ADDRESSES", "u32", 8, &addresses);
    table(&mut text, "RELATIVE", "u8", 2, &relative);
    Ok(text)
}

pub(super) fn ipv6(registry: &Registry) -> Result<String> {
    let fixed = sorted(registry, |row| row.space == Space::V6 && !row.any_scope)?;
    let any_scope = sorted(registry, |row| row.space == Space::V6 && row.any_scope)?;
    let mut text = begin("The IPv6 registry.", "Row, rfc, row");
    as_of(&mut text, registry);
    table(&mut text, "FIXED", "u128", 32, &fixed);
    text.push_str("\n/// Registered for every scope, with zero where the scope stands.");
    table(&mut text, "ANY_SCOPE", "u128", 32, &any_scope);
    Ok(text)
}

pub(super) fn de_facto(all: &[DeFacto]) -> String {
    let mut text = begin("Names in use without registration.", "DeFactoRow, v4, v6");
    text.push_str("use crate::{Group, Reference};\n");
    let (any_scope, fixed): (Vec<&DeFacto>, Vec<&DeFacto>) =
        all.iter().partition(|entry| entry.row.any_scope);
    de_facto_table(&mut text, "FIXED", "Group", &fixed, group);
    text.push_str("\n/// In use in every scope, with zero where the scope stands.");
    de_facto_table(&mut text, "ANY_SCOPE", "u128", &any_scope, |_, bits| hex(bits, 32));
    text
}

pub(super) fn names(mut names: Vec<Name>) -> Result<String> {
    names.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
    for pair in names.windows(2) {
        let same = pair[0].name == pair[1].name && pair[0].address.is_ipv4() == pair[1].address.is_ipv4();
        ensure!(!same, "the name {} has two groups of one family", pair[0].name);
    }
    let mut text = begin("Short names.", "SendInterval, WellKnown, every, v4, v6");
    text.push_str("use crate::Reference;\n\n#[rustfmt::skip]\npub(super) const NAMES: &[WellKnown] = &[\n");
    for name in &names {
        let group = match name.address {
            IpAddr::V4(address) => format!("v4({})", hex(address.to_bits().into(), 8)),
            IpAddr::V6(address) => format!("v6({})", hex(address.to_bits(), 32)),
        };
        let interval = match name.interval {
            None => "None".to_owned(),
            Some(Interval::Seconds(seconds)) => format!("every({seconds})"),
            Some(Interval::Asked) => "Some(SendInterval::WhenAsked)".to_owned(),
        };
        let _ = writeln!(
            text,
            "    WellKnown {{ name: {:?}, group: {group}, ports: &{:?}, protocol: {:?}, hop_limit: {:?}, interval: {interval}, reference: {} }},",
            name.name,
            name.ports,
            name.protocol,
            name.hop_limit,
            reference(&name.reference)
        );
    }
    text.push_str("];\n");
    Ok(text)
}

fn begin(about: &str, uses: &str) -> String {
    format!("{HEAD}\n//! {about}\n\nuse super::{{{uses}}};\n")
}

fn as_of(text: &mut String, registry: &Registry) {
    let _ = writeln!(text, "\npub(super) const AS_OF: &str = {:?};", registry.as_of);
}

/// Sorts the rows of one table; overlapping rows are an error, because one would hide the other.
fn sorted(registry: &Registry, belongs: impl Fn(&Row) -> bool) -> Result<Vec<&Row>> {
    let mut rows: Vec<&Row> = registry.rows.iter().filter(|row| belongs(row)).collect();
    rows.sort_by_key(|row| (row.first, row.last));
    for pair in rows.windows(2) {
        ensure!(
            pair[0].last < pair[1].first,
            "\"{}\" and \"{}\" have addresses in common",
            pair[0].description,
            pair[1].description
        );
    }
    Ok(rows)
}

fn table(text: &mut String, name: &str, address: &str, digits: usize, rows: &[&Row]) {
    let _ = writeln!(text, "\n#[rustfmt::skip]\npub(super) const {name}: &[Row<{address}>] = &[");
    for row in rows {
        let references: Vec<String> = row.rfcs.iter().map(|number| format!("rfc({number})")).collect();
        let _ = writeln!(
            text,
            "    row({}, {}, {:?}, &[{}], {:?}),",
            hex(row.first, digits),
            hex(row.last, digits),
            row.description,
            references.join(", "),
            row.registered
        );
    }
    text.push_str("];\n");
}

fn de_facto_table(
    text: &mut String,
    name: &str,
    address: &str,
    rows: &[&DeFacto],
    write: impl Fn(&Row, u128) -> String,
) {
    let _ = writeln!(text, "\n#[rustfmt::skip]\npub(super) const {name}: &[DeFactoRow<{address}>] = &[");
    for DeFacto { row, ports, reference: document } in rows {
        let _ = writeln!(
            text,
            "    DeFactoRow {{ first: {}, last: {}, name: {:?}, ports: &{ports:?}, reference: &[{}] }},",
            write(row, row.first),
            write(row, row.last),
            row.description,
            reference(document)
        );
    }
    text.push_str("];\n");
}

fn group(row: &Row, bits: u128) -> String {
    match row.space {
        Space::V6 => format!("v6({})", hex(bits, 32)),
        Space::V4 | Space::Relative => format!("v4({})", hex(bits, 8)),
    }
}

fn hex(bits: u128, digits: usize) -> String {
    format!("0x{bits:0digits$x}")
}

/// Formats a reference: `RFC 6762 section 11`, `RFC 6762`, or the title of another document.
fn reference(text: &str) -> String {
    let number_and_section =
        text.strip_prefix("RFC ").map(|rest| rest.split_once(" section ").unwrap_or((rest, "")));
    match number_and_section.and_then(|(number, section)| Some((number.parse::<u16>().ok()?, section))) {
        Some((number, "")) => format!("Reference::rfc({number})"),
        Some((number, section)) => format!("Reference::section({number}, {section:?})"),
        None => format!("Reference::Document({text:?})"),
    }
}
