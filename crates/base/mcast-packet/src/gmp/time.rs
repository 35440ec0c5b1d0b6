//! The encoding of times in IGMPv3 and MLDv2: integers below a limit, and above it floating-point numbers
//! with a hidden leading one (RFC 3376 sections 4.1.1 and 4.1.7, RFC 3810 sections 5.1.3 and 5.1.9). Times
//! that cannot be represented are rounded down.

/// Decodes a format bit, a 3-bit exponent and a 4-bit mantissa.
pub(super) const fn decode_8(code: u8) -> u16 {
    if code < 0x80 {
        return code as u16;
    }
    let mantissa = (code & 0x0f) as u16 | 0x10;
    let exponent = (code >> 4) & 0x07;
    mantissa << (exponent + 3)
}

/// Decodes a format bit, a 3-bit exponent and a 12-bit mantissa.
pub(super) const fn decode_16(code: u16) -> u32 {
    if code < 0x8000 {
        return code as u32;
    }
    let mantissa = (code & 0x0fff) as u32 | 0x1000;
    let exponent = (code >> 12) & 0x07;
    mantissa << (exponent + 3)
}

pub(super) const fn encode_8(value: u128) -> u8 {
    encode(value, 4) as u8
}

pub(super) const fn encode_16(value: u128) -> u16 {
    encode(value, 12)
}

const fn encode(value: u128, mantissa_bits: u32) -> u16 {
    let first_float = 1 << (mantissa_bits + 3);
    let largest = ((2 << mantissa_bits) - 1) << 10;
    if value < first_float {
        return value as u16;
    }
    let value = if value < largest { value } else { largest };
    let exponent = value.ilog2() - mantissa_bits - 3;
    let mantissa = (value >> (exponent + 3)) & ((1 << mantissa_bits) - 1);
    (first_float | ((exponent as u128) << mantissa_bits) | mantissa) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for code in 0..=u8::MAX {
            assert_eq!(encode_8(u128::from(decode_8(code))), code);
        }
        for code in 0..=u16::MAX {
            assert_eq!(encode_16(u128::from(decode_16(code))), code);
        }
    }

    #[test]
    fn values_are_rounded_down_and_capped_at_the_largest() {
        assert_eq!(decode_8(encode_8(127)), 127);
        assert_eq!(decode_8(encode_8(135)), 128);
        assert_eq!(decode_8(encode_8(u128::MAX)), 31_744);
        assert_eq!(decode_16(encode_16(32_775)), 32_768);
        assert_eq!(decode_16(encode_16(u128::MAX)), 8_387_584);
    }
}
