//! Assembles BPF programs (`Documentation/bpf/standardization/instruction-set.rst`).

use std::os::fd::{AsRawFd, BorrowedFd};

/// An encoded instruction: operation, registers, offset and immediate value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    operation: u8,
    /// The destination in the low half, the source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

// The kernel reads an array of them.
const _: () = assert!(size_of::<Instruction>() == 8);

/// A register. Calls take their arguments in `R1` to `R5`, return in `R0`, and preserve `R6` to `R9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the name says it all")]
pub enum BpfRegister {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    /// The end of the stack, of which 512 bytes can be used.
    Stack,
}

/// The size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name says it all")]
pub enum Size {
    U8,
    U16,
    U32,
    U64,
}

/// A function of the kernel that a program can call, by its number in `linux/bpf.h`. None of these writes memory of
/// processes, or removes entries of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum BpfHelper {
    /// `bpf_map_lookup_elem(map, key)`: the address of the value, or 0.
    MapLookup = 1,
    /// `bpf_map_update_elem(map, key, value, flags)`: 0, or an error.
    MapUpdate = 2,
    /// `bpf_ktime_get_ns()`: the nanoseconds of `CLOCK_MONOTONIC`.
    MonotonicTime = 5,
    /// `bpf_redirect_map(map, key, flags)`: passes a frame to the socket of a map; without one, returns the flags.
    RedirectMap = 51,
    /// `bpf_xdp_adjust_meta(context, delta)`: moves the start of the space before a frame.
    AdjustMeta = 54,
    /// `bpf_probe_read_kernel(to, length, address)`: copies kernel memory. What cannot be read becomes zeros.
    ReadKernel = 113,
}

/// When to jump, comparing a register with a value, which is sign-extended to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// They are equal.
    Equal,
    /// They are not equal.
    NotEqual,
    /// Their low 32 bits are equal.
    Equal32,
    /// Their low 32 bits are not equal.
    NotEqual32,
    /// Some bit is set in both.
    AnyBit,
}

/// A position in the program to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Collects instructions and resolves jumps.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    /// The position of each label, once it is known.
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

// Classes, sources and modes of operations.
const LOAD_IMMEDIATE_64: u8 = 0x18;
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_IMMEDIATE_64: u8 = 0x7a;
const ATOMIC_ADD_64: u8 = 0xdb;
const ADD_IMMEDIATE: u8 = 0x07;
const ADD: u8 = 0x0f;
const SUBTRACT: u8 = 0x1f;
const AND_IMMEDIATE: u8 = 0x57;
const SHIFT_LEFT: u8 = 0x67;
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const JUMP: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_EQUAL_32: u8 = 0x16;
const JUMP_NOT_EQUAL_32: u8 = 0x56;
/// Compare two registers.
const JUMP_GREATER: u8 = 0x2d;
const JUMP_LESS_OR_EQUAL: u8 = 0xbd;
const JUMP_SAME: u8 = 0x1d;
const JUMP_ANY_BIT: u8 = 0x45;
/// In the source register of [`LOAD_IMMEDIATE_64`]: the value is the descriptor of a map.
const MAP_DESCRIPTOR: u8 = 1;
/// The second register of an instruction that loads the address of the first value of a map (`BPF_PSEUDO_MAP_VALUE`).
const MAP_VALUE: u8 = 2;
/// In the source register of [`CALL`]: the function is given by its identifier in the kernel's type information.
const KERNEL_FUNCTION: u8 = 2;

impl Size {
    /// Returns the bits of the size in an operation, of which [`LOAD`] and [`STORE`] have those of 32 bits.
    const fn bits(self) -> u8 {
        match self {
            Self::U32 => 0x00,
            Self::U16 => 0x08,
            Self::U8 => 0x10,
            Self::U64 => 0x18,
        }
    }
}

impl Assembler {
    /// Returns an empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a label whose position is not known yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label here. Placing it a second time moves it.
    pub fn place(&mut self, label: Label) {
        let here = self.code.len();
        if let Some(position) = self.labels.get_mut(label.0) {
            *position = Some(here);
        }
    }

    /// `to = value`.
    pub fn set(&mut self, to: BpfRegister, value: i32) {
        self.push(MOVE_IMMEDIATE, to as u8, 0, value);
    }

    /// `to = from`.
    pub fn copy(&mut self, to: BpfRegister, from: BpfRegister) {
        self.push(MOVE, registers(to, from), 0, 0);
    }

    /// `to += value`.
    pub fn add(&mut self, to: BpfRegister, value: i32) {
        self.push(ADD_IMMEDIATE, to as u8, 0, value);
    }

    /// `to += from`.
    pub fn add_register(&mut self, to: BpfRegister, from: BpfRegister) {
        self.push(ADD, registers(to, from), 0, 0);
    }

    /// `to -= from`.
    pub fn subtract_register(&mut self, to: BpfRegister, from: BpfRegister) {
        self.push(SUBTRACT, registers(to, from), 0, 0);
    }

    /// `to &= value`.
    pub fn and(&mut self, to: BpfRegister, value: i32) {
        self.push(AND_IMMEDIATE, to as u8, 0, value);
    }

    /// `to <<= bits`.
    pub fn shift_left(&mut self, to: BpfRegister, bits: i32) {
        self.push(SHIFT_LEFT, to as u8, 0, bits);
    }

    /// `to = *(address + offset)`.
    pub fn load(&mut self, size: Size, to: BpfRegister, address: BpfRegister, offset: i16) {
        self.push(LOAD | size.bits(), registers(to, address), offset, 0);
    }

    /// `*(address + offset) = from`.
    pub fn store(&mut self, size: Size, address: BpfRegister, offset: i16, from: BpfRegister) {
        self.push(STORE | size.bits(), registers(address, from), offset, 0);
    }

    /// Stores a 64-bit value: `*(address + offset) = value`.
    pub fn store_value(&mut self, address: BpfRegister, offset: i16, value: i32) {
        self.push(STORE_IMMEDIATE_64, address as u8, offset, value);
    }

    /// Adds to a 64-bit number in memory, atomically: `*(address + offset) += from`.
    pub fn add_atomically(&mut self, address: BpfRegister, offset: i16, from: BpfRegister) {
        self.push(ATOMIC_ADD_64, registers(address, from), offset, 0);
    }

    /// `to = map`. The descriptor must be open when the program is loaded.
    pub fn set_map(&mut self, to: BpfRegister, map: BorrowedFd<'_>) {
        self.push(LOAD_IMMEDIATE_64, to as u8 | MAP_DESCRIPTOR << 4, 0, map.as_raw_fd());
        // The second half, for the high bits.
        self.push(0, 0, 0, 0);
    }

    /// `to` becomes the address of the value of a map with a single one ([`Map::single`](super::Map::single)). The
    /// descriptor must be open when the program is loaded.
    pub fn set_map_value(&mut self, to: BpfRegister, map: BorrowedFd<'_>) {
        self.push(LOAD_IMMEDIATE_64, to as u8 | MAP_VALUE << 4, 0, map.as_raw_fd());
        // The second half is the offset in the value.
        self.push(0, 0, 0, 0);
    }

    /// Jumps to a label.
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP, 0, 0, 0);
    }

    /// Jumps to a label if a register compares to a value.
    pub fn jump_if(&mut self, register: BpfRegister, condition: Condition, value: i32, label: Label) {
        let operation = match condition {
            Condition::Equal => JUMP_EQUAL,
            Condition::NotEqual => JUMP_NOT_EQUAL,
            Condition::Equal32 => JUMP_EQUAL_32,
            Condition::NotEqual32 => JUMP_NOT_EQUAL_32,
            Condition::AnyBit => JUMP_ANY_BIT,
        };
        self.jumps.push((self.code.len(), label));
        self.push(operation, register as u8, 0, value);
    }

    /// Jumps to a label if a register is greater than another, without sign.
    pub fn jump_if_greater(&mut self, register: BpfRegister, than: BpfRegister, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP_GREATER, registers(register, than), 0, 0);
    }

    /// Jumps to a label if two registers are equal.
    pub fn jump_if_same(&mut self, register: BpfRegister, other: BpfRegister, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP_SAME, registers(register, other), 0, 0);
    }

    /// Jumps to a label if a register is at most another, without sign.
    pub fn jump_if_at_most(&mut self, register: BpfRegister, other: BpfRegister, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP_LESS_OR_EQUAL, registers(register, other), 0, 0);
    }

    /// Calls a function of the kernel by its identifier ([`btf::function`](super::btf::function)).
    pub fn call_kernel(&mut self, function: i32) {
        self.push(CALL, KERNEL_FUNCTION << 4, 0, function);
    }

    /// Calls a helper of the kernel.
    pub fn call(&mut self, helper: BpfHelper) {
        self.push(CALL, 0, 0, helper as i32);
    }

    /// Ends the program with the value in `R0`.
    pub fn exit(&mut self) {
        self.push(EXIT, 0, 0, 0);
    }

    /// Returns the program. A jump to a label that was not placed, or that is too far away, is a jump to itself, which
    /// the kernel's verifier rejects.
    #[must_use]
    pub fn finish(mut self) -> Vec<Instruction> {
        for (from, label) in &self.jumps {
            let target = self.labels.get(label.0).copied().flatten();
            let distance = target.and_then(|target| i16::try_from(target as isize - *from as isize - 1).ok());
            if let Some(instruction) = self.code.get_mut(*from) {
                instruction.offset = distance.unwrap_or(-1);
            }
        }
        self.code
    }

    fn push(&mut self, operation: u8, registers: u8, offset: i16, immediate: i32) {
        // The order of the halves follows the byte order.
        let registers = if cfg!(target_endian = "big") { registers.rotate_left(4) } else { registers };
        self.code.push(Instruction { operation, registers, offset, immediate });
    }
}

const fn registers(destination: BpfRegister, source: BpfRegister) -> u8 {
    destination as u8 | (source as u8) << 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_relative_to_the_next_instruction() {
        let mut program = Assembler::new();
        let (end, start) = (program.label(), program.label());
        program.place(start);
        program.jump_if(BpfRegister::R1, Condition::NotEqual, 4, end);
        program.set(BpfRegister::R0, 1);
        program.jump(start);
        program.place(end);
        program.exit();
        let offsets: Vec<_> = program.finish().iter().map(|instruction| instruction.offset).collect();
        assert_eq!(offsets, [2, 0, -3, 0]);
    }

    #[test]
    fn operations_have_the_numbers_of_the_specification() {
        let mut program = Assembler::new();
        program.load(Size::U8, BpfRegister::R1, BpfRegister::R2, 3);
        program.load(Size::U64, BpfRegister::R1, BpfRegister::R2, 3);
        program.store(Size::U16, BpfRegister::Stack, -8, BpfRegister::R7);
        let code = program.finish();
        assert_eq!(code.iter().map(|code| code.operation).collect::<Vec<_>>(), [0x71, 0x79, 0x6b]);
        assert_eq!(code[0].registers, if cfg!(target_endian = "big") { 0x12 } else { 0x21 });
        assert_eq!((code[2].offset, code[2].immediate), (-8, 0));
    }
}
