//! The settings of a sender.

use std::net::IpAddr;

use mcast::{Destination, HostAddr, InterfaceSelector, Rate, SenderBuilder};

/// The settings of a sender, kept so that it can be reopened.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) destinations: Vec<Destination>,
    pub(super) hosts: Vec<HostAddr>,
    pub(super) broadcast: bool,
    pub(super) interfaces: Vec<InterfaceSelector>,
    pub(super) hop_limit: Option<u8>,
    pub(super) loopback: bool,
    pub(super) traffic_class: Option<u8>,
    pub(super) source_port: u16,
    pub(super) source_address: Option<IpAddr>,
    pub(super) send_buffer: Option<usize>,
    pub(super) dont_fragment: bool,
    pub(super) segmentation: bool,
    pub(super) pace: Option<Rate>,
    pub(super) follow: bool,
}

impl Settings {
    pub(super) fn open(&self) -> mcast::Result<mcast::Sender> {
        let mut builder = mcast::Sender::builder()
            .broadcast(self.broadcast)
            .loopback(self.loopback)
            .source_port(self.source_port)
            .dont_fragment(self.dont_fragment)
            .segmentation(self.segmentation)
            .follow(self.follow);
        for destination in &self.destinations {
            builder = builder.to(destination.clone());
        }
        builder = self.hop_limit.into_iter().fold(builder, SenderBuilder::hop_limit);
        builder = self.hosts.iter().cloned().fold(builder, SenderBuilder::to_host);
        for interface in &self.interfaces {
            builder = builder.interface(interface.clone());
        }
        if let Some(class) = self.traffic_class {
            builder = builder.traffic_class(class);
        }
        if let Some(address) = self.source_address {
            builder = builder.source_address(address);
        }
        if let Some(bytes) = self.send_buffer {
            builder = builder.send_buffer(bytes);
        }
        if let Some(pace) = self.pace {
            builder = builder.pace(pace);
        }
        builder.build()
    }
}
