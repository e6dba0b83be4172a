//! Which addresses a guest's request may not reach: those of the host, its network, its cloud, and special ones.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses in IPv4 that aren't public, from IANA's registry of special-purpose addresses, with multicast.
const NOT_PUBLIC_V4: [([u8; 4], u8); 17] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local: metadata of EC2, credentials of ECS and EKS
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT
    ([192, 88, 99, 0], 24),  // relays of 6to4
    ([192, 168, 0, 0], 16),  // private
    ([192, 175, 48, 0], 24), // AS112
    ([198, 18, 0, 0], 15),   // benchmarking
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// Addresses within 2000::/3, the public ones of IPv6, that aren't public all the same.
const NOT_PUBLIC_V6: [([u16; 3], u8); 5] = [
    ([0x2001, 0, 0], 23),         // protocol assignments: Teredo, benchmarking, ORCHID
    ([0x2001, 0xdb8, 0], 32),     // documentation
    ([0x2002, 0, 0], 16),         // 6to4
    ([0x2620, 0x4f, 0x8000], 48), // AS112
    ([0x3fff, 0, 0], 20),         // documentation
];

/// Addresses that give credentials to programs on EC2, ECS and EKS. A range doesn't allow them, only the address itself.
const CREDENTIALS: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

/// Returns whether an address belongs to the public internet. Everything else needs an [`AddressRule`], or a rule with
/// the address as its host.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            !NOT_PUBLIC_V4.iter().any(|(network, length)| {
                (bits ^ Ipv4Addr::from(*network).to_bits()).leading_zeros() >= u32::from(*length)
            })
        }
        IpAddr::V6(address) => {
            // A network of IPv6 alone reaches IPv4 through its NAT64: the address is that of IPv4.
            if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
                return is_public(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into());
            }
            let bits = address.to_bits();
            let is_global_unicast = bits >> 125 == 1;
            is_global_unicast
                && !NOT_PUBLIC_V6.iter().any(|([a, b, c], length)| {
                    let network = Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0).to_bits();
                    (bits ^ network).leading_zeros() >= u32::from(*length)
                })
        }
    }
}

/// An address, or a range of addresses, that may be reached though it isn't public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRule(IpNet);

impl AddressRule {
    pub(super) fn allows(self, address: IpAddr) -> bool {
        // An address of IPv4 in the clothes of IPv6 reaches the same host.
        let address = address.to_canonical();
        let is_single = self.0.prefix_len() == self.0.max_prefix_len();
        self.0.contains(&address) && (is_single || !CREDENTIALS.contains(&address))
    }
}

impl FromStr for AddressRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let rule = text.parse::<IpNet>().ok().or_else(single);
        rule.filter(|rule| rule.addr().to_canonical() == rule.addr()).map(Self).ok_or_else(|| {
            format!("{text:?} is no address: write one such as 10.0.0.5, or a range such as 10.0.0.0/8 or fd00::/8")
        })
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn no_address_of_a_host_a_network_or_a_cloud_is_public() {
        // Long because it is a table.
        for text in [
            // Loopback, unspecified, broadcast.
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "::1",
            "::",
            // Private, link-local, unique-local, carrier-grade NAT.
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            // Metadata and credentials.
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::254",
            "fd00:ec2::23",
            // Multicast, reserved, benchmarking, documentation.
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "ff02::1",
            "198.18.0.1",
            "198.19.255.255",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "192.0.0.8",
            "192.88.99.1",
            "2001:db8::1",
            "2001:2::1",
            "3fff::1",
            "100::1",
            "5f00::1",
            // IPv4 in the clothes of IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::10.1.2.3",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "fe80::5efe:127.0.0.1",
        ] {
            assert!(!is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2600::1",
            "2a00:1450::1",
            "3ffe::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn a_range_allows_its_addresses_and_never_those_that_give_credentials() {
        let allows =
            |rule: &str, text: &str| rule.parse::<AddressRule>().expect("a rule").allows(address(text));
        assert!(allows("10.0.0.5", "10.0.0.5") && !allows("10.0.0.5", "10.0.0.6"));
        assert!(allows("10.0.0.0/8", "10.9.9.9") && !allows("10.0.0.0/8", "11.0.0.0"));
        assert!(allows("10.0.0.0/8", "::ffff:10.0.0.1"), "the same host");
        assert!(allows("fd00::/8", "fd00:ec2::1") && allows("127.0.0.0/8", "127.0.0.1"));
        for credentials in CREDENTIALS {
            for range in ["0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254/31", "fd00:ec2::/32"] {
                assert!(!allows(range, &credentials.to_string()), "{range} {credentials}");
            }
            assert!(allows(&credentials.to_string(), &credentials.to_string()));
        }
        for wrong in
            ["", "10", "10.0.0.0/33", "localhost", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "10.0.0.1:80"]
        {
            assert!(wrong.parse::<AddressRule>().is_err(), "{wrong}");
        }
    }
}
