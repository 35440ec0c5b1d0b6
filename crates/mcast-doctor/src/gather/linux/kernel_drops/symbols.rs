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
fn find(table: impl BufRead, instructions: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut best: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    for line in table.lines().map_while(Result::ok) {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|address| u64::from_str_radix(address, 16).ok());
        // Without the right to see them, all addresses are 0.
        let (Some(address), Some(name)) = (address.filter(|address| *address > 0), words.nth(1)) else {
            continue;
        };
        for instruction in instructions.range(address..address.saturating_add(MAX_FUNCTION_BYTES)) {
            if best.get(instruction).is_none_or(|(nearest, _)| *nearest < address) {
                best.insert(*instruction, (address, base_name(name)));
            }
        }
    }
    best.into_iter().map(|(instruction, (_, name))| (instruction, name)).collect()
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
