/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the programs of the real-server agent have in common: how they count, and how they hold addresses, and what headers lack. */
#ifndef LBD_AGENT_BPF_H
#define LBD_AGENT_BPF_H

#include <linux/bpf.h>
#include <linux/in6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "agent.h"

/* From the kernel's net/ip.h, which is not a user header. */
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1; /* one value for each CPU: nobody else writes it */
}

static __always_inline struct in6_addr mapped(__be32 v4)
{
	struct in6_addr address = {};

	address.in6_u.u6_addr32[2] = bpf_htonl(0xffff);
	address.in6_u.u6_addr32[3] = v4;
	return address;
}

static __always_inline bool is_mapped_v4(const struct in6_addr *address)
{
	return !address->in6_u.u6_addr32[0] && !address->in6_u.u6_addr32[1] &&
	       address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

#endif
