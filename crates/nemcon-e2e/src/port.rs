//! Ports that a node can come back to.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::process::no_child_is_made;

/// Where ports are looked for: below those that the system gives to outgoing
/// connections. One of *them* could be taken while a node is dead, and worse: a
/// peer that tries to reach the dead node could be given the very port it calls,
/// and be connected with itself.
const RANGE: Range<u16> = 20_000..32_000;

/// A port on loopback that is this test's alone, also while nobody listens.
///
/// The reservation is a UDP socket of the same number: other harnesses respect
/// it, and a node that listens for TCP never notices.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: UdpSocket,
}

impl Port {
    /// Reserves a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let width = RANGE.end - RANGE.start;
        // Test processes that run side by side begin at different places.
        let start = (std::process::id() % u32::from(width)) as u16;
        for _ in 0..width {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = RANGE.start + start.wrapping_add(offset) % width;
            if let Some(port) = Self::take(number) {
                return port;
            }
        }
        panic!("no port of {RANGE:?} is free")
    }

    /// Reserves this very port, if it is free.
    #[must_use]
    pub fn take(number: u16) -> Option<Self> {
        let _guard = no_child_is_made();
        let address = (Ipv4Addr::LOCALHOST, number);
        let reservation = UdpSocket::bind(address).ok()?;
        TcpListener::bind(address).ok()?;
        Some(Self {
            number,
            _reservation: reservation,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// The URL of whoever listens there.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_given_to_nobody_else_and_can_be_listened_on() {
        let ports: Vec<Port> = (0..20).map(|_| Port::reserve()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
        for port in &ports {
            assert!(Port::take(port.number()).is_none());
            TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        }
    }
}
