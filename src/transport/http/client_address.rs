//! Determines the address of a client: the peer, or the address that a trusted proxy names. Also
//! determines the network that limits count it under.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

/// The proxies that are trusted to name a client's address.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies(pub(super) Vec<IpNet>);

impl TrustedProxies {
    /// Returns the address of the client: the last one in `X-Forwarded-For` that belongs to no
    /// trusted proxy.
    ///
    /// The header is read from the end, because addresses further in front may be made up.
    pub(super) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let values = headers.get_all("x-forwarded-for").iter().rev();
        let hops = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.rsplit(','));
        for hop in hops {
            let Some(address) = parse_address(hop.trim()) else {
                break;
            };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    /// Returns `true` if an address belongs to a trusted proxy.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// Returns the network under which limits count an address. IPv4 addresses count each by
/// themselves, and IPv6 addresses by their network of this prefix length.
///
/// An owner of one IPv6 network has all the addresses in it (RFC 6177).
pub(super) fn client_network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = 128_u32.saturating_sub(ipv6_prefix.into());
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        address => address,
    }
}

/// Parses an address as proxies write it, with or without a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_matches(['[', ']']).parse();
    let address = bare.or_else(|_| {
        text.parse()
            .map(|with_port: std::net::SocketAddr| with_port.ip())
    });
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    struct Case {
        address: &'static str,
        ipv6_prefix: u8,
        network: &'static str,
    }

    #[test]
    fn ipv6_address_is_reduced_to_its_network() {
        let case = |address, ipv6_prefix, network| Case {
            address,
            ipv6_prefix,
            network,
        };
        for Case {
            address,
            ipv6_prefix,
            network: expected,
        } in [
            case("192.0.2.7", 64, "192.0.2.7"),
            case("::ffff:192.0.2.7", 64, "192.0.2.7"),
            case("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            case("2001:db8:1:2:ffff:ffff:ffff:ffff", 64, "2001:db8:1:2::"),
            case("2001:db8:1:3::1", 64, "2001:db8:1:3::"),
            case("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::"),
            case("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            case("2001:db8:1:2:3:4:5:6", 1, "::"),
            case("::1", 64, "::"),
        ] {
            let parsed: (IpAddr, IpAddr) = (address.parse().unwrap(), expected.parse().unwrap());
            assert_eq!(
                client_network(parsed.0, ipv6_prefix),
                parsed.1,
                "{address}/{ipv6_prefix}"
            );
        }
    }
}
