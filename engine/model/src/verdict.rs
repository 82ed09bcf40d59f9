//! How a packet ends, and why.

use std::fmt;

use crate::InterfaceId;

/// How a packet ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Sent on this interface.
    Tx(InterfaceId),
    /// Handed to the kernel unchanged.
    Punt(PuntReason),
    /// Ends here.
    Drop(DropReason),
    /// A fragment that waits for the others of its datagram: it goes on as part of that, which ends as one packet.
    Join,
    /// Its conn is this other worker's: it goes on there.
    Hand(u16),
    /// Rewritten, and waiting for the kernel to find the MAC of its next hop; ends later as `Tx` or `Drop`.
    Hold,
}

macro_rules! reasons {
    ($(#[$doc:meta])* $enum:ident { $($(#[doc = $text:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $enum { $($(#[doc = $text])+ $variant,)+ }

        impl $enum {
            /// Every reason, in the order of their counters.
            pub const ALL: &'static [$enum] = &[$($enum::$variant,)+];

            /// The reason's name in counters, logs and documentation.
            pub const fn name(self) -> &'static str {
                match self { $($enum::$variant => $name,)+ }
            }

            /// What the reason means, for a person.
            pub const fn describe(self) -> &'static str {
                match self { $($enum::$variant => concat!($($text),+).trim_ascii(),)+ }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

reasons! {
    /// Why a packet ended in the balancer. Each has a counter and a test that provokes it.
    DropReason {
        /// The frame is too short for its headers, or a length or version field contradicts the frame.
        Malformed = "malformed",
        /// The service has no server that takes new conns: none configured, all of weight 0 or all overloaded.
        NoDest = "no_dest",
        /// The conn's server was removed from its service.
        DestGone = "dest_gone",
        /// The connection table is full.
        TableFull = "table_full",
        /// Another conn expects its replies from the same server under the same addresses and ports.
        ReplyTupleTaken = "reply_tuple_taken",
        /// The service has no local address, or all their ports towards the chosen server are in use.
        NoLocalPort = "no_local_port",
        /// A fragment whose datagram did not become whole in time, or that had no room to wait in.
        FragmentIncomplete = "fragment_incomplete",
        /// A fragment that another of its datagram contradicts: they overlap, or end in two places.
        FragmentOverlap = "fragment_overlap",
        /// There was no free frame for a part of the packet, which does not fit into one.
        NoFrame = "no_frame",
        /// An IPv4 option contradicts itself or the header's length.
        BadOption = "bad_option",
        /// The packet says by which hosts it wants to be routed (IPv4 source routing).
        SourceRoute = "source_route",
        /// A server's packet of no conn, which is answered with port unreachable (`nat_icmp_send`).
        UnknownReply = "unknown_reply",
        /// The TTL does not allow another hop.
        TtlExceeded = "ttl_exceeded",
        /// The kernel has no route to where the packet must go, or one that leaves by an interface that is not ours.
        NoRoute = "no_route",
        /// The server is reached by an interface on which this machine has no address of the server's family.
        NoSource = "no_source",
        /// The packet is larger than the MTU of the interface it must leave by, with what its mode adds.
        TooBig = "too_big",
        /// The next hop did not answer to neighbour resolution in time.
        NeighbourUnresolved = "neighbour_unresolved",
        /// Too many packets were waiting for neighbour resolution already.
        NeighbourQueueFull = "neighbour_queue_full",
        /// The transmit ring of the egress interface had no room.
        TxRingFull = "tx_ring_full",
        /// The packet is of another worker's conn, and more than fit had been handed to that worker already.
        OwnerBusy = "owner_busy",
        /// The packet was for the kernel, but the kernel did not take it.
        PuntFailed = "punt_failed",
    }
}

reasons! {
    /// Why a packet was left to the kernel. Each has a counter and a test that provokes it.
    PuntReason {
        /// Not TCP or UDP over IP.
        NotBalanced = "not_balanced",
        /// A fragment of something else than TCP or UDP.
        Fragment = "fragment",
        /// Neither to a virtual service nor of a conn.
        NotOurs = "not_ours",
        /// To a TCP service, of no conn, and does not open one: the kernel answers with RST.
        NoConn = "no_conn",
        /// Balanced to this machine itself, which is a real server of the service (DR).
        OwnServer = "own_server",
    }
}
