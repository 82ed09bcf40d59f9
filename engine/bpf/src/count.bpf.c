// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Count: the end of the line for a bench's packets. UDP over IPv4, also in a tunnel, is counted, by whether it went where
 * it should, and dropped before the kernel's stack sees it; everything else is the kernel's.
 *
 * It runs in tc, not in XDP: packets from AF_XDP sockets in copy mode and from the kernel's forwarding arrive as
 * socket buffers, which a veth would have to turn into XDP frames at some cost to their sender.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "count.h"

const volatile __u32 network; /* where packets should go; host order */
const volatile __u32 mask;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ARRIVALS);
	__type(key, __u32);
	__type(value, __u64);
} arrivals SEC(".maps");

SEC("tcx/ingress")
int count(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 arrival;
	__u64 *number;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_UNSPEC;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_IPIP)
		return TC_ACT_UNSPEC;
	arrival = (bpf_ntohl(ip->daddr) & mask) == network ? ARRIVAL_EXPECTED : ARRIVAL_STRAY;
	number = bpf_map_lookup_elem(&arrivals, &arrival);
	if (number)
		*number += 1; /* one value for each CPU: nobody else writes it */
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
