//! Times as IGMPv3 and MLDv2 write them: plain numbers below a limit, above it a floating point
//! number with a hidden leading one (RFC 3376 sections 4.1.1 and 4.1.7, RFC 3810 sections 5.1.3
//! and 5.1.9). A time between two that can be written is rounded down.

/// One bit of form, three of exponent, four of mantissa.
pub(super) const fn decode_8(code: u8) -> u16 {
    if code < 0x80 {
        return code as u16;
    }
    let mantissa = (code & 0x0f) as u16 | 0x10;
    let exponent = (code >> 4) & 0x07;
    mantissa << (exponent + 3)
}

/// One bit of form, three of exponent, twelve of mantissa.
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
    let plain = 1 << (mantissa_bits + 3);
    let largest = ((2 << mantissa_bits) - 1) << 10;
    if value < plain {
        return value as u16;
    }
    let value = if value < largest { value } else { largest };
    let exponent = value.ilog2() - mantissa_bits - 3;
    let mantissa = (value >> (exponent + 3)) & ((1 << mantissa_bits) - 1);
    (plain | ((exponent as u128) << mantissa_bits) | mantissa) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives() {
        for code in 0..=u8::MAX {
            assert_eq!(encode_8(u128::from(decode_8(code))), code);
        }
        for code in 0..=u16::MAX {
            assert_eq!(encode_16(u128::from(decode_16(code))), code);
        }
    }

    #[test]
    fn what_lies_between_is_rounded_down_and_what_is_too_large_is_the_largest() {
        assert_eq!(decode_8(encode_8(127)), 127);
        assert_eq!(decode_8(encode_8(135)), 128);
        assert_eq!(decode_8(encode_8(u128::MAX)), 31_744);
        assert_eq!(decode_16(encode_16(32_775)), 32_768);
        assert_eq!(decode_16(encode_16(u128::MAX)), 8_387_584);
    }
}
