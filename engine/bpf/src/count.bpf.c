// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Count: the end of the line for a bench's packets. UDP, also in a tunnel, is counted, by whether it went where it should,
 * and dropped before the kernel's stack sees it; everything else is the kernel's. Where the sender has written the time
 * into the packet, how long it was on its way is counted, too.
 *
 * It runs in tc, not in XDP: packets from AF_XDP sockets in copy mode and from the kernel's forwarding arrive as
 * socket buffers, which a veth would have to turn into XDP frames at some cost to their sender.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "count.h"

/* Where packets should go; network order, an IPv4 network in the first word. */
const volatile __be32 network[4];
const volatile __be32 mask[4];
const volatile __u32 stamped;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ARRIVALS);
	__type(key, __u32);
	__type(value, __u64);
} arrivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LATENCIES);
	__type(key, __u32);
	__type(value, __u64);
} latencies SEC(".maps");

static __always_inline void add_one(void *map, __u32 key)
{
	__u64 *number = bpf_map_lookup_elem(map, &key);

	if (number)
		*number += 1; /* one value for each CPU: nobody else writes it */
}

/* The entry of `latencies` for this time. */
static __always_inline __u32 entry_of(__u64 ns)
{
	__u32 value, bit = 0;

	if (ns >> HIGHEST_BIT)
		return LATENCIES - 1;
	value = ns;
	if (value < STEPS)
		return value;
	for (__u32 half = 16; half; half /= 2)
		if (value >> (bit + half))
			bit += half;
	/* The highest bit, and the STEP_BITS after it. */
	return ((bit - STEP_BITS + 1) << STEP_BITS) + ((value >> (bit - STEP_BITS)) & (STEPS - 1));
}

static __always_inline void time(struct __sk_buff *skb, __u32 udp_at)
{
	__u64 sent, now = bpf_ktime_get_ns();

	if (!bpf_skb_load_bytes(skb, udp_at + sizeof(struct udphdr), &sent, sizeof(sent)))
		add_one(&latencies, entry_of(now > sent ? now - sent : 0));
}

SEC("tcx/ingress")
int count(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	const __be32 *destination;
	__u32 udp_at, differs = 0;

	if ((void *)(ip + 1) > end)
		return TC_ACT_UNSPEC;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		udp_at = sizeof(*eth) + ip->ihl * 4;
		if (ip->protocol == IPPROTO_IPIP)
			udp_at += sizeof(*ip);
		else if (ip->protocol != IPPROTO_UDP)
			return TC_ACT_UNSPEC;
		differs = (ip->daddr & mask[0]) ^ network[0];
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end)
			return TC_ACT_UNSPEC;
		udp_at = sizeof(*eth) + sizeof(*ip6);
		if (ip6->nexthdr == IPPROTO_IPV6)
			udp_at += sizeof(*ip6);
		else if (ip6->nexthdr != IPPROTO_UDP && ip6->nexthdr != IPPROTO_DSTOPTS)
			return TC_ACT_UNSPEC;
		destination = ip6->daddr.in6_u.u6_addr32;
		for (int i = 0; i < 4; i++)
			differs |= (destination[i] & mask[i]) ^ network[i];
	} else {
		return TC_ACT_UNSPEC;
	}
	add_one(&arrivals, differs ? ARRIVAL_STRAY : ARRIVAL_EXPECTED);
	if (stamped)
		time(skb, udp_at);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
