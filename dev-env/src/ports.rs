//! Loopback ports: the one people expect, or a free one.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Free ports are taken from here: below the ports that Linux and macOS give to outgoing
/// connections, so that a server which is away for a while finds its own port free again.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Each process starts somewhere else and never offers a port twice, so that two servers which
/// have not bound theirs yet do not get the same one.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
    AtomicU16::new(u16::try_from(random).unwrap_or_default())
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// This one if nobody has it, otherwise a free one.
    Usual(u16),
    Free,
}

impl Port {
    pub fn pick(self) -> Result<u16> {
        match self {
            Self::Usual(port) if is_free(port) => Ok(port),
            Self::Usual(_) | Self::Free => free(),
        }
    }
}

fn free() -> Result<u16> {
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no loopback port between {FIRST} and {} is free", FIRST + COUNT - 1)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_port_in_use_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(Port::Usual(port).pick().unwrap(), port);
    }

    #[test]
    fn a_port_is_offered_only_once() {
        assert_ne!(Port::Free.pick().unwrap(), Port::Free.pick().unwrap());
    }
}
