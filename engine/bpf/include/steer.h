/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the steering program and its loader agree on. rules.rs writes these keys byte by byte. */
#ifndef LBD_STEER_H
#define LBD_STEER_H

#include <linux/types.h>

/* An address in network order; IPv4 is held IPv4-mapped (::ffff:a.b.c.d), so that both families share the maps. */
struct address {
	__u8 octets[16];
};

/* VIP:vport:protocol, or RIP:rport:protocol. */
struct endpoint {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

/* Which ports of a local address may be a conn's, the last one included; in the machine's order. */
struct ports {
	__u16 first;
	__u16 last;
};

/* A key of the trie of marked destinations. */
struct prefix {
	__u32 len;
	struct address address;
};

/* Ports, the last one included, in the machine's order. */
struct port_range {
	__u16 first;
	__u16 last;
	__u8 protocol; /* 0 for one that is not in use */
	__u8 zero;
};

#define MARKED_RANGES 16

/* What of the packets to a prefix gets a mark, whichever. */
struct marked {
	struct port_range ranges[MARKED_RANGES];
};

/* An Ethernet address: the interface's own, or another balancer's. */
struct mac {
	__u16 words[3];
	__u16 zero;
};

/* The entries of `counters`, one value for each CPU. */
enum counter {
	COUNTER_REDIRECTED,
	COUNTER_PASSED,
	COUNTERS,
};

/* Room in front of a frame for an outer header, opened for services that put one there: the first byte of such a frame is
 * ROOM_MARK and the second the number of bytes before its Ethernet header. A frame that goes to a socket as it came begins
 * with the interface's own address, whose first byte is even. */
#define ROOM_MARK 0xff
#define MAX_ROOM 128

/* More than any configuration seen; entries cost memory only when used. */
#define MAX_SERVICES 65536
#define MAX_SERVERS 262144
#define MAX_LOCAL_ADDRESSES 65536
#define MAX_MARKED 65536
#define MAX_LOCALS 65536
#define MAX_PEERS 4096

#endif
