//! Forwarding modes: which address changes, in which direction. One file each, and one line in [`builtin`].
//!
//! A mode sees bytes, never a socket. What all modes share is done around them by the engine: the TTL, partial
//! checksums, the conn's state, the way out and the Ethernet header.

mod both_ends;
mod dr;
mod enat;
mod fnat;
mod insert;
mod ip_option;
mod nat;
mod proxy;
mod tcp_option;
mod translate;
mod tun;

use std::sync::Arc;

use lb_model::Mode;

pub use dr::DirectRouting;
pub use enat::Enat;
pub use fnat::FullNat;
pub use nat::Nat;
pub use tun::Tunnelling;

/// Every mode of this crate; a mode's position is its number in conns and services.
pub fn builtin() -> Vec<Arc<dyn Mode>> {
    vec![
        Arc::new(DirectRouting),
        Arc::new(Nat),
        Arc::new(Tunnelling),
        Arc::new(FullNat),
        Arc::new(Enat),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{
        Addr, Conn, ConnRecord, Dest, Direction, Endpoint, FlowKey, Introduction, NewConn, Protocol,
    };

    #[test]
    fn every_mode_says_what_its_packets_look_like_on_the_other_side() {
        let end = |text: &str| text.parse::<Endpoint>().expect("valid");
        let (cip, vip, rip) = ("192.0.2.1:4000", "10.0.0.100:80", "10.1.0.11:8080");
        let lip = "10.1.0.2:1024";
        let to_client = (end(vip), end(cip));
        let cases = [
            ("dr", (end(cip), end(vip)), to_client),
            ("nat", (end(cip), end(rip)), to_client),
            ("tun", (end(cip), end(vip)), to_client),
            ("fnat", (end(lip), end(rip)), to_client),
            ("enat", (end(lip), end(rip)), to_client),
        ];
        for (name, inbound, outbound) in cases {
            let modes = builtin();
            let mode = modes.iter().find(|mode| mode.name() == name);
            let mode = mode.expect("built in");
            let flow = FlowKey {
                source: end(cip),
                destination: end(vip),
                protocol: Protocol::Tcp,
            };
            let dest = Arc::new(Dest::new(end(rip), 1));
            let new = NewConn {
                flow,
                dest: &dest,
                rip: end(rip),
                local: ["fnat", "enat"].contains(&name).then(|| end(lip)),
                replies: mode.replies(),
                introduction: Introduction::Nothing,
                mode: 0,
            };
            let wide = [Addr::UNSPECIFIED_V4; 4];
            let record = ConnRecord::new(&new, 0, None);
            let conn = Conn::new(&record, &wide, &dest);
            assert_eq!(mode.endpoints(conn, Direction::Inbound), inbound, "{name}");
            assert_eq!(
                mode.endpoints(conn, Direction::Outbound),
                outbound,
                "{name}"
            );
        }
    }
}
