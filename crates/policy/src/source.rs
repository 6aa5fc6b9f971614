//! The networks that a rule selects callers by.

use std::net::IpAddr;

use ipnet::IpNet;

/// Maximum number of networks in a rule.
const MAX_NETWORKS: usize = 100;

/// The networks of `source`: those that callers are in, and those with `!` that they are not in.
#[derive(Debug)]
pub(super) struct SourceFilter {
    inside: Vec<IpNet>,
    outside: Vec<IpNet>,
}

impl SourceFilter {
    /// Parses networks and single addresses, each with `!` in front or without.
    ///
    /// # Errors
    /// Returns an error if the list is empty or an entry is neither a network nor an address.
    pub(super) fn parse(texts: &[String]) -> Result<Self, String> {
        if !(1..=MAX_NETWORKS).contains(&texts.len()) {
            return Err(format!(
                "`source` has between 1 and {MAX_NETWORKS} networks"
            ));
        }
        let mut filter = Self {
            inside: Vec::new(),
            outside: Vec::new(),
        };
        for text in texts {
            match text.strip_prefix('!') {
                Some(text) => filter.outside.push(parse_network(text)?),
                None => filter.inside.push(parse_network(text)?),
            }
        }
        Ok(filter)
    }

    /// Returns true if the address is in one of the networks, if there are any, and in none of
    /// those with `!`. A caller without an address is in no network.
    pub(super) fn matches(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        let is_in = |nets: &[IpNet]| {
            address.is_some_and(|address| nets.iter().any(|net| net.contains(&address)))
        };
        (self.inside.is_empty() || is_in(&self.inside)) && !is_in(&self.outside)
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let parsed = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = parsed
        .map_err(|_| format!("`{text}` is no network such as 10.0.0.0/8 or 2001:db8::/32"))?;
    match network {
        // Addresses are compared in the form of IPv4.
        IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some() => Err(format!(
            "`{text}` is an IPv4 network in the form of IPv6; write it as one of IPv4"
        )),
        network => Ok(network.trunc()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    struct Case {
        source: &'static [&'static str],
        address: &'static str,
        is_match: bool,
    }

    #[test]
    fn networks_of_both_families_and_their_exceptions_are_matched() {
        let case = |source, address, is_match| Case {
            source,
            address,
            is_match,
        };
        for Case {
            source,
            address,
            is_match,
        } in [
            case(&["10.0.0.0/8"], "10.1.2.3", true),
            case(&["10.0.0.0/8"], "::ffff:10.1.2.3", true),
            case(&["10.0.0.0/8"], "11.1.2.3", false),
            case(&["10.9.9.9/8"], "10.1.2.3", true),
            case(&["2001:db8::/32", "::1"], "2001:db8:5::1", true),
            case(&["2001:db8::/32", "::1"], "::1", true),
            case(&["2001:db8::/32"], "10.1.2.3", false),
            case(&["10.0.0.0/8", "!10.5.0.0/16"], "10.5.1.1", false),
            case(&["10.0.0.0/8", "!10.5.0.0/16"], "10.6.1.1", true),
            case(&["!10.0.0.0/8"], "192.0.2.1", true),
            case(&["!10.0.0.0/8"], "10.0.0.1", false),
            case(&["0.0.0.0/0"], "", false),
            case(&["!10.0.0.0/8"], "", true),
        ] {
            let texts: Vec<_> = source.iter().map(|text| (*text).to_owned()).collect();
            let filter = SourceFilter::parse(&texts).unwrap();
            let parsed = address.parse().ok();
            assert_eq!(filter.matches(parsed), is_match, "{source:?} {address}");
        }
    }

    #[test]
    fn text_that_is_no_network_is_rejected() {
        for text in ["", "10.0.0.0/33", "example.com", "::ffff:10.0.0.0/104"] {
            assert!(SourceFilter::parse(&[text.to_owned()]).is_err(), "{text}");
        }
        assert!(SourceFilter::parse(&[]).is_err());
    }
}
