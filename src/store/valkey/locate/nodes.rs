//! What the nodes of a cluster say about who owns which of the 16384 hash slots.

use std::sync::Arc;

use redis::RedisResult;

use super::{Address, Witnesses, nowhere};

/// Most nodes that are asked each time: what one of them knows soon comes to all.
const WITNESSES: usize = 16;

/// Number of hash slots.
const SLOTS: usize = 16_384;

/// Who owns which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Map {
    /// Place in `nodes` plus one, by slot; 0 if nobody owns it. Empty if nothing is known.
    owners: Vec<u16>,
    nodes: Vec<Address>,
    /// Nodes that own nothing, and know who does.
    others: Vec<Address>,
}

impl Map {
    /// The node that owns this slot.
    pub(in super::super) fn owner(&self, slot: u16) -> Option<&Address> {
        let at = self.owners.get(usize::from(slot))?.checked_sub(1)?;
        self.nodes.get(usize::from(at))
    }

    /// Every node that owns slots.
    pub(in super::super) fn addresses(&self) -> Vec<Address> {
        self.nodes.clone()
    }

    /// Whom to ask next time: the owners first, since they know best.
    pub(super) fn witnesses(&self) -> Vec<Address> {
        self.nodes.iter().chain(&self.others).take(WITNESSES).cloned().collect()
    }
}

/// The slot of a key: by what stands in its first braces, or else by all of it.
pub(in super::super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16(hashed.as_bytes()) % 16_384
}

/// CRC-16/XMODEM, as the cluster's specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut crc: u16, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

/// The map on which all who answer can agree: of several claims to a slot the one with the highest
/// epoch holds.
pub(super) async fn map(witnesses: &Arc<Witnesses>, whom: &[Address]) -> RedisResult<Map> {
    let mut nodes = redis::cmd("CLUSTER");
    nodes.arg("NODES");
    let (answers, complaint) = witnesses.ask::<String>(whom, &[nodes]).await;
    let claims: Vec<Claim> = answers
        .iter()
        .filter_map(|(from, texts)| Some((from, texts.first()?)))
        .flat_map(|(from, text)| text.lines().filter_map(|line| Claim::read(line, from)))
        .collect();
    if claims.iter().all(|claim| claim.ranges.is_empty()) {
        return Err(nowhere(&match complaint {
            Some(complaint) => format!("no node of the cluster says who owns what: {complaint}"),
            None => "no node of the cluster owns any slot".to_owned(),
        }));
    }
    Ok(agreed(claims))
}

fn agreed(mut claims: Vec<Claim>) -> Map {
    claims.sort_by_key(|claim| claim.epoch);
    let mut map = Map { owners: vec![0; SLOTS], ..Map::default() };
    for Claim { node, ranges, .. } in claims {
        if ranges.is_empty() {
            map.others.push(node);
            continue;
        }
        let known = map.nodes.iter().position(|known| *known == node);
        let at = known.unwrap_or_else(|| {
            map.nodes.push(node);
            map.nodes.len() - 1
        });
        let owner = u16::try_from(at + 1).unwrap_or(0);
        for (first, last) in ranges {
            if let Some(owners) = map.owners.get_mut(first..=last) {
                owners.fill(owner);
            }
        }
    }
    map.others.sort();
    map.others.dedup();
    map.others.retain(|other| !map.nodes.contains(other));
    map
}

/// One node's slots, as one node knows them; a replica has none.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    epoch: u64,
    node: Address,
    ranges: Vec<(usize, usize)>,
}

impl Claim {
    /// From a line of CLUSTER NODES that `from` answered:
    /// `<id> <ip:port@cport[,hostname[,…]]> <flags> <primary> <ping> <pong> <epoch> <link> <slot>…`
    ///
    /// `None` for who is known to be gone, and for what cannot be read.
    fn read(line: &str, from: &Address) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (_, place, flags) = (words.next()?, words.next()?, words.next()?);
        let is = |flag| flags.split(',').any(|word| word == flag);
        if is("fail") || is("noaddr") || is("handshake") {
            return None;
        }
        let epoch = words.nth(3)?.parse().ok()?;
        // Behind the state of the link; what moves stands there in brackets.
        let ranges = words.skip(1).filter_map(range);
        let ranges: Vec<_> = ranges.filter(|_| is("master")).collect();
        Some(Self { epoch, node: node(place, is("myself"), from)?, ranges })
    }
}

/// A host name is there to be used, in certificates for one; an address that is missing is the one
/// that was asked.
fn node(place: &str, is_myself: bool, from: &Address) -> Option<Address> {
    let (socket, names) = place.split_once(',').unwrap_or((place, ""));
    let (ip, port) = socket.split('@').next()?.rsplit_once(':')?;
    let name = names.split(',').next().filter(|name| !name.is_empty() && !name.contains('='));
    let host = match name.unwrap_or(ip) {
        "" if is_myself => &*from.host,
        "" => return None,
        host => host,
    };
    Some(Address::new(host, port.parse().ok().filter(|port| *port != 0)?))
}

fn range(word: &str) -> Option<(usize, usize)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // As CLUSTER KEYSLOT answers.
        for (key, expected) in [
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("a{foo}{bar}", 12182),
            ("foo{}", slot_of_all("foo{}")),
            ("larder:{l}:ledger", slot_of_all("l")),
            ("", 0),
        ] {
            assert_eq!(slot(key), expected, "{key}");
        }
    }

    fn slot_of_all(key: &str) -> u16 {
        crc16(key.as_bytes()) % 16_384
    }

    fn from() -> Address {
        Address::new("10.0.0.9", 7000)
    }

    #[test]
    fn lines_are_read() {
        let line = |place: &str, flags: &str, tail: &str| {
            Claim::read(&format!("id {place} {flags} - 0 0 3 connected{tail}"), &from())
        };
        let claim = |node, ranges: &[_]| Some(Claim { epoch: 3, node, ranges: ranges.to_vec() });
        let there = || Address::new("10.0.0.1", 7001);
        let read = line("10.0.0.1:7001@17001", "master", " 0-5460 6000 [93-<-id]");
        assert_eq!(read, claim(there(), &[(0, 5460), (6000, 6000)]));
        assert_eq!(line("10.0.0.1:7001@17001,", "master", " 1"), claim(there(), &[(1, 1)]));
        let named = Address::new("a.example", 7001);
        assert_eq!(line("10.0.0.1:7001@17001,a.example", "master", " 1"), claim(named, &[(1, 1)]));
        let sharded = line("10.0.0.1:7001@17001,,shard-id=x", "master", " 1");
        assert_eq!(sharded, claim(there(), &[(1, 1)]));
        assert_eq!(line("10.0.0.1:7001@17001", "master", ""), claim(there(), &[]));
        assert_eq!(line("10.0.0.1:7001@17001", "slave", " 1"), claim(there(), &[]));
        let v6 = line("::1:7001@17001", "myself,master", " 1");
        assert_eq!(v6, claim(Address::new("::1", 7001), &[(1, 1)]));
        assert_eq!(line(":7000@17000", "myself,master", " 1"), claim(from(), &[(1, 1)]));
        for (place, flags, tail) in [
            ("10.0.0.1:7001@17001", "master,fail", " 1"),
            ("10.0.0.1:7001@17001", "slave,fail", ""),
            ("10.0.0.1:0@17001", "master", " 1"),
            (":7000@17000", "master", " 1"),
            ("nonsense", "master", " 1"),
        ] {
            assert_eq!(line(place, flags, tail), None, "{place} {flags}");
        }
        assert_eq!(Claim::read("", &from()), None);
    }

    #[test]
    fn the_highest_epoch_holds() {
        let address = |port| Address::new("h", port);
        let claim = |port, epoch, ranges: &[_]| Claim {
            epoch,
            node: address(port),
            ranges: ranges.to_vec(),
        };
        let map = agreed(vec![
            claim(2, 7, &[(100, 200)]),
            claim(1, 5, &[(0, 150)]),
            claim(1, 5, &[(0, 99), (20_000, 20_001)]),
            claim(3, 1, &[(201, 300)]),
            claim(4, 9, &[]),
            claim(2, 3, &[]),
            claim(4, 9, &[]),
        ]);
        let owners = [0, 99, 100, 150, 200, 300, 301].map(|slot| map.owner(slot).cloned());
        let expected = [Some(1), Some(1), Some(2), Some(2), Some(2), Some(3), None];
        assert_eq!(owners, expected.map(|port| port.map(address)));
        assert_eq!(map.addresses().len(), 3);
        assert_eq!(map.witnesses(), [3, 1, 2, 4].map(address));
        assert_eq!(Map::default().owner(0), None);
    }
}
