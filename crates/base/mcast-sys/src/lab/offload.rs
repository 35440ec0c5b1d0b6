//! The offload features of interfaces (`SIOCETHTOOL`), by their names.

use std::io;
use std::os::fd::OwnedFd;

use crate::ethtool;

const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
/// The length of a feature name (`ETH_GSTRING_LEN`).
const NAME_LENGTH: usize = 32;
/// A limit far above the 64 features that kernels had in 2024.
const MAX_FEATURES: usize = 512;

/// Turns features of an interface in the namespace of the calling thread on or off. Features that the kernel does
/// not have are skipped.
pub fn set_features(interface: &str, features: &[(&str, bool)]) -> io::Result<()> {
    let socket = ethtool::open()?;
    let names = feature_names(&socket, interface)?;
    // struct ethtool_sfeatures: command, number of blocks, and for each block the masks `valid` and `requested`.
    let blocks = names.len().div_ceil(32);
    let mut request = vec![0_u32; 2 + 2 * blocks];
    request[0] = ETHTOOL_SFEATURES;
    request[1] = blocks as u32;
    for (name, on) in features {
        let Some(bit) = names.iter().position(|feature| feature == name) else { continue };
        let (block, mask) = (2 + 2 * (bit / 32), 1 << (bit % 32));
        request[block] |= mask;
        request[block + 1] |= if *on { mask } else { 0 };
    }
    ethtool::request(&socket, interface, &mut request)
}

fn feature_names(socket: &OwnedFd, interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, a 64-bit mask of sets, and a count for each of them.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    info[if cfg!(target_endian = "little") { 2 } else { 3 }] = 1 << ETH_SS_FEATURES;
    ethtool::request(socket, interface, &mut info)?;
    let count = info[4] as usize;
    if count > MAX_FEATURES {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    }
    // struct ethtool_gstrings: command, set, count, and `count` names of 32 bytes.
    let mut strings = vec![0_u32; 3 + count * NAME_LENGTH / 4];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
    ethtool::request(socket, interface, &mut strings)?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(bytes.chunks_exact(NAME_LENGTH).map(ethtool::name).collect())
}
