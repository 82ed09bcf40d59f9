/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* Whom the programs of the real-server agent believe. */
#ifndef LBD_TRUST_BPF_H
#define LBD_TRUST_BPF_H

#include "agent.bpf.h"

/* Nobody is believed unless listed, but without a list everybody is. */
const volatile bool trust_everybody;

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_PREFIXES);
	__type(key, struct prefix);
	__type(value, __u8);
} trusted SEC(".maps");

static __always_inline bool is_trusted(const struct in6_addr *source)
{
	struct prefix key = { .bits = 32 + 128, .is_v4 = is_mapped_v4(source), .address = *source };

	return trust_everybody || bpf_map_lookup_elem(&trusted, &key);
}

#endif
