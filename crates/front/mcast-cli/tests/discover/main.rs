//! `mcast discover` on hosts of a lab, with real announcements.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod help;
mod listing;
#[allow(dead_code)]
#[path = "../top/pseudoterminal.rs"]
mod pseudoterminal;
#[path = "../command/schemas.rs"]
mod schemas;
mod screen;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "../top/terminal.rs"]
mod terminal;

use mcast_lab::Host;
use support::send;

/// The group of SSDP.
const SSDP: &str = "239.255.255.250:1900";

/// Announces a device by SSDP, or withdraws it.
fn notify(host: &Host, name: &str, kind: &str) {
    let location = format!("http://10.0.0.1:8080/{name}.xml");
    let message = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: {SSDP}\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: {location}\r\n\
         NT: upnp:rootdevice\r\nNTS: ssdp:{kind}\r\nSERVER: {name}/1.0\r\nUSN: uuid:{name}::upnp:rootdevice\r\n\r\n"
    );
    send(host, &[SSDP, &message]);
}
