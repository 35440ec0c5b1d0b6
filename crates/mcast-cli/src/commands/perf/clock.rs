//! Clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use mcast_measure::wire::UnixNanos;

/// Returns the time of this machine's clock.
pub(super) fn unix_now() -> UnixNanos {
    unix_of(SystemTime::now())
}

/// Converts a time of this machine's clock. Times before 1970 become 1970.
pub(super) fn unix_of(time: SystemTime) -> UnixNanos {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns an identifier of this machine's clock. Programs with the same identifier share a clock, even in different
/// containers. 0 means that the identifier is unknown.
pub(super) fn machine_clock() -> u64 {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => fnv1a(id.trim().as_bytes()),
        Err(_) => 0,
    }
}

/// Returns the FNV-1a hash, which is the same in every build.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_machine_has_one_clock() {
        assert_eq!(machine_clock(), machine_clock());
    }
}
