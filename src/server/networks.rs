//! Ranges of IP addresses, as `10.0.0.0/8` writes them.

use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4 as ::ffff:a.b.c.d, so that a peer is found whichever way it comes.
    bits: u128,
    mask: u128,
}

impl Network {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        bits_of(address) & self.mask == self.bits
    }
}

impl FromStr for Network {
    type Err = ();

    /// An address, or one with `/` and the number of bits that count. Bits behind those are ignored.
    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let all: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(all), str::parse::<u32>).map_err(|_| ())?;
        let free = all.checked_sub(length).ok_or(())?;
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        Ok(Network { bits: bits_of(address) & mask, mask })
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("10.1.2.3", &["10.1.2.3", "::ffff:10.1.2.3"][..], &["10.1.2.4", "::1"][..]),
            ("10.1.2.3/8", &["10.255.0.1"], &["11.0.0.1", "9.9.9.9"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1", "2001:db8::1"]),
            ("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::1", "10.0.0.1"]),
            ("::/0", &["1.2.3.4", "::1"], &[]),
            ("::1", &["::1"], &["127.0.0.1", "::2"]),
        ] {
            let network: Network = network.parse().unwrap();
            let holds = |addresses: &[&str]| -> Vec<bool> {
                addresses.iter().map(|address| network.contains(address.parse().unwrap())).collect()
            };
            assert_eq!(
                (holds(inside), holds(outside)),
                (vec![true; inside.len()], vec![false; outside.len()]),
                "{network:?}"
            );
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/", "10.0.0.0/-1", "kv.example/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(()), "{wrong}");
        }
    }
}
