/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the ENAT programs and their loader agree on: src/agent/flows.rs reads these structures byte by byte. */
#ifndef LBD_ENAT_H
#define LBD_ENAT_H

#include <linux/in6.h>
#include <linux/types.h>

/* The entries of `counters`, one value for each CPU; src/agent/enat.rs says what they mean. */
enum counter {
	COUNTER_LEARNED,
	COUNTER_RESTORED,
	COUNTER_REPLIES,
	COUNTER_ERRORS,
	COUNTER_UNKNOWN,
	COUNTER_UNTRUSTED,
	COUNTER_COLLISION,
	COUNTER_NO_SERVER,
	COUNTER_FAILED,
	COUNTERS,
};

/* What a flow is looked up by: the two ends of a packet, `own` being this server's. */
enum kind {
	KIND_REQUEST, /* VIP:lport and RIP:rport, as the balancer sends it; tells CIP:cport and vport */
	KIND_REPLY,   /* CIP:cport and RIP:rport; UDP only; tells VIP:vport */
};

struct flow_key {
	struct in6_addr peer;
	struct in6_addr own;
	__be16 peer_port;
	__be16 own_port;
	__u8 protocol;
	__u8 kind;
	__u16 zero;
};

#define FLOW_CONFIRMED 1 /* a TCP socket of the connection exists */
#define FLOW_CLOSING 2	 /* FIN or RST has been seen */

struct flow {
	struct in6_addr address;
	__be16 port;
	__be16 vport; /* of a request only */
	__u32 flags;
	__u32 seen; /* seconds of the monotonic clock */
};

/* A service's port where a packet has no room for it: VIP, rport, protocol. */
struct port_key {
	struct in6_addr vip;
	__be16 rport;
	__u8 protocol;
	__u8 zero;
};

#define MAX_PORTS 4096

/* Datagrams in fragments that are on their way at the same time. */
#define MAX_FRAGMENTED 4096

#endif
