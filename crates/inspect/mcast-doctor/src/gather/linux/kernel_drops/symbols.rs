//! The names of the kernel's functions, from `/proc/kallsyms`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// No function is longer, so an instruction further behind a name belongs to none.
const MAX_FUNCTION_BYTES: u64 = 1 << 16;

/// Returns the functions that contain these instructions. Those that the kernel does not show are missing.
pub(super) fn functions(instructions: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    // Reading the table takes a tenth of a second.
    if instructions.is_empty() {
        return BTreeMap::new();
    }
    File::open("/proc/kallsyms").map(|table| find(BufReader::new(table), instructions)).unwrap_or_default()
}

/// Finds the functions in a table of lines `ADDRESS TYPE NAME [MODULE]`, in any order.
fn find(mut table: impl BufRead, instructions: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut best: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    // The table has more than 100,000 lines, of which few matter.
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // Without the right to see them, all addresses are 0.
        if let Some(address) = address(&line).filter(|address| *address > 0) {
            for instruction in instructions.range(address..address.saturating_add(MAX_FUNCTION_BYTES)) {
                if best.get(instruction).is_none_or(|(nearest, _)| *nearest < address)
                    && let Some(name) = name(&line)
                {
                    best.insert(*instruction, (address, name));
                }
            }
        }
        line.clear();
    }
    best.into_iter().map(|(instruction, (_, name))| (instruction, name)).collect()
}
fn address(line: &[u8]) -> Option<u64> {
    let digits = line.get(..line.iter().position(|byte| *byte == b' ')?)?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn name(line: &[u8]) -> Option<String> {
    str::from_utf8(line).ok()?.split_ascii_whitespace().nth(2).map(base_name)
}

/// Returns the name in the source, without what the compiler has appended: `ip_rcv.isra.0`.
fn base_name(name: &str) -> String {
    name.split('.').find(|part| !part.is_empty()).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t ip_rcv.isra.0
ffffffffc0000000 t veth_xdp_rcv_skb\t[veth]
ffffffff81000080 T late
0000000000000000 T hidden
";

    #[test]
    fn function_is_the_nearest_name_before_the_instruction() {
        let instructions = [0xffff_ffff_8100_0100, 0xffff_ffff_8100_01ff, 0xffff_ffff_c000_0010, 5].into();
        let functions: Vec<_> = find(TABLE.as_bytes(), &instructions).into_values().collect();
        assert_eq!(functions, ["ip_rcv", "ip_rcv", "veth_xdp_rcv_skb"]);
        assert_eq!(
            find(TABLE.as_bytes(), &[0xffff_ffff_8100_00ff].into()).into_values().next().unwrap(),
            "late"
        );
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(table in "[0-9a-f tT.\n\\PC]{0,200}", instruction in any::<u64>()) {
            let _ = find(table.as_bytes(), &[instruction, 0xff].into());
        }
    }
}
