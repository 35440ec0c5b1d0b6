//! Type information of any bytes: parsing never panics, and looking up names comes to an end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_sys::bpf::btf::Btf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let length = bytes.len();
    for name in ["sk_buff", "a", "b"] {
        for path in ["dev", "a", "a.b", "b.a.b"] {
            let _ = btf.offset(name, path);
        }
        assert!(btf.enumerators(name).is_none_or(|values| values.len() * 8 <= length));
        let _ = btf.tracepoint_arguments(name);
    }
});
