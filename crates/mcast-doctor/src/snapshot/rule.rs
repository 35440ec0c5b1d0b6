//! A rule of the firewall that drops and counts.

/// A rule of nftables that drops, and how much it has dropped, if it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppingRule {
    /// `inet filter input handle 4`, as `nft` names it.
    pub(crate) place: String,
    /// `input`, `prerouting`, `output`, `ingress`…
    pub(crate) hook: Option<String>,
    pub(crate) packets: Option<u64>,
}
