//! Firewall rules that drop.

/// An nftables rule or chain policy that drops packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppingRule {
    /// `inet`, `ip`, `ip6`, `netdev`…
    pub(crate) family: String,
    pub(crate) table: String,
    pub(crate) chain: String,
    /// The rule in the chain: `handle 4` or `policy drop`.
    pub(crate) part: String,
    /// `input`, `prerouting`, `output`, `ingress`…; `None` for a chain that is only jumped to.
    pub(crate) hook: Option<String>,
    /// The number of packets dropped, if the rule has a counter.
    pub(crate) packets: Option<u64>,
}

impl DroppingRule {
    /// Returns its location in `nft` syntax: `nft inet filter input handle 4`.
    pub(crate) fn location(&self) -> String {
        format!("nft {} {} {} {}", self.family, self.table, self.chain, self.part)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.family, &self.table, &self.chain, &self.part)
            == (&other.family, &other.table, &other.chain, &other.part)
    }

    /// Returns whether firewalld created the rule.
    pub(crate) fn is_of_firewalld(&self) -> bool {
        self.table == "firewalld"
    }
}
