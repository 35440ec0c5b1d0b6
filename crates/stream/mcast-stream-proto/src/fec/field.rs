//! The field with 256 elements: polynomials modulo x^8 + x^4 + x^3 + x^2 + 1.

/// What x^8 is replaced with.
pub(super) const REDUCTION: u8 = 0x1d;

const fn doubled(x: u8) -> u8 {
    (x << 1) ^ if x & 0x80 == 0 { 0 } else { REDUCTION }
}

/// The powers of x, twice, so that the sum of two logarithms needs no reduction.
const POWERS: [u8; 510] = {
    let mut powers = [0; 510];
    let (mut at, mut power) = (0, 1);
    while at < 510 {
        powers[at] = power;
        power = doubled(power);
        at += 1;
    }
    powers
};

/// The logarithm of each element but 0.
const LOGARITHMS: [u8; 256] = {
    let mut logarithms = [0; 256];
    let mut at = 0;
    while at < 255 {
        logarithms[POWERS[at] as usize] = at as u8;
        at += 1;
    }
    logarithms
};

const fn logarithm(x: u8) -> usize {
    LOGARITHMS[x as usize] as usize
}

/// Returns the product of two elements.
pub(super) const fn product(x: u8, y: u8) -> u8 {
    if x == 0 || y == 0 { 0 } else { POWERS[logarithm(x) + logarithm(y)] }
}

/// Returns an element divided by another one, which is not 0.
pub(super) const fn quotient(x: u8, y: u8) -> u8 {
    if x == 0 { 0 } else { POWERS[logarithm(x) + 255 - logarithm(y)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_polynomials() {
        for x in 0..=255_u8 {
            for y in 0..=255_u8 {
                let mut sum = 0;
                let mut power = x;
                for bit in 0..8 {
                    sum ^= if y >> bit & 1 == 1 { power } else { 0 };
                    power = doubled(power);
                }
                assert_eq!(product(x, y), sum);
                assert!(y == 0 || quotient(sum, y) == x);
            }
        }
    }
}
