// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Steering: which frames of an interface go to the balancer's sockets.
 *
 * Two kinds do: packets to a virtual service (destination VIP:vport:protocol), and replies of NAT servers (source
 * RIP:rport:protocol, unless they answer one of this machine's own addresses: those are the balancer's own
 * connections to its servers). Everything else is the kernel's, as if no program were attached: ARP, ping, ssh, IPv6,
 * VLAN-tagged frames, fragments, whatever is malformed, and frames for another machine that a switch flooded.
 *
 * A frame that is ours goes to the socket bound to the queue it came in on. Where there is none (not yet, or the
 * process was killed), the kernel has it too.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

/* From the kernel's net/ip.h, which is not a user header. */
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* the loader sets the number of queues */
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct endpoint);
	__type(value, __u8);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SERVERS);
	__type(key, struct endpoint);
	__type(value, __u8);
} servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_LOCALS);
	__type(key, struct address);
	__type(value, __u8);
} locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mac);
} own_mac SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void set_v4(struct address *address, __be32 v4)
{
	__builtin_memset(address->octets, 0, 10);
	address->octets[10] = 0xff;
	address->octets[11] = 0xff;
	__builtin_memcpy(&address->octets[12], &v4, sizeof(v4));
}

static __always_inline bool is_for_this_machine(const struct ethhdr *eth)
{
	__u32 zero = 0;
	const struct mac *own = bpf_map_lookup_elem(&own_mac, &zero);
	const __u16 *to = (const __u16 *)eth->h_dest;

	return own && to[0] == own->words[0] && to[1] == own->words[1] && to[2] == own->words[2];
}

static __always_inline bool is_ours(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct endpoint destination = {}, source = {};
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__be16 *ports;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return false;
	if (ip->version != 4 || ip->ihl < 5 || (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET)))
		return false;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return false;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 2) > end)
		return false;

	set_v4(&destination.address, ip->daddr);
	destination.port = ports[1];
	destination.protocol = ip->protocol;
	if (!bpf_map_lookup_elem(&services, &destination)) {
		set_v4(&source.address, ip->saddr);
		source.port = ports[0];
		source.protocol = ip->protocol;
		if (!bpf_map_lookup_elem(&servers, &source) ||
		    bpf_map_lookup_elem(&locals, &destination.address))
			return false;
	}
	return is_for_this_machine(eth);
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	int action = XDP_PASS;
	__u32 counter;
	__u64 *count;

	if (is_ours(ctx))
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);

	counter = action == XDP_REDIRECT ? COUNTER_REDIRECTED : COUNTER_PASSED;
	count = bpf_map_lookup_elem(&counters, &counter);
	if (count)
		*count += 1; /* one value for each CPU: nobody else writes it */
	return action;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
