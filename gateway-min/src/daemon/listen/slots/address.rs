//! Whom a connection is counted for.

use std::net::IpAddr;

/// Whom a connection is counted for: an IPv4 address (also where it is written as an IPv6
/// one), or an IPv6 network of 64 bits, which is what one subscriber has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                let network = [a, b, c, d]
                    .into_iter()
                    .fold(0, |high, part| (high << 16) | u64::from(part));
                Self::V6(network)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Address;

    #[test]
    fn addresses_are_counted_as_their_owners_have_them() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        for (a, b, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::1", "0.0.0.1", false),
        ] {
            assert_eq!(address(a) == address(b), same, "{a} {b}");
        }
    }
}
