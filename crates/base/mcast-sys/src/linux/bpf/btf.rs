//! Parses the kernel's type information (BTF, `Documentation/bpf/btf.rst`): offsets of members, values of enumerations,
//! and the number of arguments of a tracepoint. Damaged bytes are an error, or a name that is not found.

use std::collections::BTreeMap;
use std::ffi::CStr;

/// The file with the type information of the running kernel.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const ENUMERATOR_BYTES: usize = 8;
/// The kind of a function.
const FUNCTION: u32 = 12;
/// Limits the search for a member in nested types, which damaged information could make endless.
const MAX_VISITED: usize = 20_000;

/// Why bytes are not type information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BtfError {
    /// They do not start with a header of type information in the byte order of this machine.
    NoHeader,
    /// They end before the types and names do.
    Truncated,
    /// A type is of an unknown kind, so its length is unknown.
    UnknownKind(u32),
}

/// The kernel's type information.
#[derive(Debug)]
pub struct Btf<'a> {
    /// By identifier; the first, `void`, is 0.
    types: Vec<Type<'a>>,
    names: &'a [u8],
    /// The structures, enumerations and type names by their names.
    by_name: BTreeMap<(Kind, &'a [u8]), usize>,
}

#[derive(Clone, Copy, Debug)]
struct Type<'a> {
    kind: Kind,
    /// Whether the offsets of members include the sizes of bit fields.
    has_bit_fields: bool,
    /// The type that this one refers to, if it does.
    target: usize,
    /// The members, enumerators or parameters.
    parts: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pointer,
    Structure,
    Enumeration,
    TypeName,
    /// `const`, `volatile`, `restrict` or a tag.
    Modifier,
    Prototype,
    Other,
}

/// A member found in a structure, or in one without a name within it.
struct Member {
    bit_offset: usize,
    target: usize,
}

/// Returns the identifier of a function of the kernel in its type information; `None` if there is none of this name.
#[must_use]
pub fn function(bytes: &[u8], name: &str) -> Option<u32> {
    let number = |offset| u32_at(bytes, offset).map(|number| number as usize);
    let section = |start: usize| {
        let begin = number(4)?.checked_add(number(start)?)?;
        bytes.get(begin..begin.checked_add(number(start + 4)?)?)
    };
    let (mut rest, names) = (section(8)?, section(16)?);
    for identifier in 1.. {
        let information = u32_at(rest, 4)?;
        let kind = information >> 24 & 0x1f;
        let named = names.get(u32_at(rest, 0)? as usize..)?;
        if kind == FUNCTION && named.strip_prefix(name.as_bytes()).is_some_and(|end| end.first() == Some(&0))
        {
            return Some(identifier);
        }
        let (_, length) = layout(kind, (information & 0xffff) as usize)?;
        rest = rest.get(TYPE_BYTES + length..)?;
    }
    None
}

impl<'a> Btf<'a> {
    /// Parses type information.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let magic = bytes.first_chunk().map(|magic| u16::from_ne_bytes(*magic));
        if magic != Some(MAGIC) || bytes.len() < HEADER_BYTES {
            return Err(BtfError::NoHeader);
        }
        let number = |offset| u32_at(bytes, offset).map(|number| number as usize);
        let section = |start: usize| {
            let begin = number(4)?.checked_add(number(start)?)?;
            bytes.get(begin..begin.checked_add(number(start + 4)?)?)
        };
        let (mut rest, names) = section(8).zip(section(16)).ok_or(BtfError::Truncated)?;
        let void = Type { kind: Kind::Other, has_bit_fields: false, target: 0, parts: &[] };
        let mut btf = Self { types: vec![void], names, by_name: BTreeMap::new() };
        while !rest.is_empty() {
            rest = btf.add_type(rest)?;
        }
        Ok(btf)
    }

    /// Returns the offset in bytes of a member, given by its path, such as `ns.inum`. Members of structures without a
    /// name belong to the structure around them. Bit fields have no offset.
    #[must_use]
    pub fn offset(&self, structure: &str, path: &str) -> Option<usize> {
        let mut current = *self.by_name.get(&(Kind::Structure, structure.as_bytes()))?;
        let mut bits = 0_usize;
        for name in path.split('.') {
            let member = self.member(self.resolve(current)?, name.as_bytes())?;
            bits = bits.checked_add(member.bit_offset)?;
            current = member.target;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Returns the values of an enumeration with their names; `None` if there is none of this name.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Option<Vec<(u32, String)>> {
        let index = *self.by_name.get(&(Kind::Enumeration, name.as_bytes()))?;
        let parts = self.types.get(index)?.parts.chunks_exact(ENUMERATOR_BYTES);
        let enumerator = |part: &[u8]| {
            let name = self.name(u32_at(part, 0)? as usize)?;
            Some((u32_at(part, 4)?, String::from_utf8_lossy(name).into_owned()))
        };
        Some(parts.filter_map(enumerator).collect())
    }

    /// Returns the number of arguments that a raw tracepoint has; `None` if there is no such tracepoint.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<usize> {
        let name = format!("btf_trace_{tracepoint}");
        let index = *self.by_name.get(&(Kind::TypeName, name.as_bytes()))?;
        let prototype = self.types.get(self.resolve(self.types.get(self.resolve(index)?)?.target)?)?;
        // The first is the tracepoint's own data, which programs do not see.
        let parameters = prototype.parts.len() / ENUMERATOR_BYTES;
        (prototype.kind == Kind::Prototype).then(|| parameters.saturating_sub(1))
    }

    /// Adds the first type of `bytes`, and returns what follows it.
    fn add_type(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], BtfError> {
        let [Some(name), Some(information), Some(target)] = [0, 4, 8].map(|offset| u32_at(bytes, offset))
        else {
            return Err(BtfError::Truncated);
        };
        let (count, number) = ((information & 0xffff) as usize, information >> 24 & 0x1f);
        let (kind, length) = layout(number, count).ok_or(BtfError::UnknownKind(number))?;
        let (parts, rest) = bytes.split_at_checked(TYPE_BYTES + length).ok_or(BtfError::Truncated)?;
        let is_wanted = matches!(kind, Kind::Structure | Kind::Enumeration | Kind::TypeName) && name > 0;
        // Most types are not, and the search for the end of a name takes most of the time.
        if is_wanted && let Some(name) = self.name(name as usize) {
            self.by_name.entry((kind, name)).or_insert(self.types.len());
        }
        self.types.push(Type {
            kind,
            has_bit_fields: information >> 31 == 1,
            target: target as usize,
            parts: parts.get(TYPE_BYTES..).unwrap_or_default(),
        });
        Ok(rest)
    }

    /// Skips the names and modifiers of a type.
    fn resolve(&self, mut index: usize) -> Option<usize> {
        for _ in 0..64 {
            let of = self.types.get(index)?;
            if !matches!(of.kind, Kind::TypeName | Kind::Modifier) {
                return Some(index);
            }
            index = of.target;
        }
        None
    }

    fn member(&self, structure: usize, name: &[u8]) -> Option<Member> {
        let mut visited = 0;
        // Structures to search, with their offsets in bits.
        let mut pending = vec![(structure, 0_usize)];
        while let Some((index, offset)) = pending.pop() {
            let of = self.types.get(index).filter(|of| of.kind == Kind::Structure)?;
            for part in of.parts.chunks_exact(MEMBER_BYTES) {
                visited += 1;
                if visited > MAX_VISITED {
                    return None;
                }
                let [named, target, bits] = [0, 4, 8].map(|at| u32_at(part, at).unwrap_or_default() as usize);
                let (bits, width) =
                    if of.has_bit_fields { (bits & 0xff_ffff, bits >> 24) } else { (bits, 0) };
                let bit_offset = offset.checked_add(bits)?;
                match self.name(named)? {
                    found if found == name => return (width == 0).then_some(Member { bit_offset, target }),
                    [] => {
                        let inner = self.resolve(target).filter(|inner| self.is_structure(*inner));
                        pending.extend(inner.map(|inner| (inner, bit_offset)));
                    }
                    _ => {}
                }
            }
        }
        None
    }

    fn is_structure(&self, index: usize) -> bool {
        self.types.get(index).is_some_and(|of| of.kind == Kind::Structure)
    }

    fn name(&self, offset: usize) -> Option<&'a [u8]> {
        CStr::from_bytes_until_nul(self.names.get(offset..)?).ok().map(CStr::to_bytes)
    }
}

/// Returns the kind of a type and the number of bytes that follow its first 12.
const fn layout(number: u32, count: usize) -> Option<(Kind, usize)> {
    Some(match number {
        2 => (Kind::Pointer, 0),
        4 | 5 => (Kind::Structure, count * MEMBER_BYTES),
        6 => (Kind::Enumeration, count * ENUMERATOR_BYTES),
        8 => (Kind::TypeName, 0),
        9..=11 | 18 => (Kind::Modifier, 0),
        13 => (Kind::Prototype, count * ENUMERATOR_BYTES),
        // Forward declarations, functions and floats.
        7 | 12 | 16 => (Kind::Other, 0),
        // Integers, variables and tags of declarations.
        1 | 14 | 17 => (Kind::Other, 4),
        // Arrays.
        3 => (Kind::Other, 12),
        // Sections and enumerations of 64 bits.
        15 | 19 => (Kind::Other, count * 12),
        _ => return None,
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

impl std::error::Error for BtfError {}

impl std::fmt::Display for BtfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoHeader => f.write_str("no header of type information"),
            Self::Truncated => f.write_str("the type information is truncated"),
            Self::UnknownKind(kind) => write!(f, "unknown kind of type {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Assembles type information.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        names: Vec<u8>,
    }

    impl Builder {
        fn name(&mut self, name: &str) -> u32 {
            let offset = self.names.len() as u32;
            self.names.extend(name.bytes().chain([0]));
            offset
        }

        fn add(&mut self, name: &str, kind: u32, target: u32, parts: &[[u32; 3]], width: usize) {
            let name = self.name(name);
            let information = kind << 24 | parts.len() as u32;
            let numbers = [name, information, target].into_iter();
            let parts = parts.iter().flat_map(|part| part.iter().take(width).copied());
            self.types.extend(numbers.chain(parts).flat_map(u32::to_ne_bytes));
        }

        fn finish(self) -> Vec<u8> {
            let (types, names) = (self.types.len() as u32, self.names.len() as u32);
            let mut bytes = MAGIC.to_ne_bytes().to_vec();
            bytes.extend([1, 0]);
            bytes.extend([24, 0, types, types, names].iter().flat_map(|number: &u32| number.to_ne_bytes()));
            bytes.extend(self.types);
            bytes.extend(self.names);
            bytes
        }
    }

    /// `struct inner { int; int port; }`, `struct outer { int; struct { const inner nested; }; }`, `enum reason`,
    /// and a tracepoint with three arguments.
    fn sample() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.name("");
        let [port, nested, reason, other] = ["port", "nested", "DROP", "KEEP"].map(|name| builder.name(name));
        builder.add("inner", 4, 8, &[[0, 0, 0], [port, 0, 32]], 3); // 1
        builder.add("", 10, 1, &[], 0); // 2: const inner
        builder.add("", 5, 8, &[[nested, 2, 0]], 3); // 3: union without a name
        builder.add("outer", 4, 16, &[[0, 3, 64]], 3); // 4
        builder.add("reason", 6, 4, &[[other, 0, 0], [reason, 7, 0]], 2); // 5
        builder.add("", 13, 0, &[[0; 3]; 4], 2); // 6
        builder.add("", 2, 6, &[], 0); // 7: a pointer to it
        builder.add("btf_trace_free", 8, 7, &[], 0); // 8
        builder.finish()
    }

    #[test]
    fn members_of_structures_without_names_are_found() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("inner", "port"), Some(4));
        assert_eq!(btf.offset("outer", "nested.port"), Some(12));
        assert_eq!(btf.offset("outer", "port"), None);
        assert_eq!(btf.offset("absent", "port"), None);
    }

    #[test]
    fn enumerators_and_arguments_are_found_by_name() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.enumerators("reason").unwrap(), [(0, "KEEP".to_owned()), (7, "DROP".to_owned())]);
        assert_eq!((btf.enumerators("inner"), btf.tracepoint_arguments("free")), (None, Some(3)));
        assert_eq!(btf.tracepoint_arguments("other"), None);
    }

    #[test]
    fn damaged_information_is_an_error() {
        let bytes = sample();
        assert_eq!(Btf::parse(&bytes[1..]).unwrap_err(), BtfError::NoHeader);
        assert_eq!(Btf::parse(&bytes[..bytes.len() - 1]).unwrap_err(), BtfError::Truncated);
        let mut unknown = bytes;
        unknown[24 + 7] = 31;
        assert_eq!(Btf::parse(&unknown).unwrap_err(), BtfError::UnknownKind(31));
    }

    #[test]
    fn kernel_of_this_machine_is_parsed() {
        let Ok(bytes) = std::fs::read(KERNEL) else { return };
        let btf = Btf::parse(&bytes).unwrap();
        for (structure, path) in [("sk_buff", "network_header"), ("net", "ns.inum"), ("sk_buff", "dev")] {
            assert!(btf.offset(structure, path).is_some_and(|offset| offset < 1 << 14), "{structure}.{path}");
        }
        assert!(function(&bytes, "vprintk").is_some(), "every kernel can print");
    }

    #[test]
    fn functions_are_found_by_their_whole_names() {
        let mut builder = Builder::default();
        builder.name("");
        builder.add("find", 4, 8, &[[0, 0, 0]], 3); // 1
        builder.add("finder", 12, 0, &[], 0); // 2
        builder.add("find", 12, 0, &[], 0); // 3
        let bytes = builder.finish();
        assert_eq!(function(&bytes, "find"), Some(3));
        assert_eq!((function(&bytes, "fin"), function(&bytes[..30], "find")), (None, None));
    }

    proptest! {
        #[test]
        fn arbitrary_changes_neither_panic_nor_loop(
            changes in proptest::collection::vec((0..400_usize, any::<u8>()), 0..8),
            length in 0..400_usize,
        ) {
            let mut bytes = sample();
            for (position, byte) in changes {
                if let Some(changed) = bytes.get_mut(position) {
                    *changed = byte;
                }
            }
            bytes.truncate(length);
            if let Ok(btf) = Btf::parse(&bytes) {
                let _ = btf.offset("outer", "nested.port");
                let _ = btf.enumerators("reason");
                let _ = btf.tracepoint_arguments("free");
            }
        }
    }
}
