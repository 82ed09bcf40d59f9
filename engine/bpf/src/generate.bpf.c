// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Generate: UDP packets of many flows at the highest rate a CPU can make them, for benches.
 *
 * The loader runs this program on "live frames": the kernel recycles a few pages as frames and sends each where the
 * program redirects it. Whoever received a page before may have written to it, so the headers are written anew every
 * time, from a template whose source is 0.0.0.0:0 and whose checksums are right for that: a source then only has to be
 * added to them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "generate.h"

const volatile __u32 egress; /* the interface that the packets leave on */
const volatile __u32 flows = 1;
const volatile __u32 first_client; /* host order */
const volatile __u64 template[TEMPLATE_WORDS];

/* RFC 1624: the checksum of what `checksum` covers, with the words summed in `added` in place of zeros. */
static __always_inline __sum16 with(__sum16 checksum, __u32 added)
{
	__u32 sum = (__u16)~checksum + added;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__sum16)~sum;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	__u64 *words = data;
	__u32 flow, address;
	__be32 source;
	__be16 port;

	if ((void *)(words + TEMPLATE_WORDS) > end)
		return XDP_ABORTED;
	for (int i = 0; i < TEMPLATE_WORDS; i++)
		words[i] = template[i];

	flow = ((__u64)bpf_get_prandom_u32() * flows) >> 32;
	source = bpf_htonl(first_client + flow / PORTS_PER_CLIENT);
	port = bpf_htons(FIRST_PORT + flow % PORTS_PER_CLIENT);
	address = (source & 0xffff) + (source >> 16);
	ip->saddr = source;
	ip->check = with(ip->check, address);
	udp->source = port;
	udp->check = with(udp->check, address + port);
	if (!udp->check)
		udp->check = 0xffff; /* RFC 768: zero would mean that there is none */

	return bpf_redirect(egress, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
