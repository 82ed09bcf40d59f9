/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* Which addresses are services', for those programs of the real-server agent that act on theirs alone. */
#ifndef LBD_VIPS_BPF_H
#define LBD_VIPS_BPF_H

#include "agent.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_VIPS);
	__type(key, struct in6_addr);
	__type(value, __u8);
} vips SEC(".maps");

static __always_inline bool is_vip(const struct in6_addr *address)
{
	return bpf_map_lookup_elem(&vips, address);
}

#endif
