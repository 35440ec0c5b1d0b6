//! The offload features of interfaces (`SIOCETHTOOL`), by their names.

use std::{
    io, mem,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
};

use super::{check, socket_option};

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
    let socket = socket_option::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
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
    ethtool(&socket, interface, &mut request)
}

fn feature_names(socket: &OwnedFd, interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, a 64-bit mask of sets, and a count for each of them.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    info[if cfg!(target_endian = "little") { 2 } else { 3 }] = 1 << ETH_SS_FEATURES;
    ethtool(socket, interface, &mut info)?;
    let count = info[4] as usize;
    if count > MAX_FEATURES {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    }
    // struct ethtool_gstrings: command, set, count, and `count` names of 32 bytes.
    let mut strings = vec![0_u32; 3 + count * NAME_LENGTH / 4];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
    ethtool(socket, interface, &mut strings)?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(bytes.chunks_exact(NAME_LENGTH).map(parse_name).collect())
}

fn parse_name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Makes an ethtool request. `request` must have the length that its header gives.
fn ethtool(socket: &OwnedFd, interface: &str, request: &mut [u32]) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut ioctl: libc::ifreq = unsafe { mem::zeroed() };
    if interface.len() >= ioctl.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in ioctl.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    ioctl.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // SAFETY: the request has the length that its header gives, and outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut ioctl)) })
        .map(drop)
}
