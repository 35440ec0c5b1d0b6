//! Evaluating the filter of a socket (classic BPF) for a datagram of which only a part is known.

use std::collections::BTreeSet;

use mcast_sys::capture::FilterInstruction;

use crate::netfilter::{Header, KnownPacket};

/// Limits the work for filters with many branches.
const MAX_STEPS: usize = 20_000;
/// `BPF_MEMWORDS`
const CELLS: usize = 16;

// Where loads begin that leave the datagram (`SKF_AD_OFF`, `SKF_NET_OFF`, `SKF_LL_OFF` of linux/filter.h).
const ANCILLARY: u32 = 0xffff_f000;
const NETWORK: u32 = 0xfff0_0000;
const LINK: u32 = 0xffe0_0000;

/// A value of the machine; `None` if it is not known.
type Value = Option<u32>;

/// The state of the machine before an instruction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    next: usize,
    accumulator: Value,
    index: Value,
    cells: [Value; CELLS],
}

/// Returns whether a filter rejects every datagram that is like this one, at a socket on this port: whether each path through
/// it that the known parts allow returns 0.
pub fn rejects(program: &[FilterInstruction], packet: &KnownPacket, port: u16) -> bool {
    let start = State { next: 0, accumulator: Some(0), index: Some(0), cells: [Some(0); CELLS] };
    let (mut open, mut seen, mut steps) = (vec![start], BTreeSet::new(), 0);
    while let Some(state) = open.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            return false;
        }
        let Some(instruction) = program.get(state.next) else { return false };
        match follow(&state, *instruction, packet, port) {
            Some(Step::Continue(next)) => {
                open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
            }
            Some(Step::Return(Some(0))) => {}
            Some(Step::Return(_)) | None => return false,
        }
    }
    true
}

enum Step {
    Continue(Vec<State>),
    Return(Value),
}

/// Returns what follows an instruction; `None` if it is not known here.
fn follow(state: &State, instruction: FilterInstruction, packet: &KnownPacket, port: u16) -> Option<Step> {
    const SOURCE_IS_INDEX: u16 = 0x08;
    let FilterInstruction { code, jt, jf, k } = instruction;
    let mut next = state.clone();
    next.next += 1;
    let operand = if code & SOURCE_IS_INDEX == 0 { Some(k) } else { state.index };
    match code & 0x07 {
        // `BPF_LD`
        0x00 => next.accumulator = load(state, code, k, packet, port)?,
        // `BPF_LDX`: the length of the header of IPv4 is a load of its own.
        0x01 => {
            next.index = match code & 0xe0 {
                0xa0 => byte(packet, port, k).map(|first| u32::from(first & 0x0f) * 4),
                _ => load(state, code, k, packet, port)?,
            }
        }
        0x02 => *next.cells.get_mut(k as usize)? = state.accumulator,
        0x03 => *next.cells.get_mut(k as usize)? = state.index,
        0x04 => match calculate(code, state.accumulator, operand)? {
            Calculated::Value(value) => next.accumulator = value,
            // A division by zero rejects.
            Calculated::Rejects => return Some(Step::Return(Some(0))),
        },
        0x05 => {
            let ways = if code & 0xf0 == 0 {
                [Some(k), None]
            } else {
                jumps(code, state.accumulator, operand, jt, jf)?
            };
            let state = |by: u32| Some(State { next: next.next.checked_add(by as usize)?, ..next.clone() });
            return Some(Step::Continue(ways.into_iter().flatten().map(state).collect::<Option<_>>()?));
        }
        0x06 => {
            return Some(Step::Return(match code & 0x18 {
                0x00 => Some(k),
                0x10 => state.accumulator,
                _ => return None,
            }));
        }
        _ => match code & 0xf8 {
            0x00 => next.index = state.accumulator,
            0x80 => next.accumulator = state.index,
            _ => return None,
        },
    }
    Some(Step::Continue(vec![next]))
}

/// Returns what a load yields. Behind the end of the datagram, whose length is not known, it may also reject.
fn load(state: &State, code: u16, k: u32, packet: &KnownPacket, port: u16) -> Option<Value> {
    let start = match code & 0xe0 {
        0x00 => return Some(Some(k)),
        0x20 => Some(k),
        0x40 => state.index.map(|index| index.wrapping_add(k)),
        0x60 => return Some(*state.cells.get(k as usize)?),
        // `BPF_LEN`
        0x80 => None,
        _ => return None,
    };
    let Some(start) = start else { return Some(None) };
    if start >= ANCILLARY {
        return Some(ancillary(packet, start - ANCILLARY));
    }
    let length = match code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => return None,
    };
    let bytes = (0..length).map(|offset| byte(packet, port, start.checked_add(offset)?));
    let value = bytes.collect::<Option<Vec<_>>>();
    Some(value.map(|bytes| bytes.into_iter().fold(0, |value, byte| value << 8 | u32::from(byte))))
}

/// Returns a byte from the header of UDP on, or one of the headers before it.
fn byte(packet: &KnownPacket, port: u16, position: u32) -> Option<u8> {
    let (header, offset) = match position {
        LINK..NETWORK => (Header::Link, position - LINK),
        NETWORK..ANCILLARY => (Header::Network, position - NETWORK),
        // The port at which the socket is, also if the datagrams are sent to another one.
        2 | 3 => return Some(port.to_be_bytes()[position as usize - 2]),
        _ => (Header::Transport, position),
    };
    packet.bytes(header, offset as usize, 1).first().copied().flatten()
}

/// Returns what the kernel knows of a packet beside its bytes (`SKF_AD_…`).
fn ancillary(packet: &KnownPacket, what: u32) -> Value {
    const PROTOCOL: u32 = 0;
    const PACKET_TYPE: u32 = 4;
    let number = |bytes: Vec<Option<u8>>| {
        let bytes = bytes.into_iter().collect::<Option<Vec<_>>>()?;
        Some(bytes.into_iter().fold(0, |value, byte| value << 8 | u32::from(byte)))
    };
    match what {
        // `NFT_META_PROTOCOL`, `NFT_META_PKTTYPE`
        PROTOCOL => number(packet.meta(1)?),
        PACKET_TYPE => number(packet.meta(19)?),
        _ => None,
    }
}

enum Calculated {
    Value(Value),
    Rejects,
}

fn calculate(code: u16, accumulator: Value, operand: Value) -> Option<Calculated> {
    let operation = code & 0xf0;
    if matches!(operation, 0x30 | 0x90) && operand.is_none_or(|operand| operand == 0) {
        // What is not known may be zero, and then the datagram is rejected; otherwise nothing is known.
        return Some(if operand.is_some() { Calculated::Rejects } else { Calculated::Value(None) });
    }
    let (Some(a), Some(b)) = (accumulator, operand) else {
        // Whatever the other bits are.
        let is_zero = operation == 0x50 && (accumulator == Some(0) || operand == Some(0));
        return Some(Calculated::Value(is_zero.then_some(0)));
    };
    Some(Calculated::Value(Some(match operation {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b)?,
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a.checked_shl(b).unwrap_or(0),
        0x70 => a.checked_shr(b).unwrap_or(0),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(b)?,
        0xa0 => a ^ b,
        _ => return None,
    })))
}

/// Returns by how much a conditional jump goes: both ways if the condition is not known.
fn jumps(code: u16, accumulator: Value, operand: Value, jt: u8, jf: u8) -> Option<[Option<u32>; 2]> {
    let (yes, no) = (Some(u32::from(jt)), Some(u32::from(jf)));
    let holds = match (accumulator, operand) {
        (Some(a), Some(b)) => match code & 0xf0 {
            0x10 => a == b,
            0x20 => a > b,
            0x30 => a >= b,
            0x40 => a & b != 0,
            _ => return None,
        },
        _ => return Some([yes, no]),
    };
    Some([if holds { yes } else { no }, None])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn new(code: u16, jt: u8, jf: u8, k: u32) -> FilterInstruction {
        FilterInstruction { code, jt, jf, k }
    }
    const DROP: FilterInstruction = new(0x06, 0, 0, 0);
    const TAKE: FilterInstruction = new(0x06, 0, 0, u32::MAX);

    fn packet() -> KnownPacket {
        let addresses = ["10.9.0.1:6000", "239.1.2.3:5000"].map(|address| address.parse().unwrap());
        KnownPacket::datagram(addresses[0], addresses[1], Some(1))
    }

    fn is_rejected(program: &[FilterInstruction]) -> bool {
        rejects(program, &packet(), 5000)
    }

    /// Loads a half word, and drops the datagram if it is this one.
    fn drops_if(offset: u32, value: u32) -> [FilterInstruction; 4] {
        [new(0x28, 0, 0, offset), new(0x15, 0, 1, value), DROP, TAKE]
    }

    #[test]
    fn known_parts_decide() {
        assert!(is_rejected(&[DROP]));
        assert!(!is_rejected(&[TAKE]));
        assert!(is_rejected(&drops_if(2, 5000)) && !is_rejected(&drops_if(2, 5001)));
        assert!(is_rejected(&drops_if(0, 6000)));
        // The first half of the source, in the header of IPv4.
        assert!(
            is_rejected(&drops_if(NETWORK + 12, 0x0a09)) && !is_rejected(&drops_if(NETWORK + 12, 0x0a08))
        );
        assert!(is_rejected(&drops_if(ANCILLARY, 0x0800)));
    }

    #[test]
    fn what_is_not_known_takes_every_way() {
        const PAYLOAD: u32 = 8;
        assert!(!is_rejected(&drops_if(PAYLOAD, 7)));
        let [load, jump, ..] = drops_if(PAYLOAD, 7);
        assert!(is_rejected(&[load, jump, DROP, DROP]));
        // `tax; ldh [x + 2]`, from a byte that is not known.
        let indirect = [load, new(0x07, 0, 0, 0), new(0x48, 0, 0, 2), new(0x15, 0, 1, 5000), DROP, TAKE];
        assert!(!is_rejected(&indirect));
        // `and #0`
        assert!(is_rejected(&[load, new(0x54, 0, 0, 0), new(0x15, 0, 1, 0), DROP, TAKE]));
    }

    #[test]
    fn filter_with_too_many_ways_is_undecided() {
        // Each step adds its bit to the index or not, by a byte that is not known: 2^31 ways, which all drop.
        let step = |bit: u32| {
            let add = [new(0x87, 0, 0, 0), new(0x04, 0, 0, 1 << bit), new(0x07, 0, 0, 0)];
            [new(0x30, 0, 0, 8), new(0x15, 0, 3, 1)].into_iter().chain(add)
        };
        let program: Vec<_> = (0..31).flat_map(step).chain([DROP]).collect();
        assert!(!is_rejected(&program));
        let few: Vec<_> = (0..5).flat_map(step).chain([DROP]).collect();
        assert!(is_rejected(&few));
    }

    #[test]
    fn arithmetic_is_that_of_the_kernel() {
        let drops_if_is = |code: u16, operand: u32, result: u32| {
            is_rejected(&[new(0x00, 0, 0, 7), new(code, 0, 0, operand), new(0x15, 0, 1, result), DROP, TAKE])
        };
        assert!(drops_if_is(0x04, u32::MAX, 6) && drops_if_is(0x14, 8, u32::MAX) && drops_if_is(0x24, 3, 21));
        assert!(drops_if_is(0x34, 2, 3) && drops_if_is(0x44, 8, 15) && drops_if_is(0x54, 5, 5));
        assert!(drops_if_is(0x64, 2, 28) && drops_if_is(0x74, 1, 3) && drops_if_is(0xa4, 1, 6));
        assert!(drops_if_is(0x94, 4, 3));
        // A division by zero.
        assert!(is_rejected(&[new(0x00, 0, 0, 7), new(0x01, 0, 0, 0), new(0x3c, 0, 0, 0), TAKE]));
        // `st; txa; ld M[3]`
        assert!(is_rejected(&[
            new(0x00, 0, 0, 9),
            new(0x02, 0, 0, 3),
            new(0x87, 0, 0, 0),
            new(0x60, 0, 0, 3),
            new(0x15, 0, 1, 9),
            DROP,
            TAKE
        ]));
    }

    proptest! {
        #[test]
        fn any_program_ends(
            program in proptest::collection::vec((any::<u8>(), 0_u8..4, 0_u8..4, prop_oneof![0_u32..20, any::<u32>()]), 0..60),
        ) {
            let program: Vec<_> = program.into_iter().map(|(code, jt, jf, k)| new(code.into(), jt, jf, k)).collect();
            let _ = is_rejected(&program);
        }
    }
}
