/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What all programs of the real-server agent and their loaders agree on: src/agent/maps.rs writes these keys. */
#ifndef LBD_AGENT_H
#define LBD_AGENT_H

#include <linux/in6.h>
#include <linux/types.h>

/*
 * A prefix of addresses; IPv4 is held IPv4-mapped (::ffff:a.b.c.d), so that both families share the maps. The family
 * stands first because ::/0 would contain all of IPv4 otherwise.
 */
struct prefix {
	__u32 bits; /* counted from `is_v4` on */
	__u32 is_v4;
	struct in6_addr address;
};

/* More than anybody has balancers, and more than anybody has services on one server. */
#define MAX_PREFIXES 1024
#define MAX_VIPS 4096

#endif
